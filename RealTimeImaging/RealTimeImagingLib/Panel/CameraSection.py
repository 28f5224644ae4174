"""Looking for cameras: the button, the list that it fills, and what each camera offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from ..Sources.Camera.Host import CameraSearch
from ..Sources.Camera.Search import CameraOffer
from .Fields.Camera import OFFERED, offer, rateText, sizeText
from .Section import Section


class CameraSection(Section):
    """The search for cameras."""

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None]) -> None:
        super().__init__(ui, logic, complain)
        self._search: CameraSearch | None = None
        self._offers: list[CameraOffer] = []
        self.connect(ui.cameraSearchButton, "clicked()", self._look)
        self.connect(ui.cameraFoundComboBox, "currentIndexChanged(int)", self._choose)

    def close(self) -> None:
        """End the search, and let go of all widgets."""
        if self._search:
            self._search.close()
        super().close()

    def _look(self) -> None:
        self._offers = []
        self.ui.cameraFoundComboBox.clear()
        search = CameraSearch(self._found, self._ended)
        self._search = search
        self.ui.cameraSearchButton.enabled = False
        self.ui.cameraSearchButton.text = _("Looking ...")
        if not self.attempt(search.start):
            search.close()
            self._restore()

    def _found(self, camera: CameraOffer) -> None:
        self._offers.append(camera)
        self.ui.cameraFoundComboBox.addItem(
            _("Camera {number}: {size}").format(number=camera.device, size=sizeText(*camera.size))
        )

    def _ended(self, words: str) -> None:
        self._restore()
        if words:
            self.complain(words)
        elif not self._offers:
            self.complain(_("No camera was found. Connect a camera, and close other programs that use it."))

    def _restore(self) -> None:
        self.ui.cameraSearchButton.enabled = True
        self.ui.cameraSearchButton.text = _("Look for cameras")

    def _choose(self, index: int) -> None:
        if not 0 <= index < len(self._offers):
            return
        camera = self._offers[index]
        self.ui.cameraDeviceLineEdit.text = str(camera.device)
        sizes = [sizeText(*size) for size in camera.sizes]
        rates = [rateText(rate) for rate in camera.rates]
        for name, texts in zip(OFFERED, (sizes, rates, camera.codecs, camera.backends), strict=True):
            offer(getattr(self.ui, name), texts)
