"""Stores every frame before it is shown, finishes what a killed process left, and opens what is stored.

    Recorder ──► Part (pixels and lines) ──stop──► Header ──► Slicer, Reading
                        └──── killed ──► Repair ──────┘

See Layout for the files and Lines for what is told of a frame.
"""

from .FrameTimes import Origin
from .Header import checkAttributes
from .Layout import fileName, freeName
from .Reading import Checksums, FrameEntry, RecordedPart, checksums, noteChecksum, openRecording
from .Recorder import Recorder
from .Repair import Repair, repair, unfinished

__all__ = [
    "Checksums",
    "FrameEntry",
    "Origin",
    "RecordedPart",
    "Recorder",
    "Repair",
    "checkAttributes",
    "checksums",
    "fileName",
    "freeName",
    "noteChecksum",
    "openRecording",
    "repair",
    "unfinished",
]
