"""DICOM files of one slice each in a watched folder: the volumes that they become, and when."""

import gzip
import itertools
import random
import tracemalloc

import numpy as np
import pytest
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid
from RealTimeImagingLib.Formats.DICOM.File import packedFile
from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Sources.Folder import SliceVolumes
from RealTimeImagingLib.Sources.Folder import SliceVolumes as SliceOrder
from unit.conftest import arrive, niftiFile, sumOf
from unit.dicomSource import pixelsOf, series, slice_, stackOf

SILENCE = 2.0


def put(folder, one, name=""):
    """Save a data set, and rename the complete file as a scanner does; return its path."""
    path = folder / (name or f"{one.SOPInstanceUID}.dcm")
    part = folder / ".part"
    one.save_as(part, enforce_file_format=True)
    part.rename(path)
    return path


def twoTimePoints(count=4, **others):
    """Two time points at the same positions, with consecutive numbers."""
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
        # The second one is complete when it has all positions of the first.
        assert len(receiver.frames) == (number > 4) + (number == 8)
    assert receiver.sums == sumsOf(first, second)
    assert [frame[:2] for frame in receiver.frames] == [("Live", 0), ("Live", 1)]
    receiver.run(10)
    assert receiver.counts == (2, 0)
    assert receiver.events == []
    assert receiver.source.status == f"Waiting for the next image in {incoming}."


def test_slices_that_wait_while_the_process_is_halted_belong_to_their_volume(receive, incoming):
    """Such as one that was being written."""
    receiver, slices = receive(), series(4)
    for one in slices[:3]:
        put(incoming, one)
    receiver.run(1)
    for _halt in range(3):
        receiver.clock.now += 60.0
        receiver.step()
    put(incoming, slices[3])
    receiver.run(3)
    assert receiver.sums == sumsOf(slices)


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
def test_files_in_any_order_become_the_same_volumes(receive, incoming, seed, together):
    """Both time points are shuffled; the files arrive together or one after the other."""
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


@pytest.mark.parametrize("mixed", [True, False])
def test_a_large_folder_in_any_order_becomes_the_same_volumes(receive, incoming, monkeypatch, mixed):
    """Names are often identifiers without an order, and reading all files takes longer than slices wait otherwise."""
    uid = generate_uid()
    volumes = [series(6, first=6 * number + 1, series=uid) for number in range(12)]
    slices = list(itertools.chain(*volumes))
    if mixed:
        random.Random(1).shuffle(slices)
    for number, one in enumerate(slices):
        put(incoming, one, f"{number:03}.dcm")
    receiver = receive(existing="all")
    now = itertools.count(receiver.clock.now, 0.4)
    for one in (receiver.source, receiver.source._listening):
        monkeypatch.setattr(one, "_clock", lambda: next(now))
    receiver.step()
    while receiver.source._untried:
        receiver.step()
        if receiver.source._untried and mixed:
            assert receiver.frames == []
    # Those in order need not wait for all.
    assert mixed or len(receiver.frames) > 6
    for _turn in range(20):
        receiver.step()
    assert receiver.sums == sumsOf(*volumes)
    assert receiver.events == []


@pytest.mark.parametrize("seed", range(2))
def test_time_points_are_distinguished_by_their_times(receive, incoming, seed):
    """Numbers restart with each time point, or count all times of a position first; files arrive in any order."""
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


def test_a_series_without_its_first_slices_does_not_wait(receive, incoming):
    uid = generate_uid()
    receiver = receive()
    for number in range(3):
        for one in series(4, first=50 + 4 * number, series=uid):
            put(incoming, one)
            receiver.step()
        assert len(receiver.frames) == number + (number > 0)  # the first ends with the second's first slice


def test_a_series_with_permanent_gaps_waits_less_each_time(receive, incoming, monkeypatch):
    """The series never pauses, and its numbers increase by two."""
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


def test_possibly_mixed_time_points_are_reported(receive, incoming):
    """Numbers restart with each time point, and two files of two time points are exchanged."""
    uid = generate_uid()
    receiver = receive()
    for when, place in ((0, 0), (1, 1), (1, 0), (0, 1), (2, 0), (2, 1)):
        time = f"1010{10 + when}.{place}"
        put(incoming, slice_(place + 1, 4.0 * place, series=uid, AcquisitionDate="20240501", AcquisitionTime=time))
        receiver.step()
    receiver.run(5)
    assert [(event.code, event.level) for event in receiver.events] == [("times-overlap", "warning")]
    # Shown volumes, with the headers of their slices, leave the memory.
    receiver.run(10 * SILENCE)
    known = receiver.source._volumes._times.values()
    assert [reference() for reference, _latest in known] == [None] * len(known) != []
    assert "two time points may be mixed" in receiver.events[0].text


def test_simultaneous_series_become_separate_streams(receive, incoming):
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


def test_a_single_slice_is_shown_after_the_silence(receive, incoming):
    receiver = receive()
    put(incoming, slice_(57, 0.0))
    receiver.run(SILENCE - 0.1)
    assert receiver.frames == []
    receiver.run(0.2)
    assert receiver.sums == [checksum(pixelsOf(57)[np.newaxis])]


def test_slices_of_one_position_are_shown_as_they_arrive(receive, incoming):
    uid = generate_uid()
    receiver = receive()
    for number in range(1, 6):
        put(incoming, slice_(number, 0.0, series=uid))
        receiver.step()
        if number > 2:
            assert len(receiver.frames) >= number - 1
    receiver.run(3)
    assert receiver.sums == [checksum(pixelsOf(number)[np.newaxis]) for number in range(1, 6)]


def test_pictures_without_a_position_are_shown_at_once(receive, incoming):
    receiver = receive()
    picture = slice_(1, 0.0, ImagePositionPatient=None, ImageOrientationPatient=None)
    picture.SOPClassUID = picture.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    put(incoming, picture)
    receiver.step()
    assert receiver.sums == [checksum(pixelsOf(1)[np.newaxis])]


def test_missing_slices_are_reported_and_shown_as_zeros(receive, incoming):
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


def test_a_volume_with_fewer_slices_than_its_header_declares_is_reported(receive, incoming):
    receiver = receive()
    for one in series(3, NumberOfTemporalPositions=1, ImagesInAcquisition=6):
        put(incoming, one)
    receiver.run(3)
    (event,) = receiver.events
    assert "3 of 6 slices arrived. The volume is shown without the missing slices." in event.text


@pytest.mark.parametrize("death", [1, 4, 5, 8])
def test_a_crash_loses_no_slice_and_shows_none_twice(receive, incoming, death):
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
def test_a_crash_while_a_volume_becomes_a_frame(receive, incoming, accepted):
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


def test_waiting_slices_are_shown_at_the_stop(receive, incoming):
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


def test_slices_beyond_the_memory_limit_wait_in_their_files(receive, incoming, monkeypatch):
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


def test_files_of_complete_volumes_are_shown_at_once_beside_slices(receive, incoming):
    receiver = receive()
    put(incoming, slice_(1, 0.0))
    arrive(incoming / "a.nii", niftiFile(1))
    receiver.step()
    assert receiver.sums == [sumOf(1)]


def test_the_newest_existing_image_is_the_newest_volume(receive, incoming):
    """Names and times of the files do not matter; an incomplete time point continues."""
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


def test_copies_in_other_files_are_shown_once_and_reported_once(receive, incoming):
    first, second = twoTimePoints()
    receiver = receive()
    for one in (*first, *second):
        original = put(incoming, one)
        receiver.step()
        arrive(incoming / f"copy of {original.name}", original.read_bytes())
        receiver.step()
    receiver.run(10)
    assert receiver.sums == sumsOf(first, second)
    assert receiver.codes == ["duplicate"]
    name = f"{first[0].SOPInstanceUID}.dcm"
    assert receiver.events[0].text.startswith(f"copy of {name} is a copy of {name} and is not shown again.")


def test_other_pixels_with_a_known_UID_are_no_copy(receive, incoming):
    slices = series(4)
    for one in slices:
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = slices[0].SOPInstanceUID
    receiver = receive()
    for number, one in enumerate(slices):
        put(incoming, one, f"{number}.dcm")
        receiver.step()
    receiver.run(10)
    assert receiver.sums == sumsOf(slices)
    assert receiver.codes == []


def test_a_series_that_is_written_once_more_is_shown_once_more(receive, incoming):
    first, second = twoTimePoints()
    for number, one in enumerate((*first, *second)):
        one.AcquisitionDate, one.AcquisitionTime = "20240501", f"1010{number // 4:02}.{number % 4}"
    receiver = receive()
    for _pass in range(2):
        for one in (*first, *second):
            put(incoming, one)
            receiver.step()
        receiver.run(10)
    assert receiver.sums == sumsOf(first, second) * 2
    assert receiver.codes == []


def test_slices_may_be_packed(receive, incoming, tmp_path):
    first, second = twoTimePoints()
    receiver = receive()
    for one in (*first, *second):
        plain = put(tmp_path, one)
        arrive(incoming / f"{plain.name}.gz", gzip.compress(plain.read_bytes()))
        receiver.step()
    receiver.run(10)
    assert receiver.sums == sumsOf(first, second)
    assert receiver.codes == []


def test_an_unpacked_file_is_in_memory_once(tmp_path):
    path = put(tmp_path, slice_(1, 0.0))
    packed = tmp_path / "a.dcm.gz"
    packed.write_bytes(gzip.compress(path.read_bytes() + bytes(8 << 20)))
    tracemalloc.start()
    try:
        plain = packedFile(str(packed), 1 << 30)
        assert plain.missing(lambda: 1 << 30) is None
        held = tracemalloc.get_traced_memory()[0]
        with plain.open() as file:
            assert file.read(200) == path.read_bytes()[:200]
            assert tracemalloc.get_traced_memory()[0] < held + (1 << 20)
    finally:
        tracemalloc.stop()
