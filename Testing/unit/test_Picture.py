import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from RealTimeImagingLib.Frame import pictureToRAS
from RealTimeImagingLib.Readers import openImageFile
from unit.settling import assertGrows, assertHarmless, assertMissingWhenCut, assertSame, mutated, read, refusal

some = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_bytes_after_the_end_do_not_matter(tmp_path, suffix):
    path = written(tmp_path / ("a" + suffix), PIL.Image.fromarray(RGB))
    expected = read(path)
    path.write_bytes(path.read_bytes() + bytes(9))
    assertSame(read(path), expected)


def test_a_picture_above_the_limit_is_refused_before_it_is_decoded(tmp_path):
    for suffix in (".png", ".jpg"):
        path = written(tmp_path / ("a" + suffix), PIL.Image.fromarray(RGB))
        assert refusal(path, limit=2000).code == "too-large"


def test_colours_of_16_bits_are_refused_rather_than_halved(tmp_path):
    path = written(tmp_path / "a.png", PIL.Image.fromarray(RGB))
    data = bytearray(path.read_bytes())
    data[24] = 16
    path.write_bytes(data)
    assert refusal(path).code == "unsupported"


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


def test_the_end_mark_proves_that_a_picture_is_whole(tmp_path):
    reader = openImageFile(str(written(tmp_path / "a.png", PIL.Image.fromarray(RGB))))
    assert reader.missing() is None
    assert reader.sealed


@some
@given(cut=st.floats(0, 1, exclude_max=True), suffix=st.sampled_from([".png", ".jpg"]))
def test_a_cut_file_is_never_taken_for_whole(tmp_path, cut, suffix):
    path = written(tmp_path / ("a" + suffix), PIL.Image.fromarray(RGB))
    assertMissingWhenCut(path, int(cut * path.stat().st_size))


@some
@given(pieces=st.lists(st.integers(1, 300), max_size=12), suffix=st.sampled_from([".png", ".jpg"]))
def test_a_growing_file_is_read_once_it_is_whole(tmp_path, pieces, suffix):
    assertGrows(written(tmp_path / ("a" + suffix), PIL.Image.fromarray(RGB)), pieces)


@some
@given(
    changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=6),
    suffix=st.sampled_from([".png", ".jpg"]),
)
def test_hostile_bytes_do_no_harm(tmp_path, changes, suffix):
    data = written(tmp_path / ("a" + suffix), PIL.Image.fromarray(RGB)).read_bytes()
    assertHarmless(tmp_path / ("b" + suffix), mutated(data, changes))
