"""Soak: as many images as come in an hour, faster, without faults; what each costs must not grow.

Two sources run with a recording: OpenIGTLink, and a folder whose old files are removed. A sample holds the memory that
the processes alone have, their descriptors, and their processor time for each image. The last tenth of the samples is
compared with the first one after the start.

The same work takes more processor time while other programs use the caches. Therefore a fixed calculation is timed
again and again, and the processor time for an image is that of a processor as fast as in the first sample.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
import zlib
from collections.abc import Sequence
from typing import Any

import slicerhost
from RealTimeImagingLib import FolderSettings, OpenIGTLinkSettings
from unit.openIGTLinkSource import freePort

from .Rounds import MODULE, Torture
from .System import memory, openFiles, processorTime

HOUR = 36_000
"""Images of an hour at 10 images/s."""
SHARE = 10
"""One image in so many comes as a file."""
SAMPLES = 60
WARM = 4
"""First samples that are not compared: caches fill, and Python compiles."""
WINDOW = 6
"""Samples at the beginning and at the end that are compared."""
MOST = 1.1
"""Most growth."""
NOT_JUDGED = ("images", "calculation (us)")
"""Values of a sample that may grow."""
_BLOCK = bytes(range(256)) * 1024
SIZE, EDGE = (900, 260), 70
"""Width and height of a chart, and its margin, in pixels."""


def soak(minutes: float, report: str | None, plot: str | None) -> int:
    """Run the soak; return 0 when nothing grows.

    :param minutes: for the images of an hour. ``report``: JSON file. ``plot``: PNG file.
    """
    slicer = slicerhost.boot()
    slicerhost.loadModule(MODULE)
    rate = HOUR / (60 * minutes)
    print(f"Soak: {HOUR} images, those of an hour at 10 images/s, at {rate:.0f} images/s.", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        torture = Torture(os.path.join(folder, "work"))
        try:
            samples, missing = _run(slicer, torture, folder, rate)
        finally:
            torture.close()
    slicerhost.unloadModule("RealTimeImaging")
    slicerhost.closeScene()
    growth = {name: _growth([one[name] for one in samples]) for name in samples[0] if name not in NOT_JUDGED}
    problems = [f"{name} has grown {value:.2f} times." for name, value in growth.items() if value > MOST]
    problems += [f"{missing} images did not arrive."] * (missing > 0) + slicerhost.leftovers()
    for name, value in growth.items():
        print(f"{name}: {value:.3f} times")
    print("\n".join(problems) or f"Nothing grows: the end has at most {MOST} times what the beginning has.")
    if plot:
        _plot(samples, plot)
    if report:
        with open(report, "w", encoding="utf-8") as file:
            json.dump({"images": HOUR, "growth": growth, "problems": problems, "samples": samples}, file, indent=1)
    return 1 if problems else 0


def _run(slicer: Any, torture: Torture, folder: str, rate: float) -> tuple[list[dict[str, float]], int]:
    logic = slicer.util.getModuleLogic("RealTimeImaging")
    incoming, port = os.path.join(folder, "incoming"), freePort()
    os.mkdir(incoming)
    files = HOUR // SHARE
    logic.startRecording(os.path.join(folder, "recordings"), name="soak")
    sources = [
        logic.start(OpenIGTLinkSettings(role="server", port=port, stream="Device")),
        logic.start(FolderSettings(incoming, stream="Files")),
    ]
    slicerhost.runUntil(lambda: all(one.state == "running" for one in sources), 30)
    common = {"steps": [], "log": os.devnull, "last": 0}
    torture.order(
        sender=1, kind="steady", port=port, device="Device", count=HOUR - files, rate=rate * (1 - 1 / SHARE), **common
    )
    torture.order(sender=2, kind="steadyFiles", folder=incoming, count=files, rate=rate / SHARE, **common)
    samples: list[dict[str, float]] = []
    before: tuple[int, list[float]] = (0, [0.0, 0.0])
    since, last = time.monotonic(), 0
    calculations: list[float] = []

    def over() -> bool:
        nonlocal before, since, last
        calculations.append(_calculation())
        total = sum(sum(one.received.values()) for one in sources)
        if total != last:
            last, since = total, time.monotonic()
        if total >= (len(samples) + 1) * HOUR // SAMPLES:
            pids = [os.getpid(), *(one.pid for one in sources)]
            used = [processorTime(os.getpid()), sum(processorTime(one.pid) for one in sources)]
            calculation = 1e6 * statistics.median(calculations)
            calculations.clear()
            slow = calculation / (samples[0]["calculation (us)"] if samples else calculation)
            each = [1e6 * (now - then) / (total - before[0]) / slow for now, then in zip(used, before[1], strict=True)]
            samples.append(
                {
                    "images": total,
                    "memory of Slicer (MB)": memory() / 1e6,
                    **{f"memory of {one.settings.stream} (MB)": memory(one.pid) / 1e6 for one in sources},
                    "descriptors": sum(map(openFiles, pids)),
                    "Slicer's time for an image (us)": each[0],
                    "workers' time for an image (us)": each[1],
                    "calculation (us)": calculation,
                }
            )
            before = total, used
        return total >= HOUR or time.monotonic() - since > 20

    slicerhost.runUntil(over, float("inf"), 100)
    logic.stopRecording()
    logic.stop()
    slicerhost.runUntil(lambda: not logic.isRunning(), 120)
    return samples, HOUR - sum(one.recorded for one in sources)


def _calculation() -> float:
    """Return the seconds of processor time that a fixed calculation takes now."""
    # Nothing in it makes Python look for garbage.
    began = time.thread_time()
    for number in range(0, len(_BLOCK), 64):
        zlib.crc32(_BLOCK[number : number + 64])
    return time.thread_time() - began


def _growth(values: Sequence[float]) -> float:
    first, last = values[WARM : WARM + WINDOW], values[-WINDOW:]
    return statistics.median(last) / statistics.median(first)


def _plot(samples: Sequence[dict[str, float]], path: str) -> None:
    from PIL import Image, ImageDraw

    names = [name for name in samples[0] if name not in NOT_JUDGED]
    width, height = SIZE
    sheet = Image.new("RGB", (width, height * len(names)), "white")
    draw = ImageDraw.Draw(sheet)
    for place, name in enumerate(names):
        values = [one[name] for one in samples]
        top, bottom = place * height + 40, (place + 1) * height - 30
        highest = 1.2 * max(values)
        draw.text((EDGE, top - 25), f"{name}; {values[-1]:.3g} at the end", fill="black")
        draw.line([(EDGE, top), (EDGE, bottom), (width - 20, bottom)], fill="black")
        for share in (0.0, 0.5, 1.0):
            level = bottom - share * (bottom - top)
            draw.text((8, level - 6), f"{share * highest:.3g}", fill="black")
            draw.line([(EDGE - 4, level), (EDGE, level)], fill="black")
        points = [
            (
                EDGE + one["images"] / HOUR * (width - EDGE - 20),
                bottom - one[name] / highest * (bottom - top) if highest else bottom,
            )
            for one in samples
        ]
        draw.line(points, fill=(31, 119, 180), width=2)
        draw.text((width - 150, bottom + 6), f"{HOUR} images", fill="black")
    sheet.save(path)
