"""Times of pictures by the driver, and missing pictures."""

from __future__ import annotations

import random
import time

from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Sources.Camera.Device import DriverTimes, Gaps
from unit.examples import examples


def test_times_of_the_monotonic_clock_become_times_since_the_epoch():
    times, epoch, monotonic = DriverTimes(), time.time(), time.monotonic()
    for passed in (0.0, 0.04, 0.08):
        taken = times.at(monotonic + passed - 0.02, epoch + passed)
        assert abs(taken - (epoch + passed - 0.02)) < 0.01


def test_times_since_the_epoch_stay():
    times, epoch = DriverTimes(), time.time()
    assert abs(times.at(epoch - 0.02, epoch) - (epoch - 0.02)) < 1e-6


def test_times_since_the_first_picture_start_with_its_arrival():
    times = DriverTimes()
    # The first is 0, the value of drivers without times.
    assert times.at(0.0, 1e9) is None
    assert times.at(0.04, 1e9 + 0.05) == 1e9 + 0.05
    assert abs(times.at(0.08, 1e9 + 0.2) - (1e9 + 0.09)) < 1e-6


def test_a_driver_without_times_has_no_times():
    times = DriverTimes()
    assert [times.at(said, 1e9) for said in (0.0, 0.0, -0.001, float("nan"), float("inf"))] == [None] * 5


def test_times_that_do_not_increase_are_ignored():
    times = DriverTimes()
    assert times.at(5.0, 1e9) == 1e9
    assert times.at(5.0, 1e9 + 1) is None
    assert times.at(4.0, 1e9 + 2) is None
    assert times.at(6.0, 1e9 + 3) == 1e9 + 1


def missing(moments):
    gaps = Gaps()
    return sum(gaps.missing(moment) for moment in moments)


@examples(5)
@given(
    st.floats(1, 500),
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
    st.integers(0, 2**32),
)
def test_missing_pictures_are_counted(rate, holes, seed):
    """Times differ by at most a tenth of the interval; a gap is known with the second picture after it."""
    numbers, number = list(range(8)), 7
    for hole in holes:
        number += hole + 1
        numbers += [number, number + 1, number + 2]
        number += 2
    noise = random.Random(seed)
    assert missing((n + noise.uniform(-0.05, 0.05)) / rate + 100 for n in numbers) == sum(holes)


def test_a_lower_rate_in_the_dark_is_no_loss():
    bright = [n / 30 for n in range(60)]
    dark = [bright[-1] + n / 15 for n in range(1, 40)]
    again = [dark[-1] + n / 30 for n in range(1, 40)]
    assert missing(bright + dark + again) == 0


def test_losses_are_counted_again_after_a_change_of_the_rate():
    slow = [2 + n / 10 for n in range(20)]
    assert missing([n / 30 for n in range(60)] + slow[:10] + slow[12:]) == 2


def test_without_times_no_loss_is_known():
    assert missing([None] * 50) == 0
    assert missing([1.0, None, 9.0, None, 9.1]) == 0
