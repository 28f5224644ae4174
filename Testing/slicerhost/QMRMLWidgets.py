"""qMRMLWidget, qSlicerWidget and the node selectors: they need the scene as in Slicer."""

from typing import Any

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from .CtkNumbers import qMRMLSliderWidget
from .CtkWidgets import QWidget
from .Observers import observe, stopObserving
from .PythonQt import hostClass
from .UiLoader import customWidgets


class qMRMLWidget(QWidget):  # type: ignore[misc, valid-type]
    """A widget that hands its scene on through mrmlSceneChanged, usually connected in the .ui file."""

    standIn = True
    mrmlSceneChanged = Signal(object)
    signalAliases = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged(PyObject)"}  # noqa: RUF012

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class qSlicerWidget(QWidget):  # type: ignore[misc, valid-type]
    """The top of a module's panel: takes the scene and hands it on; unlike qMRMLWidget it does not give it back."""

    standIn = True
    mrmlSceneChanged = Signal(object)
    signalAliases = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged(PyObject)"}  # noqa: RUF012

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


REPEATED = 5
"""How often qMRMLNodeComboBox says that no node is chosen when it gets its scene."""

OPTIONS: dict[str, tuple[Any, Any]] = {
    "addEnabled": (bool, True),
    "removeEnabled": (bool, True),
    "editEnabled": (bool, False),
    "renameEnabled": (bool, False),
    "noneEnabled": (bool, False),
    "showHidden": (bool, False),
    "showChildNodeTypes": (bool, True),
    "selectNodeUponCreation": (bool, True),
    "baseName": (str, ""),
    "noneDisplay": (str, "None"),
    "interactionNodeSingletonTag": (str, ""),
}


def _option(name: str) -> Any:
    kind, _default = OPTIONS[name]

    def write(self: Any, value: Any) -> None:
        self._options[name] = value
        self._fill()

    return Property(kind, lambda self: self._options[name], write)


def _optionSetter(name: str) -> Any:
    return lambda self, value: setattr(self, name, value)


class _Observing:
    """Observers of a widget, without a reference to it: they end after the widget is deleted."""

    def __init__(self) -> None:
        self.scene: Any = None
        self.tags: list[int] = []

    def stop(self) -> None:
        for tag in self.tags:
            stopObserving(self.scene, tag)
        self.scene, self.tags = None, []


class qMRMLNodeComboBox(QWidget):  # type: ignore[misc, valid-type]
    """Chooses a node of the scene. The current node is a method, its ID a property."""

    standIn = True
    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    nodeAddedByUser = Signal(object)
    nodeAdded = Signal(object)
    signalAliases = {  # noqa: RUF012
        f"{name}(vtkMRMLNode*)": f"{name}(PyObject)" for name in ("currentNodeChanged", "nodeAddedByUser", "nodeAdded")
    }

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._types: list[str] = []
        self._labels: dict[str, str] = {}
        self._attributes: list[tuple[str, str, Any]] = []
        self._options = {name: default for name, (_kind, default) in OPTIONS.items()}
        self._nodeID, self._filling = "", False
        # As C++ does it: the end of the widget is the end of its observing.
        self._observing = _Observing()
        QtCore.QObject.connect(self, QtCore.SIGNAL("destroyed()"), self._observing.stop)
        self._combo = hostClass(QtWidgets.QComboBox)()
        layout = hostClass(QtWidgets.QVBoxLayout)(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        QtCore.QObject.connect(self._combo, QtCore.SIGNAL("currentIndexChanged(int)"), self._picked)

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._observing.stop()
        self._scene = scene
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent, scene.EndCloseEvent)
            self._observing.scene = scene
            self._observing.tags = [observe(scene, event, lambda *_: self._fill()) for event in events]
            for _ in range(REPEATED):
                self.currentNodeChanged.emit(None)
        self._fill()

    def _shown(self, node: Any) -> bool:
        exact = not self._options["showChildNodeTypes"]
        fits = any(node.GetClassName() == t if exact else node.IsA(t) for t in self._types)
        hidden = node.GetHideFromEditors() and not self._options["showHidden"]
        for nodeType, name, value in self._attributes:
            if node.IsA(nodeType) and (node.GetAttribute(name) is None or value not in (None, node.GetAttribute(name))):
                return False
        return fits and not hidden

    def _nodes(self) -> list[Any]:
        if self._scene is None:
            return []
        every = (self._scene.GetNthNode(i) for i in range(self._scene.GetNumberOfNodes()))
        return [node for node in every if self._shown(node)]

    def _fill(self) -> None:
        self._filling = True
        combo, box = self._combo, QtWidgets.QComboBox
        box.clear(combo)
        if self._options["noneEnabled"]:
            box.addItem(combo, self._options["noneDisplay"], "")
        for node in self._nodes():
            box.addItem(combo, node.GetName() or node.GetID(), node.GetID())
        index = box.findData(combo, self._nodeID)
        if index < 0:  # without "None" the first node is taken
            index = 0 if box.count(combo) else -1
        box.setCurrentIndex(combo, index)
        self._filling = False
        self._picked()

    def _picked(self, *_index: int) -> None:
        if self._filling:
            return
        chosen = QtWidgets.QComboBox.currentData(self._combo) or ""
        if chosen != self._nodeID:
            self._nodeID = chosen
            self.currentNodeChanged.emit(self.currentNode())
            self.currentNodeIDChanged.emit(chosen)

    def currentNode(self) -> Any:
        return self._scene.GetNodeByID(self._nodeID) if self._scene is not None and self._nodeID else None

    def setCurrentNode(self, node: Any) -> None:
        self.setCurrentNodeID(node if isinstance(node, str) else node.GetID() if node is not None else "")

    def setCurrentNodeID(self, nodeID: str) -> None:
        index = QtWidgets.QComboBox.findData(self._combo, nodeID or "")
        QtWidgets.QComboBox.setCurrentIndex(self._combo, index)

    def addNode(self, nodeType: str = "") -> Any:
        kind = nodeType or self._types[0]
        node = self._scene.AddNewNodeByClass(kind, self._options["baseName"] or self._scene.GetTagByClassName(kind))
        if self._options["selectNodeUponCreation"]:
            self.setCurrentNode(node)
        self.nodeAdded.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        if self.currentNode() is not None:
            self._scene.RemoveNode(self.currentNode())

    def nodeCount(self) -> int:
        return len(self._nodes())

    def nodeFromIndex(self, index: int) -> Any:
        return self._nodes()[index]

    def addAttribute(self, nodeType: str, name: str, value: Any = None) -> None:
        self._attributes.append((nodeType, name, value))
        self._fill()

    def setNodeTypeLabel(self, label: str, nodeType: str) -> None:
        self._labels[nodeType] = label

    def nodeTypeLabel(self, nodeType: str) -> str:
        return self._labels.get(nodeType, nodeType)

    def setNodeTypes(self, nodeTypes: Any) -> None:
        self._types = list(nodeTypes)
        self._fill()

    currentNodeID = Property(str, lambda self: self._nodeID, setCurrentNodeID)
    nodeTypes = Property("QStringList", lambda self: self._types, setNodeTypes)
    addEnabled, removeEnabled = _option("addEnabled"), _option("removeEnabled")
    editEnabled, renameEnabled = _option("editEnabled"), _option("renameEnabled")
    noneEnabled, showHidden = _option("noneEnabled"), _option("showHidden")
    showChildNodeTypes, baseName = _option("showChildNodeTypes"), _option("baseName")
    noneDisplay, selectNodeUponCreation = _option("noneDisplay"), _option("selectNodeUponCreation")
    interactionNodeSingletonTag = _option("interactionNodeSingletonTag")
    setAddEnabled, setRemoveEnabled = _optionSetter("addEnabled"), _optionSetter("removeEnabled")
    setNoneEnabled, setRenameEnabled = _optionSetter("noneEnabled"), _optionSetter("renameEnabled")
    setEditEnabled, setShowHidden = _optionSetter("editEnabled"), _optionSetter("showHidden")
    setBaseName, setNoneDisplay = _optionSetter("baseName"), _optionSetter("noneDisplay")
    setShowChildNodeTypes = _optionSetter("showChildNodeTypes")


CLASSES: dict[str, type] = {
    cls.__name__: cls for cls in (qMRMLWidget, qSlicerWidget, qMRMLNodeComboBox, qMRMLSliderWidget)
}
customWidgets.update(CLASSES)
