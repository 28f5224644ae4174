"""Converted NRRD files: raw, with an attached header; one volume, or a sequence that Slicer opens."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..Formats.NRRD import END, Header, composeFields, escaped, vectorOf
from ..Formats.TextHeader import LONGEST
from ..Formats.TextHeader import readHeader as readText
from ..Model.Errors import ConversionError, NotAnImageError
from ..Model.Files import decodedText
from ..Model.Frame import ATTRIBUTE_NAME, LPS_TO_RAS, Matrix
from ..Model.Text import textsOf
from ..Recording.Header import indexValues

_ = textsOf(__file__)

_ALIGNED = 64
"""The offset of the voxels is a multiple of this number of bytes."""


def composeHeader(
    dtype: np.dtype[np.generic],
    shape: Sequence[int],
    ijkToLPS: Matrix,
    count: int | None,
    times: Sequence[float] | None,
    pairs: Mapping[str, str],
) -> bytes:
    """Return the bytes before the voxels.

    :param shape: (k, j, i) or (k, j, i, components) of one volume.
    :param ijkToLPS: 4x4 float64, millimetres; the axes need not be perpendicular.
    :param count: number of volumes in a sequence; None for a single volume.
    :param times: seconds of each volume since the first; None: the volumes are numbered.
    :param pairs: keys and values; names that NRRD cannot store are left out.
    """
    axis = "", ""
    keys: dict[str, str] = {}
    if count is not None:
        unit, values = indexValues(times) if times else ("", [str(number) for number in range(count)])
        axis = "time" if unit else "volume", unit
        keys = {
            "DataNodeClassName": "vtkMRMLVectorVolumeNode" if len(shape) > 3 else "vtkMRMLScalarVolumeNode",
            # Slicer names the axis of the volumes 3, even where it is 4 behind an axis of components.
            "axis 3 index type": "numeric",
            "axis 3 index values": " ".join(values),
        }
    fields = composeFields(dtype, shape, ijkToLPS, count, axis)
    keys |= {name: value for name, value in pairs.items() if ATTRIBUTE_NAME.fullmatch(name)}
    lines = [*fields, *(f"{name}:={escaped(value)}" for name, value in keys.items())]
    text = "\n".join(lines).encode("utf-8", "replace")
    # A comment aligns the voxels, as memory mapping requires.
    return text + b"\n#" + b" " * (-(len(text) + 4) % _ALIGNED) + b"\n\n"


class Converted(NamedTuple):
    """Header of a converted file, see :func:`composeHeader`.

    :param offset: offset of the first voxel, bytes.
    :param dtype: type of the voxels, with its byte order.
    :param shape: (k, j, i) or (k, j, i, components) of one volume.
    :param volumes: number of volumes in a sequence; None for a single volume.
    :param ijkToRAS: 4x4 float64, millimetres.
    :param pairs: keys and values.
    """

    offset: int
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    volumes: int | None
    ijkToRAS: Matrix
    pairs: dict[str, str]


def readHeader(path: str) -> Converted:
    """Read the header of a converted file, also of a tilted one, which :class:`Formats.NRRD.NRRD` rejects.

    :raises ConversionError: the file is no result of a conversion.
    :raises OSError: the file cannot be read.
    """
    matrix = np.eye(4)
    try:
        data, offset, whole = readText(path, END, LONGEST)
        header = Header(decodedText(data))
        dtype, sizes = header.dtype(), header.sizes()
        matrix[:3, :3] = np.array([axis for axis in header.directions() or [] if axis is not None]).T
        matrix[:3, 3] = vectorOf(header.field("space origin"))
        several = header.field("kinds").endswith("list")
        if not whole or header.encoding() != "raw" or header.field("space") != "left-posterior-superior":
            raise ValueError
    except (NotAnImageError, ValueError) as error:
        raise ConversionError(_("{path} is not the result of a conversion.").format(path=path)) from error
    volumes = sizes.pop() if several else None
    components = [sizes.pop(0)] if len(sizes) == 4 else []
    pairs = {name: value for name, value in header.pairs.items() if ATTRIBUTE_NAME.fullmatch(name)}
    return Converted(offset, dtype, (*reversed(sizes), *components), volumes, LPS_TO_RAS @ matrix, pairs)


_FLAGS = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
_KEEP_SIZE = 1
"""FALLOC_FL_KEEP_SIZE of linux/falloc.h: the file's size remains the number of written bytes."""


class Output:
    """An unfinished file; several processes may write pieces of it.

    :param truncate: begin with an empty file.
    """

    def __init__(self, path: str, truncate: bool) -> None:
        self._path = path
        self._handle = os.open(path, _FLAGS | (os.O_TRUNC if truncate else 0), 0o666)
        self.position = 0

    def reserve(self, begin: int, nbytes: int) -> None:
        """Reserve disk space where the system can: writing is faster, and a full disk is known before.

        :raises OSError: the disk has not enough space.
        """
        function = _fallocate()
        if function is None or not nbytes or function(self._handle, _KEEP_SIZE, begin, nbytes) == 0:
            return
        number = ctypes.get_errno()
        # File systems without this function are fine.
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OSError(number, os.strerror(number), self._path)

    def seek(self, position: int) -> None:
        """Set the position of the next write."""
        self.position = os.lseek(self._handle, position, os.SEEK_SET)

    def write(self, data: memoryview) -> None:
        """Write all bytes.

        :param data: view of bytes.
        :raises OSError: the disk does not take them.
        """
        while len(data):
            try:
                written = os.write(self._handle, data)
            except OSError as error:
                raise OSError(error.errno, error.strerror, self._path) from error
            self.position += written
            data = data[written:]

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)


@cache
def _fallocate() -> Any:
    # os.posix_fallocate() would change the file's size and, where it is not supported, write the whole file.
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None, use_errno=True)
    function = getattr(library, "fallocate64", None) or getattr(library, "fallocate", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return function
