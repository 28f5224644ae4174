"""What a frame costs Slicer's main thread, without and with three slice views and a 3-D view that show it."""

from __future__ import annotations

import tempfile
import time
from typing import Any

import slicerhost
from RealTimeImagingLib import FolderSettings

from .Common import copying, paced, startedModule, writer

PERIOD, COUNT = 0.1, 60


def measure() -> dict[str, Any]:
    """Milliseconds of the main thread for each 8 MiB frame, and a memcpy at the same pace in the same run."""
    layout = slicerhost.makeOffscreenViews(320)
    with startedModule() as logic:
        floor = paced(copying(), PERIOD, COUNT // 2)
        without, busy, _, _ = _stream(logic, layout, "none")
        withViews, _, renders, shown = _stream(logic, layout, "all")
        floor = min(floor, paced(copying(), PERIOD, COUNT // 2))
        loaded = paced(_loader(), PERIOD * 2, 10)
    return {
        "pacedMemcpyMs": round(floor, 3),
        "withoutViewsMs": without,
        "withoutViewsAllOfThreadMs": round(busy, 3),
        "withViewsMs": withViews,
        "storageNodeMs": round(loaded, 3),
        "renders": renders,
        "frames": COUNT,
        "shownInViews": shown,
        "rules": {
            "without views at most 1.4 x memcpy + 0.1 ms": without["median"] <= 1.4 * floor + 0.1,
            "with views at most memcpy + 2 ms": withViews["median"] <= floor + 2,
            "every view was drawn for most images shown": min(renders.values()) >= 0.8 * shown,
        },
    }


def _stream(logic: Any, layout: Any, where: str) -> tuple[dict[str, Any], float, dict[str, int], int]:
    with tempfile.TemporaryDirectory() as folder:
        logic.setShowIn(where)
        handle = logic.start(FolderSettings(folder))
        slicerhost.runUntil(lambda: handle.state == "running", 10)
        with writer(folder, COUNT, PERIOD):
            slicerhost.runUntil(lambda: logic.statistics()["received"] > 1, 20)
            before = {view.name: view.renders for view in layout.views()}
            busy, first = time.thread_time(), logic.statistics()["shown"]
            slicerhost.runUntil(lambda: logic.statistics()["received"] == COUNT, 60, everyMs=500)
            busy = 1000 * (time.thread_time() - busy) / (logic.statistics()["shown"] - first)
        renders = {view.name: view.renders - before[view.name] for view in layout.views()}
        taken, shown = logic.statistics()["mainThreadMs"], logic.statistics()["shown"] - first
        logic.stop()
        slicerhost.runUntil(lambda: not logic.isRunning(), 5)
    # The 3-D view shows no slices here and is drawn only when something in it changes.
    return taken, busy, {name: count for name, count in renders.items() if name in ("Red", "Yellow", "Green")}, shown


def _loader() -> Any:
    """The peer: Slicer's own storage node reads the same volume into a node in the main thread."""
    import nibabel
    import numpy as np
    import slicer

    folder = tempfile.mkdtemp()
    path = f"{folder}/peer.nii"
    nibabel.Nifti1Image(np.zeros((256, 256, 64), np.int16), np.eye(4)).to_filename(path)

    def load() -> None:
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
        storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
        storage.SetFileName(path)
        storage.ReadData(node)
        node.CreateDefaultDisplayNodes()
        slicer.mrmlScene.RemoveNode(node)

    return load
