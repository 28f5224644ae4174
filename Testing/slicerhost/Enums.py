"""Qt's enumerations as numbers, as in PythonQt."""

import enum
from typing import Any


class EnumValue(int):
    """A number that remembers the enumeration member it stands for, so that PySide6 takes it back."""

    member: enum.Enum

    def __new__(cls, member: enum.Enum) -> "EnumValue":
        self = super().__new__(cls, member.value)
        self.member = member
        return self

    def _combined(self, other: Any, number: int) -> int:
        """A combination of flags stays one; anything else becomes a plain number."""
        if isinstance(self.member, enum.Flag) and isinstance(other, int):
            return EnumValue(type(self.member)(number))
        return number

    def __or__(self, other: Any) -> int:
        return self._combined(other, int(self) | int(other))

    def __and__(self, other: Any) -> int:
        return self._combined(other, int(self) & int(other))

    def __xor__(self, other: Any) -> int:
        return self._combined(other, int(self) ^ int(other))

    __ror__ = __or__
    __rand__ = __and__

    def __invert__(self) -> int:
        return EnumValue(~self.member) if isinstance(self.member, enum.Flag) else ~int(self)


class EnumType:
    """The enumeration itself, as in `qt.QFrame.Shape`: it makes a value of a number and has no members."""

    def __init__(self, native: type[enum.Enum]) -> None:
        self._native = native
        self.__name__ = native.__name__

    def __call__(self, number: int) -> EnumValue:
        return EnumValue(self._native(int(number)))


def fromNative(value: Any) -> Any:
    """Return PythonQt's form of an enumeration member or class; other values unchanged."""
    if isinstance(value, enum.Enum) and isinstance(value.value, int):
        return EnumValue(value)
    if isinstance(value, enum.EnumMeta):
        return EnumType(value)
    return value


def toNative(value: Any) -> Any:
    """The member behind an EnumValue; other values unchanged."""
    if isinstance(value, EnumValue):
        return value.member
    if isinstance(value, tuple):
        return tuple(toNative(item) for item in value)
    if isinstance(value, list):
        return [toNative(item) for item in value]
    return value


def withEnumsForNumbers(function: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The arguments with plain numbers turned into the enumerations that the signature asks for.

    PythonQt takes a number wherever C++ takes an enumeration; PySide6 does not. None: no signature fits.
    """
    from shibokensupport.signature import get_signature

    owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    for base in type(owner).__mro__:  # a bound method has no signature, the class's has
        if not isinstance(owner, type) and name in base.__dict__ and base.__module__.startswith("PySide6"):
            function = base.__dict__[name]
            break
    signatures = get_signature(function)
    for signature in signatures if isinstance(signatures, list) else [signatures]:
        if signature is None:
            continue
        wanted = [p.annotation for p in signature.parameters.values() if p.name != "self"]
        if len(wanted) < len(arguments):
            continue
        changed = False
        converted: list[Any] = []
        for value, annotation in zip(arguments, wanted, strict=False):
            if isinstance(annotation, enum.EnumMeta) and type(value) is int:
                value, changed = annotation(value), True
            converted.append(value)
        if changed:
            return tuple(converted)
    return None
