"""The scan plane follows a node: sent while it moves, not faster than allowed, the last position always."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import qt
import vtk

from ..Model.Errors import ControlError
from ..Model.Event import Event
from ..Model.Frame import Matrix
from ..Scene.Planes import poseOf
from .Callbacks import Callbacks

SAME = 1e-5
"""Greatest difference, in millimetres and of directions, of positions that are the same."""
RETRY = 1.0
"""Seconds after which a position is sent again that nobody received."""


class PlaneFollowing:
    """Sends where a node is until :meth:`end`, or until it is deleted or the scene is closed.

    :param node: vtkMRMLSliceNode, vtkMRMLTransformNode or vtkMRMLMarkupsPlaneNode; it is sent where it is now, too.
    :param rate: most positions sent in a second.
    :param deliver: sends a 4x4 position in RAS; returns to how many devices.
    :param listeners: are told when something goes wrong, once, and of an end that nobody asked for.
    """

    def __init__(
        self, node: Any, rate: float, deliver: Callable[[Matrix], int], listeners: Callbacks, scene: Any
    ) -> None:
        self.node = node
        self._name = node.GetName() or node.GetID()
        self._period, self._deliver, self._listeners, self._scene = 1 / rate, deliver, listeners, scene
        self._last: Matrix | None = None
        self._trouble = ""
        self._next = 0.0
        self.ended = False
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setTimerType(qt.Qt.PreciseTimer)
        self._timer.connect("timeout()", self._send)
        self._observers = [(node, node.AddObserver(event, self._moved)) for event in _eventsOf(node)]
        for event, slot in ((scene.NodeRemovedEvent, self._removed), (scene.StartCloseEvent, self.sceneCloses)):
            self._observers.append((scene, scene.AddObserver(event, slot)))
        self._timer.start(0)

    def again(self) -> None:
        """Send where it is once more: somebody connected who was not told."""
        self._last = None
        self._moved()

    def end(self) -> None:
        """Send nothing more."""
        self.ended = True
        self._timer.stop()
        self._timer.disconnect("timeout()", self._send)
        for item, tag in self._observers:
            item.RemoveObserver(tag)
        self._observers.clear()

    def _moved(self, *_: Any) -> None:
        # An event loop that turns within an observer would come here again; the timer takes all together.
        if not self._timer.isActive():
            self._timer.start(max(0, round(1000 * (self._next - time.perf_counter()))))

    def _send(self) -> None:
        try:
            pose = poseOf(self.node)
        except ControlError as error:
            self._tell(Event("plane-invalid", f"{self._name}: {error}", "warning", self._name))
            return
        if self._last is not None and np.abs(pose - self._last).max() <= SAME:
            return
        self._next = time.perf_counter() + self._period
        try:
            delivered = self._deliver(pose)
        except ControlError as error:
            self._tell(Event("plane-invalid", f"{self._name}: {error}", "warning", self._name))
            return
        if delivered:
            self._last, self._trouble = pose, ""
            return
        text = f"No device is connected that would take the position of {self._name}; it is sent when one is."
        self._tell(Event("no-peer", text, "warning", self._name))
        self._timer.start(round(1000 * RETRY))

    def _tell(self, event: Event) -> None:
        if event.code != self._trouble:
            self._trouble = event.code
            self._listeners.report(event)

    def _removed(self, *_: Any) -> None:
        if not self._scene.IsNodePresent(self.node):
            self._endWith(f"{self._name} was deleted; its position is not sent any more.")

    def sceneCloses(self, *_: Any) -> None:
        """End, as the scene is closed."""
        self._endWith(f"The scene is closed; the position of {self._name} is not sent any more.")

    def _endWith(self, text: str) -> None:
        if not self.ended:
            self.end()
            self._listeners.report(Event("follow-ended", text, "warning", self._name))


def _eventsOf(node: Any) -> list[Any]:
    # Moving a markups plane or a transform makes other events than ModifiedEvent.
    names = ("TransformModifiedEvent", "PointModifiedEvent")
    return [vtk.vtkCommand.ModifiedEvent, *(getattr(node, name) for name in names if hasattr(node, name))]
