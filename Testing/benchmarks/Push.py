"""What logic.push costs Slicer's main thread beside a copy of the same bytes, and how many it takes in a loop."""

from __future__ import annotations

import os
import statistics
import tempfile
from typing import Any

import numpy as np
import slicerhost
from RealTimeImagingLib.Recording import openRecording

from .Common import startedModule, stop
from .Rows import OURS, Found, Row, interleaved, timed

TITLE = "logic.push of an array"
ABOUT = """
Floor: a copy of the same bytes between two arrays that exist, at the same pace. `logic.push` copies the array into
shared memory; the image is numbered, recorded and shown later. In the loop nothing else runs, and each image of 512 x
512 (uint8) is recorded; its floor is what the copies alone would allow.
"""

KINDS: dict[str, tuple[tuple[int, ...], str]] = {
    "512x512 u8": ((512, 512), "uint8"),
    "1080p RGB": ((1080, 1920, 3), "uint8"),
    "256x256x64 i16": ((64, 256, 256), "int16"),
}
PAUSE, ROUNDS = 0.05, 40
LINE = 0.6
"""Milliseconds that the checks and the line of a frame may cost, whatever its size: at this pace nothing of it is in
the processor's cache, and the host's qt adds to it."""
LOOP, LOOP_SHAPE = 300, (512, 512)


def measure() -> Found:
    """Measure milliseconds of a push."""
    rows = []
    with startedModule() as logic:
        logic.setShowIn("none")
        for name, kind in KINDS.items():
            samples = _costs(logic, name, *kind)
            limit = 1.2 * statistics.median(samples["memcpy"]) + LINE
            rows.append(Row(name, "ms", samples, f"at most 1.2 x memcpy + {LINE} ms", limit))
        stop(logic)
        samples, whole = _loop(logic)
        rows.append(Row(f"a loop of {LOOP} images, recorded", "images/s", samples))
        stop(logic)
    return Found(rows, {f"a loop of {LOOP} images is recorded whole": whole})


def _costs(logic: Any, name: str, shape: tuple[int, ...], dtype: str) -> dict[str, list[float]]:
    array = np.random.default_rng(0).integers(0, 99, shape).astype(dtype)
    target = np.empty_like(array)
    for _ in range(8):  # every slot of the ring is touched once
        logic.push(array, name=name, wait=10)
    sender = logic.sources()[0].pushSender
    slicerhost.runUntil(lambda: sender.taken == sender.pushed, 20)
    ways = {"memcpy": timed(lambda: np.copyto(target, array)), OURS: timed(lambda: logic.push(array, name=name))}
    return interleaved(ways, ROUNDS, before=_pause)


def _pause() -> None:
    slicerhost.runUntil(lambda: False, PAUSE, everyMs=int(1000 * PAUSE))


def _loop(logic: Any) -> tuple[dict[str, list[float]], bool]:
    """As fast as possible, recorded, in a loop that gives the window no turn."""
    array = np.zeros(LOOP_SHAPE, np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        logic.startRecording(folder, name="Loop")
        logic.push(array, wait=10)
        slicerhost.runUntil(lambda: logic.statistics()["received"] == 1, 10)
        taken = timed(lambda: [logic.push(array, wait=10) for _ in range(LOOP - 1)], 1)()
        copies = timed(lambda: [array.copy() for _ in range(LOOP - 1)], 1)()
        logic.stopRecording()
        slicerhost.runUntil(lambda: not logic.recording.building, 20)
        part = openRecording(os.path.join(folder, "Loop-Live.seq.nhdr"))
        whole = logic.statistics()["recorded"] == part.count == LOOP
    return {"copies alone": [(LOOP - 1) / copies], OURS: [(LOOP - 1) / taken]}, whole
