"""Tutorials of the documentation: their code runs as it stands, block after block, for tests and pictures."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .Stage import Stage

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "tutorials")
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
WAIT = re.compile(r"^# \.\.\. (.*) \.\.\.\n", re.MULTILINE)

Blocks = list[tuple[str, str]]


def blocksOf(name: str, changes: Mapping[str, str]) -> Blocks:
    """Return language and text of each block of a tutorial.

    :param name: of its file, without suffix.
    :param changes: replacements of texts, such as of paths.
    """
    with open(os.path.join(FOLDER, f"{name}.md"), encoding="utf-8") as file:
        text = file.read()
    for before, after in changes.items():
        assert before in text, before
        text = text.replace(before, after)
    return BLOCK.findall(text)


def runInConsole(block: str, console: dict[str, Any], wait: Callable[[str], object]) -> None:
    """Execute a block of Python; where a comment names what the user waits for, call ``wait`` with these words."""
    parts = WAIT.split(block)
    for index, part in enumerate(parts):
        if index % 2:
            wait(part)
        else:
            exec(part, console)


def runInTerminal(block: str, **options: Any) -> None:
    """Run the lines of a block of commands.

    :raises subprocess.CalledProcessError: one fails.
    """
    for line in block.splitlines():
        subprocess.run(shlex.split(line), check=True, capture_output=True, **options)


def areReady(logic: Any) -> bool:
    """Return whether all functions are loaded and connected."""
    return all(
        one.resultSource.details.get("connected") and "starting" not in one.status for one in logic.processing.list()
    )


def areDone(logic: Any, processor: Any, count: int) -> bool:
    """Return whether a function has finished so many images, and their results have arrived."""
    figures = processor.statistics()
    finished = sum(figures.get(name, 0) for name in ("processed", "skipped", "failed"))
    return bool(figures) and finished >= count and not figures["waiting"]


def hasParameter(processor: Any, name: str, value: object) -> bool:
    """Return whether a function has got the value of a parameter."""
    return bool(processor.statistics().get("parameters", {}).get(name) == value)


def motion(stage: Stage) -> bytes:
    """The tSNR map over the simulated scanner's volumes, and the plot of motion."""
    import nibabel
    import numpy as np
    from RealTimeImagingLib.Simulator.Images import images

    stage.makeViews()
    rng, path = np.random.default_rng(1), os.path.join(stage.folder("run"), "run.nii.gz")
    first = next(images(None, True))
    volumes = [np.roll(first.pixels, number // 6, 2) + rng.normal(0, 12, first.pixels.shape) for number in range(12)]
    stored = np.stack([volume.T for volume in volumes], -1).astype(np.float32)
    nibabel.Nifti1Image(stored, first.ijkToRAS).to_filename(path)
    blocks = blocksOf("watch-motion-and-tsnr", {"/data/run.nii.gz": path.replace(os.sep, "/"), "rate=2.0": "rate=5.0"})
    _run(stage, blocks[:5], "tsnr", len(volumes))
    return _picture(stage)


def temperature(stage: Stage) -> bytes:
    """The temperature of a made phantom over its anatomy."""
    stage.makeViews()
    blocks = _running("live-temperature-map", {})
    _run(stage, blocks, "temperature", 11)
    return _picture(stage)


def network(stage: Stage) -> bytes:
    """The labels of a network over the simulated scanner's volumes."""
    import sys

    stage.makeViews()
    model = os.path.join(stage.folder("network"), "model.onnx")
    changes = {'f"{home}/model.onnx"': repr(model), '"model.onnx"': repr(model)}
    changes |= {'f"{home}/RealTimeImaging/incoming"': repr(stage.folder("incoming"))}
    changes['    python=f"{home}/network/bin/python",\n'] = ""
    blocks = [
        (language, text.replace("logic.stop()\n", "")) for language, text in blocksOf("run-a-neural-network", changes)
    ]
    subprocess.run([sys.executable, "-c", blocks[1][1]], check=True)
    _run(stage, blocks[3:], "network", 8)
    return _picture(stage)


TUTORIALS: dict[str, Callable[[Stage], bytes]] = {one.__name__: one for one in (motion, temperature, network)}


def _running(name: str, changes: Mapping[str, str]) -> Blocks:
    """Return the blocks of a tutorial without its stop at the end."""
    return [(language, text.replace("logic.stop()\n", "")) for language, text in blocksOf(name, changes)]


def _run(stage: Stage, blocks: Blocks, name: str, count: int) -> None:
    console: dict[str, Any] = {"slicer": stage.slicer}

    def wait(words: str) -> None:
        if words == "the functions start":
            stage.until(lambda: areReady(stage.logic))
        elif words == "the function has the parameter":
            stage.until(lambda: hasParameter(console[name], "show", "temperature"))
        else:
            stage.until(lambda: areDone(stage.logic, console[name], count))
            stage.until(lambda: all(not one.statistics().get("waiting") for one in stage.logic.processing.list()))
            stage.wait(1.0)

    for _language, block in blocks:
        runInConsole(block, console, wait)


def _picture(stage: Stage) -> bytes:
    stage.open("liveSection", "signalsSection")
    stage.widget.self().panel.refresh()
    return stage.withViews(1000, 640)
