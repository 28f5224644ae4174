"""Index of a recording with all kinds of clocks."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from RealTimeImagingLib.Model.Poses import PoseTrack
from RealTimeImagingLib.Recording import Origin, openRecording, repair
from RealTimeImagingLib.Recording.FrameTimes import LEAST_STEP, SET_BACK, FrameTimes, Placed, spread
from unit.examples import examples
from unit.recordings import START, frame, manifestOf, record, recorder

moments = st.floats(0, 1e5)
deviceTimes = st.none() | st.floats() | st.floats(0, 10) | st.sampled_from([5.0, 5.0 + LEAST_STEP, 1e300, -1e300])


@examples(2.5)
@given(st.lists(st.tuples(moments, deviceTimes), min_size=1, max_size=30))
@example([(0.0, 5.0), (1.0, 5.0), (2.0, 4.0), (3.0, float("nan")), (2.0, None), (9.0, 1e300), (10.0, 6.0)])
def test_the_index_increases_with_any_clocks(tmp_path_factory, given):
    folder = tmp_path_factory.mktemp("recording")
    frames = [
        frame(number, (1, 1, 1), receiveTime=START + arrival, deviceTime=device)
        for number, (arrival, device) in enumerate(given)
    ]
    part = openRecording(record(folder, frames)[0])
    assert part.count == len(frames)
    assert all(later - earlier > 0.9 * LEAST_STEP for earlier, later in pairwise(part.times))
    latest, setBack = 0.0, False
    for each, entry, time_ in zip(frames, part.frames, part.times, strict=True):
        assert entry["receiveTime"] == each.receiveTime
        setBack = setBack or latest - each.receiveTime > SET_BACK
        latest = max(latest, each.receiveTime)
        if entry["clock"] == "arrival" and not setBack:
            assert time_ > each.receiveTime - frames[0].receiveTime - 2e-6
        if each.deviceTime is None or not np.isfinite(each.deviceTime):
            assert (entry["deviceTime"], entry["clock"] == "device") == (None, False)
        else:
            assert entry["deviceTime"] == each.deviceTime


@pytest.mark.parametrize("back", [3600.0, 5.0])
def test_a_clock_that_is_set_back_keeps_the_intervals(tmp_path, back):
    times = [number / 10 - (back if number >= 5 else 0.0) for number in range(10)]
    frames = [frame(number, (1, 1, 1), receiveTime=START + time) for number, time in enumerate(times)]
    part = openRecording(record(tmp_path, frames)[0])
    assert np.diff(part.times) == pytest.approx([0.1] * 4 + [LEAST_STEP] + [0.1] * 4, abs=2e-6)
    assert [entry["receiveTime"] for entry in part.frames] == [each.receiveTime for each in frames]


def clocks(folder, frames):
    part = openRecording(record(folder, frames)[0])
    return [(round(time, 6), entry["clock"]) for time, entry in zip(part.times, part.frames, strict=True)]


def test_times_that_repeat_or_run_backwards_are_flagged(tmp_path):
    given = [
        (0, 50.0),
        (1, 51.0),
        (2, 51.0),
        (2, 51.0),
        (4, 40.0),
        (5, float("nan")),
        (6, None),
        (7, 57.5),
        (7.2, 1e99),
    ]
    frames = [
        frame(number, receiveTime=START + arrival, deviceTime=device) for number, (arrival, device) in enumerate(given)
    ]
    assert clocks(tmp_path, frames) == [
        (0, "device"),
        (1, "device"),
        (2, "arrival"),
        (2.00001, "order"),
        (4, "arrival"),
        (5, "arrival"),
        (6, "arrival"),
        (7.5, "device"),
        (7.50001, "order"),
    ]


def test_a_device_that_begins_to_send_its_time_continues_the_arrival_times(tmp_path):
    frames = [frame(0, step=1), frame(1, step=1, deviceTime=500.0), frame(2, step=1, deviceTime=501.25)]
    assert clocks(tmp_path, frames) == [(0, "arrival"), (1, "device"), (2.25, "device")]


def test_streams_of_one_recording_have_one_axis_of_time(tmp_path):
    origin = Origin()
    first, second, third = (recorder(tmp_path, stream, origin=origin) for stream in "ABC")
    for number in range(5):
        assert first.append(frame(number, stream="A", step=1, deviceTime=900.0 + number))
    for number in range(2, 5):
        assert second.append(frame(number, stream="B", step=1, deviceTime=40.0 + 1.5 * number))
        assert third.append(frame(number, stream="C", step=1))
    parts = [openRecording(each.finish()[0]) for each in (first, second, third)]
    assert [part.times for part in parts] == [[0, 1, 2, 3, 4], [2, 3.5, 5], [2, 3, 4]]
    assert [part.start for part in parts] == [900.0, 41.0, START]
    assert origin.arrival == START
    assert [manifestOf(part.path)["startClock"] for part in parts] == ["device", "device", "arrival"]


def test_kept_frames_that_come_later_have_their_own_times(tmp_path):
    origin = Origin()
    first, second = recorder(tmp_path, "A", origin=origin), recorder(tmp_path, "B", origin=origin)
    for number in range(10, 13):
        assert first.append(frame(number, stream="A", step=1))
    for number in range(8, 12):
        assert second.append(frame(number, stream="B", step=1))
    assert openRecording(first.finish()[0]).times == [0, 1, 2]
    assert openRecording(second.finish()[0]).times == [-2, -1, 0, 1]


def test_a_first_frame_that_fails_sets_the_start(tmp_path):
    folder = tmp_path / "later"
    recording = recorder(folder)
    assert not recording.append(frame(0, step=1, deviceTime=70.0))
    folder.mkdir()
    assert recording.append(frame(1, step=1, deviceTime=71.5))
    part = openRecording(recording.finish()[0])
    assert part.times[0] + part.start == pytest.approx(71.5)


def test_streams_with_one_clock_are_placed_by_it_whatever_their_delays(tmp_path):
    origin = Origin()
    first, late, other = (recorder(tmp_path, stream, origin=origin) for stream in "ABC")
    for number in range(5):
        assert first.append(frame(number, stream="A", step=1, deviceTime=900.0 + number))
        assert late.append(
            frame(number, stream="B", receiveTime=START + number + 0.4 - number / 20, deviceTime=900.0 + number)
        )
        assert other.append(frame(number, stream="C", step=1, deviceTime=899.4 + number))
    parts = [openRecording(each.finish()[0]) for each in (first, late, other)]
    # The third stream seems to have another clock: its first time is its arrival.
    assert [part.times for part in parts] == [[0, 1, 2, 3, 4]] * 3
    assert [part.start for part in parts] == [900.0, 900.0, 899.4]
    assert [part.origin for part in parts] == [START] * 3


def test_after_a_repeated_time_the_clock_counts_again_although_all_is_delayed(tmp_path):
    origin = Origin()
    first, late = (recorder(tmp_path, stream, origin=origin) for stream in "AB")
    assert first.append(frame(0, stream="A", deviceTime=900.0))
    for number, device in enumerate([900.0, 900.1, 900.1, 900.3, 900.4]):
        assert late.append(frame(number, stream="B", receiveTime=START + 0.3 + number / 10, deviceTime=device))
    part = openRecording(late.finish()[0])
    assert part.times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=2e-6)
    assert [entry["clock"] for entry in part.frames] == ["device", "device", "arrival", "device", "device"]
    first.finish()


def test_repeated_times_increase_although_a_later_one_arrived_with_a_smaller_delay():
    entries = [
        Placed(1.0, "device", 5.0, 1.9),
        Placed(1.00001, "order", 5.0, 2.2),
        Placed(1.00002, "order", 5.0, 2.5),
        Placed(1.2, "arrival", 5.0, 2.8),
        Placed(2.0, "device", 6.0, 2.9),
    ]
    assert spread(entries) == pytest.approx([1.0, 1.2 - 2 * LEAST_STEP, 1.2 - LEAST_STEP, 1.2, 2.0])


@examples(2.5)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.floats(0.001, 1), st.floats(0, 0.2)),
        min_size=1,
        max_size=40,
    )
)
def test_one_clock_gives_all_streams_one_axis(given):
    """Streams with different delays: all intervals are those of the device."""
    origin = Origin()
    streams = [FrameTimes(origin) for _ in range(3)]
    device, placed = 50.0, []
    for stream, step, delay in given:
        device += step
        each = frame(0, (1, 1, 1), receiveTime=START + device + delay, deviceTime=device)
        time = streams[stream].of(each)
        streams[stream].take(each, time)
        placed.append((device, time.seconds))
        assert time.clock == "device"
    assert all(time - placed[0][1] == pytest.approx(device - placed[0][0], abs=2e-6) for device, time in placed)


PERIOD = 0.05


def paired(folder, images=0.0, poses=0.0, imageTime=lambda number: number * PERIOD, poseTime=None):
    """For each of 60 images the number of the last pose that is not later."""
    times, track = placed(folder, images, poses, imageTime, poseTime)
    return [max([n for n, one in enumerate(track.times) if one <= time + 1e-3], default=0) for time in times]


def placed(folder, images=0.0, poses=0.0, imageTime=lambda number: number * PERIOD, poseTime=None, offset=0.0):
    """Return the indices of 60 images, and a track of 60 poses at (number, 0, 0). Image and pose of one number are of
    one moment, and come from two computers whose clocks are an hour apart.

    :param images, poses: seconds by which the first of them is late; those behind it wait for it.
    :param imageTime, poseTime: what the devices say of their time; None: no time.
    :param offset: time offset of the poses, seconds.
    """
    origin = Origin()
    recording, times = recorder(folder, "US", origin=origin), FrameTimes(origin)
    origin.reference = times
    poseTime = poseTime or (lambda number: 3600 + number * PERIOD)
    arrivals = []
    for number in range(60):
        arrivals.append((max(number * PERIOD, images) + number * 1e-6, 1, number))
        arrivals.append((max(number * PERIOD, poses) + number * 1e-6, 0, number))
    track = PoseTrack()
    for arrival, isImage, number in sorted(arrivals):
        if isImage:
            values = {"deviceTime": imageTime(number), "sender": "ultrasound"}
            assert recording.append(frame(number, stream="US", receiveTime=START + arrival, **values))
        else:
            values = {"deviceTime": poseTime(number), "sender": "tracker", "timeOffset": offset}
            each = frame(number, receiveTime=START + arrival, **values)
            time = times.of(each)
            times.take(each, time)
            track.add(time.seconds, at(number))
    part = openRecording(recording.finish()[0])
    assert len(part.times) == len(track.times) == 60
    return part.times, track


def at(x):
    return [1.0, 0, 0, x, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]


def worst(pairs):
    return max(abs(image - pose) for image, pose in enumerate(pairs))


@pytest.mark.parametrize(
    "case",
    [
        {},
        {"images": 0.49},
        {"images": 1.2},
        {"poses": 0.49},
        {"images": 0.3, "poses": 0.6},
        {"images": 0.49, "poseTime": lambda number: None},
        # Each time twice, because device times are rounded.
        {"images": 0.49, "imageTime": lambda number: number // 2 * 2 * PERIOD},
        {"imageTime": lambda number: number // 2 * 2 * PERIOD},
    ],
)
def test_an_image_has_the_pose_of_its_moment_although_the_first_message_is_late(tmp_path, case):
    assert worst(paired(tmp_path, **case)) <= 1


TWICE = {"imageTime": lambda number: number // 2 * 2 * PERIOD}


@pytest.mark.parametrize("late", [{}, {"images": 0.49}, {"poses": 0.49}, {"images": 0.3, "poses": 0.6}])
@pytest.mark.parametrize("apart", [3600.0, 3600.45, 0.45, -0.45, 0.01, 0.0])
@pytest.mark.parametrize("repeated", [{}, TWICE], ids=["each time", "repeated times"])
def test_an_image_has_the_pose_of_its_moment_within_2_ms(tmp_path, late, apart, repeated):
    """Each pose is 1 mm from the one before: 2 ms are 0.04 mm."""
    times, track = placed(tmp_path, **late, **repeated, poseTime=lambda number: apart + number * PERIOD)
    shown = [track.at(time) for time in times]
    # The last images may lie after the last pose, by less than its period.
    errors = [abs(pose.matrix[0, 3] - number) * PERIOD for number, pose in enumerate(shown[:-1])]
    assert max(errors) <= 0.002


@pytest.mark.parametrize("offset", [0.083, -0.12])
def test_a_time_offset_moves_the_poses_and_not_their_clock(tmp_path, offset):
    """The tracker reports each pose too early by the offset."""
    times, track = placed(tmp_path, poseTime=lambda number: 3600 + number * PERIOD, offset=offset)
    assert [track.at(time + offset).matrix[0, 3] for time in times[5:50]] == pytest.approx(range(5, 50), abs=0.01)


def test_the_start_of_a_stream_with_an_offset_is_that_of_its_device(tmp_path):
    frames = [frame(number, step=1, deviceTime=900.0 + number, timeOffset=0.25) for number in range(3)]
    part = openRecording(record(tmp_path, frames)[0])
    assert part.times == [0.25, 1.25, 2.25]
    assert part.start == 899.75


def test_a_recording_that_begins_with_a_repeated_time_finds_its_clock(tmp_path):
    """The device's time changes twice a second; the first image arrives just before a change."""
    pairs = paired(tmp_path, imageTime=lambda number: (number + 9) // 10 * 0.5)
    assert max(abs(image - pose) for image, pose in enumerate(pairs) if image >= 20) <= 1


def test_intervals_are_always_those_of_the_device(tmp_path):
    origin = Origin()
    other = FrameTimes(origin)
    pose = frame(0, receiveTime=START, deviceTime=5000.0)
    other.take(pose, other.of(pose))
    origin.reference = other
    late = recorder(tmp_path, "US", origin=origin)
    for number in range(20):
        arrival = max(0.3, number * PERIOD)
        assert late.append(frame(number, stream="US", receiveTime=START + arrival, deviceTime=number * PERIOD))
    part = openRecording(late.finish()[0])
    assert part.times == pytest.approx([number * PERIOD for number in range(20)], abs=2e-6)
    assert part.start == pytest.approx(0.0, abs=2e-6)
    assert [entry["time"] for entry in part.frames] == part.times


def test_a_fast_clock_is_not_mistaken_for_a_late_first_message(tmp_path):
    origin = Origin()
    slow, fast = recorder(tmp_path, "A", origin=origin), recorder(tmp_path, "B", origin=origin)
    for number in range(20):
        assert slow.append(frame(number, stream="A", step=0.1, deviceTime=900 + number / 10))
        assert fast.append(frame(number, stream="B", step=0.1, deviceTime=number))
    assert openRecording(fast.finish()[0]).times == list(range(20))
    slow.finish()


def inTwoParts(tmp_path, closed):
    """A recorder of 40 images of which the first was late; the size changes at image ``closed``."""
    origin = Origin()
    poses = FrameTimes(origin)
    origin.reference = poses
    images = recorder(tmp_path, "US", origin=origin)
    for number in range(40):
        each = frame(number, receiveTime=START + number * PERIOD, deviceTime=3600 + number * PERIOD)
        poses.take(each, poses.of(each))
        arrival = max(0.3, number * PERIOD) + 1e-6
        shape = (1, 2, 3) if number < closed else (1, 2, 4)
        assert images.append(frame(number, shape, stream="US", receiveTime=START + arrival, deviceTime=number * PERIOD))
    return images


@pytest.mark.parametrize("killed", [False, True])
def test_a_part_that_is_closed_early_and_the_next_have_one_axis(tmp_path, killed):
    """The size changes in the middle, when the delay of the first message is known."""
    images = inTwoParts(tmp_path, 25)
    if killed:
        images._lock.release(remove=False)
    paths = repair(str(tmp_path))[0].headers if killed else images.finish()
    first, second = (openRecording(path) for path in paths)
    assert [*first.times, *second.times] == pytest.approx([number * PERIOD for number in range(40)], abs=1e-4)
    assert [entry["time"] for part in (first, second) for entry in part.frames] == [*first.times, *second.times]
    parts = manifestOf(paths[0])["parts"]
    spans = [(part.times[0], part.times[-1]) for part in (first, second)]
    assert [(part["firstTime"], part["lastTime"]) for part in parts] == spans


def test_a_part_stays_behind_the_one_that_is_closed(tmp_path):
    """The delay of the first message becomes known in the second part: moved by it, that would begin in the first."""
    first, second = (openRecording(path) for path in inTwoParts(tmp_path, 3).finish())
    assert first.times == pytest.approx([0.3 + number * PERIOD for number in range(3)], abs=1e-4)
    assert second.times == pytest.approx([0.3 + number * PERIOD for number in range(3, 40)], abs=1e-4)
