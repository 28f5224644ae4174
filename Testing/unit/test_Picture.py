import zlib

import imagecodecs
import numpy as np
import PIL.Image
import pytest
from RealTimeImagingLib.Formats import openImageFile
from RealTimeImagingLib.Model.Frame import pictureToRAS
from unit.readers import assertSame, read, refusal

GREY = np.arange(20 * 30).reshape(20, 30)
RGB = np.random.default_rng(1).integers(0, 255, (20, 30, 3)).astype(np.uint8)


def written(path, picture, **options):
    picture.save(path, **options)
    return path


def test_row_0_is_on_top_and_the_centre_at_the_origin(tmp_path):
    (image,) = read(written(tmp_path / "a.png", PIL.Image.fromarray(RGB), dpi=(300, 300)))
    np.testing.assert_array_equal(image.pixels[0], RGB)
    np.testing.assert_array_equal(image.ijkToRAS, pictureToRAS(30, 20))
    assert image.ijkToRAS[1, 1] < 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey(tmp_path, dtype):
    grey = (GREY * (100 if dtype is np.uint16 else 1)).astype(dtype)
    (image,) = read(written(tmp_path / "a.png", PIL.Image.fromarray(grey)))
    assert image.pixels.dtype == dtype
    np.testing.assert_array_equal(image.pixels[0], grey)


@pytest.mark.parametrize(
    ("mode", "shape"),
    [("1", ()), ("L", ()), ("P", (3,)), ("LA", (4,)), ("RGB", (3,)), ("RGBA", (4,))],
)
def test_the_kinds_of_png(tmp_path, mode, shape):
    picture = PIL.Image.fromarray(RGB).convert(mode)
    (image,) = read(written(tmp_path / "a.png", picture))
    assert image.pixels.shape == (1, 20, 30, *shape)
    shown = picture.convert({(): "L", (3,): "RGB", (4,): "RGBA"}[shape])
    np.testing.assert_array_equal(image.pixels[0], np.asarray(shown))


def test_a_palette_that_is_missing_is_refused(tmp_path):
    PIL.Image.new("P", (4, 3)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    begin, end = data.index(b"PLTE") - 4, data.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(data[:begin] + data[end:])
    assert "palette" in str(refusal(tmp_path / "a.png"))


def test_a_transparent_palette_is_rgba(tmp_path):
    path = written(tmp_path / "a.png", PIL.Image.fromarray(RGB).convert("P"), transparency=3)
    assert read(path)[0].pixels.shape == (1, 20, 30, 4)


@pytest.mark.parametrize(("mode", "shape"), [("L", ()), ("RGB", (3,)), ("CMYK", (3,))])
@pytest.mark.parametrize("progressive", [False, True])
def test_the_kinds_of_jpeg(tmp_path, mode, shape, progressive):
    path = written(tmp_path / "a.jpg", PIL.Image.fromarray(RGB).convert(mode), progressive=progressive)
    (image,) = read(path)
    assert image.pixels.shape == (1, 20, 30, *shape)
    shown = PIL.Image.open(path).convert("RGB" if shape else "L")
    np.testing.assert_array_equal(image.pixels[0], np.asarray(shown))


def test_the_orientation_in_exif_is_applied(tmp_path):
    picture = PIL.Image.fromarray(RGB)
    exif = picture.getexif()
    exif[0x0112] = 6
    (image,) = read(written(tmp_path / "a.jpg", picture, exif=exif, quality=100, subsampling=0))
    assert image.pixels.shape == (1, 30, 20, 3)
    assert np.abs(image.pixels[0].astype(int) - np.rot90(RGB, -1)).mean() < 3


def test_a_thumbnail_does_not_end_the_picture(tmp_path):
    path = written(tmp_path / "a.jpg", PIL.Image.fromarray(RGB))
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + (2 + len(data)).to_bytes(2, "big") + data + data[2:-2])
    assert openImageFile(str(path)).missing() is not None


def test_a_picture_above_the_limit_is_refused_before_it_is_decoded(tmp_path):
    for suffix in (".png", ".jpg"):
        path = written(tmp_path / ("a" + suffix), PIL.Image.fromarray(RGB))
        assert refusal(path, limit=2000).code == "too-large"


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_colours_of_16_bits_are_exact(tmp_path, samples):
    array = np.random.default_rng(1).integers(0, 65536, (20, 30, samples)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(array))
    (image,) = read(tmp_path / "a.png")
    assert image.pixels.dtype == np.uint16
    np.testing.assert_array_equal(image.pixels[0], array if samples > 2 else array[..., [0, 0, 0, 1]])


def test_what_says_nothing_of_the_pixels_may_be_damaged(tmp_path):
    path = written(tmp_path / "a.png", PIL.Image.fromarray(RGB))
    data = path.read_bytes()
    chunk = (5).to_bytes(4, "big") + b"iCCPxxxxx" + bytes(4)  # its checksum is wrong
    path.write_bytes(data[:33] + chunk + data[33:])
    np.testing.assert_array_equal(read(path)[0].pixels[0], RGB)


def jpegWith(path, change):
    """A JPEG file with its segments changed: ``change`` gets and gives a list of bytes, SOI first, the scan last."""
    written(path, PIL.Image.fromarray(RGB), quality=95)
    expected = read(path)
    data, pieces, at = path.read_bytes(), [], 2
    while data[at + 1] != 0xDA:
        length = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        pieces.append(data[at : at + length])
        at += length
    path.write_bytes(b"".join(change([data[:2], *pieces, data[at:]])))
    return path, expected


JUNK = bytes(range(256))


@pytest.mark.parametrize(
    "change",
    [
        lambda pieces: [part for piece in pieces for part in (piece, JUNK)],
        lambda pieces: [part for piece in pieces for part in (piece, b"\xff" * 300)],
        lambda pieces: [pieces[0], b"\xff\x00" * 300, *pieces[1:]],
        lambda pieces: [pieces[0], b"\xff\xe0\x00\x02", *pieces[1:]],
        lambda pieces: [pieces[0], b"\xff\xe1\x00\x10Exif\x00\x00damaged!", *pieces[1:]],
        lambda pieces: [pieces[0], b"\xff\xe2\x00\x0fMPF\x00damaged!!", *pieces[1:]],
        lambda pieces: [pieces[0], b"\xff\xee\x00\x08Adobe\x00", *pieces[1:]],
    ],
)
def test_junk_between_segments_and_in_those_of_other_programs_is_passed_over(tmp_path, change):
    path, expected = jpegWith(tmp_path / "a.jpg", change)
    assertSame(read(path), expected)


@pytest.mark.parametrize(
    ("mark", "precision", "code"),
    [
        (0xC3, 8, "unsupported"),
        (0xC3, 16, "unsupported"),
        (0xF7, 8, "unsupported"),
        (0xC5, 8, "unsupported"),
        (0xC1, 12, "unsupported"),
    ],
)
def test_kinds_of_jpeg_that_are_not_read_are_named(tmp_path, mark, precision, code):
    path = tmp_path / "a.jpg"
    written(path, PIL.Image.fromarray(RGB))
    data = path.read_bytes()
    at = data.index(b"\xff\xc0")
    path.write_bytes(data[:at] + bytes([0xFF, mark]) + data[at + 2 : at + 4] + bytes([precision]) + data[at + 5 :])
    error = refusal(path)
    assert (error.code, "not supported" in str(error)) == (code, True)


def test_an_mpo_is_its_first_picture(tmp_path):
    picture = PIL.Image.fromarray(RGB)
    path = tmp_path / "a.jpg"
    picture.save(path, "MPO", save_all=True, append_images=[PIL.Image.fromarray(RGB[::-1])])
    (image,) = read(path)
    np.testing.assert_array_equal(image.pixels[0], np.asarray(PIL.Image.open(path).convert("RGB")))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_more_pixels_than_the_file_can_hold_take_no_memory(tmp_path, suffix):
    path = written(tmp_path / ("a" + suffix), PIL.Image.fromarray(RGB))
    data = bytearray(path.read_bytes())
    if suffix == ".png":
        data[16:24] = (30_000).to_bytes(4, "big") * 2
        data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    else:
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = (40_000).to_bytes(2, "big") * 2
    path.write_bytes(data)
    error = refusal(path)
    assert (error.code, "cannot hold" in str(error)) == ("damaged", True)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_another_beginning_is_refused(tmp_path, suffix):
    (tmp_path / ("a" + suffix)).write_bytes(b"text, no picture")
    assert refusal(tmp_path / ("a" + suffix)).code == "not-an-image"


def test_damaged_data_are_refused(tmp_path):
    path = written(tmp_path / "a.png", PIL.Image.fromarray(RGB))
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    assert refusal(path).code == "damaged"


def test_a_lossless_jpeg_is_exact_where_it_can_be_decoded(tmp_path):
    (tmp_path / "a.jpg").write_bytes(imagecodecs.jpeg_encode(RGB, lossless=True))
    try:
        PIL.Image.open(tmp_path / "a.jpg").load()
    except OSError:
        assert refusal(tmp_path / "a.jpg").code == "unsupported"
        return
    np.testing.assert_array_equal(read(tmp_path / "a.jpg")[0].pixels[0], RGB)
