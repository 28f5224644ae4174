"""Siemens mosaics: a real one against dcm2niix and nibabel, made ones against nibabel."""

import gzip
import math
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from RealTimeImagingLib.Formats.DICOM.Mosaic import readCSA
from unit.conversions import convert, fromUs, one
from unit.readers import mutated, read
from unit.test_DICOM import made

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # "highly experimental"
    from nibabel.nicom import csareader
    from nibabel.nicom.dicomwrappers import MosaicWrapper

nicom = Path(nibabel.__file__).parent / "nicom" / "tests" / "data"


@pytest.fixture
def real(tmp_path):
    """A diffusion-weighted volume of a Siemens Trio: 48 slices of 128 x 128, tilted, in 7 x 7 tiles."""
    path = tmp_path / "real" / "mosaic.dcm"
    path.parent.mkdir()
    path.write_bytes(gzip.decompress((nicom / "siemens_dwi_1000.dcm.gz").read_bytes()))
    return path


def csa(version=2, **fields):
    """A CSA header with the fields given, each a list of texts."""
    fields = {"EchoLinePosition": ["64"], **fields}
    data = (b"SV10\4\3\2\1" if version == 2 else b"") + struct.pack("<2I", len(fields), 77)
    for name, values in fields.items():
        # Siemens writes six items at least, the later ones empty.
        items = [*values, *[""] * (6 - len(values))]
        kind = b"US" if name == "NumberOfImagesInMosaic" else b"FD"
        data += struct.pack("<64si4s3i", name.encode(), len(values), kind, 4, len(items), 77)
        for item in items:
            text = item.encode() + b"\0" if item else b""
            lengths = (len(text),) * 2 if version == 2 else (len(text) + 6, len(text))
            data += struct.pack("<4i", *lengths, 77, 0) + text + bytes(-len(text) % 4)
    return data


def mosaic(path, volume, syntax=ExplicitVRLittleEndian, number=True, image=None, **elements):
    """A file whose picture has the slices of a (slices, rows, columns) volume as tiles, made the slow way."""
    slices, rows, columns = volume.shape
    across = math.ceil(math.sqrt(slices))
    picture = np.zeros((1, rows * across, columns * across), volume.dtype)
    for k, plane in enumerate(volume):
        row, column = k // across * rows, k % across * columns
        picture[0, row : row + rows, column : column + columns] = plane
    made(path, picture, ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"], Manufacturer="SIEMENS", **elements)
    dataset = pydicom.dcmread(path)
    del dataset.NumberOfFrames
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    if number:
        dataset.private_block(0x19, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", slices)
    if image is not None:
        dataset.private_block(0x29, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", image)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    return path


def placed(orientation=(1, 0, 0, 0, 1, 0), position=(-100, -90, 7), spacing=(3, 2), step=2.5):
    return {
        "ImageOrientationPatient": [round(float(value), 9) for value in orientation],
        "ImagePositionPatient": list(position),
        "PixelSpacing": list(spacing),
        "SliceThickness": 99,
        "SpacingBetweenSlices": step,
    }


def counted(shape):
    return np.random.default_rng(1).integers(0, 4000, shape).astype(np.uint16)


def assertSamePlace(image, affine, data):
    """Every voxel lies where the other has the same value; ``affine`` is for the axes of ``data``."""
    back = np.linalg.inv(affine) @ image.ijkToRAS
    k, j, i = np.meshgrid(*map(np.arange, image.pixels.shape), indexing="ij")
    index = np.stack([i, j, k, np.ones_like(k)], -1) @ back.T
    np.testing.assert_allclose(index, np.round(index), atol=1e-3)
    x, y, z = np.moveaxis(np.round(index).astype(int), -1, 0)[:3]
    assert min(x.min(), y.min(), z.min()) == 0
    np.testing.assert_array_equal(data[x, y, z], image.pixels)


LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def test_a_real_mosaic_lies_where_dcm2niix_has_it(real, tmp_path):
    pytest.importorskip("dcm2niix")
    command = [sys.executable, "-m", "dcm2niix", "-f", "out", "-z", "n", "-o", tmp_path, real.parent]
    subprocess.run(command, check=True, capture_output=True)
    peer = nibabel.load(tmp_path / "out.nii")
    (image,) = read(real)
    assert image.pixels.shape == (48, 128, 128)
    assertSamePlace(image, peer.affine, np.asarray(peer.dataobj))


def test_a_real_mosaic_lies_where_nibabel_has_it(real):
    peer = MosaicWrapper(pydicom.dcmread(real))
    (image,) = read(real)
    assertSamePlace(image, LPS @ peer.affine, np.atleast_3d(peer.get_data()))
    assert image.attributes["ImageType"].endswith("MOSAIC")
    assert "Mosaic" not in image.attributes


@st.composite
def orientations(draw):
    first, second = (np.array(draw(st.tuples(*[st.floats(-1, 1)] * 3))) for _ in "ij")
    if np.linalg.norm(np.cross(first, second)) < 0.1:
        first, second = np.eye(3)[0], np.eye(3)[1]
    first = first / np.linalg.norm(first)
    second = second - first * (first @ second)
    return first, second / np.linalg.norm(second)


@given(
    slices=st.integers(1, 17),
    axes=orientations(),
    downward=st.booleans(),
    spacing=st.tuples(*[st.integers(1, 40)] * 2),
    syntax=st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian]),
    number=st.booleans(),
)
def test_made_mosaics_lie_where_nibabel_has_them(tmp_path, slices, axes, downward, spacing, syntax, number):
    normal = np.cross(*axes) * (-1 if downward else 1)
    header = csa(NumberOfImagesInMosaic=[str(slices)], SliceNormalVector=[f"{value:.8f}" for value in normal])
    place = placed(np.concatenate(axes), spacing=[value / 8 for value in spacing])
    volume = counted((slices, 3, 4))
    path = mosaic(tmp_path / "a.dcm", volume, syntax, number, header, **place)
    (image,) = read(path)
    np.testing.assert_array_equal(image.pixels, volume)
    peer = MosaicWrapper(pydicom.dcmread(path))
    assertSamePlace(image, LPS @ peer.affine, np.atleast_3d(peer.get_data()))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("downward", [False, True])
def test_the_private_header_says_in_which_direction_the_slices_go(tmp_path, version, downward):
    normal = ["0.0", "0.0", "-1.0" if downward else "1.0"]
    header = csa(version, NumberOfImagesInMosaic=["5"], SliceNormalVector=normal)
    path = mosaic(tmp_path / "a.dcm", counted((5, 3, 4)), number=False, image=header, **placed())
    (image,) = read(path)
    assert image.pixels.shape == (5, 3, 4)
    # three tiles across: the picture's corner is 4 columns of 2 mm and 3 rows of 3 mm outside of the slice's
    expected = [[-2, 0, 0, 92], [0, -3, 0, 81], [0, 0, -2.5 if downward else 2.5, 7], [0, 0, 0, 1]]
    np.testing.assert_allclose(image.ijkToRAS, expected)


def test_without_a_distance_the_thickness_counts(tmp_path):
    place = placed()
    del place["SpacingBetweenSlices"]
    (image,) = read(mosaic(tmp_path / "a.dcm", counted((2, 3, 4)), **place))
    assert image.ijkToRAS[2, 2] == 99


def test_a_mosaic_without_a_place_is_a_volume_all_the_same(tmp_path):
    (image,) = read(mosaic(tmp_path / "a.dcm", counted((5, 3, 4)), SpacingBetweenSlices=2))
    assert image.pixels.shape == (5, 3, 4)
    assert image.ijkToRAS[2, 2] == 2


@pytest.mark.parametrize(
    ("slices", "words"), [(None, "missing"), (0, "missing"), (17, "17 slices"), (60_000, "slices")]
)
def test_what_cannot_be_divided_stays_a_picture_and_says_why(tmp_path, slices, words):
    path = mosaic(tmp_path / "a.dcm", counted((5, 3, 4)), number=False, **placed())
    if slices is not None:
        dataset = pydicom.dcmread(path)
        dataset.private_block(0x19, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", slices)
        dataset.save_as(path)
    (image,) = read(path)
    assert image.pixels.shape == (1, 9, 12)
    assert words in image.attributes["Mosaic"]


def test_values_are_rescaled_as_in_other_files(tmp_path):
    volume = counted((5, 3, 4))
    (image,) = read(mosaic(tmp_path / "a.dcm", volume, RescaleSlope=0.5, RescaleIntercept=-3))
    np.testing.assert_allclose(image.pixels, volume * 0.5 - 3)


@pytest.mark.parametrize("name", ["csa2_b0.bin", "csa2_b1000.bin", "csa2_zero_len.bin.gz", "csa_str_valid.bin"])
def test_private_headers_equal_nibabels(name):
    data = (nicom / name).read_bytes()
    data = gzip.decompress(data) if name.endswith(".gz") else data
    found = readCSA(data)
    expected = {name: tag["items"] for name, tag in csareader.read(data)["tags"].items()}
    expected = {name: [item for item in items if item != ""] for name, items in expected.items()}
    assert set(found) == {name for name, items in expected.items() if items}
    for name, values in found.items():
        for value, other in zip(values, expected[name], strict=False):
            assert value == other.strip() if isinstance(other, str) else float(value) == float(other)


@given(changes=st.lists(st.tuples(st.integers(0, 11563), st.integers(0, 255)), max_size=8), cut=st.floats(0, 1))
def test_a_damaged_private_header_does_no_harm(changes, cut):
    data = mutated((nicom / "csa2_b0.bin").read_bytes(), changes)
    readCSA(data[: int(cut * len(data))])


@given(data=st.binary(max_size=300), version=st.sampled_from([b"", b"SV10\4\3\2\1"]))
def test_any_private_header_does_no_harm(data, version):
    readCSA(version + data)


def test_a_series_of_mosaics_is_a_stream_of_volumes(receive, incoming, tmp_path):
    receiver = receive()
    volumes = [counted((5, 3, 4)) + number for number in range(4)]
    for number, volume in enumerate(volumes):
        path = mosaic(tmp_path / f"{number}.dcm", volume, **placed())
        with (incoming / path.name).open("wb") as file:
            file.write(path.read_bytes()[:900])
            receiver.run(0.5)
            file.write(path.read_bytes()[900:])
        receiver.run(0.5)
    assert receiver.names == [f"{number}.dcm" for number in range(4)]
    assert len(set(receiver.sums)) == 4


def anonymised(path, volume, tiles=None, creator=False, protocol="", **elements):
    """A mosaic without its image header; "tiles" is the text that the other private group has of their size."""
    mosaic(path, volume, number=False, **elements)
    dataset = pydicom.dcmread(path)
    if creator:
        dataset.add_new((0x0051, 0x0010), "LO", "SIEMENS MR HEADER")
    if tiles:
        dataset.add_new((0x0051, 0x100B), "LO", tiles)
    if protocol:
        dataset.add_new((0x0029, 0x1020), "OB", protocol.encode() + bytes(len(protocol) % 2))
    dataset.save_as(path)
    return path


PROTOCOL = """### ASCCONV BEGIN ###
sSliceArray.asSlice[0].sPosition.dTra    = 7
sSliceArray.asSlice[1].sPosition.dTra    = {second}
sSliceArray.asSlice[4].sPosition.dTra    = {last}
sSliceArray.lSize                        = {count}
### ASCCONV END ###"""


@pytest.mark.parametrize("creator", [True, False])
@pytest.mark.parametrize(
    ("tiles", "elements"),
    [
        ("6*8", {}),
        ("8p*6s", {}),
        ("3*8", {}),
        (None, {"AcquisitionMatrix": [0, 8, 6, 0]}),
        (None, {"AcquisitionMatrix": [8, 0, 0, 6]}),
    ],
)
def test_an_anonymised_mosaic_is_split_by_the_size_of_its_tiles(tmp_path, tiles, elements, creator):
    volume = counted((5, 6, 8))
    (image,) = read(anonymised(tmp_path / "a.dcm", volume, tiles, creator, **placed(), **elements))
    np.testing.assert_array_equal(image.pixels, volume)
    expected = [[-2, 0, 0, 84], [0, -3, 0, 72], [0, 0, 2.5, 7], [0, 0, 0, 1]]
    np.testing.assert_allclose(image.ijkToRAS, expected)
    assert "Mosaic" not in image.attributes


@pytest.mark.parametrize("way", [1, -1])
def test_the_protocol_says_how_many_slices_and_which_way(tmp_path, way):
    volume = counted((6, 6, 8))
    volume[5] = 0
    protocol = PROTOCOL.format(second=7 + 2 * way, last=7 + 8 * way, count=5)
    place = placed()
    del place["SpacingBetweenSlices"]
    (image,) = read(anonymised(tmp_path / "a.dcm", volume, protocol=protocol, **place))
    np.testing.assert_array_equal(image.pixels, volume[:5])
    assert image.ijkToRAS[2, 2] == pytest.approx(2 * way)


def test_tiles_that_are_not_empty_are_slices_whatever_the_protocol_says(tmp_path):
    volume = counted((6, 6, 8))
    protocol = PROTOCOL.format(second=9, last=15, count=5)
    (image,) = read(anonymised(tmp_path / "a.dcm", volume, protocol=protocol, **placed()))
    np.testing.assert_array_equal(image.pixels, volume)


def unitedImaging(path, volume, position=(-10, -8, 7), sequence=True, **elements):
    """A United Imaging mosaic: 5 slices lie in two rows of three."""
    slices, rows, columns = volume.shape
    across, down = math.ceil(math.sqrt(slices)), math.ceil(slices / math.ceil(math.sqrt(slices)))
    picture = np.zeros((1, rows * down, columns * across), volume.dtype)
    for k, plane in enumerate(volume):
        row, column = k // across * rows, k % across * columns
        picture[0, row : row + rows, column : column + columns] = plane
    made(path, picture, ImageType=["ORIGINAL", "PRIMARY", "M", "VFRAME"], Manufacturer="UIH", **elements)
    dataset = pydicom.dcmread(path)
    del dataset.NumberOfFrames
    block = dataset.private_block(0x65, "Image Private Header", create=True)
    block.add_new(0x50, "DS", str(slices))
    items = []
    for k in range(slices):
        item = pydicom.Dataset()
        item.ImagePositionPatient = [position[0], position[1], position[2] - 3 * k]
        item.AcquisitionDateTime = f"20240501101010.{500_000 - k:06d}+0000"
        items.append(item)
    if sequence:
        block.add_new(0x51, "SQ", items)
    dataset.save_as(path)
    return path


PLANE = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [3, 2], "SpacingBetweenSlices": 99}


def test_a_mosaic_of_united_imaging_is_the_volume_of_its_tiles(tmp_path):
    volume = counted((5, 6, 8))
    (image,) = read(unitedImaging(tmp_path / "a.dcm", volume, **PLANE))
    np.testing.assert_array_equal(image.pixels, volume)
    np.testing.assert_allclose(image.ijkToRAS, [[-2, 0, 0, 10], [0, -3, 0, 8], [0, 0, -3, 7], [0, 0, 0, 1]])
    assert image.deviceTime == pytest.approx(1714558210.499996, abs=1e-6)
    (image,) = read(unitedImaging(tmp_path / "b.dcm", volume, sequence=False, **PLANE))
    np.testing.assert_array_equal(image.pixels, volume)


def test_mosaics_are_converted_to_a_sequence_of_the_size_that_the_report_says(tmp_path):
    volumes = [counted((5, 6, 8)) + t for t in range(3)]
    series = {"SeriesInstanceUID": "1.2.3.4", "SeriesNumber": 5}
    for t, volume in enumerate(volumes):
        (tmp_path / "U").mkdir(exist_ok=True)
        (tmp_path / "S").mkdir(exist_ok=True)
        numbered = {"InstanceNumber": t + 1, "SOPInstanceUID": f"1.2.{t + 5}", **series}
        unitedImaging(tmp_path / f"U/{2 - t}.dcm", volume, **PLANE, **numbered)
        anonymised(tmp_path / f"S/{2 - t}.dcm", volume, "6*8", **placed(), **numbered)
    for name in "US":
        entry = one(convert(tmp_path / name, tmp_path / f"out{name}"))
        assert (entry.size, entry.slices, entry.volumes) == ("8 x 6", 5, 3)
        np.testing.assert_array_equal(fromUs(tmp_path / f"out{name}" / entry.file)[0], volumes)


def test_a_mosaic_that_cannot_be_split_is_named_in_the_report(tmp_path):
    (tmp_path / "in").mkdir()
    anonymised(tmp_path / "in/a.dcm", counted((5, 6, 8)), **placed())
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    assert (entry.size, entry.slices) == ("24 x 18", 1)
    assert entry.warnings[0].startswith(
        "The mosaic is not split: the private header with the number of slices is missing"
    )
