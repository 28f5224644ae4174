"""Slicer's side of an export, in the host that runs the module without Slicer."""

import gc
import json
import os
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest
import slicerhost
from RealTimeImagingLib.Export.Job import ExportJob, Snapshot
from RealTimeImagingLib.Link.Messages import TRACE
from RealTimeImagingLib.Link.WorkFolders import alive
from unit.exports import fromSimpleITK
from unit.recordings import RIGHT_HANDED, frame, record

slicerhost.boot()

from RealTimeImagingLib.Host import ChildProcess  # noqa: E402 - needs qt
from RealTimeImagingLib.Host.ExportControl import ExportProcess  # noqa: E402


class Heard:
    """Callbacks of an export, and their arguments."""

    def __init__(self):
        self.progress, self.done, self.failed = [], [], []

    @property
    def callbacks(self):
        return (
            lambda part, words: self.progress.append((part, words)),
            lambda paths, events: self.done.append((paths, events)),
            self.failed.append,
        )

    @property
    def ends(self):
        return len(self.done) + len(self.failed)


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Let a busy computer take longer: a process that is late is not killed."""
    monkeypatch.setattr(ChildProcess, "STOP_TIME", 20_000)
    monkeypatch.setattr(ChildProcess, "PID_TIME", 20_000)


@pytest.fixture
def heard():
    before = slicerhost.leftovers()
    yield Heard()
    slicerhost.processEvents()
    gc.collect()
    assert slicerhost.leftovers() == before
    assert not slicerhost.slotErrors


@pytest.fixture
def large(tmp_path):
    """A large recording, whose pixels are a hole in the file."""
    (header,) = record(tmp_path, [frame(n, (1, 1, 8), np.uint8) for n in range(3000)])
    text = Path(header).read_bytes()
    size = 400_000
    assert b"[1,1,8]" in text
    Path(header).write_bytes(
        text.replace(b'"shape":[1,1,8]', b'"shape":[1,1,%d]' % size).replace(b"sizes: 8 1 1", b"sizes: %d 1 1" % size)
    )
    os.truncate(next(tmp_path.glob("*.raw")), 3000 * size)
    return header


def test_an_export_reports_its_progress_and_its_files(tmp_path, heard):
    parts = record(tmp_path, [frame(n) for n in range(3)])
    job = ExportJob("nii", str(tmp_path / "out"), tuple(parts))
    export = ExportProcess(job, *heard.callbacks)
    export.start()
    assert slicerhost.runUntil(lambda: heard.ends, 20)
    assert export.ended
    ((paths, events),) = heard.done
    assert sorted(map(os.path.basename, paths)) == ["out.json", "out.nii"]
    assert events == []
    assert heard.progress[-1] == (1.0, "Saved")


def test_an_impossible_export_fails_with_a_reason(tmp_path, heard):
    export = ExportProcess(ExportJob("nii", str(tmp_path / "out"), ("none.seq.nhdr",)), *heard.callbacks)
    export.start()
    assert slicerhost.runUntil(lambda: heard.ends, 20)
    assert heard.done == []
    assert "none.seq.nhdr cannot be read" in heard.failed[0]


def test_a_callback_may_delete_the_export(tmp_path, heard):
    held, deep = [], []

    def done(paths, events):
        deep.append(any(frame.name == "_finished" for frame in traceback.extract_stack()))
        held.clear()
        heard.done.append(paths)

    parts = tuple(record(tmp_path, [frame(0)]))
    held.append(ExportProcess(ExportJob("nii", str(tmp_path / "out"), parts), lambda *_: None, done, print))
    held[0].start()
    assert slicerhost.runUntil(lambda: heard.done, 20)
    assert deep == [False]  # in no signal of the process, in which it could not be deleted


def test_a_snapshot_from_memory_leaves_no_temporary_file(tmp_path, heard):
    pixels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)[:, ::-1]
    snapshot = Snapshot("", pixels.shape, pixels.dtype.str, tuple(RIGHT_HANDED.ravel()), 5.0)
    job = ExportJob("nrrd", str(tmp_path / "out"), snapshot=snapshot)
    export = ExportProcess.ofPixels(job, pixels, *heard.callbacks)
    folder = os.path.dirname(export.job.snapshot.rawPath)
    assert os.path.isdir(folder)
    export.start()
    assert slicerhost.runUntil(lambda: heard.ends, 20)
    ((paths, _),) = heard.done
    assert paths == [str(tmp_path / "out.nrrd")]
    assert np.array_equal(fromSimpleITK(paths[0])[0], pixels)
    assert not os.path.exists(folder)


def test_cancelling_leaves_nothing_and_is_reported(tmp_path, heard, large):
    export = ExportProcess(ExportJob("seq.nrrd", str(tmp_path / "out"), (large,)), *heard.callbacks)
    before = sorted(tmp_path.iterdir())
    export.start()
    assert slicerhost.runUntil(lambda: any(part > 0 for part, _ in heard.progress), 20)
    export.cancel()
    export.cancel()
    assert slicerhost.runUntil(lambda: heard.ends, 20)
    assert heard.failed == ["The export was cancelled; nothing is left of it."]
    assert sorted(tmp_path.iterdir()) == before


def test_waiting_for_the_end_cancels_and_reports_without_an_event_loop(tmp_path, heard, large):
    export = ExportProcess(ExportJob("seq.nrrd", str(tmp_path / "out"), (large,)), *heard.callbacks)
    before = sorted(tmp_path.iterdir())
    export.start()
    assert slicerhost.runUntil(lambda: any(part > 0 for part, _ in heard.progress), 20)
    export.waitForEnd()
    assert heard.ends == 1
    assert export.ended
    assert sorted(tmp_path.iterdir()) == before
    export.waitForEnd()
    assert heard.ends == 1


def test_a_process_that_dies_is_reported(tmp_path, heard, large):
    export = ExportProcess(ExportJob("seq.nrrd", str(tmp_path / "out"), (large,)), *heard.callbacks)
    export.start()
    assert slicerhost.runUntil(lambda: any(part > 0 for part, _ in heard.progress), 20)
    export.kill()
    assert slicerhost.runUntil(lambda: heard.ends, 20)
    assert "ended unexpectedly" in heard.failed[0]
    assert not (tmp_path / "out.seq.nrrd").exists()


def test_the_trace_has_the_messages_of_both_directions(tmp_path, heard, monkeypatch):
    path = tmp_path / "trace.jsonl"
    monkeypatch.setenv(TRACE, str(path))
    folder = tmp_path / "recordings"
    folder.mkdir()
    export = ExportProcess(ExportJob("nii", str(tmp_path / "out"), tuple(record(folder, [frame(0)]))), *heard.callbacks)
    export.start()
    assert slicerhost.runUntil(lambda: heard.ends, 20)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert (lines[0]["direction"], lines[0]["message"]["format"]) == ("sent", "nii")
    assert {line["direction"] for line in lines[1:]} == {"received"}
    pid = lines[1]["message"]["pid"]
    assert lines[1]["process"] == lines[-1]["process"] == f"export process {pid}"
    assert "done" in lines[-1]["message"]
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)


@pytest.fixture
def launcher(tmp_path, monkeypatch):
    """Slicer's Python as Slicer has it: a program that starts the real one."""
    if os.name != "posix":
        pytest.skip("needs a script as a program")
    folder = tmp_path / "bin"
    folder.mkdir()
    code = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, *sys.argv[1:]]))"
    path = folder / "PythonSlicer"
    path.write_text(f"#!{sys.executable}\n{code}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_a_launcher_that_is_killed_leaves_no_process_behind(tmp_path, heard, large, launcher):
    export = ExportProcess(ExportJob("seq.nrrd", str(tmp_path / "out"), (large,)), *heard.callbacks)
    export.start()
    assert slicerhost.runUntil(lambda: any(part > 0 for part, _ in heard.progress), 20)
    pid = export._child.pid
    assert pid != export._child._process.processId()
    os.kill(export._child._process.processId(), 9)
    assert slicerhost.runUntil(lambda: heard.ends, 20)
    assert "ended unexpectedly" in heard.failed[0]
    assert slicerhost.runUntil(lambda: not alive(pid), 20)


def test_an_end_right_after_the_start_leaves_no_process_behind(tmp_path, heard, large, launcher):
    export = ExportProcess(ExportJob("seq.nrrd", str(tmp_path / "out"), (large,)), *heard.callbacks)
    export.start()
    export.waitForEnd()
    assert heard.ends == 1
    assert export._child.pid
    assert slicerhost.runUntil(lambda: not alive(export._child.pid), 20)
