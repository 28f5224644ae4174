"""Texts at the top of the views that show a stream, as they are drawn."""

from __future__ import annotations

import time

import numpy as np
import pytest
from RealTimeImagingLib.Model.Frame import Frame
from unit.clocks import Clock

VIEWS = ("Red", "Yellow", "Green")


@pytest.fixture
def seconds(logic):
    """Clock of the texts."""
    logic.volumes.texts._clock = Clock(now=100.0)
    return logic.volumes.texts._clock


@pytest.fixture
def texts(logic, views, seconds):
    return logic.volumes.texts


@pytest.fixture
def show(logic):
    def showFrame(stream="Live", number=0, deviceTime=None):
        pixels = np.full((4, 8, 8), 3, np.int16)
        logic.volumes.show(Frame(pixels, np.eye(4), stream, number, 1.7e9 + number + 0.25, deviceTime))

    return showFrame


@pytest.fixture
def yellow(views):
    """Counts the pixels of text in each view, as drawn last or now."""

    def count(redraw=True):
        found = []
        for name in VIEWS:
            view = views.sliceWidget(name).sliceView()
            if redraw:
                view.forceRender()
            red, _green, blue = view.pixels()[:50].astype(int).transpose(2, 0, 1)
            found.append(int((red - blue > 60).sum()))
        return found

    return count


def waiting(views):
    """Views that will be drawn."""
    return [name for name in VIEWS if views.sliceWidget(name).sliceView()._scheduledAt]


def drawAll(views):
    for view in views.views():
        view.forceRender()


def test_anAlarmIsDrawnWhereItsStreamIs(logic, views, texts, show, seconds, yellow):
    """In one view of three; gone at once."""
    show()
    logic.volumes.setWhere("Live", "Yellow")
    assert yellow() == [0, 0, 0]
    texts.show("Live", "No image for 12 s")
    assert waiting(views) == ["Yellow"]
    red, there, green = yellow()
    assert red == green == 0
    assert there > 50
    texts.show("Live", "")
    assert waiting(views) == ["Yellow"]
    assert yellow() == [0, 0, 0]
    texts.show("Live", "")
    texts.show("Nobody", "No image for 12 s")
    assert waiting(views) == []


def test_aViewIsDrawnOnlyWhenItsTextChanges(logic, views, texts, show, seconds):
    """At most once in a second; the last text comes with the next call."""
    show()
    drawAll(views)
    texts.show("Live", "1 s")
    assert waiting(views) == list(VIEWS)
    drawAll(views)
    seconds.now += 5
    texts.show("Live", "1 s")
    assert waiting(views) == []
    texts.show("Live", "2 s")
    drawAll(views)
    seconds.now += 0.5
    texts.show("Live", "3 s")
    assert waiting(views) == []
    seconds.now += 0.5
    texts.show("Live", "3 s")
    assert waiting(views) == list(VIEWS)


def test_anAlarmFollowsItsStreamToOtherViews(logic, views, texts, show, seconds, yellow):
    show()
    texts.show("Live", "No image for 12 s")
    logic.volumes.setWhere("Live", "Green")
    seconds.now += 1
    texts.show("Live", "No image for 13 s")
    red, other, there = yellow()
    assert red == other == 0
    assert there > 50


def test_theTimeOfTheImageIsDrawnWithIt(logic, views, texts, show, yellow):
    """Off by default; the text causes no drawing of its own, and belongs to the image that is drawn."""
    show()
    assert not texts.times
    texts.setTimes(True)
    assert texts.times
    drawAll(views)
    texts.imageShown("Live")
    assert waiting(views) == []
    for number, device in ((1, 1.7e9 + 1.125), (2, None)):
        show(number=number, deviceTime=device)
        when = time.strftime("%H:%M:%S", time.localtime(1.7e9 + number))
        expected = f"{when}.125" if device else f"{when}.250 (arrival)"
        assert {one.text for one in texts._shown.values()} == {expected}
        assert min(yellow()) > 50
    texts.show("Live", "No image for 12 s")
    assert {one.text for one in texts._shown.values()} == {f"No image for 12 s\n{expected}"}
    texts.setTimes(False)
    texts.show("Live", "")
    assert yellow() == [0, 0, 0]


def test_slicersCornersStayFree(logic, views, texts, show, seconds, yellow):
    """DataProbe writes into the corners; nothing of it is changed, and the scene takes the texts with it."""
    show()
    actors = [views.sliceWidget(name).renderer.GetViewProps().GetNumberOfItems() for name in VIEWS]
    texts.show("Live", "12 s")
    assert min(yellow()) > 0
    for name in VIEWS:
        pixels = views.sliceWidget(name).sliceView().pixels().astype(int)
        for corner in (pixels[:40, :40], pixels[:40, -40:], pixels[-40:]):
            assert (corner[..., 0] - corner[..., 2] > 60).sum() == 0
    logic.volumes.forget()
    assert yellow() == [0, 0, 0]
    assert [views.sliceWidget(name).renderer.GetViewProps().GetNumberOfItems() for name in VIEWS] == actors
