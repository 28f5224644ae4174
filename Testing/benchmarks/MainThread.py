"""What an image costs Slicer's main thread, beside a copy of the same bytes and Slicer's own ways to show an array."""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import slicerhost

from .Common import startedModule, writeImage
from .Rows import OURS, Found, Row, interleaved, timed

TITLE = "Slicer's main thread for each image"
ABOUT = """
Floor: a copy of the same bytes between two arrays that exist, at the same pace. Peers:
`slicer.util.updateVolumeFromArray`; the same with the voxels assigned in place and `arrayFromVolumeModified`, which
Slicer's script repository recommends for speed; Slicer's storage node, which reads a file into the volume that exists;
and the Volumes logic, which `slicer.util.loadVolume` calls. Ours also sets the place, counts the image, decides when to
draw, keeps the statistics and calls the frame callbacks; the peers only copy or read. No view shows the volume, unless
the row says so.
"""

SIZES: dict[str, tuple[tuple[int, int, int], int]] = {
    "128 KiB": ((1, 256, 256), 30),
    "8 MiB": ((64, 256, 256), 30),
    "100 MiB": ((100, 1024, 512), 7),
}
"""Shape (int16) and number of rounds."""
SOURCES = 4
"""Arrays that are shown in turn: none of them is in the processor's cache only because it was shown last."""
PAUSE = 0.03
"""Seconds in which the event loop runs between two samples."""


def measure() -> Found:
    """Measure milliseconds of the main thread for each image."""
    layout = slicerhost.makeOffscreenViews(320)
    rows = []
    equal = True
    with startedModule() as logic, tempfile.TemporaryDirectory() as folder:
        for name, (shape, rounds) in SIZES.items():
            logic.setShowIn("none", name)
            ways, same = _ways(logic, folder, name, shape)
            samples = interleaved(ways, rounds, warm=SOURCES, before=_pause)
            equal = equal and same()
            floor = float(np.median(samples["memcpy"]))
            goal = "at most 1.4 x memcpy + 0.1 ms"
            rows.append(Row(f"{name}, no view", "ms", samples, goal, 1.4 * floor + 0.1, headline=name == "8 MiB"))
            if name == "8 MiB":
                logic.setShowIn("all", name)
                shown = {way: ways[way] for way in ("memcpy", OURS, "updateVolumeFromArray")}
                samples = interleaved(shown, rounds, before=_pause)
                renders = {view.name: view.renders for view in layout.views()}
                row = Row(f"{name}, three slice views and a 3-D view", "ms", samples)
                row.goal, row.limit = "at most memcpy + 2 ms", float(np.median(samples["memcpy"])) + 2
                rows.append(row)
            logic.stop()
            slicerhost.runUntil(lambda: not logic.isRunning(), 20)
    checks = {
        "the shown voxels equal those that were sent": equal,
        "every slice view has drawn": min(renders[name] for name in ("Red", "Yellow", "Green")) > 0,
    }
    return Found(rows, checks)


def _ways(logic: Any, folder: str, name: str, shape: tuple[int, int, int]) -> tuple[dict[str, Any], Callable[[], bool]]:
    import slicer

    random = np.random.default_rng(0)
    arrays = [random.integers(0, 999, shape).astype(np.int16) for _ in range(SOURCES)]
    turn = itertools.cycle(arrays)
    target = np.zeros(shape, np.int16)
    node = slicer.util.addVolumeFromArray(arrays[0].copy(), name=f"Peer {name}")
    voxels = slicer.util.arrayFromVolume(node)
    path = os.path.join(folder, f"{name}.nrrd")
    writeImage(path, arrays[0])
    stored = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"Stored {name}")
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetFileName(path)
    display = logic._session.display
    began: list[float] = []
    taken: list[float] = []
    display.beforeShowing.connect(lambda: began.append(time.perf_counter()))
    display.onShown.connect(lambda *_: taken.append(1000 * (time.perf_counter() - began[-1])))
    last = arrays[0]

    def ours() -> float:
        nonlocal last
        count, last = len(taken), next(turn)
        logic.push(last, name=name, wait=20)
        assert slicerhost.runUntil(lambda: len(taken) > count, 20, everyMs=5)
        return taken[-1]

    def inPlace() -> None:
        voxels[:] = next(turn)
        slicer.util.arrayFromVolumeModified(node)

    volumes, colours = slicer.vtkSlicerVolumesLogic(), slicer.vtkMRMLColorLogic()
    colours.SetMRMLScene(slicer.mrmlScene)
    slicer.app.applicationLogic().SetModuleLogic("Colors", colours)
    volumes.SetMRMLApplicationLogic(slicer.app.applicationLogic())
    volumes.SetMRMLScene(slicer.mrmlScene)

    def load() -> None:
        loaded = volumes.AddArchetypeVolume(path, "Loaded")
        slicer.mrmlScene.RemoveNode(loaded)

    ways = {
        "memcpy": timed(lambda: np.copyto(target, next(turn))),
        OURS: ours,
        "updateVolumeFromArray": timed(lambda: slicer.util.updateVolumeFromArray(node, next(turn))),
        "array in place": timed(inPlace),
        "storage node": timed(lambda: storage.ReadData(stored)),
        "Volumes logic (loadVolume)": timed(load),
    }

    def same() -> bool:
        ours()
        return bool((slicer.util.arrayFromVolume(logic.volumes.volume(name).node) == last).all())

    return ways, same


def _pause() -> None:
    slicerhost.runUntil(lambda: False, PAUSE, everyMs=int(1000 * PAUSE))
