"""Bytes in, messages out: what a connection says of good, bad and hostile bytes."""

import tracemalloc

import numpy as np
import pytest
from fastcrc.crc64 import ecma_182
from pyigtl.messages import MessageBase
from RealTimeImagingLib.Model.Errors import WireError
from RealTimeImagingLib.OpenIGTLink import (
    SKIP_LIMIT,
    ImageMessage,
    Problem,
    Receiver,
    StatusMessage,
    StringMessage,
    TransformMessage,
    crc64,
    deviceOnWire,
    fastChecksum,
    pack,
    packBuffers,
)
from RealTimeImagingLib.OpenIGTLink import Base as checksumModule
from RealTimeImagingLib.OpenIGTLink.Header import seconds, wireTime
from unit.openIGTLinkBytes import extended, framed, give, imageContent, received, refused

GOOD = framed("STRING", b"\0\3\0\4good", device=b"Next")
MIB = 1 << 20


def afterwards(data, **settings):
    """The problems that these bytes make, after which the next good message must have been received."""
    receiver = Receiver(**settings)
    *problems, message = give(receiver, data + GOOD)
    assert message.string == "good"
    assert not receiver.pending
    assert not receiver.broken
    assert receiver.counts.messages == 1
    assert receiver.counts.bytes == len(data + GOOD)
    return problems, receiver.counts


def test_a_header_is_as_specified():
    """header.md: V TYPE[12] DEVICE_NAME[20] TIME_STAMP BODY_SIZE CRC."""
    wire = pack(StringMessage("123456789", 1.5, "Ä"))
    assert wire[:58].hex() == (
        "0001"
        + "535452494e47000000000000"
        + "c384" + "00" * 18
        + "0000000180000000"
        + "000000000000000d"
        + f"{ecma_182(bytes.fromhex('00030009') + b'123456789'):016x}"
    )  # fmt: skip


def test_a_body_of_version_2_is_as_specified():
    """header.md: EXT_HEADER_SIZE META_HEADER_SIZE META_SIZE MSG_ID, content, INDEX_COUNT, headers, keys and values."""
    message = StringMessage("a", 0.0, "D")
    message.metadata, message.message_id = {"k": "v", "é": "ü"}, 9
    wire = pack(message, version=2)
    assert wire[58:].hex() == bytes.fromhex(
        "000c 0012 00000006 00000009"
        "0003 0001 61"
        "0002  0001 0003 00000001  0002 006a 00000002"
        "6b 76 c3a9 c3bc"
    ).hex()  # fmt: skip
    found = received(wire)
    assert (found.metadata, found.message_id, found.header_version) == (message.metadata, 9, 2)
    assert received(pack(message)).metadata == {}


def test_the_checksum_is_that_of_ecma_182():
    # The check value of CRC-64/ECMA-182 in the catalogue of parametrised CRC algorithms.
    assert crc64(b"123456789") == 0x6C40DF5F0B497347
    assert crc64(b"6789", crc64(b"12345")) == crc64(b"123456789")
    assert fastChecksum()


def test_checksums_in_python_are_the_same():
    slow = checksumModule._slow()
    data = np.random.default_rng(1).integers(0, 256, 3 * MIB // 2, np.uint8)
    assert slow(data.data, 5) == crc64(data.data, 5)
    assert slow(b"", 5) == crc64(b"", 5) == 5


@pytest.mark.parametrize("stamp", [0, 1, 0x80000000, 0x499602D4_00000000, 0x6920_0000_1234_5400, 2**64 - 2**12])
def test_a_time_comes_back_as_it_was(stamp):
    """timestamp.md: 32 bits of seconds and 32 bits of their fraction; float64 holds 53 of the 64."""
    assert wireTime(seconds(stamp)) == stamp
    assert received(framed("GET_STATUS", b"", stamp=stamp)).timestamp == stamp / 2**32


@pytest.mark.parametrize("time", [-1.0, 2.0**32, float("nan"), float("inf")])
def test_a_time_that_cannot_be_sent_is_refused(time):
    with pytest.raises(WireError, match="1970 to 2106"):
        pack(StringMessage("a", time))


def test_a_name_is_what_the_other_side_has():
    assert deviceOnWire("a" * 30) == "a" * 20
    assert deviceOnWire("é" * 11) == "é" * 10
    assert deviceOnWire("a\0b") == "a"


@pytest.mark.parametrize("version", [0, 3])
def test_there_are_two_versions_to_send(version):
    with pytest.raises(WireError, match="header versions 1 and 2"):
        pack(StringMessage("a"), version=version)


def test_too_much_metadata_is_refused():
    message = StringMessage("a")
    message.metadata = {str(number): "" for number in range(8192)}
    with pytest.raises(WireError, match="8,191"):
        pack(message, version=2)
    message.metadata = {"k" * 65536: ""}
    with pytest.raises(WireError, match="key"):
        pack(message, version=2)


def test_pixels_are_sent_as_they_lie():
    pixels = np.zeros((2, 3, 4), np.int16)
    first, sent, *rest = packBuffers(ImageMessage(pixels))
    assert np.frombuffer(sent, np.int16).__array_interface__["data"] == pixels.__array_interface__["data"]
    assert (len(first), rest) == (58 + 72, [])
    assert len(packBuffers(ImageMessage(pixels), version=2)) == 3


@pytest.mark.parametrize("size", [12, 13, 100, 0xFFFF])
def test_longer_extended_headers_are_passed_over(size):
    """v3_proposal.md: EXT_HEADER_SIZE is there so that the header can grow."""
    for name, content in (("STRING", b"\0\3\0\1a"), ("IMAGE", imageContent())):
        body = extended(content, [(b"a", 3, b"1"), (b"b", 106, "é".encode()), (b"c", 4, b"\xe9")], size=size)
        message = received(framed(name, body, version=2))
        assert message.metadata == {"a": "1", "b": "é", "c": "é"}
        assert message.message_id == 7


@pytest.mark.parametrize(
    ("begin", "words"),
    [
        ("0007 0002 00000000 00000000", "7 bytes"),
        ("ffff 0002 00000000 00000000", "65,537 bytes"),
        ("000c ffff 00000000 00000000", "65,547 bytes"),
        ("000c 0002 ffffffff 00000000", "4,294,967,309 bytes"),
        ("000c", "no room"),
    ],
)
@pytest.mark.parametrize("name", ["STRING", "IMAGE"])
def test_sizes_of_version_2_that_do_not_go_into_the_body_are_refused(begin, words, name):
    (problem,), _ = afterwards(framed(name, bytes.fromhex(begin), version=2))
    assert problem.code == "malformed"
    assert words in problem.text


@pytest.mark.parametrize("name", ["STRING", "IMAGE"])
@pytest.mark.parametrize(
    "metadata",
    ["0001 0001 0003 00000002 6162", "0002 0001 0003 00000001 6162", "ffff 0001 0003 00000001 6162", "00"],
    ids=["long value", "2 of 1", "65535 of 1", "no count"],
)
def test_metadata_that_contradicts_itself_is_refused(metadata, name):
    content = imageContent() if name == "IMAGE" else b"\0\3\0\1a"
    raw = bytes.fromhex(metadata)
    table = min(10, len(raw))
    head = (12).to_bytes(2, "big") + table.to_bytes(2, "big") + (len(raw) - table).to_bytes(4, "big") + bytes(4)
    (problem,), _ = afterwards(framed(name, head + content + raw, version=2))
    assert "its metadata cannot be read" in problem.text


@pytest.mark.parametrize("name", ["STRING", "IMAGE"])
def test_a_wrong_checksum_is_one_problem(name):
    content = imageContent() if name == "IMAGE" else b"\0\3\0\1a"
    wire = framed(name, content, checksum=1)
    (problem,), _ = afterwards(wire)
    assert (problem.code, problem.fatal, problem.device) == ("wrong-crc", False, "Probe")
    received(wire, checkCRC=False)


def test_a_checksum_of_zero_is_compared_as_any_other():
    """So does igtlMessageBase.cxx, UnpackBody; and it reads no body where there is none."""
    assert refused(framed("STRING", b"\0\3\0\1a", checksum=0)).code == "wrong-crc"
    received(framed("GET_STATUS", b"", checksum=99))


def test_unknown_types_are_told_once_and_counted():
    video = framed("VIDEOX", bytes(200_000))
    problems, counts = afterwards(video * 3 + framed("OWN", b""))
    assert [problem.code for problem in problems] == ["unknown-type", "unknown-type"]
    assert [problem.text[:16] for problem in problems] == ["VIDEOX from Prob", "OWN from Probe w"]
    assert counts.unknown == {"VIDEOX": 3, "OWN": 1}


def test_each_damaged_video_message_is_told():
    problems, counts = afterwards(framed("VIDEO", bytes(200_000)) * 3)
    assert [problem.code for problem in problems] == ["malformed"] * 3
    assert "VIDEO from Probe was rejected: its video header has version 0; expected 1." in problems[0].text
    assert counts.unknown == {}


def test_no_peer_can_fill_the_memory_with_types():
    problems, counts = afterwards(b"".join(framed(f"T{number}", b"") for number in range(1000)))
    assert len(problems) == 100
    assert len(counts.unknown) == 101
    assert sum(counts.unknown.values()) == 1000


def test_a_header_of_protocols_to_come_is_passed_over():
    (problem,), _ = afterwards(framed("STRING", b"\0\3\0\1a", version=3))
    assert problem.code == "unsupported-version"


def test_a_message_above_the_limit_is_told_at_once_and_passed_over():
    receiver = Receiver(sizeLimit=1000)
    header = framed("IMAGE", b"", size=10_000_000, checksum=0)
    (problem,) = give(receiver, header)
    assert (problem.code, problem.fatal) == ("too-large", False)
    assert "10,000,000 bytes; the limit is 1,000" in problem.text
    assert receiver.pending
    assert give(receiver, bytes(10_000_000 - 1)) == []
    (message,) = give(receiver, b"\0" + GOOD)
    assert message.string == "good"
    assert receiver.counts.messages == 1


@pytest.mark.parametrize(("type_", "size"), [("POINT", 136 * 200_000), ("TDATA", 70 * 15_000), ("QTDATA", 50 * 21_000)])
def test_texts_and_lists_have_a_lower_limit(type_, size):
    problem = give(Receiver(), framed(type_, b"", size=size))[0]
    assert (problem.code, problem.fatal) == ("over-limit", False)


@pytest.mark.parametrize("size", [SKIP_LIMIT + 1, 2**40, 2**64 - 1])
def test_a_size_that_cannot_be_is_the_end(size):
    receiver = Receiver()
    (problem,) = give(receiver, framed("IMAGE", b"", size=size) + GOOD)
    assert (problem.code, problem.fatal, problem.device) == ("over-limit", True, "Probe")
    assert receiver.broken


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),  # TLS hello
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\n",
        bytes(58),
        framed("STRING", b"", version=4),
        framed("", b""),
        framed("   ", b""),
        framed("STR\x01", b""),
        framed("STRING", b"").replace(b"STRING", b"STR\xffNG"),
    ],
    ids=["TLS", "HTTP", "line", "zeros", "version 4", "no type", "blank type", "control sign", "not ASCII"],
)
def test_what_is_no_header_is_the_end(data):
    receiver = Receiver()
    (problem,) = give(receiver, data)
    assert (problem.code, problem.fatal, receiver.broken) == ("not-openigtlink", True, True)
    assert "OpenIGTLink" in problem.text
    assert not receiver.pending
    assert give(receiver, GOOD * 5000) == []
    assert receiver.finish() is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GET / HTTP/1.1\r\n", "A web browser connected; this port speaks OpenIGTLink."),
        (b"\x16\x03\x01", "A program connected with TLS; this port speaks OpenIGTLink without encryption."),
        (b"HTTP/1.1 400", "A web server answered, not an OpenIGTLink server."),
        (b"SSH-2.0-OpenSSH_9.2", "An SSH program connected; this port speaks OpenIGTLink."),
        (b"\x01\x00\x00\x00", "A DICOM program connected; this port speaks OpenIGTLink."),
    ],
)
def test_another_protocol_is_named(data, words):
    (problem,) = give(Receiver(), data)
    assert problem.text.startswith(words)


def test_the_type_ends_at_its_nul_and_its_spaces():
    assert received(framed("STRING  \0rest", b"\0\3\0\1a")).message_type == "STRING"


def test_only_the_first_bytes_are_needed_to_know_another_protocol():
    assert give(Receiver(), b"GE")[0].code == "not-openigtlink"


@pytest.mark.parametrize(
    "message",
    [GOOD, framed("IMAGE", imageContent()), pack(ImageMessage(np.zeros((9, 200, 200))))],
    ids=["text", "small image", "large image"],
)
def test_what_is_cut_off_is_told(message):
    places = sorted({*range(1, min(len(message), 140)), len(message) - 1})
    for place in places:
        receiver = Receiver()
        assert give(receiver, message[:place]) == []
        assert receiver.pending
        problem = receiver.finish()
        assert (problem.code, problem.fatal) == ("cut", False)
        came = place if place < 58 else place - 58
        assert f"after {came:,} of" in problem.text
        assert not receiver.pending
        assert receiver.finish() is None
        assert give(receiver, GOOD) == []


def test_nothing_is_cut_off_between_two_messages():
    receiver = Receiver()
    assert receiver.finish() is None
    receiver = Receiver()
    give(receiver, GOOD)
    assert receiver.finish() is None


def test_the_space_is_never_empty_but_when_nothing_was_taken():
    receiver = Receiver()
    data = memoryview(GOOD * 2000)
    count = len(receiver.space())
    receiver.space()[:] = data[:count]
    answers = receiver.filled(count)
    with pytest.raises(RuntimeError, match="Exhaust"):
        receiver.space()
    assert len(list(answers)) == count // len(GOOD)
    assert len(receiver.space()) > 0


def test_more_than_there_was_room_for_is_refused():
    receiver = Receiver()
    with pytest.raises(ValueError, match="no room"):
        receiver.filled(len(receiver.space()) + 1)


def test_many_small_messages_come_of_one_read():
    receiver = Receiver()
    assert len(receiver.space()) >= 1 << 16
    count = len(receiver.space()) // len(GOOD)
    receiver.space()[: count * len(GOOD)] = GOOD * count
    assert [message.string for message in receiver.filled(count * len(GOOD))] == ["good"] * count


def test_the_rest_of_an_image_is_asked_for_at_once():
    pixels = np.random.default_rng(2).integers(0, 256, (1, 1080, 5760), np.uint8)
    wire = memoryview(pack(ImageMessage(pixels), version=2))
    receiver, reads, said = Receiver(), 0, []
    while wire:
        space = receiver.space()
        count = min(len(space), len(wire))
        space[:count] = wire[:count]
        said += receiver.filled(count)
        wire, reads = wire[count:], reads + 1
    assert reads == 3
    np.testing.assert_array_equal(said[0].pixels, pixels)


@pytest.mark.parametrize(
    "wire",
    [
        framed("IMAGE", b"", size=2**36, checksum=0) + bytes(1000),
        framed("IMAGE", imageContent(size=(65535,) * 3, part=(65535,) * 3, components=255, scalar=11)),
        framed("IMAGE", imageContent(bytes(1), size=(65535,) * 3, part=(1, 1, 1))),
        framed("IMAGE", imageContent(b"", size=(65535, 4096, 3), part=(65535, 4096, 3))),
        framed("NDARRAY", b"\x03\xff" + b"\xff\xff" * 255),
        framed("POLYDATA", b"\xff" * 40),
        framed("BIND", b"\xff\xff" + bytes(40)),
        framed("COMMAND", bytes(130) + b"\0\3\xff\xff\xff\xff"),
        framed("STRING", b"", size=MIB * 800),
    ],
    ids=["body", "image", "part of image", "image without pixels", "array", "surface", "bind", "command", "text"],
)
def test_nothing_is_allocated_for_what_is_only_announced(wire):
    asked = []
    receiver = Receiver(lambda nbytes: asked.append(nbytes), sizeLimit=MIB * 64)
    tracemalloc.start()
    try:
        give(receiver, wire)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert asked == []
    assert peak < MIB
    assert receiver.counts.messages == 0


def test_pyigtl_reads_what_is_sent_and_the_other_way_round():
    for message in (TransformMessage(np.diag([1, 2, 3, 1]), 5.5, "T"), StringMessage("a", 5.5, "S")):
        wire = pack(message)
        assert wire == message.pack()
        fields = MessageBase.parse_header(wire[:58])
        assert (fields["message_type"], fields["device_name"]) == (message.message_type, message.device_name)
        assert received(message.pack()).timestamp == 5.5


def test_every_status_of_the_list_is_received():
    for code in range(20):
        assert received(pack(StatusMessage(code))).code == code


def test_a_problem_is_for_people():
    problem = Problem("cut", "It ended.")
    assert (problem.fatal, problem.device) == (False, "")
