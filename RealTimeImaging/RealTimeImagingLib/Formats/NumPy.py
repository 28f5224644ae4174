"""NumPy arrays (.npy), as numpy.save writes them. The format: NumPy's documentation, numpy.lib.format."""

from __future__ import annotations

import ast
import operator
import struct
from typing import Any

import numpy as np

from ..Model.Errors import FrameError, NotAnImageError
from ..Model.Frame import SHAPES, Matrix, pictureToRAS, shownType
from ..Model.Text import textsOf
from .ImageFile import VolumeFile, Volumes
from .Raw import RawBytes, readStart

_ = textsOf(__file__)

NUMPY_MARK = b"\x93NUMPY"
_LONGEST = 10_000
"""Most bytes of a header, as in NumPy; an array of one type needs some 100."""


class NumPy(VolumeFile):
    """Reader of .npy files. Axes are those of ``logic.push``, slowest first.

    (rows, columns), (slices, rows, columns), or (volumes, slices, rows, columns), each with 3 or 4 colour components
    behind in arrays of uint8. A picture is centred in the axial plane with pixels of 1 mm; volumes have the identity.
    Arrays in Fortran order are transposed. Arrays of Python objects are rejected: reading them would run their code.
    """

    title = "NumPy"

    def _declared(self) -> Volumes | str:
        data = readStart(self.path, _LONGEST)
        if data[: len(NUMPY_MARK)] != NUMPY_MARK[: len(data)]:
            if any(data):
                raise NotAnImageError(_("A NumPy file begins with \\x93NUMPY; this file does not."))
            data = b""
        # The length of the header has 2 bytes in version 1 of the format, 4 in the later versions.
        kind, before = ("<H", 10) if data[6:7] <= b"\1" else ("<I", 12)
        end = before + struct.unpack_from(kind, data, 8)[0] if len(data) >= before else before
        if end > _LONGEST:
            text = _("The file begins with the length {size:,} of its header, more than the limit of {limit:,} bytes.")
            raise NotAnImageError(text.format(size=end, limit=_LONGEST), "damaged")
        if len(data) < end:
            return _("The header has {size:,} bytes so far, of at least {all:,}.").format(size=len(data), all=end)
        dtype, fortran, shape = _fields(data[before:end])
        roles = _rolesOf(shape, dtype)
        matrix: Matrix = np.eye(4)
        if "k" not in roles:
            matrix = pictureToRAS(shape[roles.index("i")], shape[roles.index("j")])
        if fortran:
            shape, roles = shape[::-1], roles[::-1]
        return Volumes(RawBytes(self.path, end), dtype, shape, roles, matrix)


def _fields(header: bytes) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    try:
        fields = ast.literal_eval(header.decode("utf-8"))
        dtype = np.lib.format.descr_to_dtype(fields["descr"])
        shape = tuple(map(operator.index, fields["shape"]))
        fortran = bool(fields["fortran_order"])
    except Exception as error:  # Python's parser and NumPy do not document their exceptions on damaged text
        text = _("The header declares no type, order and shape of an array: {header}.")
        raise NotAnImageError(text.format(header=repr(header.strip()[:80].decode("latin-1"))), "damaged") from error
    if dtype.hasobject:
        text = _("The file holds Python objects, which are not read: reading them would run their code.")
        raise NotAnImageError(text, "unsupported")
    try:
        shownType(dtype)
    except FrameError as error:
        raise NotAnImageError(str(error), "unsupported") from error
    return dtype, fortran, shape


def _rolesOf(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    colour = len(shape) > 2 and shape[-1] in (3, 4) and dtype == np.uint8
    spatial = len(shape) - colour
    if not 2 <= spatial <= 4:
        text = _("An image has the shape {SHAPES}, or volumes of these, not {shape}.")
        raise NotAnImageError(text.format(SHAPES=SHAPES, shape=shape), "unsupported")
    return "tkji"[4 - spatial :] + ("c" if colour else "")
