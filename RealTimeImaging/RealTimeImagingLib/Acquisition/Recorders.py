"""What the acquisition process stores: the streams of its source, and what came just before somebody asked."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..DeviceMessage import DeviceMessage
from ..Event import Event
from ..Frame import Frame
from ..Private import makePrivateFolder
from ..Recording import MessageRecorder, Origin, Recorder, Repair, fileName, repair
from ..Recording.Layout import LOCK, STREAMS, candidates
from ..Recording.Lock import Lock

MOST_OPEN = 32
"""Streams whose files are open at once; the system's limit may be 256 files for a process, of which each takes two."""
MESSAGE_BYTES = 64 << 20
"""Most memory for the messages of devices that are kept."""

log = logging.getLogger(__name__)


class Recorders:
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

    def appendKept(self, frames: Iterable[Frame], messages: KeptMessages | None) -> Iterator[bool]:
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


class KeptFrames:
    """The last frames of all streams, in memory.

    :param seconds: how far back.
    :param limit: most bytes; what is older than fits is let go earlier.
    """

    def __init__(self, seconds: float, limit: int) -> None:
        self._seconds, self._limit = seconds, limit
        self._frames: deque[Frame] = deque()
        self._bytes = 0

    def add(self, frame: Frame) -> None:
        """Keep a copy of a frame: its pixels may lie in memory that is used again."""
        if frame.pixels.nbytes > self._limit:
            return
        self._frames.append(replace(frame, pixels=frame.pixels.copy()))
        self._bytes += frame.pixels.nbytes
        while self._bytes > self._limit or self._frames[0].receiveTime < frame.receiveTime - self._seconds:
            self._bytes -= self._frames.popleft().pixels.nbytes

    def take(self) -> list[Frame]:
        """All of them, the oldest first; nothing is kept afterwards."""
        frames, self._frames, self._bytes = list(self._frames), deque(), 0
        return frames

    @property
    def status(self) -> dict[str, Any]:
        """How much is kept: ``seconds``, ``frames`` and ``bytes``."""
        seconds = self._frames[-1].receiveTime - self._frames[0].receiveTime if self._frames else 0.0
        return {"seconds": round(seconds, 1), "frames": len(self._frames), "bytes": self._bytes}


class KeptMessages:
    """What the devices said last, in memory.

    :param seconds: how far back.
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
        """Let go of what is too old at this time (seconds since the epoch)."""
        while self._messages and (self._bytes > self._limit or self._messages[0][0].receiveTime < now - self._seconds):
            self._bytes -= self._messages.popleft()[1]

    def take(self) -> list[DeviceMessage]:
        """All of them, the oldest first; nothing is kept afterwards."""
        messages = [message for message, _ in self._messages]
        self._messages.clear()
        self._bytes = 0
        return messages


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
