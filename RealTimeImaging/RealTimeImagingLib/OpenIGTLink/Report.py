"""Problems of a connection in words, and counts of its messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

MOST_TYPES = 100
"""Unknown types that are counted one by one; further types are counted together, so that no peer fills the memory."""

OTHERS = "others"


@dataclass(frozen=True)
class Problem:
    """A problem with received bytes.

    :param code: "wrong-crc", "malformed", "no-data" (an empty message: the device has no data), "too-large",
        "unknown-type" (reported once for each type), "compressed-video", "unsupported-version", "not-openigtlink",
        "cut", "image-in-parts" (reported once for each device: its image is yielded when enough parts have arrived).
    :param text: a sentence for the user.
    :param fatal: True: close the connection; False: one message is lost, and the next is received.
    :param device: name of the device, where known.
    """

    code: str
    text: str
    fatal: bool = False
    device: str = ""


@dataclass
class Counts:
    """Counts of a connection.

    :param messages: messages yielded to the caller.
    :param begun: messages whose header was received.
    :param bytes: received bytes.
    :param wrongCRC: messages lost to a wrong checksum.
    :param malformed: messages lost because they contradict themselves or the protocol.
    :param noData: empty messages: the device has no data.
    :param tooLarge: messages lost because they exceed the limit.
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
        """Count a message of unknown type; return True for the first of its type."""
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
