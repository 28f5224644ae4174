"""How fast images are received over OpenIGTLink, beside the bare socket, the C++ library and pyigtl."""

from __future__ import annotations

from contextlib import closing

from .OpenIGTLinkEnds import Ends, pyigtlRate
from .OpenIGTLinkReceiving import Moments
from .Rows import OURS, Found, Row, missing

TITLE = "Images received over OpenIGTLink"
ABOUT = """
Floor: a bare socket that reads the same bytes with `recv_into` into memory that exists, and looks at none of them.
Another process sends prepared messages without a pause. Peers: the C++ library with sockets and classes as in its
examples, compiled with -O2; pyigtl at both ends (it receives its own images as fast as it sends them; 0: all are
lost). CRC: the checksum of every message is compared.
"""

KINDS: dict[str, tuple[tuple[int, ...], str]] = {
    "480p u8": ((1, 480, 640), "uint8"),
    "1080p RGB": ((1, 1080, 1920, 3), "uint8"),
    "256x256x64 i16": ((64, 256, 256), "int16"),
    "512x512x100 i16": ((100, 512, 512), "int16"),
}
ROUNDS, LARGE = 7, 30e6
"""How often all is measured; messages of so many bytes in every third round only, as they take long."""
WARM = 4
"""Messages before those that are measured: then each slot of the ring was touched."""
VOLUME = {"raw": 200e6, "ours": 200e6, "ours, CRC": 200e6, "C++": 80e6, "C++, CRC": 50e6}
"""Bytes that are measured in a round."""
NAMES = {
    "raw": "bare socket",
    "ours": OURS,
    "ours, CRC": f"{OURS}, CRC",
    "C++": "C++ library",
    "C++, CRC": "C++ library, CRC",
}
PYIGTL_ROUNDS = 2
RAW_PART = 0.8


def measure() -> Found:
    """Measure megabytes a second."""
    absent = {"pyigtl": why} if (why := missing("pyigtl")) else {}
    with closing(Ends(KINDS)) as ends:
        if ends.absent:
            absent["C++ library"] = ends.absent
        rates: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in ends.names} for kind in KINDS}
        for number in range(ROUNDS):
            for kind, nbytes in ends.nbytes.items():
                if nbytes > LARGE and number % 3:
                    continue
                names = list(rates[kind]) if number % 2 else list(reversed(rates[kind]))
                for name in names:
                    count = WARM + max(3, round(VOLUME[name] / nbytes))
                    rates[kind][name].append(_rate(ends.run(kind, name, count)[1], nbytes))
    rows = []
    for kind, (shape, dtype) in KINDS.items():
        samples = {NAMES[name]: values for name, values in rates[kind].items()}
        if "pyigtl" not in absent:
            nbytes = ends.nbytes[kind]
            samples["pyigtl"] = [pyigtlRate(shape, dtype) * nbytes / 1e6 for _ in range(PYIGTL_ROUNDS)]
        words = f"at least {RAW_PART} x the bare socket"
        rows.append(Row(kind, "MB/s", samples, words, most=1 / RAW_PART, headline=kind in ("480p u8", "1080p RGB")))
    return Found(rows, {}, absent)


def _rate(received: Moments, nbytes: int) -> float:
    return nbytes * (len(received) - WARM) / (received[-1] - received[WARM - 1]) / 1e6
