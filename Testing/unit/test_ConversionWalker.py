"""The walk through a header finds what pydicom finds, and whatever the bytes, it ends, in one of three ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from RealTimeImagingLib.Conversion import Walker
from RealTimeImagingLib.Conversion.Headers import TAGS, Refused, Slice
from RealTimeImagingLib.Conversion.Scan import scanFiles
from RealTimeImagingLib.Conversion.Walker import Memory, OddError, ShortError, walk
from RealTimeImagingLib.Formats.DICOM.Header import SliceHeader, readFileHeader
from RealTimeImagingLib.Formats.DICOM.Reader import DICOM
from unit.conversions import dicomFile
from unit.examples import examples

WANTED = frozenset(TAGS.values())
FILES = "CT_small MR_small MR_small_RLE MR_small_bigendian MR_small_implicit SC_rgb_rle_2frame examples_overlay rtdose"

EMPTY = {"sequence": "", "slices": None, "images": None, "seriesNumber": None, "description": ""}
"""Values of a header that the conversion leaves empty."""


def real(name):
    return Path(get_testdata_file(f"{name}.dcm", download=False)).read_bytes()


def nested(path, syntax):
    """A file with sequences of undefined and of defined length in one another, before the elements that matter."""
    inner, outer = Dataset(), Dataset()
    inner.CodeValue = "x" * 99
    inner.is_undefined_length_sequence_item = True
    outer.PurposeOfReferenceCodeSequence = Sequence([inner, inner])
    outer["PurposeOfReferenceCodeSequence"].is_undefined_length = True
    dicomFile(path, np.ones((5, 4), np.int16), (1, 2, 3), syntax, SourceImageSequence=Sequence([outer, outer]))
    dataset = pydicom.dcmread(path)
    dataset["SourceImageSequence"].is_undefined_length = True
    dataset.save_as(path)
    return path.read_bytes()


@pytest.mark.parametrize("name", FILES.split())
def test_it_finds_what_pydicom_finds(name):
    data = real(name)
    found = walk(data, WANTED, True)
    dataset = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))
    for tag, value in found.values.items():
        if tag >> 16 == 2:
            continue
        element = dataset[tag]
        if element.VR == "US":
            assert np.frombuffer(value, found.order + "u2")[0] == element.value
        else:
            text = value.decode("latin-1").strip("\0 ")
            several = element.VM > 1
            assert text.split("\\") == (
                [str(one) for one in element.value]
                if several
                else ["" if element.value is None else str(element.value)]
            )
    assert {tag for tag in WANTED if tag in dataset and dataset[tag].value != ""} <= {
        tag for tag, value in found.values.items()
    }
    if found.length != 0xFFFFFFFF:
        assert data[found.offset : found.offset + found.length] == dataset.PixelData


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_sequences_are_passed_over(tmp_path, syntax):
    found = walk(nested(tmp_path / "a", syntax), WANTED, True)
    assert found.values[TAGS["position"]].strip() == b"1.\\2.\\3."


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_every_beginning_of_a_header_is_too_short(tmp_path, syntax):
    data = nested(tmp_path / "a", syntax)
    offset = walk(data, WANTED, True).offset
    for cut in range(offset):
        with pytest.raises(ShortError):
            walk(data[:cut], WANTED, False)


@examples(4)
@given(
    changes=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 6000),
    name=st.sampled_from(FILES.split()),
)
def test_hostile_bytes_end_in_one_of_three_ways(tmp_path, changes, cut, name):
    data = bytearray(real(name)[:6000])
    for position, value in changes:
        data[position % len(data)] = value
    try:
        found = walk(bytes(data[:cut]), WANTED, True)
        assert 0 <= found.offset <= len(data) * 9
    except (ShortError, OddError):
        pass
    (tmp_path / "a").write_bytes(data[:cut])
    (one,) = scanFiles([str(tmp_path / "a")], {})
    assert isinstance(one, Slice | Refused)
    assert not isinstance(one, Refused) or len(one.reason) > 10


@examples(4)
@given(data=st.binary(max_size=600))
def test_any_bytes_behind_the_mark(data):
    with pytest.raises((ShortError, OddError)):
        walk(b"\0" * 128 + b"DICM" + data, WANTED, False)


def outcome(data, whole, memory=None):
    try:
        return walk(data, WANTED, whole, memory)
    except (OddError, ShortError) as error:
        return type(error)


@examples(1.5)
@given(
    names=st.lists(st.sampled_from(FILES.split()), min_size=1, max_size=5),
    changes=st.lists(st.tuples(st.integers(132, 3000), st.integers(0, 255)), max_size=5),
    cut=st.integers(140, 6000),
)
def test_what_is_remembered_changes_nothing(names, changes, cut):
    """The same file again, changed or cut, and others between: as if it were the first."""
    memory = Memory(WANTED)
    for name in [*names, names[0]]:
        data = bytearray(real(name)[:6000])
        assert outcome(bytes(data), False, memory) == outcome(bytes(data), False)
        for position, value in changes:
            data[position % len(data)] = value
        assert outcome(bytes(data), False, memory) == outcome(bytes(data), False)
        assert outcome(bytes(data[:cut]), True, memory) == outcome(bytes(data[:cut]), True)


@examples(0.75)
@given(numbers=st.lists(st.integers(0, 10**9), min_size=2, max_size=6), words=st.lists(st.text("ab ", max_size=9)))
def test_values_of_other_lengths_are_found_with_what_is_remembered(tmp_path, numbers, words):
    memory = Memory(WANTED)
    for number in numbers:
        for word in ["", *words]:
            place = (number, number / 7, -number)
            path = dicomFile(tmp_path / "a", np.ones((5, 4), np.int16), place, InstanceNumber=number, StudyID=word)
            data = path.read_bytes()
            assert walk(data, WANTED, True, memory) == walk(data, WANTED, True)


def test_what_is_remembered_is_bounded_and_keeps_the_order_of_elements(tmp_path, monkeypatch):
    data = dicomFile(tmp_path / "a", np.ones((5, 4), np.int16), (1, 2, 3), StudyID="1").read_bytes()
    memory = Memory(WANTED)
    walk(data, WANTED, True, memory)
    element = data[(begin := data.index(b"\x20\0\x10\0SH")) :][:10]
    twice = data[: begin + 10] + element + data[begin + 10 :]
    for known in (memory, None):
        with pytest.raises(OddError, match="not in order"):
            walk(twice, WANTED, True, known)
    known = memory.of(True, "<")
    monkeypatch.setattr(Walker, "MOST", 20)
    names = ("SeriesDescription", "ProtocolName", "InstitutionName", "PatientName", "Manufacturer", "OperatorsName")
    for number in range(20):
        values = dict.fromkeys(names, "x" * 2 * number)
        path = dicomFile(tmp_path / "a", np.ones((5, 4), np.int16), (1, 2, 3), **values)
        walk(path.read_bytes(), WANTED, True, memory)
        assert len(known._runs) < 80


def test_a_value_that_pydicom_cannot_read_makes_an_image_but_no_slice(tmp_path, caplog):
    path = dicomFile(tmp_path / "a.dcm", np.ones((5, 4), np.int16), (1, 2, 3), NumberOfTemporalPositions=1700)
    path.write_bytes(path.read_bytes().replace(b"IS\4\x001700", b"FD\4\x001700"))
    reader = DICOM(str(path))
    assert reader.missing() is None
    assert reader.slice is None
    assert next(reader.images()).pixels.shape == (1, 5, 4)
    assert not [one for one in caplog.records if one.name.startswith("RealTimeImagingLib")]


@pytest.mark.parametrize("name", [*FILES.split(), "all"])
def test_all_readers_make_the_same_header(tmp_path, name):
    """pydicom, of a header alone and with its image, and the walk of the conversion, which counts and names nothing."""
    path = tmp_path / "a.dcm"
    if name == "all":
        values = {"EchoTime": "30.5", "EchoNumbers": 2, "ImageType": ["ORIGINAL", "PRIMARY", "M"]}
        values |= {"AcquisitionNumber": 3, "TemporalPositionIdentifier": 4, "TriggerTime": "5.25"}
        values |= {"AcquisitionDate": "20240501", "AcquisitionTime": "101112.5", "SliceLocation": "-1.5"}
        dicomFile(path, np.ones((5, 4), np.int16), (1, 2, 3), InstanceNumber=7, **values)
    else:
        path.write_bytes(real(name))
    expected = readFileHeader(str(path))
    reader = DICOM(str(path))
    assert reader.missing() is None
    assert reader.slice == (expected if expected.single else None)
    (found,) = scanFiles([str(path)], {})
    frame = found.frame >= 0 or found.common.many
    assert frame or found.header == expected._replace(**EMPTY)
    assert (found.header.series, found.header.uid, found.header.number) == (
        expected.series,
        expected.uid,
        expected.number,
    )
    if name == "all":
        assert expected == SliceHeader(
            *("1.2.3.4", expected.uid, 7, 1, (1.0, 2.0, 3.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), -1.5, "30.5 2"),
            *("ORIGINAL\\PRIMARY\\M", "3", "4", "5.25", "20240501101112.5", "", None, None, 7, "Core A"),
        )
