"""Names of recordings from a pattern: values, runs, folders, and characters that file systems refuse."""

import os
import re
import time

import pytest
from RealTimeImagingLib.Model.Errors import SettingsError
from RealTimeImagingLib.Recording import repair
from RealTimeImagingLib.Recording.Names import BIDS_NAME, DATE_NAME, missingFields, namedPlace
from unit.recordings import frame, record

VALUES = {"Participant": "01", "session": "pre", "Operator": "Zoë Ångström"}


def test_the_default_is_the_date_and_time(tmp_path):
    folder, name = namedPlace(str(tmp_path), DATE_NAME, {})
    assert folder == str(tmp_path)
    assert re.fullmatch(r"Recording_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", name)


def test_the_run_counts_up(tmp_path):
    """Also over streams, restarted processes and recordings whose files do not exist yet; never over others."""
    place = os.path.join(str(tmp_path), "sub-01", "ses-pre"), "sub-01_ses-pre_run-01"
    assert namedPlace(str(tmp_path), BIDS_NAME, VALUES) == place
    os.makedirs(place[0])
    assert namedPlace(str(tmp_path), BIDS_NAME, VALUES, given=[place])[1].endswith("run-02")
    for taken in ("sub-01_ses-pre_run-01-Live.raw", "sub-01_ses-pre_run-02.messages.json"):
        open(os.path.join(place[0], taken), "w").close()
    assert namedPlace(str(tmp_path), BIDS_NAME, VALUES)[1].endswith("run-03")
    open(os.path.join(place[0], "SUB-01_ses-pre_run-03_1-Live.jsonl"), "w").close()
    open(os.path.join(place[0], "sub-01_ses-pre_run-041-Live.raw"), "w").close()
    assert namedPlace(str(tmp_path), BIDS_NAME, VALUES)[1].endswith("run-04")


def test_the_run_counts_up_fast(tmp_path):
    """Slicer waits for the number: the time must not grow with the square of the number of runs."""
    for number in range(1, 10_001):
        (tmp_path / f"run-{number:02}-Live.json").touch()
    began = time.process_time()
    assert namedPlace(str(tmp_path), "run-{run:02}", {})[1] == "run-10001"
    assert time.process_time() - began < 3.0


def test_marks_of_letters_are_part_of_them(tmp_path):
    """As macOS writes names, and as most keyboards do."""
    for name in ("Zoe\u0308", "Zo\u00eb"):
        assert namedPlace(str(tmp_path), "{operator}", {"operator": name})[1] == "Zo\u00eb"
    (tmp_path / "Zoe\u0308_1-Live.raw").touch()
    assert namedPlace(str(tmp_path), "{operator}_{run}", {"operator": "Zo\u00eb"})[1] == "Zo\u00eb_2"


def test_a_given_run_is_kept(tmp_path):
    assert namedPlace(str(tmp_path), "a{run:03}", {"Run": "7"})[1] == "a007"
    record(tmp_path, [frame(0)], name="b1")
    assert namedPlace(str(tmp_path), "b{run}", {})[1] == "b2"


def test_missing_values_are_named(tmp_path):
    assert missingFields(BIDS_NAME, {"participant": " "}) == ["participant", "session"]
    with pytest.raises(SettingsError, match=r"needs a value for participant, session\. Enter"):
        namedPlace(str(tmp_path), BIDS_NAME, {})
    with pytest.raises(SettingsError, match="brace without a field"):
        namedPlace(str(tmp_path), "a{b", {})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ('a<b>c:d"e|f?g*h', "a_b_c_d_e_f_g_h"),
        ("../../etc", "_.._etc"),
        ("C:\\scans", "C__scans"),
        ("nul", "_nul"),
        ("Com1.txt", "_Com1.txt"),
        ("end. ", "end._"),
        ("end.", "end"),
        ("\t\n", None),
        ("Zoë Ångström", "Zoë_Ångström"),
        ("{run}", "_run_"),
    ],
)
def test_refused_characters_are_replaced(tmp_path, value, name):
    """A value never leaves its place in the name: it makes no folder and no device."""
    if name is None:
        assert missingFields("{x}", {"x": value}) == ["x"]
        return
    assert namedPlace(str(tmp_path), "{x}/{x}", {"x": value}) == (os.path.join(str(tmp_path), name), name)


def test_a_name_that_is_cut_off_before_its_number(tmp_path):
    """The next free name is taken when the files are made."""
    pattern = "{x}_{run}"
    name = namedPlace(str(tmp_path), pattern, {"x": "x" * 200})[1]
    assert name == "x" * 80
    record(tmp_path, [frame(0)], name=name)
    assert namedPlace(str(tmp_path), pattern, {"x": "x" * 200})[1] == name
    parts = record(tmp_path, [frame(0)], name=name)
    assert os.path.basename(parts[0]) == f"{name}_1-Scan.seq.nhdr"
    assert repair(str(tmp_path)) == []
