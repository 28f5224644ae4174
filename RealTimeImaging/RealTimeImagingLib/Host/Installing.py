"""Installation of Python packages into Slicer's Python, after the user has agreed."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

import slicer

from ..Model.Errors import MissingPackageError
from ..Model.Packages import isOptional, titleOf

REQUESTER = "Real-Time Imaging"


def install(requirements: Sequence[str]) -> None:
    """Ask the user once for all packages, and install them. Optional ones may fail.

    :param requirements: as pip takes them, such as "pyigtl>=0.3.4,<0.4".
    :raises MissingPackageError: the user declined, or a package that is not optional could not be installed; the
        message says what to do.
    """
    needed = [one for one in requirements if not isOptional(one)]
    ensure = _ensurer()
    if ensure is None and not _agreed(requirements):
        raise MissingPackageError(f"{_titles(needed)} was not installed. {_offline(needed)}", needed)
    failure: Exception | None = None
    for group in (list(requirements), needed):
        if not group:
            return  # only optional packages failed
        try:
            (ensure or slicer.util.pip_install)(group)
            return
        except Exception as error:  # the boundary of the installer, which raises many types
            failure = error
            logging.exception("%s could not be installed", ", ".join(group))
            if "declined" in str(error):
                break
    reason = "was not installed" if "declined" in str(failure) else "could not be installed (no internet or proxy?)"
    raise MissingPackageError(f"{_titles(needed)} {reason}. {_offline(needed)}", needed) from failure


def _ensurer() -> Callable[[Sequence[str]], object] | None:
    """Return Slicer's own installer, which asks the user with the list of packages; None before Slicer 5.12."""
    for name in ("slicer.packaging", "slicer.pydeps"):
        try:
            ensure: Any = importlib.import_module(name).pip_ensure
            from packaging.requirements import Requirement
        except (ImportError, AttributeError):
            continue
        return lambda group: ensure([Requirement(one) for one in group], requester=REQUESTER)
    return None


def _agreed(requirements: Sequence[str]) -> bool:
    listed = "\n".join(requirements)
    question = f"Install these Python packages into Slicer? This needs the internet.\n\n{listed}"
    return bool(slicer.util.confirmOkCancelDisplay(question, REQUESTER))


def _titles(requirements: Sequence[str]) -> str:
    return " and ".join(map(titleOf, requirements))


def _offline(requirements: Sequence[str]) -> str:
    quoted = " ".join(f'"{one}"' for one in requirements)
    return (
        "Install offline: download the wheels on another computer (pip download), then run "
        f"PythonSlicer -m pip install --no-index --find-links FOLDER {quoted}"
    )
