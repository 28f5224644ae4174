import functools

import numpy as np
import pytest
from RealTimeImagingLib.Host.Callbacks import BETWEEN, LONGEST, Callbacks, FrameCallbacks
from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.Model.Frame import Frame


def frame(number, stream="Live", period=0.1):
    return Frame(np.zeros((1, 2, 2)), np.eye(4), stream, number, 1.7e9 + period * number)


class Listening:
    def __init__(self):
        self.events, self.arrays = [], []
        self.callbacks = FrameCallbacks(self.events.append, self.push)

    def push(self, frame, array, name):
        self.arrays.append((frame.stream, name, array.shape))


@pytest.fixture
def listening():
    return Listening()


@pytest.fixture
def clock(monkeypatch):
    """Milliseconds of a call."""
    taken, now = [0.0], [0.0]

    def tell():
        now[0] += taken[0] / 2000
        return now[0]

    monkeypatch.setattr("RealTimeImagingLib.Host.Callbacks.time.perf_counter", tell)

    def set_(milliseconds):
        taken[0] = 2 * milliseconds

    return set_


def test_only_arrays_become_frames(listening):
    for made in (np.ones((2, 2)), None, 3, np.float64(3), [1], "a", np.ones(3)):
        listening.callbacks.add(lambda frame, made=made: made)
    listening.callbacks.hand(frame(0))
    assert listening.arrays == [("Live", "lambda", (2, 2)), ("Live", "lambda 7", (3,))]


def test_callbacks_may_get_every_arriving_frame(listening):
    shown, every = [], []
    listening.callbacks.add(lambda frame: shown.append(frame.number))
    assert not listening.callbacks.anyEvery
    listening.callbacks.add(lambda frame: every.append(frame.number), every=True)
    assert listening.callbacks.anyEvery
    for number in range(3):
        listening.callbacks.hand(frame(number), arriving=True)
    listening.callbacks.hand(frame(2))
    assert (shown, every) == ([2], [0, 1, 2])


def test_a_failing_callback_stops_no_other_and_is_reported_once(listening):
    seen = []

    def failing(frame):
        raise ValueError("no")

    listening.callbacks.add(failing)
    listening.callbacks.add(lambda frame: seen.append(frame.number))
    for number in range(3):
        listening.callbacks.hand(frame(number))
    assert seen == [0, 1, 2]
    assert [event.code for event in listening.events] == ["callback-failed"]
    assert not listening.callbacks.calling


@pytest.mark.parametrize(("period", "milliseconds"), [(1.0, LONGEST + 5), (0.005, 8.0)])
def test_slow_callbacks_are_reported_once_and_again_after_they_were_fast(listening, clock, period, milliseconds):
    listening.callbacks.add(lambda frame: None)
    number = 0

    def run(count):
        nonlocal number
        for _ in range(count):
            listening.callbacks.hand(frame(number, period=period))
            number += 1

    clock(1.0)
    run(100)
    assert listening.events == []
    clock(milliseconds)
    run(200)
    assert [event.code for event in listening.events] == ["callback-slow"]
    assert f"take {milliseconds:.0f} ms" in listening.events[0].text
    clock(1.0)
    run(100)
    clock(milliseconds)
    run(100)
    assert [event.code for event in listening.events] == ["callback-slow"] * 2
    assert listening.callbacks.times()["lambda"]["max"] == pytest.approx(milliseconds, abs=0.01)


def test_callbacks_are_judged_together_and_after_enough_calls(listening, clock):
    for _ in range(3):
        listening.callbacks.add(lambda frame: None)
    clock(LONGEST / 2)
    for number in range(BETWEEN - 1):
        listening.callbacks.hand(frame(number))
    assert listening.events == []
    listening.callbacks.hand(frame(BETWEEN))
    assert [event.code for event in listening.events] == ["callback-slow"]


def test_a_removed_callback_takes_no_time(listening):
    seen = []
    listening.callbacks.add(seen.append)
    listening.callbacks.add(seen.append, "Other")
    listening.callbacks.remove(seen.append)
    listening.callbacks.remove(print)
    listening.callbacks.hand(frame(0))
    assert seen == []
    assert listening.callbacks.times() == {}


BLOCK = """
def mean(frame):
    seen.append(frame.number)

callbacks.add(mean, stream="Live")
callbacks.add(mean, stream="Other")
"""


def test_a_block_that_is_pasted_twice_calls_once(listening):
    """The functions of the second paste replace those of the first; another function of another name stays."""
    seen = []
    console = {"__name__": "__main__", "seen": seen, "callbacks": listening.callbacks}
    for text in (BLOCK, BLOCK, BLOCK.replace("mean", "other")):
        exec(text, console)
    listening.callbacks.hand(frame(0))
    listening.callbacks.hand(frame(1, "Other"))
    assert seen == [0, 0, 1, 1]
    assert list(listening.callbacks.times()) == ["mean", "mean 2", "other", "other 2"]


def test_a_function_that_is_defined_again_replaces_that_of_its_stream_only(listening):
    seen = []
    console = {"__name__": "__main__", "seen": seen, "callbacks": listening.callbacks}
    for mark, stream in (("a", "Live"), ("b", "Other"), ("c", "Other")):
        exec(f"def mean(frame): seen.append({mark!r})\ncallbacks.add(mean, stream={stream!r})", console)
    listening.callbacks.hand(frame(0))
    listening.callbacks.hand(frame(1, "Other"))
    assert seen == ["a", "c"]


def test_inner_functions_of_one_name_are_different(listening):
    """So are lambdas, bound methods and wrapped functions."""
    seen = []

    def made(number):
        def callback(frame):
            seen.append(number)

        return callback

    console = {"__name__": "__main__", "seen": seen, "wraps": functools.wraps, "callbacks": listening.callbacks}
    for callback in (made(0), made(1)):
        listening.callbacks.add(callback)
    exec(
        """
def wrapped(function, number):
    @wraps(function)
    def call(frame):
        seen.append(number)
    return call

def mean(frame):
    pass

for number in (2, 3):
    callbacks.add(wrapped(mean, number))
    callbacks.add(lambda frame, number=number: seen.append(number + 2))
""",
        console,
    )
    listening.callbacks.hand(frame(0))
    assert sorted(seen) == [0, 1, 2, 3, 4, 5]


def test_event_and_message_callbacks_are_redefined_too():
    seen, callbacks = [], Callbacks()
    console = {"__name__": "__main__", "seen": seen, "callbacks": callbacks}
    for _paste in range(2):
        exec(
            "def note(one):\n    seen.append(one)\n"
            "callbacks.addEventCallback(note)\ncallbacks.addMessageCallback(note)\n",
            console,
        )
    event = Event("code", "Text.")
    callbacks.report(event)
    assert seen == [event]
    callbacks.deliver("message")
    assert seen == [event, "message"]
