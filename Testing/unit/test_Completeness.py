import errno
import gzip
import os
import sys

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Model.Files import reasonOf
from RealTimeImagingLib.Sources.Folder import Completeness
from RealTimeImagingLib.Sources.Folder.Completeness import (
    QUIET,
    QUIET_ZEROS,
    RECHECK,
    Bad,
    Complete,
    Gone,
    PendingFile,
    Unreadable,
    Waiting,
)
from RealTimeImagingLib.Sources.Folder.OpenFiles import isOpenForWriting
from unit.conftest import niftiFile, volume
from unit.dicomSource import slice_

DATA = niftiFile(1)

reportsWriters = pytest.mark.skipif(
    sys.platform not in ("linux", "win32"), reason="this system does not report writers"
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.nii"


@pytest.fixture
def unknownWriters(monkeypatch):
    """The system reports no writers, as on network shares and for files of other users."""
    monkeypatch.setattr(Completeness, "isOpenForWriting", lambda path: None)


def assertComplete(verdict, number=1):
    assert isinstance(verdict, Complete), verdict
    (image,) = verdict.reader.images()
    np.testing.assert_array_equal(image.pixels, volume(number).pixels)


def test_a_complete_file_is_complete_at_the_first_check(path):
    path.write_bytes(DATA)
    verdict = PendingFile(str(path), 0.0).check(0.0)
    assertComplete(verdict)
    status = path.stat()
    assert verdict.stamp[:2] == (status.st_size, status.st_mtime_ns)


def test_a_missing_file_is_gone(path):
    assert PendingFile(str(path), 0.0).check(0.0) == Gone()


@given(st.lists(st.integers(0, len(DATA)), max_size=8).map(sorted))
def test_a_growing_file_is_complete_when_it_is_closed(path, sizes):
    path.unlink(missing_ok=True)
    pending = None
    now = 0.0
    with path.open("wb", buffering=0) as file:
        for start, end in zip([0, *sizes], [*sizes, len(DATA)], strict=True):
            file.write(DATA[start:end])
            now += 1.0
            pending = pending or PendingFile(str(path), now)
            if end < len(DATA) or sys.platform in ("linux", "win32"):
                verdict = pending.check(now)
                assert isinstance(verdict, Waiting)
                assert pending.why == verdict.why
    assertComplete(pending.check(now + QUIET))


def test_missing_bytes_are_reported_in_numbers(path):
    path.write_bytes(DATA[:-10])
    verdict = PendingFile(str(path), 0.0).check(0.0)
    assert isinstance(verdict, Waiting)
    assert "48 bytes" in verdict.why
    assert "38 are present" in verdict.why


@reportsWriters
def test_a_preallocated_file_is_incomplete_until_it_is_closed(path):
    with path.open("wb", buffering=0) as file:
        file.truncate(len(DATA))
        pending = PendingFile(str(path), 0.0)
        assert isinstance(pending.check(0.0), Waiting)
        file.write(DATA[:400])
        verdict = pending.check(1.0)
        assert verdict == Waiting("another program has it open for writing")
        file.write(DATA[400:])
        assert isinstance(pending.check(2.0), Waiting)
    assertComplete(pending.check(2.1))


@reportsWriters
def test_a_file_open_for_writing_is_never_complete(path):
    with path.open("wb", buffering=0) as file:
        file.write(DATA)
        pending = PendingFile(str(path), 0.0)
        for now in (0.0, 10.0, 1e6):
            assert pending.check(now) == Waiting("another program has it open for writing")
            assert pending.quiet(now) == now
    assertComplete(pending.check(1e6))


def notRenamed(path):
    """Give the file a modification time after its change time, so that it does not count as renamed."""
    os.utime(path, ns=(0, 2 * 10**18 + path.stat().st_mtime_ns % 1000))


@pytest.mark.parametrize("pause", [0.3, 1.0, QUIET - 0.01])
def test_with_unknown_writers_a_preallocated_file_is_one_image(path, unknownWriters, pause):
    """With all pauses below the limit, the file is complete once, at the end."""
    data = niftiFile(1, (4, 3, 4))
    with path.open("wb", buffering=0) as file:
        file.truncate(len(data))
        pending, now = PendingFile(str(path), 0.0), 0.0
        for start in range(0, len(data), 60):
            file.write(data[start : start + 60])
            os.utime(path, ns=(0, 2 * 10**18 + 100 * start))  # Windows counts in 100 ns
            for step in range(3):
                assert isinstance(pending.check(now + step * pause / 3), Waiting)
            now += pause
        assert "counts as complete after 2 s without change" in pending.why
        pending.check(now)
        assert pending.due <= pending._changed + QUIET
        verdict = pending.check(pending._changed + QUIET + 0.001)
    assert isinstance(verdict, Complete)
    (image,) = verdict.reader.images()
    np.testing.assert_array_equal(image.pixels, volume(1, (4, 3, 4)).pixels)


def test_with_unknown_writers_a_file_that_ends_with_zeros_waits_longer(path, unknownWriters):
    path.write_bytes(niftiFile(1, (4, 5, 6))[:-70] + bytes(70))
    notRenamed(path)
    pending = PendingFile(str(path), 0.0)
    for now in (0.0, QUIET, QUIET_ZEROS - 0.01):
        assert isinstance(pending.check(now), Waiting)
    assert "10 s without change" in pending.why
    assert isinstance(pending.check(QUIET_ZEROS), Complete)


def test_with_unknown_writers_zeros_at_the_end_of_a_header_are_ignored(tmp_path, unknownWriters):
    header, voxels = tmp_path / "a.mhd", tmp_path / "a.raw"
    header.write_bytes(
        b"ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_UCHAR\nElementDataFile = a.raw\n"
        + bytes(80)
    )
    voxels.write_bytes(bytes(range(24)))
    for path in (header, voxels):
        notRenamed(path)
    pending = PendingFile(str(header), 0.0)
    assert isinstance(pending.check(0.0), Waiting)
    assert isinstance(pending.check(QUIET), Complete)


@pytest.mark.parametrize("value", [0, 7])
def test_with_unknown_writers_dicom_is_complete_at_its_declared_lengths(tmp_path, unknownWriters, value):
    path = tmp_path / "a.dcm"
    slice_(1, 0.0, np.full((6, 7), value, np.int16)).save_as(path, enforce_file_format=True)
    notRenamed(path)
    pending = PendingFile(str(path), 0.0)
    verdict = pending.check(0.0)
    if not value:  # it may be preallocated
        assert isinstance(verdict, Waiting)
        verdict = pending.check(QUIET)
    assert isinstance(verdict, Complete)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.png", "a.jpg"])
def test_with_unknown_writers_a_format_with_an_end_mark_is_complete_at_once(tmp_path, unknownWriters, name):
    path = tmp_path / name
    if name.endswith("gz"):
        path.write_bytes(gzip.compress(DATA))
    else:
        PIL.Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    notRenamed(path)
    assert isinstance(PendingFile(str(path), 0.0).check(0.0), Complete)


def test_with_unknown_writers_a_file_of_another_kind_is_rejected_after_a_pause(path, unknownWriters):
    path.write_bytes(b"this is no image at all" * 30)
    pending = PendingFile(str(path), 0.0)
    assert isinstance(pending.check(0.0), Waiting)
    assert isinstance(pending.check(QUIET), Bad)


@pytest.mark.parametrize(
    ("number", "exhausted"), [(errno.EACCES, False), (errno.EIO, False), (errno.EMFILE, True), (errno.ENFILE, True)]
)
def test_an_unreadable_file_is_not_called_incomplete(path, monkeypatch, number, exhausted):
    path.write_bytes(DATA)
    pending = PendingFile(str(path), 0.0)

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as changed:
        changed.setattr(Completeness, "openImageFile", refuse)
        assert pending.check(0.0) == Unreadable(reasonOf(OSError(number, os.strerror(number))), exhausted)
    assertComplete(pending.check(QUIET))


@pytest.mark.skipif(sys.platform != "linux", reason="the change time is believed there only")
def test_with_unknown_writers_a_renamed_file_is_complete_at_once(path, unknownWriters):
    part = path.with_suffix(".part")
    part.write_bytes(DATA)
    status = part.stat()
    if not os.major(status.st_dev):
        pytest.skip("no local disk")
    while path.exists() is False or path.stat().st_ctime_ns <= status.st_mtime_ns:
        os.replace(path if path.exists() else part, path.with_suffix(".other"))
        os.replace(path.with_suffix(".other"), path)
    assertComplete(PendingFile(str(path), 0.0).check(0.0))


@reportsWriters
def test_a_file_with_an_end_mark_need_not_be_closed(tmp_path):
    path = tmp_path / "a.nii.gz"
    with path.open("wb", buffering=0) as file:
        file.write(gzip.compress(DATA))
        assert isOpenForWriting(str(path)) is True
        assertComplete(PendingFile(str(path), 0.0).check(0.0))


def test_a_file_of_another_kind_is_rejected(path):
    path.write_bytes(b"this is no image at all" * 30)
    verdict = PendingFile(str(path), 0.0).check(0.0)
    assert isinstance(verdict, Bad)
    assert verdict.code == "not-an-image"
    assert "348" in verdict.why


@reportsWriters
def test_no_file_is_rejected_while_it_is_written(path):
    with path.open("wb", buffering=0) as file:
        file.write(b"this is no image at all" * 30)
        pending = PendingFile(str(path), 0.0)
        assert isinstance(pending.check(0.0), Waiting)
        file.seek(0)
        file.write(DATA)
        file.truncate()
    assertComplete(pending.check(0.1))


def test_a_restarted_file_is_read_again(path):
    path.write_bytes(DATA[:-1])
    pending = PendingFile(str(path), 0.0)
    assert isinstance(pending.check(0.0), Waiting)
    path.write_bytes(niftiFile(2, (1, 2, 3)))
    verdict = pending.check(1.0)
    assert isinstance(verdict, Complete)
    (image,) = verdict.reader.images()
    np.testing.assert_array_equal(image.pixels, volume(2, (1, 2, 3)).pixels)


def test_a_file_overwritten_by_garbage_is_rejected(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(DATA)[:-12])
    pending = PendingFile(str(path), 0.0)
    assert isinstance(pending.check(0.0), Waiting)
    path.write_bytes(b"no gzip" * 100)
    assert isinstance(pending.check(1.0), Bad)


def test_a_compressed_file_overwritten_by_a_longer_one_is_read_from_its_start(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(DATA)[:-12])
    pending = PendingFile(str(path), 0.0)
    assert isinstance(pending.check(0.0), Waiting)
    path.write_bytes(gzip.compress(niftiFile(3, (4, 5, 6))))
    for now in (1.0, 2.0):
        verdict = pending.check(now)
    assert isinstance(verdict, Complete)
    (image,) = verdict.reader.images()
    np.testing.assert_array_equal(image.pixels, volume(3, (4, 5, 6)).pixels)


def test_growth_of_the_data_file_counts(tmp_path):
    header, voxels = tmp_path / "a.nhdr", tmp_path / "a.raw"
    header.write_text(
        "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 3 4\nspace: right-anterior-superior\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\nencoding: raw\ndata file: a.raw\n\n"
    )
    pending = PendingFile(str(header), 0.0)
    assert isinstance(pending.check(0.0), Waiting)
    assert "a.raw" in pending.why
    for now, size in ((5.0, 7), (9.0, 23)):
        voxels.write_bytes(bytes(range(size)))
        assert isinstance(pending.check(now), Waiting)
        assert pending.quiet(now) == 0.0
    assert pending.quiet(12.0) == 3.0
    voxels.write_bytes(bytes(range(24)))
    verdict = pending.check(13.0)
    assert isinstance(verdict, Complete)
    (image,) = verdict.reader.images()
    np.testing.assert_array_equal(image.pixels.ravel(), np.arange(24))


@reportsWriters
def test_the_data_file_must_also_be_closed(tmp_path):
    header, voxels = tmp_path / "a.mhd", tmp_path / "a.raw"
    header.write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_UCHAR\nElementDataFile = a.raw\n"
    )
    with voxels.open("wb", buffering=0) as file:
        file.write(bytes(24))
        pending = PendingFile(str(header), 0.0)
        assert pending.check(0.0) == Waiting("another program has it open for writing")
    assert isinstance(pending.check(0.1), Complete)


def test_an_unchanged_file_is_checked_less_and_less_often(path):
    path.write_bytes(DATA[:-1])
    pending = PendingFile(str(path), 100.0)
    assert pending.due == 100.0
    shortest, longest = RECHECK
    for seconds, wait in ((0, shortest), (0.1, shortest), (1.0, 0.25), (5.0, longest), (1000.0, longest)):
        pending.check(100.0 + seconds)
        assert pending.due == pytest.approx(100.0 + seconds + wait)
    path.write_bytes(DATA[:-2])
    pending.check(2000.0)
    assert pending.due == pytest.approx(2000.0 + shortest)


def test_a_removed_file_is_gone_at_the_next_check(path):
    path.write_bytes(DATA[:-1])
    pending = PendingFile(str(path), 0.0)
    pending.check(0.0)
    path.unlink()
    assert pending.check(1.0) == Gone()


def test_each_check_reads_new_bytes_only(tmp_path):
    """The reader of a compressed file continues: each check reads new bytes only."""
    path = tmp_path / "a.nii.gz"
    packed = gzip.compress(niftiFile(1, (40, 64, 64)), 1)
    path.write_bytes(packed[:100])
    pending = PendingFile(str(path), 0.0)
    pending.check(0.0)
    reader = pending._reader
    for size in range(200, len(packed), len(packed) // 20):
        path.write_bytes(packed[:size])
        assert isinstance(pending.check(size), Waiting)
        assert pending._reader is reader
    path.write_bytes(packed)
    assert isinstance(pending.check(1e9), Complete)
