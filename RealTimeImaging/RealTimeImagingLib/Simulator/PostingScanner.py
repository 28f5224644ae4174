"""Posts images over HTTP as a program beside a scanner does, at a rate, and logs a checksum of every one taken."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import IO
from urllib.parse import urlsplit

import numpy as np

from ..Model.Errors import RequestError
from ..Model.Frame import Image, checksum
from .FolderScanner import waitUntil

ANSWER_TIME = 10.0
"""Seconds for an answer."""
RETRY = 0.2
"""Seconds before an image is sent again."""
AGAIN = (429, 503)
"""Answers after which it is."""


class PostingScanner:
    """Sends raw pixels over one connection, each when the one before was answered.

    :param url: where to, such as http://127.0.0.1:18980/frame.
    :param token: what the other side wants to know.
    :param fps: images each second.
    :param log: gets one JSON line for each image that was taken: its name (the attribute SourceFile), checksums, and
        the time (seconds since the epoch) at which it began to be sent.
    :raises ValueError: it is no address over HTTP.
    """

    def __init__(self, url: str, token: str, fps: float, log: IO[str] | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{url} is no address such as http://127.0.0.1:18980/frame.")
        self._link = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=ANSWER_TIME)
        self._path, self._token, self._fps, self._log = parts.path or "/frame", token, fps, log

    def send(self, images: Iterator[Image], stopped: Callable[[], bool]) -> int:
        """Send them all, or until stopped; returns how many were taken.

        :raises RequestError: one was refused for good.
        """
        count, due = 0, 0.0
        for image in images:
            due = due or time.monotonic()
            waitUntil(due, stopped)
            began = time.time()
            while not stopped() and not self._post(image, f"frame_{count:06d}"):
                waitUntil(time.monotonic() + RETRY, stopped)
            if stopped():
                return count
            self._note(f"frame_{count:06d}", image, began)
            count, due = count + 1, due + 1 / self._fps
        return count

    def close(self) -> None:
        """End the connection."""
        self._link.close()

    def _post(self, image: Image, name: str) -> bool:
        pixels = image.pixels
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/octet-stream",
            "X-RTI-Name": name,
            "X-RTI-Shape": json.dumps(pixels.shape),
            "X-RTI-DType": pixels.dtype.name,
            "X-RTI-IJKToRAS": json.dumps(image.ijkToRAS.tolist()),
            "X-RTI-Colour": str(pixels.ndim == 4).lower(),
            "X-RTI-Attributes": json.dumps(dict(image.attributes)),
        }
        data = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)).tobytes()
        try:
            self._link.request("POST", self._path, data, headers)
            answer = self._link.getresponse()
            words = answer.read()
        except (OSError, http.client.HTTPException):
            self._link.close()
            return False
        if answer.status != 200 and answer.status not in AGAIN:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                words = json.loads(words)["error"]
            raise RequestError(answer.status, f"{name} was refused ({answer.status}): {words!s}")
        return answer.status == 200

    def _note(self, name: str, image: Image, began: float) -> None:
        if self._log:
            sums = [checksum(image.pixels)]
            self._log.write(json.dumps({"file": name, "checksums": sums, "time": began}) + "\n")
            self._log.flush()
