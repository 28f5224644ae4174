"""Thread that grabs pictures as soon as they arrive, and its queue to the source."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from ...Formats import stampOf
from ...Model.Event import Event, Remedy
from ...Model.Files import Stamp
from ...Model.Frame import Pixels
from ...Model.Text import Text, joined, textsOf
from . import CameraSettings
from .Device import PATIENCE, CameraDevice, DriverTimes, Gaps
from .Obstacles import CannotOpenError

_ = textsOf(__file__)

LIMIT = 512 << 20
"""Most bytes of waiting pictures while all are wanted; a single picture may be larger."""


@dataclass(frozen=True)
class Grabbed:
    """A grabbed picture.

    :param pixels: as OpenCV returns them; None when the picture cannot be decoded.
    :param arrival: seconds since the epoch (UTC).
    :param deviceTime: seconds since the epoch (UTC), or None.
    :param place: number in a file, from 0; None for a camera or stream.
    """

    pixels: Pixels | None
    arrival: float
    deviceTime: float | None
    place: int | None = None

    @property
    def bytes(self) -> int:
        return 0 if self.pixels is None else self.pixels.nbytes


class CameraQueue:
    """Queue that keeps every picture while all are wanted, otherwise only the newest. Thread-safe.

    :param limit: most bytes of waiting pictures.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._items: deque[Grabbed | Event] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._all, self._woken, self._closed = True, False, False
        self.grabbed = 0
        """Pictures that were added."""
        self.passedOver = 0
        """Pictures that a newer picture replaced while only the newest was wanted."""
        self.lost = 0
        """Pictures without room, although all were wanted."""

    def keepAll(self, all_: bool) -> None:
        """Keep every picture from now on (True), or only the newest (False)."""
        with self._changed:
            self._all = all_

    def put(self, picture: Grabbed, patient: bool = False) -> None:
        """Add a picture.

        :param patient: True waits for room and drops nothing; for files.
        """
        with self._changed:
            self.grabbed += 1
            if patient:
                self._changed.wait_for(lambda: self._closed or not self._bytes or self._fits(picture))
            elif not self._all:
                self._dropPictures()
            elif self._bytes and not self._fits(picture):
                self.lost += 1
                return
            self._bytes += picture.bytes
            self._append(picture)

    def putEvent(self, event: Event) -> None:
        """Add an event, in order with the pictures."""
        with self._changed:
            self._append(event)

    def take(self, seconds: float) -> Grabbed | Event | None:
        """Return the next item after at most so many seconds; None after that time, or after :meth:`wake`."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._woken, seconds)
            self._woken = False
            return self._next()

    def takeWanted(self) -> Grabbed | Event | None:
        """Return the next waiting item, or None. Drop pictures when only the newest was wanted."""
        with self._changed:
            if not self._all:
                self._dropPictures()
            return self._next()

    def drop(self) -> None:
        """Empty the queue; its pictures count as lost."""
        with self._changed:
            self.lost += sum(isinstance(item, Grabbed) for item in self._items)
            self._items.clear()
            self._bytes = 0

    @property
    def waiting(self) -> int:
        """Number of waiting pictures and events."""
        with self._changed:
            return len(self._items)

    def wake(self) -> None:
        """End the waiting in :meth:`take`."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """End all waiting in :meth:`put`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _next(self) -> Grabbed | Event | None:
        if not self._items:
            return None
        item = self._items.popleft()
        if isinstance(item, Grabbed):
            self._bytes -= item.bytes
        self._changed.notify_all()
        return item

    def _fits(self, picture: Grabbed) -> bool:
        return self._bytes + picture.bytes <= self._limit

    def _append(self, item: Grabbed | Event) -> None:
        self._items.append(item)
        self._changed.notify_all()

    def _dropPictures(self) -> None:
        pictures = sum(isinstance(item, Grabbed) for item in self._items)
        if pictures:
            self.passedOver += pictures
            self._bytes = 0
            self._items = deque(item for item in self._items if isinstance(item, Event))


RETRY = 1.0
"""Seconds between two attempts to open a missing device."""
FAILURES = 3
"""Failed grabs in a row after which a camera counts as gone; one is enough when it took PATIENCE seconds."""
FILE_RATE = 25.0
"""Pictures per second of a file without a rate."""


class CameraGrabber(threading.Thread):
    """Thread that opens the camera, reopens it after a loss, and adds pictures and events to the queue.

    :param settings: camera, file or stream.
    :param queue: destination.
    :param played: stamp of the file that an earlier process played, and number of the picture to continue with; None
        when there was none. Another file is played from its beginning.
    """

    def __init__(self, settings: CameraSettings, queue: CameraQueue, played: tuple[Stamp, int] | None = None) -> None:
        super().__init__(name="camera", daemon=True)
        self._settings, self._queue, self._played, self._first = settings, queue, played, 0
        self._ending = threading.Event()
        self._reported = ""
        self._continues = False
        """True when the next file to open is the file that was played before."""
        self._passes, self._passed = 0, 0.0
        """How often a file was played, and the seconds that it took."""
        self._start = (0.0, 0.0)
        """Time of the first picture: monotonic, and since the epoch."""
        self.driverDropped: int | None = None
        """Missing pictures by the times of the driver; None when it has no times."""
        self.words = ""
        """Size, rate, codec and driver of the open device; empty when none is open."""
        self.why: str = ""
        """Reason why no device is open; empty before the first attempt has ended."""
        self.remedy: Remedy | None = None
        """Settings with which the device would open, or play on; None when there are none."""
        self.ended = False
        """True when a file was played to its end."""

    def end(self, seconds: float) -> bool:
        """Close the camera within so many seconds; return True when it is closed."""
        self._ending.set()
        self._queue.close()
        if self.ident is not None:  # it was started
            self.join(seconds)
        return not self.is_alive()

    def run(self) -> None:
        """Grab until :meth:`end`, or until the end of a file."""
        refused: object = None
        while not self._ending.is_set() and not self.ended:
            # Try a file that is no video again when it has changed.
            stamp = stampOf(str(self._settings.device)) if self._settings.isFile else None
            if stamp is None or stamp != refused:
                try:
                    self._use(CameraDevice(self._settings))
                    if not self._reported:
                        continue
                    # A device that opens but delivers no picture: wait before the next attempt.
                except CannotOpenError as error:
                    refused = stamp
                    self._fail(error.code, str(error), error.remedy)
            self._ending.wait(RETRY)

    def _fail(self, code: str, why: str, remedy: Remedy | None = None) -> None:
        self.why, self.remedy = why, remedy
        # A lost camera is reported once, not also as missing.
        if self._reported not in (code, "camera-gone"):
            self._reported = code
            self._queue.putEvent(Event(code, why, "warning", self._settings.name, remedy=remedy))

    def _report(self, code: str, text: Text, level: str = "info", remedy: Remedy | None = None, **values: Any) -> None:
        name = self._settings.name
        self._queue.putEvent(Event(code, text.format(name=name, **values), level, name, remedy=remedy))

    def _use(self, device: CameraDevice) -> None:
        try:
            self.words, self.remedy = device.words, None
            if self._reported or not self._continues:
                code = "camera-back" if self._reported == "camera-gone" else "camera-opened"
                self._report(code, _("{name}: {mode}."), mode=device.words)
                if device.differences and self._reported != "camera-gone":
                    wanted = joined(*device.differences, separator=", ")
                    text = _("{name} does not offer: {wanted}. It delivers {mode}.")
                    self._report("not-offered", text, "warning", wanted=wanted, mode=device.words)
                if device.cutsDepth and self._reported != "camera-gone":
                    text = _("{name} has values of {bits} bits; OpenCV converts them to 8 bits.")
                    self._report("depth-reduced", text, "warning", bits=device.bits)
            self._reported, self._continues = "", False
            if self._settings.isFile:
                self._play(device)
            else:
                self._watch(device)
        finally:
            device.close()
            self.words = ""

    # ---- a camera or a stream

    def _watch(self, device: CameraDevice) -> None:
        times, gaps = DriverTimes(), Gaps()
        arrival, failures = time.time(), 0
        while not self._ending.is_set():
            if not device.grab():
                failures += 1
                if failures < FAILURES and time.time() - arrival < PATIENCE:
                    continue
                self._fail(
                    "camera-gone",
                    _(
                        "{name} delivers no pictures any more. Check its cable and power. Reconnecting every second."
                    ).format(name=self._settings.name),
                )
                return
            arrival, failures = time.time(), 0
            taken = times.at(device.seconds(), arrival)
            if taken is not None:
                self.driverDropped = (self.driverDropped or 0) + gaps.missing(taken)
            self._queue.put(Grabbed(device.picture(), arrival, taken))

    # ---- a file

    def _play(self, device: CameraDevice) -> None:
        """Play a file once, from the first picture that was not played yet.

        :raises CannotOpenError: the file has no pictures.
        """
        path = str(self._settings.device)
        stamp = stampOf(path)
        if self._played:
            earlier, accepted = self._played
            self._first, self._played = accepted if stamp == earlier else 0, None
        period = 1 / (device.rate or FILE_RATE)
        place, seconds, zero = 0, 0.0, 0.0
        while not self._ending.is_set() and device.grab():
            # Ignore times that do not increase.
            declared = device.seconds()
            seconds = declared if declared > seconds or not place else seconds + period
            if place <= self._first:
                zero = seconds
                if not self._passes:
                    self._start = (time.monotonic(), time.time())
            if place >= self._first:
                self._deliver(device.picture(), place, self._passed + seconds - zero)
            place += 1
        if self._ending.is_set():
            return
        if not place:
            text = _("{name} has no picture that OpenCV can decode. Convert it to another codec.")
            raise CannotOpenError(text.format(name=self._settings.name), "not-a-video")
        if place < self._first:
            # Another file with fewer pictures has replaced the file: play it from its beginning.
            self._first = 0
            return
        if stamp != stampOf(path):
            # Another program still writes the file: continue with the next pictures.
            self._continues, self._first = True, place
            return
        if place < device.announced - 1 and not self._passes:
            text = _("{name} is cut or damaged: it declares {announced} pictures, {count} can be read.")
            self._report("video-cut", text, "warning", announced=device.announced, count=place)
        self._passed += seconds - zero + period
        self._passes, self._first = self._passes + 1, 0
        self._continues = self._settings.loop
        self.ended = not self._continues
        if self.ended:
            self.remedy = Remedy(_("Play in a loop"), {"loop": True})
            self._report("video-ended", _("{name} has ended: {count} pictures."), remedy=self.remedy, count=place)

    def _deliver(self, pixels: Pixels | None, place: int, due: float) -> None:
        monotonic, epoch = self._start
        if self._settings.realTime:
            self._ending.wait(max(0.0, monotonic + due - time.monotonic()))
        self._queue.put(Grabbed(pixels, time.time(), epoch + due, place), patient=not self._settings.realTime)
