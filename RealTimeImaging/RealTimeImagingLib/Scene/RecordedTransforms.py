"""Recorded poses in the scene: a sequence of transforms for each device, in the browser of the images of that time.

The times come from the file of messages, without rounding to images. For each image Slicer shows the last pose that is
not later (vtkMRMLSequenceNode::GetItemNumberFromIndexValue), and before the first pose the first one.

While a tracker does not see a tool, it usually sends the origin. The item then has the last valid pose, and its
attribute "Status" has the tracker's status, such as MISSING. The files keep the poses as sent.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import slicer
import vtk

from ..Model.Errors import RecordingError
from ..Model.Poses import SEEN
from ..Recording import POSE_OK, RecordedMessages, openMessages
from .Nodes import TOLERANCE, addToBrowser, markStored, plain, timeSequence

MOST_POSES = 10_000
"""Largest number of poses of a device in one browser: building takes quadratic time. Of more poses, only those that an
image shows are added."""
PART_POSES = 3000
"""Number of poses of a device in one browser of a recording without images."""
DEVICE_ATTRIBUTE = "RecordingDevice"
STATUS_ATTRIBUTE = "Status"
"""Attribute of each item of a tool that the tracker lost at times; the proxy node shows it, too."""
POSES = ".seq.mha"
_LINES = 50
"""Lines of one step, which takes some tenths of a millisecond."""


@dataclass
class Span:
    """Time range of a browser.

    :param first, last: index of its first and its last image, seconds.
    :param times: index of each image of its master sequence, seconds.
    """

    browser: Any
    first: float
    last: float
    times: Sequence[float]


@dataclass
class _Track:
    """Poses of one device.

    :param times: index of each pose, seconds.
    :param matrices: 16 numbers of each pose, row by row.
    :param statuses: statuses other than OK, by the number of the pose.
    :param seen: True once the tracker has seen the tool.
    """

    path: str
    device: str
    times: array[float] = field(default_factory=lambda: array("d"))
    matrices: array[float] = field(default_factory=lambda: array("d"))
    statuses: dict[int, str] = field(default_factory=dict)
    seen: bool = False

    @property
    def name(self) -> str:
        return os.path.basename(self.path).removesuffix(POSES)


class RecordedTransforms:
    """Recorded poses that are added to the scene in short steps, so that Slicer redraws between them.

    :param scene: the MRML scene.
    :param sequencesLogic: slicer.modules.sequences.logic().
    """

    def __init__(self, scene: Any, sequencesLogic: Any) -> None:
        self._scene, self._logic = scene, sequencesLogic

    def add(
        self,
        paths: Sequence[str],
        spans: Sequence[Span],
        shiftOf: Callable[[RecordedMessages], float],
        browserOf: Callable[[int], Any],
    ) -> Iterator[None]:
        """Add the poses of a recording.

        :param paths: manifests of the messages, one for each process.
        :param spans: time ranges of the browsers with the recording's images.
        :param shiftOf: returns the seconds to add to the index of a process's recording.
        :param browserOf: returns the browser for a part, from 1, of a recording without images.
        :raises RecordingError: a file cannot be read; all others are added first.
        """
        tracks: list[_Track] = []
        failed: RecordingError | None = None
        for path in paths:
            try:
                messages = openMessages(path)
                found = {device: _Track(file, device) for device, file in messages.transforms.items()}
                yield from _read(messages, shiftOf(messages), found)
                tracks += [track for track in found.values() if track.times]
            except RecordingError as error:
                failed = error
        # The track with the most poses comes first: it is the master sequence of a browser without images.
        tracks.sort(key=lambda track: -len(track.times))
        spans = sorted(spans, key=lambda span: span.first) or _cut(tracks, browserOf)
        for part, span in enumerate(spans):
            end = spans[part + 1].first if part + 1 < len(spans) else None
            for track in tracks:
                chosen = _chosen(track, span, part == 0, end)
                if chosen:
                    yield from self._build(track, chosen, span.browser, part)
        if failed:
            raise failed

    def _build(self, track: _Track, chosen: Sequence[int], browser: Any, part: int) -> Iterator[None]:
        name = plain(track.name if part == 0 else f"{track.name}_{part + 1}")
        node = timeSequence(name)
        node.SetAttribute(DEVICE_ATTRIBUTE, plain(track.device))
        item, matrix = slicer.vtkMRMLLinearTransformNode(), vtk.vtkMatrix4x4()
        for index in chosen:
            matrix.DeepCopy(track.matrices[16 * index : 16 * index + 16])
            item.SetMatrixTransformToParent(matrix)
            if track.statuses:
                item.SetAttribute(STATUS_ATTRIBUTE, track.statuses.get(index, POSE_OK))
            node.SetDataNodeAtValue(item, f"{track.times[index]:.6f}")
            yield
        scene = self._scene
        if browser.GetScene() is not scene:
            return
        scene.AddNode(node)
        storage = scene.AddNewNodeByClass("vtkMRMLLinearTransformSequenceStorageNode")
        node.SetAndObserveStorageNodeID(storage.GetID())
        proxy = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
        yield
        addToBrowser(browser, [(node, proxy)], self._logic)
        yield
        markStored(storage, slicer.vtkMRMLLinearTransformNode(), POSES, track.path)


def _read(messages: RecordedMessages, shift: float, tracks: dict[str, _Track]) -> Iterator[None]:
    for line, pose in enumerate(messages.poses()):
        if pose and pose.device in tracks:
            track = tracks[pose.device]
            missing = pose.status.upper() not in SEEN
            if pose.status != POSE_OK:
                track.statuses[len(track.times)] = pose.status
            track.times.append(round(pose.time + shift, 6))
            track.matrices.extend(track.matrices[-16:] if missing and track.seen else pose.matrix)
            track.seen = track.seen or not missing
        if line % _LINES == 0:
            yield


def _chosen(track: _Track, span: Span, isFirst: bool, end: float | None) -> Sequence[int]:
    """Return the indices of the poses of a browser: those of its time, and the one before, which its first image shows.

    :param end: start of the next browser, seconds; None for the last one.
    """
    begin = 0 if isFirst else max(0, bisect_right(track.times, span.first) - 1)
    stop = len(track.times) if end is None else bisect_left(track.times, max(end, span.last + TOLERANCE))
    if stop - begin <= MOST_POSES or not span.times:
        return range(begin, stop)
    return sorted({max(begin, bisect_right(track.times, time) - 1) for time in span.times})


def _cut(tracks: Sequence[_Track], browserOf: Callable[[int], Any]) -> list[Span]:
    """Return browsers for poses without images, so many that none has too many poses of a device."""
    if not tracks:
        return []
    firsts = list(tracks[0].times[::PART_POSES])
    return [Span(browserOf(part + 1), first, first, []) for part, first in enumerate(firsts)]
