"""Both ends of the path of pushed frames: the sender with the ring that Slicer writes, and the source."""

import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Host import PushSender as FeedFile
from RealTimeImagingLib.Host.PushSender import QUEUE_FRAMES, PushSender
from RealTimeImagingLib.Link.Commands import Push, SourceCommand, StopRecording, commandOf
from RealTimeImagingLib.Link.Messages import Ready, Taken, decode
from RealTimeImagingLib.Link.Ring import SLOTS
from RealTimeImagingLib.Model.Errors import PushError, RingError
from RealTimeImagingLib.Model.Frame import Image, checksum
from RealTimeImagingLib.Recording import openRecording
from RealTimeImagingLib.Sources import SourceContext, openSource
from RealTimeImagingLib.Sources.Checkpoint import Checkpoint
from RealTimeImagingLib.Sources.Push import PushSettings
from RealTimeImagingLib.Worker.Frames import FrameReceiver
from unit.conftest import PROGRAM, Acquisition, sumOf, volume
from unit.examples import examples


def image(number, shape=(2, 3, 4)):
    made = volume(number, shape)
    return Image(made.pixels, made.ijkToRAS, None, {"SourceFile": str(number)})


def hear(feed, message):
    """Pass a message to a sender as the session does."""
    if isinstance(message, Ready):
        feed.resend()
    elif isinstance(message, Taken):
        feed.take(message)


class Pipe:
    """Both ends in this process. Sent commands wait in ``sent``, reports in ``reported``."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.sent, self.reported, self.frames, self.orders, self.lost = [], [], [], [], []
        self.feed = PushSender([self.folder], self._send, self.lost.append)
        self.source = None

    def _send(self, command):
        if self.source:  # else it is as with a process that died: nobody hears it
            self.sent.append(command)

    def start(self, ready=True):
        self.checkpoint = Checkpoint(self.folder)
        inlet = FrameReceiver([self.folder], self.reported.append)
        self.source = openSource(PushSettings(), SourceContext(self.checkpoint, receiver=inlet))
        if ready:
            self.reported.append(Ready())

    def die(self):
        """End between two statements, as far as the checkpoint shows."""
        self.checkpoint.close()
        self.source, self.sent, self.reported = None, [], []

    def work(self, commands=1 << 30):
        """Let the source take so many commands."""
        for command in self.sent[:commands]:
            if isinstance(command, Push):
                self.source.command(command.key, command.parameters())
            else:
                self.orders.append((command.key, len(self.frames)))
            for arrival in self.source.read(0):
                number = self.checkpoint.accept(arrival.stream)
                self.frames.append((arrival.stream, number, checksum(arrival.image.pixels)))
        del self.sent[:commands]

    def hear(self, lines=1 << 30):
        """Let the sender take so many reports."""
        for message in self.reported[:lines]:
            hear(self.feed, message)
        del self.reported[:lines]

    def settle(self):
        while self.sent or self.reported:
            self.work()
            self.hear()

    def close(self):
        if self.source:
            self.die()
        self.feed.close()


@pytest.fixture
def pipe(workFolder):
    made = Pipe(workFolder)
    yield made
    made.close()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.sampled_from([(2, 3, 4), (1, 1, 1), (4, 40, 50), (3, 60, 70)])),
        st.tuples(st.just("order"), st.none()),
        st.tuples(st.just("work"), st.integers(1, 3)),
        st.tuples(st.just("hear"), st.integers(1, 3)),
        st.tuples(st.just("die"), st.none()),
        st.tuples(st.just("start"), st.none()),
    ),
    max_size=60,
)


@examples(2)
@given(steps)
def test_whenever_the_process_dies_each_frame_arrives_once_and_in_order(tmp_path_factory, steps):
    pipe, pushed, ordered = Pipe(tmp_path_factory.mktemp("push")), [], []
    for number, (kind, what) in enumerate(steps):
        if kind == "push":
            pipe.feed.push("Live", image(number, what), 0.0)
            pushed.append(sumOf(number, what))
        elif kind == "order":
            pipe.feed.send(SourceCommand(f"order{number}"))
            ordered.append((f"order{number}", len(pushed)))
        elif kind == "work" and pipe.source:
            pipe.work(what)
        elif kind == "hear":
            pipe.hear(what)
        elif kind == "die" and pipe.source:
            pipe.die()
        elif kind == "start" and not pipe.source:
            pipe.start()
    if not pipe.source:
        pipe.start()
    pipe.settle()
    assert pipe.feed.pending == 0
    assert [sum_ for _, _, sum_ in pipe.frames] == pushed
    assert [number for _, number, _ in pipe.frames] == list(range(len(pushed)))
    # A death takes orders with it, as the next process begins with those that count; none comes at another place.
    assert [order for order in pipe.orders if order not in ordered] == []
    assert pipe.lost == []
    pipe.close()


def test_pixels_are_copied_at_once(pipe):
    frame = image(1)
    pixels = frame.pixels.copy()
    for number in range(SLOTS + 2):
        frame.pixels[:] = number
        pipe.feed.push("Live", frame, 0.0)
    frame.pixels[:] = 77
    pipe.start()
    pipe.settle()
    expected = [checksum(np.full_like(pixels, number)) for number in range(SLOTS + 2)]
    assert [sum_ for _, _, sum_ in pipe.frames] == expected


def test_only_frames_beyond_the_limit_are_refused(pipe):
    for number in range(SLOTS + QUEUE_FRAMES):
        pipe.feed.push("Live", image(number), 0.0)
    assert not pipe.feed.room(1)
    for _ in range(2):
        with pytest.raises(PushError, match=f"{QUEUE_FRAMES} images"):
            pipe.feed.push("Live", image(999), 0.0)
    pipe.start()
    pipe.settle()
    assert [sum_ for _, _, sum_ in pipe.frames] == [sumOf(number) for number in range(SLOTS + QUEUE_FRAMES)]
    assert pipe.feed.pushed == SLOTS + QUEUE_FRAMES
    pipe.feed.push("Live", image(1), 0.0)


def test_waiting_frames_are_bounded_by_their_bytes(pipe, monkeypatch):
    monkeypatch.setattr(FeedFile, "QUEUE_BYTES", 100)
    for number in range(SLOTS):
        pipe.feed.push("Live", image(number, (1, 100, 100)), 0.0)
    assert pipe.feed.room(20_000)  # one may wait whatever its size
    pipe.feed.push("Live", image(9, (1, 100, 100)), 0.0)
    assert not pipe.feed.room(1)
    with pytest.raises(PushError):
        pipe.feed.push("Live", image(10), 0.0)
    pipe.start()
    pipe.settle()
    assert len(pipe.frames) == SLOTS + 1


def test_frames_sent_during_a_restart_are_not_taken_out_of_order(pipe):
    pipe.start()
    for number in range(2):
        pipe.feed.push("Live", image(number), 0.0)
    pipe.hear()
    pipe.work(1)
    pipe.die()
    pipe.start(ready=False)
    pipe.feed.push("Live", image(2), 0.0)  # goes to the new process, which does not know of number 1
    pipe.work()
    assert len(pipe.frames) == 1
    pipe.reported.append(Ready())
    pipe.hear()
    pipe.settle()
    assert [sum_ for _, _, sum_ in pipe.frames] == [sumOf(number) for number in range(3)]


def test_a_push_without_memory_raises(pipe, monkeypatch):
    def full(pixels):
        raise RingError("There is no memory.")

    monkeypatch.setattr(pipe.feed._ring, "put", full)
    with pytest.raises(RingError, match="no memory"):
        pipe.feed.push("Live", image(1), 0.0)
    assert pipe.feed.pushed == pipe.feed.pending == 0


def test_a_waiting_frame_without_memory_is_reported_and_the_next_arrives(pipe, monkeypatch):
    for number in range(SLOTS + 2):
        pipe.feed.push("Live", image(number), 0.0)
    put, failing = pipe.feed._ring.put, [True]

    def once(pixels):
        if failing:
            failing.clear()
            raise RingError("There is no memory.")
        return put(pixels)

    monkeypatch.setattr(pipe.feed._ring, "put", once)
    pipe.start()
    pipe.settle()
    assert [sum_ for _, _, sum_ in pipe.frames] == [sumOf(number) for number in (0, 1, 2, 3, 5)]
    assert pipe.lost == ["A pushed image is lost: There is no memory."]
    assert pipe.feed.lost == 1


def test_lost_pixels_are_reported_and_the_next_frame_arrives(pipe, workFolder):
    pipe.feed.push("Live", image(0), 0.0)
    for path in workFolder.glob("*.ring"):
        path.unlink()
    pipe.feed.push("Live", image(1, (1, 60, 70)), 0.0)
    pipe.start()
    pipe.settle()
    assert [sum_ for _, _, sum_ in pipe.frames] == [sumOf(1, (1, 60, 70))]
    assert len(pipe.lost) == 1
    assert "gone" in pipe.lost[0]


# ---- with the real process


class Started:
    """A sender, and processes one after the other."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0
        self.lost = []
        self.feed = PushSender([str(folder)], lambda command: self.now.write(command), self.lost.append)
        self.start()

    def start(self):
        self.count, self.heard = self.count + 1, 0
        self.now = Acquisition(PushSettings(), [self.folder], f"process{self.count}", PROGRAM).listen()

    def until(self, condition):
        def heard():
            while self.heard < len(self.now.lines):
                self.heard += 1
                hear(self.feed, decode(json.dumps(self.now.lines[self.heard - 1])))
            return condition()

        self.now.until(heard, 20)


@pytest.fixture
def started(workFolder):
    made = Started(workFolder)
    yield made
    made.now.close()
    made.feed.close()


def test_two_streams_are_recorded_as_they_were_pushed(started, tmp_path):
    started.feed.send(commandOf("record", {"folder": str(tmp_path), "name": "Both", "attributes": {}}))
    for number in range(60):
        while not started.feed.room(1):
            started.until(lambda: started.feed.room(1))
        started.feed.push("AB"[number % 2], image(number, (1, 50, 60, 3)), 1.7e9 + number)
    started.feed.send(StopRecording())
    started.until(lambda: started.now.of("recorded"))
    assert started.now.stop() == 0
    assert started.now.counts["received"] == {"A": 30, "B": 30}
    assert started.now.counts["recorded"] == 60
    for stream in "AB":
        part = openRecording(str(tmp_path / f"Both-{stream}.seq.nhdr"))
        numbers = range("AB".index(stream), 60, 2)
        assert [checksum(part.pixels(index)) for index in range(part.count)] == [
            sumOf(number, (1, 50, 60, 3)) for number in numbers
        ]
        assert [entry["receiveTime"] for entry in part.frames] == [1.7e9 + number for number in numbers]


def test_kills_at_any_moment_lose_and_duplicate_no_frame(started):
    count, chance = 400, random.Random(5)
    goals = sorted(chance.sample(range(10, 390), 6))
    shown = []
    for number in range(count):
        if not started.feed.room(1) or chance.random() < 0.2:
            started.until(lambda: started.feed.room(1))
        started.feed.push("Live", image(number, (4, 40, 50)), 0.0)
        if goals and number == goals[0]:
            del goals[0]
            started.until(lambda: started.now.of("ready"))
            started.now.kill()
            shown += started.now.frames
            started.now.close()
            started.start()
    started.until(lambda: started.feed.pending == 0)
    assert started.now.stop() == 0
    assert started.now.counts["received"] == {"Live": count}
    shown += started.now.frames
    numbers = [number for _, number, _, _ in shown]
    assert numbers == sorted(set(numbers))
    assert all((name, sum_) == (str(number), sumOf(number, (4, 40, 50))) for _, number, name, sum_ in shown)
    assert started.lost == []
