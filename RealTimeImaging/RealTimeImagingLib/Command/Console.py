"""Acquisition without Slicer: run the worker, and print what it reports in words."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import Any

from ..Link.Lines import LineWriter
from ..Link.Messages import broadcastWords
from ..Link.Ring import RingWriter
from ..Link.WorkFolders import makeWorkFolder, removeWorkFolders, sweep
from ..Model.Frame import Frame, Pixels
from ..Sources.Checkpoint import Checkpoint
from ..Sources.Kinds import openSource
from ..Worker.Frames import FrameSender
from ..Worker.Worker import Worker
from .Options import Plan

LEVELS = {"info": "", "warning": "Warning: ", "error": "Error: "}


class Console(LineWriter):
    """Writes a line for each event, and the counts when it is asked to. A terminal that stands still holds up nothing.

    :param descriptor: where to write; closed by nobody here.
    """

    def __init__(self, descriptor: int) -> None:
        self.counts: dict[str, Any] = {"received": {}, "rejected": 0, "recorded": 0, "failed": 0}
        """The latest."""
        self._broadcast: dict[str, Any] = {}
        self._status = ""
        self._before: tuple[float, int] = (time.monotonic(), 0)
        self._told = ""
        super().__init__(descriptor)

    def put(self, message: dict[str, Any], always: bool = True) -> bool:
        """Note what a line tells, and write its words, if it has any."""
        if message.get("counts"):
            self.count(message["counts"])
        self._broadcast = message.get("broadcast") or self._broadcast
        self._status = message.get("status", self._status)
        return super().put(message, always=False)

    def count(self, counts: dict[str, Any]) -> None:
        """Merge the counts of a line, whose ``received`` has only the streams that changed."""
        self.counts = {**counts, "received": self.counts["received"] | counts["received"]}

    def encoded(self, message: dict[str, Any]) -> bytes:
        """The words of a line, with the time; empty when it is not for people."""
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
        if words != self._told:
            self._told = words
            self.put({"words": words})

    def tellEnd(self) -> None:
        """Write what came in all."""
        sent, lost = self._broadcast.get("sent"), self._broadcast.get("lost")
        words = "" if sent is None else f", {sent} messages sent, {lost} left out"
        self.put({"words": f"The end: {self._received} received, {self._restWords}{words}."})

    @property
    def _received(self) -> int:
        return int(sum(self.counts["received"].values()))

    @property
    def _restWords(self) -> str:
        recorded, failed, rejected = (self.counts[name] for name in ("recorded", "failed", "rejected"))
        return f"{recorded} recorded, {failed} failed, {rejected} rejected"

    @property
    def _broadcastWords(self) -> str:
        return f"{broadcastWords(self._broadcast)} " if self._broadcast else ""


def wordsOf(message: dict[str, Any]) -> str:
    """What a line of the acquisition process says to people, empty when nothing."""
    if "words" in message:
        return str(message["words"])
    if "event" in message:
        return LEVELS[message["event"]["level"]] + str(message["event"]["text"])
    if "log" in message and message["level"] >= logging.WARNING:
        return f"Log: {message['log']}"
    if "details" in message:
        return str(message["details"].get("words", ""))
    if message.get("recorded"):
        stored = message["stored"]
        if stored["failed"]:
            lost, total = stored["failed"], stored["failed"] + stored["recorded"]
            first = message["recorded"][0]
            return f"The recording is finished: {lost} of {total} images are lost. First file: {first}."
        return f"The recording is complete. First file: {message['recorded'][0]}."
    return ""


class NoDisplay(FrameSender):
    """An outlet without memory for pixels, as nobody shows them here.

    :param console: where the words go.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(RingWriter([], ""), console)
        self._console = console

    def show(self, frame: Frame, counts: dict[str, int]) -> None:
        """Count it."""
        self._console.count(counts)

    def getBuffer(self, nbytes: int) -> Pixels | None:
        """There is none."""
        return None


PERIOD = 5.0
"""Seconds between two lines of counts."""
TURN = 0.1
"""Seconds between two looks whether to end."""
LONGEST_END = 10.0
"""Seconds for the end; a reader that hangs in a network share must not keep the process."""

log = logging.getLogger(__name__)


def acquire(plan: Plan, console: Console, stopped: threading.Event) -> int:
    """Do what is planned until stopped; returns the exit code, 1 when it failed or did not end in time."""
    sweep()
    folder = makeWorkFolder()
    failures: list[Exception] = []

    def run() -> None:
        try:
            with Checkpoint(folder) as checkpoint:
                sender = NoDisplay(console)
                worker = Worker(lambda: openSource(plan.settings, checkpoint), checkpoint, sender, plan.orders())
                workers.append(worker)
                worker.run()
        except Exception as error:  # the boundary: all that is unexpected ends here
            log.exception("The acquisition failed")
            failures.append(error)

    workers: list[Worker] = []
    thread = threading.Thread(target=run, name="acquisition", daemon=True)
    thread.start()
    due, end = time.monotonic() + PERIOD, float("inf")
    while thread.is_alive() and time.monotonic() < end:
        if stopped.is_set() and workers:
            if end == float("inf"):
                workers[0].command({"command": "stop"})
                end = time.monotonic() + LONGEST_END
            # Wait longer for a recording, as long as it makes progress.
            end = max(end, workers[0].progressed + workers[0].patience)
        if time.monotonic() > due:
            due += PERIOD
            console.tellStatus()
        thread.join(TURN)
    removeWorkFolders([folder])
    console.tellEnd()
    return int(bool(failures) or thread.is_alive())
