"""Data sets of this module in Slicer's Sample Data module. They are part of the extension and need no network.

Origin and licence of the data: ``Resources/SampleData/README.md``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..Sources.Folder import FolderSettings

MODULE = "RealTimeImaging"
RESOURCES = Path(__file__).parents[2] / "Resources"
SAMPLES = {
    "MRPhantom": "875c635f30a735ee3d1fd1ec4c3cc1d335fde6599d5d36769a1ed69a864e7c2c",
    "MRPhantomDICOM": "652c9ce62a273e2e782175587b71c42369be1c1fc319e7589dd4569d411c3692",
}
"""SHA-256 of the ZIP archive in Resources/SampleData, by the name of the data set. Sample Data refuses another file."""


def registerSamples() -> None:
    """Add the data sets to the Sample Data module.

    ``SampleData.downloadSample("MRPhantom")`` unpacks a set and returns its folder; the button also opens the panel.
    """
    import SampleData

    for name, digest in SAMPLES.items():
        file = RESOURCES / "SampleData" / f"{MODULE}-{name}.zip"
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category=_("Real-Time Imaging"),
            sampleName=name,
            uris=file.as_uri(),
            fileNames=file.name,
            loadFileTypes="ZipFile",
            checksums=f"SHA256:{digest}",
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
