"""A recording of 4 GB opened in the scene: memory, time, scrubbing, and how fast its files were closed."""

from __future__ import annotations

import statistics
import tempfile
import time
from typing import Any

import numpy as np
import slicerhost
from RealTimeImagingLib.Model.Frame import Frame
from RealTimeImagingLib.Recording import Recorder, openRecording

SHAPE, COUNT = (64, 256, 256), 512
"""8 MiB each: 4 GiB."""


def measure() -> dict[str, Any]:
    """Bytes of memory that opening adds, without and with every frame looked at; milliseconds of each step."""
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
        steps, equal = [], True
        for index in range(0, COUNT, 8):
            turn = time.perf_counter()
            browser.SetSelectedItemNumber(index)
            steps.append(1000 * (time.perf_counter() - turn))
            shown = slicer.util.arrayFromVolume(proxy)
            equal = equal and bool((shown[::8] == part.pixels(index)[::8]).all())
        slicerhost.closeScene()
    return {
        "bytes": COUNT * part.frameBytes,
        "openedAddsBytes": opened,
        "builtSeconds": round(built, 3),
        "longestTurnMs": round(max(turns), 1),
        "scrubMs": round(statistics.median(steps), 2),
        "closedSeconds": round(closing, 3),
        "rules": {
            "opening 4 GiB adds less than 1 GiB of memory": opened < 1 << 30,
            "its files are closed within a second": closing < 1,
            "what is scrubbed is what was recorded": equal,
        },
    }


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
