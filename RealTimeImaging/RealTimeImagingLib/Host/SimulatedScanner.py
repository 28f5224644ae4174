"""Simulated scanners: child processes of Slicer that write or send images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    """A scanner that sends until it is closed, or Slicer ends.

    :param options: of its program, see ``Simulator/__main__.py``.
    :param onFailure: called with a sentence when it ends by itself.
    """

    def __init__(self, options: Sequence[str], onFailure: Callable[[str], None]) -> None:
        self.options = tuple(options)
        """The options, to compare them."""
        self._onFailure = onFailure
        self._child = ChildProcess("simulated scanner", "simulator", lambda message: None, self._ended)
        self.ending = False
        """True after it was asked to end."""

    @property
    def ended(self) -> bool:
        """True unless its process runs."""
        return self._child.ended

    def start(self) -> None:
        """Start the process.

        :raises AcquisitionError: there is no Python to run it.
        """
        self._child.start(*self.options, "--until-input-ends")

    def end(self) -> None:
        """Ask it to end; return at once."""
        self.ending = True
        self._child.closeInput()

    def close(self) -> None:
        """End it."""
        self.end()
        self._child.wait(STOP_TIME)
        self._child.end(STOP_TIME)

    def _ended(self, code: int) -> None:
        if code and not self.ending:
            reason = self._child.lastError or _("exit code {code}").format(code=code)
            self._onFailure(_("The simulated scanner ended: {reason}").format(reason=reason))


class SimulatedScanners:
    """Simulated scanners: with a source that shows their images, or by themselves.

    :param start: starts the source of a scanner, and compares the second argument with that of the last start: equal
        arguments promise equal images.
    :param report: takes the event "simulator-failed".
    """

    def __init__(
        self, start: Callable[[SourceSettings, object], RunningSource], report: Callable[[Event], None]
    ) -> None:
        self._start, self._report = start, report
        self._running: list[tuple[SimulatedScanner, RunningSource, str]] = []
        """Scanners with a source, and their temporary folders."""
        self._devices: list[SimulatedScanner] = []
        """Scanners without a source of their own."""

    def start(self, source: str = "", fps: float = 10.0) -> RunningSource:
        """Start a simulated scanner that writes to a temporary folder, and a source that shows its images.

        :param source: file or folder of images to send again and again; empty for a small beating phantom.
        :param fps: images per second.
        :raises RealTimeImagingError: as :meth:`RealTimeImagingLogic.start`.
        """
        folder, source = makeWorkFolder(), typedPath(source)
        options = [folder, "--fps", str(fps), "--keep", str(KEEP), "--loop", *(("--input", source) if source else ())]
        scanner = SimulatedScanner(options, self._failed)
        try:
            running = self._start(FolderSettings(folder=folder, existing="all"), ("simulated scanner", source))
            scanner.start()
        except RealTimeImagingError:
            scanner.close()
            removeWorkFolders([folder])
            raise
        self._running.append((scanner, running, folder))
        return running

    def run(self, *options: object) -> None:
        """Start a simulated scanner that writes to a folder, or sends to a source, of yours.

        >>> logic.simulator.run("/data/incoming", "--fps", 2)
        >>> logic.simulator.run("--connect", 18944, "--tool", "ProbeToTracker")

        It sends until ``logic.stop()`` or :meth:`end`. A scanner with the same options that runs continues.

        :param options: as of the command: a folder; or ``--connect``, ``--listen``, ``--store`` or ``--mrd`` with a
            port; or ``--post`` with an address. Then ``--fps``, ``--frames``, ``--format`` and others.
        :raises AcquisitionError: there is no Python to run it.
        """
        scanner = SimulatedScanner([str(one) for one in options], self._failed)
        self._devices = [one for one in self._devices if not one.ended]
        if any(one.options == scanner.options and not one.ending for one in self._devices):
            return
        scanner.start()
        self._devices.append(scanner)

    def isSimulated(self, source: RunningSource) -> bool:
        """Return True for a source that shows the images of a simulated scanner."""
        return any(shown is source for _scanner, shown, _folder in self._running)

    def end(self, source: RunningSource | None = None) -> None:
        """Ask the scanner of a source, or all scanners, to end; return at once."""
        ending = [] if source else self._devices
        for scanner in [*ending, *(one for one, shown, _folder in self._running if source in (None, shown))]:
            scanner.end()

    def update(self) -> None:
        """Remove the scanners whose source has ended, and their folders."""
        for one in [one for one in self._running if one[1].ended]:
            self._running.remove(one)
            scanner, _source, folder = one
            scanner.close()
            removeWorkFolders([folder])

    def close(self) -> None:
        """End the scanners without a source."""
        for scanner in self._devices:
            scanner.close()
        self._devices.clear()

    def _failed(self, words: str) -> None:
        self._report(Event("simulator-failed", words, "error"))
