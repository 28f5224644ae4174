"""Order, distance, gaps, changes, tilt: what the places of slices make of a series."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Conversion.Geometry import UnevenError, partsOf
from RealTimeImagingLib.Conversion.Headers import Common, Slice
from RealTimeImagingLib.Conversion.Volumes import volumesOf
from RealTimeImagingLib.Formats.DICOM.Header import SliceHeader
from unit.conversions import assertSameAtWorldPoints, convert, dicomFile, fromITK, one, series
from unit.examples import examples
from unit.test_Conversion import inOrder

numbers = st.floats(-200, 200, allow_nan=False).map(lambda value: round(value, 3))


AXIAL = (1.0, 0, 0, 0, 1, 0)


def common(spacing=(0.5, 0.5)):
    rest = ("1", "CT", spacing, 1.0, "", "1.2.840.10008.1.2.1", "MONOCHROME2", 4, 5, 1, False)
    return Common(*rest, 1, 16, 16, 15, True, "<i2", 1.0, 0.0, ())


def slices(positions, shared=None, orientation=AXIAL):
    shared = shared or common()
    headers = [
        SliceHeader("1.2", f"1.{n}", n, 1, tuple(map(float, position)), orientation)
        for n, position in enumerate(positions)
    ]
    return [Slice(f"/in/{n}", 100, 0, shared, header, 10, "") for n, header in enumerate(headers)]


def rotation(a, b):
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tip = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return turn @ tip


@examples(1.5)
@given(
    order=st.permutations(range(7)),
    a=st.floats(0, 6.2),
    b=st.floats(0, 6.2),
    step=st.floats(0.004, 20),
    origin=st.tuples(numbers, numbers, numbers),
)
def test_any_order_of_files_gives_the_order_of_places(order, a, b, step, origin):
    axes = rotation(a, b)
    shared = common((min(0.5, step), min(0.5, step)))
    places = np.array(origin) + np.outer(np.arange(7) * step, axes[:, 2])
    found = slices(places, shared, tuple(axes[:, 0]) + tuple(axes[:, 1]))
    (volume,), refused = volumesOf([found[n] for n in order])
    assert refused == []
    assert [one.header.number for one in volume.slices[0]] == list(range(7))
    np.testing.assert_allclose(volume.ijkToLPS[:3, 3], origin)
    np.testing.assert_allclose(volume.ijkToLPS[:3, 2], axes[:, 2] * step, atol=1e-9)
    assert np.linalg.det(volume.ijkToLPS) > 0
    assert volume.warnings == []


@examples(1.5)
@given(gone=st.sets(st.integers(1, 18), min_size=1, max_size=4), step=st.sampled_from([0.01, 1.25, 7.0]))
def test_missing_slices_are_told_from_uneven_ones(gone, step):
    there = [n for n in range(20) if n not in gone]
    shared = common(spacing=(step, step))
    try:
        stacks = partsOf(slices([(0, 0, n * step) for n in there], shared))
    except UnevenError:
        pytest.fail("even places with gaps are no uneven ones")
    if len(stacks) == 1:
        (stack,) = stacks
        assert [n for n, place in enumerate(stack.places) if place is None] == sorted(gone)
        assert f"{len(gone)} of 20 slices are missing" in stack.warnings[0]
        np.testing.assert_allclose(stack.ijkToLPS[2, 2], step)
    assert sorted(place for stack in stacks for place in stack.places if place is not None) == list(range(len(there)))


def test_a_distance_that_changes_divides_the_series():
    heights = [0, 3, 6, 9, 12, 19, 26, 33]
    first, second = partsOf(slices([(0, 0, z) for z in heights]))
    assert (first.places, second.places) == ([0, 1, 2, 3, 4], [5, 6, 7])
    assert (first.ijkToLPS[2, 2], second.ijkToLPS[2, 2], second.ijkToLPS[2, 3]) == (3, 7, 19)
    assert "changes; this is part 2 of 2" in second.warnings[0]


def test_slices_all_over_the_place_are_no_volume():
    heights = np.cumsum(np.random.default_rng(3).uniform(0.5, 9, 40))
    with pytest.raises(UnevenError, match="40 slices are unevenly spaced"):
        partsOf(slices([(0, 0, z) for z in heights]))
    (volume,), _ = volumesOf(slices([(0, 0, z) for z in heights]))
    assert "no volume" in volume.reason


def test_distances_rounded_in_the_file_are_even():
    (stack,) = partsOf(slices([(0, 0, round(n * 0.625, 1)) for n in range(40)]))
    assert stack.places == list(range(40))
    assert "up to" in stack.warnings[0]
    (stack,) = partsOf(slices([(0, 0, round(n * 0.625, 3)) for n in range(40)]))
    assert stack.warnings == []


@pytest.mark.parametrize("tilt", [0.0, 12.0, -20.0])
def test_gantry_tilt_is_named_and_kept(tmp_path, tilt):
    step = np.array([0, np.tan(np.radians(tilt)), 1]) * 2
    values = series(tmp_path / "in", step=step)
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    assert any(f"tilted by {abs(tilt)} degrees" in words for words in entry.warnings) == bool(tilt)
    found = fromITK(tmp_path / "out" / entry.file)
    np.testing.assert_array_equal(found[0], values)
    assertSameAtWorldPoints(found, fromITK(inOrder(tmp_path / "in"), tilted=True))
    np.testing.assert_allclose(found[1][:3, 2], step, atol=1e-6)


def test_missing_slices_are_filled_and_named(tmp_path):
    values = series(tmp_path / "in", count=9, RescaleSlope=1, RescaleIntercept=-1000)
    gone = [path for path in inOrder(tmp_path / "in") if path.endswith(("x3", "x4"))]
    for path in gone:
        (tmp_path / "in" / path).unlink()
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    assert "2 of 9 slices are missing (number 4, 5)" in entry.warnings[0]
    found = fromITK(tmp_path / "out" / entry.file)[0].astype(int)
    expected = values.astype(int) - 1000
    expected[3:5] = expected[[0, 1, 2, 5, 6, 7, 8]].min()
    np.testing.assert_array_equal(found, expected)
    assert b"MissingSlices:=4 5" in (tmp_path / "out" / entry.file).read_bytes()
    (entry,) = convert(tmp_path / "in", tmp_path / "strict", strict=True).entries
    assert entry.status == "failed"
    assert "2 of 9 slices are missing" in entry.reason


def test_two_slices_in_one_place_are_named(tmp_path):
    series(tmp_path / "in")
    dicomFile(tmp_path / "in/z", np.zeros((5, 4), np.int16), (1, 2, 3), InstanceNumber=99)
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    assert entry.slices == 6
    assert "1 of 6 places have several slices" in entry.warnings[0]
    assert str(tmp_path / "in/z") in entry.warnings[0]
    (entry,) = convert(tmp_path / "in", tmp_path / "strict", strict=True).entries
    assert entry.status == "failed"
    assert str(tmp_path / "in/z") in entry.reason


def test_copies_of_a_file_are_named(tmp_path):
    series(tmp_path / "in")
    (tmp_path / "in/copy").write_bytes((tmp_path / "in/000x0").read_bytes())
    report = convert(tmp_path / "in", tmp_path / "out")
    assert one(report).warnings == ()
    assert [(file["path"], file["code"]) for file in report.files] == [("copy", "duplicate")]
