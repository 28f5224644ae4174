"""What the panel costs at 1,000 events and 200 images a second: its part of one core, and how late the window is."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import nibabel
import numpy as np
import slicerhost
from demo.Feeds import SIMULATOR
from RealTimeImagingLib import OpenIGTLinkSettings
from RealTimeImagingLib.Model.Event import Event

from .Common import lateness, startedModule, stop, ticking
from .Rows import OURS, Found, Row

TITLE = "The panel at 1,000 events and 200 images a second"
ABOUT = """
The module runs with the panel visible and the list of events open; the images come from another process. Part of one
core: the thread time of the panel's work in the main thread; its floor is the part of the same timers without a panel,
which is nothing, so the row shows the figure alone. Lateness: a timer of 10 ms in the event loop, beside the copy of
one frame.
"""

SECONDS = 8
EVENTS, IMAGES = 1000, 200
"""Events and images a second."""
SIZE = (64, 64, 1)
REFRESHES = 5
"""Most refreshes a second."""
ALLOWED = 5.0
"""Per cent of one core."""
LATE = 2.0
"""Milliseconds above the copy of a frame by which the 99th of 100 turns of the window may be late."""


def measure() -> Found:
    """Measure the part of one core that the panel takes, milliseconds of a refresh, and lateness."""
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
        with _scanner() as port:
            source = logic.start(OpenIGTLinkSettings(port=port))
            slicerhost.runUntil(lambda: logic.statistics()["shown"] > IMAGES, 20)
            restore = _timed(panel, logic, spent, refreshes)
            logging.disable(logging.WARNING)  # the console costs more than the panel
            began, before = time.perf_counter(), sum(source.received.values())
            with _events(logic, began) as sent, lateness() as late:
                slicerhost.runUntil(lambda: False, SECONDS, everyMs=500)
            seconds = time.perf_counter() - began
            logging.disable(logging.NOTSET)
            received = sum(source.received.values()) - before
            copyMs = logic.statistics()["mainThreadMs"]["median"]
            restore()
            stop(logic)
        column.takeWidget()
    share, p99 = 100 * sum(spent) / seconds, float(np.percentile(late, 99))
    rates = {"demanded": [float(EVENTS)], OURS: [len(sent) / seconds]}
    images = {"demanded": [float(IMAGES)], OURS: [received / seconds]}
    rows = [
        Row("part of one core", "%", {OURS: [share]}, f"at most {ALLOWED} %", ALLOWED),
        Row("one refresh", "ms", {OURS: [1000 * one for one in refreshes]}),
        Row(
            "99th percentile", "ms late", {"copy": [copyMs], OURS: [p99]}, f"at most a copy + {LATE} ms", copyMs + LATE
        ),
        Row("events", "/s", rates),
        Row("images", "/s", images),
    ]
    return Found(
        rows, {f"it is refreshed at most {REFRESHES} times a second": len(refreshes) <= REFRESHES * seconds + 1}
    )


@contextlib.contextmanager
def _scanner() -> Iterator[int]:
    """Yield the port of another process that sends images over OpenIGTLink."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "image.nii")
        nibabel.save(nibabel.Nifti1Image(np.arange(np.prod(SIZE), dtype=np.int16).reshape(SIZE), np.eye(4)), path)
        command = [sys.executable, SIMULATOR, "--listen", "0", "--fps", str(IMAGES), "--loop", "--input", path]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout
        try:
            yield int(process.stdout.readline().split()[-1])
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()


@contextlib.contextmanager
def _events(logic: Any, began: float) -> Iterator[list[Event]]:
    """Report events at their rate; yield the list of them."""
    sent: list[Event] = []

    def report() -> None:
        while len(sent) < EVENTS * (time.perf_counter() - began):
            # Half of them are new, half of them are equal to earlier ones.
            number = len(sent) if len(sent) % 2 else len(sent) % 20
            sent.append(Event("damaged", f"image{number}.nii is damaged.", "warning"))
            logic._callbacks.report(sent[-1])

    with ticking(report):
        yield sent


def _timed(panel: Any, logic: Any, spent: list[float], refreshes: list[float]) -> Any:
    """Time the panel's work from now on; return the function that ends this.

    :param spent: gets the seconds of each piece of work.
    :param refreshes: gets the seconds of each refresh; its parts are added up.
    """

    def timing(function: Any) -> Any:
        def call(*arguments: Any) -> None:
            began = time.thread_time()
            function(*arguments)
            spent.append(time.thread_time() - began)

        return call

    refreshPart = timing(panel.refreshPart)

    def part() -> None:
        if not panel.refreshing:
            refreshes.append(0.0)
        refreshPart()
        refreshes[-1] += spent[-1]

    log = panel._events._log.add
    changed, added = timing(panel._changed), timing(log)
    panel._refreshTimer.disconnect("timeout()", panel.refreshPart)
    panel._refreshTimer.connect("timeout()", part)
    logic.changed.disconnect(panel._changed)
    logic.changed.connect(changed)
    logic.removeEventCallback(log)
    logic.addEventCallback(added)

    def restore() -> None:
        panel._refreshTimer.disconnect("timeout()", part)
        panel._refreshTimer.connect("timeout()", panel.refreshPart)
        logic.changed.disconnect(changed)
        logic.changed.connect(panel._changed)
        logic.removeEventCallback(added)
        logic.addEventCallback(log)

    return restore
