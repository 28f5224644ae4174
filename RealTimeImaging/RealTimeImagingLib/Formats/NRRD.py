"""NRRD: .nrrd, .nhdr with its data files, and the .seq.nrrd and .seq.nhdr of Slicer's sequences.

The format: "Definition of NRRD File Format", teem (field names below are its names).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..Model.Errors import NotAnImageError
from ..Model.Files import decodedText
from ..Model.Frame import ATTRIBUTE_NAME, LPS_TO_RAS, Matrix
from ..Model.Text import textsOf
from .ImageFile import VolumeFile, Volumes, sinceFirst
from .Inflate import GZIP, Inflated, Streamed
from .Raw import Encoded, RawBytes, Stored, fromBzip2, fromHex, textDecoder
from .TextHeader import (
    SECONDS,
    afterLines,
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

END = re.compile(rb"\n\r?\n")
"""The empty line behind an attached header."""

_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(
        (
            "longlong",
            "long long",
            "long long int",
            "signed long long",
            "signed long long int",
            "int64",
            "int64_t",
        ),
        "i8",
    ),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"),
    "float": "f4",
    "double": "f8",
}
TYPE_NAMES = {
    **{"u1": "uint8", "i1": "int8", "u2": "uint16", "i2": "int16", "u4": "uint32", "i4": "int32"},
    **{"f4": "float", "f8": "double"},
}
"""Names of the types that are written, by numpy's code without byte order."""

_SPACES = {
    **dict.fromkeys(("right-anterior-superior", "ras"), (1, 1, 1)),
    **dict.fromkeys(("left-anterior-superior", "las"), (-1, 1, 1)),
    **dict.fromkeys(("left-posterior-superior", "lps"), (-1, -1, 1)),
}
"""Signs that convert a space to RAS."""
_OTHER_SPACES = ("scanner-xyz", "3d-right-handed", "3d-left-handed")
"""Spaces that are not anatomical; their numbers count as LPS, as in ITK."""


_ENCODINGS = {
    "raw": "raw",
    **dict.fromkeys(("gzip", "gz"), "gzip"),
    **dict.fromkeys(("bzip2", "bz2"), "bzip2"),
    **dict.fromkeys(("text", "txt", "ascii"), "text"),
    "hex": "hex",
}
_SPATIAL = ("domain", "space")
_FRAMES = ("list", "time", "point")
_UNKNOWN_KINDS = ("???", "none")
_COMPONENTS = re.compile(r"scalar|stub|complex|quaternion|([a-z0-9-]*-)?(vector|color|gradient|normal|matrix)")
_LISTED = re.compile(r"LIST(\s+[0-9]+)?")


class NRRD(VolumeFile):
    """Reader of NRRD files, attached or detached, in every encoding of the format (raw, gzip, bzip2, text, hex).

    Axes: an axis of kind vector, RGB-color and the like holds components; one of kind list, time or point holds
    volumes. Without kinds, an axis without a space direction holds volumes (components when it is the fastest and has 3
    or 4). A fourth spatial axis holds volumes. Geometry: space directions and origin; with spacings only, and in spaces
    that are not anatomical (3D-right-handed, scanner-xyz), the numbers are LPS, as in ITK. Units of length are applied;
    an unknown unit is rejected, as the image would have a wrong size.

    Attributes: the key/value pairs whose names :data:`ATTRIBUTE_NAME` allows; DroppedAttributes counts the others. In
    Slicer's sequences, IndexValue is the index of the volume. An index with a unit of time becomes the times.
    """

    title = "NRRD"

    def _declared(self) -> Volumes | str:
        data, offset, whole = readHeader(self.path, END, self.limit)
        if not data.startswith(b"NRRD000"[: len(data)]):
            raise NotAnImageError(_('A NRRD file begins with "NRRD000"; this file does not.'), "not-an-image")
        header = Header(decodedText(data))
        detached = "data file" in header.fields
        # A detached header may end with the file; an attached one ends with an empty line.
        if not whole and (not detached or not data.endswith(b"\n")):
            return _("The header has {count:,} bytes so far and is not complete.").format(count=len(data))
        dtype, sizes, roles = header.dtype(), header.sizes(), header.roles()
        total = math.prod(sizes) * dtype.itemsize
        paths = dataFiles(self.path, header.dataFileNames(), total) if detached else [self.path]
        self._files = (self.path, *paths) if detached else (self.path,)
        stored = joined(
            paths, total, lambda path: self._store(header, path, 0 if detached else offset, total, len(paths))
        )
        index = header.indexValues(roles, sizes)
        attributes = header.attributes(bool(index))
        each = [{"IndexValue": value} for value in index]
        shape, letters = tuple(reversed(sizes)), "".join(reversed(roles))
        return Volumes(
            stored, dtype, shape, letters, header.matrix(roles), attributes, each, times=header.times(roles, index)
        )

    def _store(self, header: Header, path: str, base: int, total: int, count: int) -> Stored:
        detached = "data file" in header.fields
        encoding = header.encoding()
        skip = integer(header.fields.get("byte skip", "0"), "byte skip")
        lines = integer(header.fields.get("line skip", "0"), "line skip")
        if skip < -1 or lines < 0 or (skip == -1 and encoding not in ("raw", "gzip")):
            text = _(
                "The header's byte skip {skip} or line skip {lines} is not possible with the encoding {encoding}."
            ).format(skip=skip, lines=lines, encoding=encoding)
            raise NotAnImageError(text, "damaged")
        begin = afterLines(path, base, lines)
        key = (path, encoding, begin, skip, total, count)
        if key not in self._made:
            if detached and begin == skip == 0 and os.path.realpath(path) == os.path.realpath(self.path):
                raise NotAnImageError(_("The header names itself as the file of the voxels."), "damaged")
            if encoding == "raw":
                raw = RawBytes(path, None if skip == -1 else begin + skip, detached)
                raw.endsAfter(total // count)
                self._made[key] = raw
            elif encoding == "gzip":
                kind = Streamed if self.streaming else Inflated
                self._made[key] = kind(path, self.limit, GZIP, begin, skip, detached=detached)
            else:
                decode, room = {
                    "text": (textDecoder(header.dtype()), 400),
                    "hex": (fromHex, 16),
                    "bzip2": (fromBzip2, 2),
                }[encoding]
                before, inside = (0, skip) if encoding == "bzip2" else (skip, 0)
                self._made[key] = Encoded(path, begin + before, self.limit, decode, room, inside, detached)
        return self._made[key]


class Header:
    """Fields and key/value pairs of a header, and their meaning.

    Names of fields are in lower case; pairs are unescaped. ``listed`` names the data files of ``data file: LIST``.

    :raises NotAnImageError: (every method) a field is missing or damaged.
    """

    def __init__(self, text: str) -> None:
        self.fields: dict[str, str] = {}
        self.pairs: dict[str, str] = {}
        self.listed: list[str] = []
        lines = [line.removesuffix("\r") for line in text.split("\n")]
        for number, line in enumerate(lines[1:], 1):
            if line.startswith("#") or not line.strip():
                continue
            name, sign, value = line.partition(":")
            if ":=" in line and not line[len(name) :].startswith(": "):
                name, _mark, value = line.partition(":=")
                self.pairs[unescaped(name)] = unescaped(value)
            elif sign:
                name = {"datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip"}.get(
                    name.strip().lower(), name.strip().lower()
                )
                if name in self.fields:
                    text = _('The header has the field "{name}" twice.').format(name=name[:40])
                    raise NotAnImageError(text, "damaged")
                self.fields[name] = value.strip()
                if name == "data file" and _LISTED.fullmatch(value.strip()):
                    self.listed = [entry.strip() for entry in lines[number + 1 :] if entry.strip()]
                    return

    def field(self, name: str) -> str:
        if name not in self.fields:
            raise NotAnImageError(_('The header has no field "{name}".').format(name=name), "damaged")
        return self.fields[name]

    def dtype(self) -> np.dtype[Any]:
        name = self.field("type").lower()
        if name not in _TYPES:
            raise NotAnImageError(
                _("The voxels have the type {name}, which Slicer cannot show.").format(name=repr(name)), "unsupported"
            )
        dtype: np.dtype[Any] = np.dtype(_TYPES[name])
        if dtype.itemsize == 1 or self.encoding() == "text":
            return dtype
        endian = self.field("endian").lower()
        if endian not in ("little", "big"):
            raise NotAnImageError(
                _("The byte order {endian} is neither little nor big.").format(endian=repr(endian)), "damaged"
            )
        ordered: np.dtype[Any] = dtype.newbyteorder("<" if endian == "little" else ">")
        return ordered

    def encoding(self) -> str:
        """Return the encoding, one of the values of ``_ENCODINGS``."""
        name = self.field("encoding").lower()
        if name not in _ENCODINGS:
            text = _("The encoding {name} is not supported. Supported: raw, gzip, bzip2, text and hex.").format(
                name=repr(name[:40])
            )
            raise NotAnImageError(text, "unsupported")
        return _ENCODINGS[name]

    def sizes(self) -> list[int]:
        """Return the sizes of the axes, fastest first."""
        sizes, dimension = integers(self.field("sizes"), "sizes"), self.field("dimension")
        if not 1 <= len(sizes) <= 16 or len(sizes) != integer(dimension, "dimension") or min(sizes) < 1:
            raise NotAnImageError(
                _(
                    "The field sizes is {sizes} and dimension {count}: as many whole numbers above 0 are expected."
                ).format(sizes=repr(self.fields["sizes"][:60]), count=dimension[:20]),
                "damaged",
            )
        return sizes

    def directions(self) -> list[list[float] | None] | None:
        """Return a vector for each axis, None for an axis outside space; None when the header has no directions."""
        if "space directions" not in self.fields:
            return None
        words = re.findall(r"none|\([^()]*\)", self.fields["space directions"])
        found = [None if word == "none" else vectorOf(word) for word in words]
        return [None if vector is None or any(map(math.isnan, vector)) else vector for vector in found]

    def roles(self) -> list[str]:
        """Return a letter for each axis, fastest first, as in :class:`Volumes`."""
        sizes, directions = self.sizes(), self.directions()
        kinds = self.fields.get("kinds", "").lower().split() or ["???"] * len(sizes)
        if len(kinds) != len(sizes) or (directions is not None and len(directions) != len(sizes)):
            raise NotAnImageError(_("The header has kinds or space directions for another number of axes."), "damaged")
        roles: list[str] = []
        spatial = 0
        for axis, kind in enumerate(kinds):
            if kind not in (*_SPATIAL, *_FRAMES, *_UNKNOWN_KINDS) and not _COMPONENTS.fullmatch(kind):
                text = _("The kind {name} of an axis is none of the NRRD format, such as domain, list or vector.")
                raise NotAnImageError(text.format(name=repr(kind[:40])), "damaged")
            placed = directions is None or directions[axis] is not None
            if _COMPONENTS.fullmatch(kind):
                role = "c"
            elif kind in _FRAMES:
                role = "t"
            elif kind in _SPATIAL or placed:
                role = "ijkt"[min(3, spatial)]
                spatial += 1
            else:
                role = "c" if axis == 0 and sizes[0] in (3, 4) else "t"
            # An axis of one component does not count.
            roles.append("t" if role == "c" and sizes[axis] == 1 else role)
        if roles.count("c") > 1 or "i" not in roles:
            raise NotAnImageError(_("The header has no axis in space, or several axes of components."), "unsupported")
        return roles

    def matrix(self, roles: list[str]) -> Matrix:
        """Return IJKToRAS, 4x4 float64, millimetres."""
        directions = self.directions()
        space = [axis for axis, role in enumerate(roles) if role in "ijk"]
        space.sort(key=lambda axis: "ijk".index(roles[axis]))
        spacings = numbers(self.fields.get("spacings", ""), "spacings") or [math.nan] * len(roles)
        if len(spacings) != len(roles) and directions is not None:
            spacings = [math.nan] * len(roles)
        if len(spacings) != len(roles):
            raise NotAnImageError(_("The header has spacings for another number of axes."), "damaged")
        spacing = [1.0 if math.isnan(spacings[axis]) else spacings[axis] for axis in space]
        vectors = [directions[axis] for axis in space] if directions is not None else []
        origin = [0.0, 0.0, 0.0]
        if directions is not None and "space origin" in self.fields:
            text = self.fields["space origin"]
            origin = vectorOf(text)[:3]
            length = next((len(vector) for vector in vectors if vector is not None), len(origin))
            if not text.startswith("(") or not text.endswith(")") or len(origin) != min(3, length):
                words = _("The header's space origin {text} is no vector with a number for each axis of space.")
                raise NotAnImageError(words.format(text=repr(text[:60])), "damaged")
        if any(vector is not None for vector in vectors):
            matrix = _placed(vectors, spacing, origin)
            # A unit for each number of a vector.
            units = _units(self.fields.get("space units", ""))
            if units and len(units) != len(next(vector for vector in vectors if vector is not None)):
                raise NotAnImageError(_("The header has space units for another number of axes."), "damaged")
            for row, unit in enumerate(units[:3]):
                matrix[row] *= millimetres(unit) or 1.0
        else:
            # A unit for each axis.
            quoted = _units(self.fields.get("units", ""))
            if len(quoted) == len(roles):
                spacing = [(millimetres(quoted[axis]) or 1.0) * size for axis, size in zip(space, spacing, strict=True)]
            axes = [[size * (row == column) for row in range(3)] for column, size in enumerate(spacing)]
            matrix = completed(axes, origin)
        return np.diag([*self._signs(), 1.0]) @ matrix

    def _signs(self) -> tuple[float, ...]:
        if "space" not in self.fields:
            return tuple(np.diag(LPS_TO_RAS)[:3])
        name = self.fields["space"].lower()
        name = name.removesuffix("-time") if "-" in name else name.removesuffix("t")
        if name not in (*_SPACES, *_OTHER_SPACES):
            text = _("The header's space {name} is none of the NRRD format, such as left-posterior-superior.")
            raise NotAnImageError(text.format(name=repr(self.fields["space"][:40])), "damaged")
        return _SPACES.get(name, tuple(np.diag(LPS_TO_RAS)[:3]))

    def dataFileNames(self) -> list[str]:
        """Return the data files as the header names them."""
        text = self.fields["data file"]
        if _LISTED.fullmatch(text):
            return self.listed
        return namedByPattern(text) or [text]

    def attributes(self, indexed: bool) -> dict[str, str]:
        """Return the attributes of all volumes; ``indexed``: one of the pairs holds the index values."""
        found = {name: value for name, value in self.pairs.items() if ATTRIBUTE_NAME.fullmatch(name)}
        dropped = len(self.pairs) - len(found) - indexed
        if dropped:
            found["DroppedAttributes"] = str(dropped)
        return found

    def indexValues(self, roles: list[str], sizes: list[int]) -> list[str]:
        """Return the index of each volume of a Slicer sequence, or nothing."""
        axes = [axis for axis, role in enumerate(roles) if role == "t"]
        if len(axes) != 1:
            return []
        # Slicer names the axis of the volumes 3, even where it is 4 behind an axis of components.
        for axis in (axes[0], 3):
            values = self.pairs.get(f"axis {axis} index values", "").split()
            if len(values) == sizes[axes[0]]:
                return values
        return []

    def times(self, roles: list[str], index: list[str]) -> list[float] | None:
        """Return the times (:attr:`ImageFile.times`): the index, where the volumes' axis has a unit of time."""
        units = _units(self.fields.get("units", ""))
        unit = SECONDS.get(units[roles.index("t")].strip().lower()) if index and len(units) == len(roles) else None
        try:
            return sinceFirst(float(value) * unit for value in index) if unit else None
        except ValueError:
            return None


def _units(text: str) -> list[str]:
    # The format requires quotes; some programs leave them out.
    return re.findall(r'"([^"]*)"', text) if '"' in text else text.split()


def _placed(vectors: list[list[float] | None], spacing: list[float], origin: list[float]) -> Matrix:
    # A spatial axis without a direction ("none") is perpendicular to the others.
    known = [number for number, vector in enumerate(vectors) if vector is not None]
    first = next(n for n in range(3) if n in known and (n + 2) % 3 not in known) if len(known) < 3 else 0
    order = [(first + step) % 3 for step in range(3)]
    matrix = completed([(vectors[number] or [])[:3] for number in order if number in known], origin)
    columns = matrix[:3, :3].copy()
    for place, number in enumerate(order):
        upright = number not in known and number < len(spacing)
        matrix[:3, number] = columns[:, place] * (spacing[number] if upright else 1.0)
    return matrix


def composeFields(
    dtype: np.dtype[Any],
    shape: Sequence[int],
    ijkToLPS: Matrix,
    count: int | None = None,
    axis: tuple[str, str] = ("", ""),
) -> list[str]:
    """Compose the first lines of a header of raw voxels, up to the field "space origin".

    :param dtype: type with the byte order of the voxels.
    :param shape: shape of one volume, (k, j, i) or (k, j, i, 3|4).
    :param ijkToLPS: 4x4 float64, millimetres.
    :param count: number of volumes of a sequence; None for a single volume.
    :param axis: label and unit of the volumes' axis.
    """
    components = list(shape[3:])
    none, kinds = ["none"] * len(components), ["vector"] * len(components)
    if components and dtype == np.uint8:
        kinds = ["RGB-color" if components == [3] else "RGBA-color"]
    volumes, last, several = ([], [], []) if count is None else ([count], ["none"], ["list"])
    fields = [
        "NRRD0005",
        f"type: {TYPE_NAMES[dtype.str[1:]]}",
        f"dimension: {3 + len(components) + len(volumes)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, [*components, *reversed(shape[:3]), *volumes]))}",
        f"space directions: {' '.join([*none, *(vector(ijkToLPS[:3, column]) for column in range(3)), *last])}",
        f"kinds: {' '.join([*kinds, 'domain', 'domain', 'domain', *several])}",
    ]
    if several:
        blank = " ".join(['""'] * (3 + len(components)))
        fields += [f'labels: {blank} "{axis[0]}"', f'units: {blank} "{axis[1]}"']
    if dtype.itemsize > 1:
        fields.append(f"endian: {'little' if dtype.str[0] == '<' else 'big'}")
    return [*fields, "encoding: raw", f"space origin: {vector(ijkToLPS[:3, 3])}"]


def vectorOf(text: str) -> list[float]:
    """Read the numbers of a vector such as "(0,0.5,-1)".

    :raises NotAnImageError: code "damaged": they are no numbers.
    """
    return numbers(text.strip().removeprefix("(").removesuffix(")").replace(",", " "), "vectors")


def vector(values: Matrix) -> str:
    """Write three numbers as a vector. Reading it returns every float64 exactly."""
    # Adding 0.0 avoids "-0.0".
    return f"({','.join(repr(value + 0.0) for value in values.tolist())})"


def plain(value: str) -> str:
    """Reduce a value to what NRRD and C can hold: LF as line end, no NUL, no half of a UTF-16 pair."""
    value = value.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\N{REPLACEMENT CHARACTER}")
    return value.encode("utf-8", "replace").decode()


def escaped(value: str) -> str:
    """Write a value in one line (section "Key/value pairs" of the definition); see :func:`plain` for what is lost."""
    return plain(value).replace("\\", "\\\\").replace("\n", "\\n")


def unescaped(text: str) -> str:
    """Read a key or value that :func:`escaped` wrote."""
    return re.sub(r"\\(n|\\)", lambda match: "\n" if match[1] == "n" else "\\", text)
