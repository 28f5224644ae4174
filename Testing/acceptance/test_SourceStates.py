"""State of a source in the status line."""

from __future__ import annotations

import time

from RealTimeImagingLib import FolderSettings
from RealTimeImagingLib.Model.Event import Event, Remedy
from RealTimeImagingLib.Model.Statistics import StreamCounts
from RealTimeImagingLib.Model.Text import textsOf

from .conftest import until, untilStopped

_ = textsOf(__file__)


def test_aCountInTheStatusIsNoNews(logic, incoming):
    """A scanner that reports what it has sent is still receiving, at a volume every two seconds."""
    from RealTimeImagingLib.Panel.SourceStates import SourceStates

    source = logic.start(FolderSettings(incoming))
    until(lambda: source.state == "running")
    now = [100.0]
    states = SourceStates(logic, lambda _source: "the scanner", lambda: now[0])
    counts = source.counts["Live"] = StreamCounts()
    said = _("{name}: {count:,} images received.")

    def look(status: str, seconds: float) -> tuple[str, str]:
        now[0] += seconds
        source.status = status
        states.update()
        return states.of[source].name, states.of[source].text

    began = time.time()
    for number in range(2):
        counts.show(number, began - 2 * (1 - number))
    receiving = "receiving", "Receiving 0.5 images/s from the scanner."
    assert look(said.format(name="scanner", count=1000), 0.2) == receiving
    assert look(said.format(name="scanner", count=1056), 0.2) == receiving
    assert look(said.format(name="scanner", count=1056), 0.6) == receiving
    assert look(said.format(name="other", count=1056), 0.2) == receiving
    assert look(said.format(name="other", count=1056), 0.6) == ("waiting", "other: 1,056 images received.")
    assert round(states.of[source].rate, 3) == 0.5
    source.ending = True
    assert look(said.format(name="other", count=1056), 0.0) == ("waiting", "Stopping.")
    source.hangs = True
    assert look(_("The drive does not respond."), 0.0) == ("waiting", "Stopping. The drive does not respond.")
    source.ending = source.hangs = False
    look(said.format(name="other", count=1056), 5.0)
    assert states.of[source].rate == 0
    untilStopped(logic)
    # All parts of a refresh show one state.
    assert list(states.running) == list(states.of) == [source]
    states.update()
    assert list(states.running) == list(states.of) == []


def test_anObstacleThatIsOverIsNotOfferedAnyMore(logic, incoming):
    """Also when the panel looks so seldom that it sees the event and the end of the obstacle at the same time."""
    from RealTimeImagingLib.Panel.SourceStates import SourceStates

    source = logic.start(FolderSettings(incoming))
    until(lambda: source.state == "running")
    states = SourceStates(logic, lambda _source: "the scanner", lambda: 100.0)
    words, remedy = _("Port 104 is in use."), Remedy(_("Use port 105"), {"port": 105})
    source.takeEvent(Event("port-taken", f"{words} Retrying every second.", "error", remedy=remedy))
    source.status, source.remedy = words, Remedy(_("Use port 105"), {"port": 105})
    states.update()
    assert states.of[source].name == "error"
    source.takeEvent(Event("port-taken", f"{words} Retrying every second.", "error", remedy=remedy))
    source.status, source.remedy = _("Waiting for images."), None
    states.update()
    assert (states.of[source].name, states.of[source].text) == ("waiting", "Waiting for images.")
    assert states.of[source].remedy is None
    untilStopped(logic)
