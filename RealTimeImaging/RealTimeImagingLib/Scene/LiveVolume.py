"""The newest frame of a stream in one persistent volume node, updated in place."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import get_vtk_array_type, vtk_to_numpy

from ..Frame import Frame, Matrix, Pixels, componentsOf
from .Layers import layersOf, setVolumeIn
from .WindowLevel import FirstImages, displayWindow

STREAM_ATTRIBUTE = "RealTimeImaging.Stream"
"""Node attribute with the stream's name, by which the node is found again in the next session or a loaded scene."""


class Change(Enum):
    """What a frame changed beside the pixels: nothing, the geometry, or the node itself is new."""

    NONE = "none"
    MOVED = "moved"
    MADE = "made"


class LiveVolume:
    """One stream's volume node.

    The node is made with the first frame, and reused as long as it is in the scene. It is replaced by one of the other
    class when a stream turns from scalar to colour or back: Slicer has two classes for the two.

    :param scene: the MRML scene.
    :param stream: the stream's name, which becomes the node's.
    :param find: returns the node of a stream from a loaded scene or an earlier session, or None.
    :param clock: gives seconds, never backwards.
    """

    def __init__(
        self,
        scene: Any,
        stream: str,
        find: Callable[[str], Any] = lambda stream: None,
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
        """The vtkMRMLScalarVolumeNode or vtkMRMLVectorVolumeNode, None before the first frame or after its removal."""
        if self._node is not None and self._node.GetScene() is not self._scene:
            self._node = None
        if self._node is None:
            self._node = self._findNode(self._stream)
        return self._node

    def show(self, frame: Frame) -> Change:
        """Put a frame into the node.

        The pixels are copied into the node's own array where size and type are the same; observers see one
        ImageDataModifiedEvent and one ModifiedEvent.
        """
        old = self.node
        made = old is None or _isColour(old) != (frame.components > 1)
        node = self._make(frame, old) if made else old
        moved = not self._isAt(node, frame.ijkToRAS)
        # One event for geometry and pixels together.
        modifying = node.StartModify()
        if moved:
            self._place(node, frame.ijkToRAS)
        image, scalars = _imageAndScalars(node)
        view = None if scalars is None else _arrayOf(image, scalars)
        if view is not None and view.shape == frame.pixels.shape and view.dtype == frame.pixels.dtype:
            np.copyto(view, frame.pixels)
            scalars.Modified()
            image.Modified()
        else:
            if view is None or view.dtype != frame.pixels.dtype:
                self._first.restart()
            moved = moved or view is None or view.shape[:3] != frame.pixels.shape[:3]
            node.SetAndObserveImageData(_imageOf(frame.pixels))
        self._describe(node, frame.described())
        self._window(node, frame.pixels)
        node.Modified()
        node.EndModify(modifying)
        if made and old is not None:
            # Not before there is an image: views may draw in the middle of it.
            self._replace(old, node)
        if made:
            return Change.MADE
        return Change.MOVED if moved else Change.NONE

    def _isAt(self, node: Any, ijkToRAS: Matrix) -> bool:
        # The node keeps directions, spacing and origin, whose product differs in the last digits from what was set.
        return ijkToRAS.tobytes() == self._wanted and ijkToRASOf(node).GetData() == self._got

    def _place(self, node: Any, ijkToRAS: Matrix) -> None:
        node.SetIJKToRASMatrix(_vtkMatrix(ijkToRAS))
        self._wanted, self._got = ijkToRAS.tobytes(), ijkToRASOf(node).GetData()

    def _describe(self, node: Any, attributes: dict[str, str]) -> None:
        for name in self._described - attributes.keys():
            node.RemoveAttribute(name)
        for name, value in attributes.items():
            node.SetAttribute(name, value)
        self._described = set(attributes)

    def setWindow(self) -> None:
        """Set window and level from the frame that is shown, and keep them."""
        node = self.node
        pixels = None if node is None else arrayOf(node)
        found = None if pixels is None else displayWindow(pixels)
        if found and node.GetDisplayNode():
            _setWindow(node.GetDisplayNode(), found)
            self._first.end()

    def forgetWindow(self) -> None:
        """Set window and level anew from the next frames."""
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
        # Before there is an image: its histogram would be taken, which takes longer than showing it.
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetAutoWindowLevel(False)
        # Saved in the way that is the default, a volume would lose its attributes.
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


def arrayOf(node: Any) -> Pixels | None:
    """The node's own voxels, shape (k, j, i) or (k, j, i, components), without a copy; None when it has no image.

    Fetched anew for each frame: another module may have given the node another image.
    """
    image, scalars = _imageAndScalars(node)
    return None if scalars is None else _arrayOf(image, scalars)


def ijkToRASOf(node: Any) -> Any:
    """The node's IJKToRAS as vtkMatrix4x4, transforms not counted."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def _windowOf(display: Any) -> tuple[float, float] | None:
    """(window, level) of a display node; None when Slicer's automatic window/level is on."""
    return None if display.GetAutoWindowLevel() else (display.GetWindow(), display.GetLevel())


def _setWindow(display: Any, window: tuple[float, float]) -> None:
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(*window)


def _freeName(scene: Any, name: str) -> str:
    """The stream's name, made unique when another volume has it; nodes of other kinds may have the same name."""
    found = scene.GetNodesByName(name)
    found.UnRegister(None)
    nodes = (found.GetItemAsObject(index) for index in range(found.GetNumberOfItems()))
    taken = any(node.IsA("vtkMRMLVolumeNode") for node in nodes)
    return str(scene.GenerateUniqueName(name)) if taken else name


def _className(frame: Frame) -> str:
    return "vtkMRMLScalarVolumeNode" if frame.components == 1 else "vtkMRMLVectorVolumeNode"


def _isColour(node: Any) -> bool:
    return bool(node.IsA("vtkMRMLVectorVolumeNode"))


def _imageOf(pixels: Pixels) -> Any:
    # The array is allocated by VTK and filled: one that wraps the frame's memory would outlive it.
    components = componentsOf(pixels.shape)
    scalars = vtk.vtkDataArray.CreateDataArray(get_vtk_array_type(pixels.dtype))
    scalars.SetName("ImageScalars")
    scalars.SetNumberOfComponents(components)
    scalars.SetNumberOfTuples(pixels.size // components)
    np.copyto(vtk_to_numpy(scalars).reshape(pixels.shape), pixels)
    image = vtk.vtkImageData()
    image.SetDimensions(*reversed(pixels.shape[:3]))
    image.GetPointData().SetScalars(scalars)
    return image


def _vtkMatrix(matrix: np.ndarray[Any, Any]) -> Any:
    made = vtk.vtkMatrix4x4()
    made.DeepCopy(matrix.ravel().tolist())
    return made


def _imageAndScalars(node: Any) -> tuple[Any, Any]:
    image = node.GetImageData()
    return image, image.GetPointData().GetScalars() if image else None


def _arrayOf(image: Any, scalars: Any) -> Pixels:
    # Through the buffer interface, as numpy_support does, whose own way there takes longer than all else of a frame.
    components = scalars.GetNumberOfComponents()
    shape = tuple(reversed(image.GetDimensions()))
    array: Pixels = np.asarray(memoryview(scalars)).reshape(shape if components == 1 else (*shape, components))
    return array
