import os
import sys
import threading

import pytest
from RealTimeImagingLib.Link.Commands import Release
from RealTimeImagingLib.Link.Messages import encode
from RealTimeImagingLib.Processing.Commands import CommandReader
from RealTimeImagingLib.Processing.Messages import SetParameters


@pytest.fixture(params=["this system", "Windows"])
def pipe(request, monkeypatch):
    """A reader, the other end of its pipe, and an event that is set at the end."""
    if request.param == "Windows":
        monkeypatch.setattr(sys, "platform", "win32")
    reading, writing = os.pipe()
    ended = threading.Event()
    yield CommandReader(reading, ended.set), writing, ended
    monkeypatch.undo()
    os.close(reading)


def test_commandsComeInOrderAlsoInPieces(pipe):
    reader, writing, _ended = pipe
    data = encode(Release([(0, 1)])) + b"no command\n" + encode(SetParameters({"level": 2}))
    os.write(writing, data[:10])
    with pytest.raises(TimeoutError):
        reader.next(0.01)
    os.write(writing, data[10:])
    assert reader.next() == Release([[0, 1]])
    assert reader.next() == SetParameters({"level": 2})
    with pytest.raises(TimeoutError):
        reader.next(0)
    os.close(writing)
    assert reader.next() is None
    assert reader.next() is None


def test_theEndIsNoticedWhileNothingReads(pipe):
    reader, writing, ended = pipe
    os.write(writing, encode(SetParameters({})))
    assert not ended.is_set()
    os.close(writing)
    assert ended.wait(10)
    assert reader.next() == SetParameters({})
    assert reader.next() is None
