"""Rigid motion: known motions of a phantom, conventions, SimpleITK on the same volumes, framewise displacement."""

import contextlib

import numpy as np
import pytest
import SimpleITK as sitk
from RealTimeImagingLib.Model.Errors import FrameError
from RealTimeImagingLib.Model.Frame import LPS_TO_RAS
from RealTimeImagingLib.Processing.BuiltIn.RigidMotion import MotionParameters, RigidMotion
from RealTimeImagingLib.Processing.Registration import RigidRegistration, anglesOf, headMask
from unit.processing import frame, head, motion, oblique, realSeries, toSITK

NAMES = [*(f"Motion {axis}" for axis in "RAS"), *(f"Rotation {axis}" for axis in "RAS")]
GRID = oblique((3, 3, 3.6))


def positions(frames, **parameters):
    """The six values of each frame, (n, 6)."""
    function = RigidMotion()
    function.setup(MotionParameters(**parameters), frames[0])
    results = [function.process(one) for one in frames]
    return np.array([[result.values[name] for name in NAMES] for result in results])


MOTIONS = [
    ((0.1, 0, 0), (0, 0, 0)),
    ((0, 0, 0), (0, 0, 0.1)),
    ((0.3, -0.2, 0.5), (0.4, -0.3, 0.2)),
    ((-1.5, 2.0, 1.2), (-1.5, 1.0, 2.0)),
    ((5, -6, 4), (6, -4, 8)),
]


@pytest.mark.parametrize(("shifts", "angles"), MOTIONS)
def test_a_known_motion_in_an_oblique_geometry(shifts, angles):
    """The moved head is drawn anew, not resampled: the values are those of the head, with sign, axis and order."""
    first, moved = head(ijkToRAS=GRID), head(ijkToRAS=GRID, moved=motion(shifts, angles))
    found = positions([frame(first, GRID), frame(moved, GRID, 1)])
    np.testing.assert_allclose(found[0], 0, atol=1e-3)
    np.testing.assert_allclose(found[1][:3], shifts, atol=0.05)
    np.testing.assert_allclose(found[1][3:], angles, atol=0.05)


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("angles", [(0, 0, 0), (85, 10, -5), (0, 90, 90)])
def test_the_values_do_not_depend_on_the_orientation_of_the_slices(flip, angles):
    matrix = oblique((3, 3, 3.6), angles=angles, flip=flip)
    shifts, turns = (1.0, -0.7, 0.5), (0.8, -0.6, 1.1)
    volumes = [head(ijkToRAS=matrix), head(ijkToRAS=matrix, moved=motion(shifts, turns))]
    found = positions([frame(one, matrix, number) for number, one in enumerate(volumes)])
    np.testing.assert_allclose(found[1], [*shifts, *turns], atol=0.05)


def test_the_nose_goes_up_to_the_left_and_the_top_to_the_right():
    """Signs as the module documents them."""
    nose, top = np.array([0, 80, 0, 1]), np.array([0, 0, 60, 1])
    assert (motion((0, 0, 0), (5, 0, 0)) @ nose)[2] > 5
    assert (motion((0, 0, 0), (0, 5, 0)) @ top)[0] > 5
    assert (motion((0, 0, 0), (0, 0, 5)) @ nose)[0] < -5
    np.testing.assert_allclose(anglesOf(motion((1, 2, 3), (5, -7, 11))), (5, -7, 11))


def test_the_rotation_centre_is_the_middle_of_the_reference():
    """A turn of the head about another point is a turn about the middle, and a shift."""
    there, turn = motion((40, 0, 20), (0, 0, 0)), motion((0, 0, 0), (0, 0, 2))
    whole = there @ turn @ np.linalg.inv(there)
    found = positions([frame(head(ijkToRAS=GRID), GRID), frame(head(ijkToRAS=GRID, moved=whole), GRID, 1)])
    np.testing.assert_allclose(found[1], [*whole[:3, 3], 0, 0, 2], atol=0.05)


def test_a_volume_on_another_grid_is_registered():
    """The scanner follows the head, or changes the resolution: the motion is that of the head in space."""
    other = oblique((3.4, 3.4, 3.2), angles=(5, -15, 30), origin=(100, -95, -45))
    shape = (28, 60, 58)
    where = np.eye(4)
    moved = motion((1, 2, -1), (1, 0.5, -1))
    # The phantom is drawn about the middle of its own grid: that is another place in space.
    middle, ours = ((m @ [*((np.array(s[::-1]) - 1) / 2), 1])[:3] for m, s in ((other, shape), (GRID, (30, 64, 64))))
    where[:3, 3] = ours - middle
    volumes = [frame(head(ijkToRAS=GRID), GRID), frame(head(shape, other, where @ moved), other, 1)]
    np.testing.assert_allclose(positions(volumes)[1], [1, 2, -1, 1, 0.5, -1], atol=0.05)


@pytest.mark.parametrize("brightness", ["same", "changes"])
def test_noise_of_a_real_scanner_changes_the_motion_little(brightness):
    shifts, angles = (0.4, -0.3, 0.6), (0.5, -0.2, 0.3)
    volumes = [
        head(ijkToRAS=GRID, noise=12, seed=1),
        head(ijkToRAS=GRID, moved=motion(shifts, angles), noise=12, seed=2),
    ]
    found = positions([frame(one, GRID, number) for number, one in enumerate(volumes)], brightness=brightness)
    np.testing.assert_allclose(found[1], [*shifts, *angles], atol=0.05)


def test_a_change_of_the_brightness_is_no_motion_when_it_is_expected():
    moved = head(ijkToRAS=GRID, moved=motion((0.5, 0.5, 0.5), (0.5, 0, 0)))
    brighter = (moved * 1.3 + 40).astype(np.int16)
    volumes = [frame(head(ijkToRAS=GRID), GRID), frame(brighter, GRID, 1)]
    np.testing.assert_allclose(positions(volumes, brightness="changes")[1], [0.5, 0.5, 0.5, 0.5, 0, 0], atol=0.05)


def test_framewise_displacement_is_Powers():
    moves = [
        ((0, 0, 0), (0, 0, 0)),
        ((0.2, 0, 0), (0, 0, 0)),
        ((0.2, -0.3, 0.1), (0.5, 0, -0.4)),
        ((0, 0, 0), (0, 0, 0)),
    ]
    frames = [frame(head(ijkToRAS=GRID, moved=motion(*one)), GRID, number) for number, one in enumerate(moves)]
    function = RigidMotion()
    function.setup(MotionParameters(), frames[0])
    results = [function.process(one).values for one in frames]
    # Power et al. 2012: FD = |ddx| + |ddy| + |ddz| + |da| + |db| + |dg|, angles as arcs on a sphere of 50 mm.
    steps = np.diff([[*shifts, *(np.pi / 180 * 50 * np.array(angles))] for shifts, angles in moves], axis=0)
    expected = [0, *np.abs(steps).sum(1)]
    np.testing.assert_allclose([one["Framewise displacement"] for one in results], expected, atol=0.05)
    own = np.array([[one[name] for name in NAMES] for one in results]) * ([1] * 3 + [50 * np.pi / 180] * 3)
    np.testing.assert_allclose(
        [one["Framewise displacement"] for one in results][1:], np.abs(np.diff(own, axis=0)).sum(1), rtol=1e-12
    )


def test_the_aligned_volume_is_the_reference_again():
    first = head(ijkToRAS=GRID)
    moved = head(ijkToRAS=GRID, moved=motion((3, -2, 2), (3, -2, 4)))
    function = RigidMotion()
    function.setup(MotionParameters(aligned=True), frame(first, GRID))
    function.process(frame(first, GRID))
    result = function.process(frame(moved, GRID, 1))
    np.testing.assert_array_equal(result.ijkToRAS, GRID)
    inner = (slice(5, -5), slice(12, -12), slice(12, -12))
    before, after = (np.abs(one[inner] - first[inner].astype(float)).mean() for one in (moved, result.pixels))
    assert after < 0.1 * before


def test_skipped_volumes_and_another_comparison_choose_a_new_reference():
    frames = [frame(head(ijkToRAS=GRID, moved=motion((n, 0, 0), (0, 0, 0))), GRID, n + 7) for n in range(4)]
    function = RigidMotion()
    function.setup(MotionParameters(skip=2), frames[0])
    assert [function.process(one) is None for one in frames[:2]] == [True, True]
    assert function.process(frames[2]).values["Motion R"] == 0
    assert function.process(frames[3]).values["Motion R"] == pytest.approx(1, abs=0.05)
    function.setup(MotionParameters(skip=2, aligned=True), frames[3])
    assert function.process(frames[3]).values["Motion R"] == pytest.approx(1, abs=0.05)
    function.setup(MotionParameters(skip=2, smoothing=3.0), frames[3])
    assert function.process(frames[3]).values["Motion R"] == 0


def test_volumes_without_anything_to_register_are_refused():
    with pytest.raises(FrameError, match="at least 4 slices; this image has 1"):
        RigidMotion().process(frame(head()[:1]))
    with pytest.raises(FrameError, match="nothing that could move"):
        RigidMotion().process(frame(np.zeros((10, 20, 20), np.int16)))


def test_values_that_are_no_numbers_do_not_spoil_the_motion():
    volumes = [
        head(ijkToRAS=GRID).astype(np.float32),
        head(ijkToRAS=GRID, moved=motion((1, 0, 0), (0, 0, 0))).astype(np.float32),
    ]
    for one in volumes:
        one[:, :5] = np.nan
    found = positions([frame(one, GRID, number) for number, one in enumerate(volumes)])
    np.testing.assert_allclose(found[1], [1, 0, 0, 0, 0, 0], atol=0.05)


def test_a_spoiled_volume_is_refused_and_does_not_spoil_the_next():
    moved = head(ijkToRAS=GRID, moved=motion((1, 0, 0.5), (0, 1, 0)))
    noise = np.random.default_rng(0).normal(500, 300, moved.shape).astype(np.int16)
    function = RigidMotion()
    function.setup(MotionParameters(), frame(head(ijkToRAS=GRID), GRID))
    for number, one in enumerate([head(ijkToRAS=GRID), moved, noise, np.zeros_like(moved), moved[::-1], moved]):
        if number in (2, 3):
            with pytest.raises(FrameError, match="unlike the reference"):
                function.process(frame(one, GRID, number))
        elif number == 4:
            with contextlib.suppress(FrameError):  # a head upside down may look like a head
                function.process(frame(one, GRID, number))
        else:
            result = function.process(frame(one, GRID, number))
    np.testing.assert_allclose([result.values[name] for name in NAMES], [1, 0, 0.5, 0, 1, 0], atol=0.05)


def test_a_wrong_first_estimate_is_passed_over():
    registration = RigidRegistration(head(ijkToRAS=GRID), GRID)
    moved = head(ijkToRAS=GRID, moved=motion((1, 0, 0.5), (0, 1, 0)))
    for start in (None, motion((80, -60, 50), (40, 0, 60)), motion((1, 0, 0), (0, 0, 170))):
        found = registration.register(moved, GRID, start)
        np.testing.assert_allclose([*found[:3, 3], *anglesOf(found)], [1, 0, 0.5, 0, 1, 0], atol=0.05)


@pytest.mark.parametrize("noise", [0, 5])
def test_a_spherical_phantom_has_shifts_and_no_large_rotation(noise):
    k, j, i = np.indices((30, 64, 64))
    random = np.random.default_rng(1)
    volumes = []
    for shift in (0, 0.5):
        distance = np.sqrt(((i - 31.5 - shift) * 3) ** 2 + ((j - 31.5) * 3) ** 2 + ((k - 14.5) * 3.6) ** 2)
        volumes.append(1000 / (1 + np.exp((distance - 45) / 3)) + random.normal(0, noise, k.shape))
    matrix = np.diag([3, 3, 3.6, 1])
    found = positions([frame(one, matrix, number) for number, one in enumerate(volumes)])
    np.testing.assert_allclose(found[1][:3], [1.5, 0, 0], atol=0.05)
    assert np.abs(found[1][3:]).max() < (1 if noise else 0.01)


def test_a_volume_of_many_voxels_is_compared_at_a_part_of_them():
    matrix = oblique((1.5, 1.5, 2))
    shape = (54, 128, 128)
    volumes = [head(shape, matrix), head(shape, matrix, motion((0.5, -1, 0.7), (1, 0.5, -0.5)))]
    registration = RigidRegistration(volumes[0], matrix)
    assert 20_000 < len(registration._fine.values) < 160_000
    found = registration.register(volumes[1], matrix)
    np.testing.assert_allclose([*found[:3, 3], *anglesOf(found)], [0.5, -1, 0.7, 1, 0.5, -0.5], atol=0.05)


# ---- SimpleITK, an implementation of others


def registered(first, other, fwhm, correlation=False):
    """Motion by SimpleITK's registration, run to convergence: shifts in mm, angles in degrees, in our conventions.

    All voxels of a mask of the head, cubic splines and their own derivative (the default filter smooths the gradient,
    and so moves the result away from the minimum of the metric).
    """
    mask = toSITK(headMask(first.pixels.astype(np.float32)).astype(np.uint8), first.ijkToRAS)
    fixed, moving = (toSITK(one.pixels.astype(np.float32), one.ijkToRAS) for one in (first, other))
    if fwhm:
        fixed, moving = (sitk.SmoothingRecursiveGaussian(one, fwhm / 2.3548) for one in (fixed, moving))
    method = sitk.ImageRegistrationMethod()
    if correlation:
        method.SetMetricAsCorrelation()
    else:
        method.SetMetricAsMeanSquares()
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetMetricFixedMask(mask)
    method.MetricUseMovingImageGradientFilterOff()
    method.SetInterpolator(sitk.sitkBSpline)
    transform = sitk.Euler3DTransform()
    transform.SetComputeZYX(True)
    transform.SetCenter(fixed.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in fixed.GetSize()]))
    method.SetInitialTransform(transform, inPlace=True)
    method.SetOptimizerAsRegularStepGradientDescent(0.5, 1e-5, 1000, gradientMagnitudeTolerance=1e-12)
    method.SetOptimizerScalesFromPhysicalShift()
    method.Execute(fixed, moving)
    assert "Step too small" in method.GetOptimizerStopConditionDescription()
    found = np.eye(4)
    found[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    found[:3, 3] = transform.GetTranslation()
    found = LPS_TO_RAS @ found @ LPS_TO_RAS
    return np.array([*found[:3, 3], *anglesOf(found)])


@pytest.mark.parametrize("brightness", ["same", "changes"])
def test_a_real_series_agrees_with_SimpleITK(brightness):
    """Within 0.05 mm and 0.05 degrees, with each metric, for volumes early and late in the series."""
    series = realSeries()
    found = positions(series, brightness=brightness)
    for number in (3, 9):
        peer = registered(series[0], series[number], 5.0, correlation=brightness == "changes")
        print(number, found[number].round(3), peer.round(3))
        np.testing.assert_allclose(found[number], peer, atol=0.05)
    assert np.abs(found[9][:3]).max() > 0.2


def test_a_real_volume_moved_by_a_known_motion():
    """One volume and the same with another geometry: the head has moved, and no interpolation was needed."""
    first = realSeries()[0]
    centre = RigidRegistration(first.pixels, first.ijkToRAS).centre
    toCentre = motion(centre, (0, 0, 0))
    for shifts, angles in (((0.4, -0.7, 0.3), (0.5, -0.4, 0.7)), ((3, -2, 4), (4, -3, 5))):
        moved = toCentre @ motion(shifts, angles) @ np.linalg.inv(toCentre)
        found = positions([first, frame(first.pixels, moved @ first.ijkToRAS, 1)])
        np.testing.assert_allclose(found[1], [*shifts, *angles], atol=0.005)


def test_a_phantom_agrees_with_SimpleITK():
    shape, grid = (18, 34, 34), oblique((5.6, 5.6, 6))
    moved = motion((0.6, -0.8, 0.5), (0.7, -0.5, 0.9))
    volumes = [head(shape, grid, noise=12, seed=1), head(shape, grid, moved, noise=12, seed=2)]
    frames = [frame(one, grid, number) for number, one in enumerate(volumes)]
    found, peer = positions(frames, smoothing=10.0)[1], registered(*frames, 10.0)
    print(found.round(3), peer.round(3))
    np.testing.assert_allclose(found, peer, atol=0.05)
