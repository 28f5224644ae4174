"""The thread that grabs: no picture grows old in the driver's queue, whatever the source is busy with."""

from __future__ import annotations

import threading
import time

from ..Event import Event
from ..Frame import Pixels
from ..Settings import CameraSettings
from .CameraDevice import PATIENCE, CameraDevice, CannotOpenError
from .CameraQueue import CameraQueue, Grabbed
from .CameraTimes import DriverTimes, Gaps
from .Listing import stampOf

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
