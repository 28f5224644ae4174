"""Conversion: two folders, Convert, and each click loads a converted volume."""

from __future__ import annotations

import json

import numpy as np
import pytest
from RealTimeImagingLib import FolderSettings
from unit.conversions import dicomFile, fromITK, series

from .conftest import until, untilStopped
from .test_Panel import panelOf


def ended(logic):
    until(lambda: not logic.conversion.status()["running"] and not logic.conversion.status()["loading"], 30)


@pytest.fixture
def cores(tmp_path):
    """Twenty series in one folder, and their values by the names of the converted files."""
    made = {}
    for number in range(20):
        values = series(
            tmp_path / f"dicom/{number % 3}",
            count=4,
            SeriesInstanceUID=f"1.2.{number}",
            SeriesDescription=f"Core {number:02}",
        )
        for index in range(4):
            (tmp_path / f"dicom/{number % 3}" / f"{(index * 7) % 4:03d}x{index}").rename(
                tmp_path / f"dicom/{number % 3}/{number:02}-{index}"
            )
        made[f"7_Core_{number:02}.nrrd"] = values + number
        for index in range(4):
            dicomFile(
                tmp_path / f"dicom/{number % 3}/{number:02}-{index}",
                values[index] + np.int16(number),
                (0, 0, 2.0 * index),
                SeriesInstanceUID=f"1.2.{number}",
                SeriesDescription=f"Core {number:02}",
            )
    return made


def test_panel(slicer, module, views, logic, cores, tmp_path, noErrors):
    """The list has the converted files; each click loads the next one, each once, with geometry and metadata."""
    ui = panelOf(module).ui
    ui.convertSection.collapsed = False
    ui.convertInputPathLineEdit.currentPath = str(tmp_path / "dicom")
    ui.convertOutputPathLineEdit.currentPath = str(tmp_path / "out")
    ui.convertButton.click()
    assert logic.conversion.status()["running"]
    ended(logic)
    until(lambda: ui.convertedComboBox.count == 20 and ui.convertButton.enabled)
    assert "20 done" in ui.convertLabel.text
    for number in range(2):
        ui.loadConvertedButton.click()
        name = f"7_Core_{number:02}"
        node = slicer.util.getNode(name)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), cores[f"{name}.nrrd"])
        matrix = slicer.util.arrayFromVTKMatrix(_matrixOf(node, slicer))
        np.testing.assert_allclose(matrix, np.diag([-1, -1, 1, 1]) @ fromITK(tmp_path / f"out/{name}.nrrd")[1])
        assert node.GetAttribute("Modality") == "CT"
    for _ in range(25):
        ui.loadConvertedButton.click()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 20
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("7_Core_07"))
    ui.convertedComboBox.currentIndex = 7
    ui.loadConvertedButton.click()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 20
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("7_Core_03"))
    for _ in range(2):
        ui.loadAllConvertedButton.click()
        ended(logic)
        assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 20
    before = (tmp_path / "out/7_Core_00.nrrd").read_bytes()
    slicer.util.arrayFromVolume(slicer.util.getNode("7_Core_00"))[:] = 0
    assert (tmp_path / "out/7_Core_00.nrrd").read_bytes() == before
    ui.convertButton.click()
    ended(logic)
    until(lambda: "20 already converted" in ui.convertLabel.text)


def _matrixOf(node, slicer):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def test_loadWhenDone(slicer, logic, cores, tmp_path, noErrors):
    for t in range(3):
        for k in range(2):
            plane = np.full((5, 4), 10 * t + k, np.int16)
            dicomFile(tmp_path / f"dicom/4d{t}{k}", plane, (0, 0, k), SeriesInstanceUID="1.9", AcquisitionNumber=t)
    logic.conversion.start(tmp_path / "dicom", tmp_path / "out", loadWhenDone=True, workers=2)
    ended(logic)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 21
    browser = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")[0]
    assert browser.GetMasterSequenceNode().GetNumberOfDataNodes() == 3
    assert logic.conversion.report["done"] == 21
    assert logic.events()[-1].code == "converted"


def test_failedVolumesAreNamed(logic, tmp_path, noErrors):
    series(tmp_path / "dicom/good")
    dicomFile(tmp_path / "dicom/cut", np.ones((50, 40), np.int16), SeriesInstanceUID="1.8")
    whole = (tmp_path / "dicom/cut").read_bytes()
    (tmp_path / "dicom/cut").write_bytes(whole[:-100])
    (tmp_path / "dicom/notes").write_text("no image")
    logic.conversion.start(tmp_path / "dicom", tmp_path / "out", workers=1)
    ended(logic)
    report = json.loads((tmp_path / "out/conversion.json").read_text())
    assert (report["done"], report["failed"]) == (1, 1)
    assert [one["path"] for one in report["files"]] == ["notes"]
    words = [event.text for event in logic.events() if event.code == "not-converted"]
    assert len(words) == 1
    assert "is truncated: 3,900 of 4,000 bytes" in words[0]


def test_aCancelledConversionContinues(logic, tmp_path, noErrors, monkeypatch):
    from RealTimeImagingLib.Host import ChildProcess

    # On a busy computer the process may take longer to end by itself.
    monkeypatch.setattr(ChildProcess, "STOP_TIME", 20_000)
    for number in range(60):
        series(tmp_path / f"dicom/{number}", count=8, shape=(256, 256), SeriesInstanceUID=f"1.2.{number}")
    logic.conversion.start(tmp_path / "dicom", tmp_path / "out", workers=1)
    with pytest.raises(Exception, match="is running"):
        logic.conversion.start(tmp_path / "dicom", tmp_path / "out")
    until(lambda: logic.conversion.status()["progress"] > 0)
    logic.conversion.cancel()
    ended(logic)
    assert not list((tmp_path / "out").glob("*.part"))
    logic.conversion.start(tmp_path / "dicom", tmp_path / "out", workers=1)
    ended(logic)
    report = logic.conversion.report
    assert report["done"] + report["skipped"] == 60
    assert len(list((tmp_path / "out").glob("*.nrrd"))) == 60


def test_aFolderSourceShowsConvertedFilesInOrder(slicer, logic, cores, tmp_path, noErrors):
    """The live volume shows the existing files in the order of their names."""
    logic.conversion.start(tmp_path / "dicom", tmp_path / "out")
    ended(logic)
    shown = []
    logic.addFrameCallback(lambda frame: shown.append((frame.attributes["SourceFile"], frame.pixels.copy())))
    logic.start(FolderSettings(tmp_path / "out", existing="all"))
    until(lambda: logic.statistics()["received"] == 20)
    until(lambda: logic.statistics()["shown"] + logic.statistics()["skipped"] == 20)
    assert logic.statistics()["rejected"] == 0
    for name, pixels in shown:
        np.testing.assert_array_equal(pixels, cores[name])
    assert shown[-1][0] == "7_Core_19.nrrd"
    untilStopped(logic)
