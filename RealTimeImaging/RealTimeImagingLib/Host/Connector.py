"""SlicerOpenIGTLink's connector as the engine: its images become pushed frames.

The connector decodes on Slicer's main thread, keeps only the newest message of each device, and drops the device's
time. Images that it replaces before Slicer's event loop runs are lost here, and cannot be counted. It makes the nodes
of all other messages itself.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import qt
import slicer
import vtk

from ..Model.Errors import RealTimeImagingError, SettingsError
from ..Model.Event import Event, Remedy
from ..Model.Frame import ATTRIBUTE_NAME, Matrix, Pixels, imageOf
from ..Model.Settings import SourceSettings
from ..Model.Text import joined, textsOf
from ..Scene.Nodes import STREAM_ATTRIBUTE, arrayOf, ijkToRASOf
from ..Sources.Endpoints import PORTS_TRIED
from ..Sources.OpenIGTLink import OpenIGTLinkSettings
from ..Sources.Push import PushSettings
from .Push import PushControl
from .RunningSource import RunningSource

_ = textsOf(__file__)

NODE_CLASS = "vtkMRMLIGTLConnectorNode"
LIMITS = _(
    "SlicerOpenIGTLink keeps only the newest image of each device, gives no device time, and misplaces LPS images. "
    "As a server it listens on all addresses. A peer that does not speak OpenIGTLink makes Slicer exit."
)
PREFIX = "OpenIGTLink."
"""Prefix of the names of metadata in the connector's nodes."""
ORIGINAL_NAME = "OriginalNodeName"
"""Attribute with the device's name; the connector finds the node of a device by it."""
POLL = 200
"""Milliseconds between two checks of the connector's state: it sends events only while a peer is connected."""
SETTLED = 2.0
"""Seconds after a start within which the state "off" means that the connector cannot listen."""
RETRY = 1.0
"""Seconds between two starts of a connector whose port is taken."""
OFF, WAITING, CONNECTED = 0, 1, 2
"""The connector's states, as GetState() returns them."""
ALL_ADDRESSES = ("0.0.0.0", "::")
_AS_SENT = {"i8": np.int32, "u8": np.uint32, "S1": np.int8}
"""The connector stores INT32 and UINT32 in arrays of VTK's long integers, which have 64 bits on Linux and macOS, and
INT8 in an array of characters."""

Push = Callable[[Pixels, Matrix, str, Mapping[str, str]], None]


def connectorAvailable() -> bool:
    """Return True when the extension SlicerOpenIGTLink is installed."""
    return hasattr(slicer, NODE_CLASS)


def portIsFree(port: int) -> bool:
    """Return True when a server may listen on a TCP port of all IPv4 addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _freePort(taken: int) -> Remedy | None:
    for port in range(taken + 1, min(taken + PORTS_TRIED, 65536)):
        if portIsFree(port):
            return Remedy(_("Use port {port}").format(port=port), {"port": port})
    return None


class IGTLConnector:
    """A connector node of this module, from start to :meth:`close`.

    :param settings: role, host, port and whether checksums are verified; the others have no counterpart there.
    :param source: passes its images on; gets the status and the count of rejected images.
    :param push: takes an image: pixels (k, j, i) or (k, j, i, components), IJKToRAS, the device's name, attributes.
    :param report: takes events.
    :param onRemoved: called when the node was removed from the scene.
    :raises SettingsError: the connector refuses to start.
    """

    def __init__(
        self,
        settings: OpenIGTLinkSettings,
        source: RunningSource,
        push: Push,
        report: Callable[[Event], None],
        onRemoved: Callable[[], None],
    ) -> None:
        self._push, self._report, self._onRemoved, self._source = push, report, onRemoved, source
        self._server = settings.role == "server"
        self._port = settings.port
        self.name = _("port {port}").format(port=settings.port) if self._server else f"{settings.host}:{settings.port}"
        self._seen: dict[str, int] = {}
        self._troubles: set[tuple[str, str]] = set()
        self._connected = self._listened = self._stopped = self._started = False
        self._startedAt = 0.0
        self._reported = ""
        self._free: Remedy | None = None
        self.node = getattr(slicer, NODE_CLASS)()
        self.node.SetName("Real-Time Imaging")
        self.node.SetSaveWithScene(False)
        slicer.mrmlScene.AddNode(self.node)
        if self._server:
            self.node.SetTypeServer(settings.port)
        else:
            self.node.SetTypeClient(settings.host, settings.port)
        self.node.SetCheckCRC(settings.checkCRC)
        self._tags = [
            self.node.AddObserver(self.node.ConnectedEvent, self._poll),
            self.node.AddObserver(self.node.DisconnectedEvent, self._poll),
            self.node.AddObserver(self.node.DeviceModifiedEvent, self._changed),
        ]
        self._timer = qt.QTimer()
        self._timer.connect("timeout()", self._poll)
        report(Event("connector", LIMITS, "warning"))
        if not self._start():
            self.close()
            raise SettingsError(_("SlicerOpenIGTLink's connector cannot be started on {name}.").format(name=self.name))
        self._timer.start(POLL)
        self._poll()

    def close(self) -> None:
        """Stop the connector and remove it from the scene; its incoming nodes stay."""
        self._timer.stop()
        self._timer.disconnect("timeout()", self._poll)
        for tag in self._tags:
            self.node.RemoveObserver(tag)
        self._tags = []
        if self._started:
            self.node.Stop()
        if self.node.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(self.node)

    # ---- the connection

    def _start(self) -> bool:
        self._startedAt = time.monotonic()
        # On a port that is taken, Start() returns success, and Stop() never returns.
        if self._server and not portIsFree(self._port):
            self._started = False
            return True
        self._started = bool(self.node.Start())
        return self._started

    def _poll(self, *_event: Any) -> None:
        if not self._tags:
            return
        if self.node.GetScene() is None:
            text = _("The connector node of SlicerOpenIGTLink was removed from the scene: its source is stopped.")
            self._report(Event("connector-removed", text, "error", self.name))
            self._onRemoved()
            return
        state = self.node.GetState()
        age = time.monotonic() - self._startedAt
        if not self._listened and (state == CONNECTED or (state == WAITING and age > SETTLED)):
            self._listened = True
            if self._server:
                text = _(
                    "SlicerOpenIGTLink listens on {name}. Every computer in the network can send images there."
                ).format(name=self.name)
                self._report(Event("listening", text, "warning", self.name))
        self._noteConnection(state == CONNECTED)
        self._source.remedy = None
        if state == OFF:
            self._off(age)
        elif state == CONNECTED:
            self._source.connectorStatus = _("SlicerOpenIGTLink: connected with {peer}.").format(peer=self._peer)
        elif self._server:
            self._source.connectorStatus = _(
                "SlicerOpenIGTLink: waiting for a device on {name} of all addresses."
            ).format(name=self.name)
        else:
            self._source.connectorStatus = _("SlicerOpenIGTLink: connecting to {name}.").format(name=self.name)
        if state != OFF and age > SETTLED:
            self._reported = ""
            self._stopped = False

    @property
    def _peer(self) -> str:
        return _("a device on {name}").format(name=self.name) if self._server else self.name

    def _noteConnection(self, connected: bool) -> None:
        if connected == self._connected:
            return
        self._connected = connected
        if connected:
            text = _("SlicerOpenIGTLink is connected with {peer}.").format(peer=self._peer)
            self._report(Event("connected", text, subject=self.name))
        else:
            text = _("SlicerOpenIGTLink lost the connection with {peer}. It reconnects automatically.").format(
                peer=self._peer
            )
            self._report(Event("disconnected", text, "warning", self.name))

    def _off(self, age: float) -> None:
        if self._listened:
            self._stopped = True
            text = _("The connector of SlicerOpenIGTLink was stopped outside this module: start its source again.")
            self._source.connectorStatus = text
            self._reportOnce(Event("connector-stopped", text, "error", self.name))
            return
        if self._stopped:
            return
        # Start() returns success also when it cannot listen.
        if self._server:
            text = _("Another program uses port {port}: close that program, or choose another port.")
            text = text.format(port=self._port)
            if self._free is None:
                self._free = _freePort(self._port)
            self._source.remedy = self._free
        else:
            text = _("SlicerOpenIGTLink's connector to {name} stopped immediately.").format(name=self.name)
        self._source.connectorStatus = joined(text, _("The module tries again every second."))
        code = "port-taken" if self._server else "not-connected"
        self._reportOnce(Event(code, self._source.connectorStatus, "error", self.name, remedy=self._free))
        if age >= RETRY:
            self._start()

    def _reportOnce(self, event: Event) -> None:
        if event.text != self._reported:
            self._reported = event.text
            self._report(event)

    # ---- images

    def _changed(self, *_event: Any) -> None:
        for index in reversed(range(self.node.GetNumberOfIncomingMRMLNodes())):
            volume = self.node.GetIncomingMRMLNode(index)
            if volume is None or not volume.IsA("vtkMRMLVolumeNode") or volume.GetImageData() is None:
                continue
            device = volume.GetAttribute(ORIGINAL_NAME) or volume.GetName()
            if volume.GetAttribute(STREAM_ATTRIBUTE) is not None:
                volume = self._replace(volume, device)
            changed = volume.GetImageData().GetMTime()
            if self._seen.get(volume.GetID()) != changed:
                self._seen[volume.GetID()] = changed
                self._take(volume, device)

    def _replace(self, live: Any, device: str) -> Any:
        """Give the connector its own node for a device, in place of our live volume; return the node.

        The connector chooses the first node of the scene with the device's name. It must not write into a live volume,
        which this module fills with the same images.
        """
        image, matrix = live.GetImageData(), ijkToRASOf(live)
        self.node.UnregisterIncomingMRMLNode(live)
        live.RemoveAttribute(ORIGINAL_NAME)
        copy = vtk.vtkImageData()
        copy.DeepCopy(image)
        live.SetAndObserveImageData(copy)
        own = slicer.mrmlScene.CreateNodeByClass(live.GetClassName())
        own.UnRegister(None)
        # The connector looks up the device of this name while the node is registered.
        own.SetName(device)
        slicer.mrmlScene.AddNode(own)
        self.node.RegisterIncomingMRMLNode(own)
        own.SetName(slicer.mrmlScene.GenerateUniqueName(f"{device} (SlicerOpenIGTLink)"))
        own.SetAttribute(ORIGINAL_NAME, device)
        for name in [name for name in live.GetAttributeNames() if name.startswith(PREFIX)]:
            own.SetAttribute(name, live.GetAttribute(name))
            live.RemoveAttribute(name)
        own.SetIJKToRASMatrix(matrix)
        own.SetAndObserveImageData(image)
        return own

    def _take(self, volume: Any, device: str) -> None:
        pixels = arrayOf(volume)
        if pixels is None:
            return
        sent = _AS_SENT.get(pixels.dtype.str[1:])
        if sent is not None:
            # The connector copied the values to the beginning of a longer array.
            pixels = np.ascontiguousarray(pixels).reshape(-1).view(sent)[: pixels.size].reshape(pixels.shape)
        matrix = np.array(slicer.util.arrayFromVTKMatrix(ijkToRASOf(volume)), np.float64)
        names = [name for name in volume.GetAttributeNames() if name.startswith(PREFIX)]
        attributes = {name.removeprefix(PREFIX): volume.GetAttribute(name) for name in names}
        known = {name: value for name, value in attributes.items() if ATTRIBUTE_NAME.fullmatch(name)}
        try:
            self._push(pixels, matrix, device, {**known, "Device": device})
        except RealTimeImagingError as error:
            self._source.refuse()
            # Numbers in the text differ from image to image: compare it without them.
            trouble = device, re.sub(r"\d+", "", str(error))
            if trouble not in self._troubles:
                self._troubles.add(trouble)
                text = _("An image of {device} was rejected: {reason}").format(device=device, reason=str(error))
                self._report(Event("not-usable", text, "warning", device))


class IGTLConnectors:
    """The running connector, with the source of pushed frames that passes its images on.

    :param start: starts a source.
    :param pushes: takes the images.
    :param report: takes events.
    """

    def __init__(
        self, start: Callable[[SourceSettings], RunningSource], pushes: PushControl, report: Callable[[Event], None]
    ) -> None:
        self._start, self._pushes, self._report = start, pushes, report
        self._running: list[tuple[RunningSource, IGTLConnector]] = []

    def start(self, settings: OpenIGTLinkSettings, stop: Callable[[RunningSource], None]) -> RunningSource:
        """Start a connector and its source.

        :param stop: stops the source again when the connector cannot be started.
        :raises SettingsError: the extension is not installed, a setting has no counterpart there, or the connector
            refuses to start. Also when another connector or the source of frames from Python is running.
        """
        if not connectorAvailable():
            raise SettingsError(
                _("The extension SlicerOpenIGTLink is not installed; choose the engine of this module.")
            )
        _check(settings)
        for _source, running in self._running:
            raise SettingsError(
                _(
                    "SlicerOpenIGTLink's connector to {name} is running, and only one can run at a time. "
                    "Stop it, or choose the engine of this module, which receives from any number of devices."
                ).format(name=running.name)
            )
        try:
            self._pushes.check(PushSettings(settings.stream))
        except SettingsError as error:
            raise SettingsError(
                _(
                    "The source of images from Python (push) is running, and SlicerOpenIGTLink's connector needs it. "
                    "Stop that source, or choose the engine of this module."
                )
            ) from error
        source = self._start(PushSettings(settings.stream))
        source.chosenSettings = settings
        try:
            made = IGTLConnector(settings, source, self._take, self._report, lambda: stop(source))
            self._running.append((source, made))
        except SettingsError:
            stop(source)
            raise
        return source

    def stop(self, source: RunningSource | None = None) -> None:
        """Stop the connector of this source, or all."""
        for pair in list(self._running):
            if source in (None, pair[0]):
                self._running.remove(pair)
                pair[0].connectorStatus, pair[0].remedy = "", None
                pair[1].close()

    def update(self) -> None:
        """Stop connectors whose source has ended."""
        for source, _connector in list(self._running):
            if source.ended:
                self.stop(source)

    def _take(self, pixels: Pixels, ijkToRAS: Matrix, name: str, attributes: Mapping[str, str]) -> None:
        self._pushes.push(imageOf(pixels, ijkToRAS, None, pixels.ndim == 4, attributes), name)


def _check(settings: OpenIGTLinkSettings) -> None:
    """Check that the connector supports the settings.

    :raises SettingsError: it does not.
    """
    if settings.role != "server":
        return
    if settings.host not in ALL_ADDRESSES:
        raise SettingsError(
            _(
                "SlicerOpenIGTLink listens on all addresses of this computer, not on {host} only: set "
                "the address to 0.0.0.0, or choose the engine of this module."
            ).format(host=settings.host)
        )
    if settings.allowed:
        raise SettingsError(
            _(
                "SlicerOpenIGTLink accepts every computer: clear the list of allowed computers, or choose the engine "
                "of this module."
            )
        )
    if settings.port == 0:
        raise SettingsError(_("SlicerOpenIGTLink cannot choose a free port: set a port from 1 to 65535."))
