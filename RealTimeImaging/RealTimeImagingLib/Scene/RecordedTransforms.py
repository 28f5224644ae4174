"""Recorded poses in the scene: for each device a sequence of transforms, in the browser of the images of that time.

The times are the exact ones, from the file of messages. A browser goes by the index of its images, and Slicer shows for
each image the pose whose time is the last that is not later (vtkMRMLSequenceNode::GetItemNumberFromIndexValue), before
the first pose the first: a pose with the time of the image is the one that is shown.

While a tracker does not see a tool, it mostly sends the origin. The item then has the last pose before, and its
attribute "Status" has the tracker's word, such as MISSING. The files keep the poses as they were sent.
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

from ..Model.DeviceMessage import SEEN
from ..Model.Errors import RecordingError
from ..Recording import POSE_OK, RecordedMessages, openMessages
from .MappedSequence import TOLERANCE
from .Nodes import markStored, plain

MOST_POSES = 10_000
"""Of a device in one browser: building is quadratic in their number. Where more came, those are there that an image
shows."""
PART_POSES = 3000
"""Of a device in one browser where there are no images."""
DEVICE_ATTRIBUTE = "RecordingDevice"
STATUS_ATTRIBUTE = "Status"
"""Attribute of each item of a tool that was not seen at times, and of the transform node while it shows the item."""
POSES = ".seq.mha"
_LINES = 50
"""Lines that are read in one step, some tenths of a millisecond."""


@dataclass
class Span:
    """The time of a browser.

    :param first, last: index of its first and its last image.
    :param times: index of each image by which the browser goes.
    """

    browser: Any
    first: float
    last: float
    times: Sequence[float]


@dataclass
class _Track:
    """The poses of one device.

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
    """Adds them in steps: each takes less than some milliseconds, and the window has its turn between them.

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

        :param paths: of the manifests of messages, one a process.
        :param spans: of the browsers that have the recording's images.
        :param shiftOf: seconds to add to the index of all that a process recorded.
        :param browserOf: the browser for a part, from 1, of a recording without images.
        :raises RecordingError: something cannot be read; all else is added before.
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
        # The one with the most poses goes first: by it a browser without images goes.
        tracks.sort(key=lambda track: -len(track.times))
        spans = sorted(spans, key=lambda span: span.first) or _cut(tracks, browserOf)
        for place, span in enumerate(spans):
            end = spans[place + 1].first if place + 1 < len(spans) else None
            for track in tracks:
                chosen = _chosen(track, span, place == 0, end)
                if chosen:
                    yield from self._build(track, chosen, span.browser, place)
        if failed:
            raise failed

    def _build(self, track: _Track, chosen: Sequence[int], browser: Any, place: int) -> Iterator[None]:
        name = plain(track.name if place == 0 else f"{track.name}_{place + 1}")
        node = slicer.vtkMRMLSequenceNode()
        node.SetName(name)
        node.SetIndexName("time")
        node.SetIndexUnit("s")
        node.SetIndexType(node.NumericIndex)
        node.SetNumericIndexValueTolerance(TOLERANCE)
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
        modifying = browser.StartModify()
        browser.AddSynchronizedSequenceNode(node)
        browser.AddProxyNode(proxy, node, False)
        browser.EndModify(modifying)
        self._logic.UpdateProxyNodesFromSequences(browser)
        yield
        markStored(storage, slicer.vtkMRMLLinearTransformNode(), POSES, track.path)


def _read(messages: RecordedMessages, shift: float, tracks: dict[str, _Track]) -> Iterator[None]:
    for place, pose in enumerate(messages.poses()):
        if pose and pose.device in tracks:
            track = tracks[pose.device]
            missing = pose.status.upper() not in SEEN
            if pose.status != POSE_OK:
                track.statuses[len(track.times)] = pose.status
            track.times.append(round(pose.time + shift, 6))
            track.matrices.extend(track.matrices[-16:] if missing and track.seen else pose.matrix)
            track.seen = track.seen or not missing
        if place % _LINES == 0:
            yield


def _chosen(track: _Track, span: Span, isFirst: bool, end: float | None) -> Sequence[int]:
    """Places of the poses that belong to a browser: those of its time, and the one before, which its first image shows.

    :param end: when the next browser begins; None for the last one.
    """
    begin = 0 if isFirst else max(0, bisect_right(track.times, span.first) - 1)
    stop = len(track.times) if end is None else bisect_left(track.times, max(end, span.last + TOLERANCE))
    if stop - begin <= MOST_POSES or not span.times:
        return range(begin, stop)
    return sorted({max(begin, bisect_right(track.times, time) - 1) for time in span.times})


def _cut(tracks: Sequence[_Track], browserOf: Callable[[int], Any]) -> list[Span]:
    """Browsers for poses without images: so many that none has too many of any device."""
    if not tracks:
        return []
    firsts = list(tracks[0].times[::PART_POSES])
    return [Span(browserOf(part + 1), first, first, []) for part, first in enumerate(firsts)]
