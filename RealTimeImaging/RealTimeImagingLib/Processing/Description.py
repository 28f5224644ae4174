"""What a function declares for a form, as JSON; also the program of the process that loads a function to describe it.

The process is started with the function. The first line of standard input is an :class:`Interpreter` as JSON: other
users see the arguments of a process, and a variable of the environment may be a password.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any, cast, get_args, get_origin

from ..Link import PROGRAM
from ..Link.Lines import LONGEST_SILENCE, openLines, readLines
from ..Link.Messages import Done, Failed, encode
from ..Model.Errors import MissingPackageError, SettingsError
from ..Model.Files import reasonOf
from ..Model.Settings import DescribedSettings, Setting, settingFields
from ..Model.Text import textsOf, textToJSON
from .Loading import LoadedFunction, findFunction, functionPath, lastLine
from .OtherPython import checkPython, pythonPath, variablesOf
from .Requirements import checkRequirements

_ = textsOf(__file__)

TYPES: dict[str, Any] = {"bool": bool, "int": int, "float": float, "str": str}
OTHER = "other"
"""Argument of the process of another Python, whose packages are its own."""


@dataclasses.dataclass(frozen=True)
class Interpreter:
    """The Python of a function.

    :param python: path or name of another Python; empty for Slicer's.
    :param environment: how the environment of that Python differs; None removes a variable.
    """

    python: str
    environment: Mapping[str, str | None]

    def toJSON(self) -> dict[str, Any]:
        """Return the first line of the process."""
        return dataclasses.asdict(self)


def describe(function: str) -> dict[str, Any]:
    """Load a function and return ``title``, and ``parameters`` with name, type, default and setting of each.

    :param function: as ``Loading.findFunction`` returns it.
    :raises Exception: whatever its file raises.
    """
    loaded = LoadedFunction(function, {})
    parameters = []
    for field in settingFields(type(loaded.parameters)) if loaded.parameters is not None else ():
        types = get_args(field.type) if get_origin(field.type) is tuple else (field.type,)
        names = ["..." if one is Ellipsis else one.__name__ for one in types]
        setting = {**dataclasses.asdict(field.setting), "choices": list(field.setting.choices.items())}
        several = get_origin(field.type) is tuple
        parameters.append(
            {"name": field.name, "type": names, "tuple": several, "default": field.default, "setting": setting}
        )
    return {"title": loaded.title, "parameters": parameters}


def parametersClass(description: Mapping[str, Any]) -> type[DescribedSettings]:
    """Return a class with the parameters of a description."""
    fields = []
    for one in description["parameters"]:
        types = tuple(Ellipsis if name == "..." else TYPES[name] for name in one["type"])
        values = {**one["setting"], "choices": dict(map(tuple, one["setting"]["choices"]))}
        for name in ("limits", "parts", "suggested"):
            values[name] = tuple(values[name]) if values[name] is not None else None
        default = tuple(one["default"]) if one["tuple"] else one["default"]
        more = dataclasses.field(default=default, metadata={"setting": Setting(**values)})
        fields.append((one["name"], tuple[types] if one["tuple"] else types[0], more))  # type: ignore[valid-type]
    made = dataclasses.make_dataclass("Parameters", fields, bases=(DescribedSettings,), frozen=True)
    return cast(type[DescribedSettings], made)


def main() -> int:
    """Report the description of a function, or why there is none."""
    function, isOther = sys.argv[1], sys.argv[2:] == [OTHER]
    if not isOther:
        line = next(readLines(0), None)
        if line is None:
            return 0
        interpreter = Interpreter(**json.loads(line))
        if interpreter.python:
            return _describeIn(interpreter, function)
    writer, lines = openLines()
    threading.Thread(target=_endAfter, args=(lines,), daemon=True).start()
    answer: Done | Failed
    try:
        function = findFunction(function)
        answer = Done([describe(function)])
        encode(answer)
    except ImportError as error:
        answer = (None if isOther else _missing(function)) or Failed(lastLine(error, functionPath(function)))
    except BaseException as error:  # noqa: BLE001 - a file may raise anything
        answer = Failed(lastLine(error, functionPath(function)))
    writer.close(LONGEST_SILENCE, answer)
    return 0


def _describeIn(interpreter: Interpreter, function: str) -> int:
    """Let another Python describe a function; return the exit code."""
    python, environment = interpreter.python, interpreter.environment
    try:
        python = pythonPath(python)
        command = [python, "-u", PROGRAM, "description", function, OTHER]
        checkPython(python, environment)
        if os.name == "posix":
            # In place of this process, so that both end together.
            os.execve(python, command, variablesOf(environment))
        return subprocess.run(command, env=variablesOf(environment), check=False).returncode
    except (SettingsError, OSError) as error:
        reason = reasonOf(error)
        if isinstance(error, OSError):
            reason = _("{python} cannot be started: {reason}.").format(python=python, reason=reason)
        os.write(1, encode(Failed(reason)))
        return 0


def _missing(function: str) -> Done | None:
    """Return the answer for a function that requires packages which this Python lacks; None for another one."""
    try:
        checkRequirements(function)
    except MissingPackageError as error:
        return Done([{"missing": error.requirements, "problem": textToJSON(str(error))}])
    except SettingsError:
        pass  # the error of the import says more
    return None


def _endAfter(lines: Iterator[bytes]) -> None:
    for _line in lines:
        pass
    os._exit(0)
