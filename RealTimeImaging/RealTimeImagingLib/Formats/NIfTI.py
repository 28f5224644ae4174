"""NIfTI-1 and NIfTI-2 in one file (.nii, .nii.gz) or in two (.hdr and .img), and Analyze 7.5."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..Model.Errors import NotAnImageError
from ..Model.Frame import SHEAR, Matrix
from ..Model.Text import textsOf
from .ImageFile import DEFAULT_LIMIT, VolumeFile, Volumes, angleError, sinceFirst
from .Inflate import Inflated, Streamed, isPacked
from .Pairs import voxelsOf
from .Raw import RawBytes, Stored, readStart
from .TextHeader import checkInside

_ = textsOf(__file__)

FIRST, SECOND = 348, 540
"""sizeof_hdr of NIfTI-1 (and Analyze), and of NIfTI-2."""

TYPES = {
    2: ("u1", 1),
    4: ("i2", 1),
    8: ("i4", 1),
    16: ("f4", 1),
    64: ("f8", 1),
    128: ("u1", 3),
    256: ("i1", 1),
    512: ("u2", 1),
    768: ("u4", 1),
    1024: ("i8", 1),
    1280: ("u8", 1),
    2304: ("u1", 4),
}
"""numpy type and components by datatype (nifti1.h, DT_*)."""
_REJECTED = {1: _("single bits"), 32: "complex64", 1536: "float128", 1792: "complex128", 2048: "complex256"}

_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}
_SECONDS = {8: 1.0, 16: 1e-3, 24: 1e-6}
_CIFTI_INTENTS = range(3000, 3100)
_MOST_VOLUMES = 1 << 20
_COLOUR_INTENTS = (1007, 2003, 2004)
"""NIFTI_INTENT_VECTOR, _RGB_VECTOR, _RGBA_VECTOR."""
_FIELDS = {
    "dim": ((40, "8h"), (16, "8q")),
    "intent_code": ((68, "h"), (504, "i")),
    "datatype": ((70, "h"), (12, "h")),
    "pixdim": ((76, "8f"), (104, "8d")),
    "vox_offset": ((108, "f"), (168, "q")),
    "scl_slope": ((112, "f"), (176, "d")),
    "scl_inter": ((116, "f"), (184, "d")),
    "xyzt_units": ((123, "B"), (500, "i")),
    "descrip": ((148, "80s"), (240, "80s")),
    "qform_code": ((252, "h"), (344, "i")),
    "sform_code": ((254, "h"), (348, "i")),
    "quatern": ((256, "3f"), (352, "3d")),
    "qoffset": ((268, "3f"), (376, "3d")),
    "srow": ((280, "12f"), (400, "12d")),
}
"""Name to offset and type in a NIfTI-1 header (nifti1.h), and in a NIfTI-2 header (nifti2.h)."""


class NIfTIHeader:
    """Fields of a NIfTI-1 header, and their meaning.

    :param order: byte order, "<" or ">".
    :param data: bytes of the header.
    :param paired: the voxels are in another file.
    """

    size = FIRST
    fields: Mapping[str, tuple[int, str]] = {name: first for name, (first, _) in _FIELDS.items()}
    """Name to offset and type."""
    types: Mapping[int, tuple[str, int]] = TYPES
    rounding = 1e-7
    """Largest deviation of a squared unit quaternion from 1 by rounding in the fields' type."""

    def __init__(self, order: str, data: bytes, paired: bool) -> None:
        self.order, self.paired = order, paired
        self._data = data

    def several(self, name: str) -> tuple[Any, ...]:
        """Return the numbers of a field."""
        offset, kinds = self.fields[name]
        return struct.unpack_from(self.order + kinds, self._data, offset)

    def one(self, name: str) -> Any:
        """Return the number of a field; 0 for a field that this kind of header lacks."""
        return self.several(name)[0] if name in self.fields else 0

    def offset(self, limit: int) -> int:
        """Return the offset of the voxels in their file.

        0 in a single file means the byte behind header and extension flag, 352 or 544 (nifti1.h, "DETAILS ABOUT
        vox_offset"). The library of nifti1.h takes 348 there.

        :raises NotAnImageError: code "damaged": the offset is inside the header, or larger than ``limit``.
        """
        least = 0 if self.paired else self.size
        offset = self.one("vox_offset")
        if not 0 <= offset <= limit or 0 < offset < least:
            text = _("The header puts the voxels at byte {offset:g}; byte {least} is the first possible one.")
            raise NotAnImageError(text.format(offset=offset, least=least), "damaged")
        return int(offset) or (least and least + 4)

    def volumes(self, stored: Stored) -> Volumes:
        """Return the volumes that the header declares, with the voxels in ``stored``.

        :raises NotAnImageError: the header is impossible, or Slicer cannot show the volumes.
        """
        dim = self.several("dim")
        if not 1 <= dim[0] <= 7:
            raise NotAnImageError(
                _("The header declares {dim} dimensions; 1 to 7 are possible.").format(dim=dim[0]), "damaged"
            )
        sizes = dim[1 : 1 + dim[0]]
        if min(sizes) < 1:
            text = _("The header declares the size {sizes}; each number is at least 1.")
            raise NotAnImageError(text.format(sizes=" x ".join(map(str, sizes))), "damaged")
        if self.one("intent_code") in _CIFTI_INTENTS:
            raise NotAnImageError(
                _(
                    "The file holds CIFTI data (intent {one}): values on brain surfaces and in single voxels, not "
                    "an image."
                ).format(one=self.one("intent_code")),
                "unsupported",
            )
        if math.prod(sizes[3:]) > _MOST_VOLUMES:
            raise NotAnImageError(
                _("The header declares {count:,} volumes, more than the limit of {limit:,}.").format(
                    count=math.prod(sizes[3:]), limit=_MOST_VOLUMES
                ),
                "too-large",
            )
        datatype = self.one("datatype")
        if datatype not in self.types:
            kind = _REJECTED.get(datatype)
            raise NotAnImageError(
                _("The voxels have {kind} (datatype {datatype}), which Slicer cannot show.").format(
                    kind=kind or _("an unknown type"), datatype=datatype
                ),
                "unsupported" if kind else "damaged",
            )
        name, components = self.types[datatype]
        shape, roles = tuple(reversed(sizes)), "ttttkji"[-len(sizes) :]
        if components > 1:
            shape, roles = (*shape, components), roles + "c"
        elif len(sizes) == 5 and sizes[4] in (3, 4) and name == "u1" and self.one("intent_code") in _COLOUR_INTENTS:
            roles = "c" + roles[1:]
        return Volumes(
            stored,
            np.dtype(self.order + name),
            shape,
            roles,
            self.matrix(),
            self.attributes(len(sizes) > 3 and sizes[3] > 1),
            scale=self.scale() if components == 1 and "c" not in roles else None,
            times=self.times(sizes),
        )

    def period(self) -> float | None:
        """Return the seconds from one volume to the next, None when the header does not state them."""
        unit, step = _SECONDS.get(self.one("xyzt_units") & 0x38), float(self.several("pixdim")[4])
        return step * unit if unit and math.isfinite(step) and step > 0 else None

    def times(self, sizes: Sequence[int]) -> list[float] | None:
        """Return the times (:attr:`ImageFile.times`) of volumes that differ in time only."""
        period = self.period()
        if period is None or len(sizes) < 4 or math.prod(sizes[4:]) > 1:
            return None
        return sinceFirst(number * period for number in range(sizes[3]))

    def scale(self) -> Matrix | None:
        """Return slope and intercept (nifti1.h, "DATA SCALING").

        None for a slope of 0 and, as in nibabel, for one that is not finite.
        """
        slope, inter = float(self.one("scl_slope")), float(self.one("scl_inter"))
        if slope == 0 or not math.isfinite(slope):
            return None
        if not math.isfinite(inter):
            raise NotAnImageError(_("The header's scl_inter is not a finite number."), "damaged")
        return None if (slope, inter) == (1, 0) else np.array([slope, inter])

    def attributes(self, series: bool) -> dict[str, str]:
        """Return Description, and TR for a series."""
        found = {}
        if text := bytes(self.one("descrip")).split(b"\0")[0].decode("utf-8", "replace").strip():
            found["Description"] = text
        if series and (period := self.period()):
            found["TR"] = f"{period:.6g}"
        return found

    def matrix(self) -> Matrix:
        """Return IJKToRAS in millimetres; without a unit of length, the numbers are millimetres."""
        if self.one("sform_code") > 0:
            matrix = np.array([*self.several("srow"), 0.0, 0.0, 0.0, 1.0]).reshape(4, 4)
            if self.one("qform_code") > 0 and angleError(matrix) > SHEAR:
                matrix = self._qform()
        elif self.one("qform_code") > 0:
            matrix = self._qform()
        else:
            spacing = self.spacing()
            matrix = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
        unit = _MILLIMETRES.get(self.one("xyzt_units") & 0x07, 1.0)
        if unit != 1.0:
            matrix[:3] *= unit
        return matrix

    def spacing(self) -> list[float]:
        """Return the spacing of i, j and k, 1 where the header has none, as for an axis of one voxel."""
        return [abs(value) if value and math.isfinite(value) else 1.0 for value in self.several("pixdim")[1:4]]

    def _qform(self) -> Matrix:
        # nifti1.h, "QUATERNION REPRESENTATION OF ROTATION MATRIX": a >= 0, qfac is the sign of k.
        b, c, d = (float(value) for value in self.several("quatern"))
        square = 1.0 - (b * b + c * c + d * d)
        if square < self.rounding:
            # Rounding may leave b, c, d slightly too long: a half turn, normalised as in nifti1_io.
            length = math.sqrt(b * b + c * c + d * d)
            a, b, c, d = 0.0, b / length, c / length, d / length
        else:
            a = math.sqrt(square)
        rotation = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
            ]
        )
        spacing = self.spacing()
        spacing[2] *= -1.0 if self.several("pixdim")[0] < 0 else 1.0
        matrix = np.eye(4)
        matrix[:3, :3] = rotation * spacing
        matrix[:3, 3] = self.several("qoffset")
        return matrix


class NIfTI2Header(NIfTIHeader):
    """NIfTI-2 header: the same fields, wider and in other places (nifti2.h)."""

    size = SECOND
    rounding = 1e-14
    fields: Mapping[str, tuple[int, str]] = {name: second for name, (_, second) in _FIELDS.items()}


class AnalyzeHeader(NIfTIHeader):
    """Analyze 7.5 header as SPM99 and SPM2 write it, and nibabel reads it.

    Programs do not agree on its orientation: here i runs to the left, j to the anterior, k to the superior (SPM's
    "radiological" default). SPM's origin (a voxel, counted from 1), or else the middle of the image, is at 0. Units are
    millimetres.
    """

    fields: Mapping[str, tuple[int, str]] = {
        **{name: NIfTIHeader.fields[name] for name in ("dim", "datatype", "pixdim", "vox_offset", "descrip")},
        **{name: NIfTIHeader.fields[name] for name in ("scl_slope", "scl_inter")},
        "cal_max": (124, "f"),
        "cal_min": (128, "f"),
        "glmax": (140, "i"),
        "glmin": (144, "i"),
        "origin": (253, "3h"),
    }
    types: Mapping[int, tuple[str, int]] = {
        **{code: TYPES[code] for code in (2, 4, 8, 16, 64, 128)},
        130: ("i1", 1),
        132: ("u2", 1),
        136: ("u4", 1),
    }

    def scale(self) -> Matrix | None:
        """Return SPM's factor, or the mapping of the stored range (glmin, glmax) to the range cal_min, cal_max."""
        slope, inter = float(self.one("scl_slope")), float(self.one("scl_inter"))
        if math.isfinite(slope) and slope:
            inter = inter if math.isfinite(inter) else 0.0
        else:
            stored = self.one("glmax") - self.one("glmin")
            meant = float(self.one("cal_max")) - float(self.one("cal_min"))
            if not stored or not meant or not math.isfinite(meant):
                return None
            slope = meant / stored
            inter = float(self.one("cal_min")) - slope * self.one("glmin")
        return None if (slope, inter) == (1, 0) else np.array([slope, inter])

    def matrix(self) -> Matrix:
        """Return IJKToRAS in millimetres."""
        sizes = [max(1, size) for size in self.several("dim")[1:4]]
        origin = self.several("origin")
        sensible = any(origin) and all(-size < at < 2 * size for at, size in zip(origin, sizes, strict=True))
        zero = [at - 1.0 for at in origin] if sensible else [(size - 1) / 2 for size in sizes]
        spacing = self.spacing()
        matrix = np.diag([-spacing[0], spacing[1], spacing[2], 1.0])
        matrix[:3, 3] = -np.diag(matrix)[:3] * zero
        return matrix


class NIfTI(VolumeFile):
    """Reader of NIfTI files. A file is complete with all declared bytes and, for .gz, the end of the stream.

    Geometry, in RAS as in the standard: the sform when sform_code > 0 (METHOD 3), else the qform when qform_code > 0
    (METHOD 2), as in nibabel. ITK, and so Slicer, agrees, but prefers the qform where both are set, differ, and
    sform_code is not 1 ("scanner"). A sheared sform is replaced by the qform, as in ITK, and rejected without one. With
    neither code (METHOD 1, which leaves the orientation open) the spacing is used, the origin is 0, and the axes are
    those of ITK: i to the left, j to the posterior, k to the superior.

    Values: scl_slope and scl_inter are applied, unless the slope is 0 or not finite. RGB24, RGBA32, and unsigned bytes
    whose fifth dimension is a vector of 3 or 4, are colour. Attributes: Description (descrip), TR (seconds, of a series
    with a unit of time), VolumeIndex (of a file with several volumes).
    """

    title = "NIfTI"
    paired = False

    def __init__(self, path: str, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(path, limit)
        self._inflated: Inflated | Streamed | None = None

    def _declared(self) -> Volumes | str:
        header = self._readHeader()
        return header if isinstance(header, str) else header.volumes(self._stored(header))

    def _readHeader(self) -> NIfTIHeader | str:
        size = NIfTI2Header.size
        if self._inflated is None and isPacked(self.path, (".gz",)):
            self._inflated = (Streamed if self.streaming else Inflated)(self.path, self.limit)
        data = self._inflated.start(size) if self._inflated else readStart(self.path, size)
        return readNIfTIHeader(data, self.paired)

    def _stored(self, header: NIfTIHeader) -> Stored:
        offset = header.offset(self.limit)
        if self._inflated:
            self._inflated.skip(offset)
            return self._inflated
        return RawBytes(self.path, offset)


class NIfTIPair(NIfTI):
    """Reader of pairs: a header (.hdr, .hdr.gz) with its voxels in a file of the same name (.img, .img.gz).

    Either file may come first. The header is NIfTI-1, NIfTI-2 or Analyze 7.5: see :class:`NIfTI` and
    :class:`AnalyzeHeader`.
    """

    paired = True

    def __init__(self, path: str, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(path, limit)
        self._voxels: Inflated | Streamed | RawBytes | None = None

    @property
    def files(self) -> tuple[str, ...]:
        return self.path, voxelsOf(self.path)

    def _missing(self) -> str | None:
        words = super()._missing()
        # A header that is not compressed does not prove its own end.
        self.sealed = self.sealed and self._inflated is not None
        return words

    def _stored(self, header: NIfTIHeader) -> Stored:
        path, offset = voxelsOf(self.path), header.offset(self.limit)
        checkInside(self.path, [path])
        if not path.lower().endswith(".gz"):
            self._voxels = RawBytes(path, offset, detached=True)
        elif isinstance(self._voxels, Inflated | Streamed) and self._voxels.path == path:
            self._voxels.skip(offset)
        else:
            self._voxels = (Streamed if self.streaming else Inflated)(path, self.limit, skip=offset, detached=True)
        return self._voxels


def readNIfTIHeader(data: bytes, paired: bool) -> NIfTIHeader | str:
    """Read the header at the beginning of a file, or return a sentence about its missing part.

    :param data: the first 540 bytes of the file, or all of a shorter file.
    :param paired: header of a pair (.hdr), whose voxels are in another file.
    :raises NotAnImageError: the bytes are no such header.
    """
    order, size = _beginning(data, paired)
    if size == SECOND and not any(data[4:7] == mark[: len(data[4:7])] for mark in (b"n+2", b"ni2")):
        text = _('A header of 540 bytes has the mark "n+2" of NIfTI-2; this header does not.')
        raise NotAnImageError(text, "unsupported")
    if size is None or len(data) < size:
        return _("A NIfTI header has {size} bytes; {count:,} are present.").format(size=size or FIRST, count=len(data))
    if not any(data[:size]):
        return _("The first {size} bytes are still zero; the header is not written yet.").format(size=size)
    magic = data[4:12] if size == SECOND else data[344:348]
    number = b"2" if size == SECOND else b"1"
    if magic[:3] == (b"ni" if paired else b"n+") + number:
        if size == FIRST:
            if magic[3:] != b"\0":
                text = _('The mark "{mark}" of NIfTI ends with a zero byte; this one does not.')
                raise NotAnImageError(text.format(mark=magic[:3].decode()), "damaged")
            return NIfTIHeader(order, data, paired)
        if magic[3:] != b"\0\r\n\x1a\n":
            raise NotAnImageError(
                _("The line ends of the header were changed, as by a transfer in text mode."), "damaged"
            )
        return NIfTI2Header(order, data, paired)
    if magic[:3] in (b"ni" + number, b"n+" + number):
        words = (
            _("the same file; such a file is named .nii") if paired else _("another file; such a header is named .hdr")
        )
        raise NotAnImageError(
            _("According to this header the voxels are in {words}.").format(words=words), "unsupported"
        )
    if paired:
        return AnalyzeHeader(order, data, paired)
    raise NotAnImageError(
        _('The header lacks the mark "n+1" of NIfTI. Analyze 7.5 is supported as .hdr and .img.'), "unsupported"
    )


def _beginning(data: bytes, paired: bool) -> tuple[str, int | None]:
    # Byte order and size of the header, as far as its first bytes show them.
    found = [
        (order, size)
        for order in "<>"
        for size in (FIRST, SECOND)
        if data[:4] == struct.pack(order + "i", size)[: len(data)]
    ]
    if found:
        return found[0][0], found[0][1] if len(data) >= 4 else None
    if len(data) < 4 or not any(data):
        return "<", FIRST if len(data) >= 4 else None
    what = _("The header of a .hdr/.img pair") if paired else _("A NIfTI file")
    raise NotAnImageError(
        _("{what} begins with the number 348 or 540; this file does not.").format(what=what), "not-an-image"
    )
