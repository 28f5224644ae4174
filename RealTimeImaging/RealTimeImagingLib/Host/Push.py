"""Images made in Python inside Slicer: their source starts with the first one, and stops after the last."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import qt

from ..Model.Errors import AcquisitionError, PushError, SettingsError
from ..Model.Event import Event
from ..Model.Frame import Frame, Image, Pixels, imageOf
from ..Model.Settings import SourceSettings, checkStream
from ..Model.Text import textsOf
from ..Sources import kindOf
from ..Sources.Push import PushSettings
from .AcquisitionProcess import STOP_TIME
from .Callbacks import Callbacks
from .PushSender import PushSender
from .RunningSource import RunningSource
from .Session import Session

_ = textsOf(__file__)

PUMP = 0.02
"""Seconds between two attempts while push() waits for a free slot."""
START_TIME = 10.0
"""Seconds that a starting acquisition process has to take its images before everything is closed."""


@dataclass
class _Source:
    running: RunningSource
    sender: PushSender
    before: list[RunningSource] | None = None
    """While it is stopping: sources that end before it, because callbacks may answer their last frames."""
    taken: int = 0
    """While it is stopping: number of frames that the process had taken at the last check."""

    @property
    def delivered(self) -> bool:
        """True when the process has taken all frames."""
        return self.sender.taken == self.sender.pushed


class PushControl:
    """Sources of the images of push(), and of the arrays that callbacks return.

    :param session: the sources.
    :param callbacks: get the event "push-lost".
    :param start: starts a source.
    """

    def __init__(
        self, session: Session, callbacks: Callbacks, start: Callable[[SourceSettings], RunningSource]
    ) -> None:
        self._session, self._callbacks, self._start = session, callbacks, start
        self._closed = False
        self._sources: list[_Source] = []
        self._watch = qt.QTimer()
        self._watch.connect("timeout()", self._stopSilent)

    def push(self, image: Image, name: str, wait: float = 0.0) -> None:
        """Send an image as the next frame of a stream; its pixels are copied.

        An image that a callback pushes while everything is being closed is ignored.

        :param name: the stream's name.
        :param wait: most seconds to wait for a free slot of the ring; a callback never waits.
        :raises SettingsError: no stream can have the name, or another running source has it.
        :raises PushError: all slots are taken.
        :raises RealTimeImagingError: the acquisition process or its memory is not available.
        """
        received = time.time()
        checkStream(name)
        self._callbacks.frameCallbacks.makes(name)
        source = self._source(name)
        if source is None:
            return
        self._session.claim(source.running, name)
        end = time.monotonic() + (0.0 if self._callbacks.frameCallbacks.calling else wait)
        process = source.running.process
        while process and not process.ended:
            try:
                return source.sender.push(name, image, received)
            except PushError:
                left = end - time.monotonic()
                if left <= 0 or not (process.wait(min(left, PUMP)) or process.ended):
                    raise
        raise AcquisitionError(_("The acquisition process has ended; the image was rejected."))

    def check(self, settings: SourceSettings) -> None:
        """Check that at most one source of pushed images runs.

        :raises SettingsError: there is one already.
        """
        if kindOf(settings).fromSlicer and any(one.before is None and not one.running.ended for one in self._sources):
            raise SettingsError(_("The source of images from Python runs already; name another stream in push()."))

    def adopt(self, source: RunningSource) -> None:
        """Note a started source when it is the source of pushed images."""
        if source.pushSender:
            self._sources.append(_Source(source, source.pushSender))

    def stop(self, running: RunningSource) -> bool:
        """Stop a source of pushed images after its last image; return False for another source.

        It also waits for sources that are stopping already, because callbacks may answer their last frames."""
        for source in self._sources:
            if source.running is running:
                if source.before is None:
                    sources = self._session.running()
                    others = [one for one in sources if one.pushSender is None and not one.isFedBy(running)]
                    source.before = [one for one in others if one.state == "stopping"]
                    running.ending, source.taken = True, source.sender.taken
                    self._watch.start(STOP_TIME)
                self.update()
                return True
        return False

    def update(self) -> None:
        """Stop sources that have delivered everything, and remove sources that have ended."""
        for source in list(self._sources):
            if source not in self._sources:
                continue  # the calls below may run this method again
            if source.running.ended:
                self._sources.remove(source)
                self._reportLost(source)
                source.sender.close()
                self._callbacks.frameCallbacks.forgetMade(list(source.running.streams.values()))
            elif self._isNext(source) and source.delivered and not _isStopping(source):
                self._session.stop(source.running)
        if not self._sources and self._watch.isActive():
            self._watch.stop()

    def deliver(self) -> None:
        """Wait, before everything is closed, until the processes have taken all pushed images or make no progress."""
        for source in self._sources:
            process = source.running.process
            taken, since = source.sender.taken, time.monotonic()
            while not source.delivered and process and process.wait(PUMP):
                if source.sender.taken > taken:
                    taken, since = source.sender.taken, time.monotonic()
                if time.monotonic() - since > (START_TIME if process.state == "starting" else STOP_TIME / 1000):
                    break

    def close(self) -> None:
        """Take no more images. Do not use the object afterwards."""
        self._closed = True
        self._watch.stop()
        self._watch.disconnect("timeout()", self._stopSilent)

    def pushArray(self, frame: Frame, array: Pixels, name: str) -> None:
        """Push the array that a callback returned for a frame.

        :param name: of the callback.
        :raises RealTimeImagingError: as :meth:`push`.
        """
        if not self._closed:
            self.push(imageLike(frame, array, name), f"{frame.stream} {name}")

    def _source(self, name: str) -> _Source | None:
        calling = self._callbacks.frameCallbacks.calling
        for source in self._sources:
            process = source.running.process
            if process is None or source.running.ended:
                continue
            # Answers to the last frames of sources that are stopping are still taken.
            if source.before is None or (calling and process.state != "stopping"):
                return source
        if calling and not self._session.active():
            return None
        self._start(PushSettings(name))
        return self._sources[-1]

    def _isNext(self, source: _Source) -> bool:
        return source.before is not None and all(one.ended for one in source.before)

    def _stopSilent(self) -> None:
        # Stop a source whose process takes nothing more; its lost images are reported.
        for source in list(self._sources):
            process = source.running.process
            if process and process.state == "running" and self._isNext(source):
                if source.sender.taken == source.taken:
                    self._session.stop(source.running)
                source.taken = source.sender.taken

    def _reportLost(self, source: _Source) -> None:
        sender = source.sender
        lost = sender.pushed - sender.lost - sum(source.running.received.values())
        if lost > 0:
            text = _("{lost} of {pushed} images from Python did not reach the acquisition process.")
            self._callbacks.report(Event("push-lost", text.format(lost=lost, pushed=sender.pushed), "error"))


def _isStopping(source: _Source) -> bool:
    return source.running.process is None or source.running.process.state == "stopping"


def imageLike(frame: Frame, array: Pixels, name: str) -> Image:
    """Return the image that a callback made of a frame.

    It has the geometry of the frame where the size agrees, the frame's device time and attributes, and the attributes
    ``Callback`` (name) and ``CallbackFrame`` (number of the frame).

    :raises FrameError: the array cannot be an image.
    """
    slices, rows, columns = frame.pixels.shape[:3]
    attributes = {**frame.attributes, "Callback": name, "CallbackFrame": str(frame.number)}
    colour = False if array.shape == (slices, rows, columns) else None
    image = imageOf(array, None, frame.deviceTime, colour, attributes)
    if image.pixels.shape[:3] != (slices, rows, columns):
        return image
    return Image(image.pixels, frame.ijkToRAS, image.deviceTime, image.attributes)
