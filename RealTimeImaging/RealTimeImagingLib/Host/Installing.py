"""Installation of Python packages into Slicer's Python, after the user has agreed."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

import slicer
from slicer.i18n import translate

from ..Model.Errors import MissingPackageError
from ..Model.Packages import isOptional, titlesOf
from ..Model.Text import Text, joined, textsOf

_ = textsOf(__file__)

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
        raise _missing(_("{names} was not installed, because you declined."), needed)
    failure: BaseException | None = None
    for group in (list(requirements), needed):
        if not group:
            return  # only optional packages failed
        try:
            (ensure or slicer.util.pip_install)(group)
            return
        except (Exception, SystemExit) as error:  # the boundary of the installer, which raises many types
            failure = error
            logging.exception("%s could not be installed", ", ".join(group))
            if "declined" in str(error):
                break
    text = _("{names} could not be installed (no internet or proxy?).")
    if "declined" in str(failure):
        text = _("{names} was not installed, because you declined.")
    raise _missing(text, needed) from failure


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
    question = _("Install these Python packages into Slicer? This needs the internet.\n\n{packages}")
    template = str(translate(question.context, question.template))
    return bool(slicer.util.confirmOkCancelDisplay(template.format(packages="\n".join(requirements)), REQUESTER))


def _missing(text: Text, requirements: Sequence[str]) -> MissingPackageError:
    return MissingPackageError(joined(text.format(names=titlesOf(requirements)), _offline(requirements)), requirements)


def _offline(requirements: Sequence[str]) -> Text:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    quoted = [f'"{one}"' for one in requirements]
    download = f"pip download --only-binary=:all: --python-version {version} --dest FOLDER {' '.join(quoted)}"
    options = ", ".join(['"--no-index"', '"--find-links"', 'r"FOLDER"', *quoted])
    install = f"slicer.util.pip_install([{options}])"
    text = _(
        "Install offline: on a computer with internet and the same operating system, run {download}. Copy FOLDER, and "
        "run in Slicer's Python console: {install}"
    )
    return text.format(download=download, install=install)
