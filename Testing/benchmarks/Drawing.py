"""How late Slicer's window is while images are shown in views that draw slowly, and how many images it shows."""

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

from .Common import lateness, startedModule, stop
from .Rows import OURS, Found, Row

TITLE = "Views that draw slowly"
ABOUT = """
Three slice views take a given time for each drawing, while another process writes images. Lateness is that of a timer
of 10 ms in Slicer's event loop; its floor is one drawing of all views, which nothing can interrupt. Shown: images a
second; the floor is what the views can draw in the part of the time that drawing may take.
"""

SECONDS = 6
CASES = ((0.0, 120), (0.01, 30), (0.03, 30))
"""Seconds that each view's drawing is slowed, and images per second."""


def measure() -> Found:
    """Measure lateness in milliseconds and images shown, for each case."""
    layout = slicerhost.makeOffscreenViews(160)
    rows = []
    with startedModule() as logic:
        for slowed, fps in CASES:
            for view in layout.views():
                view.extraRenderSeconds = slowed
            one = _stream(logic, layout, fps)
            name, drawing = f"{1000 * slowed:.0f} ms a view, {fps} images/s", one["roundMs"]
            late = {"one drawing": [drawing], OURS: [one["p99"]]}
            words = "at most a drawing of all views + 20 ms"
            rows.append(Row(f"{name}: 99th percentile", "ms late", late, words, drawing + 20))
            affordable = min(fps, 1000 * SHARE / (drawing + 1))
            shown = {"affordable": [affordable], OURS: [one["shownFps"]]}
            words = "at least 0.7 x what can be drawn"
            rows.append(Row(f"{name}: shown", "images/s", shown, words, 0.7 * affordable))
            share = {"allowed": [SHARE], OURS: [one["drawing"]]}
            rows.append(Row(f"{name}: drawing", "of the time", share, f"at most {SHARE} + 0.05", SHARE + 0.05))
    for view in layout.views():
        view.extraRenderSeconds = 0
    return Found(rows)


def _stream(logic: Any, layout: Any, fps: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        incoming = os.path.join(folder, "incoming")
        os.mkdir(incoming)
        source = logic.start(FolderSettings(incoming))
        slicerhost.runUntil(lambda: source.state == "running", 10)
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
        stop(logic)
    drawings = np.array(times)
    return {
        "p99": float(np.percentile(late, 99)),
        "shownFps": shown / seconds,
        "roundMs": 3000 * float(np.median(drawings)),
        "drawing": float(drawings.sum()) / seconds,
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
