"""Frames from one acquisition process directly to others: tokens, skipped frames, and slots that are released."""

from __future__ import annotations

import queue
import socket
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from RealTimeImagingLib.Link.Commands import Publish, Stop
from RealTimeImagingLib.Link.Messages import FrameReport, PublishedReport
from RealTimeImagingLib.Link.Ring import SLOTS, RingReader, RingWriter
from RealTimeImagingLib.Link.Subscription import Subscribe, Subscription
from RealTimeImagingLib.Model.Frame import Image
from RealTimeImagingLib.Sources.Checkpoint import Checkpoint
from RealTimeImagingLib.Sources.Source import Arrival
from RealTimeImagingLib.Worker.Frames import FrameSender
from RealTimeImagingLib.Worker.Worker import Worker
from unit.functions import Publishing, frameOf


class Listening:
    """A subscription that collects what comes."""

    def __init__(self, port, token, stream="Live", slots=4, limit=None):
        self.offers = queue.Queue()
        self.ended = queue.Queue()
        request = Subscribe(token, stream, slots, limit)
        take = lambda _subscription, offer: self.offers.put(offer)  # noqa: E731
        self.subscription = Subscription(port, request, take, self.ended.put)

    def next(self):
        return self.offers.get(timeout=10)


def until(predicate):
    end = time.monotonic() + 10
    while not predicate():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def publisher(tmp_path):
    made = Publishing(tmp_path)
    yield made
    made.close()


def subscribed(publisher, count):
    until(lambda: len(publisher.subscribers) == count)


def test_framesArriveWithTheirPixelsInOrder(publisher):
    one = Listening(publisher.port, publisher.token)
    subscribed(publisher, 1)
    quota = publisher.subscribers[0].quota
    reader = None
    for number in range(20):
        publisher.publish(frameOf(number, attributes={"A": str(number)}))
        offer = one.next()
        reader = reader or RingReader(one.subscription.folders, one.subscription.ring)
        assert (offer.frame.number, offer.frame.attributes) == (number, {"A": str(number)})
        assert (reader.view(offer.place, offer.frame.shape, np.dtype(offer.frame.dtype)) == number).all()
        if number < 17:
            one.subscription.release(offer.place)
            until(lambda: not quota.held)
    assert len(quota.held) == 3
    one.subscription.close()
    assert one.ended.get(timeout=10) is one.subscription
    subscribed(publisher, 0)
    assert not quota.held


@pytest.mark.parametrize("shown", [True, False])
def test_aSubscriberThatHangsTakesNoSlotsFromSlicer(publisher, shown):
    """It gets its frames, too, when Slicer is the one that hangs."""
    one = Listening(publisher.port, publisher.token, slots=5)
    subscribed(publisher, 1)
    for number in range(20):
        publisher.publish(frameOf(number), shown)
        offer = one.next()
        assert (offer.place is not None) is (number < 5)
    if not shown:
        assert len(publisher.slicer.places) == SLOTS
        publisher.sender.release([place.key for place in publisher.slicer.places])
    for number in range(SLOTS):
        publisher.publish(frameOf(number), shown=False)
    assert len(publisher.slicer.places) == (SLOTS if shown else 2 * SLOTS)


def test_aFrameInASlotIsNotCopied(publisher, tmp_path):
    one = Listening(publisher.port, publisher.token)
    subscribed(publisher, 1)
    publisher.publish(frameOf(0))
    one.next()
    memory = publisher.sender.getBuffer(8)
    frame = frameOf(1, memory.view(np.int16).reshape(1, 2, 2))
    publisher.publish(frame, shown=False)
    offer = one.next()
    assert offer.place == publisher.slicer.places[-1]
    view = RingReader([str(tmp_path)], one.subscription.ring).view(offer.place, (1, 2, 2), np.dtype(np.int16))
    memory.view(np.int16)[:] = 1, 2, 3, 4
    np.testing.assert_array_equal(view, [[[1, 2], [3, 4]]])
    # Slicer and the source are ready with it, and the subscriber is not.
    publisher.sender.release([offer.place.key])
    publisher.slicer.places.clear()
    del memory, frame
    for number in range(9):
        publisher.publish(frameOf(number, np.zeros((1, 2, 2), np.int16)))
    np.testing.assert_array_equal(view, [[[1, 2], [3, 4]]])


def test_framesWithoutASlotAreOfferedWithoutPixels(publisher):
    one = Listening(publisher.port, publisher.token, slots=2)
    subscribed(publisher, 1)
    for number in range(5):
        publisher.publish(frameOf(number))
    assert [one.next().place is not None for _number in range(5)] == [True, True, False, False, False]


def test_subscribersThatFollowEachOtherGetEveryFrame(publisher):
    """While the functions of the first ones are still loaded, and give no slot back."""
    every = []
    for number in range(4):
        every.append(Listening(publisher.port, publisher.token, slots=8))
        subscribed(publisher, len(every))
        publisher.publish(frameOf(number))
        assert [one.next().place is not None for one in every] == [True] * len(every)


def test_onlyTheStreamThatIsWantedIsCopied(publisher):
    one, other = (Listening(publisher.port, publisher.token, stream) for stream in ("Live", "Other"))
    subscribed(publisher, 2)
    publisher.publish(frameOf(0))
    publisher.publish(replace(frameOf(1), stream="Other"))
    publisher.publish(frameOf(2))
    # Frames arrive in order: one of the other stream would come before the last.
    assert [one.next().frame.number for _number in range(2)] == [0, 2]
    assert other.next().frame.number == 1


def test_aLimitOfBytesHoldsForLargeFrames(publisher):
    one = Listening(publisher.port, publisher.token, slots=64, limit=3 * 4096)
    subscribed(publisher, 1)
    for number in range(5):
        publisher.publish(frameOf(number, np.zeros((1, 64, 64), np.uint8)))
    assert [one.next().place is not None for _number in range(5)] == [True] * 3 + [False] * 2


def test_aSubscriberWithoutTheTokenGetsNothing(publisher):
    one = Listening(publisher.port, "guess")
    assert one.ended.get(timeout=10) is one.subscription
    for sent in (b"GET / HTTP/1.1\n\n", b"\n", b"[]\n", b'{"token": 3}\n'):
        with socket.create_connection(("127.0.0.1", publisher.port), 10) as connection:
            connection.sendall(sent)
            assert connection.recv(10) == b""
    assert publisher.subscribers == []


def test_theEndOfThePublisherLeavesWhatWaits(publisher, tmp_path):
    """The slots stay taken: the subscriber may still read them while the last frames are shown."""
    one = Listening(publisher.port, publisher.token)
    subscribed(publisher, 1)
    publisher.publish(frameOf(9))
    publisher.end()
    offer = one.next()
    assert one.ended.get(timeout=10) is one.subscription
    subscribed(publisher, 0)
    for number in range(SLOTS):
        publisher.publish(frameOf(number), shown=False)
    reader = RingReader([str(tmp_path)], one.subscription.ring)
    assert (reader.view(offer.place, offer.frame.shape, np.dtype(offer.frame.dtype)) == 9).all()


def test_aSubscriberThatReadsNothingHoldsUpNothing(publisher):
    """Its lines are bounded; another subscriber gets everything."""
    with socket.create_connection(("127.0.0.1", publisher.port), 10) as hung:
        hung.sendall(b'{"token":"%s","stream":"Live","slots":2}\n' % publisher.token.encode())
        one = Listening(publisher.port, publisher.token, slots=2)
        subscribed(publisher, 2)
        started = time.monotonic()
        for number in range(4000):
            publisher.publish(frameOf(number))
            offer = one.next()
            if offer.place:
                one.subscription.release(offer.place)
            assert offer.frame.number == number
        assert time.monotonic() - started < 60


class Images:
    """A source of given images, and the other end of its acquisition process; a subscriber connects to it."""

    status = ""

    def __init__(self):
        self.given = queue.Queue()
        self.listening = None
        self.order = []

    def read(self, seconds):
        image = self.given.get(timeout=10)
        if image is not None:
            yield Arrival("Live", image, 1000.0)

    def wake(self):
        self.given.put(None)

    def command(self, name, values):
        pass

    def close(self):
        pass

    def put(self, message, always=True):
        """Take a line as Slicer does."""
        if isinstance(message, PublishedReport):
            self.listening = Listening(message.published, message.token)
        if isinstance(message, FrameReport):
            self.order += [("function", self.listening.next().frame.number), ("Slicer", message.frame.number)]
        return True

    def flush(self, seconds):
        pass


def test_aFunctionGetsAFrameBeforeSlicer(tmp_path):
    """Slicer, which its line wakes, copies the pixels, often on the processor of the acquisition process."""
    images = Images()
    with Checkpoint(str(tmp_path)) as checkpoint:
        sender = FrameSender(RingWriter([str(tmp_path)], "process1"), images)
        worker = Worker(lambda: images, checkpoint, sender, [Publish()], [str(tmp_path)], "process1")
        thread = threading.Thread(target=worker.run)
        thread.start()
        until(lambda: worker._publisher._subscribers)
        for number in range(3):
            images.given.put(Image(np.full((1, 2, 2), number, np.int16), np.eye(4)))
        until(lambda: len(images.order) == 6)
        worker.command(Stop())
        thread.join(10)
    assert images.order == [(who, number) for number in range(3) for who in ("function", "Slicer")]
