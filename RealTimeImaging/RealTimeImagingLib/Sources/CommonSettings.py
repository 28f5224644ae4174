"""Settings that several kinds of sources declare: ports, allowed computers, limits of sizes, the end of a volume."""

from __future__ import annotations

from ..Model.Settings import Setting, about
from ..Model.Text import textsOf

_ = textsOf(__file__)


def aboutPort(tooltip: str) -> dict[str, Setting]:
    """Return the metadata of a port, 0 to 65535."""
    return about(_("Port"), tooltip, limits=(0, 65535))


def aboutAllowed(tooltip: str) -> dict[str, Setting]:
    """Return the metadata of the computers that may connect, which ``checkAllowed`` checks."""
    return about(_("Allowed computers"), tooltip, placeholder=_("all computers"), advanced=True)


def aboutSizeLimit(title: str, tooltip: str) -> dict[str, Setting]:
    """Return the metadata of a limit in bytes, 1 kB to 64 GB; the panel shows MB."""
    limits = (1 << 10, 1 << 36)
    return about(title, tooltip, unit=_("bytes"), scale=1 << 20, scaledUnit=_("MB"), limits=limits, advanced=True)


def aboutCompleteAfter(tooltip: str) -> dict[str, Setting]:
    """Return the metadata of the silence in seconds after which a volume of slices ends."""
    return about(_("Close volume after silence of"), tooltip, unit=_("s"), limits=(0.1, 86400), advanced=True)
