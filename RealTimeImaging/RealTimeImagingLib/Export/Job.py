"""Jobs of the export process: exports, checksums into manifests, and repair of recordings."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..Model.Errors import FrameError, RecordingError, SettingsError
from ..Model.Event import Event
from ..Model.Frame import SCALAR_TYPES, Matrix, checkMatrix
from ..Model.Settings import typedPath
from ..Recording import noteChecksum, openRecording, repair
from ..Recording.Header import checkAttributes


class Cancelled(Exception):
    """The export is not wanted any more."""


class Work:
    """Bytes done of bytes to do, the words for it, and the decision between finished and cancelled."""

    def __init__(self) -> None:
        self.words = "Starting"
        self._done, self._total = 0, 1
        self._lock = threading.Lock()
        self._cancelled = self._committed = False
        self._discard: Callable[[], None] = lambda: None

    @property
    def progress(self) -> float:
        """From 0 to 1."""
        return min(1.0, self._done / self._total)

    def begin(self, total: int) -> None:
        """:param total: bytes to write and to compare."""
        self._total = max(1, total)

    def owns(self, discard: Callable[[], None]) -> None:
        """:param discard: removes what is written so far; called from any thread when the work is broken off."""
        self._discard = discard

    def step(self, nbytes: int = 0, words: str = "") -> None:
        """So many more bytes are done.

        :raises Cancelled: it is not wanted any more.
        """
        self._done += nbytes
        self.words = words or self.words
        if self._cancelled:
            raise Cancelled

    def commit(self) -> None:
        """From here on it can't be cancelled.

        :raises Cancelled: it was.
        """
        with self._lock:
            if self._cancelled:
                raise Cancelled
            self._committed = True

    def cancel(self) -> bool:
        """False when it is too late: all is written and compared."""
        with self._lock:
            self._cancelled = not self._committed
            return self._cancelled

    def breakOff(self) -> None:
        """Remove what is written while another thread may still write."""
        self._discard()


@dataclass(frozen=True)
class Format:
    """:param words: for the panel. :param suffix: of the file; empty: a folder. :param single: one frame only."""

    words: str
    suffix: str
    single: bool = False


FORMATS: dict[str, Format] = {
    "nrrd": Format("NRRD volume with metadata (one frame)", ".nrrd", single=True),
    "seq.nrrd": Format("Sequence in one file (Slicer)", ".seq.nrrd"),
    "nii": Format("4-D NIfTI with BIDS-style JSON", ".nii"),
    "nii.gz": Format("4-D NIfTI, compressed, with BIDS-style JSON", ".nii.gz"),
    "dicom": Format("DICOM files in a folder", ""),
}


@dataclass(frozen=True)
class Snapshot:
    """One frame whose pixels lie in a file of their own.

    :param rawPath: the pixels alone, C-contiguous, without header.
    :param shape: (k, j, i) or (k, j, i, 3|4).
    :param dtype: with byte order, such as ``<i2``.
    :param ijkToRAS: 16 numbers row by row, millimetres.
    :param receiveTime: seconds since the epoch (UTC), as is ``deviceTime``; None where the device gave none.
    :param attributes: names matching ATTRIBUTE_NAME.
    :raises SettingsError: a value that cannot be.
    """

    rawPath: str
    shape: tuple[int, ...]
    dtype: str
    ijkToRAS: tuple[float, ...]
    receiveTime: float
    deviceTime: float | None = None
    number: int = 0
    stream: str = "Live"
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(map(int, self.shape)))
        object.__setattr__(self, "ijkToRAS", tuple(map(float, self.ijkToRAS)))
        if (
            len(self.shape) not in (3, 4)
            or min(self.shape) < 1
            or (len(self.shape) == 4 and self.shape[3] not in (3, 4))
        ):
            raise SettingsError(f"A snapshot has the shape (slices, rows, columns[, 3 or 4]), not {self.shape}.")
        try:
            known = np.dtype(self.dtype).newbyteorder("=") in SCALAR_TYPES
        except TypeError:
            known = False
        if not known:
            raise SettingsError(f"Slicer cannot show pixels of type {self.dtype}.")
        times = [self.receiveTime, *([] if self.deviceTime is None else [self.deviceTime])]
        if not all(map(math.isfinite, times)):
            raise SettingsError("The times of a snapshot are finite numbers.")
        try:
            checkMatrix(self.matrix)
        except (FrameError, ValueError) as error:
            raise SettingsError(str(error)) from error
        _checkNames(self.attributes)

    @property
    def matrix(self) -> Matrix:
        """IJKToRAS, 4x4 float64."""
        return np.array(self.ijkToRAS, dtype=np.float64).reshape(4, 4)


@dataclass(frozen=True)
class ExportJob:
    """What to write.

    :param format: a key of FORMATS.
    :param destination: the file, with or without the format's suffix, or for DICOM the folder to make. The folder it
        lies in exists. When the name is taken, the next free one with _1, _2 is.
    :param parts: headers (``.seq.nhdr``) of the parts of one stream of a recording. Either these or ``snapshot``.
    :param first: place in the recording of the first frame to write, over all parts, from 0.
    :param last: of the last, which is written too; None: of the recording's last.
    :param attributes: added to those of the recording, whose values they replace.
    :param compress: DICOM only: lossless JPEG-LS where an encoder is there.
    :raises SettingsError: a value that cannot work.
    """

    format: str
    destination: str
    parts: tuple[str, ...] = ()
    first: int = 0
    last: int | None = None
    snapshot: Snapshot | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    compress: bool = False

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise SettingsError(f"There is no format {self.format!r}; there are {', '.join(FORMATS)}.")
        destination = typedPath(self.destination)
        if not destination:
            raise SettingsError("Choose where to save.")
        object.__setattr__(self, "destination", destination)
        object.__setattr__(self, "parts", tuple(map(os.fspath, self.parts)))
        if not os.path.basename(self.base):
            raise SettingsError(f"The name {destination} has nothing before its suffix.")
        if bool(self.parts) == (self.snapshot is not None):
            raise SettingsError("An export has either the parts of a recording or a snapshot.")
        if self.first < 0 or (self.last is not None and self.last < self.first):
            raise SettingsError(f"The frames {self.first} to {self.last} are no range.")
        _checkNames(self.attributes)

    @property
    def base(self) -> str:
        """The destination without the format's suffix."""
        suffix = FORMATS[self.format].suffix
        # "a.seq.nrrd" as a single volume is "a.nrrd", not the name of a sequence.
        for ending in (".seq.nrrd", ".nii.gz", suffix) if suffix else ():
            if self.destination.lower().endswith(ending):
                return self.destination[: -len(ending)]
        return self.destination

    def toJSON(self) -> dict[str, Any]:
        """An object that :meth:`fromJSON` takes back."""
        return dataclasses.asdict(self)

    @classmethod
    def fromJSON(cls, values: Mapping[str, Any]) -> ExportJob:
        """The job that :meth:`toJSON` wrote.

        :raises SettingsError: a name or a value that cannot be.
        """
        try:
            given = dict(values)
            if given.get("snapshot") is not None:
                given["snapshot"] = Snapshot(**given["snapshot"])
            return cls(**given)
        except (TypeError, AttributeError) as error:
            raise SettingsError(f"The export cannot be understood: {error}") from error


def _checkNames(attributes: Mapping[str, str]) -> None:
    try:
        checkAttributes(attributes)
    except RecordingError as error:
        raise SettingsError(str(error)) from error


PIECE = 4 << 20


@dataclass(frozen=True)
class ChecksumJob:
    """:param headers: of the recorded parts (``.seq.nhdr``), whose manifests lie beside them."""

    headers: tuple[str, ...]

    def toJSON(self) -> dict[str, Any]:
        """What the process is told."""
        return {"checksums": list(self.headers)}


def noteChecksums(headers: Sequence[str], work: Work) -> list[str]:
    """Read the pixels of each part and note their SHA-256; the paths of the manifests.

    :raises RecordingError: a part or its manifest cannot be read, or the manifest not be written.
    :raises OSError: the pixels cannot be read.
    :raises Cancelled: ``work`` was.
    """
    parts = [openRecording(path) for path in headers]
    work.begin(sum(part.count * part.frameBytes for part in parts))
    manifests = []
    for part in parts:
        digest = hashlib.sha256()
        with open(part.rawPath, "rb", buffering=0) as file:
            while piece := file.read(PIECE):
                digest.update(piece)
                work.step(len(piece), "Checksums")
        manifest = os.path.join(os.path.dirname(part.path), f"{part.recording}.json")
        noteChecksum(manifest, part.path, digest.hexdigest())
        manifests.append(manifest)
    return manifests


@dataclass(frozen=True)
class RepairJob:
    """The job to finish the recordings in a folder.

    :param folder: where the recordings are.
    """

    folder: str

    def toJSON(self) -> dict[str, Any]:
        """The line for the export process."""
        return {"repair": self.folder}


def repairFolder(folder: str) -> tuple[list[dict[str, Any]], list[Event]]:
    """Finish the recordings in a folder; returns a line for each (see :meth:`Repair.toJSON`), and the events."""
    found = repair(folder)
    return [one.toJSON() for one in found], [one.event for one in found]
