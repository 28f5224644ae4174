"""Grouping of slices into volumes, and the completeness of volumes."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Formats.DICOM.Header import SliceHeader
from RealTimeImagingLib.Formats.DICOM.SliceGroup import Assembly, Instance, Slice, missingPlaces
from RealTimeImagingLib.Model.Frame import Image
from unit.examples import examples

OBLIQUE = np.array([[0.0, 0.6, 0.8], [1.0, 0.0, 0.0], [0.0, 0.8, -0.6]])
"""Directions of columns, rows and slices, as rows of an array."""


def aSlice(
    place, number=1, moment="", echo="", slices=None, images=None, series="1.2", association=1, plane=0, kind=""
):
    """Return a slice of 1 x 2 x 3 voxels at a place in millimetres along the normal."""
    axes = np.roll(OBLIQUE, plane, axis=0)
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1] = axes[0] * 2, axes[1] * 1.5
    normal = np.cross(axes[0], axes[1])
    matrix[:3, 2], matrix[:3, 3] = normal * 5, np.array([10.0, -20.0, 30.0]) + place * normal
    image = Image(np.full((1, 2, 3), number, np.int16), matrix, None, {})
    header = SliceHeader(
        series, f"9.{number}", number, echo=echo, kinds=kind, temporal=moment, slices=slices, images=images
    )
    return Slice(Instance(f"/{number}.dcm", (1, 1), header, 0.0), image, association)


class Board:
    """Assembly with a record of its closed volumes."""

    def __init__(self, silence=2.0):
        self.assembly, self.now, self.closed = Assembly(silence), 0.0, []

    def add(self, *slices, passes=0.01):
        for one in slices:
            self.now += passes
            self._note(self.assembly.add(one, self.now))
        return self

    def release(self, association=1):
        self._note(self.assembly.released(association, self.now))
        return self

    def wait(self, seconds):
        self.now += seconds
        self._note(self.assembly.silent(self.now))
        return self

    def _note(self, found):
        for one in found:
            places = [round(place - 0.0, 3) for place in sorted(one.volume.heights)]
            low = min(one.volume.heights)
            numbers = [each.instance.header.number for each in one.volume.slices]
            self.closed.append((one.why, numbers, one.volume.missing(), [round(place - low, 3) for place in places]))

    @property
    def whys(self):
        return [why for why, *_ in self.closed]

    @property
    def numbers(self):
        return [sorted(numbers) for _, numbers, *_ in self.closed]

    @property
    def missing(self):
        return [missing for *_, missing, _ in self.closed]


def run(places, first=1, **values):
    return [aSlice(place, first + index, **values) for index, place in enumerate(places)]


@examples(2.5)
@given(st.permutations(range(9)))
def test_a_volume_is_complete_with_the_number_of_slices_in_the_header(order):
    slices = [aSlice(place * 3.0, place, slices=9) for place in order]
    board = Board().add(*slices[:-1])
    assert board.closed == []
    assert board.add(slices[-1]).whys == ["count"]
    assert board.missing == [[]]
    assert board.numbers == [list(range(9))]
    assert board.closed[0][3] == [place * 3.0 for place in range(9)]


def test_images_in_acquisition_counts_where_it_fits():
    assert Board().add(*run([0, 3, 6], images=3)).whys == ["images"]
    # two echoes of three slices each: neither has six
    board = Board().add(*[aSlice(p, p * 2 + e, echo=str(e), images=6) for p in (0, 3, 6) for e in (0, 1)])
    assert board.closed == []
    assert board.release().whys == ["released", "released"]


def test_images_in_acquisition_is_ignored_after_it_was_too_small():
    board = Board().add(*run([0, 3, 6, 9, 12, 15, 18], images=3))
    assert board.numbers == [[1, 2, 3]]
    assert board.release().numbers == [[1, 2, 3], [1, 2, 3, 4, 5, 6, 7]]
    assert board.missing[-1] == []


def test_a_repeated_place_begins_the_next_time_point():
    board = Board().add(*run([0, 3, 6, 9]), *run([0, 3, 6], first=11))
    assert board.whys == ["repeat"]
    assert board.add(aSlice(9, 14)).whys == ["repeat", "places"]
    assert board.add(*run([9, 3, 0, 6], first=21)).whys == ["repeat", "places", "places"]
    assert board.numbers == [[1, 2, 3, 4], [11, 12, 13, 14], [21, 22, 23, 24]]
    assert board.missing == [[], [], []]


@examples(2.5)
@given(st.integers(2, 5), st.integers(2, 6), st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_time_points_in_the_header_are_never_mixed(moments, count, byPlace, shuffled, random_):
    """The order of sending does not matter: by time, by place, or random."""
    slices = [
        aSlice(place * 2.5, 100 * moment + place, str(moment)) for moment in range(moments) for place in range(count)
    ]
    if byPlace:
        slices.sort(key=lambda one: one.height or one.instance.header.number % 100)
    if shuffled:
        random_.shuffle(slices)
    board = Board().add(*slices).release().wait(3)
    latest = {}
    for numbers in board.numbers:
        assert len({number // 100 for number in numbers}) == 1
        latest[numbers[0] // 100] = numbers
    assert sorted(latest) == list(range(moments))
    if not shuffled:
        assert [numbers for _, numbers in sorted(latest.items())] == [
            [100 * moment + place for place in range(count)] for moment in range(moments)
        ]


def test_interleaved_echoes_and_image_types_are_separate_volumes():
    def moment(first):
        return [
            aSlice(place, first + 4 * place + 2 * echo + kind, echo=str(echo), kind="MP"[kind])
            for place in range(3)
            for echo in (0, 1)
            for kind in (0, 1)
        ]

    board = Board().add(*moment(0), *moment(100), *moment(200)).release()
    # the first by the repetition, the others with their last slices
    assert board.whys == ["repeat"] * 4 + ["places"] * 8
    assert all(len(numbers) == 3 and len({number % 4 for number in numbers}) == 1 for numbers in board.numbers)
    assert all(len({number // 100 for number in numbers}) == 1 for numbers in board.numbers)


def test_repeated_single_slices_are_shown_at_once_also_when_the_plane_moves():
    board = Board().add(aSlice(5, 1), aSlice(5, 2))
    assert board.numbers == [[1], [2]]
    board.add(aSlice(5, 3), aSlice(8, 4), aSlice(2, 5), aSlice(5, 6))
    assert board.numbers == [[number] for number in range(1, 7)]


def test_single_slices_with_time_points_are_shown_at_once_after_the_first_silence():
    board = Board()
    for number in range(1, 30):
        board.add(aSlice(5, number, str(number)), passes=0.1).wait(0.0)
    assert board.whys[:1] == ["silence"]
    assert board.closed[-1][0] == "places"
    board.add(aSlice(5, 50, "50"))
    assert board.whys[-1] == "places"


@examples(2.5)
@given(st.sets(st.integers(1, 18), min_size=1, max_size=8))
def test_missing_slices_are_found_by_the_gaps(lost):
    places = [place for place in range(20) if place not in lost]
    random.Random(1).shuffle(places)
    steps = np.diff(sorted(places))
    if steps.min() > 1:
        return
    board = Board().add(*run([place * 4.0 for place in places])).release()
    # missing slices may arrive during the silence
    assert board.closed == []
    assert board.wait(2.1).whys == ["silence"]
    low = min(place for place in range(20) if place not in lost) * 4.0
    base = Board().add(aSlice(0)).assembly.open[0].heights[0]
    np.testing.assert_allclose([place - base for place in board.missing[0]], sorted(place * 4.0 for place in lost))
    assert low == 0


def test_missing_slices_are_found_by_the_places_of_the_previous_volume():
    board = Board().add(*run([0, 3, 6, 9, 12]), *run([0, 3, 6], first=11), *run([0, 3, 6, 9, 12], first=21))
    assert board.whys == ["repeat", "repeat", "places"]
    assert [len(missing) for missing in board.missing] == [0, 2, 0]
    # a volume elsewhere has no known places
    board = Board().add(*run([0, 3, 6]), *run([0, 3, 6], first=11), *run([50, 53, 56], first=21)).wait(3)
    assert board.numbers == [[1, 2, 3], [11, 12, 13], [21, 22, 23]]
    assert board.missing == [[], [], []]


def test_the_last_slice_of_the_first_time_point_was_lost():
    """No slice enters the volume of another time point."""
    board = Board().add(*run([0, 3, 6]), *run([0, 3, 6, 9], first=11), *run([0, 3, 6, 9], first=21))
    assert board.whys == ["repeat", "places", "repeat", "places"]
    assert board.numbers == [[1, 2, 3], [11, 12, 13], [11, 12, 13, 14], [21, 22, 23, 24]]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("slices", [None, 6])
@pytest.mark.parametrize("lost", [1, 2])
@pytest.mark.parametrize("moment", [0, 1, 2])
def test_the_first_slices_of_a_time_point_were_lost(moment, lost, slices, sign):
    """Slices of the next time point do not fill their free places."""
    sent = [run([sign * 3.0 * place for place in range(6)], 1 + 6 * time, slices=slices) for time in range(4)]
    expected = [[one.instance.header.number for one in time] for time in sent]
    del sent[moment][:lost], expected[moment][:lost]
    board = Board().add(*(one for time in sent for one in time)).wait(3)
    assert [numbers for numbers in board.numbers if numbers in expected] == expected
    assert {number for numbers in board.numbers for number in numbers} == {one for time in expected for one in time}
    for numbers in board.numbers:
        assert sum(bool(set(numbers) & set(time)) for time in expected) == 1
    found = board.missing[board.numbers.index(expected[moment])]
    assert len(found) == lost


@examples(2.5)
@given(st.permutations(range(7)))
def test_slices_in_any_order_of_one_time_point_are_one_volume(order):
    """The numbers follow the places; the order of arrival does not matter."""
    slices = run([place * 3.0 for place in range(7)])
    assert Board().add(*(slices[place] for place in order)).wait(3).numbers == [list(range(1, 8))]


@pytest.mark.parametrize("order", [(1, 3, 5, 0, 2, 4), (0, 2, 4, 1, 3, 5), (5, 3, 1, 4, 2, 0), (4, 2, 0, 5, 3, 1)])
def test_interleaved_slices_are_one_volume(order):
    """The numbers follow the acquisition."""
    assert Board().add(*run([place * 3.0 for place in order])).wait(3).numbers == [[1, 2, 3, 4, 5, 6]]


def test_a_scanner_slower_than_the_silence_shows_its_volume_with_each_slice():
    board = Board()
    for number in range(5):
        board.add(aSlice(number * 3.0, number), passes=0).wait(3)
    assert board.numbers == [list(range(number + 1)) for number in range(5)]
    # much later it is another volume
    board.wait(60).add(aSlice(15.0, 9)).wait(3)
    assert board.numbers[-1] == [9]


def test_an_association_for_each_slice_is_no_volume_for_each_slice():
    board = Board()
    for number in range(4):
        board.add(aSlice(number * 3.0, number, association=number)).release(number)
    assert board.closed == []
    assert board.wait(2.1).numbers == [[0, 1, 2, 3]]


def test_several_associations_may_send_one_volume():
    board = Board().add(*run([0, 3, 6], association=1)).add(*run([9, 12], first=4, association=2, slices=5))
    assert board.closed == []
    board = Board().add(*run([0, 6, 12], association=1, slices=6), *run([3, 9, 15], first=4, association=2, slices=6))
    assert board.whys == ["count"]


def test_a_header_with_too_many_slices_is_ignored_after_two_volumes():
    board = Board()
    for moment in range(4):
        board.add(*run([0, 3, 6], first=10 * moment, slices=100))
    assert board.whys == ["repeat", "repeat", "places", "places"]
    assert [len(numbers) for numbers in board.numbers] == [3] * 4


def test_a_volume_that_was_cut_off_tells_nothing_about_the_next():
    whole = [3.0 * place for place in range(6)]
    board = Board().add(*run(whole[:3], images=6), *run(whole, first=11, images=6))
    assert board.numbers == [[1, 2, 3], [11, 12, 13, 14, 15, 16]]
    assert board.whys == ["repeat", "images"]


def test_images_of_several_volumes_in_the_header_are_ignored_after_two_volumes():
    board = Board()
    for moment in range(4):
        board.add(*run([0, 3, 6], first=10 * moment, images=100))
    assert board.whys == ["repeat", "repeat", "places", "places"]


def test_series_and_planes_are_separate_volumes():
    board = Board().add(*[aSlice(p, p, series=s, plane=a) for p in (0, 3, 6) for s in "ab" for a in (0, 1, 2)])
    assert len(board.release().closed) == 6
    assert board.missing == [[]] * 6


def test_tiny_differences_of_direction_do_not_divide_a_volume():
    slices = run([0, 3, 6])
    for number, one in enumerate(slices):
        one.matrix = one.matrix.copy()
        one.matrix[0, 0] += 2e-5 * number
    assert Board().add(*slices).release().numbers == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("heights", "missing"),
    [([], []), ([3.0], []), ([0.0, 7.0], []), ([0, 1, 2, 4], [3]), ([0, 2, 2.9], None), ([0, 1e-2, 1e5], None)],
)
def test_gaps(heights, missing):
    assert missingPlaces(heights) == missing


@examples(2.5)
@given(st.lists(st.floats(-1e6, 1e6), unique_by=lambda one: round(one, 2), max_size=30))
def test_damaged_positions_make_no_huge_volume(heights):
    found = missingPlaces(heights)
    assert found is None or len(found) <= max(8, len(heights))
