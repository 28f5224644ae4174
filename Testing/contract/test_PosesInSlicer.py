"""Unmodified Slicer reads the poses of devices as they were recorded."""

import math
import os
from itertools import pairwise

import numpy as np
import pytest
from contract.inSlicer import posesInSlicer
from hypothesis import example, given
from hypothesis import strategies as st
from RealTimeImagingLib.Recording import MessageRecorder, openMessages, repair
from RealTimeImagingLib.Recording.FrameTimes import LEAST_STEP
from unit.examples import examples
from unit.recordings import START, deviceMessage, filesOfAtMost, manifestOf, poseAt, recordMessages, withoutRights

pytestmark = pytest.mark.usefixtures("emptyScene")


def test_devices_with_similar_names_have_separate_files(slicer, tmp_path):
    devices = ["a/b", "a:b", "a b", "A b", "X.poses", ""]
    found = openMessages(
        recordMessages(tmp_path, [deviceMessage(i, "transform", one) for i, one in enumerate(devices)])
    )
    assert len(set(found.transforms.values())) == len(devices)
    assert not any(path.endswith(".poses.seq.mha") for path in found.transforms.values())
    for number, device in enumerate(devices):
        ((_, matrix),) = posesInSlicer(slicer, found.transforms[device])
        assert np.array_equal(matrix, poseAt(number))


moments = st.floats(0, 1e4)
deviceTimes = st.none() | st.floats() | st.floats(0, 10) | st.sampled_from([5.0, 5.0 + LEAST_STEP, 1e300])
kinds = st.sampled_from([("transform", "A"), ("transform", "B"), ("text", "A")])


# Poses as unmodified Slicer reads them


@examples(1.5)
@example([(("transform", "A"), 0.0, 1.797693134862316e305)])
@given(st.lists(st.tuples(kinds, moments, deviceTimes), min_size=1, max_size=40))
def test_the_index_increases_for_each_device_and_slicer_reads_every_pose(slicer, tmp_path_factory, given):
    messages = [
        deviceMessage(number, *one, receiveTime=START + arrival, deviceTime=device)
        for number, (one, arrival, device) in enumerate(given)
    ]
    path = recordMessages(tmp_path_factory.mktemp("recording"), messages)
    found, manifest = openMessages(path), manifestOf(path)
    lines = list(found.messages())
    assert len(lines) == len(messages)
    for one in {each for each, _, _ in given}:
        mine = [line for line in lines if (line.message.kind, line.message.device) == one]
        assert all(later.time - earlier.time > 0.9 * LEAST_STEP for earlier, later in pairwise(mine))
        if one[0] == "text":
            continue
        entry = next(entry for entry in manifest["devices"] if (entry["kind"], entry["device"]) == one)
        assert entry["poses"] + entry["posesLeftOut"] == len(mine)
        read = posesInSlicer(slicer, found.transforms[one[1]])
        assert len(read) == entry["poses"]
        times = {int(line.message.values["matrix"][0][3]): line.time for line in mine}
        numbers = [int(matrix[0, 3]) for _, matrix in read]
        assert numbers == sorted(numbers)
        assert all(-0.0006 <= time - times[number] <= 0.1006 for (time, _), number in zip(read, numbers, strict=True))


def test_poses_are_exact_and_in_order(slicer, tmp_path):
    given = [deviceMessage(number, deviceTime=3 + number / 100) for number in range(300)]
    found = openMessages(recordMessages(tmp_path, given))
    read = posesInSlicer(slicer, found.transforms["Probe"])
    assert [time for time, _ in read] == [round(number / 100, 3) for number in range(300)]
    assert all(np.array_equal(matrix, poseAt(number)) for number, (_, matrix) in enumerate(read))


def test_more_poses_than_the_buffer_holds_are_in_the_file(slicer, tmp_path):
    found = openMessages(recordMessages(tmp_path, [deviceMessage(number) for number in range(2_000)]))
    read = posesInSlicer(slicer, found.transforms["Probe"])
    assert [int(matrix[0, 3]) for _, matrix in read] == list(range(2_000))


@pytest.mark.parametrize(
    ("period", "device", "least"), [(0.002, True, 1000), (0.001, True, 495), (0.0, False, 50), (0.002, False, 1000)]
)
def test_poses_too_close_for_slicer(slicer, tmp_path, period, device, least):
    """Slicer drops no pose of the file, each pose is near its time, and the messages are complete."""
    times = [START + number * period for number in range(1000)]
    given = [
        deviceMessage(number, receiveTime=time, deviceTime=time if device else None)
        for number, time in enumerate(times)
    ]
    path = recordMessages(tmp_path, given)
    found = openMessages(path)
    read = posesInSlicer(slicer, found.transforms["Probe"])
    entry = manifestOf(path)["devices"][0]
    assert len(read) == entry["poses"] >= least
    assert entry["poses"] + entry["posesLeftOut"] == 1000 == len(list(found.messages()))
    late = [time - times[int(matrix[0, 3])] + START for time, matrix in read]
    assert min(late) >= -0.0006
    assert max(late) <= (0.003 if device else 0.11)


def test_an_invalid_matrix_is_stored_as_a_message_without_a_pose(slicer, tmp_path):
    given = [
        deviceMessage(number, matrix=matrix)
        for number, matrix in enumerate(
            [
                np.full((4, 4), math.nan).tolist(),
                np.zeros((4, 4)).tolist(),
                [1, 2, 3],
                None,
                "x",
                poseAt(5).tolist(),
                np.diag([1.0, 1, 1, 2]).tolist(),
            ]
        )
    ]
    path = recordMessages(tmp_path, given)
    ((time, matrix),) = posesInSlicer(slicer, openMessages(path).transforms["Probe"])
    assert (time, matrix[0, 3]) == (0.05, 5)
    assert (manifestOf(path)["devices"][0]["messages"], manifestOf(path)["devices"][0]["poses"]) == (7, 1)
    assert [pose.time for pose in openMessages(path).poses() if pose] == [0.05]


def test_a_full_disk(slicer, tmp_path):
    """Messages that fit are complete, also after space becomes free; the poses are made at the end."""
    recording, stored, number = MessageRecorder(str(tmp_path), "Test", {}), [], 0
    with filesOfAtMost(20_000):
        while recording.failed < 5:
            if recording.append(deviceMessage(number)):
                stored.append(number)
            number += 1
    for later in range(number, number + 300):
        assert recording.append(deviceMessage(later))
        stored.append(later)
    assert [event.code for event in recording.events()] == ["recording-failed", "recording-gap"]
    found = openMessages(recording.finish()[0])
    assert [line.number for line in found.messages()] == stored
    assert recording.recorded == len(stored)
    assert recording.failed == 5
    read = posesInSlicer(slicer, found.transforms["Probe"])
    assert [int(matrix[0, 3]) for _, matrix in read] == stored


def test_a_damaged_file_of_poses_is_made_again(slicer, tmp_path):
    recording = MessageRecorder(str(tmp_path), "Test", {})
    for number in range(500):
        assert recording.append(deviceMessage(number))
        if number == 250:
            (tmp_path / "Test-Probe.seq.mha").unlink()
    found = openMessages(recording.finish()[0])
    assert len(posesInSlicer(slicer, found.transforms["Probe"])) == 500


@pytest.mark.skipif(os.name != "posix", reason="rights are others there")
def test_unfinished_messages_are_reported_and_a_repair_finishes_them(slicer, tmp_path):
    recording = MessageRecorder(str(tmp_path), "Test", {})
    for number in range(3):
        assert recording.append(deviceMessage(number))
    (tmp_path / "Test-Probe.seq.mha").unlink()
    with withoutRights(tmp_path):
        assert recording.finish() == []
    (event,) = recording.events()
    assert event.code == "recording-unfinished"
    (found,) = repair(str(tmp_path))
    assert len(posesInSlicer(slicer, openMessages(found.messages[0]).transforms["Probe"])) == 3
