"""Drawing times of the views, measured at their render windows."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import qt
import vtk

LOOK = 1.0
"""Seconds between two searches for the views of a new layout."""


class DrawingTimes:
    """Observes render windows until :meth:`close`.

    A drawing lasts from StartEvent to EndEvent. The work until the window is idle again, such as putting the picture on
    the screen, belongs to the drawing, too. It counts at most as long as the drawing itself.

    :param windows: gives the vtkRenderWindow of each view by the view's name.
    :param report: called with a view's name, seconds, and True when these belong to the view's last drawing.
    :param clock: gives seconds, never backwards.
    """

    def __init__(
        self,
        windows: Callable[[], dict[str, Any]],
        report: Callable[[str, float, bool], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._windows, self._report, self._clock = windows, report, clock
        self._observed: dict[str, tuple[Any, list[int]]] = {}
        self._nextLook = clock()
        self._started: dict[str, float] = {}
        self._last: tuple[str, float, float] | None = None
        self._idle = qt.QTimer()
        self._idle.setSingleShot(True)
        self._idle.connect("timeout()", self._settle)

    def look(self) -> None:
        """Observe new views, and stop observing views that are gone; at most once in LOOK seconds."""
        now = self._clock()
        if now < self._nextLook:
            return
        self._nextLook = now + LOOK
        found = self._windows()
        for name in [name for name, (window, _) in self._observed.items() if found.get(name) is not window]:
            self._stop(name)
        for name in found.keys() - self._observed.keys():
            begin, end = partial(self._begin, name), partial(self._end, name)
            tags = [
                found[name].AddObserver(vtk.vtkCommand.StartEvent, begin),
                found[name].AddObserver(vtk.vtkCommand.EndEvent, end),
            ]
            self._observed[name] = (found[name], tags)

    def close(self) -> None:
        """Stop observing. Do not use the object afterwards."""
        for name in list(self._observed):
            self._stop(name)
        self._idle.stop()
        self._idle.disconnect("timeout()", self._settle)

    def _stop(self, name: str) -> None:
        window, tags = self._observed.pop(name)
        for tag in tags:
            window.RemoveObserver(tag)
        self._started.pop(name, None)

    def _begin(self, name: str, *_: Any) -> None:
        self._settle()
        self._started[name] = self._clock()

    def _end(self, name: str, *_: Any) -> None:
        began = self._started.pop(name, None)
        if began is None:
            return
        now = self._clock()
        self._report(name, now - began, False)
        self._last = (name, now, now - began)
        self._idle.start(0)

    def _settle(self) -> None:
        if self._last:
            name, ended, seconds = self._last
            self._last = None
            self._report(name, min(seconds, self._clock() - ended), True)
