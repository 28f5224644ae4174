"""The phrase about a message of a device: plain English, which the panel can translate."""

import base64

import numpy as np
import pytest
from RealTimeImagingLib.Model.DeviceMessage import LONGEST, DeviceMessage, shortened, words
from RealTimeImagingLib.Model.Text import Text, textFromJSON

MATRIX = np.eye(4)
MATRIX[:3, 3] = 12.34, -0.04, 77.1
POINTS = base64.b64encode(np.zeros((3, 3), "<f4").tobytes()).decode()


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("transform", {"matrix": MATRIX.tolist()}, "at 12.3, 0.0, 77.1 mm"),
        ("points", {"points": [{}]}, "1 point"),
        ("points", {"points": []}, "0 points"),
        ("points", {"points": [{}, {}, {"entry": 1}]}, "2 points and 1 trajectory"),
        ("points", {"points": [{"entry": 1}, {"entry": 2}]}, "2 trajectories"),
        ("polydata", {"points": POINTS}, "a surface of 3 points"),
        ("polydata", {"points": ""}, "an empty surface"),
        ("status", {"ok": True}, "OK"),
        ("status", {"ok": False, "code": 5, "text": "out of reach"}, "Error 5: out of reach"),
        ("status", {"ok": False}, "Error"),
        ("sensor", {"values": [1.0, 2.5], "unit": "N"}, "1.0, 2.5 N"),
        ("sensor", {"values": list(range(10))}, "0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0 and 2 more"),
        ("command", {"name": "START"}, "asks: START"),
        ("command", {}, "asks: nothing"),
        ("reply", {"text": "done"}, "answers: done"),
        ("reply", {"ok": False, "text": "no"}, "answers with an error: no"),
        ("other", {}, "nothing"),
        ("polydata", {}, "an unreadable message"),
    ],
)
def test_a_phrase_is_english_with_a_template(kind, values, expected):
    phrase = words(DeviceMessage(kind, "Device", values, 0.0))
    assert phrase == expected
    if kind != "sensor" or "more" in expected:
        assert isinstance(phrase, Text)
        assert textFromJSON(phrase.toJSON()) == expected


@pytest.mark.parametrize("text", ["The\ntext", "x" * 300])
def test_the_text_of_a_device_stays_as_it_is_on_one_line(text):
    phrase = words(DeviceMessage("text", "Device", {"text": text}, 0.0))
    assert phrase == shortened(text)
    assert "\n" not in phrase
    assert len(phrase) <= LONGEST
