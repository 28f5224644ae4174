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
from ...Model.Event import Event, Remedy
from ...Model.Files import Stamp
from ...Model.Text import joined, textsOf
from ..Checkpoint import DEATHS, Checkpoint
from ..Source import TURN, Arrival
from . import CameraSettings
from .Device import imageOf, isCroppedAway
from .Grabber import LIMIT, CameraGrabber, CameraQueue, Grabbed

_ = textsOf(__file__)

SILENCE = 5.0
"""Seconds without a picture after which an open camera is reported as silent: some drivers report no failure."""
LATEST = 3.5
"""Seconds without a picture after which the status says what to do."""
UNANSWERED = _("It takes longer than usual. Check that it is switched on.")
UNSEEN = _("Choose another size, codec or driver in the options, or connect it again.")
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
    "passedOver": _("pictures dropped, because this computer is too slow to show all: {count}"),
    "lost": _("pictures lost, because they arrived faster than they could be stored: {count}"),
    "driverDropped": _("pictures lost by the camera or its driver, estimated from its times: {count}"),
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
        stamp = stampOf(self._path) if self._path else None
        earlier = checkpoint.unfinished.get(self._path)
        played = (earlier.stamp, earlier.accepted) if earlier else None
        # The progress of a file that is missing now stays: its drive may come back.
        self._opened = checkpoint.begin(self._path, stamp) if stamp else None
        self._earlier: dict[str, int] = {**dict.fromkeys(COUNTS, 0), **checkpoint.kept}
        """Counts of earlier processes of the session."""
        self._reported = dict(self._earlier)
        self._reportDue = self._detailsDue = 0.0
        self._details: dict[str, Any] = {}
        self._problem: str = ""
        self._uncrop: Remedy | None = None
        self._refused = 0
        self._lastItem, self._silent = clock(), False
        self._grabber = CameraGrabber(settings, self._queue, played)
        if self._opened and self._opened.deaths >= DEATHS:
            self._grabber.why = _("{name} crashed the reading process {count} times and is skipped.").format(
                name=settings.name, count=DEATHS
            )
            self._queue.putEvent(Event("crashed", self._grabber.why, "error", settings.name))
        else:
            self._grabber.start()

    @property
    def status(self) -> str:
        """Status for the user: the open device and its counts, or the reason why none is open."""
        name, counts = self._settings.name, self._counts()
        if self._grabber.ended:
            return _("{name} has ended.").format(name=name)
        late = self._clock() - self._lastItem > LATEST
        if not self._grabber.words:
            # OpenCV may wait for longer than users do.
            opening = _("{name} is not open yet.").format(name=name)
            return self._grabber.why or joined(opening, UNANSWERED if late else "")
        dropped = [words.format(count=counts[count]) for count, words in COUNTS.items() if counts[count]]
        mode = joined(self._grabber.words, *dropped, separator="; ")
        status = _("{name}: {mode}.").format(name=name, mode=mode)
        if late and not self._path:
            status = joined(status, _("No picture arrives."), UNSEEN)
        return joined(status, self._problem)

    @property
    def remedy(self) -> Remedy | None:
        """Other settings with which pictures could come, None when there are none."""
        return self._uncrop or self._grabber.remedy

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
                raise FrameError(_("OpenCV cannot decode the picture."))
            image = imageOf(item.pixels, self._settings, item.deviceTime, attributes, self._getBuffer)
        except FrameError as error:
            self._checkpoint.refuse()
            if self._problem != str(error):
                self._problem = str(error)
                croppedAway = item.pixels is not None and isCroppedAway(item.pixels, self._settings)
                self._uncrop = Remedy(_("Remove the crop"), {"crop": [0, 0, 0, 0]}) if croppedAway else None
                text = _("{name}: {problem}").format(name=name, problem=self._problem)
                yield Event("not-usable", text, "warning", name, remedy=self._uncrop)
            return
        self._problem, self._uncrop = "", None
        yield Arrival(self._settings.stream, image, item.arrival, self._accepted)

    def _accepted(self, number: int, stored: bool | None) -> None:
        self._queue.keepAll(stored is not None)

    def _checkSilence(self) -> Iterator[Event]:
        if self._grabber.words and not self._path and not self._silent and self._clock() - self._lastItem > SILENCE:
            self._silent = True
            text = _("{name} is open but has delivered no picture for {seconds:g} s.")
            text = joined(text.format(name=self._settings.name, seconds=SILENCE), UNSEEN)
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
                text = _("{name}: {new}, {total} since the start.")
                text = text.format(name=self._settings.name, new=words.format(count=new), total=counts[count])
                yield Event(CODES[count], text, "error" if count == "lost" else "warning", self._settings.name)
        self._reported = counts
        self._checkpoint.keep(**counts)

    def _refuseLost(self) -> None:
        while self._refused < self._queue.lost:
            self._refused += 1
            self._checkpoint.refuse()
