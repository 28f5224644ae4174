"""Scan of folders: finds every file and reads its header."""

from __future__ import annotations

import logging
import os
import stat
import struct
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence

from ..Formats.DICOM.File import UNDEFINED
from ..Formats.DICOM.Header import SliceHeader, timeOf
from ..Formats.DICOM.Reader import DICOM, looksLikeDICOM
from ..Model.Errors import NotAnImageError
from ..Model.Files import reasonOf
from ..Model.SharedFiles import longPath, openSharedHandle
from ..Model.Text import sentence, textsOf
from .Headers import (
    ENHANCED,
    KINDS,
    SHARED,
    TAGS,
    Common,
    Refused,
    Slice,
    expanded,
    needsReader,
    numbersOf,
    wholeOf,
    wordOf,
)
from .Tags import textOf
from .Walker import BIG, EXPLICIT, IMPLICIT, PIXELS, Memory, OddError, ShortError, Walked, walk

_ = textsOf(__file__)

FIRST = 1 << 14
"""Bytes of a file that are read first; nearly all headers end within them."""
MOST = 10_000
"""Most kinds of headers in memory."""
LONGEST = 256 << 20
"""Most bytes of a header; a file with a longer one is skipped."""

log = logging.getLogger(__name__)

_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_OTHER = "other"
_MOSAICS = {"MOSAIC", "VFRAME"}
_PLAIN = (IMPLICIT, EXPLICIT, BIG)
_NO_SPACING = (_("PixelSpacing is missing: 1 mm is assumed."),)
_UNFINISHED = (".part", ".tmp", ".partial", ".crdownload")
_SHARED = tuple(TAGS[name] for name in SHARED)
_MOMENT, _DATE, _TIME = (TAGS[name] for name in ("acquisitionDateTime", "acquisitionDate", "acquisitionTime"))
_CHARSET, _ROWS, _COLUMNS, _BITS, _STORED, _HIGH, _SIGNED, _SAMPLES, _PLANAR = (
    TAGS[name] for name in ("charset", "rows", "columns", "bits", "stored", "high", "signed", "samples", "planar")
)


def listFiles(folder: str, besides: str = "", onRefused: Callable[[Refused], object] = lambda _: None) -> Iterator[str]:
    """Yield every file below a folder that may be DICOM, in the order of names, without following links to folders.

    :param besides: folder to skip.
    :param onRefused: called with each unreadable folder.
    """
    waiting = [os.path.abspath(folder)]
    skipped = _identityOf(besides) if besides else None
    while waiting:
        current = waiting.pop()
        folders: list[str] = []
        try:
            with os.scandir(longPath(current)) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            onRefused(
                Refused(current, "unreadable", _("The folder cannot be read: {reason}.").format(reason=reasonOf(error)))
            )
            continue
        for entry in found:
            name, path = entry.name, os.path.join(current, entry.name)
            if entry.is_dir(follow_symlinks=False):
                if skipped is None or _identityOf(path) != skipped:
                    folders.append(path)
            elif not name.startswith(".") and name.upper() != "DICOMDIR" and not name.lower().endswith(_UNFINISHED):
                yield path
        waiting.extend(reversed(folders))


def _identityOf(folder: str) -> tuple[int, int] | None:
    # The same folder has several paths: by links, and on Windows and macOS in letters of another case.
    try:
        status = os.stat(longPath(folder))
    except OSError:
        return None
    return status.st_dev, status.st_ino


class _Kept(threading.local):
    scanner: Scanner | None = None


_kept = _Kept()


def scanFiles(paths: Sequence[str], tags: dict[str, int]) -> list[Slice | Refused]:
    """Read the headers of the files, in order; files that cannot be used are returned with the reason.

    :param tags: keywords and tags of further elements to read.
    """
    # Each thread keeps its scanner from one job to the next: known headers are read faster.
    if _kept.scanner is None or _kept.scanner.tags != tags:
        _kept.scanner = Scanner(tags)
    return _kept.scanner.scan(paths)


def scanChunk(chunk: tuple[int, list[str], dict[str, int]]) -> list[Slice | Refused]:
    """Call :func:`scanFiles`, as a job."""
    return scanFiles(chunk[1], chunk[2])


class Scanner:
    """Reads headers, and stores shared values only once; used by one thread.

    :param tags: keywords and tags of further elements to read.
    """

    def __init__(self, tags: dict[str, int]) -> None:
        self.tags = tags
        self._wanted = frozenset(TAGS.values()) | frozenset(tags.values())
        self._memory = Memory(self._wanted)
        self._shared = (*_SHARED, *tags.values())
        self._known: dict[tuple[object, ...], tuple[Common, SliceHeader]] = {}
        self._commons: dict[Common, Common] = {}

    def scan(self, paths: Sequence[str]) -> list[Slice | Refused]:
        """Read the headers of files, see :func:`scanFiles`."""
        if len(self._known) + len(self._commons) > MOST:
            self._known.clear()
            self._commons.clear()
        return [one for path in paths for one in self._one(path)]

    def _one(self, path: str) -> list[Slice | Refused]:
        try:
            handle = openSharedHandle(path, _FLAGS)
            try:
                status = os.fstat(handle)
                found = self._read(path, handle, status)
            finally:
                os.close(handle)
            return expanded(found, self._commons) if isinstance(found, Slice) and needsReader(found) else [found]
        except NotAnImageError as error:
            return [Refused(path, error.code, str(error))]
        except OSError as error:
            return [Refused(path, "unreadable", _("The file cannot be read: {reason}.").format(reason=reasonOf(error)))]
        except MemoryError:
            return [Refused(path, "damaged", _("There is not enough memory for the header."))]
        except Exception:  # noqa: BLE001 - the boundary: a damaged header is one row of the report
            log.debug("%s", path, exc_info=True)
            return [Refused(path, "damaged", _("The header is damaged: its elements contradict one another."))]

    def _read(self, path: str, handle: int, status: os.stat_result) -> Slice | Refused:
        size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            return Refused(path, "not-an-image", _("The path is a pipe, a device or a link to a folder, not a file."))
        if size == 0:
            return Refused(path, "incomplete", _("The file is empty."))
        data = os.read(handle, FIRST)
        while True:
            whole = len(data) >= size
            try:
                walked = walk(data, self._wanted, whole, self._memory)
                break
            except ShortError:
                if whole or len(data) > LONGEST:
                    return Refused(
                        path,
                        "incomplete",
                        _("The file ends within its header, after {size:,} bytes.").format(size=size),
                    )
                more = os.read(handle, 3 * len(data))
                if not more:
                    return Refused(
                        path,
                        "incomplete",
                        _("The file became shorter while it was read: {count:,} bytes.").format(count=len(data)),
                    )
                data += more
            except OddError:
                if not looksLikeDICOM(data):
                    return Refused(path, "not-an-image", _("The file is not a DICOM file."))
                other = self._otherwise(path)
                if isinstance(other, Refused):
                    return other
                walked = other
                break
        return self._slice(path, status, walked)

    def _otherwise(self, path: str) -> Walked | Refused:
        # Without "DICM", with elements out of order, or damaged: pydicom reads more files, but slower.
        try:
            return walkedByPydicom(path, self._wanted)
        except NotAnImageError as error:
            return Refused(path, error.code, str(error))

    def _slice(self, path: str, status: os.stat_result, walked: Walked) -> Slice | Refused:
        values, size = walked.values, status.st_size
        series = wordOf(values.get(TAGS["series"]))
        if not walked.tag:
            return Refused(path, "no-pixels", _whatItHolds(path), series)
        known = self._sharedBy(walked, series or os.path.dirname(path))
        if isinstance(known, str):
            return Refused(path, "damaged", known, series)
        common, shared = known
        offset, cut = walked.offset, ""
        if not common.dtype or common.many:
            offset = -1
        elif walked.length < common.sliceBytes:
            return Refused(
                path,
                "damaged",
                _("The pixels have {length:,} bytes; {columns} x {rows} need {sliceBytes:,}.").format(
                    length=walked.length, columns=common.columns, rows=common.rows, sliceBytes=common.sliceBytes
                ),
                series,
            )
        if walked.length != UNDEFINED and walked.syntax in _PLAIN and walked.offset + walked.length > size:
            there = max(0, size - walked.offset)
            cut = _("The file is truncated: {there:,} of {length:,} bytes of pixels are present.").format(
                there=there, length=walked.length
            )
        location = numbersOf(values.get(TAGS["location"]), 1)
        # By position: this is done for each file, and _replace() takes several times as long.
        header = SliceHeader(
            shared.series,
            wordOf(values.get(TAGS["instanceUID"])),
            wholeOf(values.get(TAGS["instance"])),
            shared.frames,
            numbersOf(values.get(TAGS["position"]), 3),
            shared.orientation,
            None if location is None else location[0],
            shared.echo,
            shared.kinds,
            wordOf(values.get(TAGS["acquisition"])),
            wordOf(values.get(TAGS["temporal"])),
            wordOf(values.get(TAGS["trigger"])),
            timeOf(wordOf(values.get(_MOMENT)), wordOf(values.get(_DATE)), wordOf(values.get(_TIME))),
        )
        return Slice(
            path=path,
            size=size,
            modified=status.st_mtime_ns,
            common=common,
            header=header,
            offset=offset,
            cut=cut,
            notes=() if common.spacing else _NO_SPACING,
            weighting=_weightingOf(walked) if TAGS["bValue"] in values else "",
        )

    def _sharedBy(self, walked: Walked, series: str) -> tuple[Common, SliceHeader] | str:
        # What the slices of a volume share, or the reason why the file belongs to none.
        shared = map(walked.values.get, self._shared)
        key = (*shared, walked.syntax, walked.tag, walked.length == UNDEFINED, series)
        known = self._known.get(key)
        if known is None:
            made = commonOf(walked, self.tags)
            if isinstance(made, str):
                return made
            known = self._known[key] = made, _sharedHeader(walked.values, series, made.frames)
        return known


def _sharedHeader(values: dict[int, bytes], series: str, frames: int) -> SliceHeader:
    # The values that the slices of a volume share; the others are those of one slice.
    orientation = numbersOf(values.get(TAGS["orientation"]), 6)
    return SliceHeader(
        series=series,
        uid="",
        frames=frames,
        orientation=orientation if orientation and _isPlane(orientation) else None,
        echo=" ".join(filter(None, (wordOf(values.get(TAGS[name])) for name in ("echoTime", "echo")))),
        kinds=wordOf(values.get(TAGS["imageType"])),
    )


def _weightingOf(walked: Walked) -> str:
    words = []
    for name in ("bValue", "gradient"):
        value = walked.values.get(TAGS[name], b"")
        if walked.syntax == _OTHER:
            words.append(wordOf(value))
        else:
            words += [
                f"{number:g}"
                for number in struct.unpack(f"{walked.order}{len(value) // 8}d", value[: len(value) // 8 * 8])
            ]
    return " ".join(words)


def commonOf(walked: Walked, tags: dict[str, int]) -> Common | str:
    """Return the values that a file shares with others of its volume, or the reason why it belongs to none."""
    values, order = walked.values, walked.order

    def short(tag: int, default: int) -> int:
        value = values.get(tag, b"")
        return int(struct.unpack_from(order + "H", value)[0]) if len(value) >= 2 else default

    def numbers(name: str, count: int) -> tuple[float, ...] | None:
        return numbersOf(values.get(TAGS[name]), count)

    def word(name: str) -> str:
        return wordOf(values.get(TAGS[name]))

    rows, columns, samples = short(_ROWS, 0), short(_COLUMNS, 0), short(_SAMPLES, 1)
    bits = short(_BITS, 16)
    stored = short(_STORED, bits)
    high, signed = short(_HIGH, stored - 1), short(_SIGNED, 0) == 1
    frames = wholeOf(values.get(TAGS["frames"])) or 1
    if rows < 1 or columns < 1 or frames < 1:
        return _("The header declares {columns} columns, {rows} rows and {frames} frames.").format(
            columns=columns, rows=rows, frames=frames
        )
    photometric = word("photometric").upper() or "MONOCHROME2"
    grey = samples == 1 and photometric in ("MONOCHROME1", "MONOCHROME2") and bits in (8, 16, 32)
    colour = samples == 3 and photometric == "RGB" and bits == 8 and short(_PLANAR, 0) == 0
    sound = 1 <= stored <= bits and stored - 1 <= high < bits
    kind = f"{'i' if signed else 'u'}{bits // 8}"
    spacing = numbers("spacing", 2) or numbers("nominalSpacing", 2) or numbers("imagerSpacing", 2)
    between, thickness = numbers("between", 1), numbers("thickness", 1)
    steps = [abs(found[0]) for found in (between, thickness) if found and found[0]]
    slope, intercept = numbers("slope", 1), numbers("intercept", 1)
    kinds = [KINDS[part] for part in word("imageType").split("\\")[2:] if part in KINDS]
    charset = values.get(_CHARSET, b"")
    return Common(
        study=word("study"),
        modality=word("modality"),
        spacing=(abs(spacing[1]), abs(spacing[0])) if spacing and all(spacing) else None,
        step=steps[0] if steps else None,
        kind=kinds[0] if kinds else "",
        syntax=walked.syntax,
        photometric=photometric,
        rows=rows,
        columns=columns,
        frames=frames,
        many=frames > 1
        or not _MOSAICS.isdisjoint(word("imageType").split("\\"))
        or (word("class").startswith(ENHANCED) and not values.get(TAGS["position"])),
        samples=samples,
        bits=bits,
        stored=stored,
        high=high,
        signed=signed,
        dtype=f"{order}{kind}" if _isPlain(walked, bits) and sound and (grey or colour) else "",
        slope=slope[0] if slope and slope[0] else 1.0,
        intercept=intercept[0] if intercept and slope and slope[0] else 0.0,
        tags=tuple((name, textOf(values[tag], tag, charset, order)) for name, tag in tags.items() if values.get(tag)),
    )


def _isPlain(walked: Walked, bits: int) -> bool:
    # The bytes of a big-endian file may be swapped in words.
    swapped = walked.order == ">" and bits == 8
    return walked.syntax in _PLAIN and walked.length != UNDEFINED and walked.tag == PIXELS and not swapped


def _isPlane(cosines: tuple[float, ...]) -> bool:
    (a, b, c), (d, e, f) = cosines[:3], cosines[3:]
    return (b * f - c * e) ** 2 + (c * d - a * f) ** 2 + (a * e - b * d) ** 2 > 0.25


def _whatItHolds(path: str) -> str:
    try:
        DICOM(path).missing()
    except (NotAnImageError, OSError) as error:
        return sentence(reasonOf(error))
    return _("The file holds no pixels.")


def walkedByPydicom(path: str, wanted: frozenset[int]) -> Walked:
    """Read the values by pydicom, for files that :func:`walk` rejects.

    :raises NotAnImageError: pydicom rejects the file, too.
    :raises OSError: the file cannot be read.
    """
    reader = DICOM(path)
    words = reader.missing() or ""
    if words or reader.header is None:
        raise NotAnImageError(words, "incomplete")
    values: dict[int, bytes] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = reader.header.dataset
        for tag in wanted:
            element = dataset.get(tag)
            value = None if element is None else element.value
            if value is None or value == "" or element.VR == "SQ":
                continue
            if element.VR in ("US", "SS") and isinstance(value, int):
                values[tag] = struct.pack("<H", value & 0xFFFF)
            else:
                several = not isinstance(value, str | bytes) and hasattr(value, "__iter__")
                text = "\\".join(map(str, value)) if several else str(value)
                values[tag] = text.encode("utf-8", "replace")
    values[_CHARSET] = b"ISO_IR 192"
    # An unknown syntax: the pixels are decoded, never copied.
    return Walked(values, _OTHER, "<", PIXELS, 0, UNDEFINED)
