"""TIFF as tifffile, Pillow and hand-made bytes write it, against what tifffile, Pillow and SimpleITK read."""

import io
import itertools
import struct

import numpy as np
import PIL.Image
import pytest
import SimpleITK
import tifffile
from hypothesis import example, given
from hypothesis import strategies as st
from RealTimeImagingLib.Formats import openImageFile
from RealTimeImagingLib.Model.Frame import pictureToRAS
from RealTimeImagingLib.Sources.Folder.Completeness import Complete, PendingFile, Waiting
from unit.conftest import arrive
from unit.examples import examples
from unit.readers import (
    assertHarmless,
    assertSame,
    assertSentence,
    mutated,
    read,
    refusal,
)

TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8", "f2", "i8", "u8"]
SHOWN = {"f2": "f4", "i8": "f8", "u8": "f8"}
RGB = np.random.default_rng(1).integers(0, 255, (20, 30, 3)).astype(np.uint8)
GREY = np.arange(20 * 30).reshape(20, 30)
STACK = np.arange(4 * 20 * 30).reshape(4, 20, 30).astype(np.uint16)


def counted(shape, dtype="u2"):
    return np.random.default_rng(7).integers(0, 100, shape).astype(dtype)


def written(path, array, **options):
    """A file made by tifffile; grey unless told otherwise."""
    tifffile.imwrite(path, array, **{"photometric": "minisblack", "metadata": None, **options})
    return path


def saved(path, picture, **options):
    """A file made by Pillow."""
    picture.save(path, **options)
    return path


def fields(path, **values):
    """The file with short fields of its first page overwritten, by their names at tifffile."""
    with tifffile.TiffFile(path) as file:
        order, tags = file.byteorder, file.pages[0].tags
        places = {name: (tags[name].valueoffset, "H" if tags[name].dtype == 3 else "I") for name in values}
    data = bytearray(path.read_bytes())
    for name, (place, kind) in places.items():
        struct.pack_into(order + kind, data, place, values[name])
    path.write_bytes(data)
    return path


# ---- values


@given(
    dtype=st.sampled_from(TYPES),
    order=st.sampled_from("<>"),
    big=st.booleans(),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)),
    colours=st.sampled_from([0, 3, 4]),
    planar=st.booleans(),
    layout=st.sampled_from([{}, {"rowsperstrip": 7}, {"tile": (16, 16)}, {"tile": (32, 16)}]),
    packing=st.sampled_from([None, "zlib"]),
    predictor=st.booleans(),
)
@example("u1", "<", False, (1, 10, 4), 0, False, {"rowsperstrip": 7}, None, False)
def test_values_equal_tifffiles(tmp_path, dtype, order, big, shape, colours, planar, layout, packing, predictor):
    array = counted((*shape, colours) if colours else shape, dtype)
    options = {"byteorder": order, "bigtiff": big, "compression": packing, **layout}
    if colours:
        options |= {"photometric": "rgb", "planarconfig": "separate" if planar else "contig"}
        array = np.moveaxis(array, -1, 1) if planar else array
    if packing and dtype[0] != "f" and dtype[1] != "8":  # for others tifffile needs another package
        options["predictor"] = predictor
    with tifffile.TiffWriter(tmp_path / "a.tif", byteorder=order, bigtiff=big) as file:
        del options["byteorder"], options["bigtiff"]
        for page in array:
            file.write(page, metadata=None, **{"photometric": "minisblack", **options})
    (image,) = read(tmp_path / "a.tif")
    assert image.pixels.dtype == SHOWN.get(dtype, dtype)
    np.testing.assert_array_equal(image.pixels, np.moveaxis(array, 1, -1) if colours and planar else array)


@pytest.mark.parametrize("packing", ["tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "lzma", "zstd"])
@pytest.mark.parametrize("kind", ["L", "RGB", "RGBA", "I;16", "F", "I"])
@pytest.mark.parametrize("predictor", [1, 2])
def test_what_libtiff_packs_is_unpacked(tmp_path, packing, kind, predictor):
    arrays = {
        "L": GREY.astype(np.uint8),
        "RGB": RGB,
        "RGBA": np.dstack([RGB, RGB[..., 0]]),
        "I;16": (GREY * 100).astype(np.uint16),
        "F": GREY.astype(np.float32) / 7,
        "I": (GREY * 100_000).astype(np.int32),
    }
    options = {"compression": packing}
    if predictor == 2 and packing != "packbits" and kind in ("L", "RGB", "RGBA", "I;16", "I"):
        options["tiffinfo"] = {317: 2}
    (image,) = read(saved(tmp_path / "a.tif", PIL.Image.fromarray(arrays[kind]), **options))
    assert image.pixels.dtype == arrays[kind].dtype
    np.testing.assert_array_equal(image.pixels[0], arrays[kind])


def test_colours_of_16_bits_are_not_halved_when_they_are_packed(tmp_path):
    """Pillow would: strips packed with LZW are unpacked as bytes."""
    array = np.random.default_rng(1).integers(0, 65535, (20, 30, 3)).astype("<u2")
    packed = io.BytesIO()
    PIL.Image.fromarray(array.view(np.uint8).reshape(20, 180)).save(packed, "tiff", compression="tiff_lzw")
    data = packed.getvalue()
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tags = file.pages[0].tags
        offsets, counts = tags["StripOffsets"].value, tags["StripByteCounts"].value
        rows = tags["RowsPerStrip"].value
    strips = [data[offset : offset + count] for offset, count in zip(offsets, counts, strict=True)]
    path = made(tmp_path / "a.tif", strips, 30, 20, bits=[16] * 3, photometric=2, compression=5, rows=rows)
    np.testing.assert_array_equal(read(path)[0].pixels[0], array)


def made(path, strips, columns, rows_, bits=(8,), photometric=1, compression=1, rows=None, order="<", **more):
    """A file of one page, made by hand. Further fields: tag=(type, values) as ``t317=(3, [2])``."""
    entries = {
        256: (4, [columns]),
        257: (4, [rows_]),
        258: (3, list(bits)),
        259: (3, [compression]),
        262: (3, [photometric]),
        273: (4, [0] * len(strips)),
        277: (3, [len(bits)]),
        278: (4, [rows or rows_]),
        279: (4, [len(strip) for strip in strips]),
        **{int(name[1:]): value for name, value in more.items()},
    }
    kinds = {1: "B", 3: "H", 4: "I", 7: "B", 11: "f", 12: "d"}
    sizes = {tag: struct.calcsize(f"{len(values)}{kinds[kind]}") for tag, (kind, values) in entries.items()}
    behind = 8 + 2 + 12 * len(entries) + 4
    start = behind + sum(size for size in sizes.values() if size > 4)
    entries[273] = (4, [start + done for done in itertools.accumulate([0, *map(len, strips[:-1])])])
    head, outside = b"", b""
    for tag, (kind, values) in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}{kinds[kind]}", *values)
        if len(packed) > 4:
            place = struct.pack(order + "I", behind + len(outside))
            outside += packed
        else:
            place = packed.ljust(4, b"\0")
        head += struct.pack(order + "HHI", tag, kind, len(values)) + place
    mark = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    path.write_bytes(mark + struct.pack(order + "H", len(entries)) + head + bytes(4) + outside + b"".join(strips))
    return path


@pytest.mark.parametrize("depth", [1, 2, 4, 6, 10, 12, 14])
@pytest.mark.parametrize("order", ["<", ">"])
def test_bits_that_fill_no_byte(tmp_path, depth, order):
    values = np.random.default_rng(1).integers(0, 1 << depth, (5, 7))
    bits = (values[..., np.newaxis] >> np.arange(depth)[::-1] & 1).astype(np.uint8).reshape(5, -1)
    path = made(tmp_path / "a.tif", [np.packbits(bits, axis=1).tobytes()], 7, 5, [depth], order=order)
    (image,) = read(path)
    expected = values * 255 // ((1 << depth) - 1) if depth < 8 else values
    np.testing.assert_array_equal(image.pixels[0], expected)
    assert image.pixels.dtype == (np.uint8 if depth < 8 else np.uint16)
    if depth == 1:
        np.testing.assert_array_equal(tifffile.imread(path), values.astype(bool))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("samples", [1, 3])
def test_the_predictor_of_floating_numbers(tmp_path, dtype, order, samples):
    import zlib

    values = np.random.default_rng(1).normal(size=(5, 7, samples)).astype(dtype)
    size = values.itemsize
    planes = values.astype(f">{dtype}").view(np.uint8).reshape(5, 7 * samples, size).swapaxes(1, 2).reshape(5, -1)
    coded = planes.copy()
    coded[:, samples:] -= planes[:, :-samples]
    strip = zlib.compress(coded.tobytes())
    path = made(
        *(tmp_path / "a.tif", [strip], 7, 5, [8 * size] * samples, 2 if samples == 3 else 1, 8, None, order),
        t317=(3, [3]),
        t339=(3, [3] * samples),
    )
    np.testing.assert_array_equal(read(path)[0].pixels[0], values if samples == 3 else values[..., 0])


@pytest.mark.parametrize("packing", ["group3", "group4", "tiff_ccitt"])
@pytest.mark.parametrize("inverted", [False, True])
def test_faxes(tmp_path, packing, inverted):
    picture = PIL.Image.fromarray(RGB[..., 0]).convert("1")
    path = saved(tmp_path / "a.tif", picture, compression=packing, tiffinfo={262: 0} if inverted else {})
    expected = np.asarray(PIL.Image.open(path).convert("L"))
    np.testing.assert_array_equal(read(path)[0].pixels[0], expected)


@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr", "CMYK"])
def test_jpeg_inside(tmp_path, mode):
    path = saved(tmp_path / "a.tif", PIL.Image.fromarray(RGB).convert(mode), compression="jpeg", quality=90)
    expected = np.asarray(PIL.Image.open(path).convert("L" if mode == "L" else "RGB"))
    np.testing.assert_array_equal(read(path)[0].pixels[0], expected)


@pytest.mark.parametrize(("mode", "shape"), [("1", ()), ("L", ()), ("P", (3,)), ("LA", (4,)), ("CMYK", (3,))])
def test_the_kinds_of_pictures(tmp_path, mode, shape):
    picture = PIL.Image.fromarray(RGB).convert(mode)
    (image,) = read(saved(tmp_path / "a.tif", picture))
    assert image.pixels.shape == (1, 20, 30, *shape)
    shown = picture.convert({(): "L", (3,): "RGB", (4,): "RGBA"}[shape])
    np.testing.assert_array_equal(image.pixels[0], np.asarray(shown))


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_where_white_is_zero_values_stay_as_in_ITK(tmp_path, dtype):
    array = counted((20, 30), dtype)
    path = written(tmp_path / "a.tif", array, photometric="miniswhite")
    (image,) = read(path)
    np.testing.assert_array_equal(image.pixels[0], array)
    np.testing.assert_array_equal(image.pixels[0], SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))))
    assert image.attributes["PhotometricInterpretation"] == "WhiteIsZero"


def test_mirrored_bits(tmp_path):
    path = made(tmp_path / "a.tif", [bytes([0b10100000])], 8, 1, [1], t266=(3, [2]))
    np.testing.assert_array_equal(read(path)[0].pixels[0, 0], np.array([0, 0, 0, 0, 0, 1, 0, 1]) * 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied(tmp_path, orientation):
    path = written(tmp_path / "a.tif", RGB, photometric="rgb", resolution=(10, 20), resolutionunit=3)
    path = saved(tmp_path / "b.tif", PIL.Image.fromarray(RGB), tiffinfo={274: orientation}, dpi=(254, 508))
    (image,) = read(path)
    np.testing.assert_array_equal(image.pixels[0], np.asarray(PIL.Image.open(path)))
    across, down = (0.05, 0.1) if orientation > 4 else (0.1, 0.05)
    np.testing.assert_allclose(np.abs(np.diag(image.ijkToRAS))[:2], [across, down])


# ---- stacks, spacing, times


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"resolution": (10, 20), "resolutionunit": 3},
        {"resolution": (254, 300), "resolutionunit": 2},
        {"resolution": (10, 20), "resolutionunit": 1},
    ],
)
@pytest.mark.parametrize("slices", [1, 4])
def test_spacing_size_and_values_equal_ITKs(tmp_path, options, slices):
    path = written(tmp_path / "a.tif", STACK[:slices], **options)
    peer = SimpleITK.ReadImage(str(path))
    (image,) = read(path)
    np.testing.assert_array_equal(image.pixels, SimpleITK.GetArrayFromImage(peer).reshape(image.pixels.shape))
    spacing = (*peer.GetSpacing(), 1.0)[:3]
    np.testing.assert_allclose(np.abs(np.diag(image.ijkToRAS))[:3], spacing)
    # the same place of each voxel, but for the middle, which is at 0
    offset = image.ijkToRAS[:3, 3] - np.diag([-1, -1, 1]) @ (*peer.GetOrigin(), 0.0)[:3]
    for k, j, i in ((0, 0, 0), (slices - 1, 19, 29), (slices - 1, 3, 17)):
        world = peer.TransformIndexToPhysicalPoint([i, j, k][: peer.GetDimension()])
        ours = image.ijkToRAS @ (i, j, k, 1)
        np.testing.assert_allclose(ours[:3] - offset, np.diag([-1, -1, 1]) @ (*world, 0.0)[:3], atol=1e-9)


def test_a_picture_lies_as_other_pictures_do(tmp_path):
    (image,) = read(written(tmp_path / "a.tif", STACK[0]))
    np.testing.assert_array_equal(image.ijkToRAS, pictureToRAS(30, 20))


@pytest.mark.parametrize(
    ("unit", "factor"), [("um", 1e-3), ("micron", 1e-3), ("mm", 1), ("inch", 25.4), ("\\u00B5m", 1e-3)]
)
def test_imageJ_states_its_own_unit(tmp_path, unit, factor):
    metadata = {"spacing": 3.0, "unit": unit, "axes": "ZYX"}
    path = written(tmp_path / "a.tif", STACK, imagej=True, resolution=(10, 20), metadata=metadata)
    (image,) = read(path)
    np.testing.assert_array_equal(image.pixels, STACK)
    np.testing.assert_allclose(np.diag(image.ijkToRAS)[:3], np.array([-0.1, -0.05, 3.0]) * factor)


def test_points_in_time_and_channels_of_imageJ_are_volumes(tmp_path):
    array = counted((3, 4, 2, 20, 30))  # frames, slices, channels
    metadata = {"axes": "TZCYX", "finterval": 0.5}
    images = read(written(tmp_path / "a.tif", array, imagej=True, metadata=metadata))
    np.testing.assert_array_equal([image.pixels for image in images], array.swapaxes(1, 2).reshape(6, 4, 20, 30))
    assert [image.attributes["Channel"] for image in images] == ["1", "2"] * 3
    path = written(tmp_path / "b.tif", array[:, :, 0], imagej=True, metadata={"axes": "TZYX", "finterval": 0.5})
    reader = openImageFile(str(path))
    assert reader.missing() is None
    assert (reader.count, reader.times) == (3, [0, 0.5, 1.0])
    assertSame(list(reader.images(1)), read(path)[1:])


def test_one_page_for_all_images_of_imageJ(tmp_path):
    """As ImageJ itself writes stacks above 4 GB."""
    strip = STACK.astype(">u2").tobytes()
    description = b"ImageJ=1.53\nimages=4\nslices=4\n\0"
    options = {"order": ">", "t270": (7, list(description))}
    path = made(tmp_path / "a.tif", [strip[: 20 * 30 * 2]], 30, 20, [16], **options)
    path.write_bytes(path.read_bytes() + strip[20 * 30 * 2 :])
    np.testing.assert_array_equal(read(path)[0].pixels, STACK)
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    assertSentence(openImageFile(str(path)).missing())


@pytest.mark.parametrize("axes", ["TZCYX", "CZTYX", "ZTCYX"])
def test_the_axes_of_OME(tmp_path, axes):
    sizes = {"T": 3, "Z": 4, "C": 2, "Y": 20, "X": 30}
    array = counted([sizes[axis] for axis in axes])
    metadata = {
        "axes": axes,
        "PhysicalSizeX": 0.5,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.25,
        "PhysicalSizeYUnit": "mm",
        "PhysicalSizeZ": 2,
    }
    images = read(written(tmp_path / "a.ome.tif", array, metadata=metadata))
    order = [axes.index(axis) for axis in "TCZYX"]
    np.testing.assert_array_equal([image.pixels for image in images], array.transpose(order).reshape(6, 4, 20, 30))
    np.testing.assert_allclose(np.diag(images[0].ijkToRAS)[:3], [-0.0005, -0.25, 0.002])


def test_colour_and_times_of_OME(tmp_path):
    array = np.stack([RGB, RGB[::-1]])
    metadata = {"axes": "TYXS", "TimeIncrement": 40, "TimeIncrementUnit": "ms"}
    path = written(tmp_path / "a.ome.tif", array, photometric="rgb", metadata=metadata)
    reader = openImageFile(str(path))
    assert reader.missing() is None
    assert reader.times == [0, 0.04]
    np.testing.assert_array_equal([image.pixels[0] for image in reader.images()], array)


def test_a_description_that_does_not_fit_leaves_one_volume(tmp_path):
    path = written(tmp_path / "a.tif", STACK, description="ImageJ=1.53\nimages=9\nslices=9\n")
    assert read(path)[0].pixels.shape == (4, 20, 30)


def test_pages_of_several_sizes_are_an_image_each(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for array in (STACK[0], STACK[0, :7], RGB):
            file.write(array, photometric="rgb" if array.ndim == 3 else "minisblack", metadata=None)
    images = read(tmp_path / "a.tif")
    assert [image.pixels.shape for image in images] == [(1, 20, 30), (1, 7, 30), (1, 20, 30, 3)]
    assert [image.attributes["Page"] for image in images] == ["1", "2", "3"]


def test_smaller_copies_are_left_out(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(STACK[0], photometric="minisblack", metadata=None)
        file.write(STACK[0, ::2, ::2], photometric="minisblack", metadata=None, subfiletype=1)
    (image,) = read(tmp_path / "a.tif")
    assert image.pixels.shape == (1, 20, 30)


# ---- whole or not


def needed(path):
    """The file up to its last byte that a page needs: tifffile leaves room for the values of later pages."""
    with tifffile.TiffFile(path) as file:
        head, entry, tail = (8, 20, 8) if file.is_bigtiff else (2, 12, 4)
        ends = []
        for page in file.pages:
            ends.append(page.offset + head + entry * len(page.tags) + tail)
            ends += [tag.valueoffset + tag.valuebytecount for tag in page.tags]
            ends += map(sum, zip(page.dataoffsets, page.databytecounts, strict=True))
    path.write_bytes(path.read_bytes()[: max(ends)])
    return path


LAYOUTS = {
    "pillow": lambda folder: saved(folder / "pillow.tif", PIL.Image.fromarray(RGB)),
    "lzw": lambda folder: saved(folder / "lzw.tif", PIL.Image.fromarray(RGB), compression="tiff_lzw"),
    "pages": lambda folder: saved(
        folder / "pages.tif",
        PIL.Image.fromarray(GREY.astype(np.uint8)),
        save_all=True,
        append_images=[PIL.Image.fromarray(GREY.astype(np.uint8)[::-1])],
        compression="tiff_adobe_deflate",
    ),
    "stack": lambda folder: written(folder / "stack.tif", STACK),
    "big": lambda folder: written(folder / "big.tif", STACK, bigtiff=True, byteorder=">"),
    "tiles": lambda folder: written(folder / "tiles.tif", STACK[0], tile=(16, 16), compression="zlib"),
    "imagej": lambda folder: written(folder / "imagej.tif", STACK, imagej=True),
    "ome": lambda folder: written(folder / "a.ome.tif", STACK, metadata={"axes": "ZYX"}),
}
"""The layouts that programs write."""


def layout(name, folder):
    """A file of one of LAYOUTS."""
    return needed(LAYOUTS[name](folder))


def test_a_stack_that_is_written_page_by_page_is_shown_once_with_all_pages(tmp_path):
    """Each page makes a whole file of what is there: only that it is open for writing tells that more come."""
    path = tmp_path / "a.tif"
    candidate = PendingFile(str(path), 0.0)
    with tifffile.TiffWriter(path) as file:
        for number, page in enumerate(STACK):
            file.write(page, photometric="minisblack", metadata=None, contiguous=False)
            file.filehandle.flush()
            verdict = candidate.check(float(number))
            assert isinstance(verdict, Waiting)
    verdict = candidate.check(99.0)
    assert isinstance(verdict, Complete)
    (image,) = verdict.reader.images()
    np.testing.assert_array_equal(image.pixels, STACK)


def test_pages_that_were_appended_are_seen(tmp_path):
    path = tmp_path / "a.tif"
    written(path, STACK[:2])
    reader = openImageFile(str(path))
    assert reader.missing() is None
    with tifffile.TiffWriter(path, append=True) as file:
        file.write(STACK[2], photometric="minisblack", metadata=None)
    assert reader.missing() is None
    np.testing.assert_array_equal(next(reader.images()).pixels, STACK[:3])


def test_a_folder_shows_a_preallocated_file_once_and_only_when_it_is_closed(receive, incoming, tmp_path):
    receiver = receive()
    data = written(tmp_path / "a.tif", STACK).read_bytes()
    with (incoming / "a.tif").open("wb", buffering=0) as file:
        file.truncate(len(data))
        for start in range(0, len(data), 1000):
            file.seek(start)
            file.write(data[start : start + 1000])
            receiver.run(0.5)
        assert receiver.frames == []
    receiver.run(2)
    arrive(incoming / "b.tif", data)
    receiver.run(2)
    assert receiver.names == ["a.tif", "b.tif"]
    assert receiver.codes == []


@pytest.mark.parametrize("data", [b"", bytes(100), b"II", b"II*\0", b"II*\0\0\0\0\0", b"MM\0+\0\x08"])
def test_what_is_not_there_yet_is_missing(tmp_path, data):
    (tmp_path / "a.tif").write_bytes(data)
    assertSentence(openImageFile(str(tmp_path / "a.tif")).missing())


def test_a_tiff_file_is_known_by_its_content(tmp_path):
    path = written(tmp_path / "a.tif", STACK)
    expected = read(path)
    assertSame(read(path.rename(tmp_path / "microscope")), expected)


# ---- hostile


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Compression": 6}, "unsupported"),
        ({"Compression": 50002}, "unsupported"),
        ({"Compression": 999}, "unsupported"),
        ({"PhotometricInterpretation": 8}, "unsupported"),
        ({"PhotometricInterpretation": 6}, "unsupported"),
        ({"BitsPerSample": 65}, "unsupported"),
        ({"ImageWidth": 0}, "damaged"),
        ({"RowsPerStrip": 3}, "damaged"),
        ({"ImageLength": 60_000}, "damaged"),
        ({"ImageWidth": 4_000_000_000}, "too-large"),
        ({"Compression": 8}, "damaged"),
        ({"Compression": 5}, "damaged"),
        ({"Compression": 7}, "unsupported"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_words(tmp_path, change, code):
    path = written(tmp_path / "a.tif", np.random.default_rng(1).integers(0, 60000, (20, 30)).astype("u2"))
    assert refusal(fields(path, **change)).code == code


def test_channels_that_are_no_colours_are_refused(tmp_path):
    path = written(tmp_path / "a.tif", counted((20, 30, 5)), planarconfig="contig")
    assert refusal(path).code == "unsupported"


def test_complex_numbers_are_refused(tmp_path):
    error = refusal(written(tmp_path / "a.tif", np.zeros((4, 5), np.complex64)))
    assert error.code == "unsupported"
    assert "complex" in str(error)


def test_another_beginning_is_refused(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"text, no picture")
    assert refusal(tmp_path / "a.tif").code == "not-an-image"


@pytest.mark.parametrize(
    ("tag", "place", "value", "words"),
    [(256, 2, 5, "ImageWidth"), (259, 4, 2, "Compression"), (277, 2, 2, "SamplesPerPixel"), (259, 8, 5, "decoded")],
)
def test_a_damaged_field_is_named(tmp_path, tag, place, value, words):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5), np.uint8))
    data = bytearray((tmp_path / "a.tif").read_bytes())
    first = struct.unpack_from("<I", data, 4)[0]
    entries = range(first + 2, first + 2 + 12 * struct.unpack_from("<H", data, first)[0], 12)
    entry = next(one for one in entries if struct.unpack_from("<H", data, one)[0] == tag)
    struct.pack_into("<H", data, entry + place, value)
    (tmp_path / "a.tif").write_bytes(data)
    error = refusal(tmp_path / "a.tif")
    assert (error.code, words in str(error)) == ("damaged", True)


def test_pages_in_a_circle_are_refused(tmp_path):
    path = made(tmp_path / "a.tif", [bytes(600)], 30, 20)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 8 + 2 + 12 * 9, 8)
    path.write_bytes(data)
    assert refusal(path).code == "damaged"


def test_pages_that_share_their_pixels_take_no_more_than_the_limit(tmp_path):
    description = b"ImageJ=1.53\nimages=9999999\nslices=9999999\n\0"
    path = made(tmp_path / "a.tif", [bytes(1)], 1, 1, t270=(7, list(description)))
    assertSentence(openImageFile(str(path)).missing())
    path.write_bytes(path.read_bytes() + bytes(10_000_000))
    assert refusal(path, limit=1 << 20).code == "too-large"


def test_a_packed_bomb_is_unpacked_no_further_than_declared(tmp_path):
    import zlib

    path = made(tmp_path / "a.tif", [zlib.compress(bytes(50 << 20), 9)], 30, 20, compression=8)
    assert read(path)[0].pixels.shape == (1, 20, 30)


@examples(4)
@given(changes=st.lists(st.tuples(st.integers(0, 160), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_hostile_directory_does_no_harm(tmp_path, changes):
    path = made(tmp_path / "a.tif", [bytes(300)] * 2, 30, 20, rows=10)
    assertHarmless(path, mutated(path.read_bytes(), changes))


# ---- what libtiff reads though it is not as the standard has it


def test_tiles_whose_places_are_in_StripOffsets(tmp_path):
    array = counted((20, 30), "u1")
    tiles = np.pad(array, ((0, 12), (0, 2))).reshape(2, 16, 2, 16).swapaxes(1, 2).reshape(4, 256)
    path = made(tmp_path / "a.tif", [tile.tobytes() for tile in tiles], 30, 20, t322=(3, [16]), t323=(3, [16]))
    np.testing.assert_array_equal(read(path)[0].pixels[0], array)


@pytest.mark.parametrize("count", [0, 7, 1 << 30])
def test_lengths_of_strips_that_are_not_packed_do_not_matter(tmp_path, count):
    array = counted((20, 30), "u1")
    path = made(tmp_path / "a.tif", [array.tobytes()], 30, 20)
    np.testing.assert_array_equal(read(fields(path, StripByteCounts=count))[0].pixels[0], array)
    path.write_bytes(path.read_bytes()[:-1])
    assertSentence(openImageFile(str(path)).missing())


@pytest.mark.parametrize("packing", ["group4", "tiff_lzw", "tiff_adobe_deflate"])
def test_a_packed_strip_without_a_length_reaches_to_the_end(tmp_path, packing):
    picture = PIL.Image.fromarray(RGB[..., 0]).convert("1" if packing == "group4" else "L")
    expected = np.asarray(picture.convert("L"))
    path = saved(tmp_path / "a.tif", picture, compression=packing)
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        data = path.read_bytes()[page.dataoffsets[0] : page.dataoffsets[0] + page.databytecounts[0]]
        bits, code, model = [page.bitspersample], int(page.compression), int(page.photometric)
    path = made(tmp_path / "b.tif", [data], 30, 20, bits, model, code)
    np.testing.assert_array_equal(read(fields(path, StripByteCounts=0))[0].pixels[0], expected)


def test_a_packed_strip_may_hold_more_rows_than_declared(tmp_path):
    import zlib

    array = counted((20, 30), "u1")
    strips = [zlib.compress(part.tobytes()) for part in (array[:16], np.pad(array[16:], ((0, 12), (0, 0))))]
    path = made(tmp_path / "a.tif", strips, 30, 20, compression=8, rows=16)
    np.testing.assert_array_equal(read(path)[0].pixels[0], array)


@pytest.mark.parametrize("subsampling", [1, 2])
def test_YCbCr_without_JPEG_equals_ITKs(tmp_path, subsampling):
    values = np.random.default_rng(1).integers(60, 200, (20 * 30 * 3 // (2 if subsampling == 2 else 1),)).astype("u1")
    path = made(tmp_path / "a.tif", [values.tobytes()], 30, 20, [8] * 3, 6, t530=(3, [subsampling] * 2))
    (image,) = read(path)
    peer = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    np.testing.assert_array_equal(image.pixels[0], peer[..., :3])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_fax_is_applied(tmp_path, orientation):
    picture = PIL.Image.fromarray(RGB[..., 0]).convert("1")
    path = saved(tmp_path / "a.tif", picture, compression="group4", tiffinfo={274: orientation})
    np.testing.assert_array_equal(read(path)[0].pixels[0], np.asarray(PIL.Image.open(path).convert("L")))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 1e300])
def test_places_that_are_no_whole_numbers_are_damage(tmp_path, value):
    path = made(tmp_path / "a.tif", [bytes(600)], 30, 20, t324=(12, [value]), t322=(3, [32]), t323=(3, [32]))
    assert refusal(path).code == "damaged"


def test_places_that_are_fractions_are_damage(tmp_path):
    """tifffile gives numerators and denominators as if each were an offset."""
    path = made(tmp_path / "a.tif", [bytes(300)] * 2, 30, 20, rows=10, t273=(4, [8, 308]))
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack("<HHI", 273, 4, 2))
    struct.pack_into("<H", data, at + 2, 5)
    path.write_bytes(data + bytes(99))
    assert refusal(path).code == "damaged"


def test_more_strips_than_there_are_offsets_take_no_time(tmp_path):
    path = made(tmp_path / "a.tif", [bytes(600)], 1, 1 << 28, rows=1)
    error = refusal(path)
    assert (error.code, "268,435,456" in str(error)) == ("damaged", True)


def test_more_pixels_than_the_packed_bytes_can_hold_are_refused_before_they_are_unpacked(tmp_path):
    import zlib

    path = made(tmp_path / "a.tif", [zlib.compress(bytes(600))], 30_000, 60_000, compression=8)
    error = refusal(path)
    assert error.code == "damaged"
    assert "cannot hold" in str(error)


@pytest.mark.parametrize(
    ("packing", "hide", "asked"),
    [
        (None, ["tifffile", "imagecodecs"], ["tifffile", "imagecodecs"]),
        ("zlib", ["imagecodecs"], ["imagecodecs"]),
        (None, ["imagecodecs"], []),
    ],
)
def test_a_package_that_is_missing_is_named_with_the_way_to_install_it(tmp_path, hidden, packing, hide, asked):
    path = written(tmp_path / "a.tif", STACK, compression=packing)
    hidden(*hide)
    if not asked:
        np.testing.assert_array_equal(read(path)[0].pixels, STACK)
        return
    error = refusal(path)
    assert error.code == "missing-package"
    assert [name for name in ("tifffile", "imagecodecs") if f"'{name}>=" in str(error)] == asked
    assert "installPackages" in str(error)
