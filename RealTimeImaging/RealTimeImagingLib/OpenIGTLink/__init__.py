"""The OpenIGTLink protocol: bytes in, messages out, and back. No socket, no thread, no Slicer.

    receiver = Receiver(getBuffer)                      bytes of one connection
    nbytes = sock.recv_into(receiver.space())               │
    for item in receiver.filled(nbytes): ...            messages and problems
    sock.sendall(pack(StringMessage("START_SCAN")))     and back

Messages are pyigtl's (``pyigtl.messages.MessageBase``): its own TRANSFORM, and codecs of this package for all other
types, also registered with pyigtl. Coordinates stay as on the wire, in millimetres, RAS by convention.
Only IMAGE declares its coordinates, and its matrix is converted to RAS.
"""

from __future__ import annotations

from pyigtl.messages import TransformMessage

from .Base import Message, WireMessage, crc64, fastChecksum
from .Header import deviceOnWire, pack, packBuffers
from .ImageMessage import ImageMessage
from .ListMessages import ImageMeta, ImageMetaMessage, LabelMeta, LabelMetaMessage, VideoMeta, VideoMetaMessage
from .PointMessages import PointMessage, PolyDataAttribute, PolyDataMessage, Trajectory, TrajectoryMessage
from .Queries import (
    BindMessage,
    BindQueryMessage,
    QueryMessage,
    RawMessage,
    ReplyMessage,
    StartTrackingMessage,
    knownTypes,
    query,
)
from .Receiver import DEFAULT_SIZE_LIMIT, SKIP_LIMIT, Receiver
from .Report import Counts, Problem
from .TextMessages import (
    CapabilityMessage,
    ColorTableMessage,
    CommandMessage,
    CommandReplyMessage,
    NDArrayMessage,
    SensorMessage,
    StatusMessage,
    StringMessage,
)
from .TrackingMessages import (
    PositionMessage,
    QuaternionTool,
    QuaternionTrackingDataMessage,
    QuaternionTransformMessage,
    TrackedTool,
    TrackingDataMessage,
)
from .VideoMessage import VideoMessage

__all__ = [
    "DEFAULT_SIZE_LIMIT",
    "SKIP_LIMIT",
    "BindMessage",
    "BindQueryMessage",
    "CapabilityMessage",
    "ColorTableMessage",
    "CommandMessage",
    "CommandReplyMessage",
    "Counts",
    "ImageMessage",
    "ImageMeta",
    "ImageMetaMessage",
    "LabelMeta",
    "LabelMetaMessage",
    "Message",
    "NDArrayMessage",
    "PointMessage",
    "PolyDataAttribute",
    "PolyDataMessage",
    "PositionMessage",
    "Problem",
    "QuaternionTool",
    "QuaternionTrackingDataMessage",
    "QuaternionTransformMessage",
    "QueryMessage",
    "RawMessage",
    "Receiver",
    "ReplyMessage",
    "SensorMessage",
    "StartTrackingMessage",
    "StatusMessage",
    "StringMessage",
    "TrackedTool",
    "TrackingDataMessage",
    "Trajectory",
    "TrajectoryMessage",
    "TransformMessage",
    "VideoMessage",
    "VideoMeta",
    "VideoMetaMessage",
    "WireMessage",
    "crc64",
    "deviceOnWire",
    "fastChecksum",
    "knownTypes",
    "pack",
    "packBuffers",
    "query",
]
