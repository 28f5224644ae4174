"""The acquisition process: asks the source, numbers what comes, hands it on. Nothing of Slicer is imported here.

It speaks JSON lines. To it, on standard input: first the start (see Start.py), then commands
``{"command": "release", "slots": [[generation, slot], ...]}``, ``{"command": "stop"}`` and those of the source.
From it, on standard output: ``pid`` first, then ``ready``, ``frame``, ``event``, ``status``, ``log``, at last ``end``.
End of input ends it, so that nothing is left behind when Slicer is killed.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from ..Event import Event
from ..Frame import Frame
from ..Journal import Journal
from ..Settings import settingsFromJSON
from ..Sources import Arrival, Source, openSource
from .Outlet import LineWriter, Outlet
from .Ring import RingWriter
from .StandardStreams import LineLogHandler, readLines, takeStandardStreams
from .Start import Start

PATIENCE = 0.25
"""Seconds a source may wait before it is asked again."""
DRAIN = 0.5
"""Seconds at stop for the last frames to find a slot."""
STATUS_PERIOD = 0.25
LAST_WORDS = 1.0
"""Seconds for the last lines to leave, and for an abandoned process to end by itself."""

log = logging.getLogger(__name__)


class Worker:
    """Moves what a source gives to the outlet until it is told to stop.

    :param source: asked in this thread only.
    :param journal: numbers the frames.
    :param outlet: takes frames and events.
    """

    def __init__(self, source: Source, journal: Journal, outlet: Outlet) -> None:
        self._source, self._journal, self._outlet = source, journal, outlet
        self._commands: deque[dict[str, Any]] = deque()
        self._stopping = threading.Event()
        self._status = ""
        self._statusDue = 0.0

    def command(self, values: dict[str, Any]) -> None:
        """Take a command, from any thread."""
        if values["command"] == "release":
            self._outlet.release(values["slots"])
            return
        if values["command"] == "stop":
            self._stopping.set()
        else:
            self._commands.append(values)
        self._source.wake()

    def run(self) -> None:
        """Until a stop: ask, number, hand on."""
        while not self._stopping.is_set():
            while self._commands:
                values = self._commands.popleft()
                self._source.command(values["command"], values)
            for item in self._source.read(PATIENCE):
                if isinstance(item, Event):
                    self._outlet.event(item, self._counts())
                else:
                    self._accept(item)
                if self._stopping.is_set():
                    break
            self._tellStatus()
        self._source.close()
        self._outlet.drain(DRAIN)
        self._outlet.tell({"end": True, "counts": self._counts()})

    def _accept(self, arrival: Arrival) -> None:
        image = arrival.image
        number = self._journal.accept(arrival.stream)
        frame = Frame(
            image.pixels,
            image.ijkToRAS,
            arrival.stream,
            number,
            arrival.receiveTime,
            image.deviceTime,
            image.attributes,
        )
        self._outlet.show(frame, self._counts())

    def _counts(self) -> dict[str, Any]:
        return {"received": dict(self._journal.numbers), "rejected": self._journal.rejected}

    def _tellStatus(self) -> None:
        now = time.monotonic()
        status = self._source.status
        if status != self._status and now >= self._statusDue:
            self._status, self._statusDue = status, now + STATUS_PERIOD
            self._outlet.tell({"status": status, "counts": self._counts()})


def main() -> int:
    """Run as the acquisition process; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in a terminal reaches the whole group; Slicer decides
    output = takeStandardStreams()
    lines = LineWriter(output)
    lines.put({"pid": os.getpid()})
    commands = readLines(0)
    first = next(commands, None)
    if first is None:
        return 0
    start = Start(**json.loads(first))
    ring = RingWriter(start.folders, start.ringName)
    outlet = Outlet(ring, lines)
    logging.basicConfig(level=logging.INFO, handlers=[LineLogHandler(outlet.log)])
    code = 0
    with Journal(start.folders[-1]) as journal:
        try:
            worker = Worker(openSource(settingsFromJSON(start.settings), journal), journal, outlet)
            abandoned = _listen(worker, commands, start)
            outlet.tell({"ready": True, "counts": {"received": journal.numbers, "rejected": journal.rejected}})
            worker.run()
        except Exception as error:  # the boundary: all that is unexpected ends here
            log.exception("The acquisition process failed")
            text = f"The acquisition process failed: {type(error).__name__}: {error}. It is started again."
            lines.put({"event": Event("failed", text, "error").toJSON()})
            code = 1
        else:
            if abandoned.is_set():
                _clean(start)
    lines.close(LAST_WORDS)
    if code == 0:
        ring.close()
    return code


def _listen(worker: Worker, commands: Iterator[bytes], start: Start) -> threading.Event:
    abandoned = threading.Event()

    def listen() -> None:
        for line in commands:
            worker.command(_parse(line))
        abandoned.set()
        worker.command({"command": "stop"})
        # Nobody is left who would kill a process that hangs in a reader.
        time.sleep(LAST_WORDS)
        _clean(start)
        os._exit(0)

    threading.Thread(target=listen, name="commands", daemon=True).start()
    return abandoned


def _parse(line: bytes) -> dict[str, Any]:
    values: Mapping[str, Any] = json.loads(line)
    return {"command": "", **values}


def _clean(start: Start) -> None:
    for folder in start.folders:
        shutil.rmtree(folder, ignore_errors=True)
