"""qt.QUiLoader: builds a .ui file from host classes and refuses unknown elements.

PySide6's own loader is not used: it drops references to the widgets that Python makes for it, and a second panel then
crashes.
"""

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from PySide6 import QtCore, QtWidgets

from . import Signals
from .PythonQt import adopt, hostClass

# Class name in a .ui file -> host class; filled by the files that define ctk and qMRML widgets.
customWidgets: dict[str, type] = {}

_LAYOUTS = ("QVBoxLayout", "QHBoxLayout", "QFormLayout", "QGridLayout")
_MARGINS = ("leftMargin", "topMargin", "rightMargin", "bottomMargin")
_ITEM_HOLDERS = (QtWidgets.QComboBox, QtWidgets.QListWidget)


class QUiLoader:
    """Loads a .ui file and makes its <connections>."""

    def load(self, device: QtCore.QIODevice, parent: Any = None) -> Any:
        """The file's top widget; raises RuntimeError for anything this host does not build."""
        tree = ElementTree.fromstring(bytes(QtCore.QIODevice.readAll(device).data()))
        named: dict[str, Any] = {}
        top = _widget(_only(tree, "widget"), parent, named)
        for connection in tree.iterfind("connections/connection"):
            sender = named[connection.findtext("sender") or ""]
            receiver = named[connection.findtext("receiver") or ""]
            slot = (connection.findtext("slot") or "").split("(")[0]
            Signals.connect(sender, connection.findtext("signal") or "", getattr(receiver, slot), adopt)
        return top


def _only(element: ElementTree.Element, name: str) -> ElementTree.Element:
    found = element.find(name)
    if found is None:
        raise RuntimeError(f"the .ui file has no <{name}>")
    return found


def _class(name: str) -> type:
    cls = customWidgets.get(name)
    if cls is None:
        native = getattr(QtWidgets, name, None)
        if native is None:
            # Slicer prints "unable to create a custom widget" and goes on with a plain one.
            raise RuntimeError(f"this host has no widget class {name} (in the .ui file)")
        cls = hostClass(native)
    return cls


def _widget(element: ElementTree.Element, parent: Any, named: dict[str, Any]) -> Any:
    cls = _class(element.get("class", ""))
    made = cls(parent) if parent is not None else cls()
    name = element.get("name", "")
    QtCore.QObject.setObjectName(made, name)
    named[name] = made
    for child in element:
        if child.tag == "property":
            _setProperty(made, child)
        elif child.tag == "layout":
            _fillLayout(_newLayout(child, made), child, made, named)
        elif child.tag == "widget":
            _widget(child, made, named)
        elif child.tag == "item" and isinstance(made, _ITEM_HOLDERS):
            text = child.find("property[@name='text']/string")
            type(made).nativeBase.addItem(made, "" if text is None else _text(text))
        elif child.tag not in ("attribute",):
            raise RuntimeError(f"this host builds no <{child.tag}> in {name} (in the .ui file)")
    return made


def _newLayout(element: ElementTree.Element, parent: Any = None) -> Any:
    name = element.get("class", "")
    if name not in _LAYOUTS:
        raise RuntimeError(f"this host has no layout class {name} (in the .ui file)")
    if name == "QFormLayout" and any(
        wraps.text == "true" for wraps in element.iterfind(".//property[@name='wordWrap']/bool")
    ):
        # Qt 5.15 gives such a label the height of its size hint, and lets the rows above it overlap.
        raise RuntimeError(f"{element.get('name')}: a QFormLayout with a label that wraps; use a QGridLayout")
    cls = hostClass(getattr(QtWidgets, name))
    layout = cls(parent) if parent is not None else cls()
    QtCore.QObject.setObjectName(layout, element.get("name", ""))
    if isinstance(layout, QtWidgets.QGridLayout):
        for column, stretch in enumerate(filter(None, element.get("columnstretch", "").split(","))):
            QtWidgets.QGridLayout.setColumnStretch(layout, column, int(stretch))
    return layout


def _fillLayout(layout: Any, element: ElementTree.Element, parent: Any, named: dict[str, Any]) -> None:
    margins = QtWidgets.QLayout.contentsMargins(layout)
    values, given = [margins.left(), margins.top(), margins.right(), margins.bottom()], False
    for prop in element.iterfind("property"):
        name = prop.get("name", "")
        if name in _MARGINS:
            given = True
            values[_MARGINS.index(name)] = int(prop[0].text or 0)
        else:
            _setProperty(layout, prop)
    if given:  # the style's margins depend on whether the widget is a window, which may change
        QtWidgets.QLayout.setContentsMargins(layout, *values)
    for item in element.iterfind("item"):
        child = next(iter(item))
        if child.tag == "widget":
            _place(layout, item, "Widget", _widget(child, parent, named))
        elif child.tag == "layout":
            inner = _newLayout(child)
            _place(layout, item, "Layout", inner)
            _fillLayout(inner, child, parent, named)
        elif child.tag == "spacer":
            _place(layout, item, "Item", _spacer(child))
        else:
            raise RuntimeError(f"this host builds no <{child.tag}> in a layout (in the .ui file)")


def _place(layout: Any, item: ElementTree.Element, kind: str, child: Any) -> None:
    row, column = int(item.get("row", -1)), int(item.get("column", -1))
    if isinstance(layout, QtWidgets.QFormLayout):
        roles = QtWidgets.QFormLayout.ItemRole
        role = (roles.LabelRole, roles.FieldRole)[column] if item.get("colspan", "1") == "1" else roles.SpanningRole
        getattr(QtWidgets.QFormLayout, f"set{kind}")(layout, row, role, child)
    elif isinstance(layout, QtWidgets.QGridLayout):
        spans = int(item.get("rowspan", 1)), int(item.get("colspan", 1))
        getattr(QtWidgets.QGridLayout, f"add{kind}")(layout, child, row, column, *spans)
    else:
        getattr(QtWidgets.QBoxLayout, f"add{kind}")(layout, child)


def _spacer(element: ElementTree.Element) -> QtWidgets.QSpacerItem:
    size = element.find("property[@name='sizeHint']/size")
    width, height = (int(size.findtext(side) or 0) for side in ("width", "height")) if size is not None else (20, 20)
    upright = (element.findtext("property[@name='orientation']/enum") or "").endswith("Vertical")
    policy = QtWidgets.QSizePolicy.Policy
    across, along = (policy.Minimum, policy.Expanding) if upright else (policy.Expanding, policy.Minimum)
    return QtWidgets.QSpacerItem(width, height, across, along)


def _size(value: ElementTree.Element) -> QtCore.QSize:
    return QtCore.QSize(*(int(value.findtext(side) or 0) for side in ("width", "height")))


def _rect(value: ElementTree.Element) -> QtCore.QRect:
    return QtCore.QRect(*(int(value.findtext(side) or 0) for side in ("x", "y", "width", "height")))


def _sizePolicy(value: ElementTree.Element) -> QtWidgets.QSizePolicy:
    policies = QtWidgets.QSizePolicy.Policy
    made = QtWidgets.QSizePolicy(policies[value.get("hsizetype", "")], policies[value.get("vsizetype", "")])
    made.setHorizontalStretch(int(value.findtext("horstretch") or 0))
    made.setVerticalStretch(int(value.findtext("verstretch") or 0))
    return made


def _text(value: ElementTree.Element) -> str:
    """The text in Slicer's language, unless the file says that it is not to be translated."""
    import slicer

    text = value.text or ""
    return str(slicer.app.translate("", text)) if text and value.get("notr") != "true" else text


_VALUES: dict[str, Callable[[ElementTree.Element], Any]] = {
    "string": _text,
    "cstring": lambda value: value.text or "",
    "bool": lambda value: value.text == "true",
    "number": lambda value: int(value.text or 0),
    "double": lambda value: float(value.text or 0),
    "stringlist": lambda value: [entry.text or "" for entry in value],
    "size": _size,
    "rect": _rect,
    "sizepolicy": _sizePolicy,
}


def _setProperty(target: Any, element: ElementTree.Element) -> None:
    name, value = element.get("name", ""), element[0]
    meta = QtCore.QObject.metaObject(target)
    index = meta.indexOfProperty(name)
    if index < 0 and element.get("stdset") != "0":
        raise RuntimeError(f"{meta.className()} has no property {name} (in the .ui file)")
    if value.tag in ("enum", "set"):
        made = _enumValue(target, meta.property(index), value.text or "")
    elif value.tag in _VALUES:
        made = _VALUES[value.tag](value)
    else:
        raise RuntimeError(f"this host reads no <{value.tag}> of {name} (in the .ui file)")
    if not QtCore.QObject.setProperty(target, name, made) and index >= 0:
        raise RuntimeError(f"{meta.className()}.{name} does not take {value.text!r} (in the .ui file)")


def _enumValue(target: Any, prop: QtCore.QMetaProperty, text: str) -> int:
    keys = [key.split("::")[-1] for key in text.split("|")]
    if not prop.isEnumType():  # a stand-in's plain number
        return sum({int(getattr(type(target), key)) for key in keys})
    found: Any = prop.enumerator().keysToValue("|".join(keys))
    number, known = found if isinstance(found, tuple) else (found, found != -1)
    if not known:
        raise RuntimeError(f"{prop.name()} has no value {text} (in the .ui file)")
    return int(number)
