"""Images that other programs post over HTTP: decides on requests, reads their images, and answers."""

from __future__ import annotations

import hmac
import itertools
import os
import queue
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...Formats import GetBuffer
from ...Model.Errors import RequestError
from ...Model.Event import Event, Remedy
from ...Model.Frame import Image
from ...Model.Text import joined, sentence, textsOf
from ..Checkpoint import Checkpoint
from ..Endpoints import Listener
from ..Source import STREAMS, TURN, Arrival, hasRoom
from . import HTTPSettings
from .Bodies import FileBody, RawBody, tooLarge
from .FrameRequest import NAMES, frameRequestOf
from .Origins import Origins
from .Request import Answer, Head
from .Server import GRACE, STOPPING, Exchange, Refusal, Server

_ = textsOf(__file__)

CODES = {
    0: "connection-cut",
    401: "wrong-token",
    403: "wrong-origin",
    404: "unknown-address",
    405: "unknown-method",
    408: "too-slow",
    411: "no-length",
    413: "too-large",
    415: "unsupported",
    429: "too-many",
    503: "not-ready",
}
"""Event code of each status; "not-usable" for others."""
PAUSE = 1.0
"""Seconds between two events for refusals with the same status."""


def eventOf(refusal: Refusal, more: int = 0) -> Event:
    """Return the event that reports a refused request.

    :param more: number of further refusals with this status.
    """
    method = refusal.head.method[:60] if refusal.head else _("a request")
    path = refusal.head.path if refusal.head else ""
    text = _("{sender}: {method} {path} was refused: {reason}")
    if not path:
        text = _("{sender}: {method} was refused: {reason}")
    text = text.format(sender=refusal.sender, method=method, path=path[:60], reason=sentence(refusal.reason))
    if more:
        text = joined(text, _("({count:,} more with this status)").format(count=more))
    return Event(CODES.get(refusal.status, "not-usable"), text, "warning", refusal.sender)


@dataclass
class _Waiting:
    due: float
    latest: Refusal | None = None
    count: int = 0


class RefusalLog:
    """Limits the events for requests without the token, or of other web pages, to one a second and status.

    :param clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: dict[int, _Waiting] = {}

    def add(self, refusal: Refusal) -> Iterator[Event]:
        """Report a refusal now, or count it for a later event."""
        waiting = self._waiting.get(refusal.status)
        if waiting is None or (not waiting.count and self._clock() >= waiting.due):
            self._waiting[refusal.status] = _Waiting(self._clock() + PAUSE)
            yield eventOf(refusal)
            return
        waiting.latest, waiting.count = refusal, waiting.count + 1

    def due(self) -> Iterator[Event]:
        """Report the counted refusals once their pause is over."""
        now = self._clock()
        for status, waiting in self._waiting.items():
            if waiting.latest and now >= waiting.due:
                yield eventOf(waiting.latest, waiting.count - 1)
                self._waiting[status] = _Waiting(now + PAUSE)

    def rest(self) -> Iterator[Event]:
        """Report the counted refusals: the source stops."""
        for waiting in self._waiting.values():
            if waiting.latest:
                yield eventOf(waiting.latest, waiting.count - 1)
        self._waiting.clear()


OVERDUE = 1.0
"""Seconds without an image, or without a request of a connected program, after which the status says why."""
PAGE_FIELDS = ("Authorization", "Content-Type", *(f"X-RTI-{name}" for name in NAMES))
"""Header fields that a web page may send."""
RISK = _("{peers} can send images there with the token, which is not encrypted in transit.")


class HTTPSource:
    """HTTP server that receives images.

    :param settings: address, port, token and limits.
    :param checkpoint: counts refused requests, and keeps token and port over a restart. Its folder holds received
        files until they are read.
    :param clock: monotonic seconds.
    :param getBuffer: returns memory to decode an image into, or None.
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
        self._refusals = RefusalLog(clock)
        self._accepted: float | None = None
        """Time of the last image, on the clock."""
        self._refusal: Event | None = None
        """The last refusal since then."""
        self._heard: set[str] = set()
        """Connected programs that have sent a request."""
        self._silent = ""
        """The last program that connected and sent none."""
        self._first = [self._crash()] if checkpoint.kept.get("reading") else []
        self._files = itertools.count(1)
        self._folder = os.path.join(checkpoint.folder, "requests")
        shutil.rmtree(self._folder, ignore_errors=True)
        os.mkdir(self._folder, 0o700)
        if not settings.token:
            checkpoint.keep(token=self._token)
        port = settings.port or checkpoint.kept.get("port", 0)
        self._listener = Listener(settings.host, port, settings.allowed, RISK)
        self._origins = Origins(settings.origins, PAGE_FIELDS)
        self._server = Server(self._listener, self._open, self._origins.headers, 2 * settings.sizeLimit, clock)

    @property
    def status(self) -> str:
        """Sentence for the panel: the address of this server."""
        if self._listener.socket is None:
            return self._listener.status
        text = _("Waiting for images that programs post to {url}.").format(url=self._url)
        if self._accepted is not None and self._clock() - self._accepted < OVERDUE:
            return text
        count = len(self._server.exchanges)
        if count or self._refusal or self._checkpoint.numbers:
            arriving = _("1 is arriving.") if count == 1 else _("{count:,} are arriving.")
            refusal = self._refusal.text if self._refusal else ""
            return joined(text, arriving.format(count=count) if count else "", refusal)
        if self._silent:
            silent = _("{name} is connected, but sends no request. Does it use this address, with http://?")
            return joined(text, silent.format(name=self._silent))
        return joined(text, _("No program has connected yet."), self._listener.reach)

    @property
    def remedy(self) -> Remedy | None:
        """Settings with which programs could connect, None when none are known or images have come."""
        if self._listener.socket is not None and (self._checkpoint.numbers or self._silent):
            return None
        return self._refusal.remedy if self._refusal else self._listener.remedy

    @property
    def details(self) -> Mapping[str, Any]:
        """``url``, ``token``, and ``curl``, a command that sends a file; empty until the server listens."""
        # A restart must find the port in the checkpoint before any sender knows it.
        if self._listener.socket is None or self._checkpoint.kept.get("port") != self._listener.port:
            return {}
        # In Windows PowerShell 5.1, curl is another command.
        program = "curl.exe" if sys.platform == "win32" else "curl"
        curl = (
            f'{program} -H "Authorization: Bearer {self._token}" --data-binary "@image.nii.gz" '
            f'"{self._url}?name=image.nii.gz"'
        )
        words = _("Send an image with: {command}").format(command=curl)
        return {"url": self._url, "token": self._token, "curl": curl, "words": words}

    @property
    def _url(self) -> str:
        host = self._settings.host
        if host in ("0.0.0.0", "::"):
            host = socket.gethostname()
        return f"http://{f'[{host}]' if ':' in host else host}:{self._listener.port}/frame"

    def read(self, seconds: float) -> Iterator[Arrival | Event]:
        """Yield received images and events; block at most ``seconds``."""
        turn = self._clock() + TURN
        first, self._first = self._first, []
        yield from first
        self._watch()
        yield from self._refusals.due()
        seconds = 0.0 if first else seconds
        while True:
            try:
                item = self._server.arrivals.get(timeout=seconds)
            except queue.Empty:
                return
            if isinstance(item, Exchange):
                yield from self._receive(item)
            elif isinstance(item, Refusal):
                yield from self._refused(item)
            elif item is not None:
                if item.code == "listening":
                    self._checkpoint.keep(port=self._listener.port)
                elif item.code == "peer-refused":
                    self._refusal = item
                yield item
            if self._clock() > turn:
                return
            seconds = 0.0

    def wake(self) -> None:
        """Let read() return."""
        self._server.arrivals.put(None)

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Ignore all commands."""

    def rest(self) -> Iterator[Event]:
        """Yield the refusals that were counted."""
        yield from self._refusals.rest()

    def close(self) -> None:
        """Close the port and all connections; refuse and count the requests that have no answer yet."""
        self._server.stop()
        end = time.monotonic() + GRACE
        while self._server.connected or not self._server.arrivals.empty():
            if time.monotonic() > end + GRACE:
                break
            if time.monotonic() > end:
                self._server.cut()
            try:
                item = self._server.arrivals.get(timeout=0.01)
            except queue.Empty:
                continue
            if isinstance(item, Exchange):
                item.answer(Answer.refusing(RequestError(503, STOPPING)))
                self._count(item.head)
            elif isinstance(item, Refusal):
                self._count(item.head)
        shutil.rmtree(self._folder, ignore_errors=True)

    # ---- in the threads of the server

    def _open(self, head: Head) -> RawBody | FileBody | None:
        if self._origins.isPreflight(head):
            self._origins.check(head)
            return None
        self._checkToken(head)
        self._origins.check(head)
        if head.path == "/status":
            if head.method != "GET":
                raise RequestError(405, _("/status accepts only GET."))
            return None
        if head.path != "/frame":
            text = _("Unknown address {path!r}; use POST /frame or GET /status.").format(path=head.path[:60])
            raise RequestError(404, text)
        if head.method != "POST":
            raise RequestError(405, _("/frame accepts only POST."))
        if head.length is None and not head.chunked:
            raise RequestError(411, _("The request has no length: send Content-Length, or the body in chunks."))
        limit = self._settings.sizeLimit
        if (head.length or 0) > limit:
            raise tooLarge(head.length or 0, limit)
        wanted = frameRequestOf(head, self._settings.stream)
        if not hasRoom(wanted.stream, self._checkpoint.numbers):
            text = _("There are {count} streams already; send these images to one of them.").format(count=STREAMS)
            raise RequestError(400, text)
        if wanted.raw:
            return RawBody(wanted, wanted.raw, head.length, limit)
        path = os.path.join(self._folder, f"request-{next(self._files)}")
        return FileBody(wanted, path, head.length, limit, self._getBuffer)

    def _checkToken(self, head: Head) -> None:
        scheme, _blank, token = head.headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(token.strip().encode(errors="replace"), self._token.encode())
        if scheme.lower() != "bearer" or not same:
            reason = _(
                "The token is missing or wrong: send the header Authorization: Bearer TOKEN, as Slicer shows it."
            )
            if head.method == "GET" and head.path != "/status":
                reason = _(
                    "A web browser cannot send images. Send them with POST /frame and the header Authorization: Bearer "
                    "TOKEN, as Slicer shows it."
                )
            raise RequestError(401, reason)

    # ---- in the thread that reads

    def _statusValues(self) -> dict[str, Any]:
        checkpoint = self._checkpoint
        return {
            "state": "running",
            "received": self._received,
            "rejected": checkpoint.rejected,
            "recorded": checkpoint.recorded,
            "failed": checkpoint.failed,
            "streams": {name: {"received": count} for name, count in checkpoint.numbers.items()},
            "onTheWay": len(self._server.exchanges),
            "connections": len(self._server.connected),
            "answers": {str(status): count for status, count in sorted(self._server.answers.items())},
            "sizeLimit": self._settings.sizeLimit,
        }

    def _watch(self) -> None:
        # A program may connect and send nothing: its own problem, or this port is not the one that it expects.
        connected = self._server.connected
        self._heard &= {one.name for one in connected}
        for one in connected:
            if one.idle and one.name not in self._heard and self._clock() - one.heard > OVERDUE:
                self._silent = one.name

    def _receive(self, exchange: Exchange) -> Iterator[Arrival | Event]:
        body = exchange.body
        self._heard.add(exchange.sender)
        self._silent = ""
        if body is None:
            exchange.answer(Answer(200, {} if exchange.head.method == "OPTIONS" else self._statusValues()))
            return
        assert isinstance(body, (RawBody, FileBody))
        accepted: list[tuple[int, bool | None]] = []
        problem: RequestError | None = RequestError(503, STOPPING)
        # A reader that crashes takes the process with it: the next process reports the sender.
        if isinstance(body, FileBody):
            self._checkpoint.keep(reading={"sender": exchange.sender, "before": self._received})
        try:
            for image in body.images():
                yield self._arrival(body.wanted.stream, image, exchange.receiveTime, accepted)
                del image  # it keeps the memory that the reader has filled
            problem = None
        except RequestError as error:
            problem = error
        except GeneratorExit:
            # The worker stops after an image; unless it was the last one, the request is incomplete.
            if len(accepted) == body.count:
                problem = None
            raise
        finally:
            if isinstance(body, FileBody):
                self._checkpoint.keep(reading=None)
            values = _acceptedValues(body.wanted.stream, accepted)
            if problem:
                self._checkpoint.refuse()
            exchange.answer(Answer.refusing(problem, values) if problem else Answer(200, values))
        if problem:
            # After the image is counted: the counts travel with the event.
            self._refusal = eventOf(Refusal(exchange.sender, problem.status, str(problem), exchange.head, True))
            yield self._refusal

    def _arrival(
        self, stream: str, image: Image, receiveTime: float, accepted: list[tuple[int, bool | None]]
    ) -> Arrival:
        self._accepted, self._refusal = self._clock(), None
        return Arrival(stream, image, receiveTime, lambda number, stored: accepted.append((number, stored)))

    def _refused(self, refusal: Refusal) -> Iterator[Event]:
        self._count(refusal.head)
        self._refusal, self._silent = eventOf(refusal), ""
        self._heard.add(refusal.sender)
        if refusal.known:
            yield eventOf(refusal)
        else:
            yield from self._refusals.add(refusal)

    def _count(self, head: Head | None) -> None:
        """Count a request without an answer, or with a refusal, unless it cannot bring an image."""
        if head is None or head.method not in ("GET", "HEAD", "OPTIONS"):
            self._checkpoint.refuse()

    @property
    def _received(self) -> int:
        return sum(self._checkpoint.numbers.values())

    def _crash(self) -> Event:
        reading = self._checkpoint.kept["reading"]
        self._checkpoint.keep(reading=None)
        sender, count = reading["sender"], self._received - reading["before"]
        if not count:
            self._checkpoint.refuse()
        text = _("The process crashed while it read a file from {sender}, which has no answer; it is skipped.")
        if count:
            text = _(
                "The process crashed while it read a file from {sender}, which has no answer; {count} images of it "
                "were received."
            )
        return Event("crashed", text.format(sender=sender, count=count), "error", sender)


def _acceptedValues(stream: str, accepted: list[tuple[int, bool | None]]) -> dict[str, Any]:
    if not accepted:
        return {}
    numbers = [number for number, _stored in accepted]
    values = {"stream": stream, "number": numbers[0], "numbers": numbers}
    stored = [one for _number, one in accepted if one is not None]
    return {**values, "recorded": all(stored)} if stored else values
