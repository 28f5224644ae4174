"""Messages that wait for one client: none is lost in a burst; a slow client gets the newest; all are counted."""

import gc
from types import SimpleNamespace

import numpy as np
import pytest
from RealTimeImagingLib.OpenIGTLink import ImageMessage, StringMessage
from RealTimeImagingLib.Worker.Broadcaster import BURST, RECOVERY, STALLED, Client, Packet, PixelMemory


@pytest.fixture
def peer():
    """Takes nothing while its backlog is above 0."""
    return SimpleNamespace(name="client", backlog=0, lost="")


def packet(device="Live", nbytes=100):
    return Packet(ImageMessage(device_name=device), nbytes)


def test_a_burst_is_sent_whole_and_in_order(peer):
    client = Client(peer, 0.0)
    packets = [packet() for _ in range(BURST)]
    for one in packets:
        client.offer(one)
    assert [client.take(0.0) for _ in packets] == packets
    assert client.take(0.0) is None
    assert (client.sent, client.lost) == (BURST, 0)


def test_one_who_is_too_slow_gets_the_newest_of_each_stream(peer):
    client = Client(peer, 0.0)
    peer.backlog = 10
    packets = [packet(device) for _ in range(BURST + 1) for device in ("A", "B")]
    for one in packets:
        client.offer(one)
    assert client.take(0.0) is None
    peer.backlog = 0
    taken = [client.take(0.0), client.take(0.0), client.take(0.0)]
    # The newest of A made it fall behind, the newest of B came after that.
    assert taken == [*packets[-2:], None]
    assert (client.sent, client.lost) == (2, len(packets) - 2)


def test_many_bytes_are_too_much_and_one_large_image_is_not(peer):
    client = Client(peer, 0.0)
    peer.backlog = 10
    large = [packet(nbytes=200 << 20) for _ in range(3)]
    for one in large:
        client.offer(one)
    peer.backlog = 0
    assert client.take(0.0) is large[2]
    assert client.lost == 2


def test_one_who_fell_behind_keeps_up_again_after_a_while(peer):
    client = Client(peer, 0.0)
    peer.backlog = 10
    for _ in range(BURST + 1):
        client.offer(packet())
    client.take(1.0)
    client.offer(packet())
    assert client.lost == BURST + 1
    peer.backlog = 0
    while client.take(1.0 + RECOVERY + 0.1):
        pass
    for _ in range(BURST):
        client.offer(packet())
    assert client.lost == BURST + 1


def test_one_who_takes_nothing_is_given_up_and_one_who_takes_little_is_not(peer):
    client = Client(peer, 0.0)
    for second in range(200):
        peer.backlog = 1000 - second
        client.take(float(second))
    assert not peer.lost
    client.take(199.0 + STALLED - 1)
    assert not peer.lost
    client.take(199.0 + STALLED + 1)
    assert "read nothing for 30 s" in peer.lost


def test_what_is_on_its_way_when_one_leaves_did_not_reach_it(peer):
    client = Client(peer, 0.0)
    for _ in range(3):
        client.offer(packet())
    client.take(0.0)
    peer.backlog, peer.lost = 5, "it closed the connection"
    client.leave(1.0)
    assert (client.sent, client.lost) == (0, 3)


def test_an_answer_is_not_counted(peer):
    client = Client(peer, 0.0)
    client.offer(Packet(StringMessage("so it is"), counted=False))
    assert client.take(0.0)
    assert client.take(0.0) is None
    assert (client.sent, client.lost) == (0, 0)


def test_memory_is_used_again_once_nobody_has_the_packet():
    memories = PixelMemory()
    one = memories.take(1000)
    message = packet()
    memories.reserve(one, message)
    assert memories.take(1000) is not one
    del message
    gc.collect()
    assert memories.take(500) is not one
    assert memories.take(1000) is one
    assert memories.take(1000) is not one


def test_memory_of_sizes_that_come_no_more_is_let_go():
    memories = PixelMemory()
    for size in range(1, 100):
        memories.reserve(memories.take(size), packet())
    assert len(memories._lent) < 10
    np.testing.assert_equal(memories.take(99).nbytes, 99)
