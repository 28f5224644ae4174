"""MetaImage: .mha, .mhd with its data files, and the tracked sequences of PLUS (.seq.mha, .igs.mha).

The format: MetaIO's documentation (field names below are its names). What it leaves open follows ITK's reader.
"""

from __future__ import annotations

import math
import os
import re
from typing import Any

import numpy as np

from ..Model.Errors import NotAnImageError
from ..Model.Files import decodedText
from ..Model.Frame import ATTRIBUTE_NAME, LPS_TO_RAS, Matrix
from ..Model.Text import textsOf
from .ImageFile import VolumeFile, Volumes
from .Inflate import ZLIB, Inflated
from .Raw import Encoded, RawBytes, Stored, textDecoder
from .TextHeader import (
    completed,
    dataFiles,
    integer,
    integers,
    joined,
    millimetres,
    namedByPattern,
    numbers,
    readHeader,
)

_ = textsOf(__file__)

_END = re.compile(rb"(^|\n)[ \t]*ElementDataFile[ \t]*=[^\n]*\n")
_PER_FRAME = re.compile(r"Seq_Frame([0-9]{1,9})_(.+)")
_LISTED = re.compile(r"LIST(\s+([0-9]+)D?)?", re.IGNORECASE)

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",  # 4 bytes in a file, whatever the writer's "long" was (MetaIO, MET_ValueTypeSize)
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_STANDARD = frozenset(
    (
        *("ObjectType", "ObjectSubType", "NDims", "DimSize", "BinaryData", "BinaryDataByteOrderMSB"),
        *("ElementByteOrderMSB", "CompressedData", "CompressedDataSize", "TransformMatrix", "Orientation"),
        *("Rotation", "Offset", "Position", "Origin", "CenterOfRotation", "ElementSpacing", "ElementSize"),
        *("ElementNumberOfChannels", "ElementType", "ElementMin", "ElementMax", "HeaderSize", "HeaderSizePerSlice"),
        *("ElementDataFile", "AnatomicalOrientation", "Kinds", "ID", "ParentID", "Name", "Color", "DistanceUnits"),
        "Comment",
    )
)
"""Fields that MetaIO knows; all others become attributes."""


class MetaImage(VolumeFile):
    """Reader of MetaImage files, raw, compressed with zlib, or written as text.

    Geometry is LPS, as in ITK: TransformMatrix holds one axis direction after the other. CenterOfRotation does not move
    the image, and AnatomicalOrientation is a label. A fourth axis holds volumes; so does an axis of kind "list", and
    the last axis of a file with fields for the same number of frames (PLUS). Attributes: the fields that MetaIO does
    not know, and for each frame its Seq_FrameNNNN fields (Timestamp, transforms, their status ...) without that prefix.
    DroppedAttributes counts fields with names that :data:`ATTRIBUTE_NAME` does not allow.
    """

    title = "MetaImage"

    def _declared(self) -> Volumes | str:
        data, offset, whole = readHeader(self.path, _END, self.limit, b"ElementDataFile")
        checkBeginning(data)
        if not whole:
            # A detached header may lack its last line end; then only the data file shows that it is complete.
            tail = _END.search(data + b"\n")
            if tail is None or tail.group().split(b"=")[1].strip().upper() in (b"", b"LOCAL", b"LIST"):
                return _("The header has {count:,} bytes so far and is not complete.").format(count=len(data))
        header = _Header(decodedText(data))
        dtype, sizes = header.dtype(), header.sizes()
        total = math.prod(sizes) * dtype.itemsize * header.channels()
        name = header.fields.get("ElementDataFile", "")
        if not name:
            raise NotAnImageError(_("ElementDataFile, which ends a MetaImage header, does not name a file."))
        local = name.upper() == "LOCAL"
        if _LISTED.fullmatch(name):
            data, *_rest = readHeader(self.path, _END, self.limit, b"")
            names = [line.strip() for line in data[offset:].decode("utf-8", "replace").splitlines() if line.strip()]
            expected = header.filesOfList(name)
            if len(names) < expected:
                return _("The header lists {count} of {expected} data files so far.").format(
                    count=len(names), expected=expected
                )
            names = names[:expected]
        else:
            names = namedByPattern(name) or [name]
        paths = [self.path] if local else dataFiles(self.path, names, total)
        self._files = (self.path,) if local else (self.path, *paths)
        base = offset if local else 0
        stored = joined(paths, total, lambda path: self._store(header, path, base, total // len(paths)))
        roles = header.roles()
        attributes, each = header.attributes(roles)
        shape = tuple(reversed(sizes)) + ((header.channels(),) if header.channels() > 1 else ())
        letters = "".join(reversed(roles)) + ("c" if header.channels() > 1 else "")
        return Volumes(stored, dtype, shape, letters, header.matrix(roles), attributes, each)

    def _store(self, header: _Header, path: str, base: int, size: int) -> Stored:
        skip = integer(header.fields.get("HeaderSize", "0"), "HeaderSize")
        if skip < -1:
            raise NotAnImageError(_("The header's HeaderSize {skip} is not possible.").format(skip=skip), "damaged")
        if not header.flag("BinaryData", True):
            if skip == -1:
                raise NotAnImageError(_("HeaderSize -1 is not possible with voxels written as text."), "damaged")
            text = (path, base, skip)
            if text not in self._made:
                decode = textDecoder(header.dtype())
                self._made[text] = Encoded(path, base + skip, self.limit, decode, 400, detached=path != self.path)
            return self._made[text]
        if skip == 0 and base == 0 and os.path.realpath(path) == os.path.realpath(self.path):
            raise NotAnImageError(_("The header names itself as the file of the voxels."), "damaged")
        packed = header.flag("CompressedData", False)
        length = integer(header.fields.get("CompressedDataSize", "0"), "CompressedDataSize")
        key = (path, base, skip, size, packed, length)
        if key not in self._made:
            if packed:
                begin = base + max(0, skip)
                end = begin + length if length > 0 and len(self._files) <= 2 else None
                self._made[key] = Inflated(path, self.limit, ZLIB, begin, 0, end, detached=path != self.path)
            else:
                raw = RawBytes(path, None if skip == -1 else base + skip, path != self.path)
                raw.endsAfter(size)
                self._made[key] = raw
        return self._made[key]


def checkBeginning(data: bytes) -> None:
    """Check that the bytes begin with a field of a MetaImage header.

    :raises NotAnImageError: they do not.
    """
    first = data.lstrip()[:64].split(b"=")[0].strip()
    strange = first and (b"\0" in data[:64] or (b"=" in data[:64] and not re.fullmatch(rb"[A-Za-z][\w .-]*", first)))
    if strange or (b"=" not in data[:256] and len(data) >= 256):
        raise NotAnImageError(_('A MetaImage begins with "ObjectType = Image"; this file does not.'), "not-an-image")


class _Header:
    """Fields of a header, and those of each frame, as PLUS writes them."""

    def __init__(self, text: str) -> None:
        self.fields: dict[str, str] = {}
        self.frames: dict[int, dict[str, str]] = {}
        for line in text.split("\n"):
            name, sign, value = line.removesuffix("\r").partition("=")
            if not sign or "\r" in name + value:
                continue
            name, value = name.strip(" \t"), value.strip(" \t")
            if frame := _PER_FRAME.fullmatch(name):
                self.frames.setdefault(int(frame[1]), {})[frame[2]] = value
            else:
                self.fields[name] = value
        if self.fields.get("ObjectType", "Image").lower() != "image":
            raise NotAnImageError(
                _("The file holds {fields}, not an image.").format(fields=repr(self.fields["ObjectType"][:40])),
                "not-an-image",
            )

    def field(self, *names: str) -> str:
        for name in names:
            if name in self.fields:
                return self.fields[name]
        raise NotAnImageError(_('The header has no field "{names}".').format(names=names[0]), "damaged")

    def flag(self, name: str, default: bool) -> bool:
        # MetaIO reads the first letter only.
        return self.fields.get(name, str(default))[:1].upper() in ("T", "1")

    def dtype(self) -> np.dtype[Any]:
        name = self.field("ElementType").upper()
        if name not in _TYPES:
            raise NotAnImageError(
                _("The voxels have the type {name}, which Slicer cannot show.").format(name=repr(name[:40])),
                "unsupported",
            )
        swapped = self.flag("BinaryDataByteOrderMSB", False) or self.flag("ElementByteOrderMSB", False)
        dtype: np.dtype[Any] = np.dtype(_TYPES[name])
        ordered: np.dtype[Any] = dtype.newbyteorder(">" if swapped else "<")
        return ordered

    def sizes(self) -> list[int]:
        """Return the sizes of the axes, fastest first."""
        sizes, dimension = integers(self.field("DimSize"), "DimSize"), self.field("NDims")
        if not 1 <= len(sizes) <= 10 or len(sizes) != integer(dimension, "NDims") or min(sizes) < 1:
            raise NotAnImageError(
                _("DimSize is {sizes} and NDims {count}: as many whole numbers above 0 are expected.").format(
                    sizes=repr(self.fields["DimSize"][:60]), count=dimension[:20]
                ),
                "damaged",
            )
        return sizes

    def channels(self) -> int:
        channels = integer(self.fields.get("ElementNumberOfChannels", "1"), "ElementNumberOfChannels")
        if channels < 1:
            raise NotAnImageError(_("The header declares {channels} channels.").format(channels=channels), "damaged")
        return channels

    def roles(self) -> list[str]:
        """Return a letter for each axis, fastest first, as in :class:`Volumes`."""
        sizes = self.sizes()
        kinds = self.fields.get("Kinds", "").lower().split()
        if len(kinds) != len(sizes):
            series = len(sizes) > 1 and len(self.frames) > 0 and sizes[-1] == max(self.frames) + 1
            kinds = ["domain"] * (len(sizes) - 1) + ["list" if series else "domain"]
        roles: list[str] = []
        for kind in kinds:
            spatial = sum(role in "ijk" for role in roles)
            roles.append("t" if kind in ("list", "time") else "ijkt"[min(3, spatial)])
        if "i" not in roles:
            raise NotAnImageError(_("The header has no axis in space."), "damaged")
        return roles

    def filesOfList(self, text: str) -> int:
        """Count the data files behind ``LIST``: one for each slice, or for each block of the named dimension."""
        match = _LISTED.fullmatch(text)
        sizes = self.sizes()
        inside = int(match[2][:2]) if match and match[2] else len(sizes) - 1
        count = math.prod(sizes[inside:])
        if count > 100_000:
            raise NotAnImageError(_("The header asks for {count:,} data files.").format(count=count), "damaged")
        return count

    def matrix(self, roles: list[str]) -> Matrix:
        size = len(roles)
        spacing = [1.0] * size
        for name in ("ElementSize", "ElementSpacing"):
            if name in self.fields:
                spacing = numbers(self.fields[name], name)
        origin, directions = [0.0] * size, np.eye(size).ravel().tolist()
        for name in ("Origin", "Position", "Offset"):
            if name in self.fields:
                origin = numbers(self.fields[name], name)
        for name in ("Rotation", "Orientation", "TransformMatrix"):
            if name in self.fields:
                directions = numbers(self.fields[name], name)
        if (len(spacing), len(origin), len(directions)) != (size, size, size * size):
            raise NotAnImageError(_("The header's spacing, offset or matrix is for another number of axes."), "damaged")
        rows = np.reshape(directions, (size, size))
        space = sorted(
            (axis for axis in range(size) if roles[axis] in "ijk"), key=lambda axis: "ijk".index(roles[axis])
        )
        # A frame axis has no direction in space, but the other axes of a 3-D file have three components.
        axes = [(rows[axis][:3] * spacing[axis]).tolist() for axis in space]
        matrix: Matrix = LPS_TO_RAS @ completed(axes, origin[:3])
        matrix[:3] *= millimetres(self.fields.get("DistanceUnits", "")) or 1.0
        return matrix

    def attributes(self, roles: list[str]) -> tuple[dict[str, str], list[dict[str, str]]]:
        """Return the attributes of all volumes, and those of each."""
        own = {name: value for name, value in self.fields.items() if name not in _STANDARD}
        found = {name: value for name, value in own.items() if ATTRIBUTE_NAME.fullmatch(name)}
        dropped = len(own) - len(found)
        each: list[dict[str, str]] = []
        count = math.prod(size for size, role in zip(self.sizes(), roles, strict=True) if role == "t")
        # A damaged frame number may be huge.
        if self.frames and count <= max(self.frames) + 1 <= 1000 + 10 * len(self.frames):
            for number in range(count):
                frame = self.frames.get(number, {})
                each.append({name: value for name, value in frame.items() if ATTRIBUTE_NAME.fullmatch(name)})
                dropped += len(frame) - len(each[-1])
        if dropped:
            found["DroppedAttributes"] = str(dropped)
        return found, each
