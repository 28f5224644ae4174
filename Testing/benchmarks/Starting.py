"""From Start to the first frame, and how long the module and its panel take to load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap

import numpy as np
import slicerhost
from RealTimeImagingLib import FolderSettings

from .Common import startedModule, stop, writeImage
from .Rows import OURS, Found, Row, interleaved, timed

TITLE = "Start to the first image, module and panel"
ABOUT = """
Start: from the press of Start, with an image in the folder, to its voxels in the volume. Floor: a new Python process
that imports numpy and ends. Module: the load of the module's file by Slicer's factory, in a new process each time;
floor: the same of a module that does nothing. Panel: from the first request of the panel to the panel with its logic;
floor: its .ui files, loaded by Qt alone. Python's compiled files are there (not the first start).
"""

ROUNDS = 7
LOADINGS = 4

LOADING = textwrap.dedent("""
    import json, os, sys, time
    import slicerhost
    from benchmarks.Common import MODULE
    slicer = slicerhost.boot()
    def taken(action):
        began = time.perf_counter()
        action()
        return 1000 * (time.perf_counter() - began)
    empty = taken(lambda: slicerhost.loadModule(sys.argv[1]))
    module = taken(lambda: slicerhost.loadModule(MODULE))
    folder = MODULE.parent / "Resources" / "UI"
    ui = taken(lambda: [slicer.util.loadUI(str(path)) for path in sorted(folder.glob("*.ui"))])
    panel = taken(lambda: slicer.modules.realtimeimaging.widgetRepresentation())
    print(json.dumps([empty, module, ui, panel]), flush=True)
    os._exit(0)
""")
EMPTY = textwrap.dedent("""
    from slicer.ScriptedLoadableModule import ScriptedLoadableModule
    class Empty(ScriptedLoadableModule):
        pass
""")


def measure() -> Found:
    """Measure seconds to the first image, and milliseconds of module and panel."""
    slicerhost.boot()
    shown = []
    with startedModule() as logic, tempfile.TemporaryDirectory() as folder:
        writeImage(os.path.join(folder, "image.nii"), np.zeros((14, 64, 64), np.int16))

        def ours() -> float:
            taken = timed(lambda: _first(logic, folder), 1)()
            shown.append(logic.statistics()["shown"])
            stop(logic)
            return taken

        command = [sys.executable, "-c", "import numpy"]
        ways = {"Python with numpy": timed(lambda: subprocess.run(command, check=True), 1), OURS: ours}
        samples = interleaved(ways, ROUNDS)
    rows = [Row("Start to the first image", "s", samples, "at most 1.0 s", 1.0, headline=True)]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "Empty.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(EMPTY)
        found = [_load(path) for _ in range(LOADINGS)]
    empty, module, ui, panel = map(list, zip(*found, strict=True))
    rows.append(Row("module load", "ms", {"an empty module": empty, OURS: module}))
    rows.append(Row("panel open", "ms", {".ui files": ui, OURS: panel}))
    return Found(rows, {"the image is shown after each start": set(shown) == {1}})


def _first(logic: object, folder: str) -> None:
    logic.start(FolderSettings(folder, existing="newest"))
    slicerhost.runUntil(lambda: logic.statistics()["shown"] > 0, 30, everyMs=2)


def _load(empty: str) -> list[float]:
    done = subprocess.run([sys.executable, "-c", LOADING, empty], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])
