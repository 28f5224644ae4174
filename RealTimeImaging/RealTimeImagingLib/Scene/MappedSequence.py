"""A part of a recording as a sequence node whose frames are mapped from the file."""

from __future__ import annotations

import mmap
import os
import time
from typing import Any

import numpy as np
import slicer
import vtk

from ..Frame import Pixels, componentsOf, describe
from ..Recording import RecordedPart
from .MappedImage import imageOver, mapPrivately
from .PlainText import plain

HEADER = ".seq.nhdr"
RECORDED_STREAM_ATTRIBUTE = "RecordingStream"
"""Attribute of the sequence node with the name of the recorded stream."""
CHUNK = 1 << 30
"""Bytes mapped at once: a private mapping of more than the free memory is refused."""
TOLERANCE = 1e-7
"""Of the index, in seconds; Slicer's own is a millisecond, within which frames would replace each other."""


class MappedSequence:
    """Built in pieces; nothing is loaded, so that a recording larger than memory is there at once.

    Writing into a node changes neither the item nor the file: the mapping is private.

    :param part: the frames; their pixels in the machine's byte order.
    :param shift: seconds to add to the index, for recordings that began at different times.
    """

    def __init__(self, part: RecordedPart, shift: float = 0.0) -> None:
        self.part, self._shift = part, shift
        self.node = slicer.vtkMRMLSequenceNode()
        self.node.SetName(plain(os.path.basename(part.path).removesuffix(HEADER)))
        self.node.SetIndexName("time")
        self.node.SetIndexUnit("s")
        self.node.SetIndexType(self.node.NumericIndex)
        self.node.SetNumericIndexValueTolerance(TOLERANCE)
        self.node.SetAttribute(RECORDED_STREAM_ATTRIBUTE, plain(part.stream))
        self.node.SetAttribute("RecordingPart", str(part.part))
        for name, value in part.attributes.items():
            self.node.SetAttribute(name, plain(value))
        self._mapped: tuple[int, int, Any] | None = None
        self.built = 0
        """Frames that are there."""

    def step(self, until: float) -> bool:
        """Add frames until then (time.perf_counter()); True when all are there.

        :raises OSError: the file of pixels is gone or cannot be mapped.
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
        matrix = vtk.vtkMatrix4x4()
        matrix.DeepCopy(entry["ijkToRAS"].ravel().tolist())
        item.SetIJKToRASMatrix(matrix)
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
