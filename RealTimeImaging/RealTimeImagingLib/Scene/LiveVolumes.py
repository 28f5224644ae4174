"""Live volumes of all streams, and how each is shown: views, layer, window and level, colours, 3D."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from ..Model.Errors import SettingsError
from ..Model.Frame import ATTRIBUTE_NAME, Frame, Matrix, Pixels
from ..Model.Signal import Signal
from .LiveVolume import Change, LiveVolume
from .Nodes import STREAM_ATTRIBUTE, arrayOf, ijkToRASOf, matrixOf
from .Planes import FollowedPlane
from .Views import ALL_VIEWS, NO_VIEW, Views
from .WindowLevel import REFINED


class LiveVolumes:
    """Live volumes, one for each stream.

    :param scene: the MRML scene.
    :param views: the slice views.
    :param clock: returns monotonic seconds.
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
        self.onShown: Signal[[str]] = Signal()
        """Emitted with a stream's name when its node has a new image, before the views are chosen."""

    def show(self, frame: Frame) -> set[str] | None:
        """Put a frame into its stream's node, and the first frame after a start also into the views.

        Returns the names of the views that will draw it; None when a view moved, so that all views draw.
        """
        volume = self.volume(frame.stream)
        change = volume.show(frame)
        moved = False
        self.onShown.emit(frame.stream)
        if frame.stream not in self._placed:
            self._placed[frame.stream] = self.where(frame.stream)
            self._fitUntil[frame.stream] = self._clock() + REFINED
            self._views.show(volume.node, self._placed[frame.stream])
        elif change is Change.MADE:
            self._views.show(volume.node, self._placed[frame.stream])
        elif change is Change.MOVED and self._clock() < self._fitUntil[frame.stream]:
            # The first image may have had another size or position.
            moved = self._views.fitAgain(volume.node)
        if frame.stream in self._following:
            moved = self._views.takePlane(volume.node, self._following[frame.stream]) or moved
        if change is not Change.NONE:
            moved = self._views.follow(volume.node) or moved
        return None if moved else self._views.drawing(volume.node)

    def volume(self, stream: str) -> LiveVolume:
        """Return the live volume of a stream; create it if necessary."""
        if stream not in self._volumes:
            self._volumes[stream] = LiveVolume(self._scene, stream, self._find, self._clock)
            self._volumes[stream].always = self._always
        return self._volumes[stream]

    def where(self, stream: str) -> str:
        """Return the views of a stream: "all", "none" or the name of a view.

        The user's choice comes first, then the suggestion. Otherwise the first stream after a start is in all views,
        and further streams are in none.
        """
        if stream in self._placed:
            return self._placed[stream]
        chosen = self._chosen.get(stream) or self._suggested.get(stream)
        return chosen or (NO_VIEW if self._placed else ALL_VIEWS)

    def suggest(self, stream: str, where: str) -> None:
        """Suggest views for a stream, as long as the user chooses none.

        :param where: "all", "none" or the name of a view; empty for no suggestion.
        """
        self._suggested[stream] = where

    def setWhere(self, stream: str, where: str) -> None:
        """Show a stream in "all" views, in "none", or in the slice view of this name.

        :raises SettingsError: there is no such view.
        """
        self._checkView(where, ALL_VIEWS, NO_VIEW)
        self._chosen[stream] = where
        node = self.volume(stream).node
        if node is not None:
            self._placed[stream] = where
            self._fitUntil[stream] = self._clock()
            self._views.show(node, where)
            self._views.follow(node)

    def following(self, stream: str) -> str | None:
        """Return the name of the view that follows the plane of a stream's images, or None."""
        return self._following[stream].view if stream in self._following else None

    def setFollowing(self, stream: str, view: str | None) -> None:
        """Turn a view into the plane of every image of a stream. The view follows one stream.

        Otherwise images turn only views in which they would be invisible.

        :param view: name of the view; None ends it.
        :raises SettingsError: there is no such view.
        """
        if view is not None:
            self._checkView(view)
        for name in [name for name, followed in self._following.items() if name == stream or followed.view == view]:
            del self._following[name]
        if view is not None:
            self._following[stream] = FollowedPlane(view)
            node = self.volume(stream).node
            if node is not None:
                self._views.takePlane(node, self._following[stream])

    def _checkView(self, name: str, *others: str) -> None:
        known = [*others, *self._views.names()]
        if name not in known:
            raise SettingsError(f"There is no view {name}; there are {', '.join(known)}.")

    def images(self, stream: str | None = None) -> Iterator[tuple[str, Pixels, Matrix, dict[str, str]]]:
        """Yield stream, pixels, IJKToRAS and attributes of the current image of one stream, or of all.

        :param stream: None: all streams that were shown since the first of the running sources started.
        """
        for name in [stream] if stream else list(self._placed):
            node = self.volume(name).node
            pixels = None if node is None else arrayOf(node)
            if pixels is not None:
                values = {key: node.GetAttribute(key) for key in node.GetAttributeNames()}
                known = {key: value for key, value in values.items() if ATTRIBUTE_NAME.fullmatch(key)}
                known.pop(STREAM_ATTRIBUTE, None)
                yield name, pixels, matrixOf(ijkToRASOf(node)), known

    def setWindow(self, stream: str | None = None) -> None:
        """Set window and level of one stream, or of all, from the current image."""
        for name in [stream] if stream else list(self._placed):
            self.volume(name).setWindow()

    def setAlways(self, always: bool) -> None:
        """Set window and level from every frame of every stream.

        :param always: False sets them from the first images only.
        """
        self._always = always
        for volume in self._volumes.values():
            volume.always = always

    def lookAgain(self) -> None:
        """Search the nodes of streams again after a scene was loaded."""
        self._stored = None

    def _find(self, stream: str) -> Any:
        # One search serves all streams: a search for each of many streams would take too long.
        if self._stored is None:
            nodes = self._scene.GetNodesByClass("vtkMRMLScalarVolumeNode")
            nodes.UnRegister(None)
            found = [nodes.GetItemAsObject(index) for index in range(nodes.GetNumberOfItems())]
            # Of nodes with the same stream, the first is used.
            self._stored = {node.GetAttribute(STREAM_ATTRIBUTE): node.GetID() for node in reversed(found)}
        node = self._scene.GetNodeByID(self._stored.get(stream, ""))
        return node if node is not None and node.GetAttribute(STREAM_ATTRIBUTE) == stream else None

    def prepare(self, anew: bool) -> None:
        """Prepare for the first source of a run: the next frame of each stream puts its volume into the views.

        :param anew: True sets window and level from the first images of this run.
        """
        self._placed.clear()
        self.lookAgain()
        if anew:
            for volume in self._volumes.values():
                volume.forgetWindow()

    def forget(self) -> None:
        """Forget all nodes after the scene was closed."""
        self._volumes.clear()
        self._placed.clear()
        self._following.clear()
        self.lookAgain()
