"""A regular stream that stays away is named, in time, and only then; a run is counted."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from RealTimeImagingLib import FolderSettings

from .conftest import until, untilRunning, untilStopped
from .test_Folder import AFFINES, landmarks, save
from .test_Panel import panelOf


class Process:
    """State of a source's process."""

    state, ended = "running", False


@pytest.fixture
def watched(module, tmp_path):
    """A watch with a clock of its own; returns source, watch, clock, events and emissions."""
    from RealTimeImagingLib.Host.RunningSource import RunningSource
    from RealTimeImagingLib.Host.StreamWatch import StreamWatch

    now, events, told = [1000.0], [], []
    watch = StreamWatch(events.append, lambda: now[0])
    watch.changed.connect(lambda stream, stall: told.append((stream, stall and stall.stalled)))
    source = RunningSource(FolderSettings(tmp_path, expectedImages=500))
    source.process = Process()
    yield source, watch, now, events, told
    watch.close()


def look(watch, now, seconds):
    """Let time pass, with a look each quarter of a second."""
    for _ in range(round(seconds / 0.25)):
        now[0] += 0.25
        watch.look()


def stream(watched, count, period):
    """Let images arrive regularly."""
    source, watch, now, _events, _told = watched
    for number in range(count):
        watch.note(source, "Live", number, now[0])
        look(watch, now, period)


@pytest.mark.parametrize(("period", "late", "stalled"), [(0.25, 1.0, 2.75), (2.0, 6.25, 20.25)])
def test_aStallIsToldAfterTenPeriods(watched, period, late, stalled):
    """Late after three periods, stalled after ten and at least 2 s; gone with the next image."""
    source, watch, now, events, told = watched
    stream(watched, 10, period)
    look(watch, now, late - period - 0.25)
    assert told == []
    look(watch, now, 0.25)
    assert told == [("Live", False)]
    look(watch, now, stalled - late - 0.25)
    assert [event.code for event in events] == []
    look(watch, now, 0.25)
    assert told == [("Live", False), ("Live", True)]
    assert [event.code for event in events] == ["stalled"]
    assert watch.stalls["Live"].period == period
    look(watch, now, 5.0)
    assert told[2:] == [("Live", True)] * 5  # the length of the silence is told each second
    watch.note(source, "Live", 10, now[0])
    assert told[-1] == ("Live", None)
    assert [event.code for event in events] == ["stalled", "stall-ended"]
    assert events[0].text.startswith("Live: no image for ")
    assert watch.stalls == {}


@pytest.mark.parametrize("burst", [12, 32])
def test_aStreamInBurstsHasNoAlarm(watched, burst):
    """As the echoes of a volume, or its slices, every three seconds; at first, the pauses are stalls."""
    source, watch, now, events, told = watched
    for number in range(10 * burst):
        if number == 3 * burst:
            events.clear()
            told.clear()
        watch.note(source, "Live", number, now[0] + 0.01 * (number % burst))
        if number % burst == burst - 1:
            look(watch, now, 3.0)
    assert [event.code for event in events if event.code != "run-complete"] == []
    assert told == []


def test_anIrregularStreamHasNoAlarm(watched):
    source, watch, now, events, told = watched
    for number in range(100):
        watch.note(source, "Live", number, now[0])
        look(watch, now, 0.25 if number % 5 else 2.0)
    look(watch, now, 100.0)
    assert (events, told) == ([], [])


def test_skippedNumbersDoNotChangeThePeriod(watched):
    source, watch, now, _events, told = watched
    for number in range(0, 60, 3):
        watch.note(source, "Live", number, now[0])
        look(watch, now, 0.75)
    assert told == []
    look(watch, now, 2.0)
    assert watch.stalls["Live"].period == 0.25


def test_aBlockedWindowIsNoStall(watched):
    """The images of the meantime are taken first."""
    source, watch, now, events, told = watched
    stream(watched, 10, 0.25)
    now[0] += 30.0
    watch.look()
    for number in range(10, 130):
        watch.note(source, "Live", number, now[0] - 30.0 + 0.25 * (number - 9))
    look(watch, now, 0.5)
    assert (events, told) == ([], [])


def test_theExpectedImagesEndTheRun(watched):
    """Afterwards a silence is no stall."""
    source, watch, now, events, told = watched
    stream(watched, 500, 0.25)
    look(watch, now, 60.0)
    assert [event.text for event in events] == ["All 500 images of Live have arrived."]
    assert told == []
    source.process.ended = True
    look(watch, now, 0.25)
    assert len(events) == 1


def test_anIncompleteRunIsTold(logic, incoming, noErrors):
    source = logic.start(FolderSettings(incoming, expectedImages=5))
    untilRunning(source)
    for number in range(3):
        save(incoming / f"{number}.nii", landmarks(), AFFINES["oblique"])
    until(lambda: logic.statistics()["received"] == 3)
    untilStopped(logic)
    until(lambda: logic.events()[-1].code == "run-incomplete")
    assert logic.events()[-1].text == "3 of 5 images of Live have arrived."


def scanUntilRegular(logic, scanner):
    """Stop the scanner when its images are regular: on a busy computer, the first may not be. Returns their period."""
    process, _log = scanner("--frames", "1000", "--fps", "10")
    rhythms = logic._session.watch._rhythms
    until(lambda: any(rhythm.period for rhythm in rhythms.values()))
    process.kill()
    process.wait()
    until(lambda: logic.statistics()["received"] == len(list(Path(logic.sources()[0].settings.folder).glob("*.nii"))))
    return next(rhythm.period for rhythm in rhythms.values())


def test_aScannerThatStopsIsTold(logic, incoming, scanner, noErrors):
    """With a real scanner, process and timer."""
    source = logic.start(FolderSettings(incoming))
    untilRunning(source)
    scanUntilRegular(logic, scanner)
    until(lambda: any(event.code == "stalled" for event in logic.events()))
    assert logic.statistics()["received"] == len(list(incoming.glob("*.nii"))) >= 5
    assert list(logic.stalls()) == ["Live"]
    untilStopped(logic)
    until(lambda: logic.stalls() == {})


def test_aStallIsInTheViewsThePanelAndHeard(slicer, module, logic, views, incoming, scanner, noErrors, monkeypatch):
    """Until images come again. The clock of the watch stands before the stall, until the panel has shown the delay."""
    beeps, panel = [], panelOf(module)
    panel._status._alarm._beep = lambda: beeps.append(1)
    panel.ui.stallSoundCheckBox.checked = True
    source = logic.start(FolderSettings(incoming))
    untilRunning(source)
    period = scanUntilRegular(logic, scanner)
    latest = time.monotonic() + max(1.0, 4 * period)
    with monkeypatch.context() as patch:
        patch.setattr(logic._session.watch, "_clock", lambda: min(time.monotonic(), latest))
        until(lambda: panel.ui.statusLabel.text.startswith("The next image is late. Waiting for the next image in "))
    texts = logic.volumes.texts
    until(lambda: "Red" in texts._shown and texts._shown["Red"].text.startswith("No image for "))
    until(lambda: panel.ui.statusLabel.text.startswith("No image for") and beeps == [1])
    assert "Decoding: " in panel.ui.latencyLabel.toolTip
    save(incoming / "next.nii", landmarks(), AFFINES["oblique"])
    until(lambda: not texts._shown)
    untilStopped(logic)
