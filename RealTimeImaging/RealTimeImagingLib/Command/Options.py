"""The command line: a sub-command for each source, with an option for each of its settings."""

from __future__ import annotations

import argparse
import dataclasses
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_origin, get_type_hints

from ..Link.Commands import Command, Record, StartBroadcast
from ..Model.Errors import MissingPackageError, SettingsError
from ..Model.Packages import checkPackages
from ..Model.Settings import SourceSettings, typedPath
from ..Sources import KINDS
from ..Sources.Folder import checkRecordingFolder
from ..Sources.OpenIGTLink import BroadcastSettings, OpenIGTLinkSettings
from ..Sources.Push import PushSettings

ELSEWHERE = {PushSettings.kind: "its frames are made inside Slicer"}
"""Sources that make no sense here, and why."""
LEFT_OUT = {"replay": ("paused",), "openigtlink": ("engine",)}
"""Settings that need Slicer, or somebody who sends commands, by the source's kind."""
IMPLIED = {"replay": {"rate": {"pace": "rate"}}}
"""What a setting means for others that were not given, by the source's kind."""
SETTING = "setting:"


@dataclass(frozen=True)
class Plan:
    """What to do.

    :param broadcast: for whom; None: nobody.
    :param folder: where to record, as an absolute path; empty: nowhere.
    """

    settings: SourceSettings
    broadcast: BroadcastSettings | None
    folder: str

    def startupCommands(self) -> list[Command]:
        """Return the commands with which the worker starts."""
        commands: list[Command] = []
        if self.folder:
            name = time.strftime("Recording_%Y-%m-%d_%H-%M-%S")
            commands.append(Record(self.folder, name, {}))
        if self.broadcast:
            commands.append(StartBroadcast(dataclasses.asdict(self.broadcast)))
        return commands


def readOptions(arguments: Sequence[str] | None = None) -> Plan:
    """The plan that the command line describes.

    :param arguments: None for those of this process.
    :raises SystemExit: with code 2 and words on standard error when it cannot work; with code 0 after --help.
    """
    parser = makeParser()
    given = vars(parser.parse_args(arguments))
    try:
        settings = _settings(given)
        host, port = given["openigtlink"] or ("", 0)
        version = 2 if given["attributes"] else 1
        broadcast = BroadcastSettings(port, host, version, tuple(given["allow"])) if host else None
        if broadcast:
            checkPackages(OpenIGTLinkSettings.kind)
        checkPackages(settings.packages)
        folder = typedPath(given["record"])
        if not (broadcast or folder):
            raise SettingsError("Nothing would become of the images: add --openigtlink PORT or --record FOLDER.")
        if folder:
            checkRecordingFolder(settings, folder)
        return Plan(settings, broadcast, folder)
    except MissingPackageError as error:
        parser.error(f"{error} pip install {' '.join(map(repr, error.requirements))}")
    except SettingsError as error:
        parser.error(str(error))


def makeParser() -> argparse.ArgumentParser:
    """The parser; its options of the sources are made from their settings."""
    parser = argparse.ArgumentParser(
        prog="acquire",
        description="Receives images and sends them on over OpenIGTLink, to Slicer or others; Ctrl+C ends it.",
    )
    commands = parser.add_subparsers(title="sources", metavar="SOURCE", dest="kind", required=True)
    shared = _sharedOptions()
    for kind, settings in KINDS.items():
        if kind in ELSEWHERE:
            continue
        summary = (settings.__doc__ or kind).split("\n")[0]
        command = commands.add_parser(kind, parents=[shared], help=summary, description=summary, allow_abbrev=False)
        _addSettings(command.add_argument_group(f"settings of the source {kind}"), settings)
        if kind == "replay":
            command.add_argument("--fastest", action="store_true", help="as --pace fastest")
    return parser


def _sharedOptions() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    group = shared.add_argument_group("what becomes of the images")
    group.add_argument(
        "--openigtlink",
        type=_address,
        metavar="[ADDRESS:]PORT",
        help="send them over OpenIGTLink to all who connect there; without ADDRESS only to this computer (127.0.0.1), "
        "0.0.0.0 is all of its addresses, and there is no password",
    )
    group.add_argument(
        "--allow", action="append", default=[], metavar="ADDRESS", help="only this address or network may connect"
    )
    group.add_argument(
        "--attributes", action="store_true", help="send the attributes too (protocol 3, which old programs cannot read)"
    )
    group.add_argument("--record", default="", metavar="FOLDER", help="store every image there too")
    return shared


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    try:
        return host.strip("[]") or "127.0.0.1", int(port)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no port such as 18945, nor 0.0.0.0:18945") from None


def _addSettings(group: Any, settings: type[SourceSettings]) -> None:
    types, words = get_type_hints(settings), _parameterWords(settings)
    for field in dataclasses.fields(settings):
        if field.name in LEFT_OUT.get(settings.kind, ()):
            continue
        kind = types[field.name]
        options: dict[str, Any] = {"dest": SETTING + field.name, "default": argparse.SUPPRESS}
        options["help"] = words.get(field.name, "").replace("%", "%%")
        # Those without a default are told by their place.
        if field.default is dataclasses.MISSING:
            group.add_argument(options["dest"], metavar=field.name.upper(), help=options["help"])
            continue
        name = "--" + re.sub(r"(?<=[a-z])(?=[A-Z])", "-", field.name).lower()
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif kind in (int, float):
            options |= {"type": kind, "metavar": "N"}
        elif kind is str or (get_origin(kind) is not tuple and str in get_args(kind)):
            options["metavar"] = "TEXT"
        elif get_origin(kind) is tuple and Ellipsis not in get_args(kind):
            options |= {"nargs": len(get_args(kind)), "type": get_args(kind)[0], "metavar": "N"}
        else:
            options |= {"action": "append", "metavar": "TEXT"}
        group.add_argument(name, **options)


def _parameterWords(settings: type) -> dict[str, str]:
    text = re.sub(r"\s+", " ", settings.__doc__ or "")
    return {name: words.strip() for name, words in re.findall(r":param (\w+): (.*?)(?= :param | :raises |$)", text)}


def _settings(given: dict[str, Any]) -> SourceSettings:
    kind = given["kind"]
    values = {name.removeprefix(SETTING): value for name, value in given.items() if name.startswith(SETTING)}
    if given.get("fastest"):
        values.setdefault("pace", "fastest")
    for name in list(values):
        values = {**IMPLIED.get(kind, {}).get(name, {}), **values}
    return KINDS[kind](**values)
