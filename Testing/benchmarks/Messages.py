"""What the message of a frame costs: its header to a line of JSON, and the line back to a frame, without pixels."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from RealTimeImagingLib.Link.Messages import Counts, FrameHeader, FrameReport, decode, encode
from RealTimeImagingLib.Link.Ring import Place
from RealTimeImagingLib.Model.Frame import Frame

MESSAGES, ROUNDS = 200, 100
LIMIT = 50
"""Microseconds for a frame."""


def measure() -> dict[str, Any]:
    """Return microseconds for a frame: the fastest of ROUNDS."""
    pixels = np.zeros((1, 512, 512), np.int16)
    attributes = {"SourceFile": "frame_000007.nii", "ReplayedFrame": "7"}
    frame = Frame(pixels, np.diag([-0.1, 1 / 3, 1e-3, 1.0]), "Live", 7, 1700000000.12, 1699999999.9, attributes)
    place, counts = Place(0, 1, pixels.nbytes, 4), Counts({"Live": 8})
    fastest = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(MESSAGES):
            report = decode(encode(FrameReport(FrameHeader.of(frame), place, counts)))
            assert isinstance(report, FrameReport)
            report.frame.frame(pixels)
        fastest = min(fastest, (time.perf_counter() - started) / MESSAGES)
    microseconds = round(1e6 * fastest, 1)
    return {"microseconds": microseconds, "rules": {f"at most {LIMIT} us for a frame": microseconds <= LIMIT}}
