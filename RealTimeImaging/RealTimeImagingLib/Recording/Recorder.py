"""Recorder of one stream: stores each frame before it is shown."""

from __future__ import annotations

import json
import math
import os
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from typing import Any

from ..Model.Files import removeFile, replaceFile
from ..Model.Frame import Frame, Pixels, checkMatrix, checkPixels
from ..Model.Text import textsOf
from .AppendLog import AppendLog, LogRecorder, claimName, writeManifest
from .FrameTimes import LEAST_STEP, FrameTimes, Origin, Placed, spread, usable
from .Header import headerPieces, indexValues, isoTime
from .Layout import (
    EVENTS,
    HEADER,
    LINES,
    MANIFEST,
    POSES,
    RAW,
    baseName,
    candidates,
    fileName,
    nothingIsNamed,
    partName,
)
from .Lines import FrameLine, Missed, PackedLines, PartLine, flat, storedType
from .Lock import Lock
from .Poses import composePoses
from .RecordedEvents import RecordedEvents

_ = textsOf(__file__)

MOST_FRAMES = 3000
"""Most frames of one part: building a sequence in Slicer's scene takes time quadratic in their number."""


class GrowingPart(AppendLog):
    """Pixels and lines of one part of a stream, and at the end its header.

    :param folder: folder of the recording.
    :param lock: lock of the recording.
    :param name: name of the files without suffix; none of them may exist.
    :raises FileExistsError: the name is taken.
    :raises OSError: the files cannot be made.
    """

    def __init__(self, folder: str, lock: Lock, name: str, part: PartLine) -> None:
        super().__init__(folder, lock, name, (RAW, LINES), part.toBytes())
        self.part = part
        self.span = (0.0, 0.0)
        """Index of the first and the last frame, seconds."""
        self.moves = False
        """Whether the geometry of a frame differs from that of the part."""
        self.finished = False
        self._repeats = False
        """Whether the device time of a frame did not increase."""
        self._moved = False
        """Whether the times differ from those of the lines on disk."""
        self._times = array("d")
        self._lines = PackedLines()
        self._dtype = part.type.newbyteorder("=")

    def fits(self, frame: Frame) -> bool:
        """Return whether the frame can be the next frame of this part."""
        return self.count < MOST_FRAMES and frame.pixels.shape == self.part.shape and frame.pixels.dtype == self._dtype

    def append(self, pixels: Pixels, line: FrameLine) -> None:
        """Store one frame; when the call returns, the frame is acknowledged.

        :raises FilesGone, OSError: as for :meth:`AppendLog.write`.
        """
        text = line.toBytes()
        self.write(line.number, pixels.data, text)
        self.span = (self.span[0] if self._times else line.time, line.time)
        self._times.append(line.time)
        self._lines.append(text)
        self._repeats = self._repeats or (line.clock != "device" and line.deviceTime is not None)
        self.moves = self.moves or line.ijkToRAS is not None

    def shift(self, seconds: float) -> None:
        """Move all frames in time, before :meth:`close`.

        :param seconds: seconds to add to each index.
        """
        self.part = replace(self.part, start=self.part.start - seconds)
        self._move([round(one + seconds, 6) for one in self._times])

    def spread(self, origin: float) -> None:
        """Place the frames with repeated device times between their neighbours, before :meth:`close`.

        :param origin: arrival time of index 0, seconds since the epoch (UTC).
        """
        if self._repeats:
            lines = map(FrameLine.fromText, self._lines)
            self._move(spread([Placed(one.time, one.clock, one.deviceTime, one.receiveTime - origin) for one in lines]))

    def _move(self, times: list[float]) -> None:
        lines, self._lines = zip(self._lines, times, strict=True), PackedLines()
        self._moved, self._times, self.span = True, array("d", times), (times[0], times[-1])
        for line, one in lines:
            self._lines.append(FrameLine.fromText(line)._replace(time=one).toBytes())

    def close(self) -> None:
        """Write the header, the poses of frames that move, and the lines when frames were moved in time.

        Can be called again after a failure.

        :raises OSError: a file cannot be written; pixels and lines stay.
        """
        self.rest()
        if not self.finished:
            self.trim()
            if self._moved:
                # The times of the next part follow these, also for a repair.
                replaceFile(self.path(LINES), chain((self.part.toBytes(),), self._lines))
            matrices = [json.loads(line).get("ijkToRAS") for line in self._lines] if self.moves else []
            writeFinished(self.folder, self.name, self.part, self._times, matrices, self._lines)
            self.finished = True
            self._times, self._lines = array("d"), PackedLines()


class Recorder(LogRecorder[Frame]):
    """Recorder of one stream of one recording, in the acquisition process. The first frame makes the files.

    :param name: name of the recording; all its streams have the same.
    :param stream: name of the stream.
    :param origin: shared by the recorders of all streams of a recording, so that their times can be compared; None for
        a single stream.
    :param recordedEvents: gets a file beside the images, and is part of the manifest; None: another stream has it.
    """

    noun, nouns = _("frame"), _("frames")

    def __init__(
        self,
        folder: str,
        name: str,
        stream: str,
        attributes: Mapping[str, str],
        origin: Origin | None = None,
        recordedEvents: RecordedEvents | None = None,
    ) -> None:
        super().__init__(folder, repr(stream), attributes)
        self.name, self.stream, self._recordedEvents = name, stream, recordedEvents
        self.bytes = 0
        """Bytes of the stored pixels."""
        self._times = FrameTimes(origin)
        self._lock: Lock | None = None
        self._base = ""
        self._parts: list[GrowingPart] = []
        self._growing: GrowingPart | None = None
        self._matrix = b""
        self._partsMade = 0
        self._lost: list[GrowingPart] = []
        self._discarded: dict[str, GrowingPart] = {}
        """Parts without a frame whose files cannot be removed yet, by name."""
        self._cutParts = False

    def rest(self, holder: str = "") -> None:
        """Close the files until the next frame: the number of open files of a process is limited.

        :param holder: file name of the lock that replaces the recorder's own; empty keeps its own open.
        """
        if self._growing:
            self._growing.rest()
        if self._lock and holder:
            self._lock.replaceBy(holder)

    def _numberOf(self, entry: Frame) -> int:
        return entry.number

    def _store(self, number: int, entry: Frame) -> None:
        part = self._growing
        if part is None or not part.count or not part.fits(entry):
            part = self._nextPart(entry)
        if not entry.pixels.flags.c_contiguous:
            checkPixels(entry.pixels)
        time = self._times.of(entry)
        matrix = None
        if entry.ijkToRAS.tobytes() != self._matrix:
            checkMatrix(entry.ijkToRAS)
            matrix = flat(entry.ijkToRAS)
            if matrix == part.part.ijkToRAS:
                matrix = None
        line = FrameLine(
            number,
            time.seconds,
            time.clock,
            usable(entry.deviceTime),
            entry.receiveTime,
            entry.attributes,
            matrix,
            self._gap,
        )
        part.append(entry.pixels, line)
        self._times.take(entry, time)
        self.recorded += 1
        self.bytes += entry.pixels.nbytes

    def _nextPart(self, frame: Frame) -> GrowingPart:
        checkPixels(frame.pixels)
        checkMatrix(frame.ijkToRAS)
        part, self._growing = self._growing, None
        if part and part.count:
            self._settle()
            try:
                part.close()
            except OSError:
                pass  # _close() tries again
        elif part:
            # The part describes a frame that could not be stored.
            self._discarded[part.name] = part
            self._parts.remove(part)
            self._partsMade -= 1
        self._discard()
        lock = self._claim()
        self._times.begin(frame)
        while True:
            line = PartLine(
                self._base,
                self.stream,
                self._partsMade + 1,
                frame.pixels.shape,
                storedType(frame.pixels.dtype),
                flat(frame.ijkToRAS),
                self._times.start,
                self._times.startClock,
                self.attributes,
                origin=self._times.origin.arrival,
            )
            name = partName(self._base, line.part)
            # The lock of the first part exists already.
            if line.part == 1 or nothingIsNamed(self.folder, name):
                try:
                    self._growing = GrowingPart(self.folder, lock, name, line)
                    break
                except FileExistsError:
                    pass
            self._partsMade += 1
        self._partsMade += 1
        self._parts.append(self._growing)
        self._matrix = frame.ijkToRAS.tobytes()
        return self._growing

    def _discard(self) -> None:
        """Remove the files of parts without a frame; the disk may be read-only until later."""
        self._discarded = {name: part for name, part in self._discarded.items() if not part.discard()}

    def _settle(self) -> None:
        """Move the last part in time when the first message of its clock turned out to be delayed, and its frames with
        repeated device times between their neighbours."""
        change = self._times.settle()
        part = self._parts[-1] if self._parts else None
        if part is None or part.finished or not part.count:
            return
        before = self._parts[-2].span[1] if len(self._parts) > 1 else -math.inf
        if part.span[0] + change < before + LEAST_STEP:
            self._times.keep(change)
        elif change:
            part.shift(change)
        part.spread((self._times.origin.arrival or 0.0) - self._times.origin.late)

    def _claim(self) -> Lock:
        held = self._lock
        if held and held.there:
            return held
        if held and not held.taken and not os.path.lexists(os.path.join(self.folder, self._base + MANIFEST)):
            # The held lock stays held: when its folder is only away, it returns with the folder.
            lock = Lock.claim(held.path)
            if lock is None:
                return held
            for part in [*self._parts, *self._lost]:
                part.lock = lock
        else:
            names = (baseName(name, self.stream) for name in candidates(fileName(self.name)))
            lock, self._base = claimName(self.folder, names)
            self._partsMade = 0
            if self._recordedEvents:
                self._recordedEvents.open(os.path.join(self.folder, self._base + EVENTS))
        if held:
            held.release(remove=False)
        self._lock = lock
        return lock

    def _dropLost(self) -> None:
        for part in [*self._parts]:
            if part.whole:
                continue
            part.rest()
            self._parts.remove(part)
            self._lost.append(part)
            if os.path.lexists(part.path(RAW)) and not part.taken:
                self._cutParts = True  # a repair keeps the rest
            self.bytes -= part.size
            self._countLost(part, _("{name} was removed or cut").format(name=part.name + RAW))
        self._growing = None

    def _close(self) -> list[str]:
        whole = not self._cutParts
        self._discard()
        self._settle()
        for part in [*self._parts]:
            if not part.count:
                part.discard()
                self._parts.remove(part)
                continue
            try:
                part.close()
            except OSError as error:
                whole = False
                self._reportUnfinished(part.path(HEADER), error)
        # Without the lock, a manifest of this name would be another recorder's: look before writing this one.
        mine = [part for part in (*self._parts, *self._lost) if not part.taken]
        # The manifest comes last: a repair that finds it trusts the files.
        whole = whole and self._finishManifest()
        if self._lock:
            if whole:
                for part in mine:
                    removeFile(part.path(LINES))
                if self._recordedEvents:
                    self._recordedEvents.remove()
            self._lock.release(remove=whole)
            self._lock = None
        return [part.path(HEADER) for part in self._parts if part.finished]

    def _finishManifest(self) -> bool:
        if not self._parts:
            return True
        path = os.path.join(self.folder, self._base + MANIFEST)
        entries = [
            partEntry(part.part, part.name, part.count, (part.firstNumber, part.lastNumber), part.span, part.moves)
            for part in self._parts
        ]
        try:
            manifest = composeManifest(self._parts[0].part, entries, self.failed, self.gaps, "stop")
            writeManifest(path, manifest | (self._recordedEvents.toManifest() if self._recordedEvents else {}))
        except OSError as error:
            self._reportUnfinished(path, error)
            return False
        return True


def writeFinished(
    folder: str,
    name: str,
    part: PartLine,
    times: Sequence[float],
    matrices: Sequence[Sequence[float] | None],
    lines: Iterable[bytes],
) -> None:
    """Write the files of a part that Slicer opens: the poses of frames that move, then the header. Existing files are
    replaced.

    :param times: index of each frame, seconds.
    :param matrices: IJKToRAS of each frame, 16 numbers, None: that of the part; empty when no frame moves.
    :param lines: line of each frame.
    :raises OSError: a file cannot be written.
    """
    path = os.path.join(folder, name)
    if any(matrix is not None for matrix in matrices):
        replaceFile(path + POSES, composePoses(part.ijkToRAS, matrices, indexValues(times)[1]))
    replaceFile(path + HEADER, headerPieces(part, name, times, lines))


def partEntry(
    part: PartLine, name: str, count: int, numbers: tuple[int, int], span: tuple[float, float], moves: bool
) -> dict[str, Any]:
    """Compose the manifest's entry of a part.

    :param count: number of frames.
    :param numbers: numbers of the first and the last frame.
    :param span: index of the first and the last frame, seconds.
    :param moves: whether the part has poses.
    """
    return {
        "header": name + HEADER,
        "raw": name + RAW,
        "poses": name + POSES if moves else None,
        "frames": count,
        "firstNumber": numbers[0],
        "lastNumber": numbers[1],
        "firstTime": span[0],
        "lastTime": span[1],
        "shape": list(part.shape),
        "dtype": part.dtype,
        "bytes": count * part.frameBytes,
        "sha256": None,
    }


def composeManifest(
    part: PartLine, parts: Sequence[Mapping[str, Any]], failed: int, gaps: Sequence[Missed], finishedBy: str
) -> dict[str, Any]:
    """Compose the manifest ``NAME-STREAM.json`` of a recording.

    :param part: any part of the recording.
    :param parts: entries of :func:`partEntry`, at least one.
    :param failed: frames that were received and are not stored.
    :param finishedBy: "stop" or "repair".
    """
    return {
        "recording": part.recording,
        "stream": part.stream,
        "attributes": dict(part.attributes),
        "recorded": sum(entry["frames"] for entry in parts),
        "failed": failed,
        "gaps": [asdict(gap) for gap in gaps],
        "start": isoTime(part.start),
        "startClock": part.startClock,
        "firstTime": parts[0]["firstTime"],
        "lastTime": parts[-1]["lastTime"],
        "finishedBy": finishedBy,
        "versions": dict(part.versions),
        "parts": list(parts),
    }
