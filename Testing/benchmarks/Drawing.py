"""How late Slicer's window is while images are shown in views that draw slowly, and how many images it shows.

Three slice views take a given time for each drawing. A timer asks for the window every TICK milliseconds: how late its
turn comes is what a user feels. The limits are ratios to one drawing, and to the time that drawing may take.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import slicerhost
from demo.Feeds import SIMULATOR
from RealTimeImagingLib import FolderSettings
from RealTimeImagingLib.Host.DrawingBudget import SHARE

from .Common import lateness, startedModule

SECONDS = 6
CASES = ((0.0, 120), (0.01, 30), (0.03, 30))
"""Seconds that each view's drawing is slowed, and images per second."""


def measure() -> dict[str, Any]:
    """Lateness in milliseconds, images shown and the part of the time spent on drawing, for each case."""
    layout = slicerhost.makeOffscreenViews(160)
    rules: dict[str, bool] = {}
    found = {}
    with startedModule() as logic:
        for slowed, fps in CASES:
            for view in layout.views():
                view.extraRenderSeconds = slowed
            one = _stream(logic, layout, fps)
            found[f"{1000 * slowed:.0f} ms at {fps} fps"] = one
            name = f"views slowed by {1000 * slowed:.0f} ms: "
            rules[name + "the median tick is at most 15 ms late"] = one["lateMs"]["median"] <= 15
            rules[name + "the 99th is at most a drawing of all views and 20 ms late"] = (
                one["lateMs"]["p99"] <= one["roundMs"] + 20
            )
            rules[name + "drawing takes no more than its share"] = one["drawing"] <= SHARE + 0.05
            affordable = min(fps, 1000 * SHARE / (one["roundMs"] + 1))
            rules[name + "0.7 x the images are shown that can be"] = one["shownFps"] >= 0.7 * affordable
    for view in layout.views():
        view.extraRenderSeconds = 0
    return {**found, "rules": rules}


def _stream(logic: Any, layout: Any, fps: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        incoming = os.path.join(folder, "incoming")
        os.mkdir(incoming)
        handle = logic.start(FolderSettings(incoming))
        slicerhost.runUntil(lambda: handle.state == "running", 10)
        command = [sys.executable, SIMULATOR, "--fps", str(fps), "--frames", str(10**6), "--keep", "20"]
        process = subprocess.Popen([*command, incoming])
        try:
            slicerhost.runUntil(lambda: logic.statistics()["shown"] > fps / 2, 20)
            times: list[float] = []
            with _timed(layout, times):
                before, began = logic.statistics()["shown"], time.perf_counter()
                with lateness() as late:
                    slicerhost.runUntil(lambda: False, SECONDS - 1, everyMs=500)
                seconds = time.perf_counter() - began
                shown = logic.statistics()["shown"] - before
        finally:
            process.kill()
            process.wait()
        logic.stop()
        slicerhost.runUntil(lambda: not logic.isRunning(), 5)
    drawings = np.array(times)
    return {
        "lateMs": {
            "median": round(float(np.median(late)), 2),
            "p99": round(float(np.percentile(late, 99)), 2),
            "max": round(float(np.max(late)), 2),
        },
        "shownFps": round(shown / seconds, 2),
        "roundMs": round(3000 * float(np.median(drawings)), 2),
        "drawing": round(float(drawings.sum()) / seconds, 3),
    }


class _timed:
    """Notes the seconds of each drawing of the slice views."""

    def __init__(self, layout: Any, times: list[float]) -> None:
        self._views = [view for view in layout.views() if view.name in ("Red", "Yellow", "Green")]
        self._times = times

    def __enter__(self) -> None:
        for view in self._views:
            draw = view.forceRender

            def timed(draw: Callable[[], None] = draw) -> None:
                began = time.perf_counter()
                draw()
                self._times.append(time.perf_counter() - began)

            view.forceRender = timed

    def __exit__(self, *_: object) -> None:
        for view in self._views:
            del view.forceRender
