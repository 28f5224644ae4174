"""Volumes that are stored over DICOM (C-STORE), slice by slice, beside DCMTK's and pynetdicom's receivers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import slicerhost
from RealTimeImagingLib import DICOMSettings

from .Common import end, freePort, scanner, startedModule, stop, waitFor
from .Rows import OURS, Found, Row, interleaved

TITLE = "Volumes received over DICOM (C-STORE)"
ABOUT = """
One association sends 14 slices of 64 x 64 for each volume, and waits for the answer to each, as C-STORE demands; the
messages are prepared before. Floor: a plain socket at whose other end a process writes the same bytes of each slice to
a new file, waits until file and name are on disk (`fsync`), and answers with a few bytes. Peers: DCMTK's `storescp`
(written in C++) and the `storescp` of pynetdicom, on whose server our receiver is built. Neither peer waits for the
disk, sorts slices into volumes or shows them: after a power failure, acknowledged instances may be missing. Ours
confirms what is on disk. The last row has a folder in memory: there the disk costs nobody anything.
"""

SLICES, SIDE, VOLUMES, ROUNDS = 14, 64, 10, 4

FLOOR = """
import os, socket, sys
folder = sys.argv[1]
door = socket.create_server(("127.0.0.1", 0))
print(door.getsockname()[1], flush=True)
number = 0
handle = os.open(folder, os.O_RDONLY) if os.name == "posix" else None
while True:
    peer, _ = door.accept()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while head := peer.recv(4, socket.MSG_WAITALL):
        data = peer.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
        with open(os.path.join(folder, str(number)), "xb", buffering=0) as file:
            file.write(data)
            os.fsync(file.fileno())
        if handle is not None:
            os.fsync(handle)
        number += 1
        peer.sendall(b"stored")
"""


def measure() -> Found:
    """Measure volumes a second."""
    slicerhost.boot()
    rows, checks = [], {}
    absent = {} if shutil.which("storescp") else {"DCMTK storescp": "not installed (Debian: dcmtk)"}
    # A folder in memory, where there is one.
    places = {"on disk": None} | ({"in memory": "/dev/shm"} if os.path.isdir("/dev/shm") else {})
    for name, place in places.items():
        with tempfile.TemporaryDirectory(dir=place) as folder, startedModule() as logic:
            samples, received = _samples(logic, folder, not absent)
        row = Row(f"{SLICES} slices of {SIDE} x {SIDE}, {name}", "volumes/s", samples, headline=place is None)
        if place is None:
            row.goal, row.limit = "at least 10 volumes/s", 10
        rows.append(row)
        checks[f"each volume is received, {name}"] = received == (ROUNDS + 1) * VOLUMES
    return Found(rows, checks, absent)


def _samples(logic: object, folder: str, dcmtk: bool) -> tuple[dict[str, list[float]], int]:
    folders = {name: os.path.join(folder, name) for name in ("floor", "ours", "dcmtk", "pynetdicom")}
    for one in folders.values():
        os.mkdir(one)
    with ExitStack() as stack:
        floor = scanner(FLOOR, folders["floor"])
        stack.callback(end, floor)
        floorPort = int(floor.stdout.readline())
        source = logic.start(DICOMSettings(port=freePort(), folder=folders["ours"]))
        slicerhost.runUntil(lambda: source.state == "running", 30)
        ports = {"plain socket, fsync": floorPort, OURS: source.settings.port}
        if dcmtk:
            program = [shutil.which("storescp"), "-od", folders["dcmtk"]]
            ports["DCMTK storescp"] = stack.enter_context(_server(program))
        program = [sys.executable, "-m", "pynetdicom", "storescp", "-q", "-od", folders["pynetdicom"]]
        ports["pynetdicom storescp"] = stack.enter_context(_server(program))
        numbers = iter(range(1, 10_000))
        ways: dict[str, Callable[[], float]] = {
            name: lambda port=port, plain=port == floorPort: _rate(port, plain, next(numbers) * VOLUMES)
            for name, port in ports.items()
        }
        samples = interleaved(ways, ROUNDS)
        wanted = (ROUNDS + 1) * VOLUMES
        slicerhost.runUntil(lambda: logic.statistics()["received"] >= wanted, 10)
        received = logic.statistics()["received"]
        stop(logic)
    return samples, received


def _rate(port: int, plain: bool, first: int) -> float:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.CStoreSender", json.dumps([port, plain, first, VOLUMES, SLICES, SIDE])],
        stdout=subprocess.PIPE,
        text=True,
    )
    return VOLUMES / float(waitFor(process))


@contextmanager
def _server(program: list[str]) -> Iterator[int]:
    port = freePort()
    process = subprocess.Popen([*program, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(1.5)
        yield port
    finally:
        process.kill()
        process.wait()
