"""The four views in a Qt widget."""

from typing import Any

import numpy
import slicer
from PySide6 import QtCore, QtGui, QtWidgets
from vtkmodules.vtkCommonCore import vtkCommand

from .Layout import SLICES, Layout, offscreenLayout
from .Observers import observe
from .Views import SliceView, ThreeDView, View


class _Pane(QtWidgets.QWidget):
    """One view's picture. The wheel goes to the next or previous slice."""

    def __init__(self, view: View) -> None:
        super().__init__()
        self._view = view
        self._pixels: numpy.ndarray[Any, Any] | None = None
        view.painted.append(self._take)

    def sizeHint(self) -> QtCore.QSize:
        return QtCore.QSize(360, 330)

    def _take(self) -> None:
        self._pixels = numpy.ascontiguousarray(self._view.pixels())
        self.update()

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        self._view.setSize(event.size().width(), event.size().height())

    def wheelEvent(self, event: QtGui.QWheelEvent) -> None:
        if isinstance(self._view, SliceView):
            logic = self._view.logic
            step = logic.GetLowestVolumeSliceSpacing()[2] or 1.0
            logic.SetSliceOffset(logic.GetSliceOffset() + (step if event.angleDelta().y() > 0 else -step))

    def paintEvent(self, _event: QtGui.QPaintEvent) -> None:
        if self._pixels is None:
            return
        height, width, components = self._pixels.shape
        image = QtGui.QImage(self._pixels.data, width, height, components * width, QtGui.QImage.Format.Format_RGB888)
        painter = QtGui.QPainter(self)
        painter.drawImage(0, 0, image)
        painter.end()


def _grid() -> tuple[QtWidgets.QWidget, QtWidgets.QGridLayout]:
    widget = QtWidgets.QWidget()
    grid = QtWidgets.QGridLayout(widget)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setSpacing(2)
    return widget, grid


def makeImageWidget() -> tuple[QtWidgets.QWidget, Layout]:
    layout = offscreenLayout()
    widget, grid = _grid()
    red, yellow, green, threeD = layout.views()
    for index, view in enumerate((red, threeD, yellow, green)):
        grid.addWidget(_Pane(view), index // 2, index % 2)
    return widget, layout


def makeViewWidget() -> tuple[QtWidgets.QWidget, Layout]:
    import vtkmodules.qt

    vtkmodules.qt.PyQtImpl = "PySide6"
    from vtkmodules.qt.QVTKRenderWindowInteractor import QVTKRenderWindowInteractor

    if slicer.app.applicationLogic().GetSliceLogics().GetNumberOfItems():
        raise RuntimeError("there are views already: real OpenGL views can only be the first ones")
    widget, grid = _grid()
    panes = [QVTKRenderWindowInteractor(widget) for _ in range(4)]
    for index, pane in enumerate(panes):
        pane.setMinimumSize(240, 200)
        grid.addWidget(pane, index // 2, index % 2)
        pane.Initialize()

    def of(pane: Any) -> dict[str, Any]:
        return {"window": pane.GetRenderWindow(), "interactor": pane.GetRenderWindow().GetInteractor()}

    slices = [SliceView(*slice_, **of(panes[i])) for slice_, i in zip(SLICES, (0, 2, 3), strict=True)]
    layout = Layout(slices, ThreeDView("1", **of(panes[1])))
    for view in layout.views():
        for source in (view.interactor, view.window):
            observe(source, vtkCommand.WindowResizeEvent, lambda *_, view=view: view.resized())
    return widget, layout
