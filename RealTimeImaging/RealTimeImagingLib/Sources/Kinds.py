"""Registry of the kinds of sources."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

from ..Model.Errors import SettingsError
from ..Model.Files import reasonOf
from ..Model.Settings import SourceSettings, checkFields, checkNames, settingFields
from ..Model.Text import textsOf
from .Camera import KIND as CAMERA
from .DICOM import KIND as DICOM
from .Folder import KIND as FOLDER
from .HTTP import KIND as HTTP
from .MRD import KIND as MRD
from .OpenIGTLink import KIND as OPENIGTLINK
from .Processor import KIND as PROCESSOR
from .Push import KIND as PUSH
from .Replay import KIND as REPLAY
from .Source import Source, SourceContext, SourceKind

_ = textsOf(__file__)

KINDS: dict[str, SourceKind] = {}
"""All kinds by name, in the order of the panel's list."""
_LIBRARY = __name__.split(".")[0]
_MODULE = "registered by"
"""Key in the worker's JSON; no setting can have this name."""


def register(kind: SourceKind) -> None:
    """Add a kind. A package outside this library calls it in the module that holds the settings class.

    The worker imports that module, so it imports nothing of Slicer. ``help()`` of the settings class lists its settings
    afterwards.

    :raises SettingsError: the kind has no name, another module has a kind of this name, or a setting cannot work.
    """
    name, known = kind.name, KINDS.get(kind.name)
    if not re.fullmatch(r"[a-z][a-z0-9]*", name):
        raise SettingsError(
            _("The name of a kind of source consists of small letters and digits, not {name}.").format(name=repr(name))
        )
    if known and known.settings.__module__ != kind.settings.__module__:
        raise SettingsError(
            _("{module} registers a source of the kind {name} already.").format(
                module=known.settings.__module__, name=name
            )
        )
    if "stream" not in {field.name for field in settingFields(kind.settings)}:
        raise SettingsError(_('{name} needs a field "stream" with metadata.').format(name=kind.settings.__name__))
    checkFields(kind.settings)
    KINDS[name] = kind
    if not known or known.settings is not kind.settings:
        fields = settingFields(kind.settings)
        parameters = "\n".join(f":param {field.name}: {field.help}" for field in fields)
        kind.settings.__doc__ = f"{inspect.cleandoc(kind.settings.__doc__ or kind.title)}\n\n{parameters}"


for _kindHere in (FOLDER, REPLAY, OPENIGTLINK, HTTP, CAMERA, DICOM, MRD, PUSH, PROCESSOR):
    register(_kindHere)


def kindOf(settings: SourceSettings) -> SourceKind:
    """Return the kind of these settings.

    :raises SettingsError: it is not registered.
    """
    return _kind(settings.kind)


def openSource(settings: SourceSettings, context: SourceContext) -> Source:
    """Open the source of these settings; it continues from the context's checkpoint."""
    return kindOf(settings).open(settings, context)


def settingsFromJSON(values: Mapping[str, Any]) -> SourceSettings:
    """Return the settings that :meth:`SourceSettings.toJSON` wrote.

    :raises SettingsError: no object, an unknown kind, an unknown name or a value that cannot work.
    """
    # A scene may hold any JSON.
    if not isinstance(values, Mapping):
        raise SettingsError(
            _("The settings of a source are an object with a kind, not {values}.").format(values=repr(values))
        )
    values = dict(values)
    kind = _kind(values.pop("kind", None))
    checkNames(kind.settings, values, _("The source {name}").format(name=kind.name))
    try:
        return kind.settings(**values)
    except (TypeError, AttributeError) as error:
        raise SettingsError(
            _("The settings of the source {name} do not fit: {reason}.").format(name=kind.name, reason=reasonOf(error))
        ) from error


def _kind(name: object) -> SourceKind:
    if not isinstance(name, str) or name not in KINDS:
        raise SettingsError(
            _("There is no source of the kind {name}; there are {others}.").format(
                name=repr(name), others=", ".join(KINDS)
            )
        )
    return KINDS[name]


# ---- kinds of other packages


def otherModules() -> list[str]:
    """Return the names of the modules outside this library that registered a kind."""
    modules = (kind.settings.__module__ for kind in KINDS.values())
    return [module for module in modules if module.split(".")[0] != _LIBRARY]


def toWorker(settings: SourceSettings) -> dict[str, Any]:
    """Return the JSON of settings for the worker, which includes the module that registers a kind of another package.

    Only the worker gets it: settings in a scene must not make Slicer import a module.

    :raises SettingsError: the settings class is defined in the console, and not in a file.
    """
    module = type(settings).__module__
    if module.split(".")[0] == _LIBRARY:
        return settings.toJSON()
    file = getattr(sys.modules[module], "__file__", None)
    if not file:
        raise SettingsError(
            _("The settings {name} are defined in no file, which the worker needs.").format(
                name=type(settings).__name__
            )
        )
    path = os.path.abspath(file)
    # The package's __init__.py stands for the package, which is a folder higher.
    levels = module.count(".") + 1 + (os.path.basename(path) == "__init__.py")
    for _level in range(levels):
        path = os.path.dirname(path)
    return {**settings.toJSON(), _MODULE: [path, module]}


def inWorker(values: Mapping[str, Any]) -> SourceSettings:
    """Return the settings that :func:`toWorker` wrote; import the module that registers their kind.

    :raises SettingsError: as :func:`settingsFromJSON`.
    """
    values = dict(values)
    folder, module = values.pop(_MODULE, ("", ""))
    if module:
        importKind(folder, module)
    return settingsFromJSON(values)


def importKind(folder: str, module: str) -> None:
    """Import a module that registers a kind.

    :param folder: folder that contains the module or its package; it is searched last, so that it hides no package.
    :raises SettingsError: Python finds another module of this name first.
    """
    if folder not in sys.path:
        sys.path.append(folder)
    file = getattr(importlib.import_module(module), "__file__", None) or "Python itself"
    wanted = os.path.join(os.path.realpath(folder), "")
    if not os.path.normcase(os.path.realpath(file)).startswith(os.path.normcase(wanted)):
        raise SettingsError(
            _("The module {module} comes from {file}, not from {folder}. Give yours another name.").format(
                module=module, file=file, folder=folder
            )
        )
