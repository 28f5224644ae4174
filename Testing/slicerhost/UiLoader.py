"""qt.QUiLoader: makes host classes and refuses a widget class it does not know."""

from typing import Any
from xml.etree import ElementTree

from PySide6 import QtCore, QtUiTools, QtWidgets

from . import Signals
from .PythonQt import adopt, hostClass

# Class name in a .ui file -> host class; filled by the files that define ctk and qMRML widgets.
customWidgets: dict[str, type] = {}


class _NativeLoader(QtUiTools.QUiLoader):
    def createWidget(self, className: str, parent: Any = None, name: str = "") -> Any:
        cls = customWidgets.get(className)
        if cls is None:
            native = getattr(QtWidgets, className, None)
            if native is None:
                raise RuntimeError(f"this host has no widget class {className} (in the .ui file)")
            cls = hostClass(native)
        widget = cls(parent) if parent is not None else cls()
        QtCore.QObject.setObjectName(widget, name)
        return widget


class QUiLoader:
    """Loads a .ui file and makes its <connections>, also to the host's own widgets."""

    def load(self, device: QtCore.QIODevice, parent: Any = None) -> Any:
        tree = ElementTree.fromstring(bytes(QtCore.QIODevice.readAll(device).data()))
        for used in tree.iter("widget"):
            name = used.get("class", "")
            if name not in customWidgets and not hasattr(QtWidgets, name):
                raise RuntimeError(f"this host has no widget class {name} (in the .ui file)")
        connections = tree.find("connections")
        if connections is not None:
            tree.remove(connections)  # made below: QUiLoader knows no slots of Python classes
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(tree))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        loader = _NativeLoader()
        widget = loader.load(buffer, parent)
        if widget is None:
            raise RuntimeError(f"the .ui file does not load: {loader.errorString()}")
        named = {}
        for child in [widget, *QtCore.QObject.findChildren(widget, QtCore.QObject)]:
            named[QtCore.QObject.objectName(child)] = adopt(child)
        own = object.__getattribute__(widget, "__dict__")
        for name in named:  # PySide6's loader sets widget.<child name>; PythonQt finds children itself
            own.pop(name, None)
        for connection in connections if connections is not None else ():
            self._connect(connection, named)
        return adopt(widget)

    @staticmethod
    def _connect(connection: ElementTree.Element, named: dict[str, Any]) -> None:
        sender = named[connection.findtext("sender") or ""]
        receiver = named[connection.findtext("receiver") or ""]
        slot = (connection.findtext("slot") or "").split("(")[0]
        Signals.connect(sender, connection.findtext("signal") or "", getattr(receiver, slot), adopt)
