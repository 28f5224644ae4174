"""Due times of frames, without a clock."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Sources.Replay.Playhead import Playhead
from unit.examples import examples


def take(playhead, now, most=1000):
    """Take all frames that are due now."""
    found = []
    while len(found) < most and (place := playhead.due(now)) is not None:
        playhead.taken()
        found.append(place)
    return found


def moments(playhead, seconds, step, start=0.0):
    """Return (moment, index) of each frame, polled at even steps."""
    return [(n * step, place) for n in range(round(seconds / step) + 1) for place in take(playhead, start + n * step)]


def test_frames_are_due_at_their_times():
    playhead = Playhead(4, [0.0, 0.5, 0.6, 2.0], 0, 0.0)
    assert moments(playhead, 3.0, 0.1) == [(0.0, 0), (0.5, 1), (pytest.approx(0.6), 2), (2.0, 3)]


@pytest.mark.parametrize(("speed", "last"), [(0.5, 4.0), (1.0, 2.0), (4.0, 0.5)])
def test_speed_is_a_factor_of_time(speed, last):
    playhead = Playhead(3, [0.0, 1.0, 2.0], 0, 0.0)
    playhead.setPace(0.0, speed=speed)
    assert moments(playhead, 5.0, 0.25)[-1] == (last, 2)


def test_a_rate_is_even_for_any_times():
    playhead = Playhead(4, [0.0, 0.001, 10.0, 11.0], 0, 0.0)
    playhead.setPace(0.0, rate=4.0)
    assert moments(playhead, 2.0, 0.05) == [(0.0, 0), (0.25, 1), (0.5, 2), (0.75, 3)]


def test_at_the_fastest_pace_every_frame_is_due_at_once():
    playhead = Playhead(100, None, 0, 0.0)
    playhead.setPace(0.0, fastest=True)
    assert take(playhead, 0.0) == list(range(100))
    assert playhead.endsNow(0.0)


def test_without_times_there_are_ten_frames_a_second():
    assert moments(Playhead(3, None, 0, 0.0), 1.0, 0.05) == [(0.0, 0), (0.1, 1), (0.2, 2)]


def test_an_hour_does_not_drift_with_uneven_polling():
    """Each frame is taken at the first poll after its time, as in the first second."""
    playhead, now, worst = Playhead(3600 * 30, [n / 30 for n in range(3600 * 30)], 0, 0.0), 0.0, 0.0
    for number in range(200_000):
        found = take(playhead, now)
        for place in found:
            worst = max(worst, now - place / 30)
        now += (0.011, 0.019, 0.027)[number % 3]
    assert playhead.next == 3600 * 30
    assert worst <= 0.027 + 1e-6


def test_loops_do_not_drift_either():
    playhead = Playhead(3, [0.0, 0.1, 0.2], 0, 0.0)
    playhead.setLoop(True, 0.0)
    given_ = moments(playhead, 30.0, 0.07)
    assert [place for _, place in given_] == [n % 3 for n in range(len(given_))]
    # 30.03 seconds; the period after the last frame is that between the others.
    assert len(given_) == 301
    assert all(0 <= moment - 0.1 * n < 0.07 + 1e-6 for n, (moment, _) in enumerate(given_))


def test_short_delays_are_caught_up_and_long_ones_shift_the_rest():
    playhead = Playhead(1000, [n / 10 for n in range(1000)], 0, 0.0)
    assert take(playhead, 0.0) == [0]
    assert take(playhead, 0.9) == list(range(1, 10))
    assert playhead.behind == 0
    assert take(playhead, 10.0) == [10]  # due at 1.0
    assert playhead.behind == pytest.approx(9.0)
    assert take(playhead, 10.05) == []
    assert take(playhead, 10.1000001) == [11]


def test_resume_waits_for_the_rest_of_the_frames_time():
    playhead = Playhead(10, [float(n) for n in range(10)], 0, 0.0)
    assert take(playhead, 0.25) == [0]
    playhead.pause(0.25)
    assert take(playhead, 1000.0) == []
    assert playhead.wait(1000.0) == math.inf
    playhead.resume(1000.0)
    assert playhead.wait(1000.0) == pytest.approx(0.75)
    assert take(playhead, 1000.74) == []
    assert take(playhead, 1000.76) == [1]


@pytest.mark.parametrize("late", [0.55, 5.0])
def test_a_late_pause_is_followed_by_one_frame_and_no_burst(late):
    playhead = Playhead(100, [n / 10 for n in range(100)], 0, 0.0)
    assert take(playhead, 0.0) == [0]
    playhead.pause(late)  # without a poll since
    playhead.resume(8.0)
    assert take(playhead, 8.0) == [1]
    assert take(playhead, 8.1000001) == [2]


@pytest.mark.parametrize(
    ("before", "after", "wait"),
    [
        ({}, {"speed": 2.0}, 0.25),
        ({}, {"rate": 10.0}, 0.05),
        ({"rate": 0.5}, {}, 0.75),
        ({"fastest": True}, {"rate": 2.0}, 0.5),
        ({}, {"fastest": True}, 0.0),
    ],
)
def test_a_new_pace_keeps_the_elapsed_share_of_the_frames_time(before, after, wait):
    playhead = Playhead(10, [float(n) for n in range(10)], 0, 0.0)
    playhead.setPace(0.0, **before)
    assert take(playhead, 0.0, most=1) == [0]
    playhead.setPace(0.5, **after)
    assert playhead.wait(0.5) == pytest.approx(wait)
    assert playhead.next == 1


def test_step_pauses_at_the_next_or_previous_frame():
    playhead = Playhead(3, None, 0, 0.0)
    assert take(playhead, 0.0) == [0]
    steps = []
    for frames in (1, 1, 1, -1, -1, -1, 1):
        playhead.step(frames, 0.0)
        steps.append(take(playhead, 0.0))
    assert steps == [[1], [2], [], [1], [0], [], [1]]
    assert playhead.paused
    playhead.resume(5.0)
    assert take(playhead, 5.05) == []
    assert take(playhead, 5.1000001) == [2]


def test_steps_wrap_around_in_a_loop():
    playhead = Playhead(3, None, 0, 0.0)
    playhead.setLoop(True, 0.0)
    steps = []
    for frames in (-1, 1, 1, -1, -1, 4):
        playhead.step(frames, 0.0)
        steps += take(playhead, 0.0)
    assert steps == [2, 0, 1, 0, 2, 0]


def test_several_steps_all_count_and_of_several_seeks_the_last():
    playhead = Playhead(100, None, 0, 0.0)
    playhead.pause(0.0)
    for _ in range(4):
        playhead.step(1, 0.0)
    assert take(playhead, 0.0) == [0, 1, 2, 3]
    for place in (50, 60, 70):
        playhead.seek(place, 0.0)
    assert take(playhead, 0.0) == [70]
    assert playhead.next == 71


@pytest.mark.parametrize(("place", "nearest"), [(-5, 0), (2, 2), (99, 2), (10**30, 2)])
def test_seek_is_limited_to_the_file(place, nearest):
    playhead = Playhead(3, None, 0, 0.0)
    playhead.seek(place, 0.0)
    assert take(playhead, 0.0) == [nearest]


def test_the_replay_ends_once_and_again_after_a_restart():
    playhead = Playhead(2, None, 0, 0.0)
    assert not playhead.endsNow(0.0)
    assert take(playhead, 0.0) == [0]
    assert take(playhead, 0.1000001) == [1]
    assert [playhead.endsNow(1.2) for _ in range(3)] == [True, False, False]
    assert take(playhead, 99.0) == []
    playhead.resume(99.0)
    assert take(playhead, 99.0) == [0]
    assert not playhead.endsNow(99.0)
    playhead.seek(1, 99.0)
    assert take(playhead, 99.0) == [1]
    assert playhead.endsNow(99.0)
    playhead.setLoop(True, 200.0)
    assert take(playhead, 200.0) == []
    assert take(playhead, 200.1000001) == [0]


def test_a_single_frame_loops_ten_times_a_second():
    playhead = Playhead(1, None, 0, 0.0)
    playhead.setLoop(True, 0.0)
    given_ = moments(playhead, 1.03, 0.03)
    assert len(given_) == 11
    assert all(0 <= moment - n / 10 < 0.03 + 1e-6 for n, (moment, _) in enumerate(given_))


paces = st.one_of(
    st.builds(lambda speed: {"speed": speed}, st.floats(0.001, 1000.0)),
    st.builds(lambda rate: {"rate": rate}, st.floats(0.001, 10_000.0)),
    st.just({"fastest": True}),
)
commands = st.one_of(
    st.tuples(st.just("pass"), st.floats(0.0, 1.0)),
    st.tuples(st.just("pass"), st.floats(0.0, 1e6)),
    st.tuples(st.sampled_from(["pause", "resume"]), st.none()),
    st.tuples(st.just("step"), st.integers(-3, 3)),
    st.tuples(st.just("seek"), st.integers(-3, 30)),
    st.tuples(st.just("pace"), paces),
    st.tuples(st.just("loop"), st.booleans()),
)


@examples(8)
@given(gaps=st.lists(st.floats(1e-5, 2.0), max_size=12), steps=st.lists(commands, max_size=30))
def test_after_any_commands_the_frames_are_consistent(gaps, steps):
    times = [sum(gaps[:n]) for n in range(len(gaps) + 1)]
    count, now, last, pace, loop, paused = len(times), 0.0, None, {}, False, False
    playhead = Playhead(count, times if count > 1 else None, 0, now)

    def allowed(name, value):
        """Return the frame that the last command makes due; None when it makes none due."""
        if name == "seek":
            return [min(max(value, 0), count - 1)]
        if name == "step":
            place = (-1 if last is None else last) + value if value >= 0 else (last or 0) + value
            place = place % count if loop else place
            return [place] if 0 <= place < count else []
        if name == "resume" and paused_before and last == count - 1 and not loop:
            return [0]
        return None

    ended, seconds = False, 0.0
    for name, value in [("pass", 0.0), *steps]:
        paused_before = paused or ended
        if name == "pass":
            seconds += value
            now += value
        elif name == "pace":
            playhead.setPace(now, **value)
            pace = value
        elif name == "loop":
            playhead.setLoop(value, now)
            loop = value
            ended = ended and not loop
        elif name in ("pause", "resume"):
            getattr(playhead, name)(now)
            paused = name == "pause"
        else:
            getattr(playhead, name)(value, now)
            paused = paused or name == "step"
        by = allowed(name, value)
        found = take(playhead, now, most=40)
        if by is not None:
            assert found[: len(by)] == by
            ended = ended and not by
        order = found if by is None else found[len(by) :]
        place = last if not by else by[0]
        if paused or ended:
            assert order == []
        for each in order:
            assert each == (0 if place is None or (loop and place == count - 1) else place + 1)
            place = each
        if not pace.get("fastest") and len(order) > 1:
            # The frames of one poll cover at most the elapsed time: they were late, and are no burst.
            factor = 1.0 if "rate" in pace else pace.get("speed", 1.0)
            at = [n / pace["rate"] for n in range(count)] if "rate" in pace else times
            apart = sum(max(0.0, at[b] - at[a]) for a, b in pairwise(order))
            assert apart <= factor * seconds * (1 + 1e-6) + 1e-6 * (1 + now * factor)
        last = place
        if len(found) < 40:
            seconds = 0.0
            ends = playhead.endsNow(now)
            assert ends == (not (paused or ended or loop) and last == count - 1)
            ended = ended or ends
            assert playhead.ended == ended
            wait = playhead.wait(now)
            assert (wait == math.inf) == (paused or ended)
    assert playhead.paused == paused
