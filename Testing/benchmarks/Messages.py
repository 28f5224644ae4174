"""What the message of a frame costs: its header to a line of JSON, and the line back to a frame, without pixels."""

from __future__ import annotations

import json

import numpy as np
from RealTimeImagingLib.Link.Messages import Counts, FrameHeader, FrameReport, decode, encode
from RealTimeImagingLib.Link.Ring import Place
from RealTimeImagingLib.Model.Frame import Frame

from .Rows import OURS, Found, Row, interleaved, timed

TITLE = "The message of a frame between two processes"
ABOUT = """
Floor: `json.loads(json.dumps(...))` of the same values. Ours: the header of a frame to a line, and the line back to a
frame, with all checks. Pixels are not in it: they lie in shared memory.
"""

MESSAGES, ROUNDS = 200, 50


def measure() -> Found:
    """Measure microseconds for a frame."""
    pixels = np.zeros((1, 512, 512), np.int16)
    attributes = {"SourceFile": "frame_000007.nii", "ReplayedFrame": "7"}
    frame = Frame(pixels, np.diag([-0.1, 1 / 3, 1e-3, 1.0]), "Live", 7, 1700000000.12, 1699999999.9, attributes)
    place, counts = Place(0, 1, pixels.nbytes, 4), Counts({"Live": 8})
    values = json.loads(encode(FrameReport(FrameHeader.of(frame), place, counts)))
    equal = True

    def floor() -> None:
        for _ in range(MESSAGES):
            json.loads(json.dumps(values))

    def ours() -> None:
        nonlocal equal
        for _ in range(MESSAGES):
            report = decode(encode(FrameReport(FrameHeader.of(frame), place, counts)))
            again = report.frame.frame(pixels)
        equal = equal and again.number == 7 and again.attributes == attributes

    ways = {"JSON alone": timed(floor, 1e6 / MESSAGES), OURS: timed(ours, 1e6 / MESSAGES)}
    row = Row("a frame", "us", interleaved(ways, ROUNDS))
    return Found([row], {"the frame is the same afterwards": equal})
