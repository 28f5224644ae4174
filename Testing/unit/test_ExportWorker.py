"""The export process from outside: started as a file, given a job, cancelled, killed."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from RealTimeImagingLib.Export.Job import ExportJob, Snapshot
from RealTimeImagingLib.Recording import openRecording
from unit.exports import FORMATS, PROGRAM, Program, fromNibabel, listing, program, recorded, save
from unit.recordings import OBLIQUE, START, frame, record


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A recording of 240 MB in 1600 frames, whose pixels are a hole in the file."""
    folder = tmp_path_factory.mktemp("large")
    (header,) = record(folder, [frame(n, (1, 1, 8), np.uint8) for n in range(1600)])
    size, text = 150_000, Path(header).read_bytes()
    text = text.replace(b'"shape":[1,1,8]', b'"shape":[1,20,%d]' % (size // 20))
    Path(header).write_bytes(text.replace(b"sizes: 8 1 1", b"sizes: %d 20 1" % (size // 20)))
    os.truncate(openRaw := next(folder.glob("*.raw")), 1600 * size)
    assert openRecording(header).count == 1600, openRaw
    return header


# ---- the ordinary way


@pytest.mark.parametrize("case", FORMATS)
def test_the_process_reports_its_number_and_finally_its_files(tmp_path, case):
    job = recorded(tmp_path, case)
    made = Program(job, fresh=True, environment={"PYTHONPATH": ""})
    last = made.end()
    assert made.lines[0] == {"pid": made.process.pid}
    assert last["done"]
    assert all(os.path.getsize(path) for path in last["done"])
    assert not [path for path in listing(tmp_path) if path.name.startswith(".")]


def test_the_process_reports_progress_at_least_four_times_a_second(tmp_path, large):
    made, times = Program(ExportJob("nii.gz", str(tmp_path / "out"), (large,))), []
    while (line := made.next()) is not None:
        if "progress" in line:
            times.append(time.monotonic())
    assert "done" in made.end()
    # Progress covers the whole run, however fast this computer is.
    assert len(times) >= max(2, 4 * (times[-1] - times[0]))
    assert np.median(np.diff(times)) < 0.25
    parts = made.of("progress")
    assert parts == sorted(parts)
    assert {words.split()[0] for words in made.of("words")} >= {"Writing", "Comparing"}


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured in another way there")
@pytest.mark.parametrize("format_", ["seq.nrrd", "nii.gz", "dicom"])
def test_memory_does_not_grow_with_the_recording(tmp_path, large, format_):
    peak = tmp_path / "peak"
    measured = f"""
run = Worker.main
def main():
    code = run()
    most = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    open({str(peak)!r}, "w").write(most)
    return code
Worker.main = main
"""
    made = Program(ExportJob(format_, str(tmp_path / "out"), (large,)), program(tmp_path, measured), fresh=True)
    assert "done" in made.end()
    assert 0 < int(peak.read_text()) < 150 << 10, "kilobytes, for 240 MB of pixels"


# ---- names


@pytest.mark.parametrize("case", FORMATS)
def test_nothing_is_overwritten(tmp_path, case):
    job = recorded(tmp_path, case)
    first = Program(job).end()["done"]
    before = {path: (tmp_path / path).read_bytes() for path in listing(tmp_path) if (tmp_path / path).is_file()}
    second = Program(job).end()["done"]
    assert not set(first) & set(second)
    assert len(second) == len(first)
    assert all("out_1" in path for path in second)
    assert {path: (tmp_path / path).read_bytes() for path in before} == before


def test_a_pair_of_files_has_one_name(tmp_path):
    job = recorded(tmp_path, "nii")
    (tmp_path / "out.json").write_text("mine")
    (tmp_path / "out_1.nii").write_text("mine")
    assert [os.path.basename(path) for path in Program(job).end()["done"]] == ["out_2.json", "out_2.nii"]
    assert (tmp_path / "out.json").read_text() == (tmp_path / "out_1.nii").read_text() == "mine"
    assert not (tmp_path / "out.nii").exists()


def test_simultaneous_exports_under_one_name_use_different_files(tmp_path):
    for case in ("nii", "dicom"):
        folder = tmp_path / case
        folder.mkdir()
        job = recorded(folder, case)
        ends = [made.end()["done"] for made in [Program(job) for _ in range(4)]]
        assert len({path for paths in ends for path in paths}) == sum(map(len, ends))
        assert not [path for path in listing(folder) if path.name.startswith(".")]


# ---- cancel


@pytest.mark.parametrize("case", ["seq.nrrd", "nii.gz", "dicom"])
@pytest.mark.parametrize("when", ["Writing", "Comparing"])
def test_the_end_of_input_cancels_at_once_and_nothing_is_left(tmp_path, large, case, when):
    before = listing(tmp_path)
    # Takes 3 s and more from here on: it is not at its end when a busy computer cancels it.
    slowly = f"""
from RealTimeImagingLib.Export.Job import Work
step = Work.step
Work.step = lambda self, nbytes=0, words="": (time.sleep(0.002 * words.startswith({when!r})), step(self, nbytes, words))
"""
    made = Program(ExportJob(case, str(tmp_path / "out"), (large,)), program(tmp_path, slowly))
    made.until(lambda line: line.get("words", "").startswith(when))
    started = time.monotonic()
    made.cancel()
    assert made.end() == {"cancelled": True}
    assert time.monotonic() - started < 2  # 0.3 s on an idle computer
    assert listing(tmp_path) == before


def test_a_hanging_disk_does_not_delay_a_cancel(tmp_path):
    job = recorded(tmp_path, "seq.nrrd")
    before = listing(tmp_path)
    hanging = "Output.OutputFile.writePixels = lambda self, pixels: (self.write(b'some'), time.sleep(1000))"
    made = Program(job, program(tmp_path, hanging))
    made.until(lambda line: line.get("words", "").startswith("Writing"))
    made.cancel()
    assert made.end() == {"cancelled": True}
    assert listing(tmp_path) == before


def test_empty_input_ends_the_process():
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "export"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_kill_leaves_no_file_that_looks_finished(tmp_path, large):
    before = listing(tmp_path)
    made = Program(ExportJob("nii", str(tmp_path / "out"), (large,)))
    made.until(lambda line: line.get("words", "").startswith("Writing"))
    made.process.kill()
    made.process.wait(5)
    assert all(path.name.startswith(".") for path in listing(tmp_path) if path not in before)
    for stream in (made.process.stdin, made.process.stdout, made.process.stderr):
        stream.close()


# ---- what cannot be


@pytest.mark.parametrize("values", [{}, [1], {"format": "nii"}, {"format": "x", "destination": "y", "parts": ["z"]}])
def test_an_invalid_job_is_rejected_with_a_reason(values):
    made = Program(values)
    assert list(made.end()) == ["failed"]


def test_a_missing_folder_is_reported(tmp_path):
    job = recorded(tmp_path, "nii")
    last = Program({**job.toJSON(), "destination": str(tmp_path / "none" / "out")}).end()
    assert last == {"failed": f"The folder {tmp_path / 'none'} does not exist."}


@pytest.mark.skipif(os.name != "posix", reason="rights are others there")
@pytest.mark.parametrize("case", FORMATS)
def test_a_folder_that_cannot_be_written_is_reported(case):
    """Root can write everywhere; therefore the process changes to a user without access to pytest's folders."""
    with tempfile.TemporaryDirectory() as name:
        source, folder = Path(name, "source"), Path(name, "closed")
        Path(name).chmod(0o755)
        source.mkdir(mode=0o755)
        folder.mkdir(mode=0o555)
        job = recorded(source, case)
        for path in source.iterdir():  # which only their user may read
            path.chmod(0o644)
        other = os.geteuid() or 65534
        becoming = program(source, f"import pydicom\nos.seteuid({other})")
        words = Program({**job.toJSON(), "destination": str(folder / "out")}, becoming).end()["failed"]
        assert "permission denied" in words
        assert str(folder) in words
        assert listing(folder) == []


@pytest.mark.skipif(os.name != "posix", reason="a limit for the size of files is set in another way there")
@pytest.mark.parametrize("case", FORMATS)
def test_a_disk_that_becomes_full_is_reported_and_no_file_is_left(tmp_path, case):
    """A limit for the size of a file simulates a full disk: a write fails halfway."""
    job = recorded(tmp_path, case)
    before = listing(tmp_path)
    made = Program(job, limit=400)
    words = made.end()["failed"]
    assert "the file is too large" in words
    assert listing(tmp_path) == before


@pytest.mark.skipif(sys.platform == "win32", reason="a hole in a file takes room there")
def test_a_disk_without_space_is_reported_before_writing(tmp_path):
    path = tmp_path / "pixels.raw"
    with path.open("wb") as file:
        file.truncate(8 << 40)
    snapshot = Snapshot(str(path), (1 << 12, 1 << 15, 1 << 16), "|u1", tuple(OBLIQUE.ravel()), START)
    made = Program(ExportJob("nrrd", str(tmp_path / "out"), snapshot=snapshot))
    assert " are needed." in made.end()["failed"]
    assert listing(tmp_path) == [Path("pixels.raw")]


def test_pixels_that_vanish_while_they_are_read_are_reported(tmp_path, large):
    for path in Path(large).parent.iterdir():
        shutil.copy(path, tmp_path)
    (header,), (raw,) = tmp_path.glob("*.seq.nhdr"), tmp_path.glob("*.raw")
    made = Program(ExportJob("nii", str(tmp_path / "out"), (str(header),)))
    made.until(lambda line: line.get("words", "").startswith("Writing"))
    os.truncate(raw, 10)
    assert "ends within frame" in made.end()["failed"]
    assert not list(tmp_path.glob("*out*"))


def test_an_export_ends_with_its_parent(tmp_path, large):
    """As after a kill of Slicer: only the system closes files."""
    before = listing(tmp_path)
    job = ExportJob("nii", str(tmp_path / "out"), (large,)).toJSON()
    script = tmp_path.parent / f"{tmp_path.name}-parent.py"
    script.write_text(f"""
import json, os, subprocess, sys
command = [sys.executable, "-u", {str(PROGRAM)!r}, "export"]
child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdin.write(json.dumps({job!r}).encode() + b"\\n"); child.stdin.flush()
while b"Writing" not in child.stdout.readline(): pass
print(child.pid, flush=True)
os.kill(os.getpid(), 9) if os.name == "posix" else os._exit(1)
""")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, check=False)
    assert int(done.stdout)
    end = time.monotonic() + 5
    while listing(tmp_path) != before:
        assert time.monotonic() < end, "it goes on"
        threading.Event().wait(0.01)


def test_an_export_in_this_process_makes_the_same_file(tmp_path):
    job = recorded(tmp_path, "nii")
    (_, path), _ = save("nii", tmp_path / "here", job.parts)
    other = Program(job).end()["done"][1]
    assert path.read_bytes() == Path(other).read_bytes()
    assert len(fromNibabel(path)[0]) == 4
