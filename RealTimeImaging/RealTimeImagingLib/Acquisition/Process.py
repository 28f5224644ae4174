"""Slicer's side of the process boundary: starts the acquisition process, reads its lines, restarts it when it dies."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import qt

from ..Event import Event
from ..Frame import Pixels
from ..Settings import SourceSettings
from .Child import newProcess, startChild
from .Ring import Place, RingReader
from .Start import Start
from .WorkFolders import makeWorkFolders, removeWorkFolders

STOP_TIME = 2000
"""Milliseconds after which a process that was told to stop is killed."""
STARTS = 3
"""Deaths in a row before "ready" after which the process is not started again."""

log = logging.getLogger(__name__)


class AcquisitionProcess:
    """One source's process. All calls and callbacks are on the main thread.

    :param settings: the source.
    :param onLine: gets each line of the process as an object.
    :param onBatch: called after the last line that was there.
    :param onDeath: called when the process died and is about to be started again, and at its very end; nothing of its
        ring is used after it.
    """

    def __init__(
        self,
        settings: SourceSettings,
        onLine: Callable[[dict[str, Any]], None],
        onBatch: Callable[[], None],
        onDeath: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._onLine, self._onBatch, self._onDeath = onLine, onBatch, onDeath
        self._folders = makeWorkFolders()
        self._starts = self._failures = 0
        self._stopping = False
        self._endedProcesses: list[Any] = []
        self._killer = qt.QTimer()
        self._killer.setSingleShot(True)
        self._killer.connect("timeout()", self.kill)
        self.state = "starting"
        """"starting", "running", "stopping", "stopped" or "failed"."""
        self.pid = 0
        self._launch()

    @property
    def ended(self) -> bool:
        """True once there is no process and will be none."""
        return self.state in ("stopped", "failed")

    def send(self, command: str, **values: Any) -> None:
        """Send a command; one for a process that has ended is dropped."""
        if self._process is not None:
            self._process.write(json.dumps({"command": command, **values}).encode() + b"\n")

    def view(self, place: Place, shape: tuple[int, ...], dtype: str) -> Pixels:
        """The pixels of a frame line, read-only, valid until released.

        :raises RingError: they are gone.
        """
        import numpy as np

        return self._ring.view(place, shape, np.dtype(dtype))

    def release(self, places: list[Place]) -> None:
        """Give slots back."""
        if places:
            self.send("release", slots=[place.key for place in places])

    def stop(self) -> None:
        """Ask for the end; it comes as the line "end", within STOP_TIME or by force."""
        if self.ended or self._stopping:
            return
        self._stopping = True
        self.state = "stopping"
        self.send("stop")
        self._killer.start(STOP_TIME)

    def waitForEnd(self) -> None:
        """End now and wait for it: for scene close, reload and exit, when no event loop follows."""
        self.stop()
        if self._process is not None:
            self._process.waitForFinished(STOP_TIME)
        if self._process is not None:
            self.kill()
            self._process.waitForFinished(STOP_TIME)
        if self._process is not None:
            self._finished(-1)

    def kill(self) -> None:
        """End the process by force."""
        if self._process is None:
            return
        if self.pid:
            try:
                # Slicer's Python is behind a launcher; killing only that one would leave the process alone.
                os.kill(self.pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
            except OSError:
                pass
        self._process.kill()

    def _launch(self) -> None:
        self._starts += 1
        self.pid = 0
        self._partial, self._errors = b"", b""
        name = f"process{self._starts}"
        self._ring = RingReader(self._folders, name)
        process = newProcess()
        process.connect("readyReadStandardOutput()", self._read)
        process.connect("readyReadStandardError()", self._readErrors)
        process.connect("finished(int,QProcess::ExitStatus)", self._finished)
        process.connect("errorOccurred(QProcess::ProcessError)", self._errorOccurred)
        self._process: Any = process
        startChild(process, os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py"))
        process.write(Start(self._settings.toJSON(), self._folders, name).toLine())

    def _read(self) -> None:
        if self._process is None:
            return
        self._partial += self._process.readAllStandardOutput().data()
        *lines, self._partial = self._partial.split(b"\n")
        for line in lines:
            self._take(json.loads(line))
        if lines:
            self._onBatch()

    def _take(self, line: dict[str, Any]) -> None:
        if "log" in line:
            logging.getLogger(f"RealTimeImaging.{line['logger']}").log(line["level"], line["log"])
            return
        if "pid" in line:
            self.pid = line["pid"]
            return
        if "ready" in line:
            self._failures = 0
            if self.state == "starting":
                self.state = "running"
        self._onLine(line)

    def _readErrors(self) -> None:
        if self._process is not None:
            self._errors += self._process.readAllStandardError().data()

    def _errorOccurred(self, error: int) -> None:
        if error == 0:  # QProcess::FailedToStart: there will be no finished()
            self._finished(-1)

    def _finished(self, code: int, *_: int) -> None:
        if self._process is None:
            return
        self._read()
        self._readErrors()
        if self._errors.strip():
            log.error("The acquisition process wrote: %s", self._errors.decode(errors="replace").strip())
        self._onDeath()
        self._ring.close()
        process, self._process = self._process, None
        for signal_, slot in (
            ("readyReadStandardOutput()", self._read),
            ("readyReadStandardError()", self._readErrors),
            ("finished(int,QProcess::ExitStatus)", self._finished),
            ("errorOccurred(QProcess::ProcessError)", self._errorOccurred),
        ):
            process.disconnect(signal_, slot)
        # Deleting it in its own signal would crash: it goes with this object.
        self._endedProcesses.append(process)
        if self._stopping:
            self._end("stopped")
        else:
            self._restart(code)

    def _restart(self, code: int) -> None:
        self._failures += 1
        self._removeRing()
        if self._failures >= STARTS:
            last = self._errors.decode(errors="replace").strip().splitlines()
            text = f"The acquisition process cannot be kept running (exit code {code}). {last[-1] if last else ''}"
            self._onLine({"event": Event("failed", text.strip(), "error").toJSON()})
            self._end("failed")
            return
        text = f"The acquisition process ended unexpectedly (exit code {code}); it is started again and goes on."
        self._onLine({"event": Event("restarted", text, "warning").toJSON()})
        self.state = "starting"
        self._launch()

    def _removeRing(self) -> None:
        for folder in self._folders:
            for name in os.listdir(folder):
                if name.endswith(".ring"):
                    os.unlink(os.path.join(folder, name))

    def _end(self, state: str) -> None:
        self._killer.stop()
        self._killer.disconnect("timeout()", self.kill)
        self.state = state
        removeWorkFolders(self._folders)
        self._onBatch()
