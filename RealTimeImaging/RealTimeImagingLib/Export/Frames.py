"""Frames of an export: a range over the parts of a recording, or one snapshot; one frame in memory at a time."""

from __future__ import annotations

import os

import numpy as np

from ..Formats.ImageFile import angleError
from ..Model.Errors import ExportError, RecordingError
from ..Model.Files import reasonOf
from ..Model.Frame import LPS_TO_RAS, SHEAR, Matrix, Pixels
from ..Model.Text import textsOf
from ..Recording import FrameEntry, RecordedPart, openRecording
from ..Recording.Lines import FrameLine, PartLine, flat, storedType
from .Job import ExportJob, Snapshot

_ = textsOf(__file__)


class Frames:
    """Frames of an export.

    :param parts: parts of one stream, each with the places of the frames to write.
    :param attributes: attributes of the export.
    :param startClock: "device" or "arrival".
    :raises ExportError: shape or type of the frames changes.
    """

    def __init__(self, parts: list[tuple[RecordedPart, range]], attributes: dict[str, str], startClock: str) -> None:
        one = parts[0][0]
        self.shape, self.dtype = one.shape, one.dtype.newbyteorder("=")
        self.recording, self.stream, self.start, self.startClock = one.recording, one.stream, one.start, startClock
        self.attributes = attributes
        self._places = [(part, place) for part, places in parts for place in places]
        self.times = [part.times[place] for part, place in self._places]
        """Index of each frame, seconds since the recording's first frame, strictly increasing."""
        for part, _places in parts:
            if part.shape != self.shape or part.dtype.newbyteorder("=") != self.dtype:
                raise ExportError(
                    _("The frames change from {earlier} to {later}. Choose a range without a change.").format(
                        earlier=_kind(one), later=_kind(part)
                    )
                )

    def __len__(self) -> int:
        return len(self._places)

    @property
    def frameBytes(self) -> int:
        """Bytes of the pixels of one frame."""
        return self._places[0][0].frameBytes

    @property
    def bytes(self) -> int:
        """Bytes of the pixels of all frames."""
        return len(self) * self.frameBytes

    @property
    def components(self) -> int:
        """Components of a voxel: 1, 3 or 4."""
        return self.shape[3] if len(self.shape) == 4 else 1

    def entry(self, index: int) -> FrameEntry:
        """Return a frame without its pixels."""
        part, place = self._places[index]
        return part.frames[place]

    def pixels(self, index: int) -> Pixels:
        """Return the pixels of a frame: (slices, rows, columns[, components]), in native byte order.

        :raises RecordingError: the pixels cannot be read.
        """
        part, place = self._places[index]
        return part.pixels(place)

    def matrix(self, index: int) -> Matrix:
        """Return IJKToRAS (4x4, millimetres) of a frame."""
        return self.entry(index)["ijkToRAS"]

    def firstElsewhere(self) -> int | None:
        """Return the first frame with another geometry than frame 0; None when all have the same."""
        one = self.matrix(0)
        return next((index for index in range(len(self)) if not np.array_equal(self.matrix(index), one)), None)

    def fixedMatrix(self, format_: str) -> Matrix:
        """Return IJKToRAS (4x4, millimetres) that all frames share.

        :raises ExportError: the frames have different geometries.
        """
        index = self.firstElsewhere()
        if index is not None:
            raise ExportError(
                _(
                    "{format} has one geometry for all frames, but frame {number} has another than frame "
                    "{first}. Keep the recording itself, or save its sequence from Slicer as .seq.mrb: "
                    "both keep the geometry of each frame."
                ).format(format=format_, number=self.entry(index)["number"], first=self.entry(0)["number"])
            )
        return self.matrix(0)

    def checkRightAngles(self, format_: str) -> None:
        """Check that the axes of all frames are at right angles.

        :raises ExportError: the axes of a frame are not.
        """
        for index in range(len(self)):
            if angleError(LPS_TO_RAS @ self.matrix(index)) > SHEAR:
                number = self.entry(index)["number"]
                raise ExportError(
                    _("The axes of frame {number} are not at right angles, which {format} cannot express.").format(
                        number=number, format=format_
                    )
                )

    def line(self, index: int) -> FrameLine:
        """Return the description of a frame, as in a recording."""
        entry = self.entry(index)
        return FrameLine(
            entry["number"],
            entry["time"],
            entry["clock"],
            entry["deviceTime"],
            entry["receiveTime"],
            entry["attributes"],
            flat(entry["ijkToRAS"]),
        )

    def partLine(self) -> PartLine:
        """Return the description that all frames share, as of a recording with one part."""
        return PartLine(
            self.recording,
            self.stream,
            1,
            self.shape,
            storedType(self.dtype),
            flat(self.matrix(0)),
            self.start,
            self.startClock,
            self.attributes,
        )


def openFrames(job: ExportJob) -> Frames:
    """Open the frames of a job.

    :raises ExportError: the recording has no such range, or the parts do not belong together.
    :raises RecordingError: a part cannot be opened.
    """
    if job.snapshot is not None:
        part = _snapshotPart(job.snapshot)
        return Frames([(part, range(1))], {**part.attributes, **job.attributes}, part.frames[0]["clock"])
    parts = sorted((openRecording(path) for path in job.parts), key=lambda part: part.part)
    if len({(part.recording, part.stream) for part in parts}) > 1 or len({part.part for part in parts}) < len(parts):
        raise ExportError(_("The parts do not belong to one stream of one recording."))
    total = sum(part.count for part in parts)
    last = total - 1 if job.last is None else job.last
    if last >= total:
        raise ExportError(
            _("The recording has the frames 0 to {end}, not {first} to {last}.").format(
                end=total - 1, first=job.first, last=last
            )
        )
    chosen, before = [], 0
    for part in parts:
        places = range(max(0, job.first - before), min(part.count, last + 1 - before))
        if places:
            chosen.append((part, places))
        before += part.count
    if not chosen:
        raise ExportError(
            _("The recording has the frames 0 to {end}, not {first} to {last}.").format(
                end=total - 1, first=job.first, last=last
            )
        )
    return Frames(chosen, {**chosen[0][0].attributes, **job.attributes}, _startClock(parts[0]))


def _startClock(part: RecordedPart) -> str:
    # The index is 0 at the recording's first frame.
    return (
        part.frames[0]["clock"] if part.part == 1 else "arrival" if part.frames[0]["deviceTime"] is None else "device"
    )


def _snapshotPart(snapshot: Snapshot) -> RecordedPart:
    time = snapshot.receiveTime if snapshot.deviceTime is None else snapshot.deviceTime
    entry: FrameEntry = {
        "number": snapshot.number,
        "ijkToRAS": snapshot.matrix,
        "deviceTime": snapshot.deviceTime,
        "receiveTime": snapshot.receiveTime,
        "time": 0.0,
        "clock": "arrival" if snapshot.deviceTime is None else "device",
        "attributes": dict(snapshot.attributes),
    }
    part = RecordedPart(
        snapshot.rawPath,
        snapshot.rawPath,
        "",
        snapshot.stream,
        1,
        snapshot.shape,
        np.dtype(snapshot.dtype),
        time,
        [0.0],
        [entry],
        dict(snapshot.attributes),
        snapshot.receiveTime,
    )
    try:
        size = os.path.getsize(snapshot.rawPath)
    except OSError as error:
        raise RecordingError(
            _("The pixels {path} cannot be read: {reason}.").format(path=snapshot.rawPath, reason=reasonOf(error))
        ) from error
    if size != part.frameBytes:
        raise RecordingError(
            _("{path} has {size:,} bytes; the snapshot needs {frameBytes:,}.").format(
                path=snapshot.rawPath, size=size, frameBytes=part.frameBytes
            )
        )
    return part


def _kind(part: RecordedPart) -> str:
    slices, rows, columns = part.shape[:3]
    return f"{columns} x {rows} x {slices} {part.dtype.name}" + (f" x {part.shape[3]}" if len(part.shape) == 4 else "")
