"""Form of a function's parameters, with lists of nodes of the scene for regions, label maps and volumes."""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
from collections.abc import Collection
from functools import partial
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..Model.Errors import SettingsError
from ..Model.Files import removeFile
from ..Model.Settings import DescribedSettings, settingFields
from ..Processing import BuiltIn
from ..Processing.Loading import functionName
from ..Scene.RegionNodes import NODES, contentTime, regionName, regionText, replacedRegion, writeNode
from .Section import Section, translated
from .SettingsForm import SettingsForm

Links = dict[str, dict[str, int]]
"""Nodes that fill a parameter, by its name: ID of each node, and the time of the content that was taken."""


def builtInTitle(name: str) -> str:
    """Return the title of a built-in function for the user."""
    return translated(_builtIn(name).TITLE)


def builtInParameters(name: str) -> type[DescribedSettings]:
    """Return the class of the parameters of a built-in function."""
    found: type[DescribedSettings] = _builtIn(name).PARAMETERS
    return found


def _builtIn(name: str) -> Any:
    return importlib.import_module(f"{BuiltIn.__name__}.{name}")


class NodeFiles:
    """Files of the scene's nodes, for functions that read files; they exist while they are used."""

    def __init__(self) -> None:
        self._folder, self._count = "", 0
        self._paths: list[str] = []

    def write(self, node: Any) -> str:
        """Write a node to a new file; return its path.

        :raises SettingsError: the node cannot be written.
        """
        if not self._folder:
            self._folder = tempfile.mkdtemp(prefix="RealTimeImaging-nodes-", dir=slicer.app.temporaryPath)
        self._count += 1
        self._paths.append(writeNode(node, os.path.join(self._folder, f"{self._count}_{node.GetID()}")))
        return self._paths[-1]

    def keep(self, used: Collection[object]) -> None:
        """Remove the files that are not used, such as those of a label map that has changed since.

        :param used: values of parameters.
        """
        kept = {os.path.normpath(one) for one in used if isinstance(one, str)}
        for path in [one for one in self._paths if os.path.normpath(one) not in kept]:
            self._paths.remove(path)
            # On Windows a function may still read it: then close() removes it.
            removeFile(path)

    def close(self) -> None:
        """Remove the files."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""


class FunctionForm(SettingsForm):
    """Rows for the parameters of one function.

    :param function: name of a built-in function, or path of a file.
    :param settings: class of the parameters.
    :param section: the panel's section.
    :param files: writes nodes that become files.
    """

    def __init__(self, function: str, settings: type[DescribedSettings], section: Section, files: NodeFiles) -> None:
        ui = section.ui
        grids = ui.parametersForm.layout(), ui.processingOptionsSection.layout()
        super().__init__(f"function_{functionName(function)}", settings, section, grids)
        self.function, self.settingsClass, self._files = function, settings, files
        self._nodes = {one.name: one.setting.nodes for one in settingFields(settings) if one.setting.nodes in NODES}
        self.links: Links = {}
        """Nodes that the user picked for the parameters in the form."""
        self._pickers: list[Any] = []
        for name, kind in self._nodes.items():
            self._addPicker(name, kind)
        self.show(None)
        self.setShown(False)

    def _addPicker(self, name: str, kind: str) -> None:
        picker = slicer.qMRMLNodeComboBox()
        picker.nodeTypes = NODES[kind]
        picker.noneEnabled, picker.addEnabled, picker.removeEnabled = True, False, False
        picker.noneDisplay = _("Choose ...")
        picker.setMRMLScene(slicer.mrmlScene)
        tips = {
            "regions": _("Add a markups ROI of the scene as a region. When you move it, the region moves."),
            "labels": _("Take the segments or labels of a node of the scene. Later changes follow."),
            "volume": _("Take a volume of the scene as it is now."),
        }
        self.addRow(f"{name}_node", _("From scene"), tips[kind], picker, after=name)
        self._section.connect(picker, "currentNodeChanged(vtkMRMLNode*)", partial(self._picked, name, picker))
        self._pickers.append(picker)

    def _picked(self, name: str, picker: Any, node: Any) -> None:
        if node is None:
            return
        if self._nodes[name] != "regions":
            self.links[name] = {}
        if self._section.attempt(lambda: self._take(name, node)):
            self.links.setdefault(name, {})[node.GetID()] = contentTime(node) if self._isFile(name) else 0
        if self._nodes[name] == "regions":
            picker.setCurrentNode(None)  # the next one may follow

    def _take(self, name: str, node: Any) -> None:
        if self._isFile(name):
            self.set(name, self._files.write(node))
            return
        if not regionText(node):
            raise SettingsError(_("{name} has no size yet: place it first.").format(name=node.GetName()))
        self.set(name, replacedRegion(self.value(name), node))

    def _isFile(self, name: str) -> bool:
        return self._nodes[name] != "regions"

    def followed(self, values: dict[str, Any], links: Links) -> dict[str, Any]:
        """Return the parameters that have changed because their nodes have changed.

        :param values: the parameters as they are, by name.
        :param links: the nodes, whose times are set.
        :raises SettingsError: a node cannot be written.
        """
        changed: dict[str, Any] = {}
        for name, nodes in links.items():
            for nodeID in list(nodes):
                node = slicer.mrmlScene.GetNodeByID(nodeID)
                if node is None:
                    del nodes[nodeID]
                elif self._nodes[name] == "regions":
                    now = tuple(changed.get(name, values.get(name, ())))
                    named = any(one.rpartition(":")[0].strip() == regionName(node) for one in now)
                    if not named:  # the user removed the text
                        del nodes[nodeID]
                    elif replacedRegion(now, node) != now:
                        changed[name] = replacedRegion(now, node)
                elif self._nodes[name] == "labels" and contentTime(node) != nodes[nodeID]:
                    nodes[nodeID] = contentTime(node)
                    changed[name] = self._files.write(node)
        return changed

    def kept(self) -> dict[str, Any]:
        """Return the values that a later session can use: those that are not of nodes of this scene."""
        return {name: value for name, value in self.values().items() if name not in self.links}

    def close(self) -> None:
        """Release the scene."""
        for picker in self._pickers:
            picker.setMRMLScene(None)
