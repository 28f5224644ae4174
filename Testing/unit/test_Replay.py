"""Replay source with a simulated clock: a step is 10 ms."""

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Formats import Inflate as Streamed
from RealTimeImagingLib.Recording import openRecording, repair
from unit.conftest import arrive, niftiFile, seriesFile, snapshot, sumOf
from unit.recordings import OBLIQUE, RIGHT_HANDED, START, frame, record, recorder
from unit.replaySource import Player, pixelsOf, sequence, sumsOf


@pytest.fixture
def play(workFolder):
    """Open a file in a Player with a new checkpoint."""
    made = []

    def start(file, **values):
        for player in made:
            player.close()
        folder = workFolder / str(len(made))
        folder.mkdir()
        made.append(Player(folder, file, **values))
        return made[-1]

    yield start
    for player in made:
        player.close()


@pytest.fixture
def series(incoming):
    """Write a sequence of five volumes, 0.1 s apart."""
    path = incoming / "a.seq.nrrd"
    path.write_bytes(sequence(pixelsOf(range(5)), [0, 0.1, 0.2, 0.3, 0.4]))
    return path


# ---- pace


def test_each_frame_arrives_once_in_order_at_its_time(play, series):
    player = play(series)
    player.run(5)
    assert player.places == [0, 1, 2, 3, 4]
    assert player.sums == sumsOf(range(5))
    assert player.times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=0.011)
    assert player.codes == ["replay-opened", "replay-ended"]
    assert player.events[0].text == "a.seq.nrrd has 5 frames in 0.4 s."
    assert player.events[1].text == "The replay of a.seq.nrrd has ended: 5 frames."
    assert {(event.level, event.subject) for event in player.events} == {("info", str(series))}


@pytest.mark.parametrize(
    ("values", "period"),
    [({"speed": 0.1}, 1.0), ({"speed": 5.0}, 0.02), ({"pace": "rate", "rate": 4.0}, 0.25)],
)
def test_pace_of_the_settings(play, series, values, period):
    player = play(series, **values)
    player.run(6)
    assert player.sums == sumsOf(range(5))
    assert player.times == pytest.approx([n * period for n in range(5)], abs=0.011)


def test_the_fastest_pace_skips_nothing(play, series):
    player = play(series, pace="fastest")
    player.step()
    assert player.sums == sumsOf(range(5))
    assert player.codes == ["replay-opened", "replay-ended"]


@pytest.mark.parametrize("pace", ["recorded", "fastest"])
def test_a_loop_has_every_frame_of_every_pass(play, series, pace):
    player = play(series, pace=pace, loop=True)
    if pace == "fastest":
        player.clock.tick = 0.01  # otherwise the first read would never return
    while len(player.received) < 50:
        player.step(0.05)
    assert player.places == [n % 5 for n in range(len(player.received))]
    assert player.sums[:50] == sumsOf(range(5)) * 10
    if pace == "recorded":
        assert player.times[45] == pytest.approx(4.5, abs=0.06)
    assert player.codes == ["replay-opened"]


def test_read_returns_for_commands_at_any_rate(play, series):
    player = play(series, pace="fastest", loop=True)
    player.clock.tick = 0.03  # each call of the clock takes this long
    player.step()
    assert 1 <= len(player.received) <= 4
    player.send("pause")
    before = len(player.received)
    player.run(1)
    assert len(player.received) == before


def test_a_file_without_times_is_replayed_at_ten_frames_a_second_with_an_event(play, incoming):
    (incoming / "a.nii").write_bytes(seriesFile(range(3)))
    player = play(incoming / "a.nii")
    player.run(1)
    assert player.times == pytest.approx([0, 0.1, 0.2], abs=0.011)
    assert player.codes == ["replay-opened", "no-times", "replay-ended"]
    assert "10 frames per second" in player.events[1].text


def test_a_single_image_is_a_replay_of_one_frame(play, incoming):
    (incoming / "a.nii").write_bytes(niftiFile(3))
    player = play(incoming / "a.nii")
    player.run(1)
    assert player.sums == [sumOf(3)]
    assert player.codes == ["replay-opened", "replay-ended"]


def test_wake_ends_read(play, series):
    player = play(series, paused=True)
    player.step()
    player.source.wake()
    assert list(player.source.read(3600)) == []


# ---- commands


def test_pause_and_resume_lose_nothing_and_cause_no_burst(play, series):
    player = play(series)
    player.run(0.16)
    player.send("pause")
    player.run(60)
    assert player.places == [0, 1]
    player.send("resume")
    resumed = player.clock.now
    player.run(2)
    assert player.places == [0, 1, 2, 3, 4]
    rest = [time - resumed for time, _ in player.received[2:]]
    assert rest == pytest.approx([0.05, 0.15, 0.25], abs=0.021)


def test_a_paused_start_waits_for_step_or_resume(play, series):
    player = play(series, paused=True)
    player.run(1)
    assert player.received == []
    player.send("step", frames=1)
    player.send("step", frames=1)
    player.send("step", frames=-1)
    assert player.places == [0, 1, 0]
    assert player.sums == sumsOf([0, 1, 0])
    player.send("resume")
    player.run(1)
    assert player.places == [0, 1, 0, 1, 2, 3, 4]


def test_seek_continues_from_its_frame(play, series):
    player = play(series)
    player.step()
    player.send("seek", frame=3)
    assert player.places == [0, 3]
    player.run(1)
    assert player.places == [0, 3, 4]
    player.send("pause")
    player.send("seek", frame=1)
    player.run(1)
    assert player.places == [0, 3, 4, 1]
    assert player.codes == ["replay-opened", "replay-ended"]


def test_the_pace_changes_during_the_replay(play, series):
    player = play(series, speed=0.001)
    player.step()
    player.send("pace", rate=100.0)
    player.run(0.036, step=0.006)
    assert player.places == [0, 1, 2, 3]
    player.send("pace", speed=0.5)
    player.run(0.05)
    assert player.places == [0, 1, 2, 3]
    player.run(0.1)
    assert player.places == [0, 1, 2, 3, 4]
    player.send("loop", on=True)
    player.clock.tick = 0.01  # otherwise the next read would never return
    player.send("pace", fastest=True)
    assert player.places[5:8] == [0, 1, 2]


def test_resume_at_the_end_restarts_and_ends_again(play, series):
    player = play(series)
    player.run(2)
    player.send("resume")
    player.run(2)
    assert player.places == [0, 1, 2, 3, 4] * 2
    assert player.codes == ["replay-opened", "replay-ended", "replay-ended"]


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("pace", {"speed": float("nan")}, "0.001 to 1000"),
        ("pace", {"speed": -1.0}, "0.001 to 1000"),
        ("pace", {"speed": 1e9}, "0.001 to 1000"),
        ("pace", {"speed": "fast"}, "0.001 to 1000"),
        ("pace", {"rate": 0}, "0.001 to 10000"),
        ("pace", {"rate": float("inf")}, "0.001 to 10000"),
        ("pace", {"rate": True}, "0.001 to 10000"),
        ("pace", {"fastest": False}, "fastest"),
        ("pace", {"speed": 1.0, "rate": 5.0}, "one of"),
        ("pace", {}, "one of"),
        ("loop", {"on": 1}, "true or false"),
        ("loop", {}, "true or false"),
        ("step", {"frames": 0.5}, "whole number"),
        ("step", {}, "whole number"),
        ("seek", {"frame": "3"}, "whole number"),
        ("seek", {"frame": None}, "whole number"),
    ],
)
def test_an_invalid_command_is_refused_with_a_reason_and_changes_nothing(play, series, name, values, words):
    player = play(series)
    player.step()
    status = player.source.status
    player.send(name, **values)
    event = player.events[-1]
    assert (event.code, event.level) == ("command-refused", "warning")
    assert words in event.text
    assert player.source.status == status
    player.run(1)
    assert player.places == [0, 1, 2, 3, 4]


def test_unknown_commands_are_ignored(play, series):
    player = play(series)
    player.send("rescan")
    player.run(1)
    assert player.places == [0, 1, 2, 3, 4]
    assert player.codes == ["replay-opened", "replay-ended"]


def test_commands_wait_for_the_file(play, incoming):
    player = play(incoming / "a.seq.nrrd", loop=True)
    player.send("pause")
    player.send("seek", frame=2)
    arrive(incoming / "a.seq.nrrd", sequence(pixelsOf(range(5)), range(5)))
    player.run(2)
    assert player.places == [2]
    assert "paused at frame 3 of 5" in player.source.status


# ---- status


def test_the_status_has_the_position(play, incoming, series):
    player = play(incoming / "none.nrrd")
    player.step()
    assert player.source.status == f"none.nrrd is not replayed: {incoming / 'none.nrrd'} is not there; waiting for it."
    player = play(series)
    player.step()
    assert player.source.status == "Replaying a.seq.nrrd: frame 1 of 5 (0 s of 0.4 s), real time."
    player.run(0.15)
    player.send("pace", speed=2.5)
    assert player.source.status == "Replaying a.seq.nrrd: frame 2 of 5 (0.1 s of 0.4 s), 2.5 times real time."
    player.send("pace", rate=25)
    assert player.source.status == "Replaying a.seq.nrrd: frame 2 of 5, 25 frames per second."
    player.send("pace", fastest=True)
    assert player.source.status == "The replay of a.seq.nrrd has ended: 5 frames."
    player.send("step", frames=-1)
    assert player.source.status == "a.seq.nrrd is paused at frame 4 of 5."
    player.send("pace", speed=1)
    player.send("seek", frame=0)
    player.send("resume")
    player.step(30)
    assert player.source.status == "Replaying a.seq.nrrd: frame 2 of 5 (0.1 s of 0.4 s), real time, 29.9 s behind."


# ---- the file


def test_a_missing_file_is_one_event_and_is_replayed_when_it_appears(play, incoming):
    player = play(incoming / "a.seq.nrrd")
    player.run(10)
    (event,) = player.events
    assert (event.code, event.level, event.subject) == ("file-missing", "warning", str(incoming / "a.seq.nrrd"))
    arrive(incoming / "a.seq.nrrd", sequence(pixelsOf(range(3)), range(3)))
    player.run(4)
    assert player.sums == sumsOf(range(3))
    assert player.codes == ["file-missing", "replay-opened", "replay-ended"]


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("a.nii", b"no image" * 100, "not-an-image"),
        ("a.seq.nrrd", b"NRRD0004\nsizes: 4\n\n", "damaged"),
        ("a.seq.nhdr", b"NRRD0005\nsizes: 4\nRecording:={}\n\n", "damaged"),
        ("a.txt", b"no image", "not-an-image"),
        ("a.nii.gz", b"no gzip" * 100, "not-an-image"),
        ("a.seq.nrrd", sequence(pixelsOf(range(5)), range(5))[:-1], "incomplete"),
    ],
)
def test_a_file_without_an_image_is_one_event_and_can_be_replaced(play, incoming, name, data, code):
    (incoming / name).write_bytes(data)
    player = play(incoming / name)
    player.run(20)
    assert player.codes == [code]
    assert player.events[0].level == "warning"
    assert player.source.status.startswith(f"{name} is not replayed: ")
    if name.endswith(("nrrd", "nii")):
        whole = seriesFile(range(3)) if name.endswith("nii") else sequence(pixelsOf(range(3)), range(3))
        arrive(incoming / name, whole)
        player.run(5)
        assert player.sums == sumsOf(range(3))


def test_a_folder_is_not_an_image(play, incoming):
    player = play(incoming)
    player.run(3)
    assert player.codes == ["not-an-image"]


def test_a_growing_file_is_one_event_and_is_replayed_when_complete(play, incoming):
    whole, path = sequence(pixelsOf(range(4)), range(4)), incoming / "a.seq.nrrd"
    player = play(path)
    for size in range(100, len(whole), 40):
        path.write_bytes(whole[:size])
        player.run(1)
    assert player.codes == ["incomplete"]
    path.write_bytes(whole)
    player.run(5)
    assert player.sums == sumsOf(range(4))


def test_a_file_that_is_moved_away_and_back_continues(play, series):
    player = play(series)
    player.run(0.25)
    os.rename(series, series.with_name("away"))
    player.run(5)
    assert player.places == [0, 1, 2]
    assert player.codes == ["replay-opened", "file-missing"]
    os.rename(series.with_name("away"), series)
    player.run(2)
    assert player.places == [0, 1, 2, 3, 4]
    assert player.sums == sumsOf(range(5))


def test_a_replaced_file_restarts_and_nothing_is_mixed(play, series):
    player = play(series)
    player.run(0.25)
    arrive(series, sequence(pixelsOf(range(20, 23), (1, 5, 5)), [0, 0.1, 0.2]))
    player.run(2)
    assert player.sums == [*sumsOf(range(3)), *sumsOf(range(20, 23), (1, 5, 5))]
    assert player.places == [0, 1, 2, 0, 1, 2]


def test_a_file_replaced_during_a_read_yields_no_mixed_frame(play, series):
    player, asked = play(series), []
    player.run(0.15)
    other = sequence(pixelsOf(range(20, 25)), [0, 0.1, 0.2, 0.3, 0.4])

    def getBuffer(nbytes):
        asked.append(nbytes)
        if len(asked) == 1:
            arrive(series, other)

    player.getBuffer = getBuffer
    player.run(2)
    assert player.sums == [*sumsOf(range(2)), *sumsOf(range(20, 25))]
    assert player.places == [0, 1, 0, 1, 2, 3, 4]


def test_a_truncated_file_is_an_event_and_restarts_when_complete(play, series):
    whole = series.read_bytes()
    player = play(series)
    player.run(0.25)
    os.truncate(series, len(whole) - 48 - 10)
    player.run(5)
    assert player.places == [0, 1, 2]
    assert player.codes == ["replay-opened", "incomplete"]
    series.write_bytes(whole)
    player.run(2)
    assert player.places == [0, 1, 2, 0, 1, 2, 3, 4]


def test_damage_ends_the_replay_and_the_event_names_the_frame(play, incoming):
    data = bytearray(sequence(pixelsOf(range(40), (8, 16, 16)), range(40), "s", "gzip"))
    data[len(data) // 2] ^= 0xFF
    data[len(data) // 2 + 1] ^= 0xFF
    (incoming / "a.seq.nrrd").write_bytes(data)
    player = play(incoming / "a.seq.nrrd", pace="fastest")
    player.run(10, step=0.5)
    assert player.codes == ["replay-opened", "damaged"]
    before = len(player.received)
    assert 0 < before < 40
    assert f"frame {before + 1} cannot be read" in player.events[1].text
    arrive(incoming / "a.seq.nrrd", sequence(pixelsOf(range(3)), range(3)))
    player.run(1)
    assert player.sums[before:] == sumsOf(range(3))


def test_the_folder_is_unchanged_and_no_file_stays_open(play, incoming, series):
    record(incoming, [frame(number) for number in range(4)])
    before = snapshot(incoming)
    for path in (series, incoming / "Test-Scan.seq.nhdr"):
        player = play(path)
        for _ in range(30):
            player.step(0.02)
            handles = Path("/proc/self/fd")
            if handles.exists():
                assert not any(str(incoming) in os.path.realpath(handle) for handle in handles.iterdir())
        assert len(player.received) > 3
    assert snapshot(incoming) == before


# ---- crashes


def test_a_restart_continues_with_the_next_frame_at_the_same_pace(play, series):
    player = play(series, speed=0.01)
    player.step()
    player.send("pace", rate=10.0)
    player.send("loop", on=True)
    player.run(0.25)
    assert player.places == [0, 1, 2]
    player.restart()
    player.run(0.25)
    assert player.places == [0, 1, 2, 3, 4, 0]
    player.send("pause")
    player.restart()
    player.run(5)
    assert player.places == [0, 1, 2, 3, 4, 0]
    assert "paused at frame 1 of 5" in player.source.status
    player.send("step", frames=-1)
    player.restart()
    player.send("resume")
    player.run(0.05)
    assert player.places == [0, 1, 2, 3, 4, 0, 4, 0]


def test_a_frame_not_counted_before_a_crash_is_sent_again(play, series):
    player = play(series, pace="fastest")
    player.crash()
    player.step()
    assert player.sums == sumsOf(range(5))


def test_a_restart_does_not_repeat_the_end(play, series):
    player = play(series)
    player.run(1)
    player.restart()
    player.run(5)
    assert player.places == [0, 1, 2, 3, 4]
    assert player.codes == ["replay-opened", "replay-ended", "replay-opened"]
    assert player.source.status == "The replay of a.seq.nrrd has ended: 5 frames."


def test_a_frame_that_crashed_two_processes_ends_the_replay(play, series):
    player = play(series, pace="fastest")
    player.crash()
    player.crash()
    player.run(5)
    assert player.received == []
    event = player.events[-1]
    assert (event.code, event.level) == ("crashed", "error")
    assert "crashed the reading process 2 times" in event.text
    arrive(series, sequence(pixelsOf(range(2)), range(2)))
    player.run(1)
    assert player.sums == sumsOf(range(2))


def test_crashes_in_pause_do_not_count(play, series):
    player = play(series, paused=True)
    for _ in range(5):
        player.step(1.0)
        player.restart()
    player.send("resume")
    player.run(1)
    assert player.places == [0, 1, 2, 3, 4]


def test_a_crash_while_waiting_does_not_count(play, series):
    player = play(series)
    player.run(0.05)
    player.restart()
    player.clock.now += 1
    player.crash()
    player.run(2)
    assert player.places == [0, 1, 2, 3, 4]


# ---- recordings


def test_a_recording_is_replayed_with_all_values_of_its_frames(play, incoming):
    frames = [
        frame(
            number,
            matrix=RIGHT_HANDED @ np.array([[1, 0, 0, number], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
            deviceTime=START + 100 + number / 20,
            attributes={"SourceFile": f"{number}.nii", "Probe": f"no. {number}"},
        )
        for number in range(6)
    ]
    (path,) = record(incoming, frames, attributes={"SpecimenID": "BKS.Cg-Dock7m +/+ Leprdb/J", "Probe": "of all"})
    player = play(path)
    player.run(2)
    assert len(player.received) == 6
    assert player.times == pytest.approx([n / 20 for n in range(6)], abs=0.011)
    for number, (image, sent) in enumerate(zip(player.images, frames, strict=True)):
        np.testing.assert_array_equal(image.pixels, sent.pixels)
        np.testing.assert_array_equal(image.ijkToRAS, sent.ijkToRAS)
        assert image.deviceTime == sent.deviceTime
        assert image.attributes == {
            "SpecimenID": "BKS.Cg-Dock7m +/+ Leprdb/J",
            "Probe": f"no. {number}",
            "SourceFile": os.path.basename(path),
            "OriginalSourceFile": f"{number}.nii",
            "ReplayedFrame": str(number),
        }


def test_frames_without_a_device_time_have_none_when_replayed(play, incoming):
    (path,) = record(incoming, [frame(number) for number in range(3)])
    player = play(path)
    player.run(1)
    assert [image.deviceTime for image in player.images] == [None] * 3


def shaped(number):
    """Return a frame; size, type and geometry change every four frames and start a new part."""
    shape, dtype = [((2, 3, 4), np.int16), ((1, 6, 5, 3), np.uint8), ((2, 3, 4), np.float32)][number // 4]
    return frame(number, shape, dtype, OBLIQUE if number % 2 else RIGHT_HANDED, step=0.1)


def test_parts_follow_one_another_when_the_first_is_chosen(play, incoming):
    # Another recording has the name of the second part.
    assert os.path.basename(record(incoming, [frame(50, stream="Scan_2")])[0]) == "Test-Scan_2.seq.nhdr"
    frames = [shaped(number) for number in range(12)]
    paths = record(incoming, frames)
    assert [os.path.basename(path) for path in paths] == [f"Test-Scan{n}.seq.nhdr" for n in ("", "_3", "_4")]
    player = play(paths[0])
    player.run(3)
    for image, sent in zip(player.images, frames, strict=True):
        np.testing.assert_array_equal(image.pixels, sent.pixels)
        assert image.pixels.dtype == sent.pixels.dtype
        np.testing.assert_array_equal(image.ijkToRAS, sent.ijkToRAS)
    assert player.times == pytest.approx([n / 10 for n in range(12)], abs=0.011)
    assert player.events[0].text == "Test-Scan.seq.nhdr has 12 frames in 1.1 s."


def test_a_later_part_is_replayed_alone(play, incoming):
    frames = [shaped(number) for number in range(12)]
    player = play(record(incoming, frames)[1])
    player.run(3)
    for image, sent in zip(player.images, frames[4:8], strict=True):
        np.testing.assert_array_equal(image.pixels, sent.pixels)
    assert player.times == pytest.approx([0, 0.1, 0.2, 0.3], abs=0.011)


def test_all_parts_are_replayed_although_a_repair_found_no_frame_of_the_first(play, incoming):
    frames = [shaped(number) for number in range(12)]
    dead = recorder(incoming)
    for each in frames:
        assert dead.append(each)
    dead._lock.release(remove=False)
    lines = incoming / "Test-Scan.jsonl"
    lines.write_bytes(lines.read_bytes().splitlines(True)[0])
    (incoming / "Test-Scan.seq.nhdr").unlink()
    (found,) = repair(str(incoming))
    assert [os.path.basename(path) for path in found.headers] == [f"Test-Scan_{n}.seq.nhdr" for n in (2, 3)]
    player = play(found.headers[0])
    player.run(3)
    assert player.codes == ["replay-opened", "replay-ended"]
    for image, sent in zip(player.images, frames[4:], strict=True):
        np.testing.assert_array_equal(image.pixels, sent.pixels)


@pytest.mark.parametrize("lost", [".seq.nhdr", ".raw"])
def test_a_missing_part_is_reported_and_the_others_are_replayed(play, incoming, lost):
    frames = [shaped(number) for number in range(12)]
    paths = record(incoming, frames)
    os.remove(paths[1].removesuffix(".seq.nhdr") + lost)
    player = play(paths[0])
    player.run(3)
    assert player.codes == ["replay-opened", "part-missing", "replay-ended"]
    assert os.path.basename(paths[1]).removesuffix(".seq.nhdr") + lost in player.events[1].text
    for image, sent in zip(player.images, frames[:4] + frames[8:], strict=True):
        np.testing.assert_array_equal(image.pixels, sent.pixels)


@pytest.mark.parametrize("cut", [1, 48 * 3])
def test_a_truncated_recording_is_an_event_and_is_replayed_when_complete(play, incoming, cut):
    frames = [frame(number) for number in range(4)]
    (path,) = record(incoming, frames)
    raw = Path(path.removesuffix(".seq.nhdr") + ".raw")
    whole = raw.read_bytes()
    raw.write_bytes(whole[:-cut])
    player = play(path)
    player.run(5)
    assert player.codes == ["damaged"]
    assert raw.name in player.events[0].text
    raw.write_bytes(whole)
    player.run(2)
    assert player.sums == sumsOf([0, 1, 2, 3])


def test_pixels_in_the_other_byte_order(play, incoming):
    frames = [frame(number) for number in range(4)]
    (path,) = record(incoming, frames)
    part = openRecording(path)
    swapped = np.fromfile(part.rawPath, part.dtype).byteswap()
    swapped.tofile(part.rawPath)
    header = Path(path).read_bytes()
    other = ">i2" if part.dtype.str == "<i2" else "<i2"
    header = header.replace(f'"dtype":"{part.dtype.str}"'.encode(), f'"dtype":"{other}"'.encode())
    words = (b"endian: little", b"endian: big")
    Path(path).write_bytes(header.replace(*(words if words[0] in header else words[::-1])))
    player = play(path)
    player.run(2)
    assert player.sums == sumsOf([0, 1, 2, 3])
    assert all(image.pixels.dtype.isnative for image in player.images)


def test_pixels_are_read_directly_into_the_buffer(play, incoming):
    (path,) = record(incoming, [frame(number) for number in range(4)])
    player = play(path)
    buffers = []

    def getBuffer(nbytes):
        buffers.append(np.zeros(nbytes, np.uint8))
        return buffers[-1]

    player.getBuffer = getBuffer
    player.run(2)
    assert [memory.nbytes for memory in buffers] == [48] * 4
    assert all(np.shares_memory(image.pixels, memory) for image, memory in zip(player.images, buffers, strict=True))
    assert player.sums == sumsOf([0, 1, 2, 3])


def test_a_recorded_loop_has_increasing_times_and_marks_arrival_times(play, incoming, tmp_path):
    (path,) = record(incoming, [frame(number, deviceTime=START + number / 10, step=0.1) for number in range(4)])
    player = play(path, loop=True)
    player.run(0.75)
    again = [
        frame(number, receiveTime=START + time, deviceTime=image.deviceTime, attributes=image.attributes)
        for number, (time, image) in enumerate(zip(player.times, player.images, strict=True))
    ]
    assert len(again) == 8
    (tmp_path / "again").mkdir()
    part = openRecording(record(tmp_path / "again", again)[0])
    assert [entry["clock"] for entry in part.frames] == ["device"] * 4 + ["arrival"] * 4
    assert part.times == pytest.approx([n / 10 for n in range(8)], abs=0.011)


# ---- any order of commands


@given(
    packed=st.sampled_from(["raw", "gzip"]),
    kept=st.booleans(),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("pass"), st.sampled_from([0.0, 0.04, 0.1, 0.35, 3.0])),
            st.tuples(st.sampled_from(["pause", "resume", "die"]), st.none()),
            st.tuples(st.just("step"), st.sampled_from([1, -1])),
            st.tuples(st.just("seek"), st.integers(0, 4)),
            st.tuples(st.just("loop"), st.booleans()),
        ),
        max_size=20,
    ),
)
def test_after_any_commands_each_frame_has_its_pixels_and_follows_the_last(tmp_path_factory, packed, kept, steps):
    folder, work = tmp_path_factory.mktemp("incoming"), tmp_path_factory.mktemp("work")
    (folder / "a.seq.nrrd").write_bytes(sequence(pixelsOf(range(5)), [0, 0.1, 0.2, 0.3, 0.4], "s", packed))
    sums, jumps = sumsOf(range(5)), {0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Streamed, "_kept", 1 << 30 if kept else 0)
        player = Player(work, folder / "a.seq.nrrd")
        player.step()
        for name, value in steps:
            before = len(player.received)
            if name == "pass":
                player.run(value, step=0.02)
            elif name == "die":
                player.restart()
            elif name in ("pause", "resume"):
                player.send(name)
            else:
                player.send(name, **{{"step": "frames", "seek": "frame", "loop": "on"}[name]: value})
            if name in ("step", "seek", "resume") and len(player.received) > before:
                jumps.add(before)
        player.close()
    assert player.sums == [sums[place] for place in player.places]
    for number, (last, place) in enumerate(pairwise(player.places), 1):
        assert number in jumps or place == (last + 1) % 5
