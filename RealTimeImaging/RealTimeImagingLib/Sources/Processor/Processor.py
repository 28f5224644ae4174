"""Supervision of a function: feeds its process with frames, takes the results, and restarts it.

    offer() ──frame──► waiting frames ──one at a time──► FunctionProcess ──result──► take() ──► Arrival, Values, Event

One frame at a time is in the function's process: so a frame that ends it is known, and new parameters hold from the
next frame on. Always, received = processed + skipped + failed + waiting.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ...Formats import GetBuffer
from ...Link.Commands import Release
from ...Link.Messages import Failed, FrameHeader, Message
from ...Link.Ring import Place, RingReader, Target, removeRing
from ...Model.Errors import RingError, SettingsError
from ...Model.Event import Event, Remedy
from ...Model.Files import reasonOf
from ...Model.Frame import Image, Pixels
from ...Model.Quantities import counted
from ...Model.Statistics import Spread
from ...Model.Text import Text, joined, sentence, textsOf
from ...Processing.Loading import functionName
from ...Processing.Messages import Computed, Load, Loaded, Pause, Prepared, Process, Raised, Refused, SetParameters
from ...Processing.OtherPython import checkPython
from ...Processing.Runner import LOAD_TIME
from ..Source import Arrival, Values
from . import ProcessorSettings, jsonObject
from .Failures import LOST, RELOAD, SLOW, STARTING, Failures, Skips, reasonOfEnd, remedyOfEnd, tookTooLong
from .FunctionProcess import FunctionProcess

_ = textsOf(__file__)

DEATHS = 3
"""Ends of the process during one frame, after which the frame is passed over."""
MOST_DEATHS = 12
"""Ends of the process in a row without a processed frame, after which it is not restarted."""
MARGIN = 2.0
"""Seconds after the limit until the process is killed from outside; it ends itself at the limit."""
MOST_RESULTS = 2
"""Results that wait for the acquisition process, after which no further frame is processed."""
PAUSE = 1.0
"""Seconds without a frame after which the function gets the chance to make an image of all frames before."""
RING = "function"
"""Common start of the names of the rings of results."""


class Feed(Protocol):
    """Origin of frames: the ring that holds their pixels."""

    folders: list[str]
    ring: str

    def release(self, place: Place) -> None:
        """Give a slot back."""


@dataclass
class _Work:
    """A frame that waits or is being processed."""

    header: FrameHeader
    place: Place
    feed: Feed
    deaths: int = 0

    def release(self) -> None:
        self.feed.release(self.place)


@dataclass
class _Result:
    """The result of a frame, with its pixels in the ring of the function's process or in the memory it was given.

    ``isLater``: True for the image of a pause, which follows the result of its frame.
    """

    header: FrameHeader
    computed: Computed
    pixels: Pixels | None
    process: FunctionProcess
    isLater: bool = False


@dataclass
class Counts:
    """Counts of frames, and the number of the next one; the rest of ``received`` waits or is being processed."""

    received: int = 0
    processed: int = 0
    skipped: int = 0
    failed: int = 0
    next: int = -1


class Processor:
    """A function, its process and the frames that wait for it. Thread-safe.

    :param settings: function, parameters, stream of the results.
    :param folders: for the ring of the results, best first.
    :param wake: called from any thread when :meth:`take` has something to yield.
    :param getBuffer: returns memory for a result, or None.
    :param counts: of an earlier process.
    :param ring: common start of the names of the rings of results, unique in the folders.
    """

    def __init__(
        self,
        settings: ProcessorSettings,
        folders: list[str],
        wake: Callable[[], object],
        getBuffer: GetBuffer = lambda nbytes: None,
        counts: Counts | None = None,
        ring: str = RING,
    ) -> None:
        self._settings, self._folders, self._wake, self._getBuffer = settings, folders, wake, getBuffer
        self.name = settings.stream.removeprefix(f"{settings.source} ")
        """Name of the function for the user, different for two equal ones of a stream."""
        self.counts = counts or Counts()
        # Frames that waited in an earlier process are gone.
        self.counts.skipped = self.counts.received - self.counts.processed - self.counts.failed
        self.parameters: dict[str, Any] = jsonObject(settings.parameters, "parameters")
        self._sent = dict(self.parameters)
        self.latency = Spread()
        """Milliseconds from a frame's arrival at its source to its result here."""
        self._waiting: deque[_Work] = deque()
        self._current: _Work | None = None
        self._last: FrameHeader | None = None
        """Header of the last frame that the process has answered."""
        self._pauses, self._pausing, self._pauseDue = False, False, math.inf
        """Whether the function has pause(), whether it is being called, and when it is (monotonic seconds)."""
        self._started = 0.0
        self._isFirst = True
        self._deaths = 0
        """Ends of the process since the last processed frame."""
        self.stalled = False
        """True when the process was ended for the time it took, and has not answered since."""
        self._failures = Failures(settings.source, self.name, settings.stream)
        self._skips = Skips(settings.source, self.name, settings.stream)
        self._items: deque[Event | _Result] = deque()
        self._unread = 0
        """Results among the items."""
        self._made: deque[Arrival | Event | Values] = deque()
        """What the last item has become, and the caller of :meth:`take` has not taken yet."""
        self._nbytes = 0
        """Bytes of the last image; the next one probably has as many."""
        self._number, self._lost = -1, 0
        """Number of the last processed frame, and frames lost since the last values."""
        self._process: FunctionProcess | None = None
        self._loaded, self._reloaded = False, False
        self.problem = ""
        """Why the function cannot be used; empty while it can."""
        self.remedy: Remedy | None = None
        """Offer with which it may be usable; None while it is."""
        self._starts = 0
        self._ring, self._ringName = ring, ""
        self._reader = RingReader(folders, "")
        self._closing = False
        self._lock = threading.RLock()
        with self._lock:
            self._start()

    # ---- frames

    def offer(self, header: FrameHeader, place: Place | None, feed: Feed) -> None:
        """Take a frame.

        :param header: of the frame; its number counts without gaps at its source.
        :param place: of its pixels; None when it was lost on the way.
        :param feed: holds the pixels.
        """
        with self._lock:
            counts = self.counts
            lost = max(0, header.number - counts.next) if counts.next >= 0 else 0
            counts.received += 1 + lost
            counts.skipped += lost
            counts.next = header.number + 1
            if lost:
                self._skip(header.number - lost, lost, LOST)
            if place is None or self._closing:
                counts.skipped += 1
                self._skip(header.number, 1, STARTING if self._isFirst else SLOW)
                if place:
                    feed.release(place)
                return
            work = _Work(header, place, feed)
            if self.problem:
                counts.failed += 1
                self._report(self._failures.add(header.number, self.problem, time.monotonic(), self.remedy or RELOAD))
                work.release()
                return
            if self._settings.every == "newest" and self._waiting:
                self._waiting.popleft().release()
                counts.skipped += 1
            self._waiting.append(work)
            self._feed()

    def _skip(self, first: int, count: int, reason: Text) -> None:
        if self._settings.every == "all" and not self._closing:
            self._report(self._skips.add(first, count, reason, self.waiting, time.monotonic()))

    @property
    def waiting(self) -> int:
        """Number of frames that wait or are being processed."""
        return len(self._waiting) + (self._current is not None)

    @property
    def idle(self) -> bool:
        """True when no frame waits, and every result was taken, also that of a pause."""
        with self._lock:
            return not (self.waiting or self.unread or self.finishing)

    @property
    def finishing(self) -> bool:
        """True from the last result until that of the pause after it."""
        return self._pausing or self._pauseDue != math.inf

    @property
    def ready(self) -> bool:
        """True when the function is loaded."""
        return self._loaded

    @property
    def restarted(self) -> bool:
        """True when its process has ended by itself, and has not answered since."""
        return self._deaths > 0

    @property
    def unread(self) -> bool:
        """True when :meth:`take` has something to yield."""
        return bool(self._items or self._made)

    def take(self, until: float = math.inf) -> Iterator[Arrival | Event | Values]:
        """Yield results and events that are there. The next call continues with what a caller has left.

        :param until: monotonic seconds; after them, no further result is begun.
        """
        while self.unread:
            if not self._made:
                item = self._items.popleft()
                if isinstance(item, Event):
                    self._made.append(item)
                else:
                    self._made.extend(self._results(item))
                    with self._lock:
                        self._unread -= 1
                        self._feed()
            while self._made:
                yield self._made.popleft()
            if time.monotonic() > until:
                return

    def watch(self) -> None:
        """End a process that hangs although it should have ended itself. Call it several times a second."""
        with self._lock:
            self._report(self._failures.due(time.monotonic()))
            self._report(self._skips.due(time.monotonic()))
            process = self._process
            if process and time.monotonic() >= self._pauseDue:
                self._pausing, self._pauseDue, self._started = True, math.inf, time.monotonic()
                process.send(Pause())
            busy = self._current is not None or self._pausing or not (self._loaded or self.problem)
            if process is None or not busy or process.killed:
                return
            limit = self._settings.limit
            if self._isFirst or not self._loaded:
                limit += LOAD_TIME
            if time.monotonic() > self._started + limit + MARGIN:
                process.kill()

    # ---- commands

    def setParameters(self, values: dict[str, Any]) -> None:
        """Change parameters, from the next frame on."""
        with self._lock:
            self.parameters = {**self.parameters, **values}
            self._feed()

    def reload(self) -> None:
        """Restart the function from its file. A frame that is being processed is processed again."""
        with self._lock:
            process, self._process = self._process, None
            if process:
                threading.Thread(target=process.close, name="function end", daemon=True).start()
            self.problem, self.remedy, self._deaths, self.stalled = "", None, 0, False
            self._reloaded = True
            self._retry()
            self._start()

    def close(self) -> None:
        """End the process; waiting frames count as skipped. Results that are there can still be taken."""
        with self._lock:
            self._closing = True
            process, self._process = self._process, None
            self._retry()
            for work in self._waiting:
                work.release()
            self.counts.skipped += len(self._waiting)
            self._waiting.clear()
            self._report(self._failures.rest())
            self._report(self._skips.rest())
        if process:
            process.close()

    # ---- the process

    def _start(self) -> None:
        self._starts += 1
        removeRing(self._folders, self._ring)
        self._ringName = f"{self._ring}-{os.getpid()}-{self._starts}"
        self._reader = RingReader(self._folders, self._ringName)
        self._loaded, self._isFirst, self._started = False, True, time.monotonic()
        self._pausing, self._pauseDue = False, math.inf
        settings = self._settings
        environment = jsonObject(settings.environment, "environment")
        try:
            if settings.python:
                checkPython(settings.python, environment)
            process = FunctionProcess(settings.python, environment, self._takeMessage, self._ended)
        except SettingsError as error:
            self._fail(str(error))
            return
        except OSError as error:
            text = _("{python} cannot be started: {reason}.")
            self._fail(text.format(python=settings.python or "Python", reason=reasonOf(error)))
            return
        self._process, self._sent = process, dict(self.parameters)
        load = settings.function, self._sent, self._folders, self._ringName, settings.limit, self._reloaded
        process.send(Load(*load))

    def _feed(self) -> None:
        process = self._process
        isBusy = self._current or self._pausing or self._unread >= MOST_RESULTS
        if process is None or not self._loaded or isBusy:
            return
        if self._sent != self.parameters:
            self._sent = dict(self.parameters)
            process.send(SetParameters(self._sent))
            self._isFirst = True
        if self._waiting:
            work = self._current = self._waiting.popleft()
            self._started, self._pauseDue = time.monotonic(), math.inf
            memory = process.target = self._getBuffer(self._nbytes) if self._nbytes else None
            target = None if memory is None else Target.of(memory)
            process.send(Process(work.header, work.place, work.feed.folders, work.feed.ring, target))

    def _takeMessage(self, process: FunctionProcess, message: Message) -> None:
        with self._lock:
            if process is not self._process:
                return
            if isinstance(message, Loaded):
                self._loaded, self._pauses = True, message.pauses
                self._takeParameters(message.parameters)
            elif isinstance(message, Failed):
                self._fail(message.failed)
            elif isinstance(message, Refused):
                self._takeParameters(message.parameters)
                text = _("{function} keeps its parameters: {reason}")
                text = text.format(function=self.name, reason=message.refused)
                self._report(iter([Event("parameters-refused", text, "error", self._settings.stream)]))
            elif isinstance(message, Prepared):
                self._isFirst, self._started = False, time.monotonic()
            elif isinstance(message, Computed | Raised):
                self._takeAnswer(process, message)
            self._feed()

    def _takeParameters(self, values: dict[str, Any]) -> None:
        # Changes that are not sent yet stay.
        changed = {name: value for name, value in self.parameters.items() if self._sent.get(name, self) != value}
        self._sent = values
        self.parameters = {**values, **changed}

    def _takeAnswer(self, process: FunctionProcess, answer: Computed | Raised) -> None:
        work = self._current
        number = answer.number if isinstance(answer, Raised) else answer.computed
        if self._pausing and self._last and self._last.number == number:
            self._pausing = False
            self._takeLater(self._last, process, answer)
            return
        if work is None or work.header.number != number:
            return  # a function that forks answers twice
        self._current = None
        memory, process.target = process.target, None
        self._takeAnswerOf(work, process, answer, memory)
        self._last = work.header
        self._pauseDue = time.monotonic() + PAUSE if self._pauses else math.inf
        # Last: the result is in a hurry, the slot is not.
        work.release()

    def _takeAnswerOf(
        self, work: _Work, process: FunctionProcess, answer: Computed | Raised, memory: Pixels | None
    ) -> None:
        self._deaths, self.stalled = 0, False
        if isinstance(answer, Raised):
            self.counts.failed += 1
            self._report(self._failures.add(work.header.number, answer.raised, time.monotonic()))
            return
        self.counts.processed += 1
        try:
            # Now: the memory is gone with the process.
            pixels = self._view(answer, memory)
        except RingError as error:
            self.counts.processed -= 1
            self.counts.failed += 1
            self._report(self._failures.add(work.header.number, str(error), time.monotonic()))
            return
        self._items.append(_Result(work.header, answer, pixels, process))
        self._unread += 1
        self._wake()

    def _takeLater(self, header: FrameHeader, process: FunctionProcess, answer: Computed | Raised) -> None:
        """Take the answer to a pause after a frame, which is counted already."""
        reason = answer.raised if isinstance(answer, Raised) else ""
        if isinstance(answer, Computed) and answer.image:
            try:
                self._items.append(_Result(header, answer, self._view(answer, None), process, isLater=True))
                self._unread += 1
                self._wake()
            except RingError as error:
                reason = str(error)
        if reason:
            self._report(self._failures.add(header.number, reason, time.monotonic()))

    def _ended(self, process: FunctionProcess) -> None:
        with self._lock:
            if process is not self._process:
                return
            self._process = None
            if self.problem or self._closing:
                return
            self._deaths += 1
            self.stalled = self.stalled or tookTooLong(process)
            inSetup = self._isFirst or not self._loaded
            reason, remedy = reasonOfEnd(process, self._settings, inSetup), remedyOfEnd(process, self._settings.limit)
            work = self._current
            if work:
                work.deaths += 1
                if work.deaths >= DEATHS:
                    self._current = None
                    self.counts.failed += 1
                    work.release()
                    text = _("Its process ended {count} times with this frame, which is passed over.")
                    reason = joined(sentence(reason), text.format(count=DEATHS))
                    self._report(self._failures.add(work.header.number, reason, time.monotonic(), remedy))
                else:
                    text = _("The process of {function} ended with frame {number} and is restarted. {reason}")
                    self._restarted(text.format(function=self.name, number=work.header.number, reason=reason), remedy)
            elif not self._loaded and self._deaths >= DEATHS:
                self._fail(reason, remedy)
                return
            else:
                text = _("The process of {function} ended and is restarted. {reason}")
                self._restarted(text.format(function=self.name, reason=reason), remedy)
            if self._deaths >= MOST_DEATHS:
                self._fail(reason, remedy)
                return
            self._retry()
            self._start()

    def _retry(self) -> None:
        if self._current:
            self._waiting.appendleft(self._current)
            self._current = None

    def _restarted(self, text: str, remedy: Remedy) -> None:
        self._report(iter([Event("function-restarted", text, "warning", self._settings.stream, remedy=remedy)]))

    def _fail(self, reason: str, remedy: Remedy = RELOAD) -> None:
        """Note that the function cannot be used; waiting frames fail."""
        self.problem, self.remedy = reason, remedy
        self._pausing, self._pauseDue = False, math.inf
        text = self.statusWords()
        self._report(iter([Event("function-unusable", text, "error", self._settings.stream, remedy=remedy)]))
        self._retry()
        while self._waiting:
            work = self._waiting.popleft()
            self.counts.failed += 1
            self._report(self._failures.add(work.header.number, reason, time.monotonic(), remedy))
            work.release()

    # ---- results

    def _results(self, result: _Result) -> Iterator[Arrival | Event | Values]:
        header, computed, now = result.header, result.computed, time.time()
        frameTime = header.receiveTime if header.deviceTime is None else header.deviceTime
        self._lost += max(0, header.number - self._number - 1) if self._number >= 0 else 0
        self._number = header.number
        if computed.values and not result.isLater:
            lost, self._lost = self._lost, 0
            yield Values(self._settings.stream, header.stream, header.number, frameTime, computed.values, lost)
        if computed.image and result.pixels is not None:
            try:
                pixels = self._copy(result.pixels) if computed.place else result.pixels
            except MemoryError:
                with self._lock:
                    self.counts.processed -= not result.isLater
                    self.counts.failed += not result.isLater
                    reason = _("There is no memory for the result.")
                    self._report(self._failures.add(header.number, reason, time.monotonic()))
                return
            finally:
                result.pixels = None
                if computed.place:
                    result.process.send(Release([computed.place.key]))
            attributes = {
                **computed.image.attributes,
                "Function": functionName(self._settings.function),
                "SourceStream": header.stream,
                "SourceFrame": str(header.number),
                "SourceReceiveTime": f"{header.receiveTime:.6f}",
            }
            matrix = np.array(computed.image.ijkToRAS, np.float64)
            image = Image(pixels, matrix, header.deviceTime, attributes)
            yield Arrival(self._settings.stream, image, now, stages={"seen": header.receiveTime})
        if not result.isLater:
            self.latency.add(1000 * (now - header.receiveTime))

    def _view(self, computed: Computed, memory: Pixels | None) -> Pixels | None:
        image = computed.image
        if image is None:
            return None
        shape, dtype = image.shape, np.dtype(image.dtype)
        nbytes = self._nbytes = math.prod(shape) * dtype.itemsize
        if computed.place:
            return self._reader.view(computed.place, shape, dtype)
        return None if memory is None else memory[:nbytes].view(dtype).reshape(shape)

    def _copy(self, sent: Pixels) -> Pixels:
        memory = self._getBuffer(sent.nbytes)
        pixels: Pixels = np.empty_like(sent) if memory is None else memory.view(sent.dtype).reshape(sent.shape)
        np.copyto(pixels, sent)
        return pixels

    def _report(self, events: Iterator[Event]) -> None:
        found = list(events)
        self._items.extend(found)
        if found:
            self._wake()

    # ---- figures

    def counted(self, always: bool, due: bool) -> tuple[Counts | None, dict[str, Any] | None]:
        """Return the counts and, when these are due, the :meth:`figures`.

        :param always: False returns neither while a result or an event that they count has not been taken.
        """
        with self._lock:
            if self.unread and not always:
                return None, None
            return replace(self.counts), self.figures() if due else None

    def figures(self) -> dict[str, Any]:
        """Return ``received``, ``processed``, ``skipped``, ``failed``, ``waiting``, ``latencyMs``, ``parameters``."""
        with self._lock:
            counts = self.counts
            return {
                "received": counts.received,
                "processed": counts.processed,
                "skipped": counts.skipped,
                "failed": counts.failed,
                "waiting": self.waiting,
                "latencyMs": self.latency.toJSON(),
                "parameters": self.parameters,
            }

    def statusWords(self) -> str:
        """Return the state in one sentence."""
        if self.problem:
            text = _("{function} cannot be used: {reason} Correct it, then press Reload.")
            return text.format(function=self.name, reason=sentence(self.problem))
        if not self._loaded:
            return _("{function} is starting.").format(function=self.name)
        if not self.counts.received:
            return _("Waiting for images of {stream}.").format(stream=self._settings.source)
        text = _("{function}: {processed} of {stream} processed.")
        count = counted(self.counts.processed, _("1 image"), _("{count:,} images"))
        return text.format(function=self.name, processed=count, stream=self._settings.source)
