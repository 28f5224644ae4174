"""The senders of a torture, in a process of their own: Slicer's side may be blocked, they go on.

Standard input has one JSON line for each order:

``{"sender": ...}``               starts a sender
``{"stop": pid, "seconds": ...}``    stops a process for some time (SIGSTOP)
``{"starve": pid, "seconds": ...}``  lets it run a tenth of the time only
``{"quit": true}``                ends all senders

Each sender writes what becomes of its images to its log, one JSON line an image:

``serial``, ``least``, ``most``  how often the image must and may arrive
``report``   how it must be reported when it does not: "subject" (an event names it), "count" (the source counts it),
             "event" (any event tells it), "answer" (the sender got an error), "lost" (the connection broke)
``why``      the step
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from typing import Any

PATIENCE = 40.0
"""Seconds to reach a source that restarts or is stopped."""
SLICE = 0.02
"""Seconds that a starved process runs; then it is stopped for nine times as long."""


class Sender:
    """A sender that takes one step after the other. A step ``"cut"`` is the method ``_cut(step)``.

    :param order: ``sender``, ``steps``, ``log`` (path), and what the kind needs.
    """

    def __init__(self, order: dict[str, Any]) -> None:
        self.order, self.number, self.dice = order, int(order["sender"]), random.Random(0)
        self.stopping = threading.Event()
        """Set when the source is stopped for good: nobody answers any more."""
        self._log = open(order["log"], "a", encoding="utf-8")  # noqa: SIM115 - open until the end

    def start(self) -> None:
        """Take all steps in a thread."""
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            for step in self.order["steps"]:
                if self.stopping.wait(step["after"]):
                    return
                self.dice = random.Random(step["dice"])
                try:
                    getattr(self, f"_{step['do']}")(step)
                except OSError as error:
                    self.write(problem=repr(error), why=step["do"])
                    self.broken()
            try:
                if not self.stopping.is_set():
                    self.finish()
            except OSError:
                if not self.stopping.is_set():  # otherwise the source was stopped meanwhile
                    raise
        except Exception as error:  # noqa: BLE001 - the boundary of the thread: the ledger tells it
            self.write(fault=repr(error))
        finally:
            self.broken()
            self.write(done=True)
            self._log.close()

    def broken(self) -> None:
        """Give up the connection, after an error of a step."""

    def finish(self) -> None:
        """Confirm what was sent, and close."""

    def note(self, serial: int, least: int, most: int, why: str, report: str = "", **more: Any) -> None:
        """Note what becomes of an image."""
        self.write(serial=serial, least=least, most=most, why=why, report=report, **more)

    def write(self, **values: Any) -> None:
        """Write a line of the log."""
        self._log.write(json.dumps({"time": time.monotonic(), **values}) + "\n")
        self._log.flush()


def _stop(pid: int, seconds: float) -> None:
    _signal(pid, signal.SIGSTOP)
    time.sleep(seconds)
    _signal(pid, signal.SIGCONT)


def _starve(pid: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        _stop(pid, 9 * SLICE)
        time.sleep(SLICE)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def main() -> None:
    """Obey the orders until the end of input."""
    from . import FileSenders, ScannerSenders, SocketSenders

    running: list[Sender] = []
    kinds = {**FileSenders.SENDERS, **SocketSenders.SENDERS, **ScannerSenders.SENDERS}
    for line in sys.stdin:
        order = json.loads(line)
        if "sender" in order:
            running.append(kinds[order["kind"]](order))
            running[-1].start()
        elif "quit" in order:
            for one in running:
                one.stopping.set()
            running.clear()
        else:
            work, pid = (_starve, order["starve"]) if "starve" in order else (_stop, order["stop"])
            threading.Thread(target=work, args=(pid, order["seconds"]), daemon=True).start()


if __name__ == "__main__":
    main()
    os._exit(0)
