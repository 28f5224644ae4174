"""What 50,000 files in the watched folder cost Slicer's main thread, beside the same with an empty folder."""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

import slicerhost
from RealTimeImagingLib import FolderSettings

from .Common import startedModule

FILES = 50_000
SECONDS = 4.0


def measure() -> dict[str, Any]:
    """Milliseconds of the main thread in each second of watching."""
    slicerhost.boot()
    with startedModule() as logic, tempfile.TemporaryDirectory() as empty, tempfile.TemporaryDirectory() as full:
        for number in range(FILES):
            open(os.path.join(full, f"old{number}.nii"), "wb").close()
        idle, _ = _watch(logic, empty)
        busy, delay = _watch(logic, full)
    return {
        "emptyFolderMsEachSecond": round(idle, 2),
        "fullFolderMsEachSecond": round(busy, 2),
        "files": FILES,
        "newFileSeenAfterMs": round(delay, 1),
        "rules": {"50,000 files cost the main thread less than 5 ms in each second": busy - idle < 5},
    }


def _watch(logic: Any, folder: str) -> tuple[float, float]:
    handle = logic.start(FolderSettings(folder, incompleteAfter=1000))
    slicerhost.runUntil(lambda: handle.state == "running", 30)
    slicerhost.runUntil(lambda: bool(handle.status), 5)
    started = time.thread_time()
    slicerhost.runUntil(lambda: False, SECONDS, everyMs=int(1000 * SECONDS))
    busy = 1000 * (time.thread_time() - started) / SECONDS
    begun = time.time()
    with open(os.path.join(folder, "new.nii"), "wb") as file:
        file.write(b"garbage" * 1000)
    slicerhost.runUntil(lambda: logic.statistics()["rejected"] == 1, 20, everyMs=10)
    delay = 1000 * (time.time() - begun)
    logic.stop()
    slicerhost.runUntil(lambda: not logic.isRunning(), 5)
    return busy, delay
