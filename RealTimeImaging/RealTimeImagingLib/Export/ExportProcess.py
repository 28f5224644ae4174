"""Slicer's side of an export: starts the process, hears how far it is, and can cancel it."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import qt

from ..Acquisition.Child import newProcess, startChild
from ..Acquisition.WorkFolders import makeWorkFolder, removeWorkFolders
from ..Event import Event
from ..Frame import Pixels
from .Checksums import ChecksumJob
from .Job import ExportJob, Snapshot

STOP_TIME = 1000
"""Milliseconds after which a process that was told to cancel is killed."""

log = logging.getLogger(__name__)


class ExportProcess:
    """One export. All calls and callbacks are on the main thread; exactly one of ``onDone`` and ``onFailed`` is called,
    once, when the process has ended.

    :param onProgress: gets the part that is done, 0 to 1, and words for it.
    :param onDone: gets the paths of the files and the events: what somebody should know of them.
    :param onFailed: gets words; also when it was cancelled. Nothing is left of the export then.
    """

    def __init__(
        self,
        job: ExportJob | ChecksumJob,
        onProgress: Callable[[float, str], None],
        onDone: Callable[[list[str], list[Event]], None],
        onFailed: Callable[[str], None],
    ) -> None:
        self.job = job
        self._onProgress, self._onDone, self._onFailed = onProgress, onDone, onFailed
        self._partial, self._errors = b"", b""
        self._events: list[Event] = []
        self._last: dict[str, Any] = {}
        self._cancelling = self._told = False
        self._folders: list[str] = []
        self.pid = self._code = 0
        self.ended = False
        """True once there is no process any more."""
        self._process: Any = newProcess()
        self._killer, self._teller = qt.QTimer(), qt.QTimer()
        for timer, slot in ((self._killer, self.kill), (self._teller, self._tell)):
            timer.setSingleShot(True)
            timer.connect("timeout()", slot)
        for signal_, slot in self._slots():
            self._process.connect(signal_, slot)

    @classmethod
    def ofPixels(cls, job: ExportJob, pixels: Pixels, *callbacks: Callable[..., None]) -> ExportProcess:
        """The export of a snapshot from memory: its pixels go to a temporary file, which goes with the export.

        :param job: with a snapshot, whose ``rawPath`` is not looked at.
        :raises OSError: the temporary file cannot be written.
        """
        assert job.snapshot is not None
        folder = makeWorkFolder()
        try:
            path = os.path.join(folder, "pixels.raw")
            pixels.tofile(path)
            snapshot: Snapshot = dataclasses.replace(job.snapshot, rawPath=path)
            export = cls(dataclasses.replace(job, snapshot=snapshot), *callbacks)
        except BaseException:
            removeWorkFolders([folder])
            raise
        export._folders = [folder]
        return export

    def start(self) -> None:
        """Begin; returns at once.

        :raises AcquisitionError: there is no Python to run it.
        """
        startChild(self._process, os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py"))
        # A start that fails may have told so already.
        if not self.ended:
            self._process.write(json.dumps(self.job.toJSON()).encode() + b"\n")

    @property
    def cancelled(self) -> bool:
        """True once somebody cancelled it."""
        return self._cancelling

    def cancel(self) -> None:
        """Ask it to remove what it wrote and to end; returns at once. An export that is all but done is done."""
        if not self.ended and not self._cancelling:
            self._cancelling = True
            self._process.closeWriteChannel()
            self._killer.start(STOP_TIME)

    def waitForEnd(self) -> None:
        """Cancel and wait: for scene close, reload and exit, when no event loop follows."""
        self.cancel()
        if not self.ended:
            self._process.waitForFinished(STOP_TIME)
        if not self.ended:
            self.kill()
            self._process.waitForFinished(STOP_TIME)
        if not self.ended:
            self._finished(-1)
        self._tell()

    def kill(self) -> None:
        """End the process by force; an unfinished file, whose name begins with a dot, may stay."""
        if self.ended:
            return
        if self.pid:
            try:
                # Slicer's Python is behind a launcher; killing only that one would leave the process alone.
                os.kill(self.pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
            except OSError:
                pass
        self._process.kill()

    def _slots(self) -> list[tuple[str, Callable[..., None]]]:
        return [
            ("readyReadStandardOutput()", self._read),
            ("readyReadStandardError()", self._readErrors),
            ("finished(int,QProcess::ExitStatus)", self._finished),
            ("errorOccurred(QProcess::ProcessError)", self._errorOccurred),
        ]

    def _read(self) -> None:
        self._partial += self._process.readAllStandardOutput().data()
        *lines, self._partial = self._partial.split(b"\n")
        for line in lines:
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError):
                log.exception("A line of the export process could not be used: %r", line[:200])

    def _take(self, line: dict[str, Any]) -> None:
        if "progress" in line:
            if not self._cancelling:
                self._onProgress(line["progress"], line["words"])
        elif "event" in line:
            self._events.append(Event.fromJSON(line["event"]))
        elif "log" in line:
            logging.getLogger(f"RealTimeImaging.{line['logger']}").log(line["level"], line["log"])
        elif "pid" in line:
            self.pid = line["pid"]
        else:
            self._last = line

    def _readErrors(self) -> None:
        self._errors += self._process.readAllStandardError().data()

    def _errorOccurred(self, error: int) -> None:
        if error == 0:  # QProcess::FailedToStart: there will be no finished()
            self._finished(-1)

    def _finished(self, code: int, *_: int) -> None:
        if self.ended:
            return
        self._read()
        self._readErrors()
        self.ended = True
        self._killer.stop()
        self._killer.disconnect("timeout()", self.kill)
        for signal_, slot in self._slots():
            self._process.disconnect(signal_, slot)
        removeWorkFolders(self._folders)
        if self._errors.strip():
            log.error("The export process wrote: %s", self._errors.decode(errors="replace").strip())
        self._code = code
        # Whoever is told may let go of this object and so of the process, and deleting that in its own signal crashes.
        self._teller.start(0)

    def _tell(self) -> None:
        if self._told:
            return
        self._told = True
        self._teller.stop()
        self._teller.disconnect("timeout()", self._tell)
        if "done" in self._last:
            self._onProgress(1.0, "Saved")
            self._onDone(self._last["done"], self._events)
        elif "failed" in self._last:
            self._onFailed(self._last["failed"])
        elif self._cancelling:
            self._onFailed("The export was cancelled; nothing is left of it.")
        else:
            last = self._errors.decode(errors="replace").strip().splitlines()
            self._onFailed(
                f"The export ended unexpectedly (exit code {self._code}). {last[-1] if last else ''}".strip()
            )
