"""The acquisition process: reads the source, numbers its frames, records them and passes them on.

Its messages are those of :mod:`Link.Messages`: :class:`Start` on the first line of standard input, then commands;
reports on standard output. The end of input ends the process, so that it does not outlive Slicer.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from ..Link.Commands import Command, Release, Start, Stop, decodeCommand
from ..Link.Lines import LONGEST_SILENCE, LineWriter, openLines
from ..Link.Messages import (
    CheckpointReport,
    Counts,
    DetailsReport,
    DeviceReport,
    End,
    EventReport,
    Ready,
    Receivers,
    StatusReport,
    ValuesReport,
    messageIn,
)
from ..Link.Ring import RingWriter
from ..Link.WorkFolders import readHolder, removeWorkFolders
from ..Model.DeviceMessage import DeviceMessage
from ..Model.Event import Event, Remedy
from ..Model.Files import unexpected
from ..Model.Frame import Frame, Image, geometryRemark
from ..Model.Settings import checkStream, placeOf
from ..Model.Text import Text, joined, textsOf
from ..Sources import SourceContext, kindOf, openSource
from ..Sources.Checkpoint import Checkpoint
from ..Sources.Kinds import inWorker
from ..Sources.Source import Arrival, Buffered, Detailed, Mendable, Source, Values
from .Broadcast import Broadcast
from .Frames import FrameReceiver, FrameSender
from .HangWatch import HangWatch
from .Publisher import Publisher
from .WorkerRecording import WorkerRecording

_ = textsOf(__file__)

PATIENCE = 0.25
"""Most seconds that one call of a source's read() waits."""
DRAIN = 0.5
"""Seconds at stop for the last frames to find a slot."""
STATUS_PERIOD = 0.25
"""Seconds between two reports of the status."""
END_TIME = 1.0
"""Seconds for an abandoned process to end by itself."""
REST = 1.0
"""Seconds at stop to show what the source has received already; while recording, all of it is stored."""

log = logging.getLogger(__name__)

Item = Arrival | Event | DeviceMessage | Values


class Worker:
    """Loop that moves frames and events from a source to the sender until a stop.

    :param open_: opens the source; called in run(), as a share that hangs may hold it up.
    :param checkpoint: numbers the frames.
    :param sender: takes frames and reports.
    :param commands: executed before the source is opened.
    :param folders: that hold the rings of subscribers, best first.
    :param ringName: common start of the names of the rings of this process.
    :param place: folder or file of the source, on a drive that may hang; empty for a source without one.
    """

    LONGEST_PAUSE = 30.0
    """Seconds without progress of a recording after which its process counts as hung."""

    def __init__(
        self,
        open_: Callable[[], Source],
        checkpoint: Checkpoint,
        sender: FrameSender,
        commands: Sequence[Command] = (),
        folders: Sequence[str] = (),
        ringName: str = "",
        place: str = "",
    ) -> None:
        self._open, self._checkpoint, self._sender = open_, checkpoint, sender
        self._receivers = Receivers()
        self._place, self._hangWatch, self._hung = place, HangWatch(self._reportHang), False
        self._recording = WorkerRecording(checkpoint, sender, self._counts, self._receivers, self._hangWatch)
        self._broadcast = Broadcast(sender, self._counts, self._receivers)
        self._publisher = Publisher(list(folders), ringName, sender, self._receivers)
        self._source: Source | None = None
        self._items: Iterator[Item] = iter(())
        """Items of the last read() of the source, which a stop may interrupt."""
        self._startup = commands
        self._commands: deque[Command] = deque()
        self._stopping = threading.Event()
        self._reportedStatus: tuple[str, Remedy | None] = ("", None)
        self._reportedRejected = 0
        self._reportedDetails: dict[str, object] = {}
        self._reportedProblem = self._problemText = ""
        self._statusDue = 0.0
        self._remarked: set[tuple[str, str]] = set()
        """Streams whose place has been reported as unlikely, with the kind of the remark."""

    def command(self, command: Command) -> None:
        """Take a command, from any thread."""
        if isinstance(command, Release):
            self._sender.release(command.slots)
            return
        if isinstance(command, Stop):
            self._stopping.set()
        else:
            self._commands.append(command)
        if self._source:
            self._source.wake()

    def run(self) -> None:
        """Read, number and pass on until a stop."""
        with self._hangWatch:
            for command in self._startup:
                self._execute(command)
            source = self._source = self._open()
            self._sender.report(Ready(counts=self._allCounts()))
            self._sender.flush(END_TIME)
            while not self._stopping.is_set():
                self._turn(source)
            self._finish(source)
        self._broadcast.close()
        self._sender.drain(DRAIN)
        self._sender.report(End(counts=self._allCounts()))
        self._sender.waitForReleases(DRAIN)
        self._sender.close()

    def _finish(self, source: Source) -> None:
        if isinstance(source, Buffered):
            end = time.monotonic() + REST
            for item in self._rest(source):
                self._passOn(item)
                del item
                if time.monotonic() > end and not self._recording.recording:
                    text = _("The source was stopped before all images that it had received were shown.")
                    self._sender.event(Event("cut-off", text), self._counts())
                    break
            self._reportDetails(source)
        # Close the recording first: the other steps may wait for devices and for the network.
        self._recording.stop()
        self._publisher.close()
        self._broadcast.stop()
        with self._hangWatch.during(self._place):
            source.close()
        self._recording.close()

    def _turn(self, source: Source) -> None:
        # Between two commands the source reads: pushed frames keep their place among the commands.
        if self._commands:
            self._execute(self._commands.popleft())
        self._items = self._watched(source.read(0.0 if self._commands else PATIENCE))
        for item in self._items:
            self._passOn(item)
            # A variable would keep the memory into which an image was read.
            del item
            if self._stopping.is_set():
                break
        self._recording.report()
        self._reportCheckpoint()
        self._broadcast.report()
        self._reportDetails(source)
        self._reportStatus(source)

    def _rest(self, source: Buffered) -> Iterator[Item]:
        # The read that the stop interrupted may have taken more than it has yielded.
        yield from self._items
        yield from self._watched(source.rest())

    def _watched(self, items: Iterator[Item]) -> Iterator[Item]:
        """Yield the items of the source, which may hang before each."""
        while True:
            with self._hangWatch.during(self._place):
                item = next(items, None)
            if item is None:
                return
            yield item
            del item

    def _reportHang(self, text: Text) -> None:
        if text:
            self._sender.report(StatusReport(text, hangs=True))
        elif self._reportedStatus[0]:
            status, remedy = self._reportedStatus
            self._sender.report(StatusReport(status, remedy=remedy))
        # Afterwards: the next status replaces this one, whichever thread reports first.
        self._hung = True

    def closeRecording(self) -> None:
        """Close the files of a recording after a failure of run(), when no other process finishes them."""
        self._recording.stop()
        self._recording.close()

    def _passOn(self, item: Item) -> None:
        if isinstance(item, Event):
            self._sender.event(item, self._counts())
            if item.level == "error":
                self._sender.flush(END_TIME)
        elif isinstance(item, DeviceMessage):
            self._recording.appendMessage(item)
            self._sender.report(DeviceReport(item))
            self._broadcast.sendMessage(item)
        elif isinstance(item, Values):
            self._recording.appendValues(item)
            self._sender.report(ValuesReport(dict(item.values), item.stream, item.number, item.time, item.lost))
        elif isinstance(item, Arrival) and isinstance(item.image, Image):
            self._accept(item)
        else:
            image = isinstance(item, Arrival)
            raise TypeError(
                "read() of a source yields Arrival (of an Image), Event, DeviceMessage or Values, "
                f"not {'an Arrival of ' * image}{type(item.image if image else item).__name__}."
            )

    def _accept(self, arrival: Arrival) -> None:
        image = arrival.image
        if arrival.stream not in self._checkpoint.numbers:
            # Slicer would crash at some names.
            checkStream(arrival.stream)
        stages = {"complete": arrival.receiveTime, **arrival.stages, "decoded": time.time()}
        frame = Frame(
            image.pixels,
            image.ijkToRAS,
            arrival.stream,
            self._checkpoint.next(arrival.stream),
            arrival.receiveTime,
            image.deviceTime,
            image.attributes,
            stages,
            arrival.sender,
            arrival.timeOffset,
        )
        # Store before counting: a death in between stores the frame twice, with the same number, and never loses it.
        stored = self._recording.append(frame)
        if stored:
            stages["stored"] = time.time()
        self._checkpoint.accept(arrival.stream, stored)
        if arrival.accepted:
            arrival.accepted(frame.number, stored)
        self._remark(frame.stream, image)
        # First: Slicer, which a line wakes, may take this processor to copy the pixels.
        self._publisher.publish(frame)
        self._sender.show(frame, self._counts({frame.stream: frame.number + 1}))
        self._broadcast.send(frame)
        self._recording.report()
        self._reportCheckpoint()

    def _remark(self, stream: str, image: Image) -> None:
        """Report a place that no scanner has, once for each stream and kind of remark."""
        kind, text = geometryRemark(image, stream) or ("", "")
        if kind and (stream, kind) not in self._remarked:
            self._remarked.add((stream, kind))
            self._sender.event(Event("unlikely-geometry", text, "warning", stream), self._counts())

    def _execute(self, command: Command) -> None:
        # The source takes every command, and before the others: it must skip no frame that is recorded from now on.
        if self._source:
            self._source.command(command.key, command.parameters())
        self._receivers.deliver(command)

    @property
    def patience(self) -> float:
        """Seconds without progress after which an abandoned process ends itself."""
        return self.LONGEST_PAUSE if self._recording.recording else END_TIME

    @property
    def progressed(self) -> float:
        """Time at which the recording made progress last (time.monotonic())."""
        return self._recording.progressed

    def _allCounts(self) -> Counts:
        return self._counts(dict(self._checkpoint.numbers))

    def _counts(self, received: dict[str, int] | None = None) -> Counts:
        checkpoint = self._checkpoint
        self._reportedRejected = checkpoint.rejected
        return Counts(received or {}, checkpoint.rejected, checkpoint.recorded, checkpoint.failed)

    def _reportCheckpoint(self) -> None:
        problem, folder = self._checkpoint.problem, self._checkpoint.folder
        if problem == self._reportedProblem:
            return
        if problem and not self._reportedProblem:
            text = _("The temporary folder {folder} cannot be written: {reason}. Free space on that disk.")
            self._problemText = text.format(folder=folder, reason=problem)
            effect = _("Images are still received and recorded, but this source cannot be restarted after a crash.")
            event = Event("temporary-folder", joined(self._problemText, effect), "warning", folder)
            self._sender.event(event, self._counts())
        elif not problem:
            self._problemText = ""
            text = _("The temporary folder {folder} can be written again.").format(folder=folder)
            self._sender.event(Event("temporary-folder", text, "info", folder), self._counts())
        self._reportedProblem = problem
        self._sender.report(CheckpointReport(problem))

    def _reportDetails(self, source: Source) -> None:
        if isinstance(source, Detailed) and source.details != self._reportedDetails:
            self._reportedDetails = dict(source.details)
            self._sender.report(DetailsReport(self._reportedDetails))

    def _reportStatus(self, source: Source) -> None:
        status = joined(source.status, self._problemText) if self._problemText else source.status
        now, state = time.monotonic(), (status, source.remedy if isinstance(source, Mendable) else None)
        # A file that was rejected as incomplete, and is completed, takes its rejection back without an event.
        changed = state != self._reportedStatus or self._checkpoint.rejected != self._reportedRejected
        if (changed or self._hung) and now >= self._statusDue:
            self._hung, self._reportedStatus, self._statusDue = False, state, now + STATUS_PERIOD
            self._sender.report(StatusReport(status, self._counts(), state[1]))


def main() -> int:
    """Run as the acquisition process; return the exit code."""
    # A line or a command shall not wait while another thread computes.
    sys.setswitchinterval(0.0005)
    writer, lines = openLines(ignoresEnd=True)
    first = next(lines, None)
    if first is None:
        return 0
    code = _serve(messageIn(first, Start.fromJSON), lines, writer)
    writer.close(LONGEST_SILENCE)
    return code


def _serve(start: Start, lines: Iterator[bytes], writer: LineWriter) -> int:
    sender = FrameSender(RingWriter(start.folders, start.ringName), writer)
    abandoned = threading.Event()
    try:
        with Checkpoint(start.folders[-1]) as checkpoint:
            settings = inWorker(start.settings)
            receiver = FrameReceiver(start.folders, sender.report)
            place = placeOf(settings)

            def open_() -> Source:
                # A share that hangs holds up everything that follows.
                text = _("Opening {name}. If this takes long, its drive or device does not answer.")
                sender.report(StatusReport(text.format(name=place or kindOf(settings).title)))
                return openSource(settings, SourceContext(checkpoint, sender.getBuffer, receiver, start.folders))

            worker = Worker(open_, checkpoint, sender, start.commands, start.folders, start.ringName, place)
            _listen(worker, lines, start, abandoned)
            worker.run()
    except Exception as error:  # the boundary: all unexpected errors end here
        log.exception("The acquisition process failed")
        text = _("The acquisition process failed: {error}")
        text = text.format(error=unexpected(error))
        writer.put(EventReport(Event("failed", text, "error")))
        return 1
    finally:
        if abandoned.is_set():
            _clean(start)
    return 0


def _listen(worker: Worker, lines: Iterator[bytes], start: Start, abandoned: threading.Event) -> None:
    def listen() -> None:
        for line in lines:
            try:
                worker.command(decodeCommand(line))
            except (ValueError, TypeError, KeyError):  # this thread must live: it notices the end of input
                log.exception("A command is not understood: %r", line[:200])
        abandoned.set()
        worker.command(Stop())
        # Slicer has ended, and cannot kill this process when it hangs in a reader or on a drive that does not answer.
        since = time.monotonic()
        while (left := max(since, worker.progressed) + worker.patience - time.monotonic()) > 0:
            time.sleep(min(left, END_TIME))
        _clean(start)
        os._exit(0)

    threading.Thread(target=listen, name="commands", daemon=True).start()


def _clean(start: Start) -> None:
    # Slicer may live on, with another process that works in these folders: then they are not ours to remove.
    if readHolder(start.folders[-1]) in ("", start.ringName):
        removeWorkFolders(start.folders)
