"""Callbacks for frames, messages and events."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from types import FunctionType

import numpy as np

from ..Model.DeviceMessage import DeviceMessage
from ..Model.Errors import SettingsError
from ..Model.Event import Event
from ..Model.Frame import Frame, Pixels
from ..Model.Quantities import freeName
from ..Model.Signal import Signal
from ..Model.Statistics import Spread
from ..Model.Text import textsOf

_ = textsOf(__file__)

FrameCallback = Callable[[Frame], object]
EventCallback = Callable[[Event], None]
MessageCallback = Callable[[DeviceMessage], None]
PushArray = Callable[[Frame, Pixels, str], None]

LONGEST = 20.0
"""Milliseconds that all callbacks together may take for one image."""
JUDGED, BETWEEN = 50, 10
"""Number of images over which the callbacks are judged, and number of images between two judgements."""

log = logging.getLogger(__name__)


def redefines(new: object, old: object) -> bool:
    """Return True for two functions of one name at the top level of one module, such as Slicer's console.

    A block that is pasted twice, or a module that is reloaded, defines its functions again.
    """
    if new is old or not (isinstance(new, FunctionType) and isinstance(old, FunctionType)):
        return False
    # Names of inner functions and lambdas have "<", and a wrapper has the name of the function that it wraps.
    names = {(one.__module__, one.__qualname__, one.__code__.co_name) for one in (new, old)}
    return len(names) == 1 and "<" not in new.__qualname__ and new.__code__.co_name == new.__name__


@dataclass(eq=False)
class _Entry:
    callback: FrameCallback
    stream: str | None
    name: str
    every: bool = False
    times: Spread = field(default_factory=Spread)


class FrameCallbacks:
    """Callbacks for frames that are shown. A callback that fails is reported, and the others are called nevertheless.

    A callback gets the frames of every stream, or of one stream by name. Streams that callbacks make, by returning an
    array or with push(), go only to callbacks that name them, and never to a callback that made them: otherwise a
    callback would answer its own answers without end.

    :param report: takes an event.
    :param push: takes a frame, the array that a callback returned for it, and the callback's name; None: such arrays
        are ignored.
    """

    def __init__(self, report: Callable[[Event], None], push: PushArray | None = None) -> None:
        self._report, self._push = report, push
        self._entries: list[_Entry] = []
        self._calling: list[tuple[_Entry, Frame]] = []
        self._makers: dict[str, set[_Entry]] = {}
        self._budgets: dict[str, _Budget] = {}
        self._errors: set[str] = set()

    def add(self, callback: FrameCallback, stream: str | None = None, every: bool = False) -> None:
        """Call with every frame that is shown, or with the frames of one stream; ignore a second call.

        A function that is defined again replaces the earlier one of the same stream, see :func:`redefines`.

        :param every: also call with frames that arrive and are not shown.
        """
        if any(one.callback == callback and one.stream == stream for one in self._entries):
            return
        self._entries = [one for one in self._entries if one.stream != stream or not redefines(callback, one.callback)]
        name = str(getattr(callback, "__name__", type(callback).__name__)).strip("<>")
        taken = {one.name for one in self._entries}
        self._entries.append(_Entry(callback, stream, freeName(name, taken), every))
        self._budgets.clear()

    def remove(self, callback: FrameCallback) -> None:
        """Stop calling a callback; ignore an unknown one."""
        self._entries = [one for one in self._entries if one.callback != callback]
        self._budgets.clear()

    @property
    def anyEvery(self) -> bool:
        """True when a callback asked for every frame."""
        return any(one.every for one in self._entries)

    def hand(self, frame: Frame, arriving: bool = False) -> None:
        """Call the callbacks for shown frames or, with ``arriving``, the callbacks for every frame."""
        times: dict[str, float] = {}
        for entry in [one for one in self._entries if one.every == arriving and self._wants(one, frame)]:
            started = time.perf_counter()
            self._call(entry, frame)
            times[entry.name] = 1000 * (time.perf_counter() - started)
            entry.times.add(times[entry.name])
        if times:
            self._judge(frame, times)

    def times(self) -> dict[str, dict[str, float | None]]:
        """Return milliseconds of the main thread of each callback, by its name: ``median``, ``p95``, ``max``."""
        return {entry.name: entry.times.toJSON() for entry in self._entries}

    @property
    def calling(self) -> bool:
        """True during a call."""
        return bool(self._calling)

    def makes(self, stream: str) -> None:
        """Note that a frame of this stream is pushed; a callback that pushes it becomes a maker of the stream.

        :raises SettingsError: the callback would push into the stream of the frame that it was called with.
        """
        if not self._calling:
            return
        entry, frame = self._calling[-1]
        if frame.stream == stream:
            text = _("A callback for the stream {stream} must push its images under another name.")
            raise SettingsError(text.format(stream=stream))
        self._makers.setdefault(stream, set()).update({entry}, self._makers.get(frame.stream, ()))

    def forgetMade(self, streams: list[str]) -> None:
        """Forget the makers of streams that have ended; other streams may get their names."""
        for stream in streams:
            self._makers.pop(stream, None)

    def _wants(self, entry: _Entry, frame: Frame) -> bool:
        makers = self._makers.get(frame.stream)
        if makers is None:
            return entry.stream in (None, frame.stream)
        return entry.stream == frame.stream and entry not in makers

    def _call(self, entry: _Entry, frame: Frame) -> None:
        self._calling.append((entry, frame))
        try:
            made = entry.callback(frame)
            if isinstance(made, np.ndarray) and self._push:
                self._push(frame, made, entry.name)
        except Exception as error:  # noqa: BLE001 - the boundary to code of the user
            _reportFailure("frame", entry.callback, error, self._errors, self._report)
        finally:
            self._calling.pop()

    def _judge(self, frame: Frame, times: dict[str, float]) -> None:
        budget = self._budgets.setdefault(frame.stream, _Budget())
        found = budget.add(frame, sum(times.values()))
        if found:
            slowest = max(times, key=lambda name: times[name])
            text = _(
                "The frame callbacks take {taken:.0f} ms of Slicer's main thread for each image of {stream} "
                "(slowest: {slowest}). Above {allowed:.0f} ms images are skipped and Slicer becomes slow."
            ).format(taken=found[0], stream=frame.stream, slowest=slowest, allowed=found[1])
            self._report(Event("callback-slow", text, "warning", slowest))


def _reportFailure(
    kind: str, callback: object, error: Exception, reported: set[str], report: Callable[[Event], None]
) -> None:
    """Report the failure of a callback once.

    :param kind: "frame" or "message".
    :param reported: texts of the failures that were reported before.
    """
    name = getattr(callback, "__qualname__", repr(callback))
    template = _("The frame callback {name} failed: {error}")
    if kind == "message":
        template = _("The message callback {name} failed: {error}")
    text = template.format(name=name, error=f"{type(error).__name__}: {error}")
    if text not in reported:
        reported.add(text)
        log.error("A %s callback failed", kind, exc_info=error)
        report(Event("callback-failed", text, "error", name))


class _Budget:
    """Time of callbacks for each image of a stream: at most LONGEST, and at most until the next image arrives."""

    def __init__(self) -> None:
        self._taken: deque[float] = deque(maxlen=JUDGED)
        self._periods: deque[float] = deque(maxlen=JUDGED)
        self._last: Frame | None = None
        self._due = BETWEEN
        self._reported = False

    def add(self, frame: Frame, milliseconds: float) -> tuple[float, float] | None:
        """Add one image; return the median and the limit, once, when the callbacks have become too slow."""
        self._taken.append(milliseconds)
        if self._last and frame.number > self._last.number:
            between = (frame.receiveTime - self._last.receiveTime) / (frame.number - self._last.number)
            self._periods.append(1000 * max(between, 0.0))
        self._last = frame
        self._due -= 1
        if self._due > 0 or not self._periods:
            return None
        self._due = BETWEEN
        typical, allowed = median(self._taken), min(LONGEST, median(self._periods))
        if self._reported:
            self._reported = typical > allowed / 2
            return None
        self._reported = typical > allowed
        return (typical, allowed) if self._reported else None


EVENTS_KEPT = 500


class Callbacks:
    """Callbacks for frames, events and device messages. A callback that fails does not stop the others.

    :param push: see :class:`FrameCallbacks`.
    """

    def __init__(self, push: PushArray | None = None) -> None:
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        """The latest events, the last one last."""
        self.frameCallbacks = FrameCallbacks(self.report, push)
        self._eventCallbacks: Signal[[Event]] = Signal()
        self.onOwnEvent: Signal[[Event]] = Signal()
        """Emitted with each event of Slicer's side, which no acquisition process knows."""
        self._messageCallbacks: list[MessageCallback] = []
        self._errors: set[str] = set()

    def addEventCallback(self, callback: EventCallback) -> None:
        """Call with every event; a function that is defined again replaces the earlier one."""
        for older in self._eventCallbacks.receivers:
            if redefines(callback, older):
                self._eventCallbacks.disconnect(older)
        self._eventCallbacks.connect(callback)

    def removeEventCallback(self, callback: EventCallback) -> None:
        """Stop calling a callback; ignore an unknown one."""
        self._eventCallbacks.disconnect(callback)

    def addMessageCallback(self, callback: MessageCallback) -> None:
        """Call with every message of a device, in order of arrival; a function that is defined again replaces the
        earlier one."""
        self._messageCallbacks = [one for one in self._messageCallbacks if not redefines(callback, one)]
        if callback not in self._messageCallbacks:
            self._messageCallbacks.append(callback)

    def removeMessageCallback(self, callback: MessageCallback) -> None:
        """Stop calling a callback; ignore an unknown one."""
        if callback in self._messageCallbacks:
            self._messageCallbacks.remove(callback)

    def deliver(self, message: DeviceMessage) -> None:
        """Call the message callbacks."""
        for callback in list(self._messageCallbacks):
            try:
                callback(message)
            except Exception as error:  # noqa: BLE001 - the boundary to code of the user
                _reportFailure("message", callback, error, self._errors, self.report)

    def report(self, event: Event, own: bool = True) -> None:
        """Put an event into the list and the log, and call the event callbacks.

        :param own: False for an event that an acquisition process reported.
        """
        self.events.append(event)
        log.log({"info": logging.INFO, "warning": logging.WARNING}.get(event.level, logging.ERROR), event.text)
        self._eventCallbacks.emit(event)
        if own:
            self.onOwnEvent.emit(event)
