"""How late a timer of Slicer's event loop is while images arrive, beside other ways to receive them in Slicer."""

from __future__ import annotations

import gzip
import os
import queue
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import slicerhost
from RealTimeImagingLib import FolderSettings, OpenIGTLinkSettings
from RealTimeImagingLib.OpenIGTLink import ImageMessage, pack

from .Common import end, freePort, lateness, scanner, startedModule, stop, ticking, writeImage
from .Rows import OURS, Found, Row, missing

TITLE = "Lateness of a 10 ms timer in Slicer's event loop"
ABOUT = """
Floor: the same timer while nothing runs. Each way receives the same images and puts the newest one into a volume; no
view shows it. Peers receive in a Python thread of Slicer and hand the newest image to a timer of 5 ms: pyigtl's client;
a thread that reads the socket with `recv_into`; a thread that reads the files with gzip. "Shown" counts images a
second in the volume, where the floor is the rate of the sender.
"""

SECONDS, ROUNDS = 4.0, 3
RGB = (1080, 1920, 3)
VOLUME = (256, 256, 256)
HAND_OVER = 5
"""Milliseconds of the timer that takes the newest image from a thread."""

SENDER = """
import socket, sys, threading, time
port, fps, path = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
with open(path, "rb") as file:
    data = file.read()
threading.Thread(target=lambda: sys.stdin.read() or __import__("os")._exit(0), daemon=True).start()
door = socket.create_server(("127.0.0.1", port))
print(flush=True)
while True:
    peer, _ = door.accept()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    due = time.monotonic()
    try:
        while True:
            peer.sendall(data)
            due = max(due + 1 / fps, time.monotonic())
            time.sleep(max(0, due - time.monotonic()))
    except OSError:
        pass
"""
WRITER = """
import os, sys, time
source, folder, fps = sys.argv[1], sys.argv[2], float(sys.argv[3])
with open(source, "rb") as file:
    data = file.read()
number, due = 0, time.monotonic()
while True:
    part, path = os.path.join(folder, ".part"), os.path.join(folder, f"f{number:05d}.nii.gz")
    with open(part, "wb") as file:
        file.write(data)
    os.rename(part, path)
    if number >= 8:
        os.unlink(os.path.join(folder, f"f{number - 8:05d}.nii.gz"))
    number += 1
    due += 1 / fps
    time.sleep(max(0, due - time.monotonic()))
"""

Started = Callable[[], Any]
"""Context manager of a way; it yields a function that returns how many images are in the volume by now."""


def measure() -> Found:
    """Measure median and 99th percentile of the lateness in milliseconds, and images shown."""
    slicerhost.boot()
    rows: list[Row] = []
    absent = {"pyigtl": why} if (why := missing("pyigtl")) else {}
    with tempfile.TemporaryDirectory() as folder, startedModule() as logic:
        logic.setShowIn("none")
        path, port = os.path.join(folder, "image.igtl"), freePort()
        pixels = np.random.default_rng(0).integers(0, 255, (1, *RGB), np.uint8)
        with open(path, "wb") as file:
            file.write(pack(ImageMessage(pixels, device_name="Live")))
        sender = scanner(SENDER, port, 60, path)
        sender.stdout.readline()
        ways: dict[str, Started] = {OURS: lambda: _ours(logic, OpenIGTLinkSettings(port=port))}
        if not absent:
            ways["pyigtl in a thread"] = lambda: _thread(lambda *to: _pyigtl(port, *to), RGB)
        ways["socket in a thread"] = lambda: _thread(lambda *to: _socket(port, *to), RGB)
        rows += _rows("1080p RGB, 60 images/s", ways, 60.0)
        end(sender)
        source, incoming = os.path.join(folder, "image.nii.gz"), os.path.join(folder, "incoming")
        os.mkdir(incoming)
        _writeVolume(source)
        writer = scanner(WRITER, source, incoming, 5)
        ways = {
            OURS: lambda: _ours(logic, FolderSettings(incoming, existing="ignore")),
            "gzip in a thread": lambda: _thread(lambda *to: _files(incoming, *to), VOLUME),
        }
        rows += _rows("256 x 256 x 256 .nii.gz, 5 images/s", ways, 5.0)
        end(writer)
    return Found(rows, {}, absent)


def _rows(name: str, ways: dict[str, Started], rate: float) -> list[Row]:
    medians: dict[str, list[float]] = {}
    late: dict[str, list[float]] = {}
    shown: dict[str, list[float]] = {"sent": [rate] * ROUNDS}
    for number in range(ROUNDS):
        order = list(ways) if number % 2 else list(reversed(ways))
        _lateness("idle", medians, late)
        for way in order:
            with ways[way]() as count:
                slicerhost.runUntil(lambda count=count: count() > 2, 20)
                before, began = count(), time.perf_counter()
                _lateness(way, medians, late)
                shown.setdefault(way, []).append((count() - before) / (time.perf_counter() - began))
    ordered = ["idle", *ways]
    floor = float(np.median(late["idle"]))
    return [
        Row(f"{name}: median", "ms late", {way: medians[way] for way in ordered}),
        Row(
            f"{name}: 99th percentile",
            "ms late",
            {way: late[way] for way in ordered},
            "at most 10 ms above the floor",
            floor + 10,
            headline=True,
        ),
        Row(f"{name}: shown", "images/s", {way: shown[way] for way in ("sent", *ways)}),
    ]


def _lateness(way: str, medians: dict[str, list[float]], late: dict[str, list[float]]) -> None:
    with lateness() as found:
        slicerhost.runUntil(lambda: False, SECONDS, everyMs=500)
    medians.setdefault(way, []).append(float(np.median(found)))
    late.setdefault(way, []).append(float(np.percentile(found, 99)))


@contextmanager
def _ours(logic: Any, settings: Any) -> Iterator[Callable[[], int]]:
    logic.start(settings)
    yield lambda: int(logic.statistics()["shown"])
    stop(logic)


@contextmanager
def _thread(receive: Callable[..., None], shape: tuple[int, ...]) -> Iterator[Callable[[], int]]:
    """Receive in a thread; a timer copies the newest image into the array of a volume."""
    import slicer

    full = (1, *shape) if shape == RGB else shape
    pixels = np.zeros(full, np.uint8 if shape == RGB else np.int16)
    if shape == RGB:
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "Thread")
        slicer.util.updateVolumeFromArray(node, pixels)
    else:
        node = slicer.util.addVolumeFromArray(pixels, name="Thread")
    voxels = slicer.util.arrayFromVolume(node)
    newest: queue.SimpleQueue[Any] = queue.SimpleQueue()
    over = threading.Event()
    count = 0

    def take() -> None:
        nonlocal count
        image = None
        while not newest.empty():
            image = newest.get()
        if image is not None:
            voxels[:] = image.reshape(full)
            slicer.util.arrayFromVolumeModified(node)
            count += 1

    thread = threading.Thread(target=receive, args=(newest, over), daemon=True)
    thread.start()
    with ticking(take, HAND_OVER):
        yield lambda: count
    over.set()
    thread.join(5)
    slicer.mrmlScene.RemoveNode(node)


def _pyigtl(port: int, newest: Any, over: threading.Event) -> None:
    import pyigtl

    client = pyigtl.OpenIGTLinkClient("127.0.0.1", port)
    while not over.is_set():
        if message := client.wait_for_message("Live", timeout=0.5):
            newest.put(message.image)
    client.stop()


def _socket(port: int, newest: Any, over: threading.Event) -> None:
    with closing(socket.create_connection(("127.0.0.1", port))) as connection:
        connection.settimeout(2)
        head = bytearray(58)
        while not over.is_set():
            _fill(connection, memoryview(head))
            body = np.empty(struct.unpack(">Q", head[42:50])[0], np.uint8)
            _fill(connection, memoryview(body))
            newest.put(body[72:])


def _fill(connection: socket.socket, memory: memoryview) -> None:
    got = 0
    while got < len(memory):
        count = connection.recv_into(memory[got:])
        if not count:
            return
        got += count


def _files(folder: str, newest: Any, over: threading.Event) -> None:
    seen: set[str] = set()
    while not over.is_set():
        names = {name for name in os.listdir(folder) if name.endswith(".gz")}
        for name in sorted(names - seen)[-1:]:
            with gzip.open(os.path.join(folder, name)) as file:
                newest.put(np.frombuffer(file.read(), np.int16, offset=352))
        seen = names
        over.wait(0.02)


def _writeVolume(path: str) -> None:
    ramp = np.add.outer(np.add.outer(np.arange(256), np.arange(256)), np.arange(256))
    writeImage(path, (4 * ramp + np.random.default_rng(0).integers(0, 16, VOLUME)).astype(np.int16))
