"""Python packages that a source needs and Slicer does not include. They are checked at use, never at import."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .Errors import MissingPackageError
from .Text import Text, joined, textsOf

_ = textsOf(__file__)

_OPTIONAL: set[str] = set()
"""Requirements of all optional packages."""
_TITLES = {"opencv-python-headless": "OpenCV", "av": "PyAV"}


@dataclass(frozen=True)
class Package:
    """A package on PyPI.

    :param module: module to import.
    :param requirement: requirement for pip, with an upper bound, such as "pyigtl>=0.3.4,<0.4".
    :param optional: True when the source also works without it, slower.
    """

    module: str
    requirement: str
    optional: bool = False

    def __post_init__(self) -> None:
        if self.optional:
            _OPTIONAL.add(self.requirement)


TIFF_PACKAGES = (
    Package("tifffile", "tifffile>=2024.8.30,<2027"),
    Package("imagecodecs", "imagecodecs>=2024.6.1,<2027", optional=True),
)
"""Packages for any TIFF file."""
COMPRESSED_TIFF_PACKAGES = (TIFF_PACKAGES[0], Package("imagecodecs", "imagecodecs>=2024.6.1,<2027"))
"""Packages for a TIFF file with compressed pixels."""
VIDEO_PACKAGES = (Package("av", "av>=16,<19"),)
"""Packages to decode and encode compressed video."""

NIBABEL_PACKAGES = (Package("nibabel", "nibabel>=5.2,<6"),)
"""Package for the headers of PAR/REC, AFNI and MGH files."""
_OF_FILES = {
    ".tif": TIFF_PACKAGES,
    **dict.fromkeys((".par", ".head", ".mgh", ".mgz"), NIBABEL_PACKAGES),
}


def packagesFor(names: str) -> tuple[Package, ...]:
    """Return the packages for the files of a name or pattern. Other patterns may still match such files."""
    found = (packages for ending, packages in _OF_FILES.items() if ending in names.lower())
    return tuple(dict.fromkeys(package for packages in found for package in packages))


def missingPackages(packages: Iterable[Package]) -> list[Package]:
    """Return the packages that are not installed; none when only optional ones are missing."""
    importlib.invalidate_caches()
    missing = [package for package in packages if importlib.util.find_spec(package.module) is None]
    return missing if any(not package.optional for package in missing) else []


def checkPackages(packages: Iterable[Package], what: str = _("This source")) -> None:
    """Check that the packages are installed.

    :param what: needs them, in words.
    :raises MissingPackageError: a package that is not optional is missing.
    """
    missing = [package.requirement for package in missingPackages(packages)]
    if missing:
        text = _("{what} needs {names}, which Slicer does not include ({packages}).")
        text = text.format(what=what, names=titlesOf(missing), packages=", ".join(missing))
        raise MissingPackageError(text, missing)


def titlesOf(requirements: Sequence[str]) -> Text:
    """Return the usual names of some packages, at least one, in words."""
    names = list(map(titleOf, requirements))
    words = joined(names[0])
    for name in names[1:]:
        words = _("{names} and {name}").format(names=words, name=name)
    return words


def titleOf(requirement: str) -> str:
    """Return the usual name of a package.

    :param requirement: for pip, such as "pyigtl>=0.3.4,<0.4".
    """
    name = re.split(r"[^A-Za-z0-9_.-]", requirement)[0]
    return _TITLES.get(name, name)


def isOptional(requirement: str) -> bool:
    """Return whether the source also works without the package."""
    return requirement in _OPTIONAL
