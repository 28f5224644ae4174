"""The simulated scanner as a child process of Slicer, sending to a temporary folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ..Link.WorkFolders import makeWorkFolder, removeWorkFolders
from ..Model.Settings import typedPath
from ..Sources.Folder import FolderSettings
from .ChildProcess import LIBRARY, newProcess, startChild

KEEP = 100
"""Files that stay in the temporary folder: it must not fill the disk while nobody looks."""


class SimulatedScanner:
    """Sends until it is closed, or Slicer ends.

    :param source: file or folder of images to send again and again; empty for the phantom.
    :param fps: files each second.
    :param onFailure: called with a sentence when it ends by itself.
    """

    def __init__(self, source: str, fps: float, onFailure: Callable[[str], None]) -> None:
        self.folder = makeWorkFolder()
        self.settings = FolderSettings(folder=self.folder, existing="all")
        """What shows its images."""
        self._options = ["--fps", str(fps), "--keep", str(KEEP), "--loop", "--until-input-ends"]
        if source := typedPath(source):
            self._options += ["--input", source]
        self._onFailure = onFailure
        self._process: Any = newProcess()
        self._process.connect("finished(int,QProcess::ExitStatus)", self._finished)

    def start(self) -> None:
        """Begin to send.

        :raises AcquisitionError: there is no Python to run it.
        """
        script = os.path.join(LIBRARY, "Simulator", "__main__.py")
        startChild(self._process, script, self.folder, *self._options)

    def end(self) -> None:
        """Ask it to end; returns at once."""
        self._process.closeWriteChannel()

    def close(self) -> None:
        """End it and remove its folder."""
        self._process.disconnect("finished(int,QProcess::ExitStatus)", self._finished)
        self.end()
        if not self._process.waitForFinished(1000):
            self._process.kill()
            self._process.waitForFinished(1000)
        removeWorkFolders([self.folder])

    def _finished(self, code: int, *_: int) -> None:
        words = self._process.readAllStandardError().data().decode(errors="replace").strip()
        if code:
            last = words.splitlines()[-1] if words else f"exit code {code}"
            self._onFailure(f"The simulated scanner ended: {last}")
