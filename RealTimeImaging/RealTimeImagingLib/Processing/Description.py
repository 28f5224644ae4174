"""What a function declares for a form, as JSON; also the program of the process that loads a function to describe it.

The process is started with the function, another Python or an empty text, and that Python's environment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, cast, get_args, get_origin

from ..Link.Messages import Done, Failed, encode
from ..Model.Settings import DescribedSettings, Setting, settingFields
from .Loading import LoadedFunction, lastLine

TYPES: dict[str, Any] = {"bool": bool, "int": int, "float": float, "str": str}
PROGRAM = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "Link", "Program.py")


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
    """Write the description of a function to standard output, as the last line."""
    function, python, environment = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    if python:
        variables = {name: value for name, value in {**os.environ, **environment}.items() if value is not None}
        command = [python, "-u", PROGRAM, "description", function, "", "{}"]
        return subprocess.run(command, env=variables, check=False).returncode
    output = sys.stdout
    answer: Done | Failed
    with contextlib.redirect_stdout(sys.stderr):  # a function may print
        try:
            answer = Done([describe(function)])
            encode(answer)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a file may raise anything
            answer = Failed(lastLine(error, function))
    output.buffer.write(encode(answer))
    output.flush()
    return 0
