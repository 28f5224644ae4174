"""Images that other programs post over HTTP."""

from __future__ import annotations

import hmac
import os
import secrets
import shutil
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...Formats import GetBuffer
from ...Model.Errors import RequestError
from ...Model.Event import Event
from ...Model.Frame import Image
from ..Checkpoint import Checkpoint
from ..Endpoints import Listener
from ..Source import Arrival
from . import HTTPSettings
from .Bodies import FileBody, RawBody, tooLarge
from .Connections import Body, Connections, Exchange, Refusal
from .FrameRequest import frameRequestOf
from .Request import Answer, Head

CODES = {
    0: "connection-cut",
    401: "wrong-token",
    404: "unknown-address",
    405: "unknown-method",
    408: "too-slow",
    411: "no-length",
    413: "too-large",
    415: "unsupported",
    429: "too-many",
    503: "not-ready",
}
"""Status to the code of the event; "not-usable" for others."""
PAUSE = 1.0
"""Seconds from one event of a kind to the next."""


def eventOf(refusal: Refusal, more: int = 0) -> Event:
    """The event that tells of a refused request.

    :param more: how many others of the same kind it stands for.
    """
    method = refusal.head.method if refusal.head else "a request"
    path = refusal.head.path if refusal.head else ""
    what = f"{method} {path[:60]}".strip()
    others = f" ({more} more of this kind)" if more else ""
    text = f"{refusal.sender}: {what} was not taken: {refusal.words}{others}"
    return Event(CODES.get(refusal.status, "not-usable"), text, "warning", refusal.sender)


@dataclass
class _Kind:
    due: float
    latest: Refusal | None = None
    count: int = 0


class RefusalLog:
    """Tells of the requests of those who have no token, however many they are.

    :param clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kinds: dict[int, _Kind] = {}

    def take(self, refusal: Refusal) -> Iterator[Event]:
        """One more: told at once when it is the first of its kind for a while."""
        kind = self._kinds.get(refusal.status)
        if kind is None or (not kind.count and self._clock() >= kind.due):
            self._kinds[refusal.status] = _Kind(self._clock() + PAUSE)
            yield eventOf(refusal)
            return
        kind.latest, kind.count = refusal, kind.count + 1

    def tell(self) -> Iterator[Event]:
        """Those that were only counted, when it is time."""
        now = self._clock()
        for status, kind in self._kinds.items():
            if kind.latest and now >= kind.due:
                yield eventOf(kind.latest, kind.count - 1)
                self._kinds[status] = _Kind(now + PAUSE)


TURN = 0.1
"""Seconds after which read() returns even if more requests wait, so that commands are heard."""
STREAMS = 100
"""Most streams: a name that changes with each image would make a live volume for each."""
DEED = "send images there who knows the token, which is not encrypted on its way"
STOPPING = Answer(503, {"error": "The source is stopping; the image was not taken."}, {"Retry-After": "1"})


class HTTPSource:
    """A server for images.

    :param settings: where to listen.
    :param checkpoint: counts what could not be used, and keeps token and port over a restart; its folder holds files
        that are being read.
    :param clock: monotonic seconds.
    :param getBuffer: gives memory to decode an image into, or None.
    """

    def __init__(
        self,
        settings: HTTPSettings,
        checkpoint: Checkpoint,
        clock: Callable[[], float] = time.monotonic,
        getBuffer: GetBuffer = lambda nbytes: None,
    ) -> None:
        self._settings, self._checkpoint, self._clock, self._getBuffer = settings, checkpoint, clock, getBuffer
        self._token = settings.token or checkpoint.kept.get("token") or secrets.token_urlsafe(24)
        self._door = Listener(settings.host, settings.port or checkpoint.kept.get("port", 0), settings.allowed, DEED)
        self._connections = Connections(self._door, self._open, 2 * settings.sizeLimit, clock)
        self._strangers = RefusalLog(clock)
        self._ready: deque[tuple[Exchange, float]] = deque()
        self._first = [self._crash()] if checkpoint.kept.get("reading") else []
        self._bodies = 0
        self._folder = os.path.join(checkpoint.folder, "requests")
        shutil.rmtree(self._folder, ignore_errors=True)
        os.mkdir(self._folder)
        if not settings.token:
            checkpoint.keep(token=self._token)

    @property
    def status(self) -> str:
        """Where images may be sent."""
        if self._door.socket is None:
            return self._door.status
        waiting = len(self._connections.exchanges)
        more = f" {waiting} are on their way." if waiting else ""
        return f"Waits for images that are posted to {self._url}.{more}"

    @property
    def details(self) -> Mapping[str, Any]:
        """What senders need: ``url``, ``token``, and ``curl``, a line that sends a file. Empty until it listens."""
        if self._door.socket is None:
            return {}
        curl = (
            f'curl -H "Authorization: Bearer {self._token}" --data-binary "@image.nii.gz" '
            f'"{self._url}?name=image.nii.gz"'
        )
        return {"url": self._url, "token": self._token, "curl": curl, "words": f"Send an image with: {curl}"}

    @property
    def _url(self) -> str:
        host = self._settings.host
        if host in ("0.0.0.0", "::"):
            host = socket.gethostname()
        return f"http://{f'[{host}]' if ':' in host else host}:{self._door.port}/frame"

    def read(self, seconds: float) -> Iterator[Arrival | Event]:
        """What was sent."""
        turn = self._clock() + TURN
        first, self._first = self._first, []
        yield from first
        yield from self._strangers.tell()
        for item in self._connections.step(0.0 if self._ready or first else seconds):
            if isinstance(item, Exchange):
                self._ready.append((item, time.time()))
            elif isinstance(item, Event):
                if item.code == "listening":
                    self._checkpoint.keep(port=self._door.port)
                yield item
            else:
                yield from self._refused(item)
        while self._ready:
            yield from self._take(*self._ready.popleft())
            if self._clock() > turn:
                return

    def wake(self) -> None:
        """End the waiting in read()."""
        self._connections.wake()

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Knows none."""

    def close(self) -> None:
        """Listen no more; whose image was not taken is told."""
        for _ in self._connections.close(STOPPING):
            self._checkpoint.refuse()
        self._ready.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    # ---- requests

    def _open(self, head: Head) -> Body | Answer:
        self._checkToken(head)
        if head.path == "/status":
            if head.method != "GET":
                raise RequestError(405, "Only GET /status is possible.")
            return Answer(200, self._statusValues())
        if head.path != "/frame":
            raise RequestError(404, f"There is no {head.path[:60]!r} here: POST /frame and GET /status are.")
        if head.method != "POST":
            raise RequestError(405, "Only POST /frame is possible.")
        if head.length is None and not head.chunked:
            raise RequestError(411, "The request does not say how long it is (Content-Length, or chunks).")
        limit = self._settings.sizeLimit
        if (head.length or 0) > limit:
            raise tooLarge(head.length or 0, limit)
        wanted = frameRequestOf(head, self._settings.stream)
        streams = self._checkpoint.numbers
        if wanted.stream not in streams and len(streams) >= STREAMS:
            raise RequestError(400, f"There are {STREAMS} streams already; send these images to one of them.")
        if wanted.raw:
            return RawBody(wanted, wanted.raw, head.length, limit)
        self._bodies += 1
        path = os.path.join(self._folder, f"request-{self._bodies}")
        return FileBody(wanted, path, head.length, limit, self._getBuffer)

    def _checkToken(self, head: Head) -> None:
        scheme, _, token = head.headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(token.strip().encode(errors="replace"), self._token.encode())
        if scheme.lower() != "bearer" or not same:
            words = "The token is missing or wrong: send the header Authorization: Bearer TOKEN, as Slicer shows it."
            raise RequestError(401, words)

    def _statusValues(self) -> dict[str, Any]:
        checkpoint = self._checkpoint
        return {
            "state": "running",
            "received": self._received,
            "rejected": checkpoint.rejected,
            "recorded": checkpoint.recorded,
            "failed": checkpoint.failed,
            "streams": {name: {"received": count} for name, count in checkpoint.numbers.items()},
            "onTheWay": len(self._connections.exchanges),
            "connections": len(self._connections.connected),
            "answers": {str(status): count for status, count in sorted(self._connections.answers.items())},
            "sizeLimit": self._settings.sizeLimit,
        }

    def _take(self, exchange: Exchange, received: float) -> Iterator[Arrival | Event]:
        body = exchange.body
        assert isinstance(body, (RawBody, FileBody))
        taken: list[tuple[int, bool | None]] = []
        answer, refusal = STOPPING, None
        # A reader that dies over it takes the whole process with it: the next one says so.
        if isinstance(body, FileBody):
            self._checkpoint.keep(reading={"sender": exchange.sender, "before": self._received})
        try:
            for image in body.images():
                yield self._arrival(body.wanted.stream, image, received, taken)
                del image  # it keeps the memory into which it was read
            answer = Answer(200, _takenValues(body.wanted.stream, taken))
        except RequestError as error:
            answer = Answer(error.status, {"error": str(error), **_takenValues(body.wanted.stream, taken)})
            refusal = Refusal(exchange.sender, error.status, str(error), exchange.head, True)
        except GeneratorExit:
            # Told to stop when an image had been taken: of those that may follow it nothing is known.
            if len(taken) == body.count:
                answer = Answer(200, _takenValues(body.wanted.stream, taken))
            else:
                answer = Answer(503, {**STOPPING.values, **_takenValues(body.wanted.stream, taken)})
                self._checkpoint.refuse()
            raise
        finally:
            if isinstance(body, FileBody):
                self._checkpoint.keep(reading=None)
            heard = self._connections.answer(exchange, answer)
        if refusal:
            yield from self._refused(refusal)
        if taken and not heard:
            text = f"{exchange.sender} was not told that its image was taken: it has hung up."
            yield Event("not-told", text, "warning", exchange.sender)

    def _arrival(self, stream: str, image: Image, received: float, taken: list[tuple[int, bool | None]]) -> Arrival:
        return Arrival(stream, image, received, lambda number, stored: taken.append((number, stored)))

    def _refused(self, refusal: Refusal) -> Iterator[Event]:
        if refusal.head is None or refusal.head.method not in ("GET", "HEAD", "OPTIONS"):
            self._checkpoint.refuse()
        if refusal.known:
            yield eventOf(refusal)
        else:
            yield from self._strangers.take(refusal)

    @property
    def _received(self) -> int:
        return sum(self._checkpoint.numbers.values())

    def _crash(self) -> Event:
        reading = self._checkpoint.kept["reading"]
        self._checkpoint.keep(reading=None)
        sender, taken = reading["sender"], self._received - reading["before"]
        if not taken:
            self._checkpoint.refuse()
        more = f"{taken} images of it were taken" if taken else "it is passed over"
        text = f"The process ended while it read what {sender} had sent, who has had no answer; {more}."
        return Event("crashed", text, "error", sender)


def _takenValues(stream: str, taken: list[tuple[int, bool | None]]) -> dict[str, Any]:
    if not taken:
        return {}
    numbers = [number for number, _ in taken]
    values = {"stream": stream, "number": numbers[0], "numbers": numbers}
    stored = [one for _, one in taken if one is not None]
    return {**values, "recorded": all(stored)} if stored else values
