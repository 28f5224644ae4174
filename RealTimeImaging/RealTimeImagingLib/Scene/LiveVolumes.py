"""Live volumes: the newest frame of each stream in one persistent volume node, updated in place."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

import numpy as np

from ..Model.Errors import SettingsError
from ..Model.Frame import ATTRIBUTE_NAME, Frame, Matrix, Pixels
from ..Model.Signal import Signal
from .Nodes import arrayOf, ijkToRASOf, imageAndScalars, imageOf, matrixOf, scalarsArray, vtkMatrix
from .Planes import FollowedPlane
from .Views import ALL_VIEWS, NO_VIEW, Views, layersOf, setVolumeIn
from .WindowLevel import REFINED, FirstImages, displayWindow

STREAM_ATTRIBUTE = "RealTimeImaging.Stream"
"""Node attribute with the stream's name. It identifies the node in the next session and in a loaded scene."""


class Change(Enum):
    """Change by a frame besides the pixels: none, a new geometry, or a new node."""

    NONE = "none"
    MOVED = "moved"
    MADE = "made"


class LiveVolume:
    """Volume node of one stream.

    The first frame creates the node. It is reused as long as it is in the scene. When a stream changes between scalar
    and colour, a node of the other class replaces it.

    :param scene: the MRML scene.
    :param stream: name of the stream and of the node.
    :param find: returns the node of a stream from a loaded scene or an earlier session, or None.
    :param clock: returns monotonic seconds.
    """

    def __init__(
        self,
        scene: Any,
        stream: str,
        find: Callable[[str], Any],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._scene, self._stream, self._findNode = scene, stream, find
        self._node: Any = None
        self._first = FirstImages(clock)
        self._described: set[str] = set()
        self._wanted, self._got = b"", ()
        self.always = False
        """True: window and level are set from every frame."""

    @property
    def node(self) -> Any:
        """The vtkMRMLScalarVolumeNode or vtkMRMLVectorVolumeNode; None before the first frame and after its removal."""
        if self._node is not None and self._node.GetScene() is not self._scene:
            self._node = None
        if self._node is None:
            self._node = self._findNode(self._stream)
        return self._node

    def show(self, frame: Frame) -> Change:
        """Put a frame into the node.

        Pixels of the same size and type are copied into the node's own array. Observers see one ImageDataModifiedEvent
        and one ModifiedEvent.
        """
        old = self.node
        made = old is None or _isColour(old) != (frame.components > 1)
        node = self._make(frame, old) if made else old
        moved = not self._isAt(node, frame.ijkToRAS)
        # Geometry and pixels cause one event.
        modifying = node.StartModify()
        if moved:
            self._place(node, frame.ijkToRAS)
        image, scalars = imageAndScalars(node)
        view = None if scalars is None else scalarsArray(image, scalars)
        if view is not None and view.shape == frame.pixels.shape and view.dtype == frame.pixels.dtype:
            np.copyto(view, frame.pixels)
            scalars.Modified()
            image.Modified()
        else:
            if view is None or view.dtype != frame.pixels.dtype:
                self._first.restart()
            moved = moved or view is None or view.shape[:3] != frame.pixels.shape[:3]
            node.SetAndObserveImageData(imageOf(frame.pixels))
        self._describe(node, frame.described())
        self._window(node, frame.pixels)
        node.Modified()
        node.EndModify(modifying)
        if made and old is not None:
            # The node has its image by now: views may draw during the replacement.
            self._replace(old, node)
        if made:
            return Change.MADE
        return Change.MOVED if moved else Change.NONE

    def _isAt(self, node: Any, ijkToRAS: Matrix) -> bool:
        # The node stores directions, spacing and origin. Their product differs from the set matrix in the last digits.
        return ijkToRAS.tobytes() == self._wanted and ijkToRASOf(node).GetData() == self._got

    def _place(self, node: Any, ijkToRAS: Matrix) -> None:
        node.SetIJKToRASMatrix(vtkMatrix(ijkToRAS))
        self._wanted, self._got = ijkToRAS.tobytes(), ijkToRASOf(node).GetData()

    def _describe(self, node: Any, attributes: dict[str, str]) -> None:
        for name in self._described - attributes.keys():
            node.RemoveAttribute(name)
        for name, value in attributes.items():
            node.SetAttribute(name, value)
        self._described = set(attributes)

    def setWindow(self) -> None:
        """Set window and level from the current image, and keep them."""
        node = self.node
        pixels = None if node is None else arrayOf(node)
        found = None if pixels is None else displayWindow(pixels)
        if found and node.GetDisplayNode():
            _setWindow(node.GetDisplayNode(), found)
            self._first.end()

    def forgetWindow(self) -> None:
        """Set window and level again from the next frames."""
        self._first.restart()

    def _window(self, node: Any, pixels: Pixels) -> None:
        display = node.GetDisplayNode()
        if display is None or not (self.always or self._first.wanted(_windowOf(display))):
            return
        found = displayWindow(pixels)
        if found is None:
            return
        _setWindow(display, found if self.always else self._first.add(found))
        if self.always:
            self._first.end()
        else:
            self._first.isSet(_windowOf(display))

    def _make(self, frame: Frame, old: Any) -> Any:
        node = self._scene.CreateNodeByClass(_className(frame))
        node.UnRegister(None)
        node.SetName(self._stream if old else _freeName(self._scene, self._stream))
        node.SetAttribute(STREAM_ATTRIBUTE, self._stream)
        self._scene.AddNode(node)
        # Without an image yet: Slicer would compute its histogram, which takes longer than showing it.
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetAutoWindowLevel(False)
        # With Slicer's default storage node, a saved volume loses its attributes.
        storage = self._scene.AddNewNodeByClass("vtkMRMLNRRDStorageNode")
        node.SetAndObserveStorageNodeID(storage.GetID())
        self._first.restart()
        self._node = node
        return node

    def _replace(self, old: Any, node: Any) -> None:
        for composite, layer in layersOf(self._scene, old.GetID()):
            setVolumeIn(composite, layer, node.GetID())
        for index in reversed(range(old.GetNumberOfDisplayNodes())):
            self._scene.RemoveNode(old.GetNthDisplayNode(index))
        self._scene.RemoveNode(old)


def _windowOf(display: Any) -> tuple[float, float] | None:
    """Return (window, level) of a display node; None while Slicer's automatic window/level is on."""
    return None if display.GetAutoWindowLevel() else (display.GetWindow(), display.GetLevel())


def _setWindow(display: Any, window: tuple[float, float]) -> None:
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(*window)


def _freeName(scene: Any, name: str) -> str:
    """Return the stream's name, made unique among volumes. Other nodes may have the same name."""
    found = scene.GetNodesByName(name)
    found.UnRegister(None)
    nodes = (found.GetItemAsObject(index) for index in range(found.GetNumberOfItems()))
    taken = any(node.IsA("vtkMRMLVolumeNode") for node in nodes)
    return str(scene.GenerateUniqueName(name)) if taken else name


def _className(frame: Frame) -> str:
    return "vtkMRMLScalarVolumeNode" if frame.components == 1 else "vtkMRMLVectorVolumeNode"


def _isColour(node: Any) -> bool:
    return bool(node.IsA("vtkMRMLVectorVolumeNode"))


class LiveVolumes:
    """Live volumes, one for each stream.

    :param scene: the MRML scene.
    :param views: the slice views.
    :param clock: returns monotonic seconds.
    """

    def __init__(self, scene: Any, views: Views, clock: Callable[[], float] = time.perf_counter) -> None:
        self._scene, self._views, self._clock = scene, views, clock
        self._volumes: dict[str, LiveVolume] = {}
        self._chosen: dict[str, str] = {}
        self._suggested: dict[str, str] = {}
        self._placed: dict[str, str] = {}
        self._fitUntil: dict[str, float] = {}
        self._following: dict[str, FollowedPlane] = {}
        self._always = False
        self._stored: dict[str | None, str] | None = None
        self.onShown: Signal[[str]] = Signal()
        """Emitted with a stream's name when its node has a new image, before the views are chosen."""

    def show(self, frame: Frame) -> set[str] | None:
        """Put a frame into its stream's node, and the first frame after a start also into the views.

        Returns the names of the views that will draw it; None when a view moved, so that all views draw.
        """
        volume = self.volume(frame.stream)
        change = volume.show(frame)
        moved = False
        self.onShown.emit(frame.stream)
        if frame.stream not in self._placed:
            self._placed[frame.stream] = self.where(frame.stream)
            self._fitUntil[frame.stream] = self._clock() + REFINED
            self._views.show(volume.node, self._placed[frame.stream])
        elif change is Change.MADE:
            self._views.show(volume.node, self._placed[frame.stream])
        elif change is Change.MOVED and self._clock() < self._fitUntil[frame.stream]:
            # The first image may have had another size or position.
            moved = self._views.fitAgain(volume.node)
        if frame.stream in self._following:
            moved = self._views.takePlane(volume.node, self._following[frame.stream]) or moved
        if change is not Change.NONE:
            moved = self._views.follow(volume.node) or moved
        return None if moved else self._views.drawing(volume.node)

    def volume(self, stream: str) -> LiveVolume:
        """Return the live volume of a stream; create it if necessary."""
        if stream not in self._volumes:
            self._volumes[stream] = LiveVolume(self._scene, stream, self._find, self._clock)
            self._volumes[stream].always = self._always
        return self._volumes[stream]

    def where(self, stream: str) -> str:
        """Return the views of a stream: "all", "none" or the name of a view.

        The user's choice comes first, then the suggestion. Otherwise the first stream after a start is in all views,
        and further streams are in none.
        """
        if stream in self._placed:
            return self._placed[stream]
        chosen = self._chosen.get(stream) or self._suggested.get(stream)
        return chosen or (NO_VIEW if self._placed else ALL_VIEWS)

    def suggest(self, stream: str, where: str) -> None:
        """Suggest views for a stream, as long as the user chooses none.

        :param where: "all", "none" or the name of a view; empty for no suggestion.
        """
        self._suggested[stream] = where

    def setWhere(self, stream: str, where: str) -> None:
        """Show a stream in "all" views, in "none", or in the slice view of this name.

        :raises SettingsError: there is no such view.
        """
        self._checkView(where, ALL_VIEWS, NO_VIEW)
        self._chosen[stream] = where
        node = self.volume(stream).node
        if node is not None:
            self._placed[stream] = where
            self._fitUntil[stream] = self._clock()
            self._views.show(node, where)
            self._views.follow(node)

    def following(self, stream: str) -> str | None:
        """Return the name of the view that follows the plane of a stream's images, or None."""
        return self._following[stream].view if stream in self._following else None

    def setFollowing(self, stream: str, view: str | None) -> None:
        """Turn a view into the plane of every image of a stream. The view follows one stream.

        Otherwise images turn only views in which they would be invisible.

        :param view: name of the view; None ends it.
        :raises SettingsError: there is no such view.
        """
        if view is not None:
            self._checkView(view)
        for name in [name for name, followed in self._following.items() if name == stream or followed.view == view]:
            del self._following[name]
        if view is not None:
            self._following[stream] = FollowedPlane(view)
            node = self.volume(stream).node
            if node is not None:
                self._views.takePlane(node, self._following[stream])

    def _checkView(self, name: str, *others: str) -> None:
        known = [*others, *self._views.names()]
        if name not in known:
            raise SettingsError(f"There is no view {name}; there are {', '.join(known)}.")

    def images(self, stream: str | None = None) -> Iterator[tuple[str, Pixels, Matrix, dict[str, str]]]:
        """Yield stream, pixels, IJKToRAS and attributes of the current image of one stream, or of all.

        :param stream: None: all streams that were shown since the first of the running sources started.
        """
        for name in [stream] if stream else list(self._placed):
            node = self.volume(name).node
            pixels = None if node is None else arrayOf(node)
            if pixels is not None:
                values = {key: node.GetAttribute(key) for key in node.GetAttributeNames()}
                known = {key: value for key, value in values.items() if ATTRIBUTE_NAME.fullmatch(key)}
                known.pop(STREAM_ATTRIBUTE, None)
                yield name, pixels, matrixOf(ijkToRASOf(node)), known

    def setWindow(self, stream: str | None = None) -> None:
        """Set window and level of one stream, or of all, from the current image."""
        for name in [stream] if stream else list(self._placed):
            self.volume(name).setWindow()

    def setAlways(self, always: bool) -> None:
        """Set window and level from every frame of every stream.

        :param always: False sets them from the first images only.
        """
        self._always = always
        for volume in self._volumes.values():
            volume.always = always

    def lookAgain(self) -> None:
        """Search the nodes of streams again after a scene was loaded."""
        self._stored = None

    def _find(self, stream: str) -> Any:
        # One search serves all streams: a search for each of many streams would take too long.
        if self._stored is None:
            nodes = self._scene.GetNodesByClass("vtkMRMLScalarVolumeNode")
            nodes.UnRegister(None)
            found = [nodes.GetItemAsObject(index) for index in range(nodes.GetNumberOfItems())]
            # Of nodes with the same stream, the first is used.
            self._stored = {node.GetAttribute(STREAM_ATTRIBUTE): node.GetID() for node in reversed(found)}
        node = self._scene.GetNodeByID(self._stored.get(stream, ""))
        return node if node is not None and node.GetAttribute(STREAM_ATTRIBUTE) == stream else None

    def prepare(self, anew: bool) -> None:
        """Prepare for the first source of a run: the next frame of each stream puts its volume into the views.

        :param anew: True sets window and level from the first images of this run.
        """
        self._placed.clear()
        self.lookAgain()
        if anew:
            for volume in self._volumes.values():
                volume.forgetWindow()

    def forget(self) -> None:
        """Forget all nodes after the scene was closed."""
        self._volumes.clear()
        self._placed.clear()
        self._following.clear()
        self.lookAgain()
