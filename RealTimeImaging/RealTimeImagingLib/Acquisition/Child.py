"""Starting a Python program of this module as a child process, in Slicer and outside."""

from __future__ import annotations

import shutil
import sys
from typing import Any

import qt

from ..Errors import AcquisitionError


def pythonProgram() -> str:
    """The Python that runs child processes: Slicer's own, which in Slicer is on the path, else this one.

    :raises AcquisitionError: none is found.
    """
    program = shutil.which("PythonSlicer") or sys.executable
    if not program:
        raise AcquisitionError("Slicer's Python (PythonSlicer) is not on the path; the installation is incomplete.")
    return program


def startChild(process: Any, script: str, *arguments: str) -> None:
    """Start a script in a qt.QProcess; returns at once.

    :raises AcquisitionError: there is no Python to run it.
    """
    process.start(pythonProgram(), ["-u", script, *arguments])


def newProcess() -> Any:
    """A qt.QProcess. Its last Python reference ends the child, so its owner keeps it."""
    return qt.QProcess()
