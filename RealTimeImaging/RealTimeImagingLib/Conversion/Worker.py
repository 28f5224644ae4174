"""The conversion process: one conversion, reported in messages.

The first line of standard input is :class:`ConversionSettings` as JSON; the end of input cancels. The last report is
:class:`Converted` or :class:`Failed`.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterator

from ..Link import Messages
from ..Link.Lines import LONGEST_SILENCE, PROGRESS_PERIOD, LineWriter, openLines, outcomeOf
from ..Model.Files import removeFile
from ..Model.Text import textsOf
from . import ConversionSettings
from .Convert import Progress, convert

_ = textsOf(__file__)

GRACE = 0.6
"""Seconds in which a cancelled conversion ends by itself and reports; then the process ends at once."""

log = logging.getLogger(__name__)


def main() -> int:
    """Run as the conversion process; return the exit code."""
    writer, lines = openLines()
    first = next(lines, None)
    if first is None:
        return 0
    due = 0.0

    def report(progress: Progress) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + PROGRESS_PERIOD
            writer.put(Messages.Progress(round(progress.part, 4), progress.words, progress.left), always=False)

    progress, ended = Progress(report), threading.Event()
    threading.Thread(target=_listen, args=(lines, progress, ended, writer), name="cancel", daemon=True).start()

    def run() -> Messages.Converted:
        return Messages.Converted(convert(ConversionSettings.fromJSON(json.loads(first)), progress=progress).toJSON())

    outcome = outcomeOf(run, _("conversion"), _("The finished volumes are kept."))
    ended.set()
    writer.close(LONGEST_SILENCE, outcome)
    return 1 if isinstance(outcome, Messages.Failed) else 0


def _listen(lines: Iterator[bytes], progress: Progress, ended: threading.Event, writer: LineWriter) -> None:
    for line in lines:
        log.warning("A line after the settings is not understood: %r", line[:200])
    progress.cancelled = True
    if not ended.wait(GRACE):
        # The conversion waits for a disk, a share or a slow decoder. Its worker processes end with this process.
        writer.close(PROGRESS_PERIOD)
        # Last: the conversion may begin another file meanwhile.
        for path in list(progress.unfinished):
            removeFile(path)
        os._exit(0)
