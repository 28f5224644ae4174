"""Stores what the devices say beside images while something is recorded."""

from __future__ import annotations

from collections.abc import Mapping

from ..DeviceMessage import DeviceMessage
from ..Errors import RecordingError
from ..Event import Event
from .FrameTimes import FrameTimes, Origin
from .Header import checkAttributes
from .Layout import LINES
from .Lines import Missed
from .MessageFile import MessageFile, claimMessages
from .MessageLines import MessageLine, MessagesLine
from .Part import PartGone
from .Reasons import reasonOf


class MessageRecorder:
    """All messages of one process in one recording, called from one thread. The file is made with the first message.

    :param folder: must exist by the first message, otherwise that one fails.
    :param name: of the recording, as for :class:`Recorder`.
    :param attributes: of the recording; names matching ATTRIBUTE_NAME.
    :param origin: that of the recording's images; None when there are none.
    :raises RecordingError: an attribute's name or value cannot be kept.
    """

    def __init__(self, folder: str, name: str, attributes: Mapping[str, str], origin: Origin | None = None) -> None:
        checkAttributes(attributes)
        self.folder, self.name, self.attributes = folder, name, dict(attributes)
        self.recorded = 0
        """Messages that are stored. Those whose file somebody removed are counted as failed."""
        self.failed = 0
        self.gaps: list[Missed] = []
        """Messages that are not stored, a gap that still grows not among them."""
        self._origin = origin or Origin()
        self._times: dict[tuple[str, str], FrameTimes] = {}
        self._number = 0
        self._file: MessageFile | None = None
        self._gap: Missed | None = None
        self._events: list[Event] = []
        self._paths: list[str] | None = None

    def append(self, message: DeviceMessage) -> bool:
        """Store a message. True: its line is written, no kill takes it back. False: it failed and is counted; later
        messages are tried again. Never raises for what the file system does.

        :raises RecordingError: the recording is finished.
        """
        if self._paths is not None:
            raise RecordingError(f"The recording of the messages of {self.name!r} is finished.")
        number, self._number = self._number, self._number + 1
        try:
            try:
                self._store(number, message)
            except PartGone:
                self._dropLost()
                self._store(number, message)
        except OSError as error:
            self._fail(number, error)
            return False
        self._endGap()
        return True

    def events(self) -> list[Event]:
        """What happened since the last call: "recording-failed" when storing began to fail, "recording-gap" when it
        works again or ended, "recording-unfinished" when a repair has to finish the file."""
        events, self._events = self._events, []
        return events

    def finish(self) -> list[str]:
        """Close the file; the path of its manifest, for :func:`openMessages`, if a message was stored. The second call
        does nothing more."""
        if self._paths is not None:
            return self._paths
        if self._file and not self._file.whole:
            self._dropLost()
        self._endGap()
        self._paths = []
        if self._file:
            try:
                path = self._file.finish(self.failed, self.gaps)
                self._paths = [path] if path else []
            except OSError as error:
                path, reason = self._file.path(LINES), reasonOf(error)
                text = (
                    f"What goes with {path} cannot be written: {reason}. All messages are kept; a repair finishes it."
                )
                self._events.append(Event("recording-unfinished", text, "error", path))
        return self._paths

    def _store(self, number: int, message: DeviceMessage) -> None:
        times = self._times.setdefault((message.kind, message.device), FrameTimes(self._origin))
        times.begin(message)
        if message.kind == "transform" and self._origin.reference is None:
            self._origin.reference = times
        time = times.of(message)
        if self._file is None:
            lock, base = claimMessages(self.folder, self.name)
            head = MessagesLine(base, self.name, self._origin.arrival or 0.0, self.attributes)
            self._file = MessageFile(self.folder, lock, head)
        self._file.append(MessageLine(number, time.seconds, time.clock, message, self._gap))
        times.take(message, time)
        self.recorded += 1

    def _dropLost(self) -> None:
        """Count the messages as failed whose file somebody has removed or cut; the next file has another name."""
        if self._file is None:
            return
        file, self._file = self._file, None
        file.abandon()
        count = file.tally.count
        if count and file.tally.last:
            self.recorded -= count
            self.failed += count
            reason = f"{file.head.recording} was removed or cut"
            self._tellGap(Missed(file.firstNumber, file.tally.last.number, count, reason))

    def _fail(self, number: int, error: OSError) -> None:
        reason = reasonOf(error)
        self.failed += 1
        if self._gap:
            self._gap = Missed(self._gap.first, number, self._gap.count + 1, self._gap.reason)
            return
        self._gap = Missed(number, number, 1, reason)
        text = f"Messages of devices are not stored in {self.folder} from message {number} on: {reason}."
        self._events.append(Event("recording-failed", text, "error", self.folder))

    def _endGap(self) -> None:
        if self._gap:
            self._tellGap(self._gap)
        self._gap = None

    def _tellGap(self, gap: Missed) -> None:
        self.gaps.append(gap)
        which = f"message {gap.first} is" if gap.count == 1 else f"messages {gap.first} to {gap.last} ({gap.count}) are"
        text = f"Of the devices {which} not stored in {self.folder}: {gap.reason}."
        self._events.append(Event("recording-gap", text, "error", self.folder))
