"""Pictures of video files through the camera source as fast as they come, beside OpenCV alone."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from itertools import islice
from typing import Any

import numpy as np
import slicerhost
from RealTimeImagingLib import CameraSettings
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Simulator.Film import Film, phantomPictures

from .Common import end, scanner, startedModule, stop
from .Rows import OURS, Found, Row, interleaved

TITLE = "Pictures of a camera"
ABOUT = """
Floor: a process that reads the same file with OpenCV (`VideoCapture.read`) and converts each picture to RGB; nobody
gets them. Grey pictures of 16 bits (FFV1, the size of a thermal camera) need no conversion; all cores decode them, of
which the display takes its part. A file without pacing stands for the camera, as a real one limits both to its rate.
Ours numbers each picture, passes it to Slicer through shared memory, and shows the newest.
"""

PICTURES, ROUNDS = 60, 3
SIZE, THERMAL = (1080, 1920), (512, 640)
"""Rows and columns."""
ALONE = "OpenCV alone"

BARE = """
import sys, time
import cv2
for line in sys.stdin:
    capture, count, began = cv2.VideoCapture(sys.argv[1]), 0, time.perf_counter()
    deep = sys.argv[2] == "1"
    if deep:
        capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
    rgb = None
    while (found := capture.read())[0]:
        if not deep:
            rgb = cv2.cvtColor(found[1], cv2.COLOR_BGR2RGB, dst=rgb)
        count += 1
    print(count / (time.perf_counter() - began), flush=True)
"""


def measure() -> Found:
    """Measure pictures a second."""
    slicerhost.boot()
    found = Found([])
    with tempfile.TemporaryDirectory() as folder, startedModule() as logic:
        for make in (_colour, _thermal):
            with _Video(*make(folder)) as video:
                ways = {ALONE: video.alone, OURS: lambda video=video: video.ours(logic)}
                row = Row(video.title, "pictures/s", interleaved(ways, ROUNDS), headline=not video.deep)
                if not video.deep:
                    row.goal, row.most = f"at least 0.7 x {ALONE}", 1 / 0.7
                found.rows.append(row)
                found.checks |= video.checks()
    return found


class _Video:
    """A file of PICTURES pictures.

    :param sums: checksums of its pictures, which have 16 bits and no loss; empty: they have 8 bits and a loss.
    """

    def __init__(self, path: str, title: str, sums: list[str]) -> None:
        self.path, self.title, self.deep, self._sums = path, title, bool(sums), sums
        self._received: list[int] = []
        self._first: dict[int, str] = {}
        self._bare = scanner(BARE, path, int(self.deep))

    def __enter__(self) -> _Video:
        return self

    def __exit__(self, *_error: object) -> None:
        end(self._bare)

    def alone(self) -> float:
        self._bare.stdin.write("\n")
        self._bare.stdin.flush()
        return float(self._bare.stdout.readline())

    def ours(self, logic: Any) -> float:
        moments: dict[int, float] = {}
        isFirst = not self._received

        def note(frame: Any) -> None:
            moments[frame.number] = frame.receiveTime
            if isFirst and self.deep:  # this round is not measured
                self._first[frame.number] = checksum(frame.pixels)

        logic.addFrameCallback(note, every=True)
        source = logic.start(CameraSettings(device=self.path, realTime=False))
        slicerhost.runUntil(lambda: sum(source.received.values()) >= PICTURES, 60, everyMs=20)
        self._received.append(sum(source.received.values()))
        stop(logic)
        logic.removeFrameCallback(note)
        # Some pictures may be skipped on the way to Slicer's window; they are numbered, too.
        first, last = min(moments), max(moments)
        return (last - first) / (moments[last] - moments[first])

    def checks(self) -> dict[str, bool]:
        found = {f"{self.title}: each picture is received": self._received == [PICTURES] * (ROUNDS + 1)}
        if self.deep:
            equal = all(self._sums[number] == value for number, value in self._first.items())
            found[f"{self.title}: all bits are those written"] = equal and bool(self._first)
        return found


def _colour(folder: str) -> tuple[str, str, list[str]]:
    import cv2

    path = os.path.join(folder, "film.avi")
    rows, columns = SIZE
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 30, (columns, rows))
    blocks = np.random.default_rng(0).integers(0, 256, (rows // 40 + 40, columns // 40 + 40, 3), np.uint8)
    large = blocks.repeat(40, 0).repeat(40, 1)
    for number in range(PICTURES):
        writer.write(np.ascontiguousarray(large[3 * number : 3 * number + rows, 5 * number : 5 * number + columns]))
    writer.release()
    return path, "1080p MJPEG, without pacing", []


def _thermal(folder: str) -> tuple[str, str, list[str]]:
    path = os.path.join(folder, "film.mkv")
    rows, columns = THERMAL
    sums = []
    with closing(Film(path, 30)) as film:
        for picture in islice(phantomPictures(), PICTURES):
            whole = np.zeros(THERMAL, np.uint16)
            whole[: picture.shape[0], : picture.shape[1]] = picture
            film.write(whole)
            sums.append(checksum(whole[None]))
    return path, f"{columns} x {rows}, 16 bits grey, without pacing", sums
