"""Texts, matrices, images and sequences of MRML nodes."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import get_vtk_array_type, vtk_to_numpy

from ..Link.WorkFolders import roots
from ..Model.Frame import Matrix, Pixels, componentsOf

STREAM_ATTRIBUTE = "RealTimeImaging.Stream"
"""Node attribute with the stream's name. It identifies the node in the next session and in a loaded scene."""
TOLERANCE = 1e-7
"""Of the index of a sequence, seconds. With Slicer's own, a millisecond, frames would replace each other."""

_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


# ---- texts


def plain(text: object) -> str:
    """Return the text with a question mark for each character that VTK or a scene file cannot hold."""
    return _UNFIT.sub("?", str(text))


def attributeName(name: str, reserved: str) -> str:
    """Return a name for a node attribute: letters, digits and ``_ . -`` only.

    :param reserved: prefix of names with another meaning.
    """
    made = re.sub(r"[^A-Za-z0-9_.-]+", "_", name) or "_"
    return f"_{made}" if made.startswith(reserved) else made


# ---- lists of nodes


def itemsOf(collection: Any) -> Iterator[Any]:
    """Yield the items of a vtkCollection that VTK made for the caller, as scene.GetNodesByClass() does."""
    collection.UnRegister(None)
    for index in range(collection.GetNumberOfItems()):
        yield collection.GetItemAsObject(index)


# ---- matrices


def vtkMatrix(matrix: Matrix) -> Any:
    """Return a 4x4 array as vtkMatrix4x4."""
    made = vtk.vtkMatrix4x4()
    made.DeepCopy(matrix.ravel().tolist())
    return made


def matrixOf(matrix: Any) -> Matrix:
    """Return a vtkMatrix4x4 as 4x4 float64."""
    return np.array(matrix.GetData(), dtype=np.float64).reshape(4, 4)


def ijkToRASOf(node: Any) -> Any:
    """Return a volume's IJKToRAS as vtkMatrix4x4, without transforms above the node."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def ijkToWorld(node: Any) -> Matrix | None:
    """Return a volume's 4x4 matrix from voxel indices to world (RAS, mm); None below a nonlinear transform."""
    parent = node.GetParentTransformNode()
    matrix = matrixOf(ijkToRASOf(node))
    if parent is None:
        return matrix
    if not parent.IsTransformToWorldLinear():
        return None
    toWorld = vtk.vtkMatrix4x4()
    parent.GetMatrixTransformToWorld(toWorld)
    return matrixOf(toWorld) @ matrix


# ---- images


def arrayOf(node: Any) -> Pixels | None:
    """Return a volume's own voxels, shape (k, j, i) or (k, j, i, components), without a copy; None without an image.

    Call it for each frame: another module may give the node another image.
    """
    image, scalars = imageAndScalars(node)
    return None if scalars is None else scalarsArray(image, scalars)


def imageAndScalars(node: Any) -> tuple[Any, Any]:
    """Return a volume's vtkImageData and vtkDataArray; None for what it does not have."""
    image = node.GetImageData()
    return image, image.GetPointData().GetScalars() if image else None


def scalarsArray(image: Any, scalars: Any) -> Pixels:
    """Return the voxels of an image without a copy."""
    # The buffer interface, as in numpy_support: vtk_to_numpy takes longer than all other work for a frame.
    components = scalars.GetNumberOfComponents()
    shape = tuple(reversed(image.GetDimensions()))
    array: Pixels = np.asarray(memoryview(scalars)).reshape(shape if components == 1 else (*shape, components))
    return array


def imageOf(pixels: Pixels) -> Any:
    """Return a vtkImageData with a copy of an array (k, j, i) or (k, j, i, components)."""
    # VTK allocates the array: an image over the frame's memory would outlive that memory.
    scalars = _scalarsFor(pixels)
    scalars.SetNumberOfTuples(pixels.size // componentsOf(pixels.shape))
    np.copyto(vtk_to_numpy(scalars).reshape(pixels.shape), pixels)
    return _imageWith(scalars, pixels)


def imageOver(pixels: Pixels) -> Any:
    """Return a vtkImageData over the memory of an array (k, j, i) or (k, j, i, components), which it keeps alive."""
    scalars = _scalarsFor(pixels)
    scalars.SetVoidArray(pixels, pixels.size, 1)
    # Proxy nodes share VTK's array, so the memory must live as long: an observer that is never called holds it.
    scalars.AddObserver(vtk.vtkCommand.UserEvent, _Holder(pixels))
    return _imageWith(scalars, pixels)


class _Holder:
    def __init__(self, held: Pixels) -> None:
        self._held = held

    def __call__(self, *_: Any) -> None:
        pass


def _scalarsFor(pixels: Pixels) -> Any:
    scalars = vtk.vtkDataArray.CreateDataArray(get_vtk_array_type(pixels.dtype))
    scalars.SetName("ImageScalars")
    scalars.SetNumberOfComponents(componentsOf(pixels.shape))
    return scalars


def _imageWith(scalars: Any, pixels: Pixels) -> Any:
    image = vtk.vtkImageData()
    image.SetDimensions(*reversed(pixels.shape[:3]))
    image.GetPointData().SetScalars(scalars)
    return image


# ---- sequences


def timeSequence(name: str) -> Any:
    """Return an empty vtkMRMLSequenceNode whose index is a time in seconds."""
    node = slicer.vtkMRMLSequenceNode()
    node.SetName(plain(name))
    node.SetIndexName("time")
    node.SetIndexUnit("s")
    node.SetIndexType(node.NumericIndex)
    node.SetNumericIndexValueTolerance(TOLERANCE)
    return node


def addToBrowser(browser: Any, pairs: Iterable[tuple[Any, Any]], sequencesLogic: Any) -> None:
    """Add sequences to a vtkMRMLSequenceBrowserNode in one change: each change takes time for every sequence in it.

    :param pairs: sequence and proxy node of each.
    :param sequencesLogic: slicer.modules.sequences.logic().
    """
    modifying = browser.StartModify()
    for node, proxy in pairs:
        browser.AddSynchronizedSequenceNode(node)
        browser.AddProxyNode(proxy, node, False)
    browser.EndModify(modifying)
    sequencesLogic.UpdateProxyNodesFromSequences(browser)


def markStored(storage: Any, item: Any, suffix: str, path: str) -> None:
    """Set the time at which a storage node has stored its sequence to now. Only reading and writing a file sets this
    time, so a small file is written.

    :param item: node that a sequence of this kind of storage node can hold.
    :param suffix: suffix of its files.
    :param path: file with the sequence in the scene.
    """
    sequence = slicer.vtkMRMLSequenceNode()
    sequence.SetDataNodeAtValue(item, "0")
    try:
        with tempfile.TemporaryDirectory(dir=roots()[0]) as folder:
            storage.SetFileName(os.path.join(folder, f"stored{suffix}"))
            storage.WriteData(sequence)
    except OSError:
        pass  # no space for temporary files: Slicer will ask to save the node although it is saved
    storage.SetFileName(path)
