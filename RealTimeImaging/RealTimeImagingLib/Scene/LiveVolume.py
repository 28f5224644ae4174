"""Live volume: the newest frame of one stream in one persistent volume node, updated in place."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np

from ..Model.Frame import Frame, Matrix, Pixels
from .Nodes import STREAM_ATTRIBUTE, arrayOf, ijkToRASOf, imageAndScalars, imageOf, itemsOf, scalarsArray, vtkMatrix
from .Views import layersOf, setVolumeIn
from .WindowLevel import ALWAYS, KEEP, ONCE, FirstImages, displayWindow


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
        self._windowMode = ONCE

    @property
    def node(self) -> Any:
        """The vtkMRMLScalarVolumeNode or vtkMRMLVectorVolumeNode; None before the first frame and after its removal."""
        if self._node is not None and self._node.GetScene() is not self._scene:
            self._node = None
        if self._node is None:
            self._node = self._findNode(self._stream)
        return self._node

    @property
    def windowMode(self) -> str:
        """The images that set window and level: KEEP, ONCE or ALWAYS. KEEP sets those of a new node only."""
        return self._windowMode

    @windowMode.setter
    def windowMode(self, mode: str) -> None:
        if mode == KEEP and self.node is not None:
            self._first.end()
        self._windowMode = mode

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
            if self._windowMode != KEEP and (view is None or view.dtype != frame.pixels.dtype):
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
        """Set window and level again from the next frames, unless they are kept."""
        if self._windowMode != KEEP:
            self._first.restart()
        elif self.node is not None:
            self._first.end()

    def _window(self, node: Any, pixels: Pixels) -> None:
        display = node.GetDisplayNode()
        always = self._windowMode == ALWAYS
        if display is None or not (always or self._first.wanted(_windowOf(display))):
            return
        found = displayWindow(pixels)
        if found is None:
            return
        _setWindow(display, found if always else self._first.add(found))
        if always:
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
    taken = any(node.IsA("vtkMRMLVolumeNode") for node in itemsOf(scene.GetNodesByName(name)))
    return str(scene.GenerateUniqueName(name)) if taken else name


def _className(frame: Frame) -> str:
    return "vtkMRMLScalarVolumeNode" if frame.components == 1 else "vtkMRMLVectorVolumeNode"


def _isColour(node: Any) -> bool:
    return bool(node.IsA("vtkMRMLVectorVolumeNode"))
