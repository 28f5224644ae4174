"""Common parts of NRRD and MetaImage headers: finding their end, numbers, units, and names of data files."""

from __future__ import annotations

import ntpath
import os
import re
from collections.abc import Callable, Sequence

import numpy as np

from ..Model.Errors import NotAnImageError
from ..Model.Frame import Matrix
from ..Model.SharedFiles import openShared
from ..Model.Text import textsOf
from .Raw import Joined, Stored, readStart, statOf

_ = textsOf(__file__)

LONGEST = 64 << 20
"""Largest accepted header in bytes: 100,000 frames with attributes take about half of it."""

_MILLIMETRES = {
    **dict.fromkeys(("m", "meter", "metre"), 1000.0),
    **dict.fromkeys(("dm", "decimeter", "decimetre"), 100.0),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 10.0),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1.0),
    **dict.fromkeys(("um", "µm", "μm", "micron", "micrometer", "micrometre"), 1e-3),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-6),
    **dict.fromkeys(("pm", "picometer", "picometre"), 1e-9),
    **dict.fromkeys(("å", "å", "angstrom", "ångström", "ångström"), 1e-7),
    **dict.fromkeys(("in", "inch", "inche"), 25.4),
    **dict.fromkeys(("ft", "foot", "feet"), 304.8),
}
"""Millimetres of a unit of length, by its name in lower case and without the s of a plural."""
_UNSTATED = ("", "?", "???", "none", "unknown", "arbitrary", "a.u.", "au", "pixel", "voxel", "px", "1")


SECONDS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "µs", "μs", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
}
"""Seconds of a unit of time, by its name in lower case."""


def millimetres(unit: str) -> float | None:
    """Return the millimetres of a unit of length, None for texts that name no unit.

    :raises NotAnImageError: code "unsupported": the unit is unknown, and the image would have a wrong size.
    """
    name = unit.strip().lower()
    for word in (name, name.removesuffix("s")):
        if word in _MILLIMETRES:
            return _MILLIMETRES[word]
        if word in _UNSTATED:
            return None
    raise NotAnImageError(
        _("The header's unit of length {unit} is unknown. Known units: m, cm, mm, um, nm and inch.").format(
            unit=repr(unit.strip()[:40])
        ),
        "unsupported",
    )


_PATTERN = re.compile(r"([^%]*)%(0?[0-9]{0,2})d([^%]*)")
_MOST_FILES = 1 << 14
"""Most data files of a header: each costs some microseconds whenever the header is read."""


def readHeader(path: str, end: re.Pattern[bytes], limit: int, mark: bytes = b"\n") -> tuple[bytes, int, bool]:
    """Return the bytes before the data, the offset behind them, and True when the header's end was found.

    :param end: matches the end of a header; the match belongs to the header.
    :param mark: bytes that each end has, which are found faster; empty: read to the end of the file.
    :raises NotAnImageError: code "damaged": the header exceeds LONGEST or ``limit``.
    """
    size = 1 << 14
    while True:
        data = readStart(path, size)
        if mark and mark in data and (match := end.search(data)):
            return data[: match.end()], match.end(), True
        if len(data) < size:
            return data, len(data), False
        if size >= min(LONGEST, limit):
            raise NotAnImageError(_("The header has no end within {size:,} bytes.").format(size=size), "damaged")
        size *= 4


def numbers(text: str, what: str) -> list[float]:
    """Read numbers separated by white space.

    :raises NotAnImageError: code "damaged": a word is no number.
    """
    try:
        return [float(word) for word in text.split()]
    except ValueError as error:
        raise NotAnImageError(
            _("The header's {what} are not numbers: {text}.").format(what=what, text=repr(text[:60])), "damaged"
        ) from error


def integers(text: str, what: str) -> list[int]:
    """Read whole numbers of at most 18 digits, separated by white space.

    :raises NotAnImageError: code "damaged": a word is no such number.
    """
    words = text.split()
    if not all(re.fullmatch(r"[+-]?[0-9]{1,18}", word, re.ASCII) for word in words):
        raise NotAnImageError(
            _("The header's {what} are not whole numbers: {text}.").format(what=what, text=repr(text[:60])), "damaged"
        )
    return [int(word) for word in words]


def integer(text: str, what: str) -> int:
    """Read one whole number, see :func:`integers`."""
    found = integers(text, what)
    if len(found) != 1:
        raise NotAnImageError(
            _("The header's {what} is not a single number: {text}.").format(what=what, text=repr(text[:60])), "damaged"
        )
    return found[0]


def dataFiles(header: str, names: Sequence[str], size: int) -> list[str]:
    """Return the paths of the data files that a header names, relative to the header's folder.

    :param size: bytes that the files have together.
    :raises NotAnImageError: code "unsupported": a name or a link leads out of the header's folder. "damaged": there are
        too many files, or they cannot have equal lengths.
    """
    if not 0 < len(names) <= _MOST_FILES or size % len(names):
        text = _("{size:,} bytes do not fill {count:,} data files of equal length.")
        raise NotAnImageError(text.format(size=size, count=len(names)), "damaged")
    folder = os.path.dirname(os.path.abspath(header))
    paths = []
    for name in names:
        # Windows' rules on every system: a header means the same file everywhere. A network name would make Windows
        # send the user's credentials to that computer.
        plain = name.replace("\\", "/")
        parts = plain.split("/")
        outside = plain.startswith("/") or ".." in parts or ntpath.splitdrive(plain)[0]
        if outside or "\0" in name or not plain.strip():
            raise _outside(name)
        paths.append(os.path.join(folder, *parts))
    checkInside(header, paths)
    return paths


def checkInside(header: str, paths: Sequence[str]) -> None:
    """Check that data files are in the header's folder or below.

    Otherwise the author of a header could make its reader show, record and send any of the reader's files.

    :raises NotAnImageError: code "unsupported": a data file, all links resolved, is outside the header's folder.
    """
    folder = os.path.realpath(os.path.dirname(os.path.abspath(header)))
    checked: dict[str, bool] = {}
    for path in paths:
        # Links of folders are resolved once: a header may name thousands of files.
        place = path if os.path.islink(path) else os.path.dirname(path)
        if place not in checked:
            checked[place] = _isInside(place, folder)
        if not checked[place]:
            raise _outside(os.path.relpath(path, os.path.dirname(os.path.abspath(header))))


def _isInside(path: str, folder: str) -> bool:
    try:
        return os.path.commonpath([folder, os.path.realpath(path)]) == folder
    except ValueError:  # on another drive, or with a NUL
        return False


def _outside(name: str) -> NotAnImageError:
    return NotAnImageError(
        _(
            "The header names the data file {name}, which leads out of the header's folder. Only files in "
            "this folder or below are read."
        ).format(name=repr(name[:80])),
        "unsupported",
    )


def namedByPattern(text: str) -> list[str] | None:
    """Return the names of a pattern such as ``"slice%03d.raw 1 20 1"`` (first, last, step), None for other texts.

    :raises NotAnImageError: code "unsupported": the pattern has more than one number; code "damaged": step 0, or an
        impossible number of files.
    """
    words = text.split()
    if "%" not in text or len(words) < 4:
        return None
    match = _PATTERN.fullmatch(words[0])
    if match is None:
        raise NotAnImageError(
            _("The pattern of data file names {words} is not supported.").format(words=repr(words[0][:60])),
            "unsupported",
        )
    first, last, step = integers(" ".join(words[1:4]), _("data file numbers"))
    if step == 0:
        raise NotAnImageError(_("The pattern of data file names has the step 0."), "damaged")
    found = range(first, last + (1 if step > 0 else -1), step)
    if not 0 < len(found) <= _MOST_FILES:
        raise NotAnImageError(
            _("The pattern of data file names describes {count:,} files.").format(count=len(found)), "damaged"
        )
    before, width, after = match.groups()
    return [f"{before}{number:{width}d}{after}" for number in found]


def joined(paths: Sequence[str], size: int, make: Callable[[str], Stored]) -> Stored:
    """Return the data files (:func:`dataFiles`) as one sequence of ``size`` bytes, with an equal part in each file."""
    if len(paths) == 1:
        return make(paths[0])
    return Joined([make(path) for path in paths], size // len(paths))


def afterLines(path: str, offset: int, lines: int) -> int:
    """Return the offset behind the given number of lines; the size of the file while they do not all exist."""
    if lines == 0:
        return offset
    try:
        if statOf(path).st_size <= offset:
            return offset
        with openShared(path) as file:
            file.seek(offset)
            while piece := file.read(1 << 16):
                count = piece.count(b"\n")
                if count >= lines:
                    for _line in range(lines):
                        piece = piece[piece.index(b"\n") + 1 :]
                    return file.tell() - len(piece)
                lines -= count
            return file.tell()
    except FileNotFoundError:
        return offset


def completed(axes: Sequence[Sequence[float]], origin: Sequence[float]) -> Matrix:
    """Make a 4x4 matrix of one, two or three axis vectors of up to three numbers.

    Missing numbers are 0. Missing axes are perpendicular to the others and have the length 1.
    """
    matrix = np.eye(4)
    matrix[: len(origin), 3] = origin
    columns = np.zeros((3, 3))
    for number, axis in enumerate(axes):
        columns[: len(axis), number] = axis
    if len(axes) == 1:
        columns[:, 1] = np.roll(np.eye(3)[int(np.abs(columns[:, 0]).argmax())], 1)
        columns[:, 1] -= columns[:, 0] * (columns[:, 0] @ columns[:, 1]) / (columns[:, 0] @ columns[:, 0] or 1.0)
    if len(axes) < 3:
        normal = np.cross(columns[:, 0], columns[:, 1])
        columns[:, 2] = normal / (np.linalg.norm(normal) or 1.0)
    matrix[:3, :3] = columns
    return matrix
