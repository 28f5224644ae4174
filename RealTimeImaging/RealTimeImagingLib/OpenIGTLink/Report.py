"""Problems of a connection in words, and counts of its messages."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_TYPES = 100
"""Unknown types that are counted one by one; further types are counted together, so that no peer fills the memory."""

OTHERS = "others"


@dataclass(frozen=True)
class Problem:
    """A problem with received bytes.

    :param code: "wrong-crc", "malformed", "no-data" (an empty message: the device has no data), "too-large"
        (above the size limit), "over-limit" (above a limit that no setting changes), "unknown-type" (reported once for
        each type), "unsupported-version", "not-openigtlink", "cut",
        "image-in-parts" (reported once for each device: its image is yielded when enough parts have arrived).
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
    :param unknown: messages skipped, by type.
    """

    messages: int = 0
    begun: int = 0
    bytes: int = 0
    unknown: dict[str, int] = field(default_factory=dict)

    def countUnknown(self, messageType: str) -> bool:
        """Count a message of unknown type; return True for the first of its type."""
        known = messageType in self.unknown
        name = messageType if known or len(self.unknown) < MOST_TYPES else OTHERS
        self.unknown[name] = self.unknown.get(name, 0) + 1
        return not known and name != OTHERS
