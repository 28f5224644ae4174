"""Pictures of a video file through the camera source as fast as they come, beside OpenCV alone."""

from __future__ import annotations

import os
import tempfile

import numpy as np
import slicerhost
from RealTimeImagingLib import CameraSettings

from .Common import end, scanner, startedModule, stop
from .Rows import OURS, Found, Row, interleaved

TITLE = "Pictures of a camera"
ABOUT = """
Floor: a process that reads the same file with OpenCV (`VideoCapture.read`) and converts each picture to RGB; nobody
gets them. A file without pacing stands for the camera, as a real one limits both to its rate. Ours numbers each
picture, passes it to Slicer through shared memory, and shows the newest.
"""

PICTURES, ROUNDS = 60, 3
FILM = (1080, 1920)

BARE = """
import sys, time
import cv2
for line in sys.stdin:
    capture, count, began = cv2.VideoCapture(sys.argv[1]), 0, time.perf_counter()
    rgb = None
    while (found := capture.read())[0]:
        rgb = cv2.cvtColor(found[1], cv2.COLOR_BGR2RGB, dst=rgb)
        count += 1
    print(count / (time.perf_counter() - began), flush=True)
"""


def measure() -> Found:
    """Measure pictures a second."""
    slicerhost.boot()
    received = []
    with tempfile.TemporaryDirectory() as folder, startedModule() as logic:
        path = os.path.join(folder, "film.avi")
        _film(path)
        bare = scanner(BARE, path)

        def floor() -> float:
            bare.stdin.write("\n")
            bare.stdin.flush()
            return float(bare.stdout.readline())

        def ours() -> float:
            moments: list[float] = []
            count = 0

            def note(frame: object) -> None:
                nonlocal count
                count += 1
                moments.append(frame.receiveTime)

            logic.addFrameCallback(note, every=True)
            handle = logic.start(CameraSettings(device=path, realTime=False))
            slicerhost.runUntil(lambda: count >= PICTURES, 60, everyMs=20)
            received.append(sum(handle.received.values()))
            stop(logic)
            logic.removeFrameCallback(note)
            return (len(moments) - 1) / (moments[-1] - moments[0])

        samples = interleaved({"OpenCV alone": floor, OURS: ours}, ROUNDS)
        end(bare)
    row = Row("1080p MJPEG, without pacing", "pictures/s", samples, headline=True)
    row.goal, row.most = "at least 0.7 x OpenCV alone", 1 / 0.7
    return Found([row], {"each picture of the file is received": received == [PICTURES] * (ROUNDS + 1)})


def _film(path: str) -> None:
    import cv2

    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 30, FILM[::-1])
    blocks = np.random.default_rng(0).integers(0, 256, (FILM[0] // 40 + 40, FILM[1] // 40 + 40, 3), np.uint8)
    large = blocks.repeat(40, 0).repeat(40, 1)
    for number in range(PICTURES):
        writer.write(np.ascontiguousarray(large[3 * number : 3 * number + FILM[0], 5 * number : 5 * number + FILM[1]]))
    writer.release()
