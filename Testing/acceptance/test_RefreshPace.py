"""Pace of the panel's refreshes: a window that is slow to paint is painted less often."""

from __future__ import annotations

import pytest
from RealTimeImagingLib import FolderSettings
from unit.clocks import Clock

from .conftest import until, untilStopped
from .test_Panel import panelOf


@pytest.fixture
def clock():
    return Clock(now=100.0)


@pytest.fixture
def pace(module, clock):
    from RealTimeImagingLib.Panel.RefreshPace import RefreshPace

    return RefreshPace(clock)


def paint(pace, clock, seconds):
    pace.partEnds()
    clock.now += seconds
    pace.painted()


def test_aFastWindowIsPaintedFiveTimesASecond(pace, clock):
    assert (pace.wait(), pace.part) == (0.2, 0.0005)
    for _ in range(5):
        paint(pace, clock, 0.002)
    assert (pace.wait(), pace.part) == (0.2, 0.0005)
    for _ in range(5):
        paint(pace, clock, 0.006)
    assert pace.wait() == pytest.approx(0.354)  # one sixtieth of the time
    assert pace.part == 0.0005


@pytest.mark.parametrize(("painting", "wait"), [(0.01, 1.19), (0.02, 1.18), (0.5, 0.7)])
def test_aSlowWindowIsPaintedEvery1200Milliseconds(pace, clock, painting, wait):
    """After a pause, a change is shown as soon as in a fast window."""
    for _ in range(5):
        paint(pace, clock, painting)
    assert pace.wait() == pytest.approx(wait)
    assert pace.wait(asked=True) == pytest.approx(max(0, 0.1 - painting))
    assert pace.part == float("inf")
    clock.now += 10
    assert (pace.wait(), pace.wait(asked=True)) == (0.2, 0)


def test_oneSlowPaintingChangesNothing(pace, clock):
    for seconds in (0.002, 0.3, 0.002, 0.002, 0.3):
        paint(pace, clock, seconds)
    assert pace.wait() == 0.2


def test_thePanelMeasuresItsPaintings(module, noErrors):
    """Without a change it is painted, too: the pace is known before images arrive."""
    panel = panelOf(module)
    panel._pace._paintings.clear()
    panel.refresh()
    until(lambda: len(panel._pace._paintings) == 1)


def test_aPanelInASlowWindowIsRefreshedLater(module, noErrors):
    """One timer for many changes; a refresh of any other reason ends it."""
    panel = panelOf(module)
    panel.refresh()
    until(lambda: panel._pace._paintings)
    panel._pace._paintings.extend([0.02] * 5)
    panel.refresh()
    for _ in range(3):
        panel.refreshSoon()
        assert panel._refreshTimer.isActive()
        assert 1000 < panel._refreshTimer.interval <= 1200
    panel.refresh()
    assert not panel._soon


def test_aChangeDuringASlowRefreshWaitsForTheNextOne(module, noErrors):
    panel = panelOf(module)
    panel.refresh()
    until(lambda: panel._pace._paintings)
    panel._pace._paintings.extend([0.02] * 5)
    panel.refreshPart(0)
    panel.refreshSoon()
    # As after a long last part.
    panel._pace._ended -= 10
    panel.refreshPart(float("inf"))
    assert panel._soon
    assert 1000 < panel._refreshTimer.interval <= 1200


def test_anActionIsShownAtOnceInASlowWindow(module, logic, incoming, tmp_path, noErrors):
    """So is a source or a recording that starts or stops; what a refresh itself changes is no action."""
    panel = panelOf(module)
    panel.refresh()
    until(lambda: panel._pace._paintings)

    def waits() -> bool:
        panel._pace._paintings.extend([0.02] * 5)
        panel.refresh()
        panel.refreshSoon()
        return panel._refreshTimer.interval > 1000

    assert waits()
    panel.ui.refreshRecordingsButton.click()
    assert panel._refreshTimer.interval <= 100
    assert waits()
    panel.ui.stallSoundCheckBox.click()
    assert panel._refreshTimer.interval <= 100
    panel.refreshPart(0)
    panel.ui.stallSoundCheckBox.click()
    panel.refreshPart(float("inf"))
    assert panel._refreshTimer.interval <= 100
    assert waits()
    logic.start(FolderSettings(incoming))
    assert panel._refreshTimer.interval <= 100
    assert waits()
    logic.changed.emit()
    assert panel._refreshTimer.interval > 1000
    until(lambda: panel.ui.statusLabel.text.startswith("No image has arrived"))
    for action in (lambda: logic.startRecording(tmp_path / "out"), logic.stopRecording, logic.stop):
        assert waits()
        action()
        assert panel._refreshTimer.interval <= 100
    untilStopped(logic)
