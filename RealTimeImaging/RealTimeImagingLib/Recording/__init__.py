"""Recordings: every frame is stored before it is shown, also when a process dies, and opens in unmodified Slicer.

    AppendLog ──► Recorder (pixels and lines) ──stop──► Header ──► Slicer, Reading
        │                  └──── killed ──► Repair ───────┘
        └───────► MessageRecorder ──► device messages, and poses that Slicer opens

Layout names the files, Lines describes their contents.
"""

from __future__ import annotations

from .FrameTimes import Origin
from .Header import checkAttributes
from .Layout import fileName
from .MessageRecorder import MessageRecorder
from .Poses import OK as POSE_OK
from .Reading import FrameEntry, RecordedMessages, RecordedPart, noteChecksum, openMessages, openRecording
from .Recorder import Recorder
from .Repair import Repair, repair

__all__ = [
    "POSE_OK",
    "FrameEntry",
    "MessageRecorder",
    "Origin",
    "RecordedMessages",
    "RecordedPart",
    "Recorder",
    "Repair",
    "checkAttributes",
    "fileName",
    "noteChecksum",
    "openMessages",
    "openRecording",
    "repair",
]
