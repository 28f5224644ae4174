"""Another Python than Slicer's for a function: a check that a program is one, before it runs our program."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Mapping

from ..Model.Errors import SettingsError
from ..Model.Files import reasonOf
from ..Model.Text import textsOf

_ = textsOf(__file__)

OLDEST = (3, 10)
"""Oldest version that runs the library."""
ANSWER_TIME = 10.0
"""Seconds for a program to tell its version."""
MOST_BYTES = 4096
"""Bytes of its answer that are read."""
NEEDED = "numpy"
"""Package that the library needs."""
FIND = "print(__import__('importlib.util').util.find_spec('numpy'))"
"""Program that looks for that package without loading it, and prints None when it is missing."""


def variablesOf(environment: Mapping[str, str | None]) -> dict[str, str]:
    """Return the variables of a process.

    :param environment: variables that differ from those of this process; None removes one.
    """
    return {name: value for name, value in {**os.environ, **environment}.items() if value is not None}


def pythonPath(python: str) -> str:
    """Return the path of a program.

    :param python: its path, or its name.
    :raises SettingsError: there is no such program.
    """
    found = shutil.which(os.path.expanduser(python))
    if not found:
        raise SettingsError(_("{python} is no program.").format(python=python))
    return os.path.abspath(found)


def checkPython(python: str, environment: Mapping[str, str | None]) -> None:
    """Check that a program is a Python that can run the library. Another one, such as a shell, would run it its way.

    :param python: path of the program.
    :param environment: as for :func:`variablesOf`.
    :raises SettingsError: it cannot be started, is no Python, is too old, or lacks NumPy.
    """
    found = re.match(rb"Python (\d+)\.(\d+)", _answer(python, environment, "--version"))
    if not found:
        raise SettingsError(_("{python} is no Python.").format(python=python))
    if (int(found[1]), int(found[2])) < OLDEST:
        text = _("{python} is Python {found}. A function needs Python {oldest} or newer.")
        version = found[0].decode().removeprefix("Python ")
        raise SettingsError(text.format(python=python, found=version, oldest="{}.{}".format(*OLDEST)))
    # Only now: another program would take these arguments its own way.
    if _answer(python, environment, "-c", FIND).strip().endswith(b"None"):
        text = _("{python} has no {package}, which each function needs. Install it: {python} -m pip install {package}")
        raise SettingsError(text.format(python=python, package=NEEDED))


def _answer(python: str, environment: Mapping[str, str | None], *arguments: str) -> bytes:
    """Run a program; return the start of its output.

    :raises SettingsError: it cannot be started.
    """
    try:
        process = subprocess.Popen(
            [python, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=variablesOf(environment),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except (OSError, ValueError) as error:
        reason = reasonOf(error)
        raise SettingsError(_("{python} cannot be started: {reason}.").format(python=python, reason=reason)) from error
    killer = threading.Timer(ANSWER_TIME, process.kill)
    killer.start()
    output = process.stdout
    assert output
    try:
        return output.read(MOST_BYTES)
    finally:
        killer.cancel()
        process.kill()
        process.wait()
        output.close()
