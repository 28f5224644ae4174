"""Finished recordings in the views, instead of the live volumes of their streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import vtk

from .Nodes import STREAM_ATTRIBUTE
from .RecordedSequences import streamsOf
from .Views import ALL_VIEWS, LAYERS, Views, layersOf, setVolumeIn, volumeIn


@dataclass
class _Shown:
    """Stream of a recording in the views.

    :param run: the running source of the stream when the recording was shown, or None.
    """

    proxy: Any
    run: object
    places: list[tuple[Any, str]] = field(default_factory=list)
    observers: list[int] = field(default_factory=list)


class RecordingViews:
    """Recordings that replace live volumes in the views, by the volumes that Slicer's sequence toolbar changes.

    Zoom, slice, window and level, colours and transform stay. The first image after the next start shows the live
    volume again.

    :param scene: the MRML scene.
    :param views: the slice views.
    :param liveNode: returns the live volume node of a stream, or None.
    :param runOf: returns the running source of a stream, or None.
    """

    def __init__(
        self, scene: Any, views: Views, liveNode: Callable[[str], Any], runOf: Callable[[str], object]
    ) -> None:
        self._scene, self._views, self._liveNode, self._runOf = scene, views, liveNode, runOf
        self._finished: dict[str, Any] = {}
        self._shown: dict[str, _Shown] = {}
        self.last: Any = None
        """Browser node of the last finished recording, or None."""

    def finish(self, browsers: list[Any]) -> None:
        """Show each stream of a finished recording as soon as the stream is not live.

        :param browsers: its vtkMRMLSequenceBrowserNodes, that of the first part first.
        """
        self.last = browsers[0]
        for browser in reversed(browsers):
            self._finished.update(streamsOf(browser))
        for stream, proxy in self._finished.items():
            live = self._liveNode(stream)
            if live is not None:
                _copyLook(live, proxy)
        self.update()

    def update(self) -> None:
        """Show finished recordings of streams whose source has ended."""
        for stream, proxy in list(self._finished.items()):
            if self._runOf(stream) is not None:
                continue
            del self._finished[stream]
            live = self._liveNode(stream)
            if live is None or proxy.GetScene() is not self._scene:
                continue
            places = [place for place in layersOf(self._scene, live.GetID()) if not self._isLive(place[0])]
            self._put(stream, live, proxy, places)

    def show(self, browser: Any) -> bool:
        """Show a recording now, even instead of a live volume; return False when it has no images.

        When no view shows one of its streams, all views show the first stream.
        """
        streams = streamsOf(browser)
        for stream, proxy in streams.items():
            self._finished.pop(stream, None)
            live = self._liveNode(stream)
            if live is not None:
                self._put(stream, live, proxy, layersOf(self._scene, live.GetID()))
        if streams and not any(layersOf(self._scene, proxy.GetID()) for proxy in streams.values()):
            proxy = next(iter(streams.values()))
            self._views.show(proxy, ALL_VIEWS)
            self._note(next(iter(streams)), proxy, [])
        return bool(streams)

    def takeBack(self, stream: str) -> None:
        """Show the live volume of a stream again when its image comes from another source than before."""
        shown = self._shown.get(stream)
        if shown is None or self._runOf(stream) is shown.run:
            return
        self._release(stream)
        live = self._liveNode(stream)
        for composite, layer in shown.places:
            if live is not None and volumeIn(composite, layer) == shown.proxy.GetID():
                setVolumeIn(composite, layer, live.GetID())

    def forget(self) -> None:
        """Forget all recordings, at the end or after the scene was closed."""
        for stream in list(self._shown):
            self._release(stream)
        self._finished.clear()
        self.last = None

    def _isLive(self, composite: Any) -> bool:
        nodes = (self._scene.GetNodeByID(volumeIn(composite, layer)) for layer in LAYERS)
        streams = (node.GetAttribute(STREAM_ATTRIBUTE) for node in nodes if node)
        return any(stream and self._runOf(stream) is not None for stream in streams)

    def _put(self, stream: str, live: Any, proxy: Any, places: list[tuple[Any, str]]) -> None:
        earlier = self._shown.get(stream)
        if earlier is not None:
            # The new recording replaces the earlier one.
            places = places + [one for one in earlier.places if volumeIn(*one) == earlier.proxy.GetID()]
        if not places:
            return
        _copyLook(live, proxy)
        for composite, layer in places:
            setVolumeIn(composite, layer, proxy.GetID())
        self._note(stream, proxy, places)

    def _note(self, stream: str, proxy: Any, places: list[tuple[Any, str]]) -> None:
        self._release(stream)
        shown = self._shown[stream] = _Shown(proxy, self._runOf(stream), places)
        # The view must follow a single slice that moves from frame to frame.
        shown.observers.append(proxy.AddObserver(vtk.vtkCommand.ModifiedEvent, self._moved))
        self._views.follow(proxy)

    def _moved(self, proxy: Any, event: Any = None) -> None:
        self._views.follow(proxy)

    def _release(self, stream: str) -> None:
        shown = self._shown.pop(stream, None)
        if shown:
            for tag in shown.observers:
                shown.proxy.RemoveObserver(tag)


def _copyLook(live: Any, proxy: Any) -> None:
    """Copy transform, window, level, threshold and colours of a live volume to a recording's volume."""
    if live.GetTransformNodeID() != proxy.GetTransformNodeID():
        proxy.SetAndObserveTransformNodeID(live.GetTransformNodeID())
    here, there = live.GetDisplayNode(), proxy.GetDisplayNode()
    if here is None or there is None or here.GetClassName() != there.GetClassName():
        return
    modifying = there.StartModify()
    there.SetAutoWindowLevel(False)
    there.SetWindowLevel(here.GetWindow(), here.GetLevel())
    # Without a colour table, as in colour images, the ID is None.
    there.SetAndObserveColorNodeID(here.GetColorNodeID() or "")
    there.SetInterpolate(here.GetInterpolate())
    there.SetAutoThreshold(False)
    there.SetThreshold(here.GetLowerThreshold(), here.GetUpperThreshold())
    there.SetApplyThreshold(here.GetApplyThreshold())
    there.EndModify(modifying)
