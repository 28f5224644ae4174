"""Simulated scanners that write files into a folder or post images over HTTP, at a rate."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO
from urllib.parse import urlsplit

import numpy as np

from ..Model.Errors import NotAnImageError, RequestError
from ..Model.Frame import Image, checksum
from .Images import images, namesIn, niftiBytes, wholeFile

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


@dataclass(frozen=True)
class Shot:
    """One file to send: its name without folder, its bytes, the checksums of the frames in it."""

    name: str
    data: bytes
    checksums: tuple[str, ...]


def shots(source: str | None, loop: bool) -> Iterator[Shot]:
    """The files to send.

    :param source: None for the phantom, a file (one .nii for each of its images), or a folder of images (sent as they
        are, in natural order).
    :param loop: begin again at the end.
    :raises RealTimeImagingError: the file is no image, or not whole.
    """
    if source is None or not os.path.isdir(source):
        for number, image in enumerate(images(source, loop)):
            yield Shot(f"frame_{number:06d}.nii", niftiBytes(image), (checksum(image.pixels),))
        return
    names = namesIn(source)
    for turn in itertools.count() if loop else range(1):
        for name in names:
            yield _copied(os.path.join(source, name), f"{turn}_{name}" if turn else name)


def _copied(path: str, name: str) -> Shot:
    reader = wholeFile(path)
    if len(reader.files) > 1:
        raise NotAnImageError(f"The voxels of {path} lie in other files; only single files are sent.", "unsupported")
    with open(path, "rb") as file:
        data = file.read()
    return Shot(name, data, tuple(checksum(image.pixels) for image in reader.images()))


class FolderScanner:
    """Writes shots into a folder.

    :param folder: where to; made when missing.
    :param fps: files each second.
    :param mode: "rename" (written under another name, then renamed), "grow" (written slowly under its name), "burst"
        (several at once, then a pause; the rate stays).
    :param log: gets one JSON line for each file: name, checksums, time (seconds since the epoch) at which it was whole.
    :param keep: files that stay in the folder; older ones are removed. 0: all.
    """

    def __init__(self, folder: str, fps: float, mode: str, log: IO[str] | None = None, keep: int = 0) -> None:
        self._folder, self._fps, self._mode, self._log, self._keep = folder, fps, mode, log, keep
        self._sent: list[str] = []
        os.makedirs(folder, exist_ok=True)

    def send(self, files: Iterator[Shot], stopped: Callable[[], bool]) -> int:
        """Send them all, or until stopped; returns how many."""
        started = 0.0
        count = 0
        for count, shot in enumerate(files, 1):
            turn = count - 1
            # The first file may take its time to be made; the rate counts from there.
            started = started or time.monotonic()
            due = turn - turn % BURST + BURST - 1 if self._mode == "burst" else turn
            waitUntil(started + due / self._fps, stopped)
            if stopped():
                return turn
            self._write(shot, stopped)
        return count

    def _write(self, shot: Shot, stopped: Callable[[], bool]) -> None:
        path = os.path.join(self._folder, shot.name)
        if self._mode == "grow":
            self._grow(path, shot.data, stopped)
        else:
            with open(path + ".part", "wb") as file:
                file.write(shot.data)
            os.replace(path + ".part", path)
        logSent(self._log, shot.name, shot.checksums, time.time())
        self._sent.append(path)
        if self._keep and len(self._sent) > self._keep:
            os.unlink(self._sent.pop(0))

    def _grow(self, path: str, data: bytes, stopped: Callable[[], bool]) -> None:
        piece = -(-len(data) // PIECES)
        started = time.monotonic()
        with open(path, "wb", buffering=0) as file:
            for number in range(PIECES):
                file.write(data[number * piece : (number + 1) * piece])
                waitUntil(started + 0.8 * (number + 1) / PIECES / self._fps, stopped)


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
            logSent(self._log, f"frame_{count:06d}", [checksum(image.pixels)], began)
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
