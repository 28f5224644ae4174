"""State of a recording: its counts, its files, and the event at its end."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any

from ..Model.Event import Event
from ..Model.Quantities import sizeText
from ..Model.Text import Text, joined, textsOf
from ..Recording.RecordedEvents import MOST_EVENTS
from .RunningSource import RunningSource

_ = textsOf(__file__)

RATE_TIME = 10.0
"""Seconds over which the rate is measured."""


class RecordingState:
    """A recording, from its start until the event that reports its end.

    :param id: its number in the commands to the processes; 0 for a recording that only a repair found.
    :param name: of the recording.
    :param plan: ``folder``, ``name`` and ``attributes`` of the command to record; empty when only a repair found it.
    """

    def __init__(self, id: int, name: str, plan: Mapping[str, Any]) -> None:
        self.id, self.name = id, name
        self.plan: dict[str, Any] = {**plan, "id": id} if plan else {}
        self.stopped = self.settled = self.interrupted = self.repairing = False
        self.posesAdded = self.valuesAdded = self.sceneless = False
        self.opened = False
        """True for a recording of the list that the user opened."""
        self.result: Event | None = None
        """The event that reported the end."""
        self.browser: Any = None
        self.writing: list[RunningSource] = []
        """Sources that have not closed their files of this recording yet."""
        self.headers: list[str] = []
        """Headers of its images that no event has reported yet."""
        self.messages: list[str] = []
        """Manifests of its device messages that no event has reported yet."""
        self.values: list[str] = []
        """Files of values of its images."""
        self._events: deque[tuple[int, Event]] = deque(maxlen=MOST_EVENTS)
        """Events of Slicer's side with their places, until its files are closed."""
        self._places = 0
        self._joined: dict[RunningSource, int] = {}
        """Place of the first event after each source began to record."""
        self._begin = time.monotonic()
        self._end: float | None = None
        self._stored: dict[RunningSource, dict[str, Any]] = {}
        self._before: dict[RunningSource, tuple[int, int]] = {}
        self._sizes: deque[tuple[float, int]] = deque()
        """Times and bytes of the last RATE_TIME seconds."""
        self._unfinished = ""
        self._reported = False

    # ---- changes

    def expect(self, sources: list[RunningSource]) -> None:
        """Wait for these sources: each reports when its files are closed."""
        self.writing += [source for source in sources if source not in self.writing]
        for source in sources:
            self._joined.setdefault(source, self._places)

    def addEvent(self, event: Event) -> None:
        """Note an event of Slicer's side."""
        self._events.append((self._places, event))
        self._places += 1

    def eventsOf(self, *sources: RunningSource) -> list[Event]:
        """Return the events of Slicer's side since the first of these sources began to record.

        A process that replaces another one, or repairs its files, stores them again.
        """
        first = min((self._joined.get(source, self._places) for source in sources), default=0)
        return [event for place, event in self._events if place >= first]

    def count(self, source: RunningSource, stored: Mapping[str, Any]) -> None:
        """Take the counts of this recording from a source's process.

        Call it after :meth:`RunningSource.takeCounts` with the same message.
        """
        self._stored[source] = dict(stored)
        self.addValues(stored["values"])
        self._before[source] = (source.recorded - stored["recorded"], source.failed - stored["failed"])
        now = time.monotonic()
        self._sizes.append((now, sum(one["bytes"] for one in self._stored.values())))
        while now - self._sizes[0][0] > RATE_TIME:
            self._sizes.popleft()

    def addValues(self, paths: Iterable[str]) -> None:
        """Note files of values, each once."""
        self.values += [path for path in paths if path not in self.values]

    def closed(self, source: RunningSource, unfinished: str) -> None:
        """Note that a source's process has closed its files: its counts are final."""
        self._before.pop(source, None)
        self._unfinished = self._unfinished or unfinished
        if source in self.writing:
            self.writing.remove(source)

    def stop(self) -> None:
        """End the recording: later images do not belong to it."""
        self.stopped, self._end = True, time.monotonic()

    def leaveScene(self) -> None:
        """Note that the scene is closed: only the end of the recording is still reported."""
        if not self.stopped:
            self.stop()
        self.browser, self.sceneless = None, True

    # ---- counts and events

    @property
    def seconds(self) -> float:
        """Seconds from its start to its stop, or until now."""
        return (self._end or time.monotonic()) - self._begin

    def left(self, free: int) -> float | None:
        """Return the seconds until a disk is full at the present rate; None when nothing is written.

        :param free: bytes.
        """
        if len(self._sizes) < 2:
            return None
        (began, before), (ended, after) = self._sizes[0], self._sizes[-1]
        return free * (ended - began) / (after - before) if after > before else None

    @property
    def counts(self) -> dict[str, Any]:
        """``recorded``, ``failed`` and ``bytes`` of images, ``messages`` (recorded, failed)."""
        recorded = failed = 0
        for source, stored in self._stored.items():
            before = self._before.get(source)
            # A source reports its own counts with each image, and the counts of the recording twice a second.
            recorded += source.recorded - before[0] if before else stored["recorded"]
            failed += source.failed - before[1] if before else stored["failed"]
        messages = [stored["messages"] for stored in self._stored.values()]
        return {
            "recorded": recorded,
            "failed": failed,
            "bytes": sum(stored["bytes"] for stored in self._stored.values()),
            "messages": {name: sum(one[name] for one in messages) for name in ("recorded", "failed")},
        }

    def endEvents(self) -> list[Event]:
        """Return the events that report the end; none when it was reported before, or by a repair."""
        if self._reported or not self.plan:
            return []
        self._reported = True
        events = self._endEvents()
        self.result = events[0]
        return events

    def _endEvents(self) -> list[Event]:
        counts, files, folder = self.counts, self.headers or self.messages, self.plan["folder"]
        recorded, subject = counts["recorded"], files[0] if files else folder
        first = _("First file: {path}.").format(path=files[0]) if files else ""
        lost = self._losses(counts)
        values = {"name": self.name, "folder": folder, "count": recorded}
        if self._unfinished:
            text = joined(
                _("Recording {name} is not finished.").format(**values),
                _("Files in {folder} could not be closed: {reason}.").format(**values, reason=self._unfinished),
                _("Images stored: {count:,}. The next start of a source finishes the recording.").format(**values),
                *(_("{loss}.").format(loss=loss) for loss in lost),
            )
            return [Event("recording-unfinished", text, "error", subject)]
        if self.interrupted and not files and recorded:
            text = joined(
                _("Recording {name} was interrupted, and could not be finished yet.").format(**values),
                _("Images stored in {folder}: {count:,}. The next start of a source tries again.").format(**values),
                *(_("{loss}.").format(loss=loss) for loss in lost),
            )
            return [Event("recording-unfinished", text, "error", subject)]
        if lost:
            nothing = not recorded and not files
            code, level = ("nothing-recorded", "error") if nothing else ("recorded", "warning")
            text = _("Recording {name} finished: {losses}.").format(**values, losses=joined(*lost, separator="; "))
            return [Event(code, joined(text, first), level, subject)]
        if not recorded and not self.headers:
            text = _("No image and no pose arrived during recording {name}.").format(**values)
            if not files:
                return [Event("nothing-recorded", text, "warning")]
            where = _("Device messages are in {path}.").format(path=files[0])
            return [
                Event("nothing-recorded", joined(text, where), "warning"),
                Event("recorded", joined(_("Recording {name} finished.").format(**values), first), subject=subject),
            ]
        found = _("Recording {name} finished: {count:,} images, {size}.")
        if recorded == 1:
            found = _("Recording {name} finished: 1 image, {size}.")
        text = joined(found.format(**values, size=sizeText(counts["bytes"])), first)
        return [Event("recorded", text, subject=subject)]

    def _losses(self, counts: Mapping[str, Any]) -> list[Text]:
        """Return a sentence without full stop for lost images, and one for lost device messages."""
        images, messages, found = counts, counts["messages"], []
        if images["failed"]:
            text = _("{lost:,} of {count:,} images lost: {reason}")
            count = images["recorded"] + images["failed"]
            found.append(text.format(lost=images["failed"], count=count, reason=self._reason))
        if messages["failed"]:
            text = _("{lost:,} of {count:,} device messages lost")
            found.append(text.format(lost=messages["failed"], count=messages["recorded"] + messages["failed"]))
        return found

    @property
    def _reason(self) -> str:
        losses: Counter[str] = sum((Counter(stored["losses"]) for stored in self._stored.values()), Counter())
        if not losses:
            return _("the reason is unknown")
        most, count = losses.most_common(1)[0]
        if len(losses) == 1:
            return most
        text = _("{reason} ({count:,}), and {others} other reasons")
        return text.format(reason=most, count=count, others=len(losses) - 1)
