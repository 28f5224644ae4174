"""Results of a processing function in a demo, compared with those of the same function on the recorded images.

python -m demo.Results JSON, the arguments of repeat(), prints what it returns as JSON.
"""

from __future__ import annotations

import glob
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from RealTimeImagingLib.Model.Frame import Frame, checksum, imageOf
from RealTimeImagingLib.Processing.Function import Result
from RealTimeImagingLib.Processing.Loading import LoadedFunction
from RealTimeImagingLib.Recording import openRecording
from RealTimeImagingLib.Recording.Reading import RecordedPart

PATIENCE = 300.0
"""Seconds for a repetition."""


def resultsEqual(
    function: str, parameters: dict[str, Any], folder: str, stream: str, counts: dict[str, int]
) -> tuple[bool, int]:
    """Compare the recorded results, bit for bit, with those of a repetition in a new process.

    Results of a function that cannot be repeated are not compared: a repetition fails, two repetitions differ, or
    images were skipped and it is unknown which.

    :param function: as findFunction() returns it. ``parameters``: its values by name.
    :param folder: of the recording of the images and results.
    :param stream: of the results.
    :param counts: statistics of the function.
    :returns: whether the results are equal, and how many were compared.
    """
    recorded = {
        part.frames[index]["attributes"]["SourceFrame"]: checksum(part.pixels(index))
        for part in partsOf(folder)
        if part.stream == stream
        for index in range(part.count)
    }
    # State depends on the images that were processed: all, or those with a result.
    numbers = list(recorded) if counts["skipped"] else None
    if counts["skipped"] and len(recorded) != counts["processed"]:
        return True, 0
    arguments = [function, parameters, folder, stream, numbers, list(recorded)]
    command = [sys.executable, "-m", "demo.Results", json.dumps(arguments)]
    try:
        first = _repeated(command)
        if first == recorded:
            return True, len(recorded)
        return (False, len(recorded)) if _repeated(command) == first else (True, 0)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return True, 0


def _repeated(command: list[str]) -> dict[str, str]:
    output = subprocess.run(command, capture_output=True, check=True, timeout=PATIENCE).stdout
    repeated: dict[str, str] = json.loads(output)
    return repeated


def partsOf(folder: str) -> list[RecordedPart]:
    """Return the parts of a recording, in the order of their frames."""
    return sorted((openRecording(path) for path in glob.glob(f"{folder}/*.seq.nhdr")), key=lambda part: part.part)


def framesOf(folder: str, resultStream: str) -> Iterator[Frame]:
    """Return the recorded frames of the source."""
    for part in partsOf(folder):
        if part.stream == resultStream:
            continue
        for index, entry in enumerate(part.frames):
            pixels = part.pixels(index)
            pixels.flags.writeable = False
            times = entry["receiveTime"], entry["deviceTime"]
            yield Frame(pixels, entry["ijkToRAS"], part.stream, entry["number"], *times, entry["attributes"])


def repeat(
    function: str, parameters: dict[str, Any], folder: str, stream: str, numbers: list[str] | None, results: list[str]
) -> dict[str, str]:
    """Call a function with recorded frames, in their order; return the checksum of each result.

    :param numbers: of the frames; None for all.
    :param results: numbers of the frames with a recorded result. One without a result now had a pause after it.
    """
    loaded, found, isFirst = LoadedFunction(function, parameters), {}, True
    for frame in framesOf(folder, stream):
        if numbers is not None and str(frame.number) not in numbers:
            continue
        try:
            if isFirst and loaded.setup:
                loaded.setup(loaded.parameters, frame)
            isFirst = False
            pixels = _pixelsOf(loaded.process(frame) if loaded.process else None, frame)
            if pixels is None and loaded.pause and str(frame.number) in results:
                pixels = _pixelsOf(loaded.pause(), frame)
        except Exception as error:  # noqa: BLE001 - the function's own; such an image has no result
            print(f"Frame {frame.number}: {error!r}", file=sys.stderr)
            continue
        if pixels is not None:
            found[str(frame.number)] = checksum(pixels)
    return found


def _pixelsOf(result: Any, frame: Frame) -> Any:
    given = result.pixels if isinstance(result, Result) else result
    if given is None:
        return None
    return imageOf(given, colour=False if given.shape == frame.pixels.shape[:3] else None).pixels


if __name__ == "__main__":
    print(json.dumps(repeat(*json.loads(sys.argv[1]))))
