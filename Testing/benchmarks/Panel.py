"""What the panel costs at 1,000 events and 200 images a second: its part of one core.

The module runs as in Slicer, with the panel visible and the list of events open. The time is that of Panel.refresh and
of the panel's work for each event and each change, in the main thread.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
import slicerhost
from RealTimeImagingLib.Model.Event import Event

from .Common import startedModule

SECONDS = 5
EVENTS, IMAGES, TICK = 1000, 200, 10
"""Events a second, images a second, and milliseconds between two lots of both."""
REFRESHES = 5
"""Most refreshes a second."""
ALLOWED = 0.05
"""Part of one core."""


def measure() -> dict[str, Any]:
    """Part of one core that the panel takes, refreshes a second, and milliseconds of one refresh."""
    slicer = slicerhost.boot()
    import qt

    spent: list[float] = []
    refreshes: list[float] = []
    with startedModule() as logic:
        widget = slicer.modules.realtimeimaging.widgetRepresentation()
        column = qt.QScrollArea()
        column.setWidgetResizable(True)
        column.resize(420, 1400)
        column.setWidget(widget)
        column.show()
        panel = widget.self().panel
        panel.ui.statusSection.collapsed = False
        restore = _timed(panel, logic, spent, refreshes)
        array, sent = np.zeros((64, 64), np.uint8), 0
        logic.push(array)
        slicerhost.runUntil(lambda: logic.statistics()["shown"] == 1, 20)
        logging.disable(logging.WARNING)  # the console costs more than the panel

        def lot() -> None:
            nonlocal sent
            for _ in range(EVENTS * TICK // 1000):
                sent += 1
                # Half of them are new, half of them are equal to earlier ones.
                number = sent if sent % 2 else sent % 20
                logic._callbacks.report(Event("damaged", f"image{number}.nii is damaged.", "warning"))
            for _ in range(IMAGES * TICK // 1000):
                logic.push(array)

        timer = qt.QTimer()
        timer.connect("timeout()", lot)
        timer.start(TICK)
        began = time.perf_counter()
        slicerhost.runUntil(lambda: False, SECONDS)
        seconds = time.perf_counter() - began
        timer.stop()
        timer.disconnect("timeout()", lot)
        logging.disable(logging.NOTSET)
        received = logic.statistics()["received"]
        restore()
        logic.stop()
        slicerhost.runUntil(lambda: not logic.isRunning(), 5)
        column.takeWidget()
    share = sum(spent) / seconds
    return {
        "eventsPerSecond": round(sent / seconds),
        "imagesPerSecond": round(received / seconds),
        "refreshesPerSecond": round(len(refreshes) / seconds, 2),
        "refreshMs": round(1000 * float(np.median(refreshes)), 2),
        "share": round(share, 4),
        "rules": {
            f"the panel takes at most {ALLOWED:.0%} of one core": share <= ALLOWED,
            "it is refreshed at most 5 times a second": len(refreshes) <= REFRESHES * seconds + 1,
        },
    }


def _timed(panel: Any, logic: Any, spent: list[float], refreshes: list[float]) -> Any:
    """Time the panel's work from now on; return the function that ends this."""

    def timing(function: Any, also: list[float] | None = None) -> Any:
        def call(*arguments: Any) -> None:
            began = time.thread_time()
            function(*arguments)
            took = time.thread_time() - began
            spent.append(took)
            if also is not None:
                also.append(took)

        return call

    log = panel._events._log.add
    refresh, changed, added = timing(panel.refresh, refreshes), timing(panel._changed), timing(log)
    panel._refreshTimer.disconnect("timeout()", panel.refresh)
    panel._refreshTimer.connect("timeout()", refresh)
    logic.changed.disconnect(panel._changed)
    logic.changed.connect(changed)
    logic.removeEventCallback(log)
    logic.addEventCallback(added)

    def restore() -> None:
        panel._refreshTimer.disconnect("timeout()", refresh)
        panel._refreshTimer.connect("timeout()", panel.refresh)
        logic.changed.disconnect(changed)
        logic.changed.connect(panel._changed)
        logic.removeEventCallback(added)
        logic.addEventCallback(log)

    return restore
