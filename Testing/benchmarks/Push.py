"""What logic.push costs Slicer's main thread beside a copy of the same bytes, and how many it takes in a loop."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from typing import Any

import numpy as np
import slicerhost
from RealTimeImagingLib.Recording import openRecording

from .Common import paced, startedModule

KINDS: dict[str, tuple[tuple[int, ...], str]] = {
    "uint8x512x512": ((512, 512), "uint8"),
    "rgb1080": ((1080, 1920, 3), "uint8"),
    "int16x256x256x64": ((64, 256, 256), "int16"),
}
PERIOD, COUNT = 0.05, 60
LINE = 0.6
"""Milliseconds that the checks and the line of a frame may cost, whatever its size: at this pace nothing of it is in
the processor's cache, and the host's qt adds to it."""
LOOP, LOOP_SHAPE = 300, (512, 512)


def measure() -> dict[str, Any]:
    """Milliseconds of a push, and of a memcpy at the same pace in the same run."""
    with startedModule() as logic:
        figures: dict[str, Any] = {name: _costs(logic, name, *kind) for name, kind in KINDS.items()}
        _stop(logic)
        loop = _loop(logic)
        _stop(logic)
    rules = {
        f"{name}: at most 1.2 x a memcpy + {LINE} ms": found["pushMs"] <= 1.2 * found["pacedMemcpyMs"] + LINE
        for name, found in figures.items()
    }
    rules["a loop of 300 frames is recorded whole"] = loop["recorded"] == loop["inFile"] == LOOP
    return {**figures, "loop": loop, "rules": rules}


def _costs(logic: Any, name: str, shape: tuple[int, ...], dtype: str) -> dict[str, float]:
    array = np.random.default_rng(0).integers(0, 99, shape).astype(dtype)
    target = np.empty_like(array)
    for _ in range(8):  # every slot of the ring is touched once
        logic.push(array, name=name, wait=10)
    sender = logic.sources()[0].pushSender
    slicerhost.runUntil(lambda: sender.taken == sender.pushed, 20)
    before = paced(lambda: np.copyto(target, array), PERIOD, COUNT // 2)
    taken: list[float] = []

    def push() -> None:
        started = time.perf_counter()
        logic.push(array, name=name)
        taken.append(1000 * (time.perf_counter() - started))

    pushed = paced(push, PERIOD, COUNT)
    floor = min(before, paced(lambda: np.copyto(target, array), PERIOD, COUNT // 2))
    return {
        "pushMs": round(pushed, 3),
        "p95Ms": round(statistics.quantiles(taken, n=20)[-1], 3),
        "pacedMemcpyMs": round(floor, 3),
        "ratio": round(pushed / floor, 2),
        "aboveMs": round(pushed - floor, 3),
    }


def _loop(logic: Any) -> dict[str, float]:
    """As fast as possible, recorded, in a loop that gives the window no turn."""
    array = np.zeros(LOOP_SHAPE, np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        logic.startRecording(folder, name="Loop")
        logic.push(array, wait=10)
        slicerhost.runUntil(lambda: logic.statistics()["received"] == 1, 10)
        started = time.perf_counter()
        for _ in range(LOOP - 1):
            logic.push(array, wait=10)
        seconds = time.perf_counter() - started
        logic.stopRecording()
        slicerhost.runUntil(lambda: not logic.recording.building, 20)
        part = openRecording(os.path.join(folder, "Loop-Live.seq.nhdr"))
        return {
            "framesPerSecond": round((LOOP - 1) / seconds, 1),
            "recorded": logic.statistics()["recorded"],
            "inFile": part.count,
        }


def _stop(logic: Any) -> None:
    logic.stop()
    slicerhost.runUntil(lambda: not logic.isRunning(), 10)
