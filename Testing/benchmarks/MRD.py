"""Volumes of an MRI scanner over MRD, slice by slice, beside a plain socket and the package ismrmrd."""

from __future__ import annotations

import subprocess
import textwrap
from collections.abc import Callable
from typing import Any

import slicerhost
from RealTimeImagingLib import MRDSettings

from .Common import end, freePort, scanner, startedModule, stop, waitFor
from .Rows import OURS, Found, Row, interleaved, missing

TITLE = "Volumes received over MRD (ISMRMRD) and sent back"
ABOUT = """
Another process sends volumes of 30 slices of 256 x 256 (uint16), slice by slice, without a pause, and reads what comes
back. Floor: a plain socket that reads the same bytes and sends them back. Peer: a process that reads each image with
the package ismrmrd (`Image.deserialize_from`) from a buffered socket and sends it back (`serialize_into`), as the
example servers of the standard do. Ours makes volumes of the slices, and Slicer shows the newest.
"""

SLICES, SIDE = 30, 256
COUNT, ROUNDS = 40, 4
"""Volumes in a sample."""

SENDER = textwrap.dedent("""
    import socket, sys, threading, time
    import numpy as np
    from RealTimeImagingLib.Model.Frame import Image
    from RealTimeImagingLib.Sources.MRD.Protocol import CONFIG_FILE, HEADER, packClose, packText
    from RealTimeImagingLib.Sources.MRD.Sending import headerOf, messagesOf

    port, slices, side, count, plain = map(int, sys.argv[1:6])
    pixels = np.random.default_rng(1).integers(0, 999, (slices, side, side), np.uint16)
    image = Image(pixels, np.diag([-1.0, -1.0, 3.0, 1.0]))
    volumes = [b"".join(b"".join(one.buffers()) for one in messagesOf(image, number, 0, 0.0)) for number in range(4)]
    peer = socket.create_connection(("127.0.0.1", port))
    back = []

    def read():
        while data := peer.recv(1 << 20):
            back.append(len(data))

    reader = threading.Thread(target=read)
    reader.start()
    peer.sendall(packText(CONFIG_FILE, "null") + packText(HEADER, headerOf(image, "Volumes")))
    began = time.monotonic()
    for number in range(count):
        peer.sendall(volumes[number % 4])
    peer.sendall(packClose())
    if plain:  # the other end sees no end in the bytes
        peer.shutdown(socket.SHUT_WR)
    reader.join()
    print(time.monotonic() - began, sum(back) - 2 - count * len(volumes[0]))
""")
PLAIN = """
import socket
import numpy as np
door = socket.create_server(("127.0.0.1", 0))
print(door.getsockname()[1], flush=True)
memory = np.zeros(1 << 20, np.uint8)
while True:
    peer, _ = door.accept()
    while count := peer.recv_into(memory):
        peer.sendall(memory[:count])
    peer.close()
"""
PACKAGE = """
import socket, struct
import ismrmrd
door = socket.create_server(("127.0.0.1", 0))
print(door.getsockname()[1], flush=True)
while True:
    peer, _ = door.accept()
    file = peer.makefile("rwb", 1 << 20)
    def read(count):
        data = file.read(count)
        if len(data) < count:
            raise EOFError
        return data
    while True:
        kind = struct.unpack("<H", read(2))[0]
        if kind == 1022:
            image = ismrmrd.Image.deserialize_from(read)
            file.write(struct.pack("<H", kind))
            image.serialize_into(file.write)
        elif kind == 1:
            read(1024)
        elif kind == 3:
            read(struct.unpack("<I", read(4))[0])
        else:
            file.write(struct.pack("<H", 4))
            break
    file.flush()
    peer.shutdown(socket.SHUT_WR)
    peer.close()
"""


def measure() -> Found:
    """Measure megabytes a second, and whether all volumes arrive and come back."""
    slicerhost.boot()
    absent = {"ismrmrd": why} if (why := missing("ismrmrd")) else {}
    counts: list[int] = []
    lost: list[int] = []
    plain = scanner(PLAIN)
    plainPort = int(plain.stdout.readline())
    ways: dict[str, Callable[[], float]] = {}
    with startedModule() as logic:
        port = freePort()
        source = logic.start(MRDSettings(port=port))
        slicerhost.runUntil(lambda: source.state == "running", 30)

        def ours() -> float:
            before = logic.statistics()["received"]
            rate, difference = _rate(port)
            slicerhost.runUntil(lambda: logic.statistics()["received"] == before + COUNT, 10)
            counts.append(logic.statistics()["received"] - before)
            lost.append(-difference)
            return rate

        ways = {"plain socket": lambda: _rate(plainPort, True)[0], OURS: ours}
        if not absent:
            package = scanner(PACKAGE)
            packagePort = int(package.stdout.readline())
            ways["ismrmrd"] = lambda: _rate(packagePort)[0]
        samples = interleaved(ways, ROUNDS)
        stop(logic)
    end(plain)
    if not absent:
        end(package)
    words = "at least 0.5 x the plain socket"
    row = Row("30 slices of 256 x 256, there and back", "MB/s", samples, words, most=2, headline=True)
    checks = {"every volume is received": set(counts) == {COUNT}, "every image is sent back": set(lost) == {0}}
    return Found([row], checks, absent)


def _rate(port: int, plain: bool = False) -> tuple[float, int]:
    """Return megabytes a second, and how many bytes more than the images came back."""
    process: subprocess.Popen[Any] = scanner(SENDER, port, SLICES, SIDE, COUNT, int(plain))
    seconds, difference = map(float, waitFor(process).split())
    return COUNT * SLICES * SIDE * SIDE * 2 / seconds / 1e6, int(difference)
