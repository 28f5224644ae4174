"""NIfTI-2, and pairs of header and image: NIfTI-1, NIfTI-2 and Analyze 7.5."""

import gzip
import itertools
import struct

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from nibabel.spm2analyze import Spm2AnalyzeImage
from nibabel.spm99analyze import Spm99AnalyzeImage
from RealTimeImagingLib.Formats import openImageFile
from RealTimeImagingLib.Sources.Folder.Completeness import Complete, PendingFile, Waiting
from unit.conftest import arrive
from unit.readers import (
    assertSame,
    assertSameAtWorldPoints,
    assertSentence,
    grow,
    read,
    refusal,
)
from unit.test_NIfTI import TYPES, affines, counted

KINDS = {
    "single2": (nibabel.Nifti2Image, ".nii"),
    "packed2": (nibabel.Nifti2Image, ".nii.gz"),
    "pair1": (nibabel.Nifti1Pair, ".img"),
    "pair2": (nibabel.Nifti2Pair, ".img"),
    "packedPair1": (nibabel.Nifti1Pair, ".img.gz"),
    "packedPair2": (nibabel.Nifti2Pair, ".img.gz"),
}
ANALYZE = {"analyze": nibabel.AnalyzeImage, "spm99": Spm99AnalyzeImage, "spm2": Spm2AnalyzeImage}
PAIRS = ["pair1", "pair2", "packedPair1", "packedPair2"]


def written(folder, array, affine=None, kind="pair1", order="<", form="both", edit=None):
    """A file made by nibabel from an array in (i, j, k, ...) order; of a pair the header."""
    make, suffix = KINDS[kind]
    header = make.header_class(endianness=order)
    header.set_data_dtype(array.dtype)
    image = make(array, np.eye(4) if affine is None else affine, header)
    image.header["sform_code"] = 1 if form in ("both", "sform") else 0
    image.header["qform_code"] = 1 if form in ("both", "qform") else 0
    image.header.set_xyzt_units("mm", "sec")
    if edit:
        edit(image.header)
    nibabel.save(image, folder / ("a" + suffix))
    return folder / ("a" + suffix.replace(".img", ".hdr"))


def imageOf(header):
    return header.with_name(header.name.replace(".hdr", ".img"))


def analyze(folder, array, kind="spm2", edit=None, order="<"):
    make = ANALYZE[kind]
    header = make.header_class(endianness=order)
    header.set_data_dtype(array.dtype)
    image = make(array, None, header)
    if edit:
        edit(image.header)
    image.to_filename(folder / "a.img")
    return folder / "a.hdr"


# ---- geometry and values


@given(
    affine=affines(),
    dtype=st.sampled_from(TYPES),
    order=st.sampled_from("<>"),
    form=st.sampled_from(["sform", "qform", "both"]),
    kind=st.sampled_from(list(KINDS)),
    shape=st.tuples(*[st.integers(1, 5)] * 3),
)
def test_voxels_and_geometry_equal_nibabels(tmp_path, affine, dtype, order, form, kind, shape):
    path = written(tmp_path, counted(shape, dtype), affine, kind, order, form)
    peer = nibabel.load(path)
    (image,) = read(path)
    np.testing.assert_allclose(image.ijkToRAS, peer.affine, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(image.pixels, np.asarray(peer.dataobj).T)
    assert image.pixels.dtype == {"i8": "f8", "u8": "f8"}.get(dtype, dtype)


def test_a_nearly_half_turn_of_double_precision_is_kept(tmp_path):
    angle = np.pi - 1.22e-4
    affine = np.eye(4)
    affine[np.ix_([0, 2], [0, 2])] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    path = written(tmp_path, counted((1, 1, 1), "u1"), affine, "single2", "<", "qform")
    (image,) = read(path)
    np.testing.assert_allclose(image.ijkToRAS, affine, atol=1e-12)


@given(affine=affines(), kind=st.sampled_from(["pair1", "packedPair1"]))
def test_every_voxel_of_a_pair_lies_where_ITK_has_it(tmp_path, affine, kind):
    path = written(tmp_path, counted((2, 3, 4)), affine, kind)
    assertSameAtWorldPoints(read(path)[0], SimpleITK.ReadImage(str(path)))


@pytest.mark.parametrize("kind", KINDS)
def test_volumes_times_and_words(tmp_path, kind):
    def repetition(header):
        header["pixdim"][4] = 1.5
        header["descrip"] = b"TE 28"

    array = counted((2, 3, 4, 3))
    path = written(tmp_path, array, kind=kind, edit=repetition)
    images = read(path)
    np.testing.assert_array_equal([image.pixels for image in images], array.T)
    assert [image.attributes["VolumeIndex"] for image in images] == ["0", "1", "2"]
    assert (images[0].attributes["TR"], images[0].attributes["Description"]) == ("1.5", "TE 28")
    reader = openImageFile(str(path))
    assert reader.missing() is None
    assert reader.times == [0, 1.5, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_unpacking_as_images_are_asked_for_gives_the_same(tmp_path, kind):
    path = written(tmp_path, counted((2, 3, 4, 3)), kind=kind)
    reader = openImageFile(str(path))
    reader.streaming = True
    assert reader.missing() is None
    assertSame(list(reader.images(1)), read(path)[1:])


def test_a_large_dimension_needs_NIfTI_2(tmp_path):
    (image,) = read(written(tmp_path, counted((40_000, 1, 1)), kind="single2"))
    assert image.pixels.shape == (1, 1, 40_000)


def test_scaling_in_NIfTI_2(tmp_path):
    path = written(tmp_path, counted((2, 3, 4)), kind="single2")
    data = bytearray(path.read_bytes())
    struct.pack_into("<2d", data, 176, 2.5, -3)
    path.write_bytes(data)
    (image,) = read(path)
    np.testing.assert_allclose(image.pixels, nibabel.load(path).get_fdata().T)
    assert image.pixels.dtype == np.float32


def test_NIfTI_2_is_known_by_its_content(tmp_path):
    path = written(tmp_path, counted((2, 3, 4)), kind="single2")
    assertSame(read(path.rename(tmp_path / "scan")), read(written(tmp_path, counted((2, 3, 4)), kind="single2")))


# ---- Analyze


@given(
    kind=st.sampled_from(list(ANALYZE)),
    order=st.sampled_from("<>"),
    zooms=st.tuples(*[st.floats(0.2, 9)] * 3),
    origin=st.tuples(*[st.integers(-4, 9)] * 3),
    dtype=st.sampled_from(["u1", "i2", "i4", "f4", "f8"]),
)
def test_analyze_equals_nibabels(tmp_path, kind, order, zooms, origin, dtype):
    def edit(header):
        header.set_zooms(zooms)
        if kind != "analyze":
            header["origin"][:3] = origin

    path = analyze(tmp_path, counted((3, 4, 5), dtype), kind, edit, order)
    peer = nibabel.load(path)
    (image,) = read(path)
    np.testing.assert_allclose(image.ijkToRAS, peer.affine, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(image.pixels, peer.get_fdata().T)


@pytest.mark.parametrize(
    "fields",
    [
        {"scl_slope": 2.5},
        {"scl_slope": 2.5, "scl_inter": -4},
        {"scl_slope": 2.5, "scl_inter": float("nan")},
        {"scl_slope": 0, "glmax": 110, "glmin": 10, "cal_max": 0.8, "cal_min": 0.2},
        {"scl_slope": float("nan"), "glmax": 110, "glmin": 10},
        {"scl_slope": 1, "scl_inter": 0},
    ],
)
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
def test_analyze_scales_as_nibabel_does(tmp_path, fields, dtype):
    offsets = {
        "scl_slope": (112, "f"),
        "scl_inter": (116, "f"),
        "cal_max": (124, "f"),
        "cal_min": (128, "f"),
        "glmax": (140, "i"),
        "glmin": (144, "i"),
    }
    path = analyze(tmp_path, counted((3, 4, 5), dtype))
    data = bytearray(path.read_bytes())
    for name, value in fields.items():
        struct.pack_into("<" + offsets[name][1], data, offsets[name][0], value)
    path.write_bytes(data)
    np.testing.assert_allclose(read(path)[0].pixels, nibabel.load(path).get_fdata().T, rtol=1e-6)


def test_a_single_file_of_analyze_is_refused(tmp_path):
    path = analyze(tmp_path, counted((2, 3, 4)))
    error = refusal(path.rename(tmp_path / "a.nii"))
    assert error.code == "unsupported"
    assert ".hdr" in str(error)


# ---- whole or not


@pytest.mark.parametrize("kind", [*PAIRS, "spm2"])
def test_a_pair_is_whole_when_both_are_in_either_order(tmp_path, kind):
    source = tmp_path / "source"
    source.mkdir()
    array = counted((2, 3, 4))
    header = analyze(source, array) if kind == "spm2" else written(source, array, kind=kind)
    expected = read(header)
    for first, second in itertools.permutations((header, imageOf(header))):
        path = tmp_path / header.name
        (tmp_path / first.name).write_bytes(first.read_bytes())
        if first == header:
            candidate = PendingFile(str(path), 0.0)
            verdict = candidate.check(0.0)
            assert isinstance(verdict, Waiting)
            assert ".img" in verdict.why
        (tmp_path / second.name).write_bytes(second.read_bytes())
        verdict = PendingFile(str(path), 0.0).check(0.0) if first != header else candidate.check(1.0)
        assert isinstance(verdict, Complete)
        assertSame(list(verdict.reader.images()), expected)
        for name in (first.name, second.name):
            (tmp_path / name).unlink()


@given(
    kind=st.sampled_from(PAIRS),
    cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_cut_pair_is_never_taken_for_whole(tmp_path, kind, cuts):
    header = written(tmp_path, np.random.default_rng(1).integers(0, 999, (5, 6, 7)).astype("i2"), kind=kind)
    files = [header, imageOf(header)]
    wholes = [path.read_bytes() for path in files]
    # An uncompressed header may have an extension flag of 4 bytes behind what is needed.
    needed = [348 if kind == "pair1" else 540 if kind == "pair2" else len(wholes[0]), len(wholes[1])]
    lengths = [int(cut * len(whole)) for cut, whole in zip(cuts, wholes, strict=True)]
    for path, whole, length in zip(files, wholes, lengths, strict=True):
        path.write_bytes(whole[:length])
    words = openImageFile(str(header)).missing()
    if all(length >= need for length, need in zip(lengths, needed, strict=True)):
        assert words is None
    else:
        assertSentence(words)


@given(pieces=st.lists(st.integers(1, 300), max_size=9), kind=st.sampled_from(PAIRS))
def test_a_growing_image_of_a_pair_is_read_once_it_is_whole(tmp_path, pieces, kind):
    header = written(tmp_path, np.random.default_rng(1).integers(0, 999, (5, 6, 7)).astype("i2"), kind=kind)
    expected, image = read(header), imageOf(header)
    whole = image.read_bytes()
    image.write_bytes(b"")
    reader = openImageFile(str(header))
    grow(image, whole, pieces, reader)
    assertSame(list(reader.images()), expected)


@pytest.mark.parametrize("first", ["header", "image"])
def test_a_folder_shows_each_pair_once(receive, incoming, tmp_path, first):
    receiver = receive()
    header = written(tmp_path, counted((2, 3, 4)))
    files = [header, imageOf(header)] if first == "header" else [imageOf(header), header]
    for number in range(3):
        for source in files:
            arrive(incoming / source.name.replace("a.", f"{number}."), source.read_bytes())
            receiver.run(0.5)
    assert receiver.names == ["0.hdr", "1.hdr", "2.hdr"]
    assert receiver.codes == []


def test_a_pair_is_new_when_either_file_is(receive, incoming, tmp_path):
    receiver = receive()
    header = written(tmp_path, counted((2, 3, 4)))
    for source in (header, imageOf(header)):
        arrive(incoming / source.name, source.read_bytes())
    receiver.until(lambda: len(receiver.frames) == 1)
    arrive(incoming / "a.img", imageOf(header).read_bytes()[::-1])
    receiver.until(lambda: len(receiver.frames) == 2)
    receiver.run(3)
    assert len(set(receiver.sums)) == len(receiver.sums) == 2


def test_an_image_without_its_header_is_no_image(receive, incoming):
    receiver = receive()
    arrive(incoming / "a.img", bytes(999))
    receiver.run(1)
    assert (receiver.frames, receiver.codes) == ([], [])


def test_a_header_whose_image_never_comes_is_named(receive, incoming, tmp_path):
    receiver = receive(incompleteAfter=2.0)
    arrive(incoming / "a.hdr", written(tmp_path, counted((2, 3, 4))).read_bytes())
    receiver.until(lambda: receiver.codes)
    assert receiver.codes == ["incomplete"]
    assert "a.img" in receiver.events[0].text


def test_only_a_pair_of_packed_files_proves_that_it_is_whole(tmp_path):
    for kind, sealed in (("pair1", False), ("packedPair1", True)):
        header = written(tmp_path, counted((2, 3, 4)), kind=kind)
        reader = openImageFile(str(header))
        assert reader.missing() is None
        assert reader.sealed is sealed
    image = imageOf(written(tmp_path, counted((2, 3, 4)), kind="pair1"))
    (tmp_path / "b.hdr").write_bytes((tmp_path / "a.hdr").read_bytes())
    (tmp_path / "b.img.gz").write_bytes(gzip.compress(image.read_bytes()))
    reader = openImageFile(str(tmp_path / "b.hdr"))
    assert reader.missing() is None
    assert not reader.sealed


def test_a_packed_pair_is_not_confused_with_the_plain_one_beside_it(tmp_path):
    written(tmp_path, counted((2, 2, 2)), kind="pair1")
    written(tmp_path, counted((2, 2, 2)) + 100, kind="packedPair1")
    assert read(tmp_path / "a.hdr")[0].pixels[0, 0, 0] == 0
    assert read(tmp_path / "a.hdr.gz")[0].pixels[0, 0, 0] == 100


def test_the_endings_may_be_in_capitals(tmp_path):
    header = written(tmp_path, counted((2, 2, 2)))
    imageOf(header).rename(tmp_path / "A.IMG")
    assert len(read(header.rename(tmp_path / "A.HDR"))) == 1


# ---- hostile


@pytest.mark.parametrize(
    ("kind", "offset", "value", "code"),
    [
        ("single2", 4, b"ni2", "unsupported"),
        ("pair2", 4, b"n+2", "unsupported"),
        ("pair1", 344, b"n+1", "unsupported"),
        ("single2", 7, b"\0\n\x1a\n\0", "damaged"),
        ("single2", 16, struct.pack("<q", 99), "damaged"),
        ("single2", 24, struct.pack("<q", -2), "damaged"),
        ("single2", 24, struct.pack("<q", 1 << 62), "too-large"),
        ("single2", 168, struct.pack("<q", -1), "damaged"),
        ("single2", 168, struct.pack("<q", 400), "damaged"),
        ("single2", 168, struct.pack("<q", 1 << 62), "damaged"),
        ("pair1", 108, struct.pack("<f", -5), "damaged"),
    ],
)
def test_what_is_no_image_is_refused_with_words(tmp_path, kind, offset, value, code):
    path = written(tmp_path, counted((2, 3, 4)), kind=kind)
    data = bytearray(path.read_bytes())
    data[offset : offset + len(value)] = value
    path.write_bytes(data)
    assert refusal(path).code == code


@pytest.mark.parametrize("kind", ["single2", "packed2", "pair1"])
@pytest.mark.parametrize("intent", [3000, 3001, 3012, 3099])
def test_cifti_is_refused_in_words(tmp_path, kind, intent):
    path = written(
        tmp_path,
        counted((1, 1, 1, 1, 5, 4), "f4"),
        kind=kind,
        edit=lambda header: header.__setitem__("intent_code", intent),
    )
    error = refusal(path)
    assert (error.code, "CIFTI" in str(error)) == ("unsupported", True)


def test_voxels_that_are_a_link_out_of_the_folder_are_refused(tmp_path):
    (tmp_path / "sub").mkdir()
    header = written(tmp_path, counted((2, 3, 4)))
    header.rename(tmp_path / "sub" / "a.hdr")
    try:
        (tmp_path / "sub" / "a.img").symlink_to(imageOf(header))
    except OSError:
        pytest.skip("This user may not make links.")
    assert refusal(tmp_path / "sub" / "a.hdr").code == "unsupported"


def test_more_volumes_than_any_file_has_take_no_memory(tmp_path):
    path = written(tmp_path, counted((1, 1, 1, 2), "u1"), kind="single2")
    data = bytearray(path.read_bytes())
    struct.pack_into("<q", data, 16 + 8 * 4, 1 << 40)
    path.write_bytes(data)
    assert refusal(path).code == "too-large"
