"""Texts keep their template on the way to the panel."""

import copy
import json
import pickle

import numpy as np
import pytest
from RealTimeImagingLib.Link.Messages import Counts, StatusReport
from RealTimeImagingLib.Model.Errors import NotAnImageError
from RealTimeImagingLib.Model.Event import Event, Remedy
from RealTimeImagingLib.Model.Text import Text, joined, renamed, sameWords, sentence, textsOf

_ = textsOf("/somewhere/Folder/Source.py")
WHY = _("{bytes:,} of {total:,} bytes are there").format(bytes=5, total=2000)
TEXT = _("{name} is incomplete: {why}.").format(name="{vol}.nii", why=WHY)


def test_a_text_is_its_english_sentence():
    assert TEXT == "{vol}.nii is incomplete: 5 of 2,000 bytes are there."
    assert (TEXT.template, TEXT.context) == ("{name} is incomplete: {why}.", "Folder.Source")
    assert _("Braces {stay}.") == "Braces {stay}."


@pytest.mark.parametrize(
    "carry",
    [
        copy.deepcopy,
        lambda text: pickle.loads(pickle.dumps(text)),
        lambda text: str(NotAnImageError(text)),
        lambda text: Event.fromJSON(json.loads(json.dumps(Event("a", text).toJSON()))).text,
        lambda text: StatusReport.fromJSON(json.loads(json.dumps(StatusReport(text).toJSON()))).status,
    ],
)
def test_a_text_keeps_its_template(carry):
    carried = carry(TEXT)
    assert carried == TEXT
    assert (carried.template, carried.values["why"].template) == (TEXT.template, WHY.template)


def test_plain_text_stays_plain():
    event = Event.fromJSON(json.loads(json.dumps(Event("a", "Plain {text}.").toJSON())))
    assert event.text == "Plain {text}."
    assert not isinstance(event.text, Text)


def test_values_are_numbers_and_texts():
    values = {"error": NotAnImageError(WHY), "shape": (2, 3), "number": np.int64(5), "type": np.dtype("<i2"), "n": None}
    text = _("{error} {shape} {number:02d} {type} {n}").format(**values)
    assert text == f"{WHY} (2, 3) 05 int16 None"
    assert text.values["error"].template == WHY.template
    assert json.loads(json.dumps(text.toJSON()))["values"]["shape"] == "(2, 3)"


def test_texts_are_joined():
    assert joined(TEXT, "", _("Next.")) == f"{TEXT} Next."
    assert joined(TEXT).values == {"text0": TEXT}


def test_values_have_names():
    with pytest.raises(TypeError, match="have names"):
        _("{} of {}").format(1, 2)


def test_remedies_travel():
    remedy = Remedy(_("Use {pattern}").format(pattern="*.nii*"), {"pattern": "*.nii*"})
    event = Event("a", "b", remedy=remedy)
    assert Event.fromJSON(json.loads(json.dumps(event.toJSON()))) == event
    report = StatusReport("waits", Counts(), remedy)
    carried = StatusReport.fromJSON(json.loads(json.dumps(report.toJSON())))
    assert carried == report
    assert carried.remedy.label.template == "Use {pattern}"


def test_values_travel_as_json():
    text = _("{name} {count:,} {why}").format(name="a", count=np.int64(1234), why=OSError(28, "No space"))
    assert text == "a 1,234 [Errno 28] No space"
    assert json.loads(json.dumps(text.toJSON()))["values"] == {"name": "a", "count": 1234, "why": "[Errno 28] No space"}


def test_a_sentence_ends_with_one_stop():
    assert [sentence(one) for one in ("A b", "A b.", "A b?")] == ["A b.", "A b.", "A b?"]
    assert sentence(WHY).values == {"text": WHY}


def test_a_name_is_replaced_in_the_values_only():
    text = renamed(joined(_("{name} is no name.").format(name="name"), "a name"), "name", "it")
    assert text == "it is no name. a it"
    assert text.values["text0"].template == "{name} is no name."


def test_texts_that_differ_in_numbers_have_the_same_words():
    said = _("{name} has sent {count}, {more}.")
    two = said.format(name="A", count=2, more=_("{count} more").format(count=1))
    assert sameWords(two, said.format(name="A", count=3.5, more=_("{count} more").format(count=9)))
    assert not sameWords(two, said.format(name="B", count=2, more=_("{count} more").format(count=1)))
    assert not sameWords(two, said.format(name="A", count=2, more="2 more"))
    assert not sameWords(joined(two), joined(two, two))
    assert sameWords("plain", "plain")
    assert not sameWords("1 plain", "2 plain")
