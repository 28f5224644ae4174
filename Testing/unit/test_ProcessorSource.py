"""Source of a function's results, fed by the publisher of another acquisition process."""

from __future__ import annotations

import json
import socket
import time

import pytest
from RealTimeImagingLib.Link.Subscription import Opened
from RealTimeImagingLib.Sources.Checkpoint import Checkpoint
from RealTimeImagingLib.Sources.Processor import ProcessorSettings
from RealTimeImagingLib.Sources.Processor.Source import ProcessorSource
from RealTimeImagingLib.Sources.Source import TURN, Arrival, Values

from .functions import Publishing, frameOf, functionFile

COUNT = 8


@pytest.fixture
def publisher(tmp_path):
    made = Publishing(tmp_path)
    yield made
    made.close()


def read(source, done, each=lambda item: None):
    """What the source yields until ``done(items)``; ``each`` is what its acquisition process does with an item."""
    items, end = [], time.monotonic() + 30
    while not done(items):
        assert time.monotonic() < end, (source.details, items)
        for item in source.read(0.02):
            each(item)
            items.append(item)
    return items


def storeSlowly(item):
    """Take as long as a busy computer with a slow disk: the turn is over after each item."""
    end = time.monotonic() + 1.2 * TURN
    while time.monotonic() < end:
        pass


def test_resultsThatAreStoredSlowlyAllArrive(publisher, tmp_path):
    """A turn that ends after the values of an image loses neither its pixels nor the images that wait."""
    function = functionFile(
        tmp_path,
        """
        def process(frame):
            return Result(frame.pixels + 1, {"number": float(frame.number)})
        """,
    )
    settings = ProcessorSettings(function, stream="Live made")
    with Checkpoint(str(tmp_path)) as checkpoint:
        source = ProcessorSource(settings, checkpoint)
        try:
            source.command("connect", {"port": publisher.port, "token": publisher.token})
            read(source, lambda items: publisher.subscribers and "starting" not in source.status)
            for number in range(COUNT):
                publisher.publish(frameOf(number))
            items = read(source, lambda items: len(items) == 2 * COUNT, storeSlowly)
        finally:
            source.close()
    assert [item.values for item in items if isinstance(item, Values)] == [{"number": n} for n in range(COUNT)]
    images = [item.image for item in items if isinstance(item, Arrival)]
    assert [image.attributes["SourceFrame"] for image in images] == [str(number) for number in range(COUNT)]
    assert [image.pixels.max() for image in images] == [number + 1 for number in range(COUNT)]


def test_itIsConnectedOnceTheImagesOfItsSourceArrive(tmp_path):
    """A busy publisher answers late: until then it is not connected, and a second command starts nothing."""
    settings = ProcessorSettings(functionFile(tmp_path, "def process(frame): return None"), stream="Live made")
    with Checkpoint(str(tmp_path)) as checkpoint, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        source = ProcessorSource(settings, checkpoint)
        try:
            source.command("connect", {"port": port, "token": "secret"})
            connection, _address = listener.accept()
            read(source, lambda items: source.details.get("subscription") == "opening")
            assert source.details["connected"] == 0
            source.command("connect", {"port": port, "token": "secret"})
            listener.settimeout(0)
            with pytest.raises(BlockingIOError):
                listener.accept()
            with connection:
                connection.sendall(json.dumps(Opened([str(tmp_path)], "ring").toJSON()).encode() + b"\n")
                read(source, lambda items: source.details["connected"] == port)
                assert source.details["subscription"] == "open"
            read(source, lambda items: source.details["subscription"] == "ended")
            assert source.details["connected"] == 0
        finally:
            source.close()
