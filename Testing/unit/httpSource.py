"""HTTP source in this process, read as the worker reads it, and programs that post images to it."""

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
    """Return path and body: the pixels of :func:`volume` of this number."""
    pixels = volume(number, shape, np.dtype(dtype)).pixels
    names = {"shape": ",".join(map(str, shape)), "dtype": dtype, **more}
    return "/frame?" + "&".join(f"{name}={value}" for name, value in names.items()), pixels.tobytes()


def picture(kind, number=1, size=(16, 12)):
    """Return the bytes of a grey picture, and its decoded pixels."""
    values = np.random.default_rng(number).integers(0, 255, size[::-1]).astype(np.uint8)
    file = io.BytesIO()
    Picture.fromarray(values).save(file, kind)
    return file.getvalue(), np.asarray(Picture.open(io.BytesIO(file.getvalue())))[None]


def head(method="POST", path="/frame", headers=None, length=None, token=TOKEN):
    """Return the head of a request."""
    fields = {"Host": "localhost", **({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
    if length is not None:
        fields["Content-Length"] = length
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def posted(body=None, path="/frame", headers=None):
    """Return a whole request, by default with a NIfTI file."""
    body = niftiFile(1) if body is None else body
    return head("POST", path, headers, len(body)) + body


def chunked(body, size=1000):
    """Return a body in chunks."""
    pieces = [body[place : place + size] for place in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


class Server:
    """The source. Its :attr:`clock` stands still between steps, except while :meth:`running`."""

    def __init__(self, folder, **values):
        self.folder, self.clock = folder, Clock()
        self.checkpoint = Checkpoint(str(folder))
        self.settings = HTTPSettings(**{"port": 0, "token": TOKEN, **values})
        self.source = HTTPSource(self.settings, self.checkpoint, lambda: self.clock())
        self.frames, self.events = [], []
        self.stored = None
        """Whether each frame is in a recording; None while nothing is recorded."""

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
        """Read once.

        :param passes: seconds that pass for the source before it.
        """
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
            assert time.monotonic() < end, f"timed out: {self.events} {self.source.status}"
            self.step(passes=passes)

    @contextmanager
    def running(self):
        """Read in a thread, in real time."""
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
        """Return a connected socket with a timeout of ten seconds."""
        return closing(socket.create_connection(("127.0.0.1", self.port), 10))

    def post(self, body, path="/frame", headers=None, method="POST"):
        """Return status and answer of a request on a new connection; only while :meth:`running`."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            return ask(connection, body, path, headers, method)

    def ask(self, data, count=1, passes=0.0):
        """Send bytes on a new connection; return status, headers and answer of each of ``count`` requests."""
        with self.connect() as link:
            link.sendall(data)
            return self.hear(link, count, passes)

    def hear(self, link, count=1, passes=0.0):
        """Receive ``count`` answers without a thread; None stands for the end of the connection."""
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
    """Return status and answer of a request on an http.client connection."""
    connection.request(method, path, body, {**AUTHORIZATION, **(headers or {})})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def answersIn(data):
    """Return (status, headers, answer) of each answer in these bytes; None for the end of the connection."""
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
