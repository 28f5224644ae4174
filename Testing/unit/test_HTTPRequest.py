"""HTTP messages: requests in any pieces, malformed requests, answers."""

from __future__ import annotations

import http.client
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Model.Errors import RequestError
from RealTimeImagingLib.Sources.HTTP.Request import FIELDS, HEAD_LIMIT, Answer, RequestReader
from unit.examples import examples
from unit.httpSource import chunked, head, posted


class Pieces(io.RawIOBase):
    """Connection that delivers these pieces of bytes."""

    def __init__(self, pieces):
        self._pieces = [bytes(piece) for piece in pieces if piece]

    def readable(self):
        return True

    def readinto(self, memory):
        if not self._pieces:
            return 0
        piece = self._pieces.pop(0)
        count = min(len(piece), len(memory))
        memory[:count] = piece[:count]
        if count < len(piece):
            self._pieces.insert(0, piece[count:])
        return count


class Received(bytearray):
    """Body in memory with a buffer of at most 100 bytes."""

    def buffer(self, most):
        self._memory = memoryview(bytearray(min(most, 100)))
        return self._memory

    def filled(self, count):
        self.extend(self._memory[:count])


def requestsIn(pieces):
    """Return (head, body) of each request in these pieces of bytes."""
    reader, found = RequestReader(Pieces(pieces)), []
    while reader.begins():
        found.append((reader.head(), Received()))
        assert sum(reader.receive(*found[-1])) == len(found[-1][1])
    return [(one, bytes(body)) for one, body in found]


def refusal(data):
    with pytest.raises(RequestError) as caught:
        requestsIn([data])
    return caught.value.status


BODIES = st.binary(max_size=3000)


@examples(2.5)
@given(st.lists(st.tuples(BODIES, st.integers(0, 700)), max_size=5), st.data())
def test_requests_in_any_pieces(wanted, chance):
    """Bodies with a length and in chunks, one after the other, in any division of the bytes."""
    data = b""
    for number, (body, size) in enumerate(wanted):
        path = f"/frame?stream=S{number}"
        if size:
            data += head(path=path, headers={"Transfer-Encoding": "chunked"}) + chunked(body, size)
        else:
            data += posted(body, path)
    cuts = sorted(chance.draw(st.lists(st.integers(0, len(data)), max_size=20)))
    pieces = [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    found = requestsIn(pieces)
    assert [body for _, body in found] == [body for body, _ in wanted]
    assert [one.query["stream"] for one, _ in found] == [f"S{number}" for number in range(len(wanted))]
    assert [one.chunked for one, _ in found] == [bool(size) for _, size in wanted]


def test_fields_of_a_head():
    text = (
        "POST /fr%C3%A4me?a=1&b=x%20y&empty= HTTP/1.1\r\nHost: h\r\nX-Two:  one \r\nx-two: two\r\n"
        "Größe: 3\r\nExpect: 100-continue\r\nConnection: Close\r\nContent-Length: 4\r\n\r\nbody"
    )
    with pytest.raises(RequestError):
        requestsIn([text.encode()])  # not allowed in a name
    ((one, body),) = requestsIn([text.replace("Größe: 3", "Size: größe").encode()])
    assert (one.method, one.path, dict(one.query)) == ("POST", "/främe", {"a": "1", "b": "x y", "empty": ""})
    assert (one.headers["x-two"], one.headers["size"]) == ("one, two", "größe")
    assert (one.length, one.asks, one.keepAlive, one.hasBody, body) == (4, True, False, True, b"body")
    ((one, _),) = requestsIn([b"\r\n\r\nGET http://h:1/status HTTP/1.0\r\nSize: gr\xf6\xdfe\r\n\r\n"])
    assert (one.path, one.headers["size"], one.keepAlive, one.hasBody) == ("/status", "größe", False, False)
    ((one, _),) = requestsIn([b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n1"])
    assert not one.asks


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\n\n", 400),
        (b"GET /frame HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (head(headers={"Content-Length": "4, 4"}), 400),
        (head(headers={"Content-Length": "-4"}), 400),
        (head(headers={"Content-Length": "0x4"}), 400),
        (head(headers={"Content-Length": 4, "content-length": 5}), 400),
        (head(headers={"Content-Length": 4, "Transfer-Encoding": "chunked"}), 400),
        (head(headers={"Transfer-Encoding": "gzip, chunked"}), 501),
        (head(headers={"Transfer-Encoding": "chun\N{KELVIN SIGN}ed"}), 501),
        (head(headers={"Expect": "a miracle"}), 417),
        (head(headers={"X-RTI-Stream": "A", "x-rti-stream": "B"}), 400),
        (head(headers={"Bad name": "A"}), 400),
        (head(headers={"X": "a\r\n folded"}), 400),
        (head(headers={"X": "a\0b"}), 400),
        (head(headers={"X": "a\rContent-Length: 4"}), 400),
        (head(path="/frame?a=1&a=2"), 400),
        (head(path="/frame?a=%FF"), 400),
        (head(path="/%FF"), 400),
        (head(path="http://[bad/"), 400),
        (head(path="/frame?" + "&".join(f"a{n}=1" for n in range(FIELDS + 1))), 400),
        (head(headers={f"X{n}": "1" for n in range(FIELDS)}), 431),
        (head(headers={"X": " " * HEAD_LIMIT}), 431),
        (b"POST " + b"x" * (HEAD_LIMIT + 1), 431),
        (b"\r\n" * HEAD_LIMIT, 431),
        (head(headers={"Transfer-Encoding": "chunked"}) + b"nothing\r\n", 400),
        (head(headers={"Transfer-Encoding": "chunked"}) + b"2\r\nabc\r\n", 400),
        (head(headers={"Transfer-Encoding": "chunked"}) + b"2;a\r2\r\nab\r\n0\r\n\r\n", 400),
        (head(headers={"Transfer-Encoding": "chunked"}) + b"2\r\nab\r\n0\r\nX: a\rb\r\n\r\n", 400),
        (head(headers={"Transfer-Encoding": "chunked"}) + b"0\r\n" + b"X: 1\r\n" * HEAD_LIMIT, 431),
    ],
)
def test_malformed_requests_have_a_status(data, status):
    assert refusal(data) == status


@examples(2.5)
@given(st.binary(max_size=2000), st.booleans())
def test_any_bytes_are_a_request_or_refused(data, behindAHead):
    data = head(headers={"Transfer-Encoding": "chunked"}) + data if behindAHead else data
    status = 200
    try:
        requestsIn([data])
    except RequestError as error:
        status = error.status
    except EOFError:
        pass  # incomplete
    assert status == 200 or 400 <= status < 600


@pytest.mark.parametrize("cut", [1, 30, 150, -1])
def test_a_request_that_is_cut(cut):
    for data in (posted(), head(headers={"Transfer-Encoding": "chunked"}) + chunked(bytes(300))):
        with pytest.raises(EOFError):
            requestsIn([data[:cut]])


class Link:
    """Socket for http.client to read an answer from."""

    def __init__(self, data):
        self.data = data

    def makefile(self, mode):
        return io.BytesIO(self.data)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 405, 408, 411, 413, 415, 417, 429, 431, 501, 503, 505])
def test_other_programs_understand_the_answers(status):
    answer = Answer(status, {"größe": [1]}, {"Retry-After": "1"})
    response = http.client.HTTPResponse(Link(answer.toBytes(status == 200)))
    response.begin()
    assert (response.status, response.getheader("Retry-After"), response.will_close) == (status, "1", status != 200)
    assert response.read() == b'{"gr\\u00f6\\u00dfe": [1]}\n'
