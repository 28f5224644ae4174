"""The process of a function: takes frames from shared memory, calls the function, and answers with its results.

It needs numpy and this library, and nothing of Slicer: any Python of 3.10 or newer can run it. Its messages are those
of :mod:`Processing.Messages`. The end of input ends it. A call that takes too long ends it too, even one that never
gives other threads a turn; the trace goes to standard error.
"""

from __future__ import annotations

import faulthandler
import logging
import math
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..Link.Commands import Command, Release
from ..Link.Lines import DirectWriter, openOutput, takeInput
from ..Link.Messages import Failed, FrameHeader
from ..Link.Ring import Place, RingReader, RingWriter, Target, TargetWriter
from ..Model.Errors import FrameError, RealTimeImagingError
from ..Model.Frame import Image, Pixels, imageOf
from ..Model.Signals import NUMBER, TIME
from ..Model.Text import textsOf
from .Commands import CommandReader
from .Function import LONGEST_NAME, MOST_VALUES, Result
from .Loading import LoadedFunction, functionPath, lastLine
from .Messages import Computed, Load, Loaded, Pause, Prepared, Process, Raised, Refused, SetParameters

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
    :param commands: for the function; their end ends the loop.
    :param put: sends a message.
    :param deadline: of the calls.
    """

    def __init__(self, load: Load, commands: CommandReader, put: Callable[[Any], object], deadline: Deadline) -> None:
        self._load, self._commands, self._put, self._deadline = load, commands, put, deadline
        self._postponed: deque[Command] = deque()
        """Commands that came while a result waited for a slot."""
        self._ring = RingWriter(load.folders, load.ring)
        self._targets = TargetWriter()
        self._readers: dict[str, RingReader] = {}
        self._setupDue = True
        self._last: FrameHeader | None = None
        """Header of the last frame."""
        self._logged = ""

    def run(self) -> int:
        """Load the function and process frames until the end; return the exit code."""
        try:
            self._deadline.start(max(LOAD_TIME, self._load.seconds))
            function = LoadedFunction(self._load.function, self._load.values, self._load.reloaded)
            self._put(Loaded(function.title, function.values(), function.pause is not None))
        except BaseException as error:  # noqa: BLE001 - the boundary to code of the user
            self._put(Failed(self._reason(error, functionPath(self._load.function))))
            return 0
        finally:
            self._deadline.cancel()
        while command := self._next():
            if isinstance(command, SetParameters):
                self._setParameters(command, function)
            elif isinstance(command, Process):
                self._last = command.frame
                self._put(self._answer(command.frame, command.target, lambda: self._call(command, function), function))
            elif isinstance(command, Pause) and self._last:
                self._put(self._answer(self._last, None, lambda: self._pause(function), function))
            elif isinstance(command, Release):
                self._release(command)
        self._close(function)
        return 0

    def _next(self) -> Command | None:
        if self._postponed:
            return self._postponed.popleft()
        try:
            return self._commands.next(self._deadline.patience)
        except TimeoutError:
            self._deadline.cancel()
            return self._commands.next()

    def _release(self, command: Release) -> None:
        for generation, slot in command.slots:
            self._ring.release(generation, slot)

    def _setParameters(self, command: SetParameters, function: LoadedFunction) -> None:
        try:
            parameters = function.checked({**function.values(), **command.values})
        except BaseException as error:  # noqa: BLE001 - the boundary to code of the user
            self._put(Refused(self._reason(error, function.path), function.values()))
            return
        function.parameters, self._setupDue = parameters, True

    def _answer(
        self, header: FrameHeader, target: Target | None, call: Callable[[], Any], function: LoadedFunction
    ) -> Computed | Raised:
        try:
            result = call()
            image, values = _imageOf(result, header), _valuesOf(result)
            if image is None:
                return Computed(header.number, None, None, values)
            isThere = target is not None and self._targets.write(target, image.pixels)
            place = None if isThere else self._place(image.pixels)
        except BaseException as error:  # noqa: BLE001 - the boundary to code of the user
            return Raised(self._reason(error, function.path), header.number)
        made = replace(
            header,
            shape=image.pixels.shape,
            dtype=image.pixels.dtype.str,
            ijkToRAS=image.ijkToRAS.tolist(),
            attributes=dict(image.attributes),
        )
        return Computed(header.number, made, place, values)

    def _call(self, command: Process, function: LoadedFunction) -> Any:
        frame = command.frame.frame(self._view(command))
        if self._setupDue:
            self._deadline.start(max(LOAD_TIME, self._load.seconds))
            if function.setup:
                function.setup(function.parameters, frame)
            self._setupDue = False
            self._put(Prepared(frame.number))
        self._deadline.start(self._load.seconds)
        assert function.process
        return function.process(frame)

    def _pause(self, function: LoadedFunction) -> Any:
        # After setup() failed, or before it has the new parameters, the function may have no state.
        if self._setupDue or not function.pause:
            return None
        self._deadline.start(self._load.seconds)
        return function.pause()

    def _view(self, command: Process) -> Pixels:
        reader = self._readers.get(command.ring)
        if reader is None:
            # The ring of an ended acquisition process is not used any more.
            self._readers = {command.ring: (reader := RingReader(command.folders, command.ring))}
        return reader.view(command.place, command.frame.shape, np.dtype(command.frame.dtype))

    def _place(self, pixels: Pixels) -> Place:
        while (place := self._ring.put(pixels)) is None:
            self._deadline.cancel()
            command = self._commands.next()
            if command is None:
                raise EOFError
            if isinstance(command, Release):
                self._release(command)
            else:
                self._postponed.append(command)
        return place

    def _reason(self, error: BaseException, path: str) -> str:
        reason = lastLine(error, path)
        # An error of this library is a sentence for the user; the same error of many frames is logged once.
        if not isinstance(error, RealTimeImagingError) and reason != self._logged:
            self._logged = reason
            log.info("The function raised an error", exc_info=error)
        return reason

    def _close(self, function: LoadedFunction) -> None:
        if function.close:
            self._deadline.start(CLOSE_TIME)
            try:
                function.close()
            except BaseException:  # the boundary to code of the user
                log.exception("close() of the function failed")
            finally:
                self._deadline.cancel()


def _imageOf(result: Any, frame: FrameHeader) -> Image | None:
    """Return the image of a result; None when there is none.

    :raises FrameError: it cannot be an image.
    """
    given = result if isinstance(result, Result) else Result(result)
    if given.pixels is None:
        return None
    array = np.asarray(given.pixels)
    # Three axes of which the last is 3 or 4 are a volume where the frame is one.
    colour = False if array.shape == frame.shape[:3] else None
    attributes = {**frame.attributes, **given.attributes}
    image = imageOf(array, None, frame.deviceTime, colour, attributes)
    geometry = frame.ijkToRAS if given.ijkToRAS is None else given.ijkToRAS
    return replace(image, ijkToRAS=np.array(geometry, np.float64))


def _valuesOf(result: Any) -> dict[str, float]:
    """Return the values of a result.

    :raises FrameError: a value is no number, or a name is not as :class:`Function.Result` describes it.
    """
    if not isinstance(result, Result):
        return {}
    if not isinstance(result.values, Mapping):
        text = _("The values of a result are numbers by name, not {values}.")
        raise FrameError(text.format(values=type(result.values).__name__))
    if len(result.values) > MOST_VALUES:
        text = _("A result has at most {most} values, not {count:,}.")
        raise FrameError(text.format(most=MOST_VALUES, count=len(result.values)))
    return {_nameOf(name): _numberOf(name, value) for name, value in result.values.items()}


def _nameOf(given: Any) -> str:
    name = str(given)
    if name in (NUMBER, TIME):
        text = _("The values need another name than {name}, which each table has as its own column.")
        raise FrameError(text.format(name=name))
    if not (name.strip() and name.isprintable() and len(name) <= LONGEST_NAME):
        text = _("The name of a value has 1 to {most} printable characters, unlike {name}.")
        raise FrameError(text.format(most=LONGEST_NAME, name=repr(name)[:LONGEST_NAME]))
    return name


def _numberOf(name: Any, value: Any) -> float:
    try:
        return float(value.item() if isinstance(value, np.ndarray) else value)
    except (TypeError, ValueError) as error:
        text = _("The value {name} is a number, not {value}.").format(name=repr(name), value=repr(value)[:80])
        raise FrameError(text) from error


def main() -> int:
    """Run as the process of a function; return the exit code."""
    # A command shall not wait while another thread computes.
    sys.setswitchinterval(0.0005)
    _separate()
    trace = os.dup(2)
    writer = openOutput(DirectWriter)
    commands = CommandReader(takeInput(), _endSoon)
    load = commands.next()
    if not isinstance(load, Load):
        return 0
    code = Runner(load, commands, writer.put, Deadline(trace)).run()
    writer.close(LAST_LINES)
    _endAll()
    return code


def _separate() -> None:
    """Make this process the first of a group, and the first that the system ends when memory runs out."""
    if sys.platform == "win32":
        return
    os.setpgid(0, 0)
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    except OSError:
        pass  # Linux only


def _endAll() -> None:
    """End this process and those that the function started."""
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)


def _endSoon() -> None:
    # A call in progress must not outlive the process that feeds this one.
    threading.Event().wait(CLOSE_TIME)
    _endAll()
    os._exit(0)
