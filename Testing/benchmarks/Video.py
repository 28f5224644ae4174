"""Compressed video of 1080p at 30 frames a second: the acquisition process decodes and records every frame.

A frame is received when the frames before it are decoded and stored: the times from sending to reception grow when the
process is too slow.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import RealTimeImagingLib
from RealTimeImagingLib.Formats.VideoStream import CODECS, ENCODERS, Quality, VideoEncoder
from RealTimeImagingLib.Model.Frame import Pixels, pictureToRAS
from RealTimeImagingLib.OpenIGTLink import VideoMessage, pack
from RealTimeImagingLib.Recording import openRecording

ROWS, COLUMNS, FPS, FRAMES = 1080, 1920, 30, 150
REPEATED = 50
"""Frames that are encoded; they begin with a key frame and are sent again and again."""
SIZE = 32
"""Pixels of a block of one colour: frames have the size of those of a camera, not of noise."""
LATE = 500.0
"""Most milliseconds from sending to reception at the end of the stream."""
PATIENCE = 30.0
PROGRAM = Path(RealTimeImagingLib.__file__).with_name("Command") / "__main__.py"


def measure() -> dict[str, Any]:
    """Stored frames, and milliseconds from sending to reception, for each codec."""
    figures: dict[str, Any] = {codec: _codec(codec) for codec in ENCODERS}
    rules = {}
    for codec, found in figures.items():
        rules[f"{codec}: all frames of 1080p at {FPS} fps are decoded and stored"] = found["stored"] == FRAMES
        rules[f"{codec}: the last frames are not later than {LATE:g} ms"] = found["lastMs"] <= LATE
    return {**figures, "rules": rules}


def _codec(codec: str) -> dict[str, Any]:
    encoder = VideoEncoder(codec, Quality())
    frames = [encoder.encode(_picture(number), number == 0) for number in range(REPEATED)]
    with tempfile.TemporaryDirectory() as folder:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            command = [sys.executable, str(PROGRAM), "openigtlink", "--port", str(port), "--record", folder]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            server.settimeout(PATIENCE)
            peer, _ = server.accept()
            with peer:
                _send(peer, codec, frames)
                peer.shutdown(socket.SHUT_WR)
                peer.settimeout(PATIENCE)
                while peer.recv(1 << 16):
                    pass
            process.terminate()
            process.wait(PATIENCE)
        recorded = [openRecording(str(path)) for path in Path(folder).glob("*.nhdr")]
        entries = [entry for part in recorded for entry in part.frames]
        delays = [1000 * (entry["receiveTime"] - (entry["deviceTime"] or 0.0)) for entry in entries] or [float("inf")]
    sizes = [len(data) for data, _key in frames]
    return {
        "stored": len(entries),
        "medianMs": round(statistics.median(delays), 1),
        "lastMs": round(statistics.median(delays[-FPS // 2 :]), 1),
        "kBPerFrame": round(statistics.mean(sizes) / 1000, 1),
    }


def _send(peer: socket.socket, codec: str, frames: list[tuple[bytes, bool]]) -> None:
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    started, fourcc = time.monotonic(), CODECS[codec].fourccs[0]
    for number in range(FRAMES):
        data, key = frames[number % REPEATED]
        time.sleep(max(0.0, started + number / FPS - time.monotonic()))
        message = VideoMessage(data, fourcc, (COLUMNS, ROWS, 1), pictureToRAS(COLUMNS, ROWS), key=key)
        message.timestamp, message.message_id, message.device_name = time.time(), number + 1, "Video"
        peer.sendall(pack(message, version=2))


def _picture(number: int) -> Pixels:
    blocks = np.random.default_rng(0).integers(0, 256, (ROWS // SIZE + 10, COLUMNS // SIZE + 20, 3), np.uint8)
    large = blocks.repeat(SIZE, 0).repeat(SIZE, 1)
    return np.ascontiguousarray(large[3 * number : 3 * number + ROWS, 5 * number : 5 * number + COLUMNS])


if __name__ == "__main__":
    os.environ.setdefault("SVT_LOG", "0")
    print(measure())
