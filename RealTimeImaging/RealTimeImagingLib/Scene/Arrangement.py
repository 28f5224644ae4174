"""Layouts with one slice view for each of several streams."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import slicer

from ..Model.Errors import SettingsError
from ..Model.Text import textsOf
from .Views import Views, setVolumeIn, volumeIn

_ = textsOf(__file__)

LAYOUTS = (
    "SlicerLayoutOneUpRedSliceView",
    "SlicerLayoutSideBySideView",
    "SlicerLayoutTwoOverTwoView",
    "SlicerLayoutFourByTwoSliceView",
    "SlicerLayoutThreeByThreeSliceView",
    "SlicerLayoutFourByThreeSliceView",
)
"""Slicer's layouts with 1, 2, 4, 8, 9 and 12 slice views."""
_SLICE_VIEW = re.compile(r'class="vtkMRMLSliceNode"\s+singletontag="([^"]+)"')


@dataclass(frozen=True)
class _ViewState:
    sliceToRAS: tuple[float, ...]
    origin: tuple[float, ...]
    fieldOfView: tuple[float, ...]
    background: str


class Arrangement:
    """Layout with equal slice views, until :meth:`end` restores the layout before.

    :param views: the slice views.
    """

    def __init__(self, views: Views) -> None:
        self._views = views
        self._layout = self._before = 0
        self._states: dict[str, _ViewState] = {}

    @property
    def active(self) -> bool:
        """True until :meth:`end`, or until the user chooses another layout."""
        layout = slicer.app.layoutManager()
        return bool(self._states) and layout is not None and layout.layout == self._layout

    def start(self, count: int) -> list[str]:
        """Change to the smallest layout with as many axial slice views; return their names.

        :param count: at least 1; the largest layout has 12 views.
        :raises SettingsError: Slicer runs without its main window.
        """
        layout = slicer.app.layoutManager()
        if layout is None:
            raise SettingsError(_("Slicer has no window in which views could be arranged."))
        self._before = layout.layout
        logics = self._views.logics()
        self._states = {name: _stateOf(logic) for name, logic in logics.items()}
        for name in LAYOUTS:
            self._layout = getattr(slicer.vtkMRMLLayoutNode, name)
            names = _sliceViews(layout.layoutLogic().GetLayoutNode().GetLayoutDescription(self._layout))
            if len(names) >= count:
                break
        layout.setLayout(self._layout)
        # Side by side, different streams are compared in the same plane.
        for name, logic in self._views.logics().items():
            if name in names:
                logic.GetSliceNode().SetOrientation("Axial")
        return [name for name in self._views.names() if name in names][:count]

    def end(self) -> None:
        """Restore layout, planes, zoom and backgrounds of the views as they were at the start."""
        slicer.app.layoutManager().setLayout(self._before)
        for name, logic in self._views.logics().items():
            if name in self._states:
                _restore(logic, self._states[name])
        self.forget()

    def forget(self) -> None:
        """Forget the layout before."""
        self._states = {}


def _sliceViews(description: str) -> list[str]:
    return _SLICE_VIEW.findall(description)


def _stateOf(logic: Any) -> _ViewState:
    node = logic.GetSliceNode()
    background = volumeIn(logic.GetSliceCompositeNode(), "Background")
    return _ViewState(node.GetSliceToRAS().GetData(), node.GetXYZOrigin(), node.GetFieldOfView(), background)


def _restore(logic: Any, state: _ViewState) -> None:
    node, composite = logic.GetSliceNode(), logic.GetSliceCompositeNode()
    node.GetSliceToRAS().DeepCopy(state.sliceToRAS)
    node.UpdateMatrices()
    node.SetXYZOrigin(*state.origin)
    # The view may have another width by now.
    columns, rows = node.GetDimensions()[:2]
    _width, height, depth = state.fieldOfView
    node.SetFieldOfView(height * columns / max(1, rows), height, depth)
    if not volumeIn(composite, "Background") and composite.GetScene().GetNodeByID(state.background):
        setVolumeIn(composite, "Background", state.background)
