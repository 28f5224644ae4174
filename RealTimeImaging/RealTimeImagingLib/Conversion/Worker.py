"""The conversion process: one conversion, told in lines, as :mod:`Acquisition.JobProcess` expects them.

It takes one JSON line, ConversionSettings, on standard input, whose end cancels. Its last line is ``{"report": ...}``
or ``{"failed": words}``.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterator

from ..Link.Lines import LONGEST_SILENCE, PERIOD, LineWriter, beginJob, outcome
from . import ConversionSettings
from .Convert import Progress, convert
from .Tasks import removeFile

GRACE = 0.6
"""Seconds in which a cancelled conversion ends by itself and reports; then it is ended, whatever it waits for."""

log = logging.getLogger(__name__)


def main() -> int:
    """Run as the conversion process; returns the exit code."""
    lines, given, first = beginJob()
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
    last = outcome(
        lambda: {"report": convert(ConversionSettings.fromJSON(json.loads(first)), progress=progress).toJSON()},
        "conversion",
        "What is done stays.",
    )
    ended.set()
    lines.close(LONGEST_SILENCE, last)
    return 1 if "failed" in last else 0


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
