import zlib

import numpy as np
import pytest
import SimpleITK
from hypothesis import example, given
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


def written(path, array, affine=None, packed=False):
    """A MetaImage made by SimpleITK from an array in (k, j, i) order; the affine is in LPS."""
    image = SimpleITK.GetImageFromArray(array, isVector=array.ndim == 4)
    if affine is not None:
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        image.SetSpacing(spacing.tolist())
        image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
        image.SetOrigin(affine[:3, 3].tolist())
    SimpleITK.WriteImage(image, str(path), useCompression=packed)
    return path


def handmade(path, fields, data=b"", end="ElementDataFile = LOCAL\n"):
    defaults = {"ObjectType": "Image", "NDims": "3", "BinaryData": "True", "DimSize": "4 3 2"}
    header = {**defaults, "ElementType": "MET_UCHAR", **fields}
    path.write_bytes("".join(f"{name} = {value}\n" for name, value in header.items()).encode() + end.encode() + data)
    return path


@pytest.mark.parametrize("sizes", ["4 3 2", "4 3 0"])
def test_sizes_without_a_dimension_are_refused_by_name(tmp_path, sizes):
    path = tmp_path / "a.mha"
    path.write_bytes(f"ObjectType = Image\nDimSize = {sizes}\nElementType = MET_UCHAR\n".encode())
    with path.open("ab") as file:
        file.write(b"ElementDataFile = LOCAL\n" + bytes(24))
    assert str(refusal(path)) == 'The header has no field "NDims".'


@given(
    affine=affines(),
    dtype=st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8", "i8", "u8"]),
    packed=st.booleans(),
    suffix=st.sampled_from([".mha", ".mhd"]),
)
def test_every_voxel_lies_where_ITK_has_it(tmp_path, affine, dtype, packed, suffix):
    array = counted((2, 3, 4), dtype)
    path = written(tmp_path / ("a" + suffix), array, affine, packed)
    (image,) = read(path)
    np.testing.assert_array_equal(image.pixels, array)
    assertSameAtWorldPoints(image, SimpleITK.ReadImage(str(path)))


@pytest.mark.parametrize("components", [3, 4])
def test_channels_are_colour(tmp_path, components):
    array = counted((2, 3, 4, components), "u1")
    np.testing.assert_array_equal(read(written(tmp_path / "a.mha", array))[0].pixels, array)


@pytest.mark.parametrize("field", ["BinaryDataByteOrderMSB", "ElementByteOrderMSB"])
def test_big_endian(tmp_path, field):
    data = counted((2, 3, 4), ">i2").tobytes()
    (image,) = read(handmade(tmp_path / "a.mha", {"ElementType": "MET_SHORT", field: "True"}, data))
    np.testing.assert_array_equal(image.pixels, counted((2, 3, 4)))


@pytest.mark.parametrize("origin", ["Offset", "Position", "Origin"])
@pytest.mark.parametrize("directions", ["TransformMatrix", "Orientation", "Rotation"])
def test_synonyms(tmp_path, origin, directions):
    fields = {origin: "1 2 3", directions: "0 1 0 -1 0 0 0 0 1", "ElementSpacing": "2 3 4", "CenterOfRotation": "9 9 9"}
    path = handmade(tmp_path / "a.mha", fields, bytes(range(24)))
    (image,) = read(path)
    np.testing.assert_allclose(image.ijkToRAS[:3], [[0, 3, 0, -1], [-2, 0, 0, -2], [0, 0, 4, 3]])
    assertSameAtWorldPoints(image, SimpleITK.ReadImage(str(path)))


def test_each_volume_of_four_dimensions_is_an_image(tmp_path):
    fields = {"NDims": "4", "DimSize": "4 3 2 5", "ElementSpacing": "1 2 3 4", "Offset": "0 0 0 0"}
    images = read(handmade(tmp_path / "a.mha", fields, bytes(range(120))))
    np.testing.assert_array_equal([image.pixels for image in images], np.arange(120).reshape(5, 2, 3, 4))


@pytest.mark.parametrize("kinds", [{}, {"Kinds": "domain domain list"}])
@pytest.mark.parametrize("packed", [False, True])
def test_a_tracked_sequence_gives_each_frame_its_fields(tmp_path, kinds, packed):
    fields = {**kinds, "DimSize": "4 3 2", "TransformMatrix": "1 0 0 0 1 0 0 0 1", "ElementSpacing": "2 3 1"}
    fields |= {"Offset": "0 0 0", "UltrasoundImageOrientation": "MFA", "bad name": "x"}
    data = bytes(range(24))
    if packed:
        data = zlib.compress(data)
        fields |= {"CompressedData": "True", "CompressedDataSize": str(len(data))}
    for number in range(2):
        fields[f"Seq_Frame000{number}_Timestamp"] = f"{number}.5"
        fields[f"Seq_Frame000{number}_ProbeToTrackerTransform"] = "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"
    images = read(handmade(tmp_path / "a.igs.mha", fields, data))
    assert [image.pixels.shape for image in images] == [(1, 3, 4)] * 2
    assert [image.attributes["Timestamp"] for image in images] == ["0.5", "1.5"]
    assert images[0].attributes["ProbeToTrackerTransform"].startswith("1 0 0 0")
    assert images[0].attributes["UltrasoundImageOrientation"] == "MFA"
    assert images[0].attributes["DroppedAttributes"] == "1"
    np.testing.assert_allclose(np.abs(np.diag(images[0].ijkToRAS)), [2, 3, 1, 1])


@pytest.mark.parametrize("end", ["ElementDataFile = LIST\ns1.raw\ns2.raw\n", "ElementDataFile = s%d.raw 1 2 1\n"])
def test_slices_in_files_of_their_own(tmp_path, end):
    path = handmade(tmp_path / "a.mhd", {}, end=end)
    reader = openImageFile(str(path))
    assertSentence(reader.missing())
    (tmp_path / "s1.raw").write_bytes(bytes(range(12)))
    assertSentence(reader.missing())
    (tmp_path / "s2.raw").write_bytes(bytes(range(12, 24)))
    assert reader.missing() is None
    assert reader.files == tuple(str(tmp_path / name) for name in ("a.mhd", "s1.raw", "s2.raw"))
    np.testing.assert_array_equal(next(reader.images()).pixels.ravel(), range(24))


@pytest.mark.parametrize("size", ["-1", "5"])
def test_a_header_before_the_voxels_is_skipped(tmp_path, size):
    (tmp_path / "a.raw").write_bytes(b"12345" + bytes(range(24)))
    path = handmade(tmp_path / "a.mhd", {"HeaderSize": size}, end="ElementDataFile = a.raw")
    np.testing.assert_array_equal(read(path)[0].pixels.ravel(), range(24))


@pytest.mark.parametrize("name", ["../a.raw", "//server/a.raw", "\\\\server\\a.raw"])
def test_a_data_file_outside_the_folder_is_refused(tmp_path, name):
    path = handmade(tmp_path / "a.mhd", {}, end=f"ElementDataFile = {name}\n")
    assert refusal(path).code == "unsupported"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"BinaryData": "False"}, "damaged"),
        ({"DistanceUnits": "furlong"}, "unsupported"),
        ({"ElementType": "MET_STRING"}, "unsupported"),
        ({"ObjectType": "Tube"}, "not-an-image"),
        ({"DimSize": "4 3"}, "damaged"),
        ({"DimSize": "4 3 x"}, "damaged"),
        ({"DimSize": "99999 99999 99999"}, "too-large"),
        ({"ElementNumberOfChannels": "2"}, "unsupported"),
        ({"ElementSpacing": "1 1"}, "damaged"),
        ({"ElementSpacing": "1 1 0"}, "damaged"),
        ({"TransformMatrix": "1 0 0 1 1 0 0 0 1"}, "unsupported"),
        ({"CompressedData": "True"}, "damaged"),
    ],
)
def test_what_is_no_image_is_refused_with_words(tmp_path, fields, code):
    assert refusal(handmade(tmp_path / "a.mha", fields, bytes(24))).code == code


@pytest.mark.parametrize(
    "beginning", [b"\x89PNG\r\n\x1a\n" + bytes(300), b"\x89PNG\0", b"<a href='b'>", b"no field " * 30], ids=range(4)
)
def test_another_beginning_is_refused(tmp_path, beginning):
    (tmp_path / "a.mha").write_bytes(beginning)
    assert refusal(tmp_path / "a.mha").code == "not-an-image"


@given(
    field=st.sampled_from(
        [
            "NDims",
            "DimSize",
            "ElementType",
            "ElementSpacing",
            "Offset",
            "TransformMatrix",
            "HeaderSize",
            "Kinds",
            "CompressedData",
            "CompressedDataSize",
            "ElementNumberOfChannels",
            "Seq_Frame0001_X",
            "ElementDataFile",
        ]
    ),
    value=st.text(max_size=30) | st.sampled_from(["nan", "-1", "1e400", "9" * 30, "LIST", "LIST 99", "%d 1 2 3"]),
)
@example(field="ElementDataFile", value="\r0")
def test_a_hostile_field_does_no_harm(tmp_path, field, value):
    path = handmade(tmp_path / "a.mha", {field: value}, bytes(24))
    assertHarmless(path, path.read_bytes())


def test_the_comment_is_no_attribute_and_fields_of_one_letter_are(tmp_path):
    fields = {"Comment": "made by hand", "C": "1", "Name": "a", "Operator": "b"}
    (image,) = read(handmade(tmp_path / "a.mha", fields, bytes(24)))
    assert image.attributes == {"C": "1", "Operator": "b"}


@pytest.mark.parametrize("where", ["local", "file"])
def test_voxels_as_text_equal_ITKs(tmp_path, where):
    text = b" ".join(b"%d" % value for value in range(-5, 19)) + b"\n"
    fields = {"BinaryData": "False", "ElementType": "MET_SHORT"}
    if where == "local":
        path = handmade(tmp_path / "a.mha", fields, text)
    else:
        (tmp_path / "a.txt").write_bytes(text)
        path = handmade(tmp_path / "a.mhd", fields, end="ElementDataFile = a.txt\n")
    (image,) = read(path)
    np.testing.assert_array_equal(image.pixels.ravel(), range(-5, 19))
    np.testing.assert_array_equal(image.pixels, SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))))


@pytest.mark.parametrize(("unit", "factor"), [("um", 1e-3), ("mm", 1), ("cm", 10), ("?", 1)])
def test_the_unit_of_distances(tmp_path, unit, factor):
    (image,) = read(handmade(tmp_path / "a.mha", {"ElementSpacing": "2 3 4", "DistanceUnits": unit}, bytes(24)))
    np.testing.assert_allclose(np.abs(np.diag(image.ijkToRAS))[:3], np.array([2, 3, 4]) * factor)


@pytest.mark.parametrize("name", ["/etc/hostname", "../a.raw", "C:\\a.raw", "//server/share/a.raw", "LIST"])
def test_a_data_file_is_in_the_folder_of_its_header(tmp_path, name):
    end = f"ElementDataFile = {name}\n" + ("/etc/hostname\n../b.raw\n" if name == "LIST" else "")
    error = refusal(handmade(tmp_path / "a.mhd", {}, end=end))
    assert error.code == "unsupported"
    assert "leads out of the header's folder" in str(error)
    assert "names itself" in str(refusal(handmade(tmp_path / "b.mhd", {}, end="ElementDataFile = b.mhd\n")))


def test_a_frame_of_a_huge_number_takes_no_memory(tmp_path):
    fields = {"DimSize": "1 1 1000000000", "Kinds": "domain domain list", "Seq_Frame999999999_Status": "OK"}
    assertHarmless(tmp_path / "b.mha", handmade(tmp_path / "a.mha", fields, bytes(24)).read_bytes(), 1 << 31)


def test_blanks_take_no_time(tmp_path):
    """A pattern with three kinds of blanks would take hours for 20,000 of them."""
    path = handmade(tmp_path / "a.mha", {"Comment": " " * 20_000 + "\rx"}, bytes(24))
    assert read(path)
