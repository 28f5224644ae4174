"""Rebroadcast as compressed video: real sockets, and PyAV alone at the other end."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from RealTimeImagingLib.Model.Codecs import ENCODERS
from RealTimeImagingLib.Model.Errors import SettingsError
from RealTimeImagingLib.Model.Frame import Frame
from RealTimeImagingLib.OpenIGTLink import ImageMessage, Receiver, VideoMessage
from RealTimeImagingLib.Sources.OpenIGTLink import BroadcastSettings
from RealTimeImagingLib.Worker.Broadcaster import BURST, Client, Packet
from unit import broadcast, videos
from unit.conftest import until
from unit.videos import COLUMNS, ROWS, picture

FOURCCS = {"h264": "H264", "hevc": "X265", "vp9": "VP90", "av1": "AV10"}
SMALL = (COLUMNS, ROWS)


@pytest.fixture
def broadcasting():
    made = []

    def start(**values):
        made.append(broadcast.Broadcasting(**values))
        return made[-1].untilListening()

    yield start
    for one in made:
        one.close()


def frame(number, pixels=None, stream="Live", **attributes):
    pixels = picture(number) if pixels is None else pixels
    return Frame(
        np.ascontiguousarray(pixels[None]), videos.MATRIX, stream, number, videos.START + number / 64, None, attributes
    )


def send(one, client, *frames):
    """Send frames, one after the other has left."""
    for item in frames:
        count = len(client.messages) + 1
        one.send(item)
        until(lambda count=count: len(client.messages) >= count)


@pytest.mark.parametrize("codec", list(ENCODERS))
@pytest.mark.parametrize("grey", [False, True])
def test_a_program_can_decode_what_it_gets(broadcasting, codec, grey):
    one = broadcasting(codec=codec, version=2, keyFrameDistance=5)
    client = one.connect()
    sent = [frame(number, picture(number, grey=grey), Depth="5 cm") for number in range(8)]
    send(one, client, *sent)
    got = client.messages
    assert {(message.message_type, message.fourcc, message.size) for message in got} == {
        ("VIDEO", FOURCCS[codec], (*SMALL, 1))
    }
    assert [message.message_id for message in got] == list(range(1, 9))
    assert [message.timestamp for message in got] == [item.time for item in sent]
    assert all(np.array_equal(message.ijkToRAS, videos.MATRIX) for message in got)
    assert {message.grey for message in got} == {grey}
    assert got[3].metadata == {"Depth": "5 cm"}
    assert [message.key for message in got] == [True, False, False, False, False, True, False, False]
    # The brightness is in the first rows, in its full range where the picture is grey.
    shown = videos.decode(FOURCCS[codec], [message.data for message in got], None)
    for item, found in zip(sent, shown, strict=True):
        wanted = item.pixels[0] if grey else 16 + item.pixels[0] @ (0.257, 0.504, 0.098)
        assert np.abs(found[:ROWS] - wanted.astype(float)).mean() < (8 if codec == "av1" else 3)


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9"])
@pytest.mark.parametrize("columns", [COLUMNS, COLUMNS - 1])
def test_quality_100_loses_nothing(broadcasting, codec, columns):
    one = broadcasting(codec=codec, quality=100)
    client = one.connect()
    sent = [picture(number, columns) for number in range(4)]
    send(one, client, *[frame(number, pixels) for number, pixels in enumerate(sent)])
    shown = videos.decode(FOURCCS[codec], [message.data for message in client.messages])
    assert all(np.array_equal(found[:, :columns], pixels) for found, pixels in zip(shown, sent, strict=True))


def test_a_better_quality_is_larger_and_a_limit_is_smaller(broadcasting):
    sizes = []
    for values in ({"quality": 20}, {"quality": 75}, {"quality": 95}, {"quality": 95, "bitRate": 0.1}):
        one = broadcasting(codec="h264", **values)
        client = one.connect()
        send(one, client, *map(frame, range(20)))
        sizes.append(sum(len(message.data) for message in client.messages))
    assert sizes[0] < sizes[1] < sizes[2]
    assert sizes[3] < sizes[2] / 2


def test_a_program_that_connects_later_begins_with_a_key_frame(broadcasting):
    one = broadcasting(codec="vp9", keyFrameDistance=1000)
    first = one.connect()
    send(one, first, *map(frame, range(4)))
    second = one.connect()
    send(one, first, *map(frame, range(4, 8)))
    until(lambda: len(second.messages) == 4)
    assert [message.key for message in second.messages] == [True, False, False, False]
    for client, begin in ((first, 0), (second, 4)):
        shown = videos.decode("VP90", [message.data for message in client.messages])
        for number, found in enumerate(shown, begin):
            assert np.abs(found.mean(axis=2) - picture(number).mean(axis=2)).mean() < 6


def test_a_change_of_size_begins_with_a_key_frame(broadcasting):
    one = broadcasting(codec="h264", keyFrameDistance=1000)
    client = one.connect()
    send(one, client, frame(0), frame(1), frame(2, picture(2, 96, 64)), frame(3, picture(3, 96, 64)))
    assert [(message.size, message.key) for message in client.messages] == [
        ((*SMALL, 1), True),
        ((*SMALL, 1), False),
        ((96, 64, 1), True),
        ((96, 64, 1), False),
    ]


def test_what_a_video_cannot_carry_is_sent_as_images(broadcasting):
    one = broadcasting(codec="h264")
    client = one.connect()
    deep = broadcast.frame(0, (1, 48, 64), np.int16, "Deep")
    volume = broadcast.frame(0, (4, 48, 64), np.uint8, "Volume")
    send(one, client, deep, volume, deep, frame(0))
    assert [type(message) for message in client.messages] == [ImageMessage] * 3 + [VideoMessage]
    assert np.array_equal(client.messages[1].pixels, volume.pixels)
    said = [event.text for event in one.events if event.code == "not-video"]
    assert len(said) == 2
    assert said[0].startswith("Stream Deep is sent as images: compressed video carries single slices of 8 bits only")


def packets(count, distance=1000):
    """Frames of a video; every so many are key frames."""
    return [Packet(VideoMessage(b"x", key=number % distance == 0, device_name="Live"), 1) for number in range(count)]


class _Connection:
    backlog, lost, name = 0, "", "program"


def test_a_slow_program_gets_no_frame_that_it_cannot_decode():
    slow = Client(_Connection(), 0.0)
    sent = packets(BURST + 20)
    assert slow.requestsKeyFrame(sent[0].key, 0.0)
    for packet in sent:
        slow.offer(packet)
    # More than BURST waited: all are dropped, as the newest depends on the others.
    assert slow.take(0.0) is None
    assert slow.lost == len(sent)
    assert not slow.requestsKeyFrame(sent[0].key, 0.9)
    assert slow.requestsKeyFrame(sent[0].key, 1.0)
    slow.offer(packets(2)[1])
    assert slow.take(0.0) is None
    key = packets(1)[0]
    slow.offer(key)
    assert slow.take(0.0) is key
    assert not slow.requestsKeyFrame(key.key, 9.0)


def test_a_slow_program_keeps_the_newest_key_frame():
    slow = Client(_Connection(), 0.0)
    sent = packets(BURST + 1, BURST)
    for packet in sent:
        slow.offer(packet)
    assert slow.take(0.0) is sent[-1]
    assert slow.lost == BURST


def test_a_program_that_reads_seldom_can_decode_everything_it_gets(broadcasting):
    import av

    one = broadcasting(codec="h264", keyFrameDistance=10_000, quality=90, version=2)
    client = one.connect(reading=False)
    number = 0
    while not one.statusOf(client)["lost"]:
        one.send(frame(number, np.random.default_rng(number).integers(0, 256, (480, 640, 3), np.uint8)))
        number += 1
        until(lambda: not one.broadcaster._videos._waiting)
    receiver, got, gaps = Receiver(), [], []
    client.settimeout(0.3)
    for more in range(30):
        try:
            while count := client.recv_into(receiver.space()):
                got += receiver.filled(count)
        except TimeoutError:
            if gaps := [later for earlier, later in pairwise(got) if later.message_id != earlier.message_id + 1]:
                break
            one.send(frame(number + more, np.zeros((480, 640, 3), np.uint8)))
    client.close()
    assert gaps
    decoder = av.CodecContext.create("h264", "r")
    assert sum(len(decoder.decode(av.Packet(message.data))) for message in got) == len(got)
    assert all(message.key for message in gaps)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"codec": "divx"}, "The codec is one of h264, hevc, vp9, av1, not 'divx'."),
        ({"codec": "av1", "quality": 100}, "AV1 cannot encode without loss."),
        ({"codec": "h264", "quality": 0}, "The quality is a number from 1 to 100, not 0."),
        ({"codec": "h264", "keyFrameDistance": 0}, "from 1 to 10,000, not 0."),
        ({"codec": "h264", "bitRate": -1}, "from 0 to 10,000, not -1."),
    ],
)
def test_settings_that_cannot_work_say_why(values, words):
    with pytest.raises(SettingsError) as error:
        BroadcastSettings(**values)
    assert words in str(error.value)
    assert [one.module for one in BroadcastSettings(codec="vp9").packages] == ["pyigtl", "fastcrc", "av"]
    assert Counter(one.module for one in BroadcastSettings().packages)["av"] == 0
