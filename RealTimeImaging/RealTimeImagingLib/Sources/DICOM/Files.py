"""The folder in which DICOM instances are kept.

A file is written under a hidden name and renamed when it is whole and the disk has it; what has its final name is
whole, and is never overwritten.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import mmap
import os
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any

from ...Formats import stampOf
from ...Formats.DICOM.Header import Header, readHeader
from ...Formats.DICOM.SliceGroup import Instance
from ...Model.Errors import NotAnImageError
from ...Model.Files import Stamp, makePrivateFolder, openPrivate

PREAMBLE = bytes(128) + b"DICM"
"""With which a file begins (PS3.10 section 7.1)."""
_SERIES_FOLDER = re.compile(r"\d{4,}-[0-9a-f]{8}")
_PART = re.compile(r"\.receiving-.*\.part")
_ABANDONED = 60.0
"""Seconds after which a file that is still under its hidden name is a dead process's: writing takes milliseconds."""
_CHUNK = 1 << 20
_NOT_OFFERED = (errno.EINVAL, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""Errors of file systems that support neither hard links nor the synchronisation of folders."""


class Files:
    """The folder in which instances are kept, as ``SeriesNumber-hash/InstanceNumber-SOPInstanceUID.dcm``; thread-safe,
    and several receivers may share the folder.

    The hash is that of SeriesInstanceUID, so that series with one number keep apart. Another instance under a UID that
    is there already has a hash of its content behind its name.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def open(self) -> None:
        """Make the folder, and remove what a process that was killed has left half-written.

        :raises OSError: it cannot be.
        """
        if not os.path.isdir(self.folder):
            makePrivateFolder(self.folder)
            syncFolder(os.path.dirname(self.folder))
        for name in os.listdir(self.folder):
            path = os.path.join(self.folder, name)
            if _PART.fullmatch(name) and (stamp := stampOf(path)) and time.time() - stamp[1] / 1e9 > _ABANDONED:
                with contextlib.suppress(OSError):
                    os.unlink(path)

    def store(self, header: Header, pieces: Sequence[Any]) -> Instance:
        """Keep an instance; it is on disk under its name when this returns.

        :param pieces: the bytes of the file, one after the other.
        :raises OSError: it cannot be kept, and nothing is left of it.
        """
        series = os.path.join(self.folder, folderOf(header))
        if not os.path.isdir(series):
            makePrivateFolder(series)
            syncFolder(self.folder)
        part = os.path.join(self.folder, f".receiving-{secrets.token_hex(8)}.part")
        try:
            with open(part, "xb", buffering=0, opener=openPrivate) as file:
                for piece in pieces:
                    _writeAll(file, memoryview(piece))
                # A disk without room may say so only now (network shares, quotas).
                os.fsync(file.fileno())
            path, known = _publish(part, os.path.join(series, nameOf(header)), pieces)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(part)
        syncFolder(series)
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


def syncFolder(folder: str) -> None:
    """Wait until the names in a folder are on disk, where the system supports that (not on Windows).

    :raises OSError: the disk reports an error.
    """
    if os.name != "posix":
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
    finally:
        os.close(handle)


def _publish(part: str, path: str, pieces: Sequence[Any]) -> tuple[str, bool]:
    # Move the file to the first free name. True when a file with the same bytes exists already.
    for name in _names(path, pieces):
        try:
            _rename(part, name)
            return name, False
        except FileExistsError:
            if _same(name, pieces):
                return name, True
    raise AssertionError("names never end")


def _names(path: str, pieces: Sequence[Any]) -> Iterator[str]:
    yield path
    stem, suffix = os.path.splitext(path)
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    yield f"{stem}-{digest.hexdigest()[:16]}{suffix}"
    # Only a damaged or foreign file has such a name and other bytes.
    for number in itertools.count(2):
        yield f"{stem}-{digest.hexdigest()[:16]}-{number}{suffix}"


def _rename(part: str, path: str) -> None:
    # Never overwrite an existing file, also not one of another receiver.
    if os.name == "nt":
        os.rename(part, path)
        return
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
        # A file system without hard links: reserve the name first.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        os.replace(part, path)


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
