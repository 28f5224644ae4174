"""Slicer's side of cameras: a search in a separate process, and its controls in the panel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from ...Host.ChildProcess import ChildProcess
from ...Link.Messages import CameraFound, End, Receivers
from ...Model.Errors import AcquisitionError
from ...Model.Packages import checkPackages
from ..Source import SourceControls
from . import PACKAGES
from .Search import CameraOffer

LONGEST = 60_000
"""Milliseconds after which a search is killed, because a driver hangs."""
STOP_TIME = 1000
"""Milliseconds to wait for the end of a killed process."""


class CameraSearch:
    """Search for cameras. All calls and callbacks are on the main thread.

    :param onFound: called with each camera.
    :param onEnd: called once at the end, with the problem when the search is incomplete, otherwise with an empty text.
    """

    def __init__(self, onFound: Callable[[CameraOffer], None], onEnd: Callable[[str], None]) -> None:
        self._onFound, self._onEnd = onFound, onEnd
        self._complete = self._closing = False
        reports = Receivers()
        reports.connect(CameraFound, self._found)
        reports.connect(End, self._completed)
        self._child = ChildProcess(_("search for cameras"), "cameras", reports.deliver, self._ended)
        self._killer = qt.QTimer()
        self._killer.setSingleShot(True)

    def start(self) -> None:
        """Start the search, and return at once.

        :raises MissingPackageError: OpenCV is not installed.
        :raises AcquisitionError: there is no Python to run the search.
        """
        checkPackages(PACKAGES)
        self._killer.connect("timeout()", self._child.kill)
        self._killer.start(LONGEST)
        try:
            self._child.start()
        except AcquisitionError:
            self._endKiller()
            raise

    def close(self) -> None:
        """End the search; call no callback after that."""
        self._closing = True
        self._child.end(STOP_TIME)

    def _found(self, message: CameraFound) -> None:
        if not self._closing:
            self._onFound(CameraOffer.fromJSON(message.camera))

    def _endKiller(self) -> None:
        self._killer.stop()
        self._killer.disconnect("timeout()", self._child.kill)

    def _completed(self, message: End) -> None:
        self._complete = True

    def _ended(self, code: int) -> None:
        self._endKiller()
        if not self._closing:
            text = _("The search for cameras did not complete (exit code {code}). Search again.").format(code=code)
            self._onEnd("" if self._complete else text)


class CameraControls(SourceControls):
    """The button "Look for cameras", and the list that it fills."""

    def __init__(self, form: Any, section: Any) -> None:
        super().__init__(form, section)
        self._search: CameraSearch | None = None
        self._offers: list[CameraOffer] = []
        self._button = form.addButton(
            "device",
            "search",
            _("Look for cameras"),
            _(
                "Search for cameras connected to this computer and for the modes they offer. A camera in use by "
                "another program is not found."
            ),
        )
        self._found = form.newCombo()
        tip = _("The cameras found on this computer. Choose one.")
        form.addRow("found", _("Found"), tip, self._found, after="device")
        section.connect(self._button, "clicked()", self._look)
        section.connect(self._found, "currentIndexChanged(int)", self._choose)

    def unavailable(self) -> set[str]:
        """Return the list of cameras while it is empty."""
        return set() if self._found.count else {"found"}

    def close(self) -> None:
        """End the search."""
        if self._search:
            self._search.close()

    def _look(self) -> None:
        self._offers = []
        self._found.clear()
        self._search = search = CameraSearch(self.addCamera, self._ended)
        self._button.enabled = False
        self._button.text = _("Looking ...")
        if not self.section.attempt(search.start):
            search.close()
            self._restore()

    def addCamera(self, camera: CameraOffer) -> None:
        """Add a camera that the search found to the list."""
        self._offers.append(camera)
        width, height = camera.size
        self._found.addItem(_("Camera {number}: {size}").format(number=camera.device, size=f"{width} x {height}"))

    def _ended(self, words: str) -> None:
        self._restore()
        if words:
            self.section.complain(words)
        elif not self._offers:
            self.section.complain(_("No camera was found. Connect a camera, and close other programs that use it."))

    def _restore(self) -> None:
        self._button.enabled = True
        self._button.text = _("Look for cameras")

    def _choose(self, index: int) -> None:
        self.form.showRows()
        if not 0 <= index < len(self._offers):
            return
        camera = self._offers[index]
        self.form.set("device", camera.device)
        self.form.offer("width", camera.sizes)
        self.form.offer("rate", camera.rates)
        self.form.offer("codec", camera.codecs)
        self.form.offer("backend", camera.backends)
