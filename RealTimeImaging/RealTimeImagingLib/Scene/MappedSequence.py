"""Volumes and sequences whose voxels stay in their file until they are viewed."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
import time
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import slicer

from ..Model.Frame import Matrix, Pixels, componentsOf, describe
from ..Recording import RecordedPart
from ..Recording.Layout import HEADER
from .Nodes import imageOver, plain, timeSequence, vtkMatrix
from .WindowLevel import displayWindow


def mapPrivately(path: str, size: int, offset: int = 0) -> Any:
    """Map a file into memory, copy-on-write, until the memory is no longer referenced.

    Python's mmap keeps a file open for each mapping, and a recording of many streams would reach the limit of open
    files. On Linux and macOS this mapping keeps no file open.

    :param offset: a multiple of mmap.ALLOCATIONGRANULARITY.
    :raises OSError: the file cannot be mapped.
    """
    with open(path, "rb") as file:
        if sys.platform != "win32" and size > 0:
            flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE
            return _mapWithoutFile(file.fileno(), size, offset, flags)
        return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY, offset=offset)


def _mapWithoutFile(handle: int, size: int, offset: int, flags: tuple[int, int]) -> Any:
    if os.fstat(handle).st_size < offset + size:
        raise OSError(errno.EINVAL, "it is shorter than its header declares")
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64]
    library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    address = library.mmap(None, size, *flags, handle, offset)
    if address in (None, ctypes.c_void_p(-1).value):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    memory = (ctypes.c_ubyte * size).from_address(address)
    ending = weakref.finalize(memory, library.munmap, address, size)
    ending.atexit = False  # type: ignore[misc]
    return memory


def addMappedVolume(
    scene: Any,
    path: str,
    offset: int,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    ijkToRAS: Matrix,
    attributes: Mapping[str, str],
) -> Any:
    """Return a volume node whose voxels are mapped from a raw file, in a short time for any size.

    Writing into the node changes the memory and not the file.

    :param offset: of the first voxel, bytes.
    :param dtype: with its byte order; voxels of another byte order than the machine's are read and converted.
    :param shape: (k, j, i) or (k, j, i, components).
    :param ijkToRAS: 4x4 float64.
    :raises OSError: the file cannot be mapped.
    """
    memory = mapPrivately(path, os.path.getsize(path))
    count = int(np.prod(shape))
    flat: Pixels = np.frombuffer(memory, np.uint8, count * dtype.itemsize, offset)
    # A header can have any length, and VTK's arrays need an aligned start.
    pixels = (flat if offset % dtype.itemsize == 0 else flat.copy()).view(dtype).reshape(shape)
    if not dtype.isnative:
        pixels = pixels.astype(dtype.newbyteorder("="))
    kind = "vtkMRMLVectorVolumeNode" if len(shape) == 4 else "vtkMRMLScalarVolumeNode"
    name = os.path.basename(path).removesuffix(".nrrd")
    node = scene.AddNewNodeByClass(kind, scene.GenerateUniqueName(name))
    # Without an image yet: Slicer would compute its histogram, which reads the whole file.
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetAutoWindowLevel(False)
    node.SetIJKToRASMatrix(vtkMatrix(ijkToRAS))
    for key, value in attributes.items():
        node.SetAttribute(key, value)
    node.SetAndObserveImageData(imageOver(pixels))
    window = displayWindow(pixels[shape[0] // 2 :][:1]) or displayWindow(pixels)
    if window:
        node.GetDisplayNode().SetWindowLevel(*window)
    return node


def addReadSequence(scene: Any, sequencesLogic: Any, path: str) -> Any:
    """Return a sequence browser with a ``.seq.nrrd``, read by Slicer's own reader; None when it cannot read the file.

    :param sequencesLogic: slicer.modules.sequences.logic().
    """
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeSequenceStorageNode")
    storage.SetFileName(path)
    name = os.path.basename(path).removesuffix(".seq.nrrd")
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", scene.GenerateUniqueName(name))
    if not storage.ReadData(sequence):
        scene.RemoveNode(sequence)
        scene.RemoveNode(storage)
        return None
    sequence.SetAndObserveStorageNodeID(storage.GetID())
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", scene.GenerateUniqueName(f"{name} browser"))
    browser.AddSynchronizedSequenceNode(sequence)
    sequencesLogic.UpdateProxyNodesFromSequences(browser)
    slicer.modules.sequences.showSequenceBrowser(browser)
    return browser


RECORDED_STREAM_ATTRIBUTE = "RecordingStream"
"""Attribute of the sequence node with the name of the recorded stream."""
PART_ATTRIBUTE = "RecordingPart"
"""Attribute of the sequence node with the number of the part; Slicer's own reader sets it, too."""
CHUNK = 1 << 30
"""Bytes of one mapping: the system refuses a private mapping of more than the free memory."""


class MappedSequence:
    """Sequence of recorded frames, built in steps. Pixels stay in their file, so a recording may exceed the memory.

    Writing into a node changes neither the item nor the file: the mapping is private.

    :param part: the recorded frames.
    :param shift: seconds to add to the index: recordings of several processes begin at different times.
    """

    def __init__(self, part: RecordedPart, shift: float = 0.0) -> None:
        self.part, self._shift = part, shift
        self.node = timeSequence(os.path.basename(part.path).removesuffix(HEADER))
        self.node.SetAttribute(RECORDED_STREAM_ATTRIBUTE, plain(part.stream))
        self.node.SetAttribute(PART_ATTRIBUTE, str(part.part))
        for name, value in part.attributes.items():
            self.node.SetAttribute(name, plain(value))
        self._mapped: tuple[int, int, Any] | None = None
        self.built = 0
        """Number of frames that are added."""

    def step(self, until: float) -> bool:
        """Add frames until a time; return True when all are added.

        :param until: as of time.perf_counter().
        :raises OSError: the file of pixels is missing or cannot be mapped.
        """
        modifying = self.node.StartModify()
        try:
            while self.built < self.part.count and time.perf_counter() < until:
                self._add(self.built)
                self.built += 1
        finally:
            self.node.EndModify(modifying)
        return self.built == self.part.count

    def _add(self, index: int) -> None:
        part, entry = self.part, self.part.frames[index]
        pixels = self._pixels(index)
        colour = componentsOf(part.shape) > 1
        prototype = slicer.vtkMRMLVectorVolumeNode() if colour else slicer.vtkMRMLScalarVolumeNode()
        item = self.node.SetDataNodeAtValue(prototype, f"{part.times[index] + self._shift:.6f}")
        item.SetIJKToRASMatrix(vtkMatrix(entry["ijkToRAS"]))
        known = describe(entry["attributes"], entry["number"], entry["receiveTime"], entry["deviceTime"])
        for name, value in known.items():
            item.SetAttribute(name, plain(value))
        item.SetAndObserveImageData(imageOver(pixels))

    def _pixels(self, index: int) -> Pixels:
        part, size = self.part, self.part.frameBytes
        start = part.offset(index)
        if self._mapped is None or start + size > self._mapped[1]:
            first = start - start % mmap.ALLOCATIONGRANULARITY
            end = min(part.count * size, max(first + CHUNK, start + size))
            self._mapped = (first, end, mapPrivately(part.rawPath, end - first, first))
        first, _, memory = self._mapped
        flat: Pixels = np.frombuffer(memory, np.uint8, size, start - first)
        pixels = flat.view(part.dtype).reshape(part.shape)
        return pixels if part.dtype.isnative else pixels.astype(part.dtype.newbyteorder("="))
