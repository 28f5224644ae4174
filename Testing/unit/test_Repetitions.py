"""One cause is a few lines with a count."""

from __future__ import annotations

from contextlib import closing

import pytest
from RealTimeImagingLib.Model.Event import Event, Remedy
from RealTimeImagingLib.Sources import SourceContext, openSource
from RealTimeImagingLib.Sources.Checkpoint import Checkpoint
from RealTimeImagingLib.Sources.DICOM import DICOMSettings
from RealTimeImagingLib.Sources.Folder import FolderSettings
from RealTimeImagingLib.Sources.MRD import MRDSettings
from RealTimeImagingLib.Sources.OpenIGTLink import OpenIGTLinkSettings
from RealTimeImagingLib.Sources.Repetitions import FEW, MOST_KINDS, PERIOD, Repetitions
from unit.conftest import Clock

REMEDY = Remedy("Allow 10.0.0.7", {"allowed": ["10.0.0.7"]})


def refused(number=0):
    return Event("peer-refused", f"Connection from 10.0.0.7:{number} refused.", "warning", remedy=REMEDY)


def report(repetitions, *events, computer="10.0.0.7"):
    return [text.text for event in events for text in repetitions.report(event, computer)]


def test_equal_events_are_one_line_and_a_count():
    clock = Clock()
    repetitions = Repetitions(clock)
    assert len(report(repetitions, *[refused()] * 20)) == 1
    assert list(repetitions.due()) == []
    clock.now += PERIOD
    (event,) = repetitions.due()
    assert event.text == "19 more. The last: Connection from 10.0.0.7:0 refused."
    assert (event.code, event.level, event.remedy) == ("peer-refused", "warning", REMEDY)
    assert report(repetitions, refused()) == []
    clock.now += PERIOD
    (event,) = repetitions.due()
    assert event.text.startswith("Again: ")


def test_a_stop_reports_what_was_counted_of_all_computers():
    repetitions = Repetitions(Clock())
    report(repetitions, *[refused()] * 20)
    report(repetitions, *[refused()] * 2, computer="10.0.0.8")
    assert [event.text.partition(" Conn")[0] for event in repetitions.rest()] == ["19 more. The last:", "Again:"]
    assert list(repetitions.rest()) == []


@pytest.mark.parametrize("kind", ["folder", "dicom", "mrd", "mrd client", "openigtlink"])
def test_a_stop_of_every_source_reports_what_was_counted(kind, tmp_path):
    settings = {
        "folder": FolderSettings(str(tmp_path)),
        "dicom": DICOMSettings(folder=str(tmp_path / "kept"), port=0),
        "mrd": MRDSettings(port=0),
        "mrd client": MRDSettings(role="client", file=str(tmp_path / "a.h5")),
        "openigtlink": OpenIGTLinkSettings(role="server", port=0),
    }[kind]
    (tmp_path / "work").mkdir()
    with (
        Checkpoint(str(tmp_path / "work")) as checkpoint,
        closing(openSource(settings, SourceContext(checkpoint))) as one,
    ):
        report(one._repetitions, *[refused()] * 6)
        assert [event.text.partition(" Conn")[0] for event in one.rest()] == ["5 more. The last:"]


def test_a_few_different_events_of_one_cause_are_reported_at_once():
    clock = Clock()
    repetitions = Repetitions(clock)
    assert len(report(repetitions, *map(refused, range(100)))) == FEW
    clock.now += PERIOD
    (event,) = repetitions.due()
    assert event.text.startswith(f"{100 - FEW} more. The last: ")


def test_computers_are_counted_apart_up_to_a_limit():
    repetitions = Repetitions(Clock())
    assert len(report(repetitions, refused(), computer="10.0.0.7")) == 1
    assert len(report(repetitions, refused(), computer="10.0.0.8")) == 1
    for number in range(2 * MOST_KINDS):
        report(repetitions, refused(), computer=str(number))
    assert len(repetitions._kinds) == MOST_KINDS + 1


def test_an_event_after_a_pause_is_new():
    clock = Clock()
    repetitions = Repetitions(clock)
    report(repetitions, refused())
    clock.now += PERIOD
    assert list(repetitions.due()) == []
    assert len(report(repetitions, refused())) == 1


def test_a_computer_that_is_gone_is_forgotten_after_its_count():
    repetitions = Repetitions(Clock())
    report(repetitions, refused(), refused(), refused())
    (event,) = repetitions.due("10.0.0.7")
    assert event.text.startswith("2 more.")
    assert len(report(repetitions, refused())) == 1
