"""Deliberate faults of the program, one for each layer: a torture must catch each of them.

They live in the test tree alone. :func:`install` patches a class of the library when its module is imported, in the
child processes through hook/sitecustomize.py, and in this process directly.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NamedTuple

LIBRARY = "RealTimeImagingLib"


class Fault(NamedTuple):
    """A deliberate fault.

    :param module: of the library, without its name. ``patch`` gets it.
    :param kind: source whose round shows the fault.
    :param caught: part of what the ledger then says.
    :param inSlicer: whether it is a fault of Slicer's process.
    """

    module: str
    patch: Callable[[ModuleType], None]
    kind: str
    caught: str
    inSlicer: bool = False


def _dropAnswer(module: Any) -> None:
    answer, counted = module.Exchange.answer, [0]

    def dropping(self: Any, *values: Any) -> None:
        counted[0] += 1
        if counted[0] != 3:
            answer(self, *values)

    module.Exchange.answer = dropping


def _swallowEvent(module: Any) -> None:
    event = module.FrameSender.event

    def swallowing(self: Any, event_: Any, counts: Any) -> None:
        if event_.level == "info":
            event(self, event_, counts)

    module.FrameSender.event = swallowing


def _indexFirst(module: Any) -> None:
    def append(self: Any, pixels: Any, line: Any) -> None:
        text = line.toBytes()
        os.write(self._handles[1], text)
        time.sleep(0.05)
        os.write(self._handles[0], pixels.data)
        self._sizes = [self._sizes[0] + pixels.nbytes, self._sizes[1] + len(text)]
        self.count += 1
        self.firstNumber, self.lastNumber = max(self.firstNumber, 0), line.number
        self.span = (self.span[0] if self._times else line.time, line.time)
        self._times.append(line.time)
        self._lines.append(text)

    module.GrowingPart.append = append


def _leakSlot(module: Any) -> None:
    module.RingWriter.release = lambda self, generation, slot: None


def _keepSlot(module: Any) -> None:
    release, counted = module._Waiting.release, [0]

    def keeping(self: Any) -> None:
        counted[0] += 1
        if counted[0] < 3:
            release(self)

    module._Waiting.release = keeping


def _repeatNumber(module: Any) -> None:
    accept, images = module.Checkpoint.accept, [0]

    def repeating(self: Any, stream: str, stored: bool | None = None) -> int:
        images[0] += 1
        number = int(accept(self, stream, stored))
        if images[0] == 3:
            self.numbers[stream] = number
        return number

    module.Checkpoint.accept = repeating


def _changePixel(module: Any) -> None:
    append, counted = module.Recorder.append, [0]

    def changing(self: Any, frame: Any) -> bool:
        counted[0] += 1
        if counted[0] == 3:
            pixels = frame.pixels.copy()
            pixels.flat[-1] += 1
            frame = module.replace(frame, pixels=pixels)
        return bool(append(self, frame))

    module.Recorder.append = changing


def _skipFile(module: Any) -> None:
    deliver, counted = module.FolderSource._deliver, [0]

    def skipping(self: Any, file: Any, complete: Any) -> Any:
        counted[0] += 1
        if counted[0] != 3:
            yield from deliver(self, file, complete)
        else:
            self._checkpoint.finish(file.path, complete.stamp)
            self._forget(file.path)

    module.FolderSource._deliver = skipping


def _leakDescriptor(module: Any) -> None:
    launch = module.AcquisitionProcess._launch

    def leaking(self: Any) -> None:
        os.open(os.devnull, os.O_RDONLY)
        launch(self)

    module.AcquisitionProcess._launch = leaking


def _keepLock(module: Any) -> None:
    release = module.Lock.release

    def keeping(self: Any, remove: bool) -> None:
        release(self, remove=False)

    module.Lock.release = keeping


FAULTS: dict[str, Fault] = {
    "dropped-answer": Fault("Sources.HTTP.Server", _dropAnswer, "http", "has no answer"),
    "skipped-file": Fault("Sources.Folder.Source", _skipFile, "folder", "is neither stored nor counted as failed"),
    "swallowed-event": Fault("Worker.Frames", _swallowEvent, "folder", "no event names"),
    "repeated-number": Fault("Sources.Checkpoint", _repeatNumber, "folder", "twice"),
    "index-first": Fault("Recording.Recorder", _indexFirst, "folder", "index lines before their pixels"),
    "changed-pixel": Fault("Recording.Recorder", _changePixel, "folder", "are not as they were sent"),
    "kept-lock": Fault("Recording.Lock", _keepLock, "folder", "left"),
    "leaked-slot": Fault("Link.Ring", _leakSlot, "folder", "was not shown"),
    "kept-slot": Fault("Host.Display", _keepSlot, "folder", "was not shown", inSlicer=True),
    "leaked-descriptor": Fault("Host.AcquisitionProcess", _leakDescriptor, "folder", "are still open", inSlicer=True),
}
"""Deliberate faults by name."""


class _Patching(importlib.abc.MetaPathFinder):
    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != f"{LIBRARY}.{self._fault.module}":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def patching(module: ModuleType) -> None:
                execute(module)
                self._fault.patch(module)

            spec.loader.exec_module = patching  # type: ignore[method-assign]
        return spec


def install(name: str) -> None:
    """Patch the class of a deliberate fault as soon as its module is imported."""
    fault = FAULTS[name]
    if not fault.inSlicer:
        sys.meta_path.insert(0, _Patching(fault))


@contextmanager
def inSlicer(name: str) -> Iterator[None]:
    """Patch a class of this process, for a fault of Slicer's side; do nothing for the others."""
    fault = FAULTS[name]
    if not fault.inSlicer:
        yield
        return
    module = importlib.import_module(f"{LIBRARY}.{fault.module}")
    classes = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]
    before = [(one, dict(vars(one))) for one in classes]
    fault.patch(module)
    try:
        yield
    finally:
        for one, values in before:
            for attribute, value in values.items():
                if vars(one).get(attribute) is not value:
                    setattr(one, attribute, value)
