"""What the benchmarks share: the host with the module, a paced floor, a writer of files that is another process."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import slicerhost

MODULE = Path(__file__).resolve().parents[2] / "RealTimeImaging" / "RealTimeImaging.py"
SHAPE = (64, 256, 256)
"""8 MiB of int16: the volume of an MRI scanner."""
TICK = 10
"""Milliseconds between two turns that a timer asks of Slicer's window, see :func:`lateness`."""

WRITER = textwrap.dedent("""
    import json, os, struct, sys, time
    folder, parts = sys.argv[1:3]
    count, period, size, kept = map(json.loads, sys.argv[3:])
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *reversed(size), 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 4, 16)
    struct.pack_into("<4f", header, 76, 1, 1, 1, 1)
    struct.pack_into("<f", header, 108, 352)
    struct.pack_into("<2h", header, 252, 0, 1)
    struct.pack_into("<12f", header, 280, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    struct.pack_into("<4s", header, 344, b"n+1")
    data = bytes(header) + os.urandom(2 * size[0] * size[1] * size[2])
    started = time.monotonic()
    for number in range(count):
        # Not while the last file is being read: a scanner is another computer.
        time.sleep(max(0, started + (number + 0.5) * period - time.monotonic()))
        path, part = (os.path.join(one, f"f{number:05d}.nii") for one in (folder, parts))
        with open(part + ".part", "wb") as file:
            file.write(data)
        time.sleep(max(0, started + (number + 1) * period - time.monotonic()))
        os.rename(part + ".part", path)
        print(time.time(), flush=True)
        if number >= kept:
            os.unlink(os.path.join(folder, f"f{number - kept:05d}.nii"))
    sys.stdin.read()
""")


@contextmanager
def startedModule() -> Iterator[Any]:
    """The module's logic in the host; everything is gone afterwards."""
    slicer = slicerhost.boot()
    slicerhost.loadModule(MODULE)
    yield slicer.util.getModuleLogic("RealTimeImaging")
    slicerhost.unloadModule("RealTimeImaging")
    slicerhost.closeScene()


@contextmanager
def ticking(turn: Callable[[], object]) -> Iterator[None]:
    """Call a function every TICK milliseconds from a timer of the event loop."""
    import qt

    timer = qt.QTimer()
    timer.setTimerType(qt.Qt.PreciseTimer)
    timer.connect("timeout()", turn)
    timer.start(TICK)
    try:
        yield
    finally:
        timer.stop()
        timer.disconnect("timeout()", turn)


@contextmanager
def lateness() -> Iterator[list[float]]:
    """Yield a list that holds afterwards by how many milliseconds each turn of a timer of TICK came late."""
    moments: list[float] = []
    late: list[float] = []

    def note() -> None:
        moments.append(time.perf_counter())

    with ticking(note):
        yield late
    # Turns that were left out make the pause as long as they were late.
    late.extend(max(0.0, 1000 * float(pause) - TICK) for pause in np.diff(moments))


@contextmanager
def writer(
    folder: str, count: int, period: float, shape: tuple[int, int, int] = SHAPE, parts: str = "", kept: int = 3
) -> Iterator[subprocess.Popen[str]]:
    """Another process that renames files into the folder and prints the time of each.

    :param parts: folder in which the files are written; empty for the same folder.
    :param kept: number of files that stay.
    """
    values = (folder, parts or folder, count, period, list(shape), kept)
    command = [sys.executable, "-c", WRITER, *map(str, values)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait()


def paced(action: Callable[[], object], period: float, count: int) -> float:
    """Median milliseconds of an action done once in a period, while the event loop runs in between as it does live."""
    import qt

    taken: list[float] = []

    def once() -> None:
        started = time.perf_counter()
        action()
        taken.append(1000 * (time.perf_counter() - started))

    timer = qt.QTimer()
    timer.connect("timeout()", once)
    timer.start(int(1000 * period))
    slicerhost.runUntil(lambda: len(taken) >= count, 10 + 3 * count * period)
    timer.stop()
    return statistics.median(taken)


def copying() -> Callable[[], object]:
    """Copies 8 MiB between two arrays that are there: the floor of showing."""
    source = np.random.default_rng(0).integers(0, 999, SHAPE).astype(np.int16)
    target = np.zeros_like(source)
    return lambda: np.copyto(target, source)


def readingFloor(folder: str, period: float, count: int) -> float:
    """Median ms of reading an 8 MiB file into memory that is there, once in a period, without an event loop."""
    path = os.path.join(folder, "floor.raw")
    buffer = bytearray(352 + 2 * int(np.prod(SHAPE)))
    with open(path, "wb") as file:
        file.write(os.urandom(len(buffer)))

    taken = []
    for _ in range(count):
        time.sleep(period)
        started = time.perf_counter()
        with open(path, "rb", buffering=0) as file:
            file.readinto(buffer)
        taken.append(1000 * (time.perf_counter() - started))
    return statistics.median(taken)
