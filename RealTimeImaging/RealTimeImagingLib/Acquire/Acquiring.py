"""Runs the worker of the acquisition process in this one, until somebody asks for its end."""

from __future__ import annotations

import logging
import threading
import time

from ..Acquisition.Worker import Worker
from ..Acquisition.WorkFolders import makeWorkFolder, removeWorkFolders, sweep
from ..Journal import Journal
from ..Sources import openSource
from .Console import Console, NoDisplay
from .Options import Plan

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
            with Journal(folder) as journal:
                outlet = NoDisplay(console)
                worker = Worker(lambda: openSource(plan.settings, journal), journal, outlet, plan.orders())
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
