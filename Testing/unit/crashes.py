"""A process that kills itself, as kill -9 does, at a chosen step of recording or repairing: at one of the calls that
change a file.

Each line of its input is [what, folder, step, after]: in a process of its own it records (frames of :func:`scene`, or
messages of :func:`words`) or repairs, and dies before that step, or after it; of a write half is done then. It writes
"stored N" for each frame or message that was acknowledged, then "end died" or "end lived".
"""

from __future__ import annotations

import builtins
import contextlib
import io
import json
import os
import signal
import sys

import numpy as np
from RealTimeImagingLib.Recording import MessageRecorder, Recorder, repair
from unit.recordings import OBLIQUE, RIGHT_HANDED, deviceMessage, frame

REAL_OPEN, REAL_WRITE = open, os.write


def scene():
    """Make frames of two parts; the second part moves."""
    still = [frame(number, matrix=RIGHT_HANDED) for number in range(3)]
    return still + [frame(number, (1, 40, 50), matrix=OBLIQUE + np.eye(4, k=3) * number) for number in range(3, 6)]


def words():
    """Make messages of two moving devices and of a device that sends a text."""
    moving = [deviceMessage(number, "transform", ("Probe", "Needle")[number % 2]) for number in range(5)]
    return [*moving, deviceMessage(5, "text", "Notes", text="Größe")]


class Death:
    """Kills the process at one of the calls that change a file."""

    def __init__(self, step, after):
        self._left, self._after = step, after
        for name in ("open", "replace", "unlink", "truncate", "ftruncate"):
            setattr(os, name, self._dying(getattr(os, name)))
        os.write = self._write
        builtins.open = self._open

    def _comes(self):
        self._left -= 1
        return self._left == -1

    def _dying(self, call):
        def dying(*values):
            if call.__name__ == "open" and not values[1] & os.O_CREAT:
                return call(*values)
            if not self._comes():
                return call(*values)
            if self._after:
                with contextlib.suppress(OSError):
                    call(*values)
            return die()

        return dying

    def _write(self, handle, data, write=REAL_WRITE):
        if self._comes():
            if self._after:
                write(handle, memoryview(data).cast("B")[: memoryview(data).nbytes // 2])
            die()
        return write(handle, data)

    def _open(self, path, mode="r", buffering=-1, **values):
        if "w" not in mode:
            return REAL_OPEN(path, mode, buffering, **values)
        file = io.FileIO(path, "w")
        write = file.write
        file.write = lambda data: self._write(None, data, lambda _, part: write(part))
        return file


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def record(folder):
    recorder = Recorder(folder, "Test", "Scan", {"Key": "value"})
    for each in scene():
        if recorder.append(each):
            REAL_WRITE(1, b"stored %d\n" % each.number)
    recorder.finish()


def messages(folder):
    recorder = MessageRecorder(folder, "Test", {"Key": "value"})
    for number, each in enumerate(words()):
        if recorder.append(each):
            REAL_WRITE(1, b"stored %d\n" % number)
    recorder.finish()


def main():
    for line in sys.stdin:
        what, folder, step, after = json.loads(line)
        child = os.fork()
        if child == 0:
            Death(step, after)
            {"record": record, "messages": messages, "repair": repair}[what](folder)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status in (0, signal.SIGKILL), status
        REAL_WRITE(1, b"end %s\n" % (b"died" if status else b"lived"))


if __name__ == "__main__":
    main()
