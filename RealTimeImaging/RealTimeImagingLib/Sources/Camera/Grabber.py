"""Thread that grabs pictures as soon as they are there, and the queue from it to the source."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

from ...Formats import stampOf
from ...Model.Event import Event
from ...Model.Frame import Pixels
from . import CameraSettings
from .Device import PATIENCE, CameraDevice, CannotOpenError, DriverTimes, Gaps

LIMIT = 512 << 20
"""Bytes of pictures that may wait while all are wanted; one may wait whatever its size."""


@dataclass(frozen=True)
class Grabbed:
    """A picture as it was grabbed.

    :param pixels: as OpenCV gives them; None when it cannot be decoded.
    :param arrival: when it was here, seconds since the epoch (UTC).
    :param deviceTime: when it was taken, seconds since the epoch (UTC), or None.
    :param place: its place in a file, from 0; None for a camera or stream.
    """

    pixels: Pixels | None
    arrival: float
    deviceTime: float | None
    place: int | None = None

    @property
    def bytes(self) -> int:
        return 0 if self.pixels is None else self.pixels.nbytes


class CameraQueue:
    """Keeps every picture while all are wanted, and otherwise only the newest. Thread-safe.

    :param limit: bytes that may wait.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._items: deque[Grabbed | Event] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._all, self._woken, self._closed = True, False, False
        self.grabbed = 0
        """Pictures that were put in."""
        self.passedOver = 0
        """Pictures that a newer one replaced, as only the newest was wanted."""
        self.lost = 0
        """Pictures for which there was no room, although all were wanted."""

    def keepAll(self, all_: bool) -> None:
        """Keep every picture from now on, or only the newest."""
        with self._changed:
            self._all = all_

    def put(self, picture: Grabbed, patient: bool = False) -> None:
        """Put a picture in.

        :param patient: it may wait for room, and nothing is dropped: a file does not run away.
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

    def tell(self, event: Event) -> None:
        """Put an event in, in its place among the pictures."""
        with self._changed:
            self._append(event)

    def take(self, seconds: float) -> Grabbed | Event | None:
        """The next; waits for so many seconds at most, None when nothing came or :meth:`wake` was called."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._woken, seconds)
            self._woken = False
            return self._next()

    def takeWanted(self) -> Grabbed | Event | None:
        """The next that is there; pictures only while all are wanted, else they count as passed over."""
        with self._changed:
            if not self._all:
                self._dropPictures()
            return self._next()

    def giveUp(self) -> None:
        """Count the pictures that wait as lost."""
        with self._changed:
            self.lost += sum(isinstance(item, Grabbed) for item in self._items)
            self._items.clear()
            self._bytes = 0

    @property
    def waiting(self) -> int:
        """Pictures and events that wait."""
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
"""Seconds between two tries to open what is not there."""
FAILURES = 3
"""Grabs in a row without a picture after which a camera counts as gone; one is enough that took PATIENCE seconds."""
FILE_RATE = 25.0
"""Pictures a second of a file that does not say."""


class CameraGrabber(threading.Thread):
    """Opens the camera, again when it was gone, and puts all that it gives into the queue, with what happens.

    :param settings: which camera.
    :param queue: where to.
    :param first: the place in a file to begin with.
    """

    def __init__(self, settings: CameraSettings, queue: CameraQueue, first: int = 0) -> None:
        super().__init__(name="camera", daemon=True)
        self._settings, self._queue, self._first = settings, queue, first
        self._ending = threading.Event()
        self._told = ""
        self._goesOn = False
        """Whether a file that is opened is that which was played before."""
        self._passes, self._passed = 0, 0.0
        """How often a file was played, and for how many seconds."""
        self._start = (0.0, 0.0)
        """When its first picture was played: monotonic, and since the epoch."""
        self.driverDropped: int | None = None
        """Pictures that are missing between those that came, by the driver's times; None: it tells none."""
        self.words = ""
        """What is open: size, rate, codec and back end; empty when nothing is."""
        self.why = "it has not been opened yet"
        """Why nothing is open."""
        self.ended = False
        """True once all of a file was played."""

    def end(self, seconds: float) -> bool:
        """Let go of the camera; waits for so many seconds at most, True when it has."""
        self._ending.set()
        self._queue.close()
        self.join(seconds)
        return not self.is_alive()

    def run(self) -> None:
        """Until it is told to end, or a file has ended."""
        refused: object = None
        while not self._ending.is_set() and not self.ended:
            # What is no video is looked at again when it has changed.
            stamp = stampOf(str(self._settings.device)) if self._settings.isFile else None
            if stamp is None or stamp != refused:
                try:
                    self._use(CameraDevice(self._settings))
                    if not self._told:
                        continue
                    # One that opens and gives nothing must not be opened as fast as that goes.
                except CannotOpenError as error:
                    refused = stamp
                    self._fail(error.code, str(error))
            self._ending.wait(RETRY)

    def _fail(self, code: str, why: str) -> None:
        self.why = why
        # What was there and is gone is missing: that is said once.
        if self._told not in (code, "camera-gone"):
            self._told = code
            self._queue.tell(Event(code, why, "warning", self._settings.name))

    def _tell(self, code: str, text: str, level: str = "info") -> None:
        self._queue.tell(Event(code, f"{self._settings.name}{text}", level, self._settings.name))

    def _use(self, device: CameraDevice) -> None:
        try:
            self.words = device.words
            if self._told or not self._goesOn:
                self._tell("camera-back" if self._told == "camera-gone" else "camera-opened", f": {device.words}.")
                if device.differences and self._told != "camera-gone":
                    text = f" does not offer {' or '.join(device.differences)}; it gives {device.words}."
                    self._tell("not-offered", text, "warning")
                if device.cutsDepth and self._told != "camera-gone":
                    text = f" has values of {device.bits} bits; OpenCV converts them to 8 bits."
                    self._tell("depth-reduced", text, "warning")
            self._told, self._goesOn = "", False
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
                self._fail("camera-gone", f"{self._settings.name} gives no pictures any more; it is opened again.")
                return
            arrival, failures = time.time(), 0
            taken = times.at(device.seconds(), arrival)
            if taken is not None:
                self.driverDropped = (self.driverDropped or 0) + gaps.missing(taken)
            self._queue.put(Grabbed(device.picture(), arrival, taken))

    # ---- a file

    def _play(self, device: CameraDevice) -> None:
        """Play it once, from the place to begin with.

        :raises CannotOpenError: it has no pictures.
        """
        path = str(self._settings.device)
        stamp = stampOf(path)
        period = 1 / (device.rate or FILE_RATE)
        place, seconds, zero = 0, 0.0, 0.0
        while not self._ending.is_set() and device.grab():
            # Times that do not increase are none.
            said = device.seconds()
            seconds = said if said > seconds or not place else seconds + period
            if place <= self._first:
                zero = seconds
                if not self._passes:
                    self._start = (time.monotonic(), time.time())
            if place >= self._first:
                self._give(device.picture(), place, self._passed + seconds - zero)
            place += 1
        if self._ending.is_set():
            return
        if not place:
            raise CannotOpenError("not-a-video", f"{self._settings.name} has no picture that can be decoded.")
        if stamp != stampOf(path):
            # It is still being written: the rest comes when it is there.
            self._goesOn, self._first = True, place
            return
        if place < device.announced - 1 and not self._passes:
            text = f" is cut or damaged: {device.announced} pictures are announced, {place} can be read."
            self._tell("video-cut", text, "warning")
        self._passed += seconds - zero + period
        self._passes, self._first = self._passes + 1, 0
        self._goesOn = self._settings.loop
        self.ended = not self._goesOn
        if self.ended:
            self._tell("video-ended", f" has ended: {place} pictures.")

    def _give(self, pixels: Pixels | None, place: int, due: float) -> None:
        monotonic, epoch = self._start
        if self._settings.realTime:
            self._ending.wait(max(0.0, monotonic + due - time.monotonic()))
        self._queue.put(Grabbed(pixels, time.time(), epoch + due, place), patient=not self._settings.realTime)
