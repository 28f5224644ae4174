import struct

import numpy as np
import PIL.Image
import pytest
import SimpleITK
from RealTimeImagingLib.Formats import openImageFile
from RealTimeImagingLib.Model.Frame import pictureToRAS
from unit.readers import (
    assertSame,
    assertSentence,
    read,
    refusal,
)

RGB = np.random.default_rng(1).integers(0, 255, (20, 30, 3)).astype(np.uint8)


def written(path, mode="RGB", **options):
    PIL.Image.fromarray(RGB).convert(mode).save(path, **options)
    return path


def patched(path, offset, kinds, *values):
    data = bytearray(path.read_bytes())
    struct.pack_into("<" + kinds, data, offset, *values)
    path.write_bytes(data)
    return path


def runs(path, rows=((3, 7), (3, 9))):
    """A BMP of 8 bits packed in runs: each row (length, value) twice."""
    data = b"".join(bytes([length, value, length, value, 0, 0]) for length, value in rows) + b"\0\1"
    width, offset = 2 * rows[0][0], 14 + 40 + 1024
    palette = b"".join(bytes([value, value, value, 0]) for value in range(256))
    header = struct.pack("<IiiHHIIiiII", 40, width, len(rows), 1, 8, 1, len(data), 0, 0, 256, 0)
    path.write_bytes(struct.pack("<2sIHHI", b"BM", offset + len(data), 0, 0, offset) + header + palette + data)
    return path


@pytest.mark.parametrize(("mode", "shape"), [("1", ()), ("L", ()), ("P", (3,)), ("RGB", (3,))])
def test_values_equal_pillows(tmp_path, mode, shape):
    (image,) = read(written(tmp_path / "a.bmp", mode))
    assert image.pixels.shape == (1, 20, 30, *shape)
    expected = PIL.Image.fromarray(RGB).convert(mode).convert("RGB" if shape else "L")
    np.testing.assert_array_equal(image.pixels[0], np.asarray(expected))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_values_and_spacing_equal_ITKs(tmp_path, mode):
    path = written(tmp_path / "a.bmp", mode, dpi=(254, 508))
    peer = SimpleITK.ReadImage(str(path))
    (image,) = read(path)
    expected = SimpleITK.GetArrayFromImage(peer)  # a grey palette as colours
    np.testing.assert_array_equal(image.pixels[0], expected[..., 0] if mode == "L" else expected)
    np.testing.assert_array_equal(np.abs(np.diag(image.ijkToRAS))[:2], peer.GetSpacing())
    np.testing.assert_array_equal(image.ijkToRAS, pictureToRAS(30, 20))


def test_rows_from_top_to_bottom(tmp_path):
    path = patched(written(tmp_path / "a.bmp"), 22, "i", -20)
    np.testing.assert_array_equal(read(path)[0].pixels[0], RGB[::-1])


def test_runs(tmp_path):
    (image,) = read(runs(tmp_path / "a.bmp"))
    np.testing.assert_array_equal(image.pixels[0], [[9] * 6, [7] * 6])


def test_transparency_is_kept_where_the_header_declares_it(tmp_path):
    rgba = np.dstack([RGB, RGB[..., 0]])
    header = struct.pack("<IiiHHIIiiII", 108, 30, -20, 1, 32, 3, 0, 0, 0, 0, 0)
    masks = struct.pack("<4I", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    start = 14 + 108
    head = struct.pack("<2sIHHI", b"BM", start + rgba.size, 0, 0, start) + (header + masks).ljust(108, b"\0")
    (tmp_path / "a.bmp").write_bytes(head + rgba.tobytes())
    np.testing.assert_array_equal(read(tmp_path / "a.bmp")[0].pixels[0], rgba)


def test_the_old_header(tmp_path):
    rows = b"".join(RGB[row, :, ::-1].tobytes() + bytes(-90 % 4) for row in range(19, -1, -1))
    header = struct.pack("<2sIHHI", b"BM", 26 + len(rows), 0, 0, 26) + struct.pack("<IHHHH", 12, 30, 20, 1, 24)
    (tmp_path / "a.bmp").write_bytes(header + rows)
    np.testing.assert_array_equal(read(tmp_path / "a.bmp")[0].pixels[0], RGB)


def test_a_bmp_file_is_known_by_its_content(tmp_path):
    path = written(tmp_path / "a.bmp")
    expected = read(path)
    assertSame(read(path.rename(tmp_path / "camera")), expected)


@pytest.mark.parametrize("data", [b"", b"B", b"BM", bytes(2000)])
def test_what_is_not_there_yet_is_missing(tmp_path, data):
    (tmp_path / "a.bmp").write_bytes(data)
    assertSentence(openImageFile(str(tmp_path / "a.bmp")).missing())


@pytest.mark.parametrize(
    ("offset", "kinds", "values", "code"),
    [
        (0, "2s", [b"MB"], "not-an-image"),
        (14, "I", [3], "damaged"),
        (18, "ii", [0, 20], "damaged"),
        (18, "ii", [-5, 20], "damaged"),
        (18, "ii", [2**31 - 1, 2**31 - 1], "too-large"),
        (28, "H", [7], "damaged"),
        (30, "I", [4], "unsupported"),
        (30, "I", [99], "unsupported"),
    ],
)
def test_what_is_no_image_is_refused_with_words(tmp_path, offset, kinds, values, code):
    assert refusal(patched(written(tmp_path / "a.bmp"), offset, kinds, *values)).code == code


def test_runs_without_a_length_are_refused(tmp_path):
    path = patched(patched(runs(tmp_path / "a.bmp"), 34, "I", 0), 2, "I", 0)
    assert refusal(path).code == "damaged"


def handmade(path, bits, packing, rows, masks=b"", palette=b"", colours=0, size=(5, 3)):
    """A BMP file with a header of 40 bytes, and masks and a palette behind it."""
    offset = 14 + 40 + len(masks) + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, *size, 1, bits, packing, len(rows), 0, 0, colours, 0)
    path.write_bytes(struct.pack("<2sIHHI", b"BM", offset + len(rows), 0, 0, offset) + header + masks + palette + rows)
    return path


@pytest.mark.parametrize(
    ("bits", "masks", "packing"),
    [
        (16, (0xF800, 0x7E0, 0x1F), 3),
        (16, (0x7C00, 0x3E0, 0x1F), 3),
        (16, (0xF00, 0xF0, 0xF, 0xF000), 6),
        (32, (0xFF, 0xFF00, 0xFF0000), 3),
        (32, (0xFF00, 0xFF0000, 0xFF000000), 3),
        (32, (0xFF000000, 0xFF0000, 0xFF00, 0xFF), 6),
        (32, (0x3FF00000, 0xFFC00, 0x3FF), 3),
        (32, (0xFF, 0, 0xFF0000), 3),
    ],
)
def test_masks(tmp_path, bits, masks, packing):
    values = np.random.default_rng(1).integers(0, 1 << bits, (3, 5 + (bits == 16)), dtype=np.uint64)
    pixels = values.astype(f"<u{bits // 8}")
    path = handmade(tmp_path / "a.bmp", bits, packing, pixels.tobytes(), struct.pack(f"<{len(masks)}I", *masks))
    expected = []
    for mask in masks:
        shift = (mask & -mask).bit_length() - 1 if mask else 0
        values = (pixels.astype(np.int64) & mask) >> shift
        expected.append(values * 255 // max(1, mask >> shift))
    np.testing.assert_array_equal(read(path)[0].pixels[0], np.stack(expected, -1)[::-1, :5])


def test_masks_with_gaps_are_damage(tmp_path):
    path = handmade(tmp_path / "a.bmp", 32, 3, bytes(60), struct.pack("<3I", 0xFF00FF, 0xFF00, 0xFF))
    assert refusal(path).code == "damaged"


def test_16_bits_without_masks_equal_pillows(tmp_path):
    rows = np.random.default_rng(1).integers(0, 1 << 15, (3, 6)).astype("<u2").tobytes()
    path = handmade(tmp_path / "a.bmp", 16, 0, rows)
    np.testing.assert_array_equal(read(path)[0].pixels[0], np.asarray(PIL.Image.open(path)))


@pytest.mark.parametrize("colours", [3, 300])
def test_a_palette_of_another_length(tmp_path, colours):
    palette = np.random.default_rng(1).integers(0, 256, (colours, 4)).astype(np.uint8)
    path = handmade(tmp_path / "a.bmp", 8, 0, bytes([0, 1, 2, 2, 1, 0, 0, 0] * 3), b"", palette.tobytes(), colours)
    np.testing.assert_array_equal(read(path)[0].pixels[0], palette[[[0, 1, 2, 2, 1]] * 3][..., 2::-1])


def test_runs_of_4_bits_with_jumps(tmp_path):
    palette = np.random.default_rng(1).integers(0, 256, (16, 4)).astype(np.uint8)
    data = bytes([5, 0x12, 0, 0, 0, 2, 1, 1, 2, 0x34, 0, 3, 0x56, 0x70, 0, 1])
    path = handmade(tmp_path / "a.bmp", 4, 2, data, b"", palette.tobytes())
    indices = [[0, 3, 4, 5, 6], [0] * 5, [1, 2, 1, 2, 1]]
    np.testing.assert_array_equal(read(path)[0].pixels[0], palette[indices][..., 2::-1])


def test_more_pixels_than_the_runs_can_hold_take_no_memory(tmp_path):
    path = handmade(tmp_path / "a.bmp", 8, 1, bytes([0, 1]), b"", bytes(1024), size=(30_000, 30_000))
    assert refusal(path).code == "damaged"
