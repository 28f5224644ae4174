"""Volumes of an MRI scanner over MRD, slice by slice: 10 a second, recorded and sent back; and as fast as it goes."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import textwrap
from typing import Any

import slicerhost
from RealTimeImagingLib import MRDSettings

from .Common import startedModule

SLICES, SIDE = 30, 256
RATE, PACED = 10.0, 50
"""Volumes a second, and their number."""
FAST = 100
"""Volumes that are sent without a pause."""

SENDER = textwrap.dedent("""
    import socket, sys, threading, time
    from dataclasses import replace
    import numpy as np
    from RealTimeImagingLib.Model.Frame import Image
    from RealTimeImagingLib.Sources.MRD.Protocol import CONFIG_FILE, HEADER, packClose, packText
    from RealTimeImagingLib.Sources.MRD.Sending import headerOf, messagesOf

    port, slices, side, count, rate = int(sys.argv[1]), *map(int, sys.argv[2:5]), float(sys.argv[5])
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
        if rate:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
        peer.sendall(volumes[number % 4])
    peer.sendall(packClose())
    reader.join()
    print(time.monotonic() - began, sum(back) - 2 - count * len(volumes[0]))
""")


def measure() -> dict[str, Any]:
    """Counts and delay at 10 volumes a second while all are recorded, and MB a second without a pause."""
    slicerhost.boot()
    figures: dict[str, Any] = {}
    for name, count, rate in (("10 volumes a second", PACED, RATE), ("as fast as possible", FAST, 0.0)):
        with startedModule() as logic, tempfile.TemporaryDirectory() as folder:
            port = _freePort()
            handle = logic.start(MRDSettings(port=port))
            slicerhost.runUntil(lambda handle=handle: handle.state == "running", 30)
            if rate:
                logic.startRecording(folder)
            values = map(str, (port, SLICES, SIDE, count, rate))
            process = subprocess.Popen([sys.executable, "-c", SENDER, *values], stdout=subprocess.PIPE, text=True)
            slicerhost.runUntil(lambda process=process: process.poll() is not None, 120, everyMs=20)
            seconds, difference = map(float, process.communicate()[0].split())
            wanted = count
            slicerhost.runUntil(lambda logic=logic, wanted=wanted: logic.statistics()["received"] == wanted, 10)
            found = logic.statistics()
            figures[name] = {
                "received": found["received"],
                "recorded": found["recorded"],
                "MBeachSecond": round(count * SLICES * SIDE * SIDE * 2 / seconds / 1e6),
                "latencyMs": found["latencyMs"],
                "bytesLostOnTheWayBack": int(-difference),
            }
            logic.stop()
            slicerhost.runUntil(lambda logic=logic: not logic.isRunning(), 30)
    paced, fast = figures.values()
    rules = {
        "every volume is received": (paced["received"], fast["received"]) == (PACED, FAST),
        "every volume is recorded": paced["recorded"] == PACED,
        "every image is sent back": paced["bytesLostOnTheWayBack"] == fast["bytesLostOnTheWayBack"] == 0,
    }
    return {**figures, "rules": rules}


def _freePort() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
