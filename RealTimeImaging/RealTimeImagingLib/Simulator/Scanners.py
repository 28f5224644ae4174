"""Simulated scanners that write files into a folder or post images over HTTP, at a rate."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO
from urllib.parse import urlsplit

import numpy as np

from ..Model.Errors import RequestError
from ..Model.Frame import Image, checksum
from .Files import Shot

MODES = ("rename", "grow", "burst")
PIECES = 8
"""Pieces in which a file grows."""
BURST = 5
"""Files of a burst."""
ANSWER_TIME = 10.0
"""Seconds for an answer."""
RETRY = 0.2
"""Seconds before an image is sent again."""
AGAIN = (429, 503)
"""Status codes after which an image is sent again."""


def waitUntil(due: float, stopped: Callable[[], bool]) -> None:
    """Wait until a moment (monotonic seconds), or until stopped."""
    while not stopped() and (left := due - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))


def logSent(log: IO[str] | None, name: str, checksums: Sequence[str], sent: float) -> None:
    """Write one JSON line about a sent file or frame: ``file``, ``checksums`` and ``time``.

    :param log: None: write nothing.
    :param sent: seconds since the epoch.
    """
    if log:
        log.write(json.dumps({"file": name, "checksums": checksums, "time": sent}) + "\n")
        log.flush()


class FolderScanner:
    """Simulated scanner that writes files into a folder.

    :param folder: made when missing.
    :param fps: images a second, each in one or several files.
    :param mode: "rename" (written under another name, then renamed), "grow" (written slowly under its name), "burst"
        (several at once, then a pause; the rate stays).
    :param log: receives one JSON line for each image: name of its (first) file, checksums, and the time (seconds since
        the epoch) at which its files were complete.
    :param keep: number of images that stay in the folder; files of older ones are removed. 0: all.
    """

    def __init__(self, folder: str, fps: float, mode: str, log: IO[str] | None = None, keep: int = 0) -> None:
        self._folder, self._fps, self._mode, self._log, self._keep = folder, fps, mode, log, keep
        self._sent: list[list[str]] = []
        os.makedirs(folder, exist_ok=True)

    def send(self, files: Iterator[Shot], stopped: Callable[[], bool]) -> int:
        """Send all files, or until stopped; return the number of sent files."""
        started = 0.0
        count = 0
        for count, shot in enumerate(files, 1):
            number = count - 1
            # Making the first file may take long: the rate counts from its completion.
            started = started or time.monotonic()
            due = number - number % BURST + BURST - 1 if self._mode == "burst" else number
            waitUntil(started + due / self._fps, stopped)
            if stopped():
                return number
            self._write(shot, stopped)
        return count

    def _write(self, shot: Shot, stopped: Callable[[], bool]) -> None:
        paths = [os.path.join(self._folder, name) for name in shot.files]
        for path, data in zip(paths, shot.files.values(), strict=True):
            if self._mode == "grow":
                self._grow(path, data, 0.8 / self._fps / len(paths), stopped)
            else:
                with open(path + ".part", "wb") as file:
                    file.write(data)
                os.replace(path + ".part", path)
        logSent(self._log, shot.name, shot.checksums, time.time())
        self._sent.append(paths)
        if self._keep and len(self._sent) > self._keep:
            for path in self._sent.pop(0):
                os.unlink(path)

    def _grow(self, path: str, data: bytes, seconds: float, stopped: Callable[[], bool]) -> None:
        piece = -(-len(data) // PIECES)
        started = time.monotonic()
        with open(path, "wb", buffering=0) as file:
            for number in range(PIECES):
                file.write(data[number * piece : (number + 1) * piece])
                waitUntil(started + seconds * (number + 1) / PIECES, stopped)


class PostingScanner:
    """Simulated scanner that posts raw pixels over one connection, each image after the answer to the one before.

    :param url: such as http://127.0.0.1:18980/frame.
    :param token: the receiver's access token.
    :param fps: images a second.
    :param log: receives one JSON line for each accepted image: its name (the attribute SourceFile), checksums, and the
        time (seconds since the epoch) at which sending began.
    :raises ValueError: ``url`` is no HTTP address.
    """

    def __init__(self, url: str, token: str, fps: float, log: IO[str] | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{url} is no HTTP address such as http://127.0.0.1:18980/frame.")
        self._link = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=ANSWER_TIME)
        self._path, self._token, self._fps, self._log = parts.path or "/frame", token, fps, log

    def send(self, images: Iterator[Image], stopped: Callable[[], bool]) -> int:
        """Send all images, or until stopped; return the number of accepted images.

        :raises RequestError: the receiver rejected an image for good.
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
            logSent(self._log, f"frame_{count:06d}", [checksum(image.pixels)], began)
            count, due = count + 1, due + 1 / self._fps
        return count

    def close(self) -> None:
        """Close the connection."""
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
            raise RequestError(answer.status, f"{name} was rejected ({answer.status}): {words!s}")
        return answer.status == 200
