"""Drawing times of the views, and turns in which the views draw."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import qt
import vtk

from ..Model.Frame import Frame

LOOK = 1.0
"""Seconds between two searches for the views of a new layout."""


class DrawingTimes:
    """Observer of render windows, until :meth:`close`.

    A drawing lasts from StartEvent to EndEvent. The work until the window is idle again, such as putting the picture on
    the screen, belongs to the drawing, too. It counts at most as long as the drawing itself.

    :param windows: returns the vtkRenderWindow of each view by the view's name.
    :param report: called with a view's name, seconds, and True when these belong to the view's last drawing.
    :param clock: returns seconds, never backwards.
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


FIRST_TURN = 0.02
"""Seconds from an image to its first drawing. After more than 1/60 s a paused view draws as soon as it resumes."""
GONE = (ValueError, AttributeError, RuntimeError)
"""Errors of a view that Slicer has removed with its layout."""

log = logging.getLogger(__name__)


class DrawingTurns:
    """Turns of the views: one view draws in each turn of the event loop, then the screen is painted once.

    Without it all views draw in one turn of the event loop. A view waits at most until the other views have drawn once.
    The screen is painted once because Qt composes the whole window each time.

    :param show: puts a frame into the scene; returns the names of the views that will draw it, or None when any may.
    :param views: returns the ctkVTKAbstractView of each slice and 3D view by the view's name.
    :param clock: returns seconds, never backwards.
    """

    def __init__(
        self,
        show: Callable[[Frame], Collection[str] | None],
        views: Callable[[], dict[str, Any]],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._show, self._views, self._clock = show, views, clock
        self._waiting: deque[tuple[str, Any, float]] = deque()
        """Name, view and earliest turn of the paused views; each is here once and paused once."""
        self._drawn: dict[str, Any] = {}
        """Views that were drawn and not painted yet; empty when no view waits."""
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setTimerType(qt.Qt.PreciseTimer)
        self._timer.connect("timeout()", self._turn)

    def show(self, frame: Frame) -> Collection[str] | None:
        """Show a frame, and pause the views that draw it until their turns; return the names of these views.

        A single view draws by itself.
        """
        names = self._show(frame)
        waiting = {name for name, _, _ in self._waiting}
        if names and len(waiting.union(names)) > 1:
            if not self._drawn.keys().isdisjoint(names):
                self._paint()
            turn = self._clock() + FIRST_TURN
            for name, view in self._views().items():
                if name in names and name not in waiting:
                    view.pauseRender()
                    self._waiting.append((name, view, turn))
            self._schedule()
        return names

    def close(self) -> None:
        """Let all views draw. Do not use the object afterwards."""
        self._views = dict
        self._timer.stop()
        self._timer.disconnect("timeout()", self._turn)
        while self._waiting:
            self._draw()

    def _turn(self) -> None:
        if self._waiting and self._waiting[0][2] <= self._clock():
            self._draw()
        self._schedule()

    def _schedule(self) -> None:
        if self._waiting and not self._timer.isActive():
            self._timer.start(math.ceil(1000 * max(0.0, self._waiting[0][2] - self._clock())))

    def _draw(self) -> None:
        name, view, _ = self._waiting.popleft()
        self._drawn[name] = view
        try:
            view.updatesEnabled = False
            view.resumeRender()
        except GONE:
            log.debug("The view %s is gone", name, exc_info=True)
        if not self._waiting:
            self._paint()

    def _paint(self) -> None:
        while self._drawn:
            name, view = self._drawn.popitem()
            try:
                view.updatesEnabled = True
            except GONE:
                log.debug("The view %s is gone", name, exc_info=True)
