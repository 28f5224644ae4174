"""Volume of tracked ultrasound, against a reference that takes pixel after pixel."""

from __future__ import annotations

import itertools
import json
import time

import numpy as np
import pytest
from RealTimeImagingLib.Model.Errors import FrameError, SettingsError
from RealTimeImagingLib.Processing.BuiltIn.VolumeReconstruction import (
    ReconstructionParameters,
    VolumeReconstruction,
)
from unit.functions import Driver
from unit.processing import frame, image, motion, oblique

EXTENT = "-10 20 -15 15 -12 13"
CALIBRATION = "0.9 0.1 0 -4 0 0.8 0 -3 0 0 1 2 0 0 0 1"


def sweep(count=6, shape=(1, 14, 17), seed=1, dtype=np.uint8):
    """Images with the poses of a tool that turns and moves; the third has none."""
    random = np.random.default_rng(seed)
    for number in range(count):
        pose = motion((0.7 * number, -0.4 * number, 1.3 * number - 3), (7 * number, 3 * number, -5 * number))
        attributes = {
            "ProbeTransform": " ".join(map(repr, pose.flatten().tolist())),
            "ProbeTransformStatus": "MISSING" if number == 2 else "OK",
        }
        pixels = random.integers(1, 255, shape).astype(dtype)
        yield frame(pixels, oblique((0.9, 0.8, 1), origin=(6, -5, 1)), number, attributes=attributes), pose


def reference(images, matrices, parameters):
    """The volume (k, j, i) as float64, and the weights, pixel after pixel."""
    low, high = np.reshape([float(one) for one in parameters.extent.split()], (3, 2)).T
    count = np.ceil((high - low) / parameters.spacing).astype(int)
    total, weight = np.zeros(count), np.zeros(count)
    most = np.full(count, -np.inf)
    for pixels, matrix in zip(images, matrices, strict=True):
        for k, j, i in np.ndindex(pixels.shape):
            value = float(pixels[k, j, i])
            if value < parameters.least:
                continue
            place = ((matrix @ [i, j, k, 1])[:3] - low) / parameters.spacing - 0.5
            if parameters.distribution == "nearest":
                near = [(np.floor(place + 0.5).astype(int), 1.0)]
            else:
                floor = np.floor(place).astype(int)
                near = [
                    (floor + step, np.prod(np.where(step, place - floor, 1 - place + floor)))
                    for step in map(np.array, itertools.product((0, 1), repeat=3))
                ]
            for index, part in near:
                if part > 1e-12 and (index >= 0).all() and (index < count).all():
                    total[tuple(index)] += value * part
                    weight[tuple(index)] += part
                    most[tuple(index)] = max(most[tuple(index)], value)
    mean = np.divide(total, weight, out=np.zeros(count), where=weight > 0)
    found = mean if parameters.compounding == "mean" else np.where(weight > 0, most, 0)
    return found.T, weight.T


def run(parameters, frames):
    function, results = VolumeReconstruction(), []
    frames = list(frames)
    function.setup(parameters, frames[0])
    for one in frames:
        results.append(function.process(one))
    return results


@pytest.mark.parametrize("distribution", ["nearest", "linear"])
@pytest.mark.parametrize("compounding", ["mean", "maximum"])
@pytest.mark.parametrize("calibration", ["", CALIBRATION])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_theVolumeIsThatOfTheReference(distribution, compounding, calibration, dtype):
    given = list(sweep(dtype=dtype))
    parameters = ReconstructionParameters(
        tool="Probe", calibration=calibration, spacing=0.83, extent=EXTENT, interval=5, least=40.0,
        distribution=distribution, compounding=compounding,
    )  # fmt: skip
    results = run(parameters, [one for one, _pose in given])
    seen = [(one, pose) for number, (one, pose) in enumerate(given) if number != 2]
    toTool = parameters.imageToTool() if calibration else seen[0][0].ijkToRAS
    expected, weight = reference([one.pixels for one, _ in seen], [pose @ toTool for _, pose in seen], parameters)
    assert [result.pixels is not None for result in results] == [False] * 5 + [True]
    assert results[-1].values["Images in the volume"] == 5
    assert results[-1].values["Images without a pose"] == 1
    assert results[-1].values["Filled (%)"] == pytest.approx(100 * np.mean(weight > 0), abs=0.01)
    assert 0.5 < results[-1].values["Filled (%)"] < 99
    found = results[-1].pixels
    assert (found.dtype, found.shape) == (dtype, expected.shape)
    np.testing.assert_allclose(found, expected, atol=0.501 if np.dtype(dtype).kind in "iu" else 1e-3)


def test_aPointOfTheWorldIsWhereItsPixelWas():
    """One bright pixel, an oblique pose: the bright voxel's centre is within half a voxel of it, along each axis."""
    pixels = np.zeros((1, 30, 40), np.uint8)
    pixels[0, 11, 29] = 200
    matrix = oblique((0.4, 0.3, 1))
    world = (matrix @ [29, 11, 0, 1])[:3]
    extent = " ".join(f"{low} {low + 20}" for low in (world - [3, 12, 17]).round(1))
    (result,) = run(ReconstructionParameters(extent=extent, spacing=0.5, interval=1), [frame(pixels, matrix)])
    made = image(result, frame(pixels, matrix))
    k, j, i = np.argwhere(made.pixels == 200)[0]
    assert np.abs((made.ijkToRAS @ [i, j, k, 1])[:3] - world).max() <= 0.25 + 1e-9


def test_theFirstImagesDecideTheExtentAndAreInTheVolume():
    given = [one for one, _pose in sweep(8)]
    results = run(ReconstructionParameters(tool="Probe", spacing=1.0, sweep=4, interval=5), given)
    assert [result.pixels is not None for result in results] == [False] * 5 + [True] + [False] * 2
    whole = results[5]
    seen = [pair for number, pair in enumerate(sweep(8)) if number != 2]
    matrices = [pose @ one.ijkToRAS for one, pose in seen]
    ends = [(0, 16), (0, 13), (0,)]
    corners = np.array([(m @ [*end, 1])[:3] for m in matrices[:4] for end in itertools.product(*ends)])
    low, high = corners.min(axis=0) - 0.5, corners.max(axis=0) + 0.5
    parameters = ReconstructionParameters(
        spacing=1.0, extent=" ".join(f"{a!r} {b!r}" for a, b in zip(low.tolist(), high.tolist(), strict=True))
    )
    expected, _weight = reference([one.pixels for one, _ in seen[:5]], matrices[:5], parameters)
    np.testing.assert_allclose(whole.pixels, expected, atol=0.501)
    np.testing.assert_allclose(whole.ijkToRAS[:3, 3], low + 0.5)


def test_pixelsThatAreSmallerThanVoxelsAreAveragedForLinearDistribution():
    """A constant image stays constant, and the mean of all is kept."""
    pixels = np.random.default_rng(3).integers(0, 255, (1, 40, 60)).astype(np.float32)
    matrix = np.diag([0.1, 0.1, 1, 1])
    values = {"extent": "-2 8 -2 6 -1 1", "spacing": 0.4, "interval": 1, "distribution": "linear"}
    (constant,) = run(ReconstructionParameters(**values), [frame(np.full_like(pixels, 7), matrix)])
    filled = constant.pixels[constant.pixels != 0]
    np.testing.assert_allclose(filled, 7, rtol=1e-5)
    blocks = pixels.reshape(1, 10, 4, 15, 4).mean(axis=(2, 4))
    toPixel = np.diag([4.0, 4, 1, 1])
    toPixel[:2, 3] = 1.5
    expected, _weight = reference([blocks], [matrix @ toPixel], ReconstructionParameters(**values))
    (found,) = run(ReconstructionParameters(**values), [frame(pixels, matrix)])
    np.testing.assert_allclose(found.pixels, expected, rtol=1e-4, atol=1e-3)


def test_holesGetTheMeanOfTheVoxelsAroundThem():
    pixels = np.zeros((1, 9, 9), np.float32)
    pixels[0, 4, 4], pixels[0, 4, 6] = 10, 30
    values = {"extent": "-0.5 8.5 -0.5 8.5 -0.5 2.5", "spacing": 1.0, "interval": 1, "least": 1.0}
    (plain,) = run(ReconstructionParameters(**values), [frame(pixels)])
    (filled,) = run(ReconstructionParameters(**values, holes=1), [frame(pixels)])
    assert np.count_nonzero(plain.pixels) == 2
    assert filled.pixels[0, 4, 4] == 10
    assert filled.pixels[0, 4, 6] == 30
    assert filled.pixels[1, 4, 5] == pytest.approx(20, rel=1e-5)
    assert filled.pixels[1, 3, 3] == pytest.approx(10, rel=1e-5)
    assert filled.pixels[2].any() == 0


@pytest.mark.parametrize("holes", [0, 1, 5])
@pytest.mark.parametrize("distribution", ["nearest", "linear"])
def test_aVolumeThatGrowsEqualsOneThatIsComputedAtOnce(holes, distribution):
    """Only tiles with new pixels are computed again: after each image, in any direction, at the borders of tiles."""
    random = np.random.default_rng(2)
    values = {"extent": "0 50 0 41 0 70", "spacing": 0.5, "distribution": distribution, "least": 60.0}
    images = []
    for number in range(5):
        matrix = motion(random.uniform((-10, -10, -5), (30, 30, 65)), random.uniform(-180, 180, 3))
        pixels = random.integers(0, 255, (1, 90, 110)).astype(np.uint8)
        images.append(frame(pixels, matrix @ np.diag([0.3, 0.4, 1, 1]), number))
    grown = run(ReconstructionParameters(**values, holes=holes, interval=1), images)
    for count in range(1, 6):
        whole = run(ReconstructionParameters(**values, holes=holes, interval=count), images[:count])[-1]
        np.testing.assert_array_equal(grown[count - 1].pixels, whole.pixels)
        assert grown[count - 1].values == whole.values
    assert np.count_nonzero(grown[-1].pixels) > 5000


def test_anotherDistanceOfHolesHoldsInTheWholeVolume():
    """Also where no pixel has come since."""
    images = [one for one, _pose in sweep(6)]
    values = {"tool": "Probe", "extent": EXTENT, "spacing": 0.5, "interval": 1}
    function = VolumeReconstruction()
    for number, holes in enumerate((2, 0, 3)):
        for one in images[2 * number : 2 * number + 2]:
            function.setup(ReconstructionParameters(**values, holes=holes), one)
            result = function.process(one)
        expected = run(ReconstructionParameters(**values, holes=holes), images[: 2 * number + 2])[-1]
        np.testing.assert_array_equal(result.pixels, expected.pixels)
    assert np.count_nonzero(result.pixels)


def test_aPauseShowsTheImagesSinceTheLastVolume():
    images = [one for one, _pose in sweep(6)]
    function = VolumeReconstruction()
    parameters = ReconstructionParameters(tool="Probe", extent=EXTENT, spacing=1.0, interval=4)
    for one in images:
        function.setup(parameters, one)
        function.process(one)
    shown = function.pause()
    assert shown.values["Images in the volume"] == 5
    expected = run(ReconstructionParameters(tool="Probe", extent=EXTENT, spacing=1.0, interval=5), images)[-1]
    np.testing.assert_array_equal(shown.pixels, expected.pixels)
    assert function.pause() is None


def test_aPauseShowsASweepThatIsNotComplete():
    """Its extent is not decided: the images after the pause still widen it."""
    images = [one for one, _pose in sweep(6)]
    parameters = ReconstructionParameters(tool="Probe", spacing=1.0, sweep=5, interval=5)
    function = VolumeReconstruction()
    function.setup(parameters, images[0])
    assert function.pause() is None
    for one in images[:2]:
        function.process(one)
    early = function.pause()
    assert early.values["Images in the volume"] == 2
    for one in images[2:]:
        result = function.process(one)
    expected = run(parameters, images)[-1]
    np.testing.assert_array_equal(result.pixels, expected.pixels)
    np.testing.assert_array_equal(result.ijkToRAS, expected.ijkToRAS)
    assert result.pixels.size > early.pixels.size


def test_aNewWayOfTheVoxelsStartsAnewAndAnotherIntervalDoesNot():
    one, other = (each for each, _pose in itertools.islice(sweep(), 2))
    function = VolumeReconstruction()
    values = {"tool": "Probe", "extent": EXTENT, "spacing": 1.0}
    function.setup(ReconstructionParameters(**values), one)
    function.process(one)
    function.setup(ReconstructionParameters(**values, interval=2, holes=1), other)
    result = function.process(other)
    assert result.values["Images in the volume"] == 2
    assert result.pixels is not None
    function.setup(ReconstructionParameters(**values, compounding="maximum"), other)
    assert function.process(other).values["Images in the volume"] == 1


@pytest.mark.parametrize(
    "values",
    [{"extent": "1 2 3"}, {"extent": "2 1 0 1 0 1"}, {"extent": "0 nan 0 1 0 1"}, {"calibration": "1 2"},
     {"calibration": " ".join(["x"] * 16)}],
)  # fmt: skip
def test_aTextThatIsNoExtentOrMatrixIsNamed(values):
    with pytest.raises(SettingsError, match=next(iter(values.values()))[:5]):
        ReconstructionParameters(**values)


def test_aVolumeBeyondTheLimitIsRefusedBeforeItTakesMemory():
    with pytest.raises(FrameError, match="Choose larger voxels"):
        run(ReconstructionParameters(extent="0 1000 0 1000 0 1000", spacing=0.1), [frame(np.zeros((1, 2, 2)))])


def test_imagesThatAreRefusedTakeNoMemory():
    """Each fails, and none is counted; a sweep that fails at its end keeps its first images only."""
    function = VolumeReconstruction()
    images = [one for one, _pose in sweep(30)]
    function.setup(ReconstructionParameters(tool="Probe", spacing=0.01, sweep=4), images[0])
    failed = 0
    for one in images:
        try:
            function.process(one)
        except FrameError:
            failed += 1
    assert failed == 30 - 4
    assert len(function._sweep) == 3
    assert function.pause.__self__._added == 3


@pytest.mark.parametrize("distribution", ["nearest", "linear"])
def test_thirtyImagesASecondGoIntoAVolumeOf256(distribution):
    """Processor time of the fastest ten of several images of 640 x 480, with holes filled; ``-s`` shows it."""
    pixels = np.random.default_rng(5).integers(0, 255, (1, 480, 640)).astype(np.uint8)
    parameters = ReconstructionParameters(extent="0 128 0 128 0 128", spacing=0.5, distribution=distribution, holes=2)
    function = VolumeReconstruction()
    costs = []
    for number in range(20):
        matrix = motion((4, 12, 30 + 0.5 * number), (5, -8, 10)) @ np.diag([0.18, 0.18, 1, 1])
        one = frame(pixels, matrix, number)
        function.setup(parameters, one)
        start = time.process_time()
        function.process(one)
        costs.append(time.process_time() - start)
    tens = np.reshape(costs, (2, 10)).sum(axis=1)
    print(f"{distribution}: {100 * tens.min():.1f} ms ({1000 * np.median(costs):.1f} ms between two volumes)")
    assert tens.min() < 10 / 30


def test_theVolumeGrowsInTheProcessOfTheFunction(tmp_path):
    """The poses and the place of the volume survive the way through the processes; the last images follow a pause."""
    frames = [one for one, _pose in sweep(12)]
    values = {"tool": "Probe", "spacing": 1.0, "extent": EXTENT, "interval": 5}
    with Driver(tmp_path, "VolumeReconstruction", parameters=json.dumps(values)) as driver:
        for one in frames:
            driver.give(one)
        driver.untilIdle()
        assert driver.counts == (12, 12, 0, 0, 0)
    expected = [one for one in run(ReconstructionParameters(**values), frames) if one.pixels is not None]
    expected.append(run(ReconstructionParameters(**{**values, "interval": 11}), frames)[-1])
    assert len(driver.images) == len(expected) == 3
    for arrival, result in zip(driver.images, expected, strict=True):
        np.testing.assert_array_equal(arrival.image.pixels, result.pixels)
        np.testing.assert_array_equal(arrival.image.ijkToRAS, result.ijkToRAS)
    assert [one.values["Images in the volume"] for one in driver.values] == [1, 2, 2, *range(3, 12)]
