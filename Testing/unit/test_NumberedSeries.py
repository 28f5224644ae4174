"""Files that are missing in a numbered series are named; other numbers in names mean nothing."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Sources.Folder.NumberedSeries import MOST_SERIES, PATIENCE, NumberedSeries

NAMES = [f"vol_{number:04d}.nii" for number in range(1, 21)]


def run(names, period=0.1, batch=1):
    """Let names arrive, so many at a time; return all texts, those of the quiet time behind them included."""
    series, now, texts = NumberedSeries(), 0.0, []
    for start in range(0, len(names), batch):
        texts += [event.text for event in series.add(names[start : start + batch], now)]
        texts += [event.text for event in series.overdue(now)]
        now += period
    texts += [event.text for event in series.overdue(now + 1000 * period + PATIENCE)]
    assert series.due == float("inf")
    return texts


@given(st.sampled_from([0.01, 1.0, 10.0]), st.integers(1, 20))
def test_a_complete_series_has_no_events(period, batch):
    assert run(NAMES, period, batch) == []


def test_a_missing_file_is_named():
    names = [name for name in NAMES if name != "vol_0008.nii"]
    assert run(names) == ["vol_0008.nii is missing: vol_0009.nii has already arrived."]


def test_several_missing_files_are_one_event():
    names = [name for name in NAMES if not "vol_0008" <= name < "vol_0012"]
    assert run(names) == ["4 files are missing, from vol_0008.nii to vol_0011.nii."]


def test_a_file_that_comes_in_time_is_not_late():
    names = [*NAMES[:7], NAMES[8], NAMES[7], *NAMES[9:]]
    assert run(names) == []


def test_a_late_file_is_named():
    names = [*NAMES[:7], *NAMES[8:], NAMES[7], "vol_0021.nii"]
    assert run(names, period=1.0) == [
        "vol_0008.nii is missing: vol_0009.nii has already arrived.",
        "vol_0008.nii arrived late.",
    ]


def test_a_slow_series_has_more_patience():
    series, now = NumberedSeries(), 0.0
    for name in [*NAMES[:7], NAMES[8]]:
        list(series.add([name], now))
        now += 5.0
    late = now - 5.0 + 15.0  # three periods after the file behind the gap
    assert series.due == late
    assert list(series.overdue(late - 0.01)) == []
    assert len(list(series.overdue(late))) == 1


@pytest.mark.parametrize(
    "names",
    [
        [f"img_1430{second:02d}.nii" for second in (0, 1, 2, 3, 4, 5, 9, 20)],
        [f"1.2.840.113619.2.{number}.dcm" for number in (100100, 100101, 100102, 100103, 100104, 100109)],
        ["a1.nii", "a2.nii", "a4.nii", "a9.nii"],
        [f"a{number}.nii" for number in (1, 2, 3, 4, 5, 5000, 5001)],
        ["a5.nii", "a6.nii", "a7.nii", "a8.nii", "a9.nii", "a1.nii", "a2.nii", "a3.nii"],
        [f"echo{number % 2}.nii" for number in range(10)],
    ],
)
def test_other_numbers_mean_nothing(names):
    assert run(names) == []


def test_slices_of_volumes_are_reported_once():
    names = [f"v{volume:03d}_s{slice_:02d}.dcm" for volume in range(8) for slice_ in range(8)]
    names.remove("v005_s06.dcm")
    (text,) = run(names)
    assert text.startswith("v005_s06.dcm is missing")


def test_other_runs_with_the_same_names_are_followed_again():
    names = [name for name in NAMES if name != "vol_0008.nii"]
    assert run([*NAMES, *names]) == ["vol_0008.nii is missing: vol_0009.nii has already arrived."]


@pytest.mark.parametrize("left", range(MOST_SERIES // 3 - 3, MOST_SERIES // 3 + 3))
def test_a_date_in_the_names_hides_no_missing_file(left):
    """Each date, with the number behind it, is a series of its own: those must not replace the one that goes on."""
    names = [f"2024-05-04_{number:04d}.nii" for number in range(MOST_SERIES)]
    texts = run([*names[:left], *names[left + 1 :]])
    assert texts == [f"{names[left]} is missing: {names[left + 1]} has already arrived."]


def test_the_memory_is_bounded():
    series, numbers = NumberedSeries(), random.Random(1)
    for _ in range(3 * MOST_SERIES):
        list(series.add([f"{numbers.random()}.nii"], 0.0))
    assert len(series._series) == MOST_SERIES
