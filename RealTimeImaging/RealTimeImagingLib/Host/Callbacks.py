"""Callbacks for frames, messages and events."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from ..Model.DeviceMessage import DeviceMessage
from ..Model.Errors import SettingsError
from ..Model.Event import Event
from ..Model.Frame import Frame, Pixels
from ..Model.Quantities import freeName
from ..Model.Statistics import Spread

FrameCallback = Callable[[Frame], object]

LONGEST = 20.0
"""Milliseconds that all callbacks together may take for one image."""
JUDGED, BETWEEN = 50, 10
"""Over how many images the callbacks are judged, and after how many more again."""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Entry:
    callback: FrameCallback
    stream: str | None
    name: str
    every: bool = False
    times: Spread = field(default_factory=Spread)


class FrameCallbacks:
    """Calls with frames that are shown; one callback that fails is reported and disturbs nothing else.

    A callback gets the frames of every stream, or of the one that it asked for by name. Streams that callbacks make, by
    returning an array or with push(), come only to those that asked for them by name, and never to one by which they
    were made: otherwise a callback would answer its own answers without end.

    :param report: takes an event.
    """

    def __init__(self, report: Callable[[Event], None]) -> None:
        self._report = report
        self.onArray: Callable[[Frame, Pixels, str], None] = lambda frame, array, name: None
        """Called with a frame, the array that a callback returned for it, and the callback's name."""
        self._entries: list[_Entry] = []
        self._calling: list[tuple[_Entry, Frame]] = []
        self._makers: dict[str, set[_Entry]] = {}
        self._budgets: dict[str, _Budget] = {}
        self._errors: set[str] = set()

    def add(self, callback: FrameCallback, stream: str | None = None, every: bool = False) -> None:
        """Call with every frame that is shown, or with those of one stream; a second time is ignored.

        :param every: also with frames that arrive and are not shown.
        """
        if any(one.callback == callback and one.stream == stream for one in self._entries):
            return
        name = str(getattr(callback, "__name__", type(callback).__name__)).strip("<>")
        taken = {one.name for one in self._entries}
        self._entries.append(_Entry(callback, stream, freeName(name, taken), every))
        self._budgets.clear()

    def remove(self, callback: FrameCallback) -> None:
        """Do not call it any more; unknown ones are ignored."""
        self._entries = [one for one in self._entries if one.callback != callback]
        self._budgets.clear()

    @property
    def anyEvery(self) -> bool:
        """True when a callback asked for every frame."""
        return any(one.every for one in self._entries)

    def hand(self, frame: Frame, arriving: bool = False) -> None:
        """Call the callbacks for shown frames or, with ``arriving``, those for every frame."""
        taken: dict[str, float] = {}
        for entry in [one for one in self._entries if one.every == arriving and self._wants(one, frame)]:
            started = time.perf_counter()
            self._call(entry, frame)
            taken[entry.name] = 1000 * (time.perf_counter() - started)
            entry.times.add(taken[entry.name])
        if taken:
            self._judge(frame, taken)

    def times(self) -> dict[str, dict[str, float | None]]:
        """Milliseconds of the main thread that each callback takes, by its name: ``median``, ``p95``, ``max``."""
        return {entry.name: entry.times.toJSON() for entry in self._entries}

    @property
    def calling(self) -> bool:
        """True during a call."""
        return bool(self._calling)

    def makes(self, stream: str) -> None:
        """A frame of this stream is about to be pushed; note it when that is done by a callback.

        :raises SettingsError: a callback's answer would go into the stream of the frame that it was called with.
        """
        if not self._calling:
            return
        entry, frame = self._calling[-1]
        if frame.stream == stream:
            raise SettingsError(f"What a callback makes of the stream {stream} needs another name.")
        self._makers.setdefault(stream, set()).update({entry}, self._makers.get(frame.stream, ()))

    def forgetMade(self, streams: list[str]) -> None:
        """These streams have ended; others of their names may come."""
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
            if isinstance(made, np.ndarray):
                self.onArray(frame, made, entry.name)
        except Exception as error:
            name = getattr(entry.callback, "__qualname__", repr(entry.callback))
            words = f"The frame callback {name} failed: {type(error).__name__}: {error}"
            if words not in self._errors:
                self._errors.add(words)
                log.exception("A frame callback failed")
                self._report(Event("callback-failed", words, "error", name))
        finally:
            self._calling.pop()

    def _judge(self, frame: Frame, taken: dict[str, float]) -> None:
        budget = self._budgets.setdefault(frame.stream, _Budget())
        found = budget.add(frame, sum(taken.values()))
        if found:
            slowest = max(taken, key=lambda name: taken[name])
            text = (
                f"The frame callbacks take {found[0]:.0f} ms of the window's time for each image of {frame.stream} "
                f"(the slowest is {slowest}); beyond {found[1]:.0f} ms images are skipped and the window becomes slow."
            )
            self._report(Event("callback-slow", text, "warning", slowest))


class _Budget:
    """Time that callbacks have for each image of a stream: at most LONGEST, and at most until the next image comes."""

    def __init__(self) -> None:
        self._taken: deque[float] = deque(maxlen=JUDGED)
        self._periods: deque[float] = deque(maxlen=JUDGED)
        self._last: Frame | None = None
        self._due = BETWEEN
        self._told = False

    def add(self, frame: Frame, milliseconds: float) -> tuple[float, float] | None:
        """Take one image; the median and what would be allowed when the callbacks have become too slow, told once."""
        self._taken.append(milliseconds)
        if self._last and frame.number > self._last.number:
            between = (frame.receiveTime - self._last.receiveTime) / (frame.number - self._last.number)
            self._periods.append(1000 * max(between, 0.0))
        self._last = frame
        self._due -= 1
        if self._due > 0 or not self._periods:
            return None
        self._due = BETWEEN
        usual, allowed = median(self._taken), min(LONGEST, median(self._periods))
        if self._told:
            self._told = usual > allowed / 2
            return None
        self._told = usual > allowed
        return (usual, allowed) if self._told else None


EVENTS_KEPT = 500

EventCallback = Callable[[Event], None]
MessageCallback = Callable[[DeviceMessage], None]


class Callbacks:
    """Callbacks of the console and of other modules; one that fails disturbs nothing else."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        """The latest events, the last one last."""
        self.frameCallbacks = FrameCallbacks(self.report)
        self._eventCallbacks: list[EventCallback] = []
        self._messageCallbacks: list[MessageCallback] = []
        self._errors: set[str] = set()

    def addEventCallback(self, callback: EventCallback) -> None:
        """Call with every event."""
        if callback not in self._eventCallbacks:
            self._eventCallbacks.append(callback)

    def removeEventCallback(self, callback: EventCallback) -> None:
        """Do not call it any more; unknown ones are ignored."""
        if callback in self._eventCallbacks:
            self._eventCallbacks.remove(callback)

    def addMessageCallback(self, callback: MessageCallback) -> None:
        """Call with every message of a device, in the order in which they came."""
        if callback not in self._messageCallbacks:
            self._messageCallbacks.append(callback)

    def removeMessageCallback(self, callback: MessageCallback) -> None:
        """Do not call it any more; unknown ones are ignored."""
        if callback in self._messageCallbacks:
            self._messageCallbacks.remove(callback)

    def hand(self, message: DeviceMessage) -> None:
        """Call everybody who wants messages."""
        for callback in list(self._messageCallbacks):
            try:
                callback(message)
            except Exception as error:
                name = getattr(callback, "__qualname__", repr(callback))
                words = f"The message callback {name} failed: {type(error).__name__}: {error}"
                if words not in self._errors:
                    self._errors.add(words)
                    log.exception("A message callback failed")
                    self.report(Event("callback-failed", words, "error", name))

    def report(self, event: Event) -> None:
        """Take an event: into the list, the log, and to the callbacks."""
        self.events.append(event)
        log.log({"info": logging.INFO, "warning": logging.WARNING}.get(event.level, logging.ERROR), event.text)
        for callback in list(self._eventCallbacks):
            try:
                callback(event)
            except Exception:
                log.exception("An event callback failed")
