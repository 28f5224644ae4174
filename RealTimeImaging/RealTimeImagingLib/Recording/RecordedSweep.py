"""Time offset of a tool from a recorded sweep, whose images and poses may come from different sources."""

from __future__ import annotations

import numpy as np

from ..Model.Errors import ControlError
from ..Model.Poses import SEEN
from ..Model.Text import textsOf
from ..Model.TimeOffset import ImageMotion, OffsetEstimate, estimateOffset
from .Reading import openMessages, openRecording

_ = textsOf(__file__)


def estimateRecordedOffset(images: str, messages: str, device: str) -> OffsetEstimate:
    """Estimate the time offset of a tool; it comes on top of the one that was set during the recording.

    Times of different sources meet by the clock of the computer that recorded them.

    :param images: path of the header (.seq.nhdr) of the images. ``messages``: path of the manifest of the device
        messages (.messages.json).
    :param device: name of the tool.
    :raises RecordingError: a file cannot be read.
    :raises ControlError: the sweep gives no offset; the text has the reason.
    """
    part, recorded, motion = openRecording(images), openMessages(messages), ImageMotion()
    shifts = np.array([motion.add(part.pixels(index)) for index in range(part.count)])
    poses = [pose for pose in recorded.poses() if pose and pose.device == device and pose.status in SEEN]
    if not poses:
        raise ControlError(_("No pose of {tool} is in {file}.").format(tool=device, file=messages))
    times = np.array([pose.time for pose in poses]) + recorded.origin
    places = np.array([pose.matrix[3:12:4] for pose in poses])
    order = np.argsort(times, kind="stable")
    kept = order[np.diff(times[order], prepend=-np.inf) > 1e-6]
    return estimateOffset(np.array(part.times) + part.origin, shifts, times[kept], places[kept])
