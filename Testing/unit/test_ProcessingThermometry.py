"""PRF thermometry on a phantom with known temperature, drift and noise, and thermal dose against the formula."""

import itertools
import math

import numpy as np
import pytest
from RealTimeImagingLib.Model.Errors import FrameError, SettingsError
from RealTimeImagingLib.Processing.BuiltIn.PRFThermometry import PRFThermometry, ThermometryParameters
from unit.processing import frame, oblique

SHAPE = (5, 40, 48)
MATRIX = oblique((1.5, 1.5, 4), origin=(30, -30, -10))
B0, TE, ALPHA = 1.5, 16.0, -0.01
DEGREES_TO_RADIANS = 2 * math.pi * 42.577478518 * ALPHA * B0 * TE * 1e-3
"""gamma in MHz/T times alpha in ppm/degC: Hz/T/degC."""
SEQUENCE = {"fieldStrength": B0, "echoTime": TE}


def grid():
    """Index coordinates of all voxels, and the distance from the focus in voxels."""
    k, j, i = np.indices(SHAPE, float)
    return k, j, i, np.sqrt((2 * (k - 2)) ** 2 + (j - 20) ** 2 + (i - 24) ** 2)


def heating(count=12, peak=25.0):
    """Temperature rise of each image: a focus that heats up and cools down; the border stays cold."""
    distance = grid()[3]
    rise = [peak * math.sin(math.pi * number / (count - 1)) for number in range(count)]
    return [height * np.exp(-(distance**2) / 30) * (distance < 14) for height in rise]


def drift(number, plane=True):
    """Phase drift in radians, more than a turn at the end."""
    k, j, i, _distance = grid()
    slope = 0.002 * (i - 20) - 0.003 * (j - 10) + 0.02 * k if plane else 0
    return number * (0.6 + slope)


def place(k, j, i):
    return (MATRIX @ [i, j, k, 1])[:3]


def sphere(name, k, j, i, radius):
    return "{}: sphere {:.6f} {:.6f} {:.6f} {}".format(name, *place(k, j, i), radius)


REFERENCE = tuple(
    sphere(f"Ref{n}", k, j, i, 5) for n, (k, j, i) in enumerate(((0, 4, 4), (4, 4, 43), (2, 35, 4), (1, 35, 43)))
)
FOCUS = sphere("Focus", 2, 20, 24, 3.1)


def phases(temperatures, drifting=None, noise=0.0, seed=0):
    """Phase of each image from -pi to pi: a fixed phase with many wraps, the temperature, drift, noise."""
    k, j, i, _distance = grid()
    random = np.random.default_rng(seed)
    made = []
    for number, rise in enumerate(temperatures):
        phase = 0.4 * i + 0.3 * j * np.sin(k) + rise * DEGREES_TO_RADIANS
        phase = phase + (drifting(number) if drifting else 0) + random.normal(0, noise, SHAPE)
        made.append(np.angle(np.exp(1j * phase)))
    return made


def run(given, seconds=3.0, attributes=None, **parameters):
    """Results of all images."""
    made = ThermometryParameters(**{**SEQUENCE, **parameters})
    function = PRFThermometry()
    frames = [
        frame(one, MATRIX, number, seconds * number, attributes(number) if attributes else None)
        for number, one in enumerate(given)
    ]
    function.setup(made, frames[0])
    return [function.process(one) for one in frames]


def test_the_constant_of_the_phantom_is_that_of_the_literature():
    """0.01 ppm/degC at 1.5 T: 0.64 Hz/degC (Rieke and Butts Pauly 2008)."""
    assert -DEGREES_TO_RADIANS / (2 * math.pi * TE * 1e-3) == pytest.approx(0.6387, abs=1e-3)
    assert ThermometryParameters(**SEQUENCE).radiansPerDegree == pytest.approx(DEGREES_TO_RADIANS, rel=1e-12)
    assert ThermometryParameters(**SEQUENCE, inverted=True).radiansPerDegree == pytest.approx(-DEGREES_TO_RADIANS)


def test_a_known_temperature_without_noise():
    truth = heating()
    for result, rise in zip(run(phases(truth)), truth, strict=True):
        assert result.pixels.dtype == np.float32
        np.testing.assert_allclose(result.pixels, rise, atol=1e-5)


@pytest.mark.parametrize(("correction", "plane"), [("mean", False), ("plane", True), ("plane", False)])
def test_a_known_temperature_with_drift(correction, plane):
    truth = heating()
    results = run(phases(truth, lambda n: drift(n, plane)), drift=correction, reference=REFERENCE)
    for result, rise in zip(results, truth, strict=True):
        assert np.abs(result.pixels - rise).max() < 0.1
    if not plane:
        assert [result.values["Drift"] for result in results] == pytest.approx(
            [0.6 * number / DEGREES_TO_RADIANS for number in range(len(truth))], abs=0.05
        )


def test_without_correction_the_drift_is_temperature():
    truth = heating(4)
    result = run(phases(truth, lambda n: drift(n, False)))[3]
    np.testing.assert_allclose(result.pixels, truth[3] + 1.8 / DEGREES_TO_RADIANS, atol=1e-4)


def test_a_temperature_of_several_turns_is_unwrapped_in_steps_below_half_a_turn():
    truth = heating(40, peak=180.0)
    assert 180 * abs(DEGREES_TO_RADIANS) > 3.6 * math.pi
    assert np.abs(run(phases(truth), coefficient=ALPHA)[20].pixels - truth[20]).max() < 1e-4


def test_noise_is_that_of_two_phases_and_less_with_more_baseline_images():
    """The temperature's standard deviation is that of a phase difference, divided by the radians a degree."""
    noise = 0.02
    for baseline, factor in ((1, math.sqrt(2)), (8, math.sqrt(1 + 1 / 8))):
        last = run(phases([np.zeros(SHAPE)] * 12, noise=noise), baseline=baseline)[-1]
        assert last.pixels.std() == pytest.approx(noise * factor / abs(DEGREES_TO_RADIANS), rel=0.03)
        assert abs(last.pixels.mean()) < 0.02


@pytest.mark.parametrize(
    ("unit", "scale", "dtype"),
    [
        ("radians", 1, np.float32),
        ("milliradians", 1000, np.int16),
        ("degrees", 180 / math.pi, np.float32),
        ("4096", 2048 / math.pi, np.int16),
        ("8192", 4096 / math.pi, np.int16),
    ],
)
def test_the_units_of_scanners(unit, scale, dtype):
    truth = heating()
    values = [one * scale for one in phases(truth)]
    if unit == "4096":
        values = [np.clip(np.rint(one + 2048), 0, 4095) for one in values]
    if unit == "8192":
        values = [np.clip(np.rint(one), -4096, 4095) for one in values]
    results = run([np.rint(one).astype(dtype) if dtype == np.int16 else one.astype(dtype) for one in values], unit=unit)
    step = 1 / scale if dtype == np.int16 else 1e-4
    for result, rise in zip(results, truth, strict=True):
        assert np.abs(result.pixels - rise).max() < 1.6 * step / abs(DEGREES_TO_RADIANS)
    assert 1.6 * step / abs(DEGREES_TO_RADIANS) < 0.1


def test_heating_shows_as_cooling_with_the_other_sign():
    truth = heating(4)
    np.testing.assert_allclose(run(phases(truth), inverted=True)[2].pixels, -truth[2], atol=1e-5)


# ---- thermal dose


def dose(temperatures, seconds):
    """CEM43 of one voxel, one interval after the other (Sapareto and Dewey 1984)."""
    total = 0.0
    for before, after in itertools.pairwise(temperatures):
        mean = (before + after) / 2
        total += (0.5 if mean >= 43 else 0.25) ** (43 - mean) * seconds / 60
    return total


def test_the_dose_is_Saparetos_at_each_voxel():
    truth = heating()
    result = run(phases(truth), show="dose", seconds=5.0)[-1]
    for voxel in ((2, 20, 24), (2, 22, 24), (1, 20, 26), (0, 0, 0)):
        expected = dose([37 + rise[voxel] for rise in truth], 5.0)
        assert result.pixels[voxel] == pytest.approx(expected, rel=1e-4)
    assert dose([37 + rise[2, 20, 24] for rise in truth], 5.0) > 1000


@pytest.mark.parametrize(("temperature", "expected"), [(43, 10), (44, 20), (45, 40), (42, 2.5), (41, 0.625)])
def test_the_dose_of_a_constant_temperature(temperature, expected):
    truth = [np.zeros(SHAPE), *[np.full(SHAPE, float(temperature - 37))] * 11]
    first, *_rest, last = run(phases(truth), show="dose", seconds=60.0)[1:]
    np.testing.assert_allclose(last.pixels - first.pixels, expected, rtol=1e-4)


def test_the_dose_takes_the_time_between_images():
    truth = [np.full(SHAPE, 6.0)] * 3
    function = PRFThermometry()
    function.setup(ThermometryParameters(**SEQUENCE, show="dose", startTemperature=43.0), frame(truth[0], MATRIX))
    for number, time in enumerate((100.0, 160.0, 400.0)):
        result = function.process(frame(phases(truth)[number], MATRIX, number, time))
    np.testing.assert_allclose(result.pixels, 5.0, rtol=1e-5)


# ---- maps, values, regions


def test_temperature_and_values_of_targets():
    truth = heating()
    results = run(phases(truth), show="temperature", targets=(FOCUS,), startTemperature=20.0)
    inside = np.linalg.norm(np.stack(grid()[:3], -1) @ np.diag((4, 1.5, 1.5)) - (8, 30, 36), axis=-1) <= 3.1
    for result, rise in zip(results, truth, strict=True):
        np.testing.assert_allclose(result.pixels, 20 + rise, atol=1e-4)
        assert result.values["Focus temperature mean"] == pytest.approx(20 + rise[inside].mean(), abs=1e-4)
        assert result.values["Focus temperature max"] == pytest.approx(20 + rise.max(), abs=1e-4)
    assert results[-1].values["Focus CEM43 max"] == pytest.approx(
        dose([20 + rise[2, 20, 24] for rise in truth], 3.0), rel=1e-4
    )
    assert "Image temperature max" in run(phases(truth[:1]))[0].values


def test_another_map_keeps_the_baseline():
    truth = heating()
    images = [frame(one, MATRIX, number, 3.0 * number) for number, one in enumerate(phases(truth))]
    function = PRFThermometry()
    function.setup(ThermometryParameters(**SEQUENCE), images[0])
    for one in images[:5]:
        function.process(one)
    function.setup(ThermometryParameters(**SEQUENCE, show="temperature", startTemperature=30.0), images[5])
    np.testing.assert_allclose(function.process(images[5]).pixels, 30 + truth[5], atol=1e-4)


def test_another_geometry_starts_anew():
    function = PRFThermometry()
    function.setup(ThermometryParameters(**SEQUENCE), frame(np.zeros(SHAPE), MATRIX))
    function.process(frame(np.zeros(SHAPE), MATRIX))
    assert function.process(frame(np.ones(SHAPE), MATRIX, 1)).pixels.any()
    assert not function.process(frame(np.full((1, 9, 9), 0.5), MATRIX, 2)).pixels.any()


def test_drift_without_a_reference_region_is_refused():
    first = frame(np.zeros(SHAPE), MATRIX)
    with pytest.raises(SettingsError, match="needs a reference region"):
        PRFThermometry().setup(ThermometryParameters(drift="mean"), first)
    function = PRFThermometry()
    function.setup(ThermometryParameters(drift="mean", reference=("Away: sphere 999 0 0 5",)), first)
    with pytest.raises(FrameError, match="no voxel with signal"):
        function.process(first)


def test_a_plane_in_a_single_slice_and_in_a_single_region():
    truth = [rise[2:3] for rise in heating()]
    images = [one[2:3] for one in phases(heating(), drift)]
    matrix = MATRIX.copy()
    matrix[:3, 3] = place(2, 0, 0)
    function = PRFThermometry()
    reference = tuple(sphere(f"Ref{n}", 2, j, i, 5) for n, (j, i) in enumerate(((4, 4), (4, 43), (35, 4), (35, 43))))
    for regions, most in ((reference, 0.1), (reference[:1], None)):
        function = PRFThermometry()
        for number, one in enumerate(images):
            given = frame(one, matrix, number)
            if not number:
                function.setup(ThermometryParameters(**SEQUENCE, drift="plane", reference=regions), given)
            found = function.process(given).pixels
            assert np.isfinite(found).all()
            if most:
                assert np.abs(found - truth[number]).max() < most


def test_a_phase_that_is_no_number_is_missing_in_that_image_only():
    truth = heating()
    images = phases(truth)
    images[3][2, 20, 24] = np.nan
    images[0][1, 1, 1] = np.nan
    results = run(images, show="change")
    assert np.isnan(results[3].pixels[2, 20, 24])
    assert np.isfinite(results[3].values["Image temperature max"])
    np.testing.assert_allclose(results[4].pixels[2, 20, 24], truth[4][2, 20, 24], atol=1e-4)
    assert np.isnan(results[0].pixels[1, 1, 1])
    assert all(np.isfinite(result.pixels[1, 1, 1]) for result in results[1:])


# ---- pairs


def pairs(truth, kind, magnitude):
    for phase in phases(truth):
        if kind == "real-imaginary":
            yield from (magnitude * np.cos(phase), magnitude * np.sin(phase))
        else:
            yield from (magnitude, phase)


@pytest.mark.parametrize("kind", ["real-imaginary", "magnitude-phase"])
def test_pairs_in_one_stream(kind):
    truth = heating()
    results = run(list(pairs(truth, kind, np.full(SHAPE, 500.0))), images=kind)
    assert results[::2] == [None] * len(truth)
    for result, rise in zip(results[1::2], truth, strict=True):
        np.testing.assert_allclose(result.pixels, rise, atol=1e-4)


@pytest.mark.parametrize("attribute", ["ComplexImageComponent", "ImageType"])
def test_attributes_of_DICOM_tell_the_parts_apart(attribute):
    """The stream begins with a second part; the numbers alone would pair wrongly."""
    words = {
        "ComplexImageComponent": ("IMAGINARY", "REAL"),
        "ImageType": ("ORIGINAL\\PRIMARY\\I\\NONE", "ORIGINAL\\PRIMARY\\R\\NONE"),
    }[attribute]
    truth = heating(6)
    images = [np.zeros(SHAPE), *pairs(truth, "real-imaginary", np.full(SHAPE, 500.0))]
    results = run(images, images="real-imaginary", attributes=lambda n: {attribute: words[n % 2]})
    assert results[0] is None
    for result, rise in zip(results[2::2], truth, strict=True):
        np.testing.assert_allclose(result.pixels, rise, atol=1e-4)


def test_a_pair_with_a_missing_part_has_no_result():
    truth = heating(5)
    images = list(pairs(truth, "magnitude-phase", np.full(SHAPE, 500.0)))
    function = PRFThermometry()
    function.setup(ThermometryParameters(**SEQUENCE, images="magnitude-phase"), frame(images[0], MATRIX))
    # 2 is missing before 3; 5 and 6 are missing between 4 and 7.
    results = {n: function.process(frame(images[n], MATRIX, n)) for n in (0, 1, 3, 4, 7, 8, 9)}
    assert [number for number, result in results.items() if result is not None] == [1, 9]
    np.testing.assert_allclose(results[9].pixels, truth[4], atol=1e-4)


def test_voxels_without_signal_show_no_change_and_do_not_count():
    truth = heating(4)
    magnitude = np.full(SHAPE, 500.0)
    magnitude[:, :, :6] = 3
    images = list(pairs(truth, "magnitude-phase", magnitude))
    noise = np.random.default_rng(0)
    for number in range(3, 8, 2):
        images[number][:, :, :6] = noise.uniform(-math.pi, math.pi, (*SHAPE[:2], 6))
    last = run(images, images="magnitude-phase", drift="plane", reference=REFERENCE)[5]
    assert not last.pixels[:, :, :6].any()
    np.testing.assert_allclose(last.pixels[:, :, 6:], truth[2][:, :, 6:], atol=0.1)
    assert last.values["Image temperature max"] == pytest.approx(37 + truth[2].max(), abs=0.1)
