"""How a process of its own begins, and how one with a single job ends, as :mod:`JobProcess` expects it.

Nothing of Slicer is imported here.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

from ..Errors import RealTimeImagingError
from .Outlet import LineWriter
from .StandardStreams import LineLogHandler, captureStandardStreams, readLines

PERIOD = 0.15
"""Seconds between two words of progress."""
LONGEST_SILENCE = 30.0
"""Seconds for the last lines to leave while Slicer does not listen."""

log = logging.getLogger(__name__)


def beginJob(finishes: bool = False) -> tuple[LineWriter, Iterator[bytes], bytes | None]:
    """Where to tell lines, the lines that come, and the first of them, the work to do; None when there is none.

    :param finishes: True for a process that has files to finish at the end of a session, and starts no other processes.
    """
    # Ctrl+C in a terminal, its closing and the end of a session signal all processes at once. This process ignores
    # them: Slicer decides, and the end of input tells this process to finish.
    for name in ("SIGINT", "SIGTERM", "SIGHUP") if finishes else ("SIGINT",):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    lines = LineWriter(os.dup(1))
    lines.put({"pid": os.getpid()})
    logging.basicConfig(level=logging.INFO, handlers=[LineLogHandler(lambda line: lines.put(line, always=False))])
    captureStandardStreams()
    given = readLines(0)
    return lines, given, next(given, None)


def outcome(job: Callable[[], dict[str, Any]], name: str, kept: str) -> dict[str, Any]:
    """The last line: what the job gives, or in words why it failed.

    :param job: the work; the boundary for all that is unexpected in it, with its traceback in the log.
    :param name: what it is called, such as "export".
    :param kept: words on what is there of it when the disk fails.
    """
    try:
        return job()
    except RealTimeImagingError as error:
        return {"failed": str(error)}
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return {"failed": f"{where}{error.strerror or error}. {kept}"}
    except Exception as error:
        log.exception("The %s failed", name)
        return {"failed": f"The {name} failed: {type(error).__name__}: {error}"}
