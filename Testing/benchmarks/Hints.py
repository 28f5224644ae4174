"""From the rename of a small .nii by another process to its voxels in the worker, with and without the watcher.

Two folders, of 10 and of 50,000 files, in turn: whatever else the computer does meets all four cases.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import slicerhost
from RealTimeImagingLib import FolderSettings

from .Common import startedModule, writer

SIZES = (10, 50_000)
ROUNDS, COUNT, PERIOD = 4, 12, 0.73
"""Turns of each case, files in a turn, and seconds between two files; no multiple of the time between two polls."""
SHAPE = (16, 64, 64)


def measure() -> dict[str, Any]:
    """Milliseconds from rename to decoded image in each case, and the load of the computer before and after."""
    slicerhost.boot()
    cases = [(size, watched) for size in SIZES for watched in (True, False)]
    taken: dict[tuple[int, bool], list[float]] = {case: [] for case in cases}
    load = [os.getloadavg()[0]] if hasattr(os, "getloadavg") else []
    with startedModule() as logic, tempfile.TemporaryDirectory() as parent:
        for size in SIZES:
            os.mkdir(os.path.join(parent, str(size)))
            for number in range(size):
                open(os.path.join(parent, str(size), f"old{number}.nii"), "wb").close()
        for turn in range(ROUNDS):
            for size, watched in cases if turn % 2 else reversed(cases):
                with watcher(watched):
                    taken[size, watched] += _turn(logic, parent, str(size))
    load += [os.getloadavg()[0]] if hasattr(os, "getloadavg") else []
    figures = {f"{size} files, {'with' if on else 'without'} watcher": _figures(taken[size, on]) for size, on in cases}
    few, many = (statistics.median(taken[size, True]) for size in SIZES)
    rules = {
        "10 files: a new file is decoded within 25 ms": few < 25,
        "50,000 files: a new file is decoded within 1 s": many < 1000,
    }
    return {**figures, "load": [round(one, 2) for one in load], "rules": rules}


@contextmanager
def watcher(watched: bool) -> Iterator[None]:
    """Sources that start here hint as they do, or from the timer only."""
    from RealTimeImagingLib.Sources.Folder import Host

    class TimerOnly(Host.FolderHints):
        def _watch(self) -> None:
            """Watch nothing."""

    usual = Host.FolderHints
    Host.FolderHints = usual if watched else TimerOnly
    try:
        yield
    finally:
        Host.FolderHints = usual


def _turn(logic: Any, parent: str, name: str) -> list[float]:
    folder, decoded = os.path.join(parent, name), {}

    def note(frame: Any) -> None:
        decoded[frame.attributes["SourceFile"]] = frame.receiveTime

    logic.addFrameCallback(note, every=True)
    handle = logic.start(FolderSettings(folder, existing="ignore"))
    slicerhost.runUntil(lambda: handle.state == "running" and bool(handle.status), 30)
    with writer(folder, COUNT, PERIOD, SHAPE, parent, kept=COUNT) as process:
        slicerhost.runUntil(lambda: len(decoded) == COUNT, 60, everyMs=500)
        renamed = [float(process.stdout.readline()) for _ in range(COUNT)]
    logic.stop()
    slicerhost.runUntil(lambda: not logic.isRunning(), 5)
    logic.removeFrameCallback(note)
    for number in range(COUNT):
        os.unlink(os.path.join(folder, f"f{number:05d}.nii"))
    return [1000 * (decoded[f"f{number:05d}.nii"] - time) for number, time in enumerate(renamed)]


def _figures(delays: list[float]) -> dict[str, Any]:
    delays = sorted(delays)
    return {
        "median": round(statistics.median(delays), 1),
        "p95": round(delays[round(0.95 * (len(delays) - 1))], 1),
        "max": round(delays[-1], 1),
        "count": len(delays),
    }
