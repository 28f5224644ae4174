"""An HTTP source in this process, asked as the worker asks it, and programs that post images to it."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
import time
from contextlib import closing, contextmanager

import numpy as np
from PIL import Image as Picture
from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Sources.Checkpoint import Checkpoint
from RealTimeImagingLib.Sources.HTTP import HTTPSettings
from RealTimeImagingLib.Sources.HTTP.Source import HTTPSource
from unit.conftest import Clock, niftiFile, volume

TOKEN = "a-token-that-the-tests-know"
AUTHORIZATION = {"Authorization": f"Bearer {TOKEN}"}


def rawQuery(number, shape=(2, 3, 4), dtype="int16", **more):
    """Path and body of :func:`volume` of this number as raw pixels."""
    pixels = volume(number, shape, np.dtype(dtype)).pixels
    names = {"shape": ",".join(map(str, shape)), "dtype": dtype, **more}
    return "/frame?" + "&".join(f"{name}={value}" for name, value in names.items()), pixels.tobytes()


def picture(kind, number=1, size=(16, 12)):
    """The bytes of a grey picture, and its pixels as they are decoded."""
    values = np.random.default_rng(number).integers(0, 255, size[::-1]).astype(np.uint8)
    file = io.BytesIO()
    Picture.fromarray(values).save(file, kind)
    return file.getvalue(), np.asarray(Picture.open(io.BytesIO(file.getvalue())))[None]


def head(method="POST", path="/frame", headers=None, length=None, token=TOKEN):
    """The head of a request as bytes."""
    fields = {"Host": "localhost", **({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
    if length is not None:
        fields["Content-Length"] = length
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def posted(body=None, path="/frame", headers=None):
    """A whole request: by default a NIfTI file."""
    body = niftiFile(1) if body is None else body
    return head("POST", path, headers, len(body)) + body


def chunked(body, size=1000):
    """A body in chunks."""
    pieces = [body[place : place + size] for place in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


class Server:
    """The source. :attr:`clock` stands until it is told to go on, unless :meth:`running`."""

    def __init__(self, folder, **values):
        self.folder, self.clock = folder, Clock()
        self.checkpoint = Checkpoint(str(folder))
        self.settings = HTTPSettings(**{"port": 0, "token": TOKEN, **values})
        self.source = HTTPSource(self.settings, self.checkpoint, lambda: self.clock())
        self.frames, self.events = [], []
        self.stored = None
        """What each frame's sender is told of the recording."""

    def close(self):
        self.source.close()
        self.checkpoint.close()

    @property
    def port(self):
        if not self.source.details:
            self.until(lambda: self.source.details)
        return int(self.source.details["url"].split(":")[-1].split("/")[0])

    @property
    def codes(self):
        return [event.code for event in self.events if event.code != "listening"]

    @property
    def sums(self):
        return [checksum(frame.image.pixels) for frame in self.frames]

    @property
    def counts(self):
        """(received, rejected)"""
        return sum(self.checkpoint.numbers.values()), self.checkpoint.rejected

    def step(self, seconds=0.01, passes=0.0):
        """One call of read(); so many seconds pass for the source."""
        if isinstance(self.clock, Clock):
            self.clock.now += passes
        for item in self.source.read(seconds):
            if isinstance(item, Event):
                self.events.append(item)
            else:
                number = self.checkpoint.accept(item.stream, self.stored)
                item.accepted(number, self.stored)
                self.frames.append(item)

    def until(self, condition, seconds=10.0, passes=0.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"it did not come to be: {self.events} {self.source.status}"
            self.step(passes=passes)

    @contextmanager
    def running(self):
        """The source works in a thread, in real time."""
        assert self.port
        self.clock, stopped = time.monotonic, threading.Event()

        def run():
            while not stopped.is_set():
                self.step(0.05)

        thread = threading.Thread(target=run, name="source")
        thread.start()
        try:
            yield self
        finally:
            stopped.set()
            self.source.wake()
            thread.join(10)
            assert not thread.is_alive()

    def connect(self):
        """A program that is connected; it has ten seconds for each step."""
        return closing(socket.create_connection(("127.0.0.1", self.port), 10))

    def post(self, body, path="/frame", headers=None, method="POST"):
        """Status and answer of a request on a connection of its own; only while :meth:`running`."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            return ask(connection, body, path, headers, method)

    def ask(self, data, count=1, passes=0.0):
        """Status, headers and answer of each of so many requests, sent as these bytes on one connection."""
        with self.connect() as link:
            link.sendall(data)
            return self.hear(link, count, passes)

    def hear(self, link, count=1, passes=0.0):
        """So many answers from a socket, without a thread; None stands for the end of the connection."""
        link.setblocking(False)
        heard = bytearray()

        def came():
            try:
                data = link.recv(1 << 16)
            except BlockingIOError:
                return enough(heard, count)
            heard.extend(data or b"END")
            return not data or enough(heard, count)

        self.until(came, passes=passes)
        self.step(0)  # a refusal is reported before it is answered
        return answersIn(bytes(heard))


def ask(connection, body, path="/frame", headers=None, method="POST"):
    """Status and answer of a request on an http.client connection."""
    connection.request(method, path, body, {**AUTHORIZATION, **(headers or {})})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def answersIn(data):
    """(status, headers, answer) of each answer in these bytes; None for the end of the connection."""
    found = []
    while data and data != b"END":
        lines, _, data = data.partition(b"\r\n\r\n")
        first, *fields = lines.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        status, length = int(first.split()[1]), int(headers.get("content-length", 0))
        if len(data) < length:
            break
        found.append((status, headers, json.loads(data[:length]) if length else None))
        data = data[length:]
    return [*found, None] if data == b"END" else found


def enough(data, count):
    return sum(one is not None for one in answersIn(bytes(data))) >= count
