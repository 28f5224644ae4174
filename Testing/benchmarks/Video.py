"""Compressed video of 1080p: decoding beside PyAV alone, and 30 frames a second received and recorded live."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import RealTimeImagingLib
from RealTimeImagingLib.Formats.VideoStream import Quality, VideoDecoder, VideoEncoder
from RealTimeImagingLib.Model.Codecs import CODECS, ENCODERS
from RealTimeImagingLib.Model.Frame import Pixels, pictureToRAS
from RealTimeImagingLib.OpenIGTLink import VideoMessage, pack
from RealTimeImagingLib.Recording import openRecording

from .Rows import OURS, Found, Row, interleaved, missing

TITLE = "Compressed video, 1080p"
ABOUT = """
Floor: PyAV (FFmpeg) alone decodes the same frames and converts them to RGB. "Live" is the time from sending a frame
over OpenIGTLink at 30 frames a second to its reception, after the frames before it are decoded and recorded; it grows
when the process is too slow. Its floor is the decoding of one frame.
"""

ROWS, COLUMNS, FPS, FRAMES = 1080, 1920, 30, 150
REPEATED = 50
"""Frames that are encoded; they begin with a key frame and are sent again and again."""
SIZE = 32
"""Pixels of a block of one colour: frames have the size of those of a camera, not of noise."""
PATIENCE = 30.0
ROUNDS = 5
PROGRAM = Path(RealTimeImagingLib.__file__).with_name("Command") / "__main__.py"


def measure() -> Found:
    """Measure milliseconds a frame for each codec, and whether each frame is stored."""
    if why := missing("av"):
        return Found([], {}, {"PyAV": why})
    rows, checks = [], {}
    for codec in ENCODERS:
        encoder = VideoEncoder(codec, Quality())
        frames = [encoder.encode(_picture(number), number == 0) for number in range(REPEATED)]
        ways = {
            "PyAV alone": lambda codec=codec, frames=frames: _bare(codec, frames),
            OURS: lambda codec=codec, frames=frames: _decode(codec, frames),
        }
        samples = interleaved(ways, ROUNDS)
        title = CODECS[codec].title
        row = Row(f"{title}, decoding", "ms", samples, "at most 1.1 x PyAV alone", most=1.1, headline=codec == "h264")
        rows.append(row)
        delays, stored = _live(codec, frames)
        rows.append(Row(f"{title}, live at {FPS} frames/s", "ms", {"PyAV alone": samples["PyAV alone"], OURS: delays}))
        checks[f"{title}: each frame is stored"] = stored == FRAMES
    return Found(rows, checks)


def _bare(codec: str, frames: list[tuple[bytes, bool]]) -> float:
    import av

    decoder = av.CodecContext.create(CODECS[codec].decoder, "r")
    if codec == "av1":
        decoder.options = {"max_frame_delay": "1"}
    else:
        decoder.thread_type = "SLICE"
    began, count = time.perf_counter(), 0
    for data, _key in frames:
        for frame in decoder.decode(av.Packet(data)):
            count += len(frame.to_ndarray(format="rgb24")) == ROWS
    taken = time.perf_counter() - began
    assert count >= REPEATED - 1
    return 1000 * taken / count


def _decode(codec: str, frames: list[tuple[bytes, bool]]) -> float:
    decoder = VideoDecoder(codec, 1 << 30)
    began = time.perf_counter()
    count = sum(len(decoder.decode(data, number, False, (COLUMNS, ROWS))) for number, (data, _key) in enumerate(frames))
    taken = time.perf_counter() - began
    assert count >= REPEATED - 1
    return 1000 * taken / count


def _live(codec: str, frames: list[tuple[bytes, bool]]) -> tuple[list[float], int]:
    """Return the milliseconds from sending to reception, and how many frames are stored."""
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
    return delays, len(entries)


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
