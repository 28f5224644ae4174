"""Let views draw an image one after the other, so that Slicer handles other events between two drawings."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

import qt

from .Frame import Frame

FIRST_TURN = 0.02
"""Seconds from an image to its first drawing. After more than 1/60 s a paused view draws as soon as it resumes."""
GONE = (ValueError, AttributeError, RuntimeError)
"""Errors of a view that Slicer removed with its layout."""

log = logging.getLogger(__name__)


class DrawingTurns:
    """Show frames; then one view draws in each turn of the event loop, and all are painted on the screen together.

    By themselves all views draw in one turn of the event loop. A view waits at most until the other views have drawn
    once. The screen is painted once because Qt composes the whole window each time.

    :param show: puts a frame into the scene; returns the names of the views that will draw it, or None when any may.
    :param views: gives the ctkVTKAbstractView of each slice and 3D view by the view's name.
    :param clock: gives seconds, never backwards.
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
        """Show a frame and pause the views that draw it until their turns; returns the names of these views.

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
