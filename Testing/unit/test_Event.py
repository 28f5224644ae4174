import dataclasses
import json
import time

import pytest
from RealTimeImagingLib.Model.Event import Event


def test_an_event_survives_json():
    event = Event("incomplete", "a.nii is not complete: 3 of 4 bytes \udcff.", "warning", "/x/ä.nii", 1700000000.25)
    assert Event.fromJSON(json.loads(json.dumps(event.toJSON()))) == event


def test_an_event_has_the_time_at_which_it_was_made():
    before = time.time()
    event = Event("folder-back", "The folder is there again.")
    assert before <= event.time <= time.time()
    assert (event.level, event.subject) == ("info", "")


def test_every_field_of_an_event_travels():
    assert set(Event("a", "b").toJSON()) == {field.name for field in dataclasses.fields(Event)}


def test_what_happened_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Event("a", "b").code = "c"
