"""All running sources: passes frames on, counts and reports. Slicer's main thread; no call waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Any

from ..Link.Commands import Command
from ..Link.Messages import (
    BroadcastReport,
    Counted,
    DetailsReport,
    DeviceReport,
    EventReport,
    FrameReport,
    Ready,
    Receivers,
    RecordedReport,
    StatusReport,
    StorageReport,
    Taken,
)
from ..Model.DeviceMessage import DeviceMessage
from ..Model.Errors import SettingsError
from ..Model.Event import Event
from ..Model.Frame import Frame
from ..Model.Quantities import freeName
from ..Model.Settings import SourceSettings
from ..Model.Signal import Signal
from ..Model.Statistics import StreamCounts
from ..Model.Text import textsOf
from ..Sources import kindOf
from .AcquisitionProcess import AcquisitionProcess
from .Callbacks import Callbacks
from .Display import DeviceMessages, Display
from .DrawingBudget import DrawingBudget
from .PushSender import PushSender
from .RunningSource import RunningSource
from .StreamWatch import StreamWatch

_ = textsOf(__file__)


class Session:
    """Running sources; the newest frame of each stream goes to the scene and to callbacks.

    :param show: puts a frame into the scene; its pixels are valid during the call only. Returns the names of the views
        that will draw it, or None when any view may.
    :param showMessage: puts a device message into the scene.
    :param callbacks: get frames and events.
    :param onChange: called when a source's state, a count or the last event may have changed.
    :param budget: says when the next frame of a stream may be shown.
    """

    def __init__(
        self,
        show: Callable[[Frame], Collection[str] | None],
        showMessage: Callable[[DeviceMessage], object],
        callbacks: Callbacks,
        onChange: Callable[[], None],
        budget: DrawingBudget,
    ) -> None:
        self._callbacks, self._onChange = callbacks, onChange
        self.startupProviders: list[Callable[[RunningSource], list[Command]]] = []
        """Functions that return startup commands, with which each process of a source starts."""
        self.reports = Receivers()
        """Delivers the reports of all processes, with the source that sent them."""
        for kind, receiver in (
            (Counted, self._count),
            (Ready, self._ready),
            (FrameReport, self._queue),
            (DeviceReport, self._takeDeviceMessage),
            (StorageReport, self._takeStorage),
            (RecordedReport, self._takeStorage),
            (StatusReport, self._takeStatus),
            (DetailsReport, self._takeDetails),
            (BroadcastReport, self._takeBroadcast),
            (Taken, self._taken),
            (EventReport, self._takeEvent),
        ):
            self.reports.connect(kind, receiver)
        self.messages = DeviceMessages(showMessage, callbacks)
        """Device messages on their way to callbacks and scene."""
        self.display = Display(show, self.messages, callbacks, onChange, budget)
        """Shows the newest frame of each stream when the views have time for it."""
        self.watch = StreamWatch(callbacks.report)
        """Alarm for streams whose images stay away."""
        self.onStart: Signal[[]] = Signal()
        """Emitted when a source starts and no other runs."""
        self.sources: list[RunningSource] = []
        """Sources in the statistics: running ones, and those stopped since the first of them was started."""
        self._retired: list[RunningSource] = []

    # ---- sources

    def start(self, settings: SourceSettings) -> RunningSource:
        """Start a source; its frames arrive while the event loop runs.

        :raises SettingsError: another running source has a stream of this name.
        :raises AcquisitionError: the acquisition process cannot be started.
        """
        name, kind = settings.stream, kindOf(settings)
        self._checkFree(name)
        self._retire(name)
        if not self.active():
            self.sources.clear()
            self.display.reset()
            self.onStart.emit()
        source = RunningSource(settings)
        source.streams[name] = name
        source.process = AcquisitionProcess(
            settings,
            lambda: source.pushSender.startupCommands() if source.pushSender else self.startupCommands(source),
            lambda message: self.reports.deliver(message, source),
            self._batchEnded,
            # The slots of an ended process are still mapped: its last frames are shown before its replacement starts.
            lambda: self._died(source),
        )
        self.sources.append(source)
        if kind.host:
            source.hostPart = kind.host(settings, source.send)
        if kind.fromSlicer:
            lost = partial(self._report, "push-lost", "error")
            startup = partial(self.startupCommands, source)
            source.pushSender = PushSender(source.process.folders, source.process.send, lost, startup)
        self._onChange()
        return source

    def startupCommands(self, source: RunningSource) -> list[Command]:
        """Return the commands with which a process of this source starts."""
        return [command for provide in self.startupProviders for command in provide(source)]

    def claim(self, source: RunningSource, stream: str) -> None:
        """Give a source a stream of this name.

        :raises SettingsError: another running source has it.
        """
        if stream not in source.streams:
            self._checkFree(stream)
            source.streams[stream] = stream

    def _checkFree(self, stream: str) -> None:
        if any(stream in source.streams.values() for source in self.active()):
            text = _("A running source has the volume name {name} already. Give this one another name.")
            raise SettingsError(text.format(name=stream))

    def stop(self, source: RunningSource | None = None) -> None:
        """Stop one source or all; the last frames and counts arrive within two seconds."""
        for one in [source] if source else self.running():
            if one.process:
                one.process.stop()
            one.endHostPart()
        self._onChange()

    def close(self, written: bool = True) -> None:
        """Stop all sources and wait for their end; for scene close, reload and application exit.

        :param written: True also waits for sources that still write a recording. False lets them finish it without
            showing their images.
        """
        running = self.running()
        self.stop()
        for source in running:
            if source.process:
                source.process.waitForEnd(written)
            if not source.ended and source not in self._retired:
                source.retired = True
                self._retired.append(source)
        self.sources = [source for source in self.sources if not source.retired]
        self.display.stop()
        self.messages.clear()

    def dispose(self) -> None:
        """Close, and release what would keep this object alive. Do not use the object afterwards."""
        self.close()
        self.display.close()
        self.watch.close()

    def runningWith(self, stream: str) -> RunningSource | None:
        """Return the running source of a stream; None when there is none."""
        for source in self.sources:
            if not source.ended and (stream in source.counts or stream in source.streams.values()):
                return source
        return None

    def running(self) -> list[RunningSource]:
        """Return the sources that have not ended."""
        return [source for source in [*self._retired, *self.sources] if not source.ended]

    def streams(self) -> dict[str, StreamCounts]:
        """Return the counts of every stream in the statistics, the latest of each name."""
        return {name: counts for source in self.sources for name, counts in source.counts.items()}

    def active(self) -> list[RunningSource]:
        """Return the sources that run and are not about to end."""
        return [source for source in self.sources if not source.ended and source.state != "stopping"]

    def _retire(self, stream: str) -> None:
        # Waiting for the end of a stopping source would block the window.
        self.display.showAll()
        active = self.active()
        for source in self.sources:
            if not source.ended and (not active or stream in source.streams.values()):
                source.retired = True
                self._retired.append(source)
        self.sources = [source for source in self.sources if not source.retired]
        self._retired = [source for source in self._retired if not source.ended]

    def broadcast(self, command: Command) -> list[RunningSource]:
        """Send a command to all sources that are not about to end; return these."""
        active = self.active()
        for source in active:
            source.sendCommand(command)
        return active

    # ---- figures

    def statistics(self) -> dict[str, Any]:
        """Return counts since the first of the running sources was started, and times in milliseconds.

        ``latencyMs`` is the time from the arrival of an image in the acquisition process to its volume,
        ``mainThreadMs`` the time of Slicer's main thread without callbacks, ``callbackMs`` that of each callback by its
        name, ``stageMs`` the time that each stage of a frame took (:data:`Model.Statistics.STAGES`). ``messages``
        counts device messages by the device's name.
        """
        now = time.time()
        counts = [one for source in self.sources for one in source.counts.values()]
        return {
            "received": sum(one.received for one in counts),
            "shown": sum(one.shown for one in counts),
            "skipped": sum(one.skipped for one in counts),
            "recorded": sum(source.recorded for source in self.sources),
            "rejected": sum(source.rejected for source in self.sources),
            "failed": sum(source.failed for source in self.sources),
            "fps": round(sum(one.framesPerSecond(now) for one in counts), 2),
            "latencyMs": self.display.latency.toJSON(),
            "mainThreadMs": self.display.mainThread.toJSON(),
            "stageMs": self.display.stageTimes.toJSON(),
            "messages": self._messageCounts(),
            "callbackMs": self._callbacks.frameCallbacks.times(),
            "lastEvent": self._callbacks.events[-1].text if self._callbacks.events else "",
            "streams": {name: one.toJSON(now) for name, one in self.streams().items()},
        }

    def _messageCounts(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for source in self.sources:
            for device, count in source.messages.items():
                total[device] = total.get(device, 0) + count
        return total

    # ---- reports of the processes

    def _count(self, source: RunningSource, message: Counted) -> None:
        if message.counts:
            source.takeCounts(message.counts)

    def _ready(self, source: RunningSource, message: Ready) -> None:
        self._settle(source)
        if source.pushSender:
            source.pushSender.resend()

    def _queue(self, source: RunningSource, message: FrameReport) -> None:
        if source.retired:
            if source.process:
                source.process.release([message.place])
            return
        stream = self._streamName(source, message.frame.stream)
        self.watch.note(source, stream, message.frame.number, message.frame.receiveTime)
        self.display.take(source, message.place, replace(message.frame, stream=stream))

    def _takeDeviceMessage(self, source: RunningSource, message: DeviceReport) -> None:
        if not source.retired:
            self.messages.take(source, message.message)

    def _takeStorage(self, source: RunningSource, message: StorageReport | RecordedReport) -> None:
        source.storage = message.storage

    def _takeStatus(self, source: RunningSource, message: StatusReport) -> None:
        source.status, source.remedy, source.hangs = message.status, message.remedy, bool(message.hangs)

    def _takeDetails(self, source: RunningSource, message: DetailsReport) -> None:
        source.details = message.details

    def _takeBroadcast(self, source: RunningSource, message: BroadcastReport) -> None:
        source.broadcast = message.broadcast

    def _taken(self, source: RunningSource, message: Taken) -> None:
        if source.pushSender:
            source.pushSender.take(message)

    def _takeEvent(self, source: RunningSource, message: EventReport) -> None:
        event = message.event
        source.takeEvent(event)
        self.watch.heard(source, event)
        # An event without counts is about the end of a process, which cannot record it itself.
        self._callbacks.report(event, own=message.counts is None)

    def _streamName(self, source: RunningSource, name: str) -> str:
        if name not in source.streams:
            taken = {used for other in self.active() for used in other.streams.values()}
            source.streams[name] = freeName(name, taken)
        return source.streams[name]

    def _died(self, source: RunningSource) -> None:
        self._settle(source)
        source.peers.clear()
        source.broadcast = {}

    def _settle(self, source: RunningSource) -> None:
        # Frames that the ended process had received and not passed on are never shown.
        self.display.showAll()
        for name, total in source.received.items():
            source.counts.setdefault(self._streamName(source, name), StreamCounts()).settle(total)

    def _batchEnded(self) -> None:
        for source in [*self._retired, *self.sources]:
            if source.ended:
                source.endHostPart()
        self.display.showDue()
        self._onChange()

    def _report(self, code: str, level: str, text: str) -> None:
        self._callbacks.report(Event(code, text, level))
