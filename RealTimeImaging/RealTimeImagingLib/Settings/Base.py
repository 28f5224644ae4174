"""What all settings of sources have in common, and the checks that they share."""

from __future__ import annotations

import dataclasses
import ipaddress
from dataclasses import dataclass
from typing import Any, ClassVar

from ..Errors import SettingsError


@dataclass(frozen=True)
class SourceSettings:
    """Base of all settings. ``kind`` names the source; ``stream`` is the name of its (first) stream."""

    kind: ClassVar[str] = ""

    @property
    def packages(self) -> str:
        """Key in ``Packages.NEEDED`` of the packages that the source needs before it starts."""
        return self.kind

    def toJSON(self) -> dict[str, Any]:
        """A flat object that :func:`settingsFromJSON` takes back."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    def withoutSecrets(self) -> SourceSettings:
        """The same, less what must not be kept in a scene or in Slicer's settings."""
        return self


def checkPort(port: object, lowest: int) -> None:
    if not isinstance(port, int) or isinstance(port, bool) or not lowest <= port <= 65535:
        raise SettingsError(f"The port is a whole number from {lowest} to 65535, not {port!r}.")


def checkAllowed(allowed: tuple[str, ...]) -> None:
    for address in allowed:
        try:
            ipaddress.ip_network(address, strict=False)
        except ValueError as error:
            text = f"{address!r} is no address such as 10.0.0.7 and no network such as 10.0.0.0/24."
            raise SettingsError(text) from error


def checkVersion(version: object) -> None:
    if version not in (1, 2):
        raise SettingsError(f"The version of OpenIGTLink's header is 1 or 2, not {version!r}.")


def checkNumber(value: object, limits: tuple[float, float], what: str, unit: str) -> None:
    lowest, highest = limits
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not lowest <= value <= highest:  # type: ignore[operator]
        raise SettingsError(f"{what} is a number from {lowest:g} to {highest:,.0f} {unit}, not {value!r}.")
