"""The events of a run: equal ones are folded, in the order in which they last came."""

from __future__ import annotations

import csv
import io

from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.Model.EventLog import KEPT, EventLog
from RealTimeImagingLib.Model.Text import Text


def counts(log, **options):
    return [(one.last.text, one.count) for one in log.newest(**options)]


def test_equalEventsAreOneLineAtTheirLastPlace():
    log = EventLog()
    for text, level in (("a", "info"), ("b", "warning"), ("a", "info"), ("a", "error")):
        log.add(Event("x", text, level, time=1000.0 + log.version))
    assert counts(log) == [("a", 1), ("a", 2), ("b", 1)]
    assert [(one.first.time, one.last.time) for one in log.newest()] == [(1003, 1003), (1000, 1002), (1001, 1001)]
    assert counts(log, most=2) == [("a", 1), ("a", 2)]
    assert counts(log, warnings=True) == [("a", 1), ("b", 1)]


def test_onlySoManyDifferentEventsAreKept():
    log = EventLog()
    for number in range(KEPT + 3):
        log.add(Event("x", f"{number}"))
        log.add(Event("x", "again"))
    assert len(log.newest()) == KEPT
    assert counts(log)[:2] == [("again", KEPT + 3), (f"{KEPT + 2}", 1)]
    assert counts(log)[-1] == ("4", 1)


def test_aClearedLogIsEmptyAndChanged():
    log = EventLog()
    log.add(Event("x", "a"))
    before = log.version
    log.clear()
    assert log.newest() == []
    assert log.version != before


def test_theTableHasEveryEventOldestFirstInTheUsersLanguage():
    log = EventLog()
    log.add(Event("damaged", 'a, "b"\nc', "warning", "a.nii", 86400.0 * 365))
    log.add(Event("note", Text("Hello {name}", "", {"name": "x"}), time=86400.0 * 366))
    rows = list(csv.DictReader(io.StringIO(log.toCSV(words=str.upper))))
    assert [row["text"] for row in rows] == ['A, "B"\nC', "HELLO X"]
    assert [(row["level"], row["code"], row["subject"], row["count"]) for row in rows] == [
        ("warning", "damaged", "a.nii", "1"),
        ("info", "note", "", "1"),
    ]
    assert len(log.toCSV(warnings=True).splitlines()) == 3  # the text has a line break
