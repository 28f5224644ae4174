"""Conversion of one volume, or of a piece of one, in any process.

Arguments and results are plain and small: they are sent to workers, perhaps on another machine.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..Formats.DICOM.Reader import DICOM
from ..Model.Errors import NotAnImageError
from ..Model.Files import reasonOf, removeFile
from ..Model.Frame import LPS_TO_RAS, Image, Matrix, Pixels
from ..Model.SharedFiles import longPath, openSharedHandle
from ..Model.Text import textsOf
from .Output import Output, composeHeader
from .Values import Converter, RangeError, Scale, common

_ = textsOf(__file__)

log = logging.getLogger(__name__)

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)


class Source(NamedTuple):
    """A file of a slice.

    :param size: bytes when the file was scanned. ``modified``: nanoseconds.
    :param offset: offset of the pixels; -1: they have to be decoded.
    :param scale: index among the task's scales.
    :param frame: number in the file, from 0; -1: the file has one frame.
    """

    path: str
    size: int
    modified: int
    offset: int
    scale: int
    frame: int = -1


class Task(NamedTuple):
    """A volume to convert, or a piece of it.

    :param number: number of the volume, which the outcome repeats.
    :param path: path of the unfinished file.
    :param shape: (k, j, i) or (k, j, i, 3) of one volume; empty for files that are whole volumes.
    :param volumes: number of volumes in a sequence; None for a single volume.
    :param types: types to try in order, see :func:`typesFor`; empty for pixels that have to be decoded.
    :param sources: slice after slice, volume after volume, None for a missing slice.
    :param begin: index of the first of ``sources`` in the file; above 0 only in pieces.
    :param pairs: keys and values of the file.
    :param strict: True: an undecodable slice fails the volume. False: it is filled.
    """

    number: int
    path: str
    shape: tuple[int, ...]
    volumes: int | None
    times: list[float] | None
    ijkToLPS: tuple[float, ...]
    types: list[str]
    scales: list[Scale]
    sources: list[Source | None]
    begin: int
    pairs: Mapping[str, str]
    strict: bool


class Outcome(NamedTuple):
    """Outcome of a task.

    :param nbytes: written bytes, header included.
    :param seconds: working time.
    :param reason: reason of the failure, a sentence; empty on success.
    :param narrow: the reason is that a value does not fit the first of several types.
    """

    number: int
    nbytes: int
    seconds: float
    reason: str = ""
    narrow: bool = False
    warnings: tuple[str, ...] = ()


def runTasks(tasks: Sequence[Task]) -> list[Outcome]:
    """Do tasks one after the other; a failure does not stop the next. The file of a failed task is removed."""
    return [_run(task) for task in tasks]


def runPiece(task: Task) -> Outcome:
    """Do a piece of a volume, in its first type only; its file stays after a failure."""
    return _run(task._replace(types=task.types[:1]), piece=True)


def _run(task: Task, piece: bool = False) -> Outcome:
    started = time.perf_counter()
    reason, nbytes, narrow = "", 0, False
    warnings: list[str] = []
    try:
        nbytes = _convert(task, piece, warnings)
    except RangeError:
        reason, narrow = _("The values do not fit any type."), True
    except (NotAnImageError, ChangedError) as error:
        reason = str(error)
    except OSError as error:
        reason = f"{error.filename or task.path}: {reasonOf(error)}."
    except MemoryError:
        reason = _("There is not enough memory for this volume.")
    except Exception:  # noqa: BLE001 - the boundary: a failed volume never stops the others
        first = next((source.path for source in task.sources if source), task.path)
        log.debug("%s", first, exc_info=True)
        reason = _("{first} and the files of its volume contradict their headers.").format(first=first)
    if reason and not piece:
        removeFile(task.path)
    if reason:
        warnings.clear()
    return Outcome(task.number, nbytes, time.perf_counter() - started, reason, narrow, tuple(warnings))


class ChangedError(Exception):
    """A file has changed since the scan."""


def _convert(task: Task, piece: bool, warnings: list[str]) -> int:
    if not task.shape:
        return _writeVolumes(task, warnings)
    if not task.types:
        return _writeDecoded(task, warnings)
    for name in task.types:
        try:
            return _copy(task, name, piece)
        except RangeError:
            if name == task.types[-1]:
                raise
    raise AssertionError


def headerOf(task: Task, dtype: str) -> bytes:
    """Return the header of the volume's file for values of this type."""
    return composeHeader(
        np.dtype(dtype).newbyteorder("<"), task.shape, _matrix(task), task.volumes, task.times, task.pairs
    )


def _matrix(task: Task) -> Matrix:
    return np.array(task.ijkToLPS).reshape(4, 4)


def _copy(task: Task, name: str, piece: bool) -> int:
    header = headerOf(task, name)
    plane = int(np.prod(task.shape[1:]))
    size = plane * np.dtype(name).itemsize
    converter = Converter(name)
    missing = [place for place, source in enumerate(task.sources) if source is None]
    converter.watching = bool(missing)
    buffers = [np.empty(plane * np.dtype(scale.dtype).itemsize, np.uint8) for scale in task.scales]
    plain = [scale.plain(name) and not missing for scale in task.scales]
    with Output(task.path, truncate=not piece) as file:
        begin = len(header) + task.begin * size
        file.reserve(begin, len(task.sources) * size)
        if task.begin == 0:
            file.write(memoryview(header))
        file.seek(begin)
        for source in task.sources:
            if source is None:
                file.seek(file.position + size)
                continue
            raw = buffers[source.scale]
            _read(source, raw.data)
            if plain[source.scale]:
                file.write(raw.data)
            else:
                file.write(converter.convert(raw, task.scales[source.scale]).view(np.uint8).data)
        if missing and converter.lowest is not None:
            blank = np.full(plane, converter.lowest, np.dtype(name).newbyteorder("<")).view(np.uint8).data
            for place in missing:
                file.seek(begin + place * size)
                file.write(blank)
    return len(header) * (task.begin == 0) + len(task.sources) * size


def _read(source: Source, target: memoryview) -> None:
    handle = openSharedHandle(source.path, _READ)
    try:
        status = os.fstat(handle)
        if (status.st_size, status.st_mtime_ns) != (source.size, source.modified):
            raise ChangedError(_("{path} changed during the conversion.").format(path=source.path))
        done = 0
        while done < len(target):
            got = _readInto(handle, target[done:], source.offset + done)
            if not got:
                raise ChangedError(_("{path} became shorter during the conversion.").format(path=source.path))
            done += got
    finally:
        os.close(handle)


def _readInto(handle: int, target: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        count: int = os.preadv(handle, [target], offset)
        return count
    os.lseek(handle, offset, os.SEEK_SET)
    data = os.read(handle, len(target))
    target[: len(data)] = data
    return len(data)


def _image(source: Source, number: int = 0) -> Image:
    with _named(source):
        return next(iter(_readerOf(_whole(source)).images(number)))


def _whole(source: Source) -> Source:
    # Equal for all frames of a file.
    return source._replace(offset=-1, scale=0, frame=-1)


def _frame(source: Source) -> Pixels:
    with _named(source):
        return _readerOf(_whole(source)).frame(source.frame)


@contextmanager
def _named(source: Source) -> Iterator[None]:
    try:
        yield
    except NotAnImageError as error:
        frame = _("frame {frame}: ").format(frame=source.frame + 1) if source.frame >= 0 else ""
        text = _("{path}: {frame}{reason}").format(path=source.path, frame=frame, reason=error)
        raise NotAnImageError(text, error.code) from error
    except ImportError as error:
        words = _("{path}: the Python package {name} is missing.").format(path=source.path, name=error.name)
        raise NotAnImageError(words, "unsupported") from error


class _Kept(threading.local):
    source: Source | None = None
    reader: DICOM


_kept = _Kept()


def _readerOf(source: Source) -> DICOM:
    # Each thread keeps its reader from one frame of a file to the next.
    if _kept.source != source:
        _kept.source = None
        status = os.stat(longPath(source.path))
        if (status.st_size, status.st_mtime_ns) != (source.size, source.modified):
            raise ChangedError(_("{path} changed during the conversion.").format(path=source.path))
        reader = DICOM(source.path)
        if words := reader.missing():
            raise NotAnImageError(words, "damaged")
        _kept.source, _kept.reader = source, reader
    return _kept.reader


def _writeDecoded(task: Task, warnings: list[str]) -> int:
    # One image a file; the headers of all files together place them.
    planes: list[Pixels | None] = []
    problems: list[NotAnImageError] = []
    for source in task.sources:
        try:
            planes.append(None if source is None else _plane(task, source))
        except NotAnImageError as error:
            if task.strict or error.code != "damaged" or len(task.sources) == 1:
                raise
            planes.append(None)
            problems.append(error)
            warnings.append(_("{error} The slice is filled with the lowest value.").format(error=error))
    there = [plane for plane in planes if plane is not None]
    if not there:
        raise problems[0]
    dtype = common(plane.dtype for plane in there)
    lowest = min(plane.min() for plane in there) if len(there) < len(planes) else 0
    blank = np.full(task.shape[1:], lowest, dtype)
    return _writeAll(task, dtype, task.shape, _matrix(task), [blank if one is None else one for one in planes])


def _plane(task: Task, source: Source) -> Pixels:
    if source.frame < 0:
        pixels: Pixels = _image(source).pixels
    else:
        pixels = _frame(source)[np.newaxis]
    if pixels.shape[1:] == task.shape[1:]:
        plane: Pixels = pixels[0]
        return plane
    raise NotAnImageError(
        _("{path}: the pixels have the shape {shape}, not {expected}.").format(
            path=source.path, shape=pixels.shape, expected=task.shape
        ),
        "damaged",
    )


def _writeVolumes(task: Task, warnings: list[str]) -> int:
    # Files that are whole volumes: several make a sequence when all are in the same place.
    images: list[Image | None] = []
    problems: list[NotAnImageError] = []
    for source in task.sources:
        if source is None:
            continue
        with _named(source):
            count = _readerOf(_whole(source)).count
        for number in range(count):
            try:
                images.append(_image(source._replace(frame=number) if count > 1 else source, number))
            except NotAnImageError as error:
                if task.strict or error.code != "damaged":
                    raise
                images.append(None)
                problems.append(error)
                warnings.append(_("{error} It is filled with the lowest value.").format(error=error))
    there = [image for image in images if image is not None]
    if not there:
        raise problems[0]
    first = there[0]
    for image in there:
        if image.pixels.shape != first.pixels.shape or not np.allclose(image.ijkToRAS, first.ijkToRAS, atol=1e-3):
            raise NotAnImageError(
                _("Its {count} images have different sizes or places and make no volume.").format(count=len(images)),
                "unsupported",
            )
    dtype = common(image.pixels.dtype for image in there)
    shape = first.pixels.shape
    times: list[float] | None = None
    known = [image.deviceTime for image in there if image.deviceTime is not None]
    if len(there) == len(images):
        times = _since(known) if len(known) == len(images) else None
    sequence = task._replace(volumes=len(images) if len(images) > 1 else None, times=times)
    lowest = min(image.pixels.min() for image in there) if len(there) < len(images) else 0
    blank = np.full(shape, lowest, dtype)
    arrays = [blank if image is None else image.pixels for image in images]
    return _writeAll(sequence, dtype, shape, LPS_TO_RAS @ first.ijkToRAS, arrays)


def _since(times: list[float]) -> list[float] | None:
    found = [round(one - times[0], 6) for one in times]
    return found if all(a < b for a, b in pairwise(found)) else None


def _writeAll(
    task: Task, dtype: np.dtype[np.generic], shape: tuple[int, ...], ijkToLPS: Matrix, arrays: list[Pixels]
) -> int:
    stored = dtype.newbyteorder("<")
    header = composeHeader(stored, shape, ijkToLPS, task.volumes, task.times, task.pairs)
    with Output(task.path, truncate=True) as file:
        file.reserve(0, len(header) + sum(array.size for array in arrays) * stored.itemsize)
        file.write(memoryview(header))
        for array in arrays:
            file.write(np.ascontiguousarray(array, stored).reshape(-1).view(np.uint8).data)
        return file.position
