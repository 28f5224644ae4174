"""The folder in which DICOM instances are kept.

A file is written under a hidden name and renamed when it is whole and the disk has it; what has its final name is
whole, and is never overwritten.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..Errors import NotAnImageError
from ..Journal import Stamp
from .DICOMHeader import Header, readHeader
from .Listing import stampOf

PREAMBLE = bytes(128) + b"DICM"
"""With which a file begins (PS3.10 section 7.1)."""
_SERIES_FOLDER = re.compile(r"\d{4,}-[0-9a-f]{8}")
_PART = re.compile(r"\.receiving-.*\.part")
_ABANDONED = 60.0
"""Seconds after which a file that is still under its hidden name is a dead process's: writing takes milliseconds."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Instance:
    """An instance on disk.

    :param stamp: of the file when it was whole.
    :param stored: seconds since the epoch (UTC) at which it was whole.
    :param known: it was there before, bit for bit.
    """

    path: str
    stamp: Stamp
    header: Header
    stored: float
    known: bool = False


class Files:
    """The folder in which instances are kept, as ``SeriesNumber-hash/InstanceNumber-SOPInstanceUID.dcm``; thread-safe.

    The hash is that of SeriesInstanceUID, so that series with one number keep apart.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._parts = 0

    def open(self) -> None:
        """Make the folder, and remove what a process that was killed has left half-written.

        :raises OSError: it cannot be.
        """
        os.makedirs(self.folder, exist_ok=True)
        for name in os.listdir(self.folder):
            path = os.path.join(self.folder, name)
            if _PART.fullmatch(name) and (stamp := stampOf(path)) and time.time() - stamp[1] / 1e9 > _ABANDONED:
                with contextlib.suppress(OSError):
                    os.unlink(path)

    def store(self, header: Header, pieces: Sequence[Any]) -> Instance:
        """Keep an instance; it is on disk when this returns.

        :param pieces: the bytes of the file, one after the other.
        :raises OSError: it cannot be kept, and nothing is left of it.
        """
        series = os.path.join(self.folder, folderOf(header))
        os.makedirs(series, exist_ok=True)
        with self._lock:
            self._parts += 1
            part = os.path.join(self.folder, f".receiving-{os.getpid()}-{self._parts}.part")
        try:
            with open(part, "wb", buffering=0) as file:
                for piece in pieces:
                    _writeAll(file, memoryview(piece))
                # A disk without room may say so only now (network shares, quotas).
                os.fsync(file.fileno())
            with self._lock:
                for path in _names(os.path.join(series, nameOf(header))):
                    if not os.path.lexists(path):
                        os.rename(part, path)
                        known = False
                        break
                    if _same(path, pieces):
                        os.unlink(part)
                        known = True
                        break
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
        status = os.stat(path)
        return Instance(path, (status.st_size, status.st_mtime_ns), header, time.time(), known)

    def listing(self) -> dict[str, Stamp]:
        """Path to stamp of all instances in the folder."""
        found: dict[str, Stamp] = {}
        for series in self._series():
            with contextlib.suppress(OSError), os.scandir(series) as entries:
                for entry in entries:
                    if entry.name.endswith(".dcm") and (stamp := stampOf(entry.path)):
                        found[entry.path] = stamp
        return found

    def _series(self) -> list[str]:
        try:
            names = sorted(name for name in os.listdir(self.folder) if _SERIES_FOLDER.fullmatch(name))
        except OSError:
            return []
        return [os.path.join(self.folder, name) for name in names]


def readInstance(path: str, stamp: Stamp) -> Instance:
    """An instance that was kept before.

    :raises NotAnImageError: it is damaged.
    :raises OSError: it cannot be read.
    """
    from pydicom.filereader import read_file_meta_info
    from pydicom.uid import UID

    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            meta = read_file_meta_info(path)
            # PS3.10 section 7.1: the group length's element takes 12 bytes itself.
            data.seek(len(PREAMBLE) + 12 + meta.FileMetaInformationGroupLength)
            syntax = UID(str(meta.TransferSyntaxUID))
        except Exception as error:
            raise NotAnImageError(f"The file's meta information cannot be read: {error}", "damaged") from error
        return Instance(path, stamp, readHeader(data, len(data), syntax), stamp[1] / 1e9)


def folderOf(header: Header) -> str:
    """The name of a series' folder."""
    digest = hashlib.sha1(header.series.encode(), usedforsecurity=False).hexdigest()
    return f"{max(0, header.number or 0):04d}-{digest[:8]}"


def nameOf(header: Header) -> str:
    """The name of an instance's file."""
    # What came over the network may not choose another folder.
    uid = re.sub(r"[^0-9A-Za-z.]", "_", header.instance)[:64]
    return f"{max(0, header.instanceNumber or 0):06d}-{uid}.dcm"


def _names(path: str) -> Iterator[str]:
    yield path
    stem, suffix = os.path.splitext(path)
    number = 2
    while True:
        yield f"{stem}-{number}{suffix}"
        number += 1


def _writeAll(file: Any, data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]


def _same(path: str, pieces: Sequence[Any]) -> bool:
    views = [memoryview(piece) for piece in pieces]
    try:
        if os.path.getsize(path) != sum(map(len, views)):
            return False
        with open(path, "rb") as file:
            return all(
                file.read(len(view[start : start + _CHUNK])) == view[start : start + _CHUNK]
                for view in views
                for start in range(0, len(view), _CHUNK)
            )
    except OSError:
        return False
