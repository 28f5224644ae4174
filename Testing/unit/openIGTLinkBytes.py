"""What the tests of OpenIGTLink share: bytes made by hand, given to a Receiver in pieces, and messages compared."""

from __future__ import annotations

import struct
from itertools import pairwise

import numpy as np
from fastcrc.crc64 import ecma_182
from RealTimeImagingLib.OpenIGTLink import Problem, Receiver

NOT_CONTENT = {"_valid_message"}


def give(receiver, data):
    """All that the receiver says to these bytes, as a socket that gives as much as there is room for would."""
    said, data = [], memoryview(data)
    while len(data):
        space = receiver.space()
        assert len(space) > 0
        count = min(len(space), len(data))
        space[:count] = data[:count]
        said.extend(receiver.filled(count))
        data = data[count:]
    return said


def giveInPieces(receiver, data, pieces):
    """As :func:`give`, cut at these places."""
    places = sorted({min(place, len(data)) for place in pieces} | {0, len(data)})
    return [item for start, end in pairwise(places) for item in give(receiver, data[start:end])]


def received(data, **settings):
    """The only message in these bytes."""
    receiver = Receiver(**settings)
    (message,) = give(receiver, data)
    assert not isinstance(message, Problem), message
    assert not receiver.pending
    return message


def refused(data, **settings):
    """The only problem that these bytes make."""
    (problem,) = give(Receiver(**settings), data)
    assert isinstance(problem, Problem), problem
    assert problem.text.endswith(".")
    return problem


def fields(message):
    """All that a message has, in a form that can be compared."""
    return {name: plain(value) for name, value in vars(message).items() if name not in NOT_CONTENT}


def plain(value):
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "__dict__"):
        return (type(value).__name__, fields(value))
    return value


def framed(messageType, content, *, version=1, device=b"Probe", stamp=0x499602D4_80000000, checksum=None, size=None):
    """A message made by hand: header as in OpenIGTLink v3, "Message Header", and this body."""
    body = bytes(content)
    crc = ecma_182(body) if checksum is None else checksum
    return (
        struct.pack(
            ">H12s20sQQQ", version, messageType.encode(), device, stamp, len(body) if size is None else size, crc
        )
        + body
    )


def extended(content, entries=(), *, size=12, messageID=7):
    """A body of version 2 made by hand: extended header, content, metadata; entries are (key, encoding, value)."""
    table = struct.pack(">H", len(entries))
    table += b"".join(struct.pack(">HHI", len(key), encoding, len(value)) for key, encoding, value in entries)
    texts = b"".join(key + value for key, _, value in entries)
    head = struct.pack(">HHII", size, len(table), len(texts), messageID).ljust(size, b"\xee")
    return head + bytes(content) + table + texts


def imageContent(pixels=bytes(24), **values):
    """The content of an IMAGE of 4 x 3 x 2 unsigned bytes, made by hand; see OpenIGTLink v3, "Image Message"."""
    header = {
        "version": 1,
        "components": 1,
        "scalar": 3,
        "endian": 2,
        "coordinates": 1,
        "size": (4, 3, 2),
        "t": (1.0, 0.0, 0.0),
        "s": (0.0, 2.0, 0.0),
        "n": (0.0, 0.0, 3.0),
        "centre": (10.0, 20.0, 30.0),
        "offset": (0, 0, 0),
        "part": (4, 3, 2),
        **values,
    }
    flat = [number for value in header.values() for number in (value if isinstance(value, tuple) else (value,))]
    return struct.pack(">HBBBB3H12f6H", *flat) + pixels
