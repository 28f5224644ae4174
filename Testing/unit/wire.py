"""What the tests of OpenIGTLink share: bytes given to a Receiver in pieces, and messages compared."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
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
