"""Recordings: every frame is stored before it is shown, also when a process dies, and opens in unmodified Slicer.

    AppendLog ──► Recorder (pixels and lines) ──stop──► Header ──► Slicer, Reading
        │                  └──── killed ──► Repair ───────┘
        └───────► MessageRecorder ──► device messages, and poses that Slicer opens

Names makes the name of a recording, Layout the names of its files, Lines describes their contents, RecordedEvents keeps
events. Catalogue lists the recordings of a folder. RecordedSweep estimates the time offset of a tool.
"""

from __future__ import annotations

from .Catalogue import RecordingEntry, listRecordings
from .FrameTimes import Origin
from .Header import checkAttributes
from .Layout import fileName
from .MessageRecorder import MessageRecorder
from .Reading import FrameEntry, RecordedMessages, RecordedPart, isRecording, noteChecksum, openMessages, openRecording
from .RecordedEvents import RecordedEvents, eventsOf
from .RecordedSweep import estimateRecordedOffset
from .Recorder import Recorder
from .Repair import Repair, repair

__all__ = [
    "FrameEntry",
    "MessageRecorder",
    "Origin",
    "RecordedEvents",
    "RecordedMessages",
    "RecordedPart",
    "Recorder",
    "RecordingEntry",
    "Repair",
    "checkAttributes",
    "estimateRecordedOffset",
    "eventsOf",
    "fileName",
    "isRecording",
    "listRecordings",
    "noteChecksum",
    "openMessages",
    "openRecording",
    "repair",
]
