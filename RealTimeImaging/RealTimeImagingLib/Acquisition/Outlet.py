"""The way out of the acquisition process: frames through the ring, lines through a pipe that may stand still.

Slicer's window can be blocked for seconds, and then nobody reads the pipe. Nothing here waits for it: lines leave
from a queue, a frame only when a slot is free; one that finds none waits until a newer one of its stream takes its
place.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from ..Errors import RingError
from ..Event import Event
from ..Frame import Frame, Pixels
from .Ring import RingWriter

EVENT_LIMIT = 2000
"""Lines other than frames that may wait while Slicer is blocked; more are counted and left out."""


class LineWriter:
    """Writes JSON lines to a file descriptor from a thread of its own.

    :param descriptor: where to write; closed by nobody here.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._closing = self._writing = False
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name="lines", daemon=True)
        self._thread.start()

    def put(self, message: dict[str, Any], always: bool = True) -> bool:
        """Queue a line; return False when it is dropped.

        :param always: False drops and counts the line when too many lines wait.
        """
        line = self.encoded(message)
        if not line:
            return False
        with self._changed:
            if self._closing:
                return False
            if not always and len(self._lines) >= EVENT_LIMIT:
                self._lost += 1
                return False
            self._lines.append(line)
            self._changed.notify_all()
            return True

    def encoded(self, message: dict[str, Any]) -> bytes:
        """The line's bytes; none when it is not to be written."""
        return json.dumps(message, separators=(",", ":")).encode() + b"\n"

    def flush(self, seconds: float) -> bool:
        """Wait until all is written, for so many seconds at most; True when it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._lines and not self._writing, seconds)

    def close(self, seconds: float, last: dict[str, Any] | None = None) -> bool:
        """Write what waits, for so many seconds at most; True when all was written.

        :param last: the last line; what other threads put later is left out.
        """
        line = self.encoded(last) if last else b""
        with self._changed:
            if line and not self._closing:
                self._lines.append(line)
            self._closing = True
            self._changed.notify_all()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _take(self) -> bytes:
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            while not self._lines and not self._closing:
                self._changed.wait()
            taken = b"".join(self._lines)
            self._writing = bool(taken)
            self._lines.clear()
            if self._lost and taken:
                text = f"{self._lost} messages were left out while Slicer did not listen."
                event = Event("messages-lost", text, "warning")
                taken += self.encoded({"event": event.toJSON()})
                self._lost = 0
            return taken

    def _run(self) -> None:
        while data := self._take():
            while data:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except OSError:
                    return  # nobody reads any more; end of input follows and ends the process


class Outlet:
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

    def lend(self, nbytes: int) -> Pixels | None:
        """Memory to decode the next frame into, which then needs no copy; None when there is none to spare."""
        with self._lock:
            memory = None if self._waiting else self._ring.lend(nbytes)
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


def frameOf(line: Mapping[str, Any], pixels: Pixels) -> Frame:
    """The frame of a line."""
    return Frame(
        pixels,
        np.array(line["ijkToRAS"], np.float64),
        line["stream"],
        line["number"],
        line["receiveTime"],
        line["deviceTime"],
        MappingProxyType(line["attributes"]),
    )


def frameLine(frame: Frame) -> dict[str, Any]:
    """All of a frame but its pixels."""
    return {
        "stream": frame.stream,
        "number": frame.number,
        "shape": list(frame.pixels.shape),
        "dtype": frame.pixels.dtype.str,
        "ijkToRAS": frame.ijkToRAS.tolist(),
        "deviceTime": frame.deviceTime,
        "receiveTime": frame.receiveTime,
        "attributes": dict(frame.attributes),
    }
