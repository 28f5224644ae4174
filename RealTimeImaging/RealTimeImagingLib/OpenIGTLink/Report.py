"""What a connection has to say beside its messages: problems in words, and counts."""

from __future__ import annotations

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
    :param begun: messages of all kinds whose header came.
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
