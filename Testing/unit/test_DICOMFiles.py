"""Folder of the received instances, and the headers that decide the names."""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    MRImageStorage,
)
from pynetdicom.dsutils import create_file_meta, encode_file_meta
from RealTimeImagingLib.Formats.DICOM.Header import SliceHeader, readHeader
from RealTimeImagingLib.Model.Errors import NotAnImageError
from RealTimeImagingLib.Sources.DICOM.Files import PREAMBLE, Files, fileMeta, folderOf, nameOf, readInstance
from unit.dicomSource import series, slice_
from unit.examples import examples
from unit.recordings import filesOfAtMost, withoutRights

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)


def encoded(dataset, syntax=ExplicitVRLittleEndian):
    """Encode the data set as senders do."""
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = syntax.is_little_endian, syntax.is_implicit_VR
    write_dataset(file, dataset)
    return file.getvalue()


def headerOf(dataset, syntax=ExplicitVRLittleEndian):
    data = encoded(dataset, syntax)
    return readHeader(io.BytesIO(data), len(data), syntax)


def aHeader(**values):
    return SliceHeader(**{"series": "1.2", "uid": "1.2.3", **values})


@pytest.fixture
def files(tmp_path):
    made = Files(str(tmp_path / "kept"))
    made.open()
    return made


def store(files, header, pieces):
    """Receive the bytes of a file and store it under the name that the header asks for."""
    part = files.receive(b"", ExplicitVRLittleEndian)
    try:
        for piece in pieces:
            part.write(piece)
    except OSError:
        part.discard()
        raise
    return files.store(part, header)


def names(files):
    return sorted(
        os.path.relpath(os.path.join(root, name), files.folder)
        for root, _, found in os.walk(files.folder)
        for name in found
    )


# ---- headers


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_header_of_a_slice(syntax):
    found = headerOf(slice_(12, 3.0, series="1.2.3.4"), syntax)
    assert (found.series, found.seriesNumber, found.description, found.number) == ("1.2.3.4", 7, "t2 tse", 12)
    assert found.single
    assert (found.slices, found.images) == (None, None)


@pytest.mark.parametrize(
    ("elements", "slices", "images"),
    [
        ({"NumberOfSlices": 9}, 9, None),
        ({"ImagesInAcquisition": "40", "NumberOfTemporalPositions": "5"}, 8, 40),
        ({"ImagesInAcquisition": "41", "NumberOfTemporalPositions": "5"}, None, 41),
        ({"ImagesInAcquisition": "40"}, None, 40),
        ({"ImagesInAcquisition": "1"}, None, None),
        ({"ImagesInAcquisition": "1", "NumberOfTemporalPositions": "1"}, None, None),
        ({"ImagesInAcquisition": "40", "Modality": "CT"}, None, None),
        ({"ImagesInAcquisition": "0", "NumberOfSlices": 0}, None, None),
    ],
)
def test_the_number_of_slices(elements, slices, images):
    found = headerOf(slice_(1, 0.0, **elements))
    assert (found.slices, found.images) == (slices, images)


@pytest.mark.parametrize("syntax", SYNTAXES[:2])
def test_the_private_numbers_of_slices(syntax):
    one = slice_(1, 0.0)
    one.private_block(0x0021, "GEMS_RELA_01", create=True).add_new(0x4F, "SS", 23)
    assert headerOf(one, syntax).slices == 23
    one = slice_(1, 0.0)
    one.private_block(0x2001, "Another Vendor", create=True).add_new(0x18, "SL", 99)
    one.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(0x18, "SL", 31)
    assert headerOf(one, syntax).slices == 31


def test_frames_and_pictures_without_a_place_are_no_slices():
    assert not headerOf(slice_(1, 0.0, NumberOfFrames="3")).single
    assert not headerOf(slice_(1, 0.0, ImagePositionPatient=None)).single


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_cut_data_set_is_refused_wherever_it_is_cut(syntax):
    whole = slice_(1, 0.0)
    data = encoded(whole, syntax)
    # A cut behind a complete element, before Rows, is invisible.
    unseen = {len(encoded(whole[: element.tag], syntax)) for element in whole if 0x20000E < element.tag <= 0x280010}
    for size in set(range(len(data))) - unseen:
        with pytest.raises(NotAnImageError):
            readHeader(io.BytesIO(data[:size]), size, syntax)


@examples(8)
@given(st.sampled_from(SYNTAXES), st.data())
def test_damaged_data_sets_are_refused_or_read_and_nothing_else(syntax, draw):
    data = bytearray(encoded(slice_(1, 0.0, SOPInstanceUID="1.2.3.4"), syntax))
    for place in draw.draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=8)):
        data[place] = draw.draw(st.integers(0, 255))
    try:
        found = readHeader(io.BytesIO(bytes(data)), len(data), syntax)
    except NotAnImageError:
        return
    assert found.series
    assert os.path.basename(nameOf(found)) == nameOf(found)


@pytest.mark.parametrize("data", [b"", b"\0" * 400, b"\xff" * 400, b"GET / HTTP/1.1\r\n\r\n" * 30])
def test_garbage_is_refused(data):
    for syntax in SYNTAXES:
        with pytest.raises(NotAnImageError):
            readHeader(io.BytesIO(data), len(data), syntax)


def test_zeros_are_not_read_as_elements():
    data = io.BytesIO(bytes(20 << 20))
    with pytest.raises(NotAnImageError):
        readHeader(data, 20 << 20, ExplicitVRLittleEndian)
    assert data.tell() < 1000


# ---- files


def test_names_sort_by_series_and_instance_and_stay_in_the_folder(files):
    headers = [aHeader(seriesNumber=number, number=one) for number in (2, 10) for one in (9, 10, 100)]
    paths = [os.path.join(folderOf(one), nameOf(one)) for one in headers]
    assert paths == sorted(paths)
    hostile = aHeader(uid="../../../etc/passwd", seriesNumber=-5, number=-3)
    assert nameOf(hostile) == "000000-.._.._.._etc_passwd.dcm"
    assert "/" not in folderOf(hostile)
    assert folderOf(aHeader(series="1.2")) != folderOf(aHeader(series="1.3"))


def test_a_file_is_stored_bit_for_bit_and_its_copy_is_known(files):
    first = store(files, aHeader(), [b"abc", b"defg"])
    assert Path(first.path).read_bytes() == b"abcdefg"
    assert first.stamp == (7, os.stat(first.path).st_mtime_ns)
    again = store(files, aHeader(), [b"abcdefg"])
    assert again.known
    assert (again.path, again.stamp) == (first.path, first.stamp)
    assert len(names(files)) == 1


@pytest.mark.parametrize(("uid", "version"), [("1.2.3", "PYNETDICOM_304"), ("1.2.34", "PYNETDICOM_304a")])
def test_a_file_begins_as_pynetdicom_would_begin_it(monkeypatch, uid, version):
    monkeypatch.setattr("pynetdicom.PYNETDICOM_IMPLEMENTATION_VERSION", version)
    meta = create_file_meta(
        sop_class_uid=MRImageStorage,
        sop_instance_uid=UID(uid),
        transfer_syntax=JPEGLSLossless,
        implementation_version=version,
    )
    found = fileMeta(MRImageStorage.encode() + b"\0", uid.encode(), JPEGLSLossless)
    assert found == PREAMBLE + encode_file_meta(meta)


@pytest.mark.parametrize("uid", [b"", b"\0", b"1" * 70_000])
def test_a_file_needs_a_UID(uid):
    with pytest.raises(ValueError, match="UID"):
        fileMeta(MRImageStorage.encode(), uid, ExplicitVRLittleEndian)


def test_another_instance_of_the_same_name_overwrites_nothing(files):
    contents = [b"abc", b"abx", b"ab", b"abcd"]
    paths = [store(files, aHeader(), [one]).path for one in contents]
    assert len(set(paths)) == 4
    assert [Path(path).read_bytes() for path in paths] == contents
    assert not any(store(files, aHeader(), [one]).known is False for one in contents)


def test_many_at_once_each_under_a_name_of_its_own(files):
    def storeMany(turn):
        for number in range(20):
            store(files, aHeader(number=number % 5), [b"%d %d" % (turn, number)])

    threads = [threading.Thread(target=storeMany, args=(turn,)) for turn in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(names(files)) == 80
    assert {Path(os.path.join(files.folder, name)).read_bytes() for name in names(files)} == {
        b"%d %d" % (turn, number) for turn in range(4) for number in range(20)
    }


def test_instances_with_one_UID_are_compared_with_one_file_only(files, monkeypatch):
    opened = []
    original = open

    def counting(path, mode="r", *args, **values):
        if mode == "rb" and not path.endswith(".part"):
            opened.append(path)
        return original(path, mode, *args, **values)

    monkeypatch.setattr("builtins.open", counting)
    stored = [store(files, aHeader(), [b"%06d" % number]).path for number in range(50)]
    assert len(set(stored)) == 50
    assert opened == [stored[0]] * 49
    again = store(files, aHeader(), [b"000049"])
    assert (again.path, again.known) == (stored[49], True)


def test_two_receivers_of_one_folder_overwrite_nothing(files, monkeypatch):
    """The other receiver takes each name between the check and the renaming."""
    other = Files(files.folder)
    for offered in (True, False):
        number = int(offered)
        original = os.link

        def late(source, target, *, number=number, offered=offered, original=original):
            monkeypatch.setattr("os.link", original if offered else notOffered)
            store(other, aHeader(number=number), [b"theirs"])
            return original(source, target) if offered else notOffered()

        monkeypatch.setattr("os.link", late)
        ours = store(files, aHeader(number=number), [b"ours"])
        monkeypatch.setattr("os.link", original)
        assert Path(ours.path).read_bytes() == b"ours"
        assert store(other, aHeader(number=number), [b"theirs"]).known
    assert len(names(files)) == 4


def notOffered(*_):
    raise PermissionError(errno.EPERM, "no hard links here")


@pytest.mark.skipif(os.name != "posix", reason="folders are not synchronised there")
def test_names_are_on_disk_before_an_instance_counts_as_stored(tmp_path, monkeypatch):
    synced = []

    def fsync(handle, original=os.fsync):
        status = os.fstat(handle)
        isFolder = stat.S_ISDIR(status.st_mode)
        content = [name for name in os.listdir(handle) if name[0] != "."] if isFolder else status.st_size
        synced.append((status.st_ino, content))
        original(handle)

    monkeypatch.setattr("os.fsync", fsync)
    files = Files(str(tmp_path / "kept"))
    files.open()
    path = store(files, aHeader(), [b"abc"]).path
    series = os.path.dirname(path)
    assert synced == [
        (os.stat(tmp_path).st_ino, ["kept"]),
        (os.stat(files.folder).st_ino, [os.path.basename(series)]),
        (os.stat(path).st_ino, 3),
        (os.stat(series).st_ino, [os.path.basename(path)]),
    ]


@pytest.mark.skipif(os.name != "posix", reason="rights are others there")
def test_only_the_user_may_read_received_files(tmp_path, monkeypatch):
    for group, folderMode, fileMode in (("0", 0o700, 0o600), ("1", 0o750, 0o640)):
        monkeypatch.setenv("REALTIMEIMAGING_GROUP_READ", group)
        files = Files(str(tmp_path / group))
        files.open()
        path = store(files, aHeader(), [b"abc"]).path
        modes = [stat.S_IMODE(os.stat(one).st_mode) for one in (files.folder, os.path.dirname(path), path)]
        assert modes == [folderMode, folderMode, fileMode]


def test_a_full_disk_leaves_nothing(files):
    store(files, aHeader(number=1), [b"a" * 100])
    before = names(files)
    with filesOfAtMost(5000), pytest.raises(OSError, match="File too large"):
        store(files, aHeader(number=2), [b"b" * 9000])
    assert names(files) == before


@pytest.mark.skipif(os.name != "posix", reason="rights are others there")
def test_a_folder_without_rights_raises_an_error(files, tmp_path):
    with withoutRights(tmp_path / "kept"), pytest.raises(PermissionError):
        store(files, aHeader(), [b"abc"])
    assert names(files) == []


def test_half_written_files_of_dead_processes_are_removed_and_no_others(files):
    kept = ("fresh.part", ".receiving-77-2.part", "notes.txt", ".receiving-77-1.part.txt")
    for name in (*kept, ".receiving-77-1.part"):
        with open(os.path.join(files.folder, name), "wb") as file:
            file.write(b"half")
        if name != ".receiving-77-2.part":
            os.utime(os.path.join(files.folder, name), (1e9, 1e9))
    Files(files.folder).open()
    assert names(files) == sorted(kept)


def test_only_files_of_the_receiver_are_listed(files, tmp_path):
    one = store(files, aHeader(), [b"abc"])
    for name in ("a.dcm", "photos/a.dcm", "0001-abcdefgh/a.dcm", os.path.dirname(one.path) + "/a.txt"):
        path = os.path.join(files.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        open(path, "wb").close()
    assert files.listing() == {one.path: one.stamp}


def test_stored_instances_are_read_again(files, tmp_path):
    for one in series(2, NumberOfSlices=2):
        path = tmp_path / f"{one.InstanceNumber}.dcm"
        one.save_as(path, enforce_file_format=True)
        header = headerOf(one)
        found = readInstance(str(path), (1, 2_000_000_000))
        assert found.header == header
        assert found.stored == 2.0
    path.write_bytes(b"nothing of DICOM")
    with pytest.raises(NotAnImageError):
        readInstance(str(path), (1, 1))


def test_a_data_set_without_an_image_is_kept():
    report = Dataset()
    report.SOPClassUID, report.SOPInstanceUID, report.SeriesInstanceUID = (
        "1.2.840.10008.5.1.4.1.1.88.11",
        "1.2.3",
        "1.2",
    )
    found = headerOf(report)
    assert not found.single
    assert found.number is None
