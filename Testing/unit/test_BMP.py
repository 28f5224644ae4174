import struct

import numpy as np
import PIL.Image
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from RealTimeImagingLib.Frame import pictureToRAS
from RealTimeImagingLib.Readers import openImageFile
from unit.settling import (
    assertGrows,
    assertHarmless,
    assertMissingWhenCut,
    assertSame,
    assertSentence,
    mutated,
    read,
    refusal,
)

some = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


def test_a_bmp_file_proves_nothing(tmp_path):
    reader = openImageFile(str(written(tmp_path / "a.bmp")))
    assert reader.missing() is None
    assert not reader.sealed


def test_bytes_after_the_rows_do_not_matter(tmp_path):
    path = written(tmp_path / "a.bmp")
    expected = read(path)
    path.write_bytes(path.read_bytes() + bytes(9))
    assertSame(read(path), expected)


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


@some
@given(cut=st.floats(0, 1, exclude_max=True), kind=st.sampled_from(["1", "L", "RGB", "RGBA", "runs"]))
def test_a_cut_file_is_never_taken_for_whole(tmp_path, cut, kind):
    path = runs(tmp_path / "a.bmp") if kind == "runs" else written(tmp_path / "a.bmp", kind)
    assertMissingWhenCut(path, int(cut * path.stat().st_size))


@some
@given(pieces=st.lists(st.integers(1, 300), max_size=12), kind=st.sampled_from(["1", "L", "RGB", "RGBA", "runs"]))
def test_a_growing_file_is_read_once_it_is_whole(tmp_path, pieces, kind):
    assertGrows(runs(tmp_path / "a.bmp") if kind == "runs" else written(tmp_path / "a.bmp", kind), pieces)


@some
@given(changes=st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 255)), max_size=6), packed=st.booleans())
def test_hostile_bytes_do_no_harm(tmp_path, changes, packed):
    data = (runs(tmp_path / "a.bmp") if packed else written(tmp_path / "a.bmp", "P")).read_bytes()
    assertHarmless(tmp_path / "b.bmp", mutated(data, changes))
