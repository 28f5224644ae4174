"""Objects that are still alive after a module should have released everything."""

import os
import sys
import threading
import types
import uuid
from typing import Any

import shiboken6
import slicer
from PySide6 import QtCore, QtNetwork

from . import QtModule, Signals
from .Observers import pythonObservers
from .PythonQt import made

MARK = "SLICERHOST_SESSION"  # inherited by child processes, so that orphans are found too

RESOURCE_TRACKER = "from multiprocessing.resource_tracker import"
"""Python's own: the first process pool starts it, and it lives as long as this process."""

_threads: set[int] = set()
_processes: set[int] = set()
_observers: set[tuple[str, int]] = set()


def markBaseline() -> None:
    """Assign all living objects to the host."""
    os.environ.setdefault(MARK, uuid.uuid4().hex)
    _threads.clear()
    _threads.update(thread.ident or 0 for thread in threading.enumerate())
    _processes.clear()
    _processes.update(_ownProcesses())
    _observers.clear()
    _observers.update((node.GetAddressAsString(""), tag) for node in _observed() for tag in pythonObservers(node))


def leftovers() -> list[str]:
    """One plain sentence for each thing that is still alive; empty when there is none."""
    return [*_qtObjects(), *_singleShots(), *_runningThreads(), *_children(), *_sceneObservers(), *_connections()]


def _where(qObject: Any) -> str:
    """The Python callables that an object's signals hold, to find it in the source."""
    names = [_name(c.receiver) for c in Signals.connections.get(Signals.address(qObject), ())]
    return f", connected to {', '.join(names)}" if names else ""


def _name(function: Any) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', repr(function))}"


def _qtObjects() -> list[str]:
    found = []
    for item in list(made):
        if not shiboken6.isValid(item):
            continue
        if isinstance(item, QtCore.QTimer) and QtCore.QTimer.isActive(item):
            found.append(f"A QTimer of {QtCore.QTimer.interval(item)} ms is active{_where(item)}.")
        elif isinstance(item, QtCore.QFileSystemWatcher):
            watched = [*QtCore.QFileSystemWatcher.directories(item), *QtCore.QFileSystemWatcher.files(item)]
            if watched:
                found.append(f"A QFileSystemWatcher watches {', '.join(watched)}{_where(item)}.")
        elif isinstance(item, QtCore.QProcess) and QtCore.QProcess.state(item).value != 0:
            program = QtCore.QProcess.program(item)
            found.append(f"QProcess {QtCore.QProcess.processId(item)} ({program}) is running{_where(item)}.")
        elif isinstance(item, QtCore.QSocketNotifier) and QtCore.QSocketNotifier.isEnabled(item):
            found.append(f"A QSocketNotifier is enabled{_where(item)}.")
        elif isinstance(item, QtNetwork.QTcpServer) and QtNetwork.QTcpServer.isListening(item):
            found.append(f"A QTcpServer listens on port {QtNetwork.QTcpServer.serverPort(item)}{_where(item)}.")
    return found


def _singleShots() -> list[str]:
    return [f"QTimer.singleShot to {_name(function)} is pending." for _timer, function in QtModule.pendingSingleShots]


def _runningThreads() -> list[str]:
    alive = [t for t in threading.enumerate() if t is not threading.main_thread() and t.ident not in _threads]
    return [f"Python thread '{thread.name}' is running." for thread in alive]


def _ownProcesses() -> dict[int, str]:
    """Our child processes and their orphans that are running, with their command lines; Linux only."""
    if not sys.platform.startswith("linux"):
        return {}
    mark, found = f"{MARK}={os.environ.get(MARK)}".encode(), {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
            with open(f"/proc/{entry}/cmdline", encoding="utf-8", errors="replace") as file:
                command = file.read().replace("\0", " ").strip()
            ours = int(parent) == os.getpid()
            if not ours:
                with open(f"/proc/{entry}/environ", "rb") as raw:
                    ours = mark in raw.read().split(b"\0")
        except OSError:  # ended meanwhile, or another user's
            continue
        if ours and state not in "ZX":
            found[int(entry)] = command
    return found


def _children() -> list[str]:
    return [
        f"Process {pid} is running: {text}."
        for pid, text in _ownProcesses().items()
        if pid not in _processes and RESOURCE_TRACKER not in text
    ]


def _observed() -> list[Any]:
    scene = slicer.mrmlScene
    return [scene, *(scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes()))]


def _sceneObservers() -> list[str]:
    found = []
    for item in _observed():
        address = item.GetAddressAsString("")
        tags = [tag for tag in pythonObservers(item) if (address, tag) not in _observers]
        if not tags:
            continue
        events = _events(item)
        name = "slicer.mrmlScene" if item is slicer.mrmlScene else f"{item.GetClassName()} '{item.GetName()}'"
        found += [f"A Python function observes {events.get(tag, 'an event')} of {name}." for tag in tags]
    return found


def _events(item: Any) -> dict[int, str]:
    """Observer tag -> event name, from the text VTK prints of an object."""
    own = {getattr(type(item), n): n for n in dir(type(item)) if n.endswith("Event")}
    events: dict[int, str] = {}
    number, name = 0, ""
    for line in str(item).splitlines():
        key, _, value = line.strip().partition(": ")
        if key == "Event":
            number = int(value)
        elif key == "EventName":
            name = value
        elif key == "Tag" and value.isdigit():
            events.setdefault(int(value), own.get(number, name) if name == "NoEvent" else name)
    return events


def _connections() -> list[str]:
    """Connections to objects that live as long as the application, but for the module base class's own."""
    found = []
    for known in Signals.connections.values():
        for connection in known:
            ofBase = getattr(connection.receiver, "__name__", "") == "_onModuleAboutToBeUnloaded"
            if connection.senderObject is not None and not ofBase and _isOfUser(connection.receiver):
                found.append(f"{connection.sender}.{connection.signal} is connected to {_name(connection.receiver)}.")
    return found


def _isOfUser(function: Any) -> bool:
    owner = function.__self__ if isinstance(function, types.MethodType) else function
    module = getattr(owner, "__module__", None) or type(owner).__module__
    return not str(module).startswith("slicerhost")
