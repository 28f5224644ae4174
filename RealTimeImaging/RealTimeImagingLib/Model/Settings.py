"""Base classes of settings, the description and checks of each setting, and typed or pasted paths."""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast, get_args, get_origin, get_type_hints

from .Errors import SettingsError
from .Text import isStorable, textsOf

if TYPE_CHECKING:
    from .Packages import Package

_ = textsOf(__file__)
_UNSEEN = "\ufeff\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters without width that are copied along, as in the properties of a file on Windows."""
LARGEST = (1 << 31) - 1
"""Largest number that the panel can show."""
PATHS = ("", "folder", "file")
"""Kinds of paths; empty for a setting that is no path."""
_QUOTES = ('""', "''", "\u201c\u201d", "\u2018\u2019")


MOST_NAMES, LONGEST_NAME = 5, 60
"""Unknown names that an error quotes, and characters of each."""


def typedPath(given: object) -> str:
    """Convert a typed or pasted path to an absolute path; empty when nothing is left of it.

    Blanks, characters without width and quotes (Windows: "Copy as path") around the path are removed. ``~`` is the home
    folder, and a ``file://`` address becomes a path. The file system is not accessed: a share that hangs would block
    the caller.

    :param given: text, or a path object.
    :raises SettingsError: the path contains a NUL character.
    :raises TypeError: neither text nor a path object.
    """
    path = os.fspath(given)  # type: ignore[call-overload]
    if not isinstance(path, str):
        raise TypeError(f"A path is text, not {given!r}.")
    if "\0" in path:
        raise SettingsError(
            _("The path {path} contains a NUL character, which no file name can contain.").format(path=repr(path))
        )
    before = None
    # Again until nothing changes, so that the result converts to itself.
    while path != before:
        before = path
        path = _unquoted(path)
        if path.lower().startswith("file:"):
            path = _fromAddress(path)
        path = os.path.abspath(os.path.expanduser(path)) if path else ""
    return path


def _unquoted(path: str) -> str:
    path = path.strip().strip(_UNSEEN).strip()
    while len(path) > 1 and path[0] + path[-1] in _QUOTES:
        path = path[1:-1].strip().strip(_UNSEEN).strip()
    return path


def _fromAddress(address: str) -> str:
    # RFC 8089: file:///folder, file://localhost/folder, file:/folder; another host is a share.
    from urllib.request import url2pathname  # all of http with it, which every process would wait for

    rest = address[len("file:") :]
    host = ""
    if rest.startswith("//"):
        host, slash, rest = rest[2:].partition("/")
        rest = slash + rest
    share = f"//{host}" if host and host.lower() != "localhost" else ""
    return url2pathname(share + rest)


@dataclass(frozen=True)
class Setting:
    """Description of one setting: the panel, the command line, the checks and the documentation are made from it.

    :param title: label, two or three words in sentence case.
    :param tooltip: meaning in one to four sentences; also the help of the command line.
    :param unit: unit of a number.
    :param limits: lowest and highest value of a number.
    :param decimals: digits after the decimal point in the panel.
    :param scale: value of one unit of the panel, such as the bytes of a megabyte.
    :param scaledUnit: unit of the panel, when it is another.
    :param choices: the possible values, with their labels.
    :param parts: labels of the numbers of a tuple.
    :param path: "folder" or "file" for a path; empty for any other text.
    :param nodes: "regions", "labels" or "volume" for a parameter that the panel can fill from a node of the scene.
    :param missing: error text when a path is empty.
    :param placeholder: what the panel shows in an empty field.
    :param suggested: texts that the panel lists, together with those of the latest starts; empty for a plain field.
    :param offered: label of the default in a list that is filled with what the device offers; empty for other settings.
    :param sharesRow: name of the setting before, when both are one row of the panel.
    :param advanced: True places the row under "More options".
    :param secret: True for a value that is stored neither in scenes nor in Slicer's settings.
    :param inPanel: False for a setting without a row.
    :param inCommand: False for a setting that needs Slicer.
    """

    title: str
    tooltip: str
    unit: str = ""
    limits: tuple[float, float] | None = None
    decimals: int = 1
    scale: int = 1
    scaledUnit: str = ""
    choices: Mapping[Any, str] = dataclasses.field(default_factory=dict)
    parts: tuple[str, ...] = ()
    path: str = ""
    nodes: str = ""
    missing: str = ""
    placeholder: str = ""
    suggested: tuple[str, ...] = ()
    offered: str = ""
    sharesRow: str = ""
    advanced: bool = False
    secret: bool = False
    inPanel: bool = True
    inCommand: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.choices, Mapping):
            raise SettingsError(f'"{self.title}": choices is a dictionary {{value: label}}, not {self.choices!r}.')
        if self.path not in PATHS:
            raise SettingsError(f'"{self.title}": path is "folder" or "file", not {self.path!r}.')


def about(title: str, tooltip: str, **more: Any) -> dict[str, Setting]:
    """Return the metadata of a settings field: ``field(default=1, metadata=about(_("Title"), _("Tooltip."), ...))``.

    The parameters are those of :class:`Setting`.
    """
    return {"setting": Setting(title, tooltip, **more)}


STREAM = about(_("Volume name"), _("Name of the stream, and of the volume that shows its newest image."), advanced=True)
"""Metadata of the setting ``stream``, which every source has."""
EXPECTED = about(
    _("Expected images"),
    _(
        "Number of images of the run, such as the volumes of a functional series. An event says when they have "
        "arrived, or how many have at Stop. 0: unknown."
    ),
    limits=(0, 1_000_000),
    advanced=True,
)
"""Metadata of the setting ``expectedImages``."""


@dataclass(frozen=True)
class SettingField:
    """One field of a settings class.

    :param type: resolved type of the value.
    :param default: MISSING for a value that must be given.
    """

    name: str
    type: Any
    default: Any
    setting: Setting

    @property
    def required(self) -> bool:
        """True when there is no default."""
        return self.default is dataclasses.MISSING

    @property
    def isList(self) -> bool:
        """True for a tuple of any length."""
        return get_origin(self.type) is tuple and Ellipsis in get_args(self.type)

    @property
    def range(self) -> str:
        """Possible values in words; empty when any value is possible."""
        setting = self.setting
        if setting.choices:
            return ", ".join(map(str, setting.choices))
        if setting.limits is None:
            return ""
        lowest, highest = (f"{value:,.12g}" if value >= 100_000 else f"{value:.12g}" for value in setting.limits)
        return _("{lowest} to {highest} {unit}").format(lowest=lowest, highest=highest, unit=setting.unit).strip()

    @property
    def help(self) -> str:
        """Meaning and possible values."""
        return f"{self.setting.tooltip} ({self.range})" if self.range else self.setting.tooltip

    def check(self, value: Any) -> Any:
        """Return the value as it is stored.

        :raises SettingsError: it cannot work.
        """
        if self.setting.path:
            try:
                path = typedPath(value)
            except TypeError as error:
                raise SettingsError(
                    _('"{name}" is a path, not {value}.').format(name=self.name, value=repr(value))
                ) from error
            if not path and self.required:
                raise SettingsError(self.setting.missing or _('"{name}" is an empty path.').format(name=self.name))
            return path
        if self.setting.choices:
            # True would be found as 1.
            types = tuple(map(type, self.setting.choices))
            if not isinstance(value, types) or isinstance(value, bool) or value not in self.setting.choices:
                raise SettingsError(
                    _('"{name}" is one of {range}, not {value}.').format(
                        name=self.name, range=self.range, value=repr(value)
                    )
                )
        elif self.type is bool:
            if not isinstance(value, bool):
                raise SettingsError(
                    _('"{name}" is true or false, not {value}.').format(name=self.name, value=repr(value))
                )
        elif get_origin(self.type) is tuple:
            return self._checkTuple(value)
        elif self.type in (int, float):
            self._checkNumber(value, self.type)
        elif self.type is str:
            if not isinstance(value, str):
                raise SettingsError(_('"{name}" is text, not {value}.').format(name=self.name, value=repr(value)))
            if not isStorable(value):
                raise SettingsError(_('"{name}" has characters that no file can store.').format(name=self.name))
        return value

    def _checkTuple(self, value: Any) -> tuple[Any, ...]:
        # JSON has lists only.
        if not isinstance(value, (list, tuple)):
            raise SettingsError(_('"{name}" is a list, not {value}.').format(name=self.name, value=repr(value)))
        if self.isList:
            for one in value:
                if not isinstance(one, str):
                    raise SettingsError(
                        _('"{name}" is a list of texts, and {one} is not text.').format(name=self.name, one=repr(one))
                    )
            return tuple(value)
        types = get_args(self.type)
        if len(value) != len(types):
            raise SettingsError(
                _('"{name}" is {count} numbers, not {value}.').format(
                    name=self.name, count=len(types), value=repr(value)
                )
            )
        for one, type_ in zip(value, types, strict=True):
            self._checkNumber(one, type_)
        return tuple(value)

    def _checkNumber(self, value: Any, type_: type) -> None:
        accepted = int if type_ is int else (int, float)
        lowest, highest = self.setting.limits or (-math.inf, math.inf)
        if not isinstance(value, accepted) or isinstance(value, bool) or not lowest <= value <= highest:
            values = {"name": self.name, "range": self.range, "value": repr(value)}
            if not self.setting.limits:
                template = (
                    _('"{name}" is a whole number, not {value}.')
                    if type_ is int
                    else _('"{name}" is a number, not {value}.')
                )
            elif type_ is int:
                template = _('"{name}" is a whole number from {range}, not {value}.')
            else:
                template = _('"{name}" is a number from {range}, not {value}.')
            raise SettingsError(template.format(**values))


class DescribedSettings:
    """Base class of frozen dataclasses whose fields describe themselves, see :func:`about`.

    :raises SettingsError: a value is impossible.
    """

    def __post_init__(self) -> None:
        for field in settingFields(type(self)):
            object.__setattr__(self, field.name, field.check(getattr(self, field.name)))

    @classmethod
    def unused(cls, values: Mapping[str, Any]) -> set[str]:
        """Return the names of the settings that have no effect beside these values; the panel hides them.

        :param values: values by name, unchecked, as the panel has them.
        """
        return set()


class SourceSettings(DescribedSettings):
    """Base class of the settings of sources.

    ``kind`` is the name of the source's kind.
    """

    kind: ClassVar[str] = ""
    flags: ClassVar[Mapping[str, tuple[str, Any]]] = {}
    """Further options of the command: name of each, and the setting and value that it stands for."""

    def __post_init__(self) -> None:
        super().__post_init__()
        checkStream(self.stream)

    @property
    def stream(self) -> str:
        """Name of the (first) stream."""
        return "Live"

    @property
    def expectedImages(self) -> int:
        """Number of images of a run in each stream; 0 when unknown."""
        return 0

    @property
    def extraPackages(self) -> tuple[Package, ...]:
        """Packages that these settings need beside those of the kind."""
        return ()

    @property
    def longestDeviceName(self) -> int:
        """Most characters in the device name of a message that the source sends; 0 when it sends none."""
        return 0

    @property
    def usesConnector(self) -> bool:
        """True when the extension SlicerOpenIGTLink receives the images."""
        return False

    @classmethod
    def implied(cls, names: Collection[str]) -> dict[str, Any]:
        """Return values of settings that the command implies.

        :param names: the settings that have an option in the command.
        """
        return {}

    def checkRecordingFolder(self, folder: str) -> None:
        """Check that recordings may be stored in a folder while this source runs.

        :param folder: absolute path.
        :raises RecordingFolderError: the source expects images there.
        """

    def toJSON(self) -> dict[str, Any]:
        """Return a flat object from which :func:`settingsFromJSON` makes equal settings."""
        return {"kind": self.kind, **dataclasses.asdict(cast(Any, self))}

    def withoutSecrets(self) -> SourceSettings:
        """Return a copy without what must not be stored in a scene or in Slicer's settings."""
        secrets = {field.name: field.default for field in settingFields(type(self)) if field.setting.secret}
        return dataclasses.replace(cast(Any, self), **secrets) if secrets else self


def checkStream(name: object) -> None:
    """Check the name of a stream: its volume has it, and the files of its recordings begin with it.

    :raises SettingsError: it is no text, is empty, or has characters that no file can store.
    """
    if not isinstance(name, str):
        raise SettingsError(_("The name of a live volume is text, not {value}.").format(value=repr(name)))
    if not name.strip():
        raise SettingsError(_("The live volume needs a name."))
    if not isStorable(name):
        raise SettingsError(_("The name {name} has characters that no file can store.").format(name=repr(name)))


def settingFields(settings: type[DescribedSettings]) -> tuple[SettingField, ...]:
    """Return the described fields of a settings class, in their order."""
    types = get_type_hints(settings)
    return tuple(
        SettingField(field.name, types[field.name], field.default, field.metadata["setting"])
        for field in dataclasses.fields(cast(Any, settings))
        if "setting" in field.metadata
    )


def checkNames(settings: type[Any], values: Mapping[str, Any], subject: str) -> None:
    """Check that a dataclass can be made of values by name.

    :param subject: of the sentence, such as "The export".
    :raises SettingsError: a name is unknown or missing, or there are no names.
    """
    if not isinstance(values, Mapping):
        text = _("{subject} has settings by name, not {values}.")
        raise SettingsError(text.format(subject=subject, values=repr(values)))
    known = {field.name: field for field in dataclasses.fields(settings)}
    if unknown := sorted(set(values) - set(known)):
        text = _("{subject} has no setting {names}; it has {others}.")
        names = ", ".join(repr(str(name)[:LONGEST_NAME]) for name in unknown[:MOST_NAMES])
        raise SettingsError(text.format(subject=subject, names=names, others=", ".join(sorted(known))))
    nothing = dataclasses.MISSING
    required = [name for name, one in known.items() if one.default is nothing and one.default_factory is nothing]
    if missing := [name for name in required if name not in values]:
        text = _("{subject} needs a value of {names}.")
        raise SettingsError(text.format(subject=subject, names=", ".join(missing)))


def placeOf(settings: SourceSettings) -> str:
    """Return the folder or file of a source, on a drive that may hang; empty for a source without one."""
    paths = (getattr(settings, field.name) for field in settingFields(type(settings)) if field.setting.path)
    return next((path for path in paths if path), "")


def checkFields(settings: type[DescribedSettings]) -> None:
    """Check that the panel, the command line and the checks can use each field of a settings class.

    :raises SettingsError: a field is not described, has a type that cannot be edited, or a default that cannot work.
    """
    described = {field.name: field for field in settingFields(settings)}
    for declared in dataclasses.fields(cast(Any, settings)):
        name, field = f"{settings.__name__}.{declared.name}", described.get(declared.name)
        if field is None:
            text = f'{name} needs a description: field(default=..., metadata=about("Title", "Tooltip.")).'
            raise SettingsError(text)
        if declared.name == "kind":
            raise SettingsError(f"{name} needs another name: kind is the name of the source's kind.")
        if (get_origin(field.type) or field.type) in (list, dict, set):
            raise SettingsError(f"{name} is a {field.type}. Use a tuple.")
        if field.isList and get_args(field.type)[0] is not str:
            raise SettingsError(f"{name} is a {field.type}. A list of any length is a tuple[str, ...].")
        if declared.default_factory is not dataclasses.MISSING:
            raise SettingsError(f"{name} has a default_factory. Use default=..., a number, a text or a tuple.")
        if field.required and field.setting.secret:
            raise SettingsError(f"{name} is secret, and needs a default that is stored in its place.")
        if field.setting.inPanel:
            _checkShown(name, field)
        if not field.required:
            try:
                field.check(field.default)
            except SettingsError as error:
                raise SettingsError(f"The default of {name} cannot work: {error}") from error


def _checkShown(name: str, field: SettingField) -> None:
    # A form that shows another value than the default would start the source with it.
    setting = field.setting
    types = get_args(field.type) if get_origin(field.type) is tuple else (field.type,)
    if not field.isList and len(setting.parts) != (len(types) if get_origin(field.type) is tuple else 0):
        raise SettingsError(f"{name} needs a label for each of its numbers: parts=(...).")
    if field.default is None:
        raise SettingsError(f"{name} has the default None, which no field can show. Use a number or a text.")
    if setting.choices or setting.offered or field.required or types[0] not in (int, float):
        return
    defaults = field.default if setting.parts else (field.default,)
    for value in (*defaults, *(setting.limits or ())) if types[0] is int else defaults:
        if abs(value) > LARGEST * setting.scale:
            raise SettingsError(f"{name} cannot show {value:,}. Stay within {LARGEST:,}, or use a scale.")
    for value in defaults:
        shown = value / setting.scale
        if types[0] is float and round(shown, setting.decimals) != shown:
            raise SettingsError(f"{name} cannot show {shown} with {setting.decimals} decimals. Use more decimals.")


def checkAllowed(allowed: tuple[str, ...]) -> None:
    """Check a list of addresses and networks.

    :raises SettingsError: an entry is neither.
    """
    for address in allowed:
        try:
            ipaddress.ip_network(address, strict=False)
        except ValueError as error:
            text = _("{address} is no address such as 10.0.0.7 and no network such as 10.0.0.0/24.").format(
                address=repr(address)
            )
            raise SettingsError(text) from error


def splitAddress(text: str) -> tuple[str, int | None]:
    """Split a typed address, such as "localhost:18944", "[::1]:18944" or "http://10.0.0.7:18980/frame".

    :returns: the host, and the port or None when the address has none.
    """
    text = re.sub(r"^[a-z]+://|/[^:]*$", "", text.strip(), flags=re.IGNORECASE).strip()
    found = re.fullmatch(r"(?:\[([^\]]*)\]|([^:\s]*))(?:\s*:\s*(\d{1,9}))?", text)
    if found is None:
        return text, None  # an IPv6 address without brackets, or nonsense that connecting reports
    host = (found[1] or found[2] or "").strip()
    return host, None if found[3] is None else int(found[3])


def takeAddress(settings: Any) -> None:
    """Replace the typed ``host`` of settings; a port in it becomes their ``port``.

    :raises SettingsError: the host is no text.
    """
    if not isinstance(settings.host, str):
        raise SettingsError(_('"host" is text, not {value}.').format(value=repr(settings.host)))
    host, port = splitAddress(settings.host)
    object.__setattr__(settings, "host", host)
    if port is not None:
        object.__setattr__(settings, "port", port)
