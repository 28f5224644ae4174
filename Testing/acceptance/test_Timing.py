"""Where the time of a frame goes: its stages, as figures, table and file."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from RealTimeImagingLib import FolderSettings
from RealTimeImagingLib.Model.Errors import ExportError
from RealTimeImagingLib.Model.Statistics import STAGES

from .conftest import until, untilRunning, untilStopped
from .test_Folder import AFFINES, landmarks, save


def test_aFrameCarriesTheTimesOfItsStages(slicer, logic, incoming, tmp_path, noErrors):
    """In order, in seconds since the epoch; "stored" only while recording."""
    seen = []
    logic.addFrameCallback(lambda frame: seen.append(dict(frame.stages)))
    source = logic.start(FolderSettings(incoming))
    untilRunning(source)
    save(incoming / "a.nii", landmarks(), AFFINES["oblique"])
    until(lambda: logic.statistics()["shown"] == 1)
    logic.startRecording(tmp_path / "recordings")
    until(lambda: logic.recording.status()["free"] is not None)  # the process records
    save(incoming / "b.nii", landmarks(), AFFINES["oblique"])
    until(lambda: logic.statistics()["shown"] == 2 and logic.statistics()["recorded"] == 1)
    first, second = seen
    assert set(first) == {*STAGES[:3], "handedOver"}
    assert set(second) == {*STAGES[:4], "handedOver"}
    for stages in seen:
        times = [stages[name] for name in STAGES if name in stages]
        assert times == sorted(times)

    assert set(logic.timing.statistics()) == {*STAGES[1:], "total"} == set(logic.statistics()["stageMs"])
    node = logic.timing.table()
    assert node.GetName() == "Frame times"
    assert [node.GetTable().GetColumnName(column) for column in range(8)] == ["stream", "number", *STAGES]
    assert node.GetTable().GetNumberOfRows() == 2
    stored = slicer.util.arrayFromTableColumn(node, "stored")
    assert np.isnan(stored[0])
    assert stored[1] == second["stored"]

    path = tmp_path / "times.csv"
    logic.timing.save(str(path))
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["stream"], row["number"], row["stored"] != "") for row in rows] == [
        ("Live", "0", False),
        ("Live", "1", True),
    ]
    assert float(rows[1]["copied"]) > float(rows[1]["handedOver"])
    with pytest.raises(ExportError, match="exists"):
        logic.timing.save(str(path))
    logic.stopRecording()
    untilStopped(logic)


def test_theTableIsFilledAgain(slicer, logic, incoming, noErrors):
    source = logic.start(FolderSettings(incoming))
    untilRunning(source)
    for count in (1, 2):
        save(incoming / f"{count}.nii", landmarks(), AFFINES["oblique"])
        until(lambda: logic.statistics()["shown"] == count)  # noqa: B023 - it is awaited here
        assert logic.timing.table().GetTable().GetNumberOfRows() == count
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 1
    untilStopped(logic)
