"""Device messages on their way to callbacks and scene."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..Model.DeviceMessage import DeviceMessage
from ..Model.Errors import DeviceMessageError, TooManyDevicesError
from ..Model.Event import Event
from .Callbacks import Callbacks
from .RunningSource import RunningSource

MOST_NAMES = 1000
"""Most devices that are counted by name; others are counted together, so that no peer can fill the memory."""
OTHERS = "others"

log = logging.getLogger(__name__)


class DeviceMessages:
    """Messages of all sources: each is counted and given to the callbacks, the newest are shown.

    :param show: puts a message into the scene.
    :param callbacks: get every message, in order of arrival.
    """

    def __init__(self, show: Callable[[DeviceMessage], object], callbacks: Callbacks) -> None:
        self._show, self._callbacks = show, callbacks
        self._waiting: dict[tuple[str, str, bool], DeviceMessage] = {}
        self._troubles: set[tuple[str, str, str]] = set()

    @property
    def waiting(self) -> bool:
        """True when a message waits to be shown."""
        return bool(self._waiting)

    def take(self, handle: RunningSource, message: DeviceMessage) -> None:
        """Count a message and call the callbacks; :meth:`showWaiting` shows it unless a newer one arrives before."""
        counted = handle.messages
        name = message.device if message.device in counted or len(counted) < MOST_NAMES else OTHERS
        counted[name] = counted.get(name, 0) + 1
        # Points and trajectories of one device do not replace each other.
        points = message.values["points"] if message.kind == "points" else []
        key = (message.kind, message.device, bool(points) and "entry" in points[0])
        self._waiting.pop(key, None)
        self._waiting[key] = message
        self._callbacks.deliver(message)

    def showWaiting(self) -> None:
        """Show the newest message of each device and kind."""
        waiting, self._waiting = self._waiting, {}
        for message in waiting.values():
            try:
                self._show(message)
            except Exception as error:  # the boundary of the display: a bad message must not stop the others
                # A peer may send thousands of names: too many devices are reported once.
                tooMany = isinstance(error, TooManyDevicesError)
                trouble = ("", "", "") if tooMany else (message.kind, message.device, str(error))
                if trouble not in self._troubles and len(self._troubles) < MOST_NAMES:
                    self._troubles.add(trouble)
                    if not isinstance(error, DeviceMessageError):
                        log.exception("A message could not be shown")
                    text = f"A message of {message.device} could not be shown: {error}"
                    self._callbacks.report(Event("not-shown", text, "error", message.device))

    def clear(self) -> None:
        """Drop the messages that wait to be shown."""
        self._waiting.clear()
        self._troubles.clear()
