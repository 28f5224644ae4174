"""Images that another process posts over one connection, and 128 senders at once; answered once they are received."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import textwrap
from typing import Any

import slicerhost
from RealTimeImagingLib import HTTPSettings

from .Common import startedModule

SIZES = {"64 MB": ((64, 1024, 1024), 24), "300 kB": ((480, 640), 200)}
"""Shape of the pixels (uint8), and number of images."""
SENDERS = 128

SENDER = textwrap.dedent("""
    import http.client, json, socket, sys, threading, time
    port, token, shape, count, senders = json.loads(sys.argv[1])
    size = 1
    for one in shape:
        size *= one
    body, pixels = bytes(size), ",".join(map(str, shape))
    headers = {"Authorization": f"Bearer {token}"}
    started, taken, lock = threading.Barrier(senders), [], threading.Lock()

    def send():
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        link.connect()
        link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started.wait()
        for _ in range(count):
            began = time.perf_counter()
            link.request("POST", f"/frame?shape={pixels}&dtype=uint8", body, headers)
            answer = link.getresponse()
            answer.read()
            with lock:
                taken.append((answer.status, time.perf_counter() - began))
        link.close()

    threads = [threading.Thread(target=send) for _ in range(senders)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps([time.perf_counter() - began, taken]))
""")


def measure() -> dict[str, Any]:
    """MB a second of each size over one connection, and milliseconds to an answer with 128 senders."""
    slicerhost.boot()
    with startedModule() as logic:
        handle = logic.start(HTTPSettings(port=0, token="a-token-of-the-benchmark"))
        slicerhost.runUntil(lambda: bool(handle.details), 30)
        port = int(handle.details["url"].split(":")[-1].split("/")[0])
        figures = {}
        for name, (shape, count) in SIZES.items():
            seconds, taken = _send(port, shape, count, 1)
            figures[name] = {
                "MBeachSecond": round(len(taken) * _bytes(shape) / seconds / 1e6),
                "answerMs": round(1000 * statistics.median(one for _, one in taken), 2),
                "received": sum(status == 200 for status, _ in taken),
            }
        seconds, taken = _send(port, SIZES["300 kB"][0], 4, SENDERS)
        logic.stop()
        slicerhost.runUntil(lambda: not logic.isRunning(), 10)
    figures["128 senders of 300 kB"] = {
        "MBeachSecond": round(len(taken) * _bytes(SIZES["300 kB"][0]) / seconds / 1e6),
        "answerMs": round(1000 * statistics.median(one for _, one in taken), 2),
        "received": sum(status == 200 for status, _ in taken),
    }
    wanted = [count for _, count in SIZES.values()] + [4 * SENDERS]
    return {**figures, "rules": {"every image is received": [one["received"] for one in figures.values()] == wanted}}


def _send(port: int, shape: tuple[int, ...], count: int, senders: int) -> tuple[float, list[tuple[int, float]]]:
    values = json.dumps([port, "a-token-of-the-benchmark", shape, count, senders])
    process = subprocess.Popen([sys.executable, "-c", SENDER, values], stdout=subprocess.PIPE, text=True)
    slicerhost.runUntil(lambda: process.poll() is not None, 120, everyMs=20)
    seconds, taken = json.loads(process.communicate()[0])
    return seconds, taken


def _bytes(shape: tuple[int, ...]) -> int:
    size = 1
    for one in shape:
        size *= one
    return size
