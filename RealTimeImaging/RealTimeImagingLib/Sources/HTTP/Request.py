"""HTTP/1.1 as a receiver of images needs it: read requests strictly, write answers.

RFC 9112 defines the messages, RFC 9110 their meaning. `http.server` accepts repeated fields, folded lines, and lines
that end with LF alone. Proxies read those differently, so that one request can hide in another: reject them here.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from ...Model.Errors import RequestError
from ...Model.Files import decodedText, reasonOf
from ...Model.Text import textsOf

_ = textsOf(__file__)

HEAD_LIMIT = 1 << 15
"""Most bytes of a head, of a line between chunks, and of a trailer."""
FIELDS = 200
"""Most header fields, and most names in a query."""
BUFFER = 1 << 16
"""Bytes to read ahead. Longer pieces of a body go directly into the memory of the body."""

_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^\s]+) HTTP/([0-9])\.([0-9])")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(;.*)?", re.DOTALL)
_ONCE = ("content-length", "transfer-encoding", "host", "authorization", "content-type")
"""Fields that must not be repeated, as all X-RTI- fields: readers disagree on which value counts."""


@dataclass(frozen=True)
class Head:
    """Request line and header fields.

    :param path: decoded, without the query.
    :param query: each name once.
    :param headers: names in lower case; repeated values joined with ", ".
    :param length: bytes of the body that follows; None without Content-Length.
    :param keepAlive: the sender may reuse the connection after the answer.
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
        """Whether a body follows."""
        return self.chunked or bool(self.length)


@dataclass(frozen=True)
class Answer:
    """Status and JSON object for the sender."""

    status: int
    values: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def refusing(cls, error: RequestError, values: Mapping[str, Any] | None = None) -> Answer:
        """Return the answer that states a reason, beside other values."""
        headers = {401: {"WWW-Authenticate": "Bearer"}, 405: {"Allow": "POST, GET"}}.get(error.status, {})
        if error.status in (429, 503):
            headers = {"Retry-After": "1"}
        return cls(error.status, {"error": str(error), **(values or {})}, headers)

    def toBytes(self, keepAlive: bool, more: Mapping[str, str] | None = None, head: bool = False) -> bytes:
        """Encode the whole answer.

        :param more: further header fields.
        :param head: leave out the body, as in each answer to the method HEAD.
        """
        body = json.dumps(self.values).encode() + b"\n"
        headers = {
            "Date": formatdate(usegmt=True),
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Connection": "keep-alive" if keepAlive else "close",
            **self.headers,
            **(more or {}),
        }
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + (b"" if head else body)


class Body(Protocol):
    """Memory or file for the body of a request."""

    @property
    def size(self) -> int:
        """Bytes received or announced, whichever is more."""

    def buffer(self, most: int) -> memoryview:
        """Return memory for the next bytes: at least 1, at most ``most``.

        :raises RequestError: the body is longer than allowed.
        """

    def filled(self, count: int) -> None:
        """Take the first ``count`` bytes of the last buffer.

        :raises RequestError: the body is longer than allowed, or cannot be stored.
        """

    def close(self) -> None:
        """Release memory and file; may be called twice."""


class RequestReader:
    """Reads the requests of one connection, one at a time.

    :param raw: bytes of the connection. Its exceptions pass through, for example at a deadline.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        self._stream = io.BufferedReader(raw, BUFFER)
        self._size = 0
        """Bytes of the lines since the last head or chunk."""

    def begins(self) -> bool:
        """Wait for the first byte of a request; return False at the end of the connection."""
        return bool(self._stream.peek(1))

    def head(self) -> Head:
        """Read a head.

        :raises RequestError: it is malformed or too large; nothing after it can be read.
        :raises EOFError: the connection ends within it.
        """
        self._size = 0
        first = self._stream.peek(1)[:1]
        if first and not (first.isalpha() or first in b"\r\n"):
            raise RequestError(400, _("This is no HTTP request. (Addresses here begin with http://, not https://.)"))
        lines: list[bytes] = []
        while line := self._line(lines):
            lines.append(line)
        return _parse(lines)

    def receive(self, head: Head, body: Body) -> Iterator[int]:
        """Read the body that follows a head into its memory; yield the size of each piece.

        :raises RequestError: it is malformed, or ``body`` refuses it.
        :raises EOFError: the connection ends within it.
        """
        if not head.chunked:
            yield from self._read(head.length or 0, body)
            return
        # RFC 9112, section 7.1: chunk-size CRLF chunk-data CRLF ... 0 CRLF trailer CRLF
        while length := self._chunkLength():
            yield from self._read(length, body)
            if self._line():
                raise RequestError(400, _("A chunk of the request is longer than its announced length."))
        while self._line():
            pass

    def _read(self, length: int, body: Body) -> Iterator[int]:
        while length:
            count = self._stream.readinto1(body.buffer(length))
            if not count:
                raise EOFError
            body.filled(count)
            length -= count
            yield count

    def _chunkLength(self) -> int:
        self._size = 0
        found = _CHUNK.fullmatch(self._line())
        if not found:
            raise RequestError(400, _("The length of a chunk of the request cannot be read."))
        return int(found[1], 16)

    def _line(self, before: list[bytes] | None = None) -> bytes:
        """Read a line without its end.

        :param before: lines of the head so far. Skip empty lines before the first one (RFC 9112, section 2.2).
        """
        while True:
            line = self._stream.readline(HEAD_LIMIT + 1 - self._size)
            self._size += len(line)
            if self._size > HEAD_LIMIT:
                raise RequestError(
                    431, _("The head of the request has more than {count:,} bytes.").format(count=HEAD_LIMIT)
                )
            if not line.endswith(b"\n"):
                raise EOFError
            if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
                raise RequestError(400, _("A line of the request does not end with CR LF."))
            if before and len(before) > FIELDS + 1:
                raise RequestError(431, _("The request has more than {count} header fields.").format(count=FIELDS))
            if before != [] or line != b"\r\n":
                return line[:-2]


def _parse(lines: list[bytes]) -> Head:
    first = _REQUEST_LINE.fullmatch(decodedText(lines[0]))
    if not first:
        raise RequestError(400, _("The first line of the request cannot be read."))
    method, target, major, minor = first.groups()
    if major != "1":
        text = _("HTTP/{version} is not supported; use HTTP/1.1.").format(version=f"{major}.{minor}")
        raise RequestError(505, text)
    headers = _headers(lines[1:])
    if minor != "0" and "host" not in headers:
        raise RequestError(400, _("The request has no header Host."))
    length, chunked = _bodyOf(headers, minor)
    expected = headers.get("expect", "").lower()
    if expected not in ("", "100-continue"):
        raise RequestError(417, _("Unknown expectation: {name}.").format(name=expected[:60]))
    try:
        parts = urlsplit(target)
        path = unquote(parts.path, errors="strict")
        pairs = parse_qsl(parts.query, keep_blank_values=True, errors="strict", max_num_fields=FIELDS)
    except ValueError as error:
        text = _("The address in the request cannot be read: {reason}.").format(reason=reasonOf(error))
        raise RequestError(400, text) from error
    if len(dict(pairs)) < len(pairs):
        raise RequestError(400, _("The address in the request has a name twice."))
    keepAlive = minor != "0" and "close" not in headers.get("connection", "").lower()
    # RFC 9110, section 10.1.1: senders of HTTP/1.0 do not know "100 Continue", and would take it for the answer.
    asks = minor != "0" and bool(expected)
    return Head(method, path, dict(pairs), headers, length, chunked, keepAlive, asks)


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        given, colon, value = decodedText(line).partition(":")
        if not (colon and _NAME.fullmatch(given)) or "\0" in value:
            raise RequestError(400, _("A header of the request cannot be read."))
        name, value = given.lower(), value.strip(" \t")
        if name in headers and (name in _ONCE or name.startswith("x-rti-")):
            raise RequestError(400, _("The request has the header {name} twice.").format(name=given))
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _bodyOf(headers: Mapping[str, str], minor: str) -> tuple[int | None, bool]:
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        # RFC 9112, section 6.1: both fields, or this one in HTTP/1.0, can smuggle a request past a proxy.
        if length is not None or minor == "0":
            raise RequestError(400, _("Transfer-Encoding is not allowed with Content-Length or HTTP/1.0."))
        if not coding.isascii() or coding.lower() != "chunked":
            text = _("The transfer encoding {name} is not supported; use chunked.").format(name=coding[:60])
            raise RequestError(501, text)
        return None, True
    if length is None:
        return None, False
    if not re.fullmatch(r"[0-9]{1,18}", length):
        raise RequestError(400, _("The header Content-Length is not a number of bytes."))
    return int(length), False
