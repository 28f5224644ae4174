"""Function files: find one, read what it declares without running it, load it, and describe its errors."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, cast

from ..Model.Errors import RealTimeImagingError, SettingsError
from ..Model.Files import reasonOf
from ..Model.Settings import typedPath
from ..Model.Text import textsOf
from . import BuiltIn

_ = textsOf(__file__)

MODULE = "RealTimeImagingFunction"
"""Name under which a function file is imported."""
LONGEST_REASON = 500
"""Most characters of the reason of an error."""


def builtInName(text: str) -> str:
    """Return the name of a built-in function, whatever its case in the text; empty when it names none."""
    return {name.casefold(): name for name in BuiltIn.NAMES}.get(text.strip().casefold(), "")


def findFunction(text: str) -> str:
    """Return the name of a built-in function, or the absolute path of a function file.

    :raises SettingsError: there is neither.
    """
    text = text.strip()
    if name := builtInName(text):
        return name
    path = typedPath(text)
    if not path.endswith(".py") or not os.path.isfile(path):
        names = ", ".join(BuiltIn.NAMES)
        raise SettingsError(
            _("{text} is no Python file, and none of the functions {names}.").format(text=text or '""', names=names)
        )
    return path


def functionName(function: str) -> str:
    """Return the short name of a function, such as "denoise" for ``/home/me/denoise.py``."""
    return os.path.splitext(os.path.basename(function))[0]


def functionPath(function: str) -> str:
    """Return the path of the file of a function that :func:`findFunction` found."""
    if function in BuiltIn.NAMES:
        return os.path.join(os.path.dirname(os.path.abspath(BuiltIn.__file__)), f"{function}.py")
    return function


class LoadedFunction:
    """A loaded function file.

    :param function: as :func:`findFunction` returns it.
    :param parameters: values by name; the others have their defaults.
    :param reloaded: True ignores values of parameters that it does not have.
    :raises SettingsError: it has no process(), or a parameter cannot be used.
    """

    def __init__(self, function: str, parameters: Mapping[str, Any], reloaded: bool = False) -> None:
        self.path = functionPath(function)
        self.module = _import(function)
        self.process = self._get("process")
        if self.process is None:
            raise SettingsError(_("{path} has no function process(frame).").format(path=self.path))
        self.setup, self.pause, self.close = self._get("setup"), self._get("pause"), self._get("close")
        self.title = str(getattr(self.module, "TITLE", functionName(function)))
        self._declared = getattr(self.module, "PARAMETERS", None)
        if self._declared is not None and not (
            isinstance(self._declared, type) and dataclasses.is_dataclass(self._declared)
        ):
            raise SettingsError(_("PARAMETERS in {path} is no dataclass.").format(path=self.path))
        if reloaded:
            parameters = {name: value for name, value in parameters.items() if name in self._known}
        self.parameters = self.checked(parameters)

    @property
    def _known(self) -> set[str]:
        return {field.name for field in dataclasses.fields(cast(Any, self._declared))} if self._declared else set()

    def checked(self, values: Mapping[str, Any]) -> Any:
        """Return an instance of PARAMETERS; None without them.

        :raises SettingsError: a value cannot be used, or there is no such parameter.
        """
        known = self._known
        unknown = sorted(set(values) - known)
        if unknown:
            text = _("{path} has no parameter {names}; it has {known}.")
            names = {"names": ", ".join(unknown), "known": ", ".join(sorted(known)) or _("none")}
            raise SettingsError(text.format(path=self.path, **names))
        return self._declared(**values) if self._declared else None

    def values(self) -> dict[str, Any]:
        """Return the values of all parameters, as JSON."""
        return dataclasses.asdict(self.parameters) if self.parameters is not None else {}

    def _get(self, name: str) -> Callable[..., Any] | None:
        found = getattr(self.module, name, None)
        if found is not None and not callable(found):
            raise SettingsError(_("{name} in {path} is no function.").format(name=name, path=self.path))
        return found


def _import(function: str) -> ModuleType:
    if function in BuiltIn.NAMES:
        return importlib.import_module(f"{BuiltIn.__name__}.{function}")
    try:
        os.close(os.open(function, os.O_RDONLY))
    except OSError as error:
        raise SettingsError(
            _("{path} cannot be read: {reason}.").format(path=function, reason=reasonOf(error))
        ) from error
    # Modules beside the file can be imported; they hide no others.
    sys.path.append(os.path.dirname(function))
    spec = importlib.util.spec_from_file_location(MODULE, function)
    if spec is None or spec.loader is None:
        raise SettingsError(_("{path} cannot be imported.").format(path=function))
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module  # dataclasses look for their module
    spec.loader.exec_module(module)
    return module


def lastLine(error: BaseException, path: str) -> str:
    """Return type and message of an error and the place in the function file; of our own errors, their sentence.

    Of a long message, the first line and its first characters.

    :param path: of the function file.
    """
    if isinstance(error, RealTimeImagingError):
        return _shortened(str(error))
    described = traceback.TracebackException(type(error), error, None)
    vars(described)["__notes__"] = None  # they would be the last lines
    last = _shortened(list(described.format_exception_only())[-1].strip().split("\n")[0])
    places = [one for one in traceback.extract_tb(error.__traceback__) if _same(one.filename, path)]
    if not places:
        return last
    text = _("{error} ({file}, line {line})")
    return text.format(error=last, file=os.path.basename(path), line=places[-1].lineno)


def _shortened(text: str) -> str:
    # A cut text loses its template, so most texts stay as they are.
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} ..."


def crashPlace(trace: str, path: str) -> str:
    """Return the place in the function file that a trace of faulthandler names first; empty when it names none."""
    for file, line, name in re.findall(r'^  File "(.*)", line (\d+) in (.*)$', trace, re.MULTILINE):
        if _same(file, path):
            text = _("{file}, line {line} in {name}")
            return text.format(file=os.path.basename(path), line=line, name=name.strip())
    return ""


def _same(one: str, other: str) -> bool:
    return os.path.normcase(os.path.abspath(one)) == os.path.normcase(os.path.abspath(other))
