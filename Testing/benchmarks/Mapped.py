"""A recording of 4 GB opened in the scene: memory, time, scrubbing, and how fast its files were closed."""

from __future__ import annotations

import tempfile
import time

import numpy as np
import slicerhost
from RealTimeImagingLib.Model.Frame import Frame
from RealTimeImagingLib.Recording import Recorder, openRecording

from .Rows import OURS, Found, Row

TITLE = "A recording of 4 GiB opened in the scene"
ABOUT = """
Memory: what opening adds to the memory of Slicer, beside the pixels of the recording, which a sequence that is loaded
by Slicer's storage node takes. Scrubbing: the time from a new item of the browser to its voxels in the volume; floor: a
copy of the same pixels from the file's mapped memory.
"""

SHAPE, COUNT = (64, 256, 256), 512
"""8 MiB each: 4 GiB."""


def measure() -> Found:
    """Measure memory, seconds of opening, and milliseconds of a step."""
    slicer = slicerhost.boot()
    from RealTimeImagingLib.Scene.RecordedSequences import RecordedSequences

    with tempfile.TemporaryDirectory() as folder:
        header, closing = _record(folder)
        part = openRecording(header)
        sequences = RecordedSequences(slicer.mrmlScene, slicer.modules.sequences.logic())
        before = _memory()
        started = time.perf_counter()
        browser = sequences.newBrowser("Large")
        sequences.add(browser, [header])
        turns = []
        while sequences.busy:
            turn = time.perf_counter()
            sequences.step(0.01)
            turns.append(1000 * (time.perf_counter() - turn))
        built = time.perf_counter() - started
        opened = _memory() - before
        proxy = browser.GetProxyNode(browser.GetMasterSequenceNode())
        steps, copies, equal = [], [], True
        target = np.zeros(SHAPE, np.int16)
        for index in range(0, COUNT, 8):
            turn = time.perf_counter()
            browser.SetSelectedItemNumber(index)
            steps.append(1000 * (time.perf_counter() - turn))
            turn = time.perf_counter()
            np.copyto(target, part.pixels(index))
            copies.append(1000 * (time.perf_counter() - turn))
            shown = slicer.util.arrayFromVolume(proxy)
            equal = equal and bool((shown[::8] == part.pixels(index)[::8]).all())
        slicerhost.closeScene()
    rows = [
        Row("scrubbing, one step of 8 MiB", "ms", {"copy": copies, OURS: steps}),
        Row("opening: longest turn of the window", "ms", {"turn allowed": [10.0], OURS: [max(turns)]}),
        Row("opening", "s", {OURS: [built]}),
        Row("closing its files", "s", {OURS: [closing]}, "within a second", 1.0),
    ]
    if opened:
        pixels = COUNT * part.frameBytes / 2**20
        rows.append(Row("memory after opening", "MiB", {"all pixels": [pixels], OURS: [max(0.1, opened / 2**20)]}))
    checks = {"what is scrubbed is what was recorded": equal, "opening adds less than a quarter": opened < 1 << 30}
    return Found(rows, checks)


def _record(folder: str) -> tuple[str, float]:
    pixels = np.random.default_rng(0).integers(0, 999, SHAPE).astype(np.int16)
    recorder = Recorder(folder, "Large", "Live", {})
    for number in range(COUNT):
        pixels[:, 0, 0] = number
        assert recorder.append(Frame(pixels, np.eye(4), "Live", number, 1e9 + number / 30))
    started = time.perf_counter()
    (header,) = recorder.finish()
    return header, time.perf_counter() - started


def _memory() -> int:
    """Bytes that this process has in memory beside what is mapped from files; elsewhere than on Linux 0."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
    except OSError:
        return 0
    return int(lines["RssAnon"].split()[0]) * 1024
