"""One measurement over one connection: messages in; images, device messages and events out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from ...Model.DeviceMessage import DeviceMessage
from ...Model.Errors import FrameError, WireError
from ...Model.Event import Event
from ...Model.Frame import GetBuffer
from ...Model.Quantities import counted
from ...Model.Text import Text, joined, textsOf
from ..Source import STREAMS, Arrival
from . import MRDSettings
from .Header import MeasurementHeader, deviceTimeOf, parseHeader, parseMeta
from .Images import Meta, Part, partsOf
from .Protocol import (
    CONFIG_FILE,
    CONFIG_TEXT,
    HEADER,
    AcquisitionMessage,
    ImageMessage,
    Message,
    Problem,
    TextMessage,
    WaveformMessage,
)
from .Volumes import Closed, Stacked, Stacks, imageOf, imagesOf

_ = textsOf(__file__)

LONGEST_NAME = 60
SHOWN_SLICES = 8
"""Numbers of missing slices that a sentence lists."""
DEVICES = {CONFIG_FILE: "MRD configuration", CONFIG_TEXT: "MRD configuration", HEADER: "MRD header"}
"""Names of the devices under which texts are recorded, by type of message; others are "MRD text"."""
Item = Arrival | Event | DeviceMessage


@dataclass
class Counts:
    """Numbers of messages of a measurement."""

    images: int = 0
    acquisitions: int = 0
    waveforms: int = 0


class Session:
    """The measurement of one connection.

    :param settings: those of the source.
    :param peer: address and port of the other side.
    :param getBuffer: returns memory for an image, or None.
    """

    def __init__(self, settings: MRDSettings, peer: str, getBuffer: GetBuffer) -> None:
        self._settings, self._getBuffer = settings, getBuffer
        self.peer, self.counts = peer, Counts()
        self.name = ""
        """Name of the measurement in streams; empty before the first image."""
        self.closed = False
        """True after the other side has sent its last message."""
        self.refused = 0
        """Images that cannot be used, since the last reset."""
        self.header = MeasurementHeader()
        self._stacks = Stacks(settings.completeAfter, settings.sizeLimit)
        self._streams: set[str] = set()
        self._told: set[str] = set()

    @property
    def due(self) -> float:
        """Seconds of listening at which silence ends the next volume."""
        return self._stacks.due

    @property
    def wanted(self) -> str:
        """Name for the streams of the measurement: that of the protocol, or of the settings."""
        return " ".join(self.header.name.split())[:LONGEST_NAME] or self._settings.stream

    def take(self, message: Message, now: float) -> Iterator[Item]:
        """Yield what a message brings.

        :param now: seconds of listening, as in Silence.py.
        """
        if isinstance(message, ImageMessage):
            yield from self._takeImage(message, now)
        elif isinstance(message, WaveformMessage):
            self.counts.waveforms += 1
            yield self._waveform(message)
        elif isinstance(message, TextMessage):
            yield from self._takeText(message)
        elif isinstance(message, AcquisitionMessage):
            self.counts.acquisitions += 1
            if self.counts.acquisitions == 1:
                text = _(
                    "{peer} sends raw data, which need a reconstruction. They are counted and not shown. Let the "
                    "scanner send images, after its reconstruction."
                )
                yield self._event("raw-data", text.format(peer=self.peer))
        elif isinstance(message, Problem):
            self.refused += message.lost
            text = _("{peer}: {problem}").format(peer=self.peer, problem=message.text)
            yield self._event(message.code, text)

    def silent(self, now: float) -> Iterator[Item]:
        """Yield the volumes that silence ends."""
        for closed in self._stacks.silent(now):
            yield from self._show(closed)

    def end(self) -> Iterator[Item]:
        """Yield the volumes that the end of the measurement ends."""
        for closed in self._stacks.end():
            yield from self._show(closed)

    def counted(self) -> Text:
        """Return what arrived, in words."""
        counts = self.counts
        images = counted(counts.images, _("1 image received"), _("{count:,} images received"))
        readouts = counted(counts.acquisitions, _("1 readout of raw data"), _("{count:,} readouts of raw data"))
        waveforms = counted(counts.waveforms, _("1 waveform"), _("{count:,} waveforms"))
        return joined(
            images, readouts if counts.acquisitions else "", waveforms if counts.waveforms else "", separator=", "
        )

    # ---- messages

    def _takeText(self, message: TextMessage) -> Iterator[Item]:
        device = DEVICES.get(message.kind, "MRD text")
        yield DeviceMessage("text", device, {"text": message.text}, time.time())
        if message.kind != HEADER:
            return
        try:
            self.header = parseHeader(message.text)
        except WireError as error:
            text = _(
                "The header of {peer} cannot be read: {reason}. A volume ends when the next one begins, or by silence."
            )
            yield self._event("no-header", text.format(peer=self.peer, reason=str(error)), "info")

    def _waveform(self, message: WaveformMessage) -> DeviceMessage:
        channels, count = message.samples.shape
        now = time.time()
        name = self.header.waveforms.get(message.waveform_id, f"Waveform {message.waveform_id}")
        attributes = {
            "Channels": str(channels),
            "Samples": str(count),
            "SampleTimeMicroseconds": f"{message.sample_time_us:.9g}",
            "WaveformID": str(message.waveform_id),
            "TimeStamp": str(message.time_stamp),
        }
        time_ = deviceTimeOf(message.time_stamp, self._settings.tick, now, self.header.day)
        values = {"values": message.samples.ravel().tolist(), "unit": ""}
        return DeviceMessage("sensor", name, values, now, time_, attributes)

    def _takeImage(self, message: ImageMessage, now: float) -> Iterator[Item]:
        self.counts.images += 1
        meta: Meta = {}
        try:
            meta = parseMeta(message.meta)
        except WireError as error:
            text = _(
                "The meta attributes of an image of {peer} cannot be read: {reason}. The image is shown without them."
            )
            yield self._event("no-meta", text.format(peer=self.peer, reason=str(error)))
        settings = self._settings
        try:
            arrival = time.time()
            for part in partsOf(message, meta, settings.complexAs, settings.tick, arrival, self.header.day):
                yield from self._add(part, now)
        except FrameError as error:
            yield self._unusable(error)

    def _add(self, part: Part, now: float) -> Iterator[Item]:
        stream = f"{self.name} {part.words}".strip()
        if stream not in self._streams:
            if len(self._streams) >= STREAMS:
                text = _("the series, contrasts and sets of a measurement make at most {most} streams")
                raise FrameError(text.format(most=STREAMS))
            self._streams.add(stream)
        if part.header.matrix_size[2] > 1:
            yield from self._shown(stream, imageOf(part))
            return
        for closed in self._stacks.add(stream, part, self.header.slices, now):
            yield from self._show(closed)

    def _show(self, closed: Closed) -> Iterator[Item]:
        stream = closed.volume.stream
        if closed.missing:
            yield self._incomplete(closed)
        try:
            for stacked in imagesOf(closed, self._getBuffer):
                yield from self._shown(stream, stacked)
        except FrameError as error:
            yield self._unusable(error, len(closed.volume.slices))

    def _shown(self, stream: str, stacked: Stacked) -> Iterator[Item]:
        if stacked.uneven:
            text = _("The slices of {stream} are not evenly spaced. They are shown with equal distances.")
            yield from self._once("uneven", text.format(stream=stream), stream)
        if stacked.assumed:
            text = _(
                "The images of {stream} have no size, no directions, or directions that are not perpendicular. Their "
                "place in space is a guess."
            )
            yield from self._once("no-geometry", text.format(stream=stream), stream)
        yield Arrival(stream, stacked.image, time.time())

    # ---- events

    def _incomplete(self, closed: Closed) -> Event:
        volume = closed.volume
        average, repetition, phase = volume.moment
        absent = sorted(closed.absent)
        text = _("{stream}: the volume of repetition {repetition} lacks {missing} of {count} slices.")
        if closed.missing == 1:
            text = _("{stream}: the volume of repetition {repetition} lacks 1 of {count} slices.")
        words: Text = text.format(
            stream=volume.stream,
            repetition=repetition,
            missing=closed.missing,
            count=closed.missing + len(volume.slices),
        )
        if phase or average:
            more = _("It is heart phase {phase}, average {average}.")
            words = joined(words, more.format(phase=phase, average=average))
        if absent:
            numbers = ", ".join(map(str, absent[:SHOWN_SLICES])) + (", ..." if len(absent) > SHOWN_SLICES else "")
            words = joined(words, _("Zeros replace the slices {numbers}.").format(numbers=numbers))
        if closed.why == "memory":
            words = joined(words, _("It was closed because the incomplete volumes fill the memory limit."))
        return Event("incomplete-volume", words, "warning", volume.stream)

    def _unusable(self, error: FrameError, lost: int = 1) -> Event:
        self.refused += lost
        text = _("An image of {peer} cannot be used: {reason}.")
        return self._event("not-usable", text.format(peer=self.peer, reason=str(error).rstrip(".")))

    def _once(self, code: str, text: Text, stream: str) -> Iterator[Event]:
        if code + stream not in self._told:
            self._told.add(code + stream)
            yield Event(code, text, "warning", stream)

    def _event(self, code: str, text: Text, level: str = "warning") -> Event:
        return Event(code, text, level, self.peer)
