"""The fields of a camera, a video file or a stream."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from slicer.i18n import tr as _

from ...Host.RunningSource import RunningSource
from ...Sources.Camera import FLIPS, ROTATIONS, CameraSettings
from .SourceFields import SourceFields

OFFERED = ("cameraSizeComboBox", "cameraRateComboBox", "cameraCodecComboBox", "cameraBackendComboBox")
"""What only a camera offers; the first item of each leaves it to the camera."""
CROPPED = ("cameraCropLeftSpinBox", "cameraCropTopSpinBox", "cameraCropRightSpinBox", "cameraCropBottomSpinBox")


class CameraFields(SourceFields[CameraSettings]):
    """A camera, a video file or a stream."""

    kind = CameraSettings.kind
    names = (
        "cameraDeviceLineEdit",
        "cameraFoundComboBox",
        "cameraSizeComboBox",
        "cameraRateComboBox",
        "cameraLoopCheckBox",
    )
    buttons = ("cameraSearchButton",)
    options = (
        "cameraCodecComboBox",
        "cameraBackendComboBox",
        "cameraGreyCheckBox",
        *CROPPED,
        "cameraRotateComboBox",
        "cameraFlipComboBox",
        "cameraAcrossSpinBox",
        "cameraDownSpinBox",
        "streamLineEdit",
    )

    def idle(self) -> str:
        """Instruction while no source runs."""
        return str(_("Choose a camera, a video file or a stream, and press Start."))

    def origin(self, handle: RunningSource) -> str:
        """The camera's number, or the file or stream without its password."""
        device = str(getattr(handle.asked.withoutSecrets(), "device", ""))
        return str(_("camera {number}")).format(number=device) if device.isdigit() else device

    def read(self) -> CameraSettings:
        """What the fields say; what only a camera offers is not asked of a file or stream."""
        ui, camera = self.ui, self._isCamera()
        size, rate, codec, backend = (chosen(getattr(ui, name)) if camera else "" for name in OFFERED)
        width, height = map(int, re.findall("[0-9]+", size)) if size else (0, 0)
        return CameraSettings(
            device=ui.cameraDeviceLineEdit.text,
            width=width,
            height=height,
            rate=float(rate.split()[0]) if rate else 0.0,
            codec=codec,
            backend=backend,
            colour=not ui.cameraGreyCheckBox.checked,
            crop=tuple(getattr(ui, name).value for name in CROPPED),
            rotate=ROTATIONS[ui.cameraRotateComboBox.currentIndex],
            flip=FLIPS[ui.cameraFlipComboBox.currentIndex],
            spacing=(ui.cameraAcrossSpinBox.value, ui.cameraDownSpinBox.value),
            loop=ui.cameraLoopCheckBox.checked,
            stream=ui.streamLineEdit.text,
        )

    def show(self, settings: CameraSettings) -> None:
        """Fill the fields."""
        ui = self.ui
        ui.cameraDeviceLineEdit.text = str(settings.device)
        asked = (
            sizeText(settings.width, settings.height) if settings.width else "",
            rateText(settings.rate) if settings.rate else "",
            settings.codec,
            settings.backend,
        )
        for name, text in zip(OFFERED, asked, strict=True):
            choose(getattr(ui, name), text)
        ui.cameraGreyCheckBox.checked = not settings.colour
        for name, pixels in zip(CROPPED, settings.crop, strict=True):
            getattr(ui, name).value = pixels
        ui.cameraRotateComboBox.currentIndex = ROTATIONS.index(settings.rotate)
        ui.cameraFlipComboBox.currentIndex = FLIPS.index(settings.flip)
        ui.cameraAcrossSpinBox.value, ui.cameraDownSpinBox.value = settings.spacing
        ui.cameraLoopCheckBox.checked = settings.loop
        ui.streamLineEdit.text = settings.stream

    def rows(self) -> set[str]:
        """What only a camera offers, or only a file."""
        hidden = {"cameraLoopCheckBox"} if self._isCamera() else set(OFFERED)
        return super().rows() - hidden - (set() if self.ui.cameraFoundComboBox.count else {"cameraFoundComboBox"})

    def _isCamera(self) -> bool:
        return bool(re.fullmatch(r"\s*([0-9]+|/dev/.*)\s*", self.ui.cameraDeviceLineEdit.text))


def sizeText(width: int, height: int) -> str:
    """A size as the list has it."""
    return f"{width} x {height}"


def rateText(rate: float) -> str:
    """A rate as the list has it."""
    return f"{rate:g} images/s"


def chosen(combo: Any) -> str:
    """What is chosen, empty for the first item."""
    return str(combo.currentText) if combo.currentIndex > 0 else ""


def choose(combo: Any, text: str) -> None:
    """Choose an item, which is added when the list has it not; the first for no text."""
    if text and combo.findText(text) < 0:
        combo.addItem(text)
    combo.currentIndex = combo.findText(text) if text else 0


def offer(combo: Any, texts: Iterable[str]) -> None:
    """Put these behind the first item, and choose again what was chosen if it is among them."""
    before, texts = chosen(combo), list(texts)
    while combo.count > 1:
        combo.removeItem(1)
    for text in texts:
        combo.addItem(text)
    choose(combo, before if before in texts else "")
