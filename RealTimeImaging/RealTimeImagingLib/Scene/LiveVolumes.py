"""The live volumes of all streams, and where each is shown."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..Frame import Frame
from .LiveVolume import STREAM_ATTRIBUTE, Change, LiveVolume
from .Planes import FollowedPlane
from .Views import ALL_VIEWS, NO_VIEW, Views
from .WindowLevel import REFINED


class LiveVolumes:
    """One live volume for each stream, made when its first frame comes.

    :param scene: the MRML scene.
    :param views: the slice views.
    :param clock: gives seconds, never backwards.
    """

    def __init__(self, scene: Any, views: Views, clock: Callable[[], float] = time.perf_counter) -> None:
        self._scene, self._views, self._clock = scene, views, clock
        self._volumes: dict[str, LiveVolume] = {}
        self._chosen: dict[str, str] = {}
        self._suggested: dict[str, str] = {}
        self._placed: dict[str, str] = {}
        self._fitUntil: dict[str, float] = {}
        self._following: dict[str, FollowedPlane] = {}
        self._always = False
        self._stored: dict[str | None, str] | None = None
        self.onShown: Callable[[str], None] = lambda stream: None
        """Called with a stream's name when its node has an image, before its place in the views is decided."""

    def show(self, frame: Frame) -> set[str] | None:
        """Put a frame into its stream's node; the first of a start also into the views.

        Returns the names of the views that will draw it; None when a view moved, after which all views draw.
        """
        volume = self.volume(frame.stream)
        change = volume.show(frame)
        moved = False
        self.onShown(frame.stream)
        if frame.stream not in self._placed:
            self._placed[frame.stream] = self.where(frame.stream)
            self._fitUntil[frame.stream] = self._clock() + REFINED
            self._views.show(volume.node, self._placed[frame.stream])
        elif change is Change.MADE:
            self._views.show(volume.node, self._placed[frame.stream])
        elif change is Change.MOVED and self._clock() < self._fitUntil[frame.stream]:
            # The first image may be of another size, or lie elsewhere.
            moved = self._views.fitAgain(volume.node)
        if frame.stream in self._following:
            moved = self._views.takePlane(volume.node, self._following[frame.stream]) or moved
        if change is not Change.NONE:
            moved = self._views.follow(volume.node) or moved
        return None if moved else self._views.drawing(volume.node)

    def volume(self, stream: str) -> LiveVolume:
        """The live volume of a stream."""
        if stream not in self._volumes:
            self._volumes[stream] = LiveVolume(self._scene, stream, self._find, self._clock)
            self._volumes[stream].always = self._always
        return self._volumes[stream]

    def where(self, stream: str) -> str:
        """Where a stream is shown: "all", "none" or the name of a view.

        What the user chose; else what was suggested; else the first stream of a start is in all views, and those that
        follow wait for a choice.
        """
        if stream in self._placed:
            return self._placed[stream]
        chosen = self._chosen.get(stream) or self._suggested.get(stream)
        return chosen or (NO_VIEW if self._placed else ALL_VIEWS)

    def suggest(self, stream: str, where: str) -> None:
        """Show a stream there as long as nobody chooses: in all views, in one, or in none; empty: nothing is
        suggested."""
        self._suggested[stream] = where

    def setWhere(self, stream: str, where: str) -> None:
        """Show a stream in all views, in one, or in none."""
        self._chosen[stream] = where
        node = self.volume(stream).node
        if node is not None:
            self._placed[stream] = where
            self._fitUntil[stream] = self._clock()
            self._views.show(node, where)
            self._views.follow(node)

    def following(self, stream: str) -> str | None:
        """Name of the view that follows the plane of a stream's images; None when none does."""
        return self._following[stream].view if stream in self._following else None

    def setFollowing(self, stream: str, view: str | None) -> None:
        """Let a view take the plane of every image of a stream, in place of another stream's; None ends it.

        Until it is asked for, images turn no view in which they can be seen.
        """
        for name in [name for name, followed in self._following.items() if name == stream or followed.view == view]:
            del self._following[name]
        if view is not None:
            self._following[stream] = FollowedPlane(view)
            node = self.volume(stream).node
            if node is not None:
                self._views.takePlane(node, self._following[stream])

    def setAlways(self, always: bool) -> None:
        """Set window and level from every frame of every stream, or only from the first."""
        self._always = always
        for volume in self._volumes.values():
            volume.always = always

    def lookAgain(self) -> None:
        """Look for nodes of streams again: a scene was loaded."""
        self._stored = None

    def _find(self, stream: str) -> Any:
        # Search all nodes once for all streams: a search for each of many streams would take too long.
        if self._stored is None:
            nodes = self._scene.GetNodesByClass("vtkMRMLScalarVolumeNode")
            nodes.UnRegister(None)
            found = [nodes.GetItemAsObject(index) for index in range(nodes.GetNumberOfItems())]
            # The first node of a name counts.
            self._stored = {node.GetAttribute(STREAM_ATTRIBUTE): node.GetID() for node in reversed(found)}
        node = self._scene.GetNodeByID(self._stored.get(stream, ""))
        return node if node is not None and node.GetAttribute(STREAM_ATTRIBUTE) == stream else None

    def prepare(self, anew: bool) -> None:
        """Before the first of the sources starts: place each stream's volume with its next frame.

        :param anew: other images than before are expected, so window and level are set from the first of them.
        """
        self._placed.clear()
        self.lookAgain()
        if anew:
            for volume in self._volumes.values():
                volume.forgetWindow()

    def forget(self) -> None:
        """The scene was closed: its nodes are gone."""
        self._volumes.clear()
        self._placed.clear()
        self._following.clear()
        self.lookAgain()
