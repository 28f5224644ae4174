"""Command line: a sub-command for each kind of source, with an option for each of its settings."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from ..Link.Commands import Command, Record, StartBroadcast
from ..Model.Codecs import ENCODERS
from ..Model.Errors import MissingPackageError, SettingsError
from ..Model.Packages import checkPackages
from ..Model.Settings import SettingField, SourceSettings, settingFields, typedPath
from ..Processing.Loading import functionName
from ..Processing.Requirements import checkedFunction
from ..Recording.Names import DATE_NAME, namedPlace
from ..Sources import KINDS, SourceKind, kindOf
from ..Sources.Kinds import importKind, otherModules
from ..Sources.OpenIGTLink import BroadcastSettings
from ..Sources.Processor import EVERY, ProcessorSettings

SETTING = "setting:"


@dataclass(frozen=True)
class Plan:
    """Source and outputs of a run.

    :param broadcast: rebroadcast over OpenIGTLink; None for none.
    :param folder: folder for a recording, as an absolute path; empty for none.
    :param process: function that processes the images; None for none.
    """

    settings: SourceSettings
    broadcast: BroadcastSettings | None
    folder: str
    process: ProcessorSettings | None = None

    def startupCommands(self) -> list[Command]:
        """Return the commands that the worker executes before it opens the source."""
        commands: list[Command] = []
        if self.folder:
            commands.append(Record(*namedPlace(self.folder, DATE_NAME, {}), {}))
        if self.broadcast:
            commands.append(StartBroadcast(dataclasses.asdict(self.broadcast)))
        return commands


def readOptions(arguments: Sequence[str] | None = None) -> Plan:
    """Return the plan that the command line describes.

    :param arguments: the arguments; None for those of this process.
    :raises SystemExit: code 2 and the reason on standard error when it cannot work; code 0 after --help.
    """
    registering = _registeringOptions()
    register, rest = registering.parse_known_args(arguments)
    for path in register.register:
        try:
            _register(path)
            makeParser()  # options of the source may have the names of others
        except (ImportError, SettingsError, argparse.ArgumentError) as error:
            registering.error(f"{path} registers no source: {error}")
    if register.list_settings:
        sys.stdout.write(settingsReference())
        sys.exit(0)
    parser = makeParser()
    given = vars(parser.parse_args(rest))
    try:
        settings = _settings(given)
        host, port = given["openigtlink"] or ("", 0)
        version = 2 if given["attributes"] else 1
        video = {"codec": given["send_video"], "quality": given["send_quality"]}
        broadcast = BroadcastSettings(port, host, version, tuple(given["allow"]), **video) if host else None
        if broadcast:
            checkPackages(broadcast.packages, "The rebroadcast")
        checkPackages((*kindOf(settings).packages, *settings.extraPackages))
        folder = typedPath(given["record"])
        if not (broadcast or folder):
            raise SettingsError("No output: add --openigtlink PORT or --record FOLDER.")
        if folder:
            settings.checkRecordingFolder(folder)
        return Plan(settings, broadcast, folder, _process(given))
    except MissingPackageError as error:
        parser.error(f"{error} pip install {' '.join(map(repr, error.requirements))}")
    except SettingsError as error:
        parser.error(str(error))


def makeParser() -> argparse.ArgumentParser:
    """Return the parser; the options of each source are made from its settings."""
    parser = argparse.ArgumentParser(
        prog="acquire",
        parents=[_registeringOptions()],
        description="Receive images; rebroadcast them over OpenIGTLink to Slicer and other programs, or record them. "
        "Ctrl+C ends it.",
    )
    commands = parser.add_subparsers(title="sources", metavar="SOURCE", dest="kind", required=True)
    shared = _sharedOptions()
    for name, kind in KINDS.items():
        if not kind.listed:
            continue
        summary = (kind.settings.__doc__ or name).split("\n")[0]
        command = commands.add_parser(name, parents=[shared], help=summary, description=summary, allow_abbrev=False)
        group = command.add_argument_group(f"settings of the source {name}")
        for field in settingFields(kind.settings):
            if field.setting.inCommand:
                _addSetting(group, field)
        for flag, (setting, value) in kind.settings.flags.items():
            command.add_argument(f"--{flag}", action="store_true", help=f"as --{setting} {value}")
    return parser


def _registeringOptions() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="acquire", add_help=False, allow_abbrev=False)
    parser.add_argument("--list-settings", action="store_true", help="write a table of all settings, and end")
    parser.add_argument(
        "--register",
        action="append",
        default=[],
        metavar="PATH",
        help="a Python file or package that registers a further source; give it before SOURCE",
    )
    return parser


def _register(path: str) -> None:
    path = typedPath(path)
    if not os.path.exists(path):
        raise SettingsError("there is no such file or folder.")
    if not (path.endswith(".py") or os.path.isfile(os.path.join(path, "__init__.py"))):
        raise SettingsError("it is neither a Python file nor a folder with an __init__.py.")
    before = set(KINDS)
    folder, name = os.path.split(path)
    name = name.removesuffix(".py")
    importKind(folder, name)
    # The second of two equal options imports nothing.
    if set(KINDS) == before and not any(module.split(".")[0] == name for module in otherModules()):
        raise SettingsError("it does not call register().")


def settingsReference() -> str:
    """Return a Markdown page with a table of settings for each kind of source."""
    parts = ["# Settings of the sources\n\nWritten by `python3 run.py acquire --list-settings > docs/settings.md`.\n"]
    for name, kind in KINDS.items():
        if not kind.listed:
            continue
        summary = (kind.settings.__doc__ or "").split("\n")[0]
        parts.append(f"## {kind.title}\n\n`{kind.settings.__name__}`, in the command `{name}`. {summary}\n")
        parts.append("".join(f"{line}\n" for line in _settingsTable(kind)))
    return "\n".join(parts)


def _settingsTable(kind: SourceKind) -> Iterator[str]:
    yield "| setting | label | default | values | meaning |"
    yield "|---|---|---|---|---|"
    for field in settingFields(kind.settings):
        default = "required" if field.required else f"`{field.default!r}`"
        meaning = re.sub(r"([*|_])", r"\\\1", field.setting.tooltip)
        yield f"| `{field.name}` | {field.setting.title} | {default} | {field.range} | {meaning} |"


def _sharedOptions() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    group = shared.add_argument_group("output")
    group.add_argument(
        "--openigtlink",
        type=_address,
        metavar="[ADDRESS:]PORT",
        help="rebroadcast the images over OpenIGTLink on this port. Without ADDRESS: to programs on this computer only "
        "(127.0.0.1). 0.0.0.0: to every computer in the network; there is no password",
    )
    group.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="accept connections from this address or network only",
    )
    group.add_argument(
        "--attributes", action="store_true", help="send the attributes too (protocol 3, which old programs cannot read)"
    )
    group.add_argument(
        "--send-video",
        default="",
        choices=list(ENCODERS),
        help="rebroadcast single slices of 8 bits as compressed video (VIDEO) of this codec",
    )
    group.add_argument(
        "--send-quality", type=int, default=75, metavar="N", help="quality of the video, 1 to 99; 100: without loss"
    )
    group.add_argument("--record", default="", metavar="FOLDER", help="store every image in this folder")
    group = shared.add_argument_group("processing")
    group.add_argument(
        "--process",
        default="",
        metavar="FILE",
        help="process each image with process(frame) of this Python file, or with the built-in function of this name; "
        "the results are streams of their own",
    )
    group.add_argument(
        "--process-every",
        default="all",
        choices=list(EVERY),
        help="all: images wait while the function is busy. newest: a newer image replaces the one that waits",
    )
    group.add_argument(
        "--process-parameter",
        action="append",
        default=[],
        type=_parameter,
        metavar="NAME=VALUE",
        help="a parameter of the function; VALUE as JSON, or else text",
    )
    group.add_argument(
        "--process-python", default="", metavar="PROGRAM", help="Python that runs the function; it needs numpy"
    )
    return shared


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _process(given: dict[str, Any]) -> ProcessorSettings | None:
    if not given["process"]:
        return None
    function, python = checkedFunction(given["process"], given["process_python"])
    return ProcessorSettings(
        function,
        stream=functionName(function),
        every=given["process_every"],
        parameters=json.dumps(dict(given["process_parameter"])),
        python=python,
    )


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    try:
        return host.strip("[]") or "127.0.0.1", int(port)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no port such as 18945, nor 0.0.0.0:18945") from None


def _variableOf(field: SettingField) -> str:
    # The arguments of a process are visible to all users of a computer; its environment is not.
    return f"REALTIMEIMAGING_{field.name.upper()}"


def _addSetting(group: Any, field: SettingField) -> None:
    type_, help_ = field.type, field.help.replace("%", "%%")
    if field.setting.secret:
        help_ += f" Other users of this computer see options; they do not see the variable {_variableOf(field)}."
    options: dict[str, Any] = {"dest": SETTING + field.name, "default": argparse.SUPPRESS, "help": help_}
    name = "--" + re.sub(r"(?<=[a-z])(?=[A-Z])", "-", field.name).lower()
    if field.required and type_ in (int, float, str):
        group.add_argument(options["dest"], type=type_, metavar=field.name.upper(), help=help_)
        return
    options["required"] = field.required
    if type_ is bool:
        options["action"] = argparse.BooleanOptionalAction
    elif type_ in (int, float):
        options |= {"type": type_, "metavar": "N"}
    elif field.isList:
        options |= {"action": "append", "metavar": "TEXT"}
    elif get_origin(type_) is tuple:
        options |= {"nargs": len(get_args(type_)), "type": get_args(type_)[0], "metavar": "N"}
    else:
        options["metavar"] = "TEXT"
    group.add_argument(name, **options)


def _settings(given: dict[str, Any]) -> SourceSettings:
    settings = KINDS[given["kind"]].settings
    values = {name.removeprefix(SETTING): value for name, value in given.items() if name.startswith(SETTING)}
    for field in settingFields(settings):
        if field.setting.secret and (secret := os.environ.get(_variableOf(field))):
            values.setdefault(field.name, secret)
    flags = {setting: value for flag, (setting, value) in settings.flags.items() if given[flag]}
    return settings(**{**settings.implied(values), **flags, **values})
