"""The panel with a font of twice the size, within the narrowest column."""

from __future__ import annotations

import pytest
import slicerhost

from .conftest import until, untilStopped
from .test_Panel import panelOf


@pytest.fixture
def largeFont(slicer):
    """A font of twice the size."""
    from PySide6 import QtWidgets

    font, large = QtWidgets.QApplication.font(), QtWidgets.QApplication.font()
    large.setPointSizeF(2 * font.pointSizeF())
    QtWidgets.QApplication.setFont(large)
    yield
    QtWidgets.QApplication.setFont(font)


def test_aLargeFontDoesNotWidenThePanel(largeFont, module, column):
    """All sections open, each kind of source: within 380 pixels, and each button has room for its text."""
    import qt

    ui = panelOf(module).ui
    for section in [one for one in vars(ui).values() if one.inherits("ctkCollapsibleButton")]:
        section.collapsed = False
    area = column(380, 900)
    assert ui.statusLabel.fontMetrics().lineSpacing() > 25
    for index in range(ui.sourceComboBox.count):
        ui.sourceComboBox.currentIndex = index
        slicerhost.processEvents()
        assert area.widget().minimumSizeHint.width() <= 380
        assert area.widget().sizeHint.width() <= 380  # Slicer's panel is never narrower
        for name, button in vars(ui).items():
            if button.inherits("QPushButton") and button.isVisible():
                right = button.mapTo(area.viewport(), qt.QPoint(button.width, 0)).x()
                assert right <= 380, name
                assert button.width >= button.minimumSizeHint.width(), name
    for index in range(ui.functionComboBox.count):
        ui.functionComboBox.currentIndex = index
        slicerhost.processEvents()
        assert area.widget().sizeHint.width() <= 380, ui.functionComboBox.currentText


def test_titlesOfTablesAndSectionsAreNotCutOff(largeFont, module, logic, column):
    """The name and the buttons of each row are in sight; columns without room are hidden."""
    panel = panelOf(module)
    ui = panel.ui
    column(380, 900)
    for section in [one for one in vars(ui).values() if one.inherits("ctkCollapsibleButton")]:
        section.collapsed = False
        assert section.fontMetrics().boundingRect(section.text).width() < 320, section.text
    logic.startSimulatedScanner(fps=10)
    until(lambda: logic.statistics()["shown"] > 0)
    logic.processing.start("SpatialFilter", stream=logic.sources()[0].settings.stream)
    until(lambda: ui.processorsTable.isVisible() and ui.streamsTable.rowCount == 2)
    panel.refresh()
    slicerhost.processEvents()
    panel.refresh()
    slicerhost.processEvents()
    shown = {"sourcesTable": {0, 1, 4, 5}, "processorsTable": {0, 1, 4, 5}, "streamsTable": {0, 1}}
    for name, columns in shown.items():
        table = getattr(ui, name)
        header = table.horizontalHeader()
        visible = [one for one in range(table.columnCount) if not table.isColumnHidden(one)]
        assert columns <= set(visible), name
        for one in visible:
            title = table.horizontalHeaderItem(one).text()
            assert header.fontMetrics().boundingRect(title).width() + 6 <= header.sectionSize(one), (name, title)
        assert sum(header.sectionSize(one) for one in visible) <= table.viewport().width, name
    untilStopped(logic)


def test_theSimulatorsFieldStaysBelowItsLabel(largeFont, module, column):
    """Also when the form of another kind is made, below which the row goes."""
    ui = panelOf(module).ui
    column(380, 900)
    ui.optionsSection.collapsed = False
    label, field = ui.simulatorInputPathLineEditLabel, ui.simulatorInputPathLineEdit
    for index in range(ui.sourceComboBox.count):
        ui.sourceComboBox.currentIndex = index
        slicerhost.processEvents()
        assert label.isVisible()
        assert label.y + label.height <= field.y, ui.sourceComboBox.currentText


def test_eachWordOfALabelHasRoomBesideItsField(largeFont, module, column):
    """A label that takes two lines is as wide as its longest word, and no field lies over it."""
    ui = panelOf(module).ui
    area = column(380, 900)
    for section in [one for one in vars(ui).values() if one.inherits("ctkCollapsibleButton")]:
        section.collapsed = False
    grids = [one for one in vars(ui).values() if one.inherits("QGridLayout")]
    for index in range(ui.sourceComboBox.count):
        ui.sourceComboBox.currentIndex = index
        slicerhost.processEvents()
        for label, beside in [pair for grid in grids for pair in _labelsBesideFields(grid)]:
            words = label.text.replace("/", "/ ").split()
            needed = max((label.fontMetrics().boundingRect(word).width() for word in words), default=0)
            assert needed <= label.width < beside - label.x, label.text
    assert area.widget().sizeHint.width() <= 380


def _labelsBesideFields(grid):
    """Visible labels, and the left edge of the field in the same row."""
    for row in range(grid.rowCount()):
        label, field = grid.itemAtPosition(row, 0), grid.itemAtPosition(row, 1)
        if label is None or field is None or label.geometry() == field.geometry():
            continue
        widget = label.widget()
        if widget is not None and widget.inherits("QLabel") and widget.isVisible():
            yield widget, field.geometry().left()
