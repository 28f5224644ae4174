"""Tracking in time: poses for live images, and the time offset of a tool from a sweep.

transforms ──► Clocks ──► PoseTrack of each tool ──┐
images ──────► Clocks ──► TrackedImages (waits) ───┴──► images with poses as attributes
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ...Model.DeviceMessage import DeviceMessage
from ...Model.Errors import ControlError
from ...Model.Event import Event, Remedy
from ...Model.Poses import OK, SEEN, PoseTrack
from ...Model.Text import joined, textsOf
from ...Model.TimeOffset import ImageMotion, OffsetEstimate, Signal, estimateOffset
from ..Source import Arrival

_ = textsOf(__file__)

WINDOW, BUCKET = 20.0, 2.0
"""Seconds in which the smallest delay of a clock is searched, and of each of its parts. Clocks drift: later messages
replace earlier ones."""
SAME_CLOCK = 0.5
"""Most seconds by which the delays of two devices of one connection differ when they share a clock."""
SET_BACK = 2.0
"""Most seconds by which a device time lies before the last one; otherwise the clock of the device was set back."""
WAIT = 0.2
"""Most seconds that an image waits for the pose after it."""
SILENT = 0.5
"""Seconds without a pose after which no image waits for the tool."""
MOST_CLOCKED = 500
"""Most devices of a connection with a clock: a new device searches among all. Others have arrival times."""
MOST_WAITING = 100
"""Most images that wait; the oldest goes on."""
KEPT = 10.0
"""Seconds of poses that are kept for images."""
IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"
_NUMBERS = [float(number) for number in IDENTITY.split()]


class Clock:
    """Offset of a device's clock to that of this computer: the smallest arrival minus device time in WINDOW."""

    def __init__(self) -> None:
        self._parts: deque[tuple[float, float]] = deque()
        """Begin of each part of the window, and its smallest delay."""

    def note(self, arrival: float, delay: float) -> None:
        """Note a message.

        :param arrival: seconds since the epoch (UTC).
        :param delay: arrival minus device time, seconds.
        """
        if not self._parts or not 0 <= arrival - self._parts[-1][0] < BUCKET:
            self._parts.append((arrival, delay))
        elif delay < self._parts[-1][1]:
            self._parts[-1] = (self._parts[-1][0], delay)
        while not 0 <= arrival - self._parts[0][0] <= WINDOW:
            self._parts.popleft()

    @property
    def offset(self) -> float:
        """Seconds to add to a time of the device."""
        return min(delay for _begin, delay in self._parts)


class Moment(NamedTuple):
    """A time by the clock of a device.

    :param seconds: since the epoch (UTC), by the clock.
    :param clock: None for the clock of this computer.
    """

    seconds: float
    clock: Clock | None

    def by(self, clock: Clock | None) -> float:
        """Return the time by another clock, seconds since the epoch (UTC)."""
        if clock is self.clock:
            return self.seconds
        own, other = (one.offset if one else 0.0 for one in (self.clock, clock))
        return self.seconds + own - other


class Clocks:
    """Times of all devices.

    Late messages do not matter: a clock is placed by its fastest message. Devices of one connection share a clock when
    their delays allow it, so that their device times keep their distances.
    """

    def __init__(self) -> None:
        self._senders: dict[str, dict[str, tuple[Clock, float]]] = {}
        """By connection and device: its clock, and its last device time."""

    def moment(self, sender: str, device: str, arrival: float, deviceTime: float | None) -> Moment:
        """Return the time of a message.

        :param sender: connection. ``device``: kind and name of the device.
        :param arrival: seconds since the epoch (UTC). A message without a device time, or with one that does not
            increase, has this time.
        """
        devices = self._senders.setdefault(sender, {})
        clock, last = devices.get(device, (None, -math.inf))
        if clock is None and len(devices) >= MOST_CLOCKED:
            return Moment(arrival, None)
        if deviceTime is None or not math.isfinite(deviceTime) or last - SET_BACK <= deviceTime <= last:
            return Moment(arrival - clock.offset if clock else arrival, clock)
        delay = arrival - deviceTime
        if clock is None or deviceTime < last:
            others = (one for name, (one, _last) in devices.items() if name != device)
            near = min(others, key=lambda one: abs(delay - one.offset), default=None)
            clock = near if near and abs(delay - near.offset) <= SAME_CLOCK else Clock()
        devices[device] = clock, deviceTime
        clock.note(arrival, delay)
        return Moment(deviceTime, clock)

    def forget(self, sender: str) -> None:
        """Forget the clocks of a connection that has ended."""
        self._senders.pop(sender, None)


class TrackedImages:
    """Images that wait for the poses of tools around their time, and get them as attributes.

    The attributes of the tool Probe are ProbeTransform (16 numbers row by row, tool to RAS, millimetres) and
    ProbeTransformStatus, as in the sequence files of PLUS. Without a pose at that time, the matrix is the identity and
    the status says why: MISSING, INVALID or the status by the tracker.

    :param tools: names of the tools; empty: no image waits.
    """

    def __init__(self, tools: Sequence[str]) -> None:
        self._tools = {tool: _Tool() for tool in tools}
        self._waiting: deque[tuple[Arrival, Moment]] = deque()

    @property
    def active(self) -> bool:
        """True when images get poses."""
        return bool(self._tools)

    def addPose(self, message: DeviceMessage, moment: Moment) -> None:
        """Take a transform; others than those of the tools are ignored."""
        if tool := self._tools.get(message.device):
            tool.add(message, moment)

    def addImage(self, arrival: Arrival, moment: Moment) -> None:
        """Take an image, which :meth:`due` yields."""
        self._waiting.append((arrival, moment))

    def due(self, now: float, all_: bool = False) -> Iterator[Arrival]:
        """Yield the images that wait no longer, in their order.

        :param now: seconds since the epoch.
        :param all_: yield all images.
        """
        while self._waiting:
            arrival, moment = self._waiting[0]
            if not (all_ or len(self._waiting) > MOST_WAITING or self._isDue(arrival, moment, now)):
                return
            self._waiting.popleft()
            yield replace(arrival, image=replace(arrival.image, attributes=self._attributes(arrival, moment)))

    def wait(self, now: float) -> float:
        """Return the seconds until an image is due without a further pose; infinite when none waits."""
        return max(0.0, self._waiting[0][0].receiveTime + WAIT - now) if self._waiting else math.inf

    def _isDue(self, arrival: Arrival, moment: Moment, now: float) -> bool:
        if not 0 <= now - arrival.receiveTime < WAIT:
            return True
        return all(tool.covers(moment) or now - tool.heard > SILENT for tool in self._tools.values())

    def _attributes(self, arrival: Arrival, moment: Moment) -> dict[str, str]:
        attributes = dict(arrival.image.attributes)
        for name, tool in self._tools.items():
            matrix, status = tool.track.at(moment.by(tool.clock))
            numbers = IDENTITY if matrix is None else " ".join(f"{value + 0.0:.9g}" for value in matrix.ravel())
            attributes[f"{name}Transform"], attributes[f"{name}TransformStatus"] = numbers, status
        return attributes


class _Tool:
    """Poses of a tool, by its own clock."""

    def __init__(self) -> None:
        self.track = PoseTrack()
        self.clock: Clock | None = None
        self.heard = -math.inf
        """Arrival of the last pose, seconds since the epoch."""

    def add(self, message: DeviceMessage, moment: Moment) -> None:
        if moment.clock is not self.clock:
            self.track, self.clock = PoseTrack(), moment.clock
        status = message.toolStatus.upper() or OK
        self.track.add(moment.seconds, message.numbers if status in SEEN else _NUMBERS, status)
        self.track.forgetBefore(moment.seconds - KEPT)
        self.heard = message.receiveTime

    def covers(self, moment: Moment) -> bool:
        """Return True when a pose follows the moment."""
        return bool(self.track.times) and self.track.times[-1] >= moment.by(self.clock)


class Sweep:
    """Images and poses of a movement, from which the time offset of a tool is estimated.

    :param tool: name of the tool.
    :param stream: stream of the images; empty: that of the first image.
    :param until: end of the sweep, seconds since the epoch.
    """

    def __init__(self, tool: str, stream: str, until: float) -> None:
        self.tool, self.stream, self.until = tool, stream, until
        self._motion = ImageMotion()
        self._images: list[tuple[Moment, tuple[float, float]]] = []
        """Shift of each image along rows and columns."""
        self._poses: list[tuple[Moment, list[float]]] = []
        """Position of each pose."""
        self._unseen = 0

    def addPose(self, message: DeviceMessage, moment: Moment) -> None:
        """Take a transform; one of another tool is ignored."""
        if message.device != self.tool:
            return
        if message.lost:
            self._unseen += 1
        else:
            self._poses.append((moment, message.numbers[3:12:4]))

    def addImage(self, arrival: Arrival, moment: Moment) -> None:
        """Take an image; one of another stream is ignored."""
        self.stream = self.stream or arrival.stream
        if arrival.stream == self.stream:
            self._images.append((moment, self._motion.add(arrival.image.pixels)))

    def finish(self) -> OffsetEstimate:
        """Return the estimated offset.

        :raises ControlError: the sweep gives none; the text has the reason.
        """
        if not self._images:
            raise ControlError(_("No image of the same source arrived. Images and poses must come over one source."))
        if not self._poses:
            reason = _("The tracker did not see {tool}.") if self._unseen else _("No pose of {tool} arrived.")
            raise ControlError(reason.format(tool=self.tool))
        # All by one clock, as it is known at the end.
        clock = self._poses[-1][0].clock
        images, poses = _increasing(self._images, clock), _increasing(self._poses, clock)
        return estimateOffset(images[:, 0], images[:, 1:], poses[:, 0], poses[:, 1:])

    def event(self, offsets: Mapping[str, float], texts: Sequence[str]) -> Event:
        """Return the result: "offset-estimated" with the offer to use it, or "no-offset" with the reason.

        :param offsets: present offsets by device, seconds.
        :param texts: the present setting.
        """
        try:
            found = self.finish()
        except ControlError as error:
            text = joined(_("The time offset of {tool} was not estimated.").format(tool=self.tool), str(error))
            return Event("no-offset", text, "warning", self.tool)
        total = offsets.get(self.tool, 0.0) + found.seconds
        text = _("The time offset of {tool} is {offset:.0f} ms (correlation {correlation:.2f}, {motion:.0f} mm).")
        text = text.format(tool=self.tool, offset=1000 * total, correlation=found.correlation, motion=found.motion)
        others = [one for one in texts if one.rpartition("=")[0].strip() != self.tool]
        label = _("Use {offset:.0f} ms").format(offset=1000 * total)
        remedy = Remedy(label, {"timeOffsets": [*others, f"{self.tool}={total:.4f}"]})
        return Event("offset-estimated", text, "info", self.tool, remedy=remedy)


def _increasing(items: Sequence[tuple[Moment, Sequence[float]]], clock: Clock | None) -> Signal:
    """Return time and values of the items in the order of their times, without repeated times."""
    rows = np.array([(moment.by(clock), *values) for moment, values in items])
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return rows[np.diff(rows[:, 0], prepend=-np.inf) > 1e-6]
