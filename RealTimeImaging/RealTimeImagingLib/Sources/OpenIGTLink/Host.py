"""Slicer's side of OpenIGTLink: the choice of the engine in the panel."""

from __future__ import annotations

from ...Host.Connector import connectorAvailable
from ..Source import SourceControls


class OpenIGTLinkControls(SourceControls):
    """Choice of the engine, where the extension SlicerOpenIGTLink is installed."""

    def unavailable(self) -> set[str]:
        """Return the engine where there is only one."""
        return set() if connectorAvailable() else {"engine"}
