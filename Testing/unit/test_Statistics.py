import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Model.Statistics import KEPT, RATE_SECONDS, Spread, StageTimes, StreamCounts

values = st.lists(st.floats(0, 1e6), min_size=1, max_size=60)


# ---- Spread


def test_without_values_the_spread_is_none():
    assert Spread().toJSON() == {"median": None, "p95": None, "max": None}


@given(values)
def test_a_spread_consists_of_given_values_in_order(given_):
    spread = Spread()
    for value in given_:
        spread.add(value)
    found = spread.toJSON()
    assert {found["median"], found["p95"], found["max"]} <= {round(value, 3) for value in given_}
    assert found["median"] <= found["p95"] <= found["max"] == round(max(given_), 3)
    assert 2 * sum(value <= found["median"] + 0.001 for value in given_) >= len(given_)
    assert 2 * sum(value >= found["median"] - 0.001 for value in given_) >= len(given_)


def test_the_spread_of_1_to_101():
    spread = Spread()
    for value in range(101, 0, -1):
        spread.add(value)
    assert spread.toJSON() == {"median": 51, "p95": 96, "max": 101}


def test_old_values_are_dropped():
    spread = Spread()
    spread.add(1e9)
    for _ in range(KEPT):
        spread.add(1.0)
    assert spread.toJSON()["max"] == 1.0


# ---- StreamCounts


@st.composite
def lives(draw):
    """Steps of a stream: numbered frames, some of them shown, and totals in between."""
    received = draw(st.integers(0, 30))
    steps = []
    for number in range(received):
        if draw(st.booleans()):
            steps.append(("show", number))
        if draw(st.integers(0, 9)) == 0:
            steps.append(("settle", number + 1))
    return [*steps, ("settle", received)]


@given(lives())
def test_received_is_always_the_sum_of_shown_and_skipped(steps):
    counts = StreamCounts()
    shown = 0
    for kind, number in steps:
        if kind == "show":
            counts.show(number, 100.0 + number)
            shown += 1
            assert counts.received == number + 1
        else:
            counts.settle(number)
            assert counts.received == number
        assert counts.shown == shown
        assert counts.skipped == counts.received - shown >= 0
        found = counts.toJSON(0.0)
        assert found["received"] == found["shown"] + found["skipped"]


def test_a_total_below_the_count_changes_nothing():
    counts = StreamCounts()
    counts.show(4, 10.0)
    counts.settle(3)
    assert (counts.received, counts.shown, counts.skipped) == (5, 1, 4)


@pytest.mark.parametrize("rate", [0.1, 0.5, 10.0, 60.0, 1000.0])
@pytest.mark.parametrize("every", [1, 7])
def test_the_rate_is_that_of_recent_frames(rate, every):
    """Skipped frames count: one frame in ``every`` is shown."""
    counts = StreamCounts()
    for number in range(20):
        counts.show(number, number * 1000.0)
    for number in range(20, 620, every):
        time = 1e9 + number / rate
        counts.show(number, time)
    assert counts.framesPerSecond(time) == pytest.approx(rate, rel=0.01)
    assert counts.toJSON(time)["fps"] == pytest.approx(rate, abs=0.01)


def test_a_stream_that_pauses_keeps_its_rate_for_a_while():
    counts = StreamCounts()
    for number in range(30):
        counts.show(number, 100 + number / 10)
    last = 100 + 29 / 10
    assert counts.framesPerSecond(last + RATE_SECONDS - 0.1) == pytest.approx(10)
    assert counts.framesPerSecond(last + RATE_SECONDS + 0.1) == 0.0


def test_a_slow_stream_keeps_its_rate_for_longer():
    counts = StreamCounts()
    for number in range(5):
        counts.show(number, number * 20.0)
    assert counts.framesPerSecond(80.0 + 59.0) == pytest.approx(0.05)
    assert counts.framesPerSecond(80.0 + 61.0) == 0.0


def test_frames_before_a_pause_do_not_count_for_the_rate():
    counts = StreamCounts()
    for number in range(100):
        counts.show(number, number / 100)
    for number in range(100, 110):
        counts.show(number, 60 + number)
    assert counts.framesPerSecond(169.0) == pytest.approx(1.0)


@pytest.mark.parametrize("times", [(), (5.0,), (5.0, 5.0), (5.0, 4.0), (5.0, 6.0, 6.0, 5.5)])
def test_clocks_that_stop_or_run_backwards_are_tolerated(times):
    counts = StreamCounts()
    for number, time in enumerate(times):
        counts.show(number, time)
    assert 0.0 <= counts.framesPerSecond(6.0) < 10.0
    assert len(times) > 2 or counts.framesPerSecond(6.0) == 0.0


# ---- stages


def test_each_stage_takes_the_time_since_the_one_before_it():
    times = StageTimes()
    times.add("A", 0, {"seen": 10.0, "complete": 10.5, "decoded": 10.6, "handedOver": 10.61, "copied": 10.7})
    times.add("A", 1, {"complete": 11.0, "decoded": 11.2, "stored": 11.3, "handedOver": 11.3, "copied": 11.4})
    found = times.toJSON()
    assert {name: (one["median"], one["max"]) for name, one in found.items()} == {
        "complete": (500, 500),
        "decoded": (100, 200),
        "stored": (100, 100),
        "handedOver": (0, 10),
        "copied": (90, 100),
        "total": (400, 700),
    }
    columns = times.columns()
    assert columns["number"] == [0, 1]
    assert columns["decoded"] == [10.6, 11.2]
    assert np.isnan(columns["seen"][1])
    assert [len(column) for column in columns.values()] == [2] * 8


def test_old_stage_times_are_dropped():
    times = StageTimes()
    for number in range(KEPT + 5):
        times.add("A", number, {"complete": number, "decoded": number})
    assert times.columns()["number"] == list(range(5, KEPT + 5))
