"""The README's examples run as they stand, one after another, as in Slicer's console."""

from __future__ import annotations

import re

import nibabel
import numpy as np

from .conftest import ROOT, until


def test_pythonExamples(slicer, views, logic, incoming, noErrors, capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 3
    *before, last = [block for block in blocks if "logic.stop()" not in block] + [
        block for block in blocks if "logic.stop()" in block
    ]
    console = {"slicer": slicer}
    for block in before:
        exec(block.replace("/data/incoming", str(incoming)), console)
    until(lambda: console["handle"].state == "running")
    array = np.arange(64 * 64 * 24, dtype=np.int32).reshape(64, 64, 24)
    image = nibabel.Nifti1Image(array, np.eye(4))
    image.to_filename(incoming / ".a.nii")
    (incoming / ".a.nii").rename(incoming / "a.nii")
    until(lambda: logic.statistics()["shown"] == 1)
    exec(last, console)
    until(lambda: not logic.isRunning())
    printed = capsys.readouterr().out
    assert f"0 {array.mean()}" in printed
    assert "a.nii: " in printed
    assert "folder-there Watching" in printed


def test_everyPathInTheReadmeIsThere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / path).exists(), path
