"""Poses in time: interpolation, its limits, and matrices that are no poses."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from RealTimeImagingLib.Model.Poses import HELD, LARGEST_GAP, PoseTrack, between, isPose
from unit.examples import examples


def rotation(axis, degrees):
    """Return a 4x4 rotation; made from the quaternion, unlike the product's."""
    x, y, z = np.array(axis, float) / np.linalg.norm(axis) * math.sin(math.radians(degrees) / 2)
    w = math.cos(math.radians(degrees) / 2)
    made = np.eye(4)
    made[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return made


def at(x, y=0.0, z=0.0, turned=None):
    made = np.eye(4) if turned is None else turned.copy()
    made[:3, 3] = x, y, z
    return made


def track(*poses):
    """A track of (time, matrix, status)."""
    made = PoseTrack()
    for time, matrix, *status in poses:
        made.add(time, np.asarray(matrix, float).ravel().tolist(), *status)
    return made


axes = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda axis: np.linalg.norm(axis) > 0.1)


@examples(1.0)
@given(axes, st.floats(0, 179), st.floats(0, 1), axes, st.floats(0, 359))
@example((0.0, 0.0, -1.0), 1e-5, 0.5, (0.0, 0.0, 1.0), 0.0)
def test_a_rotation_turns_evenly_about_one_axis(axis, degrees, fraction, axis0, degrees0):
    start = rotation(axis0, degrees0)
    made = between(start, start @ rotation(axis, degrees), fraction)
    assert made == pytest.approx(start @ rotation(axis, degrees * fraction), abs=1e-7)


def test_half_a_turn_is_finite_and_a_rotation():
    made = between(np.eye(4), rotation((0, 1, 0), 180), 0.5)
    assert abs(made) == pytest.approx(abs(rotation((0, 1, 0), 90)), abs=1e-6)


def test_a_translation_is_linear_and_scales_stay():
    scaled = np.diag([0.2, 0.3, 1.0, 1.0])
    first, second = at(10, 20, 30) @ scaled, at(20, 0, 30, rotation((0, 0, 1), 40)) @ scaled
    expected = at(12.5, 15, 30, rotation((0, 0, 1), 10)) @ scaled
    assert between(first, second, 0.25) == pytest.approx(expected, abs=1e-9)


def test_mirrored_images_are_interpolated_and_a_change_of_handedness_is_not():
    mirror = np.diag([-1.0, 1, 1, 1])
    assert between(mirror, rotation((0, 0, 1), 40) @ mirror, 0.5) == pytest.approx(
        rotation((0, 0, 1), 20) @ mirror, abs=1e-9
    )
    assert np.array_equal(between(np.eye(4), mirror, 0.4), np.eye(4))
    assert np.array_equal(between(np.eye(4), mirror, 0.6), mirror)


def test_at_the_time_of_a_pose_the_pose_is_exact():
    poses = track((0.0, at(1.1)), (0.1, at(2.2)), (0.2, at(3.3)))
    assert [poses.at(time).matrix[0, 3] for time in (0.0, 0.1, 0.1 + 1e-6, 0.2)] == [1.1, 2.2, 2.2, 3.3]


def test_a_gap_above_the_limit_has_no_pose():
    poses = track((0.0, at(0)), (LARGEST_GAP, at(5)), (2 * LARGEST_GAP + 0.001, at(10)))
    assert poses.at(LARGEST_GAP / 2).matrix[0, 3] == pytest.approx(2.5)
    assert poses.at(1.5 * LARGEST_GAP) == (None, "MISSING")
    assert poses.at(2 * LARGEST_GAP + 0.001).matrix[0, 3] == 10


def test_nothing_is_extrapolated():
    poses = track((1.0, at(1)), (1.1, at(2)))
    held = [poses.at(time) for time in (1 - HELD / 2, 1.1 + HELD / 2)]
    assert [pose.matrix[0, 3] for pose in held] == [1, 2]
    assert [poses.at(time) for time in (1 - 1.1 * HELD, 1.1 + 1.1 * HELD)] == [(None, "MISSING")] * 2
    assert PoseTrack().at(1.0) == (None, "MISSING")


def test_beside_a_moment_without_a_pose_there_is_none():
    poses = track((0.0, at(0)), (0.1, at(1), "OUT_OF_VIEW"), (0.2, at(2), "SWITCH_IS_ON"), (0.3, at(3)))
    assert [poses.at(time).status for time in (0.0, 0.01, 0.1, 0.19, 0.2, 0.24, 0.26)] == [
        *["OK", "OUT_OF_VIEW", "OUT_OF_VIEW", "OUT_OF_VIEW"],
        *["SWITCH_IS_ON", "SWITCH_IS_ON", "OK"],
    ]
    assert [poses.at(time).matrix is None for time in (0.0, 0.01, 0.1, 0.19, 0.2)] == [False, True, True, True, False]


def test_poses_in_any_order_give_the_same_track():
    given = [(number / 10, at(number)) for number in range(6)]
    ordered, mixed = track(*given), track(*[given[n] for n in (3, 1, 5, 0, 2, 4)], (0.2, at(7)))
    assert list(ordered.times) == list(mixed.times)
    assert mixed.at(0.2).matrix[0, 3] == 7
    assert mixed.at(0.35).matrix == pytest.approx(ordered.at(0.35).matrix)


def test_forgotten_poses_change_no_later_moment():
    given = [(number / 10, at(number)) for number in range(50)]
    poses, whole = track(*given), track(*given)
    poses.forgetBefore(2.03)
    assert len(poses.times) == 30
    for time in (2.03, 2.1, 4.9):
        assert np.array_equal(poses.at(time).matrix, whole.at(time).matrix)


SHEAR = np.array([[1.0, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("matrix", "pose", "rigid"),
    [
        *[(np.eye(4), True, True), (at(1e5, -3, 2, rotation((1, 2, 3), 77)), True, True)],
        *[(np.diag([0.1, 0.2, 1, 1]), True, False), (np.diag([-1.0, 1, 1, 1]), True, False)],
        *[(np.zeros((4, 4)), False, False), (np.full((4, 4), math.nan), False, False)],
        *[(at(math.inf), False, False), (np.diag([1.0, 1, 0, 1]), False, False)],
        *[(SHEAR, False, False), (np.diag([1.0, 1, 1, 2]), False, False), (np.ones((4, 4)), False, False)],
        (np.eye(3), False, False),
    ],
)
def test_what_is_a_pose(matrix, pose, rigid):
    numbers = np.asarray(matrix).ravel().tolist()
    assert (isPose(numbers), isPose(numbers, rigid=True)) == (pose, rigid)
