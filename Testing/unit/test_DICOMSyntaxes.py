"""Every transfer syntax that can be decoded: pydicom's own test files, and what Slicer has without further packages."""

import functools
import json
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from RealTimeImagingLib.Formats import openImageFile
from RealTimeImagingLib.Formats.DICOM import Pixels
from RealTimeImagingLib.Model.Errors import NotAnImageError
from RealTimeImagingLib.Model.Frame import checksum
from unit.readers import assertSame, read, refusal
from unit.test_DICOM import FRAMES, made, real, withoutPadding

COMPRESSED = {
    "JPEG Baseline": "SC_rgb_jpeg SC_rgb_jpeg_dcmtk SC_rgb_jpeg_lossy_gdcm SC_rgb_jpeg_app14_dcmd "
    "SC_rgb_dcmtk_+eb+cr SC_rgb_dcmtk_+eb+cy+n1 SC_rgb_dcmtk_+eb+cy+np SC_rgb_dcmtk_+eb+cy+s2 "
    "SC_rgb_dcmtk_+eb+cy+s4 SC_jpeg_no_color_transform SC_rgb_small_odd_jpeg examples_ybr_color",
    "JPEG Extended": "JPGExtended JPEG-lossy",
    "JPEG Lossless": "SC_rgb_jpeg_gdcm",
    "JPEG-LS": "MR_small_jpeg_ls_lossless JPEGLSNearLossless_08 JPEGLSNearLossless_16 SC_rgb_jls_lossy_line "
    "SC_rgb_jls_lossy_sample",
    "JPEG 2000": "JPEG2000 693_J2KI MR_small_jp2klossless GDCMJ2K_TextGBR J2K_pixelrep_mismatch SC_rgb_gdcm_KY "
    "examples_jpeg2k",
    "RLE": "MR_small_RLE SC_rgb_rle SC_rgb_rle_2frame SC_rgb_rle_16bit SC_rgb_rle_16bit_2frame SC_rgb_rle_32bit "
    "SC_rgb_rle_32bit_2frame rtdose_rle",
    "Deflated": "image_dfl",
    "Big Endian": "MR_small_bigendian MR_small_expb ExplVR_BigEnd liver_expb_1frame rtdose_expb",
}
PACKAGE = {
    "JPEG Lossless": "JPEG-LL JPGLosslessP14SV1_1s_1f_8b bad_sequence",
    "JPEG Baseline": "color3d_jpeg_baseline SC_rgb_dcmtk_ebcr_dcmd SC_rgb_dcmtk_ebcyn1_dcmd SC_rgb_dcmtk_ebcys4_dcmd",
    "others": "emri_small_jpeg_ls_lossless emri_small_jpeg_2k_lossless emri_small_RLE emri_small_big_endian 693_J2KR "
    "RG1_J2KR RG3_J2KI US1_J2KI US1_J2KR SC_rgb_expb_16bit_2frame liver_expb",
}
"""Files of the package pydicom-data."""
NOT_IN_SLICER = ("gdcm", "_gdcm", "jpeg_ls", "_CharLS", "libjpeg", "openjpeg", "rle")
"""Modules of decoders that pydicom uses where they are installed."""
ALL = [name for names in (*COMPRESSED.values(), *PACKAGE.values()) for name in names.split()]
LONG = ("color3d_jpeg_baseline",)
"""120 frames of 640 x 480, of which a few tell all."""
TWELVE_BITS = COMPRESSED["JPEG Extended"].split()
"""What no decoder reads that pydicom finds here."""


def valuesOf(path):
    """pydicom's values as they should arrive."""
    dataset = pydicom.dcmread(path)
    values = dataset.pixel_array

    if dataset.get("RescaleSlope"):
        values = values * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    return values


def frames(name="examples_ybr_color", count=4):
    """A file's data set, to be given new pixels, and its first frames as they are encoded."""
    dataset = pydicom.dcmread(real(name))
    there = int(dataset.get("NumberOfFrames", 1))
    found = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=there))
    dataset.NumberOfFrames = count
    return dataset, found[:count]


@pytest.fixture(scope="module")
def fileOf(tmp_path_factory):
    """Finds pydicom's file of a name; of a long cine, a copy of its first frames."""

    def find(name):
        if name not in LONG:
            return real(name)
        path = folder / f"{name}.dcm"
        if not path.exists():
            dataset, encoded = frames(name)
            dataset.PixelData = encapsulate(encoded)
            dataset.save_as(path)
        return str(path)

    folder = tmp_path_factory.mktemp("short")
    return find


@pytest.mark.parametrize("name", [name for name in ALL if name not in TWELVE_BITS])
def test_values_equal_pydicoms(fileOf, name):
    path = fileOf(name)
    images = read(path)
    np.testing.assert_array_equal(np.concatenate([image.pixels for image in images]).ravel(), valuesOf(path).ravel())


@pytest.fixture(scope="module")
def sums(fileOf):
    """Finds the checksums of the images of a file as this Python reads them."""
    return functools.cache(lambda name: [checksum(image.pixels) for image in read(fileOf(name))])


@pytest.fixture(scope="module")
def without(fileOf):
    """Finds the checksums of files as a Python reads them in which some packages are missing."""

    def read_(names, *packages):
        program = f"""
import json, sys
sys.modules.update(dict.fromkeys({packages!r}))
from RealTimeImagingLib.Model.Errors import NotAnImageError
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Formats import openImageFile
found = {{}}
for path in sys.argv[1:]:
    reader = openImageFile(path)
    try:
        assert reader.missing() is None
        found[path] = [checksum(image.pixels) for image in reader.images()]
    except NotAnImageError as error:
        found[path] = str(error)
print(json.dumps(found))
"""
        there = [name for name in names if get_testdata_file(name + ".dcm", download=False)]
        paths = {fileOf(name): name for name in there}
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", program, *paths]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return {paths[path]: sums for path, sums in json.loads(done.stdout.splitlines()[-1]).items()}

    return read_


def test_what_slicer_brings_decodes_all_of_them(without, sums):
    """pydicom, Pillow and SimpleITK alone: neither gdcm nor pylibjpeg nor pyjpegls."""
    for name, found in without(ALL, *NOT_IN_SLICER).items():
        assert found == sums(name), name


def test_what_is_lossless_needs_no_pillow_either(without, sums):
    groups = ("JPEG Lossless", "JPEG-LS", "RLE", "Deflated", "Big Endian")
    lossless = [name for group in groups for name in COMPRESSED[group].split()]
    found = without([*lossless, "SC_rgb_jpeg_dcmtk"], *NOT_IN_SLICER, "PIL")
    assert "JPEG Baseline" in found.pop("SC_rgb_jpeg_dcmtk")
    for name, each in found.items():
        assert each == sums(name), name


@pytest.mark.parametrize("name", TWELVE_BITS)
def test_jpeg_of_12_bits(name):
    (image,) = read(real(name))
    assert image.pixels.shape == (1, 1024, 256)
    assert image.pixels.dtype == np.uint16
    assert 200 < image.pixels.max() < 4096


@pytest.mark.parametrize("name", ["SC_rgb_jpeg_gdcm", "JPGExtended", "MR_small_jpeg_ls_lossless", "JPEG2000"])
def test_compressed_data_that_end_early_are_no_image(tmp_path, name):
    """Whoever decodes: what is not there is not made up."""
    dataset, (data,) = frames(name, 1)
    dataset.PixelData = encapsulate([data[: len(data) * 9 // 10]])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "a.dcm")
    assert refusal(tmp_path / "a.dcm").code in ("unsupported", "damaged")


def test_a_damaged_rle_frame_does_not_end_the_process(tmp_path):
    """A header of zeros declares no segment: SimpleITK's GDCM divides by their number (SIGFPE)."""
    dataset, (data,) = frames("MR_small_RLE", 1)
    dataset.PixelData = encapsulate([bytes(64) + data[64:]])
    dataset.save_as(tmp_path / "a.dcm")
    program = """
import sys
from RealTimeImagingLib.Formats import openImageFile
from RealTimeImagingLib.Model.Errors import NotAnImageError
try:
    list(openImageFile(sys.argv[1]).images())
except NotAnImageError as error:
    print(error.code)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, str(tmp_path / "a.dcm")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "damaged"), done.stderr


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.8.1", "1.2.840.10008.1.2.1.99"])
def test_simpleitk_decodes_kinds_of_jpeg_only(tmp_path, monkeypatch, syntax):
    asked = []
    monkeypatch.setattr(Pixels, "decodedBySimpleITK", lambda *arguments: asked.append(arguments) or 1 / 0)
    dataset, _ = frames("MR_small_RLE", 1)
    dataset.file_meta.TransferSyntaxUID = syntax
    layout = Pixels.Layout.of(dataset, b"\xe0\x7f\x10\x00OW")
    with pytest.raises(NotAnImageError):
        Pixels.decoded(dataset, layout, bytes(64))
    assert not asked


# ---- several frames, with and without tables of their offsets


@pytest.mark.parametrize("fragments", [1, 2, 3])
@pytest.mark.parametrize("table", ["basic", "extended", "none"])
def test_the_fragments_of_each_frame_are_found(tmp_path, fragments, table):
    dataset, encoded = frames()
    expected = read(real("examples_ybr_color"))[:4]
    dataset.PixelData = encapsulate(encoded, fragments_per_frame=fragments, has_bot=table == "basic")
    if table == "extended":
        data = encapsulate(encoded, fragments_per_frame=fragments, has_bot=True)
        offsets = struct.unpack_from("<4I", data, 8)
        dataset.ExtendedOffsetTable = struct.pack("<4Q", *offsets)
        dataset.ExtendedOffsetTableLengths = struct.pack("<4Q", *map(len, encoded))
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "a.dcm")
    images = read(tmp_path / "a.dcm")
    assert len(images) == 4
    for image, other in zip(images, expected, strict=True):
        np.testing.assert_array_equal(image.pixels, other.pixels)


def test_fragments_that_nothing_tells_apart_are_refused(tmp_path):
    dataset = pydicom.dcmread(real("SC_rgb_rle_2frame"))
    dataset.PixelData = encapsulate([b"12345678"] * 3, has_bot=False)
    dataset.save_as(tmp_path / "a.dcm")
    assert refusal(tmp_path / "a.dcm").code == "unsupported"


@pytest.mark.parametrize("offsets", [(8, 24), (0, 0), (16, 0), (0, 7), (0, 0xFFFFFFFF)])
def test_an_offset_table_that_does_not_fit_is_damaged(tmp_path, offsets):
    dataset = pydicom.dcmread(real("SC_rgb_rle_2frame"))
    dataset.PixelData = encapsulate([b"12345678"] * 4, has_bot=False)
    table = struct.pack("<4s3I", b"\xfe\xff\x00\xe0", 8, *offsets)
    dataset.PixelData = table + dataset.PixelData[8:]
    dataset.save_as(tmp_path / "a.dcm")
    error = refusal(tmp_path / "a.dcm")
    assert (error.code, "offset table" in str(error)) == ("damaged", True)


# ---- deflated


def deflated(path, target):
    """The file in the deflated syntax, packed by zlib itself."""
    data = Path(path).read_bytes()
    length = struct.unpack_from("<I", data, 140)[0]
    meta, rest = data[: 144 + length], data[144 + length :]
    old, new = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99"
    assert old in meta
    begin = meta.index(old)
    meta = meta[: begin - 2] + struct.pack("<H", len(new)) + new + meta[begin + len(old) :]
    meta = meta[:140] + struct.pack("<I", length + len(new) - len(old)) + meta[144:]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    target.write_bytes(meta + packer.compress(rest) + packer.flush())
    return target


@pytest.mark.parametrize("name", ["MR_small", "CT_small", "rtdose", "examples_rgb_color"])
def test_a_deflated_file_is_the_plain_one(tmp_path, name):
    plain = real(name)
    if pydicom.dcmread(plain, stop_before_pixels=True).file_meta.TransferSyntaxUID != "1.2.840.10008.1.2.1":
        dataset = pydicom.dcmread(plain)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        plain = tmp_path / "plain.dcm"
        dataset.save_as(plain, implicit_vr=False, little_endian=True)
    assertSame(read(deflated(plain, tmp_path / "a.dcm")), read(plain))


def test_a_deflated_bomb_takes_little_memory(tmp_path):
    path = deflated(made(tmp_path / "plain.dcm", FRAMES), tmp_path / "a.dcm")
    head = path.read_bytes()[:400]
    start = head.index(b"1.2.840.10008.1.2.1.99")
    length = struct.unpack_from("<I", head, 140)[0]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(400)) + packer.flush()
    assert start < 144 + length
    path.write_bytes(head[: 144 + length] + bomb)
    openImageFile(real("MR_small")).missing()
    tracemalloc.start()
    assert refusal(path, limit=1 << 20).code == "too-large"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 << 20


def test_a_fragment_without_pixels_or_with_too_many_is_refused(tmp_path):
    """The second one is a hole in the file, which takes no room on the disk."""
    path = tmp_path / "a.dcm"
    data = withoutPadding(real("MR_small_RLE"))
    begin = data.index(b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff") + 12
    end = b"\xfe\xff\xdd\xe0" + bytes(4)
    for length, words in ((0, "no compressed bytes"), (1 << 31, "more than its pixels can have")):
        with path.open("wb") as file:
            file.write(
                data[:begin] + struct.pack("<HHI", 0xFFFE, 0xE000, 0) + struct.pack("<HHI", 0xFFFE, 0xE000, length)
            )
            file.seek(length, os.SEEK_CUR)
            file.write(end)
        assert words in str(refusal(path))
