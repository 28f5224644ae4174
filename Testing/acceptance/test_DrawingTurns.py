"""Views draw an image one after the other, and none stays paused."""

from __future__ import annotations

import numpy as np
import pytest
import vtk

from .conftest import until, untilStopped

SLICES = ("Red", "Yellow", "Green")


@pytest.fixture
def drawn(logic, views, slicer, monkeypatch):
    """Drawings and paintings of the slice views, with "-" for each turn of the event loop; one image is shown."""
    import qt
    from RealTimeImagingLib.Host import Drawing

    # Before the first view draws, a busy computer must have called what the test does then.
    monkeypatch.setattr(Drawing, "FIRST_TURN", 0.3)

    seen = []

    def draws(name):
        seen.append(name)
        qt.QTimer.singleShot(0, lambda: seen.append("-"))

    windows = [views.sliceWidget(name).renderWindow() for name in SLICES]
    push(logic, views, 1)
    tags = [
        window.AddObserver(vtk.vtkCommand.EndEvent, lambda *_, name=name: draws(name))
        for window, name in zip(windows, SLICES, strict=True)
    ]
    for name in SLICES:
        views.sliceWidget(name).painted.append(lambda: seen.append("painted"))
    yield seen
    for window, tag in zip(windows, tags, strict=True):
        window.RemoveObserver(tag)
    for name in SLICES:
        views.sliceWidget(name).painted.pop()
    turned: list[bool] = []
    qt.QTimer.singleShot(0, lambda: turned.append(True))
    until(lambda: turned)  # the turns of the last drawings are over, too
    assert [view.isRenderPaused() or not view.updatesEnabled for view in views.views()] == [False] * 4


def push(logic, views, count, **where):
    """Push until this number of images is shown."""
    logic.push(np.full((4, 5, 6), count, np.uint8), **where)
    until(lambda: logic.statistics()["shown"] >= count)
    until(lambda: settled(views))


def settled(views):
    return not any(view._scheduledAt or view.isRenderPaused() for view in views.views())


def test_eventsBetweenTwoViews(logic, views, drawn, noErrors):
    """Slicer's event loop runs between two views, and the screen is painted once."""
    push(logic, views, 2)
    until(lambda: drawn.count("-") == 3)
    assert sorted(drawn[:5:2]) == sorted(SLICES)
    assert drawn[1:5:2] == ["-", "-"]
    assert drawn[5:8] == ["painted"] * 3
    untilStopped(logic)


def test_oneViewDrawsByItself(logic, views, drawn, monkeypatch, noErrors):
    """A stream in one view: nothing is paused."""
    logic.setShowIn("Red")
    until(lambda: settled(views))
    for view in views.views():
        monkeypatch.setattr(view, "pauseRender", None)
    push(logic, views, 2)
    untilStopped(logic)


def pushAnd(logic, act):
    """Push an image, and call a function after it is in the scene and before its first drawing."""
    import qt

    acted = []

    def soon(_frame):
        qt.QTimer.singleShot(0, lambda: acted.append(act()))

    logic.addFrameCallback(soon)
    logic.push(np.full((4, 5, 6), 9, np.uint8))
    until(lambda: acted)
    logic.removeFrameCallback(soon)
    return acted[0]


def paused(views):
    return sorted(view.name for view in views.views() if view.isRenderPaused())


def test_closedBetweenTwoViews(logic, views, drawn, noErrors):
    """The logic ends while views wait for their turns: none stays paused, and all are drawn."""

    def close():
        waiting = paused(views)
        logic._drawingTurns.close()
        return waiting, paused(views)

    assert pushAnd(logic, close) == (sorted(SLICES), [])
    until(lambda: set(drawn) > set(SLICES))
    untilStopped(logic)


def test_sceneClosedBetweenTwoViews(slicer, logic, views, drawn, noErrors):
    """The scene is closed while views wait for their turns: none stays paused."""

    def clear():
        waiting = paused(views)
        slicer.mrmlScene.Clear()
        return waiting

    assert pushAnd(logic, clear) == sorted(SLICES)
    until(lambda: settled(views))
    untilStopped(logic)


def test_viewRemovedBetweenTwoViews(logic, views, drawn, monkeypatch, noErrors):
    """A waiting view is removed with its layout: the others still draw."""
    yellow = views.sliceWidget("Yellow")

    def gone():
        raise ValueError("Trying to call 'resumeRender' on a destroyed ctkVTKSliceView object")

    with monkeypatch.context() as patch:
        pushAnd(logic, lambda: patch.setattr(yellow, "resumeRender", gone))
        until(lambda: paused(views) == ["Yellow"] and yellow.updatesEnabled)
    yellow.resumeRender()
    until(lambda: settled(views))
    untilStopped(logic)
