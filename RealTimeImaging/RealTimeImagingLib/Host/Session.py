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
        self.handles: list[RunningSource] = []
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
            self.handles.clear()
            self.display.reset()
            self.onStart.emit()
        handle = RunningSource(settings)
        handle.streams[name] = name
        handle.process = AcquisitionProcess(
            settings,
            lambda: handle.pushSender.startupCommands() if handle.pushSender else self.startupCommands(handle),
            lambda message: self.reports.deliver(message, handle),
            self._batchEnded,
            # The slots of an ended process are still mapped: its last frames are shown before its replacement starts.
            lambda: self._died(handle),
        )
        self.handles.append(handle)
        if kind.host:
            handle.hostPart = kind.host(settings, handle.send)
        if kind.fromSlicer:
            lost = partial(self._report, "push-lost", "error")
            startup = partial(self.startupCommands, handle)
            handle.pushSender = PushSender(handle.process.folders, handle.process.send, lost, startup)
        self._onChange()
        return handle

    def startupCommands(self, handle: RunningSource) -> list[Command]:
        """Return the commands with which a process of this source starts."""
        return [command for provide in self.startupProviders for command in provide(handle)]

    def claim(self, handle: RunningSource, stream: str) -> None:
        """Give a source a stream of this name.

        :raises SettingsError: another running source has it.
        """
        if stream not in handle.streams:
            self._checkFree(stream)
            handle.streams[stream] = stream

    def _checkFree(self, stream: str) -> None:
        if any(stream in handle.streams.values() for handle in self.active()):
            text = _("A running source has the volume name {name} already. Give this one another name.")
            raise SettingsError(text.format(name=stream))

    def stop(self, handle: RunningSource | None = None) -> None:
        """Stop one source or all; the last frames and counts arrive within two seconds."""
        for one in [handle] if handle else self.running():
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
        for handle in running:
            if handle.process:
                handle.process.waitForEnd(written)
            if not handle.ended and handle not in self._retired:
                handle.retired = True
                self._retired.append(handle)
        self.handles = [handle for handle in self.handles if not handle.retired]
        self.display.stop()
        self.messages.clear()

    def dispose(self) -> None:
        """Close, and release what would keep this object alive. Do not use the object afterwards."""
        self.close()
        self.display.close()
        self.watch.close()

    def runningWith(self, stream: str) -> RunningSource | None:
        """Return the running source of a stream; None when there is none."""
        for handle in self.handles:
            if not handle.ended and (stream in handle.counts or stream in handle.streams.values()):
                return handle
        return None

    def running(self) -> list[RunningSource]:
        """Return the sources that have not ended."""
        return [handle for handle in [*self._retired, *self.handles] if not handle.ended]

    def streams(self) -> dict[str, StreamCounts]:
        """Return the counts of every stream in the statistics, the latest of each name."""
        return {name: counts for handle in self.handles for name, counts in handle.counts.items()}

    def active(self) -> list[RunningSource]:
        """Return the sources that run and are not about to end."""
        return [handle for handle in self.handles if not handle.ended and handle.state != "stopping"]

    def _retire(self, stream: str) -> None:
        # Waiting for the end of a stopping source would block the window.
        self.display.showAll()
        active = self.active()
        for handle in self.handles:
            if not handle.ended and (not active or stream in handle.streams.values()):
                handle.retired = True
                self._retired.append(handle)
        self.handles = [handle for handle in self.handles if not handle.retired]
        self._retired = [handle for handle in self._retired if not handle.ended]

    def broadcast(self, command: Command) -> list[RunningSource]:
        """Send a command to all sources that are not about to end; return these."""
        active = self.active()
        for handle in active:
            handle.sendCommand(command)
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
        counts = [one for handle in self.handles for one in handle.counts.values()]
        return {
            "received": sum(one.received for one in counts),
            "shown": sum(one.shown for one in counts),
            "skipped": sum(one.skipped for one in counts),
            "recorded": sum(handle.recorded for handle in self.handles),
            "rejected": sum(handle.rejected for handle in self.handles),
            "failed": sum(handle.failed for handle in self.handles),
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
        for handle in self.handles:
            for device, count in handle.messages.items():
                total[device] = total.get(device, 0) + count
        return total

    # ---- reports of the processes

    def _count(self, handle: RunningSource, message: Counted) -> None:
        if message.counts:
            handle.takeCounts(message.counts)

    def _ready(self, handle: RunningSource, message: Ready) -> None:
        self._settle(handle)
        if handle.pushSender:
            handle.pushSender.resend()

    def _queue(self, handle: RunningSource, message: FrameReport) -> None:
        if handle.retired:
            if handle.process:
                handle.process.release([message.place])
            return
        stream = self._streamName(handle, message.frame.stream)
        self.watch.note(handle, stream, message.frame.number, message.frame.receiveTime)
        self.display.take(handle, message.place, replace(message.frame, stream=stream))

    def _takeDeviceMessage(self, handle: RunningSource, message: DeviceReport) -> None:
        if not handle.retired:
            self.messages.take(handle, message.message)

    def _takeStorage(self, handle: RunningSource, message: StorageReport | RecordedReport) -> None:
        handle.storage = message.storage

    def _takeStatus(self, handle: RunningSource, message: StatusReport) -> None:
        handle.status, handle.remedy, handle.hangs = message.status, message.remedy, bool(message.hangs)

    def _takeDetails(self, handle: RunningSource, message: DetailsReport) -> None:
        handle.details = message.details

    def _takeBroadcast(self, handle: RunningSource, message: BroadcastReport) -> None:
        handle.broadcast = message.broadcast

    def _taken(self, handle: RunningSource, message: Taken) -> None:
        if handle.pushSender:
            handle.pushSender.take(message)

    def _takeEvent(self, handle: RunningSource, message: EventReport) -> None:
        event = message.event
        handle.takeEvent(event)
        self.watch.heard(handle, event)
        # An event without counts is about the end of a process, which cannot record it itself.
        self._callbacks.report(event, own=message.counts is None)

    def _streamName(self, handle: RunningSource, name: str) -> str:
        if name not in handle.streams:
            taken = {used for other in self.active() for used in other.streams.values()}
            handle.streams[name] = freeName(name, taken)
        return handle.streams[name]

    def _died(self, handle: RunningSource) -> None:
        self._settle(handle)
        handle.peers.clear()

    def _settle(self, handle: RunningSource) -> None:
        # Frames that the ended process had received and not passed on are never shown.
        self.display.showAll()
        for name, total in handle.received.items():
            handle.counts.setdefault(self._streamName(handle, name), StreamCounts()).settle(total)

    def _batchEnded(self) -> None:
        for handle in [*self._retired, *self.handles]:
            if handle.ended:
                handle.endHostPart()
        self.display.showDue()
        self._onChange()

    def _report(self, code: str, level: str, text: str) -> None:
        self._callbacks.report(Event(code, text, level))
