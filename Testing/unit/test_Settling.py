import errno
import gzip
import os
import sys

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Sources.Folder import Completeness as Settling
from RealTimeImagingLib.Sources.Folder.Completeness import (
    QUIET,
    QUIET_ZEROS,
    RECHECK,
    Bad,
    Gone,
    PendingFile,
    Unreadable,
    Waiting,
    Whole,
)
from RealTimeImagingLib.Sources.Folder.OpenFiles import isOpenForWriting
from unit.conftest import niftiFile, volume
from unit.storing import slice_

DATA = niftiFile(1)

tells = pytest.mark.skipif(sys.platform not in ("linux", "win32"), reason="this system does not tell who writes")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.nii"


@pytest.fixture
def nobodyTells(monkeypatch):
    """As on network shares, and for files of others: the system does not say whether a file is open for writing."""
    monkeypatch.setattr(Settling, "isOpenForWriting", lambda path: None)


def assertWhole(verdict, number=1):
    assert isinstance(verdict, Whole), verdict
    (image,) = verdict.reader.images()
    np.testing.assert_array_equal(image.pixels, volume(number).pixels)


def test_a_whole_file_is_whole_at_the_first_look(path):
    path.write_bytes(DATA)
    verdict = PendingFile(str(path), 0.0).look(0.0)
    assertWhole(verdict)
    status = path.stat()
    assert verdict.stamp[:2] == (status.st_size, status.st_mtime_ns)


def test_a_file_that_is_not_there_is_gone(path):
    assert PendingFile(str(path), 0.0).look(0.0) == Gone()


@given(st.lists(st.integers(0, len(DATA)), max_size=8).map(sorted))
def test_a_growing_file_is_whole_when_all_of_it_is_there_and_closed(path, sizes):
    path.unlink(missing_ok=True)
    candidate = None
    now = 0.0
    with path.open("wb", buffering=0) as file:
        for start, end in zip([0, *sizes], [*sizes, len(DATA)], strict=True):
            file.write(DATA[start:end])
            now += 1.0
            candidate = candidate or PendingFile(str(path), now)
            if end < len(DATA) or sys.platform in ("linux", "win32"):
                verdict = candidate.look(now)
                assert isinstance(verdict, Waiting)
                assert candidate.why == verdict.why
    assertWhole(candidate.look(now + QUIET))


def test_what_is_missing_is_told_in_numbers(path):
    path.write_bytes(DATA[:-10])
    verdict = PendingFile(str(path), 0.0).look(0.0)
    assert isinstance(verdict, Waiting)
    assert "48 bytes" in verdict.why
    assert "38 are present" in verdict.why


@tells
def test_a_preallocated_file_is_not_whole_before_it_is_closed(path):
    with path.open("wb", buffering=0) as file:
        file.truncate(len(DATA))
        candidate = PendingFile(str(path), 0.0)
        assert isinstance(candidate.look(0.0), Waiting)
        file.write(DATA[:400])
        verdict = candidate.look(1.0)
        assert verdict == Waiting("another program has it open for writing")
        file.write(DATA[400:])
        assert isinstance(candidate.look(2.0), Waiting)
    assertWhole(candidate.look(2.1))


@tells
def test_a_file_that_is_held_open_is_never_taken_for_whole(path):
    with path.open("wb", buffering=0) as file:
        file.write(DATA)
        candidate = PendingFile(str(path), 0.0)
        for now in (0.0, 10.0, 1e6):
            assert candidate.look(now) == Waiting("another program has it open for writing")
            assert candidate.quiet(now) == now
    assertWhole(candidate.look(1e6))


def unmoved(path):
    """Give the file a modification time after its change time, so that it does not pass for renamed."""
    os.utime(path, ns=(0, 2 * 10**18 + path.stat().st_mtime_ns % 1000))


@pytest.mark.parametrize("pause", [0.3, 1.0, QUIET - 0.01])
def test_where_nobody_tells_a_preallocated_file_is_one_image(path, nobodyTells, pause):
    """However long the pauses of its writer are below the limit, it is whole once, at the end."""
    data = niftiFile(1, (4, 3, 4))
    with path.open("wb", buffering=0) as file:
        file.truncate(len(data))
        candidate, now = PendingFile(str(path), 0.0), 0.0
        for start in range(0, len(data), 60):
            file.write(data[start : start + 60])
            os.utime(path, ns=(0, 2 * 10**18 + start))
            for step in range(3):
                assert isinstance(candidate.look(now + step * pause / 3), Waiting)
            now += pause
        assert "counts as whole after 2 s without change" in candidate.why
        candidate.look(now)
        assert candidate.due <= candidate._changed + QUIET
        verdict = candidate.look(candidate._changed + QUIET + 0.001)
    assert isinstance(verdict, Whole)
    (image,) = verdict.reader.images()
    np.testing.assert_array_equal(image.pixels, volume(1, (4, 3, 4)).pixels)


def test_where_nobody_tells_a_file_that_ends_with_zeros_must_be_quiet_for_longer(path, nobodyTells):
    path.write_bytes(niftiFile(1, (4, 5, 6))[:-70] + bytes(70))
    unmoved(path)
    candidate = PendingFile(str(path), 0.0)
    for now in (0.0, QUIET, QUIET_ZEROS - 0.01):
        assert isinstance(candidate.look(now), Waiting)
    assert "10 s without change" in candidate.why
    assert isinstance(candidate.look(QUIET_ZEROS), Whole)


def test_where_nobody_tells_zeros_at_the_end_of_a_header_mean_nothing(tmp_path, nobodyTells):
    header, voxels = tmp_path / "a.mhd", tmp_path / "a.raw"
    header.write_bytes(
        b"ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_UCHAR\nElementDataFile = a.raw\n"
        + bytes(80)
    )
    voxels.write_bytes(bytes(range(24)))
    for path in (header, voxels):
        unmoved(path)
    candidate = PendingFile(str(header), 0.0)
    assert isinstance(candidate.look(0.0), Waiting)
    assert isinstance(candidate.look(QUIET), Whole)


@pytest.mark.parametrize("value", [0, 7])
def test_where_nobody_tells_dicom_is_whole_when_its_lengths_are_there(tmp_path, nobodyTells, value):
    path = tmp_path / "a.dcm"
    slice_(1, 0.0, np.full((6, 7), value, np.int16)).save_as(path, enforce_file_format=True)
    unmoved(path)
    candidate = PendingFile(str(path), 0.0)
    verdict = candidate.look(0.0)
    if not value:  # it may be preallocated
        assert isinstance(verdict, Waiting)
        verdict = candidate.look(QUIET)
    assert isinstance(verdict, Whole)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.png", "a.jpg"])
def test_where_nobody_tells_what_proves_its_end_is_whole_at_once(tmp_path, nobodyTells, name):
    path = tmp_path / name
    if name.endswith("gz"):
        path.write_bytes(gzip.compress(DATA))
    else:
        PIL.Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    unmoved(path)
    assert isinstance(PendingFile(str(path), 0.0).look(0.0), Whole)


def test_where_nobody_tells_what_is_no_image_is_bad_after_a_while(path, nobodyTells):
    path.write_bytes(b"this is no image at all" * 30)
    candidate = PendingFile(str(path), 0.0)
    assert isinstance(candidate.look(0.0), Waiting)
    assert isinstance(candidate.look(QUIET), Bad)


@pytest.mark.parametrize(
    ("number", "exhausted"), [(errno.EACCES, False), (errno.EIO, False), (errno.EMFILE, True), (errno.ENFILE, True)]
)
def test_a_file_that_cannot_be_read_is_not_called_incomplete(path, monkeypatch, number, exhausted):
    path.write_bytes(DATA)
    candidate = PendingFile(str(path), 0.0)

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as changed:
        changed.setattr(Settling, "openImageFile", refuse)
        assert candidate.look(0.0) == Unreadable(os.strerror(number), exhausted)
    assertWhole(candidate.look(QUIET))


@pytest.mark.skipif(sys.platform != "linux", reason="the change time is believed there only")
def test_where_nobody_tells_a_renamed_file_is_whole_at_once(path, nobodyTells):
    part = path.with_suffix(".part")
    part.write_bytes(DATA)
    status = part.stat()
    if not os.major(status.st_dev):
        pytest.skip("no local disk")
    while path.exists() is False or path.stat().st_ctime_ns <= status.st_mtime_ns:
        os.replace(path if path.exists() else part, path.with_suffix(".other"))
        os.replace(path.with_suffix(".other"), path)
    assertWhole(PendingFile(str(path), 0.0).look(0.0))


@tells
def test_a_file_that_proves_itself_whole_need_not_be_closed(tmp_path):
    path = tmp_path / "a.nii.gz"
    with path.open("wb", buffering=0) as file:
        file.write(gzip.compress(DATA))
        assert isOpenForWriting(str(path)) is True
        assertWhole(PendingFile(str(path), 0.0).look(0.0))


def test_what_will_never_be_an_image_is_bad(path):
    path.write_bytes(b"this is no image at all" * 30)
    verdict = PendingFile(str(path), 0.0).look(0.0)
    assert isinstance(verdict, Bad)
    assert verdict.code == "not-an-image"
    assert "348" in verdict.why


@tells
def test_nothing_is_bad_while_it_is_written(path):
    with path.open("wb", buffering=0) as file:
        file.write(b"this is no image at all" * 30)
        candidate = PendingFile(str(path), 0.0)
        assert isinstance(candidate.look(0.0), Waiting)
        file.seek(0)
        file.write(DATA)
        file.truncate()
    assertWhole(candidate.look(0.1))


def test_a_file_that_is_begun_anew_is_read_anew(path):
    path.write_bytes(DATA[:-1])
    candidate = PendingFile(str(path), 0.0)
    assert isinstance(candidate.look(0.0), Waiting)
    path.write_bytes(niftiFile(2, (1, 2, 3)))
    verdict = candidate.look(1.0)
    assert isinstance(verdict, Whole)
    (image,) = verdict.reader.images()
    np.testing.assert_array_equal(image.pixels, volume(2, (1, 2, 3)).pixels)


def test_a_file_that_turned_into_garbage_is_judged_as_it_is_now(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(DATA)[:-12])
    candidate = PendingFile(str(path), 0.0)
    assert isinstance(candidate.look(0.0), Waiting)
    path.write_bytes(b"no gzip" * 100)
    assert isinstance(candidate.look(1.0), Bad)


def test_a_packed_file_overwritten_by_a_longer_one_is_read_from_its_start(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(DATA)[:-12])
    candidate = PendingFile(str(path), 0.0)
    assert isinstance(candidate.look(0.0), Waiting)
    path.write_bytes(gzip.compress(niftiFile(3, (4, 5, 6))))
    for now in (1.0, 2.0):
        verdict = candidate.look(now)
    assert isinstance(verdict, Whole)
    (image,) = verdict.reader.images()
    np.testing.assert_array_equal(image.pixels, volume(3, (4, 5, 6)).pixels)


def test_growth_of_a_file_that_the_header_names_is_growth(tmp_path):
    header, voxels = tmp_path / "a.nhdr", tmp_path / "a.raw"
    header.write_text(
        "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 3 4\nspace: right-anterior-superior\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\nencoding: raw\ndata file: a.raw\n\n"
    )
    candidate = PendingFile(str(header), 0.0)
    assert isinstance(candidate.look(0.0), Waiting)
    assert "a.raw" in candidate.why
    for now, size in ((5.0, 7), (9.0, 23)):
        voxels.write_bytes(bytes(range(size)))
        assert isinstance(candidate.look(now), Waiting)
        assert candidate.quiet(now) == 0.0
    assert candidate.quiet(12.0) == 3.0
    voxels.write_bytes(bytes(range(24)))
    verdict = candidate.look(13.0)
    assert isinstance(verdict, Whole)
    (image,) = verdict.reader.images()
    np.testing.assert_array_equal(image.pixels.ravel(), np.arange(24))


@tells
def test_a_file_that_the_header_names_must_be_closed_too(tmp_path):
    header, voxels = tmp_path / "a.mhd", tmp_path / "a.raw"
    header.write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_UCHAR\nElementDataFile = a.raw\n"
    )
    with voxels.open("wb", buffering=0) as file:
        file.write(bytes(24))
        candidate = PendingFile(str(header), 0.0)
        assert candidate.look(0.0) == Waiting("another program has it open for writing")
    assert isinstance(candidate.look(0.1), Whole)


def test_a_file_without_change_is_looked_at_ever_more_seldom(path):
    path.write_bytes(DATA[:-1])
    candidate = PendingFile(str(path), 100.0)
    assert candidate.due == 100.0
    shortest, longest = RECHECK
    for seconds, wait in ((0, shortest), (0.1, shortest), (1.0, 0.25), (5.0, longest), (1000.0, longest)):
        candidate.look(100.0 + seconds)
        assert candidate.due == pytest.approx(100.0 + seconds + wait)
    path.write_bytes(DATA[:-2])
    candidate.look(2000.0)
    assert candidate.due == pytest.approx(2000.0 + shortest)


def test_a_file_that_goes_away_is_gone_at_the_next_look(path):
    path.write_bytes(DATA[:-1])
    candidate = PendingFile(str(path), 0.0)
    candidate.look(0.0)
    path.unlink()
    assert candidate.look(1.0) == Gone()


def test_each_look_at_most_reads_what_is_new(tmp_path):
    """The reader of a packed file is kept: looking often costs no more than the file is long."""
    path = tmp_path / "a.nii.gz"
    packed = gzip.compress(niftiFile(1, (40, 64, 64)), 1)
    path.write_bytes(packed[:100])
    candidate = PendingFile(str(path), 0.0)
    candidate.look(0.0)
    reader = candidate._reader
    for size in range(200, len(packed), len(packed) // 20):
        path.write_bytes(packed[:size])
        assert isinstance(candidate.look(size), Waiting)
        assert candidate._reader is reader
    path.write_bytes(packed)
    assert isinstance(candidate.look(1e9), Whole)
