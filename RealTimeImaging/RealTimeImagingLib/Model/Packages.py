"""Python packages that a source needs and Slicer does not bring: looked for at the point of use, never at import."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass

from .Errors import MissingPackageError


@dataclass(frozen=True)
class Package:
    """A package on PyPI.

    :param module: what is imported.
    :param requirement: what pip is asked for.
    :param optional: the source works without it, slower.
    :param olderPydicom: what pip is asked for instead where pydicom, which Slicer brings, is older than 3: pip would
        renew it under the feet of Slicer's own DICOM modules.
    """

    module: str
    requirement: str
    optional: bool = False
    olderPydicom: str = ""

    @property
    def wanted(self) -> str:
        """What pip is asked for here."""
        try:
            older = int(importlib.metadata.version("pydicom").split(".")[0]) < 3
        except importlib.metadata.PackageNotFoundError:
            older = False
        return self.olderPydicom or self.requirement if older else self.requirement


NEEDED: dict[str, tuple[Package, ...]] = {
    "openigtlink": (Package("pyigtl", "pyigtl>=0.3.4,<0.4"), Package("fastcrc", "fastcrc>=0.3,<1", optional=True)),
    "dicom": (Package("pynetdicom", "pynetdicom>=3.0.3,<4", olderPydicom="pynetdicom>=2.1,<2.2"),),
    "tiff": (
        Package("tifffile", "tifffile>=2024.8.30,<2027"),
        Package("imagecodecs", "imagecodecs>=2024.6.1,<2027", optional=True),
    ),
    "tiff-packed": (
        Package("tifffile", "tifffile>=2024.8.30,<2027"),
        Package("imagecodecs", "imagecodecs>=2024.6.1,<2027"),
    ),
    "camera": (Package("cv2", "opencv-python-headless>=4.8,<6"),),
}
"""By the kind of the source's settings; "tiff" for any TIFF file, "tiff-packed" for one whose pixels are packed."""

_TITLES = {"opencv-python-headless": "OpenCV"}


def missingPackages(kind: str) -> list[Package]:
    """What is not installed of what a kind of source uses; empty when all that it cannot do without is there."""
    importlib.invalidate_caches()
    missing = [package for package in NEEDED.get(kind, ()) if importlib.util.find_spec(package.module) is None]
    return missing if any(not package.optional for package in missing) else []


def checkPackages(kind: str) -> None:
    """:raises MissingPackageError: a package that this kind of source cannot do without is not installed."""
    missing = missingPackages(kind)
    if missing:
        wanted = [package.wanted for package in missing]
        names = " and ".join(map(titleOf, wanted))
        raise MissingPackageError(f"This source needs {names}, which Slicer does not include.", wanted)


def titleOf(requirement: str) -> str:
    """How a package is called in a sentence.

    :param requirement: as pip takes it, such as "pyigtl>=0.3.4,<0.4".
    """
    name = re.split(r"[^A-Za-z0-9_.-]", requirement)[0]
    return _TITLES.get(name, name)


def isOptional(requirement: str) -> bool:
    """Whether its source works without it."""
    return any(
        package.optional for packages in NEEDED.values() for package in packages if package.requirement == requirement
    )
