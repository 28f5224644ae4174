"""Who wants to know of frames and events, and the latest events."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from .Event import Event
from .Frame import Frame

EVENTS_KEPT = 500

FrameCallback = Callable[[Frame], None]
EventCallback = Callable[[Event], None]

log = logging.getLogger(__name__)


class Listeners:
    """Callbacks of the console and of other modules; one that fails is reported and disturbs nothing else."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        """The latest events, the last one last."""
        self._frameCallbacks: list[FrameCallback] = []
        self._eventCallbacks: list[EventCallback] = []
        self._errors: set[str] = set()

    def addFrameCallback(self, callback: FrameCallback) -> None:
        """Call with every frame that is shown; its pixels are read-only and valid during the call."""
        if callback not in self._frameCallbacks:
            self._frameCallbacks.append(callback)

    def removeFrameCallback(self, callback: FrameCallback) -> None:
        """Do not call it any more; unknown ones are ignored."""
        if callback in self._frameCallbacks:
            self._frameCallbacks.remove(callback)

    def addEventCallback(self, callback: EventCallback) -> None:
        """Call with every event."""
        if callback not in self._eventCallbacks:
            self._eventCallbacks.append(callback)

    def removeEventCallback(self, callback: EventCallback) -> None:
        """Do not call it any more; unknown ones are ignored."""
        if callback in self._eventCallbacks:
            self._eventCallbacks.remove(callback)

    def report(self, event: Event) -> None:
        """Take an event: into the list, the log, and to the callbacks."""
        self.events.append(event)
        log.log({"info": logging.INFO, "warning": logging.WARNING}.get(event.level, logging.ERROR), event.text)
        for callback in list(self._eventCallbacks):
            try:
                callback(event)
            except Exception:
                log.exception("An event callback failed")

    def hand(self, frame: Frame) -> None:
        """Call everybody who wants frames."""
        for callback in list(self._frameCallbacks):
            try:
                callback(frame)
            except Exception as error:
                name = getattr(callback, "__qualname__", repr(callback))
                words = f"The frame callback {name} failed: {type(error).__name__}: {error}"
                if words not in self._errors:
                    self._errors.add(words)
                    log.exception("A frame callback failed")
                    self.report(Event("callback-failed", words, "error", name))
