"""The process of a function: takes frames from shared memory, calls the function, and answers with its results.

It needs numpy and this library, and nothing of Slicer: any Python of 3.10 or newer can run it. Its messages are those
of :mod:`Processing.Messages`. The end of input ends it. A call that takes too long ends it too, even one that never
gives other threads a turn; the trace goes to standard error.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import math
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..Link.Commands import Command, Release
from ..Link.Lines import DirectWriter, openLines
from ..Link.Messages import Failed
from ..Link.Ring import Place, RingReader, RingWriter, TargetWriter
from ..Model.Errors import FrameError, RealTimeImagingError
from ..Model.Frame import Frame, Image, Pixels, imageOf
from ..Model.Text import textsOf
from .Function import Result
from .Loading import LoadedFunction, lastLine
from .Messages import Computed, Load, Loaded, Process, Raised, Refused, SetParameters, decodeToFunction

_ = textsOf(__file__)

LOAD_TIME = 60.0
"""Seconds that the import and setup() may take at least, such as for a network on a GPU."""
CLOSE_TIME = 0.5
"""Seconds for close() of the function at the end."""
RESERVE = 1.25
EARLIER = 0.05
"""Seconds before an alarm at which it is cancelled while no call runs."""
LAST_LINES = 1.0
"""Seconds at the end for the last lines to leave."""

log = logging.getLogger(__name__)


class Deadline:
    """Limit for calls: the process ends when one exceeds it.

    To set and to cancel an alarm takes a thread each time. So an alarm is set with some reserve, holds for the calls
    after it while the reserve lasts, and is cancelled when no call follows.

    :param descriptor: takes the trace.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._due = math.inf
        """Time of the alarm, monotonic seconds."""

    def start(self, seconds: float) -> None:
        """Begin a call that may take so many seconds; it is ended RESERVE times as many later at the latest."""
        now = time.monotonic()
        if not now + seconds <= self._due <= now + RESERVE * seconds:
            self._due = now + RESERVE * seconds
            faulthandler.dump_traceback_later(RESERVE * seconds, exit=True, file=self._descriptor)

    def cancel(self) -> None:
        """End: no call follows."""
        if self._due != math.inf:
            self._due = math.inf
            faulthandler.cancel_dump_traceback_later()

    @property
    def patience(self) -> float | None:
        """Seconds that a wait for the next call may take before :meth:`cancel`; None without an alarm."""
        return None if self._due == math.inf else max(0.0, self._due - time.monotonic() - EARLIER)


class Runner:
    """Loop over the frames of one function.

    :param load: the function and the ring of its results.
    :param put: sends a message.
    :param deadline: of the calls.
    """

    def __init__(self, load: Load, put: Callable[[Any], object], deadline: Deadline) -> None:
        self._load, self._put, self._deadline = load, put, deadline
        self._commands: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._ring = RingWriter(load.folders, load.ring)
        self._returned = threading.Condition()
        self._targets = TargetWriter()
        self._readers: dict[str, RingReader] = {}
        self._function: LoadedFunction | None = None
        self._setupDue = True
        self._logged = ""

    def take(self, command: Command | None) -> None:
        """Take a command, from any thread; None ends the loop."""
        if isinstance(command, Release):
            with self._returned:
                for generation, slot in command.slots:
                    self._ring.release(generation, slot)
                self._returned.notify_all()
        else:
            self._commands.put(command)

    def run(self) -> int:
        """Load the function and process frames until the end; return the exit code."""
        try:
            self._deadline.start(max(LOAD_TIME, self._load.seconds))
            self._function = LoadedFunction(self._load.function, self._load.values)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the boundary to code of the user
            self._log(error)
            self._put(Failed(lastLine(error, self._load.function)))
            return 0
        finally:
            self._deadline.cancel()
        self._put(Loaded(self._function.title, self._function.values()))
        while command := self._next():
            if isinstance(command, SetParameters):
                self._setParameters(command, self._function)
            elif isinstance(command, Process):
                self._put(self._answer(command, self._function))
        self._close(self._function)
        return 0

    def _next(self) -> Command | None:
        patience = self._deadline.patience
        try:
            return self._commands.get(timeout=patience)
        except queue.Empty:
            self._deadline.cancel()
            return self._commands.get()

    def _setParameters(self, command: SetParameters, function: LoadedFunction) -> None:
        try:
            parameters = function.checked({**function.values(), **command.values})
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the boundary to code of the user
            self._log(error)
            self._put(Refused(lastLine(error, function.path), function.values()))
            return
        function.parameters, self._setupDue = parameters, True

    def _answer(self, command: Process, function: LoadedFunction) -> Computed | Raised:
        header = command.frame
        try:
            frame = header.frame(self._view(command))
            result = self._call(frame, function)
            image, values = _imageOf(result, frame), _valuesOf(result)
            if image is None:
                return Computed(header.number, None, None, values)
            isThere = command.target is not None and self._targets.write(command.target, image.pixels)
            place = None if isThere else self._place(image.pixels)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the boundary to code of the user
            self._log(error)
            return Raised(lastLine(error, function.path), header.number)
        made = replace(
            header,
            shape=image.pixels.shape,
            dtype=image.pixels.dtype.str,
            ijkToRAS=image.ijkToRAS.tolist(),
            attributes=dict(image.attributes),
        )
        return Computed(header.number, made, place, values)

    def _call(self, frame: Frame, function: LoadedFunction) -> Any:
        if self._setupDue:
            self._deadline.start(max(LOAD_TIME, self._load.seconds))
            if function.setup:
                function.setup(function.parameters, frame)
            self._setupDue = False
        self._deadline.start(self._load.seconds)
        assert function.process
        return function.process(frame)

    def _view(self, command: Process) -> Pixels:
        reader = self._readers.get(command.ring)
        if reader is None:
            # The ring of an ended acquisition process is not used any more.
            self._readers = {command.ring: (reader := RingReader(command.folders, command.ring))}
        return reader.view(command.place, command.frame.shape, np.dtype(command.frame.dtype))

    def _place(self, pixels: Pixels) -> Place:
        with self._returned:
            while (place := self._ring.put(pixels)) is None:
                self._deadline.cancel()
                self._returned.wait()
            return place

    def _log(self, error: BaseException) -> None:
        # An error of this library is a sentence for the user; the same error of many frames is logged once.
        if not isinstance(error, RealTimeImagingError) and str(error) != self._logged:
            self._logged = str(error)
            log.info("The function raised an error", exc_info=error)

    def _close(self, function: LoadedFunction) -> None:
        if function.close:
            self._deadline.start(CLOSE_TIME)
            try:
                function.close()
            except (Exception, SystemExit):  # the boundary to code of the user
                log.exception("close() of the function failed")
            finally:
                self._deadline.cancel()


def _imageOf(result: Any, frame: Frame) -> Image | None:
    """Return the image of a result; None when there is none.

    :raises FrameError: it cannot be an image.
    """
    given = result if isinstance(result, Result) else Result(result)
    if given.pixels is None:
        return None
    array = np.asarray(given.pixels)
    # Three axes of which the last is 3 or 4 are a volume where the frame is one.
    colour = False if array.shape == frame.pixels.shape[:3] else None
    attributes = {**frame.attributes, **given.attributes}
    image = imageOf(array, None, frame.deviceTime, colour, attributes)
    geometry = frame.ijkToRAS if given.ijkToRAS is None else given.ijkToRAS
    return replace(image, ijkToRAS=np.array(geometry, np.float64))


def _valuesOf(result: Any) -> dict[str, float]:
    """Return the values of a result.

    :raises FrameError: a value is no number.
    """
    if not isinstance(result, Result):
        return {}
    found = {}
    for name, value in result.values.items():
        try:
            found[str(name)] = float(value)
        except (TypeError, ValueError) as error:
            text = _("The value {name} is a number, not {value}.").format(name=repr(name), value=repr(value)[:80])
            raise FrameError(text) from error
    return found


def main() -> int:
    """Run as the process of a function; return the exit code."""
    # A command shall not wait while another thread computes.
    sys.setswitchinterval(0.0005)
    trace = os.dup(2)
    writer, lines = openLines(writing=DirectWriter)
    first = next(lines, None)
    if first is None:
        return 0
    values = json.loads(first)
    values.pop("command")
    runner = Runner(Load.fromJSON(values), writer.put, Deadline(trace))
    threading.Thread(target=_listen, args=(runner, lines), name="commands", daemon=True).start()
    code = runner.run()
    writer.close(LAST_LINES)
    return code


def _listen(runner: Runner, lines: Iterator[bytes]) -> None:
    for line in lines:
        try:
            runner.take(decodeToFunction(line))
        except (ValueError, TypeError, KeyError):  # this thread must live: it notices the end of input
            log.exception("A command is not understood: %r", line[:200])
    runner.take(None)
    # A call in progress must not outlive the process that feeds this one.
    threading.Event().wait(CLOSE_TIME)
    os._exit(0)
