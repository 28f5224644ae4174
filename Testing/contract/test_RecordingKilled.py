"""Processes killed while they record or repair: acknowledged frames are kept, and the report is true."""

import os
import random
import shutil
import textwrap
from pathlib import Path

import pytest
from contract.inSlicer import InSlicer
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Recording import openRecording, repair
from RealTimeImagingLib.Recording.Lines import PartLine
from unit import crashes
from unit.recordings import (
    ageLocks,
    assertHolds,
    assertRepaired,
    bytesOf,
    countWords,
    killAfter,
    manifestOf,
    quickFrame,
)

posix = pytest.mark.skipif(os.name != "posix", reason="a process that forks is needed")


def left(folder):
    """(frames that have a line, bytes of pixels behind them) of the growing parts of a dead process."""
    frames = rest = 0
    for path in Path(folder).glob("*.jsonl"):
        lines = path.read_bytes().split(b"\n")[:-1]
        count = len(lines[1:])
        raw = path.with_suffix(".raw")
        rest += raw.stat().st_size - (count * PartLine.fromText(lines[0]).frameBytes if lines else 0)
        frames += count
    return frames, rest


def numbersIn(headers):
    return [entry["number"] for path in headers for entry in openRecording(path).frames]


def assertOpensInSlicer(slicer, path):
    """Slicer's own storage node has all frames, with the voxels of the first and the last at their places."""
    part, found = openRecording(path), InSlicer(slicer, path)
    assert found.count == part.count
    for index in (0, part.count - 1):
        matrix = part.frames[0]["ijkToRAS"]  # the header's; the others move by the poses
        assert (found.atVoxels(index, matrix) == part.pixels(index)).all()


# Killed at every step


@posix
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_step_of_recording_every_acknowledged_frame_is_kept(slicer, tmp_path, dies, after):
    frames, died, step, repaired = crashes.scene(), True, 0, 0
    while died:
        folder = tmp_path / str(step)
        folder.mkdir()
        stored, died = dies("record", folder, step, after)
        assert stored == list(range(len(stored)))
        manifest = (folder / "Test-Scan.json").exists()
        lines, rest = left(folder)
        for found in repair(str(folder)):
            repaired += 1
            assert (found.event.code, found.recording) == ("recording-repaired", "Test-Scan")
            kept = numbersIn(found.headers)
            assertHolds(found.headers, frames[: len(kept)])
            # The process may have died between writing a line and acknowledging the frame.
            assert len(stored) <= len(kept) <= len(stored) + 1
            if not manifest:
                assert len(kept) == lines
                assert (f" {rest:,} bytes" in found.event.text) == (rest > 0)
                assert found.event.level == ("warning" if rest else "info")
            assert countWords(len(kept), "frame") in found.event.text
        headers = sorted(map(str, folder.glob("*.seq.nhdr")))
        assert set(stored) <= set(numbersIn(headers))
        for header in headers:
            assertOpensInSlicer(slicer, header)
        assertRepaired(folder)
        pixels = {path.name.removesuffix(".raw") for path in folder.glob("*.raw")}
        assert pixels == {os.path.basename(header).removesuffix(".seq.nhdr") for header in headers}
        if headers:
            assert [entry["frames"] for entry in manifestOf(headers[0])["parts"]] == [
                openRecording(header).count for header in headers
            ]
        step += 1
    assert stored == list(range(6))
    # Two for the lock, three for each part and two for each frame; header, poses, header, manifest; three removed.
    assert step > 30
    assert repaired > 25


@posix
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("death", "steps"),
    [(12, 6), (18, 10), (25, 10), (27, 3)],
    ids=["between parts", "in a frame", "before the manifest", "after the manifest"],
)
def test_a_repair_killed_at_any_step_is_repeated_with_the_same_result(tmp_path, dies, death, steps, after):
    dead = tmp_path / "dead"
    dead.mkdir()
    assert dies("record", dead, death, True)[1]
    expected = tmp_path / "expected"
    shutil.copytree(dead, expected)
    (whole,) = repair(str(expected))
    assert whole.headers
    died, step = True, 0
    while died:
        folder = tmp_path / f"again{step}"
        shutil.copytree(dead, folder)
        _, died = dies("repair", folder, step, after)
        found = repair(str(folder))
        assert bytesOf(folder) == bytesOf(expected)
        if found:
            text = whole.event.text.replace(str(expected), str(folder))
            assert (found[0].event.text, found[0].event.level) == (text, whole.event.level)
            assert [os.path.basename(path) for path in found[0].headers] == [
                os.path.basename(path) for path in whole.headers
            ]
        assertRepaired(folder)
        step += 1
    assert step > steps


@posix
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "lines",
    [{"Test-Scan.jsonl": 2}, {"Test-Scan_2.jsonl": 1}, {"Test-Scan.jsonl": 0}, {"Test-Scan.jsonl": 1}],
    ids=["some frames", "all frames of the second part", "all lines of the first part", "all frames of the first part"],
)
def test_a_repair_of_lost_lines_killed_at_any_step_keeps_the_same_pixels(tmp_path, dies, lines, after):
    dead = tmp_path / "dead"
    dead.mkdir()
    assert dies("record", dead, 25, True)[1]
    for name, count in lines.items():
        path = dead / name
        path.write_bytes(b"".join(path.read_bytes().splitlines(True)[:count]))
        path.with_suffix(".seq.nhdr").unlink(missing_ok=True)
    pixels = {path.name: path.read_bytes() for path in dead.glob("*.raw")}
    expected = tmp_path / "expected"
    shutil.copytree(dead, expected)
    (whole,) = repair(str(expected))
    assert "whose lines were lost" in whole.event.text
    died, step = True, 0
    while died:
        folder = tmp_path / f"again{step}"
        shutil.copytree(dead, folder)
        _, died = dies("repair", folder, step, after)
        found = repair(str(folder))
        assert bytesOf(folder) == bytesOf(expected)
        assert pixels.items() <= bytesOf(folder).items()
        if found:
            assert found[0].event.text == whole.event.text.replace(str(expected), str(folder))
        step += 1
    assert step > 3


# Killed at random moments

OFTEN = textwrap.dedent("""
    import os, sys
    from RealTimeImagingLib.Recording import Recorder
    from unit.recordings import quickFrame
    folder, kind = sys.argv[1:]
    recorder, number = None, 0
    while True:
        recorder = recorder or Recorder(folder, "Test", "Scan", {})
        assert recorder.append(quickFrame(kind, number)), recorder.events()
        number += 1
        os.write(1, b"%d\\n" % number)
        if kind == "stopping" and number % 7 == 0:
            recorder.finish()
            recorder = None
""")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ["small", "big", "changing", "stopping"])
def test_killed_at_a_random_moment_every_acknowledged_frame_is_kept(slicer, tmp_path, kind, seed):
    acknowledged = killAfter(random.Random(f"{kind}{seed}").uniform(0, 0.06), OFTEN, tmp_path, kind)
    ageLocks(tmp_path)
    lines, rest = left(tmp_path)
    whole = {path.name for path in tmp_path.glob("*.json")}
    repairs = repair(str(tmp_path))
    assert len(repairs) <= 1
    parts = [openRecording(str(path)) for path in tmp_path.glob("*.seq.nhdr")]
    parts.sort(key=lambda part: part.frames[0]["number"])
    numbers = [entry["number"] for part in parts for entry in part.frames]
    assert numbers == list(range(len(numbers)))
    assert acknowledged <= len(numbers) <= acknowledged + 1
    for part in parts:
        for index, entry in enumerate(part.frames):
            assert checksum(part.pixels(index)) == checksum(quickFrame(kind, entry["number"]).pixels)
    for part in parts[-3:]:
        assertOpensInSlicer(slicer, part.path)
    for found in repairs:
        if f"{found.recording}.json" not in whole:
            assert len(numbersIn(found.headers)) == lines
            assert (f" {rest:,} bytes" in found.event.text) == (rest > 0)
    assertRepaired(tmp_path)
