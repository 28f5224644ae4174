"""The panel with a font of twice the size, within the narrowest column."""

from __future__ import annotations

import pytest
import slicerhost

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
    for index in range(6):
        ui.sourceComboBox.currentIndex = index
        slicerhost.processEvents()
        assert area.widget().minimumSizeHint.width() <= 380
        for name, button in vars(ui).items():
            if button.inherits("QPushButton") and button.isVisible():
                right = button.mapTo(area.viewport(), qt.QPoint(button.width, 0)).x()
                assert right <= 380, name
                assert button.width >= button.minimumSizeHint.width(), name
