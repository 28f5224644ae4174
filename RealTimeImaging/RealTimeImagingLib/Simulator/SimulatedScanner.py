"""The simulated scanner as a child process of Slicer, sending to a temporary folder."""

from __future__ import annotations

import os
from typing import Any

from ..Acquisition.Child import newProcess, startChild
from ..Acquisition.WorkFolders import makeWorkFolder, removeWorkFolders
from ..Settings import FolderSettings

KEEP = 100
"""Files that stay in the temporary folder: it must not fill the disk while nobody looks."""


class SimulatedScanner:
    """Sends until it is closed, or Slicer ends.

    :param source: file or folder of images to send again and again; empty for the phantom.
    :param fps: files each second.
    """

    def __init__(self, source: str = "", fps: float = 10.0) -> None:
        self.folder = makeWorkFolder()
        self.settings = FolderSettings(folder=self.folder, existing="all")
        """What shows its images."""
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
        options = ["--fps", str(fps), "--keep", str(KEEP), "--loop", "--until-input-ends"]
        if source:
            options += ["--input", source]
        self._process: Any = newProcess()
        startChild(self._process, script, self.folder, *options)

    def end(self) -> None:
        """Ask it to end; returns at once."""
        self._process.closeWriteChannel()

    def close(self) -> None:
        """End it and remove its folder."""
        self.end()
        if not self._process.waitForFinished(1000):
            self._process.kill()
            self._process.waitForFinished(1000)
        self._process.deleteLater()
        removeWorkFolders([self.folder])
