"""Who wants to know of frames, messages and events, and the latest events."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from .DeviceMessage import DeviceMessage
from .Event import Event
from .FrameCallbacks import FrameCallbacks

EVENTS_KEPT = 500

EventCallback = Callable[[Event], None]
MessageCallback = Callable[[DeviceMessage], None]

log = logging.getLogger(__name__)


class Listeners:
    """Callbacks of the console and of other modules; one that fails disturbs nothing else."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        """The latest events, the last one last."""
        self.frameCallbacks = FrameCallbacks(self.report)
        self._eventCallbacks: list[EventCallback] = []
        self._messageCallbacks: list[MessageCallback] = []
        self._errors: set[str] = set()

    def addEventCallback(self, callback: EventCallback) -> None:
        """Call with every event."""
        if callback not in self._eventCallbacks:
            self._eventCallbacks.append(callback)

    def removeEventCallback(self, callback: EventCallback) -> None:
        """Do not call it any more; unknown ones are ignored."""
        if callback in self._eventCallbacks:
            self._eventCallbacks.remove(callback)

    def addMessageCallback(self, callback: MessageCallback) -> None:
        """Call with every message of a device, in the order in which they came."""
        if callback not in self._messageCallbacks:
            self._messageCallbacks.append(callback)

    def removeMessageCallback(self, callback: MessageCallback) -> None:
        """Do not call it any more; unknown ones are ignored."""
        if callback in self._messageCallbacks:
            self._messageCallbacks.remove(callback)

    def hand(self, message: DeviceMessage) -> None:
        """Call everybody who wants messages."""
        for callback in list(self._messageCallbacks):
            try:
                callback(message)
            except Exception as error:
                name = getattr(callback, "__qualname__", repr(callback))
                words = f"The message callback {name} failed: {type(error).__name__}: {error}"
                if words not in self._errors:
                    self._errors.add(words)
                    log.exception("A message callback failed")
                    self.report(Event("callback-failed", words, "error", name))

    def report(self, event: Event) -> None:
        """Take an event: into the list, the log, and to the callbacks."""
        self.events.append(event)
        log.log({"info": logging.INFO, "warning": logging.WARNING}.get(event.level, logging.ERROR), event.text)
        for callback in list(self._eventCallbacks):
            try:
                callback(event)
            except Exception:
                log.exception("An event callback failed")
