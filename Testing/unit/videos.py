"""Compressed videos made, and decoded, by PyAV alone: what the module must equal."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from RealTimeImagingLib.OpenIGTLink import VideoMessage

COLUMNS, ROWS = 208, 112
MATRIX = np.array([[0, -2.0, 0, 10], [1.5, 0, 0, -20], [0, 0, 3.0, 30], [0, 0, 0, 1]])
START = 1.7e9
ENCODERS = {
    "H264": ("libx264", "h264", {"preset": "veryfast", "tune": "zerolatency"}),
    "X265": ("libx265", "hevc", {"preset": "ultrafast", "tune": "zerolatency", "x265-params": "log-level=none"}),
    "VP90": ("libvpx-vp9", "vp9", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}),
    "AV10": ("libsvtav1", "libdav1d", {"preset": "12", "svtav1-params": "pred-struct=1:lp=2"}),
}
"""Encoder, decoder and options by the four characters of OpenIGTLink."""


def picture(number, columns=COLUMNS, rows=ROWS, grey=False):
    """A picture that moves, without any symmetry, (rows, columns[, 3])."""
    blocks = np.random.default_rng(7).integers(0, 256, (rows // 8 + 40, columns // 8 + 60, 3), np.uint8)
    large = blocks.repeat(8, 0).repeat(8, 1)
    made = large[2 * number : 2 * number + rows, 5 * number : 5 * number + columns].copy()
    made[: rows // 4, : columns // 8] = 255, 16 * number % 256, 0
    return made[..., 0].copy() if grey else made


def encode(fourcc, pictures, distance=10, pixelFormat="yuv420p", **options):
    """The bytes of each picture."""
    name, _, usual = ENCODERS[fourcc]
    encoder, made = None, []
    for number, one in enumerate(pictures):
        if encoder is None:
            encoder = av.CodecContext.create(name, "w")
            encoder.height, encoder.width = one.shape[:2]
            encoder.pix_fmt, encoder.time_base, encoder.framerate = pixelFormat, Fraction(1, 30), Fraction(30)
            encoder.gop_size, encoder.max_b_frames = distance, 0
            encoder.options = {**usual, **options}
        frame = av.VideoFrame.from_ndarray(one, format="rgb24" if one.ndim == 3 else "gray")
        frame = frame.reformat(format=pixelFormat)
        frame.pts = number
        made.append(b"".join(map(bytes, encoder.encode(frame))))
    assert all(made) or options
    assert not encoder.encode(None) or options
    return made


def decode(fourcc, data, pixelFormat="rgb24"):
    """The pictures of PyAV; without a pixel format the planes, one below the other."""
    decoder = av.CodecContext.create(ENCODERS[fourcc][1], "r")
    found = [frame for one in data for frame in decoder.decode(av.Packet(one))] + decoder.decode(None)
    return [frame.to_ndarray(format=pixelFormat) if pixelFormat else frame.to_ndarray() for frame in found]


def message(number, data, fourcc="H264", device="Probe", size=(COLUMNS, ROWS, 1), **values):
    """A message of one frame; its number is that of the frame, from 1."""
    made = VideoMessage(
        data, fourcc, size, MATRIX, timestamp=START + number / 64, device_name=device, **{"key": number == 0, **values}
    )
    made.message_id = number + 1
    return made


def messages(fourcc, data, **values):
    """The messages of a video."""
    return [message(number, one, fourcc, **values) for number, one in enumerate(data)]
