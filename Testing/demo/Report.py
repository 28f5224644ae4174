"""Report of a demo: every shown frame, read from the node, compared with the scanner's log."""

from __future__ import annotations

import time
from typing import Any

from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Model.Statistics import Spread

from .Results import partsOf


class Witness:
    """Frame callback that reads the node, not the frame, and stores checksum and time.

    :param arrayOfNode: returns the live volume node's voxels.
    """

    def __init__(self, arrayOfNode: Any) -> None:
        self._arrayOfNode = arrayOfNode
        self.results = ""
        """Stream of the results of a function, whose frames are not witnessed."""
        self.seen: list[tuple[str, int, str, float]] = []

    def __call__(self, frame: Any) -> None:
        shown = time.time()
        if frame.stream == self.results:
            return
        pixels = self._arrayOfNode(frame.stream)
        # Of a replay all frames are in one file; of the network the frame received first must be that sent first.
        names = (frame.attributes.get(name) for name in ("ReplayedFrame", "SourceFile"))
        key = next(filter(None, names), str(frame.number))
        self.seen.append((key, frame.number, checksum(pixels), shown))


def recordedEqual(log: list[dict[str, Any]], folder: str, results: str = "") -> bool:
    """Return True if the recording has every sent frame, in order, bit for bit.

    :param results: stream of the results of a function, which were not sent.
    """
    sent = [value for entry in log for value in entry["checksums"]]
    parts = [part for part in partsOf(folder) if part.stream != results]
    stored = [checksum(part.pixels(index)) for part in parts for index in range(part.count)]
    return stored == sent


def report(source: str, input_: str, log: list[dict[str, Any]], statistics: dict[str, Any], witness: Witness) -> dict:
    """Return the flat report: counts, times, and whether the shown frames equal the sent ones, in order."""
    sent = {entry["file"]: entry for entry in log}
    order = {entry["file"]: number for number, entry in enumerate(log)}
    latency = Spread()
    for file, _number, _checksum, shown in witness.seen:
        if file in sent and sent[file]["time"] is not None:
            latency.add(1000 * (shown - sent[file]["time"]))
    times = latency.toJSON()
    numbers = [number for _file, number, _checksum, _shown in witness.seen]
    places = [order.get(file, -1) for file, *_ in witness.seen]
    equal = all(file in sent and value in sent[file]["checksums"] for file, _number, value, _shown in witness.seen)
    ordered = numbers == sorted(set(numbers)) and places == sorted(places)
    return {
        "source": source,
        "input": input_,
        "framesSent": sum(len(entry["checksums"]) for entry in log),
        **{
            name: statistics[name] for name in ("received", "shown", "skipped", "recorded", "rejected", "failed", "fps")
        },
        "latencyMs": statistics["latencyMs"] if times["median"] is None else times,
        "mainThreadMs": statistics["mainThreadMs"],
        "pixelsEqual": bool(witness.seen) and len(witness.seen) == statistics["shown"] and equal and ordered,
    }
