"""Source of frames from a camera, a video file or a stream.

    CameraGrabber (a thread) ──picture, event──► CameraQueue ──► CameraSource ──► Arrival
      opens, reconnects                          all, or only      crops, rotates,
                                                  the newest       converts colours

During a recording every picture is wanted; otherwise only the newest, when the computer is too slow. Three kinds of
missing pictures are counted: dropped for a newer picture, without room although wanted (these count as rejected), and
lost by the driver. grabbed = received + dropped + rejected + waiting. At the end no picture waits: a recording stores
the last one.

``deviceTime`` is the time of the driver, if any (see DriverTimes). For a file it is the time in the file after the
start of playing. Attributes: Camera; for a file SourceFile and ReplayedFrame (number of the picture, from 0) instead.
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
from ..Source import TURN, Arrival
from . import CameraSettings
from .Device import imageOf
from .Grabber import LIMIT, CameraGrabber, CameraQueue, Grabbed

SILENCE = 5.0
"""Seconds without a picture after which an open camera is reported as silent: some drivers report no failure."""
REPORT_PERIOD = 5.0
"""Least seconds between two events about dropped pictures."""
DETAILS_PERIOD = 0.5
"""Least seconds between two updates of the details."""
CLOSE_TIME = 0.5
"""Seconds to wait at the end until the camera is closed."""
REST = 0.5
"""Seconds at the end to store the waiting pictures."""
NO_STAMP: Stamp = (0, 0)
COUNTS = {
    "passedOver": "pictures dropped, because this computer is too slow to show all: {}",
    "lost": "pictures lost, because they arrived faster than they could be stored: {}",
    "driverDropped": "pictures lost by the camera or its driver, estimated from its times: {}",
}
"""Texts for the counts of missing pictures."""
CODES = {"passedOver": "passed-over", "lost": "lost", "driverDropped": "driver-dropped"}


class CameraSource:
    """A camera, video file or stream.

    :param settings: device, and display of its pictures.
    :param checkpoint: counts rejected pictures, and stores the position in a file for a restart.
    :param clock: monotonic seconds.
    :param getBuffer: returns memory to write an image into, or None.
    :param room: most bytes of waiting pictures while all are wanted.
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
        self._earlier: dict[str, int] = {**dict.fromkeys(COUNTS, 0), **checkpoint.kept}
        """Counts of earlier processes of the session."""
        self._reported = dict(self._earlier)
        self._reportDue = self._detailsDue = 0.0
        self._details: dict[str, Any] = {}
        self._problem, self._refused = "", 0
        self._lastItem, self._silent = clock(), False
        self._grabber = CameraGrabber(settings, self._queue, self._opened.accepted if self._opened else 0)
        if self._opened and self._opened.deaths >= DEATHS:
            self._grabber.why = f"{settings.name} crashed the reading process {DEATHS} times and is skipped."
            self._queue.putEvent(Event("crashed", self._grabber.why, "error", settings.name))
        else:
            self._grabber.start()

    @property
    def status(self) -> str:
        """Status for the user: the open device and its counts, or the reason why none is open."""
        name, counts = self._settings.name, self._counts()
        if self._grabber.ended:
            return f"{name} has ended."
        if not self._grabber.words:
            return self._grabber.why
        dropped = [words.format(counts[count]) for count, words in COUNTS.items() if counts[count]]
        return f"{name}: {'; '.join([self._grabber.words, *dropped])}."

    @property
    def details(self) -> Mapping[str, Any]:
        """Counts ``grabbed`` (in this process), ``passedOver``, ``lost`` and ``driverDropped``, updated twice a second.

        ``driverTells`` is True when the driver has times, from which ``driverDropped`` is estimated.
        """
        if self._clock() >= self._detailsDue:
            self._detailsDue = self._clock() + DETAILS_PERIOD
            tells = self._grabber.driverDropped is not None
            self._details = {"grabbed": self._queue.grabbed, **self._counts(), "driverTells": tells}
        return self._details

    def read(self, seconds: float) -> Iterator[Arrival | Event]:
        """Yield the waiting pictures; wait for the next one when there is none."""
        turn = self._clock() + TURN
        item = self._queue.take(seconds)
        if item is None:
            yield from self._checkSilence()
        while item is not None:
            yield from self._convert(item)
            item = self._queue.take(0) if self._clock() < turn else None
        yield from self._report()

    def wake(self) -> None:
        """End the waiting in read()."""
        self._queue.wake()

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Obey ``record``: from now on every picture is wanted."""
        if name == "record":
            self._queue.keepAll(True)

    def rest(self) -> Iterator[Arrival | Event]:
        """Yield the waiting pictures while all are wanted, and count the others.

        Pictures that cannot be stored in time count as lost. When only the newest was wanted, they count as dropped.
        """
        self._grabber.end(CLOSE_TIME)
        end = self._clock() + REST
        while self._clock() < end and (item := self._queue.takeWanted()) is not None:
            yield from self._convert(item)
        self._queue.drop()
        self._reportDue = self._detailsDue = 0.0
        yield from self._report()

    def close(self) -> None:
        """Close the camera."""
        self._grabber.end(CLOSE_TIME)
        self._refuseLost()
        self._checkpoint.leave()

    # ---- pictures

    def _convert(self, item: Grabbed | Event) -> Iterator[Arrival | Event]:
        self._lastItem, self._silent = self._clock(), False
        if isinstance(item, Event):
            if item.code == "camera-opened" and self._path:
                self._opened = self._checkpoint.begin(self._path, stampOf(self._path) or NO_STAMP)
            yield item
            return
        name = self._settings.name
        attributes = {"Camera": name} if item.place is None else {"SourceFile": name, "ReplayedFrame": str(item.place)}
        if self._opened and item.place is not None:
            # accept() adds 1: the place to continue at after a restart.
            self._opened.accepted = item.place
        try:
            if item.pixels is None:
                raise FrameError("OpenCV cannot decode the picture.")
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

    def _checkSilence(self) -> Iterator[Event]:
        if self._grabber.words and not self._path and not self._silent and self._clock() - self._lastItem > SILENCE:
            self._silent = True
            text = f"{self._settings.name} is open but has delivered no picture for {SILENCE:.0f} s."
            yield Event("camera-silent", text, "warning", self._settings.name)

    # ---- counts

    def _counts(self) -> dict[str, int]:
        now = {
            "passedOver": self._queue.passedOver,
            "lost": self._queue.lost,
            "driverDropped": self._grabber.driverDropped or 0,
        }
        return {count: self._earlier[count] + value for count, value in now.items()}

    def _report(self) -> Iterator[Event]:
        self._refuseLost()
        counts = self._counts()
        if counts == self._reported or self._clock() < self._reportDue:
            return
        self._reportDue = self._clock() + REPORT_PERIOD
        for count, words in COUNTS.items():
            new = counts[count] - self._reported[count]
            if new:
                text = f"{self._settings.name}: {words.format(new)}, {counts[count]} since the start."
                yield Event(CODES[count], text, "error" if count == "lost" else "warning", self._settings.name)
        self._reported = counts
        self._checkpoint.keep(**counts)

    def _refuseLost(self) -> None:
        while self._refused < self._queue.lost:
            self._refused += 1
            self._checkpoint.refuse()
