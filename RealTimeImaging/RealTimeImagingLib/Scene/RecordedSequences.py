"""Recordings in the scene: a sequence for each part of each stream, and a browser with all streams and poses of a
part."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import slicer
import vtk

from ..Model.Errors import RecordingError
from ..Model.Files import reasonOf
from ..Model.Frame import Pixels
from ..Model.Text import textsOf
from ..Recording import RecordedMessages, RecordedPart, openRecording
from ..Recording.Layout import HEADER, recordingName
from .MappedSequence import PART_ATTRIBUTE, RECORDED_STREAM_ATTRIBUTE, MappedSequence
from .Nodes import addToBrowser, arrayOf, itemsOf, markStored, plain
from .RecordedTransforms import RecordedTransforms, Span
from .RecordedValues import RecordedValues, ShownPart
from .WindowLevel import commonWindow, displayWindow

_ = textsOf(__file__)


class RecordedSequences:
    """Recordings that are added to the scene in short steps.

    :param scene: the MRML scene.
    :param sequencesLogic: slicer.modules.sequences.logic().
    """

    def __init__(self, scene: Any, sequencesLogic: Any) -> None:
        self._scene, self._logic = scene, sequencesLogic
        self._waiting: deque[tuple[Any, str]] = deque()
        self._building: tuple[Any, MappedSequence] | None = None
        self._finishing: Iterator[None] = iter(())
        self._browsers: dict[tuple[str, str, int], Any] = {}
        self._starts: dict[str, float] = {}
        self._spans: dict[str, Span] = {}
        self._transforms = RecordedTransforms(scene, sequencesLogic)
        self._values = RecordedValues(scene, sequencesLogic)
        self._shown: list[ShownPart] = []
        """Parts whose values are not added yet."""
        self._adding: deque[Iterator[None]] = deque()
        self._joining: dict[str, tuple[Any, list[tuple[Any, Any]]]] = {}
        """Browser, and the pairs (sequence, proxy) to add to it, by the browser's ID."""

    @property
    def busy(self) -> bool:
        """True while sequences are built."""
        return self._building is not None or bool(self._waiting or self._adding)

    @property
    def progress(self) -> float:
        """Progress of the current part, from 0 to 1; 1 when there is none."""
        if self._building is None:
            return 0.0 if self._waiting or self._adding else 1.0
        sequence = self._building[1]
        return sequence.built / sequence.part.count

    def newBrowser(self, name: str) -> Any:
        """Return an empty vtkMRMLSequenceBrowserNode for a recording; :meth:`add` fills it."""
        browser = self._scene.AddNewNodeByClass(
            "vtkMRMLSequenceBrowserNode", self._scene.GenerateUniqueName(plain(name) or "Recording")
        )
        browser.SetIndexDisplayMode(browser.IndexDisplayAsIndexValue)
        return browser

    def add(self, browser: Any, paths: list[str]) -> None:
        """Add parts of a recording, in the next steps.

        :param browser: for the first part of each stream. Each further part has a browser of its own with all streams.
        """
        self._waiting.extend((browser, path) for path in paths)

    def addMessages(self, browser: Any, paths: list[str]) -> None:
        """Add the poses of devices, after all parts of the recording.

        :param browser: as for :meth:`add`.
        :param paths: manifests of the device messages.
        """
        self._adding.append(self._addMessages(browser, paths))

    def addValues(self, browser: Any, paths: list[str]) -> None:
        """Add the values of the images of a recording, after all its parts: what functions computed from them.

        :param browser: as for :meth:`add`.
        :param paths: of the files of values.
        """
        self._adding.append(self._addValues(browser, paths))

    def _addValues(self, first: Any, paths: list[str]) -> Iterator[None]:
        ids = {browser.GetID() for key, browser in self._browsers.items() if key[0] == first.GetID()}
        parts = [part for part in self._shown if part.browser.GetID() in ids]
        self._shown = [part for part in self._shown if part not in parts]
        yield from self._values.add(parts, paths)

    def _addMessages(self, first: Any, paths: list[str]) -> Iterator[None]:
        ids = {browser.GetID() for key, browser in self._browsers.items() if key[0] == first.GetID()}

        def browserOf(part: int) -> Any:
            return first if part == 1 else self.newBrowser(f"{first.GetName()}_{part}")

        def shiftOf(messages: RecordedMessages) -> float:
            return self._shift(first, messages.origin)

        spans = [span for key, span in self._spans.items() if key in ids]
        yield from self._transforms.add(paths, spans, shiftOf, browserOf)

    def recordings(self) -> dict[str, list[str]]:
        """Return the headers of the parts of each recording in the scene, by name with stream."""
        return {
            name: [node.GetStorageNode().GetFileName() for _, node in sorted(parts.items())]
            for name, parts in self._nodes().items()
        }

    def browserOf(self, path: str) -> Any:
        """Return the browser of a part in the scene by the path of its header; None when it is not in the scene."""
        for parts in self._nodes().values():
            for node in parts.values():
                if os.path.normcase(node.GetStorageNode().GetFileName()) == os.path.normcase(path):
                    return self._logic.GetFirstBrowserNodeForSequenceNode(node)
        return None

    def _nodes(self) -> dict[str, dict[int, Any]]:
        found: dict[tuple[str, str], dict[int, Any]] = {}
        for node in itemsOf(self._scene.GetNodesByClass("vtkMRMLSequenceNode")):
            path = (node.GetStorageNode().GetFileName() if node.GetStorageNode() else None) or ""
            part = int(node.GetAttribute(PART_ATTRIBUTE) or 0)
            if part and path.endswith(HEADER):
                folder, name = os.path.split(path.removesuffix(HEADER))
                found.setdefault((folder, name if part == 1 else name.removesuffix(f"_{part}")), {})[part] = node
        names = [name for _, name in found]
        return {
            name if names.count(name) == 1 else f"{name} ({folder})": parts for (folder, name), parts in found.items()
        }

    def browsersOf(self, first: Any) -> list[Any]:
        """Return all browsers of a recording, ``first`` first."""
        found = [one for key, one in self._browsers.items() if key[0] == first.GetID() and one is not first]
        return [first, *(one for one in found if one.GetScene() is self._scene)]

    def filled(self, browser: Any) -> bool:
        """Return True when the browser has a sequence."""
        return browser.GetMasterSequenceNode() is not None

    def present(self, browser: Any) -> None:
        """Select a browser in Slicer's sequence toolbar."""
        slicer.modules.sequences.showSequenceBrowser(browser)

    def remove(self, browser: Any) -> None:
        """Remove a browser from the scene."""
        if browser.GetScene() is self._scene:
            self._scene.RemoveNode(browser)

    def step(self, seconds: float) -> None:
        """Build for some seconds; complete sequences appear in their browsers.

        :raises RecordingError: a part cannot be opened; it is skipped.
        """
        until = time.perf_counter() + seconds
        if not self._waiting and self._building is None:
            self._join()  # the last sequence failed: add the others
        while self.busy and time.perf_counter() < until:
            if self._building is None and not self._waiting:
                self._addOne()
                continue
            if self._building is None:
                first, path = self._waiting.popleft()
                part = openRecording(path)
                self._building = (self._browserFor(first, part), MappedSequence(part, self._shift(first, part.origin)))
                self._finishing = self._finish(*self._building)
            _part, sequence = self._building
            try:
                complete = sequence.step(until)
            except OSError as error:
                self._building = None
                text = _("{path} cannot be opened: {reason}.")
                raise RecordingError(text.format(path=sequence.part.rawPath, reason=reasonOf(error))) from error
            if complete and next(self._finishing, self._building) is not None:
                self._building = None

    def forget(self) -> None:
        """Forget all nodes after the scene was closed."""
        self._waiting.clear()
        self._browsers.clear()
        self._starts.clear()
        self._spans.clear()
        self._shown.clear()
        self._adding.clear()
        self._joining.clear()
        self._building = None

    def _addOne(self) -> None:
        adding = self._adding[0]
        try:
            next(adding)
        except StopIteration:
            self._adding.popleft()
        except RecordingError:
            self._adding.popleft()
            raise

    def _browserFor(self, first: Any, part: RecordedPart) -> Any:
        # NAME-STREAM, or NAME_1-STREAM of a restarted process, whose part numbers begin again.
        run = recordingName(part.recording, part.stream)
        key = (first.GetID(), run, part.part)
        if not self._browsers or not any(known[0] == key[0] for known in self._browsers):
            self._browsers[key] = first
        elif key not in self._browsers:
            self._browsers[key] = self.newBrowser(run if part.part == 1 else f"{run}_{part.part}")
        return self._browsers[key]

    def _shift(self, first: Any, origin: float) -> float:
        # Each source is a process of its own, whose index begins with its first frame.
        return origin - self._starts.setdefault(first.GetID(), origin)

    def _join(self) -> None:
        """Add the built sequences to their browsers."""
        joining, self._joining = self._joining, {}
        for browser, pairs in joining.values():
            if browser.GetScene() is not self._scene:
                continue
            addToBrowser(browser, pairs, self._logic)

    def _finish(self, browser: Any, sequence: MappedSequence) -> Iterator[None]:
        # Each step takes some milliseconds; Slicer redraws between the steps.
        node, scene = sequence.node, self._scene
        if browser.GetScene() is not scene:
            return
        scene.AddNode(node)
        storage = scene.AddNewNodeByClass("vtkMRMLVolumeSequenceStorageNode")
        node.SetAndObserveStorageNodeID(storage.GetID())
        first = node.GetNthDataNode(0)
        proxy = scene.AddNewNodeByClass(first.GetClassName(), node.GetName())
        # The browser itself would compute the histogram of an image, which takes longer than all other steps.
        proxy.CreateDefaultDisplayNodes()
        proxy.GetDisplayNode().SetAutoWindowLevel(False)
        yield
        # The first frame alone may be nearly black.
        last = node.GetNumberOfDataNodes() - 1
        arrays = [arrayOf(node.GetNthDataNode(index)) for index in sorted({0, last // 2, last})]
        windows = [one for one in (None if pixels is None else _windowOf(pixels) for pixels in arrays) if one]
        if windows:
            proxy.GetDisplayNode().SetWindowLevel(*commonWindow(windows))
        yield
        self._joining.setdefault(browser.GetID(), (browser, []))[1].append((node, proxy))
        if not self._waiting or (len(self._joining[browser.GetID()][1]) == 1 and not self.filled(browser)):
            self._join()
        times = [float(node.GetNthIndexValue(index)) for index in range(node.GetNumberOfDataNodes())]
        span = self._spans.setdefault(browser.GetID(), Span(browser, times[0], times[-1], []))
        span.first, span.last = min(span.first, times[0]), max(span.last, times[-1])
        span.times = sorted({*span.times, *times})
        self._shown.append(ShownPart.of(browser, sequence.part, node))
        yield
        markStored(storage, _smallVolume(), ".seq.nrrd", sequence.part.path)


def streamsOf(browser: Any) -> dict[str, Any]:
    """Return the proxy volume of each recorded stream in a browser, by the stream's name."""
    sequences = vtk.vtkCollection()
    browser.GetSynchronizedSequenceNodes(sequences, True)
    nodes = [sequences.GetItemAsObject(index) for index in range(sequences.GetNumberOfItems())]
    found = {node.GetAttribute(RECORDED_STREAM_ATTRIBUTE): browser.GetProxyNode(node) for node in nodes}
    return {stream: proxy for stream, proxy in found.items() if stream and proxy and proxy.IsA("vtkMRMLVolumeNode")}


def _windowOf(pixels: Pixels) -> tuple[float, float] | None:
    # The middle slice, unless it is uniform: sampling the whole image would read all of it from the disk.
    return displayWindow(pixels[pixels.shape[0] // 2 :][:1]) or displayWindow(pixels)


def _smallVolume() -> Any:
    volume, image = slicer.vtkMRMLScalarVolumeNode(), vtk.vtkImageData()
    image.SetDimensions(1, 1, 1)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    volume.SetAndObserveImageData(image)
    return volume
