"""Simulated scanners: child processes of Slicer that write images to a temporary folder."""

from __future__ import annotations

from collections.abc import Callable

from ..Link.WorkFolders import makeWorkFolder, removeWorkFolders
from ..Model.Errors import RealTimeImagingError
from ..Model.Event import Event
from ..Model.Settings import SourceSettings, typedPath
from ..Model.Text import textsOf
from ..Sources.Folder import FolderSettings
from .ChildProcess import ChildProcess
from .RunningSource import RunningSource

_ = textsOf(__file__)

STOP_TIME = 1000
"""Milliseconds after which a scanner that was asked to end is killed."""
KEEP = 100
"""Most files in the temporary folder: they must not fill the disk."""


class SimulatedScanner:
    """A scanner that writes files until it is closed, or Slicer ends.

    :param source: file or folder of images to send again and again; empty for the phantom.
    :param fps: files per second.
    :param onFailure: called with a sentence when it ends by itself.
    """

    def __init__(self, source: str, fps: float, onFailure: Callable[[str], None]) -> None:
        self.folder = makeWorkFolder()
        self.settings = FolderSettings(folder=self.folder, existing="all")
        """Settings of the source that shows its images."""
        self._options = ["--fps", str(fps), "--keep", str(KEEP), "--loop", "--until-input-ends"]
        if source := typedPath(source):
            self._options += ["--input", source]
        self._onFailure = onFailure
        self._child = ChildProcess("simulated scanner", "simulator", lambda message: None, self._ended)
        self._closing = False

    def start(self) -> None:
        """Start the process.

        :raises AcquisitionError: there is no Python to run it.
        """
        self._child.start(self.folder, *self._options)

    def end(self) -> None:
        """Ask it to end; return at once."""
        self._child.closeInput()

    def close(self) -> None:
        """End it and remove its folder."""
        self._closing = True
        self.end()
        self._child.wait(STOP_TIME)
        self._child.end(STOP_TIME)
        removeWorkFolders([self.folder])

    def _ended(self, code: int) -> None:
        if code and not self._closing:
            reason = self._child.lastError or _("exit code {code}").format(code=code)
            self._onFailure(_("The simulated scanner ended: {reason}").format(reason=reason))


class SimulatedScanners:
    """Simulated scanners, each with the source that shows its images.

    :param start: starts the source of a scanner, and compares the second argument with that of the last start: equal
        arguments promise equal images.
    :param report: takes the event "simulator-failed".
    """

    def __init__(
        self, start: Callable[[SourceSettings, object], RunningSource], report: Callable[[Event], None]
    ) -> None:
        self._start, self._report = start, report
        self._running: list[tuple[SimulatedScanner, RunningSource]] = []

    def start(self, source: str = "", fps: float = 10.0) -> RunningSource:
        """Start a simulated scanner that writes to a temporary folder, and a source that shows its images.

        :param source: file or folder of images to send again and again; empty for a small beating phantom.
        :param fps: images per second.
        :raises RealTimeImagingError: as :meth:`RealTimeImagingLogic.start`.
        """
        scanner = SimulatedScanner(source, fps, self._failed)
        try:
            handle = self._start(scanner.settings, ("simulated scanner", source))
            scanner.start()
        except RealTimeImagingError:
            scanner.close()
            raise
        self._running.append((scanner, handle))
        return handle

    def isSimulated(self, handle: RunningSource) -> bool:
        """Return True for a source that shows the images of a simulated scanner."""
        return any(shown is handle for _scanner, shown in self._running)

    def end(self, handle: RunningSource | None = None) -> None:
        """Ask the scanner of a source, or all scanners, to end; return at once."""
        for scanner, shown in self._running:
            if handle in (None, shown):
                scanner.end()

    def update(self) -> None:
        """Remove the scanners whose source has ended, and their folders."""
        for pair in [pair for pair in self._running if pair[1].ended]:
            self._running.remove(pair)
            pair[0].close()

    def _failed(self, words: str) -> None:
        self._report(Event("simulator-failed", words, "error"))
