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
import time
from contextlib import closing

import numpy as np
from RealTimeImagingLib.Link.Ring import RingWriter
from RealTimeImagingLib.Link.WorkFolders import roots
from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.OpenIGTLink import Receiver
from RealTimeImagingLib.Sources.Endpoints import Connector
from RealTimeImagingLib.Sources.OpenIGTLink.Peers import Peers

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
    """As the source has it, into the memory through which Slicer gets the pixels."""
    moments: Moments = []
    ring = RingWriter(roots(), f"bench-{os.getpid()}")
    peers = Peers(Connector("127.0.0.1", port), lambda: Receiver(ring.getBuffer, checkCRC=checkCRC), silentAfter=4.0)
    try:
        while len(moments) < count:
            for item in peers.step(0.1):
                if not isinstance(item, Event):
                    moments.append(time.monotonic())
                    ring.release(*ring.put(item[1].pixels).key)
                del item
    finally:
        peers.close()
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
