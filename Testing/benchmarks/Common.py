"""What the benchmarks share: the host with the module, a timer of the window, paced copies, images on disk."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import slicerhost

MODULE = Path(__file__).resolve().parents[2] / "RealTimeImaging" / "RealTimeImaging.py"
TICK = 10
"""Milliseconds between two turns that a timer asks of Slicer's window, see :func:`lateness`."""


@contextmanager
def startedModule() -> Iterator[Any]:
    """The module's logic in the host; everything is gone afterwards."""
    slicer = slicerhost.boot()
    slicerhost.loadModule(MODULE)
    yield slicer.util.getModuleLogic("RealTimeImaging")
    slicerhost.unloadModule("RealTimeImaging")
    slicerhost.closeScene()


def stop(logic: Any) -> None:
    """Stop all sources and wait for their end."""
    logic.stop()
    slicerhost.runUntil(lambda: not logic.isRunning(), 20)


@contextmanager
def ticking(turn: Callable[[], object], milliseconds: int = TICK) -> Iterator[None]:
    """Call a function every so many milliseconds from a timer of the event loop."""
    import qt

    timer = qt.QTimer()
    timer.setTimerType(qt.Qt.PreciseTimer)
    timer.connect("timeout()", turn)
    timer.start(milliseconds)
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


def writeImage(path: str, pixels: np.ndarray) -> None:
    """Write a volume (slices, rows, columns) with SimpleITK, in the format of the file's ending."""
    import SimpleITK

    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels), path, useCompression=path.endswith(".gz"))


def scanner(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start another process that runs the code and prints lines; it ends at the end of its input."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[Any]) -> None:
    """End a process of :func:`scanner`."""
    if process.poll() is None:
        process.kill()
    process.communicate()


def waitFor(process: subprocess.Popen[str], seconds: float = 120.0) -> str:
    """Run the event loop until the process has ended; return what it printed."""
    slicerhost.runUntil(lambda: process.poll() is not None, seconds, everyMs=20)
    return process.communicate()[0]


def freePort() -> int:
    """Return a port on which nobody listens now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def processorSeconds(pid: int) -> float | None:
    """Return the processor seconds of a process, None where the system does not tell (other than Linux)."""
    if sys.platform != "linux":
        return None
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
