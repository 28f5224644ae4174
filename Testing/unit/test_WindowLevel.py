import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from RealTimeImagingLib.Model.Frame import SCALAR_TYPES
from RealTimeImagingLib.Scene.WindowLevel import SAMPLES, FirstImages, windowLevel
from unit.clocks import Clock

anything = arrays.arrays(st.sampled_from(SCALAR_TYPES), arrays.array_shapes(min_dims=3, max_dims=4, max_side=6))


@given(anything)
def test_it_is_finite_and_spans_something_or_there_is_none(pixels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = windowLevel(pixels)
    values = pixels[np.isfinite(pixels)]
    if values.size == 0 or values.min() == values.max():
        assert found is None
    elif found:
        window, level = found
        assert math.isfinite(window)
        assert math.isfinite(level)
        assert window > 0
        assert values.min() <= level <= values.max()


@given(anything, st.data())
def test_how_the_values_lie_in_memory_makes_no_difference(pixels, data):
    expected = windowLevel(pixels)
    wide = np.zeros((*pixels.shape[:-1], 2 * pixels.shape[-1]), pixels.dtype)
    wide[..., ::2] = pixels
    assert windowLevel(wide[..., ::2]) == expected
    assert windowLevel(np.asfortranarray(pixels)) == expected
    assert windowLevel(pixels[:, ::-1][:, ::-1]) == expected


@pytest.mark.parametrize("dtype", SCALAR_TYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 60, 50), (64, 64, 64)])
def test_an_image_of_one_value_has_none(dtype, shape):
    assert windowLevel(np.full(shape, 7, dtype)) is None


@pytest.mark.parametrize("empty", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_passed_over(empty):
    pixels = np.full((10, 20, 30), empty, np.float32)
    assert windowLevel(pixels) is None
    pixels[::2] = np.linspace(0, 100, 20 * 30).reshape(20, 30)
    assert windowLevel(pixels) == pytest.approx((100, 50), rel=0.01)


def test_a_ramp_is_spanned():
    pixels = np.arange(64 * 64 * 64, dtype=np.int32).reshape(64, 64, 64)
    assert windowLevel(pixels) == pytest.approx((64**3 * 0.998, 64**3 / 2), rel=0.002)


def test_a_few_wild_values_do_not_make_the_image_flat():
    pixels = np.random.default_rng(1).integers(0, 1000, (40, 100, 100)).astype(np.float32)
    pixels[0, 0, :5] = 1e6
    window, level = windowLevel(pixels)
    assert (window, level) == pytest.approx((998, 500), rel=0.02)


def test_a_thing_that_is_smaller_than_the_outermost_thousandth_is_spanned():
    """0.1 % would cut it off: then all values count."""
    pixels = np.zeros((1, 100, 100), np.uint8)
    pixels[0, 50, 50] = 200
    assert windowLevel(pixels) == (200, 100)


@pytest.mark.parametrize("side", [181, 256, 512, 1024])
def test_large_images_are_sampled_in_all_columns_and_rows(side):
    """A step that divides the width would walk along a few columns, and see none of the others."""
    pixels = np.zeros((4, side, side), np.int16)
    pixels[:, :, 1::2] = 100
    assert windowLevel(pixels) == (100, 50)
    pixels[:] = 0
    pixels[:, :, : side // 2] = 30
    assert windowLevel(pixels) == (30, 15)
    pixels[:] = 0
    pixels[:, : side // 2] = 40
    assert windowLevel(pixels) == (40, 20)


def test_the_work_does_not_grow_with_the_image():
    """Of 64 million values, broadcast from one slice, only the sample is touched."""
    pixels = np.random.default_rng(2).integers(0, 100, (1, 2000, 2000)).astype(np.uint8)
    step = pixels.size // SAMPLES
    marked = pixels.copy()
    found = windowLevel(pixels)
    # Change all values between two samples: the result depends on the sample alone.
    marked.reshape(-1)[:] = 255
    while math.gcd(step, pixels.size) > 1:
        step += 1
    marked.reshape(-1)[::step] = pixels.reshape(-1)[::step]
    assert windowLevel(marked) == found


@pytest.mark.parametrize("low", [-1.7e308, 0.0])
def test_the_largest_numbers_there_are_do_no_harm(low):
    pixels = np.full((2, 3, 4), 1.7e308)
    pixels[0] = low
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        window, level = windowLevel(pixels)
    assert 0 < window < math.inf
    assert math.isfinite(level)


@pytest.mark.parametrize("components", [3, 4])
def test_colour_is_taken_as_values(components):
    pixels = np.zeros((1, 10, 10, components), np.uint8)
    pixels[..., 0] = 250
    assert windowLevel(pixels) == (250, 125)


@pytest.fixture
def seconds():
    return Clock(now=0.0)


@pytest.fixture
def first(seconds):
    return FirstImages(seconds)


def give(first, seconds, images):
    """Show images, (seconds, low, high) each; the (low, high) that the view has after each."""
    current, seen = (1.0, 0.5), []
    for seconds.now, low, high in images:
        if first.wanted(current):
            current = first.add((high - low, (high + low) / 2))
            first.isSet(current)
        seen.append((current[1] - current[0] / 2, current[1] + current[0] / 2))
    return seen


def test_a_nearly_black_first_image_does_not_stay(first, seconds):
    seen = give(first, seconds, [(0.0, 0, 2), (0.1, 0, 1000), (0.2, 0, 900), (5.0, 0, 4000), (6.0, 0, 5000)])
    assert seen[0] == (0, 2)
    assert seen[1] == (0, 1000)
    assert 900 <= seen[2][1] <= 1000
    assert seen[3] == seen[4] == seen[2]


@pytest.mark.parametrize("odd", [(0, 2), (0, 1e9), (-1e9, 1e9), (900, 1000)])
@pytest.mark.parametrize("place", range(6))
def test_one_odd_image_among_several_counts_little(odd, place, first, seconds):
    images = [(0.1 * number, 0, 1000) for number in range(6)]
    images[place] = (0.1 * place, *odd)
    assert give(first, seconds, images)[-1] == (0, 1000)


def test_a_slow_stream_has_a_second_image(first, seconds):
    seen = give(first, seconds, [(0.0, 0, 2), (5.0, 0, 1000), (10.0, 0, 9)])
    assert seen[1:] == [(0, 1000), (0, 1000)]


def test_black_until_the_shutter_opens(first, seconds):
    images = [(number / 20, 0, 2 if number < 13 else 1000) for number in range(60)]
    assert give(first, seconds, images)[-1] == (0, 1000)


def test_a_change_by_the_user_ends_it(first, seconds):
    give(first, seconds, [(0.0, 0, 100)])
    assert not first.wanted((42.0, 21.0))
    assert not first.wanted((100.0, 50.0))
    first.restart()
    assert first.wanted((42.0, 21.0))


def test_automatic_window_of_the_user_ends_it(first, seconds):
    give(first, seconds, [(0.0, 0, 100)])
    assert not first.wanted(None)
