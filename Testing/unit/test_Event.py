import dataclasses
import json
import time

import pytest
from RealTimeImagingLib.Model.Event import Event, Remedy


def test_an_event_survives_json():
    event = Event("incomplete", "a.nii is not complete: 3 of 4 bytes \udcff.", "warning", "/x/ä.nii", 1700000000.25)
    assert Event.fromJSON(json.loads(json.dumps(event.toJSON()))) == event


def test_an_event_has_the_time_of_its_creation():
    before = time.time()
    event = Event("folder-back", "The folder is back.")
    assert before <= event.time <= time.time()
    assert (event.level, event.subject) == ("info", "")


def test_json_has_every_field_of_an_event():
    event = Event("a", "b", remedy=Remedy("c", {"d": 1}, Remedy("e", {"d": 2})))
    assert set(event.toJSON()) == {field.name for field in dataclasses.fields(Event)}


def test_both_offers_of_an_event_travel_as_json():
    event = Event("a", "b", remedy=Remedy("c", {"d": 1}, Remedy("e", {"d": 2})))
    assert Event.fromJSON(json.loads(json.dumps(event.toJSON()))) == event


def test_events_are_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Event("a", "b").code = "c"
