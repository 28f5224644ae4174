"""The two ends of the benchmark of OpenIGTLink: a process that sends prepared bytes, and all who receive them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import numpy as np
import pyigtl
from contract.library import Programs, absence
from RealTimeImagingLib.Link.WorkFolders import roots
from RealTimeImagingLib.OpenIGTLink import ImageMessage, pack

from .OpenIGTLinkReceiving import Moments

PYIGTL_SECONDS, PATIENCE = 1.0, 5.0

# Reads orders, each of which is one connection: the file with the bytes of a message, how many of it, the seconds
# between two; answers with the port at first, and with the moments at which each message was begun.
_SENDER = textwrap.dedent("""
    import json, socket, sys, time
    door = socket.create_server(("127.0.0.1", 0))
    print(json.dumps(door.getsockname()[1]), flush=True)
    for line in sys.stdin:
        path, count, period = json.loads(line)
        with open(path, "rb") as file:
            data = file.read()
        peer, _ = door.accept()
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begun, start = [], time.monotonic()
        for number in range(count):
            time.sleep(max(0, start + number * period - time.monotonic()))
            begun.append(time.monotonic())
            peer.sendall(data)
        peer.close()
        print(json.dumps(begun), flush=True)
""")

_PYIGTL_SERVER = textwrap.dedent("""
    import json, sys, numpy, pyigtl
    shape, dtype = json.loads(sys.argv[1])
    pixels = numpy.random.default_rng(0).integers(0, 99, shape).astype(dtype)
    server = pyigtl.OpenIGTLinkServer(port=0, local_server=True)
    print(server.server_address[1], flush=True)
    while True:
        if server.is_connected():
            server.send_message(pyigtl.ImageMessage(pixels, device_name="Fast"), wait=True)
""")


class Process:
    """A process that answers each line of JSON with one."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def order(self, *values: object) -> None:
        """Give it a line."""
        self._process.stdin.write(json.dumps(values) + "\n")
        self._process.stdin.flush()

    def answer(self) -> object:
        """Its next line."""
        line = self._process.stdout.readline()
        assert line, "it ended"
        return json.loads(line)

    def close(self) -> None:
        """End it."""
        self._process.stdin.close()
        self._process.wait()


class Ends:
    """A sender of images of some kinds, and receivers by name: "C++" only where the library can be compiled.

    :param kinds: shape and type of the pixels, by name.
    """

    def __init__(self, kinds: dict[str, tuple[tuple[int, ...], str]]) -> None:
        self._folder = tempfile.TemporaryDirectory(dir=next(iter(roots()), None))
        self._files, self.nbytes = {}, {}
        for name, (shape, dtype) in kinds.items():
            pixels = np.random.default_rng(0).integers(0, 99, shape).astype(dtype)
            data = pack(ImageMessage(pixels, device_name="Fast"))
            self._files[name], self.nbytes[name] = os.path.join(self._folder.name, name), len(data)
            Path(self._files[name]).write_bytes(data)
        self.absent = absence()
        self.names = ["raw", "ours", "ours, CRC"] + ([] if self.absent else ["C++", "C++, CRC"])
        if not self.absent:
            source = Path(__file__).with_name("ReceiveFast.cxx")
            self._program = Programs(Path(self._folder.name), [source], "-O2")["ReceiveFast"]
        self._sender, self._receiver = Process("-c", _SENDER), Process("-m", "benchmarks.OpenIGTLinkReceiving")
        self._port = self._sender.answer()

    def run(self, kind: str, name: str, count: int, period: float = 0.0) -> tuple[Moments, Moments]:
        """When each message was begun to be sent, and when it was received."""
        self._sender.order(self._files[kind], count, period)
        if name.startswith("C++"):
            command = [self._program, str(self._port), str(count), str(int(name.endswith("CRC")))]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            received = [float(line) for line in done.stdout.split()]
        else:
            self._receiver.order(name, self._port, count, self.nbytes[kind])
            received = self._receiver.answer()
        return self._sender.answer(), received

    def close(self) -> None:
        """End all of it."""
        self._sender.close()
        self._receiver.close()
        self._folder.cleanup()


def pyigtlRate(shape: tuple[int, ...], dtype: str) -> float:
    """Messages a second that arrive with pyigtl at both ends; 0 where it loses them all, as mostly above 6 MB."""
    command = [sys.executable, "-c", _PYIGTL_SERVER, json.dumps([shape, dtype])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    client = pyigtl.OpenIGTLinkClient("127.0.0.1", int(process.stdout.readline()))
    try:
        if not client.wait_for_message("Fast", timeout=PATIENCE):
            return 0.0
        started, count = time.monotonic(), 0
        while time.monotonic() - started < PYIGTL_SECONDS:
            count += bool(client.wait_for_message("Fast", timeout=PATIENCE))
        return count / (time.monotonic() - started)
    finally:
        client.stop()
        process.kill()
        process.communicate()
