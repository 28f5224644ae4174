"""The README's examples run as they stand, one after another, as in Slicer's console."""

from __future__ import annotations

import re

import nibabel
import numpy as np

from .conftest import ROOT, until

COMING = "# ... images come ...\n"
"""Where an example waits for images."""


def test_pythonExamples(slicer, views, logic, incoming, tmp_path, noErrors, capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = text.replace("/data/incoming", str(incoming)).replace("/data/recordings", str(tmp_path / "recordings"))
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 4
    stopping = [block for block in blocks if "logic.stop()" in block]
    halves = [block.partition(COMING) for block in blocks if block not in stopping]
    console = {"slicer": slicer}
    for before, _, _after in halves:
        exec(before, console)
    until(lambda: logic.recordingStatus()["free"] is not None)
    array = np.arange(64 * 64 * 24, dtype=np.int32).reshape(64, 64, 24)
    image = nibabel.Nifti1Image(array, np.eye(4))
    image.to_filename(incoming / ".a.nii")
    (incoming / ".a.nii").rename(incoming / "a.nii")
    until(lambda: logic.statistics()["shown"] == 1)
    for _before, _, after in halves:
        exec(after, console)
    until(lambda: not logic.recordings.building and not logic.exportStatus()["running"])
    assert console["browserNode"].GetMasterSequenceNode().GetNumberOfDataNodes() == 1
    for block in stopping:
        exec(block, console)
    until(lambda: not logic.isRunning())
    printed = capsys.readouterr().out
    assert f"0 {array.mean()}" in printed
    assert "a.nii: " in printed
    assert "folder-there Watching" in printed
    assert "saved Saved and compared" in printed
    suffixes = sorted("".join(path.suffixes) for path in (tmp_path / "recordings").iterdir())
    assert [suffix for suffix in suffixes if suffix in (".json", ".nrrd", ".raw", ".seq.nhdr")] == suffixes


def test_everyPathInTheReadmeIsThere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / path).exists(), path
