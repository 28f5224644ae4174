"""Device messages and scanner control: public API."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import qt

from ..Model.DeviceMessage import DeviceMessage, shortened, words
from ..Model.Errors import ControlError, SettingsError
from ..Model.Event import Event
from ..Model.Frame import Matrix
from ..Scene.DeviceNodes import DeviceNodes, DeviceState
from ..Scene.LiveVolumes import LiveVolumes
from ..Scene.Planes import isPlaneNode, poseOf
from ..Scene.Views import Views
from ..Sources.OpenIGTLink import OpenIGTLinkSettings
from .Callbacks import Callbacks
from .PlaneFollowing import PlaneFollowing
from .RunningSource import RunningSource
from .Session import Session

PLANE = "PLANE"
"""Device name by which bridges of MRI scanners know the scan plane; PLANE_0, PLANE_1 ... are further slices."""
WORDS = ("START_UP", "START_SCAN", "STOP_SCAN")
"""What bridges of MRI scanners understand; others say START_SEQUENCE and STOP_SEQUENCE."""
FORMS = ("STRING", "COMMAND")
NAME_BYTES, STRING_BYTES, COMMAND_NAME_BYTES = 255, 0xFFFF, 128
RATES = (0.01, 100.0)
TIMEOUTS = (0.1, 3600.0)
GRACE = 0.25
"""Seconds more for an answer after the window stood still: it may be there and was not read yet."""


@dataclass
class _Request:
    number: int
    text: str
    device: str
    form: str
    devices: int
    sent: float
    timeout: float
    due: float
    late: bool = False


class Control:
    """Sends to the devices that are connected over OpenIGTLink. All positions are in RAS, millimetres.

    :param send: gives a command to the sources' processes: ``command`` ("send"), ``type``, ``device``, ``values`` and
        ``id``; returns to how many connected sources it went.
    :param listeners: get the events "command-sent", "answered", "no-answer", "plane-invalid", "no-peer" and
        "follow-ended".
    :param scene: the MRML scene.
    """

    def __init__(self, send: Callable[[dict[str, Any]], int], listeners: Callbacks, scene: Any) -> None:
        self._hand, self._listeners, self._scene = send, listeners, scene
        self._following: PlaneFollowing | None = None
        self._requests: list[_Request] = []
        self._number = 0
        self._stamp = 0
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", self._overdue)

    def close(self) -> None:
        """Send nothing more and wait for no answer; it is not used afterwards."""
        self.stopFollowing()
        self.forget()
        self._timer.disconnect("timeout()", self._overdue)

    def forget(self) -> None:
        """The scene is closed: follow nothing and wait for no answer any more."""
        if self._following:
            self._following.sceneCloses()
        self._requests.clear()
        self._timer.stop()

    # ---- positions

    def sendTransform(self, thing: Any, device: str | None = None) -> int:
        """Send a position once, as TRANSFORM; returns to how many devices.

        :param thing: a slice view, transform or markups plane node, a vtkMatrix4x4 or a 4x4 array: see
            :func:`poseOf`.
        :param device: device name, of more than 20 letters with version 2 of the header only; "PLANE" by default, the
            scan plane.
        :raises ControlError: it is no position, or nobody is connected (``code`` "no-peer").
        """
        name = _deviceName(PLANE if device is None else device)
        sent = self._sendPose(poseOf(thing), name)
        if not sent:
            raise ControlError("No device is connected over OpenIGTLink to which the position could go.", "no-peer")
        return sent

    def followPlane(self, node: Any, device: str = PLANE, rate: float = 10.0) -> None:
        """Send where a node is, now and whenever it moves, until :meth:`stopFollowing`; one node at a time.

        :param node: a slice view, transform or markups plane node.
        :param rate: most positions in a second, 0.01 to 100; the last one is always sent.
        :raises ControlError: a node that has no position, a name or a rate that cannot be.
        """
        name = _deviceName(device)
        _checkNumber(rate, RATES, "The rate of positions", "a second")
        if not isPlaneNode(node) or not self._scene.IsNodePresent(node):
            raise ControlError("Choose a slice view, a transform or a markups plane of the scene.")
        self.stopFollowing()
        self._following = PlaneFollowing(
            node, rate, lambda pose: self._sendPose(pose, name), self._listeners, self._scene
        )

    def stopFollowing(self) -> None:
        """Send where the node is no longer."""
        if self._following and not self._following.ended:
            self._following.end()
        self._following = None

    @property
    def followed(self) -> Any:
        """The node whose position is sent; None when there is none."""
        return self._following.node if self._following and not self._following.ended else None

    def _sendPose(self, pose: Matrix, device: str) -> int:
        return self._send("TRANSFORM", device, {"matrix": pose.tolist()})[1]

    # ---- commands

    def sendCommand(self, text: str, device: str | None = None, form: str = "STRING", timeout: float = 5.0) -> int:
        """Send a command; returns its number.

        The answer is the event "answered": to a STRING the next STATUS or STRING that arrives, to a COMMAND the
        RTS_COMMAND of the same number. Without one the event "no-answer" comes.

        :param text: such as "START_SCAN".
        :param device: device name, as for :meth:`sendTransform`; by default CMD_ and the time.
        :param form: "STRING" or "COMMAND".
        :param timeout: seconds for the answer, 0.1 to 3600.
        :raises ControlError: it cannot be sent so, or nobody is connected (``code`` "no-peer").
        """
        if form not in FORMS:
            raise ControlError(f"A command goes as {' or '.join(FORMS)}, not {form!r}.")
        if not isinstance(text, str) or not text.strip():
            raise ControlError("The command is empty.")
        if len(text.encode(errors="replace")) > STRING_BYTES:
            raise ControlError(f"The command is longer than {STRING_BYTES:,} bytes.")
        _checkNumber(timeout, TIMEOUTS, "The time for an answer", "seconds")
        name = self._commandName() if device is None else _deviceName(device)
        values: dict[str, Any] = {"text": text}
        if form == "COMMAND":
            # The protocol wants a name beside the text; programs that look at it expect the first word.
            first = text.split()[0].encode(errors="replace")[:COMMAND_NAME_BYTES].decode(errors="ignore")
            values = {"id": self._number + 1, "name": first, "text": text}
        sent = time.time()
        number, devices = self._send(form, name, values)
        if not devices:
            raise ControlError(
                f"No device is connected over OpenIGTLink to which {shortened(text)} could go.", "no-peer"
            )
        due = time.perf_counter() + timeout
        self._requests.append(_Request(number, text, name, form, devices, sent, timeout, due))
        self._listeners.report(Event("command-sent", f"{_sentTo(text, devices)}.", "info", text))
        self._wait()
        return number

    def hear(self, event: Event) -> None:
        """Take an event: a device that connects is told where the followed node is."""
        if event.code == "connected" and self._following and not self._following.ended:
            self._following.again()

    def take(self, message: DeviceMessage) -> None:
        """Take a message of a device, which may be an answer."""
        request = next((one for one in self._requests if _answers(message, one)), None)
        if request is None:
            return
        self._requests.remove(request)
        good = bool(message.values.get("ok", True))
        by = message.device or "The device"
        text = f"{by} answered {shortened(request.text)} after {message.receiveTime - request.sent:.1f} s: "
        said = message.values.get("text") if message.kind != "status" else ""
        text += shortened(said) if said else words(message)
        self._listeners.report(Event("answered", text, "info" if good else "warning", request.text))
        self._wait()

    def _wait(self) -> None:
        if self._requests:
            due = min(request.due for request in self._requests)
            self._timer.start(max(0, round(1000 * (due - time.perf_counter()))))
        else:
            self._timer.stop()

    def _overdue(self) -> None:
        now = time.perf_counter()
        for request in [request for request in self._requests if request.due <= now]:
            if now - request.due > GRACE / 2 and not request.late:
                request.due, request.late = now + GRACE, True
                continue
            self._requests.remove(request)
            text = f"{_sentTo(request.text, request.devices)}, and no answer came within {request.timeout:g} s."
            self._listeners.report(Event("no-answer", text, "warning", request.text))
        self._wait()

    def _send(self, kind: str, device: str, values: dict[str, Any]) -> tuple[int, int]:
        self._number += 1
        command = {"command": "send", "type": kind, "device": device, "values": values, "id": self._number}
        return self._number, self._hand(command)

    def _commandName(self) -> str:
        # In milliseconds, and never the same twice: the answer of some programs is named after it.
        self._stamp = max(self._stamp + 1, round(1000 * time.time()))
        return f"CMD_{self._stamp}"


def _answers(message: DeviceMessage, request: _Request) -> bool:
    if message.receiveTime < request.sent:
        return False
    if request.form == "COMMAND":
        return message.kind == "reply" and message.values.get("id") == request.number
    if message.kind == "text" and message.device.startswith("ACK_"):
        return message.device[4:] == request.device.removeprefix("CMD_")
    return message.kind in ("status", "text")


def _sentTo(text: str, devices: int) -> str:
    return f"{shortened(text)} was sent to {devices} {'device' if devices == 1 else 'devices'}"


def _deviceName(name: str) -> str:
    if not isinstance(name, str) or not name.strip():
        raise ControlError("The device needs a name, such as PLANE.")
    if not name.isascii() or not name.isprintable() or len(name) > NAME_BYTES:
        raise ControlError(f"A device name has at most {NAME_BYTES} letters, digits or signs of ASCII, not {name!r}.")
    return name


def _checkNumber(value: object, limits: tuple[float, float], what: str, unit: str) -> None:
    lowest, highest = limits
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not lowest <= value <= highest:  # type: ignore[operator]
        raise ControlError(f"{what} is a number from {lowest:g} to {highest:,.0f} {unit}, not {value!r}.")


DEVICE_SIZE = 20
"""Bytes of a device name in version 1 of OpenIGTLink's header."""


class ControlLogic:
    """One part of :class:`RealTimeImagingLogic`, which makes what it needs."""

    session: Session
    listeners: Callbacks
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

    def _connected(self) -> list[RunningSource]:
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
