"""Stores one stream of a recording, frame by frame, before it is shown."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

from ..Model.Errors import FrameError, RecordingError
from ..Model.Event import Event
from ..Model.Frame import Frame, checkMatrix, checkPixels
from .FrameTimes import LEAST_STEP, FrameTimes, Origin, usable
from .Header import checkAttributes
from .Layout import (
    HEADER,
    LINES,
    LOCK,
    MANIFEST,
    RAW,
    baseName,
    candidates,
    fileName,
    nothingIsNamed,
    partName,
    reasonOf,
)
from .Lines import FrameLine, Missed, PartGone, PartLine, flat, storedType
from .Lock import Lock
from .Manifest import composeManifest, partEntry, writeManifest
from .Part import GrowingPart


class Recorder:
    """One stream of one recording, in the acquisition process, called from one thread. Files are made with the first
    frame.

    :param folder: must exist by the first frame, otherwise that frame fails.
    :param name: of the recording, from :func:`Layout.freeName`; all its streams have the same.
    :param stream: the stream's name.
    :param attributes: of the recording; names matching ATTRIBUTE_NAME.
    :param origin: the same for the recorders of all streams of a recording, so that their times can be compared; None
        when there is one stream.
    :raises RecordingError: an attribute's name or value cannot be kept.
    """

    def __init__(
        self, folder: str, name: str, stream: str, attributes: Mapping[str, str], origin: Origin | None = None
    ) -> None:
        checkAttributes(attributes)
        self.folder, self.name, self.stream, self.attributes = folder, name, stream, dict(attributes)
        self.recorded = 0
        """Frames that are stored. Those whose files somebody removed are counted as failed."""
        self.failed = 0
        self.bytes = 0
        """Of the pixels stored."""
        self.losses: dict[str, int] = {}
        """For each reason how many frames are not stored."""
        self.gaps: list[Missed] = []
        """Frames that are not stored, a gap that still grows not among them."""
        self.unfinished = ""
        """Reason why files could not be closed, and a repair has to do it; empty when all are closed."""
        self._times = FrameTimes(origin)
        self._lock: Lock | None = None
        self._base = ""
        self._parts: list[GrowingPart] = []
        self._growing: GrowingPart | None = None
        self._matrix = b""
        self._partsMade = 0
        self._lost: list[GrowingPart] = []
        self._cutParts = False
        self._headers: list[str] | None = None
        self._gap: Missed | None = None
        self._events: list[Event] = []

    def append(self, frame: Frame) -> bool:
        """Store a frame. True: its pixels and its line are written, no kill takes it back. False: it failed and is
        counted; later frames are tried again. Never raises for what the file system does.

        :raises RecordingError: the recording is finished.
        """
        if self._headers is not None:
            raise RecordingError(f"The recording of {self.stream!r} is finished.")
        try:
            try:
                self._store(frame)
            except PartGone:
                self._dropLostParts()
                self._growing = None
                self._store(frame)
        except (OSError, FrameError) as error:
            self._fail(frame, error)
            return False
        if self._gap:
            self._endGap()
        return True

    def events(self) -> list[Event]:
        """What happened since the last call: "recording-failed" when storing began to fail, "recording-gap" when it
        works again or ended, "recording-unfinished" when a repair has to finish the files."""
        events, self._events = self._events, []
        return events

    def rest(self, holder: str = "") -> None:
        """Close the files until the next frame: a process may have only a limited number of open files.

        :param holder: file name of the lock that replaces the recorder's own; empty keeps its own open.
        """
        if self._growing:
            self._growing.rest()
        if self._lock and holder:
            self._lock.getBuffer(holder)

    def finish(self) -> list[str]:
        """Close the files; the paths of the headers that Slicer opens. The second call does nothing more."""
        if self._headers is not None:
            return self._headers
        self._dropLostParts()
        if self._gap:
            self._endGap()
        self._growing = None
        whole = not self._cutParts
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
                self._tellUnfinished(part.path(HEADER), error)
        # The manifest says that all before it is done: a repair that finds it looks no further.
        whole = whole and self._finishManifest()
        if self._lock:
            if whole:
                for part in [*self._parts, *self._lost]:
                    _remove(part.path(LINES))
            self._lock.release(remove=whole)
            self._lock = None
        self._headers = [part.path(HEADER) for part in self._parts if part.finished]
        return self._headers

    def _store(self, frame: Frame) -> None:
        part = self._growing
        if part is None or not part.count or not part.fits(frame):
            part = self._nextPart(frame)
        if not frame.pixels.flags.c_contiguous:
            checkPixels(frame.pixels)
        time = self._times.of(frame)
        matrix = None
        if frame.ijkToRAS.tobytes() != self._matrix:
            checkMatrix(frame.ijkToRAS)
            matrix = flat(frame.ijkToRAS)
            if matrix == part.part.ijkToRAS:
                matrix = None
        line = FrameLine(
            frame.number,
            time.seconds,
            time.clock,
            usable(frame.deviceTime),
            frame.receiveTime,
            frame.attributes,
            matrix,
            self._gap,
        )
        part.append(frame.pixels, line)
        self._times.take(frame, time)
        self.recorded += 1
        self.bytes += frame.pixels.nbytes

    def _nextPart(self, frame: Frame) -> GrowingPart:
        checkPixels(frame.pixels)
        checkMatrix(frame.ijkToRAS)
        part, self._growing = self._growing, None
        if part and part.count:
            self._settle()
            try:
                part.close()
            except OSError:
                pass  # again in finish()
        elif part:
            # Its description is that of a frame which could not be stored.
            part.discard()
            self._parts.remove(part)
            self._partsMade -= 1
        self._claim()
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
            # The first part's lock is there already.
            if line.part == 1 or nothingIsNamed(self.folder, name):
                try:
                    self._growing = GrowingPart(self.folder, name, line)
                    break
                except FileExistsError:
                    pass
            self._partsMade += 1
        self._partsMade += 1
        self._parts.append(self._growing)
        self._matrix = frame.ijkToRAS.tobytes()
        return self._growing

    def _settle(self) -> None:
        """Move the last part in time, when the first message of its clock is now known to be delayed."""
        change = self._times.settle()
        part = self._parts[-1] if self._parts else None
        if not change or part is None or part.finished or not part.count:
            return
        before = self._parts[-2].times[-1] if len(self._parts) > 1 else -math.inf
        if part.times[0] + change < before + LEAST_STEP:
            self._times.keep(change)
        else:
            part.shift(change)

    def _claim(self) -> None:
        if self._lock and self._lock.there:
            return
        if self._lock:
            self._lock.release(remove=False)
            self._lock = None
        if self._base:
            self._lock = Lock.claim(os.path.join(self.folder, self._base + LOCK))
            return
        for name in candidates(fileName(self.name)):
            base = baseName(name, self.stream)
            if not nothingIsNamed(self.folder, base):
                continue
            lock = Lock.claim(os.path.join(self.folder, base + LOCK))
            if lock and nothingIsNamed(self.folder, base, besides=LOCK):
                self._lock, self._base = lock, base
                return
            # Another process recorded under this name, and ended, between the two looks.
            if lock:
                lock.release(remove=True)

    def _fail(self, frame: Frame, error: OSError | FrameError) -> None:
        reason = reasonOf(error)
        self.failed += 1
        self.losses[reason] = self.losses.get(reason, 0) + 1
        if self._gap:
            self._gap = Missed(self._gap.first, frame.number, self._gap.count + 1, self._gap.reason)
            return
        self._gap = Missed(frame.number, frame.number, 1, reason)
        text = f"Frames of {self.stream!r} are not stored in {self.folder} from frame {frame.number} on: {reason}."
        self._events.append(Event("recording-failed", text, "error", self.folder))

    def _endGap(self) -> None:
        if self._gap:
            self._tellGap(self._gap)
        self._gap = None

    def _tellGap(self, gap: Missed) -> None:
        self.gaps.append(gap)
        which = f"frame {gap.first} is" if gap.count == 1 else f"frames {gap.first} to {gap.last} ({gap.count}) are"
        text = f"Of {self.stream!r} {which} not stored in {self.folder}: {gap.reason}."
        self._events.append(Event("recording-gap", text, "error", self.folder))

    def _dropLostParts(self) -> None:
        """Count the frames as failed whose files somebody has removed or cut."""
        for part in [*self._parts]:
            size = _size(part.path(RAW))
            if size >= part.bytes:
                continue
            part.abandon()
            self._parts.remove(part)
            self._lost.append(part)
            if size >= 0:
                self._cutParts = True  # a repair finishes what is left
            if part is self._growing:
                self._growing = None
            if part.count:
                self.recorded -= part.count
                self.failed += part.count
                self.bytes -= part.bytes
                reason = f"{part.name}{RAW} was removed or cut"
                self.losses[reason] = self.losses.get(reason, 0) + part.count
                self._tellGap(Missed(part.numbers[0], part.numbers[-1], part.count, reason))

    def _finishManifest(self) -> bool:
        if not self._parts:
            return True
        path = os.path.join(self.folder, self._base + MANIFEST)
        entries = [partEntry(part.part, part.name, part.numbers, part.times, part.moves) for part in self._parts]
        try:
            writeManifest(path, composeManifest(self._parts[0].part, entries, self.failed, self.gaps, "stop"))
        except OSError as error:
            self._tellUnfinished(path, error)
            return False
        return True

    def _tellUnfinished(self, path: str, error: OSError) -> None:
        self.unfinished = reasonOf(error)
        text = f"{path} cannot be written: {reasonOf(error)}. All frames are kept; a repair finishes the recording."
        self._events.append(Event("recording-unfinished", text, "error", path))


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return -1


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
