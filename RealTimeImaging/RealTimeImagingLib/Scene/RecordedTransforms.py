"""Recorded poses in the scene: a sequence of transforms for each device, in the browser of the images of that time.

The times come from the file of messages, without rounding to images. For each image Slicer shows the last item that is
not later (vtkMRMLSequenceNode::GetItemNumberFromIndexValue). So the sequence has an item for each image, with the pose
interpolated to its time (:mod:`Model.Poses`), beside the poses themselves.

While a tracker does not see a tool, it usually sends the origin. The item then has the last valid pose. Its attribute
"Status" is that of the tracker, such as OUT_OF_VIEW; INVALID for a matrix that is no pose; or MISSING for an image in a
gap of the poses. The files keep the poses as sent.
"""

from __future__ import annotations

import math
import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import slicer
import vtk

from ..Model.Errors import RecordingError
from ..Model.Poses import SAME_TIME, PoseTrack
from ..Recording import RecordedMessages, openMessages
from ..Recording.Poses import SUFFIX
from .Nodes import TOLERANCE, addToBrowser, markStored, plain, timeSequence

MOST_POSES = 10_000
"""Largest number of poses of a device in one browser: building takes quadratic time. Of more poses, only those that an
image shows are added."""
PART_POSES = 3000
"""Number of poses of a device in one browser of a recording without images."""
DEVICE_ATTRIBUTE = "RecordingDevice"
STATUS_ATTRIBUTE = "Status"
"""Attribute of each item with the status of its tool; the proxy node shows it, too."""
_LINES = 50
"""Lines of one step, which takes some tenths of a millisecond."""


@dataclass
class Span:
    """Time range of a browser.

    :param first, last: index of its first and its last image, seconds.
    :param times: index of each image of all its sequences, seconds.
    """

    browser: Any
    first: float
    last: float
    times: Sequence[float]


@dataclass
class _Track:
    """Poses of one device."""

    path: str
    device: str
    poses: PoseTrack = field(default_factory=PoseTrack)

    @property
    def name(self) -> str:
        return os.path.basename(self.path).removesuffix(SUFFIX)

    @property
    def times(self) -> Sequence[float]:
        """Index of each pose, seconds."""
        return self.poses.times

    def items(self, times: Sequence[float]) -> Iterator[tuple[float, list[float], str]]:
        """Yield time, 16 numbers and status of each item; a tool that is not seen keeps its last pose.

        :param times: in order, seconds.
        """
        last, lastTime = None, -math.inf
        for time in times:
            matrix, status = self.poses.at(time)
            if matrix is None:
                last = self._lastSeen(time, lastTime, last)
                numbers = last or self.poses.matrix(max(0, bisect_right(self.times, time) - 1)).ravel().tolist()
            else:
                numbers = last = matrix.ravel().tolist()
            yield time, numbers, status
            lastTime = time

    def _lastSeen(self, time: float, since: float, otherwise: list[float] | None) -> list[float] | None:
        """Return the last pose in which the tracker saw the tool, between the time of the last item and this one."""
        for index in range(bisect_right(self.times, time) - 1, bisect_left(self.times, since) - 1, -1):
            if self.poses.seen(index):
                return list(self.poses.matrices[16 * index : 16 * index + 16])
        return otherwise


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

    def _build(self, track: _Track, times: Sequence[float], browser: Any, part: int) -> Iterator[None]:
        name = plain(track.name if part == 0 else f"{track.name}_{part + 1}")
        node = timeSequence(name)
        node.SetAttribute(DEVICE_ATTRIBUTE, plain(track.device))
        item, matrix = slicer.vtkMRMLLinearTransformNode(), vtk.vtkMatrix4x4()
        for time, numbers, status in track.items(times):
            matrix.DeepCopy(numbers)
            item.SetMatrixTransformToParent(matrix)
            item.SetAttribute(STATUS_ATTRIBUTE, status)
            node.SetDataNodeAtValue(item, f"{time:.6f}")
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
        markStored(storage, slicer.vtkMRMLLinearTransformNode(), SUFFIX, track.path)


def _read(messages: RecordedMessages, shift: float, tracks: dict[str, _Track]) -> Iterator[None]:
    for line, pose in enumerate(messages.poses(invalid=True)):
        if pose and pose.device in tracks:
            tracks[pose.device].poses.add(round(pose.time + shift, 6), pose.matrix, pose.status)
        if line % _LINES == 0:
            yield


def _chosen(track: _Track, span: Span, isFirst: bool, end: float | None) -> Sequence[float]:
    """Return the times of the items of a browser: the poses of its time, the pose before, and all its images, unless
    they have the time of a pose. A device that sent one pose is not tracked: the pose holds.

    :param end: start of the next browser, seconds; None for the last one.
    """
    begin = 0 if isFirst else max(0, bisect_right(track.times, span.first) - 1)
    stop = len(track.times) if end is None else bisect_left(track.times, max(end, span.last + TOLERANCE))
    if stop <= begin:
        return []
    poses = track.times[begin:stop] if stop - begin <= MOST_POSES or not span.times else []
    images = []
    for time in span.times if len(track.times) > 1 else ():
        place = bisect_left(poses, time - SAME_TIME)
        if place == len(poses) or poses[place] > time + SAME_TIME:
            images.append(time)
    return sorted([*poses, *images])


def _cut(tracks: Sequence[_Track], browserOf: Callable[[int], Any]) -> list[Span]:
    """Return browsers for poses without images, so many that none has too many poses of a device."""
    if not tracks:
        return []
    firsts = list(tracks[0].times[::PART_POSES])
    return [Span(browserOf(part + 1), first, first, []) for part, first in enumerate(firsts)]
