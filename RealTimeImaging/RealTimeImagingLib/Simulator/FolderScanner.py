"""Sends images into a folder as scanners do, at a rate, and logs a checksum of every frame it sent."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

from ..Model.Errors import NotAnImageError
from ..Model.Frame import checksum
from .Images import images, namesIn, niftiBytes, wholeFile

MODES = ("rename", "grow", "burst")
PIECES = 8
BURST = 5


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
        if self._log:
            self._log.write(json.dumps({"file": shot.name, "checksums": shot.checksums, "time": time.time()}) + "\n")
            self._log.flush()
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


def waitUntil(due: float, stopped: Callable[[], bool]) -> None:
    """Wait for a moment (monotonic seconds), or until stopped."""
    while not stopped() and (left := due - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))
