"""SlicerOpenIGTLink's own connector as the engine: what it shows of images goes on as pushed frames.

It decodes on Slicer's main thread, keeps the newest message of each device, and tells no time of the sender; so frames
that come faster than Slicer looks are lost before they are seen here, and nobody can count them. For all else that a
device says it makes nodes itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import slicer

from .Arrays import imageOf
from .Errors import RealTimeImagingError, SettingsError
from .Event import Event
from .Frame import ATTRIBUTE_NAME, Matrix, Pixels
from .Handle import Handle
from .Pushing import Pushing
from .Scene.LiveVolume import arrayOf, ijkToRASOf
from .Settings import OpenIGTLinkSettings, PushSettings, SourceSettings

NODE_CLASS = "vtkMRMLIGTLConnectorNode"
LIMITS = (
    "SlicerOpenIGTLink's connector passes on the newest image of each device only, and tells no time of the device."
)
PREFIX = "OpenIGTLink."
"""Before the names of metadata, as the connector writes them into its nodes."""

Push = Callable[[Pixels, Matrix, str, Mapping[str, str]], None]


def connectorAvailable() -> bool:
    """Whether the extension SlicerOpenIGTLink is installed."""
    return hasattr(slicer, NODE_CLASS)


class Connector:
    """A connector node of ours, from start to :meth:`close`.

    :param settings: role, host, port and whether checksums are checked; the rest has no counterpart there.
    :param push: takes an image: pixels (k, j, i) or (k, j, i, components), IJKToRAS, the device's name, attributes.
    :param report: takes events.
    :raises SettingsError: the connector refuses to start.
    """

    def __init__(self, settings: OpenIGTLinkSettings, push: Push, report: Callable[[Event], None]) -> None:
        self._push, self._report = push, report
        self._name = f"{settings.host}:{settings.port}"
        self._seen: dict[str, int] = {}
        self._troubles: set[str] = set()
        self.node = getattr(slicer, NODE_CLASS)()
        self.node.SetName("Real-Time Imaging")
        slicer.mrmlScene.AddNode(self.node)
        if settings.role == "server":
            self.node.SetTypeServer(settings.port)
        else:
            self.node.SetTypeClient(settings.host, settings.port)
        self.node.SetCheckCRC(settings.checkCRC)
        self._tags = [
            self.node.AddObserver(self.node.ConnectedEvent, self._connected),
            self.node.AddObserver(self.node.DisconnectedEvent, self._disconnected),
            self.node.AddObserver(self.node.DeviceModifiedEvent, self._changed),
        ]
        report(Event("connector", LIMITS, "warning"))
        if not self.node.Start():
            self.close()
            raise SettingsError(f"SlicerOpenIGTLink's connector cannot be started on {self._name}.")

    def close(self) -> None:
        """Stop it, and take it out of the scene; its incoming nodes stay."""
        for tag in self._tags:
            self.node.RemoveObserver(tag)
        self._tags = []
        self.node.Stop()
        if self.node.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(self.node)

    def _connected(self, *_: Any) -> None:
        self._report(Event("connected", f"{self._name} is connected, by SlicerOpenIGTLink.", subject=self._name))

    def _disconnected(self, *_: Any) -> None:
        text = f"{self._name} is disconnected, as SlicerOpenIGTLink says."
        self._report(Event("disconnected", text, "warning", self._name))

    def _changed(self, *_: Any) -> None:
        for index in range(self.node.GetNumberOfIncomingMRMLNodes()):
            volume = self.node.GetIncomingMRMLNode(index)
            if volume is None or not volume.IsA("vtkMRMLVolumeNode") or volume.GetImageData() is None:
                continue
            changed = volume.GetImageData().GetMTime()
            if self._seen.get(volume.GetID()) != changed:
                self._seen[volume.GetID()] = changed
                self._take(volume)

    def _take(self, volume: Any) -> None:
        pixels = arrayOf(volume)
        if pixels is None:
            return
        matrix = np.array(slicer.util.arrayFromVTKMatrix(ijkToRASOf(volume)), np.float64)
        names = [name for name in volume.GetAttributeNames() if name.startswith(PREFIX)]
        attributes = {name.removeprefix(PREFIX): volume.GetAttribute(name) for name in names}
        known = {name: value for name, value in attributes.items() if ATTRIBUTE_NAME.fullmatch(name)}
        try:
            self._push(pixels, matrix, volume.GetName(), {**known, "Device": volume.GetName()})
        except RealTimeImagingError as error:
            if str(error) not in self._troubles:
                self._troubles.add(str(error))
                text = f"An image of {volume.GetName()} was not taken: {error}"
                self._report(Event("not-usable", text, "warning", volume.GetName()))


class Connecting:
    """The connectors that run, each with the source through which its images go.

    :param start: starts a source.
    :param pushing: takes the images.
    :param report: takes events.
    """

    def __init__(
        self, start: Callable[[SourceSettings], Handle], pushing: Pushing, report: Callable[[Event], None]
    ) -> None:
        self._start, self._pushing, self._report = start, pushing, report
        self._running: list[tuple[Handle, Connector]] = []

    def start(self, settings: OpenIGTLinkSettings, stop: Callable[[Handle], None]) -> Handle:
        """Start a connector and its source.

        :param stop: stops the source again when the connector cannot be started.
        :raises SettingsError: the extension is not installed, or the connector refuses to start.
        """
        if not connectorAvailable():
            raise SettingsError("The extension SlicerOpenIGTLink is not installed; choose the engine of this module.")
        handle = self._start(PushSettings(settings.stream))
        handle.asked = settings
        try:
            self._running.append((handle, Connector(settings, self._take, self._report)))
        except SettingsError:
            stop(handle)
            raise
        return handle

    def stop(self, handle: Handle | None = None) -> None:
        """Stop the connector of this source, or all."""
        for pair in list(self._running):
            if handle in (None, pair[0]):
                self._running.remove(pair)
                pair[1].close()

    def changed(self) -> None:
        """A source may have ended."""
        for handle, _ in list(self._running):
            if handle.ended:
                self.stop(handle)

    def _take(self, pixels: Pixels, ijkToRAS: Matrix, name: str, attributes: Mapping[str, str]) -> None:
        self._pushing.push(imageOf(pixels, ijkToRAS, None, pixels.ndim == 4, attributes), name)
