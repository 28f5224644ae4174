"""Frames on their way out of the worker to Slicer's side, and pushed frames on their way in."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..Link.Lines import LineWriter
from ..Link.Messages import RING_NAME, frameLine
from ..Link.Ring import Place, RingReader, RingWriter
from ..Model.Errors import RingError
from ..Model.Event import Event
from ..Model.Frame import Frame, Pixels


class FrameSender:
    """Hands frames and events to Slicer's side; thread-safe.

    :param ring: where pixels go.
    :param lines: where the words go.
    """

    def __init__(self, ring: RingWriter, lines: LineWriter) -> None:
        self._ring, self._lines = ring, lines
        self._waiting: dict[str, Frame] = {}
        self._counts: dict[str, Any] = {}
        """The newest. A frame that had to wait leaves with these: older ones would take back what was told since."""
        self._received: dict[str, int] = {}
        """Totals of the streams that changed since the last line. A line with all streams would cost more with each."""
        self._lock = threading.Lock()
        self._returned = threading.Condition(self._lock)
        self._refused = 0
        self._drops: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._watcher: threading.Thread | None = None
        ring.onDropped = self._dropped

    def show(self, frame: Frame, counts: dict[str, Any]) -> None:
        """Pass a frame on as soon as a slot is free, unless a newer one of its stream comes before.

        :param counts: the cumulative counts, sent with the frame. ``received`` has only the streams that changed.
        """
        with self._lock:
            self._waiting.pop(frame.stream, None)
            self._waiting[frame.stream] = frame
            self._note(counts)
            self._pass()

    def getBuffer(self, nbytes: int) -> Pixels | None:
        """Memory to decode the next frame into, which then needs no copy; None when there is none to spare."""
        with self._lock:
            memory = None if self._waiting else self._ring.getBuffer(nbytes)
            if memory is not None and self._watcher is None:
                self._watcher = threading.Thread(target=self._watchDrops, name="slots", daemon=True)
                self._watcher.start()
            return memory

    def release(self, slots: list[list[int]]) -> None:
        """Take slots back that Slicer's side has copied, as [generation, slot]."""
        with self._lock:
            for generation, slot in slots:
                self._ring.release(generation, slot)
            self._pass()
            self._returned.notify_all()

    def event(self, event: Event, counts: dict[str, Any]) -> None:
        """Tell of an event."""
        with self._lock:
            self._note(counts)
            self._event(event)

    def tell(self, message: dict[str, Any]) -> None:
        """Send any other line."""
        with self._lock:
            if "counts" in message:
                self._note(message["counts"])
                message = {**message, "counts": self._counted()}
                self._received = {}
            self._lines.put(message)

    def flush(self, seconds: float) -> None:
        """Wait until all lines are on their way, for so many seconds at most: a crash takes those that wait with it."""
        self._lines.flush(seconds)

    def drain(self, seconds: float) -> None:
        """Wait until every waiting frame has left, for so many seconds at most."""
        end = time.monotonic() + seconds
        with self._lock:
            while self._waiting and (left := end - time.monotonic()) > 0:
                self._returned.wait(left)

    def waitForReleases(self, seconds: float) -> None:
        """Wait until Slicer has given all slots back, for so many seconds at most."""
        end = time.monotonic() + seconds
        with self._lock:
            while not self._ring.idle and (left := end - time.monotonic()) > 0:
                self._returned.wait(left)

    def _dropped(self) -> None:
        # The garbage collector may call this while this thread holds the lock; SimpleQueue.put() is reentrant.
        if self._waiting:
            self._drops.put(None)

    def _watchDrops(self) -> None:
        while True:
            self._drops.get()
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
                    self._event(Event("no-memory", f"{error} It is received, but not shown.", "error"))
                continue
            if place is None:
                return
            del self._waiting[stream]
            self._lines.put({"frame": frameLine(frame), "place": place._asdict(), "counts": self._counted()})
            self._received = {}

    def _event(self, event: Event) -> None:
        if self._lines.put({"event": event.toJSON(), "counts": self._counted()}, always=False):
            self._received = {}

    def _note(self, counts: Mapping[str, Any]) -> None:
        self._received |= counts.get("received", {})
        self._counts = dict(counts)

    def _counted(self) -> dict[str, Any]:
        return {**self._counts, "received": self._received} if self._counts else {}


class FrameReceiver:
    """The acquisition process's end of the ring that Slicer writes.

    :param folders: the working folders.
    :param tell: sends a line to Slicer.
    """

    def __init__(self, folders: list[str], tell: Callable[[dict[str, Any]], None]) -> None:
        self._ring, self._tell = RingReader(folders, RING_NAME), tell

    def view(self, place: Mapping[str, int], shape: tuple[int, ...], dtype: str) -> Pixels:
        """The pixels in a slot, read-only, valid until they are taken.

        :raises RingError: they are gone.
        """
        return self._ring.view(Place(**place), shape, np.dtype(dtype))

    def taken(self, number: int, problem: str = "") -> None:
        """Give back the slots of all frames up to this one.

        :param problem: why this one could not be taken.
        """
        self._tell({"taken": number, "problem": problem})
