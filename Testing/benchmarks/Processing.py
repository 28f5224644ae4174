"""What a processing function costs the images beside it, each figure beside a floor of the same run."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicerhost
from RealTimeImagingLib.Link.Ring import PUSH_SLOTS

from .Common import paced, processorSeconds, startedModule, stop
from .Rows import OURS, Found, Row

TITLE = "Live processing beside a stream"
ABOUT = """
A result: how much later the result of a function that returns its image comes than the image itself; floor: two copies
of the same bytes, done once in the period of the images, so that their memory is as cold. The acquisition process, and
Slicer's main thread: processor time for each image with a function that returns nothing; floor: without a function,
in the same run. A function that sleeps has its queue full; latency and skipped images are beside those of runs before
and after without it.
"""

KINDS: dict[str, tuple[tuple[int, ...], str, int]] = {
    "256x256x64 i16": ((64, 256, 256), "int16", 30),
    "1080p RGB": ((1080, 1920, 3), "uint8", 60),
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


def measure() -> Found:
    """Measure milliseconds for each image, and compare the counts beside a function that sleeps."""
    rows, checks = [], {}
    with tempfile.TemporaryDirectory() as folder, startedModule() as logic:
        for name, kind in KINDS.items():
            found = _measure(logic, folder, name, *kind)
            added, copies = found["added"], found["twoCopies"]
            words, limit = f"at most two copies + {ABOVE} ms", statistics.median(copies) + ABOVE
            rows.append(
                Row(f"{name}: a result", "ms", {"two copies": copies, OURS: added}, words, limit, headline=True)
            )
            rows += _beside(name, found)
            checks[f"{name}: nothing is skipped"] = found["processed"] == found["received"]
        runs = [_sleep(logic, folder, code) for code in ("", SLEEPING, "", SLEEPING, "")]
    without, beside = runs[::2], runs[1::2]
    for count in ("received", "recorded", "failed"):
        checks[f"a function that sleeps: {count} is the same"] = len({run[count] for run in runs}) == 1
    for figure, unit, noise in (("latencyMs", "ms", NOISE), ("skipped", "images", 0.05 * SLEEP_COUNT)):
        samples = {"without a function": [run[figure] for run in without], OURS: [run[figure] for run in beside]}
        words, limit = f"at most {noise:g} above", max(samples["without a function"]) + noise
        rows.append(Row(f"beside a function that sleeps: {figure}", unit, samples, words, limit))
    return Found(rows, checks)


def _beside(name: str, found: dict[str, Any]) -> list[Row]:
    rows = []
    alone, again, nothing, beside = (found[run] for run in ("alone", "again", "nothing", "identity"))
    copy = statistics.median(found["twoCopies"]) / 2
    if alone.worker is not None:
        samples = {"without a function": [alone.worker, again.worker], OURS: [beside.worker]}
        words, limit = "at most a copy above", max(samples["without a function"]) + copy
        rows.append(Row(f"{name}: acquisition process", "ms", samples, words, limit))
    samples = {
        "without a function": [alone.mainThread, again.mainThread],
        OURS: [nothing.mainThread],
        f"{OURS}, results shown": [beside.mainThread],
    }
    words, limit = "at most 1.1 x without", 1.1 * max(samples["without a function"])
    rows.append(Row(f"{name}: main thread", "ms", samples, words, limit))
    return rows


def _measure(logic: Any, folder: str, name: str, shape: tuple[int, ...], dtype: str, fps: int) -> dict[str, Any]:
    array = np.random.default_rng(0).integers(0, 99, shape).astype(dtype)
    copies = [_copiesMs(array, fps)]
    images: dict[int, float] = {}
    results: dict[int, float] = {}

    def note(frame: Any) -> None:
        if frame.stream == name:
            images[frame.number] = frame.stages["decoded"]
        else:
            results[int(frame.attributes["SourceFrame"])] = frame.stages["handedOver"]

    logic.push(array, name=name, wait=20)
    source = logic.sources()[0]
    slicerhost.runUntil(lambda: bool(source.received), 60)
    logic.addFrameCallback(note, every=True)
    alone = _push(logic, source, array, name, fps)
    processor = _start(logic, folder, NOTHING, name)
    nothing = _push(logic, source, array, name, fps)
    logic.processing.stop(processor)
    slicerhost.runUntil(lambda: processor.resultSource.ended, 20)
    images.clear()
    processor = _start(logic, folder, IDENTITY, name)
    before = sum(source.received.values())
    identity = _push(logic, source, array, name, fps)
    total = sum(source.received.values()) - before
    slicerhost.runUntil(lambda: processor.statistics()["received"] == total, 20)
    slicerhost.runUntil(lambda: not processor.statistics()["waiting"], 20)
    figures = processor.statistics()
    logic.processing.stop(processor)
    slicerhost.runUntil(lambda: processor.resultSource.ended, 20)
    again = _push(logic, source, array, name, fps)
    copies.append(_copiesMs(array, fps))
    logic.removeFrameCallback(note)
    stop(logic)
    first = min(images) + WARM
    added = [1000 * (results[one] - images[one]) for one in images if one in results and one >= first]
    return {
        "added": added,
        "twoCopies": copies,
        "received": figures["received"],
        "processed": figures["processed"],
        "alone": alone,
        "nothing": nothing,
        "identity": identity,
        "again": again,
    }


def _sleep(logic: Any, folder: str, code: str) -> dict[str, float]:
    """Record and show images beside a function, or with empty code without one."""
    array = np.random.default_rng(0).integers(0, 99, SLEEP_SHAPE).astype(np.int16)
    latencies: list[float] = []

    def note(frame: Any) -> None:
        latencies.append(1000 * (time.time() - frame.receiveTime))

    logic.push(array, name="sleep", wait=20)
    source = logic.sources()[0]
    slicerhost.runUntil(lambda: bool(source.received), 60)
    if code:
        _start(logic, folder, code, "sleep")
    logic.startRecording(os.path.join(folder, "recording"))
    _push(logic, source, array, "sleep", SLEEP_FPS, PUSH_SLOTS + WARM)
    logic.addFrameCallback(note, stream="sleep")
    shown = source.counts["sleep"].shown
    _push(logic, source, array, "sleep", SLEEP_FPS, SLEEP_COUNT)
    shown = source.counts["sleep"].shown - shown
    logic.removeFrameCallback(note)
    logic.stopRecording()
    figures = {
        "received": sum(source.received.values()),
        "recorded": source.recorded,
        "failed": source.failed,
        "skipped": SLEEP_COUNT - shown,
        "latencyMs": round(statistics.median(latencies), 3),
    }
    stop(logic)
    return figures


def _start(logic: Any, folder: str, code: str, stream: str) -> Any:
    path = os.path.join(folder, "function.py")
    with open(path, "w", encoding="utf-8") as file:
        file.write(code)
    processor = logic.processing.start(path, stream=stream)
    slicerhost.runUntil(
        lambda: processor.resultSource.details.get("connected") and "starting" not in processor.status, 60
    )
    return processor


def _push(logic: Any, source: Any, array: np.ndarray, name: str, fps: int, count: int = COUNT) -> Costs:
    """Push the images at their pace; return what each costs."""
    target = sum(source.received.values()) + count
    started, used, main = time.perf_counter(), processorSeconds(source.pid), time.thread_time()
    for number in range(count):
        slicerhost.runUntil(lambda due=started + number / fps: time.perf_counter() >= due, 10, everyMs=LOOK)
        logic.push(array, name=name, wait=10)
    slicerhost.runUntil(lambda: sum(source.received.values()) >= target, 20)
    slicerhost.runUntil(lambda: source.counts[name].shown + source.counts[name].skipped >= target, 2)
    worker = None if used is None else 1000 * (processorSeconds(source.pid) - used) / count
    return Costs(worker, 1000 * (time.thread_time() - main) / count)


def _copiesMs(array: np.ndarray, fps: int) -> float:
    first, second = np.zeros_like(array), np.zeros_like(array)

    def copyTwice() -> None:
        np.copyto(first, array)
        np.copyto(second, first)

    return paced(copyTwice, 1 / fps, 100)
