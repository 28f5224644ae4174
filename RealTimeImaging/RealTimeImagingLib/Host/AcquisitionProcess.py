"""The acquisition process of a source on Slicer's side: starts it, exchanges messages, and restarts it when it dies."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import qt

from ..Link.Commands import Command, Record, Release, Start, Stop
from ..Link.Messages import (
    CheckpointReport,
    End,
    EventReport,
    FrameReport,
    Message,
    Ready,
    Receivers,
    RecordedReport,
    StatusReport,
)
from ..Link.Ring import Place, RingReader, removeRing
from ..Link.WorkFolders import makeWorkFolders, removeWorkFolders, writeHolder
from ..Model.Errors import AcquisitionError
from ..Model.Event import Event
from ..Model.Files import reasonOf
from ..Model.Frame import Pixels
from ..Model.Settings import SourceSettings
from ..Model.Text import joined, sentence, textsOf
from ..Sources.Kinds import kindOf, toWorker
from .ChildProcess import ChildProcess

_ = textsOf(__file__)

STOP_TIME = 2000
"""Milliseconds after a stop until the process is killed, unless it still writes a recording."""
WRITE_TIME = 30_000
"""Milliseconds of silence after which a process that writes a recording is killed.

Looks are counted, not time: a halt of the computer, or a blocked window, takes one look at most."""
PAUSES = (0, 0, 500, 1000, 2000)
"""Milliseconds before each restart after deaths without a frame between them; one more death ends the source."""
LONG_LIFE = 10.0
"""Seconds after which a death is unrelated to the one before."""
MOST_DEATHS, WINDOW = 20, 300.0
"""Deaths within so many seconds that end the source, also when frames arrive between them."""

log = logging.getLogger(__name__)


class AcquisitionProcess:
    """The process of a source, with its replacements. All calls and callbacks are on the main thread.

    :param settings: of the source.
    :param commands: returns the commands with which each process of this source starts.
    :param onMessage: called with each message of the process.
    :param onBatch: called after the last message that was there.
    :param onDeath: called when the process has ended, before a replacement starts; its ring is not used afterwards.
    :raises AcquisitionError: the process cannot be started.
    """

    def __init__(
        self,
        settings: SourceSettings,
        commands: Callable[[], list[Command]],
        onMessage: Callable[[Message], object],
        onBatch: Callable[[], None],
        onDeath: Callable[[], None],
    ) -> None:
        self._settings, self._commands = settings, commands
        self._onMessage, self._onBatch, self._onDeath = onMessage, onBatch, onDeath
        self._starts = self._failures = self._recordings = 0
        self._deaths: deque[float] = deque(maxlen=MOST_DEATHS)
        """Times of the last deaths (time.monotonic())."""
        self._restartDue = 0.0
        self._silentLooks = 0
        """Looks in succession, STOP_TIME apart, at a stopping process that had said nothing since the one before."""
        self._stopping = self._endSeen = self._lateEnd = False
        self._child: ChildProcess | None = None
        self._endedChildren: list[ChildProcess] = []
        self._killer, self._restarter = qt.QTimer(), qt.QTimer()
        self.state = "starting"
        """"starting", "running", "stopping", "stopped" or "failed"."""
        self._problem = ""
        self._failure = ""
        """What the last process that failed reported."""
        self._receivers = Receivers()
        for kind, receiver in (
            (Ready, self._ready),
            (End, self._noteEnd),
            (CheckpointReport, self._noteProblem),
            (RecordedReport, self._noteRecorded),
            (FrameReport, self._noteLife),
            (EventReport, self._noteEvent),
        ):
            self._receivers.connect(kind, receiver)
        for timer, slot in self._timers():
            timer.setSingleShot(True)
            timer.connect("timeout()", slot)
        self.folders: list[str] = []
        """The working folders, best first; removed at the end."""
        self._keepers = 0
        try:
            self.folders = makeWorkFolders()
            self._launch()
        except (OSError, AcquisitionError) as error:
            self._end("failed")
            where = getattr(error, "filename", None) or ""
            text = _("The acquisition process cannot be started: {folder}: {reason}")
            if not where:
                text = _("The acquisition process cannot be started: {reason}")
            raise AcquisitionError(text.format(folder=where, reason=sentence(reasonOf(error)))) from error

    def _timers(self) -> list[tuple[Any, Callable[[], None]]]:
        return [(self._killer, self._killUnlessDone), (self._restarter, self._restart)]

    @property
    def ended(self) -> bool:
        """True once no process runs, and none will be started."""
        return self.state in ("stopped", "failed")

    @property
    def pid(self) -> int:
        """Number of the process; 0 while unknown."""
        return self._child.pid if self._child else 0

    @property
    def writing(self) -> bool:
        """True from the command to record until the process reports that the files are closed."""
        return self._child is not None and self._recordings > 0

    def send(self, command: Command) -> None:
        """Send a command; it is dropped while no process runs."""
        if self._child is not None:
            self._recordings += isinstance(command, Record)
            self._child.send(command)

    def view(self, place: Place, shape: tuple[int, ...], dtype: str) -> Pixels:
        """Return the pixels of a frame, read-only, valid until released.

        :raises RingError: their memory is gone.
        """
        return self._ring.view(place, shape, np.dtype(dtype))

    def release(self, places: list[Place]) -> None:
        """Give slots back."""
        if places:
            self.send(Release([place.key for place in places]))

    def keepFolders(self) -> None:
        """Keep the working folders after the end, for another process that reads from them."""
        self._keepers += 1

    def releaseFolders(self) -> None:
        """Undo one :meth:`keepFolders`."""
        self._keepers -= 1
        if self.ended and not self._keepers:
            removeWorkFolders(self.folders)

    def stop(self) -> None:
        """Tell the process to end. It is killed after STOP_TIME or, while it records, after WRITE_TIME of silence."""
        if self.ended or self._stopping:
            return
        self._stopping = True
        self.state = "stopping"
        if self._child is None:  # it died, and is not restarted
            self._end("stopped")
            return
        self.send(Stop())
        self._child.restartSilence()
        self._killer.start(STOP_TIME)

    def wait(self, seconds: float) -> bool:
        """Exchange messages without the event loop, for at most so many seconds.

        :returns: False when nothing can arrive: the process has ended, or a message is being taken, during which Qt
            reports no other.
        """
        if self.ended or (self._child is not None and self._child.taking):
            return False
        if self._child is not None:
            self._child.pump(seconds)
        elif time.monotonic() < self._restartDue:
            time.sleep(seconds)
        else:
            self._restarter.stop()
            self._restart()
        return True

    def waitForEnd(self, written: bool = True) -> None:
        """Stop and wait for the end: for reload and exit, when no event loop follows, and for scene close.

        :param written: True also waits for a recording, as long as it makes progress. False leaves the recording to the
            event loop; :attr:`ended` is False until then.
        """
        self.stop()
        child = self._child
        if child is None:
            return
        child.wait(STOP_TIME)
        if self.writing and not written:
            return
        if self.writing:
            pause, looks = STOP_TIME // 10, 0
            while self.writing and looks * pause < WRITE_TIME:
                child.wait(pause)
                looks = looks + 1 if child.silence >= pause else 0
            child.wait(STOP_TIME)
        child.end(STOP_TIME)

    def kill(self) -> None:
        """End the process by force."""
        if self._child is not None:
            self._child.kill()

    def _killUnlessDone(self) -> None:
        if self._child is None:
            return
        # While the window was blocked, the last messages may have arrived unread.
        self._child.pump(0)
        if self._child is None:
            return
        self._silentLooks = self._silentLooks + 1 if self._child.silence >= STOP_TIME / 2 else 0
        silent = self._silentLooks * STOP_TIME >= WRITE_TIME
        if self.writing and not self._endSeen and not silent:
            self._killer.start(STOP_TIME)
            return
        if self.writing and not self._endSeen:
            seconds = WRITE_TIME // 1000
            text = _(
                "The acquisition process was killed: it made no progress with its recording for {seconds} s. "
                "Check the disk. The stored images are kept, and another process finishes the recording now."
            )
            self._report(Event("hung", text.format(seconds=seconds), "error"))
        if self._endSeen and not self._lateEnd:
            self._lateEnd = True
            self._killer.start(STOP_TIME)
        else:
            if not (self._endSeen or self.writing):
                log.warning("The acquisition process is killed: its source did not end within %d ms.", STOP_TIME)
            self.kill()

    def _launch(self) -> None:
        self._starts += 1
        self._launched = time.monotonic()
        name = f"process{self._starts}"
        writeHolder(self.folders[-1], name)
        self._ringName, self._ring = name, RingReader(self.folders, name)
        child = ChildProcess("acquisition process", "acquisition", self._take, self._died, self._onBatch)
        self._child = child
        child.start()
        # A start that failed may have ended the child already.
        if self._child is child:
            commands = self._commands()
            self._recordings = sum(isinstance(command, Record) for command in commands)
            child.send(Start(toWorker(self._settings), self.folders, name, commands))

    # ---- messages of the process

    def _take(self, message: Message) -> None:
        self._receivers.deliver(message)
        self._onMessage(message)

    def _ready(self, message: Ready) -> None:
        if self.state == "starting":
            self.state = "running"

    def _noteEnd(self, message: End) -> None:
        self._endSeen = True

    def _noteProblem(self, message: CheckpointReport) -> None:
        self._problem = message.checkpoint

    def _noteRecorded(self, message: RecordedReport) -> None:
        self._recordings = max(0, self._recordings - 1)

    def _noteLife(self, message: FrameReport) -> None:
        self._failures = 0

    def _noteEvent(self, message: EventReport) -> None:
        if message.event.code == "failed":
            self._failure = message.event.text
        if message.event.code == "crashed":  # the next process skips the file that ended this one
            self._failures = 0
            self._deaths.clear()

    def _report(self, event: Event) -> None:
        self._take(EventReport(event))

    # ---- its end

    def _died(self, code: int) -> None:
        child = self._child
        if child is None:
            return
        self._child = None
        # Deleting a QProcess within its own signal would crash: it goes with this object.
        self._endedChildren.append(child)
        try:
            self._onDeath()
        finally:
            self._ring.close()
            if self._stopping:
                self._end("stopped")
            else:
                self._replace(code, child.lastError)

    def _replace(self, code: int, lastError: str) -> None:
        removeRing(self.folders, self._ringName)
        now = time.monotonic()
        self._failures = 1 if now - self._launched > LONG_LIFE else self._failures + 1
        self._deaths.append(now)
        source = kindOf(self._settings).title
        ended = _("{source}: the acquisition process ended unexpectedly (exit code {code}).")
        ended = ended.format(source=source, code=code)
        if self._problem:
            why = _(
                "It is not restarted, because the temporary folder {folder} cannot be written ({reason}). "
                "Free space on that disk, then press Start."
            )
            self._fail(joined(ended, why.format(folder=self.folders[-1], reason=self._problem)))
            return
        if self._failures > len(PAUSES):
            text = _("{source}: the acquisition process cannot be kept running (exit code {code}).")
            self._fail(joined(text.format(source=source, code=code), lastError or self._failure))
            return
        if len(self._deaths) == MOST_DEATHS and now - self._deaths[0] < WINDOW:
            text = _(
                "{source}: the acquisition process cannot be kept running: it ended {count} times within {minutes} "
                "minutes (exit code {code}). Press Start to try again."
            ).format(source=source, count=MOST_DEATHS, minutes=round(WINDOW / 60), code=code)
            self._fail(joined(text, lastError or self._failure))
            return
        self._report(Event("restarted", joined(ended, _("It is restarted.")), "warning"))
        self.state = "starting"
        self._take(StatusReport(joined(ended, _("It is restarting."))))
        pause = PAUSES[self._failures - 1]
        self._restartDue = time.monotonic() + pause / 1000
        self._restarter.start(pause)

    def _restart(self) -> None:
        if self._stopping or self.ended:
            return
        try:
            self._launch()
        except (OSError, AcquisitionError) as error:
            log.exception("The acquisition process could not be restarted")
            self._fail(sentence(reasonOf(error)))

    def _fail(self, text: str) -> None:
        self._report(Event("failed", text, "error"))
        self._end("failed")

    def _end(self, state: str) -> None:
        for timer, slot in self._timers():
            timer.stop()
            timer.disconnect("timeout()", slot)
        self.state = state
        if not self._keepers:
            removeWorkFolders(self.folders)
        self._onBatch()
