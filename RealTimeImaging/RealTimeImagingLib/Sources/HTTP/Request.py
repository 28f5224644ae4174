"""HTTP/1.1 as far as a receiver of images needs it: bytes in, heads of requests and pieces of their bodies out.

The format: RFC 9112 (messages), RFC 9110 (what they mean). No socket, no thread, nothing waits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ...Model.Errors import RequestError
from ...Model.Files import decodedText

HEAD_LIMIT = 1 << 15
"""Most bytes of a head, and of a line between chunks."""
FIELDS = 200
"""Most header fields, and most names in a query."""

_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^\s]+) HTTP/([0-9])\.([0-9])")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(;.*)?", re.DOTALL)
_ONCE = ("content-length", "transfer-encoding", "host", "authorization", "content-type")
"""Fields that say different things to different readers when they come twice; of ours that holds for all."""


@dataclass(frozen=True)
class Head:
    """What a request says of itself.

    :param path: decoded, without the query.
    :param query: each name once.
    :param headers: names in lower case; several of a name joined with ", ".
    :param length: bytes of the body that follows; None when that is not said (``chunked``, or no body).
    :param keepAlive: the connection is of use after the answer.
    :param asks: the sender waits for "100 Continue" before it sends the body.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    length: int | None
    chunked: bool
    keepAlive: bool
    asks: bool

    @property
    def hasBody(self) -> bool:
        """Whether anything follows."""
        return self.chunked or bool(self.length)


class Parser:
    """The requests of one connection, one at a time: bytes that come behind a request wait for :meth:`goOn`."""

    def __init__(self) -> None:
        self.complete = False
        """True from the end of a request until :meth:`goOn`."""
        self._rest = b""
        self._restart()

    def _restart(self) -> None:
        self._line = b""
        self._lines: list[bytes] | None = []
        """The head's lines so far; None behind the head."""
        self._size = 0
        self._left = 0
        self._chunked = self._trailing = self._between = False

    @property
    def begun(self) -> bool:
        """True while part of a request is here, or more of the next one."""
        return bool(self._lines is None or self._size or self._line or self._rest)

    def goOn(self) -> None:
        """The request is answered: the next one."""
        self.complete = False
        self._restart()

    def feed(self, data: bytes) -> Iterator[Head | memoryview]:
        """What these bytes bring: a head, then the pieces of its body, until :attr:`complete`.

        :raises RequestError: they are no request that can be understood; the connection is of no use any more.
        """
        data, self._rest = self._rest + data, b""
        position = 0
        while position < len(data) and not self.complete:
            if self._left:
                piece = memoryview(data)[position : position + self._left]
                position += len(piece)
                self._left -= len(piece)
                yield piece
                self.complete = not self._left and not self._chunked
                continue
            end = data.find(b"\n", position)
            self._line += data[position : end if end >= 0 else len(data)]
            position = end + 1 if end >= 0 else len(data)
            self._check(end >= 0)
            if end >= 0:
                line, self._line = self._line, b""
                head = self._take(line.removesuffix(b"\r"))
                if head:
                    yield head
        self._rest = data[position:]

    def _check(self, whole: bool) -> None:
        if self._lines == [] and self._line[:1] and not (self._line[:1].isalpha() or self._line[:1] in b"\r\n"):
            raise RequestError(400, "This is no HTTP request. (Addresses here begin with http://, not https://.)")
        if self._size + len(self._line) > HEAD_LIMIT:
            raise RequestError(431, f"The head of the request has more than {HEAD_LIMIT:,} bytes.")
        if whole and not self._line.endswith(b"\r"):
            raise RequestError(400, "A line of the request does not end with CR LF.")

    def _take(self, line: bytes) -> Head | None:
        if self._lines is None:
            self._takeBetween(line)
            return None
        self._size += len(line) + 2
        if line:
            self._lines.append(line)
            if len(self._lines) > FIELDS + 1:
                raise RequestError(431, f"The request has more than {FIELDS} header fields.")
            return None
        if not self._lines:
            return None  # RFC 9112, section 2.2: empty lines before a request are passed over
        head = _parse(self._lines)
        self._lines, self._size, self._chunked, self._left = None, 0, head.chunked, head.length or 0
        self.complete = not head.hasBody
        return head

    def _takeBetween(self, line: bytes) -> None:
        # RFC 9112, section 7.1: chunk-size CRLF chunk-data CRLF ... 0 CRLF trailer CRLF
        if self._between:
            if line:
                raise RequestError(400, "A chunk of the request is longer than it says.")
            self._between, self._size = False, 0
        elif self._trailing:
            self._size += len(line) + 2
            self.complete = not line
        else:
            found = _CHUNK.fullmatch(line)
            if not found:
                raise RequestError(400, "The length of a chunk of the request cannot be read.")
            self._left = int(found[1], 16)
            self._between, self._trailing = self._left > 0, self._left == 0


def _parse(lines: list[bytes]) -> Head:
    first = _REQUEST_LINE.fullmatch(decodedText(lines[0]))
    if not first:
        raise RequestError(400, "The first line of the request cannot be read.")
    method, target, major, minor = first.groups()
    if major != "1":
        raise RequestError(505, f"HTTP/{major}.{minor} is not understood, HTTP/1.1 is.")
    headers = _headers(lines[1:])
    if minor != "0" and "host" not in headers:
        raise RequestError(400, "The request has no header Host.")
    length, chunked = _bodyOf(headers, minor)
    expected = headers.get("expect", "").lower()
    if expected not in ("", "100-continue"):
        raise RequestError(417, f"What the request expects is not known: {expected[:60]}.")
    try:
        parts = urlsplit(target)
        path = unquote(parts.path, errors="strict")
        pairs = parse_qsl(parts.query, keep_blank_values=True, errors="strict", max_num_fields=FIELDS)
    except ValueError as error:
        raise RequestError(400, f"The address in the request cannot be read: {error}.") from error
    if len(dict(pairs)) < len(pairs):
        raise RequestError(400, "The address in the request has a name twice.")
    keepAlive = minor != "0" and "close" not in headers.get("connection", "").lower()
    return Head(method, path, dict(pairs), headers, length, chunked, keepAlive, bool(expected))


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        given, colon, value = decodedText(line).partition(":")
        if not (colon and _NAME.fullmatch(given)) or "\0" in value or "\r" in value:
            raise RequestError(400, "A header of the request cannot be read.")
        name, value = given.lower(), value.strip(" \t")
        if name in headers and (name in _ONCE or name.startswith("x-rti-")):
            raise RequestError(400, f"The request has the header {given} twice.")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _bodyOf(headers: Mapping[str, str], minor: str) -> tuple[int | None, bool]:
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        # RFC 9112, section 6.1: both, or one in HTTP/1.0, is how requests are smuggled past others.
        if length is not None or minor == "0":
            raise RequestError(400, "The request has Transfer-Encoding where it cannot be.")
        if coding.lower() != "chunked":
            raise RequestError(501, f"The transfer encoding {coding[:60]} is not understood, chunked is.")
        return None, True
    if length is None:
        return None, False
    if not re.fullmatch(r"[0-9]{1,18}", length):
        raise RequestError(400, "The header Content-Length is no number of bytes.")
    return int(length), False


@dataclass(frozen=True)
class Answer:
    """What a sender is told: a status and an object as JSON."""

    status: int
    values: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)

    def toBytes(self, keepAlive: bool) -> bytes:
        """All of it."""
        body = json.dumps(self.values).encode() + b"\n"
        headers = {
            "Date": formatdate(usegmt=True),
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Connection": "keep-alive" if keepAlive else "close",
            **self.headers,
        }
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + body
