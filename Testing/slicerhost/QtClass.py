"""Classes of the module `qt`, such as `qt.QWidget`.

It makes objects, can be subclassed, and gives the class's enumerations and static methods by PythonQt's rules.
PythonQt's classes are flat: isinstance and issubclass know nothing of C++'s base classes, only `inherits` does.
"""

import types
from typing import Any

from . import Enums, Names, PythonQt

_OF_THE_CLASS = ("__init__", "__name__", "__doc__", "__mro__", "__module__")


class QtClass:
    """A class of `qt`."""

    def __init__(self, native: type) -> None:
        self._native, self._host = native, PythonQt.hostClass(native)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._host(*arguments, **keywords)

    def __instancecheck__(self, instance: Any) -> bool:
        return PythonQt.wrappedClass(type(PythonQt.nativeObject(instance))) is self._native

    def __subclasscheck__(self, subclass: Any) -> bool:
        return (subclass._native if isinstance(subclass, QtClass) else PythonQt.wrappedClass(subclass)) is self._native

    def __mro_entries__(self, _bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (self._host,)

    def __getattribute__(self, name: str) -> Any:
        if name in _OF_THE_CLASS:
            return getattr(object.__getattribute__(self, "_host"), name)
        return object.__getattribute__(self, name)

    def __getattr__(self, name: str) -> Any:
        if name in Names.refusedNames(self._native):
            raise AttributeError(f"{self.__name__} has no attribute '{name}' on both Qt 5.15 and Qt 6 in PythonQt")
        replacement = Names.replaced(Names.replacedStatics, self._native, name)
        if replacement is not None:
            return replacement
        value = getattr(self._native, name)
        if isinstance(value, types.BuiltinFunctionType) or type(value).__name__ == "method_descriptor":
            return PythonQt.QtSlot(value)
        return Enums.fromNative(value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ("_native", "_host"):
            raise AttributeError(f"'{name}' can not be set on the class {self.__name__}")
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"<class 'qt.{self.__name__}'>"
