"""DICOM files of one slice each in a watched folder: what becomes a volume, and when."""

import itertools
import random

import numpy as np
import pytest
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid
from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Sources.Folder import SliceVolumes
from RealTimeImagingLib.Sources.Folder import SliceVolumes as SliceOrder
from unit.conftest import arrive, niftiFile, sumOf
from unit.storing import pixelsOf, series, slice_, stackOf

SILENCE = 2.0


def put(folder, one, name=""):
    """Save a data set as a scanner does, under its final name when it is whole; the path."""
    path = folder / (name or f"{one.SOPInstanceUID}.dcm")
    part = folder / ".part"
    one.save_as(part, enforce_file_format=True)
    part.rename(path)
    return path


def twoTimePoints(count=4, **others):
    """Two times the same places, numbered through."""
    uid = generate_uid()
    first = series(count, series=uid, **others)
    return first, series(count, first=count + 1, series=uid, **others)


def sumsOf(*volumes):
    return [checksum(stackOf(one)) for one in volumes]


def test_slices_become_a_volume_when_the_next_time_point_begins(receive, incoming):
    first, second = twoTimePoints()
    receiver = receive()
    for number, one in enumerate([*first, *second], 1):
        put(incoming, one)
        receiver.step()
        if number == 3:
            assert receiver.source.status == "Receiving volume: 3 slices so far."
        # The second one has come when it has all the places of the first.
        assert len(receiver.frames) == (number > 4) + (number == 8)
    assert receiver.sums == sumsOf(first, second)
    assert [frame[:2] for frame in receiver.frames] == [("Live", 0), ("Live", 1)]
    receiver.run(10)
    assert receiver.counts == (2, 0)
    assert receiver.events == []
    assert receiver.source.status == f"Waiting for the next image in {incoming}."


def test_the_count_in_the_header_ends_a_volume(receive, incoming):
    receiver = receive()
    slices = series(4, NumberOfTemporalPositions=1, ImagesInAcquisition=4)
    for number, one in enumerate(slices, 1):
        put(incoming, one)
        receiver.step()
        assert len(receiver.frames) == (number == 4)
    assert receiver.sums == sumsOf(slices)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("together", [True, False])
def test_files_in_any_order_are_the_same_volumes(receive, incoming, seed, together):
    """Shuffled over both time points, all at once or one after the other."""
    first, second = twoTimePoints(3)
    receiver = receive(existing="all")
    slices = [*first, *second]
    random.Random(seed).shuffle(slices)
    for number, one in enumerate(slices):
        put(incoming, one, f"{seed}{number}.dcm")
        if not together:
            receiver.step()
    receiver.run(6)
    assert receiver.sums == sumsOf(first, second)
    assert receiver.events == []


@pytest.mark.parametrize("seed", range(2))
def test_time_points_are_told_apart_by_their_times(receive, incoming, seed):
    """The numbers begin anew in each, or count the times of a place first; the files lie there in any order."""
    uid = generate_uid()
    for renumbered in (True, False):
        volumes = [
            [
                slice_(
                    place + 1 if renumbered else 3 * place + when + 1,
                    4.0 * place,
                    pixelsOf(10 * when + place),
                    series=f"{uid[:60]}.{int(renumbered)}",
                    AcquisitionDate="20240501",
                    AcquisitionTime=f"1010{10 + when}.{place}",
                )
                for place in range(3)
            ]
            for when in range(3)
        ]
        slices = list(itertools.chain(*volumes))
        random.Random(seed).shuffle(slices)
        receiver = receive(existing="all")
        before = len(receiver.frames)
        for one in slices:
            put(incoming, one)
        receiver.run(6)
        assert receiver.sums[before:] == sumsOf(*volumes)
        assert receiver.events == []
        receiver.source.close()


def test_a_series_that_is_joined_in_its_middle_does_not_wait(receive, incoming):
    uid = generate_uid()
    receiver = receive()
    for number in range(3):
        for one in series(4, first=50 + 4 * number, series=uid):
            put(incoming, one)
            receiver.step()
        assert len(receiver.frames) == number + (number > 0)  # the first ends with the second's first slice


def test_a_series_whose_numbers_have_gaps_for_good_waits_ever_less(receive, incoming, monkeypatch):
    """It never pauses, and each of its numbers is two higher than the one before."""
    monkeypatch.setattr(SliceOrder, "LONGEST", 1.0)
    uid = generate_uid()
    receiver = receive()
    receiver.STEP, waits = 0.1, []
    for number in range(30):
        put(incoming, slice_(2 * number + 1, 0.0, series=uid))
        receiver.step()
        waits.append(number + 1 - len(receiver.frames))
    assert max(waits) <= 11
    assert waits[-1] <= 5
    receiver.run(3)
    assert receiver.sums == [checksum(pixelsOf(2 * number + 1)[np.newaxis]) for number in range(30)]


def test_time_points_that_may_be_mixed_are_told(receive, incoming):
    """Each time point is numbered anew, and files of two come in each other's place: nothing in them tells it."""
    uid = generate_uid()
    receiver = receive()
    for when, place in ((0, 0), (1, 1), (1, 0), (0, 1), (2, 0), (2, 1)):
        time = f"1010{10 + when}.{place}"
        put(incoming, slice_(place + 1, 4.0 * place, series=uid, AcquisitionDate="20240501", AcquisitionTime=time))
        receiver.step()
    receiver.run(5)
    assert [(event.code, event.level) for event in receiver.events] == [("times-overlap", "warning")]
    assert "two time points may be mixed" in receiver.events[0].text


def test_series_that_come_together_are_streams_of_their_own(receive, incoming):
    one, other = series(3), series(4, SeriesDescription="t1", SeriesNumber=8)
    receiver = receive()
    for pair in itertools.zip_longest(one, other):
        for slice in filter(None, pair):
            put(incoming, slice)
            receiver.step()
    receiver.run(3)
    assert sorted((stream, sum_) for stream, _, _, sum_ in receiver.frames) == [
        ("Live", *sumsOf(one)),
        ("t1 8", *sumsOf(other)),
    ]


def test_a_pattern_of_series_names_the_streams(receive, incoming):
    receiver = receive(seriesPattern="{series}_*")
    for number, one in enumerate(series(3)):
        put(incoming, one, f"brain_{number}.dcm")
    receiver.run(3)
    assert [(stream, name) for stream, _, name, _ in receiver.frames] == [("brain", "brain_0.dcm")]


def test_a_slice_alone_is_shown_after_the_silence(receive, incoming):
    receiver = receive()
    put(incoming, slice_(57, 0.0))
    receiver.run(SILENCE - 0.1)
    assert receiver.frames == []
    receiver.run(0.2)
    assert receiver.sums == [checksum(pixelsOf(57)[np.newaxis])]


def test_slices_of_one_place_are_shown_as_they_come(receive, incoming):
    uid = generate_uid()
    receiver = receive()
    for number in range(1, 6):
        put(incoming, slice_(number, 0.0, series=uid))
        receiver.step()
        if number > 2:
            assert len(receiver.frames) >= number - 1
    receiver.run(3)
    assert receiver.sums == [checksum(pixelsOf(number)[np.newaxis]) for number in range(1, 6)]


def test_pictures_without_a_place_are_shown_at_once(receive, incoming):
    receiver = receive()
    picture = slice_(1, 0.0, ImagePositionPatient=None, ImageOrientationPatient=None)
    picture.SOPClassUID = picture.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    put(incoming, picture)
    receiver.step()
    assert receiver.sums == [checksum(pixelsOf(1)[np.newaxis])]


def test_missing_slices_are_named_and_shown_as_zeros(receive, incoming):
    slices = series(5)
    receiver = receive()
    for one in (*slices[:2], *slices[3:]):
        put(incoming, one)
        receiver.step()
    receiver.run(5)
    expected = stackOf(slices)
    expected[2] = 0
    assert receiver.sums == [checksum(expected)]
    (event,) = receiver.events
    assert event.code == "incomplete"
    assert "4 of 5 slices arrived" in event.text
    assert "filled with zeros" in event.text
    assert "between the instances 2 and 4" in event.text


def test_a_volume_whose_header_counts_more_is_named(receive, incoming):
    receiver = receive()
    for one in series(3, NumberOfTemporalPositions=1, ImagesInAcquisition=6):
        put(incoming, one)
    receiver.run(3)
    (event,) = receiver.events
    assert "3 of 6 slices arrived. The volume is shown without the missing slices." in event.text


@pytest.mark.parametrize("death", [1, 4, 5, 8])
def test_a_process_that_dies_loses_no_slice_and_shows_none_twice(receive, incoming, death):
    first, second = twoTimePoints()
    receiver = receive()
    for number, one in enumerate([*first, *second], 1):
        put(incoming, one)
        receiver.step()
        if number == death:
            receiver.reopen()
    receiver.run(5)
    receiver.reopen()
    receiver.run(5)
    assert receiver.sums == sumsOf(first, second)
    assert receiver.counts == (2, 0)


@pytest.mark.parametrize("accepted", [False, True])
def test_a_process_that_dies_with_the_volume_in_its_hands(receive, incoming, accepted):
    slices = series(4, NumberOfTemporalPositions=1, ImagesInAcquisition=4)
    receiver = receive()
    for one in slices[:3]:
        put(incoming, one)
        receiver.step()
    put(incoming, slices[3])
    item = next(one for one in receiver.begin() if not isinstance(one, Event))
    if accepted:
        receiver.take(item)
    receiver.reopen()
    receiver.run(5)
    assert receiver.sums == sumsOf(slices)
    assert receiver.counts == (1, 0)


def test_what_waits_when_the_source_is_stopped_is_shown(receive, incoming):
    slices = series(3)
    receiver = receive()
    for one in (slices[0], slices[2], slices[1]):
        put(incoming, one)
        receiver.step()
    for item in receiver.source.rest():
        receiver.take(item)
    assert receiver.sums == sumsOf(slices)
    receiver.reopen()
    receiver.run(5)
    assert len(receiver.frames) == 1


def test_slices_that_do_not_fit_in_memory_wait_in_their_files(receive, incoming, monkeypatch):
    monkeypatch.setattr(SliceVolumes, "HELD", 100)
    whole, spoilt = series(3), series(3, SeriesNumber=8)
    receiver = receive()
    for one in (*whole, *spoilt):
        path = put(incoming, one)
        receiver.step()
    put(incoming, slice_(3, 8.0, pixelsOf(99), series=spoilt[0].SeriesInstanceUID), path.name)
    for item in receiver.source._volumes.rest(receiver.clock.now):
        receiver.take(item)
    assert receiver.sums == sumsOf(whole)
    (event,) = receiver.events
    assert event.code == "damaged"
    assert f"{path.name} was replaced or removed" in event.text
    assert receiver.counts == (1, 1)


def test_files_of_whole_volumes_come_at_once_beside_slices(receive, incoming):
    receiver = receive()
    put(incoming, slice_(1, 0.0))
    arrive(incoming / "a.nii", niftiFile(1))
    receiver.step()
    assert receiver.sums == [sumOf(1)]


def test_the_newest_of_the_files_that_are_there_is_the_newest_volume(receive, incoming):
    """Not one slice of it, whatever the names and the times of the files; and a time point that has begun goes on."""
    first, second = twoTimePoints()
    third = series(4, first=9, series=first[0].SeriesInstanceUID)
    for one in (*series(3, SeriesNumber=1), *first, *second, third[0]):
        put(incoming, one)
    receiver = receive()
    receiver.run(1)
    for one in third[1:]:
        put(incoming, one)
    receiver.run(5)
    assert receiver.sums == sumsOf(second, third)
