"""The frames to write: a range over the parts of a recording, or one snapshot; one in memory at a time."""

from __future__ import annotations

import os

import numpy as np

from ..Formats.ImageFile import SHEAR, angleError
from ..Model.Errors import ExportError, RecordingError
from ..Model.Frame import LPS_TO_RAS, Matrix, Pixels
from ..Recording import FrameEntry, RecordedPart, openRecording
from ..Recording.Lines import FrameLine, PartLine, flat, storedType
from .Job import ExportJob, Snapshot


class Frames:
    """What is to be written.

    :param parts: of one stream, each with the places of its frames to write.
    :param attributes: of the whole.
    """

    def __init__(self, parts: list[tuple[RecordedPart, range]], attributes: dict[str, str], startClock: str) -> None:
        one = parts[0][0]
        self.shape, self.dtype = one.shape, one.dtype.newbyteorder("=")
        self.recording, self.stream, self.start, self.startClock = one.recording, one.stream, one.start, startClock
        self.attributes = attributes
        self._places = [(part, place) for part, places in parts for place in places]
        self.times = [part.times[place] for part, place in self._places]
        """Of each frame, seconds since the recording's first, strictly increasing."""
        for part, _ in parts:
            if part.shape != self.shape or part.dtype.newbyteorder("=") != self.dtype:
                raise ExportError(
                    f"The frames change from {_kind(one)} to {_kind(part)}; choose a range in which all are alike."
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
        """1, 3 or 4."""
        return self.shape[3] if len(self.shape) == 4 else 1

    def entry(self, index: int) -> FrameEntry:
        """All but the pixels of a frame."""
        part, place = self._places[index]
        return part.frames[place]

    def pixels(self, index: int) -> Pixels:
        """The pixels of a frame, native byte order.

        :raises RecordingError: they cannot be read.
        """
        part, place = self._places[index]
        return part.pixels(place)

    def matrix(self, index: int) -> Matrix:
        """IJKToRAS of a frame."""
        return self.entry(index)["ijkToRAS"]

    def firstElsewhere(self) -> int | None:
        """The first frame that lies elsewhere than frame 0, None when all lie at one place."""
        one = self.matrix(0)
        return next((index for index in range(len(self)) if not np.array_equal(self.matrix(index), one)), None)

    def fixedMatrix(self, format_: str) -> Matrix:
        """IJKToRAS of all frames.

        :raises ExportError: they differ.
        """
        index = self.firstElsewhere()
        if index is not None:
            raise ExportError(
                f"Frame {self.entry(index)['number']} lies elsewhere than frame {self.entry(0)['number']}, and "
                f"{format_} has one geometry for all frames. Keep the recording as it is, or save its sequence from "
                "Slicer as .seq.mrb: both keep a geometry for each frame."
            )
        return self.matrix(0)

    def checkRightAngles(self, format_: str) -> None:
        """:raises ExportError: the axes of a frame are not at right angles."""
        for index in range(len(self)):
            if angleError(LPS_TO_RAS @ self.matrix(index)) > SHEAR:
                number = self.entry(index)["number"]
                raise ExportError(
                    f"The axes of frame {number} are not at right angles, which {format_} cannot express."
                )

    def line(self, index: int) -> FrameLine:
        """What is told of a frame, as in a recording."""
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
        """What all frames have in common, as the description of a recording of one part."""
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
    """The frames of a job.

    :raises ExportError: the range is not there, or the parts do not belong together.
    :raises RecordingError: a part cannot be opened.
    """
    if job.snapshot is not None:
        part = _snapshotPart(job.snapshot)
        return Frames([(part, range(1))], {**part.attributes, **job.attributes}, part.frames[0]["clock"])
    parts = sorted((openRecording(path) for path in job.parts), key=lambda part: part.part)
    if len({(part.recording, part.stream) for part in parts}) > 1 or len({part.part for part in parts}) < len(parts):
        raise ExportError("The parts are not those of one stream of one recording.")
    total = sum(part.count for part in parts)
    last = total - 1 if job.last is None else job.last
    if last >= total:
        raise ExportError(f"The recording has the frames 0 to {total - 1}, not {job.first} to {last}.")
    chosen, before = [], 0
    for part in parts:
        places = range(max(0, job.first - before), min(part.count, last + 1 - before))
        if places:
            chosen.append((part, places))
        before += part.count
    if not chosen:
        raise ExportError(f"The recording has the frames 0 to {total - 1}, not {job.first} to {last}.")
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
        raise RecordingError(f"The pixels {snapshot.rawPath} cannot be read: {error.strerror}.") from error
    if size != part.frameBytes:
        raise RecordingError(f"{snapshot.rawPath} has {size:,} bytes, and the snapshot has {part.frameBytes:,}.")
    return part


def _kind(part: RecordedPart) -> str:
    slices, rows, columns = part.shape[:3]
    return f"{columns} x {rows} x {slices} {part.dtype.name}" + (f" x {part.shape[3]}" if len(part.shape) == 4 else "")
