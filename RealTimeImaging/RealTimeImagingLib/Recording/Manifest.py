"""The manifest ``NAME-STREAM.json``: what a recording holds, in words and numbers that need no reader."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .Header import isoTime, replaceFile
from .Layout import HEADER, POSES, RAW
from .Lines import Missed, PartLine, checkNumbers, parsed


def partEntry(part: PartLine, name: str, numbers: Sequence[int], times: Sequence[float], moves: bool) -> dict[str, Any]:
    """What the manifest says of a part.

    :param times: index in seconds.
    :param moves: whether it has poses.
    """
    return {
        "header": name + HEADER,
        "raw": name + RAW,
        "poses": name + POSES if moves else None,
        "frames": len(numbers),
        "firstNumber": numbers[0],
        "lastNumber": numbers[-1],
        "firstTime": times[0],
        "lastTime": times[-1],
        "shape": list(part.shape),
        "dtype": part.dtype,
        "bytes": len(numbers) * part.frameBytes,
        "sha256": None,
    }


def composeManifest(
    part: PartLine, parts: Sequence[Mapping[str, Any]], failed: int, gaps: Sequence[Missed], finishedBy: str
) -> dict[str, Any]:
    """The whole manifest.

    :param part: any part of the recording.
    :param parts: from :func:`partEntry`, at least one.
    :param failed: frames that came and are not stored.
    :param finishedBy: "stop" or "repair".
    """
    return {
        "recording": part.recording,
        "stream": part.stream,
        "attributes": dict(part.attributes),
        "recorded": sum(entry["frames"] for entry in parts),
        "failed": failed,
        "gaps": [asdict(gap) for gap in gaps],
        "start": isoTime(part.start),
        "startClock": part.startClock,
        "firstTime": parts[0]["firstTime"],
        "lastTime": parts[-1]["lastTime"],
        "finishedBy": finishedBy,
        "versions": dict(part.versions),
        "parts": list(parts),
    }


def readManifest(path: str, base: str) -> dict[str, Any] | None:
    """The manifest of a recording; None when there is none.

    :param base: base name of the recording's files.
    :raises ValueError: it is damaged, or that of another recording.
    :raises OSError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            manifest = parsed(file.read())
    except FileNotFoundError:
        return None
    if not isinstance(manifest, dict) or manifest.get("recording") != base:
        raise ValueError(f"{os.path.basename(path)} is not the manifest of {base}")
    try:
        for gap in manifest["gaps"]:
            checkNumbers(gap["first"], gap["last"], gap["count"])
            str(gap["reason"])
        checkNumbers(manifest["recorded"], manifest.get("cutBytes", 0))
        if not isinstance(manifest.get("damaged", []), list):
            raise ValueError("The damaged lines are no list.")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{os.path.basename(path)} is damaged") from error
    return manifest


def writeManifest(path: str, manifest: Mapping[str, Any]) -> None:
    """:raises OSError: it cannot be written; what was there stays."""
    replaceFile(path, json.dumps(manifest, indent=2).encode("ascii") + b"\n")
