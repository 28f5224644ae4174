"""Display of the newest frame of each stream and of the newest device messages, on Slicer's main thread."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import qt

from ..Link.Messages import FrameHeader
from ..Link.Ring import Place
from ..Model.DeviceMessage import DeviceMessage
from ..Model.Errors import DeviceMessageError, RingError, TooManyDevicesError
from ..Model.Event import Event
from ..Model.Files import unexpected
from ..Model.Frame import Frame, Pixels
from ..Model.Signal import Signal
from ..Model.Statistics import Spread, StageTimes, StreamCounts
from ..Model.Text import textsOf
from .Callbacks import Callbacks
from .DrawingBudget import DrawingBudget
from .RunningSource import RunningSource

SHORTEST_PAUSE = 0.004
"""Seconds between two rounds of showing, in which Slicer redraws its window and handles the mouse."""
SHOW_TIME = 0.02
"""Seconds of showing, after which Slicer handles other events."""
HELD = 2
"""Most slots of one process that waiting frames hold; further frames are copied, so that other streams get slots."""
MOST_NAMES = 1000
"""Most devices that are counted by name; others are counted together, so that no peer can fill the memory."""
OTHERS = "others"

_ = textsOf(__file__)
log = logging.getLogger(__name__)


class DeviceMessages:
    """Messages of all sources: each is counted and given to the callbacks, the newest are shown.

    :param show: puts a message into the scene.
    :param callbacks: get every message, in order of arrival.
    """

    def __init__(self, show: Callable[[DeviceMessage], object], callbacks: Callbacks) -> None:
        self._show, self._callbacks = show, callbacks
        self._waiting: dict[tuple[str, str, bool], DeviceMessage] = {}
        self._troubles: set[tuple[str, str, str]] = set()

    @property
    def waiting(self) -> bool:
        """True when a message waits to be shown."""
        return bool(self._waiting)

    def take(self, source: RunningSource, message: DeviceMessage) -> None:
        """Count a message and call the callbacks; :meth:`showWaiting` shows it unless a newer one arrives before."""
        counted = source.messages
        name = message.device if message.device in counted or len(counted) < MOST_NAMES else OTHERS
        counted[name] = counted.get(name, 0) + 1
        # Points and trajectories of one device do not replace each other.
        points = message.values["points"] if message.kind == "points" else []
        key = (message.kind, message.device, bool(points) and "entry" in points[0])
        self._waiting.pop(key, None)
        self._waiting[key] = message
        self._callbacks.deliver(message)

    def showWaiting(self) -> None:
        """Show the newest message of each device and kind."""
        waiting, self._waiting = self._waiting, {}
        for message in waiting.values():
            try:
                self._show(message)
            except Exception as error:  # the boundary of the display: a bad message must not stop the others
                # A peer may send thousands of names: too many devices are reported once.
                tooMany = isinstance(error, TooManyDevicesError)
                reason = str(error) if isinstance(error, DeviceMessageError) else unexpected(error)
                trouble = ("", "", "") if tooMany else (message.kind, message.device, reason)
                if trouble not in self._troubles and len(self._troubles) < MOST_NAMES:
                    self._troubles.add(trouble)
                    if not isinstance(error, DeviceMessageError):
                        log.exception("A message could not be shown")
                    text = _("A message of {device} could not be shown: {reason}")
                    text = text.format(device=message.device, reason=reason)
                    self._callbacks.report(Event("not-shown", text, "error", message.device))

    def clear(self) -> None:
        """Drop the messages that wait to be shown."""
        self._waiting.clear()
        self._troubles.clear()


@dataclass
class _Waiting:
    source: RunningSource
    place: Place | None
    """Place of the pixels in the ring; None when they were copied."""
    header: FrameHeader
    """With the stream's name in the session."""
    pixels: Pixels | None = None

    def frame(self) -> Frame:
        """Return the frame; its pixels are valid until :meth:`release`.

        :raises RingError: its memory is gone.
        """
        pixels, process = self.pixels, self.source.process
        if pixels is None:
            if self.place is None or process is None:
                raise RingError(_("The memory of the frame is gone."))
            pixels = process.view(self.place, self.header.shape, self.header.dtype)
        return self.header.frame(pixels)

    def copy(self) -> None:
        """Copy the pixels and give the slot back.

        :raises RingError: their memory is gone.
        """
        self.pixels = self.frame().pixels.copy()
        self.pixels.flags.writeable = False
        self.release()

    def release(self) -> None:
        """Give the slot back."""
        if self.place and self.source.process:
            self.source.held -= 1
            self.source.process.release([self.place])
        self.place = None


class Display:
    """Display of the newest frame of each stream, as soon as the budget for drawing allows.

    :param show: puts a frame into the scene; its pixels are valid during the call only. Returns the names of the views
        that will draw it, or None when any view may.
    :param messages: of devices; they are shown before the frames.
    :param callbacks: get frames and events.
    :param onChange: called when a frame or message was shown.
    :param budget: decides when the next frame of a stream may be shown.
    """

    def __init__(
        self,
        show: Callable[[Frame], Collection[str] | None],
        messages: DeviceMessages,
        callbacks: Callbacks,
        onChange: Callable[[], None],
        budget: DrawingBudget,
    ) -> None:
        self._show, self._messages, self._callbacks, self._onChange = show, messages, callbacks, onChange
        self._budget = budget
        self.beforeShowing: Signal[[]] = Signal()
        """Emitted before frames are shown."""
        self.onShown: Signal[[Frame, float, float]] = Signal()
        """Emitted with a shown frame, its latency in milliseconds, and the rate of its stream in images/s."""
        self.latency, self.mainThread = Spread(), Spread()
        """Milliseconds from a frame's arrival in its process to the volume, and of the main thread for each frame."""
        self.stageTimes = StageTimes()
        """Times of the stages of the latest shown frames."""
        self._waiting: dict[str, _Waiting] = {}
        self._showing = False
        self._nextShow = 0.0
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setTimerType(qt.Qt.PreciseTimer)
        self._timer.connect("timeout()", self.showDue)

    def reset(self) -> None:
        """Restart all figures, when the first of the sources starts."""
        self.latency, self.mainThread, self.stageTimes = Spread(), Spread(), StageTimes()
        self._budget.forget()

    def stop(self) -> None:
        """Show nothing more until a frame arrives."""
        self._timer.stop()

    def close(self) -> None:
        """Release the timer, which would keep this object alive. Do not use the object afterwards."""
        self._timer.stop()
        self._timer.disconnect("timeout()", self.showDue)

    def take(self, source: RunningSource, place: Place, header: FrameHeader) -> None:
        """Take a frame, which replaces an older one of its stream.

        :param place: of its pixels in the ring of the source's process.
        :param header: with the stream's name in the session.
        """
        stream = header.stream
        older = self._waiting.pop(stream, None)
        waiting = self._waiting[stream] = _Waiting(source, place, header)
        source.held += 1
        if older:
            older.release()
        try:
            if self._callbacks.frameCallbacks.anyEvery:
                self._callbacks.frameCallbacks.hand(waiting.frame(), arriving=True)
            if waiting.place and source.held > HELD and self._budget.wait(stream) > SHOW_TIME:
                waiting.copy()
        except RingError:
            log.exception("The memory of a frame is gone")

    def showAll(self) -> None:
        """Show all waiting frames now."""
        self._showWaiting(everything=True)

    def showDue(self) -> None:
        """Show the frames that the budget allows now, and schedule the others."""
        if self._showing or not (self._waiting or self._messages.waiting):
            return
        pause = self._pause()
        if pause <= 0:
            self._showWaiting(everything=False)
        else:
            self._timer.start(math.ceil(1000 * pause))

    def _pause(self) -> float:
        waiting: list[str | None] = [*self._waiting, *([None] if self._messages.waiting else [])]
        pause = min(self._budget.wait(stream) for stream in waiting)
        return max(pause, self._nextShow - time.perf_counter())

    def _showWaiting(self, everything: bool) -> None:
        """Show all waiting frames, or those that the budget allows."""
        if self._showing:  # a callback runs the event loop: an older frame must not come after a newer one
            return
        due = [stream for stream in self._waiting if everything or self._budget.wait(stream) <= 0]
        messages = self._messages.waiting and bool(due or self._budget.wait(None) <= 0)
        if not due and not messages:
            return
        until = time.perf_counter() + SHOW_TIME
        self._showing = True
        try:
            self.beforeShowing.emit()
            self._budget.begin()
            if messages:
                # First, so that an image is seen where its device is.
                self._messages.showWaiting()
                self._budget.shown(None, None)
            for stream in due:
                self._showOne(self._waiting.pop(stream))
                if not everything and time.perf_counter() > until:
                    break
        finally:
            self._showing = False
        self._nextShow = time.perf_counter() + SHORTEST_PAUSE
        if self._waiting or self._messages.waiting:
            self._timer.start(math.ceil(1000 * self._pause()))
        self._onChange()

    def _showOne(self, waiting: _Waiting) -> None:
        started = time.perf_counter()
        stream = waiting.header.stream
        counts = waiting.source.counts.setdefault(stream, StreamCounts())
        views: Collection[str] | None = ()
        try:
            frame = waiting.frame()
            views = self._show(frame)
            copied = time.time()
            counts.show(frame.number, frame.receiveTime)
            self.latency.add(1000 * (copied - frame.receiveTime))
            self.stageTimes.add(stream, frame.number, {**frame.stages, "copied": copied})
            self.mainThread.add(1000 * (time.perf_counter() - started))
            self.onShown.emit(frame, 1000 * (copied - frame.receiveTime), counts.framesPerSecond(copied))
            self._callbacks.frameCallbacks.hand(frame)
        except Exception as error:  # the boundary of the display: one frame less must not end the stream
            log.exception("A frame could not be shown")
            text = _("A frame of {stream} could not be shown: {reason}").format(stream=stream, reason=unexpected(error))
            self._callbacks.report(Event("not-shown", text, "error"))
        finally:
            self._budget.shown(stream, views)
            waiting.release()
