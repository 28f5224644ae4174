"""Temporal SNR, difference, average and spatial filter, each against the formula computed with numpy and SimpleITK."""

import numpy as np
import pytest
import SimpleITK as sitk
from RealTimeImagingLib.Model.Errors import SettingsError
from RealTimeImagingLib.Processing.BuiltIn.Averaging import Averaging, AveragingParameters
from RealTimeImagingLib.Processing.BuiltIn.Difference import Difference, DifferenceParameters
from RealTimeImagingLib.Processing.BuiltIn.SpatialFilter import FilterParameters, SpatialFilter, blockOf
from RealTimeImagingLib.Processing.BuiltIn.TemporalSNR import TemporalSNR, TemporalSNRParameters
from scipy import ndimage
from unit.processing import frame, head, oblique, realSeries, writeVolume


def started(function, parameters, first):
    function.setup(parameters, first)
    return function


def noisy(count, shape=(6, 12, 10), dtype=np.int16, seed=5):
    random = np.random.default_rng(seed)
    base = random.uniform(0, 2000, shape)
    return [frame(random.normal(base, 30).astype(dtype), number=number) for number in range(count)]


# ---- temporal SNR


@pytest.mark.parametrize("dtype", [np.int16, np.float64, np.uint8])
def test_300_volumes_equal_numpy_to_rounding(dtype):
    frames = noisy(300, dtype=dtype)
    stack = np.stack([one.pixels for one in frames]).astype(np.longdouble)
    mean, deviation = stack.mean(0), stack.std(0, ddof=1)
    function = started(TemporalSNR(), TemporalSNRParameters(map="mean"), frames[0])
    for one in frames:
        result = function.process(one)
    tolerance = 2e-15 if dtype == np.float64 else 1e-7
    np.testing.assert_allclose(result.pixels, mean.astype(float), rtol=tolerance, atol=1e-12)
    # The statistics themselves are float64, whatever the type of the map.
    np.testing.assert_allclose(function._mean, mean.astype(float), rtol=2e-15, atol=1e-12)
    np.testing.assert_allclose(function._squares, (deviation**2 * 299).astype(float), rtol=1e-12, atol=1e-9)
    ratio = np.divide(mean, deviation, out=np.zeros_like(mean), where=deviation > 0)
    brain = mean > 0.25 * np.percentile(mean.astype(float), 98)
    assert result.values["Median tSNR"] == pytest.approx(float(np.median(ratio[brain])), rel=1e-12)


def test_a_large_offset_does_not_spoil_the_variance():
    values = 1e9 + np.arange(300) % 7
    function = TemporalSNR()
    for number, value in enumerate(values):
        function.process(frame(np.full((2, 2, 2), value), number=number))
    np.testing.assert_allclose(function._squares / 299, np.var(np.arange(300) % 7, ddof=1), rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "compute"),
    [
        ("sd", lambda s: s.std(0, ddof=1)),
        ("mean", lambda s: s.mean(0)),
        ("tsnr", lambda s: s.mean(0) / s.std(0, ddof=1)),
    ],
)
def test_each_map_with_skipped_volumes(name, compute):
    frames = noisy(20)
    function = started(TemporalSNR(), TemporalSNRParameters(map=name, skip=4), frames[0])
    results = [function.process(one) for one in frames]
    assert results[:4] == [None] * 4
    assert (results[4] is None) == (name != "mean")
    for number in (6, 19):
        stack = np.stack([one.pixels for one in frames[4 : number + 1]]).astype(float)
        np.testing.assert_allclose(results[number].pixels, compute(stack), rtol=1e-6)
        assert results[number].attributes == {"Volumes": str(number - 3)}


def test_another_map_keeps_the_statistics_and_another_start_does_not():
    frames = noisy(12)
    function = started(TemporalSNR(), TemporalSNRParameters(), frames[0])
    for one in frames[:6]:
        function.process(one)
    function.setup(TemporalSNRParameters(map="sd"), frames[6])
    assert function.process(frames[6]).attributes == {"Volumes": "7"}
    function.setup(TemporalSNRParameters(map="sd", skip=2), frames[7])
    assert function.process(frames[7]) is None
    assert function.count == 1


def test_a_new_geometry_starts_anew():
    frames = noisy(6)
    function = started(TemporalSNR(), TemporalSNRParameters(map="mean"), frames[0])
    for one in frames[:4]:
        function.process(one)
    moved = frame(frames[4].pixels, np.diag([2.0, 2, 2, 1]), 4)
    assert function.process(moved).attributes == {"Volumes": "1"}
    smaller = frame(frames[4].pixels[:3], np.diag([2.0, 2, 2, 1]), 5)
    assert function.process(smaller).pixels.shape == (3, 12, 10)


def test_a_voxel_without_variation_is_0_and_one_that_was_no_number_is_NaN():
    function = TemporalSNR()
    for number, value in enumerate([1.0, np.nan, 3.0, np.inf, 2.0]):
        result = function.process(frame([[[value, 5.0, number + 1]]], number=number))
    assert np.isnan(result.pixels[0, 0, 0])
    assert result.pixels[0, 0, 1] == 0
    assert result.pixels[0, 0, 2] == pytest.approx(3 / np.std([1, 2, 3, 4, 5], ddof=1))
    assert np.isfinite(result.values["Median tSNR"])
    nothing = TemporalSNR()
    for number in range(2):
        result = nothing.process(frame(np.full((1, 2, 2), np.nan), number=number))
    assert np.isnan(result.values["Median tSNR"])


def test_tSNR_of_a_real_series():
    series = realSeries()
    function = started(TemporalSNR(), TemporalSNRParameters(), series[0])
    for one in series:
        result = function.process(one)
    stack = np.stack([one.pixels for one in series]).astype(float)
    deviation = stack.std(0, ddof=1)
    expected = np.divide(stack.mean(0), deviation, out=np.zeros(deviation.shape), where=deviation > 0)
    np.testing.assert_allclose(result.pixels, expected, rtol=1e-6)
    mean = stack.mean(0)
    brain = mean > 0.25 * np.percentile(mean, 98)
    assert result.values["Median tSNR"] == pytest.approx(np.median(expected[brain]))
    assert 20 < result.values["Median tSNR"] < 300


# ---- difference


def test_the_difference_to_a_chosen_image():
    frames = noisy(6, dtype=np.uint16)
    function = started(Difference(), DifferenceParameters(number=2), frames[0])
    results = [function.process(one) for one in frames]
    assert results[:2] == [None, None]
    assert not results[2].pixels.any()
    for one, result in zip(frames[3:], results[3:], strict=True):
        expected = one.pixels.astype(int) - frames[2].pixels.astype(int)
        np.testing.assert_array_equal(result.pixels, expected)
        assert result.pixels.dtype == np.float32
        assert result.values["RMS difference"] == pytest.approx(np.sqrt((expected**2).mean()))
        assert result.values["Mean difference"] == pytest.approx(expected.mean())


def test_the_difference_in_percent_where_the_reference_is_0():
    first, second = frame([[[0, 10, 200]]], number=0), frame([[[5, 15, 100]]], number=1)
    function = started(Difference(), DifferenceParameters(percent=True), first)
    function.process(first)
    np.testing.assert_array_equal(function.process(second).pixels, [[[0, 50, -50]]])


def test_a_change_of_the_unit_keeps_the_reference_and_another_number_does_not():
    frames = noisy(4)
    function = started(Difference(), DifferenceParameters(), frames[0])
    function.process(frames[0])
    function.setup(DifferenceParameters(percent=True), frames[1])
    assert function.process(frames[1]).pixels.any()
    function.setup(DifferenceParameters(percent=True, number=2), frames[2])
    assert not function.process(frames[2]).pixels.any()


def test_the_difference_to_a_file_with_another_geometry(tmp_path):
    """The reference is a ramp in space, which linear interpolation keeps."""
    reference, target = (
        oblique((2, 2, 2), origin=(30, -30, -20)),
        oblique((1.7, 2.4, 3), angles=(3, 7, -9), origin=(20, -20, -9)),
    )

    def ramp(shape, ijkToRAS):
        k, j, i = np.indices(shape)
        return (np.stack([i, j, k, np.ones(shape)], -1) @ ijkToRAS.T)[..., :3] @ (1.0, -2.0, 3.0)

    path = writeVolume(tmp_path / "reference.nrrd", ramp((20, 30, 30), reference), reference)
    one = frame(ramp((8, 12, 14), target) + 5, target)
    function = started(Difference(), DifferenceParameters(file=path), one)
    result = function.process(one)
    toReference = np.linalg.inv(reference) @ target
    k, j, i = np.indices(one.pixels.shape)
    index = (np.stack([i, j, k, np.ones(i.shape)], -1) @ toReference.T)[..., 2::-1]
    inner = ((index >= 0) & (index <= np.array((20, 30, 30)) - 1)).all(-1)
    outer = ~((index > -0.5) & (index < np.array((20, 30, 30)) - 0.5)).all(-1)
    assert inner.sum() > 100
    assert outer.sum() > 100
    np.testing.assert_allclose(result.pixels[inner], 5, atol=1e-9)
    assert not result.pixels[outer].any()


def test_NaN_stays_NaN_and_does_not_count(tmp_path):
    first, second = frame([[[1.0, np.nan, 2.0]]]), frame([[[3.0, 1.0, np.inf]]], number=1)
    function = started(Difference(), DifferenceParameters(), first)
    function.process(first)
    result = function.process(second)
    assert np.isnan(result.pixels[0, 0, 1])
    assert result.values == {"Mean difference": 2, "RMS difference": 2}


def test_a_reference_that_is_no_volume_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.nrrd cannot be read"):
        Difference().setup(DifferenceParameters(file=str(tmp_path / "none.nrrd")), frame(np.zeros((1, 1, 1))))
    path = writeVolume(tmp_path / "colour.nrrd", np.zeros((2, 3, 4, 3), np.uint8), np.eye(4), vector=True)
    with pytest.raises(SettingsError, match="one value a voxel"):
        Difference().setup(DifferenceParameters(file=path), frame(np.zeros((1, 1, 1))))


# ---- average


@pytest.mark.parametrize("count", [1, 4, 7])
def test_the_mean_of_the_last_images(count):
    frames = noisy(12)
    function = started(Averaging(), AveragingParameters(count=count), frames[0])
    for number, one in enumerate(frames):
        result = function.process(one)
        kept = np.stack([each.pixels for each in frames[max(0, number + 1 - count) : number + 1]])
        np.testing.assert_allclose(result.pixels, kept.mean(0), rtol=1e-7)
        assert result.attributes == {"Averages": str(len(kept))}


@pytest.mark.parametrize("count", [1, 5])
def test_the_exponential_average(count):
    frames = noisy(12)
    function = started(Averaging(), AveragingParameters(method="exponential", count=count), frames[0])
    expected = frames[0].pixels.astype(float)
    for number, one in enumerate(frames):
        result = function.process(one)
        if number:
            expected = (1 - 1 / count) * expected + one.pixels / count
        np.testing.assert_allclose(result.pixels, expected, rtol=1e-6)


def test_colour_keeps_its_type_in_an_average():
    frames = [frame(np.full((1, 2, 2, 3), value, np.uint8), number=n) for n, value in enumerate((10, 13, 15))]
    function = started(Averaging(), AveragingParameters(count=3), frames[0])
    results = [function.process(one).pixels for one in frames]
    assert results[2].dtype == np.uint8
    assert (results[2] == 13).all()


def test_NaN_leaves_the_average_with_its_image():
    frames = [frame([[[value, 1.0]]], number=n) for n, value in enumerate((2.0, np.nan, 4.0, 6.0))]
    function = started(Averaging(), AveragingParameters(count=2), frames[0])
    results = [function.process(one).pixels[0, 0] for one in frames]
    np.testing.assert_array_equal(results, [[2, 1], [np.nan, 1], [np.nan, 1], [5, 1]])
    function = started(Averaging(), AveragingParameters(method="exponential", count=2), frames[0])
    results = [function.process(one).pixels[0, 0] for one in frames]
    np.testing.assert_array_equal(results, [[2, 1], [2, 1], [3, 1], [4.5, 1]])


# ---- spatial filter


def filtered(one, **parameters):
    return started(SpatialFilter(), FilterParameters(**parameters), one).process(one).pixels


def test_the_gaussian_filter_has_its_sigma_in_millimetres():
    """The second moment of a filtered point is sigma squared, along each axis of an oblique grid."""
    matrix = oblique((1.0, 1.5, 2.0))
    pixels = np.zeros((31, 41, 61), np.float64)
    pixels[15, 20, 30] = 1
    result = filtered(frame(pixels, matrix), sigma=4.0)
    assert result.sum() == pytest.approx(1)
    for axis, (spacing, at) in enumerate(((2.0, 15), (1.5, 20), (1.0, 30))):
        profile = result.sum(tuple({0, 1, 2} - {axis}))
        distance = (np.arange(len(profile)) - at) * spacing
        assert (profile * distance**2).sum() == pytest.approx(16, rel=0.005)


def test_the_gaussian_filter_equals_a_convolution():
    pixels = np.random.default_rng(0).normal(100, 30, (7, 9, 8))
    expected = pixels
    for axis, sigma in enumerate((1.0, 2.0, 4.0)):
        reach = int(4 * sigma + 0.5)
        kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
        padded = np.pad(expected, [(reach, reach) if one == axis else (0, 0) for one in range(3)], mode="edge")
        expected = np.apply_along_axis(np.convolve, axis, padded, kernel / kernel.sum(), "valid")
    np.testing.assert_allclose(filtered(frame(pixels, np.diag([0.5, 1, 2, 1.0])), sigma=2.0), expected, rtol=1e-12)


def test_the_median_filter_equals_SimpleITKs():
    pixels = head((12, 32, 32), noise=40)
    expected = sitk.GetArrayFromImage(sitk.Median(sitk.GetImageFromArray(pixels), (1, 1, 1)))
    result = filtered(frame(pixels, np.diag([2.0, 2, 2, 1])), filter="median", size=6.0)
    assert result.dtype == pixels.dtype
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(("size", "expected"), [(6, (1, 3, 5)), (0, (1, 1, 1)), (12, (3, 7, 9))])
def test_the_block_is_as_near_to_the_size_as_odd_numbers_are(size, expected):
    spacing = np.array((4.0, 1.8, 1.3))
    assert blockOf(size, spacing, (9, 99, 99)) == expected
    assert blockOf(size, spacing, (1, 99, 99)) == (1, *expected[1:])


def test_a_slice_is_filtered_in_its_plane():
    pixels = np.random.default_rng(2).normal(0, 1, (1, 12, 12))
    expected = ndimage.gaussian_filter(pixels[0], 2.0, mode="nearest")
    np.testing.assert_allclose(filtered(frame(pixels), sigma=2.0)[0], expected)


@pytest.mark.parametrize("filter", ["gaussian", "median"])
def test_a_filter_passes_over_values_that_are_no_numbers(filter):
    pixels = np.random.default_rng(4).normal(50, 5, (5, 8, 8))
    pixels[2, 3, 4] = np.nan
    pixels[1, 6, 6] = np.inf
    result = filtered(frame(pixels), filter=filter, sigma=1.0, size=3.0)
    bad = ~np.isfinite(pixels)
    assert np.isnan(result[bad]).all()
    assert np.isfinite(result[~bad]).all()
    if filter == "median":
        expected = np.nanmedian(np.where(np.isfinite(pixels), pixels, np.nan)[1:4, 2:5, 4:7])
        assert result[2, 3, 5] == expected
    # Neighbours do not become darker or brighter.
    even = filtered(frame(np.where(bad, np.nan, 7.0)), filter=filter, sigma=1.0, size=3.0)
    np.testing.assert_allclose(even[~bad], 7, rtol=1e-12)


def test_a_filter_in_colour_filters_each_component():
    pixels = np.random.default_rng(1).integers(0, 255, (1, 9, 9, 3)).astype(np.uint8)
    for parameters in ({"sigma": 1.5}, {"filter": "median", "size": 3.0}):
        result = filtered(frame(pixels), **parameters)
        assert result.dtype == np.uint8
        for component in range(3):
            alone = filtered(frame(pixels[..., component].astype(np.float32)), **parameters)
            np.testing.assert_array_equal(result[..., component], np.rint(alone))


def test_sigma_0_changes_nothing():
    pixels = head((6, 12, 12))
    np.testing.assert_array_equal(filtered(frame(pixels), sigma=0.0), pixels)
