"""What a connection has to say beside its messages: problems in words, and counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

MOST_TYPES = 100
"""Different unknown types that are told apart; more are counted together, so that no peer can fill the memory."""

OTHERS = "others"


@dataclass(frozen=True)
class Problem:
    """Something that is not as it should be.

    :param code: "wrong-crc", "malformed", "no-data" (an empty message: the device has nothing to give), "too-large",
        "unknown-type" (told once for each type), "compressed-video", "unsupported-version", "not-openigtlink", "cut",
        "image-in-parts" (told once for each device: its image is given when enough of it came).
    :param text: a sentence for the person at the panel.
    :param fatal: the connection has to be closed; otherwise one message is lost and the next will be received.
    :param device: the device's name where it is known.
    """

    code: str
    text: str
    fatal: bool = False
    device: str = ""


@dataclass
class Counts:
    """What came over a connection.

    :param messages: given to the caller.
    :param begun: messages of all kinds whose header was received.
    :param bytes: of all kinds.
    :param wrongCRC: messages lost because their bytes are not what was sent.
    :param malformed: messages lost because they contradict themselves or the protocol.
    :param noData: empty messages, which say that there is nothing to give.
    :param tooLarge: messages lost because they are above the limit.
    :param unknown: messages skipped, by type.
    """

    messages: int = 0
    begun: int = 0
    bytes: int = 0
    wrongCRC: int = 0
    malformed: int = 0
    noData: int = 0
    tooLarge: int = 0
    unknown: dict[str, int] = field(default_factory=dict)

    def countProblem(self, code: str) -> None:
        """Count a lost message by its problem's code."""
        if code == "wrong-crc":
            self.wrongCRC += 1
        elif code == "no-data":
            self.noData += 1
        elif code == "too-large":
            self.tooLarge += 1
        elif code in ("malformed", "unsupported-version"):
            self.malformed += 1

    def countUnknown(self, messageType: str) -> bool:
        """Count a message of unknown type; True when it is the first of its type."""
        known = messageType in self.unknown
        name = messageType if known or len(self.unknown) < MOST_TYPES else OTHERS
        self.unknown[name] = self.unknown.get(name, 0) + 1
        return not known and name != OTHERS


FEW = 3
"""Problems of one kind that are reported one by one when their texts differ."""
PERIOD = 10.0
"""Seconds between two reports of repeated problems."""
MOST_KINDS = 1000

Kind = tuple[str, str, str]
"""Computer, code and device."""


@dataclass
class _Repeated:
    texts: set[str]
    due: float
    last: str
    folded: int = 0


class Repetitions:
    """Repeated problems, counted so that a sender with one fault does not fill the list of events.

    For each computer, code and device, FEW problems with different texts are reported at once. The others are counted,
    and reported together every PERIOD.
    """

    def __init__(self) -> None:
        self._kinds: dict[Kind, _Repeated] = {}

    def isNew(self, kind: Kind, text: str, now: float) -> bool:
        """Count a problem; return True when it is to be reported now.

        :param now: monotonic seconds.
        """
        found = self._kinds.get(kind)
        if found is None and len(self._kinds) >= MOST_KINDS:
            kind = (OTHERS, OTHERS, OTHERS)
            found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = _Repeated(set(), now + PERIOD, text)
        if text not in found.texts and len(found.texts) < FEW:
            found.texts.add(text)
            return True
        found.folded, found.last = found.folded + 1, text
        return False

    def folded(self, now: float, host: str = "") -> Iterator[tuple[Kind, int, str]]:
        """Yield the counted problems that are due, with their number and the text of the last one.

        :param host: a computer that has disconnected: its problems are all due, and are forgotten.
        """
        for kind, found in list(self._kinds.items()):
            gone = bool(host) and kind[0] == host
            if found.folded and (gone or now >= found.due):
                yield kind, found.folded, found.last
                found.folded, found.due = 0, now + PERIOD
            if gone:
                del self._kinds[kind]
