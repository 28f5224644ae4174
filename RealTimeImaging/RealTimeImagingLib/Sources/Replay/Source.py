"""Replay of a file as a live source: each pass yields every frame once, in order, at the recorded or another pace.

    commands ──► Playhead (which frame, when) ──► ReplayFile (its image) ──► Arrival

``deviceTime`` of a frame is that of the file, in each pass. A recording of the replay flags times that run backwards,
and uses arrival times for its index (see FrameTimes). Files with relative times only (NRRD, NIfTI, DICOM without a
date) have no ``deviceTime``. Attributes are those of the file, SourceFile (the replayed file), OriginalSourceFile (the
SourceFile of the frame) and ReplayedFrame (its index, from 0). Only images are replayed: device messages of a
recording (poses, texts) stay in its file of messages.

Commands: ``pause``, ``resume``; ``step`` {"frames": n} pauses and moves n frames forward, or back when negative;
``seek`` {"frame": n}, from 0; ``pace`` {"speed": factor}, {"rate": frames per second} or {"fastest": true}; ``loop``
{"on": bool}. Commands wait until the file is open. Step and seek yield their frame at once, also in pause. A command
may have a number, "request": from then on the details have the number of the last command.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ...Formats import GetBuffer, stampOf
from ...Model.Errors import NotAnImageError, SettingsError
from ...Model.Event import Event, Remedy
from ...Model.Files import Stamp, reasonOf
from ...Model.Frame import Image
from ...Model.Quantities import counted
from ...Model.Text import joined, sentence, textsOf
from ..Checkpoint import DEATHS, Checkpoint
from ..Source import TURN, Arrival
from . import ReplaySettings
from .Playhead import DEFAULT_RATE, Playhead, endText, statusOf
from .ReplayFile import Opening, ReplayFile, recordingNear

_ = textsOf(__file__)

RECHECK = 0.5
"""Seconds between two attempts to open a file that is missing or cannot be replayed."""

POSITION_PERIOD = 0.1
"""Seconds between two reports of the position while it moves."""

log = logging.getLogger(__name__)


class ReplaySource:
    """Source of the images in one file.

    :param settings: file and initial pace.
    :param checkpoint: position and commands of an earlier process of this session.
    :param clock: monotonic seconds.
    :param getBuffer: returns memory to read an image into, or None.
    """

    def __init__(
        self,
        settings: ReplaySettings,
        checkpoint: Checkpoint,
        clock: Callable[[], float] = time.monotonic,
        getBuffer: GetBuffer = lambda nbytes: None,
    ) -> None:
        self._settings = replace(settings, **checkpoint.kept)
        self._checkpoint, self._clock, self._getBuffer = checkpoint, clock, getBuffer
        self._path = self._settings.file
        # Names that are not UTF-8 can be neither shown nor sent.
        self._name = os.fsencode(os.path.basename(self._path)).decode("utf-8", "replace")
        self._commands: deque[tuple[str, Mapping[str, Any]]] = deque()
        self._wake = threading.Event()
        self._opening: Opening | None = None
        self._file: ReplayFile | None = None
        self._playhead: Playhead | None = None
        self._stamp: Stamp = (0, 0)
        self._stamps: dict[str, Stamp | None] = {}
        self._failed: dict[str, Stamp | None] | None = None
        self._due = clock()
        self._why: str = _("it has not been opened yet.")
        self._remedy: Remedy | None = None
        self._reported: tuple[str, Stamp | None] | None = None
        self._position: dict[str, Any] = {}
        self._positionDue = 0.0
        self._request: Any = 0

    @property
    def status(self) -> str:
        """Sentence for the panel: file, position and pace, or the reason why nothing is replayed."""
        if self._playhead is None:
            return self._notReplayed
        return statusOf(self._name, self._playhead, self._settings)

    @property
    def remedy(self) -> Remedy | None:
        """The recording that the path stands for, or a new start after the end; None while images come."""
        if self._playhead is None:
            return self._remedy
        return Remedy(_("Play again"), {}) if self._playhead.ended else None

    @property
    def details(self) -> Mapping[str, Any]:
        """Position of the replay, see :attr:`Playhead.position`, and ``request``, the number of the last command that
        had one; empty while no file is open."""
        now, playhead = self._clock(), self._playhead
        if playhead is None:
            return {}
        if playhead.halted or now >= self._positionDue:
            self._position = {**playhead.position, "request": self._request}
            self._positionDue = now + POSITION_PERIOD
        return self._position

    @property
    def _notReplayed(self) -> str:
        return _("{name} is not replayed: {why}").format(name=self._name, why=sentence(self._why))

    def read(self, seconds: float) -> Iterator[Arrival | Event]:
        """Yield the frames that are due, then wait for the next one; block at most ``seconds``."""
        turn = self._clock() + TURN
        if self._playhead is None:
            yield from self._open(turn)
        while self._commands and self._playhead:
            yield from self._obey(*self._commands.popleft(), self._playhead)
        while self._playhead and (index := self._playhead.due(self._clock())) is not None:
            yield from self._play(index, self._playhead)
            if self._clock() > turn:
                return
        if self._playhead and self._playhead.endsNow(self._clock()):
            yield Event("replay-ended", endText(self._name, self._playhead), subject=self._path)
        now = self._clock()
        wait = self._playhead.wait(now) if self._playhead else max(0.0, self._due - now)
        if wait > 0:
            self._checkpoint.leave()
        self._wake.wait(min(seconds, wait))
        self._wake.clear()

    def wake(self) -> None:
        """Let read() return."""
        self._wake.set()

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Queue one of the commands in the description of this module for the next read()."""
        self._commands.append((name, values))

    def close(self) -> None:
        """Close the file."""
        self._opening = self._file = self._playhead = None
        self._checkpoint.leave()

    # ---- the file

    def _open(self, turn: float) -> Iterator[Event]:
        if self._opening is None:
            if self._clock() < self._due:
                return
            self._due = self._clock() + RECHECK
            if self._failed is not None and self._failed == _stampsOf(self._failed):
                return
            stamp = stampOf(self._path)
            if stamp is not None and self._checkpoint.begin(self._path, stamp).deaths >= DEATHS:
                self._checkpoint.leave()
                text = _("it crashed the reading process {count} times and is skipped.").format(count=DEATHS)
                yield from self._fail("crashed", text, (self._path,), "error")
                return
            self._stamp = stamp or (0, 0)
            self._opening = Opening(self._path)
        opening = self._opening
        try:
            while (file := opening.step()) is None:
                if self._clock() > turn:
                    return
        except NotAnImageError as error:
            yield from self._fail(error.code, str(error), opening.files)
            return
        except OSError as error:
            yield from self._unreadable(error)
            return
        yield from self._begin(file, opening.files)

    def _begin(self, file: ReplayFile, files: tuple[str, ...]) -> Iterator[Event]:
        opened = self._checkpoint.begin(self._path, self._stamp)
        playhead = Playhead(file.count, file.times, min(opened.accepted, file.count), self._clock())
        self._checkpoint.leave()
        playhead.paused, playhead.loop = self._settings.paused, self._settings.loop
        # The process before the restart has reported the end.
        playhead.ended = playhead.next == playhead.count and not playhead.loop
        self._setPace(playhead)
        self._opening, self._failed, self._reported = None, None, None
        self._file, self._playhead, self._stamps = file, playhead, {}
        text = _("{name} has {frames} in {seconds:.1f} s.") if file.times else _("{name} has {frames}.")
        frames = counted(file.count, _("1 frame"), _("{count:,} frames"))
        text = text.format(name=self._name, frames=frames, seconds=playhead.duration)
        yield Event("replay-opened", text, subject=self._path)
        for problem in file.problems:
            yield Event("part-missing", problem, "warning", self._path)
        if file.times is None and file.count > 1 and self._settings.pace == "recorded":
            text = _("{name} has no times: it is replayed at {rate:g} frames per second.")
            yield Event("no-times", text.format(name=self._name, rate=DEFAULT_RATE), subject=self._path)

    def _fail(self, code: str, why: str, files: tuple[str, ...], level: str = "warning") -> Iterator[Event]:
        self._opening = self._file = self._playhead = None
        header = recordingNear(self._path)
        self._remedy = Remedy(_("Replay the recording"), {"file": header}) if header else None
        if os.path.isdir(self._path):
            why = _("it is a folder without a recording. Choose a file.")
            if header:
                why = _("it is a folder. Choose a file in it, such as the recording {name}.")
        elif header:
            why = _("it belongs to the recording {name}. Choose that file.")
        why = why.format(name=os.path.basename(header)) if header else why
        self._why, self._failed = why, _stampsOf(files)
        reported = (code, None if code == "incomplete" else stampOf(self._path))
        if reported != self._reported:
            self._reported = reported
            yield Event(code, self._notReplayed, level, self._path, remedy=self._remedy)

    def _unreadable(self, error: OSError) -> Iterator[Event]:
        missing = isinstance(error, FileNotFoundError)
        why = _("it cannot be read ({reason}); waiting for it.")
        if missing:
            why = _("{path} is not there; waiting for it.")
        why = why.format(path=self._path, reason=reasonOf(error))
        yield from self._fail("file-missing" if missing else "file-unreadable", why, ())
        self._failed = None

    # ---- the frames

    def _play(self, index: int, playhead: Playhead) -> Iterator[Arrival | Event]:
        assert self._file is not None
        opened = self._checkpoint.begin(self._path, self._stamp)
        files = self._file.files(index)
        try:
            changed = self._changed(files)
            image = None if changed else self._file.image(index, self._getBuffer)
            changed = changed or self._changed(files)
        except NotAnImageError as error:
            self._checkpoint.leave()
            if self._changed(files):
                self._reopen()
            else:
                why = joined(_("frame {number} cannot be read.").format(number=index + 1), str(error))
                yield from self._fail(error.code, why, files)
            return
        except OSError as error:
            self._checkpoint.leave()
            yield from self._unreadable(error)
            return
        if changed or image is None:
            self._checkpoint.leave()
            self._reopen()
            return
        playhead.taken()
        # accept() counts from here: a restart continues with the next frame.
        opened.accepted = index
        yield Arrival(self._settings.stream, self._labelled(image, index), time.time())

    def _changed(self, files: tuple[str, ...]) -> bool:
        if any(path not in self._stamps for path in files):
            self._stamps.update(_stampsOf(files))
        return stampOf(self._path) != self._stamp or any(stampOf(path) != self._stamps[path] for path in files)

    def _reopen(self) -> None:
        # The checkpoint knows a file by its stamp: another file with this name starts at its first frame.
        self._opening = self._file = self._playhead = None
        self._why, self._due = _("it has changed and is reopened."), self._clock()

    def _labelled(self, image: Image, index: int) -> Image:
        attributes = {**image.attributes, "SourceFile": self._name, "ReplayedFrame": str(index)}
        if original := image.attributes.get("SourceFile"):
            attributes.setdefault("OriginalSourceFile", original)
        return replace(image, attributes=attributes)

    # ---- commands

    def _obey(self, name: str, values: Mapping[str, Any], playhead: Playhead) -> Iterator[Event]:
        now = self._clock()
        # The next report has the position after the command.
        self._request, self._positionDue = values.get("request", self._request), now
        try:
            if name == "pause":
                playhead.pause(now)
            elif name == "resume":
                playhead.resume(now)
            elif name == "step":
                playhead.step(_whole(values, "frames"), now)
            elif name == "seek":
                playhead.seek(_whole(values, "frame"), now)
            elif name == "pace":
                self._settings = _paced(self._settings, values)
                self._setPace(playhead)
            elif name == "loop":
                self._settings = replace(self._settings, loop=values.get("on"))  # type: ignore[arg-type]
                playhead.setLoop(self._settings.loop, now)
            else:
                return
        except SettingsError as error:
            text = _("The command {name!r} was refused: {reason}").format(name=name, reason=str(error))
            yield Event("command-refused", text, "warning", self._path)
            return
        self._settings = replace(self._settings, paused=playhead.paused)
        settings = self._settings
        self._checkpoint.keep(
            pace=settings.pace, speed=settings.speed, rate=settings.rate, loop=settings.loop, paused=playhead.paused
        )

    def _setPace(self, playhead: Playhead) -> None:
        settings, now = self._settings, self._clock()
        if settings.pace == "fastest":
            playhead.setPace(now, fastest=True)
        elif settings.pace == "rate":
            playhead.setPace(now, rate=settings.rate)
        else:
            playhead.setPace(now, speed=settings.speed)


def _paced(settings: ReplaySettings, values: Mapping[str, Any]) -> ReplaySettings:
    names = [name for name in ("speed", "rate", "fastest") if name in values]
    if names == ["speed"]:
        return replace(settings, pace="recorded", speed=values["speed"])
    if names == ["rate"]:
        return replace(settings, pace="rate", rate=values["rate"])
    if names == ["fastest"] and values["fastest"] is True:
        return replace(settings, pace="fastest")
    raise SettingsError(
        _('A pace has exactly one of {"speed": factor}, {"rate": frames per second} and {"fastest": true}.')
    )


def _whole(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise SettingsError(_('"{name}" must be a whole number, not {value}.').format(name=name, value=repr(value)))
    return value


def _stampsOf(files: tuple[str, ...] | Mapping[str, Stamp | None]) -> dict[str, Stamp | None]:
    return {path: stampOf(path) for path in files}
