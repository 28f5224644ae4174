"""Device messages, the scan plane and commands to scanners: ``logic.devices``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import qt
import vtk

from ..Model.DeviceMessage import DeviceMessage, shortened, words
from ..Model.Errors import ControlError
from ..Model.Event import Event
from ..Model.Frame import Matrix
from ..Model.Text import Text, joined, textsOf
from ..Scene.DeviceNodes import DeviceNodes, DeviceState
from ..Scene.Planes import isPlaneNode, poseOf
from .Callbacks import Callbacks
from .RunningSource import RunningSource
from .Session import Session

_ = textsOf(__file__)

PLANE = "PLANE"
"""Device name of the scan plane at bridges of MRI scanners; PLANE_0, PLANE_1 and so on are further slices."""
FORMS = ("STRING", "COMMAND")
"""Message types of commands, in the order of the panel's list."""
NAME_BYTES, STRING_BYTES, COMMAND_NAME_BYTES = 255, 0xFFFF, 128
RATES = (0.01, 100.0)
TIMEOUTS = (0.1, 3600.0)
SWEEP = (3.0, 60.0)
"""Shortest and longest sweep for a time offset, seconds."""
GRACE = 0.25
"""Further seconds for an answer after the window was blocked: the answer may have arrived without having been read."""
SAME = 1e-5
"""Greatest difference, in millimetres and in direction cosines, of equal positions."""
RETRY = 1.0
"""Seconds until a position that no device received is sent again."""


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


class DeviceControl:
    """Messages of devices, and positions and commands to devices that are connected over OpenIGTLink.

    Positions are in RAS, millimetres. Every message goes to the callbacks in order of arrival; the scene gets the
    newest of each device.

    :param session: knows the connected devices.
    :param callbacks: get the events "command-sent", "answered", "no-answer", "plane-invalid", "no-peer" and
        "follow-ended".
    :param nodes: the nodes of the devices.
    :param scene: the MRML scene.
    """

    def __init__(self, session: Session, callbacks: Callbacks, nodes: DeviceNodes, scene: Any) -> None:
        self._session, self._callbacks, self._scene = session, callbacks, scene
        self.nodes = nodes
        """The nodes of the devices in the scene."""
        self._follower: _PlaneFollower | None = None
        self._requests: list[_Request] = []
        self._number = 0
        self._stamp = 0
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", self._overdue)
        callbacks.addMessageCallback(self.takeMessage)
        callbacks.addEventCallback(self.takeEvent)

    def states(self) -> list[DeviceState]:
        """Return the latest message of each device in words: ``device``, ``kind``, ``words``, ``time``, ``ok``."""
        return self.nodes.states()

    def inUse(self) -> bool:
        """Return True while a source runs that speaks OpenIGTLink, or when a device has sent a message in this run."""
        return bool(self.states()) or bool(self._speaking())

    def canSend(self) -> bool:
        """Return True while a device is connected over OpenIGTLink."""
        return bool(self._connected())

    def forget(self) -> None:
        """Follow no node and await no answer any more, because the scene is closed."""
        if self._follower:
            self._follower.sceneCloses()
        self._requests.clear()
        self._timer.stop()

    def close(self) -> None:
        """Send nothing more and await no answer. Do not use the object afterwards."""
        self.stopFollowing()
        self.forget()
        self._timer.disconnect("timeout()", self._overdue)
        self._callbacks.removeMessageCallback(self.takeMessage)
        self._callbacks.removeEventCallback(self.takeEvent)

    # ---- positions

    def sendTransform(self, position: Any, device: str | None = None) -> int:
        """Send a position once, as TRANSFORM; return the number of devices.

        :param position: a slice view, transform or markups plane node, a vtkMatrix4x4 or a 4x4 array: see
            :func:`poseOf`.
        :param device: device name, "PLANE" by default, the scan plane. Version 1 of the header has room for 20 letters.
        :raises ControlError: not a right-handed rotation with a position, or no device is connected (``code``
            "no-peer").
        """
        name = _deviceName(PLANE if device is None else device)
        sent = self._sendPose(poseOf(position), name)
        if not sent:
            raise ControlError(_("No device is connected over OpenIGTLink that could receive the position."), "no-peer")
        return sent

    def followPlane(self, node: Any, device: str = PLANE, rate: float = 10.0) -> None:
        """Send the position of a node, now and whenever it moves, until :meth:`stopFollowing`; one node at a time.

        :param node: a slice view, transform or markups plane node.
        :param rate: most positions per second, 0.01 to 100; the last one is always sent.
        :raises ControlError: the node has no position, or name or rate are not valid.
        """
        name = _deviceName(device)
        if not _isWithin(rate, RATES):
            raise ControlError(_RATE.format(lowest=RATES[0], highest=RATES[1], value=repr(rate)))
        if not isPlaneNode(node) or not self._scene.IsNodePresent(node):
            raise ControlError(_("Choose a slice view, a transform or a markups plane of the scene."))
        self.stopFollowing()
        self._follower = _PlaneFollower(
            node, rate, lambda pose: self._sendPose(pose, name), self._callbacks, self._scene
        )

    def stopFollowing(self) -> None:
        """End what :meth:`followPlane` began."""
        if self._follower and not self._follower.ended:
            self._follower.end()
        self._follower = None

    @property
    def followed(self) -> Any:
        """The node whose position is sent; None when there is none."""
        return self._follower.node if self._follower and not self._follower.ended else None

    def _sendPose(self, pose: Matrix, device: str) -> int:
        return self._send("TRANSFORM", device, {"matrix": pose.tolist()})[1]

    # ---- commands

    def sendCommand(self, text: str, device: str | None = None, form: str = "STRING", timeout: float = 5.0) -> int:
        """Send a command; return its number.

        The answer is the event "answered": to a STRING the next STATUS or STRING that arrives, to a COMMAND the
        RTS_COMMAND of the same number. Without an answer the event "no-answer" follows.

        :param text: such as "START_SCAN".
        :param device: device name; by default CMD_ and the time.
        :param form: "STRING", as bridges of MRI scanners expect, or "COMMAND".
        :param timeout: seconds for the answer, 0.1 to 3600.
        :raises ControlError: an argument is not valid, or no device is connected (``code`` "no-peer").
        """
        if form not in FORMS:
            raise ControlError(_("A command is sent as STRING or COMMAND, not {form}.").format(form=repr(form)))
        if not isinstance(text, str) or not text.strip():
            raise ControlError(_("The command is empty."))
        if len(text.encode(errors="replace")) > STRING_BYTES:
            raise ControlError(_("The command is longer than {limit:,} bytes.").format(limit=STRING_BYTES))
        if not _isWithin(timeout, TIMEOUTS):
            raise ControlError(_TIMEOUT.format(lowest=TIMEOUTS[0], highest=TIMEOUTS[1], value=repr(timeout)))
        name = self._commandName() if device is None else _deviceName(device)
        values: dict[str, Any] = {"text": text}
        if form == "COMMAND":
            # The protocol demands a name beside the text; programs that read it expect the first word.
            first = text.split()[0].encode(errors="replace")[:COMMAND_NAME_BYTES].decode(errors="ignore")
            values = {"id": self._number + 1, "name": first, "text": text}
        sent = time.time()
        number, devices = self._send(form, name, values)
        if not devices:
            nobody = _("No device is connected over OpenIGTLink that could receive {command}.")
            raise ControlError(nobody.format(command=shortened(text)), "no-peer")
        due = time.perf_counter() + timeout
        self._requests.append(_Request(number, text, name, form, devices, sent, timeout, due))
        self._callbacks.report(Event("command-sent", _sentTo(text, devices), "info", text))
        self._schedule()
        return number

    def takeEvent(self, event: Event) -> None:
        """Send the followed position again to a device that connects."""
        if event.code == "connected" and self._follower and not self._follower.ended:
            self._follower.sendAgain()

    def takeMessage(self, message: DeviceMessage) -> None:
        """Take a message of a device, which may be an answer."""
        request = next((one for one in self._requests if _answers(message, one)), None)
        if request is None:
            return
        self._requests.remove(request)
        good = bool(message.values.get("ok", True))
        answer = message.values.get("text") if message.kind != "status" else ""
        text = _("{device} answered {command} after {seconds:.1f} s: {answer}").format(
            device=message.device or _("The device"),
            command=shortened(request.text),
            seconds=message.receiveTime - request.sent,
            answer=shortened(answer) if answer else words(message),
        )
        self._callbacks.report(Event("answered", text, "info" if good else "warning", request.text))
        self._schedule()

    def _schedule(self) -> None:
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
            silence = _("No answer came within {seconds:g} s.").format(seconds=request.timeout)
            text = joined(_sentTo(request.text, request.devices), silence)
            self._callbacks.report(Event("no-answer", text, "warning", request.text))
        self._schedule()

    # ---- tracking

    def estimateTimeOffset(self, device: str, stream: str = "", seconds: float = 10.0) -> None:
        """Estimate the time offset of a tool from the images and poses of the next seconds.

        Meanwhile, move the probe up and down over the bottom of a water tank, or over a phantom. The result is the
        event "offset-estimated", whose remedy has the new setting ``timeOffsets``, or "no-offset" with the reason.

        :param device: name of the tool, whose poses arrive over the same source as the images.
        :param stream: stream of the images; empty: that of the first image.
        :param seconds: length of the sweep, 3 to 60.
        :raises ControlError: no running source has poses of this tool, or the length is not valid.
        """
        if not _isWithin(seconds, SWEEP):
            text = _("A sweep takes {lowest:g} to {highest:g} seconds, not {value}.")
            raise ControlError(text.format(lowest=SWEEP[0], highest=SWEEP[1], value=repr(seconds)))
        sources = [one for one in self._speaking() if device in one.messages]
        if not sources or ("transform", device) not in [(one.kind, one.device) for one in self.states()]:
            raise ControlError(_("No running source has received poses of {device}.").format(device=repr(device)))
        sources[-1].send("estimateOffset", device=device, stream=stream, seconds=seconds)

    # ---- connections

    def _speaking(self) -> list[RunningSource]:
        """Return the running sources that can send messages to devices."""
        return [one for one in self._session.active() if one.settings.longestDeviceName]

    def _connected(self) -> list[RunningSource]:
        return [one for one in self._speaking() if one.peers]

    def _send(self, kind: str, device: str, values: dict[str, Any]) -> tuple[int, int]:
        """Send a message to all connected devices; return its number, and the number of devices."""
        self._number += 1
        connected = self._connected()
        for source in connected:
            longest = source.settings.longestDeviceName
            if len(device) > longest:
                text = _(
                    "The device name {device} has more than {longest} letters: start the source with "
                    "OpenIGTLinkSettings(version=2), or choose a shorter name."
                )
                raise ControlError(text.format(device=device, longest=longest))
        for source in connected:
            source.send("send", type=kind, device=device, values=values, id=self._number)
        return self._number, sum(len(source.peers) for source in connected)

    def _commandName(self) -> str:
        # In milliseconds, and never the same twice: some programs name their answer after it.
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


def _sentTo(text: str, devices: int) -> Text:
    if devices == 1:
        return _("{command} was sent to 1 device.").format(command=shortened(text))
    return _("{command} was sent to {count} devices.").format(command=shortened(text), count=devices)


def _deviceName(name: str) -> str:
    if not isinstance(name, str) or not name.strip():
        raise ControlError(_("The device needs a name, such as PLANE."))
    if not name.isascii() or not name.isprintable() or len(name) > NAME_BYTES:
        text = _("A device name has at most {limit} printable ASCII characters, not {name}.")
        raise ControlError(text.format(limit=NAME_BYTES, name=repr(name)))
    return name


_RATE = _("The rate of positions is a number from {lowest:g} to {highest:,.0f} per second, not {value}.")
_TIMEOUT = _("The time for an answer is a number from {lowest:g} to {highest:,.0f} seconds, not {value}.")


def _isWithin(value: object, limits: tuple[float, float]) -> bool:
    lowest, highest = limits
    return isinstance(value, (int, float)) and not isinstance(value, bool) and lowest <= value <= highest


class _PlaneFollower:
    """Sends the position of a node until :meth:`end`, or until the node is deleted or the scene is closed.

    :param node: vtkMRMLSliceNode, vtkMRMLTransformNode or vtkMRMLMarkupsPlaneNode; its present position is sent, too.
    :param rate: most positions sent in a second.
    :param deliver: sends a 4x4 position in RAS; returns the number of devices that received it.
    :param callbacks: get an event for each new kind of trouble, and for an end that the user did not ask for.
    """

    def __init__(
        self, node: Any, rate: float, deliver: Callable[[Matrix], int], callbacks: Callbacks, scene: Any
    ) -> None:
        self.node = node
        self._name = node.GetName() or node.GetID()
        self._period, self._deliver, self._callbacks, self._scene = 1 / rate, deliver, callbacks, scene
        self._last: Matrix | None = None
        self._trouble = ""
        self._next = 0.0
        self.ended = False
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setTimerType(qt.Qt.PreciseTimer)
        self._timer.connect("timeout()", self._send)
        self._observers = [(node, node.AddObserver(event, self._moved)) for event in _eventsOf(node)]
        for event, slot in ((scene.NodeRemovedEvent, self._removed), (scene.StartCloseEvent, self.sceneCloses)):
            self._observers.append((scene, scene.AddObserver(event, slot)))
        self._timer.start(0)

    def sendAgain(self) -> None:
        """Send the present position once more, to a device that has connected."""
        self._last = None
        self._moved()

    def end(self) -> None:
        """Send nothing more."""
        self.ended = True
        self._timer.stop()
        self._timer.disconnect("timeout()", self._send)
        for item, tag in self._observers:
            item.RemoveObserver(tag)
        self._observers.clear()

    def _moved(self, *_event: Any) -> None:
        # The timer merges movements; an event loop that runs within an observer would come here again.
        if not self._timer.isActive():
            self._timer.start(max(0, round(1000 * (self._next - time.perf_counter()))))

    def _send(self) -> None:
        try:
            pose = poseOf(self.node)
        except ControlError as error:
            self._report(Event("plane-invalid", self._troubleText(error), "warning", self._name))
            return
        if self._last is not None and np.abs(pose - self._last).max() <= SAME:
            return
        self._next = time.perf_counter() + self._period
        try:
            delivered = self._deliver(pose)
        except ControlError as error:
            self._report(Event("plane-invalid", self._troubleText(error), "warning", self._name))
            return
        if delivered:
            self._last, self._trouble = pose, ""
            return
        text = _("No device is connected to receive the position of {name}. It is sent when a device connects.")
        self._report(Event("no-peer", text.format(name=self._name), "warning", self._name))
        self._timer.start(round(1000 * RETRY))

    def _troubleText(self, error: ControlError) -> Text:
        return _("{name}: {reason}").format(name=self._name, reason=str(error))

    def _report(self, event: Event) -> None:
        if event.code != self._trouble:
            self._trouble = event.code
            self._callbacks.report(event)

    def _removed(self, *_event: Any) -> None:
        if not self._scene.IsNodePresent(self.node):
            self._endWith(_("{name} was deleted; its position is not sent any more.").format(name=self._name))

    def sceneCloses(self, *_event: Any) -> None:
        """End, because the scene is closed."""
        text = _("The scene is closed; the position of {name} is not sent any more.")
        self._endWith(text.format(name=self._name))

    def _endWith(self, text: str) -> None:
        if not self.ended:
            self.end()
            self._callbacks.report(Event("follow-ended", text, "warning", self._name))


def _eventsOf(node: Any) -> list[Any]:
    # Markups planes and transforms move without a ModifiedEvent.
    names = ("TransformModifiedEvent", "PointModifiedEvent")
    return [vtk.vtkCommand.ModifiedEvent, *(getattr(node, name) for name in names if hasattr(node, name))]
