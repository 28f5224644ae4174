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

from .Common import lateness, startedModule, stop
from .Rows import OURS, Found, Row

TITLE = "A folder, a camera and a network scanner at once, recorded for a minute"
ABOUT = """
Turns: how often a timer of 10 ms in Slicer's event loop comes each second; floor: the same timer while nothing runs.
Every count and every stored pixel is compared with what was sent.
"""

SECONDS, IDLE = 60, 5
FOLDER_FPS, NETWORK_FPS = 10, 30
SMOOTH = 0.9
"""Part of the turns of an idle window that a busy one has."""


def measure() -> Found:
    """Measure the window's turns, and compare what is stored with what was sent."""
    layout = slicerhost.makeOffscreenViews(320)
    with startedModule() as logic, tempfile.TemporaryDirectory() as folder:
        idle = _turns(lambda: False, IDLE)
        found = _stream(logic, folder)
        stop(logic)
        slicerhost.runUntil(lambda: not logic.recording.building, 20)
        counts = logic.statistics()
        equal = {name: _equal(folder, name) for name in ("Folder", "Network", "Camera")}
    streams = counts["streams"]
    sent = {"Folder": FOLDER_FPS * SECONDS, "Network": NETWORK_FPS * SECONDS, "Camera": found["grabbed"]}
    checks = {f"{name}: each one sent is received": streams[name]["received"] == sent[name] for name in sent}
    checks |= {f"{name}: each one is stored as it was sent, in order": equal[name] == sent[name] for name in sent}
    checks["nothing rejected or failed"] = counts["rejected"] == counts["failed"] == 0
    checks["every slice view has drawn"] = all(
        view.renders for view in layout.views() if view.name in ("Red", "Yellow", "Green")
    )
    turns = {"idle": [idle["turns"]], OURS: [found["turns"]]}
    late = {"idle": [idle["late99"]], OURS: [found["late99"]]}
    rows = [
        Row("turns of the window", "/s", turns, f"at least {SMOOTH} x those of an idle one", SMOOTH * idle["turns"]),
        Row("99th percentile", "ms late", late),
    ]
    return Found(rows, checks)


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
    command = [sys.executable, SIMULATOR, *arguments, "--log", log]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def _turns(over: Any, seconds: float) -> dict[str, float]:
    """Return how often each second a timer of 10 ms came, and how late it was."""
    began = time.perf_counter()
    with lateness() as late:
        slicerhost.runUntil(over, seconds, everyMs=250)
    return {"turns": len(late) / (time.perf_counter() - began), "late99": float(np.percentile(late, 99))}


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
