import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from RealTimeImagingLib.Errors import SettingsError
from RealTimeImagingLib.Settings import EXISTING, FolderSettings, settingsFromJSON

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@settings(max_examples=40, deadline=None)
@given(
    st.builds(
        FolderSettings,
        folder=text.map(lambda name: os.path.join(os.sep, "no-such-folder", name)),
        pattern=text.filter(lambda pattern: pattern.strip(" ;")),
        subfolders=st.booleans(),
        existing=st.sampled_from(EXISTING),
        seriesPattern=st.just("") | text.map(lambda part: part.replace("{series}", "") + "_{series}"),
        incompleteAfter=st.floats(0.001, 1e6),
        stream=text.filter(str.strip),
    )
)
def test_settings_survive_json(chosen):
    assert settingsFromJSON(json.loads(json.dumps(chosen.toJSON()))) == chosen


def test_what_is_not_given_has_a_default(tmp_path):
    assert settingsFromJSON({"kind": "folder", "folder": str(tmp_path)}) == FolderSettings(str(tmp_path))


def test_a_folder_may_be_missing_or_relative_or_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert FolderSettings("later").folder == str(tmp_path / "later")
    assert FolderSettings(os.path.join("~", "later")).folder == str(tmp_path / "later")
    assert FolderSettings(tmp_path / "later").folder == str(tmp_path / "later")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"folder": ""}, "Choose the folder"),
        ({"folder": "  "}, "Choose the folder"),
        ({"pattern": " ; ;"}, "pattern of file names is empty"),
        ({"existing": "some"}, "ignore, newest, all"),
        ({"seriesPattern": "*_series_*"}, "{series}"),
        ({"seriesPattern": "{series}{series}"}, "{series}"),
        ({"incompleteAfter": 0}, "above 0"),
        ({"incompleteAfter": -1.0}, "above 0"),
        ({"incompleteAfter": float("inf")}, "above 0"),
        ({"incompleteAfter": float("nan")}, "above 0"),
        ({"stream": " "}, "needs a name"),
    ],
)
def test_a_value_that_cannot_work_is_refused_with_what_it_needs(tmp_path, values, words):
    for make in (lambda given: FolderSettings(**given), lambda given: settingsFromJSON({"kind": "folder", **given})):
        with pytest.raises(SettingsError) as caught:
            make({"folder": str(tmp_path), **values})
        assert words in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"kind": "camera-of-the-future"},
        {"kind": ["folder"]},
        {"kind": "folder"},
        {"kind": "folder", "folder": 5},
        {"kind": "folder", "folder": "a", "pattern": None},
        {"kind": "folder", "folder": "a", "incompleteAfter": "soon"},
        {"kind": "folder", "folder": "a", "stream": 7},
        {"kind": "folder", "folder": "a", "speed": 3},
    ],
)
def test_json_that_is_no_settings_is_refused_with_a_sentence(values):
    with pytest.raises(SettingsError, match=r".{20}"):
        settingsFromJSON(values)


def test_an_unknown_setting_is_named_with_those_that_there_are():
    with pytest.raises(SettingsError, match=r"no setting speed; it has existing, folder, incompleteAfter, pattern"):
        settingsFromJSON({"kind": "folder", "folder": "a", "speed": 3})
