"""The conversion process: one conversion, told in lines, as :mod:`Acquisition.JobProcess` expects them.

It takes one JSON line, ConversionSettings, on standard input, whose end cancels. Its last line is ``{"report": ...}``
or ``{"failed": words}``.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from ..Acquisition.Outlet import LineWriter
from ..Acquisition.StandardStreams import LineLogHandler, captureStandardStreams, readLines
from ..Errors import RealTimeImagingError
from .Converting import Progress, convert
from .Settings import ConversionSettings
from .Tasks import removeFile

PERIOD = 0.15
"""Seconds between two words of progress."""
GRACE = 0.6
"""Seconds in which a cancelled conversion ends by itself and reports; then it is ended, whatever it waits for."""
LONGEST_SILENCE = 30.0
"""Seconds for the last lines to leave while Slicer does not listen."""

log = logging.getLogger(__name__)


def main() -> int:
    """Run as the conversion process; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in a terminal reaches the whole group; Slicer decides
    lines = LineWriter(os.dup(1))
    lines.put({"pid": os.getpid()})
    logging.basicConfig(level=logging.INFO, handlers=[LineLogHandler(lambda line: lines.put(line, always=False))])
    captureStandardStreams()
    given = readLines(0)
    first = next(given, None)
    if first is None:
        return 0
    told = [0.0]

    def tell(progress: Progress) -> None:
        if time.monotonic() - told[0] >= PERIOD:
            told[0] = time.monotonic()
            values = {"progress": round(progress.part, 4), "words": progress.words, "left": progress.left}
            lines.put(values, always=False)

    progress, ended = Progress(tell), threading.Event()
    threading.Thread(target=_listen, args=(given, progress, ended, lines), name="cancel", daemon=True).start()
    last = _run(first, progress)
    ended.set()
    lines.put(last)
    lines.close(LONGEST_SILENCE)
    return 1 if "failed" in last else 0


def _run(first: bytes, progress: Progress) -> dict[str, Any]:
    """The last line."""
    try:
        return {"report": convert(ConversionSettings.fromJSON(json.loads(first)), progress=progress).toJSON()}
    except RealTimeImagingError as error:
        return {"failed": str(error)}
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return {"failed": f"{where}{error.strerror or error}. What is done stays."}
    except Exception as error:  # the boundary: all that is unexpected ends here
        log.exception("The conversion failed")
        return {"failed": f"The conversion failed: {type(error).__name__}: {error}"}


def _listen(given: Iterator[bytes], progress: Progress, ended: threading.Event, lines: LineWriter) -> None:
    for line in given:
        log.warning("A line after the settings is not understood: %r", line[:200])
    progress.cancelled = True
    if not ended.wait(GRACE):
        # It waits for a disk, a share or a slow decoder. The processes beside this one end when it does.
        for path in list(progress.unfinished):
            removeFile(path)
        lines.close(PERIOD)
        os._exit(0)
