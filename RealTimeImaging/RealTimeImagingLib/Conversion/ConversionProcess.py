"""Slicer's side of a conversion: starts the process, hears how far it is, and can cancel it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ..Acquisition.JobProcess import JobProcess
from .Settings import ConversionSettings

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Child.py")


class ConversionProcess(JobProcess):
    """One conversion. All calls and callbacks are on the main thread.

    :param onProgress: gets the part that is done, 0 to 1, words, and the seconds that are left, None while unknown.
    :param onEnd: called once, when the process has ended, with the report as JSON (Report.toJSON), and words when it
        failed or was cancelled. Without a report, what was done is in the output folder, and the next run knows it.
    """

    def __init__(
        self,
        settings: ConversionSettings,
        onProgress: Callable[[float, str, float | None], None],
        onEnd: Callable[[dict[str, Any] | None, str], None],
    ) -> None:
        super().__init__(PROGRAM, "conversion")
        self.settings = settings
        self._onProgress, self._onEnd = onProgress, onEnd

    def start(self) -> None:
        """Begin; returns at once.

        :raises AcquisitionError: there is no Python to run it.
        """
        self.startWith(self.settings.toJSON())

    def take(self, line: dict[str, Any]) -> bool:
        """Progress."""
        if "progress" not in line:
            return False
        if not self.cancelled:
            self._onProgress(line["progress"], line["words"], line["left"])
        return True

    def tellEnd(self, last: dict[str, Any], unexpected: str) -> None:
        """How it ended."""
        words = "The conversion was cancelled; what is done stays." if self.cancelled else ""
        if "report" in last:
            self._onEnd(last["report"], words)
        else:
            self._onEnd(None, last.get("failed") or words or unexpected)
