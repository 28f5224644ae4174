"""Cameras, and videos that are played like one.

    CameraGrabber (a thread) ──picture, event──► CameraQueue ──► CameraSource ──► Arrival
      opens, again when gone                     all, or only      crops, turns,
                                                  the newest       orders colours

While something is recorded every picture is wanted; otherwise the newest, when the computer is too slow. What is then
passed over, what has no room although it is wanted (it counts as rejected), and what the driver lost is counted and
told apart: grabbed = received + passed over + rejected + those that wait. At the end none waits: what is recorded is
stored to the last picture.

``deviceTime`` is the driver's time where it has one (see CameraTimes). Of a file it is the time in the file, from the
moment when playing began. Attributes: Camera; of a file SourceFile and ReplayedFrame (its place, from 0) instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...Formats import GetBuffer, stampOf
from ...Model.Errors import FrameError
from ...Model.Event import Event
from ...Model.Files import Stamp
from ..Checkpoint import DEATHS, Checkpoint
from ..Source import Arrival
from . import CameraSettings
from .Device import imageOf
from .Grabber import LIMIT, CameraGrabber, CameraQueue, Grabbed

TURN = 0.1
"""Seconds after which read() returns even if more pictures wait, so that commands are heard."""
SILENCE = 5.0
"""Seconds without a picture after which an opened camera is reported as silent: some drivers never give up."""
TELL_PERIOD = 5.0
"""Seconds between two events about pictures that were dropped."""
DETAILS_PERIOD = 0.5
LAST_WORDS = 0.5
"""Seconds at the end for the camera to be let go."""
REST = 0.5
"""Seconds at the end for the pictures that wait to be stored."""
NO_STAMP: Stamp = (0, 0)
COUNTS = {
    "passedOver": "pictures passed over, as this computer is too slow to show all: {}",
    "lost": "pictures lost, as they came faster than they could be stored: {}",
    "driverDropped": "pictures lost by the camera or its driver, as its times tell: about {}",
}
"""What is dropped, in words."""
CODES = {"passedOver": "passed-over", "lost": "lost", "driverDropped": "driver-dropped"}


class CameraSource:
    """A camera, video file or stream.

    :param settings: which, and how it is shown.
    :param checkpoint: counts what could not be used, and knows where in a file an earlier process was.
    :param clock: monotonic seconds.
    :param getBuffer: gives memory to write an image into, or None.
    :param room: bytes of pictures that may wait while all are wanted.
    """

    def __init__(
        self,
        settings: CameraSettings,
        checkpoint: Checkpoint,
        clock: Callable[[], float] = time.monotonic,
        getBuffer: GetBuffer = lambda nbytes: None,
        room: int = LIMIT,
    ) -> None:
        self._settings, self._checkpoint, self._clock, self._getBuffer = settings, checkpoint, clock, getBuffer
        self._queue = CameraQueue(room)
        self._path = str(settings.device) if settings.isFile else ""
        self._opened = checkpoint.begin(self._path, stampOf(self._path) or NO_STAMP) if self._path else None
        self._before: dict[str, int] = {**dict.fromkeys(COUNTS, 0), **checkpoint.kept}
        """What the processes before this one counted."""
        self._told = dict(self._before)
        self._tellDue = self._detailsDue = 0.0
        self._details: dict[str, Any] = {}
        self._problem, self._refused = "", 0
        self._heard, self._silent = clock(), False
        self._grabber = CameraGrabber(settings, self._queue, self._opened.accepted if self._opened else 0)
        if self._opened and self._opened.deaths >= DEATHS:
            self._grabber.why = f"{settings.name} ended the reading process {DEATHS} times and is passed over."
            self._queue.tell(Event("crashed", self._grabber.why, "error", settings.name))
        else:
            self._grabber.start()

    @property
    def status(self) -> str:
        """What is open and how it goes, or what is waited for."""
        name, counts = self._settings.name, self._counts()
        if self._grabber.ended:
            return f"{name} has ended."
        if not self._grabber.words:
            return self._grabber.why
        dropped = [words.format(counts[count]) for count, words in COUNTS.items() if counts[count]]
        return f"{name}: {'; '.join([self._grabber.words, *dropped])}."

    @property
    def details(self) -> Mapping[str, Any]:
        """The counts ``grabbed`` (in this process), ``passedOver``, ``lost``, ``driverDropped`` and whether the driver
        tells it (``driverTells``); anew twice a second at most."""
        if self._clock() >= self._detailsDue:
            self._detailsDue = self._clock() + DETAILS_PERIOD
            tells = self._grabber.driverDropped is not None
            self._details = {"grabbed": self._queue.grabbed, **self._counts(), "driverTells": tells}
        return self._details

    def read(self, seconds: float) -> Iterator[Arrival | Event]:
        """The pictures that wait; then wait for the next."""
        turn = self._clock() + TURN
        item = self._queue.take(seconds)
        if item is None:
            yield from self._listen()
        while item is not None:
            yield from self._take(item)
            item = self._queue.take(0) if self._clock() < turn else None
        yield from self._report()

    def wake(self) -> None:
        """End the waiting in read()."""
        self._queue.wake()

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Hears of ``record``: from now on every picture is wanted."""
        if name == "record":
            self._queue.keepAll(True)

    def rest(self) -> Iterator[Arrival | Event]:
        """The pictures that wait while all are wanted. Those for which there is no time count as lost; those of which
        only the newest was wanted, as passed over."""
        self._grabber.end(LAST_WORDS)
        end = self._clock() + REST
        while self._clock() < end and (item := self._queue.takeWanted()) is not None:
            yield from self._take(item)
        self._queue.giveUp()
        self._tellDue = self._detailsDue = 0.0
        yield from self._report()

    def close(self) -> None:
        """Let go of the camera."""
        self._grabber.end(LAST_WORDS)
        self._refuseLost()
        self._checkpoint.leave()

    # ---- what came

    def _take(self, item: Grabbed | Event) -> Iterator[Arrival | Event]:
        self._heard, self._silent = self._clock(), False
        if isinstance(item, Event):
            if item.code == "camera-opened" and self._path:
                self._opened = self._checkpoint.begin(self._path, stampOf(self._path) or NO_STAMP)
            yield item
            return
        name = self._settings.name
        attributes = {"Camera": name} if item.place is None else {"SourceFile": name, "ReplayedFrame": str(item.place)}
        if self._opened and item.place is not None:
            # What accept() makes of it is the place to go on at after a restart.
            self._opened.accepted = item.place
        try:
            if item.pixels is None:
                raise FrameError("The picture cannot be decoded.")
            image = imageOf(item.pixels, self._settings, item.deviceTime, attributes, self._getBuffer)
        except FrameError as error:
            self._checkpoint.refuse()
            if self._problem != str(error):
                self._problem = str(error)
                yield Event("not-usable", f"{name}: {error}", "warning", name)
            return
        self._problem = ""
        yield Arrival(self._settings.stream, image, item.arrival, self._accepted)

    def _accepted(self, number: int, stored: bool | None) -> None:
        self._queue.keepAll(stored is not None)

    def _listen(self) -> Iterator[Event]:
        if self._grabber.words and not self._path and not self._silent and self._clock() - self._heard > SILENCE:
            self._silent = True
            text = f"{self._settings.name} is open and has given no picture for {SILENCE:.0f} s."
            yield Event("camera-silent", text, "warning", self._settings.name)

    # ---- what was dropped

    def _counts(self) -> dict[str, int]:
        now = {
            "passedOver": self._queue.passedOver,
            "lost": self._queue.lost,
            "driverDropped": self._grabber.driverDropped or 0,
        }
        return {count: self._before[count] + value for count, value in now.items()}

    def _report(self) -> Iterator[Event]:
        self._refuseLost()
        counts = self._counts()
        if counts == self._told or self._clock() < self._tellDue:
            return
        self._tellDue = self._clock() + TELL_PERIOD
        for count, words in COUNTS.items():
            new = counts[count] - self._told[count]
            if new:
                text = f"{self._settings.name}: {words.format(new)}, {counts[count]} since the start."
                yield Event(CODES[count], text, "error" if count == "lost" else "warning", self._settings.name)
        self._told = counts
        self._checkpoint.keep(**counts)

    def _refuseLost(self) -> None:
        while self._refused < self._queue.lost:
            self._refused += 1
            self._checkpoint.refuse()
