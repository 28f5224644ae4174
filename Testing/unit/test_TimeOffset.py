"""Time offset of a tool from a sweep over a simulated water tank and phantom."""

import numpy as np
import pytest
from RealTimeImagingLib.Model.Errors import ControlError
from RealTimeImagingLib.Model.TimeOffset import ImageMotion, estimateOffset
from unit.sweeps import SHAPE, depth, waterTank


def phantom(shift, texture):
    """A part of a larger picture that moves to the right."""
    columns = np.arange(SHAPE[1]) + 200 + shift
    whole = columns.astype(int)
    part = columns - whole
    return (texture[:, whole] * (1 - part) + texture[:, whole + 1] * part).astype(np.uint8)[None]


def sweep(make, offset=0.0, fps=30.0, rate=50.0, seconds=10.0, jitter=0.0, position=None):
    """Times and shifts of images, times and positions of poses whose times are ``offset`` too early."""
    random = np.random.default_rng(3)
    motion = ImageMotion()
    imageTimes = np.arange(0, seconds, 1 / fps) + 1e9
    shifts = np.array([motion.add(make(time - 1e9)) for time in imageTimes])
    truth = np.arange(0, seconds, 1 / rate)
    axis = np.array([0.2, -0.9, 0.4])
    along = (position or depth)(truth) * 0.3
    positions = along[:, None] * axis + random.normal(0, 0.05, (len(truth), 3)) + 100
    stamps = truth + 1e9 - offset + random.normal(0, jitter, len(truth))
    return imageTimes, shifts, np.sort(stamps), positions


@pytest.mark.parametrize("offset", [0.083, -0.083, 0.0, 0.31])
@pytest.mark.parametrize(("fps", "rate"), [(30, 50), (12, 100), (30, 20)])
def test_the_offset_of_a_sweep_in_a_water_tank_is_found_within_3_ms(offset, fps, rate):
    random = np.random.default_rng(1)
    found = estimateOffset(*sweep(lambda time: waterTank(depth(time), random), offset, fps, rate, jitter=0.002))
    assert found.seconds == pytest.approx(offset, abs=0.003)
    assert found.correlation > 0.95
    assert found.motion == pytest.approx(0.3 * np.ptp(depth(np.arange(0, 10, 0.01))), rel=0.05)


@pytest.mark.parametrize("begin", [2.5, 4.2, 5.0, 7.5])
def test_a_tool_that_is_not_seen_for_a_second_does_no_harm(begin):
    random = np.random.default_rng(1)
    times, shifts, poseTimes, positions = sweep(lambda time: waterTank(depth(time), random), 0.083, fps=20)
    seen = (poseTimes < 1e9 + begin) | (poseTimes > 1e9 + begin + 1)
    found = estimateOffset(times, shifts, poseTimes[seen], positions[seen])
    assert found.seconds == pytest.approx(0.083, abs=0.003)
    assert found.correlation > 0.95


def test_the_offset_over_a_moving_phantom_is_found_within_3_ms():
    random = np.random.default_rng(2)
    coarse = random.normal(size=(SHAPE[0] // 4, 150))
    texture = np.kron(coarse, np.ones((4, 4)))
    texture = 128 + 60 * texture / np.abs(texture).max()
    found = estimateOffset(*sweep(lambda time: phantom(depth(time), texture), 0.083))
    assert found.seconds == pytest.approx(0.083, abs=0.003)


def test_colour_and_volumes_have_the_same_motion():
    random = np.random.default_rng(1)
    one, two, three = ImageMotion(), ImageMotion(), ImageMotion()
    for time in np.arange(0, 2, 0.1):
        image = waterTank(depth(time), random)
        shift = one.add(image)
        assert two.add(np.repeat(image[..., None], 3, 3)) == shift
        assert three.add(np.concatenate([image * 0, image, image * 0])) == shift


def still(time):
    return waterTank(60, np.random.default_rng(int(1000 * time)))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"make": lambda time: waterTank(depth(time), np.random.default_rng(1)), "seconds": 2.0}, "are too few"),
        ({"make": still, "position": lambda times: 0 * times}, "Move it up and down"),
        ({"make": still}, "does not match"),
    ],
)
def test_a_sweep_that_cannot_give_an_offset_is_refused_with_a_reason(values, words):
    with pytest.raises(ControlError, match=words):
        estimateOffset(*sweep(**values))


def test_images_and_poses_of_other_times_are_refused():
    imageTimes, shifts, poseTimes, positions = sweep(still)
    with pytest.raises(ControlError, match="overlap"):
        estimateOffset(imageTimes, shifts, poseTimes + 100, positions)
