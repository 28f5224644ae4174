"""How fast images are received over OpenIGTLink, beside the bare socket, the C++ library and pyigtl."""

from __future__ import annotations

import statistics
from contextlib import closing
from typing import Any

from .OpenIGTLinkEnds import Ends, pyigtlRate
from .OpenIGTLinkReceiving import Moments

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
PACE = {"C++, CRC": 1e-8}
"""Seconds a byte between two messages where latency is measured: longer than the receiver takes."""
USUAL_PACE, SHORTEST, PACED, PACED_WARM = 4e-9, 0.02, 8, 2
RAW_PART, LIBRARY_TIMES = 0.7, 3.0


def measure() -> dict[str, Any]:
    """Megabytes a second, and milliseconds from the beginning of sending to the whole message."""
    with closing(Ends(KINDS)) as ends:
        rates: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in ends.names} for kind in KINDS}
        for number in range(ROUNDS):
            for kind, nbytes in ends.nbytes.items():
                if nbytes > LARGE and number % 3:
                    continue
                for name, found in rates[kind].items():
                    count = WARM + max(3, round(VOLUME[name] / nbytes))
                    found.append(_rate(ends.run(kind, name, count)[1], nbytes))
        latencies = {kind: {name: _latency(ends, kind, name) for name in ends.names} for kind in KINDS}
    table: dict[str, Any] = {}
    for kind, (shape, dtype) in KINDS.items():
        table[kind] = {
            name: {"MBps": round(statistics.median(found)), "latencyMs": round(latencies[kind][name], 2)}
            for name, found in rates[kind].items()
        }
        table[kind]["pyigtl"] = {"MBps": round(pyigtlRate(shape, dtype) * ends.nbytes[kind] / 1e6)}
    _show(table)
    return {**table, "absent": ends.absent, "rules": _rules(rates)}


def _rate(received: Moments, nbytes: int) -> float:
    return nbytes * (len(received) - WARM) / (received[-1] - received[WARM - 1]) / 1e6


def _latency(ends: Ends, kind: str, name: str) -> float:
    """Milliseconds, one message at a time."""
    nbytes = ends.nbytes[kind]
    period = max(SHORTEST, nbytes * PACE.get(name, USUAL_PACE))
    times = zip(*ends.run(kind, name, PACED_WARM + (PACED if period < 0.1 else PACED // 2), period), strict=True)
    return statistics.median(1000 * (end - begin) for begin, end in list(times)[PACED_WARM:])


def _rules(rates: dict[str, dict[str, list[float]]]) -> dict[str, bool]:
    """Each round is compared with itself: a neighbour who takes the processor slows all that run then."""
    made = {}
    for kind, found in rates.items():
        parts = [ours / raw for ours, raw in zip(found["ours"], found["raw"], strict=True)]
        made[f"{kind}: CRC off at least {RAW_PART} x the bare socket"] = statistics.median(parts) >= RAW_PART
        if "C++, CRC" in found:
            times = [ours / other for ours, other in zip(found["ours, CRC"], found["C++, CRC"], strict=True)]
            rule = f"{kind}: CRC on at least {LIBRARY_TIMES:g} x the C++ library"
            made[rule] = statistics.median(times) >= LIBRARY_TIMES
    return made


def _show(table: dict[str, Any]) -> None:
    names = list(next(iter(table.values())))
    print(f"{'MB/s (ms to the whole message)':>32}" + "".join(f"{name:>16}" for name in names))
    for kind, found in table.items():
        cells = [
            f"{one['MBps']} ({one['latencyMs']})" if "latencyMs" in one else str(one["MBps"]) for one in found.values()
        ]
        print(f"{kind:>32}" + "".join(f"{cell:>16}" for cell in cells))
