"""Recording in the worker: the streams of its source, the commands, and the reports."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ..Model.DeviceMessage import DeviceMessage
from ..Model.Event import Event
from ..Model.Files import makePrivateFolder
from ..Model.Frame import Frame
from ..Recording import MessageRecorder, Origin, Recorder, Repair, fileName, repair
from ..Recording.Layout import LOCK, STREAMS, candidates
from ..Recording.Lock import Lock
from ..Recording.Repair import repairedLine
from ..Sources.Checkpoint import Checkpoint
from .Frames import FrameSender
from .PreTriggerBuffer import PreTriggerBuffer, PreTriggerMessages

MOST_OPEN = 32
"""Streams whose files are open at once; the system's limit may be 256 files for a process, of which each takes two."""

log = logging.getLogger(__name__)


class StreamRecorders:
    """One recorder for each stream, made when its first frame comes, and one for what the devices say beside images.

    Any number of streams: only those that were used last keep their files open.

    :param folder: where the recording goes; made when it is missing.
    :param name: its name; the files of each stream carry the stream's name too.
    :param attributes: written into each of its files.
    """

    def __init__(self, folder: str, name: str, attributes: Mapping[str, str]) -> None:
        self.folder, self._name, self._attributes = folder, name, dict(attributes)
        self._origin = Origin()
        self._recorders: dict[str, Recorder] = {}
        self._messages = MessageRecorder(folder, name, attributes, self._origin)
        self._open: dict[str, Recorder] = {}
        """Recorders whose files may be open; the one used last is at the end."""
        self._holder: Lock | None = None
        self._events: list[Event] = []
        try:
            makePrivateFolder(folder)
        except OSError as error:
            log.warning("%s cannot be made: %s", folder, error)  # the first frame that fails says so to the user

    def append(self, frame: Frame) -> bool:
        """Store a frame; False when it could not be, which :meth:`events` tells."""
        recorder = self._recorders.get(frame.stream)
        if recorder is None:
            recorder = Recorder(self.folder, self._name, frame.stream, self._attributes, self._origin)
            self._recorders[frame.stream] = recorder
        self._open.pop(frame.stream, None)
        self._open[frame.stream] = recorder
        if len(self._open) > MOST_OPEN:
            self._open.pop(next(iter(self._open))).rest(self._holderName())
        stored = recorder.append(frame)
        self._events += recorder.events()
        return stored

    def appendMessage(self, message: DeviceMessage) -> bool:
        """Store what a device said beside images; False when it could not be, which :meth:`events` tells."""
        return self._messages.append(message)

    def appendKept(self, frames: Iterable[Frame], messages: PreTriggerMessages | None) -> Iterator[bool]:
        """Store what was in memory, in the order in which it came; for each frame whether it is stored."""
        earlier = deque(messages.take() if messages else [])
        for frame in frames:
            while earlier and earlier[0].receiveTime <= frame.receiveTime:
                self.appendMessage(earlier.popleft())
            yield self.append(frame)
        for message in earlier:
            self.appendMessage(message)

    @property
    def bytes(self) -> int:
        """Of all pixels that are stored."""
        return sum(recorder.bytes for recorder in self._recorders.values())

    @property
    def counts(self) -> tuple[int, int]:
        """Frames that are stored, and those that should be and are not."""
        recorders = self._recorders.values()
        return sum(one.recorded for one in recorders), sum(one.failed for one in recorders)

    @property
    def losses(self) -> dict[str, int]:
        """For each reason how many frames are not stored."""
        found: dict[str, int] = {}
        for recorder in self._recorders.values():
            for reason, count in recorder.losses.items():
                found[reason] = found.get(reason, 0) + count
        return found

    @property
    def unfinished(self) -> str:
        """Why some files could not be closed, empty when all are."""
        return next((one.unfinished for one in self._recorders.values() if one.unfinished), "")

    @property
    def messageCounts(self) -> dict[str, int]:
        """Messages of devices: ``recorded`` and ``failed``."""
        return {"recorded": self._messages.recorded, "failed": self._messages.failed}

    def room(self) -> int | None:
        """Bytes that are free where the recording is, None when that is not known."""
        try:
            return shutil.disk_usage(self.folder).free
        except OSError:
            return None

    def events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events + self._messages.events()

    def finish(self, tell: Callable[[int, int], None]) -> tuple[list[str], list[str]]:
        """Close all files; the paths of the headers that Slicer opens, and of the manifests of messages.

        :param tell: called after each stream with the number of closed streams and of all streams.
        """
        headers = []
        for place, recorder in enumerate(self._recorders.values()):
            headers += recorder.finish()
            self._events += recorder.events()
            tell(place + 1, len(self._recorders))
        messages = self._messages.finish()
        if self._holder:
            self._holder.release(remove=True)
        return headers, messages

    def _holderName(self) -> str:
        """File name of the lock that replaces those of all streams; empty when there is none, so that theirs stay."""
        if self._holder is None:
            for name in candidates(fileName(self._name)):
                try:
                    self._holder = Lock.claim(os.path.join(self.folder, name + STREAMS + LOCK))
                except OSError:
                    return ""
                if self._holder:
                    break
        return os.path.basename(self._holder.path) if self._holder and self._holder.there else ""


class Repairing:
    """Finishes in a thread what dead processes left in a folder: a share that hangs must not hold up the images.

    :param tell: called in that thread with each recording that was finished or could not be.
    """

    def __init__(self, tell: Callable[[Repair], None]) -> None:
        self._tell = tell
        self._threads: list[threading.Thread] = []

    def start(self, folder: str) -> None:
        """Look into a folder."""
        thread = threading.Thread(target=self._run, args=(folder,), name="repair", daemon=True)
        self._threads.append(thread)
        thread.start()

    def wait(self, seconds: float) -> None:
        """Wait for the end, for so many seconds at most: a repair that is cut off is done again."""
        for thread in self._threads:
            thread.join(seconds)

    def _run(self, folder: str) -> None:
        try:
            for one in repair(folder):
                self._tell(one)
        except Exception:  # the boundary of this thread
            log.exception("%s could not be searched for unfinished recordings", folder)


TELL_PERIOD = 0.5
"""Seconds between two lines that say how much is stored."""
REPAIR_TIME = 0.5
"""Seconds at the end for a repair that still works."""


class WorkerRecording:
    """Stores frames while it is told to, and keeps the last ones in memory for somebody who asks later.

    Commands:

    - ``record``: folder, name, attributes; kept (begin with the frames in memory); id (the recording's number).
    - ``stopRecording``.
    - ``keep``: seconds, bytes; 0 seconds end it.
    - ``repair``: folder; finish the recordings of dead processes there.

    Lines:

    - ``storage``: free, kept; during a recording also stored and writing, see below.
    - ``recorded``: paths of the headers, when the files are closed. With it ``messages`` (paths of the manifests of
      device messages), ``stored``, and ``unfinished`` (why some files could not be closed, else empty).
    - ``repaired``: recording, name, paths, messages.

    ``stored`` counts one recording over all processes of its source: ``id``, ``recorded``, ``failed``, ``bytes``,
    ``losses`` (by reason). Its ``messages`` (recorded, failed) count this process only: a write of the journal for each
    message would cost as much as storing it.

    ``writing`` is present while frames from memory are written, or files are closed: ``done`` of ``total``, ``unit``
    "bytes" or "streams".

    :param checkpoint: counts what is stored.
    :param sender: takes events and lines.
    :param counts: the cumulative counts that go with each event.
    """

    def __init__(self, checkpoint: Checkpoint, sender: FrameSender, counts: Callable[[], dict[str, Any]]) -> None:
        self._checkpoint, self._sender, self._counts = checkpoint, sender, counts
        self._recorders: StreamRecorders | None = None
        self._kept: PreTriggerBuffer | None = None
        self._keptMessages: PreTriggerMessages | None = None
        self._repairing = Repairing(self._tellRepair)
        self._tellDue = 0.0
        self._before = (0, 0)
        self._earlier: dict[str, Any] = {}
        """Counts at the begin of the recording, from earlier processes of its source."""
        self._bytes = 0
        self._writing: dict[str, Any] | None = None
        self.progressed = time.monotonic()
        """When the last frame was stored or the last file closed (time.monotonic())."""
        self._commands: dict[str, Callable[..., None]] = {
            "record": self._record,
            "stopRecording": self.stop,
            "keep": self._keep,
            "repair": self._repairing.start,
        }

    @property
    def recording(self) -> bool:
        """True from the command to record until all files are closed."""
        return self._recorders is not None

    def obey(self, command: str, **values: Any) -> bool:
        """Do it; False when the command is for somebody else."""
        if command not in self._commands:
            return False
        self._commands[command](**values)
        return True

    def append(self, frame: Frame) -> bool | None:
        """Store a frame, whose number is not counted yet; whether it is stored, None while nothing is recorded."""
        if self._recorders is None:
            if self._kept:
                self._kept.add(frame)
            if self._keptMessages:
                self._keptMessages.forget(frame.receiveTime)
            return None
        return self._took(self._recorders.append(frame), frame.pixels.nbytes)

    def appendMessage(self, message: DeviceMessage) -> None:
        """Store what a device said beside images, while something is recorded. Never raises for what the file system
        does."""
        if self._recorders:
            self._recorders.appendMessage(message)
        elif self._keptMessages:
            self._keptMessages.add(message)

    def tell(self) -> None:
        """Tell what happened, and now and then how much is stored."""
        if self._recorders:
            self._tellEvents(self._recorders)
        now = time.monotonic()
        if now < self._tellDue or not (self._recorders or self._kept):
            return
        self._tellDue = now + TELL_PERIOD
        status: dict[str, Any] = {"kept": self._kept.status if self._kept else None}
        if self._recorders:
            status |= {"free": self._recorders.room(), "stored": self._stored(), "writing": self._writing}
        self._sender.tell({"storage": status, "counts": self._counts()})

    def stop(self) -> None:
        """Close the files and tell which they are."""
        recorders = self._recorders
        if recorders is None:
            return
        self._tellDue = 0.0
        paths, messages = recorders.finish(lambda done, total: self._progress(done, total, "streams"))
        self._tellEvents(recorders)
        stored, self._recorders, self._writing = self._stored(), None, None
        line = {"recorded": paths, "messages": messages, "stored": stored, "unfinished": recorders.unfinished}
        self._sender.tell({**line, "storage": {"kept": self._keptStatus}, "counts": self._counts()})

    def close(self) -> None:
        """The process is about to end."""
        self.stop()
        self._repairing.wait(REPAIR_TIME)

    def _record(self, folder: str, name: str, attributes: dict[str, str], kept: bool = False, id: int = 0) -> None:
        if self._recorders:
            return
        self._repairing.start(folder)
        # The same id as in the journal: an earlier process of this source died while it made this recording.
        before = self._checkpoint.recording
        if not before or before["id"] != id:
            before = {"id": id, "recorded": self._checkpoint.recorded, "failed": self._checkpoint.failed, "bytes": 0}
            before["losses"] = {}
        self._earlier = dict(before)
        self._checkpoint.keepRecording(before)
        self._recorders = StreamRecorders(folder, name, attributes)
        self._before = (self._checkpoint.recorded, self._checkpoint.failed)
        self._bytes, self.progressed, self._tellDue = before["bytes"], time.monotonic(), 0.0
        if kept:
            self._storeKept(self._recorders)
        self.tell()

    def _storeKept(self, recorders: StreamRecorders) -> None:
        frames = self._kept.take() if self._kept else []
        total, sizes = sum(frame.pixels.nbytes for frame in frames), [frame.pixels.nbytes for frame in frames]
        done = 0
        # Release the memory of each frame as soon as it is stored.
        frames.reverse()
        given = (frames.pop() for _ in range(len(frames)))
        for size, stored in zip(sizes, recorders.appendKept(given, self._keptMessages), strict=True):
            done += size
            self._took(stored, size)
            self._checkpoint.store(stored)
            self._progress(done, total, "bytes")
        self._writing = None

    def _took(self, stored: bool, nbytes: int) -> bool:
        self.progressed = time.monotonic()
        if stored:
            self._bytes += nbytes
            self._checkpoint.recording["bytes"] = self._bytes
        return stored

    def _progress(self, done: int, total: int, unit: str) -> None:
        self.progressed = time.monotonic()
        self._writing = {"done": done, "total": total, "unit": unit}
        self.tell()

    def _stored(self) -> dict[str, Any]:
        recorders, earlier = self._recorders, self._earlier
        assert recorders is not None
        return {
            "id": earlier["id"],
            "recorded": self._checkpoint.recorded - earlier["recorded"],
            "failed": self._checkpoint.failed - earlier["failed"],
            "bytes": self._bytes,
            "losses": self._losses(recorders),
            "messages": recorders.messageCounts,
        }

    def _losses(self, recorders: StreamRecorders) -> dict[str, int]:
        losses = dict(self._earlier["losses"])
        for reason, count in recorders.losses.items():
            losses[reason] = losses.get(reason, 0) + count
        return losses

    @property
    def _keptStatus(self) -> dict[str, Any] | None:
        return self._kept.status if self._kept else None

    def _keep(self, seconds: float, bytes: int) -> None:
        self._kept = PreTriggerBuffer(seconds, bytes) if seconds > 0 else None
        self._keptMessages = PreTriggerMessages(seconds) if seconds > 0 else None

    def _tellRepair(self, repair: Repair) -> None:
        self._sender.event(repair.event, self._counts())
        self._sender.tell({"repaired": repairedLine(repair)})

    def _tellEvents(self, recorders: StreamRecorders) -> None:
        events = recorders.events()
        if events:
            # Files that somebody removed take back what was counted.
            recorded, failed = recorders.counts
            self._bytes = self._earlier["bytes"] + recorders.bytes
            self._checkpoint.recording |= {"bytes": self._bytes, "losses": self._losses(recorders)}
            self._checkpoint.correctStored(self._before[0] + recorded, self._before[1] + failed)
        for event in events:
            self._sender.event(event, self._counts())
