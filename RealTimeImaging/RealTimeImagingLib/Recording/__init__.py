"""Stores every frame before it is shown, finishes what a killed process left, and opens what is stored.

    Recorder ──► Part (pixels and lines) ──stop──► Header ──► Slicer, Reading
                        └──── killed ──► Repair ──────┘

See Layout for the files and Lines for what is told of a frame.
"""

from .Layout import freeName
from .Reading import Checksums, FrameEntry, RecordedPart, checksums, noteChecksum, openRecording
from .Recorder import Recorder

__all__ = [
    "Checksums",
    "FrameEntry",
    "RecordedPart",
    "Recorder",
    "checksums",
    "freeName",
    "noteChecksum",
    "openRecording",
]
