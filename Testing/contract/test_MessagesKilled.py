"""Processes killed while they record or repair messages: acknowledged messages are kept."""

import json
import os
import random
import shutil
import textwrap

import numpy as np
import pytest
from contract.inSlicer import posesInSlicer
from RealTimeImagingLib.Recording import MessageRecorder, openMessages, openRecording, repair
from unit import crashes
from unit.conftest import snapshot
from unit.recordings import ageLocks, bytesOf, countWords, deviceMessage, killAfter, poseAt, recordMessages

posix = pytest.mark.skipif(os.name != "posix", reason="a process that forks is needed")


def assertHolds(slicer, path, given):
    """Check that the file has exactly these messages, and that Slicer reads the poses of each device."""
    found = openMessages(path)
    assert [line.message for line in found.messages()] == given
    poses = {}
    for message in given:
        if message.kind == "transform":
            poses.setdefault(message.device, []).append(message.values["matrix"])
    assert set(found.transforms) == set(poses)
    for device, matrices in poses.items():
        read = posesInSlicer(slicer, found.transforms[device])
        assert np.array_equal([matrix for _, matrix in read], matrices)
    return found


def assertNothingToRepair(folder):
    left = [name for name in os.listdir(folder) if name.endswith((".lock", ".tmp"))]
    assert (left, repair(str(folder))) == ([], [])


def dead(folder, given):
    """Make the files that a killed process leaves, with a free lock."""
    recording = MessageRecorder(str(folder), "Test", {})
    for each in given:
        assert recording.append(each)
    recording._file.rest()
    recording._file.lock.release(remove=False)


# Killed at every step


@posix
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_step_every_acknowledged_message_is_kept(slicer, tmp_path, dies, after):
    given, died, step, repaired = crashes.words(), True, 0, 0
    while died:
        folder = tmp_path / str(step)
        folder.mkdir()
        stored, died = dies("messages", folder, step, after)
        for found in repair(str(folder)):
            repaired += 1
            assert (found.event.code, found.recording, found.headers) == ("recording-repaired", "Test.messages", [])
            assert len(found.messages) <= 1
            count = openMessages(found.messages[0]).count if found.messages else 0
            # The process may have died between writing a line and acknowledging the message.
            assert len(stored) <= count <= len(stored) + 1
            assert countWords(count, "message") in found.event.text
            torn = "Cut off" in found.event.text
            assert found.event.level == ("warning" if torn else "info")
        manifests = list(folder.glob("*.json"))
        assert len(manifests) == (1 if stored else len(manifests))
        for path in manifests:
            count = openMessages(str(path)).count
            assertHolds(slicer, str(path), given[:count])
        assert set(os.listdir(folder)) <= {
            "Test.messages.json",
            "Test.messages.jsonl",
            "Test-Probe.seq.mha",
            "Test-Needle.seq.mha",
        }
        assertNothingToRepair(folder)
        step += 1
    assert stored == list(range(len(given)))
    assert step > 20
    assert repaired > 15


@posix
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_repair_killed_at_any_step_is_repeated_with_the_same_result(tmp_path, dies, after):
    folder = tmp_path / "dead"
    folder.mkdir()
    dead(folder, crashes.words())
    with open(folder / "Test.messages.jsonl", "ab") as file:
        file.write(b'{"number":')
    expected = tmp_path / "expected"
    shutil.copytree(folder, expected)
    (whole,) = repair(str(expected))
    assert "Cut off: 10 bytes" in whole.event.text
    died, step = True, 0
    while died:
        again = tmp_path / f"again{step}"
        shutil.copytree(folder, again)
        _, died = dies("repair", again, step, after)
        found = repair(str(again))
        assert bytesOf(again) == bytesOf(expected)
        text = whole.event.text.replace(str(expected), str(again))
        assert [one.event.text for one in found] in ([], [text])
        assertNothingToRepair(again)
        step += 1
    assert step > 8


# Killed at random moments

OFTEN = textwrap.dedent("""
    import os, sys
    from RealTimeImagingLib.Recording import MessageRecorder, Origin, Recorder
    from unit.recordings import deviceMessage, quickFrame
    origin = Origin()
    messages = MessageRecorder(sys.argv[1], "Test", {}, origin)
    images = Recorder(sys.argv[1], "Test", "Image", {}, origin)
    number = 0
    while True:
        assert messages.append(deviceMessage(number, "transform", "AB"[number % 2]))
        number += 1
        os.write(1, b"%d\\n" % number)
        if number % 3 == 0:
            assert images.append(quickFrame("small", number // 3))
""")


@pytest.mark.parametrize("seed", range(12))
def test_killed_at_a_random_moment_every_acknowledged_message_is_kept(slicer, tmp_path, seed):
    """Images and messages of one process: both are there, on one axis of time."""
    acknowledged = killAfter(random.Random(seed).uniform(0, 0.1), OFTEN, tmp_path)
    ageLocks(tmp_path)
    repairs = {one.recording: one for one in repair(str(tmp_path))}
    found = repairs["Test.messages"]
    count = openMessages(found.messages[0]).count
    assert acknowledged <= count <= acknowledged + 1
    assert countWords(count, "message") in found.event.text
    given = [deviceMessage(number, "transform", "AB"[number % 2]) for number in range(count)]
    messages = assertHolds(slicer, found.messages[0], given)
    if "Test-Image" in repairs and repairs["Test-Image"].headers:
        assert openRecording(repairs["Test-Image"].headers[0]).origin == messages.origin
    assertNothingToRepair(tmp_path)


# Files of dead processes and foreign files


def test_the_messages_of_a_living_process_are_not_touched(tmp_path):
    recording = MessageRecorder(str(tmp_path), "Test", {})
    assert recording.append(deviceMessage(0))
    before = snapshot(tmp_path)
    assert (repair(str(tmp_path)), snapshot(tmp_path)) == ([], before)
    assert recording.append(deviceMessage(1))
    assert openMessages(recording.finish()[0]).count == 2


def test_a_repair_makes_what_a_stop_makes(tmp_path):
    given = crashes.words()
    folders = tmp_path / "stop", tmp_path / "repair"
    for folder in folders:
        folder.mkdir()
    recordMessages(folders[0], given)
    dead(folders[1], given)
    (found,) = repair(str(folders[1]))
    stopped, repaired = map(bytesOf, folders)
    manifests = [json.loads(files.pop("Test.messages.json")) for files in (stopped, repaired)]
    assert stopped == repaired
    assert [manifest.pop("finishedBy") for manifest in manifests] == ["stop", "repair"]
    assert manifests[0] == manifests[1]
    assert found.event.level == "info"


def test_gaps_before_the_death_are_in_the_report(tmp_path):
    folder = tmp_path / "later"
    recording = MessageRecorder(str(folder), "Test", {})
    assert not recording.append(deviceMessage(0))
    folder.mkdir()
    assert recording.append(deviceMessage(1))
    recording._file.lock.release(remove=False)
    (found,) = repair(str(folder))
    assert "Not stored: message 0: the folder or a file in it is gone." in found.event.text
    assert found.event.level == "warning"


def test_zeros_that_a_power_failure_left_at_the_end_are_cut_off(slicer, tmp_path):
    dead(tmp_path, crashes.words())
    with open(tmp_path / "Test.messages.jsonl", "ab") as file:
        file.write(bytes(200) + b"\n")
    (found,) = repair(str(tmp_path))
    assertHolds(slicer, found.messages[0], crashes.words())
    assert "201 bytes" in found.event.text


@pytest.mark.parametrize(("place", "words"), [(0, "the first line of"), (2, "line 3 of")])
def test_a_damaged_file_is_left_unchanged_and_reported(slicer, tmp_path, place, words):
    dead(tmp_path, crashes.words())
    path = tmp_path / "Test.messages.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:place], b"?" * len(lines[place]), *lines[place + 1 :]]))
    before = snapshot(tmp_path)
    for _ in range(2):
        (found,) = repair(str(tmp_path))
        assert (found.event.code, found.event.level, found.messages) == ("recording-unrepaired", "error", [])
        assert words in found.event.text
        assert snapshot(tmp_path) == before
    path.write_bytes(b"\n".join(lines))
    (found,) = repair(str(tmp_path))
    assertHolds(slicer, found.messages[0], crashes.words())


def test_a_stream_of_images_whose_name_looks_like_messages_is_repaired_as_images(tmp_path):
    from unit.recordings import frame, recorder

    recording = recorder(tmp_path, "B.messages")
    assert recording.append(frame(0, stream="B.messages"))
    recording._lock.release(remove=False)
    (found,) = repair(str(tmp_path))
    assert (found.recording, len(found.headers), found.messages) == ("Test-B.messages", 1, [])


def test_a_foreign_file_with_the_name_of_the_poses_stays(slicer, tmp_path):
    dead(tmp_path, crashes.words())
    (tmp_path / "Test-Probe.seq.mha").write_bytes(b"ObjectType = Image\nother")
    (found,) = repair(str(tmp_path))
    assert (tmp_path / "Test-Probe.seq.mha").read_bytes() == b"ObjectType = Image\nother"
    assert poseAt(0)[0, 3] == 0
    assertHolds(slicer, found.messages[0], crashes.words())
