"""Slicer's side of the process boundary: starts the acquisition process, reads its lines, restarts it when it dies."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import qt

from ..Link.Messages import Start
from ..Link.Ring import Place, RingReader, removeRing
from ..Link.WorkFolders import makeWorkFolders, removeWorkFolders, writeHolder
from ..Model.Errors import AcquisitionError
from ..Model.Event import Event
from ..Model.Frame import Pixels
from ..Model.Settings import SourceSettings
from .ChildProcess import LIBRARY, newProcess, startChild

STOP_TIME = 2000
"""Milliseconds after which a process that was told to stop is killed, unless it still writes a recording."""
WRITE_TIME = 30_000
"""Milliseconds of silence after which a process that writes a recording is killed."""
PAUSES = (0, 0, 500, 1000, 2000)
"""Milliseconds before each new start after deaths without a frame between them; after one more it is given up."""
LONG_LIFE = 10.0
"""Seconds after which a death has nothing to do with the one before."""
TURN = 0.02
"""Seconds for lines before the window has its turn."""

log = logging.getLogger(__name__)


class AcquisitionProcess:
    """One source's process. All calls and callbacks are on the main thread.

    :param settings: the source.
    :param commands: gives the commands with which each process of this source begins.
    :param onLine: gets each line of the process as an object.
    :param onBatch: called after the last line that was there.
    :param onDeath: called when the process has ended, before another is started; nothing of its ring is used after it.
    :raises AcquisitionError: it cannot be started.
    """

    def __init__(
        self,
        settings: SourceSettings,
        commands: Callable[[], list[dict[str, Any]]],
        onLine: Callable[[dict[str, Any]], None],
        onBatch: Callable[[], None],
        onDeath: Callable[[], None],
    ) -> None:
        self._settings, self._commands = settings, commands
        self._onLine, self._onBatch, self._onDeath = onLine, onBatch, onDeath
        self._starts = self._failures = self._recordings = self.pid = 0
        self._restartDue = 0.0
        self._stopping = self._endSeen = self._lateEnd = self._taking = False
        self._process: Any = None
        self._endedProcesses: list[Any] = []
        self._lines: deque[bytes] = deque()
        self._killer, self._later, self._restarter = qt.QTimer(), qt.QTimer(), qt.QTimer()
        self.state = "starting"
        """"starting", "running", "stopping", "stopped" or "failed"."""
        self._heard = time.monotonic()
        self._problem = ""
        for timer, slot in self._timers():
            timer.setSingleShot(True)
            timer.connect("timeout()", slot)
        self.folders: list[str] = []
        """The working folders, best first; removed at the end."""
        try:
            self.folders = makeWorkFolders()
            self._launch()
        except (OSError, AcquisitionError) as error:
            self._end("failed")
            raise AcquisitionError(f"The acquisition process cannot be started: {error}") from error

    def _timers(self) -> list[tuple[Any, Callable[[], None]]]:
        return [(self._killer, self._killUnlessDone), (self._later, self._takeMore), (self._restarter, self._restart)]

    @property
    def ended(self) -> bool:
        """True once there is no process and will be none."""
        return self.state in ("stopped", "failed")

    @property
    def writing(self) -> bool:
        """True from the command to record until the process reports that the files are closed."""
        return self._process is not None and self._recordings > 0

    def send(self, command: str, **values: Any) -> None:
        """Send a command; one for a process that has ended is dropped."""
        if self._process is not None:
            self._recordings += command == "record"
            self._process.write(json.dumps({"command": command, **values}).encode() + b"\n")

    def view(self, place: Place, shape: tuple[int, ...], dtype: str) -> Pixels:
        """The pixels of a frame line, read-only, valid until released.

        :raises RingError: they are gone.
        """
        return self._ring.view(place, shape, np.dtype(dtype))

    def release(self, places: list[Place]) -> None:
        """Give slots back."""
        if places:
            self.send("release", slots=[place.key for place in places])

    def stop(self) -> None:
        """Tell the process to end. It is killed after STOP_TIME or, while it records, after WRITE_TIME of silence."""
        if self.ended or self._stopping:
            return
        self._stopping = True
        self.state = "stopping"
        if self._process is None:  # it died, and is not started again
            self._end("stopped")
            return
        self.send("stop")
        self._heard = time.monotonic()
        self._killer.start(STOP_TIME)

    def wait(self, seconds: float) -> bool:
        """Give the process what was sent and take what it says, for so many seconds at most, without the event loop.

        False when nothing can come: it has ended, or a line is being taken, in which Qt hears of no other.
        """
        if self.ended or self._taking:
            return False
        if self._process is not None:
            self._process.waitForReadyRead(round(1000 * seconds))
            self._takeMore()
        elif time.monotonic() < self._restartDue:
            time.sleep(seconds)
        else:
            self._restarter.stop()
            self._restart()
        return True

    def waitForEnd(self, written: bool = True) -> None:
        """End now and wait for it: for reload and exit, when no event loop follows, and for scene close.

        :param written: True also waits for a recording, as long as it makes progress. False leaves the recording to the
            event loop; :attr:`ended` is False until then.
        """
        self.stop()
        if self._process is not None:
            self._process.waitForFinished(STOP_TIME)
        # No event loop runs that would take the lines.
        self._takeLines(float("inf"))
        if self.writing and not written:
            return
        if self.writing:
            while self.writing and self._silence < WRITE_TIME:
                self._process.waitForFinished(STOP_TIME // 10)
                self._takeLines(float("inf"))
            if self._process is not None:
                self._process.waitForFinished(STOP_TIME)
        if self._process is not None:
            self.kill()
            self._process.waitForFinished(STOP_TIME)
        if self._process is not None:
            self._finished(-1)

    def kill(self) -> None:
        """End the process by force."""
        if self._process is not None:
            self._killChild()
            self._process.kill()

    @property
    def _silence(self) -> float:
        """Milliseconds since the last output of the process."""
        return 1000 * (time.monotonic() - self._heard)

    def _killUnlessDone(self) -> None:
        # When the window was blocked, the last words are there and were only not read yet.
        self._read()
        if self.writing and not self._endSeen and self._silence < WRITE_TIME:
            self._killer.start(STOP_TIME)
            return
        if self.writing and not self._endSeen:
            seconds = WRITE_TIME // 1000
            text = f"The acquisition process was killed: it made no progress with its recording for {seconds} s. "
            text += "Check the disk. The stored images are kept, and another process finishes the recording now."
            self._onLine({"event": Event("hung", text, "error").toJSON()})
        if self._endSeen and not self._lateEnd:
            self._lateEnd = True
            self._killer.start(STOP_TIME)
        else:
            self.kill()

    def _launch(self) -> None:
        self._starts += 1
        self._launched = time.monotonic()
        self.pid = 0
        self._partial, self._errors = b"", b""
        name = f"process{self._starts}"
        writeHolder(self.folders[-1], name)
        self._ringName, self._ring = name, RingReader(self.folders, name)
        process = newProcess()
        for signal_, slot in self._slots():
            process.connect(signal_, slot)
        self._process = process
        startChild(process, os.path.join(LIBRARY, "Worker", "__main__.py"))
        # A start that fails may have told so already.
        if self._process is process:
            commands = self._commands()
            self._recordings = sum(command["command"] == "record" for command in commands)
            start = Start(self._settings.toJSON(), self.folders, name, commands)
            process.write(start.toLine())

    def _slots(self) -> list[tuple[str, Callable[..., None]]]:
        return [
            ("readyReadStandardOutput()", self._read),
            ("readyReadStandardError()", self._readErrors),
            ("finished(int,QProcess::ExitStatus)", self._finished),
            ("errorOccurred(QProcess::ProcessError)", self._errorOccurred),
        ]

    def _read(self) -> None:
        """Take the lines that are there, for TURN seconds at most; the rest comes when the window had its turn."""
        if self._process is not None:
            data = self._process.readAllStandardOutput().data()
            self._partial += data
            if data:
                self._heard = time.monotonic()
        *lines, self._partial = self._partial.split(b"\n")
        self._lines.extend(lines)
        self._takeLines(time.perf_counter() + TURN)

    def _takeLines(self, until: float) -> None:
        taken, outer = False, self._taking
        self._taking = True
        while self._lines and time.perf_counter() < until:
            line = self._lines.popleft()
            taken = True
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError):
                log.exception("A line of the acquisition process could not be used: %r", line[:200])
        if self._lines:
            self._later.start(0)
        if taken:
            self._onBatch()
        self._taking = outer

    def _takeMore(self) -> None:
        self._takeLines(time.perf_counter() + TURN)

    def _take(self, line: dict[str, Any]) -> None:
        if "log" in line:
            logging.getLogger(f"RealTimeImaging.{line['logger']}").log(line["level"], line["log"])
            return
        if "pid" in line:
            self.pid = line["pid"]
            return
        if "ready" in line and self.state == "starting":
            self.state = "running"
        self._endSeen = self._endSeen or "end" in line
        self._problem = line.get("journal", self._problem)
        self._recordings -= "recorded" in line and self._recordings > 0
        if "frame" in line or line.get("event", {}).get("code") == "crashed":
            self._failures = 0
        self._onLine(line)

    def _readErrors(self) -> None:
        if self._process is not None:
            self._errors += self._process.readAllStandardError().data()

    def _errorOccurred(self, error: int) -> None:
        if error == 0:  # QProcess::FailedToStart: there will be no finished()
            self._finished(-1)

    def _finished(self, code: int, *_: int) -> None:
        process = self._process
        if process is None:
            return
        self._read()
        self._readErrors()
        self._process = None
        self._takeLines(float("inf"))
        self._later.stop()
        for signal_, slot in self._slots():
            process.disconnect(signal_, slot)
        # Deleting it in its own signal would crash: it goes with this object.
        self._endedProcesses.append(process)
        words = self._errors.decode(errors="replace").strip()
        if words:
            log.log(logging.WARNING if code == 0 else logging.ERROR, "The acquisition process wrote: %s", words)
        try:
            self._onDeath()
        finally:
            self._ring.close()
            if self._stopping:
                self._end("stopped")
            else:
                self._failed(code)

    def _failed(self, code: int) -> None:
        # Of the launcher's child, which may outlive it, nothing may work on beside its heir.
        self._killChild()
        removeRing(self.folders, self._ringName)
        lived = time.monotonic() - self._launched
        self._failures = 1 if lived > LONG_LIFE else self._failures + 1
        last = self._errors.decode(errors="replace").strip().splitlines()
        if self._problem:
            text = f"The acquisition process ended unexpectedly (exit code {code}). It is not restarted, because "
            text += f"the temporary folder {self.folders[-1]} cannot be written ({self._problem}). "
            text += "Free space on that disk, then press Start."
            self._onLine({"event": Event("failed", text, "error").toJSON()})
            self._end("failed")
            return
        if self._failures > len(PAUSES):
            text = f"The acquisition process cannot be kept running (exit code {code}). {last[-1] if last else ''}"
            self._onLine({"event": Event("failed", text.strip(), "error").toJSON()})
            self._end("failed")
            return
        text = f"The acquisition process ended unexpectedly (exit code {code}); it is started again and goes on."
        self._onLine({"event": Event("restarted", text, "warning").toJSON()})
        self.state = "starting"
        self._onLine({"status": "The acquisition process is starting again."})
        pause = PAUSES[self._failures - 1]
        self._restartDue = time.monotonic() + pause / 1000
        self._restarter.start(pause)

    def _restart(self) -> None:
        if self._stopping or self.ended:
            return
        try:
            self._launch()
        except (OSError, AcquisitionError) as error:
            log.exception("The acquisition process could not be started again")
            self._onLine({"event": Event("failed", str(error), "error").toJSON()})
            self._end("failed")

    def _killChild(self) -> None:
        if self.pid:
            try:
                # Slicer's Python is behind a launcher; killing only that one would leave the process alone.
                os.kill(self.pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
            except OSError:
                pass

    def _end(self, state: str) -> None:
        for timer, slot in self._timers():
            timer.stop()
            timer.disconnect("timeout()", slot)
        self.state = state
        removeWorkFolders(self.folders)
        self._onBatch()
