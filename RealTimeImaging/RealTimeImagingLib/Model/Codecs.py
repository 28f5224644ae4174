"""Codecs of compressed video, by name."""

from __future__ import annotations

from dataclasses import dataclass

LOSSLESS = 100
"""Quality at which each decoded picture equals the encoded one."""


@dataclass(frozen=True)
class Codec:
    """A codec of FFmpeg.

    :param title: name for the user.
    :param fourccs: its four characters in OpenIGTLink, the one to send first.
    :param decoder: name of the decoder.
    :param encoder: name of the encoder; empty: pictures are only decoded.
    :param worst: the lowest quality, as the encoder's constant rate factor; 0 is the highest.
    :param options: options for a low delay.
    :param lossless: options for no loss; empty: the codec always has a loss.
    """

    title: str
    fourccs: tuple[str, ...]
    decoder: str
    encoder: str = ""
    worst: int = 51
    options: tuple[tuple[str, str], ...] = ()
    lossless: tuple[tuple[str, str], ...] = ()


CODECS: dict[str, Codec] = {
    "h264": Codec(
        "H.264",
        ("H264", "AVC1"),
        "h264",
        "libx264",
        options=(("preset", "veryfast"), ("tune", "zerolatency"), ("forced-idr", "1")),
        lossless=(("qp", "0"),),
    ),
    "hevc": Codec(
        "H.265 (HEVC)",
        ("X265", "O265", "HEVC", "H265", "HEV1", "HVC1"),
        "hevc",
        "libx265",
        options=(("preset", "ultrafast"), ("tune", "zerolatency"), ("forced-idr", "1")),
        lossless=(("x265-params", "lossless=1"),),
    ),
    "vp9": Codec(
        "VP9",
        ("VP90", "VP9"),
        "vp9",
        "libvpx-vp9",
        worst=63,
        options=(("deadline", "realtime"), ("cpu-used", "8"), ("lag-in-frames", "0"), ("row-mt", "1")),
        lossless=(("lossless", "1"),),
    ),
    "av1": Codec("AV1", ("AV10", "AV01", "AV1"), "libdav1d", "libsvtav1", worst=63, options=(("preset", "12"),)),
    "vp8": Codec("VP8", ("VP80", "VP8"), "vp8"),
    "i420": Codec("I420", ("I420",), "rawvideo"),
}
"""Codecs by their names in settings. I420 is not compressed: brightness, and colour at half the resolution."""
ENCODERS = {name: codec.title for name, codec in CODECS.items() if codec.encoder}
"""Codecs that pictures are encoded with, and their titles."""

_AV1 = b"\x12\x00"
"""The first bytes of a frame of AV1, a temporal delimiter (AV1 specification, 5.3, 7.5)."""


def codecOf(fourcc: str, data: bytes = b"") -> str | None:
    """Return the name of a codec in :data:`CODECS`, None when it is unknown.

    :param fourcc: its four characters.
    :param data: a frame. The C++ library of OpenIGTLink calls AV1 "VP90"; no frame of VP9 begins as AV1 does.
    """
    wanted = fourcc.upper()
    found = next((name for name, codec in CODECS.items() if wanted in codec.fourccs), None)
    return "av1" if found == "vp9" and data.startswith(_AV1) else found
