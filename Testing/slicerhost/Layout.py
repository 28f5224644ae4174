"""slicer.app.layoutManager(): Red, Yellow, Green and one 3D view, and the slice views of Slicer's other layouts."""

import re
from collections.abc import Sequence
from typing import Any

import slicer

from .Views import SliceView, ThreeDView, View

SLICES = (
    ("Red", "Axial", (0.953, 0.290, 0.200)),
    ("Yellow", "Sagittal", (0.929, 0.835, 0.298)),
    ("Green", "Coronal", (0.431, 0.690, 0.294)),
)
GREY = (0.5, 0.5, 0.5)
_VIEW = re.compile(r'class="vtkMRML(Slice|View)Node"\s+singletontag="([^"]+)"')


class Layout:
    """The layout manager with the methods that modules use; other names are refused."""

    def __init__(self, slices: Sequence[SliceView], threeD: ThreeDView) -> None:
        self._slices = {view.name: view for view in slices}
        self._spare: dict[str, SliceView] = {}
        self._threeD = [threeD]
        self._plots: list[Any] = []
        self._asked = 0
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLScene(slicer.mrmlScene)
        for view in slices:
            view.offsetChanged = self._scheduleSlices
        slicer.app._layout = self
        self.reset()

    def layoutLogic(self) -> Any:
        return self._logic

    @property
    def layout(self) -> int:
        return int(self._logic.GetLayoutNode().GetViewArrangement())

    def setLayout(self, number: int) -> None:
        """Show the views of a layout. As in Slicer, views that it lacks stay and are not mapped in the layout."""
        node = self._logic.GetLayoutNode()
        node.SetViewArrangement(number)
        found = _VIEW.findall(node.GetLayoutDescription(number))
        names = [name for kind, name in found if kind == "Slice"]
        for name in names:
            if name not in self._slices:
                self._slices[name] = self._spare.pop(name, None) or SliceView(name, "Axial", GREY)
                self._slices[name].enter()
                self._slices[name].offsetChanged = self._scheduleSlices
        for view in self._slices.values():
            view.node.SetMappedInLayout(view.name in names)
        for view in self._threeD:
            view.node.SetMappedInLayout(("View", view.name) in found)

    def reset(self) -> None:
        """Four views as at Slicer's start; others are put aside. Of the host, not of Slicer."""
        for name in [name for name in self._slices if name not in {one for one, *_ in SLICES}]:
            self._spare[name] = self._slices.pop(name)
            self._spare[name].leave()
        self.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)

    def _scheduleSlices(self) -> None:
        # Each slice view may show where the others lie: all are drawn when one moves.
        for view in self._slices.values():
            view.scheduleRender()

    @property
    def threeDViewCount(self) -> int:
        return len(self._threeD)

    @property
    def tableViewCount(self) -> int:
        return 0

    @property
    def plotViewCount(self) -> int:
        """As in Slicer each plot view node of the scene has a view, shown or not."""
        from .PlotView import PlotWidget

        nodes = slicer.mrmlScene.GetNodesByClass("vtkMRMLPlotViewNode")
        found = [nodes.GetItemAsObject(place) for place in range(nodes.GetNumberOfItems())]
        for widget in [one for one in self._plots if one.mrmlPlotViewNode() not in found]:
            widget.leave()
        kept = {one.mrmlPlotViewNode(): one for one in self._plots}
        self._plots = [kept.get(node) or PlotWidget(slicer.mrmlScene, node) for node in found]
        return len(self._plots)

    def views(self) -> list[View]:
        """Slice views, then the 3D view; of the host, not of Slicer."""
        return [*self._slices.values(), *self._threeD]

    def sliceViewNames(self) -> tuple[str, ...]:
        # In Slicer they come out of a hash table: in another order each time.
        names = list(self._slices)
        self._asked = (self._asked + 1) % len(names)
        return (*names[self._asked :], *names[: self._asked])

    def sliceWidget(self, name: str) -> SliceView | None:
        return self._slices.get(name)

    def threeDWidget(self, index: int) -> ThreeDView | None:
        return self._threeD[index] if 0 <= index < len(self._threeD) else None

    def plotWidget(self, index: int) -> Any:
        return self._plots[index] if 0 <= index < self.plotViewCount else None

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def mrmlSliceLogics(self) -> Any:
        return slicer.app.applicationLogic().GetSliceLogics()

    def mrmlViewLogics(self) -> Any:
        return slicer.app.applicationLogic().GetViewLogics()

    def resetSliceViews(self) -> None:
        for view in self._slices.values():
            view.logic.FitSliceToAll()

    def resetThreeDViews(self) -> None:
        for view in self._threeD:
            view.resetFocalPoint()

    def pauseRender(self) -> None:
        for view in self.views():
            view.pauseRender()

    def resumeRender(self) -> None:
        for view in self.views():
            view.resumeRender()

    def setRenderPaused(self, paused: bool) -> None:
        (self.pauseRender if paused else self.resumeRender)()

    def renderIfNeeded(self) -> int:
        """Render each view that has something new; returns how many did. Of the host, not of Slicer."""
        return sum(view.renderIfNeeded() for view in self.views())


# As in Slicer the views are made once and live as long as the application.
_offscreen: list[Layout] = []


def offscreenLayout() -> Layout:
    """The views without a window of their own, as new."""
    removeViews()
    if not _offscreen:
        _offscreen.append(Layout([SliceView(*slice_) for slice_ in SLICES], ThreeDView("1")))
    layout = _offscreen[0]
    slicer.app._layout = layout
    layout.reset()
    for view in layout.views():
        view.show()
    return layout


def makeOffscreenViews(size: int = 320) -> Layout:
    layout = offscreenLayout()
    for view in layout.views():
        view.setSize(size, size)
    return layout


def removeViews() -> None:
    """Hide the views; their nodes stay in the scene. slicer.app.layoutManager() is None afterwards."""
    layout = slicer.app._layout
    if layout is not None:
        slicer.app._layout = None
        layout.reset()
        for view in layout.views():
            view.hide()
