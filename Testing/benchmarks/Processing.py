"""What a processing function costs the images beside it, each figure beside a floor of the same run:

- how much later the result of the identity function is ready for Slicer than its image is decoded, beside two copies of
  the same bytes, which are done once in the period of the images: so their memory is as cold as that of the images;
- the processor time of the acquisition process of the images, and of Slicer's main thread, with and without a function;
- recording and display beside a function that sleeps, with its queue full, and in runs before and after without one.
  While the queue fills, each image takes new memory from the system, which is not measured.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicerhost
from RealTimeImagingLib.Link.Ring import PUSH_SLOTS

from .Common import paced, startedModule

KINDS: dict[str, tuple[tuple[int, ...], str, int]] = {
    "int16x256x256x64": ((64, 256, 256), "int16", 30),
    "rgb1080": ((1080, 1920, 3), "uint8", 60),
}
"""Shape, type, and images per second."""
COUNT, WARM = 200, 40
"""Images, and how many of them come before the measurement."""
ABOVE = 3.0
"""Milliseconds above two copies that a result may take: the messages between three processes, and their waking up."""
LOOK = 5
"""Milliseconds by which an image is pushed late at most: no two images come in one burst."""
SLEEP_SHAPE, SLEEP_FPS, SLEEP_COUNT = (16, 256, 256), 30, 100
NOISE = 1.0
"""Milliseconds by which two equal runs may differ beyond the difference of two without a function."""
IDENTITY = "def process(frame):\n    return frame.pixels\n"
NOTHING = "def process(frame):\n    return None\n"
SLEEPING = "import time\ndef process(frame):\n    time.sleep(1)\n    return frame.pixels\n"


@dataclass(frozen=True)
class Costs:
    """Processor milliseconds for each image: of its acquisition process (Linux, otherwise None), of the main thread."""

    worker: float | None
    mainThread: float

    @property
    def figures(self) -> dict[str, float | None]:
        """The costs, rounded."""
        worker = None if self.worker is None else round(self.worker, 3)
        return {"workerMs": worker, "mainThreadMs": round(self.mainThread, 3)}


def measure() -> dict[str, Any]:
    """Figures of each kind of images, of a function that sleeps, and the rules."""
    rules: dict[str, bool] = {}
    with tempfile.TemporaryDirectory() as folder, startedModule() as logic:
        figures = {name: _measure(logic, folder, name, *kind) for name, kind in KINDS.items()}
        runs = [_sleep(logic, folder, code) for code in ("", SLEEPING, "", SLEEPING, "")]
    for name, found in figures.items():
        alone, beside, nothing, copy = found["alone"], found["identity"], found["nothing"], found["twoCopiesMs"] / 2
        rules[f"{name}: at most two copies + {ABOVE} ms"] = found["addedMs"] <= 2 * copy + ABOVE
        rules[f"{name}: nothing is skipped"] = found["processed"] == found["received"]
        if alone["workerMs"] is not None:
            growth = beside["workerMs"] - alone["workerMs"]
            rules[f"{name}: the acquisition process pays at most one copy"] = growth <= copy
        most = max(alone["mainThreadMs"], found["again"]["mainThreadMs"])
        rules[f"{name}: the main thread pays nothing without a result"] = nothing["mainThreadMs"] <= 1.1 * most
        # An image that is pushed and shown costs two copies. A result costs one, and beside it no more than any image.
        growth = beside["mainThreadMs"] - most
        rules[f"{name}: the main thread pays for showing the result only"] = growth - copy <= most - 2 * copy
    without, beside = runs[::2], runs[1::2]
    for count in ("received", "recorded", "failed"):
        rules[f"a function that sleeps: {count} is the same"] = len({run[count] for run in runs}) == 1
    for figure, noise in (("latencyMs", NOISE), ("skipped", 0.05 * SLEEP_COUNT)):
        most = max(run[figure] for run in without) + noise
        rules[f"a function that sleeps: {figure} is the same"] = statistics.mean(run[figure] for run in beside) <= most
    return {**figures, "sleeping": {"without": without, "beside": beside}, "rules": rules}


def _measure(logic: Any, folder: str, name: str, shape: tuple[int, ...], dtype: str, fps: int) -> dict[str, Any]:
    array = np.random.default_rng(0).integers(0, 99, shape).astype(dtype)
    copies = _copiesMs(array, fps)
    images: dict[int, float] = {}
    results: dict[int, float] = {}

    def note(frame: Any) -> None:
        if frame.stream == name:
            images[frame.number] = frame.stages["decoded"]
        else:
            results[int(frame.attributes["SourceFrame"])] = frame.stages["handedOver"]

    logic.push(array, name=name, wait=20)
    handle = logic.sources()[0]
    slicerhost.runUntil(lambda: bool(handle.received), 60)
    logic.addFrameCallback(note, every=True)
    alone = _push(logic, handle, array, name, fps)
    processor = _start(logic, folder, NOTHING, name)
    nothing = _push(logic, handle, array, name, fps)
    logic.processing.stop(processor)
    slicerhost.runUntil(lambda: processor.handle.ended, 20)
    images.clear()
    processor = _start(logic, folder, IDENTITY, name)
    before = sum(handle.received.values())
    identity = _push(logic, handle, array, name, fps)
    total = sum(handle.received.values()) - before
    slicerhost.runUntil(lambda: processor.statistics()["received"] == total, 20)
    slicerhost.runUntil(lambda: not processor.statistics()["waiting"], 20)
    figures = processor.statistics()
    logic.processing.stop(processor)
    slicerhost.runUntil(lambda: processor.handle.ended, 20)
    again = _push(logic, handle, array, name, fps)
    logic.removeFrameCallback(note)
    _stop(logic)
    first = min(images) + WARM
    added = [1000 * (results[one] - images[one]) for one in images if one in results and one >= first]
    return {
        "addedMs": round(statistics.median(added), 3),
        "addedP95Ms": round(statistics.quantiles(added, n=20)[-1], 3),
        "twoCopiesMs": round(copies, 3),
        "received": figures["received"],
        "processed": figures["processed"],
        "measured": len(added),
        "alone": alone.figures,
        "nothing": nothing.figures,
        "identity": identity.figures,
        "again": again.figures,
    }


def _sleep(logic: Any, folder: str, code: str) -> dict[str, float]:
    """Record and show images beside a function, or with empty code without one."""
    array = np.random.default_rng(0).integers(0, 99, SLEEP_SHAPE).astype(np.int16)
    latencies: list[float] = []

    def note(frame: Any) -> None:
        latencies.append(1000 * (time.time() - frame.receiveTime))

    logic.push(array, name="sleep", wait=20)
    handle = logic.sources()[0]
    slicerhost.runUntil(lambda: bool(handle.received), 60)
    if code:
        _start(logic, folder, code, "sleep")
    logic.startRecording(os.path.join(folder, "recording"))
    _push(logic, handle, array, "sleep", SLEEP_FPS, PUSH_SLOTS + WARM)
    logic.addFrameCallback(note, stream="sleep")
    shown = handle.counts["sleep"].shown
    _push(logic, handle, array, "sleep", SLEEP_FPS, SLEEP_COUNT)
    shown = handle.counts["sleep"].shown - shown
    logic.removeFrameCallback(note)
    logic.stopRecording()
    figures = {
        "received": sum(handle.received.values()),
        "recorded": handle.recorded,
        "failed": handle.failed,
        "skipped": SLEEP_COUNT - shown,
        "latencyMs": round(statistics.median(latencies), 3),
    }
    _stop(logic)
    return figures


def _start(logic: Any, folder: str, code: str, stream: str) -> Any:
    path = os.path.join(folder, "function.py")
    with open(path, "w", encoding="utf-8") as file:
        file.write(code)
    processor = logic.processing.start(path, stream=stream)
    slicerhost.runUntil(lambda: processor.handle.details.get("connected") and "starting" not in processor.status, 60)
    return processor


def _stop(logic: Any) -> None:
    logic.stop()
    slicerhost.runUntil(lambda: not logic.isRunning(), 20)


def _push(logic: Any, handle: Any, array: np.ndarray, name: str, fps: int, count: int = COUNT) -> Costs:
    """Push the images at their pace; return what each costs."""
    target = sum(handle.received.values()) + count
    started, used, main = time.perf_counter(), _cpu(handle.pid), time.thread_time()
    for number in range(count):
        slicerhost.runUntil(lambda due=started + number / fps: time.perf_counter() >= due, 10, everyMs=LOOK)
        logic.push(array, name=name, wait=10)
    slicerhost.runUntil(lambda: sum(handle.received.values()) >= target, 20)
    slicerhost.runUntil(lambda: handle.counts[name].shown + handle.counts[name].skipped >= target, 2)
    worker = None if used is None else 1000 * (_cpu(handle.pid) - used) / count
    return Costs(worker, 1000 * (time.thread_time() - main) / count)


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
