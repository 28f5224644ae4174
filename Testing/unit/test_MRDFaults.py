"""Peers of the MRD server that are hostile, damaged, slow, or speak something else."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import closing
from itertools import pairwise

import ismrmrd
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Sources.MRD import Session
from RealTimeImagingLib.Sources.MRD.Connections import BACKLOG, STALLED
from RealTimeImagingLib.Sources.MRD.Protocol import (
    IMAGE,
    AcquisitionMessage,
    CloseMessage,
    ImageMessage,
    Problem,
    TextMessage,
    WaveformMessage,
)
from RealTimeImagingLib.Sources.MRD.Receiver import TEXT_LIMIT, Receiver
from unit.mrd import CLOSE, Link, header, image, packed, phantom, start

GOOD = packed(image(phantom(1)))
LIMIT = 1 << 20


@pytest.fixture
def link(tmp_path):
    with closing(Link(tmp_path, sizeLimit=LIMIT)) as made:
        yield made


def head(**fields):
    """A message with the fixed header of an image, and nothing behind it."""
    made = image(phantom(1)).getHead()
    for name, value in fields.items():
        setattr(made, name, value)
    return struct.pack("<H", IMAGE) + bytes(made)


def received(data, size=1 << 30):
    """The messages of a receiver that gets the bytes at once."""
    return fed(Receiver(size), [data])


def fed(receiver, pieces):
    found = []
    for piece in pieces:
        left = memoryview(piece)
        while len(left):
            space = receiver.space()
            count = min(len(space), len(left))
            space[:count] = left[:count]
            left = left[count:]
            found += receiver.filled(count)
    return found


STREAM = (
    start(header(3))
    + packed(
        image(phantom(1), meta={"A": "b"}),
        ismrmrd.Acquisition.from_array(np.ones((2, 8), np.complex64), trajectory=np.zeros((8, 3), np.float32)),
        ismrmrd.Waveform.from_array(np.ones((2, 5), np.uint32)),
        "text",
        np.ones((2, 3), np.float32),
        image(phantom(2)),
    )
    + CLOSE
)
KINDS = [
    TextMessage,
    TextMessage,
    ImageMessage,
    AcquisitionMessage,
    WaveformMessage,
    TextMessage,
    Problem,
    ImageMessage,
    CloseMessage,
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20).map(sorted))
def test_messages_do_not_depend_on_the_pieces_in_which_they_arrive(cuts):
    edges = [0, *cuts, len(STREAM)]
    receiver = Receiver(1 << 30)
    found = fed(receiver, [STREAM[first:last] for first, last in pairwise(edges)])
    assert list(map(type, found)) == KINDS
    np.testing.assert_array_equal(found[2].pixels[0], phantom(1))
    np.testing.assert_array_equal(found[7].pixels[0], phantom(2))
    assert not receiver.pending
    assert receiver.finish() is None
    assert receiver.held == 0


@given(st.binary(max_size=400), st.integers(0, len(STREAM)))
def test_no_bytes_raise_and_the_memory_stays_below_the_bytes(noise, place):
    receiver = Receiver(1 << 30)
    fed(receiver, [STREAM[:place] + noise + STREAM[place:]])
    assert receiver.held <= 16 << 20
    assert len(receiver.space()) > 0


@given(st.integers(0, len(STREAM) - 1), st.integers(0, 255))
def test_a_damaged_byte_raises_nothing_in_the_whole_source(place, value):
    from RealTimeImagingLib.Sources.MRD import MRDSettings
    from RealTimeImagingLib.Sources.MRD.Session import Session

    data = bytearray(STREAM)
    data[place] = value
    session = Session(MRDSettings(), "peer", lambda nbytes: None)
    session.name = "x"
    for message in received(bytes(data), LIMIT):
        list(session.take(message, 0.0))
    list(session.end())


def broken(link, data, code):
    """Send damaged bytes and then a good image; the connection ends, and the next one works."""
    with link.scanner() as scanner:
        scanner.send(start(header(1)) + data + GOOD)
        link.until(lambda: link.codes("disconnected"))
    assert [one.code for one in link.events if one.level == "warning"] == [code, "disconnected"]
    assert not link.arrivals
    with link.scanner() as scanner:
        scanner.send(start(header(1)) + GOOD)
        scanner.finish()
    assert len(link.arrivals) == 1
    return link.codes(code)[0].text


def refused(link, data, code, count=1):
    """Send something that is skipped and named, and then a good image."""
    with link.scanner() as scanner:
        scanner.send(start(header(1)) + data + GOOD)
        link.until(lambda: link.arrivals)
        scanner.finish()
    assert len(link.arrivals) == 1
    assert [one.code for one in link.events if one.level == "warning"] == [code]
    assert link.checkpoint.rejected == count
    return scanner.back


def test_an_unknown_message_ends_the_connection(link):
    text = broken(link, b"\xf4\x03" + b"x" * 50, "unknown-type")
    assert "has the type 1012" in text


def test_an_unknown_type_of_voxels_ends_the_connection(link):
    assert "data type 99" in broken(link, head(data_type=99) + bytes(8), "unknown-data-type")
    assert link.checkpoint.rejected == 1


def test_an_impossible_size_ends_the_connection(link):
    broken(link, head(matrix_size=(65535, 65535, 65535)) + bytes(8), "damaged-header")


def test_impossible_meta_attributes_end_the_connection(link):
    broken(link, head() + b"\xff" * 8, "damaged-header")


def test_integers_with_64_bits_are_explained(link):
    made = image(phantom(1, dtype=np.int64))
    text = "64 bits"
    with link.scanner() as scanner:
        scanner.send(start(header(1)) + packed(made, made))
        link.until(lambda: link.codes("disconnected"))
    assert text in link.codes("unknown-type")[0].text


def test_a_browser_is_named(link):
    with link.scanner() as scanner:
        scanner.send(b"GET / HTTP/1.1\r\n\r\n")
        link.until(lambda: link.codes("disconnected"))
    assert "A web browser connected; this port speaks MRD" in link.codes("unknown-type")[0].text
    assert "sent no image" in link.source.status


def test_a_large_image_is_skipped_and_named(link):
    large = np.zeros((1, 1024, 1024), np.uint16)
    assert refused(link, packed(image(large)), "too-large") == GOOD + CLOSE


def test_a_long_text_is_skipped_and_named(link):
    size = TEXT_LIMIT + 1
    refused(link, struct.pack("<HI", 5, size) + bytes(size), "too-large", 0)


def test_a_large_waveform_is_skipped_and_named(link):
    refused(link, packed(ismrmrd.Waveform.from_array(np.zeros((5, 65535), np.uint32))), "too-large", 0)


def test_a_waveform_that_would_take_gigabytes_is_skipped_and_named():
    made = ismrmrd.Waveform.from_array(np.zeros((33, 32768), np.uint32))
    found = received(packed(made) + GOOD)
    assert [type(one) for one in found] == [Problem, ImageMessage]
    assert "4,325,376 bytes is larger than the limit of 4,194,304" in found[0].text


@pytest.mark.parametrize("day", ["0001-01-01", "1900-01-01", "9999-12-31"])
def test_an_anonymised_date_of_the_study_is_none(link, day):
    extra = f"<studyInformation><studyDate>{day}</studyDate></studyInformation>"
    with link.scanner() as scanner:
        scanner.send(start(header(1, extra=extra)) + packed(image(phantom(1), acquisition_time_stamp=34_560_000)))
        scanner.finish()
    assert abs(link.arrivals[0].image.deviceTime - time.time()) <= 86_400


def test_a_header_of_millions_of_elements_is_not_read(tmp_path):
    with closing(Link(tmp_path)) as link, link.scanner() as scanner:
        scanner.send(start(header(1, extra="<a/>" * (1 << 20))) + GOOD)
        link.until(lambda: link.arrivals)
        scanner.finish()
        assert "the limit is 4,194,304" in link.codes("no-header")[0].text


def test_an_array_is_skipped_and_named(link):
    refused(link, packed(np.ones((3, 4, 5), np.complex64)), "array", 0)


def test_an_image_without_voxels_is_refused_and_goes_back(link):
    empty = head(matrix_size=(0, 4, 1)) + bytes(8)
    assert refused(link, empty, "not-usable") == empty + GOOD + CLOSE


@pytest.mark.parametrize("position", [(np.nan, 0, 0), (np.inf, 0, 0)])
def test_an_image_without_a_place_is_refused_and_goes_back(link, position):
    lost = packed(image(phantom(2), position=position))
    assert refused(link, lost, "not-usable") == lost + GOOD + CLOSE
    assert "its size or position is not a number" in link.codes("not-usable")[0].text


@pytest.mark.parametrize(
    "meta",
    [
        b"<ismrmrdMeta><meta>",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><ismrmrdMeta><meta><name>&a;</name></meta></ismrmrdMeta>',
        b"\xff\xfe\x00",
        b"<ismrmrdMeta>" + b"<meta/>" * 150_000 + b"</ismrmrdMeta>",
    ],
)
def test_unreadable_meta_attributes_are_named_and_the_image_is_shown(tmp_path, meta):
    pixels = phantom(2)
    data = head() + struct.pack("<Q", len(meta)) + meta + pixels.tobytes()
    with closing(Link(tmp_path)) as link, link.scanner() as scanner:
        scanner.send(start(header(1)) + data)
        scanner.finish()
        assert scanner.back == data + CLOSE
        np.testing.assert_array_equal(link.arrivals[0].image.pixels, pixels)
        assert len(link.codes("no-meta")) == 1


def test_headers_with_thousands_of_series_make_a_limited_number_of_streams(link, monkeypatch):
    """One event names what is not shown; everything goes back, and the known series go on."""
    monkeypatch.setattr(Session, "STREAMS", 20)
    pixels = phantom(1, 1)[0]
    with link.scanner() as scanner:
        sent = [image(pixels, image_series_index=number) for number in range(200)]
        scanner.send(start(header(1)) + b"".join(map(packed, sent)))
        link.until(lambda: link.checkpoint.rejected == 180)
        assert len(set(link.streams())) == 20
        scanner.send(packed(image(pixels, image_series_index=7)))
        link.until(lambda: len(link.arrivals) == 21)
        assert link.streams()[-1] == link.streams()[7]
        (event,) = link.codes("not-usable")
        assert "make at most 20 streams" in event.text
        assert link.checkpoint.rejected == 180
        for _turn in range(1000):
            scanner.turn()
            if len(scanner.back) == 201 * len(packed(sent[0])):
                break
        assert len(scanner.back) == 201 * len(packed(sent[0]))


def test_a_hundred_equal_faults_are_one_event(link):
    with link.scanner() as scanner:
        scanner.send(start(header(1)) + 100 * packed(image(phantom(2), position=(np.nan, 0, 0))))
        scanner.finish()
    assert link.checkpoint.rejected == 100
    assert len(link.codes("not-usable")) == 1


def test_a_cut_connection_keeps_what_arrived(link):
    with link.scanner() as scanner:
        scanner.send(start(header(3)) + packed(*(image(phantom(1)[k], index=k) for k in range(2))) + GOOD[:-5])
        link.until(lambda: "2 images" in link.source.status)
    link.until(lambda: link.codes("disconnected"))
    assert len(link.arrivals) == 1
    assert [one.code for one in link.events if one.level == "warning"] == ["cut", "incomplete-volume", "disconnected"]
    assert link.checkpoint.rejected == 1


def test_a_scanner_that_stops_in_an_image_is_disconnected(link):
    with link.scanner() as scanner:
        scanner.send(start(header(1)) + GOOD[:100])
        link.until(lambda: link.codes("connected") and link.messages)
        link.read(0.05)
        link.clock.now += STALLED + 1
        link.until(lambda: link.codes("disconnected"))
    assert "stopped in the middle of a message" in link.codes("disconnected")[0].text


def test_a_scanner_that_pauses_between_images_stays(link):
    with link.scanner() as scanner:
        scanner.send(start(header(1)) + GOOD)
        link.until(lambda: link.arrivals)
        link.clock.now += 3600
        scanner.send(GOOD)
        link.until(lambda: len(link.arrivals) == 2)
        scanner.finish()


def test_a_scanner_that_never_reads_loses_what_goes_back_and_nothing_else(tmp_path):
    size = (4, 1024, 1024)
    data = packed(image(np.zeros(size, np.uint16)))
    count = BACKLOG // len(data) + 4
    with closing(Link(tmp_path)) as link, link.scanner() as scanner:
        peer, sent = scanner.peer, 0
        everything = memoryview(start(header(1)) + count * data + CLOSE)
        end = time.monotonic() + 60
        while sent < len(everything):
            assert time.monotonic() < end
            try:
                sent += peer.send(everything[sent : sent + (1 << 20)])
            except BlockingIOError:
                link.clock.now += 0.01
            link.read()
        link.until(lambda: link.codes("measurement-ended"))
        assert len(link.arrivals) == count
        assert len(link.codes("peer-slow")) == 1
        # It reads late: whole images, and the end.
        end = time.monotonic() + 60
        while not scanner.ended:
            assert time.monotonic() < end
            scanner.turn()
        whole, rest = divmod(len(scanner.back), len(data))
        assert rest == len(CLOSE)
        assert whole < count
        assert scanner.back == whole * data + CLOSE
        peer.close()
        link.until(lambda: link.codes("not-sent-back"))
        assert link.codes("not-sent-back")[0].text.startswith(f"{count - whole:,} images")


def test_a_scanner_that_reads_only_after_it_has_sent_everything_gets_everything(tmp_path):
    data = 3 * packed(image(np.zeros((4, 1024, 1024), np.uint16)))
    with closing(Link(tmp_path)) as link, link.scanner() as scanner:
        left = memoryview(start(header(1)) + data + CLOSE)
        end = time.monotonic() + 30
        while len(left):
            assert time.monotonic() < end
            try:
                left = left[scanner.peer.send(left) :]
            except BlockingIOError:
                pass
            link.read()
        link.until(lambda: link.codes("measurement-ended"))
        link.clock.now += STALLED + 20
        link.read()
        while not scanner.ended:
            assert time.monotonic() < end
            scanner.turn()
        assert scanner.back == data + CLOSE
        assert not link.codes("peer-slow", "not-sent-back")


def test_what_waits_for_a_scanner_that_disconnects_is_named(tmp_path):
    data = packed(image(np.zeros((4, 1024, 1024), np.uint16)))
    with closing(Link(tmp_path)) as link, link.scanner() as scanner:
        left = memoryview(start(header(1)) + 4 * data)
        while len(left):
            try:
                left = left[scanner.peer.send(left) :]
            except BlockingIOError:
                pass
            link.read()
        link.until(lambda: len(link.arrivals) == 4)
        scanner.peer.close()
        link.until(lambda: link.codes("disconnected"))
        assert len(link.codes("not-sent-back")) == 1


def test_a_scanner_that_does_not_close_is_left_after_a_while(link):
    with link.scanner() as scanner:
        scanner.send(start(header(1)) + GOOD + CLOSE)
        link.until(lambda: link.codes("measurement-ended"))
        link.read()
        link.clock.now += 60
        link.until(lambda: not link.source._connections.connected)
    assert not link.codes("disconnected")


def test_another_computer_is_refused_with_an_offer(tmp_path):
    with closing(Link(tmp_path, allowed=("10.0.0.7",))) as link:
        with socket.create_connection(("127.0.0.1", link.port)):
            link.until(lambda: link.codes("peer-refused"))
        assert link.source.remedy.settings == {"allowed": ["10.0.0.7/32", "127.0.0.1"]}


def test_the_loopback_address_offers_the_network(link):
    assert link.port
    assert "Waiting" in link.source.status
    assert link.source.remedy.settings == {"host": "0.0.0.0"}


def test_a_stop_ends_the_measurement_of_the_scanner(tmp_path):
    link = Link(tmp_path)
    with link.scanner() as scanner:
        scanner.send(start(header(1)) + GOOD)
        link.until(lambda: link.arrivals)
        link.close()
        scanner.peer.settimeout(10)
        while data := scanner.peer.recv(1 << 16):
            scanner.back += data
    assert scanner.back == GOOD + CLOSE
