"""Stores every frame before it is shown, finishes what a killed process left, and opens what is stored.

    Recorder ──► Part (pixels and lines) ──stop──► Header ──► Slicer, Reading
                        └──── killed ──► Repair ──────┘
    MessageRecorder ──► what devices say beside images, poses as Slicer opens them ──► ReadingMessages

See Layout for the files, Lines for what is told of a frame, and MessageLines for what is told of a message.
"""

from __future__ import annotations

from .FrameTimes import Origin
from .Header import checkAttributes
from .Layout import fileName, freeName, reasonOf
from .MessageRecorder import MessageRecorder
from .Poses import OK as POSE_OK
from .Reading import (
    Checksums,
    FrameEntry,
    Pose,
    RecordedMessages,
    RecordedPart,
    checksums,
    noteChecksum,
    openMessages,
    openRecording,
)
from .Recorder import Recorder
from .Repair import Repair, repair, unfinished

__all__ = [
    "POSE_OK",
    "Checksums",
    "FrameEntry",
    "MessageRecorder",
    "Origin",
    "Pose",
    "RecordedMessages",
    "RecordedPart",
    "Recorder",
    "Repair",
    "checkAttributes",
    "checksums",
    "fileName",
    "freeName",
    "noteChecksum",
    "openMessages",
    "openRecording",
    "reasonOf",
    "repair",
    "unfinished",
]
