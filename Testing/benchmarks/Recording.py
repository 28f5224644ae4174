"""What storing a frame costs beside an append of the same bytes, and what Slicer's own recorder keeps beside ours."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from typing import Any

import numpy as np
import slicerhost
from RealTimeImagingLib.Model.Frame import Frame
from RealTimeImagingLib.Recording import Recorder, openRecording

KINDS: dict[str, tuple[tuple[int, ...], str, int]] = {
    "rgb1080": ((1, 1080, 1920, 3), "uint8", 60),
    "uint8x512x512": ((1, 512, 512), "uint8", 600),
    "int16x256x256x64": ((64, 256, 256), "int16", 40),
}
"""Shape, type and number of frames: few enough that the system need not write to the disk meanwhile."""
LINE = 0.05
"""Milliseconds that the line of a frame may cost, whatever the size of the frame: of a small one that is more than a
tenth of its append."""
SMALL, MANY, SOME, ROUNDS = (1, 16, 16), 3000, 50, 3
FPS, SECONDS = 30, 4


def measure() -> dict[str, Any]:
    """Milliseconds a frame, ours and the floor of one os.write to an open file, in turn in the same run."""
    figures: dict[str, Any] = {name: _costs(*kind) for name, kind in KINDS.items()}
    rules = {
        f"{name}: at most 1.1 x a raw append, or {LINE} ms above it": found["ratio"] <= 1.1 or found["aboveMs"] <= LINE
        for name, found in figures.items()
    }
    long, kept = _long(), _peer()
    rules["the last of 3,000 frames costs at most 1.2 x the first"] = long["lastToFirst"] <= 1.2
    rules["files closed within a second"] = long["finishMs"] < 1000
    rules["ours keeps all frames"] = kept["ours"] == kept["sent"] == FPS * SECONDS
    return {**figures, "of3000": long, "keptAt30Fps": kept, "rules": rules}


def _frame(pixels: Any, number: int) -> Frame:
    attributes = {"SourceFile": f"frame{number:05d}.nii"}
    return Frame(pixels, np.diag([-1.0, -1.0, 2.0, 1.0]), "Scan", number, 1.7e9 + number / FPS, None, attributes)


def _costs(shape: tuple[int, ...], dtype: str, count: int) -> dict[str, Any]:
    pixels = np.random.default_rng(0).integers(0, 99, shape).astype(dtype)
    ours: list[float] = []
    raw: list[float] = []
    if hasattr(os, "sync"):
        os.sync()
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(folder, "Bench", "Scan", {})
        handle = os.open(os.path.join(folder, "floor"), os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0))
        for number in range(count):
            frame = _frame(pixels, number)
            for turn in (number % 2, 1 - number % 2):
                started = time.perf_counter()
                if turn:
                    recorder.append(frame)
                else:
                    os.write(handle, pixels.data)
                (ours if turn else raw).append(1000 * (time.perf_counter() - started))
        os.close(handle)
        started = time.perf_counter()
        recorder.finish()
        finish = 1000 * (time.perf_counter() - started)
        assert recorder.recorded == count
    pairs = list(zip(ours, raw, strict=True))
    return {
        "appendMs": round(statistics.median(ours), 4),
        "rawAppendMs": round(statistics.median(raw), 4),
        # Of neighbours: what else the machine does slows both.
        "ratio": round(statistics.median(mine / floor for mine, floor in pairs), 3),
        "aboveMs": round(statistics.median(mine - floor for mine, floor in pairs), 4),
        "finishMs": round(finish, 1),
    }


def _long() -> dict[str, Any]:
    rounds = [_appends() for _ in range(ROUNDS)]
    # The best of each: what else the machine does only adds.
    first = min(statistics.median(taken[:SOME]) for taken, _ in rounds)
    last = min(statistics.median(taken[-SOME:]) for taken, _ in rounds)
    return {
        "firstMs": round(first, 4),
        "lastMs": round(last, 4),
        "lastToFirst": round(last / first, 3),
        "finishMs": round(max(finish for _, finish in rounds), 1),
    }


def _appends() -> tuple[list[float], float]:
    """Milliseconds of each append of 3,000 small frames, and of closing the files."""
    pixels = np.zeros(SMALL, np.uint8)
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(folder, "Bench", "Scan", {})
        # The files are made with the first frame.
        recorder.append(_frame(pixels, 0))
        for number in range(1, MANY):
            frame = _frame(pixels, number)
            started = time.perf_counter()
            recorder.append(frame)
            taken.append(1000 * (time.perf_counter() - started))
        started = time.perf_counter()
        (path,) = recorder.finish()
        finish = 1000 * (time.perf_counter() - started)
        assert openRecording(path).count == MANY
    return taken, finish


def _peer() -> dict[str, Any]:
    """A volume is modified 30 times each second for 4 s; Slicer's browser records it, and so do we."""
    slicer = slicerhost.boot()
    import qt

    scene, logic = slicer.mrmlScene, slicer.modules.sequences.logic()
    volume = slicer.util.addVolumeFromArray(np.zeros((1, 512, 512), np.uint8), name="Live")
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode")
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    logic.AddSynchronizedNode(sequence, volume, browser)
    browser.SetRecording(sequence, True)
    random = np.random.default_rng(0)
    sent = [random.integers(0, 99, (1, 512, 512)).astype(np.uint8) for _ in range(FPS * SECONDS)]
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(folder, "Bench", "Scan", {})
        browser.SetRecordingActive(True)
        waiting, kept = iter(enumerate(sent)), 0

        def once() -> None:
            nonlocal kept
            number, pixels = next(waiting, (-1, None))
            if pixels is None:
                timer.stop()
                return
            kept += recorder.append(_frame(pixels, number))
            slicer.util.arrayFromVolume(volume)[:] = pixels
            slicer.util.arrayFromVolumeModified(volume)

        timer = qt.QTimer()
        timer.connect("timeout()", once)
        timer.start(1000 // FPS)
        slicerhost.runUntil(lambda: not timer.isActive(), 20)
        browser.SetRecordingActive(False)
        (path,) = recorder.finish()
        part = openRecording(path)
        equal = sum(np.array_equal(part.pixels(index), pixels) for index, pixels in enumerate(sent))
    found = {"sent": len(sent), "ours": equal if kept == part.count else 0, "slicers": sequence.GetNumberOfDataNodes()}
    slicerhost.closeScene()
    return found
