"""Recording in the worker: its commands and reports, the recorders of all streams, and the pre-trigger buffer."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..Link.Commands import Keep, Record, RecordEvent, Repair, StopRecording
from ..Link.Messages import Counts, Receivers, RecordedReport, RepairedReport, StorageReport
from ..Model.DeviceMessage import DeviceMessage
from ..Model.Event import Event
from ..Model.Files import makePrivateFolder
from ..Model.Frame import Frame
from ..Recording import MessageRecorder, Origin, RecordedEvents, Recorder, fileName, repair
from ..Recording import Repair as RepairedRecording
from ..Recording.Layout import LOCK, STREAMS, candidates
from ..Recording.Lock import Lock
from ..Recording.RecordedEvents import MOST_EVENTS
from ..Recording.ValuesFile import ValuesFile
from ..Sources.Checkpoint import Checkpoint
from ..Sources.Source import Values
from .Frames import FrameSender
from .HangWatch import HangWatch

MOST_OPEN = 32
"""Most streams with open files, two each: the system may limit a process to 256 open files."""

log = logging.getLogger(__name__)


MESSAGE_BYTES = 64 << 20
"""Most memory for buffered device messages."""


class PreTriggerBuffer:
    """Buffer of the last frames of all streams.

    :param seconds: greatest age of a frame.
    :param limit: most bytes; beyond it, the oldest frames are dropped.
    """

    def __init__(self, seconds: float, limit: int) -> None:
        self._seconds, self._limit = seconds, limit
        self._frames: deque[Frame] = deque()
        self._bytes = 0

    def add(self, frame: Frame) -> None:
        """Keep a copy of a frame: the memory of its pixels may be reused."""
        if frame.pixels.nbytes > self._limit:
            return
        self._frames.append(replace(frame, pixels=frame.pixels.copy()))
        self._bytes += frame.pixels.nbytes
        while self._bytes > self._limit or self._frames[0].receiveTime < frame.receiveTime - self._seconds:
            self._bytes -= self._frames.popleft().pixels.nbytes

    def take(self) -> list[Frame]:
        """Return all of them, the oldest first, and empty the buffer."""
        frames, self._frames, self._bytes = list(self._frames), deque(), 0
        return frames

    @property
    def status(self) -> dict[str, Any]:
        """``seconds``, ``frames`` and ``bytes`` in the buffer."""
        seconds = self._frames[-1].receiveTime - self._frames[0].receiveTime if self._frames else 0.0
        return {"seconds": round(seconds, 1), "frames": len(self._frames), "bytes": self._bytes}


class PreTriggerMessages:
    """Buffer of the last device messages.

    :param seconds: greatest age of a message.
    :param limit: most bytes, as JSON.
    """

    def __init__(self, seconds: float, limit: int = MESSAGE_BYTES) -> None:
        self._seconds, self._limit = seconds, limit
        self._messages: deque[tuple[DeviceMessage, int]] = deque()
        self._bytes = 0

    def add(self, message: DeviceMessage) -> None:
        """Keep a message."""
        size = len(json.dumps(message.toJSON(), default=str))
        if size > self._limit:
            return
        self._messages.append((message, size))
        self._bytes += size
        self.forget(message.receiveTime)

    def forget(self, now: float) -> None:
        """Drop the messages that are too old at this time (seconds since the epoch)."""
        while self._messages and (self._bytes > self._limit or self._messages[0][0].receiveTime < now - self._seconds):
            self._bytes -= self._messages.popleft()[1]

    def take(self) -> list[DeviceMessage]:
        """Return all of them, the oldest first, and empty the buffer."""
        messages = [message for message, _ in self._messages]
        self._messages.clear()
        self._bytes = 0
        return messages


class StreamRecorders:
    """A recorder for each stream, created with its first frame, and one for device messages.

    Any number of streams: only the streams that were used last keep their files open.

    :param folder: of the recording; created when it is missing.
    :param name: of the recording; the files of each stream carry the stream's name too.
    :param attributes: written into each file.
    """

    def __init__(self, folder: str, name: str, attributes: Mapping[str, str]) -> None:
        self.folder, self._name, self._attributes = folder, name, dict(attributes)
        self._origin = Origin()
        self._recorders: dict[str, Recorder] = {}
        self.recordedEvents = RecordedEvents()
        self._messages = MessageRecorder(folder, name, attributes, self._origin)
        self._values: dict[str, ValuesFile] = {}
        """Files of values by the name of the function."""
        self._open: dict[str, Recorder] = {}
        """Recorders whose files may be open; the one used last is at the end."""
        self._holder: Lock | None = None
        self._events: list[Event] = []
        try:
            makePrivateFolder(folder)
        except OSError as error:
            log.warning("%s cannot be made: %s", folder, error)  # the first frame that fails reports it to the user

    def append(self, frame: Frame) -> bool:
        """Store a frame; return False when that failed, which :meth:`events` reports."""
        recorder = self._recorders.get(frame.stream)
        if recorder is None:
            log = None if self._recorders else self.recordedEvents
            recorder = Recorder(self.folder, self._name, frame.stream, self._attributes, self._origin, log)
            self._recorders[frame.stream] = recorder
        self._open.pop(frame.stream, None)
        self._open[frame.stream] = recorder
        if len(self._open) > MOST_OPEN:
            self._open.pop(next(iter(self._open))).rest(self._holderName())
        stored = recorder.append(frame)
        self._events += recorder.events()
        return stored

    def appendMessage(self, message: DeviceMessage) -> bool:
        """Store a device message; return False when that failed, which :meth:`events` reports."""
        return self._messages.append(message)

    def appendValues(self, values: Values) -> bool:
        """Store the values of a frame; return False when that failed, which :meth:`events` reports."""
        file = self._values.get(values.name)
        if file is None:
            file = self._values[values.name] = ValuesFile(self.folder, self._name, values.name)
        stored = file.append(values.number, values.time, values.values)
        self._events += file.events()
        return stored

    def appendKept(self, frames: Iterable[Frame], messages: PreTriggerMessages | None) -> Iterator[bool]:
        """Store buffered frames and messages in the order of arrival; yield for each frame whether it is stored."""
        earlier = deque(messages.take() if messages else [])
        for frame in frames:
            while earlier and earlier[0].receiveTime <= frame.receiveTime:
                self.appendMessage(earlier.popleft())
            yield self.append(frame)
        for message in earlier:
            self.appendMessage(message)

    @property
    def bytes(self) -> int:
        """Bytes of all stored pixels."""
        return sum(recorder.bytes for recorder in self._recorders.values())

    @property
    def counts(self) -> tuple[int, int]:
        """Number of stored frames, and of frames that could not be stored."""
        recorders = self._recorders.values()
        return sum(one.recorded for one in recorders), sum(one.failed for one in recorders)

    @property
    def losses(self) -> Counter[str]:
        """Number of frames that are not stored, by reason."""
        return sum((Counter(recorder.losses) for recorder in self._recorders.values()), Counter())

    @property
    def valuesFiles(self) -> list[str]:
        """Paths of the files of values."""
        return [file.path for file in self._values.values() if file.path]

    @property
    def unfinished(self) -> str:
        """Reason why some files could not be closed; empty when all are closed."""
        return next((one.unfinished for one in self._recorders.values() if one.unfinished), "")

    @property
    def messageCounts(self) -> dict[str, int]:
        """Numbers of device messages: ``recorded`` and ``failed``."""
        return {"recorded": self._messages.recorded, "failed": self._messages.failed}

    def room(self) -> int | None:
        """Return the free bytes on the disk of the recording; None when unknown."""
        try:
            return shutil.disk_usage(self.folder).free
        except OSError:
            return None

    def events(self) -> list[Event]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events + self._messages.events()

    def finish(self, progress: Callable[[int, int], None]) -> tuple[list[str], list[str]]:
        """Close all files; return the paths of the headers that Slicer opens, and of the manifests of messages.

        :param progress: called after each stream with the number of closed streams and of all streams.
        """
        headers = []
        for place, recorder in enumerate(self._recorders.values()):
            headers += recorder.finish()
            self._events += recorder.events()
            progress(place + 1, len(self._recorders))
        self._messages.recordedEvents = None if headers else self.recordedEvents
        messages = self._messages.finish()
        for file in self._values.values():
            file.close()
        if self._holder:
            self._holder.release(remove=True)
        return headers, messages

    def _holderName(self) -> str:
        """Return the file name of the lock that replaces the locks of all streams; empty when they must stay."""
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
    """Repair of the recordings of dead processes, in a thread: a share that hangs must not hold up the images.

    :param report: called in that thread with each recording that was finished or could not be.
    """

    def __init__(self, report: Callable[[RepairedRecording], None]) -> None:
        self._report = report
        self._threads: list[threading.Thread] = []

    def start(self, folder: str) -> None:
        """Begin to repair the recordings in a folder."""
        thread = threading.Thread(target=self._run, args=(folder,), name="repair", daemon=True)
        self._threads.append(thread)
        thread.start()

    def wait(self, seconds: float) -> None:
        """Wait for the end, at most so many seconds: a repair that is cut off is repeated later."""
        for thread in self._threads:
            thread.join(seconds)

    def _run(self, folder: str) -> None:
        try:
            for one in repair(folder):
                self._report(one)
        except Exception:  # the boundary of this thread
            log.exception("%s could not be searched for unfinished recordings", folder)


REPORT_PERIOD = 0.5
"""Seconds between two reports of the state."""
REPAIR_TIME = 0.5
"""Seconds at the end for a repair that still runs."""
FIRST_PART_TIME = 5.0
"""Seconds at the stop of a recording for the repair of what an earlier process of its source has recorded."""


class WorkerRecording:
    """Recorder of the source's frames between the commands, with a pre-trigger buffer.

    Executes :class:`Record`, :class:`StopRecording`, :class:`Keep`, :class:`Repair` and :class:`RecordEvent`. Device
    messages are counted for this process only: a write of the checkpoint for each would cost as much as storing it.

    :param checkpoint: counts the stored frames.
    :param sender: takes events and reports.
    :param counts: returns the cumulative counts that go with each event.
    :param commands: delivers the commands.
    :param watch: watches every access to the folder of the recording, whose drive may hang.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        sender: FrameSender,
        counts: Callable[[], Counts],
        commands: Receivers,
        watch: HangWatch,
    ) -> None:
        self._checkpoint, self._sender, self._counts, self._watch = checkpoint, sender, counts, watch
        self._recorders: StreamRecorders | None = None
        self._events: deque[Event] = deque(maxlen=MOST_EVENTS)
        """Events that the recording has not taken yet."""
        sender.onEvent = self._events.append
        self._kept: PreTriggerBuffer | None = None
        self._keptMessages: PreTriggerMessages | None = None
        self._repairing = Repairing(self._reportRepair)
        self._reportDue = 0.0
        self._before = (0, 0)
        self._earlier: dict[str, Any] = {}
        """Counts at the start of the recording, from earlier processes of its source."""
        self._continues = False
        """True for a recording that an earlier process of its source has begun."""
        self._bytes = 0
        self._writing: dict[str, Any] | None = None
        self.progressed = time.monotonic()
        """Time at which the last frame was stored or the last file closed (time.monotonic())."""
        commands.connect(Record, self._record)
        commands.connect(StopRecording, lambda command: self.stop())
        commands.connect(Keep, self._keep)
        commands.connect(RecordEvent, lambda command: self._events.append(command.event))
        commands.connect(Repair, lambda command: self._repairing.start(command.folder))

    @property
    def recording(self) -> bool:
        """True from the command to record until all files are closed."""
        return self._recorders is not None

    @property
    def folder(self) -> str:
        """Folder of the recording; empty while nothing is recorded."""
        return self._recorders.folder if self._recorders else ""

    def append(self, frame: Frame) -> bool | None:
        """Store a frame that is not counted yet; return whether it is stored, None while nothing is recorded."""
        if self._recorders is None:
            if self._kept:
                self._kept.add(frame)
            if self._keptMessages:
                self._keptMessages.forget(frame.receiveTime)
            return None
        with self._watch.during(self.folder):
            return self._count(self._recorders.append(frame), frame.pixels.nbytes)

    def appendMessage(self, message: DeviceMessage) -> None:
        """Store a device message while recording; events report errors of the file system."""
        if self._recorders:
            with self._watch.during(self.folder):
                self._recorders.appendMessage(message)
        elif self._keptMessages:
            self._keptMessages.add(message)

    def appendValues(self, values: Values) -> None:
        """Store the values of a frame while recording; events report errors of the file system."""
        if self._recorders:
            with self._watch.during(self.folder):
                self._recorders.appendValues(values)
            files = [*self._earlier["values"], *self._recorders.valuesFiles]
            if files != self._checkpoint.recording["values"]:
                # At once: a process that dies reports them no more.
                self._checkpoint.keepRecording({**self._checkpoint.recording, "values": files})
                self._reportDue = 0.0

    def report(self) -> None:
        """Report what happened, and the state twice a second."""
        if self._recorders:
            self._reportEvents(self._recorders)
        self._takeEvents()
        now = time.monotonic()
        if now < self._reportDue or not (self._recorders or self._kept):
            return
        self._reportDue = now + REPORT_PERIOD
        status: dict[str, Any] = {"kept": self._keptStatus}
        if self._recorders:
            with self._watch.during(self.folder):
                free = self._recorders.room()
            status |= {"free": free, "stored": self._stored(), "writing": self._writing}
        self._sender.report(StorageReport(status, self._counts()))

    def stop(self) -> None:
        """Close the files and report their paths."""
        recorders = self._recorders
        if recorders is None:
            return
        self._reportDue = 0.0
        self._takeEvents()
        with self._watch.during(self.folder):
            paths, messages = recorders.finish(lambda done, total: self._progress(done, total, "streams"))
        if self._continues:
            # Its first part is known before its end.
            self._repairing.wait(FIRST_PART_TIME)
        self._reportEvents(recorders)
        stored, self._recorders, self._writing = self._stored(), None, None
        storage = {"kept": self._keptStatus}
        self._sender.report(RecordedReport(paths, messages, stored, recorders.unfinished, storage, self._counts()))

    def close(self) -> None:
        """Stop before the process ends."""
        self.stop()
        self._repairing.wait(REPAIR_TIME)

    def _record(self, command: Record) -> None:
        if self._recorders:
            return
        self._repairing.start(command.folder)
        # The same id as in the checkpoint: an earlier process of this source died while it made this recording.
        before, recorded, failed = self._checkpoint.recording, self._checkpoint.recorded, self._checkpoint.failed
        self._continues = bool(before) and before["id"] == command.id
        if not self._continues:
            before = {"id": command.id, "recorded": recorded, "failed": failed, "bytes": 0, "losses": {}, "values": []}
        self._takeEvents()
        self._earlier = dict(before)
        self._checkpoint.keepRecording(before)
        with self._watch.during(command.folder):
            self._recorders = StreamRecorders(command.folder, command.name, command.attributes)
            self._before = (recorded, failed)
            self._bytes, self.progressed, self._reportDue = before["bytes"], time.monotonic(), 0.0
            if command.kept:
                self._storeKept(self._recorders)
        self.report()

    def _storeKept(self, recorders: StreamRecorders) -> None:
        frames = self._kept.take() if self._kept else []
        total, sizes = sum(frame.pixels.nbytes for frame in frames), [frame.pixels.nbytes for frame in frames]
        done = 0
        # Release the memory of each frame as soon as it is stored.
        frames.reverse()
        oldest = (frames.pop() for _ in range(len(frames)))
        for size, stored in zip(sizes, recorders.appendKept(oldest, self._keptMessages), strict=True):
            done += size
            self._count(stored, size)
            self._checkpoint.store(stored)
            self._progress(done, total, "bytes")
        self._writing = None

    def _count(self, stored: bool, nbytes: int) -> bool:
        self.progressed = time.monotonic()
        if stored:
            self._bytes += nbytes
            self._checkpoint.recording["bytes"] = self._bytes
        return stored

    def _progress(self, done: int, total: int, unit: str) -> None:
        self.progressed = time.monotonic()
        self._writing = {"done": done, "total": total, "unit": unit}
        self.report()

    def _stored(self) -> dict[str, Any]:
        recorders, earlier = self._recorders, self._earlier
        assert recorders is not None
        return {
            "id": earlier["id"],
            "recorded": self._checkpoint.recorded - earlier["recorded"],
            "failed": self._checkpoint.failed - earlier["failed"],
            "bytes": self._bytes,
            "losses": self._losses(recorders),
            "values": self._checkpoint.recording["values"],
            "messages": recorders.messageCounts,
        }

    def _losses(self, recorders: StreamRecorders) -> dict[str, int]:
        return dict(Counter(self._earlier["losses"]) + recorders.losses)

    @property
    def _keptStatus(self) -> dict[str, Any] | None:
        return self._kept.status if self._kept else None

    def _keep(self, command: Keep) -> None:
        self._kept = PreTriggerBuffer(command.seconds, command.bytes) if command.seconds > 0 else None
        self._keptMessages = PreTriggerMessages(command.seconds) if command.seconds > 0 else None

    def _reportRepair(self, repaired: RepairedRecording) -> None:
        self._sender.event(repaired.event, self._counts())
        self._sender.report(RepairedReport(repaired.toJSON()))

    def _takeEvents(self) -> None:
        while self._events:
            event = self._events.popleft()
            if self._recorders:
                with self._watch.during(self.folder):
                    self._recorders.recordedEvents.add(event)

    def _reportEvents(self, recorders: StreamRecorders) -> None:
        events = recorders.events()
        if events:
            # Files that were removed from outside are counted no longer.
            recorded, failed = recorders.counts
            self._bytes = self._earlier["bytes"] + recorders.bytes
            self._checkpoint.recording |= {"bytes": self._bytes, "losses": self._losses(recorders)}
            self._checkpoint.correctStored(self._before[0] + recorded, self._before[1] + failed)
        for event in events:
            self._sender.event(event, self._counts())
