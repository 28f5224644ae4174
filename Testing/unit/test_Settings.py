import dataclasses
import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Conversion import ConversionSettings
from RealTimeImagingLib.Model.Errors import SettingsError
from RealTimeImagingLib.Model.Settings import checkFields, typedPath
from RealTimeImagingLib.Sources import KINDS, SourceKind, SourceSettings, about, register, settingsFromJSON
from RealTimeImagingLib.Sources.Camera import FLIPS, ROTATIONS, CameraSettings
from RealTimeImagingLib.Sources.DICOM import DICOMSettings
from RealTimeImagingLib.Sources.Folder import EXISTING, FolderSettings
from RealTimeImagingLib.Sources.HTTP import HTTPSettings
from RealTimeImagingLib.Sources.MRD import COMPLEX, MRDSettings
from RealTimeImagingLib.Sources.MRD import ROLES as MRD_ROLES
from RealTimeImagingLib.Sources.OpenIGTLink import ENGINES, ROLES, OpenIGTLinkSettings
from RealTimeImagingLib.Sources.Processor import EVERY, ProcessorSettings
from RealTimeImagingLib.Sources.Push import PushSettings
from RealTimeImagingLib.Sources.Replay import PACES, RATES, SPEEDS, ReplaySettings
from unit.examples import examples

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
path = text.map(lambda name: os.path.join(os.sep, "no-such-folder", name))
stream = text.filter(str.strip)
port = st.integers(1, 65535)
allowed = st.lists(st.sampled_from(["10.0.0.7", "10.0.0.0/24", "::1"])).map(tuple)
sizeLimit = st.integers(1 << 10, 1 << 36)
seconds = st.floats(0.1, 86400)
expected = st.integers(0, 1_000_000)
side = st.integers(1, 4000)
millimetres = st.floats(0.001, 10)

SETTINGS = {
    FolderSettings: {
        "folder": path,
        "pattern": text.filter(lambda pattern: pattern.strip(" ;,")),
        "subfolders": st.booleans(),
        "existing": st.sampled_from(list(EXISTING)),
        "seriesPattern": st.just("") | text.map(lambda part: part.replace("{series}", "") + "_{series}"),
        "incompleteAfter": st.floats(0.001, 1e6),
        "completeAfter": seconds,
        "expectedImages": expected,
        "stream": stream,
    },
    ReplaySettings: {
        "file": path,
        "pace": st.sampled_from(list(PACES)),
        "speed": st.floats(*SPEEDS),
        "rate": st.floats(*RATES) | st.integers(1, 10_000),
        "loop": st.booleans(),
        "paused": st.booleans(),
        "stream": stream,
    },
    PushSettings: {"stream": stream},
    OpenIGTLinkSettings: {
        "role": st.sampled_from(list(ROLES)),
        "host": st.sampled_from(["127.0.0.1", "scanner", "[::1]:18945", "igtl://10.0.0.7:18944"]),
        "port": port,
        "stream": stream,
        "expectedImages": expected,
        "allowed": allowed,
        "checkCRC": st.booleans(),
        "sizeLimit": sizeLimit,
        "silentAfter": seconds,
        "ask": st.lists(st.sampled_from(["STT_TDATA", "GET_STATUS"])).map(tuple),
        "video": st.booleans(),
        "tools": st.lists(st.sampled_from(["Probe", "Ünicode to b"])).map(tuple),
        "timeOffsets": st.lists(st.sampled_from(["Probe=-0.083", "a=b=1e-3"])).map(tuple),
        "version": st.sampled_from([1, 2]),
        "engine": st.sampled_from(list(ENGINES)),
    },
    HTTPSettings: {
        "host": st.sampled_from(["127.0.0.1", "0.0.0.0"]),
        "port": port | st.just(0),
        "expectedImages": expected,
        "stream": stream,
        "token": st.just("") | st.from_regex(r"[A-Za-z0-9._~+/-]{16,200}=*", fullmatch=True),
        "allowed": allowed,
        "origins": st.lists(st.sampled_from(["http://localhost:3000", "https://lab.example.org"])).map(tuple),
        "sizeLimit": sizeLimit,
    },
    CameraSettings: {
        "device": st.integers(0, 99) | st.sampled_from(["a.mp4", "/dev/video3", "rtsp://camera/live", " 7 "]),
        "width": side,
        "height": side,
        "rate": st.floats(0, 1000),
        "codec": st.sampled_from(["", "MJPG", "YUYV", "Y16 "]),
        "backend": st.sampled_from(["", "V4L2"]),
        "colour": st.booleans(),
        "crop": st.tuples(*4 * [st.integers(0, 900)]),
        "rotate": st.sampled_from(list(ROTATIONS)),
        "flip": st.sampled_from(list(FLIPS)),
        "spacing": millimetres | st.tuples(millimetres, millimetres),
        "loop": st.booleans(),
        "realTime": st.booleans(),
        "stream": st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
    },
    ProcessorSettings: {
        "function": st.sampled_from(["RigidMotion", "/home/me/denoise.py"]),
        "source": text,
        "stream": stream,
        "every": st.sampled_from(list(EVERY)),
        "parameters": st.dictionaries(text, st.integers() | text | st.booleans()).map(json.dumps),
        "python": path,
        "limit": seconds,
        "environment": st.dictionaries(text, st.none() | text).map(json.dumps),
    },
    DICOMSettings: {
        "folder": path,
        "aeTitle": st.sampled_from(["SLICER", "a", "16 LETTERS OR 16"]),
        "host": st.sampled_from(["127.0.0.1", "0.0.0.0"]),
        "port": port | st.just(0),
        "allowed": allowed,
        "callers": st.lists(st.sampled_from(["SCANNER", "PACS"])).map(tuple),
        "checkCalled": st.booleans(),
        "growing": st.booleans(),
        "expectedImages": expected,
        "completeAfter": seconds,
        "sizeLimit": sizeLimit,
        "stream": stream,
    },
    MRDSettings: {
        "role": st.sampled_from(list(MRD_ROLES)),
        "file": st.sampled_from(["/data/run.h5", "/data/images"]),
        "host": st.sampled_from(["127.0.0.1", "0.0.0.0"]),
        "port": port,
        "config": st.sampled_from(["null", "invertcontrast"]),
        "sendBack": st.booleans(),
        "complexAs": st.sampled_from(list(COMPLEX)),
        "tick": st.floats(0, 1000),
        "completeAfter": seconds,
        "allowed": allowed,
        "sizeLimit": sizeLimit,
        "expectedImages": expected,
        "stream": stream,
    },
}
"""Values of every setting of every kind of source."""


def test_every_setting_of_every_source_is_tried():
    assert set(SETTINGS) == {kind.settings for kind in KINDS.values()}
    for made, values in SETTINGS.items():
        assert set(values) == {field.name for field in dataclasses.fields(made)}


def test_the_import_rules_name_every_source():
    rules = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    for kind in KINDS.values():
        assert f'    "{kind.settings.__module__}",\n' in rules


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_settings_survive_json(kind, data):
    chosen = data.draw(st.builds(KINDS[kind].settings, **SETTINGS[KINDS[kind].settings]))
    assert settingsFromJSON(json.loads(json.dumps(chosen.toJSON()))) == chosen


@pytest.mark.parametrize("name", ["", " ", None, 3])
def test_frames_from_python_need_the_name_of_a_stream(name):
    with pytest.raises(SettingsError, match=r'needs a name|"stream" is text'):
        PushSettings(name)


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
    ("typed", "parts"),
    [
        ('"{}"', ("scans",)),  # Windows: "Copy as path"
        ("'{}'", ("scans",)),
        ("\u201c{}\u201d", ("scans",)),
        ("\u202a{}", ("scans",)),  # Windows: out of a file's properties
        ('\ufeff"\u200b{}"', ("scans",)),
        ("  {} \t\n", ("scans",)),
        (' " {} " ', ("scans",)),
        ("{}/", ("scans",)),
        ("file://{}", ("scans",)),
        ("FILE://localhost{}", ("scans",)),
        ('"file://{}/a%20b%23c"', ("scans", "a b#c")),
        ("{}/a%20b", ("scans", "a%20b")),
        ("{}/a'b\"c", ("scans", "a'b\"c")),
    ],
)
def test_typed_and_pasted_paths_are_understood(tmp_path, typed, parts):
    folder = str(tmp_path / "scans")
    if os.name == "nt" and "file:" in typed.lower():
        folder = "/" + folder.replace(os.sep, "/")
    text, expected = typed.format(folder), str(tmp_path.joinpath(*parts))
    assert typedPath(text) == expected == typedPath(expected)
    assert FolderSettings(text).folder == expected
    assert ReplaySettings(text).file == expected
    assert DICOMSettings(text).folder == expected


@pytest.mark.parametrize("typed", ["", " ", '""', "''", ' " " '])
def test_a_path_without_anything_in_it_is_none(typed):
    assert typedPath(typed) == ""
    for make, words in (
        (FolderSettings, "the folder into which"),
        (ReplaySettings, "the file to replay"),
        (DICOMSettings, "the folder in which"),
        (lambda path: ConversionSettings(path, "out"), "the folder with DICOM files"),
    ):
        with pytest.raises(SettingsError, match=words):
            make(typed)


def test_a_share_may_be_given_as_an_address():
    share = typedPath("file://server/share/a%20b")
    assert share.replace(os.sep, "/") == "//server/share/a b"


def test_a_path_with_a_nul_character_is_refused():
    with pytest.raises(SettingsError, match="NUL"):
        FolderSettings("a\0b")


@examples(1.5)
@given(
    st.lists(
        st.sampled_from(["/", " ", '"', "'", "a", "~", "file:", "//", "%20", ".", "..", "\\", "\t"]), max_size=8
    ).map("".join)
)
def test_a_path_converts_to_itself(typed):
    path = typedPath(typed)
    assert path == "" or os.path.isabs(path)
    assert typedPath(path) == path


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"folder": ""}, "Choose the folder"),
        ({"folder": "  "}, "Choose the folder"),
        ({"pattern": " ; ;"}, "pattern of file names is empty"),
        ({"pattern": " , ;,"}, "pattern of file names is empty"),
        ({"completeAfter": 0}, "from 0.1 to 86400 s"),
        ({"existing": "some"}, "ignore, newest, all"),
        ({"seriesPattern": "*_series_*"}, "{series}"),
        ({"seriesPattern": "{series}{series}"}, "{series}"),
        ({"incompleteAfter": 0}, "from 0.001 to 1,000,000 s"),
        ({"incompleteAfter": -1.0}, "from 0.001"),
        ({"incompleteAfter": float("inf")}, "from 0.001"),
        ({"incompleteAfter": float("nan")}, "from 0.001"),
        ({"stream": " "}, "needs a name"),
    ],
)
def test_a_value_that_cannot_work_is_refused_with_what_it_needs(tmp_path, values, words):
    for make in (lambda given: FolderSettings(**given), lambda given: settingsFromJSON({"kind": "folder", **given})):
        with pytest.raises(SettingsError) as caught:
            make({"folder": str(tmp_path), **values})
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"file": " "}, "Choose the file"),
        ({"pace": "slow"}, "recorded, rate, fastest"),
        *(({"speed": value}, "from 0.001 to 1000 x") for value in (0, -1.0, 1e9, math.nan, math.inf)),
        *(({"speed": value}, "from 0.001 to 1000 x") for value in ("1", None, True)),
        *(({"rate": value}, "from 0.001 to 10000 images/s") for value in (0, -1.0, 1e9, math.nan, -math.inf)),
        *(({"rate": value}, "from 0.001 to 10000 images/s") for value in ("1", None, True)),
        ({"loop": 1}, '"loop" is true or false'),
        ({"paused": None}, '"paused" is true or false'),
        ({"stream": ""}, "needs a name"),
    ],
)
def test_a_replay_that_cannot_work_is_refused_with_what_it_needs(tmp_path, values, words):
    given_ = {"file": str(tmp_path / "a.nrrd"), **values}
    for make in (lambda: ReplaySettings(**given_), lambda: settingsFromJSON({"kind": "replay", **given_})):
        with pytest.raises(SettingsError) as caught:
            make()
        assert words in str(caught.value)


def test_the_file_of_a_replay_may_be_missing_or_relative_or_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for name in ("a.nrrd", os.path.join("~", "a.nrrd"), tmp_path / "a.nrrd"):
        assert ReplaySettings(name).file == str(tmp_path / "a.nrrd")


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
        {"kind": "replay"},
        {"kind": "replay", "file": 5},
        {"kind": "replay", "file": "a", "stream": 7},
        {"kind": "dicom", "folder": "a", "allowed": [5]},
        {"kind": "openigtlink", "host": None},
        None,
        [1],
        5,
    ],
)
def test_json_that_is_no_settings_is_refused_with_a_sentence(values):
    with pytest.raises(SettingsError, match=r".{20}"):
        settingsFromJSON(values)


def test_an_unknown_setting_is_named_with_those_that_there_are():
    with pytest.raises(
        SettingsError,
        match=r"no setting 'speed'; it has completeAfter, existing, expectedImages, folder, incompleteAfter",
    ):
        settingsFromJSON({"kind": "folder", "folder": "a", "speed": 3})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1], "The conversion has settings by name, not [1]."),
        ({"input": "a"}, "The conversion needs a value of output."),
        ({"y" * 99: 1}, f"The conversion has no setting '{'y' * 60}'; it has input"),
        ({f"x{number}": 1 for number in range(9)}, "has no setting 'x0', 'x1', 'x2', 'x3', 'x4'; it has"),
    ],
)
def test_names_of_settings_are_checked(values, words):
    with pytest.raises(SettingsError) as caught:
        ConversionSettings.fromJSON(values)
    assert words in str(caught.value)


def test_a_path_is_no_number():
    with pytest.raises(SettingsError, match='"folder" is a path, not 5'):
        FolderSettings(5)


# ---- settings of other packages

STREAM = dataclasses.field(default="Other", metadata=about("Volume name", "Name."))


@pytest.mark.parametrize(
    ("type_", "field", "words"),
    [
        (float, dataclasses.field(default=1.0), "Other.value needs a description"),
        (
            int,
            dataclasses.field(default=0, metadata=about("A", "B.", limits=(1, 9))),
            'of Other.value .*"value" is a whole',
        ),
        (
            list[str],
            dataclasses.field(default=(), metadata=about("A", "B.")),
            r"Other.value is a list\[str\]. Use a tuple",
        ),
        (str, dataclasses.field(default_factory=str, metadata=about("A", "B.")), "Other.value has a default_factory"),
        (tuple[int, ...], dataclasses.field(default=(), metadata=about("A", "B.")), r"Other.value is a tuple\[int"),
        (tuple[int, int], dataclasses.field(default=(1, 2), metadata=about("A", "B.")), "needs a label for each"),
        (str | None, dataclasses.field(default=None, metadata=about("A", "B.")), "Other.value has the default None"),
        (str, dataclasses.field(metadata=about("A", "B.", secret=True)), "Other.value is secret"),
        (int, dataclasses.field(default=1 << 40, metadata=about("A", "B.")), "cannot show 1,099,511,627,776"),
        (int, dataclasses.field(default=1, metadata=about("A", "B.", limits=(0, 1 << 40))), "cannot show 1,099"),
        (float, dataclasses.field(default=1e12, metadata=about("A", "B.")), "cannot show 1,000,000,000,000"),
        (float, dataclasses.field(default=0.05, metadata=about("A", "B.")), "cannot show 0.05 with 1 decimals"),
    ],
)
def test_a_kind_with_a_setting_that_cannot_work_is_not_registered(type_, field, words):
    fields = [("value", type_, field), ("stream", str, STREAM)]
    made = dataclasses.make_dataclass(
        "Other", fields, bases=(SourceSettings,), frozen=True, namespace={"kind": "other"}
    )
    with pytest.raises(SettingsError, match=words):
        register(SourceKind(made, "Other", lambda settings, context: None))
    assert "other" not in KINDS


def test_a_kind_without_a_stream_is_not_registered():
    made = dataclasses.make_dataclass("Other", [], bases=(SourceSettings,), frozen=True, namespace={"kind": "other"})
    with pytest.raises(SettingsError, match='Other needs a field "stream"'):
        register(SourceKind(made, "Other", lambda settings, context: None))
    assert "other" not in KINDS


def test_no_setting_is_called_kind():
    field = dataclasses.field(default="x", metadata=about("A", "B."))
    made = dataclasses.make_dataclass(
        "Other", [("kind", str, field), ("stream", str, STREAM)], bases=(SourceSettings,), frozen=True
    )
    with pytest.raises(SettingsError, match=r"Other.kind needs another name"):
        checkFields(made)


def test_the_choices_of_a_setting_may_be_numbers_of_any_kind():
    field = dataclasses.field(default=0.5, metadata=about("A", "B.", choices={0.5: "Half", 1.0: "Whole"}))
    made = dataclasses.make_dataclass(
        "Other", [("value", float, field), ("stream", str, STREAM)], bases=(SourceSettings,), frozen=True
    )
    checkFields(made)
    assert made(1.0).value == 1.0
    with pytest.raises(SettingsError, match=r"is one of 0.5, 1.0"):
        made(True)


@pytest.mark.parametrize(
    ("wrong", "words"), [({"choices": ["a", "b"]}, "choices is a dictionary"), ({"path": True}, "path is")]
)
def test_a_description_that_no_panel_can_show_is_refused(wrong, words):
    with pytest.raises(SettingsError, match=f'"Label": {words}'):
        about("Label", "Tooltip.", **wrong)


@pytest.mark.parametrize("name", ["parameters", "environment"])
@pytest.mark.parametrize(("value", "words"), [("{", "is no JSON"), ("[1]", "is a JSON object"), (3, "is text")])
def test_parameters_of_a_function_are_a_json_object(name, value, words):
    with pytest.raises(SettingsError, match=f'"{name}" {words}'):
        ProcessorSettings("RigidMotion", **{name: value})
