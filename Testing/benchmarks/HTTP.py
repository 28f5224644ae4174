"""Images that another process posts over one connection, beside a plain socket and other servers of Python."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import slicerhost
from RealTimeImagingLib import HTTPSettings

from .Common import end, scanner, startedModule, stop
from .Rows import OURS, Found, Row, interleaved

TITLE = "Images posted over HTTP"
ABOUT = """
Floor: the same sender writes the same bytes to a plain socket, whose other end reads them with `recv_into` into memory
that exists, and answers each image with a few bytes. Peer: `http.server` of Python's library, one thread for each
connection, which reads the body with `readinto` and does nothing with it. Each answer of ours says that the image is
received, numbered and, when a recording runs, stored. One connection (keep-alive), except in the last row.
"""

SIZES: dict[str, tuple[tuple[int, ...], int]] = {
    "64 MB volume": ((64, 1024, 1024), 6),
    "300 kB picture": ((480, 640), 100),
}
"""Shape of the pixels (uint8), and number of images in a sample."""
ROUNDS = 5
SENDERS, EACH = 128, 4
TOKEN = "a-token-of-the-benchmark"

SENDER = """
import http.client, json, socket, sys, threading, time
port, token, shape, count, senders, plain = json.loads(sys.argv[1])
size = 1
for one in shape:
    size *= one
body, pixels = bytes(size), ",".join(map(str, shape))
headers = {"Authorization": f"Bearer {token}"}
started, taken, lock = threading.Barrier(senders), [], threading.Lock()

def send():
    if plain:
        link = socket.create_connection(("127.0.0.1", port), timeout=60)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        link.connect()
        link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    started.wait()
    for _ in range(count):
        if plain:
            link.sendall(body)
            status = 200 if link.recv(16) else 0
        else:
            link.request("POST", f"/frame?shape={pixels}&dtype=uint8", body, headers)
            answer = link.getresponse()
            answer.read()
            status = answer.status
        with lock:
            taken.append(status)
    link.close()

threads = [threading.Thread(target=send) for _ in range(senders)]
began = time.perf_counter()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps([time.perf_counter() - began, taken.count(200)]))
"""
PLAIN = """
import socket, sys
import numpy as np
door = socket.create_server(("127.0.0.1", 0))
print(door.getsockname()[1], flush=True)
memory = np.zeros(1 << 26, np.uint8)
while True:
    size = int(sys.stdin.readline() or sys.exit())
    peer, _ = door.accept()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        got = 0
        while got < size and (count := peer.recv_into(memory[got:size])):
            got += count
        if got < size:
            break
        peer.sendall(b"ok")
"""
LIBRARY = """
import http.server, threading, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True
    memory = memoryview(bytearray(1 << 26))
    def do_POST(self):
        size, got = int(self.headers["Content-Length"]), 0
        while got < size:
            got += self.rfile.readinto(self.memory[got:size])
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
server = Server(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


def measure() -> Found:
    """Measure megabytes a second, and whether every image is received."""
    slicerhost.boot()
    rows, received, wanted = [], 0, 0
    plain, library = scanner(PLAIN), scanner(LIBRARY)
    plainPort, libraryPort = int(plain.stdout.readline()), int(library.stdout.readline())
    with startedModule() as logic:
        logic.setShowIn("none")
        source = logic.start(HTTPSettings(port=0, token=TOKEN))
        slicerhost.runUntil(lambda: bool(source.details), 30)
        port = int(source.details["url"].split(":")[-1].split("/")[0])
        for name, (shape, count) in SIZES.items():
            nbytes = int(np.prod(shape))

            def floor(shape: tuple[int, ...] = shape, count: int = count, nbytes: int = nbytes) -> float:
                plain.stdin.write(f"{nbytes}\n")
                plain.stdin.flush()
                return _rate(plainPort, shape, count, 1, True)

            ways: dict[str, Callable[[], float]] = {
                "plain socket": floor,
                OURS: lambda shape=shape, count=count: _rate(port, shape, count, 1),
                "http.server": lambda shape=shape, count=count: _rate(libraryPort, shape, count, 1),
            }
            samples = interleaved(ways, ROUNDS)
            wanted += (ROUNDS + 1) * count
            rows.append(Row(name, "MB/s", samples))
        rows[0].goal, rows[0].most, rows[0].headline = "at least 0.5 x the plain socket", 2, True
        many = {"http.server": libraryPort, OURS: port}
        shape = SIZES["300 kB picture"][0]
        samples = interleaved(
            {way: lambda to=to: _rate(to, shape, EACH, SENDERS) for way, to in many.items()}, 3, warm=0
        )
        wanted += 3 * SENDERS * EACH
        rows.append(Row(f"300 kB picture, {SENDERS} senders at once", "MB/s", samples))
        slicerhost.runUntil(lambda: logic.statistics()["received"] >= wanted, 10)
        received = logic.statistics()["received"]
        stop(logic)
    end(plain)
    end(library)
    return Found(rows, {"every image is received": received == wanted})


def _rate(port: int, shape: tuple[int, ...], count: int, senders: int, plain: bool = False) -> float:
    """Return the megabytes a second of a sender in another process.

    :raises AssertionError: an image was not received.
    """
    process = scanner(SENDER, json.dumps([port, TOKEN, shape, count, senders, plain]))
    slicerhost.runUntil(lambda: process.poll() is not None, 120, everyMs=20)
    seconds, received = json.loads(process.communicate()[0])
    assert received == count * senders, f"{received} of {count * senders} are received"
    return count * senders * int(np.prod(shape)) / seconds / 1e6
