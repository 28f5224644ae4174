"""What the logic does with devices beside their images."""

from __future__ import annotations

from collections.abc import Callable

from .DeviceMessage import DeviceMessage
from .Listeners import Listeners
from .Scene.DeviceNodes import DeviceNodes, DeviceState


class ControlLogic:
    """One part of :class:`RealTimeImagingLogic`, which makes what it needs."""

    listeners: Listeners
    devices: DeviceNodes

    # ---- what devices say

    def addMessageCallback(self, callback: Callable[[DeviceMessage], None]) -> None:
        """Call with every message of a device beside images: positions, points, surfaces, texts, states.

        All are handed on, in the order in which they came; the scene gets the newest of each device.
        """
        self.listeners.addMessageCallback(callback)

    def removeMessageCallback(self, callback: Callable[[DeviceMessage], None]) -> None:
        """Do not call it any more."""
        self.listeners.removeMessageCallback(callback)

    def deviceStates(self) -> list[DeviceState]:
        """The latest that each device said, in words: ``device``, ``kind``, ``words``, ``time``, ``ok``."""
        return self.devices.states()
