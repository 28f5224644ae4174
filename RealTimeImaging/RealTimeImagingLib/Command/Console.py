"""Acquisition without Slicer: run the worker, and print what it reports in words."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..Link.Commands import Stop
from ..Link.Lines import LineWriter
from ..Link.Messages import (
    BroadcastReport,
    Counted,
    Counts,
    DetailsReport,
    EventReport,
    LogReport,
    Message,
    Receivers,
    RecordedReport,
    StatusReport,
    broadcastWords,
    trace,
)
from ..Link.Ring import RingWriter
from ..Link.WorkFolders import makeWorkFolder, removeWorkFolders, sweep
from ..Model.Frame import Frame, Pixels
from ..Model.Settings import placeOf
from ..Sources import Source, SourceContext, openSource
from ..Sources.Checkpoint import Checkpoint
from ..Sources.Processor.Beside import SharedImages, SourceWithFunction
from ..Worker.Frames import FrameSender
from ..Worker.Worker import Worker
from .Options import Plan

LEVELS = {"info": "", "warning": "Warning: ", "error": "Error: "}


@dataclass(frozen=True)
class Line(Message):
    """A line of the console's own."""

    words: str


class Console(LineWriter):
    """Writer of a line for each event, and of the counts on request. A terminal that does not read blocks nothing.

    :param descriptor: where to write; the caller closes it.
    """

    def __init__(self, descriptor: int) -> None:
        self.counts = Counts()
        """The latest counts."""
        self._broadcast: dict[str, Any] = {}
        self._status = ""
        self._processing: dict[str, Any] = {}
        self._before: tuple[float, int] = (time.monotonic(), 0)
        self._reported = ""
        self._reports = Receivers()
        self._reports.connect(Counted, self._count)
        self._reports.connect(BroadcastReport, self._takeBroadcast)
        self._reports.connect(StatusReport, self._takeStatus)
        self._reports.connect(DetailsReport, self._takeDetails)
        super().__init__(descriptor)

    def put(self, message: Message, always: bool = True) -> bool:
        """Take a report of the worker, and write its words, if it has any."""
        trace("worker", "received", message)
        self._reports.deliver(message)
        return super().put(message, always=False)

    def count(self, counts: Counts) -> None:
        """Merge counts, whose ``received`` has only the streams that changed."""
        self.counts = replace(counts, received=self.counts.received | counts.received)

    def _count(self, message: Counted) -> None:
        if message.counts:
            self.count(message.counts)

    def _takeBroadcast(self, message: BroadcastReport) -> None:
        self._broadcast = message.broadcast or self._broadcast

    def _takeStatus(self, message: StatusReport) -> None:
        self._status = message.status

    def _takeDetails(self, message: DetailsReport) -> None:
        self._processing = message.details.get("processing", {})

    def encoded(self, message: Message) -> bytes:
        """Return the words of a message, with the time; empty when it is not for people."""
        words = wordsOf(message)
        if not words:
            return b""
        return f"{time.strftime('%H:%M:%S')} {words}\n".encode(sys.stdout.encoding or "utf-8", "replace")

    def tellStatus(self) -> None:
        """Write how much came since the last time, unless nothing is new."""
        now, received = time.monotonic(), self._received
        since, before = self._before
        self._before = now, received
        fresh = f" ({(received - before) / (now - since):.1f} per second)" if received > before else ""
        words = f"{received} received{fresh}, {self._restWords}. {self._broadcastWords}{self._status}".strip()
        if words != self._reported:
            self._reported = words
            self.put(Line(words))

    def tellEnd(self) -> None:
        """Write what came in all."""
        sent, lost = self._broadcast.get("sent"), self._broadcast.get("lost")
        words = "" if sent is None else f", {sent} messages sent, {lost} dropped"
        self.put(Line(f"The end: {self._received} received, {self._restWords}{words}."))
        for stream, figures in self._processing.items():
            counts = ", ".join(f"{figures[name]} {name}" for name in ("received", "processed", "skipped", "failed"))
            self.put(Line(f"Processing of {stream}: {counts}."))

    @property
    def _received(self) -> int:
        return sum(self.counts.received.values())

    @property
    def _restWords(self) -> str:
        counts = self.counts
        return f"{counts.recorded} recorded, {counts.failed} failed, {counts.rejected} rejected"

    @property
    def _broadcastWords(self) -> str:
        return f"{broadcastWords(self._broadcast)} " if self._broadcast else ""


def wordsOf(message: Message) -> str:
    """Return what a message says to people; empty when nothing."""
    words = WORDS.get(type(message))
    return words(message) if words else ""


def _logWords(message: LogReport) -> str:
    return f"Log: {message.log}" if message.level >= logging.WARNING else ""


def _recordedWords(message: RecordedReport) -> str:
    if not message.recorded:
        return ""
    stored, first = message.stored, message.recorded[0]
    if stored["failed"]:
        lost, total = stored["failed"], stored["failed"] + stored["recorded"]
        return f"The recording is finished: {lost} of {total} images are lost. First file: {first}."
    return f"The recording is complete. First file: {first}."


WORDS: dict[type[Message], Callable[[Any], str]] = {
    Line: lambda message: message.words,
    EventReport: lambda message: LEVELS[message.event.level] + message.event.text,
    LogReport: _logWords,
    DetailsReport: lambda message: str(message.details.get("words", "")),
    RecordedReport: _recordedWords,
}


class NoDisplay(FrameSender):
    """Frame sender without a ring: no process shows the images.

    :param console: takes the reports.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(RingWriter([], ""), console)
        self._console = console

    def show(self, frame: Frame, counts: Counts) -> None:
        """Count it."""
        self._console.count(counts)

    def getBuffer(self, nbytes: int) -> Pixels | None:
        """Return None: frames need no ring."""
        return None


PERIOD = 5.0
"""Seconds between two lines of counts."""
CHECK_PERIOD = 0.1
"""Seconds between two checks whether to end."""
LONGEST_END = 10.0
"""Seconds for the end; a reader that hangs in a network share must not keep the process."""

log = logging.getLogger(__name__)


def _open(plan: Plan, checkpoint: Checkpoint, functions: list[SourceWithFunction]) -> Source:
    if plan.process is None:
        return openSource(plan.settings, SourceContext(checkpoint))
    images = SharedImages([checkpoint.folder])
    source = openSource(plan.settings, SourceContext(checkpoint, images.getBuffer))
    functions.append(SourceWithFunction(source, plan.process, images))
    return functions[0]


def acquire(plan: Plan, console: Console, stopped: threading.Event) -> int:
    """Do what is planned until stopped; returns the exit code, 1 when it failed or did not end in time."""
    sweep()
    folder = makeWorkFolder()
    failures: list[Exception] = []

    def run() -> None:
        try:
            with Checkpoint(folder) as checkpoint:
                sender = NoDisplay(console)
                worker = Worker(
                    lambda: _open(plan, checkpoint, functions),
                    checkpoint,
                    sender,
                    plan.startupCommands(),
                    place=placeOf(plan.settings),
                )
                workers.append(worker)
                worker.run()
        except Exception as error:  # the boundary: all that is unexpected ends here
            log.exception("The acquisition failed")
            failures.append(error)
            if workers:
                workers[0].closeRecording()

    workers: list[Worker] = []
    functions: list[SourceWithFunction] = []
    thread = threading.Thread(target=run, name="acquisition", daemon=True)
    thread.start()
    due, end = time.monotonic() + PERIOD, float("inf")
    while thread.is_alive() and time.monotonic() < end:
        if stopped.is_set() and workers:
            if end == float("inf"):
                workers[0].command(Stop())
                end = time.monotonic() + LONGEST_END
            # Wait longer for a recording, as long as it makes progress.
            end = max(end, workers[0].progressed + workers[0].patience)
            if any(one.finishing for one in functions):
                end = time.monotonic() + LONGEST_END
        if time.monotonic() > due:
            due += PERIOD
            console.tellStatus()
        thread.join(CHECK_PERIOD)
    if thread.is_alive():
        console.put(Line("The source did not end in time and is abandoned: its read() or close() blocks."))
    removeWorkFolders([folder])
    console.tellEnd()
    return int(bool(failures) or thread.is_alive())
