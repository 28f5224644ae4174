"""The fields of a source to which programs post images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slicer.i18n import tr as _

from ...Host.RunningSource import RunningSource
from ...Sources.HTTP import HTTPSettings
from .SourceFields import SourceFields, listed

MEGABYTE = 1 << 20


class HTTPFields(SourceFields[HTTPSettings]):
    """A server for images."""

    kind = HTTPSettings.kind
    names = ("httpHostLineEdit", "httpPortSpinBox")
    options = ("httpAllowedLineEdit", "httpSizeLimitSpinBox", "streamLineEdit")
    told = ("httpTokenLineEdit", "httpCurlLineEdit")
    buttons = ("httpCopyTokenButton", "httpCopyCurlButton")

    def idle(self) -> str:
        """Instruction while no source runs."""
        return str(_("Press Start to listen for images that programs send over HTTP."))

    def origin(self, handle: RunningSource) -> str:
        """Programs: each image may come over a connection of its own."""
        return str(_("programs over HTTP"))

    def read(self) -> HTTPSettings:
        """What the fields say."""
        ui = self.ui
        return HTTPSettings(
            host=ui.httpHostLineEdit.text.strip(),
            port=ui.httpPortSpinBox.value,
            stream=ui.streamLineEdit.text,
            allowed=listed(ui.httpAllowedLineEdit.text),
            sizeLimit=ui.httpSizeLimitSpinBox.value * MEGABYTE,
        )

    def show(self, settings: HTTPSettings) -> None:
        """Fill the fields."""
        ui = self.ui
        ui.httpHostLineEdit.text = settings.host
        ui.httpPortSpinBox.value = settings.port
        ui.httpAllowedLineEdit.text = "; ".join(settings.allowed)
        ui.httpSizeLimitSpinBox.value = max(1, settings.sizeLimit // MEGABYTE)
        ui.streamLineEdit.text = settings.stream

    def tell(self, details: Mapping[str, Any]) -> None:
        """Token and curl line of a source that listens."""
        for name, field, button in zip(("token", "curl"), self.told, self.buttons, strict=True):
            text = details.get(name, "")
            edit = getattr(self.ui, field)
            if edit.text != text:
                edit.text = text
                edit.setCursorPosition(0)
            getattr(self.ui, button).enabled = bool(text)
