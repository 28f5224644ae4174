"""How much later the result of a function comes than its image, beside two copies of the same bytes in the same run,
and what a function costs the acquisition process of its images."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from typing import Any

import numpy as np
import slicerhost

from .Common import paced, startedModule

KINDS: dict[str, tuple[tuple[int, ...], str, int]] = {
    "int16x256x256x64": ((64, 256, 256), "int16", 30),
    "rgb1080": ((1080, 1920, 3), "uint8", 60),
}
"""Shape, type, and images per second."""
COUNT, WARM = 300, 40
"""Images, and how many of them come before the measurement."""
ABOVE = 3.0
"""Milliseconds above two copies that a result may take: two lines from process to process, and their waking up."""
IDENTITY = "def process(frame):\n    return frame.pixels\n"


def measure() -> dict[str, Any]:
    """Milliseconds from an image in Slicer's memory to the result of the identity there, and of two copies."""
    with tempfile.TemporaryDirectory() as folder, startedModule() as logic:
        path = os.path.join(folder, "identity.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(IDENTITY)
        figures = {name: _measure(logic, name, path, *kind) for name, kind in KINDS.items()}
    rules: dict[str, bool] = {}
    for name, found in figures.items():
        rules[f"{name}: at most two copies + {ABOVE} ms"] = found["addedMs"] <= found["twoCopiesMs"] + ABOVE
        rules[f"{name}: nothing is skipped"] = found["processed"] == found["received"]
        if found["workerMsPerImage"] is not None:
            growth = found["workerMsPerImageBeside"] - found["workerMsPerImage"]
            rules[f"{name}: the acquisition process pays at most one copy"] = growth <= found["twoCopiesMs"] / 2
    return {**figures, "rules": rules}


def _measure(logic: Any, name: str, path: str, shape: tuple[int, ...], dtype: str, fps: int) -> dict[str, Any]:
    array = np.random.default_rng(0).integers(0, 99, shape).astype(dtype)
    copies = _copiesMs(array, fps)
    images: dict[int, float] = {}
    results: dict[int, float] = {}

    def note(frame: Any) -> None:
        if frame.stream == name:
            images[frame.number] = frame.stages["handedOver"]
        else:
            results[int(frame.attributes["SourceFrame"])] = frame.stages["handedOver"]

    logic.push(array, name=name, wait=20)
    handle = logic.sources()[0]
    slicerhost.runUntil(lambda: bool(handle.received), 60)
    alone = _push(logic, handle, array, name, fps)
    processor = logic.processing.start(path, stream=name)
    slicerhost.runUntil(lambda: processor.handle.details.get("connected") and "starting" not in processor.status, 60)
    logic.addFrameCallback(note, every=True)
    before = sum(handle.received.values())
    beside = _push(logic, handle, array, name, fps)
    total = sum(handle.received.values()) - before
    slicerhost.runUntil(lambda: processor.statistics()["received"] == total, 20)
    slicerhost.runUntil(lambda: not processor.statistics()["waiting"], 20)
    figures = processor.statistics()
    logic.removeFrameCallback(note)
    logic.stop()
    slicerhost.runUntil(lambda: not logic.isRunning(), 20)
    first = min(images) + WARM
    added = [1000 * (results[one] - images[one]) for one in images if one in results and one >= first]
    return {
        "addedMs": round(statistics.median(added), 3),
        "addedP95Ms": round(statistics.quantiles(added, n=20)[-1], 3),
        "twoCopiesMs": round(copies, 3),
        "received": figures["received"],
        "processed": figures["processed"],
        "measured": len(added),
        "workerMsPerImage": None if alone is None else round(alone, 3),
        "workerMsPerImageBeside": None if beside is None else round(beside, 3),
    }


def _push(logic: Any, handle: Any, array: np.ndarray, name: str, fps: int) -> float | None:
    """Push the images at their pace; return the CPU milliseconds of the acquisition process for each (Linux)."""
    target = sum(handle.received.values()) + COUNT
    started, used = time.perf_counter(), _cpu(handle.pid)
    for number in range(COUNT):
        slicerhost.runUntil(lambda due=started + number / fps: time.perf_counter() >= due, 10)
        logic.push(array, name=name, wait=10)
    slicerhost.runUntil(lambda: sum(handle.received.values()) >= target, 20)
    return None if used is None else 1000 * (_cpu(handle.pid) - used) / COUNT


def _cpu(pid: int) -> float | None:
    if sys.platform != "linux":
        return None
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _copiesMs(array: np.ndarray, fps: int) -> float:
    first, second = np.zeros_like(array), np.zeros_like(array)

    def copyTwice() -> None:
        np.copyto(first, array)
        np.copyto(second, first)

    return paced(copyTwice, 1 / fps, 100)
