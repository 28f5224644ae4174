"""From the rename of an 8 MiB .nii by another process to its voxels in the volume node."""

from __future__ import annotations

import statistics
import tempfile
import time
from typing import Any

import slicerhost
from RealTimeImagingLib import FolderSettings

from .Common import copying, paced, readingFloor, startedModule, writer

PERIOD, COUNT = 0.1, 60


def measure() -> dict[str, Any]:
    """Milliseconds from rename to volume, and the floors of reading and copying at the same pace in the same run."""
    slicerhost.boot()
    with startedModule() as logic, tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        read = readingFloor(other, PERIOD, COUNT // 2)
        copy = paced(copying(), PERIOD, COUNT // 2)
        shown: dict[str, float] = {}
        logic.addFrameCallback(lambda frame: shown.setdefault(frame.attributes["SourceFile"], time.time()))
        handle = logic.start(FolderSettings(folder))
        slicerhost.runUntil(lambda: handle.state == "running", 10)
        with writer(folder, COUNT, PERIOD) as process:
            slicerhost.runUntil(lambda: logic.statistics()["received"] == COUNT, 60, everyMs=500)
            renamed = [float(process.stdout.readline()) for _ in range(COUNT)]
        taken = logic.statistics()
        logic.stop()
        slicerhost.runUntil(lambda: not logic.isRunning(), 5)
    delays = sorted(
        1000 * (shown[name] - renamed[number]) for number in range(2, COUNT) if (name := f"f{number:05d}.nii") in shown
    )
    median = statistics.median(delays)
    return {
        "readFloorMs": round(read, 3),
        "pacedMemcpyMs": round(copy, 3),
        "renameToVolumeMs": {
            "median": round(median, 3),
            "p95": round(delays[round(0.95 * (len(delays) - 1))], 3),
            "max": round(delays[-1], 3),
        },
        "ofThatDecodedToVolumeMs": taken["latencyMs"],
        "ofThatMainThreadMs": taken["mainThreadMs"],
        "shown": len(shown),
        "rules": {"at most 2 x (read + memcpy) + 2 ms": median <= 2 * (read + copy) + 2},
    }
