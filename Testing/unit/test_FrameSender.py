import os
import threading

import numpy as np
import pytest
from RealTimeImagingLib.Link.Lines import EVENT_LIMIT, LineWriter
from RealTimeImagingLib.Link.Messages import Counts, FrameHeader, StatusReport
from RealTimeImagingLib.Link.Ring import SLOTS, Place, RingReader, RingWriter
from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.Model.Frame import Frame
from RealTimeImagingLib.Worker.Frames import FrameSender
from unit.conftest import parsed, until, volume

EVENT = Event("not-an-image", "a.nii: this is no image.", "warning", "/in/a.nii")


class Line(dict):
    """A message of these values."""

    def toJSON(self):
        return self


class Pipe:
    """A real pipe, as small as the system allows, that is read only when the test says so."""

    def __init__(self):
        self.reading, self.writing = os.pipe()
        self.data = b""
        self.open = threading.Event()
        self.open.set()
        try:
            import fcntl

            fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, 4096)
        except (ImportError, AttributeError):
            pass
        self._thread = None

    def listen(self):
        """Begin to read, and go on until the writing end is closed."""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while data := os.read(self.reading, 1 << 16):
            self.data += data
            self.open.wait()

    def finish(self, lines):
        """The LineWriter has written all, and all was read."""
        assert lines.close(5)
        os.close(self.writing)
        self.writing = None
        self._thread.join(5)

    @property
    def lines(self):
        return [parsed(line) for line in self.data.split(b"\n")[:-1]]

    def close(self):
        if self.writing is not None:
            os.close(self.writing)
        if self._thread:
            self._thread.join(5)
        if self.reading is not None:
            os.close(self.reading)


@pytest.fixture
def pipe():
    made = Pipe()
    yield made
    made.close()


@pytest.fixture
def lines(pipe):
    """A LineWriter into the pipe; at the end everything is read, so that its thread ends."""
    writer = LineWriter(pipe.writing)
    yield writer
    if pipe.reading is not None and pipe._thread is None:
        pipe.listen()
    assert writer.close(5)


@pytest.fixture
def sender(workFolder, lines):
    ring = RingWriter([str(workFolder)], "ring")
    made = FrameSender(ring, lines)
    yield made
    made.close()
    assert "slots" not in [thread.name for thread in threading.enumerate()]
    ring.close()


def frame(number, stream="Live", shape=(1, 2, 3)):
    image = volume(number, shape)
    return Frame(image.pixels, image.ijkToRAS, stream, number, 100.0 + number, attributes={"SourceFile": f"{number}"})


def received(pipe):
    """The total that the lines tell together: each has what changed since the line before."""
    total = {}
    for line in pipe.lines:
        total |= line.get("counts", {}).get("received", {})
    return total["Live"]


def counts(number):
    return Counts({"Live": number + 1})


def shownNumbers(pipe, stream="Live"):
    return [line["frame"]["number"] for line in pipe.lines if "frame" in line and line["frame"]["stream"] == stream]


def places(pipe):
    return [Place(**line["place"]) for line in pipe.lines if "frame" in line]


# ---- lines


def test_lines_leave_whole_and_in_order(pipe, lines):
    pipe.listen()
    sent = [{"number": number, "text": "ä\n" * number, "name": "\udcff"} for number in range(300)]
    for message in sent:
        lines.put(Line(message))
    pipe.finish(lines)
    assert pipe.data.count(b"\n") == len(sent)
    assert pipe.lines == sent


def test_lines_of_several_threads_are_not_mixed(pipe, lines):
    pipe.listen()

    def send(name):
        for number in range(200):
            lines.put(Line({"thread": name, "number": number, "text": "x" * 100}))

    threads = [threading.Thread(target=send, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pipe.finish(lines)
    for name in range(4):
        assert [line["number"] for line in pipe.lines if line["thread"] == name] == list(range(200))


def test_a_reader_that_stands_still_blocks_no_writer(pipe, lines):
    for number in range(1000):
        lines.put(Line({"number": number, "text": "x" * 100}))
    assert not lines.close(0.01)
    pipe.listen()
    until(lambda: pipe.data.count(b"\n") == 1000)
    assert [line["number"] for line in pipe.lines] == list(range(1000))


def test_without_a_reader_events_are_limited_and_the_rest_is_counted(pipe, lines):
    lines.put(Line({"first": "x" * (1 << 17)}))  # more than the pipe holds: from here on the writer stands still
    until(lambda: not lines._lines)
    for number in range(EVENT_LIMIT + 500):
        lines.put(Line({"event": number}), always=False)
    for number in range(10):
        lines.put(Line({"always": number}))
    pipe.listen()
    pipe.finish(lines)
    events = [line["event"] for line in pipe.lines if "event" in line]
    assert events[:EVENT_LIMIT] == list(range(EVENT_LIMIT))
    (lost,) = events[EVENT_LIMIT:]
    assert Event.fromJSON(lost).code == "messages-lost"
    assert lost["text"].startswith("500 messages")
    assert [line["always"] for line in pipe.lines if "always" in line] == list(range(10))


def test_dropped_events_are_reported_each_time_and_counted_anew(pipe, lines):
    pipe.listen()

    def texts():
        events = [line["event"] for line in pipe.lines if "event" in line]
        return [event["text"] for event in events if isinstance(event, dict)]

    for lost in (3, 5):
        pipe.open.clear()
        lines.put(Line({"first": "x" * (1 << 18)}))
        until(lambda: not lines._lines)
        for event in range(EVENT_LIMIT + lost):
            lines.put(Line({"event": event}), always=False)
        pipe.open.set()
        words = f"{lost} messages were dropped"
        until(lambda words=words: any(text.startswith(words) for text in texts()))
    pipe.finish(lines)
    assert len(texts()) == 2


def test_flushing_waits_until_all_lines_are_written(pipe, lines):
    assert lines.flush(5)
    lines.put(Line({"text": "x" * (1 << 18)}))
    assert not lines.flush(0.02)
    pipe.listen()
    assert lines.flush(5)
    lines.put(Line({"last": True}))
    assert lines.flush(5)
    until(lambda: pipe.data.endswith(b'{"last":true}\n'))


def test_no_line_follows_the_last_one(pipe, lines):
    long = Line({"word": "x" * (1 << 20)})
    lines.put(long)
    assert not lines.close(0.01, Line({"last": True}))  # nobody reads, and the first line is more than the pipe takes
    lines.put(Line({"word": 2}))
    assert not lines.close(0, Line({"last": "again"}))
    pipe.listen()
    pipe.finish(lines)
    assert pipe.lines == [long, {"last": True}]


def test_a_reader_that_is_gone_is_no_error(pipe, lines):
    os.close(pipe.reading)
    pipe.reading = None
    for number in range(100):
        lines.put(Line({"number": number}))
    assert lines.close(5)


# ---- frames


def test_a_frame_arrives_whole(pipe, sender, lines, workFolder):
    pipe.listen()
    sent = Frame(
        np.arange(24, dtype=np.float32).reshape(1, 2, 4, 3),
        np.diag([-0.1, 1 / 3, 1e-3, 1.0]),
        "T1 ä",
        7,
        1700000000.123456,
        1699999999.987654,
        {"SourceFile": "a.nii"},
    )
    sender.show(sent, Counts({"T1 ä": 8}, rejected=2))
    pipe.finish(lines)
    (line,) = pipe.lines
    assert line["counts"] == {"received": {"T1 ä": 8}, "rejected": 2, "recorded": 0, "failed": 0}
    found = line["frame"]
    assert {name: found[name] for name in ("stream", "number", "receiveTime", "deviceTime", "attributes")} == {
        name: getattr(sent, name) for name in ("stream", "number", "receiveTime", "deviceTime", "attributes")
    }
    np.testing.assert_array_equal(np.array(found["ijkToRAS"]), sent.ijkToRAS)
    reader = RingReader([str(workFolder)], "ring")
    view = reader.view(Place(**line["place"]), tuple(found["shape"]), np.dtype(found["dtype"]))
    np.testing.assert_array_equal(view, sent.pixels)
    assert view.dtype == np.float32
    reader.close()


def test_a_line_has_all_of_a_frame_but_its_pixels():
    names = set(FrameHeader.of(frame(0)).toJSON())
    # Sender and time offset concern the recording only, which the same process writes.
    assert names == {*Frame.__dataclass_fields__, "shape", "dtype"} - {"pixels", "sender", "timeOffset"}


def test_when_slots_are_short_the_newest_frame_of_each_stream_waits(pipe, sender):
    pipe.listen()
    for number in range(SLOTS + 10):
        sender.show(frame(number), counts(number))
    for number in range(5):
        sender.show(frame(number, "Other"), counts(SLOTS + 10 + number))
    until(lambda: len(places(pipe)) == SLOTS)
    assert shownNumbers(pipe) == list(range(SLOTS))
    first, second, *_ = places(pipe)
    sender.release([list(first.key), list(second.key)])
    until(lambda: len(places(pipe)) == SLOTS + 2)
    assert shownNumbers(pipe) == [*range(SLOTS), SLOTS + 9]
    assert shownNumbers(pipe, "Other") == [4]
    waited = next(line for line in pipe.lines if line.get("frame", {}).get("number") == SLOTS + 9)
    assert waited["counts"] == counts(SLOTS + 14).toJSON()
    sender.release([list(places(pipe)[2].key)])
    sender.show(frame(99), counts(99))
    until(lambda: shownNumbers(pipe)[-1] == 99)


def test_a_busy_stream_does_not_starve_another(pipe, sender):
    pipe.listen()
    for number in range(SLOTS):
        sender.show(frame(number, "Busy"), counts(number))
    sender.show(frame(0, "Slow"), counts(0))
    sender.show(frame(SLOTS, "Busy"), counts(SLOTS))
    sender.show(frame(SLOTS + 1, "Busy"), counts(SLOTS + 1))
    until(lambda: len(places(pipe)) == SLOTS)
    sender.release([list(places(pipe)[0].key)])
    until(lambda: shownNumbers(pipe, "Slow") == [0])


def test_counts_are_those_of_the_moment_of_the_frame(pipe, sender, lines):
    pipe.listen()
    changing = {}
    for number in range(SLOTS + 1):
        changing["Live"] = number + 1
        sender.show(frame(number), Counts(changing))
    changing["Live"] = 1000
    until(lambda: len(places(pipe)) == SLOTS)
    sender.release([list(places(pipe)[0].key)])
    pipe.finish(lines)
    assert [line["counts"]["received"]["Live"] for line in pipe.lines] == list(range(1, SLOTS + 2))


def test_a_frame_that_had_to_wait_carries_the_newest_counts(pipe, sender):
    """Not the counts of its own moment, which events and other reports have replaced."""
    pipe.listen()
    for number in range(SLOTS + 1):
        sender.show(frame(number), counts(number))
    sender.event(EVENT, counts(50))
    sender.report(StatusReport("waits"))
    until(lambda: len(places(pipe)) == SLOTS)
    sender.release([list(places(pipe)[0].key)])
    until(lambda: len(places(pipe)) == SLOTS + 1)
    assert received(pipe) == 51
    sender.show(frame(60, "Other"), counts(60))
    sender.report(StatusReport("waits", counts(70)))
    sender.release([list(places(pipe)[1].key)])
    until(lambda: len(places(pipe)) == SLOTS + 2)
    assert received(pipe) == 71


def test_draining_waits_for_the_last_frame(pipe, sender):
    pipe.listen()
    for number in range(SLOTS + 2):
        sender.show(frame(number), counts(number))
    sender.drain(0.01)  # nobody gives a slot back: not longer than it is told to
    assert shownNumbers(pipe) == list(range(SLOTS)) or until(lambda: len(shownNumbers(pipe)) == SLOTS) is None
    drained = threading.Event()
    thread = threading.Thread(target=lambda: (sender.drain(10), drained.set()))
    thread.start()
    assert not drained.is_set()
    sender.release([list(places(pipe)[0].key)])
    thread.join(5)
    assert drained.is_set()
    until(lambda: shownNumbers(pipe)[-1] == SLOTS + 1)
    sender.drain(10)  # nothing waits


def test_a_frame_without_memory_is_reported_once_and_others_are_shown(pipe, workFolder, lines):
    resource = pytest.importorskip("resource")
    ring = RingWriter([str(workFolder)], "ring")
    sender = FrameSender(ring, lines)
    pipe.listen()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        for number in range(3):
            sender.show(frame(number, shape=(1, 256, 256)), counts(number))
        sender.show(frame(3), counts(3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    pipe.finish(lines)
    ring.close()
    (event,) = [Event.fromJSON(line["event"]) for line in pipe.lines if "event" in line]
    assert (event.code, event.level) == ("no-memory", "error")
    assert "131,072 bytes" in event.text
    assert shownNumbers(pipe) == [3]


def test_events_carry_the_counts(pipe, sender, lines):
    pipe.listen()
    sender.event(EVENT, counts(4))
    sender.report(StatusReport("waiting"))
    pipe.finish(lines)
    assert pipe.lines == [{"event": EVENT.toJSON(), "counts": counts(4).toJSON()}, {"status": "waiting"}]


def test_the_end_waits_until_slicer_has_given_all_slots_back(pipe, sender):
    pipe.listen()
    for number in range(2):
        sender.show(frame(number), counts(number))
    until(lambda: len(places(pipe)) == 2)
    sender.waitForReleases(0.01)  # not longer than it is told to
    returned = threading.Event()
    thread = threading.Thread(target=lambda: (sender.waitForReleases(10), returned.set()))
    thread.start()
    sender.release([list(places(pipe)[0].key)])
    assert not returned.is_set()
    sender.release([list(places(pipe)[1].key)])
    thread.join(5)
    assert returned.is_set()
    sender.waitForReleases(10)  # nothing is out


def test_buffers_are_available_only_while_no_frame_waits(pipe, sender):
    pipe.listen()
    assert sender.getBuffer(12) is None  # before the first frame there is none
    sender.show(frame(0), counts(0))
    until(lambda: len(places(pipe)) == 1)
    memory = sender.getBuffer(12)
    assert memory.nbytes == 12
    del memory
    for number in range(1, SLOTS + 1):
        sender.show(frame(number), counts(number))
    until(lambda: len(places(pipe)) == SLOTS)
    assert sender.getBuffer(12) is None
    sender.release([list(place.key) for place in places(pipe)])
    until(lambda: len(places(pipe)) == SLOTS + 1)
    assert sender.getBuffer(12) is not None


def test_a_released_buffer_wakes_the_waiting_frame(pipe, sender):
    """An incomplete image leaves a free slot, which is noticed without a further image."""
    pipe.listen()
    sender.show(frame(0), counts(0))
    until(lambda: pipe.lines)
    sender.release([list(places(pipe)[0].key)])
    lent = [sender.getBuffer(12) for _ in range(SLOTS)]
    sender.show(frame(1), counts(1))
    assert shownNumbers(pipe) == [0]
    lent.pop()
    until(lambda: shownNumbers(pipe) == [0, 1])
