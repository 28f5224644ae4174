"""What devices say beside images, on its way: every message is counted and handed on, the newest is shown."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ..Model.DeviceMessage import DeviceMessage
from ..Model.Errors import DeviceMessageError, TooManyDevicesError
from ..Model.Event import Event
from .Callbacks import Callbacks
from .RunningSource import RunningSource

MOST_NAMES = 1000
"""Devices that are counted by name; more are counted together, so that no peer can fill the memory."""
OTHERS = "others"

log = logging.getLogger(__name__)


class Messages:
    """Takes the messages of all sources.

    :param listeners: get every message, in order.
    """

    def __init__(self, listeners: Callbacks) -> None:
        self._listeners = listeners
        self.show: Callable[[DeviceMessage], object] = lambda message: None
        """Puts a message into the scene."""
        self._waiting: dict[tuple[str, str, bool], DeviceMessage] = {}
        self._troubles: set[tuple[str, str, str]] = set()

    @property
    def waiting(self) -> bool:
        """True when something is to be shown."""
        return bool(self._waiting)

    def take(self, handle: RunningSource, values: dict[str, Any]) -> None:
        """Count a message of a source and hand it on; it is shown by :meth:`showWaiting` unless a newer one comes.

        :param values: of :meth:`DeviceMessage.toJSON`.
        """
        message = DeviceMessage.fromJSON(values)
        counted = handle.messages
        name = message.device if message.device in counted or len(counted) < MOST_NAMES else OTHERS
        counted[name] = counted.get(name, 0) + 1
        # Points and trajectories of one device are two things, as the one says nothing of the other.
        points = message.values["points"] if message.kind == "points" else []
        key = (message.kind, message.device, bool(points) and "entry" in points[0])
        self._waiting.pop(key, None)
        self._waiting[key] = message
        self._listeners.hand(message)

    def showWaiting(self) -> None:
        """Show the newest of each device and kind."""
        waiting, self._waiting = self._waiting, {}
        for message in waiting.values():
            try:
                self.show(message)
            except Exception as error:  # the boundary of the display: one message less must not end the rest
                # Every name is a device, and anybody may send thousands: that there are too many is told once.
                tooMany = isinstance(error, TooManyDevicesError)
                trouble = ("", "", "") if tooMany else (message.kind, message.device, str(error))
                if trouble not in self._troubles and len(self._troubles) < MOST_NAMES:
                    self._troubles.add(trouble)
                    if not isinstance(error, DeviceMessageError):
                        log.exception("A message could not be shown")
                    text = f"A message of {message.device} could not be shown: {error}"
                    self._listeners.report(Event("not-shown", text, "error", message.device))

    def clear(self) -> None:
        """What was not shown yet will not be."""
        self._waiting.clear()
        self._troubles.clear()
