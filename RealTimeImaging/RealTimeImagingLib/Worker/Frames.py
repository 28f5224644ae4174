"""Frames on their way from the worker to Slicer's side, and pushed frames in the other direction."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..Link.Lines import LineWriter
from ..Link.Messages import Counted, Counts, EventReport, FrameHeader, FrameReport, Message, Taken
from ..Link.Ring import PUSH_RING, Place, Quota, RingReader, RingWriter
from ..Model.Errors import RingError
from ..Model.Event import Event
from ..Model.Frame import Frame, Pixels
from ..Model.Text import joined, textsOf

_ = textsOf(__file__)


class FrameSender:
    """Sender of frames and reports to Slicer's side; thread-safe.

    :param ring: takes the pixels.
    :param lines: takes the reports.
    """

    def __init__(self, ring: RingWriter, lines: LineWriter) -> None:
        self._ring, self._lines = ring, lines
        self._waiting: dict[str, Frame] = {}
        self._counts: Counts | None = None
        """The newest counts. A frame that had to wait leaves with these: older ones would take back later reports."""
        self._received: dict[str, int] = {}
        """Totals of the streams that changed since the last report, whose size does not grow with the streams."""
        self._lock = threading.Lock()
        self._returned = threading.Condition(self._lock)
        self._refused = 0
        self.onEvent: Callable[[Event], object] = lambda event: None
        """Called with each event, in any thread."""
        self._drops: queue.SimpleQueue[bool] = queue.SimpleQueue()
        """True for each buffer that was released while a frame waited; False at the end."""
        self._watcher: threading.Thread | None = None
        ring.onDropped = self._dropped

    def show(self, frame: Frame, counts: Counts) -> None:
        """Pass a frame on as soon as a slot is free, unless a newer one of its stream arrives before.

        :param counts: the cumulative counts, sent with the frame.
        """
        with self._lock:
            self._waiting.pop(frame.stream, None)
            self._waiting[frame.stream] = frame
            self._note(counts)
            self._pass()

    def getBuffer(self, nbytes: int) -> Pixels | None:
        """Return memory to decode the next frame into, which then needs no copy; None when there is none to spare."""
        with self._lock:
            memory = None if self._waiting else self._ring.getBuffer(nbytes)
            if memory is not None and self._watcher is None:
                self._watcher = threading.Thread(target=self._watchDrops, name="slots", daemon=True)
                self._watcher.start()
            return memory

    def release(self, slots: Sequence[Sequence[int]]) -> None:
        """Take slots back that Slicer's side has copied, as [generation, slot]."""
        with self._lock:
            for generation, slot in slots:
                self._ring.release(generation, slot)
            self._pass()
            self._returned.notify_all()

    def addSubscriber(self, slots: int, limit: int | None) -> Quota:
        """Let a subscriber hold so many slots and bytes, beside those for Slicer."""
        with self._lock:
            return self._ring.addQuota(slots, limit)

    def share(self, quota: Quota, pixels: Pixels) -> Place | None:
        """Return a place of a frame for a subscriber, which gives it back; None when there is none for it."""
        with self._lock:
            try:
                return self._ring.share(quota, pixels)
            except RingError:
                return None  # show() reports it

    def takeBack(self, quota: Quota, slots: Sequence[Sequence[int]]) -> None:
        """Take slots back from a subscriber, as [generation, slot]."""
        with self._lock:
            for generation, slot in slots:
                self._ring.takeBack(quota, generation, slot)
            self._pass()

    def removeSubscriber(self, quota: Quota) -> None:
        """Take all slots back from a subscriber, which gets no more."""
        with self._lock:
            self._ring.removeQuota(quota)
            self._pass()

    def event(self, event: Event, counts: Counts) -> None:
        """Report an event."""
        with self._lock:
            self._note(counts)
            self._event(event)

    def report(self, report: Message) -> None:
        """Send a report; its counts replace those before."""
        with self._lock:
            if isinstance(report, Counted) and report.counts:
                self._note(report.counts)
                report = replace(report, counts=self._counted())  # type: ignore[type-var]
                self._received = {}
            self._lines.put(report)

    def flush(self, seconds: float) -> None:
        """Wait until all lines are written, at most so many seconds: a crash would lose the waiting ones."""
        self._lines.flush(seconds)

    def drain(self, seconds: float) -> None:
        """Wait until every waiting frame has left, at most so many seconds."""
        end = time.monotonic() + seconds
        with self._lock:
            while self._waiting and (left := end - time.monotonic()) > 0:
                self._returned.wait(left)

    def waitForReleases(self, seconds: float) -> None:
        """Wait until Slicer has given all slots back, at most so many seconds."""
        end = time.monotonic() + seconds
        with self._lock:
            while not self._ring.idle and (left := end - time.monotonic()) > 0:
                self._returned.wait(left)

    def close(self) -> None:
        """End the thread that waits for released buffers. Frames that wait then do not leave."""
        if self._watcher:
            self._drops.put(False)
            self._watcher.join()

    def _dropped(self) -> None:
        # The garbage collector may call this while this thread holds the lock; SimpleQueue.put() is reentrant.
        if self._waiting:
            self._drops.put(True)

    def _watchDrops(self) -> None:
        while self._drops.get():
            with self._lock:
                self._pass()
                self._returned.notify_all()

    def _pass(self) -> None:
        while self._waiting:
            stream, frame = next(iter(self._waiting.items()))
            try:
                place = self._ring.put(frame.pixels)
            except RingError as error:
                del self._waiting[stream]
                self._refused += 1
                if self._refused == 1:
                    text = joined(str(error), _("It is received, but not shown."))
                    self._event(Event("no-memory", text, "error"))
                continue
            if place is None:
                return
            del self._waiting[stream]
            header = FrameHeader.of(frame)
            header.stages["handedOver"] = time.time()
            self._lines.put(FrameReport(header, place, self._counted()))
            self._received = {}

    def _event(self, event: Event) -> None:
        self.onEvent(event)
        if self._lines.put(EventReport(event, self._counted()), always=False):
            self._received = {}

    def _note(self, counts: Counts) -> None:
        self._received |= counts.received
        self._counts = counts

    def _counted(self) -> Counts | None:
        return replace(self._counts, received=self._received) if self._counts else None


class FrameReceiver:
    """The acquisition process's end of the ring that Slicer writes.

    :param folders: the working folders.
    :param report: sends a report to Slicer.
    """

    def __init__(self, folders: list[str], report: Callable[[Message], None]) -> None:
        self._ring, self._report = RingReader(folders, PUSH_RING), report

    def view(self, place: Place, shape: tuple[int, ...], dtype: str) -> Pixels:
        """Return the pixels in a slot, read-only, valid until they are taken.

        :raises RingError: their memory is gone.
        """
        return self._ring.view(place, shape, np.dtype(dtype))

    def taken(self, number: int, problem: str = "") -> None:
        """Give back the slots of all frames up to this one.

        :param problem: why this one could not be taken.
        """
        self._report(Taken(number, problem))
