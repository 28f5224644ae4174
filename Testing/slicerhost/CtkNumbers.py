"""Number widgets of ctk, and qMRMLSliderWidget."""

from typing import Any

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from .CtkWidgets import QWidget, register, setter
from .PythonQt import hostClass

STEPS = 1000  # positions of the slider


def _spin(kind: Any, name: str) -> Any:
    """A property of the spin box inside."""
    setName = "set" + name[0].upper() + name[1:]
    return Property(
        kind,
        lambda self: getattr(QtWidgets.QDoubleSpinBox, name)(self._box),
        lambda self, value: getattr(QtWidgets.QDoubleSpinBox, setName)(self._box, value),
    )


class _NumberWidget(QWidget):  # type: ignore[misc, valid-type]
    """Base of ctkDoubleSpinBox and ctkSliderWidget. PythonQt wraps no setRange: the properties set the limits."""

    standIn = True

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._box = hostClass(QtWidgets.QDoubleSpinBox)()
        layout = hostClass(QtWidgets.QHBoxLayout)(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._fill(layout)
        layout.addWidget(self._box)
        QtCore.QObject.connect(self._box, QtCore.SIGNAL("valueChanged(double)"), self._changed)

    def _fill(self, layout: QtWidgets.QHBoxLayout) -> None:
        """Widgets left of the number."""

    def _changed(self, value: float) -> None:
        self.valueChanged.emit(value)

    def spinBox(self) -> Any:
        return self._box

    value, minimum, maximum = _spin(float, "value"), _spin(float, "minimum"), _spin(float, "maximum")
    singleStep, decimals = _spin(float, "singleStep"), _spin(int, "decimals")
    prefix, suffix = _spin(str, "prefix"), _spin(str, "suffix")
    setValue = setter("value")
    setSingleStep, setDecimals = setter("singleStep"), setter("decimals")
    setPrefix, setSuffix = setter("prefix"), setter("suffix")


class ctkDoubleSpinBox(_NumberWidget):
    """A number. The real class is a QWidget around a QDoubleSpinBox, not a QDoubleSpinBox."""

    standIn = True
    valueChanged = Signal(float)
    editingFinished = Signal()
    SetAlways, SetIfDifferent = 0, 1
    FixedDecimals, DecimalsByShortcuts, DecimalsByKey, DecimalsByValue = 0, 1, 2, 4
    InsertDecimals, ReplaceDecimals, DecimalsAsMax, DecimalsAsMin, DecimalPointAlwaysVisible = 8, 16, 32, 64, 128

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        QtCore.QObject.connect(self._box, QtCore.SIGNAL("editingFinished()"), self.editingFinished.emit)

    def setReadOnly(self, readOnly: bool) -> None:
        QtWidgets.QDoubleSpinBox.setReadOnly(self._box, readOnly)

    def setValueIfDifferent(self, value: float) -> None:
        self.setValue(value)

    def stepUp(self) -> None:
        QtWidgets.QDoubleSpinBox.stepUp(self._box)

    def stepDown(self) -> None:
        QtWidgets.QDoubleSpinBox.stepDown(self._box)

    readOnly = Property(bool, lambda self: QtWidgets.QDoubleSpinBox.isReadOnly(self._box), setReadOnly)
    cleanText = Property(str, lambda self: QtWidgets.QDoubleSpinBox.cleanText(self._box))


class ctkSliderWidget(_NumberWidget):
    """A slider and a number. Without tracking valueChanged waits for the slider's release."""

    standIn = True
    valueChanged = Signal(float)
    valueIsChanging = Signal(float)

    def _fill(self, layout: QtWidgets.QHBoxLayout) -> None:
        self._pageStep, self._tracking = 10.0, True
        self._slider = hostClass(QtWidgets.QSlider)(QtCore.Qt.Orientation.Horizontal)
        self._slider.setRange(0, STEPS)
        layout.addWidget(self._slider)
        self._slider.valueChanged.connect(self._slid)

    def _changed(self, value: float) -> None:
        low, high = QtWidgets.QDoubleSpinBox.minimum(self._box), QtWidgets.QDoubleSpinBox.maximum(self._box)
        self._slider.blockSignals(True)
        self._slider.setValue(round(STEPS * (value - low) / ((high - low) or 1)))
        self._slider.blockSignals(False)
        self.valueChanged.emit(value)

    def _slid(self, position: int) -> None:
        low, high = QtWidgets.QDoubleSpinBox.minimum(self._box), QtWidgets.QDoubleSpinBox.maximum(self._box)
        value = low + (high - low) * position / STEPS
        self.valueIsChanging.emit(value)
        QtWidgets.QDoubleSpinBox.setValue(self._box, value)

    def reset(self) -> None:
        QtWidgets.QDoubleSpinBox.setValue(self._box, 0.0)

    def setPageStep(self, step: float) -> None:
        self._pageStep = float(step)

    def setTracking(self, tracking: bool) -> None:
        self._tracking = bool(tracking)
        self._slider.setTracking(self._tracking)

    def setSpinBoxVisible(self, visible: bool) -> None:
        QtWidgets.QWidget.setVisible(self._box, visible)

    pageStep = Property(float, lambda self: self._pageStep, setPageStep)
    tracking = Property(bool, lambda self: self._tracking, setTracking)
    spinBoxVisible = Property(bool, lambda self: not QtWidgets.QWidget.isHidden(self._box), setSpinBoxVisible)


class qMRMLSliderWidget(ctkSliderWidget):
    """A slider with the scene's units; the host ignores the units."""

    standIn = True

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene


register(ctkDoubleSpinBox, ctkSliderWidget)
