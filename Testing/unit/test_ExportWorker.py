"""The export process as Slicer's side meets it: started as a file, told one line, cancelled, killed."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from RealTimeImagingLib.Export.Job import ExportJob, Snapshot
from RealTimeImagingLib.Recording import openRecording
from unit.exporting import PROGRAM, Program, fromNibabel, save
from unit.recordings import OBLIQUE, START, frame, record

LIBRARY = PROGRAM.parents[2]
FORMATS = {
    "nrrd": ((2, 3, 4), 1),
    "seq.nrrd": ((2, 3, 4), 4),
    "nii": ((2, 3, 4), 4),
    "nii.gz": ((2, 3, 4), 4),
    "dicom": ((2, 3, 4), 4),
    "dicom cine": ((1, 3, 4), 4),
}
"""A format, the shape of a frame and how many."""


def listing(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*"))


def recorded(folder, case, dtype=None):
    """A job in this format and its recording."""
    shape, count = FORMATS[case]
    dtype = dtype or (np.uint8 if case == "dicom cine" else np.int16)
    frames = [frame(n, shape, dtype, OBLIQUE) for n in range(count)]
    parts = record(folder, frames, attributes={"Strain": "BKS.Cg-Dock7m +/+ Leprdb/J"})
    return ExportJob(case.split()[0], str(folder / "out"), tuple(parts))


@pytest.fixture
def large(tmp_path):
    """A recording of 450 MB in 3000 frames, whose pixels are a hole in the file."""
    (header,) = record(tmp_path, [frame(n, (1, 1, 8), np.uint8) for n in range(3000)])
    size, text = 150_000, Path(header).read_bytes()
    text = text.replace(b'"shape":[1,1,8]', b'"shape":[1,20,%d]' % (size // 20))
    Path(header).write_bytes(text.replace(b"sizes: 8 1 1", b"sizes: %d 20 1" % (size // 20)))
    os.truncate(openRaw := next(tmp_path.glob("*.raw")), 3000 * size)
    assert openRecording(header).count == 3000, openRaw
    return header


@pytest.fixture
def program(tmp_path_factory):
    """Writes a program that runs the export with some statements of the test's before it; returns its path."""

    def write(statements):
        path = tmp_path_factory.mktemp("program") / "program.py"
        path.write_text(f"""
import os, sys, time
sys.path[0] = {str(LIBRARY)!r}
from RealTimeImagingLib.Export import DICOMFiles, DICOMImages, Exporting, NIfTIFiles, NRRDFiles, Output, Worker
{statements}
code = Worker.main()
sys.stdout.flush()
os._exit(code)
""")
        return path

    return write


# ---- the ordinary way


@pytest.mark.parametrize("case", FORMATS)
def test_it_says_its_number_and_at_last_what_it_made(tmp_path, case):
    job = recorded(tmp_path, case)
    made = Program(job)
    last = made.end()
    assert made.lines[0] == {"pid": made.process.pid}
    assert last["done"]
    assert all(os.path.getsize(path) for path in last["done"])
    assert not [path for path in listing(tmp_path) if path.name.startswith(".")]


def test_it_tells_how_far_it_is_at_least_four_times_a_second(tmp_path, large):
    made, times = Program(ExportJob("nii.gz", str(tmp_path / "out"), (large,))), []
    while (line := made.next()) is not None:
        if "progress" in line:
            times.append(time.monotonic())
    assert "done" in made.end()
    assert len(times) > 4
    assert max(np.diff(times)) < 0.25 + 0.1  # for a machine that does something else as well
    parts = made.of("progress")
    assert parts == sorted(parts)
    assert {words.split()[0] for words in made.of("words")} >= {"Writing", "Comparing"}


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured in another way there")
@pytest.mark.parametrize("format_", ["seq.nrrd", "nii.gz", "dicom"])
def test_memory_does_not_grow_with_the_recording(tmp_path, large, format_):
    made = Program(ExportJob(format_, str(tmp_path / "out"), (large,)))
    most = [0]
    while (line := made.next()) is not None:
        if line.get("words", "").startswith("Comparing frame"):
            status = Path(f"/proc/{made.process.pid}/status").read_text().splitlines()
            most.append(next(int(text.split()[1]) for text in status if text.startswith("VmHWM")))
    assert "done" in made.end()
    assert 0 < max(most) < 150 << 10, "kilobytes, for 450 MB of pixels"


# ---- names


@pytest.mark.parametrize("case", FORMATS)
def test_nothing_is_overwritten(tmp_path, case):
    job = recorded(tmp_path, case)
    first = Program(job).end()["done"]
    before = {path: (tmp_path / path).read_bytes() for path in listing(tmp_path) if (tmp_path / path).is_file()}
    second = Program(job).end()["done"]
    assert not set(first) & set(second)
    assert all("out_1" in path for path in second)
    assert {path: (tmp_path / path).read_bytes() for path in before} == before


def test_a_pair_of_files_has_one_name(tmp_path):
    job = recorded(tmp_path, "nii")
    (tmp_path / "out.json").write_text("mine")
    (tmp_path / "out_1.nii").write_text("mine")
    assert [os.path.basename(path) for path in Program(job).end()["done"]] == ["out_2.json", "out_2.nii"]
    assert (tmp_path / "out.json").read_text() == (tmp_path / "out_1.nii").read_text() == "mine"
    assert not (tmp_path / "out.nii").exists()


def test_exports_of_one_name_at_once_do_not_meet(tmp_path):
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
    made = Program(ExportJob(case, str(tmp_path / "out"), (large,)))
    made.until(lambda line: line.get("words", "").startswith(when))
    started = time.monotonic()
    made.cancel()
    assert made.end() == {"cancelled": True}
    assert time.monotonic() - started < 0.3 + 0.2  # and the process's own end
    assert listing(tmp_path) == before


def test_a_disk_that_hangs_does_not_hold_up_a_cancel(tmp_path, program):
    job = recorded(tmp_path, "seq.nrrd")
    before = listing(tmp_path)
    hanging = "Output.OutputFile.writePixels = lambda self, pixels: (self.write(b'some'), time.sleep(1000))"
    made = Program(job, program(hanging))
    made.until(lambda line: line.get("words", "").startswith("Writing"))
    made.cancel()
    assert made.end() == {"cancelled": True}
    assert listing(tmp_path) == before


def test_input_that_ends_before_it_begins_is_an_end():
    done = subprocess.run([sys.executable, str(PROGRAM)], stdin=subprocess.DEVNULL, capture_output=True, check=False)
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


# ---- what is written is compared


SPOILT_PIXEL = """
whole = Output.OutputFile.writePixels
def writePixels(self, pixels):
    pixels = pixels.copy()
    pixels.reshape(-1)[-1] ^= 1
    whole(self, pixels)
Output.OutputFile.writePixels = writePixels
"""
SPOILT_PACKED = """
import gzip
whole = gzip.GzipFile.write
def write(self, data):
    return whole(self, bytes([data[0] ^ 1]) + bytes(data[1:]) if len(data) < 99 else data)  # not the header
gzip.GzipFile.write = write
"""
LOST_END = """
whole = Output.OutputFile.close
def close(self):
    if self._handle != -1:
        os.ftruncate(self._handle, self.size - 10)
    whole(self)
Output.OutputFile.close = close
"""
SHIFTED = """
import numpy
moved = numpy.eye(4)
moved[0, 3] = 0.01
whole = NIfTIFiles.header
NIfTIFiles.header = lambda frames, matrix: whole(frames, moved @ matrix)
turned = DICOMImages.rightHanded
def rightHanded(matrix, slices):
    found, flipped = turned(matrix, slices)
    return moved @ found, flipped
DICOMFiles.rightHanded = rightHanded
vector = NRRDFiles._vector
NRRDFiles._vector = lambda values: vector(values + 0.01)
"""
MIRRORED = """
DICOMFiles.rightHanded = lambda matrix, slices: (DICOMImages.LPS_TO_RAS @ matrix, True)
"""
OTHER_WORDS = """
escaped = NRRDFiles.escaped
NRRDFiles.escaped = lambda value: escaped(value).replace("Lepr", "lepr")
compose = NRRDFiles.composeHeader
NRRDFiles.composeHeader = lambda *given: compose(*given).replace(b"\\nStrain:=BKS", b"\\nStrain:=bks")
dumps = NIfTIFiles.json.dumps
NIfTIFiles.json.dumps = lambda *given, **more: dumps(*given, **more).replace("Lepr", "lepr")
write = Output.OutputFile.write
Output.OutputFile.write = lambda self, data: write(self, bytes(data).replace(b"BKS.Cg", b"bks.cg"))
"""
OTHER_TIMES = """
compose = NRRDFiles.composeHeader
NRRDFiles.composeHeader = lambda part, name, times, lines: compose(part, name, [1.01 * time for time in times], lines)
period = NIfTIFiles._period
NIfTIFiles.struct = type("Struct", (), {"pack_into": lambda kind, out, place, *values:
    __import__("struct").pack_into(kind, out, place, *(values if place != 76 else (*values[:4], values[4] * 1.01)))})
steps = DICOMImages.frameSteps
write = Output.OutputFile.write
Output.OutputFile.write = lambda self, data: write(self, bytes(data).replace(b"33.3333", b"33.4333"))
moment = DICOMImages.dateTime
"""


WORDS = ("than was written", "read back", "beside its place", "are off by", "other pixels")


@pytest.mark.parametrize(
    ("case", "spoil"),
    [
        *((case, "SPOILT_PIXEL") for case in ("nrrd", "seq.nrrd", "nii", "dicom", "dicom cine")),
        ("nii.gz", "SPOILT_PACKED"),
        *((case, "LOST_END") for case in FORMATS),
        *((case, "SHIFTED") for case in ("nrrd", "nii", "nii.gz", "dicom", "dicom cine")),
        ("dicom", "MIRRORED"),
        *((case, "OTHER_WORDS") for case in FORMATS),
        *((case, "OTHER_TIMES") for case in ("seq.nrrd", "nii", "nii.gz", "dicom cine")),
    ],
)
def test_what_was_written_wrongly_is_found_and_removed(tmp_path, program, case, spoil):
    job = recorded(tmp_path, case)
    before = listing(tmp_path)
    made = Program(job, program(globals()[spoil]))
    last = made.end()
    assert "failed" in last, last
    assert not made.of("event"), "found by the comparison, not by chance"
    assert any(word in last["failed"] for word in WORDS)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("case", FORMATS)
def test_what_nobody_thought_of_is_told_with_its_trace(tmp_path, program, case):
    job = recorded(tmp_path, case)
    before = listing(tmp_path)
    fault = """
def compare(*_):
    raise RuntimeError('an unheard-of fault')
for kind in Exporting.WRITERS.values():
    kind.compare = compare
"""
    made = Program(job, program(fault))
    assert "an unheard-of fault" in made.end()["failed"]
    assert made.of("event")[0]["code"] == "failed"
    assert any("Traceback" in text for text in made.of("log"))
    assert listing(tmp_path) == before


# ---- what cannot be


@pytest.mark.parametrize("values", [{}, [1], {"format": "nii"}, {"format": "x", "destination": "y", "parts": ["z"]}])
def test_a_job_that_is_none_is_refused_in_words(values):
    made = Program(values)
    assert list(made.end()) == ["failed"]


def test_a_folder_that_is_not_there_is_told(tmp_path):
    job = recorded(tmp_path, "nii")
    last = Program({**job.toJSON(), "destination": str(tmp_path / "none" / "out")}).end()
    assert last == {"failed": f"The folder {tmp_path / 'none'} is not there."}


@pytest.mark.skipif(os.name != "posix", reason="rights are others there")
@pytest.mark.parametrize("case", FORMATS)
def test_a_folder_that_may_not_be_written_is_told(tmp_path, program, case):
    """Root may write everywhere: then the process becomes another user."""
    job = recorded(tmp_path, case)
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(path.stat().st_mode | 0o555)
    other = os.geteuid() or 65534
    made = Program(
        {**job.toJSON(), "destination": str(folder / "out")}, program(f"import pydicom\nos.seteuid({other})")
    )
    words = made.end()["failed"]
    assert "Permission denied" in words
    assert str(folder) in words
    assert listing(folder) == []


@pytest.mark.skipif(os.name != "posix", reason="a limit for the size of files is set in another way there")
@pytest.mark.parametrize("case", FORMATS)
def test_a_disk_that_becomes_full_is_told_and_nothing_is_left(tmp_path, case):
    """A limit for the size of a file stands for the disk: the write fails in its midst."""
    import resource

    job = recorded(tmp_path, case)
    before = listing(tmp_path)
    limit = 400
    made = Program(job, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    words = made.end()["failed"]
    assert "File too large" in words
    assert listing(tmp_path) == before


@pytest.mark.skipif(sys.platform == "win32", reason="a hole in a file takes room there")
def test_a_disk_without_room_is_told_before(tmp_path):
    path = tmp_path / "pixels.raw"
    with path.open("wb") as file:
        file.truncate(8 << 40)
    snapshot = Snapshot(str(path), (1 << 12, 1 << 15, 1 << 16), "|u1", tuple(OBLIQUE.ravel()), START)
    made = Program(ExportJob("nrrd", str(tmp_path / "out"), snapshot=snapshot))
    assert "MB are needed" in made.end()["failed"]
    assert listing(tmp_path) == [Path("pixels.raw")]


def test_pixels_that_go_while_they_are_read_are_told(tmp_path, large):
    made = Program(ExportJob("nii", str(tmp_path / "out"), (large,)))
    made.until(lambda line: line.get("words", "").startswith("Writing"))
    os.truncate(next(tmp_path.glob("*.raw")), 10)
    assert "ends within frame" in made.end()["failed"]
    assert not list(tmp_path.glob("*out*"))


def test_a_parent_that_dies_takes_its_export_with_it(tmp_path, large):
    """As Slicer killed: nobody closes anything, the system does."""
    before = listing(tmp_path)
    job = ExportJob("nii", str(tmp_path / "out"), (large,)).toJSON()
    script = tmp_path.parent / f"{tmp_path.name}-parent.py"
    script.write_text(f"""
import json, os, subprocess, sys
child = subprocess.Popen([sys.executable, "-u", {str(PROGRAM)!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
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


def test_an_export_in_this_process_is_the_same(tmp_path):
    job = recorded(tmp_path, "nii")
    (_, path), _ = save("nii", tmp_path / "here", job.parts)
    other = Program(job).end()["done"][1]
    assert path.read_bytes() == Path(other).read_bytes()
    assert len(fromNibabel(path)[0]) == 4
