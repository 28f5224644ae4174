"""Compressed video over OpenIGTLink: the message, and what the source makes of it."""

from __future__ import annotations

import struct
from collections import Counter

import numpy as np
import pytest
from RealTimeImagingLib.Model import Packages
from RealTimeImagingLib.Model.Errors import WireError
from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.Model.Frame import pictureToRAS
from RealTimeImagingLib.OpenIGTLink import VideoMessage, pack
from RealTimeImagingLib.Sources.OpenIGTLink import OpenIGTLinkSettings
from unit.openIGTLinkBytes import extended, framed, received, refused
from unit.openIGTLinkSource import Link, pose, sendAll
from unit.videos import COLUMNS, MATRIX, ROWS, START, decode, encode, message, messages, picture

KEYS = ("H264", "X265", "VP90", "AV10")


def videoContent(data=b"\x00\x00\x01bytes", **values):
    """The content of a VIDEO made by hand; see VideoStreaming/igtl_video.h."""
    header = {
        "version": 1,
        "endian": 2,
        "fourcc": b"VP90",
        "frameType": 1,
        "coordinates": 1,
        "size": (640, 480, 1),
        "t": (0.5, 0.0, 0.0),
        "s": (0.0, 0.25, 0.0),
        "n": (0.0, 0.0, 3.0),
        "centre": (10.0, 20.0, 30.0),
        "offset": (0, 0, 0),
        "part": (640, 480, 1),
        **values,
    }
    flat = [number for value in header.values() for number in (value if isinstance(value, tuple) else (value,))]
    return struct.pack(">HB4sHB3H12f6H", *flat) + data


# ---- the message


def test_fields_are_where_the_header_of_the_library_has_them():
    content = videoContent()
    assert len(content) == 76 + 8
    found = received(framed("VIDEO", content))
    assert (found.data, found.fourcc, found.size, found.coordinates) == (
        b"\x00\x00\x01bytes",
        "VP90",
        (640, 480, 1),
        "RAS",
    )
    assert (found.key, found.grey) == (True, False)
    assert np.allclose(found.ijkToRAS @ (319.5, 239.5, 0, 1), (10, 20, 30, 1))
    assert np.array_equal(np.diag(found.ijkToRAS), (0.5, 0.25, 3, 1))


@pytest.mark.parametrize(
    ("frameType", "key", "grey"), [(1, True, False), (5, False, False), (0x100, True, True), (0x500, False, True)]
)
def test_frame_types_above_255_are_grey(frameType, key, grey):
    found = received(framed("VIDEO", videoContent(frameType=frameType)))
    assert (found.key, found.grey) == (key, grey)


def test_LPS_becomes_RAS():
    found = received(framed("VIDEO", videoContent(coordinates=2)))
    assert np.allclose(found.ijkToRAS @ (319.5, 239.5, 0, 1), (-10, -20, 30, 1))


@pytest.mark.parametrize("n", [(0.0, 0.0, 0.0), (float("nan"), 0.0, 1.0), (1.0, 0.0, 0.0)])
def test_a_matrix_without_inverse_is_none(n):
    assert received(framed("VIDEO", videoContent(n=n))).ijkToRAS is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (videoContent(b"")[:75], "has a header of 76 bytes, but this content has 75"),
        (videoContent(version=2), "version 2; expected 1"),
        (videoContent(coordinates=3), "coordinates are 3"),
        (videoContent(size=(640, 0, 1), part=(640, 0, 1)), "no pixels"),
        (videoContent(part=(320, 480, 1)), "only whole pictures are supported"),
        (videoContent(offset=(1, 0, 0)), "only whole pictures are supported"),
    ],
)
def test_a_wrong_header_is_rejected_in_words(content, words):
    problem = refused(framed("VIDEO", content))
    assert (problem.code, problem.fatal) == ("malformed", False)
    assert words in problem.text


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("coordinates", ["RAS", "LPS"])
def test_a_message_arrives_as_sent(version, coordinates):
    sent = VideoMessage(b"some bytes", "X265", (31, 17, 1), MATRIX, grey=True, coordinates=coordinates, timestamp=START)
    sent.device_name, sent.message_id, sent.metadata = "Probe", 9, {"Depth": "5 cm"}
    found = received(pack(sent, version=version))
    for name in ("data", "fourcc", "size", "key", "grey", "coordinates", "timestamp", "device_name"):
        assert getattr(found, name) == getattr(sent, name)
    assert np.array_equal(found.ijkToRAS, MATRIX)
    assert (found.message_id, found.metadata) == ((9, {"Depth": "5 cm"}) if version == 2 else (0, {}))


def test_metadata_and_number_surround_the_content():
    found = received(framed("VIDEO", extended(videoContent(), [(b"a", 3, b"b")], messageID=77), version=2))
    assert (found.message_id, found.metadata, found.data) == (77, {"a": "b"}, b"\x00\x00\x01bytes")


@pytest.mark.parametrize("values", [{"fourcc": "H.264"}, {"size": (0, 1, 1)}, {"size": (70000, 1, 1)}])
def test_a_message_that_cannot_be_sent_says_why(values):
    with pytest.raises(WireError, match="VIDEO of a device without a name cannot be sent"):
        pack(VideoMessage(b"x", **values))


# ---- the source


class Watch(Link):
    """The source as a server, and one peer."""

    def __init__(self, folder, **values):
        super().__init__(folder, role="server", **values)
        self.peers = self.peer()
        self.connection = self.peers.__enter__()
        self.events.clear()

    def take(self, *sent, version=2):
        """Send messages; wait until the source has read them."""
        sendAll(self.connection, *sent, version=version)
        count = len(self.messages) + 1
        sendAll(self.connection, pose(count, device="End"), version=1)
        self.until(lambda: len(self.messages) == count)

    @property
    def pictures(self):
        return [frame.image.pixels for frame in self.frames]

    def said(self, code):
        return [event.text for event in self.events if event.code == code]

    @property
    def rejected(self):
        return self.checkpoint.rejected

    def close(self):
        self.peers.__exit__(None, None, None)
        super().close()


@pytest.fixture
def watch(tmp_path):
    made = []

    def make(**values):
        made.append(Watch(tmp_path, **values))
        return made[-1]

    yield make
    for one in made:
        one.close()


def same(found, expected):
    return len(found) == len(expected) and all(map(np.array_equal, found, expected))


@pytest.mark.parametrize("fourcc", KEYS)
def test_pictures_equal_those_of_PyAV(watch, fourcc):
    data = encode(fourcc, [picture(number) for number in range(12)])
    one = watch()
    one.take(*messages(fourcc, data))
    assert same(one.pictures, [found[None] for found in decode(fourcc, data)])
    assert one.codes == []
    assert one.rejected == 0
    for number, frame in enumerate(one.frames):
        assert frame.stream == "Probe"
        assert frame.image.deviceTime == START + number / 64
        assert np.array_equal(frame.image.ijkToRAS, MATRIX)
        assert frame.image.attributes["Device"] == "Probe"
    # Not mirrored and not turned: it is nearer to its own picture than to any other.
    first, sent = one.pictures[0][0].astype(int), picture(0).astype(int)
    turned = (sent[::-1], sent[:, ::-1], sent[::-1, ::-1], sent[..., ::-1])
    assert np.abs(first - sent).mean() < min(np.abs(first - other).mean() for other in turned) / 3


@pytest.mark.parametrize("fourcc", KEYS)
def test_grey_is_that_of_PyAV(watch, fourcc):
    data = encode(fourcc, [picture(number, grey=True) for number in range(4)])
    one = watch()
    one.take(*messages(fourcc, data, grey=True))
    assert same(one.pictures, [found[None] for found in decode(fourcc, data, "gray")])
    assert np.abs(one.pictures[3][0].astype(int) - picture(3, grey=True)).mean() < 8


def test_I420_is_shown_without_a_decoder(watch):
    import av

    frame = av.VideoFrame.from_ndarray(picture(1), format="rgb24").reformat(format="yuv420p")
    planes = frame.to_ndarray()
    one = watch()
    one.take(message(0, planes.tobytes(), "I420"), message(1, planes.tobytes()[:-1], "I420"))
    assert same(one.pictures, [frame.to_ndarray(format="rgb24")[None]])
    assert one.rejected == 1
    assert "its I420 picture of 208 x 112 pixels has 34,943 bytes" in one.said("damaged")[0]


def test_an_AV1_video_under_the_name_of_VP9_is_recognized(watch):
    data = encode("AV10", [picture(number) for number in range(3)])
    one = watch()
    one.take(*messages("VP90", data))
    assert same(one.pictures, [found[None] for found in decode("AV10", data)])


@pytest.mark.parametrize("fourcc", KEYS)
def test_a_stream_that_begins_between_key_frames_waits_for_the_next_one(watch, fourcc):
    data = encode(fourcc, [picture(number) for number in range(14)])
    one = watch()
    one.take(*messages(fourcc, data)[3:9])
    assert one.pictures == []
    assert one.codes == ["no-key-frame"]
    assert "The video of Probe begins between two key frames. Its images begin with the next" in one.source.status
    one.take(*messages(fourcc, data)[9:])
    assert same(one.pictures, [found[None] for found in decode(fourcc, data)][10:])
    assert one.codes == ["no-key-frame", "key-frame"]
    assert "continues with a key frame; 7 frames before it could not be decoded." in one.said("key-frame")[0]
    assert one.rejected == 7
    assert "key frame" not in one.source.status


@pytest.mark.parametrize("fourcc", KEYS)
def test_frames_that_depend_on_a_missing_one_are_named_and_not_shown(watch, fourcc):
    data = encode(fourcc, [picture(number) for number in range(14)])
    sent = messages(fourcc, data)
    one = watch()
    one.take(*sent[:5], *sent[6:])
    expected = [found[None] for found in decode(fourcc, data)]
    assert same(one.pictures, expected[:5] + expected[10:])
    assert one.codes == ["frames-lost", "key-frame"]
    assert "1 frame of the video of Probe did not arrive: message 6. Its images" in one.said("frames-lost")[0]
    assert "4 frames before it could not be decoded" in one.said("key-frame")[0]
    assert one.rejected == 4


def test_a_gap_before_a_key_frame_loses_nothing_else(watch):
    data = encode("H264", [picture(number) for number in range(14)])
    sent = messages("H264", data)
    one = watch()
    one.take(*sent[:6], *sent[10:])
    expected = [found[None] for found in decode("H264", data)]
    assert same(one.pictures, expected[:6] + expected[10:])
    assert "4 frames of the video of Probe did not arrive, before message 11." in one.said("frames-lost")[0]
    assert (one.codes, one.rejected) == (["frames-lost"], 0)


def test_a_rejected_message_is_a_lost_frame(watch):
    data = encode("H264", [picture(number) for number in range(12)])
    sent = messages("H264", data)
    broken = bytearray(pack(sent[5], version=2))
    broken[-1] ^= 1
    one = watch()
    sendAll(one.connection, *sent[:5], version=2)
    one.connection.sendall(bytes(broken))
    one.take(*sent[6:])
    expected = [found[None] for found in decode("H264", data)]
    assert same(one.pictures, expected[:5] + expected[10:])
    assert one.codes == ["wrong-crc", "frames-lost", "key-frame"]
    assert one.rejected == 1 + 4


def test_a_cut_frame_is_named_and_the_video_continues_with_a_key_frame(watch):
    data = encode("H264", [picture(number) for number in range(12)])
    cut = list(data)
    cut[5] = cut[5][: len(cut[5]) // 2]
    one = watch()
    one.take(*messages("H264", cut))
    expected = [found[None] for found in decode("H264", data)]
    assert same(one.pictures, expected[:5] + expected[10:])
    assert one.codes == ["damaged", "key-frame"]
    assert "VIDEO from Probe was rejected: its H.264 video is damaged. Its images continue" in one.said("damaged")[0]
    assert one.rejected == 5


def test_a_connection_that_ends_in_a_frame_is_reported(watch):
    data = encode("H264", [picture(number) for number in range(3)])
    one = watch()
    sent = messages("H264", data)
    one.take(*sent[:2])
    one.connection.sendall(pack(sent[2])[:-40])
    one.connection.close()
    one.untilCode("disconnected")
    assert len(one.pictures) == 2
    assert "The connection ended inside VIDEO from Probe" in one.said("cut")[0]


@pytest.mark.parametrize("numbers", [[0] * 12, range(5, 41, 3), [7] * 12, [*range(4000, 4006), *range(1, 7)]])
def test_senders_that_count_otherwise_lose_nothing(watch, numbers):
    data = encode("VP90", [picture(number) for number in range(12)])
    sent = messages("VP90", data)
    for one, number in zip(sent, numbers, strict=True):
        one.message_id = number
    one = watch()
    one.take(*sent)
    assert same(one.pictures, [found[None] for found in decode("VP90", data)])
    assert one.codes == []


def test_numbers_of_all_messages_together_have_no_gaps(watch):
    data = encode("VP90", [picture(number) for number in range(9)])
    sent, number = [], 0
    for index, one in enumerate(messages("VP90", data)):
        for made in [
            one,
            *(message(index, data[index], "VP90", device=f"Other {index % 2}") for _ in range(index % 3)),
        ]:
            number += 1
            made.message_id = number
            sent.append(made)
    one = watch()
    one.take(*sent)
    found = [frame.image.pixels for frame in one.frames if frame.stream == "Probe"]
    assert same(found, [found[None] for found in decode("VP90", data)])
    assert not one.said("frames-lost")


def test_numbers_with_gaps_again_and_again_count_no_frames(watch):
    data = encode("VP90", [picture(number) for number in range(40)], distance=5)
    sent = messages("VP90", data)
    for one in sent:
        one.message_id = one.message_id * 2 - one.message_id // 3  # 2, 4, 5, 7, 9, 10
    one = watch()
    one.take(*sent)
    codes = Counter(one.codes)
    assert codes["frames-lost"] == 3
    assert codes["irregular-numbers"] == 1
    expected = [found[None] for found in decode("VP90", data)]
    assert same(one.pictures[-20:], expected[-20:])
    assert one.rejected + len(one.pictures) == 40


def test_a_change_of_size_and_codec_in_mid_stream(watch):
    small = encode("H264", [picture(number, 64, 48) for number in range(3)])
    large = encode("H264", [picture(number) for number in range(3)])
    other = encode("VP90", [picture(number, 80, 64) for number in range(3)])
    one = watch()
    one.take(*messages("H264", small, size=(64, 48, 1)), version=1)
    one.take(*messages("H264", large), version=1)
    one.take(*messages("VP90", other, size=(80, 64, 1)), version=1)
    expected = [*decode("H264", small), *decode("H264", large), *decode("VP90", other)]
    assert same(one.pictures, [found[None] for found in expected])
    assert one.codes == []


def test_a_picture_with_an_added_row_and_column_has_its_own_size(watch):
    data = encode("H264", [np.pad(picture(0, 63, 47), ((0, 1), (0, 1), (0, 0)), mode="edge")])
    one = watch()
    one.take(message(0, data[0], size=(63, 47, 1)))
    assert same(one.pictures, [decode("H264", data)[0][None, :47, :63]])
    assert one.codes == []


def test_a_header_with_another_size_than_the_video_is_said_once(watch):
    data = encode("H264", [picture(number) for number in range(3)])
    one = watch()
    one.take(*messages("H264", data, size=(640, 480, 1)))
    assert same(one.pictures, [found[None] for found in decode("H264", data)])
    assert one.codes == ["size-differs"]
    assert "Probe declares 640 x 480 x 1 pixels, but its video has 208 x 112." in one.said("size-differs")[0]


def test_slices_below_each_other_become_a_volume(watch):
    data = encode("H264", [picture(0)])
    one = watch()
    one.take(message(0, data[0], size=(COLUMNS, ROWS // 4, 4)))
    assert one.pictures[0].shape == (4, ROWS // 4, COLUMNS, 3)
    assert np.array_equal(one.pictures[0].reshape(ROWS, COLUMNS, 3), decode("H264", data)[0])


def test_a_video_without_geometry_is_shown_like_a_picture(watch):
    data = encode("H264", [picture(number) for number in range(2)])
    sent = messages("H264", data)
    for one in sent:
        one.ijkToRAS = np.zeros((4, 4))
    one = watch()
    one.take(*sent)
    assert one.codes == ["no-geometry"]
    assert np.array_equal(one.frames[1].image.ijkToRAS, pictureToRAS(COLUMNS, ROWS))


def test_pictures_that_the_decoder_holds_back_come_in_their_order(watch):
    options = {"tune": "film", "bf": "2", "preset": "fast", "x264-params": "rc-lookahead=0:sync-lookahead=0"}
    data = _withB([picture(number) for number in range(10)], options)
    one = watch()
    one.take(*[message(number, one) for number, one in enumerate(data)])
    one.connection.close()
    one.untilCode("disconnected")
    expected = decode("H264", data)
    assert len(expected) == 10
    assert same(one.pictures, [found[None] for found in expected])
    assert one.rejected == 0


def _withB(pictures, options):
    """The bytes of a video with frames between two others, in the order of decoding."""
    from fractions import Fraction

    import av

    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = COLUMNS, ROWS, "yuv420p"
    encoder.time_base, encoder.max_b_frames, encoder.options = Fraction(1, 30), 2, options
    packets = []
    for number, one in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(one, format="rgb24").reformat(format="yuv420p")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    assert [packet.pts for packet in packets] != sorted(packet.pts for packet in packets)
    return [bytes(packet) for packet in packets]


def test_a_skipped_picture_is_nothing(watch):
    data = encode("H264", [picture(number) for number in range(3)])
    sent = messages("H264", data)
    sent.insert(2, message(2, b""))
    sent[3].message_id = 4
    one = watch()
    one.take(*sent)
    assert same(one.pictures, [found[None] for found in decode("H264", data)])
    assert (one.codes, one.rejected) == ([], 0)


@pytest.mark.parametrize("fourcc", KEYS)
def test_a_small_frame_that_declares_a_huge_picture_takes_no_memory(watch, fourcc):
    data = encode(fourcc, [picture(0, 512, 384)])
    one = watch(sizeLimit=3 * 256 * 256)
    one.take(message(0, data[0], fourcc, size=(64, 48, 1)), message(1, data[0], fourcc, size=(65535, 65535, 255)))
    assert one.pictures == []
    assert "it declares 65,535 x 65,535 x 255 pixels, more than the limit" in one.said("too-large")[-1]
    assert one.source.status


def test_an_unknown_codec_is_named(watch):
    one = watch()
    one.take(*[message(number, b"data", "XVID") for number in range(3)])
    assert (
        "VIDEO from Probe was rejected: its codec 'XVID' is unknown; supported are H.264"
        in one.said("unknown-codec")[0]
    )
    assert one.rejected == 3


@pytest.mark.parametrize("fourcc", KEYS)
def test_garbage_is_no_picture_and_no_end(watch, fourcc):
    data = encode(fourcc, [picture(number) for number in range(2)])
    garbage = [np.random.default_rng(number).bytes(300) for number in range(5)]
    one = watch()
    one.take(*[message(number, one, fourcc) for number, one in enumerate(garbage)], version=1)
    assert one.pictures == []
    one.take(*messages(fourcc, data), version=1)
    assert same(one.pictures[-1:], [decode(fourcc, data)[-1][None]])


def test_without_PyAV_the_offer_is_to_install_it(watch, monkeypatch):
    package = Packages.Package("noSuchModule", "av>=16,<19")
    monkeypatch.setattr("RealTimeImagingLib.Formats.VideoStream.VIDEO_PACKAGES", (package,))
    one = watch()
    one.take(message(0, b"data"))
    event = next(event for event in one.events if event.code == "compressed-video")
    assert "Compressed video needs PyAV, which Slicer does not include (av>=16,<19)." in event.text
    assert event.remedy.settings == {"video": True}
    assert "sends compressed video (VIDEO), which Slicer decodes after PyAV is installed." in one.source.status
    assert one.source.remedy == event.remedy
    assert one.settings.extraPackages == ()
    assert [package.module for package in OpenIGTLinkSettings(video=True).extraPackages] == ["av"]


def test_two_devices_of_one_peer_and_many_devices(watch):
    data = encode("VP90", [picture(number) for number in range(2)])
    one = watch()
    for number in range(40):
        one.take(message(0, data[0], "VP90", device=f"D{number}"))
    one.take(message(1, data[1], "VP90", device="D39"), message(1, data[1], "VP90", device="D0"))
    assert one.streams == [*(f"D{number}" for number in range(40)), "D39"]
    assert one.said("no-key-frame")[0].count("D0")  # its decoder was given up for those of others


@pytest.mark.parametrize("fourcc", KEYS)
def test_every_damaged_frame_is_shown_or_counted(watch, fourcc):
    """Also those that a decoder passes over without an error; at a stop, those that wait are counted, too."""
    data = encode(fourcc, [picture(number) for number in range(14)])
    sent = [one for _round in range(6) for one in messages(fourcc, data)]
    random = np.random.default_rng(0)
    one = watch()
    for each in sent:
        damaged, each.message_id = bytearray(each.data), 0
        if random.random() < 0.3:
            for place in random.integers(len(damaged), size=3):
                damaged[place] ^= 1 << int(random.integers(8))
        each.data = bytes(damaged)
        one.take(each)
    for item in one.source.rest():
        (one.events if isinstance(item, Event) else one.frames).append(item)
    assert len(one.frames) + one.rejected == len(sent)
    assert bool(one.codes) == bool(one.rejected)


def test_frames_that_the_decoder_passes_over_are_named_and_counted(watch):
    """The units of one frame have a type that no standard uses, which is no error; 5 frames depend on it."""
    sent = messages("X265", encode("X265", [picture(number) for number in range(40)]))
    parts = sent[4].data.split(b"\0\0\1")
    sent[4].data = b"\0\0\1".join([parts[0], *(b"\x5a" + part[1:] for part in parts[1:])])
    for each in sent:
        each.message_id = 0
    one = watch()
    one.take(*sent)
    assert one.codes == ["no-picture"]
    assert "1 frame of the video of Probe gave no picture" in one.said("no-picture")[0]
    assert (len(one.frames), one.rejected) == (34, 6)


def test_a_stop_counts_the_frames_that_wait_for_a_key_frame(watch):
    one = watch()
    one.take(*messages("H264", encode("H264", [picture(number) for number in range(14)]))[3:9])
    events = list(one.source.rest())
    assert [event.code for event in events] == ["key-frame"]
    assert "ended before a key frame; 6 frames could not be decoded." in events[0].text
    assert one.rejected == 6
