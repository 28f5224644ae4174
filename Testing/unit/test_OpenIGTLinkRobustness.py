"""Thousands of peers of all kinds at one server: every good message arrives, and nothing of the others stays."""

from __future__ import annotations

import gc
import random
import socket
import struct
import threading
import tracemalloc
from collections import Counter

from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.OpenIGTLink import StringMessage, pack, query
from RealTimeImagingLib.Sources.OpenIGTLink.Peers import STALLED
from unit.openIGTLinkSource import Link, descriptors, image, pose

CONNECTIONS, AT_ONCE, ROUND = 2000, 40, 500
GROWTH = 64 << 10
"""Bytes of memory that may be more after a round than after the one before."""
TLS_HELLO = bytes.fromhex("16030100f1010000ed0303") + bytes(range(200))
ANNOUNCED = struct.pack(">H12s20sIIQQ", 1, b"IMAGE", b"Probe", 0, 0, 1 << 40, 0)
GOOD = [image(number, device=f"Device{number % 5}") for number in range(20)]
SUMS = [checksum(one.pixels) for one in GOOD]
WORDS = [pack(pose(3)), pack(StringMessage("words")), pack(query("GET_STATUS"))]


class Crowd:
    """Peers that come and go; nothing but the good ones among them says anything that counts."""

    def __init__(self, port, chance):
        self._port, self._chance = port, chance
        self._there = []
        self.sent = Counter()
        self.words = 0

    def come(self):
        """One more peer says something."""
        if len(self._there) == AT_ONCE:
            self.leave()
        peer = socket.create_connection(("127.0.0.1", self._port))
        # Nobody waits for a server that hung up.
        peer.setblocking(False)
        self._there.append(peer)
        kind = self._chance.randrange(10)
        said = b"".join(self._good() for _ in range(self._chance.randrange(3))) if kind < 6 else b""
        half = pack(GOOD[0])[: self._chance.randrange(1, 200)]
        said += {0: half, 1: pack(GOOD[0])[:30], 2: ANNOUNCED, 3: TLS_HELLO, 6: TLS_HELLO, 7: ANNOUNCED, 8: half}.get(
            kind, b""
        )
        if kind == 9:
            said = self._chance.randbytes(self._chance.randrange(1, 400))
        if said:
            peer.sendall(said)

    def _good(self):
        if self._chance.random() < 0.3:
            self.words += 1
            return self._chance.choice(WORDS)
        number = self._chance.randrange(len(GOOD))
        self.sent[SUMS[number]] += 1
        return pack(GOOD[number])

    def leave(self, every=False):
        """Some hang up, or all."""
        self._chance.shuffle(self._there)
        for _ in range(len(self._there) if every else len(self._there) // 2):
            self._there.pop().close()


def test_two_thousand_peers(tmp_path):
    link = Link(tmp_path, role="server", allowed=("127.0.0.1",))
    link.step()
    crowd = Crowd(link.settings.port, random.Random(7))
    came, words, gone, sizes = Counter(), 0, 0, []

    def count():
        nonlocal words, gone
        came.update(link.sums)
        words += len(link.messages)
        gone += link.codes.count("disconnected")
        for one in (link.sums, link.streams, link.messages, link.events, link.frames):
            one.clear()
        return gone

    before = descriptors(), threading.active_count()
    tracemalloc.start()
    try:
        for number in range(1, CONNECTIONS + 1):
            crowd.come()
            link.step(0)
            if number % ROUND == 0:
                crowd.leave(every=True)
                link.until(lambda number=number: count() == number)
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
            elif number % 97 == 0:
                # Whoever stopped in the middle of a message is sent away.
                link.step(0, passes=STALLED + 1)
    finally:
        tracemalloc.stop()
    assert came == crowd.sent
    assert words == crowd.words
    assert (descriptors(), threading.active_count()) == before
    assert max(sizes[1:]) - sizes[0] < GROWTH, sizes
    link.close()
