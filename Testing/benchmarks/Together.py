"""A folder, a camera and a scanner on the network at once, recorded for a minute: what arrives, and how the window is.

Every count and every stored pixel is compared with what was sent; the window's turns with those when nothing runs.
"""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import slicerhost
from demo.Feeds import SIMULATOR, decodedPictures, realVideo
from RealTimeImagingLib import CameraSettings, FolderSettings, OpenIGTLinkSettings
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Recording import openRecording

from .Common import startedModule

SECONDS, IDLE = 60, 5
FOLDER_FPS, NETWORK_FPS = 10, 30
TICK = 10
"""Milliseconds between two turns that the window is asked for."""
SMOOTH = 0.9
"""Part of the turns of an idle window that a busy one has."""


def measure() -> dict[str, Any]:
    """Counts of each source, and the window's turns."""
    layout = slicerhost.makeOffscreenViews(320)
    with startedModule() as logic, tempfile.TemporaryDirectory() as folder:
        idle = _turns(lambda: False, IDLE)
        found = _stream(logic, folder)
        logic.stop()
        slicerhost.runUntil(lambda: not logic.isRunning() and not logic.recording.building, 20)
        counts = logic.statistics()
        equal = {name: _equal(folder, name) for name in ("Folder", "Network", "Camera")}
    renders = {view.name: view.renders for view in layout.views() if view.name in ("Red", "Yellow", "Green")}
    streams = counts["streams"]
    sent = {"Folder": FOLDER_FPS * SECONDS, "Network": NETWORK_FPS * SECONDS, "Camera": found.pop("grabbed")}
    rules = {f"{name}: each one sent is received": streams[name]["received"] == sent[name] for name in sent}
    rules |= {f"{name}: each one is stored as it was sent, in order": equal[name] == sent[name] for name in sent}
    rules["nothing rejected or failed"] = counts["rejected"] == counts["failed"] == 0
    rules[f"the window has {SMOOTH} x the turns of an idle one"] = found["turns"] >= SMOOTH * idle["turns"]
    shown = {name: one["shown"] for name, one in streams.items()}
    return {"sent": sent, "stored": equal, "shown": shown, "renders": renders, "idle": idle, **found, "rules": rules}


def _stream(logic: Any, folder: str) -> dict[str, Any]:
    incoming = os.path.join(folder, "incoming")
    os.mkdir(incoming)
    logic.startRecording(os.path.join(folder, "recordings"), name="Together")
    toFolder = ["--fps", str(FOLDER_FPS), "--frames", str(FOLDER_FPS * SECONDS), "--keep", "20", incoming]
    toPeer = ["--fps", str(NETWORK_FPS), "--frames", str(NETWORK_FPS * SECONDS), "--listen", "0"]
    with _scanner(folder, "Network", *toPeer, "--device", "Network") as network:
        logic.start(FolderSettings(incoming, stream="Folder"))
        slicerhost.runUntil(lambda: logic.isRunning(), 10)
        camera = logic.start(CameraSettings(device=realVideo(), loop=True, stream="Camera"))
        port = int(network.stdout.readline().split()[-1])
        logic.start(OpenIGTLinkSettings(port=port))
        with _scanner(folder, "Folder", *toFolder) as scanner:
            found = _turns(lambda: scanner.poll() is not None and network.poll() is not None, 3 * SECONDS)
    slicerhost.runUntil(lambda: False, 1)
    logic.stop(camera)
    slicerhost.runUntil(lambda: camera.ended, 10)
    return {**found, "grabbed": camera.details["grabbed"]}


@contextmanager
def _scanner(folder: str, name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    log = os.path.join(folder, f"{name}.jsonl")
    command = [sys.executable, SIMULATOR, *arguments, "--log", log, "--until-input-ends"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.communicate()


def _turns(over: Any, seconds: float) -> dict[str, float]:
    """How often each second a timer of TICK milliseconds came, and the longest pause between two of its calls."""
    import qt

    moments: list[float] = []
    timer = qt.QTimer()
    timer.setTimerType(qt.Qt.PreciseTimer)
    timer.connect("timeout()", lambda: moments.append(time.perf_counter()))
    timer.start(TICK)
    slicerhost.runUntil(over, seconds, everyMs=250)
    timer.stop()
    pauses = 1000 * np.diff(moments)
    return {
        "turns": round(len(pauses) / (moments[-1] - moments[0]), 1),
        "pauseMs99": round(float(np.percentile(pauses, 99)), 1),
        "longestPauseMs": round(float(pauses.max()), 1),
    }


def _equal(folder: str, name: str) -> int:
    """How many stored frames are those that were sent, from the first on."""
    parts = sorted(
        (openRecording(path) for path in glob.glob(f"{folder}/recordings/*-{name}*.seq.nhdr")),
        key=lambda part: part.part,
    )
    stored = [checksum(part.pixels(index)) for part in parts for index in range(part.count)]
    if name == "Camera":
        pictures = [checksum(picture[None]) for picture in decodedPictures(realVideo())]
        sent = [pictures[index % len(pictures)] for index in range(len(stored))]
    else:
        with open(os.path.join(folder, f"{name}.jsonl"), encoding="utf-8") as file:
            sent = [value for line in file for value in json.loads(line)["checksums"]]
    different = (index for index, pair in enumerate(zip(stored, sent, strict=False)) if pair[0] != pair[1])
    return next(different, min(len(stored), len(sent)))
