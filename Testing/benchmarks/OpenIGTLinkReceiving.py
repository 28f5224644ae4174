"""A process that receives, as the acquisition process does, with nothing in it but what that has.

    python -m benchmarks.OpenIGTLinkReceiving

Reads orders, each of which is one connection: who receives ("raw", "ours" or "ours, CRC"), the port, how many messages
of how many bytes. Answers with the moments at which each was complete.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import time
from contextlib import closing

import numpy as np
from RealTimeImagingLib.Acquisition.Ring import RingWriter
from RealTimeImagingLib.Acquisition.WorkFolders import roots
from RealTimeImagingLib.Journal import Journal
from RealTimeImagingLib.Settings import OpenIGTLinkSettings
from RealTimeImagingLib.Sources.OpenIGTLink import OpenIGTLinkSource
from RealTimeImagingLib.Sources.Source import Arrival

Moments = list[float]
"""Seconds of the monotonic clock."""


def raw(port: int, count: int, nbytes: int) -> Moments:
    """The floor: the same bytes into memory that is there."""
    moments, memory = [], np.zeros(nbytes, np.uint8)
    with closing(socket.create_connection(("127.0.0.1", port))) as connection:
        for _ in range(count):
            got = 0
            while got < nbytes:
                got += connection.recv_into(memory[got:])
            moments.append(time.monotonic())
    return moments


def ours(port: int, count: int, checkCRC: bool) -> Moments:
    """The source as the worker asks it, into the memory through which Slicer gets the pixels."""
    moments: Moments = []
    with tempfile.TemporaryDirectory() as folder:
        ring, journal = RingWriter(roots(), f"bench-{os.getpid()}"), Journal(folder)
        source = OpenIGTLinkSource(OpenIGTLinkSettings(port=port, checkCRC=checkCRC), journal, lend=ring.lend)
        try:
            while len(moments) < count:
                for item in source.read(0.1):
                    if isinstance(item, Arrival):
                        moments.append(time.monotonic())
                        ring.release(*ring.put(item.image.pixels).key)
                    del item
        finally:
            source.close()
            journal.close()
            ring.close()
    return moments


def main() -> None:
    """Until the end of input."""
    for line in sys.stdin:
        name, port, count, nbytes = json.loads(line)
        moments = raw(port, count, nbytes) if name == "raw" else ours(port, count, name == "ours, CRC")
        print(json.dumps(moments), flush=True)


if __name__ == "__main__":
    main()
