"""VTK observers of the host itself, told apart from those of the module under test."""

from collections.abc import Callable
from typing import Any

_own: set[tuple[str, int]] = set()


def observe(vtkObject: Any, event: Any, callback: Callable[..., None], priority: float = 0.0) -> int:
    """AddObserver for the host's own use; such observers are not leftovers."""
    tag = int(vtkObject.AddObserver(event, callback, priority))
    _own.add((vtkObject.GetAddressAsString(""), tag))
    return tag


def stopObserving(vtkObject: Any, tag: int) -> None:
    vtkObject.RemoveObserver(tag)
    _own.discard((vtkObject.GetAddressAsString(""), tag))


def pythonObservers(vtkObject: Any) -> list[int]:
    """Tags of the Python callables that observe an object, but for the host's own."""
    # Tags count up from 1; a new observer tells how far they have come.
    last = vtkObject.AddObserver("UserEvent", lambda *_: None)
    vtkObject.RemoveObserver(last)
    address = vtkObject.GetAddressAsString("")
    found = []
    for tag in range(1, last):
        command = vtkObject.GetCommand(tag)
        if command is not None and command.GetClassName() == "vtkPythonCommand" and (address, tag) not in _own:
            found.append(tag)
    return found
