"""The sample data: what Slicer's Sample Data module offers, unpacks and shows, without a network."""

from __future__ import annotations

import hashlib
import zipfile

import numpy as np
import pytest
import samples
import slicerhost
import vtk
from RealTimeImagingLib import FolderSettings

from .conftest import MODULE, until
from .test_Panel import panelOf

ARCHIVES = {samples.NIFTI: samples.niftiFiles, samples.DICOM: samples.dicomFiles}


@pytest.fixture
def offered(slicer, module):
    """The data sets by name, as the application registers them at the end of its start."""
    vars(slicer.modules).pop("sampleDataSources", None)
    slicer.app.startupCompleted.emit()
    (sources,) = [found for category, found in slicer.modules.sampleDataSources.items() if "Real-Time" in category]
    return {source.sampleName: source for source in sources}


@pytest.mark.parametrize("name", ARCHIVES)
def test_theArchivesAreMadeFromTheirOrigin(name):
    with zipfile.ZipFile(MODULE.parent / "Resources" / "SampleData" / f"{name}.zip") as zipped:
        found = {one: zipped.read(one) for one in zipped.namelist()}
    made = ARCHIVES[name]()
    assert list(found) == sorted(made)
    if name == samples.DICOM:  # the writer's version is in the files
        made, found = ({one: data[-8192:] for one, data in files.items()} for files in (made, found))
    assert found == made


def test_theDataSetsAreRegisteredOnce(slicer, offered):
    slicerhost.reloadModule("RealTimeImaging")
    slicer.app.startupCompleted.emit()
    (category,) = [one for one in slicer.modules.sampleDataSources if "Real-Time" in one]
    assert [one.sampleName for one in slicer.modules.sampleDataSources[category]] == ["MRPhantom", "MRPhantomDICOM"]
    for source in offered.values():
        assert source.uris[0].startswith("file://")
        archive = MODULE.parent / "Resources" / "SampleData" / source.fileNames[0]
        assert source.checksums == [f"SHA256:{hashlib.sha256(archive.read_bytes()).hexdigest()}"]
        assert source.thumbnailFileName.endswith("MRPhantom.png")


@pytest.mark.parametrize("name", ["MRPhantom", "MRPhantomDICOM"])
def test_theImagesOfADataSetAreLive(slicer, module, logic, offered, noErrors, name):
    import SampleData

    received = []
    logic.addFrameCallback(lambda frame: received.append((frame.pixels.copy(), frame.ijkToRAS)), every=True)
    logic.start(FolderSettings(folder=SampleData.downloadSample(name), existing="all", completeAfter=0.2))
    until(lambda: logic.statistics()["received"] == 3)
    volumes, affine = samples.phantom()
    until(lambda: len(received) == 3)
    for (pixels, matrix), expected in zip(received, volumes, strict=True):
        ordered, corrected = _inOrderOf(affine, pixels, matrix)
        assert (ordered == expected).all()
        assert np.abs(corrected - affine).max() < 1e-3
    logic.stop()
    until(lambda: not logic.isRunning())


def _inOrderOf(affine, pixels, matrix):
    """Return voxels and matrix with the slices in the order of another matrix."""
    if matrix[:3, 2] @ affine[:3, 2] > 0:
        return pixels, matrix
    turned = matrix @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, len(pixels) - 1], [0, 0, 0, 1]], float)
    return pixels[::-1], turned


def test_theButtonFillsThePanel(slicer, module, logic, offered, noErrors):
    (folder,) = offered["MRPhantom"].customDownloader(offered["MRPhantom"])
    ui = panelOf(module).ui
    assert panelOf(module).settings() == FolderSettings(folder=folder, existing="all")
    ui.startButton.click()
    until(lambda: logic.statistics()["shown"] >= 1 and logic.statistics()["received"] == 3)
    matrix = vtk.vtkMatrix4x4()
    logic.liveVolumeNode().GetIJKToRASMatrix(matrix)
    assert abs(matrix.GetElement(0, 3) - samples.phantom()[1][0, 3]) < 1e-3
    ui.startButton.click()
    until(lambda: not logic.isRunning())
