"""Both ends of the path of pushed frames: the sender with the ring that Slicer writes, and the source."""

import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Host import PushSender as PushSenderFile
from RealTimeImagingLib.Host.PushSender import PushSender
from RealTimeImagingLib.Link.Commands import Push, SourceCommand, StopRecording, commandOf
from RealTimeImagingLib.Link.Messages import Ready, Taken, decode
from RealTimeImagingLib.Link.Ring import PAGE, PUSH_SLOTS
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


def hear(sender, message):
    """Pass a message to a sender as the session does."""
    if isinstance(message, Ready):
        sender.resend()
    elif isinstance(message, Taken):
        sender.take(message)


def pushed(sender, *values):
    """Push a frame; return False when all slots are taken."""
    try:
        sender.push(*values)
    except PushError:
        return False
    return True


class Pipe:
    """Both ends in this process. Sent commands wait in ``sent``, reports in ``reported``.

    The state is the last order that counts, as the state of recording is the last command to record or to stop.
    """

    def __init__(self, folder):
        self.folder = str(folder)
        self.sent, self.reported, self.frames, self.states, self.lost = [], [], [], [], []
        self.state, self.ordered = None, SourceCommand("none")
        self.sender = PushSender([self.folder], self._send, self.lost.append, lambda: [self.ordered])
        self.source = None

    def _send(self, command):
        if self.source:  # else it is as with a process that died: nobody hears it
            self.sent.append(command)

    def start(self, ready=True):
        self.checkpoint = Checkpoint(self.folder)
        receiver = FrameReceiver([self.folder], self.reported.append)
        self.source = openSource(PushSettings(), SourceContext(self.checkpoint, receiver=receiver))
        (first,) = self.sender.startupCommands()
        self.state = first.key
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
                self.state = command.key
            for arrival in self.source.read(0):
                number = self.checkpoint.accept(arrival.stream)
                self.states.append(self.state)
                self.frames.append((arrival.stream, number, checksum(arrival.image.pixels)))
        del self.sent[:commands]

    def hear(self, lines=1 << 30):
        """Let the sender take so many reports."""
        for message in self.reported[:lines]:
            hear(self.sender, message)
        del self.reported[:lines]

    def settle(self):
        while self.sent or self.reported:
            self.work()
            self.hear()

    def order(self, name):
        self.ordered = SourceCommand(name)
        self.sender.send(self.ordered)

    def close(self):
        if self.source:
            self.die()
        self.sender.close()


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
    """Each arrives, too, in the state in which it was pushed: it is recorded when it was pushed during a recording."""
    pipe, accepted, states = Pipe(tmp_path_factory.mktemp("push")), [], []
    for number, (kind, what) in enumerate(steps):
        if kind == "push":
            if pushed(pipe.sender, "Live", image(number, what), 0.0):
                accepted.append(sumOf(number, what))
                states.append(pipe.ordered.key)
        elif kind == "order":
            pipe.order(f"order{number}")
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
    assert pipe.sender.taken == pipe.sender.pushed == len(accepted)
    assert [sum_ for _, _, sum_ in pipe.frames] == accepted
    assert [number for _, number, _ in pipe.frames] == list(range(len(accepted)))
    assert pipe.states == states
    assert pipe.state == pipe.ordered.key
    assert pipe.lost == []
    pipe.close()


def test_pixels_are_copied_at_once(pipe):
    frame = image(1)
    pixels = frame.pixels.copy()
    for number in range(PUSH_SLOTS):
        frame.pixels[:] = number
        pipe.sender.push("Live", frame, 0.0)
    frame.pixels[:] = 77
    pipe.start()
    pipe.settle()
    expected = [checksum(np.full_like(pixels, number)) for number in range(PUSH_SLOTS)]
    assert [sum_ for _, _, sum_ in pipe.frames] == expected


def test_only_frames_beyond_the_slots_are_rejected(pipe):
    for number in range(PUSH_SLOTS):
        pipe.sender.push("Live", image(number), 0.0)
    for _ in range(2):
        with pytest.raises(PushError, match=f"The image for Live was rejected.* {PUSH_SLOTS}, as many as fit"):
            pipe.sender.push("Live", image(999), 0.0)
    pipe.start()
    pipe.settle()
    assert [sum_ for _, _, sum_ in pipe.frames] == [sumOf(number) for number in range(PUSH_SLOTS)]
    assert pipe.sender.pushed == PUSH_SLOTS
    pipe.sender.push("Live", image(1), 0.0)


def test_waiting_frames_are_bounded_by_their_bytes(workFolder, monkeypatch):
    """One may wait whatever its size."""
    monkeypatch.setattr(PushSenderFile, "PUSH_BYTES", 10 * PAGE)
    pipe = Pipe(workFolder)
    for size, slots in ((2 * PAGE, 5), (11 * PAGE, 1)):
        while pushed(pipe.sender, "Live", image(0, (1, 1, size // 2)), 0.0):
            pass
        assert pipe.sender.pushed - pipe.sender.taken == slots
        assert not pushed(pipe.sender, "Live", image(1), 0.0)
        if not pipe.source:
            pipe.start()
        pipe.settle()
    assert len(pipe.frames) == 6
    pipe.close()


def test_nothing_is_sent_to_a_replacement_that_is_not_ready(pipe):
    """It would get a frame, or a command, before those that the dead process had not taken."""
    pipe.start()
    for number in range(2):
        pipe.sender.push("Live", image(number), 0.0)
    pipe.hear()
    pipe.work(1)
    pipe.die()
    pipe.start(ready=False)
    pipe.sender.push("Live", image(2), 0.0)
    pipe.order("late")
    assert pipe.sent == []
    pipe.reported.append(Ready())
    pipe.settle()
    assert [sum_ for _, _, sum_ in pipe.frames] == [sumOf(number) for number in range(3)]
    assert (pipe.states, pipe.state) == (["none"] * 3, "late")


def test_a_command_reaches_a_process_that_was_not_ready(pipe):
    pipe.start(ready=False)
    pipe.order("early")
    assert (pipe.sent, pipe.state) == ([], "none")
    pipe.reported.append(Ready())
    pipe.settle()
    assert pipe.state == "early"


def test_a_push_without_memory_raises(pipe, monkeypatch):
    def full(pixels):
        raise RingError("There is no memory.")

    monkeypatch.setattr(pipe.sender._ring, "put", full)
    with pytest.raises(RingError, match="no memory"):
        pipe.sender.push("Live", image(1), 0.0)
    assert pipe.sender.pushed == 0


def test_lost_pixels_are_reported_and_the_next_frame_arrives(pipe, workFolder):
    pipe.sender.push("Live", image(0), 0.0)
    for path in workFolder.glob("*.ring"):
        path.unlink()
    pipe.sender.push("Live", image(1, (1, 60, 70)), 0.0)
    pipe.start()
    pipe.settle()
    assert [sum_ for _, _, sum_ in pipe.frames] == [sumOf(1, (1, 60, 70))]
    assert len(pipe.lost) == 1
    assert "gone" in pipe.lost[0]
    assert (pipe.sender.lost, pipe.sender.taken, pipe.sender.pushed) == (1, 2, 2)


# ---- with the real process


class Started:
    """A sender, and processes one after the other."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0
        self.lost = []
        self.sender = PushSender([str(folder)], lambda command: self.now.write(command), self.lost.append)
        self.start()

    def start(self):
        self.count, self.heard = self.count + 1, 0
        self.now = Acquisition(PushSettings(), [self.folder], f"process{self.count}", PROGRAM).listen()
        self.sender.startupCommands()

    def until(self, condition):
        def heard():
            while self.heard < len(self.now.lines):
                self.heard += 1
                hear(self.sender, decode(json.dumps(self.now.lines[self.heard - 1])))
            return condition()

        self.now.until(heard, 20)


@pytest.fixture
def started(workFolder):
    made = Started(workFolder)
    yield made
    made.now.close()
    made.sender.close()


def test_two_streams_are_recorded_as_they_were_pushed(started, tmp_path):
    started.sender.send(commandOf("record", {"folder": str(tmp_path), "name": "Both", "attributes": {}}))
    for number in range(60):
        frame = "AB"[number % 2], image(number, (1, 50, 60, 3)), 1.7e9 + number
        started.until(lambda frame=frame: pushed(started.sender, *frame))
    started.sender.send(StopRecording())
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
        frame = "Live", image(number, (4, 40, 50)), 0.0
        started.until(lambda frame=frame: pushed(started.sender, *frame))
        if goals and number == goals[0]:
            del goals[0]
            started.until(lambda: started.now.of("ready"))
            started.now.kill()
            shown += started.now.frames
            started.now.close()
            started.start()
    started.until(lambda: started.sender.taken == count)
    assert started.now.stop() == 0
    assert started.now.counts["received"] == {"Live": count}
    shown += started.now.frames
    numbers = [number for _, number, _, _ in shown]
    assert numbers == sorted(set(numbers))
    assert all((name, sum_) == (str(number), sumOf(number, (4, 40, 50))) for _, number, name, sum_ in shown)
    assert started.lost == []
