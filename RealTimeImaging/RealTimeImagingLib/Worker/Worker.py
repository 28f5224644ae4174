"""The acquisition process: asks the source, numbers what comes, hands it on. Nothing of Slicer is imported here.

It speaks JSON lines. To it, on standard input: first the start (see Start.py), then commands
``{"command": "release", "slots": [[generation, slot], ...]}``, ``{"command": "stop"}`` and those of the source.
From it, on standard output: ``pid`` first, then ``ready``, ``frame``, ``event``, ``status``, ``details``, ``log``, at
last ``end``.
End of input ends it, so that nothing is left behind when Slicer is killed.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..Link.Lines import LONGEST_SILENCE, LineWriter, beginJob
from ..Link.Messages import Start
from ..Link.Ring import RingWriter
from ..Link.WorkFolders import readHolder, removeWorkFolders
from ..Model.DeviceMessage import DeviceMessage
from ..Model.Event import Event
from ..Model.Frame import Frame
from ..Sources import settingsFromJSON
from ..Sources.Checkpoint import Checkpoint
from ..Sources.Kinds import openSource
from ..Sources.Source import Arrival, Buffered, Detailed, Source
from .Broadcast import Broadcast
from .Frames import FrameReceiver, FrameSender
from .WorkerRecording import WorkerRecording

PATIENCE = 0.25
"""Seconds a source may wait before it is asked again."""
DRAIN = 0.5
"""Seconds at stop for the last frames to find a slot."""
STATUS_PERIOD = 0.25
LAST_WORDS = 1.0
"""Seconds for an abandoned process to end by itself."""

log = logging.getLogger(__name__)


class Worker:
    """Moves what a source gives to the outlet until it is told to stop.

    :param open_: opens the source; called in run(), which a share that hangs may hold up.
    :param checkpoint: numbers the frames.
    :param sender: takes frames and events.
    :param commands: obeyed before the source is opened.
    """

    LONGEST_PAUSE = 30.0
    """Seconds without progress of a recording after which its process counts as hung."""

    def __init__(
        self,
        open_: Callable[[], Source],
        checkpoint: Checkpoint,
        sender: FrameSender,
        commands: Sequence[dict[str, Any]] = (),
    ) -> None:
        self._open, self._checkpoint, self._sender = open_, checkpoint, sender
        self._store = WorkerRecording(checkpoint, sender, self._counts)
        self._broadcast = Broadcast(sender, self._counts)
        self._source: Source | None = None
        self._first = commands
        self._commands: deque[dict[str, Any]] = deque()
        self._stopping = threading.Event()
        self._told: tuple[str, int] = ("", 0)
        self._toldDetails: dict[str, Any] = {}
        self._toldProblem = ""
        self._statusDue = 0.0

    def command(self, values: dict[str, Any]) -> None:
        """Take a command, from any thread."""
        if values["command"] == "release":
            self._sender.release(values["slots"])
            return
        if values["command"] == "stop":
            self._stopping.set()
        else:
            self._commands.append(values)
        if self._source:
            self._source.wake()

    def run(self) -> None:
        """Until a stop: ask, number, hand on."""
        for values in self._first:
            self._obey(values)
        source = self._source = self._open()
        self._sender.tell({"ready": True, "counts": self._allCounts()})
        self._sender.flush(LAST_WORDS)
        while not self._stopping.is_set():
            while self._commands:
                self._obey(self._commands.popleft())
            for item in source.read(PATIENCE):
                self._handOn(item)
                # A variable would keep the memory into which an image was read.
                del item
                if self._stopping.is_set():
                    break
            self._store.tell()
            self._tellJournal()
            self._broadcast.tell()
            self._tellDetails(source)
            self._tellStatus(source.status)
        if isinstance(source, Buffered):
            for item in source.rest():
                self._handOn(item)
                del item
            self._tellDetails(source)
        # Close the recording first: the other steps may wait for devices and for the network.
        self._store.stop()
        self._broadcast.end()
        source.close()
        self._store.close()
        self._broadcast.close()
        self._sender.drain(DRAIN)
        self._sender.tell({"end": True, "counts": self._allCounts()})
        self._sender.waitForReleases(DRAIN)

    def _handOn(self, item: Arrival | Event | DeviceMessage) -> None:
        if isinstance(item, Event):
            self._sender.event(item, self._counts())
            if item.level == "error":
                self._sender.flush(LAST_WORDS)
        elif isinstance(item, DeviceMessage):
            self._store.appendMessage(item)
            self._sender.tell({"message": item.toJSON()})
            self._broadcast.giveMessage(item)
        else:
            self._accept(item)

    def _accept(self, arrival: Arrival) -> None:
        image = arrival.image
        frame = Frame(
            image.pixels,
            image.ijkToRAS,
            arrival.stream,
            self._checkpoint.next(arrival.stream),
            arrival.receiveTime,
            image.deviceTime,
            image.attributes,
        )
        # Stored before it counts: a death in between stores it twice, with the same number, and never not at all.
        stored = self._store.append(frame)
        self._checkpoint.accept(arrival.stream, stored)
        if arrival.accepted:
            arrival.accepted(frame.number, stored)
        self._sender.show(frame, {**self._counts(), "received": {frame.stream: frame.number + 1}})
        self._broadcast.give(frame)
        self._store.tell()
        self._tellJournal()

    def _obey(self, values: dict[str, Any]) -> None:
        # A source may want to hear of all, and before the others: frames that are recorded from now on must not be
        # passed over any more.
        if self._source:
            self._source.command(values["command"], values)
        self._store.obey(**values) or self._broadcast.obey(**values)

    @property
    def patience(self) -> float:
        """Seconds without progress after which an abandoned process ends itself."""
        return self.LONGEST_PAUSE if self._store.recording else LAST_WORDS

    @property
    def progressed(self) -> float:
        """When something was stored last (time.monotonic())."""
        return self._store.progressed

    def _allCounts(self) -> dict[str, Any]:
        return {**self._counts(), "received": dict(self._checkpoint.numbers)}

    def _counts(self) -> dict[str, Any]:
        checkpoint = self._checkpoint
        return {
            "received": {},
            "rejected": checkpoint.rejected,
            "recorded": checkpoint.recorded,
            "failed": checkpoint.failed,
        }

    def _tellJournal(self) -> None:
        problem, folder = self._checkpoint.problem, self._checkpoint.folder
        if problem == self._toldProblem:
            return
        if problem and not self._toldProblem:
            text = f"The temporary folder {folder} cannot be written: {problem}. "
            text += "Images are still received and recorded, but this source cannot be restarted after a crash. "
            text += "Free space on that disk."
            self._sender.event(Event("temporary-folder", text, "warning", folder), self._counts())
        elif not problem:
            text = f"The temporary folder {folder} can be written again."
            self._sender.event(Event("temporary-folder", text, "info", folder), self._counts())
        self._toldProblem = problem
        self._sender.tell({"journal": problem})

    def _tellDetails(self, source: Source) -> None:
        if isinstance(source, Detailed) and source.details != self._toldDetails:
            self._toldDetails = dict(source.details)
            self._sender.tell({"details": self._toldDetails})

    def _tellStatus(self, status: str) -> None:
        # A file that was rejected as not complete, and is completed, takes its rejection back without an event.
        now, words = time.monotonic(), (status, self._checkpoint.rejected)
        if words != self._told and now >= self._statusDue:
            self._told, self._statusDue = words, now + STATUS_PERIOD
            self._sender.tell({"status": status, "counts": self._counts()})


def main() -> int:
    """Run as the acquisition process; returns the exit code."""
    # A line or a command shall not wait while another thread computes.
    sys.setswitchinterval(0.0005)
    lines, commands, first = beginJob(finishes=True)
    if first is None:
        return 0
    code = _serve(Start(**json.loads(first)), commands, lines)
    lines.close(LONGEST_SILENCE)
    return code


def _serve(start: Start, commands: Iterator[bytes], lines: LineWriter) -> int:
    sender = FrameSender(RingWriter(start.folders, start.ringName), lines)
    abandoned = threading.Event()
    try:
        with Checkpoint(start.folders[-1]) as checkpoint:
            settings = settingsFromJSON(start.settings)
            inlet = FrameReceiver(start.folders, sender.tell)
            worker = Worker(
                lambda: openSource(settings, checkpoint, sender.getBuffer, inlet), checkpoint, sender, start.commands
            )
            _listen(worker, commands, start, abandoned)
            worker.run()
    except Exception as error:  # the boundary: all that is unexpected ends here
        log.exception("The acquisition process failed")
        text = f"The acquisition process failed: {type(error).__name__}: {error}"
        lines.put({"event": Event("failed", text, "error").toJSON()})
        return 1
    finally:
        if abandoned.is_set():
            _clean(start)
    return 0


def _listen(worker: Worker, commands: Iterator[bytes], start: Start, abandoned: threading.Event) -> None:
    def listen() -> None:
        for line in commands:
            try:
                worker.command({"command": "", **json.loads(line)})
            except (ValueError, TypeError, KeyError):  # this thread must live: it hears the end of input
                log.exception("A command is not understood: %r", line[:200])
        abandoned.set()
        worker.command({"command": "stop"})
        # Slicer is gone and cannot kill this process if it hangs in a reader, or on a drive that does not answer.
        since = time.monotonic()
        while (left := max(since, worker.progressed) + worker.patience - time.monotonic()) > 0:
            time.sleep(min(left, LAST_WORDS))
        _clean(start)
        os._exit(0)

    threading.Thread(target=listen, name="commands", daemon=True).start()


def _clean(start: Start) -> None:
    # Slicer may live on, with another process that works in these folders: then they are not ours to remove.
    if readHolder(start.folders[-1]) in ("", start.ringName):
        removeWorkFolders(start.folders)
