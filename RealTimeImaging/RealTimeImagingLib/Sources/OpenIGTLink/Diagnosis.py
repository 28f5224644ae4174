"""Reason why no image arrives, from what the peers send instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ...Model.DeviceMessage import shortened
from ...Model.Event import Remedy
from ...Model.Text import joined, textsOf
from ...OpenIGTLink import Message, Problem, StatusMessage
from . import OpenIGTLinkSettings

_ = textsOf(__file__)

RECENT, PERIODS = 1.0, 3
"""Seconds, and periods of its images, for which a peer that has sent an image gives no reason to complain."""
LATEST = 4.0
"""Most seconds after the connection until missing images are explained."""
MOST = 100
"""Types of messages, and failing devices, that are remembered: no peer shall fill the memory."""
SHOWN = 3
"""Types of messages that a sentence names."""
WITHOUT_KEY = ("no-key-frame", "frames-lost")
"""Codes of problems that the next key frame of a video ends."""
REQUESTS = ("STT_IMAGE", "STT_TDATA")
"""Queries that are offered when a device is silent: images, and positions of tools."""

Why = tuple[str, Remedy | None]
"""Sentences for the user, empty when nothing is wrong, and settings that help."""

SKIP_CHECKSUMS = Remedy(_("Skip checksums"), {"checkCRC": False})
DECODE = Remedy(_("Install PyAV"), {"video": True})
REMEDIES = {"wrong-crc": SKIP_CHECKSUMS, "compressed-video": DECODE}
"""Settings that help, by the code of a problem."""

ADVICE = {
    "wrong-crc": _("If all messages of this device fail, it sends no checksums: untick Verify checksums (CRC)."),
    "too-large": _("If the message is wanted, raise Largest message."),
}
"""Advice for the user, by the code of a problem."""


@dataclass
class _Sent:
    """What a peer has sent.

    :param since: time of the connection, monotonic seconds.
    :param image: time of the last image; None before the first.
    :param period: seconds between the last two images; 0 before the second.
    :param types: numbers of the messages that are no image, by type.
    :param problems: numbers of rejected messages since the last image, by code.
    :param last: the last of these problems.
    """

    since: float
    image: float | None = None
    period: float = 0.0
    types: dict[str, int] = field(default_factory=dict)
    problems: dict[str, int] = field(default_factory=dict)
    last: Problem | None = None


class Diagnosis:
    """Account of the messages of all connected peers.

    :param settings: ``ask`` and ``silentAfter`` matter.
    :param clock: monotonic seconds.
    """

    def __init__(self, settings: OpenIGTLinkSettings, clock: Callable[[], float]) -> None:
        self._settings, self._clock = settings, clock
        self._sent: dict[str, _Sent] = {}
        self._failing: dict[tuple[str, str], str] = {}
        """Sentence about each device whose last STATUS was an error, by peer and device."""

    def connected(self, peer: str) -> None:
        """Note a new peer, by name."""
        self._sent[peer] = _Sent(self._clock())

    def disconnected(self, peer: str) -> None:
        """Forget a peer."""
        self._sent.pop(peer, None)
        self._failing = {key: text for key, text in self._failing.items() if key[0] != peer}

    def image(self, peer: str) -> None:
        """Note an image, which ends all complaints about its peer."""
        sent, now = self._sent[peer], self._clock()
        sent.period = now - (now if sent.image is None else sent.image)
        sent.image, sent.last = now, None
        sent.problems.clear()
        if self._failing:
            self._failing = {key: text for key, text in self._failing.items() if key[0] != peer}

    def message(self, peer: str, message: Message) -> None:
        """Note a message that is no image."""
        sent = self._sent[peer]
        if message.message_type in sent.types or len(sent.types) < MOST:
            sent.types[message.message_type] = sent.types.get(message.message_type, 0) + 1
        if isinstance(message, StatusMessage):
            key = peer, message.device_name
            self._failing.pop(key, None)
            if message.code != StatusMessage.OK and len(self._failing) < MOST:
                self._failing[key] = failureOf(message)

    def problem(self, peer: str, problem: Problem) -> None:
        """Note a message that was not used."""
        sent = self._sent[peer]
        sent.problems[problem.code] = sent.problems.get(problem.code, 0) + 1
        sent.last = problem

    def why(self, unknown: Mapping[str, Mapping[str, int]], silent: set[str]) -> Why:
        """Return why no image arrives.

        :param unknown: numbers of messages that cannot be shown, by peer and type.
        :param silent: peers from which nothing arrives.
        """
        now = self._clock()
        missing = [(peer, sent) for peer, sent in self._sent.items() if not _isRecent(sent, now)]
        for peer, sent in missing:
            if sent.last:
                return self._rejected(peer, sent, sent.last, unknown.get(peer, {}))
        for (peer, _device), failure in self._failing.items():
            if not _isRecent(self._sent[peer], now):
                return failure, None
        if any(sent.image is not None for sent in self._sent.values()):
            return "", None
        limit = min(LATEST, self._settings.silentAfter)
        for peer, sent in missing:
            if sent.types and now - sent.since >= limit:
                names = ", ".join(list(sent.types)[:SHOWN])
                text = _(
                    "{peer} sends {types}, but no image. These messages are listed under Devices. For images, switch "
                    "on the transmission of images at the device."
                )
                return text.format(peer=peer, types=names), None
        for peer, sent in missing:
            if peer in silent and not sent.types:
                return self._silent()
        return "", None

    def _silent(self) -> Why:
        if self._settings.ask:
            return _("Start the transmission at the device."), None
        text = _("Start the transmission at the device, or request the images from here.")
        return text, Remedy(_("Request images"), {"ask": list(REQUESTS)})

    def _rejected(self, peer: str, sent: _Sent, last: Problem, unknown: Mapping[str, int]) -> Why:
        count = sent.problems[last.code]
        if last.code == "wrong-crc":
            text = _("{peer} has sent {count:,} messages with a wrong checksum (CRC), and no valid image since.")
            if count == 1:
                text = _("{peer} has sent a message with a wrong checksum (CRC), and no valid image since.")
            cause = _("The device sends no checksums, or a program on the way changes its messages.")
            return joined(text.format(peer=peer, count=count), cause), SKIP_CHECKSUMS
        if last.code in WITHOUT_KEY:
            return last.text, None
        if last.code == "compressed-video":
            text = _("{peer} sends compressed video (VIDEO), which Slicer decodes after PyAV is installed.")
            return text.format(peer=peer), DECODE
        if last.code == "unknown-type":
            types = joined(*(_type(*one) for one in list(unknown.items())[:SHOWN]), separator=", ")
            text = _("{peer} sends messages that cannot be shown: {types}. Set the device to send IMAGE.")
            return text.format(peer=peer, types=types), None
        text = _("{peer} has sent {count:,} messages that cannot be used, and no image since. The last: {problem}")
        if count == 1:
            text = _("{peer} has sent a message that cannot be used, and no image since: {problem}")
        advice = ADVICE.get(last.code, "")
        return joined(text.format(peer=peer, count=count, problem=last.text), advice), None


def failureOf(message: StatusMessage) -> str:
    """Return the sentence about a STATUS that is an error."""
    device = message.device_name or _("The device")
    words = ", ".join(shortened(one).rstrip(".") for one in (message.errorName, message.message) if one.strip())
    text = _("{device} reports an error: {words} (code {code}). See the device for the reason.")
    return text.format(device=device, words=words or _("no reason given"), code=message.code)


def _isRecent(sent: _Sent, now: float) -> bool:
    return sent.image is not None and now - sent.image < max(RECENT, PERIODS * sent.period)


def _type(name: str, count: int) -> str:
    return _("{name} ({count:,})").format(name=name, count=count)
