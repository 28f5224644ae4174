"""Live volumes of all streams, and how each is shown: views, layer, window and level, colours, 3D."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import slicer

from ..Model.Errors import SettingsError
from ..Model.Frame import ATTRIBUTE_NAME, Frame, Matrix, Pixels
from ..Model.Signal import Signal
from ..Model.Text import isStorable, textsOf
from .Arrangement import Arrangement
from .Concerns import Concerns
from .LiveVolume import Change, LiveVolume
from .Nodes import STREAM_ATTRIBUTE, arrayOf, ijkToRASOf, itemsOf, matrixOf
from .Planes import FollowedPlane
from .Rendering import matchLook, renderingProblem, setRendered
from .Views import ALL_VIEWS, NO_VIEW, OPACITY, Views
from .ViewTexts import ViewTexts
from .WindowLevel import ALWAYS, KEEP, ONCE, REFINED

_ = textsOf(__file__)


COLOUR_MAPS = (
    *("Grey", "InvertedGrey", "Iron", "Rainbow", "ReverseRainbow", "ColdToHotRainbow", "Viridis", "Inferno", "Magma"),
    *("Warm1", "Cool1", "Red", "Green", "Blue", "Ocean", "Desert", "fMRI", "PET-Heat"),
)
"""Slicer's colour maps that suit images, such as phase or temperature."""
LAYER_NAMES = ("background", "foreground")


@dataclass
class _Choice:
    """How the user wants to see a stream.

    :param where: ALL_VIEWS, NO_VIEW or the name of a view; empty without a choice.
    :param colours: ID of a vtkMRMLColorNode; empty without a choice.
    """

    where: str = ""
    foreground: bool = False
    opacity: float = OPACITY
    windowMode: str = ONCE
    colours: str = ""
    rendered: bool = False


class LiveVolumes:
    """Live volumes, one for each stream, and the user's choices of how to see them.

    A choice for a stream holds also before its first image, and in later runs.

    :param scene: the MRML scene.
    :param views: the slice views.
    :param clock: returns monotonic seconds.
    """

    def __init__(self, scene: Any, views: Views, clock: Callable[[], float] = time.perf_counter) -> None:
        self._scene, self._views, self._clock = scene, views, clock
        self._volumes: dict[str, LiveVolume] = {}
        self._choices: defaultdict[str, _Choice] = defaultdict(_Choice)
        self._suggested: dict[str, str] = {}
        self._placed: dict[str, str] = {}
        self._hidden: set[str] = set()
        """Streams that the user took out of all views while they were live."""
        self._fitUntil: dict[str, float] = {}
        self._following: dict[str, FollowedPlane] = {}
        self._arrangement = Arrangement(views)
        self._beforeArrangement: dict[str, tuple[str, str]] = {}
        """Choice and views of each arranged stream, before it was arranged."""
        self._arranged: dict[str, str] = {}
        """View of each arranged stream."""
        self._settledAt = 0.0
        """Time at which the views of an arrangement have their sizes: Slicer gives them later."""
        self._stored: dict[str | None, str] | None = None
        self.onShown: Signal[[str]] = Signal()
        """Emitted with a stream's name when its node has a new image, before the views are chosen."""
        self.texts = ViewTexts(views, lambda stream: self.volume(stream).node)
        """Alarms, and the time of the image, in the views that show a stream."""
        views.concern = Concerns(self, views).of

    def show(self, frame: Frame) -> set[str] | None:
        """Put a frame into its stream's node, and the first frame after a start also into the views.

        Returns the names of the views that will draw it; None when a view moved, so that all views draw.
        """
        stream = frame.stream
        volume = self.volume(stream)
        change = volume.show(frame)
        moved = False
        self.onShown.emit(stream)
        if stream not in self._placed or change is Change.MADE:
            if stream not in self._placed:
                self._placed[stream] = self.where(stream)
                self._fitUntil[stream] = self._clock() + REFINED
            self._place(stream, volume.node)
            self._colour(stream, volume.node)
            if self._choices[stream].rendered:
                setRendered(volume.node, True)
        elif change is Change.MOVED and self._clock() < self._fitUntil[stream]:
            # The first image may have had another size or position.
            moved = self._views.fitAgain(volume.node)
        if self._clock() < self._settledAt:
            moved = self._views.fitResized(volume.node) or moved
        if self._choices[stream].rendered:
            matchLook(volume.node)
        if stream in self._following:
            moved = self._views.takePlane(volume.node, self._following[stream]) or moved
        if change is not Change.NONE:
            moved = self._views.follow(volume.node) or moved
        self.texts.imageShown(stream)
        return None if moved else self._views.drawing(volume.node)

    def _place(self, stream: str, node: Any) -> None:
        choice = self._choices[stream]
        self._views.show(node, self._placed[stream], choice.foreground, choice.opacity)

    def volume(self, stream: str) -> LiveVolume:
        """Return the live volume of a stream; create it if necessary."""
        if stream not in self._volumes:
            self._volumes[stream] = LiveVolume(self._scene, stream, self._find, self._clock)
            self._volumes[stream].windowMode = self._choices[stream].windowMode
        return self._volumes[stream]

    # ---- views

    def where(self, stream: str) -> str:
        """Return the views of a stream: "all", "none" or the name of a view.

        The user's choice comes first, then the suggestion. Otherwise foregrounds and the first background after a start
        are in all views, and further streams are in none.
        """
        if stream in self._placed:
            return self._placed[stream]
        chosen = self._choices[stream].where or self._suggested.get(stream)
        taken = any(not self._choices[other].foreground for other in self._placed)
        return chosen or (NO_VIEW if taken and not self._choices[stream].foreground else ALL_VIEWS)

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
        self._choices[stream].where = where
        self._hidden.discard(stream)
        node = self.volume(stream).node
        if node is not None:
            self._show(stream, node, where)
            if where == NO_VIEW:
                self._hidden.add(stream)

    def _show(self, stream: str, node: Any, where: str) -> None:
        self._placed[stream] = where
        self._fitUntil[stream] = self._clock()
        self._place(stream, node)
        self._views.follow(node)

    def hiddenByUser(self, stream: str) -> bool:
        """Return True when the user took a stream out of all views in this run."""
        return stream in self._hidden

    def bringIntoSight(self, stream: str) -> None:
        """Show a stream in views of the present layout: all, or one when the views show another stream.

        Without a slice view in the layout, Slicer's layout with four views is chosen.
        """
        node = self.volume(stream).node
        layout = slicer.app.layoutManager()
        if node is None or layout is None:
            return
        if not self._views.visible():
            layout.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        choice = self._choices[stream]
        choice.opacity = choice.opacity or OPACITY
        for foreground in dict.fromkeys((choice.foreground, False)):
            choice.foreground = foreground
            free = [name for name in self._views.visible() if not self._views.showsOther(name, node)]
            everywhere = foreground or len(free) == len(self._views.visible())
            self.setWhere(stream, ALL_VIEWS if everywhere else [*self._views.visible(), *free][-1])
            if self._views.inSight(node):
                return

    def layer(self, stream: str) -> tuple[str, float]:
        """Return the layer of a stream, "background" or "foreground", and the opacity of the foreground, 0 to 1."""
        choice = self._choices[stream]
        return LAYER_NAMES[choice.foreground], choice.opacity

    def setLayer(self, stream: str, layer: str, opacity: float = OPACITY) -> None:
        """Show a stream as background, or as foreground over the background, such as a live map over anatomy.

        The user's volumes in the foreground stay there. A background that the stream had replaced comes back. A
        foreground is in all views unless the user chose others.

        :param layer: "background" or "foreground".
        :param opacity: of the foreground, 0 to 1.
        :raises SettingsError: other values, or the foregrounds of all views hold other volumes.
        """
        if layer not in LAYER_NAMES or not 0 <= opacity <= 1:
            raise SettingsError(_("A layer is background, or foreground with an opacity from 0 to 1."))
        choice = self._choices[stream]
        before = choice.foreground, choice.opacity
        choice.foreground, choice.opacity = layer == LAYER_NAMES[1], float(opacity)
        node = self.volume(stream).node
        if node is None or stream not in self._placed:
            return
        if choice.foreground and not choice.where and self._placed[stream] == NO_VIEW:
            self._placed[stream] = ALL_VIEWS
        self._show(stream, node, self._placed[stream])
        if choice.foreground and not before[0]:
            self._uncover()
        if choice.foreground and self._placed[stream] != NO_VIEW and not self._views.inForeground(node):
            choice.foreground, choice.opacity = before
            self._show(stream, node, self._placed[stream])
            raise SettingsError(_("The foreground of the views holds another volume: remove that volume first."))

    def _uncover(self) -> None:
        """Show backgrounds again that no view shows since the stream that is a foreground now had replaced them."""
        for stream, where in self._placed.items():
            if where == NO_VIEW or self._choices[stream].foreground:
                continue
            node = self.volume(stream).node
            if node is not None and not self._views.showing(node):
                self._place(stream, node)

    @property
    def arranged(self) -> bool:
        """True while the layout of :meth:`arrange` is there."""
        return self._arrangement.active

    def arrange(self) -> None:
        """Show each background stream in a view of its own, in the smallest layout with enough equal views.

        :raises SettingsError: there is no live volume, or Slicer runs without its main window.
        """
        streams = [stream for stream in self._placed if not self._choices[stream].foreground] or list(self._placed)
        nodes = {stream: self.volume(stream).node for stream in streams}
        streams = [stream for stream in streams if nodes[stream] is not None]
        if not streams:
            raise SettingsError(_("There is no live volume to arrange yet."))
        self._forgetArrangement()
        names = self._arrangement.start(len(streams))
        self._beforeArrangement = {one: (self._choices[one].where, self._placed[one]) for one in streams[: len(names)]}
        self._arranged = dict(zip(streams, names, strict=False))
        for stream, name in self._arranged.items():
            self._choices[stream].where = name
            self._show(stream, nodes[stream], name)
            self._views.goTo(nodes[stream])
        self._settledAt = self._clock() + REFINED

    def endArrangement(self) -> None:
        """Restore layout, views and streams as they were before :meth:`arrange`; do nothing without it."""
        if not self._arrangement.active:
            return
        for stream, (chosen, where) in self._beforeArrangement.items():
            self._choices[stream].where = chosen
            node = self.volume(stream).node
            if node is not None:
                self._show(stream, node, where)
        self._beforeArrangement = {}
        self._arrangement.end()
        self._settledAt = 0.0

    def _forgetArrangement(self) -> None:
        """Restore the user's choices from before an arrangement that another layout or scene has ended."""
        for stream, (chosen, where) in self._beforeArrangement.items():
            # A later choice of the user stays.
            if self._choices[stream].where == self._arranged[stream]:
                self._choices[stream].where = chosen
                if stream in self._placed:
                    self._placed[stream] = where
        self._beforeArrangement = {}
        self._arrangement.forget()

    # ---- planes, colours, 3D

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

    def colourMaps(self) -> list[str]:
        """Return the names of the colour maps for images that the scene has; :meth:`setColours` knows others, too."""
        return [name for name in COLOUR_MAPS if _colourNode(self._scene, name)]

    def colours(self, stream: str) -> str:
        """Return the name of the colour map that was chosen for a stream; empty without a choice."""
        node = self._scene.GetNodeByID(self._choices[stream].colours)
        return str(node.GetName()) if node else ""

    def setColours(self, stream: str, name: str) -> None:
        """Show a stream in a colour map of Slicer, such as "Grey", "Iron" or "Rainbow". Colour images stay as they are.

        :param name: name or ID of a vtkMRMLColorNode; empty ends the choice, and the colours stay.
        :raises SettingsError: there is no such colour map.
        """
        # VTK aborts at a name that is no UTF-8.
        node = _colourNode(self._scene, name) if name and isStorable(name) else None
        if name and node is None:
            raise SettingsError(_("There is no colour map {name}.").format(name=repr(name)))
        self._choices[stream].colours = node.GetID() if node else ""
        self._colour(stream, self.volume(stream).node)

    def _colour(self, stream: str, node: Any) -> None:
        display = node.GetDisplayNode() if node is not None else None
        if display is not None and self._scene.GetNodeByID(self._choices[stream].colours):
            display.SetAndObserveColorNodeID(self._choices[stream].colours)
            matchLook(node)

    def rendered(self, stream: str) -> bool:
        """Return True when volume rendering was chosen for a stream."""
        return self._choices[stream].rendered

    def renderingProblem(self, stream: str) -> str:
        """Return the reason why a stream cannot be rendered in 3D; empty when it can."""
        return renderingProblem(self.volume(stream).node)

    def setRendered(self, stream: str, on: bool) -> None:
        """Show a stream in the 3D views by volume rendering, in the look of its window, level and colours.

        :raises SettingsError: the stream cannot be rendered: see :meth:`renderingProblem`.
        """
        node = self.volume(stream).node
        problem = renderingProblem(node)
        if on and problem:
            raise SettingsError(problem)
        self._choices[stream].rendered = on
        if node is not None:
            setRendered(node, on)

    def _checkView(self, name: str, *others: str) -> None:
        known = [*others, *self._views.names()]
        if name not in known:
            text = _("There is no view {name}; there are {known}.")
            raise SettingsError(text.format(name=name, known=", ".join(known)))

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

    def windowMode(self, stream: str) -> str:
        """Return the images that set window and level of a stream: "keep", "once" or "always"."""
        return self._choices[stream].windowMode

    def setWindowMode(self, stream: str, mode: str) -> None:
        """Choose the images that set window and level of a stream.

        :param mode: "once": those of the first second of a run; "always": every image; "keep": none, once they are
            set. The user's own changes stay, except with "always".
        :raises SettingsError: another mode.
        """
        if mode not in (KEEP, ONCE, ALWAYS):
            raise SettingsError(_("Window and level are set once or always, or keep."))
        self._choices[stream].windowMode = self.volume(stream).windowMode = mode

    def lookAgain(self) -> None:
        """Search the nodes of streams again after a scene was loaded."""
        self._stored = None

    def _find(self, stream: str) -> Any:
        # One search serves all streams: a search for each of many streams would take too long.
        if self._stored is None:
            found = list(itemsOf(self._scene.GetNodesByClass("vtkMRMLScalarVolumeNode")))
            # Of nodes with the same stream, the first is used.
            self._stored = {node.GetAttribute(STREAM_ATTRIBUTE): node.GetID() for node in reversed(found)}
        node = self._scene.GetNodeByID(self._stored.get(stream, ""))
        return node if node is not None and node.GetAttribute(STREAM_ATTRIBUTE) == stream else None

    def prepare(self, anew: bool) -> None:
        """Prepare for the first source of a run: the next frame of each stream puts its volume into the views.

        :param anew: True sets window and level from the first images of this run.
        """
        self._placed.clear()
        self._hidden.clear()
        self.lookAgain()
        if anew:
            for volume in self._volumes.values():
                volume.forgetWindow()

    def forget(self) -> None:
        """Forget all nodes after the scene was closed."""
        self._volumes.clear()
        self._placed.clear()
        self._hidden.clear()
        self._following.clear()
        self._forgetArrangement()
        self.texts.clear()
        self.lookAgain()


def _colourNode(scene: Any, name: str) -> Any:
    """Return the colour node of an ID or a name, or None."""
    node = scene.GetNodeByID(name)
    if node is None:
        found = itemsOf(scene.GetNodesByName(name))
        node = next((one for one in found if one.IsA("vtkMRMLColorNode")), None)
    return node if node is not None and node.IsA("vtkMRMLColorNode") else None
