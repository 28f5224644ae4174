"""Repair: recordings of dead processes are finished, or stay unchanged and are reported."""

import os
import textwrap
import threading

import pytest
from RealTimeImagingLib.Recording import MessageRecorder, Recorder, repair
from RealTimeImagingLib.Recording.Lines import FrameLine
from unit.conftest import snapshot
from unit.recordings import assertHolds, assertRepaired, bytesOf, child, deviceMessage, frame, manifestOf, recorder

# Living processes

LIVING = textwrap.dedent("""
    import sys
    from unit.recordings import frame, recorder
    recording = recorder(sys.argv[1])
    assert recording.append(frame(0))
    print("there", flush=True)
    sys.stdin.readline()
    assert recording.append(frame(1)) and not recording.events()
    print(*recording.finish(), flush=True)
""")


def test_the_recording_of_a_living_process_is_not_touched(tmp_path):
    process = child("-c", LIVING, tmp_path)
    process.stdout.readline()
    before = snapshot(tmp_path)
    assert (repair(str(tmp_path)), snapshot(tmp_path)) == ([], before)
    path = process.communicate("\n")[0].strip()
    assert process.returncode == 0
    assertHolds([path], [frame(0), frame(1)])


def test_a_recording_of_this_process_is_not_touched(tmp_path):
    recording = recorder(tmp_path)
    assert recording.append(frame(0))
    assert repair(str(tmp_path)) == []
    assert recording.append(frame(1))
    assertHolds(recording.finish(), [frame(0), frame(1)])


def test_a_lock_file_that_was_just_made_is_left_alone(tmp_path):
    """Its process may not have locked it yet, and would record under another name."""
    path = tmp_path / "Test-Scan.lock"
    path.touch(0o600)
    assert (repair(str(tmp_path)), path.exists()) == ([], True)
    os.utime(path, (0, 0))  # its process died
    (found,) = repair(str(tmp_path))
    assert (found.event.code, found.recording, path.exists()) == ("recording-repaired", "Test-Scan", False)


def test_two_repairs_at_once_finish_each_recording_once(tmp_path):
    for number in range(20):
        deadRecording(tmp_path, [frame(number)])
    found = []
    threads = [threading.Thread(target=lambda: found.append(repair(str(tmp_path)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [one for repairs in found for one in repairs]
    assert {one.event.code for one in done} == {"recording-repaired"}
    assert len({one.recording for one in done}) == len(done) == 20
    assertRepaired(tmp_path)


# Files of dead processes and foreign files


def test_files_of_values_belong_to_the_recording(tmp_path):
    base = deadRecording(tmp_path, [frame(0)])
    name = base.rpartition("-")[0]
    for other in (f"{name}-Live_mean.values.csv", "Other-Live_mean.values.csv"):
        (tmp_path / other).touch()
    (found,) = repair(str(tmp_path))
    assert found.values == [str(tmp_path / f"{name}-Live_mean.values.csv")]
    assert found.toJSON()["values"] == found.values


def deadRecording(folder, frames, name="Test"):
    """Make the files that a killed process leaves, with a free lock; return their base name."""
    recording = Recorder(str(folder), name, frames[0].stream, {})
    for each in frames:
        assert recording.append(each)
    recording._lock.release(remove=False)
    for part in recording._parts:
        part.rest()
    return recording._base


def test_recordings_are_repaired_in_the_order_of_their_names(tmp_path):
    deadRecording(tmp_path, [frame(0)])
    deadRecording(tmp_path, [frame(1)])
    assert [found.recording for found in repair(str(tmp_path))] == ["Test-Scan", "Test_1-Scan"]


def test_an_empty_or_absent_folder_needs_no_repair(tmp_path):
    assert (repair(str(tmp_path)), repair(str(tmp_path / "absent"))) == ([], [])


def test_a_recording_whose_name_looks_like_a_part_of_another_is_its_own(tmp_path):
    one, other = [frame(0)], [frame(0, (1, 1, 1), stream="Scan_2"), frame(1, stream="Scan_2")]
    deadRecording(tmp_path, one)
    deadRecording(tmp_path, other)
    found = {each.recording: each.headers for each in repair(str(tmp_path))}
    assert set(found) == {"Test-Scan", "Test-Scan_2"}
    assertHolds(found["Test-Scan"], one)
    assertHolds(found["Test-Scan_2"], other)


def test_frames_whose_pixels_a_power_failure_removed_are_reported_by_number(tmp_path):
    deadRecording(tmp_path, [frame(number) for number in range(5, 11)])
    os.truncate(tmp_path / "Test-Scan.raw", 3 * 48 + 7)
    (found,) = repair(str(tmp_path))
    assertHolds(found.headers, [frame(number) for number in range(5, 8)])
    assert found.event.level == "warning"
    assert "3 frames, the last is number 7" in found.event.text
    assert "frames 8 to 10 (3): the pixels are not in the file" in found.event.text
    assert "7 bytes" in found.event.text
    manifest = manifestOf(found.headers[0])
    assert (manifest["recorded"], manifest["failed"], manifest["finishedBy"]) == (3, 3, "repair")
    assertRepaired(tmp_path)


def test_without_pixels_there_is_no_header_and_all_frames_are_reported_lost(tmp_path):
    deadRecording(tmp_path, [frame(0), frame(1)])
    (tmp_path / "Test-Scan.raw").unlink()
    (found,) = repair(str(tmp_path))
    assert (found.headers, found.event.level, os.listdir(tmp_path)) == ([], "warning", [])
    assert "no frame was stored" in found.event.text
    assert "frames 0 to 1 (2)" in found.event.text


def test_gaps_before_the_death_are_in_the_report_and_the_manifest(tmp_path):
    folder = tmp_path / "later"
    recording = recorder(folder)
    assert not recording.append(frame(0))
    folder.mkdir()
    assert recording.append(frame(1))
    recording._lock.release(remove=False)
    (found,) = repair(str(folder))
    assert "Not stored: frame 0: the folder or a file in it is gone." in found.event.text
    manifest = manifestOf(found.headers[0])
    assert (manifest["recorded"], manifest["failed"], manifest["gaps"][0]["count"]) == (1, 1, 1)


def test_zeros_that_a_power_failure_left_at_the_end_are_cut_off(tmp_path):
    deadRecording(tmp_path, [frame(0), frame(1)])
    with open(tmp_path / "Test-Scan.jsonl", "ab") as lines, open(tmp_path / "Test-Scan.raw", "ab") as raw:
        lines.write(bytes(200) + b"\n")
        raw.write(bytes(48))
    (found,) = repair(str(tmp_path))
    assertHolds(found.headers, [frame(0), frame(1)])
    assert "48 bytes" in found.event.text


@pytest.mark.parametrize(("place", "words"), [(0, "does not describe the pixels"), (2, "line 3 of")])
def test_a_damaged_file_is_left_unchanged_and_reported(tmp_path, place, words):
    deadRecording(tmp_path, [frame(number) for number in range(4)])
    path = tmp_path / "Test-Scan.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:place], b"?" * len(lines[place]), *lines[place + 1 :]]))
    before = snapshot(tmp_path)
    for _ in range(2):
        (found,) = repair(str(tmp_path))
        assert (found.event.code, found.event.level, found.headers) == ("recording-unrepaired", "error", [])
        assert words in found.event.text
        assert snapshot(tmp_path) == before
    path.write_bytes(b"\n".join(lines))
    (found,) = repair(str(tmp_path))
    assertHolds(found.headers, [frame(number) for number in range(4)])


@pytest.mark.parametrize("blocked", ["Test-Scan.seq.nhdr", "Test-Scan.json", "Test-Scan.jsonl"])
def test_a_file_that_cannot_be_written_or_read_is_reported_and_repaired_later(tmp_path, blocked):
    deadRecording(tmp_path, [frame(0)])
    deadRecording(tmp_path, [frame(1)])
    path, away = tmp_path / blocked, tmp_path / "away"
    if path.exists():
        path.rename(away)
    path.mkdir()
    first, second = repair(str(tmp_path))
    assert (first.event.code, first.headers, second.event.code) == ("recording-unrepaired", [], "recording-repaired")
    assert "cannot be finished" in first.event.text
    path.rmdir()
    if away.exists():
        away.rename(path)
    (found,) = repair(str(tmp_path))
    assertHolds(found.headers, [frame(0)])
    assertRepaired(tmp_path)


def test_foreign_files_stay(tmp_path):
    deadRecording(tmp_path, [frame(0)])
    others = {"Test-Scan_x.raw": b"", "Test-Scan.txt": b"x", "Other.jsonl": b"x", "Test-Scan_7.raw": b"x"}
    others |= {"Test-Scan_8.seq.nhdr": b"x", "Test-Scan_8.raw": b""}
    for name, data in others.items():
        (tmp_path / name).write_bytes(data)
    (found,) = repair(str(tmp_path))
    assertHolds(found.headers, [frame(0)])
    assert {name: data for name, data in bytesOf(tmp_path).items() if name in others} == others


@pytest.mark.parametrize("text", [b"", b"12345", b'{"name": "other"}', b"[" * 3000])
def test_locks_of_other_programs_stay(tmp_path, text):
    for name in ("conda.lock", "my-own.lock"):
        (tmp_path / name).write_bytes(text)
        (tmp_path / name).chmod(0o644)
    if os.name != "posix" and not text:
        (tmp_path / "my-own.lock").unlink()  # cannot be distinguished there
    before = bytesOf(tmp_path)
    assert (repair(str(tmp_path)), bytesOf(tmp_path)) == ([], before)


# Damaged files


@pytest.mark.skipif(os.name != "posix", reason="links need a right of their own on Windows")
@pytest.mark.parametrize("name", ["Test-Scan.raw", "Test.messages.jsonl", "Test-Probe.seq.mha"])
def test_a_file_behind_a_link_is_not_changed(tmp_path, name):
    folder, other = tmp_path / "recordings", tmp_path / "other"
    folder.mkdir()
    deadRecording(folder, [frame(0)])
    deadMessages(folder)
    other.write_bytes((folder / name).read_bytes() + b"of the user")
    before = other.read_bytes()
    (folder / name).unlink()
    (folder / name).symlink_to(other)
    texts = [found.event.text for found in repair(str(folder))]
    assert len(texts) == 2
    assert other.read_bytes() == before
    if not name.endswith(".mha"):  # the poses have another file
        assert any(f"cannot be finished: {name} is a link to a file with more bytes" in text for text in texts)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
@pytest.mark.parametrize("name", ["Test-Scan.jsonl", "Test-Scan.json", "Test-Scan.events", "Test.messages.jsonl"])
def test_a_pipe_does_not_stop_the_repair(tmp_path, name):
    """Without another program at a pipe, reading it never ends."""
    deadRecording(tmp_path, [frame(0)])
    deadMessages(tmp_path)
    deadRecording(tmp_path, [frame(1)], "Whole")
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    run = child("-c", "import sys; from RealTimeImagingLib.Recording import repair; repair(sys.argv[1])", tmp_path)
    assert run.wait(20) == 0, run.kill()
    run.communicate()
    assertHolds([str(tmp_path / "Whole-Scan.seq.nhdr")], [frame(1)])


def deadMessages(folder):
    recording = MessageRecorder(str(folder), "Test", {})
    assert recording.append(deviceMessage(0))
    recording._file.rest()
    recording._file.lock.release(remove=False)


DAMAGE = [
    *[b"[" * 3000, b"{}", b"[]", b"null", b"1e999", b'{"number":0}', b"\xff\xfe", b'{"a":' * 2000],
    b'{"number":1,"time":1e999,"clock":"","deviceTime":null,"receiveTime":0,"attributes":{}}',
    b'{"number":' + b"9" * 5000 + b"}",
]


@pytest.mark.parametrize("text", DAMAGE)
def test_a_damaged_last_line_is_named_and_the_others_are_finished(tmp_path, text):
    for name in "ABC":
        deadRecording(tmp_path, [frame(0), frame(1)], name)
    with open(tmp_path / "A-Scan.jsonl", "ab") as lines:
        lines.write(text + b"\n")
    found = {one.recording: one for one in repair(str(tmp_path))}
    assert {one.event.code for one in found.values()} == {"recording-repaired"}
    for one in found.values():
        assertHolds(one.headers, [frame(0), frame(1)])
    assert found["A-Scan"].event.level == "warning"
    assert "damaged: A-Scan.jsonl, line 4." in found["A-Scan"].event.text
    assert manifestOf(found["A-Scan"].headers[0])["damaged"] == ["A-Scan.jsonl, line 4"]
    assertRepaired(tmp_path)


@pytest.mark.parametrize("text", DAMAGE)
@pytest.mark.parametrize("place", [0, 1])
def test_a_damaged_line_before_others_stays_and_the_others_are_finished(tmp_path, text, place):
    for name in "AB":
        deadRecording(tmp_path, [frame(0), frame(1)], name)
    path = tmp_path / "A-Scan.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:place], text, *lines[place + 1 :]]))
    codes = {one.recording: one.event.code for one in repair(str(tmp_path))}
    assert codes == {"A-Scan": "recording-unrepaired", "B-Scan": "recording-repaired"}


@pytest.mark.parametrize(
    "text",
    [
        *[b"[" * 3000, b"{}", b"[]", b"", b'{"recording":"A-Scan"}', b'{"recording":"A-Scan","parts":[{}],"gaps":[]}'],
        b'{"recording":"A-Scan","recorded":1,"gaps":[],"parts":[{"raw":"../keep.raw","header":"../keep.seq.nhdr",'
        b'"bytes":0,"lastNumber":0}]}',
    ],
)
def test_a_damaged_manifest_is_written_again_and_cuts_no_foreign_file(tmp_path, text):
    folder, keep = tmp_path / "recordings", tmp_path / "keep.raw"
    folder.mkdir()
    keep.write_bytes(b"keep")
    for name in "AB":
        deadRecording(folder, [frame(0)], name)
    (folder / "A-Scan.json").write_bytes(text)
    found = repair(str(folder))
    assert [one.event.code for one in found] == ["recording-repaired"] * 2
    for one in found:
        assertHolds(one.headers, [frame(0)])
    assert keep.read_bytes() == b"keep"
    assertRepaired(folder)


def test_a_damaged_manifest_without_lines_is_named(tmp_path):
    deadRecording(tmp_path, [frame(0)])
    (tmp_path / "Test-Scan.jsonl").unlink()
    (tmp_path / "Test-Scan.json").write_bytes(b"?")
    before = snapshot(tmp_path)
    (found,) = repair(str(tmp_path))
    assert (found.event.code, snapshot(tmp_path)) == ("recording-unrepaired", before)
    assert "its manifest is damaged" in found.event.text


def test_damaged_messages_are_named_and_the_others_are_finished(tmp_path):
    deadRecording(tmp_path, [frame(0)])
    (tmp_path / "A.messages.lock").write_bytes(b"")
    os.utime(tmp_path / "A.messages.lock", (0, 0))
    (tmp_path / "A.messages.jsonl").write_bytes(b"[" * 3000 + b"\n")
    codes = {one.recording: one.event.code for one in repair(str(tmp_path))}
    assert codes == {"A.messages": "recording-unrepaired", "Test-Scan": "recording-repaired"}


def test_an_unfinished_line_is_not_a_frame(tmp_path):
    deadRecording(tmp_path, [frame(0), frame(1)])
    path = tmp_path / "Test-Scan.jsonl"
    data = path.read_bytes()
    FrameLine.fromText(data.split(b"\n")[2])
    path.write_bytes(data[:-1])  # complete except for its end
    (found,) = repair(str(tmp_path))
    assertHolds(found.headers, [frame(0)])


def test_pixels_whose_lines_a_power_failure_removed_are_kept(tmp_path):
    deadRecording(tmp_path, [frame(number) for number in range(6)])
    lines, raw = tmp_path / "Test-Scan.jsonl", tmp_path / "Test-Scan.raw"
    before = raw.read_bytes()
    lines.write_bytes(b"".join(lines.read_bytes().splitlines(True)[:3]))
    (found,) = repair(str(tmp_path))
    assertHolds(found.headers, [frame(0), frame(1)])
    assert found.event.level == "warning"
    assert "2 frames, the last is number 1" in found.event.text
    assert "Kept in Test-Scan.raw: 192 bytes of pixels whose lines were lost." in found.event.text
    assert raw.read_bytes() == before
    assert manifestOf(found.headers[0])["keptBytes"] == {"Test-Scan.raw": 192}
    assertRepaired(tmp_path)


def test_pixels_without_any_line_of_a_frame_are_kept_with_their_description(tmp_path):
    deadRecording(tmp_path, [frame(0), frame(1)])
    lines, raw = tmp_path / "Test-Scan.jsonl", tmp_path / "Test-Scan.raw"
    before = raw.read_bytes()
    first = lines.read_bytes().splitlines(True)[0]
    lines.write_bytes(first)
    (found,) = repair(str(tmp_path))
    assert (found.headers, raw.read_bytes(), lines.read_bytes()) == ([], before, first)
    assert "Kept in Test-Scan.raw: 96 bytes of pixels" in found.event.text
    assert repair(str(tmp_path)) == []


def test_an_interrupted_repair_keeps_the_same_pixels(tmp_path):
    """The manifest is there already."""
    deadRecording(tmp_path, [frame(number) for number in range(6)])
    lines, raw = tmp_path / "Test-Scan.jsonl", tmp_path / "Test-Scan.raw"
    text = b"".join(lines.read_bytes().splitlines(True)[:3])
    lines.write_bytes(text)
    before, lock = raw.read_bytes(), (tmp_path / "Test-Scan.lock").read_bytes()
    repair(str(tmp_path))
    lines.write_bytes(text)
    (tmp_path / "Test-Scan.lock").write_bytes(lock)
    (found,) = repair(str(tmp_path))
    assert "Kept in Test-Scan.raw: 192 bytes" in found.event.text
    assert raw.read_bytes() == before
    assertRepaired(tmp_path)


@pytest.mark.parametrize("left", [None, b"", bytes(20)], ids=["gone", "empty", "zeros"])
def test_a_part_without_lines_is_kept_and_named_and_the_other_parts_are_finished(tmp_path, left):
    """A power failure leaves such a file of a part that has just begun."""
    frames = [frame(0), frame(1), frame(2, (1, 2, 2)), frame(3, (1, 2, 2))]
    deadRecording(tmp_path, frames)
    lines, raw = tmp_path / "Test-Scan_2.jsonl", tmp_path / "Test-Scan_2.raw"
    before = raw.read_bytes()
    lines.unlink() if left is None else lines.write_bytes(left)
    (found,) = repair(str(tmp_path))
    assertHolds(found.headers, frames[:2])
    assert (found.event.code, found.event.level) == ("recording-repaired", "warning")
    assert "Kept in Test-Scan_2.raw: 16 bytes of pixels whose lines were lost." in found.event.text
    assert raw.read_bytes() == before
    assert repair(str(tmp_path)) == []


@pytest.mark.parametrize("count", [None, 0, 1, 3])
def test_a_part_that_was_closed_before_its_lines_were_lost_is_whole(tmp_path, count):
    """Its header has the lines, too."""
    frames = [*[frame(number) for number in range(6)], frame(6, (1, 2, 2))]
    deadRecording(tmp_path, frames)
    lines = tmp_path / "Test-Scan.jsonl"
    text = b"".join(lines.read_bytes().splitlines(True)[:count])
    lines.unlink() if count is None else lines.write_bytes(text)
    (found,) = repair(str(tmp_path))
    assertHolds(found.headers, frames)
    assert found.event.level == "info"
    assert manifestOf(found.headers[0])["recorded"] == 7
    assertRepaired(tmp_path)


def test_pixels_without_a_file_of_lines_are_not_called_no_frame(tmp_path):
    deadRecording(tmp_path, [frame(0), frame(1)])
    (tmp_path / "Test-Scan.jsonl").unlink()
    before = snapshot(tmp_path)
    (found,) = repair(str(tmp_path))
    assert (found.event.code, snapshot(tmp_path)) == ("recording-unrepaired", before)
    assert "Test-Scan.jsonl does not describe the pixels" in found.event.text
