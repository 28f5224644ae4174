"""Faults that are made for real, and what the acquisition process says about them.

A row of a table is a generator: it makes the fault, yields what the program must say, and then mends the fault.
"""

from __future__ import annotations

import socket
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from RealTimeImagingLib.Model.Event import Remedy
from RealTimeImagingLib.Model.Text import Text
from unit.conftest import PROGRAM, Acquisition
from unit.openIGTLinkSource import freePort

OTHER_USER = 65534
LATEST = 10.0
"""Most seconds until a sentence must be there. The program takes about 4 s at most, and a busy computer longer."""


@dataclass(frozen=True)
class Says:
    """What the program must say.

    :param status: parts of the status until the fault is mended; empty when only an event tells it.
    :param remedy: label and settings of the offer that must come with it; None for none.
    :param code: code of the event that must tell it; empty for none.
    :param told: parts of this event.
    :param most: most events with this code.
    :param template: False for an event whose sentence is not translated.
    """

    status: tuple[str, ...] = ()
    remedy: tuple[str, dict] | None = None
    code: str = ""
    told: tuple[str, ...] = ()
    most: int = 1
    template: bool = True

    @property
    def offer(self):
        """The offer."""
        return Remedy(*self.remedy) if self.remedy else None


class World:
    """Processes and sockets of a test; all end with it."""

    def __init__(self):
        self.port = freePort()
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.folder.chmod(0o755)
        self.settings = self.process = None
        self._starts = 0

    def start(self, settings, program=PROGRAM):
        """Start the acquisition process; return when it is ready."""
        if self.process:
            self.process.close()
        self._starts += 1
        work = self.folder / f"work{self._starts}"
        work.mkdir()
        work.chmod(0o777)
        self.settings = settings
        self.process = Acquisition(settings, [work], "process1", program)
        self.process.listen().untilReady()

    @property
    def ordinary(self):
        """Program of a process that is subject to permissions, even when root starts it."""
        path = self.folder / "program.py"
        path.write_text(f"""
import os, sys
sys.path[0] = {str(PROGRAM.parents[2])!r}
# Another user may not be able to read the modules of Python.
import cv2, encodings.idna, grp, pydicom.pixels, pynetdicom.dsutils
import RealTimeImagingLib.Sources.Camera.Source, RealTimeImagingLib.Sources.DICOM.Source
from RealTimeImagingLib.Worker.Worker import main

if os.geteuid() == 0:
    os.seteuid({OTHER_USER})
code = main()
sys.stdout.flush()
os._exit(code)
""")
        return path

    def restart(self, **changes):
        """Start again with the settings of the offer, as the panel does, or with others."""
        self.start(replace(self.settings, **(changes or self.status[1].settings)))

    def connect(self, host="127.0.0.1", port=None):
        """Return a socket that is connected to the process."""
        self.until(lambda: "listening" in self.process.codes)
        return self.stack.enter_context(closing(socket.create_connection((host, port or self.port), 5)))

    def serve(self):
        """Return a listening socket on the port."""
        return self.stack.enter_context(closing(socket.create_server(("127.0.0.1", self.port))))

    @property
    def status(self):
        """The current status and its remedy."""
        reports = [line for line in self.process.lines if "status" in line]
        if not reports:
            return "", None
        remedy = reports[-1].get("remedy")
        return reports[-1]["status"], Remedy(**remedy) if remedy else None

    def told(self, code):
        """Return the events with a code."""
        return [event for event in self.process.of("event") if event["code"] == code]

    def until(self, condition, seconds=LATEST):
        """Take lines until it holds."""
        end = time.monotonic() + seconds
        while not condition():
            events = [event["text"] for event in self.process.of("event")]
            assert time.monotonic() < end, f"it did not come to be: {self.status} {events}"
            self.process.wait(0.05)

    def untilImage(self):
        """Wait for an image."""
        self.until(lambda: self.process.received)

    def close(self):
        """End everything."""
        if self.process:
            self.process.close()
        self.stack.close()


def explain(fault):
    """Make a fault, check what the program says, and mend it; the sentence is written to standard output."""
    with closing(World()) as world:
        _explain(fault(world), world)


def _explain(steps, world):
    says = next(steps)
    begin, event = time.monotonic(), None
    if says.code:
        world.until(lambda: world.told(says.code))
        event = world.told(says.code)[0]
        assert isinstance(event["text"], Text) or not says.template
        assert [part for part in says.told if part not in event["text"]] == [], event["text"]
        assert "remedy" not in event or Remedy(**event["remedy"]) == says.offer, event
    if says.status:
        world.until(lambda: contains(world.status[0], says.status))
        assert isinstance(world.status[0], Text)
        assert world.status[1] == says.offer, world.status
    seconds, sentence = time.monotonic() - begin, world.status[0] if says.status else event["text"]
    sys.stdout.write(f"{seconds:.1f} s | {sentence} | {says.remedy}\n")
    assert next(steps, None) is None
    world.until(lambda: not says.status or not contains(world.status[0], says.status))
    assert not says.code or len(world.told(says.code)) <= says.most


def contains(text, parts):
    """Return True when the text has all parts."""
    return all(part in text for part in parts)
