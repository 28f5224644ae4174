"""The folder of the received DICOM instances.

An instance is written under a hidden name while it arrives. It gets its final name when it is complete and on disk, and
a file with a final name is never overwritten.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import functools
import hashlib
import itertools
import mmap
import os
import re
import secrets
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

from ...Formats import stampOf
from ...Formats.DICOM.Header import SliceHeader, readHeader
from ...Formats.DICOM.SliceGroup import Instance
from ...Model.Errors import NotAnImageError
from ...Model.Files import Stamp, makePrivateFolder, openPrivate, reasonOf, removeFile, writeAll
from ...Model.Text import textsOf

_ = textsOf(__file__)

PREAMBLE = bytes(128) + b"DICM"
"""Beginning of every DICOM file (PS3.10 section 7.1)."""
_META_VERSION = struct.pack("<HH2sHI", 2, 1, b"OB", 0, 2) + b"\0\1"
"""The element FileMetaInformationVersion."""
_LONGEST = 0xFFFF
"""Bytes of the longest value of these elements."""
_SERIES_FOLDER = re.compile(r"\d{4,}-[0-9a-f]{8}")
_PART = re.compile(r"\.receiving-.*\.part")
_ABANDONED = 600.0
"""Seconds without a write after which a file under its hidden name belongs to a dead process."""
_CHUNK = 1 << 20
_UNSUPPORTED = (errno.EINVAL, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""Errors of file systems that support neither hard links nor the synchronisation of folders."""


class Part:
    """A file under its hidden name, which grows while its instance arrives.

    :param folder: folder of the instances.
    :param meta: beginning of the file, up to the data set.
    :param syntax: transfer syntax of the data set, a UID of pydicom.
    :raises OSError: the file cannot be written.
    """

    def __init__(self, folder: str, meta: bytes, syntax: Any) -> None:
        self.path = os.path.join(folder, f".receiving-{secrets.token_hex(8)}.part")
        self._start, self._syntax = len(meta), syntax
        self._file = open(self.path, "x+b", buffering=0, opener=openPrivate)  # noqa: SIM115
        self._syncing: threading.Thread | None = None
        self._error: OSError | None = None
        try:
            self.write(meta)
        except OSError:
            self.discard()
            raise

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes.

        :raises OSError: the disk is full.
        """
        writeAll(self._file.fileno(), data)

    def complete(self) -> None:
        """Begin to wait for the disk in another thread: meanwhile pynetdicom hands over, and the header is read."""
        self._syncing = threading.Thread(target=self._sync, name="disk", daemon=True)
        self._syncing.start()

    def _sync(self) -> None:
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            self._error = error

    def header(self) -> SliceHeader:
        """Read the header of the complete data set.

        :raises NotAnImageError: the data set is damaged.
        :raises OSError: the file cannot be read.
        """
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            data.seek(self._start)
            return readHeader(data, len(data), self._syntax)

    def finish(self) -> None:
        """Wait until the bytes are on disk, and close the file.

        :raises OSError: the disk is full; network shares and quotas report it only now.
        """
        if self._syncing is None:
            self.complete()
        assert self._syncing is not None
        self._syncing.join()
        if self._error:
            raise self._error
        self._file.close()

    def discard(self) -> None:
        """Close the file and remove the hidden name."""
        if self._syncing:
            self._syncing.join()
        self._file.close()
        removeFile(self.path)


class Files:
    """Folder of the instances, as ``SeriesNumber-hash/InstanceNumber-SOPInstanceUID.dcm``; thread-safe.

    Several receivers may share the folder. The hash of SeriesInstanceUID keeps series with the same number apart.
    A second instance with a known UID and other content has the hash of its content in its name.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def open(self) -> None:
        """Make the folder, check that it can be written, and remove incomplete files of killed processes.

        :raises OSError: the folder cannot be made, written or listed.
        """
        _makeFolder(self.folder)
        Part(self.folder, PREAMBLE, None).discard()
        for name in os.listdir(self.folder):
            path = os.path.join(self.folder, name)
            if _PART.fullmatch(name) and (stamp := stampOf(path)) and time.time() - stamp[1] / 1e9 > _ABANDONED:
                removeFile(path)

    def receive(self, meta: bytes, syntax: Any) -> Part:
        """Begin the file of an instance.

        :param meta: beginning of the file, up to the data set.
        :param syntax: transfer syntax of the data set, a UID of pydicom.
        :raises OSError: the file cannot be written.
        """
        _makeFolder(self.folder)
        return Part(self.folder, meta, syntax)

    def store(self, part: Part, header: SliceHeader) -> Instance:
        """Name the complete file of an instance; the file is on disk under its name on return.

        :raises OSError: the instance cannot be stored, and nothing is left of it.
        """
        series = os.path.join(self.folder, folderOf(header))
        try:
            _makeFolder(series)
            part.finish()
            path, known = _publish(part.path, os.path.join(series, nameOf(header)))
        finally:
            part.discard()
        syncFolder(series)
        status = os.stat(path)
        return Instance(path, (status.st_size, status.st_mtime_ns), header, time.time(), known)

    def listing(self) -> dict[str, Stamp]:
        """Return the stamps of all stored instances by path."""
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


def fileMeta(sopClass: bytes, instance: bytes, syntax: str) -> bytes:
    """Return the beginning of the file of an instance, up to the data set (PS3.10 section 7.1).

    :param sopClass: SOP class UID. ``instance``: SOP instance UID. ``syntax``: UID of the transfer syntax.
    :raises ValueError: a UID is empty, or longer than an element can be.
    """
    from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

    elements = _META_VERSION
    for element, kind, value in (
        (0x0002, b"UI", sopClass),
        (0x0003, b"UI", instance),
        (0x0010, b"UI", syntax.encode()),
        (0x0012, b"UI", PYNETDICOM_IMPLEMENTATION_UID.encode()),
        (0x0013, b"SH", PYNETDICOM_IMPLEMENTATION_VERSION.encode()),
    ):
        value = value.rstrip(b"\0 ")
        if not 0 < len(value) < _LONGEST:
            raise ValueError(_("a UID has {count:,} characters").format(count=len(value)))
        value += (b" " if kind == b"SH" else b"\0") * (len(value) % 2)
        elements += struct.pack("<HH2sH", 2, element, kind, len(value)) + value
    return PREAMBLE + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(elements)) + elements


def readInstance(path: str, stamp: Stamp) -> Instance:
    """Read the header of a stored instance.

    :raises NotAnImageError: the file is damaged.
    :raises OSError: the file cannot be read.
    """
    from pydicom.filereader import read_file_meta_info
    from pydicom.uid import UID

    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            meta = read_file_meta_info(path)
            # PS3.10 section 7.1: the element of the group length takes 12 bytes itself.
            data.seek(len(PREAMBLE) + 12 + meta.FileMetaInformationGroupLength)
            syntax = UID(str(meta.TransferSyntaxUID))
        except Exception as error:
            raise NotAnImageError(
                _("The file's meta information cannot be read: {reason}.").format(reason=reasonOf(error)), "damaged"
            ) from error
        return Instance(path, stamp, readHeader(data, len(data), syntax), stamp[1] / 1e9)


def folderOf(header: SliceHeader) -> str:
    """Return the folder name of a series."""
    digest = hashlib.sha1(header.series.encode(), usedforsecurity=False).hexdigest()
    return f"{max(0, header.seriesNumber or 0):04d}-{digest[:8]}"


def nameOf(header: SliceHeader) -> str:
    """Return the file name of an instance."""
    # A UID from the network must not choose another folder.
    uid = re.sub(r"[^0-9A-Za-z.]", "_", header.uid)[:64]
    return f"{max(0, header.number or 0):06d}-{uid}.dcm"


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
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(handle)


def _makeFolder(folder: str) -> None:
    if not os.path.isdir(folder):
        makePrivateFolder(folder)
        syncFolder(os.path.dirname(folder))


def _publish(part: str, path: str) -> tuple[str, bool]:
    # Move the file to the first free name. True: a file with the same bytes exists already.
    for name in _names(path, part):
        try:
            _rename(part, name)
            return name, False
        except FileExistsError:
            if _same(name, part):
                return name, True
    raise AssertionError("names never end")


def _names(path: str, part: str) -> Iterator[str]:
    yield path
    stem, suffix = os.path.splitext(path)
    digest = hashlib.sha256()
    with open(part, "rb") as file:
        for piece in iter(functools.partial(file.read, _CHUNK), b""):
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
        if error.errno not in _UNSUPPORTED:
            raise
        # A file system without hard links: reserve the name first.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        os.replace(part, path)


def _same(path: str, part: str) -> bool:
    try:
        return filecmp.cmp(path, part, shallow=False)
    except OSError:
        return False
