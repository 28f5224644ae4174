"""Frames made in Python inside Slicer: starts their source with the first one, and stops it behind the last."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import qt

from ..Model.Errors import AcquisitionError, SettingsError
from ..Model.Event import Event
from ..Model.Frame import Frame, Image, Pixels, imageOf
from ..Model.Settings import SourceSettings
from ..Sources.Push import PushSettings
from .AcquisitionProcess import STOP_TIME
from .Callbacks import Callbacks
from .PushSender import PushSender
from .RunningSource import RunningSource
from .Session import Session

PUMP = 0.02
"""Seconds between two looks for room while push() may wait."""
START_TIME = 10.0
"""Seconds that an acquisition process may take to start when its images are to be delivered before the end."""


@dataclass
class _Source:
    handle: RunningSource
    feed: PushSender
    before: list[RunningSource] | None = None
    """Once it is to end: the sources that end before it, as callbacks may answer their last frames."""
    pending: int = 0
    """Once it is to end: frames that were not taken at the last look."""


class Pushing:
    """What push() and the arrays that callbacks return need.

    :param session: whose source it is.
    :param start: starts a source.
    """

    def __init__(
        self, session: Session, listeners: Callbacks, start: Callable[[SourceSettings], RunningSource]
    ) -> None:
        self._session, self._listeners, self._start = session, listeners, start
        self._callbacks = listeners.frameCallbacks
        self._callbacks.onArray = self._answer
        self._sources: list[_Source] = []
        self._watch = qt.QTimer()
        self._watch.connect("timeout()", self._stopSilent)

    def push(self, image: Image, name: str, wait: float = 0.0) -> None:
        """Send an image as the next frame of a stream; its pixels are copied.

        What a callback makes of a frame that comes when everything is being closed is let go.

        :param name: the stream's name.
        :param wait: seconds to wait for room when too many images wait; a callback never waits.
        :raises SettingsError: another running source has this stream.
        :raises PushError: too many images wait.
        :raises RealTimeImagingError: the acquisition process or its memory cannot be had.
        """
        received = time.time()
        self._callbacks.makes(name)
        source = self._source(name)
        if source is None:
            return
        self._session.claim(source.handle, name)
        end = time.monotonic() + (0.0 if self._callbacks.calling else wait)
        while not source.feed.room(image.pixels.nbytes) and (left := end - time.monotonic()) > 0:
            if source.handle.process is None or not source.handle.process.wait(min(left, PUMP)):
                break
        if source.handle.ended:
            raise AcquisitionError("The acquisition process has ended; the image is not taken.")
        source.feed.push(name, image, received)

    def check(self, settings: SourceSettings) -> None:
        """:raises SettingsError: the source of pushed frames runs already."""
        if isinstance(settings, PushSettings) and any(
            one.before is None and not one.handle.ended for one in self._sources
        ):
            raise SettingsError("Frames from Python are taken already; name their stream in push().")

    def adopt(self, handle: RunningSource) -> None:
        """A source was started: note it when it is the one of pushed frames."""
        if handle.feed:
            self._sources.append(_Source(handle, handle.feed))

    def stop(self, handle: RunningSource) -> bool:
        """End this source behind all that was pushed, and behind the sources that are stopping already, as callbacks
        may answer their last frames; False when it is another source's handle."""
        for source in self._sources:
            if source.handle is handle:
                if source.before is None:
                    running = self._session.running()
                    source.before = [one for one in running if one.feed is None and one.state == "stopping"]
                    handle.ending, source.pending = True, source.feed.pending
                    self._watch.start(STOP_TIME)
                self.changed()
                return True
        return False

    def changed(self) -> None:
        """A state or a count may have changed."""
        for source in list(self._sources):
            if source not in self._sources:
                continue  # what follows may come here again
            if source.handle.ended:
                self._sources.remove(source)
                self._tellLost(source)
                source.feed.close()
                self._callbacks.forgetMade(list(source.handle.streams.values()))
            elif self._last(source) and not source.feed.pending and not _told(source):
                self._session.stop(source.handle)
        if not self._sources and self._watch.isActive():
            self._watch.stop()

    def deliver(self) -> None:
        """Wait until all is taken that was pushed, for as long as something happens: for the end of everything."""
        for source in self._sources:
            process = source.handle.process
            pending, since = source.feed.pending, time.monotonic()
            while source.feed.pending and process and process.wait(PUMP):
                if source.feed.pending < pending:
                    pending, since = source.feed.pending, time.monotonic()
                if time.monotonic() - since > (START_TIME if process.state == "starting" else STOP_TIME / 1000):
                    break

    def close(self) -> None:
        """Not used afterwards."""
        self._watch.stop()
        self._watch.disconnect("timeout()", self._stopSilent)
        self._callbacks.onArray = lambda frame, array, name: None

    def _source(self, name: str) -> _Source | None:
        calling = self._callbacks.calling
        for source in self._sources:
            process = source.handle.process
            if process is None or source.handle.ended:
                continue
            # The answers to the last frames of sources that are being stopped still go through.
            if source.before is None or (calling and process.state != "stopping"):
                return source
        if calling and not self._session.active():
            return None
        self._start(PushSettings(name))
        return self._sources[-1]

    def _answer(self, frame: Frame, array: Pixels, name: str) -> None:
        self.push(imageLike(frame, array, name), f"{frame.stream} {name}")

    def _last(self, source: _Source) -> bool:
        return source.before is not None and all(one.ended for one in source.before)

    def _stopSilent(self) -> None:
        # One whose process takes nothing more is ended, and what it did not take is told.
        for source in list(self._sources):
            process = source.handle.process
            if process and process.state == "running" and self._last(source):
                if source.feed.pending == source.pending:
                    self._session.stop(source.handle)
                source.pending = source.feed.pending

    def _tellLost(self, source: _Source) -> None:
        lost = source.feed.pushed - source.feed.lost - sum(source.handle.received.values())
        if lost > 0:
            text = f"{lost} of {source.feed.pushed} images from Python did not reach the acquisition process."
            self._listeners.report(Event("push-lost", text, "error"))


def _told(source: _Source) -> bool:
    return source.handle.process is None or source.handle.process.state == "stopping"


def imageLike(frame: Frame, array: Pixels, name: str) -> Image:
    """What a callback made of a frame: placed as the frame where the size agrees, with its device time and attributes,
    and ``Callback`` (its name) and ``CallbackFrame`` (the frame's number).

    :raises FrameError: the array cannot be an image.
    """
    slices, rows, columns = frame.pixels.shape[:3]
    attributes = {**frame.attributes, "Callback": name, "CallbackFrame": str(frame.number)}
    colour = False if array.shape == (slices, rows, columns) else None
    image = imageOf(array, None, frame.deviceTime, colour, attributes)
    if image.pixels.shape[:3] != (slices, rows, columns):
        return image
    return Image(image.pixels, frame.ijkToRAS, image.deviceTime, image.attributes)
