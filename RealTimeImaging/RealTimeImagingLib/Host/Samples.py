"""Data sets of this module in Slicer's Sample Data module. They are part of the extension and need no network.

Origin and licence of the data: ``Resources/SampleData/README.md``.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..Sources.Folder import FolderSettings

MODULE = "RealTimeImaging"
RESOURCES = Path(__file__).parents[2] / "Resources"
SAMPLES = ("MRPhantom", "MRPhantomDICOM")
"""Names of the data sets; each is a ZIP archive in Resources/SampleData."""


def registerSamples() -> None:
    """Add the data sets to the Sample Data module.

    ``SampleData.downloadSample("MRPhantom")`` unpacks a set and returns its folder; the button also opens the panel.
    """
    import SampleData

    for name in SAMPLES:
        file = RESOURCES / "SampleData" / f"{MODULE}-{name}.zip"
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category=_("Real-Time Imaging"),
            sampleName=name,
            uris=file.as_uri(),
            fileNames=file.name,
            loadFileTypes="ZipFile",
            checksums=f"SHA256:{hashlib.sha256(file.read_bytes()).hexdigest()}",
            thumbnailFileName=os.fspath(RESOURCES / "Icons" / "MRPhantom.png"),
            customDownloader=openSample,
        )


def openSample(source: Any) -> list[str]:
    """Unpack a data set, and show its folder in the panel, ready to start.

    :param source: SampleData.SampleDataSource.
    :returns: the folder, alone in a list.
    """
    import SampleData

    folders: list[str] = SampleData.SampleDataLogic().downloadFromSource(source)
    if folders:
        if slicer.util.mainWindow() is not None:
            slicer.util.selectModule(MODULE)
        panel = slicer.util.getModuleWidget(MODULE).panel
        panel.showSettings(FolderSettings(folder=os.path.normpath(folders[0]), existing="all"))
    return folders
