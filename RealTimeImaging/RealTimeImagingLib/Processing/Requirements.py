"""REQUIREMENTS of a function: read without running its file, and compared with the installed packages."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable
from importlib import metadata

from ..Model.Errors import MissingPackageError, SettingsError
from ..Model.Files import reasonOf
from ..Model.Packages import titlesOf
from ..Model.Settings import typedPath
from ..Model.Text import textsOf
from .Loading import builtInName, findFunction, functionName, functionPath
from .OtherPython import pythonPath

_ = textsOf(__file__)

NAME = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)")
"""Name of a package at the start of a requirement (PEP 508)."""


def checkedFunction(text: str, python: str, note: Callable[[str], None] = lambda folder: None) -> tuple[str, str]:
    """Find a function and the Python that runs it; return both as they are in the settings of a processor.

    :param text: as :func:`Loading.findFunction` takes it.
    :param python: another Python, whose packages are not checked; empty for this one.
    :param note: called with each folder before its drive is accessed.
    :raises SettingsError: there is no such function or Python, or the function is no Python.
    :raises MissingPackageError: the function requires packages that this Python lacks.
    """
    if not builtInName(text):
        note(os.path.dirname(typedPath(text)))
    function = findFunction(text)
    if python:
        note(os.path.dirname(typedPath(python)))
        return function, pythonPath(python)
    checkRequirements(function)
    return function, ""


def checkRequirements(function: str) -> None:
    """Check that this Python has the packages that a function requires.

    :param function: as :func:`Loading.findFunction` returns it.
    :raises SettingsError: the file cannot be read, is no Python, or has a requirement that is none.
    :raises MissingPackageError: a package is missing, or has another version.
    """
    missing = [one for one in requirementsOf(function) if not _isInstalled(one, function)]
    if missing:
        text = _("{function} needs {names}, which Slicer does not include ({packages}).").format(
            function=functionName(function), names=titlesOf(missing), packages=", ".join(missing)
        )
        raise MissingPackageError(text, missing)


def requirementsOf(function: str) -> tuple[str, ...]:
    """Return the REQUIREMENTS of a function without running it; none when they are no list of texts.

    :raises SettingsError: the file cannot be read or is no Python.
    """
    path = functionPath(function)
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read(), path)
    except OSError as error:
        raise SettingsError(_("{path} cannot be read: {reason}.").format(path=path, reason=reasonOf(error))) from error
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        raise SettingsError(_("{path} is no Python: {error}").format(path=path, error=reason)) from error
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(one, ast.Name) and one.id == "REQUIREMENTS" for one in targets):
            try:
                found = ast.literal_eval(node.value)
            except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
                return ()
            return tuple(one for one in found if isinstance(one, str)) if isinstance(found, tuple | list) else ()
    return ()


def _isInstalled(requirement: str, function: str) -> bool:
    found = NAME.match(requirement)
    if not found:
        text = _("{function} requires {requirement}, which is no requirement for pip.")
        raise SettingsError(text.format(function=functionName(function), requirement=repr(requirement)))
    try:
        version = metadata.version(found[1])
    except metadata.PackageNotFoundError:
        return not _applies(requirement)
    return not _applies(requirement) or _accepts(requirement, version)


def _parsed(requirement: str) -> object:
    # Slicer includes packaging with pip; without it, names are compared only.
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError:
        return None
    try:
        return Requirement(requirement)
    except InvalidRequirement:
        return None


def _applies(requirement: str) -> bool:
    marker = getattr(_parsed(requirement), "marker", None)
    return marker is None or bool(marker.evaluate({"extra": ""}))


def _accepts(requirement: str, version: str) -> bool:
    specifier = getattr(_parsed(requirement), "specifier", None)
    return specifier is None or bool(specifier.contains(version, prereleases=True))
