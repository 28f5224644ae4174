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
from ..Model.Files import reasonOf
from ..Model.Frame import Matrix, checkMatrix
from ..Model.Packages import VIDEO_PACKAGES, Package
from ..Model.Settings import checkNames, typedPath
from ..Model.Text import sentence, textsOf
from ..Recording import checkAttributes, listRecordings, noteChecksum, openRecording, repair
from ..Recording.Lines import storable

_ = textsOf(__file__)


class Cancelled(Exception):
    """The export was cancelled."""


class Work:
    """Progress of a job in bytes and words, and the decision between finished and cancelled."""

    def __init__(self) -> None:
        self.words: str = _("Starting")
        self._done, self._total = 0, 1
        self._lock = threading.Lock()
        self._cancelled = self._committed = False
        self._discard: Callable[[], None] = lambda: None

    @property
    def progress(self) -> float:
        """Progress from 0 to 1."""
        return min(1.0, self._done / self._total)

    def begin(self, total: int) -> None:
        """Set the size of the work.

        :param total: bytes to write and to compare.
        """
        self._total = max(1, total)

    def owns(self, discard: Callable[[], None]) -> None:
        """Set the function that removes unfinished files; :meth:`breakOff` calls it from any thread."""
        self._discard = discard

    def step(self, nbytes: int = 0, words: str = "") -> None:
        """Note that more bytes are done.

        :param words: words for the progress; empty keeps them.
        :raises Cancelled: the work was cancelled.
        """
        self._done += nbytes
        self.words = words or self.words
        if self._cancelled:
            raise Cancelled

    def commit(self) -> None:
        """Decide that the work finishes: it cannot be cancelled any more.

        :raises Cancelled: the work was cancelled before.
        """
        with self._lock:
            if self._cancelled:
                raise Cancelled
            self._committed = True

    def cancel(self) -> bool:
        """Cancel the work; False when it is too late, because all files are written and compared."""
        with self._lock:
            self._cancelled = not self._committed
            return self._cancelled

    def breakOff(self) -> None:
        """Remove unfinished files, also while another thread writes them."""
        self._discard()


@dataclass(frozen=True)
class Format:
    """Format of an export.

    :param words: name in the panel.
    :param suffix: suffix of the file; empty for a folder.
    :param single: whether the format holds one frame only.
    :param packages: Python packages that it needs.
    """

    words: str
    suffix: str
    single: bool = False
    packages: tuple[Package, ...] = ()


FORMATS: dict[str, Format] = {
    "nrrd": Format(_("NRRD volume with metadata (one frame)"), ".nrrd", single=True),
    "seq.nrrd": Format(_("Sequence in one file (Slicer)"), ".seq.nrrd"),
    "nii": Format(_("4-D NIfTI (.nii) and JSON"), ".nii"),
    "nii.gz": Format(_("4-D NIfTI (.nii.gz) and JSON"), ".nii.gz"),
    "dicom": Format(_("DICOM files in a folder"), ""),
    "mp4": Format(_("Video (.mp4, H.264) and JSON"), ".mp4", packages=VIDEO_PACKAGES),
    "mkv": Format(_("Lossless video (.mkv, FFV1) and JSON"), ".mkv", packages=VIDEO_PACKAGES),
}


@dataclass(frozen=True)
class Snapshot:
    """One frame with its pixels in a file.

    :param rawPath: file of the pixels, C-contiguous, without header.
    :param shape: shape of the frame, (k, j, i) or (k, j, i, 3|4).
    :param dtype: type with byte order, such as ``<i2``.
    :param ijkToRAS: 16 numbers row by row, millimetres.
    :param receiveTime: time of arrival, seconds since the epoch (UTC).
    :param deviceTime: time by the device, seconds since the epoch (UTC), or None.
    :param attributes: attributes; names matching ATTRIBUTE_NAME.
    :raises SettingsError: a value is impossible.
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
            raise SettingsError(
                _("A snapshot must have the shape (slices, rows, columns[, 3 or 4]), not {shape}.").format(
                    shape=str(self.shape)
                )
            )
        if not storable(self.dtype):
            raise SettingsError(_("Slicer cannot show pixels of type {dtype}.").format(dtype=self.dtype))
        times = [self.receiveTime, *([] if self.deviceTime is None else [self.deviceTime])]
        if not all(map(math.isfinite, times)):
            raise SettingsError(_("The times of a snapshot must be finite numbers."))
        try:
            checkMatrix(self.matrix)
        except (FrameError, ValueError) as error:
            text = _("The geometry of a snapshot cannot be used: {reason}")
            raise SettingsError(text.format(reason=sentence(reasonOf(error)))) from error
        _checkMetadata(self.attributes)

    @property
    def matrix(self) -> Matrix:
        """IJKToRAS, 4x4 float64."""
        return np.array(self.ijkToRAS, dtype=np.float64).reshape(4, 4)


@dataclass(frozen=True)
class ExportJob:
    """Job to export frames of a recording, or a snapshot.

    :param format: a key of FORMATS.
    :param destination: file, with or without the format's suffix, or new folder for DICOM. Its parent folder exists.
        The name gets _1, _2 and so on when it is taken.
    :param parts: headers (``.seq.nhdr``) of the parts of one stream of a recording; empty for a snapshot.
    :param first: first frame to write, counted from 0 over all parts.
    :param last: last frame to write, included; None for the last frame of the recording.
    :param snapshot: the snapshot; None for a recording.
    :param attributes: attributes that are added to, or replace, those of the recording.
    :param compress: DICOM only: compress with lossless JPEG-LS if an encoder is installed.
    :raises SettingsError: a value is impossible.
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
            raise SettingsError(
                _("The format {format!r} is unknown. Choose {names}.").format(
                    format=self.format, names=", ".join(FORMATS)
                )
            )
        destination = typedPath(self.destination)
        if not destination:
            raise SettingsError(_("Choose a file to save to."))
        object.__setattr__(self, "destination", destination)
        object.__setattr__(self, "parts", tuple(map(os.fspath, self.parts)))
        if not os.path.basename(self.base):
            raise SettingsError(_("The name {destination} consists of a suffix only.").format(destination=destination))
        if bool(self.parts) == (self.snapshot is not None):
            raise SettingsError(_("An export needs either the parts of a recording or a snapshot."))
        if self.first < 0 or (self.last is not None and self.last < self.first):
            raise SettingsError(
                _("The range of frames {first} to {last} is empty.").format(first=self.first, last=self.last)
            )
        _checkMetadata(self.attributes)

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
        """Return the job as an object for :meth:`fromJSON`."""
        return dataclasses.asdict(self)

    @classmethod
    def fromJSON(cls, values: Mapping[str, Any]) -> ExportJob:
        """Read a job that :meth:`toJSON` wrote.

        :raises SettingsError: a name is unknown or a value is impossible.
        """
        checkNames(cls, values, _("The export"))
        fields = dict(values)
        try:
            if fields.get("snapshot") is not None:
                checkNames(Snapshot, fields["snapshot"], _("The snapshot"))
                fields["snapshot"] = Snapshot(**fields["snapshot"])
            return cls(**fields)
        except (TypeError, AttributeError) as error:
            text = _("The description of the export is invalid: {reason}.")
            raise SettingsError(text.format(reason=reasonOf(error))) from error


def _checkMetadata(attributes: Mapping[str, str]) -> None:
    try:
        checkAttributes(attributes)
    except RecordingError as error:
        raise SettingsError(str(error)) from error


PIECE = 4 << 20
"""Bytes that are read, or written, between two checks for a cancelled job."""


@dataclass(frozen=True)
class ChecksumJob:
    """Job to write checksums into manifests.

    :param headers: headers of recorded parts (``.seq.nhdr``), with the manifests beside them.
    """

    headers: tuple[str, ...]

    def toJSON(self) -> dict[str, Any]:
        """Return the line for the export process."""
        return {"checksums": list(self.headers)}


def noteChecksums(headers: Sequence[str], work: Work) -> list[str]:
    """Read the pixels of each part and write their SHA-256 into the manifest.

    :returns: paths of the manifests.
    :raises RecordingError: a part or its manifest cannot be read, or the manifest cannot be written.
    :raises OSError: the pixels cannot be read.
    :raises Cancelled: the work was cancelled.
    """
    parts = [openRecording(path) for path in headers]
    work.begin(sum(part.count * part.frameBytes for part in parts))
    manifests = []
    for part in parts:
        digest = hashlib.sha256()
        with open(part.rawPath, "rb", buffering=0) as file:
            while piece := file.read(PIECE):
                digest.update(piece)
                work.step(len(piece), _("Checksums"))
        manifest = os.path.join(os.path.dirname(part.path), f"{part.recording}.json")
        noteChecksum(manifest, part.path, digest.hexdigest())
        manifests.append(manifest)
    return manifests


@dataclass(frozen=True)
class RepairJob:
    """Job to repair the recordings in a folder.

    :param folder: folder of the recordings.
    :param name: name of the recording whose manifests get events.
    :param events: such as the one that its process was killed.
    """

    folder: str
    name: str = ""
    events: tuple[Event, ...] = ()

    def toJSON(self) -> dict[str, Any]:
        """Return the line for the export process."""
        return {"repair": self.folder, "name": self.name, "events": [event.toJSON() for event in self.events]}


def repairFolder(values: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[Event]]:
    """Repair the recordings in a folder.

    :param values: as :meth:`RepairJob.toJSON` makes them.
    :returns: a line for each repaired recording (see :meth:`Repair.toJSON`), and the events.
    """
    found = repair(values["repair"], values["name"], [Event.fromJSON(event) for event in values["events"]])
    return [one.toJSON() for one in found], [one.event for one in found]


@dataclass(frozen=True)
class ListJob:
    """Job to list the recordings in a folder.

    :param folder: folder of the recordings.
    """

    folder: str

    def toJSON(self) -> dict[str, Any]:
        """Return the line for the export process."""
        return {"list": self.folder}


def listFolder(folder: str) -> list[dict[str, Any]]:
    """List the recordings in a folder.

    :returns: one object: ``entries`` (see :class:`RecordingEntry`), and ``more``: whether folders are not searched.
    :raises SettingsError: the folder cannot be read.
    """
    try:
        entries, more = listRecordings(folder)
    except FileNotFoundError:
        return [{"entries": [], "more": False}]
    except OSError as error:
        text = _("The recordings in {folder} cannot be listed: {reason}.")
        raise SettingsError(text.format(folder=folder, reason=reasonOf(error))) from error
    return [{"entries": [entry.toJSON() for entry in entries], "more": more}]
