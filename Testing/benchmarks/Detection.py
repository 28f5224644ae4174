"""From the rename of a file to the image in the acquisition process, in folders of 10 to 50,000 files."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import slicerhost
from RealTimeImagingLib import FolderSettings

from .Common import end, scanner, startedModule, stop, writeImage
from .Rows import OURS, Found, Row, interleaved, missing, timed

TITLE = "From the rename of a file to the decoded image, by number of files in the folder"
ABOUT = """
Floor: one listing of the folder (`os.scandir`), what any program without notices of the system repeats. Peers learn
of the same renames at the same time: a process that waits for the system's notice in C's way (inotify, Linux), and the
packages watchdog and watchfiles with their defaults. Peers see the name; our time ends when the image (16 x 64 x 64,
int16) is decoded. On a network share the system sends no notices: then the last row's cost decides. It is the
processor time of Slicer's main thread, in each second, of watching the folder, beside an empty folder.
"""

SIZES = (10, 1000, 20_000, 50_000)
ROUNDS = 12
SHAPE = (16, 64, 64)
WATCHED = 3.0
"""Seconds in which the main thread's time is measured."""

INOTIFY = """
import ctypes, os, sys, time
system = ctypes.CDLL(None)
handle = system.inotify_init()
system.inotify_add_watch(handle, os.fsencode(sys.argv[1]), 0x80)
print(flush=True)
while True:
    data = os.read(handle, 65536)
    print(time.time(), data[16:].split(b"\\0")[0].decode(), flush=True)
"""
WATCHDOG = """
import sys, time
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer
class Handler(FileSystemEventHandler):
    def note(self, path):
        print(time.time(), path.rpartition("/")[2], flush=True)
    def on_created(self, event):
        self.note(event.src_path)
    def on_moved(self, event):
        self.note(event.dest_path)
observer = Observer()
observer.schedule(Handler(), sys.argv[1])
observer.start()
print(flush=True)
sys.stdin.read()
"""
WATCHFILES = """
import sys, threading, time, watchfiles
threading.Timer(0.5, lambda: print(flush=True)).start()
for changes in watchfiles.watch(sys.argv[1], recursive=False):
    now = time.time()
    for kind, path in changes:
        if kind == watchfiles.Change.added:
            print(now, path.rpartition("/")[2], flush=True)
"""


def measure() -> Found:
    """Measure milliseconds in each folder."""
    slicerhost.boot()
    peers = {"inotify": INOTIFY} if sys.platform == "linux" else {}
    absent = {name: why for name in ("watchdog", "watchfiles") if (why := missing(name))}
    peers |= {name: code for name, code in (("watchdog", WATCHDOG), ("watchfiles", WATCHFILES)) if name not in absent}
    rows, counts = [], []
    watching: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as parent:
        for size in SIZES:
            folder = os.path.join(parent, str(size))
            os.mkdir(folder)
            for number in range(size):
                open(os.path.join(folder, f"old{number}.nii"), "wb").close()
            with startedModule() as logic:
                samples = _detect(logic, parent, folder, peers)
                counts.append(logic.statistics()["received"] == ROUNDS + 1)
                stop(logic)
                if size in (SIZES[0], SIZES[-1]):
                    watching[OURS if size == SIZES[-1] else "10 files"] = _watch(logic, folder)
            rows.append(Row(f"{size:,} files", "ms", samples))
    rows.append(Row(f"watching {SIZES[-1]:,} files, main thread", "ms each second", watching))
    return Found(rows, {"each new file is received once": all(counts)}, absent)


def _detect(logic: Any, parent: str, folder: str, peers: dict[str, str]) -> dict[str, list[float]]:
    content, part = os.path.join(parent, "image.nii"), os.path.join(parent, "part.nii")
    writeImage(content, np.zeros(SHAPE, np.int16))
    with open(content, "rb") as file:
        data = file.read()
    decoded: dict[str, float] = {}
    logic.setShowIn("none")
    logic.addFrameCallback(
        lambda frame: decoded.setdefault(frame.attributes["SourceFile"], frame.stages["decoded"]), every=True
    )
    source = logic.start(FolderSettings(folder, existing="ignore"))
    slicerhost.runUntil(lambda: source.state == "running" and bool(source.status), 60)
    numbers = iter(range(1000))
    others: dict[str, list[float]] = {name: [] for name in peers}
    with ExitStack() as stack:
        lines = {name: stack.enter_context(_noticing(code, folder)) for name, code in peers.items()}

        def ours() -> float:
            name = f"f{next(numbers):05d}.nii"
            with open(part, "wb") as file:
                file.write(data)
            slicerhost.runUntil(lambda: False, 0.1, everyMs=100)
            path = os.path.join(folder, name)
            renamed = time.time()
            os.rename(part, path)
            assert slicerhost.runUntil(lambda: name in decoded, 60, everyMs=50), f"{name} was not detected"
            for peer, found in lines.items():
                moment, _, seen = next(found).strip().partition(" ")
                assert seen == name, (peer, seen, name)
                others[peer].append(1000 * (float(moment) - renamed))
            return 1000 * (decoded[name] - renamed)

        samples = interleaved({"one listing": timed(lambda: sum(1 for _ in os.scandir(folder))), OURS: ours}, ROUNDS)
    return samples | {name: values[1:] for name, values in others.items()}


@contextmanager
def _noticing(code: str, folder: str) -> Iterator[Any]:
    process = scanner(code, folder)
    try:
        process.stdout.readline()  # it watches
        yield process.stdout
    finally:
        end(process)


def _watch(logic: Any, folder: str) -> list[float]:
    source = logic.start(FolderSettings(folder, existing="ignore"))
    slicerhost.runUntil(lambda: source.state == "running" and bool(source.status), 60)
    taken = []
    for _ in range(3):
        started = time.thread_time()
        slicerhost.runUntil(lambda: False, WATCHED / 3, everyMs=int(1000 * WATCHED / 3))
        taken.append(1000 * (time.thread_time() - started) / (WATCHED / 3))
    stop(logic)
    return taken
