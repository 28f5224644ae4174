"""What the logic does with devices beside their images, and what goes back to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .Control import PLANE, Control
from .DeviceMessage import DeviceMessage
from .Errors import ControlError, SettingsError
from .Handle import Handle
from .Listeners import Listeners
from .Scene.DeviceNodes import DeviceNodes, DeviceState
from .Scene.LiveVolumes import LiveVolumes
from .Scene.Views import Views
from .Session import Session
from .Settings import OpenIGTLinkSettings

DEVICE_SIZE = 20
"""Bytes of a device name in version 1 of OpenIGTLink's header."""


class ControlLogic:
    """One part of :class:`RealTimeImagingLogic`, which makes what it needs."""

    session: Session
    listeners: Listeners
    views: Views
    volumes: LiveVolumes
    devices: DeviceNodes
    control: Control

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

    # ---- what goes back

    def sendTransform(self, thing: Any, device: str | None = None) -> int:
        """Send a position once over OpenIGTLink, as TRANSFORM in RAS; returns to how many devices.

        :param thing: a slice view, transform or markups plane node, a vtkMatrix4x4 or a 4x4 array.
        :param device: device name; "PLANE" by default, by which bridges of MRI scanners know the scan plane.
        :raises ControlError: it is no right-handed rotation with a place, or nobody is connected.
        """
        return self.control.sendTransform(thing, device)

    def followPlane(self, node: Any, device: str = PLANE, rate: float = 10.0) -> None:
        """Send where a slice view, transform or markups plane is, now and whenever it moves.

        :param rate: most positions in a second.
        :raises ControlError: a node, name or rate that cannot be.
        """
        self.control.followPlane(node, device, rate)

    def stopFollowing(self) -> None:
        """End what :meth:`followPlane` began."""
        self.control.stopFollowing()

    def followedPlane(self) -> Any:
        """The node whose position is sent; None when there is none."""
        return self.control.followed

    def sendCommand(self, text: str, device: str | None = None, form: str = "STRING", timeout: float = 5.0) -> int:
        """Send a command such as "START_SCAN"; returns its number. The event "answered" or "no-answer" follows.

        :param form: "STRING", as bridges of MRI scanners expect, or "COMMAND".
        :param timeout: seconds for the answer.
        :raises ControlError: it cannot be sent so, or nobody is connected.
        """
        return self.control.sendCommand(text, device, form, timeout)

    def canSend(self) -> bool:
        """True while a device is connected over OpenIGTLink."""
        return bool(self._connected())

    def _connected(self) -> list[Handle]:
        handles = [one for one in self.session.active() if isinstance(one.settings, OpenIGTLinkSettings)]
        return [handle for handle in handles if handle.peers]

    def _sendToDevices(self, command: dict[str, Any]) -> int:
        connected, values = self._connected(), dict(command)
        name = values.pop("command")
        if len(str(values.get("device", ""))) > DEVICE_SIZE:
            for handle in connected:
                if isinstance(handle.settings, OpenIGTLinkSettings) and handle.settings.version == 1:
                    raise ControlError(
                        f"The device name {values['device']} has more than {DEVICE_SIZE} letters: start the source "
                        "with OpenIGTLinkSettings(version=2), or choose a shorter name."
                    )
        for handle in connected:
            handle.send(name, **values)
        return sum(len(handle.peers) for handle in connected)

    # ---- what images may do

    def followView(self, stream: str = "Live") -> str | None:
        """Name of the slice view that takes the plane of a stream's images; None when none does."""
        return self.volumes.following(stream)

    def setFollowView(self, stream: str, view: str | None) -> None:
        """Let a slice view take the plane of every image of a stream, wherever it turns; None ends it.

        :raises SettingsError: there is no such view.
        """
        if view is not None and view not in self.views.names():
            raise SettingsError(f"There is no view {view}; there are {', '.join(self.views.names())}.")
        self.volumes.setFollowing(stream, view)
