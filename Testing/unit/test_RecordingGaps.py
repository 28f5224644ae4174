"""Frames that cannot be stored are counted and reported; all others are stored."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import threading
import time

import numpy as np
import pytest
from RealTimeImagingLib.Recording import repair
from unit.conftest import snapshot
from unit.recordings import RIGHT_HANDED, assertHolds, filesOfAtMost, frame, manifestOf, recorder, withoutRights

posix = pytest.mark.skipif(os.name != "posix", reason="Windows removes and renames no open file")


def names(folder):
    return sorted(os.listdir(folder))


def codes(events):
    return [event.code for event in events]


def noticing(recording, number, noticed, store=True):
    """Append frames from this number on, 200 each second, until it is so, within 2 s; the number of the last. All but
    the last are stored, and that one when ``store`` says so."""
    end = time.monotonic() + 2
    while True:
        stored = recording.append(frame(number))
        if noticed(stored):
            assert stored == store
            return number
        assert stored
        assert time.monotonic() < end, "it was not noticed"
        threading.Event().wait(0.005)
        number += 1


def failing(recording, number):
    """Append frames from this number on until one fails; return its number."""
    return noticing(recording, number, lambda stored: not stored, store=False)


def assertCounted(recording, received, failed):
    """Check the exact counts, also of the gaps."""
    assert (recording.recorded, recording.failed) == (received - failed, failed)
    assert sum(gap.count for gap in recording.gaps) == failed


def test_a_full_disk_costs_exactly_the_frames_that_do_not_fit(tmp_path):
    recording, big = recorder(tmp_path), (1, 100, 100)
    frames = [frame(number, big) for number in range(20)]
    with filesOfAtMost(5 * 20_000 + 777):  # only a part of the sixth frame fits
        assert [recording.append(each) for each in frames[:8]] == [True] * 5 + [False] * 3
        (event,) = recording.events()
        assert (event.code, event.level) == ("recording-failed", "error")
        assert re.search(r"Not stored in .*: 'Scan' from frame 5 on: \S+", event.text)
    assert [recording.append(each) for each in frames[8:]] == [True] * 12
    (event,) = recording.events()
    assert (event.code, event.level) == ("recording-gap", "error")
    assert "frames 5 to 7 (3) of 'Scan'" in event.text
    (path,) = recording.finish()
    assertHolds([path], frames[:5] + frames[8:])
    assertCounted(recording, 20, 3)
    manifest = manifestOf(path)
    assert (manifest["recorded"], manifest["failed"], manifest["gaps"]) == (
        17,
        3,
        [dataclasses.asdict(recording.gaps[0])],
    )


def test_a_disk_that_stays_full_reports_the_gap_at_the_end(tmp_path):
    recording = recorder(tmp_path)
    assert recording.append(frame(0, (1, 100, 100)))
    with filesOfAtMost(30_000):
        assert not recording.append(frame(1, (1, 100, 100)))
    assert codes(recording.events()) == ["recording-failed"]
    (path,) = recording.finish()
    (event,) = recording.events()
    assert event.code == "recording-gap"
    assert "frame 1 of 'Scan'" in event.text
    assertHolds([path], [frame(0, (1, 100, 100))])


def test_a_disk_without_space_for_a_line_stores_no_half_frame(tmp_path):
    recording = recorder(tmp_path)
    many = {"Text": "x" * 5000}
    assert recording.append(frame(0, (1, 1, 1), attributes=many))
    with filesOfAtMost(8000):
        assert not recording.append(frame(1, (1, 1, 1), attributes=many))
    assert (tmp_path / "Test-Scan.raw").stat().st_size == 2
    assert recording.append(frame(2, (1, 1, 1)))
    frames = [frame(0, (1, 1, 1), attributes=many), frame(2, (1, 1, 1))]
    assertHolds(recording.finish(), frames)


def test_a_header_that_does_not_fit_is_left_to_a_repair(tmp_path):
    recording = recorder(tmp_path)
    frames = [frame(number, (1, 1, 1), attributes={"Text": "x" * 1000}) for number in range(10)]
    frames += [frame(number) for number in range(10, 12)]
    for each in frames:
        assert recording.append(each)
    # The first part's header was written with the second part; the second's is small.
    (tmp_path / "Test-Scan_2.seq.nhdr.tmp").mkdir()
    assert recording.finish() == [str(tmp_path / "Test-Scan.seq.nhdr")]
    (event,) = recording.events()
    assert event.code == "recording-unfinished"
    assert "a repair finishes the recording" in event.text
    assert not (tmp_path / "Test-Scan.json").exists()
    (tmp_path / "Test-Scan_2.seq.nhdr.tmp").rmdir()
    (found,) = repair(str(tmp_path))
    assert found.event.code == "recording-repaired"
    assertHolds(found.headers, frames)


@posix
def test_a_full_tmpfs(tmp_path):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "none", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount")
    try:
        recording, frames = recorder(tmp_path), [frame(number, (1, 64, 32)) for number in range(80)]
        stored = [recording.append(each) for each in frames]
        count = stored.index(False)
        assert stored == [True] * count + [False] * (80 - count)
        assert 40 <= count < 50  # 50 pages, one for each frame
        assert recording.finish() == []  # no space for a header either
        assertCounted(recording, 80, 80 - count)
        assert recording.gaps[0].reason == "disk full"
        assert codes(recording.events()) == ["recording-failed", "recording-gap", "recording-unfinished"]
        subprocess.run(["mount", "-o", "remount,size=1m", tmp_path], check=True)
        (found,) = repair(str(tmp_path))
        assertHolds(found.headers, frames[:count])
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_frames_fail_until_the_folder_exists(tmp_path):
    folder = tmp_path / "later"
    recording = recorder(folder)
    assert [recording.append(frame(number)) for number in range(3)] == [False] * 3
    folder.mkdir()
    assert recording.append(frame(3))
    assert codes(recording.events()) == ["recording-failed", "recording-gap"]
    (path,) = recording.finish()
    assertHolds([path], [frame(3)])
    assertCounted(recording, 4, 3)
    assert manifestOf(path)["gaps"][0]["first"] == 0


@posix
def test_frames_fail_until_the_folder_is_writable(tmp_path):
    recording = recorder(tmp_path)
    with withoutRights(tmp_path):
        assert [recording.append(frame(number)) for number in range(2)] == [False] * 2
    assert recording.append(frame(2))
    assert [gap.reason for gap in recording.gaps] == ["permission denied"]
    assertHolds(recording.finish(), [frame(2)])
    assertCounted(recording, 3, 2)


@posix
def test_frames_in_a_removed_folder_count_as_failed(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    recording = recorder(folder)
    for number in range(5):
        assert recording.append(frame(number))
    shutil.rmtree(folder)
    last = failing(recording, 5)
    folder.mkdir()
    assert recording.append(frame(last + 1))
    (path,) = recording.finish()
    assertHolds([path], [frame(last + 1)])
    assertCounted(recording, last + 2, last + 1)
    manifest = json.loads((folder / "Test-Scan.json").read_bytes())
    assert (manifest["recorded"], manifest["failed"]) == (1, last + 1)
    assert codes(recording.events()).count("recording-gap") == 2
    assert names(folder) == ["Test-Scan.json", "Test-Scan_2.raw", "Test-Scan_2.seq.nhdr"]


@posix
def test_a_folder_that_stays_removed_loses_all_frames_and_reports_them(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    recording = recorder(folder)
    assert recording.append(frame(0))
    shutil.rmtree(folder)
    last = failing(recording, 1)
    assert recording.finish() == []
    assertCounted(recording, last + 1, last + 1)


@posix
def test_a_folder_that_is_replaced_is_noticed(tmp_path):
    folder, away = tmp_path / "here", tmp_path / "away"
    folder.mkdir()
    recording = recorder(folder)
    assert recording.append(frame(0))
    folder.rename(away)
    folder.mkdir()
    # No frame fails: later frames are stored in the new folder.
    number = 1 + noticing(recording, 1, lambda _: os.listdir(folder))
    paths = recording.finish()
    assertHolds(paths, [frame(number - 1)])
    assertCounted(recording, number, number - 1)
    (found,) = repair(str(away))
    assertHolds(found.headers, [frame(each) for each in range(number - 1)])


@posix
def test_a_recording_stays_locked_when_its_folder_was_away_at_a_change_of_size(tmp_path):
    folder, away = tmp_path / "here", tmp_path / "away"
    folder.mkdir()
    recording = recorder(folder)
    assert recording.append(frame(0))
    folder.rename(away)
    assert not recording.append(frame(1, (1, 4, 5)))
    away.rename(folder)
    assert recording.append(frame(2, (1, 4, 5)))
    assert repair(str(folder)) == []
    assertHolds(recording.finish(), [frame(0), frame(2, (1, 4, 5))])
    assert not [name for name in names(folder) if name.endswith((".jsonl", ".lock"))]


@posix
@pytest.mark.parametrize("suffix", [".raw", ".jsonl"])
def test_a_file_that_is_removed_begins_a_part(tmp_path, suffix):
    recording = recorder(tmp_path)
    assert recording.append(frame(0))
    (tmp_path / f"Test-Scan{suffix}").unlink()
    number = 1 + noticing(recording, 1, lambda _: (tmp_path / "Test-Scan_2.raw").exists())
    paths = recording.finish()
    # Memory holds the lines of a part; its pixels are lost with their file.
    kept = range(number - 1, number) if suffix == ".raw" else range(number)
    assertHolds(paths, [frame(each) for each in kept])
    assertCounted(recording, number, number - len(kept))
    assert not [name for name in names(tmp_path) if name.endswith((".jsonl", ".lock"))]


@posix
@pytest.mark.parametrize("later", [True, False])
def test_files_without_a_frame_are_removed_as_soon_as_that_is_possible(tmp_path, later):
    recording, shape = recorder(tmp_path), (10, 20, 30)
    with filesOfAtMost(2000):  # enough for the line of the part
        assert not recording.append(frame(0, shape))
    with withoutRights(tmp_path):
        assert not recording.append(frame(1, shape))
    assert "Test-Scan.jsonl" in names(tmp_path)
    if later:
        assert recording.append(frame(2, shape))
        assertHolds(recording.finish(), [frame(2, shape)])
        assert names(tmp_path) == ["Test-Scan.json", "Test-Scan.raw", "Test-Scan.seq.nhdr"]
    else:
        assert recording.finish() == []
        assert not [name for name in names(tmp_path) if not name.endswith(".json")]


@posix
def test_files_without_a_frame_that_another_recorder_has_replaced_stay(tmp_path):
    first, second, shape = recorder(tmp_path), recorder(tmp_path), (10, 20, 30)
    with filesOfAtMost(2000):
        assert not first.append(frame(0, shape))
    with withoutRights(tmp_path):
        assert not first.append(frame(1, shape))
    for name in names(tmp_path):
        (tmp_path / name).unlink()
    assert second.append(frame(2))
    assert first.append(frame(3, shape))
    assertHolds(second.finish(), [frame(2)])
    assertHolds(first.finish(), [frame(3, shape)])


@posix
def test_files_of_another_recorder_under_the_same_name_are_not_touched(tmp_path):
    """The files are removed, and another recorder takes their name."""
    first, second = recorder(tmp_path), recorder(tmp_path)
    assert first.append(frame(9))
    for name in names(tmp_path):
        (tmp_path / name).unlink()
    frames = [frame(number) for number in range(3)]
    assert [second.append(each) for each in frames] == [True] * 3
    assert first.finish() == []
    assertCounted(first, 1, 1)
    assertHolds(second.finish(), frames)


@posix
@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("closed", ["rest", "an error", "replaced lock"])
def test_files_of_another_recorder_are_not_touched_by_one_that_had_closed_its_files(tmp_path, finished, closed):
    first, second = recorder(tmp_path), recorder(tmp_path)
    assert first.append(frame(9))
    assert first.append(frame(10, (1, 2, 2)))
    assert first.append(frame(11, (1, 2, 2)))
    if closed == "an error":
        with filesOfAtMost(10):
            assert not first.append(frame(12, (1, 2, 2)))
    else:
        first.rest("other.lock" if closed == "replaced lock" else "")
    for name in names(tmp_path):
        (tmp_path / name).unlink()
    frames = [frame(number, shape) for number, shape in enumerate([(2, 3, 4)] * 4 + [(1, 2, 2)] * 4)]
    assert [second.append(each) for each in frames] == [True] * 8
    paths = second.finish() if finished else []
    before = snapshot(tmp_path)
    later = [frame(13, (1, 2, 2)), frame(14)]
    assert [first.append(each) for each in later] == [True] * 2
    assert {name: data for name, data in snapshot(tmp_path).items() if name in before} == before
    found = first.finish()
    assert [os.path.basename(path) for path in found] == ["Test_1-Scan.seq.nhdr", "Test_1-Scan_2.seq.nhdr"]
    assertHolds(found, later)
    assert first.recorded == 2
    assert {name: data for name, data in snapshot(tmp_path).items() if name in before} == before
    assertHolds(paths or second.finish(), frames)
    assert not [name for name in names(tmp_path) if name.endswith((".jsonl", ".lock"))]


@posix
@pytest.mark.parametrize("finished", [False, True])
def test_files_of_another_recorder_are_not_touched_at_the_end(tmp_path, finished):
    first, second = recorder(tmp_path), recorder(tmp_path)
    assert first.append(frame(9))
    first.rest()
    for name in names(tmp_path):
        (tmp_path / name).unlink()
    frames = [frame(number) for number in range(3)]
    assert [second.append(each) for each in frames] == [True] * 3
    paths = second.finish() if finished else []
    before = snapshot(tmp_path)
    assert first.finish() == []
    assertCounted(first, 1, 1)
    assert snapshot(tmp_path) == before
    assertHolds(paths or second.finish(), frames)


@posix
def test_a_recording_of_the_name_of_a_part_is_not_touched(tmp_path):
    """The stream Scan_2 has the files that the second part of the stream Scan had."""
    first, second = recorder(tmp_path), recorder(tmp_path, stream="Scan_2")
    for number in range(2):
        assert first.append(frame(number, (1, 1, 1 + number)))
    first.rest()
    for path in tmp_path.glob("Test-Scan_2.*"):
        path.unlink()
    frames = [frame(number) for number in range(3)]
    assert [second.append(each) for each in frames] == [True] * 3
    before = snapshot(tmp_path)
    assert first.append(frame(2, (1, 1, 2)))
    assert {name: data for name, data in snapshot(tmp_path).items() if name in before} == before
    assertHolds(first.finish(), [frame(0, (1, 1, 1)), frame(2, (1, 1, 2))])
    assertHolds(second.finish(), frames)


@posix
def test_a_recording_without_its_lock_goes_on(tmp_path):
    recording = recorder(tmp_path)
    frames = [frame(number, (1, 1, 1 + number // 2)) for number in range(6)]
    for each in frames:
        assert recording.append(each)
        recording.rest()
        (tmp_path / "Test-Scan.lock").unlink(missing_ok=True)
    assertHolds(recording.finish(), frames)
    assertCounted(recording, 6, 0)
    assert not [name for name in names(tmp_path) if name.endswith((".jsonl", ".lock"))]


def test_bytes_added_from_outside_are_cut_off(tmp_path):
    recording = recorder(tmp_path)
    assert recording.append(frame(0))
    with open(tmp_path / "Test-Scan.raw", "ab") as file:
        file.write(b"more")
    assertHolds(recording.finish(), [frame(0)])


def test_pixels_cut_from_outside_are_reported_and_the_rest_is_repaired(tmp_path):
    recording = recorder(tmp_path)
    for number in range(4):
        assert recording.append(frame(number))
    os.truncate(tmp_path / "Test-Scan.raw", 100)
    assert recording.finish() == []
    assertCounted(recording, 4, 4)
    (found,) = repair(str(tmp_path))
    assertHolds(found.headers, [frame(0), frame(1)])
    assert found.event.level == "warning"
    assert "frames 2 to 3 (2)" in found.event.text


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((2, 3, 4), np.dtype("i2").newbyteorder()),
        np.zeros((4, 3, 2), "i2").T,
        np.zeros((0, 3, 4), "i2"),
        np.zeros((2, 3, 4), "i8"),
    ],
    ids=["other byte order", "not contiguous", "empty", "64 bits"],
)
@pytest.mark.parametrize("before", [0, 2])
def test_frames_with_invalid_pixels_fail_and_are_counted(tmp_path, pixels, before):
    recording = recorder(tmp_path)
    frames = [frame(number) for number in range(before + 1)]
    for each in frames[:before]:
        assert recording.append(each)
    assert not recording.append(dataclasses.replace(frame(99), pixels=pixels))
    assert recording.append(frames[-1])
    assertHolds(recording.finish(), frames)
    assertCounted(recording, before + 2, 1)


@pytest.mark.parametrize("row", [0, 3])
@pytest.mark.parametrize("before", [0, 2])
def test_frames_with_invalid_geometry_fail_and_are_counted(tmp_path, before, row):
    matrix = RIGHT_HANDED.copy()
    matrix[row] = [0, 0, 0, 2]
    recording = recorder(tmp_path)
    frames = [frame(number) for number in range(before + 1)]
    for each in frames[:before]:
        assert recording.append(each)
    assert not recording.append(frame(99, matrix=matrix))
    assert recording.append(frames[-1])
    assertHolds(recording.finish(), frames)
    assertCounted(recording, before + 2, 1)
