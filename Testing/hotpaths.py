"""How much of this library a frame executes: a figure that no busy computer changes.

Counted are the lines of the library that Python executes, the functions in C that they call, and the most memory that
is allocated meanwhile. All three are equal in every run with the same Python.
"""

from __future__ import annotations

import json
import os
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import RealTimeImagingLib

LIBRARY = os.path.dirname(os.path.abspath(RealTimeImagingLib.__file__)) + os.sep
BASELINE = Path(__file__).with_name("hotpaths.json")
GROWTH = 1.2
"""A path may execute so many times as much as the baseline."""
SLACK = 4096
"""Bytes that a peak may have above it: Python allocates its objects in blocks."""
WARM, FRAMES = 5, 9


@dataclass(frozen=True)
class Cost:
    """What one frame costs.

    :param lines: executed lines of this library.
    :param calls: calls of functions in C out of these lines.
    :param peak: most bytes that were allocated meanwhile, without what was there before.
    """

    lines: int
    calls: int
    peak: int


def costOf(frame: Callable[[], object]) -> Cost:
    """Return the least cost of one of several frames, in the calling thread.

    The least: a frame may meet work that is done once in a second. The memory is that of other frames, as counting
    takes memory, too.

    :param frame: does all that one frame needs.
    """
    for _ in range(WARM):
        frame()
    counts = []
    for _ in range(FRAMES):
        counter = _Counter()
        counter.run(frame)
        counts.append((counter.lines, counter.calls))
    peaks = []
    for _ in range(FRAMES):
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            frame()
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
        finally:
            tracemalloc.stop()
    lines, calls = min(counts)
    return Cost(lines, calls, min(peaks))


class _Counter:
    def __init__(self) -> None:
        self.lines = self.calls = 0

    def run(self, frame: Callable[[], object]) -> None:
        formerTrace, formerProfile = sys.gettrace(), sys.getprofile()
        sys.settrace(self._trace)
        sys.setprofile(self._profile)
        try:
            frame()
        finally:
            sys.setprofile(formerProfile)
            sys.settrace(formerTrace)

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(LIBRARY) else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        self.lines += event == "line"
        return self._line

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        self.calls += event == "c_call" and frame.f_code.co_filename.startswith(LIBRARY)


def excess(path: str, cost: Cost) -> str:
    """Return in words what has grown beyond the baseline; empty when nothing has.

    With the variable HOTPATHS set to "write", the baseline is replaced instead.
    """
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    if os.environ.get("HOTPATHS") == "write":
        baseline[path] = asdict(cost)
        BASELINE.write_text(json.dumps(baseline, indent=1, sort_keys=True) + "\n")
        return ""
    least = Cost(**baseline[path])
    found = []
    for name, now in asdict(cost).items():
        most = GROWTH * getattr(least, name) + (SLACK if name == "peak" else 0)
        if now > most:
            found.append(f"{name}: {now}, at most {most:.0f} ({getattr(least, name)} in the baseline)")
    return "; ".join(found)
