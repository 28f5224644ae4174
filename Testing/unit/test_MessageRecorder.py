"""MessageRecorder: lines, poses and manifest of device messages."""

import dataclasses
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from RealTimeImagingLib.Model.Errors import RecordingError
from RealTimeImagingLib.Recording import MessageRecorder, Origin, openMessages, openRecording, repair
from unit.recordings import (
    START,
    bytesOf,
    deviceMessage,
    frame,
    manifestOf,
    record,
    recorder,
    recordMessages,
)


def names(folder):
    return sorted(os.listdir(folder))


# What is stored


OTHERS = [
    deviceMessage(0, "points", "Markers", points=[{"position": [1.5, 2, 3], "name": "Größe\n鼠", "group": ""}]),
    deviceMessage(1, "text", "Notes", text='a "b"\r\n\0 \u2028 \\n'),
    deviceMessage(2, "status", "Scanner", code=1, subCode=0, name="", text="", ok=True),
    deviceMessage(3, "sensor", "Force", values=[1.0, 5e-324, -0.0], unit="N"),
    deviceMessage(4, "polydata", "Bone", points="AAAA" * 9999, lines=""),
    deviceMessage(5, "command", "Scanner", id=3, name="START", text="<x/>"),
]


def test_every_kind_of_message_is_stored_unchanged(tmp_path):
    given = [
        dataclasses.replace(message, attributes={"Key": "BKS.Cg-Dock7m +/+ Leprdb/J"}, deviceTime=time)
        for message in [*OTHERS, deviceMessage(6)]
        for time in (None, 1e9 / 7)
    ]
    found = openMessages(recordMessages(tmp_path, given))
    assert [line.message for line in found.messages()] == given
    assert [line.number for line in found.messages()] == list(range(len(given)))
    assert (found.count, found.name, found.origin) == (len(given), "Test", START)


def test_values_that_json_cannot_hold_are_converted(tmp_path):
    values = {"number": math.nan, "list": (np.float32(0.5), math.inf), "array": np.eye(2), "else": {3: b"x"}}
    given = deviceMessage(0, "other", "Odd", **values)
    given = dataclasses.replace(given, deviceTime=math.inf)
    (line,) = openMessages(recordMessages(tmp_path, [given])).messages()
    assert line.message.values == {
        "number": None,
        "list": [0.5, None],
        "array": [[1, 0], [0, 1]],
        "else": {"3": "b'x'"},
    }
    assert line.message.deviceTime is None


@pytest.mark.parametrize("time", [1.797693134862316e305, -1.797693134862316e305, 1.7976931348623157e308])
def test_impossible_device_times_leave_the_recording_readable(tmp_path, time):
    messages = [deviceMessage(number, deviceTime=each) for number, each in enumerate((time, 5.0, time))]
    frames = [frame(number, (1, 1, 1), deviceTime=each) for number, each in enumerate((time, 5.0, time))]
    found, part = openMessages(recordMessages(tmp_path, messages)), openRecording(record(tmp_path, frames)[0])
    assert [line.message for line in found.messages()] == messages
    assert [entry["deviceTime"] for entry in part.frames] == [time, 5.0, time]
    for times in ([line.time for line in found.messages()], part.times):
        assert times == sorted(set(times))
        assert max(times) < 1


def test_one_message_is_one_line_written_at_once(tmp_path, monkeypatch):
    recording, written, write = MessageRecorder(str(tmp_path), "Test", {}), [], os.write
    assert recording.append(deviceMessage(0, "text", "Notes", text="a"))
    monkeypatch.setattr(os, "write", lambda handle, data: written.append(bytes(data)) or write(handle, data))
    for number in range(1, 4):
        assert recording.append(deviceMessage(number))
        lines = (tmp_path / "Test.messages.jsonl").read_bytes().split(b"\n")
        assert json.loads(lines[number + 1])["number"] == number
    assert [data.count(b"\n") for data in written if data.startswith(b'{"number"')] == [1, 1, 1]
    recording.finish()


def test_files_and_manifest(tmp_path):
    given = [deviceMessage(number, "transform", device) for number in range(4) for device in ("Probe", "a/b: C")]
    path = recordMessages(tmp_path, [*given, deviceMessage(4, "text", "Probe", text="x")], {"Strain": "B6"})
    assert names(tmp_path) == [
        "Test-Probe.seq.mha",
        "Test-a_b__C.seq.mha",
        "Test.messages.json",
        "Test.messages.jsonl",
    ]
    manifest = manifestOf(path)
    assert (manifest["recorded"], manifest["failed"], manifest["gaps"], manifest["finishedBy"]) == (9, 0, [], "stop")
    assert (manifest["attributes"], manifest["messages"]) == ({"Strain": "B6"}, "Test.messages.jsonl")
    assert (manifest["firstTime"], manifest["lastTime"]) == (0, 0.04)
    assert manifest["devices"][0] == {
        "device": "Probe",
        "kind": "transform",
        "messages": 4,
        "firstTime": 0,
        "lastTime": 0.03,
        "clocks": {"arrival": 4},
        "transforms": "Test-Probe.seq.mha",
        "poses": 4,
        "posesLeftOut": 0,
    }
    assert [entry.get("transforms") for entry in manifest["devices"][1:]] == ["Test-a_b__C.seq.mha", None]
    assert openMessages(path).transforms == {
        "Probe": str(tmp_path / "Test-Probe.seq.mha"),
        "a/b: C": str(tmp_path / "Test-a_b__C.seq.mha"),
    }


def test_without_a_message_there_is_no_file(tmp_path):
    recording = MessageRecorder(str(tmp_path), "Test", {})
    assert (recording.finish(), recording.finish(), names(tmp_path)) == ([], [], [])
    with pytest.raises(RecordingError):
        recording.append(deviceMessage(0))


def test_no_name_is_used_twice(tmp_path):
    for name in ("Test-Probe.seq.mha", "TEST.messages.lock"):
        (tmp_path / name).write_bytes(b"other")
    before = bytesOf(tmp_path)
    paths = [recordMessages(tmp_path, [deviceMessage(number)]) for number in range(3)]
    assert len({path.lower() for path in paths}) == 3
    files = [path for one in paths for path in openMessages(one).transforms.values()]
    assert len(set(files)) == 3
    assert before.items() <= bytesOf(tmp_path).items()


def test_two_processes_record_messages_under_one_name(tmp_path):
    one, other = (MessageRecorder(str(tmp_path), "Test", {}) for _ in range(2))
    for number in range(3):
        assert one.append(deviceMessage(number))
        assert other.append(deviceMessage(10 + number))
    found = [openMessages(each.finish()[0]) for each in (one, other)]
    assert [each.recording for each in found] == ["Test.messages", "Test_1.messages"]
    assert [[line.message for line in each.messages()] for each in found] == [
        [deviceMessage(number) for number in range(3)],
        [deviceMessage(number) for number in range(10, 13)],
    ]


# In time


def test_messages_and_images_have_one_axis_of_time(tmp_path):
    """Poses arrive 0.2 to 0.3 s late and in bursts; equal device times have equal indices."""
    origin = Origin()
    images, recording = recorder(tmp_path, "Image", origin=origin), MessageRecorder(str(tmp_path), "Test", {}, origin)
    for number in range(30):
        assert images.append(frame(number, stream="Image", deviceTime=70.0 + number / 30))
    for number in range(100):
        arrival = START + (number // 10 + 1) / 10 + 0.2
        assert recording.append(deviceMessage(number, receiveTime=arrival, deviceTime=70.0 + number / 100))
    part, found = openRecording(images.finish()[0]), openMessages(recording.finish()[0])
    times = [line.time for line in found.messages()]
    assert times == [number / 100 for number in range(100)]
    assert {line.clock for line in found.messages()} == {"device"}
    assert [part.times[i] for i in (0, 3, 6)] == [times[i] for i in (0, 10, 20)]
    assert part.origin == found.origin


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        *[({}, "OK"), ({"Status": "OK"}, "OK"), ({"Status": "MISSING"}, "MISSING"), ({"status": " "}, "OK")],
        ({"Status": "ok"}, "OK"),
        *[({"TransformStatus": "OUT_OF_VIEW"}, "OUT_OF_VIEW"), ({"Status": "not\nseen = ø"}, "not_seen")],
    ],
)
def test_a_pose_has_the_status_of_its_tool(tmp_path, attributes, status):
    given = [dataclasses.replace(deviceMessage(number), attributes=attributes) for number in range(3)]
    path = recordMessages(tmp_path, given)
    messages = openMessages(path)
    (file,) = messages.transforms.values()
    lines = Path(file).read_text().splitlines()
    assert [line.split(" = ")[1] for line in lines if "PoseTransformStatus" in line] == [status] * 3
    assert [pose.status for pose in messages.poses() if pose] == [status] * 3
    assert [dict(line.message.attributes) for line in messages.messages()] == [attributes] * 3


# Failures


def test_an_absent_folder_is_reported_once_and_later_messages_are_stored(tmp_path):
    folder = tmp_path / "later"
    recording = MessageRecorder(str(folder), "Test", {})
    assert [recording.append(deviceMessage(number)) for number in range(3)] == [False] * 3
    (event,) = recording.events()
    assert (event.code, event.level) == ("recording-failed", "error")
    assert "from message 0 on: the folder or a file in it is gone" in event.text
    folder.mkdir()
    assert recording.append(deviceMessage(3))
    (event,) = recording.events()
    assert event.code == "recording-gap"
    assert "messages 0 to 2 (3) of devices" in event.text
    (path,) = recording.finish()
    assert (recording.recorded, recording.failed) == (1, 3)
    assert manifestOf(path)["gaps"] == [
        {"first": 0, "last": 2, "count": 3, "reason": "the folder or a file in it is gone"},
    ]
    (line,) = openMessages(path).messages()
    assert (line.number, line.missed.count) == (3, 3)


def test_messages_in_a_removed_file_count_as_failed_and_the_next_file_has_another_name(tmp_path):
    recording = MessageRecorder(str(tmp_path), "Test", {})
    for number in range(3):
        assert recording.append(deviceMessage(number))
    (tmp_path / "Test.messages.jsonl").unlink()
    recording._file._checkAt = 0
    assert recording.append(deviceMessage(3))
    assert (recording.recorded, recording.failed) == (1, 3)
    (event,) = recording.events()
    assert "messages 0 to 2 (3) of devices" in event.text
    assert "removed or cut" in event.text
    (line,) = openMessages(recording.finish()[0]).messages()
    assert line.message == deviceMessage(3)
    assert repair(str(tmp_path)) == []


def test_messages_in_a_file_removed_before_the_stop_are_reported(tmp_path):
    recording = MessageRecorder(str(tmp_path), "Test", {})
    assert recording.append(deviceMessage(0))
    (tmp_path / "Test.messages.jsonl").unlink()
    assert recording.finish() == []
    assert (recording.recorded, recording.failed, names(tmp_path)) == (0, 1, [])
    assert [event.code for event in recording.events()] == ["recording-gap"]


@pytest.mark.skipif(os.name != "posix", reason="Windows removes no open file")
def test_messages_of_another_recorder_under_the_same_name_are_not_touched(tmp_path):
    """The files are removed, and another recorder takes their name."""
    first, second = (MessageRecorder(str(tmp_path), "Test", {}) for _ in range(2))
    assert first.append(deviceMessage(9))
    for name in names(tmp_path):
        (tmp_path / name).unlink()
    messages = [deviceMessage(number) for number in range(3)]
    assert [second.append(each) for each in messages] == [True] * 3
    assert first.finish() == []
    assert (first.recorded, first.failed) == (0, 1)
    assert [line.message for line in openMessages(second.finish()[0]).messages()] == messages


@pytest.mark.skipif(os.name != "posix", reason="Windows removes no open file")
def test_messages_of_another_recorder_are_not_touched_by_one_that_had_closed_its_file(tmp_path):
    first, second = (MessageRecorder(str(tmp_path), "Test", {}) for _ in range(2))
    assert first.append(deviceMessage(9))
    first._file.rest()
    for name in names(tmp_path):
        (tmp_path / name).unlink()
    messages = [deviceMessage(number) for number in range(3)]
    assert [second.append(each) for each in messages] == [True] * 3
    before = (tmp_path / "Test.messages.jsonl").read_bytes()
    assert first.append(deviceMessage(10))
    assert (tmp_path / "Test.messages.jsonl").read_bytes() == before
    (manifest,) = first.finish()
    assert os.path.basename(manifest) == "Test_1.messages.json"
    assert [line.message for line in openMessages(manifest).messages()] == [deviceMessage(10)]
    assert (first.recorded, first.failed) == (1, 1)
    assert [line.message for line in openMessages(second.finish()[0]).messages()] == messages


def test_attributes_that_cannot_be_stored_are_rejected(tmp_path):
    with pytest.raises(RecordingError, match="Bad: name"):
        MessageRecorder(str(tmp_path), "Test", {"Bad: name": "x"})


# Reading


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"no JSON", b'{"messages": "other"}'])
def test_an_invalid_manifest_is_rejected(tmp_path, text):
    path = recordMessages(tmp_path, [deviceMessage(0)])
    with open(path, "wb") as file:
        file.write(text)
    with pytest.raises(RecordingError):
        openMessages(path)


def test_missing_messages_are_reported(tmp_path):
    path = recordMessages(tmp_path, [deviceMessage(0)])
    found = openMessages(path)
    (tmp_path / "Test.messages.jsonl").unlink()
    for read in (lambda: openMessages(path), lambda: list(found.messages()), lambda: list(found.poses())):
        with pytest.raises(RecordingError, match="cannot be read"):
            read()
