"""Slow, silent, disconnected, numerous and malicious senders: others go on, no partial image, no leftovers."""

from __future__ import annotations

import errno
import http.client
import socket
import struct
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Sources.HTTP import Server as HTTPServer
from RealTimeImagingLib.Sources.HTTP.Server import FIRST, IDLE, LEAST_RATE, LINGER, PATIENCE, STALLED
from unit.conftest import niftiFile, sumOf
from unit.examples import examples
from unit.httpSource import Server, answersIn, ask, chunked, head, posted, rawQuery
from unit.openIGTLinkSource import descriptors


@pytest.fixture
def make(tmp_path):
    servers = []

    def start(**values):
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        servers.append(Server(folder, **values))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
        assert not list(server.folder.glob("requests"))


@pytest.fixture
def server(make):
    return make()


def statuses(answers):
    return [one and one[0] for one in answers]


# ---- one connection, many requests


def test_many_images_over_one_connection(server):
    """Also after an unreadable image, and when the next request arrives before the answer."""
    data = posted(niftiFile(0)) + posted(b"nothing" * 60) + head("GET", "/status") + posted(niftiFile(1))
    data += head(headers={"Transfer-Encoding": "chunked"}) + chunked(niftiFile(2))
    assert statuses(server.ask(data, 5)) == [200, 415, 200, 200, 200]
    assert server.sums == [sumOf(number) for number in range(3)]
    with server.connect() as link:
        for number in range(3, 20):
            link.sendall(posted(niftiFile(number)))
            assert statuses(server.hear(link)) == [200]
    assert server.sums == [sumOf(number) for number in range(20)]


@pytest.mark.parametrize("headers", [{"Connection": "close"}, None])
def test_the_sender_can_close_after_the_answer(server, headers):
    data = posted(headers=headers) if headers else posted().replace(b"HTTP/1.1", b"HTTP/1.0")
    assert statuses(server.ask(data, 2)) == [200, None]


def test_garbage_after_an_image(server):
    """The image is received; the garbage is refused and ends the connection."""
    assert statuses(server.ask(posted() + b"\0garbage", 3)) == [200, 400, None]
    assert server.counts == (1, 1)
    assert server.codes == ["not-usable"]


def test_a_refused_body_is_not_received(server):
    """Such as 2 GB. With Expect the answer comes before the body; without, the sender may go on for a while."""
    with server.connect() as link:
        link.sendall(head(length=2 << 30, headers={"Expect": "100-continue"}))
        assert statuses(server.hear(link)) == [413]
    with server.connect() as link:
        link.sendall(head(length=3 << 20, token="") + bytes(1 << 20))
        answers = server.hear(link)
        link.setblocking(True)
        for _ in range(2):
            link.sendall(bytes(1 << 20))
            server.step()
        assert statuses(answers) == [401]
    server.until(lambda: server.source._server.connected == [])
    assert server.counts == (0, 2)


def test_a_sender_that_asks_receives_100_continue(server):
    body = niftiFile(1)
    with server.connect() as link:
        link.sendall(head(length=len(body), headers={"Expect": "100-continue"}))
        assert statuses(server.hear(link)) == [100]
        link.setblocking(True)
        link.sendall(body)
        assert statuses(server.hear(link)) == [200]
    assert server.sums == [sumOf(1)]


def test_answers_to_HEAD_have_no_body(server):
    """Its length is announced as for other methods (RFC 9110, section 9.3.2)."""
    with server.running(), server.connect() as link:
        link.sendall(head("HEAD"))
        answer = b"".join(iter(lambda: link.recv(1 << 16), b""))
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert answer.endswith(b"\r\n\r\n")


# ---- slow, silent and cut


def test_a_slow_sender_delays_no_other(server):
    """A few bytes at a time, without end; other senders receive their answers meanwhile."""
    data = posted(niftiFile(0))
    with server.connect() as slow, server.connect() as other:
        for place in range(0, len(data), 25):
            slow.sendall(data[place : place + 25])
            other.setblocking(True)
            other.sendall(posted(niftiFile(1)))
            assert statuses(server.hear(other)) == [200]
            server.step(passes=STALLED / 2 if place > 200 else 0)
        assert statuses(server.hear(slow)) == [200]
    assert server.sums.count(sumOf(0)) == 1
    assert server.codes == []


@pytest.mark.parametrize(
    ("sent", "seconds", "found"),
    [
        (b"", FIRST, [None]),
        (b"\r\n", FIRST, [408, None]),
        (b"POST /frame HTTP/1.1\r\n", FIRST, [408, None]),
        (posted()[:-1], STALLED, [408, None]),
        (head(headers={"Transfer-Encoding": "chunked"}) + b"5\r\nabc", STALLED, [408, None]),
        (posted(), IDLE, [200, None]),
    ],
    ids=["nothing", "an empty line", "half a head", "half a body", "half a chunk", "nothing more"],
)
def test_silent_connections_are_closed(server, sent, seconds, found):
    """Within a request with an answer and one event, otherwise without."""
    with server.connect() as link:
        link.sendall(sent)
        if found[0] == 200:
            assert statuses(server.hear(link)) == [200]
        server.until(lambda: server.source._server.connected)
        server.until(lambda: not sent or server.source._server.connected[0].heard == server.clock.now)
        for _ in range(5):
            server.step()
        server.step(passes=seconds - 0.5)
        assert server.source._server.connected
        server.step(passes=1)
        left = [status for status in found if status != 200]
        assert statuses(server.hear(link, len(left))) == left
        server.step(passes=LINGER + 0.1)
        server.until(lambda: server.source._server.connected == [])
    assert server.codes == (["too-slow"] if 408 in found else [])
    assert server.counts == (int(200 in found), int(408 in found))


def test_a_head_has_a_total_deadline(server):
    """Even if bytes keep arriving."""
    with server.connect() as link:
        server.until(lambda: server.source._server.connected)
        for place in range(20):
            link.sendall(head()[place : place + 1])
            server.step(passes=FIRST / 10)
            if server.codes:
                break
        server.until(lambda: server.codes == ["too-slow"])
        assert place <= 11


def sendSlowly(server, link, body, size, seconds, inChunks):
    """Send a body in pieces of this size, so many seconds apart, as long as the server takes it; return the answers."""
    start = head(headers={"Transfer-Encoding": "chunked"}) if inChunks else head(length=len(body))
    link.sendall(start)
    server.until(lambda: server.source._server.exchanges)
    for place in range(0, len(body), size):
        piece = body[place : place + size]
        link.setblocking(True)
        link.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if inChunks else piece)
        goal = place + len(piece)
        server.until(lambda: server.codes or server.frames or arrived(server) == [goal])  # noqa: B023
        server.step(passes=0 if goal == len(body) else seconds)
        server.step()
        if server.codes:
            break
    if inChunks and not server.codes:
        link.sendall(b"0\r\n\r\n")
    return statuses(server.hear(link))


def arrived(server):
    return [one.body._count for one in server.source._server.exchanges]


@pytest.mark.parametrize("inChunks", [False, True])
def test_a_body_may_take_long_at_the_least_rate(server, inChunks):
    """Several minutes, with a pause between the pieces that is shorter than allowed."""
    pause = STALLED - 1
    size = int(pause * LEAST_RATE) + 1
    shape = (20, size // 200, 100)
    began = server.clock.now
    with server.connect() as link:
        assert sendSlowly(server, link, niftiFile(1, shape), size, pause, inChunks) == [200]
    assert server.clock.now - began > 2 * PATIENCE
    assert server.sums == [sumOf(1, shape)]
    assert server.codes == []


@pytest.mark.parametrize("inChunks", [False, True])
def test_a_body_that_trickles_has_a_total_deadline(server, inChunks):
    """A byte a second: answered with 408, one event with the sender and the rate, whatever size is announced."""
    began = server.clock.now
    with server.connect() as link:
        assert sendSlowly(server, link, bytes(1 << 20), 1, 1.0, inChunks) == [408]
        sender = "{}:{}".format(*link.getsockname())
    assert PATIENCE <= server.clock.now - began <= PATIENCE + 3
    assert server.codes == ["too-slow"]
    assert server.events[-1].text.startswith(sender)
    assert "10 kB/s" in server.events[-1].text
    assert server.counts == (0, 1)
    assert list(server.folder.joinpath("requests").iterdir()) == []


@pytest.mark.parametrize("how", ["closed", "reset", "half closed"])
@pytest.mark.parametrize("cut", [1, 60, 150, -1])
def test_a_connection_cut_within_a_request(server, how, cut):
    """One event, no partial image, no file left."""
    with server.connect() as link:
        link.sendall(posted(niftiFile(0))[:cut])
        server.until(lambda: server.source._server.connected)
        for _ in range(3):
            server.step()
        if how == "half closed":
            link.shutdown(socket.SHUT_WR)
            assert statuses(server.hear(link, 2)) == [400, None]
        elif how == "reset":
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.until(lambda: server.codes)
    assert server.codes == ["connection-cut"]
    assert server.counts == (0, 1)
    assert list(server.folder.joinpath("requests").iterdir()) == []
    assert statuses(server.ask(posted(niftiFile(1)))) == [200]
    assert server.sums == [sumOf(1)]


def test_a_sender_may_disconnect_after_its_image(server):
    with server.connect() as link:
        link.sendall(posted(niftiFile(0)))
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.until(lambda: server.source._server.connected or server.codes)
    server.until(lambda: server.frames or server.codes)
    assert server.counts in ((1, 0), (0, 1))
    assert len(server.codes) <= 1


def test_a_sender_may_disconnect_after_its_answer(server, monkeypatch):
    """No acknowledgement is lost when macOS, or any system after a reset, refuses to close the sending direction."""
    shutdown = socket.socket.shutdown

    def disconnected(link, how):
        if how == socket.SHUT_WR:
            raise OSError(errno.ENOTCONN, "Socket is not connected")
        shutdown(link, how)

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "shutdown", disconnected)
        assert statuses(server.ask(posted(headers={"Connection": "close"}))) == [200]
        server.until(lambda: not server.source._server.connected)
        server.step()
    assert server.counts == (1, 0)
    assert server.codes == []


# ---- many


def test_too_many_bytes_at_once(make):
    """The first requests go on; one more receives 429."""
    server = make(sizeLimit=1 << 20)
    path, body = rawQuery(1, (64, 128, 128), "uint8")
    with ExitStack() as stack:
        links = [stack.enter_context(server.connect()) for _ in range(2)]
        for link in links:
            link.sendall(posted(body, path)[:-1])
            server.until(lambda: len(server.source._server.exchanges) == links.index(link) + 1)  # noqa: B023
        ((status, headers, values),) = server.ask(posted())
        assert (status, headers["retry-after"]) == (429, "1")
        assert "2,097,152" in values["error"]
        for link in links:
            link.sendall(body[-1:])
            assert statuses(server.hear(link)) == [200]
    assert statuses(server.ask(posted())) == [200]
    assert server.codes == ["too-many"]
    assert server.counts == (3, 1)


def test_too_many_bytes_at_once_in_chunks(make):
    """Without announced lengths: the request that exceeds the limit receives 429."""
    server, size = make(sizeLimit=1 << 20), 0xF0000
    half = head(headers={"Transfer-Encoding": "chunked"}) + b"%x\r\n" % size + bytes(size)
    with ExitStack() as stack:
        for number in (1, 2):
            stack.enter_context(server.connect()).sendall(half)
            goal = number * size
            server.until(lambda goal=goal: sum(one.body.size for one in server.source._server.exchanges) == goal)
        link = stack.enter_context(server.connect())
        link.sendall(half)
        assert statuses(server.hear(link)) == [429]
    assert server.codes[0] == "too-many"


def test_too_many_connections(server, monkeypatch):
    """A new one replaces an idle one; without an idle one it receives 503; far more are closed without an answer."""
    monkeypatch.setattr(HTTPServer, "MOST", 3)
    monkeypatch.setattr(HTTPServer, "REFUSED", 1)
    with ExitStack() as stack:
        idle = stack.enter_context(server.connect())
        idle.sendall(posted())
        assert statuses(server.hear(idle)) == [200]
        for number in range(3):
            link = stack.enter_context(server.connect())
            link.sendall(b"POST")
            server.until(lambda: sum(not one.idle for one in server.source._server.connected) == number + 1)  # noqa: B023
        assert statuses(server.hear(idle)) == [None]
        one = stack.enter_context(server.connect())
        assert statuses(server.hear(one, 2)) == [503, None]
        server.until(lambda: "not-ready" in server.codes)
        with server.connect():
            server.until(lambda: "connection-cut" in server.codes)
    assert server.counts[0] == 1


def test_silent_connections_are_replaced_before_those_of_senders(server, monkeypatch):
    """However many connect and send nothing, a sender keeps its connection between two images."""
    monkeypatch.setattr(HTTPServer, "MOST", 3)
    with ExitStack() as stack:
        sender = stack.enter_context(server.connect())
        for number in range(5):
            sender.setblocking(True)
            sender.sendall(posted(niftiFile(number)))
            assert statuses(server.hear(sender)) == [200]
            server.step(passes=1)
            silent = [stack.enter_context(server.connect()) for _ in range(3)]
            assert statuses(server.hear(silent[0])) == [None]
    assert server.sums == [sumOf(number) for number in range(5)]
    assert server.codes == []


def test_as_many_as_possible_at_once(server):
    """Each sender receives its own number; every image is there."""
    count, before = HTTPServer.MOST, threading.active_count()
    with server.running():
        start = threading.Barrier(count)

        def send(number):
            start.wait(10)
            return server.post(niftiFile(number, (8, 64, 64)))

        with ThreadPoolExecutor(count) as pool:
            answers = list(pool.map(send, range(count)))
    assert [status for status, _ in answers] == [200] * count
    assert sorted(values["number"] for _, values in answers) == list(range(count))
    for number, (_, values) in enumerate(answers):
        assert server.sums[values["number"]] == sumOf(number, (8, 64, 64))
    assert server.counts == (count, 0)
    server.until(lambda: threading.active_count() == before)


def test_nothing_is_left_behind(server):
    """No descriptors and no files, after images, refusals, cuts and silence."""
    assert statuses(server.ask(posted())) == [200]
    server.until(lambda: server.source._server.connected == [])
    before = descriptors()
    for number in range(10):
        server.ask(posted(niftiFile(number)))
        server.ask(posted(b"nothing" * 60))
        server.ask(head(length=2 << 30))
        server.ask(head(length=100, token=""))
        with server.connect() as link:
            link.sendall(posted()[:-5])
            server.step()
    server.step(passes=IDLE)
    server.step(passes=IDLE)
    server.until(lambda: server.source._server.connected == [])
    assert descriptors() == before
    assert list(server.folder.joinpath("requests").iterdir()) == []


def test_close_answers_open_requests(make):
    """And counts them; the port is free at once."""
    server = make()
    with server.connect() as link:
        link.sendall(posted()[:-1])
        server.until(lambda: server.source._server.exchanges)
        port = server.port
        server.source.close()
        data = bytearray()
        link.settimeout(5)
        while piece := link.recv(1 << 16):
            data += piece
        assert statuses(answersIn(bytes(data))) == [503]
    assert server.counts == (0, 1)
    with closing(socket.create_server(("127.0.0.1", port))):
        pass
    server.source = type(server.source)(server.settings, server.checkpoint)


def test_close_leaves_no_thread_and_no_socket(make):
    """Idle connections, half a head, half a body, and an image that waits for its answer."""
    server = make()

    def restart():
        server.source.close()
        counts = descriptors(), threading.active_count()
        server.source = type(server.source)(server.settings, server.checkpoint)
        return counts

    before = restart()
    with ExitStack() as stack:
        links = [stack.enter_context(server.connect()) for _ in range(4)]
        for link, data in zip(links, (b"", head()[:20], posted()[:-1], posted()), strict=True):
            link.sendall(data)
        end = time.monotonic() + 10
        # read() is not called: it would answer the image.
        while [one.idle for one in server.source._server.connected] != [True, False, False, False] or [
            one.body._count for one in server.source._server.exchanges
        ] != [len(niftiFile(1)) - 1, len(niftiFile(1))]:
            assert time.monotonic() < end
        after = restart()
        found = []
        for link in links:
            link.settimeout(5)
            found.append(statuses(answersIn(b"".join(iter(lambda link=link: link.recv(1 << 16), b"")))))
    assert found == [[], [], [503], [503]]
    assert server.counts == (0, 2)
    assert after == (before[0] + len(links), before[1])


def test_a_port_in_use_is_retried(make):
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        server = make(port=other.getsockname()[1])
        server.until(lambda: server.events)
        assert server.codes == ["port-taken"]
        assert "Cannot listen" in server.source.status
        assert not server.source.details
    server.step(passes=1.1)
    assert statuses(server.ask(posted())) == [200]


def test_the_server_accepts_again_after_a_lack_of_descriptors(server, monkeypatch):
    lacking = threading.Event()

    def noSelector():
        lacking.set()
        raise OSError(errno.EMFILE, "Too many open files")

    assert server.port
    with monkeypatch.context() as patch:
        patch.setattr(HTTPServer.selectors, "DefaultSelector", noSelector)
        assert lacking.wait(5)
    assert statuses(server.ask(posted())) == [200]


# ---- anything


@examples(1.5)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=300),
            st.sampled_from(
                [posted(), posted()[:-3], head(), head(length=5), b"\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\n"]
            ),
            st.builds(lambda data: head(headers={"Transfer-Encoding": "chunked"}) + data, st.binary(max_size=50)),
            st.builds(lambda name, text: posted(path=f"/frame?{name}={text}"), st.text(), st.text()).filter(bool),
        ),
        max_size=6,
    )
)
def test_after_any_bytes_the_next_image_is_received(server, pieces):
    """On another connection, at once."""
    with server.connect() as link:
        for piece in pieces:
            try:
                link.sendall(piece)
            except OSError:
                break
            server.step(0)
    received, rejected = server.counts
    assert statuses(server.ask(posted(niftiFile(7)))) == [200]
    assert sumOf(7) in server.sums[received:]
    answers = server.source._server.answers
    server.until(lambda: len(server.source._server.connected) < 20)
    assert server.counts[0] > received
    assert server.counts[1] >= rejected
    assert server.counts[0] == len(server.frames)
    # The threads of the connections count their answers.
    server.until(lambda: answers[200] >= server.counts[0])


def test_pixels_arrive_in_the_memory_of_their_image(server):
    """No second copy of 64 MB at any time, and no answer waits for further data (TCP_NODELAY)."""
    path, size = "/frame?shape=64,1024,1024&dtype=uint8", 64 << 20
    body = bytes(size)
    with server.running(), server.connect() as link:
        tracemalloc.start()
        try:
            link.sendall(head(path=path, length=size))
            link.sendall(body)
            assert statuses(answersIn(link.recv(1 << 16))) == [200]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        (connection,) = server.source._server.connected
        assert connection.link.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert server.frames[0].image.pixels.nbytes == size
    assert size <= peak < 1.1 * size


def test_one_connection_is_fast_enough_for_video(server):
    """1080p in colour at 30 images a second, raw, over one connection."""
    path, body = rawQuery(1, (1080, 1920, 3), "uint8")
    with server.running():
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as link:
            began = time.monotonic()
            for number in range(60):
                assert ask(link, body, path) == (200, {"stream": "Live", "number": number, "numbers": [number]})
                server.frames.clear()
        assert time.monotonic() - began < 2
