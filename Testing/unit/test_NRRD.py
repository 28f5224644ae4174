import bz2
import gzip

import nrrd
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Formats import openImageFile
from unit.readers import (
    assertHarmless,
    assertSameAtWorldPoints,
    assertSentence,
    read,
    refusal,
)
from unit.test_NIfTI import affines, counted

SIGNS = {"right-anterior-superior": (1, 1, 1), "LAS": (-1, 1, 1), "left-posterior-superior": (-1, -1, 1)}


def written(path, array, encoding="raw", **header):
    nrrd.write(str(path), array, {"encoding": encoding, **header}, detached_header=False)
    return path


def handmade(path, header, data=b""):
    path.write_bytes(b"NRRD0005\n" + "\n".join(header).encode() + b"\n\n" + data)
    return path


BASE = ["type: uint8", "dimension: 3", "sizes: 4 3 2", "encoding: raw"]
DIRECTIONS = "space directions: (1,0,0) (0,1,0) (0,0,1)"


@given(
    affine=affines(),
    dtype=st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8", "i8", "u8"]),
    endian=st.sampled_from(["little", "big"]),
    encoding=st.sampled_from(["raw", "gzip"]),
    space=st.sampled_from(sorted(SIGNS)),
)
def test_voxels_and_geometry_equal_pynrrds(tmp_path, affine, dtype, endian, encoding, space):
    directions = affine[:3, :3].T
    path = written(
        tmp_path / "a.nrrd",
        counted((2, 3, 4), dtype),
        encoding,
        space=space,
        endian=endian,
        **{"space directions": directions, "space origin": affine[:3, 3]},
    )
    array, header = nrrd.read(str(path))
    (image,) = read(path)
    np.testing.assert_array_equal(image.pixels, array.T)
    signs = np.array(SIGNS[space])
    np.testing.assert_allclose(image.ijkToRAS[:3, :3], (header["space directions"] * signs).T, atol=1e-12)
    np.testing.assert_allclose(image.ijkToRAS[:3, 3], header["space origin"] * signs)


@given(affine=affines(), space=st.sampled_from(sorted(SIGNS)))
def test_every_voxel_lies_where_ITK_has_it(tmp_path, affine, space):
    directions = {"space directions": affine[:3, :3].T, "space origin": affine[:3, 3]}
    path = written(tmp_path / "a.nrrd", counted((2, 3, 4)), space=space, **directions)
    assertSameAtWorldPoints(read(path)[0], SimpleITK.ReadImage(str(path)))


def test_spacings_alone_are_placed_as_ITK_does(tmp_path):
    path = written(tmp_path / "a.nrrd", counted((2, 3, 4)), spacings=np.array([2.0, 3, 4]))
    assertSameAtWorldPoints(read(path)[0], SimpleITK.ReadImage(str(path)))


def test_units_of_length_become_millimetres(tmp_path):
    path = handmade(
        tmp_path / "a.nrrd",
        [
            *BASE,
            "space: RAS",
            "space directions: (2,0,0) (0,3,0) (0,0,4)",
            "space origin: (1,2,3)",
            'space units: "m" "m" "m"',
        ],
        bytes(24),
    )
    expected = np.array([[2, 0, 0, 1], [0, 3, 0, 2], [0, 0, 4, 3]]) * 1000.0
    np.testing.assert_allclose(read(path)[0].ijkToRAS[:3], expected)


@pytest.mark.parametrize("pixels", [SimpleITK.sitkUInt8, SimpleITK.sitkVectorUInt8])
def test_ITKs_own_files(tmp_path, pixels):
    array = counted((2, 3, 4, 3) if pixels == SimpleITK.sitkVectorUInt8 else (2, 3, 4), "u1")
    peer = SimpleITK.GetImageFromArray(array)
    peer.SetOrigin((5, 6, 7))
    peer.SetSpacing((1, 2, 3))
    SimpleITK.WriteImage(peer, str(tmp_path / "a.nrrd"), useCompression=True)
    (image,) = read(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(image.pixels, array)
    assertSameAtWorldPoints(image, peer)


def test_a_picture_is_one_slice(tmp_path):
    assert read(written(tmp_path / "a.nrrd", counted((5, 4))))[0].pixels.shape == (1, 4, 5)


@pytest.mark.parametrize("kind", ["RGB-color", "3-color", "vector", "none"])
def test_the_first_axis_may_be_colour(tmp_path, kind):
    header = ["type: uint8", "dimension: 4", "sizes: 3 4 3 2", "encoding: raw", f"kinds: {kind} domain domain domain"]
    header += ["space: LPS", "space directions: none (1,0,0) (0,1,0) (0,0,1)"]
    (image,) = read(handmade(tmp_path / "a.nrrd", header, bytes(range(72))))
    np.testing.assert_array_equal(image.pixels, np.arange(72).reshape(2, 3, 4, 3))


@pytest.mark.parametrize("last", [True, False])
def test_each_frame_of_a_sequence_is_an_image(tmp_path, last):
    sizes, kinds = ("4 3 2 5", "domain domain domain list") if last else ("5 4 3 2", "list domain domain domain")
    header = ["type: uint8", "dimension: 4", f"sizes: {sizes}", "encoding: raw", f"kinds: {kinds}"]
    header += [f"axis {3 if last else 0} index values:=0 0.5 1 1.5 2", "Device:=Scanner"]
    images = read(handmade(tmp_path / "a.seq.nrrd", header, bytes(range(120))))
    array = np.arange(120).reshape(5, 2, 3, 4) if last else np.moveaxis(np.arange(120).reshape(2, 3, 4, 5), 3, 0)
    np.testing.assert_array_equal([image.pixels for image in images], array)
    assert [image.attributes["IndexValue"] for image in images] == ["0", "0.5", "1", "1.5", "2"]
    assert images[0].attributes["Device"] == "Scanner"


def test_key_value_pairs_become_attributes(tmp_path):
    header = [*BASE, "# comment", "Text:=a\\nb\\\\c: d", "bad name:=x", "Time:=12:30"]
    (image,) = read(handmade(tmp_path / "a.nrrd", header, bytes(24)))
    assert image.attributes == {"Text": "a\nb\\c: d", "Time": "12:30", "DroppedAttributes": "1"}


@pytest.mark.parametrize("skip", ["byte skip: 7", "byte skip: -1", "line skip: 2"])
def test_a_detached_file_with_something_before_the_voxels(tmp_path, skip):
    (tmp_path / "a.raw").write_bytes((b"12\n456\n" if skip != "line skip: 2" else b"one\ntwo\n") + bytes(range(24)))
    path = handmade(tmp_path / "a.nhdr", [*BASE, skip, "data file: a.raw"])
    if skip == "line skip: 2":
        further = handmade(tmp_path / "b.nhdr", [*BASE, "line skip: 9", "data file: a.raw"])
        assert openImageFile(str(further)).missing(), "the lines are not written so far"
    reader = openImageFile(str(path))
    assert reader.missing() is None
    assert reader.files == (str(path), str(tmp_path / "a.raw"))
    np.testing.assert_array_equal(next(reader.images()).pixels.ravel(), range(24))


@pytest.mark.parametrize("named", ["data file: s%02d.raw 1 2 1", "data file: LIST\ns01.raw\ns02.raw"])
def test_slices_in_files_of_their_own(tmp_path, named):
    path = handmade(tmp_path / "a.nhdr", [*BASE, named])
    reader = openImageFile(str(path))
    (tmp_path / "s01.raw").write_bytes(bytes(range(12)))
    assertSentence(reader.missing())
    (tmp_path / "s02.raw").write_bytes(bytes(range(12, 23)))
    assertSentence(reader.missing())
    (tmp_path / "s02.raw").write_bytes(bytes(range(12, 24)))
    assert reader.missing() is None
    np.testing.assert_array_equal(next(reader.images()).pixels.ravel(), range(24))


@pytest.mark.parametrize(
    "name", ["../a.raw", "sub/../../a.raw", "//server/share/a.raw", "\\\\server\\share\\a.raw", "C:a.raw", "..\\a.raw"]
)
def test_a_data_file_outside_the_folder_is_refused(tmp_path, name):
    assert refusal(handmade(tmp_path / "a.nhdr", [*BASE, f"data file: {name}"])).code == "unsupported"


@pytest.mark.parametrize("kind", ["absolute", "link", "linked folder", "own folder"])
def test_a_data_file_is_in_the_folder_of_its_header_with_all_links_resolved(tmp_path, kind):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.raw").write_bytes(bytes(24))
    (tmp_path / "sub").mkdir()
    name = "a.raw"
    if kind == "absolute":
        name = str(tmp_path / "elsewhere" / "a.raw")
    elif kind == "link":
        linked(tmp_path / "sub" / "a.raw", tmp_path / "elsewhere" / "a.raw")
    elif kind == "linked folder":
        linked(tmp_path / "sub" / "in", tmp_path / "elsewhere")
        name = "in/a.raw"
    else:
        # The header's folder may itself be reached through a link.
        linked(tmp_path / "way", tmp_path / "elsewhere")
        path = handmade(tmp_path / "elsewhere" / "a.nhdr", [*BASE, "data file: a.raw"])
        assert read(tmp_path / "way" / path.name)
        return
    for header in ([*BASE, f"data file: {name}"], [*BASE, f"data file: LIST\n{name}"]):
        error = refusal(handmade(tmp_path / "sub" / "a.nhdr", header))
        assert error.code == "unsupported"
        assert "leads out of the header's folder" in str(error)


def linked(path, target):
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("This user may not make links.")


def test_a_data_file_that_is_no_file_is_refused(tmp_path):
    (tmp_path / "a.raw").mkdir()
    assert refusal(handmade(tmp_path / "a.nhdr", [*BASE, "data file: a.raw"])).code == "not-an-image"
    assert refusal(handmade(tmp_path / "b.nhdr", [*BASE, "data file: ./b.nhdr"])).code == "damaged"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ([*BASE[:3], "encoding: zstd"], "unsupported"),
        ([*BASE[:3], "encoding: hex"], "damaged"),
        ([*BASE[:3], "encoding: bzip2"], "damaged"),
        ([*BASE[:3], "encoding: text"], "damaged"),
        ([*BASE[:3], "encoding: text", "byte skip: -1"], "damaged"),
        (["type: block", *BASE[1:]], "unsupported"),
        (["type: int16", *BASE[1:]], "damaged"),
        (BASE[:2] + BASE[3:], "damaged"),
        ([*BASE[:2], "sizes: 4 3", BASE[3]], "damaged"),
        ([*BASE[:2], "sizes: 4 0 2", BASE[3]], "damaged"),
        ([*BASE[:2], "sizes: 99999 99999 99999", BASE[3]], "too-large"),
        ([*BASE, "space: RAS", "space directions: (1,0,0) (1,1,0) (0,0,1)"], "unsupported"),
        ([*BASE, "space: RAS", "space directions: (1,0,0) (0,0,0) (0,0,1)"], "damaged"),
        ([*BASE, "space: RAS", "space directions: (1,0,x) (0,1,0) (0,0,1)"], "damaged"),
        *(
            ([*BASE, "space: RAS", DIRECTIONS, f"space origin: {origin}"], "damaged")
            for origin in ("1", "(1,2)", "1 2 3")
        ),
        ([*BASE, "space: right", DIRECTIONS], "damaged"),
        ([*BASE[:2], "sizes: 2 3 4", BASE[3], "kinds: 2-vector domain domain"], "unsupported"),
        ([*BASE, "kinds: domain domain times"], "damaged"),
        ([*BASE, BASE[2]], "damaged"),
        ([*BASE, "data file: s%s.raw 1 2 1"], "unsupported"),
        ([*BASE, "data file: s%d.raw 1 2 0"], "damaged"),
    ],
)
def test_what_is_no_image_is_refused_with_words(tmp_path, header, code):
    assert refusal(handmade(tmp_path / "a.nrrd", header, bytes(24))).code == code


def test_another_beginning_is_refused(tmp_path):
    (tmp_path / "a.nrrd").write_bytes(b"something else")
    assert refusal(tmp_path / "a.nrrd").code == "not-an-image"


@given(
    field=st.sampled_from(
        [
            "type",
            "dimension",
            "sizes",
            "encoding",
            "endian",
            "space",
            "space directions",
            "space origin",
            "kinds",
            "spacings",
            "byte skip",
            "line skip",
            "data file",
            "space units",
            "units",
        ]
    ),
    value=st.text(max_size=30) | st.sampled_from(["nan", "-1", "1e400", "9" * 30, "(1,2,3)", "LIST", "%d 1 2 3"]),
)
def test_a_hostile_field_does_no_harm(tmp_path, field, value):
    header = [line for line in [*BASE, "kinds: domain domain domain"] if not line.startswith(field)]
    path = handmade(tmp_path / "a.nrrd", [*header, f"{field}: {value}"], bytes(24))
    assertHarmless(path, path.read_bytes())


@pytest.mark.parametrize("sizes", ["4 3 2", "4 3 0"])
def test_sizes_without_a_dimension_are_refused_by_name(tmp_path, sizes):
    path = handmade(tmp_path / "a.nrrd", ["type: uint8", f"sizes: {sizes}", "encoding: raw"], bytes(24))
    assert str(refusal(path)) == 'The header has no field "dimension".'


# ---- units, encodings


def spaced(folder, units):
    header = [*BASE, "space: LPS", "space directions: (2,0,0) (0,3,0) (0,0,4)", f"space units: {units}"]
    return handmade(folder / "a.nrrd", header, bytes(24))


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        *[(unit, 1e-3) for unit in ("um", "micron", "microns", "micrometer", "Micrometers", "micrometre", "µm", "μm")],
        *[(unit, 1) for unit in ("mm", "millimeter", "millimeters", "MM", "", "???", "none", "pixels")],
        *[("nm", 1e-6), ("cm", 10), ("m", 1000), ("meters", 1000), ("inch", 25.4), ("inches", 25.4)],
    ],
)
def test_every_spelling_of_a_unit(tmp_path, unit, factor):
    (image,) = read(spaced(tmp_path, f'"{unit}" "{unit}" "{unit}"'))
    np.testing.assert_allclose(np.abs(np.diag(image.ijkToRAS))[:3], np.array([2, 3, 4]) * factor)
    header = [*BASE, "spacings: 2 3 4", f'units: "{unit}" "{unit}" "{unit}"']
    (image,) = read(handmade(tmp_path / "b.nrrd", header, bytes(24)))
    np.testing.assert_allclose(np.abs(np.diag(image.ijkToRAS))[:3], np.array([2, 3, 4]) * factor)


def test_each_direction_may_have_its_own_unit(tmp_path):
    (image,) = read(spaced(tmp_path, '"um" "mm" "cm"'))
    np.testing.assert_allclose(np.abs(np.diag(image.ijkToRAS))[:3], [0.002, 3, 40])


def test_a_unit_in_Latin_1(tmp_path):
    path = spaced(tmp_path, '"@m" "@m" "@m"')
    path.write_bytes(path.read_bytes().replace(b"@", b"\xb5"))
    np.testing.assert_allclose(np.abs(np.diag(read(path)[0].ijkToRAS))[:3], [0.002, 0.003, 0.004])


def test_units_without_quotes_count(tmp_path):
    (image,) = read(spaced(tmp_path, "um um um"))
    np.testing.assert_allclose(np.abs(np.diag(image.ijkToRAS))[:3], [0.002, 0.003, 0.004])


def test_a_unit_for_some_of_the_directions_is_refused(tmp_path):
    assert refusal(spaced(tmp_path, '"um"')).code == "damaged"


def test_an_unknown_unit_is_named(tmp_path):
    error = refusal(spaced(tmp_path, '"furlong" "furlong" "furlong"'))
    assert (error.code, "'furlong'" in str(error)) == ("unsupported", True)


VALUES = np.arange(24).reshape(2, 3, 4)


@pytest.mark.parametrize("name", ["text", "txt", "ascii", "ASCII"])
@pytest.mark.parametrize(("kind", "dtype"), [("uint8", "u1"), ("short", "i2"), ("float", "f4"), ("double", "f8")])
def test_voxels_as_text(tmp_path, name, kind, dtype):
    values = (VALUES / 7 - 1).astype(dtype) if dtype[0] == "f" else VALUES.astype(dtype)
    text = "\n".join(" ".join(map(repr, row)) for row in values.reshape(6, 4).tolist())
    path = handmade(tmp_path / "a.nrrd", [f"type: {kind}", *BASE[1:3], f"encoding: {name}"], text.encode())
    (image,) = read(path)
    assert image.pixels.dtype == dtype
    np.testing.assert_array_equal(image.pixels, values)
    path.write_bytes(path.read_bytes()[: -len(text) // 2])
    assertSentence(openImageFile(str(path)).missing())


@pytest.mark.parametrize("text", ["1 2 x" + " 3" * 21, "300" + " 3" * 23, "-1" + " 3" * 23, "9" * 999 + " 3" * 23])
def test_text_that_is_no_voxels_is_damage(tmp_path, text):
    header = [*BASE[:3], "encoding: text"]
    assert refusal(handmade(tmp_path / "a.nrrd", header, text.encode())).code == "damaged"


def test_hexadecimal_voxels(tmp_path):
    data = VALUES.astype(">u2").tobytes().hex("\n", 8).encode()
    header = ["type: uint16", *BASE[1:3], "encoding: hex", "endian: big"]
    path = handmade(tmp_path / "a.nrrd", header, data)
    np.testing.assert_array_equal(read(path)[0].pixels, VALUES)
    path.write_bytes(path.read_bytes()[:-1])
    assertSentence(openImageFile(str(path)).missing())


@pytest.mark.parametrize("skip", [0, 5])
def test_bzip2(tmp_path, skip):
    data = bz2.compress(bytes(skip) + VALUES.astype("u1").tobytes())
    path = handmade(tmp_path / "a.nrrd", [*BASE[:3], "encoding: bzip2", f"byte skip: {skip}"], data)
    reader = openImageFile(str(path))
    assert reader.missing() is None
    assert reader.sealed
    np.testing.assert_array_equal(next(reader.images()).pixels, VALUES)
    path.write_bytes(path.read_bytes()[:-30])
    assertSentence(openImageFile(str(path)).missing())


@pytest.mark.parametrize("streaming", [False, True])
def test_the_last_bytes_of_what_gzip_packs(tmp_path, streaming):
    """As ITK and teem read the voxels of a .nii.gz."""
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"header" * 50 + VALUES.astype("u1").tobytes()))
    path = handmade(tmp_path / "a.nhdr", [*BASE[:3], "encoding: gzip", "byte skip: -1", "data file: a.nii.gz"])
    reader = openImageFile(str(path))
    reader.streaming = streaming
    assert reader.missing() is None
    np.testing.assert_array_equal(next(reader.images()).pixels, VALUES)
    peer = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    np.testing.assert_array_equal(peer, VALUES)
    (tmp_path / "a.nii.gz").write_bytes((tmp_path / "a.nii.gz").read_bytes()[:-9])
    assertSentence(openImageFile(str(path)).missing())


@pytest.mark.parametrize(
    ("directions", "expected"),
    [
        ("none none none", [[2, 0, 0], [0, 3, 0], [0, 0, 4]]),
        ("(5,0,0) (0,6,0) none", [[5, 0, 0], [0, 6, 0], [0, 0, 4]]),
        ("(5,0,0) none (0,0,6)", [[5, 0, 0], [0, 3, 0], [0, 0, 6]]),
        ("none (5,0,0) (0,0,6)", [[0, 5, 0], [-2, 0, 0], [0, 0, 6]]),
        ("none none (0,0,6)", [[2, 0, 0], [0, 3, 0], [0, 0, 6]]),
    ],
)
def test_axes_in_space_without_a_direction(tmp_path, directions, expected):
    header = [*BASE, "space: RAS", f"space directions: {directions}", "kinds: space space space", "spacings: 2 3 4"]
    (image,) = read(handmade(tmp_path / "a.nrrd", [*header, "space origin: (1,2,3)"], bytes(24)))
    np.testing.assert_allclose(image.ijkToRAS[:3, :3], expected, atol=1e-12)
    np.testing.assert_allclose(image.ijkToRAS[:3, 3], [1, 2, 3])


def test_text_without_end_takes_little_memory(tmp_path):
    header = [*BASE[:3], "encoding: text"]
    assert refusal(handmade(tmp_path / "a.nrrd", header, b" " * 60_000), limit=50_000).code == "too-large"


def test_names_of_thousands_of_data_files_are_refused_at_once(tmp_path):
    header = [*BASE, "data file: LIST\n" + "a.raw\n" * 30_000]
    assert "30,000 data files" in str(refusal(handmade(tmp_path / "a.nhdr", header)))
