"""Peers that are slow, stalled or greedy: what they hold is little, and nobody else waits for it."""

from __future__ import annotations

import sys
import weakref

import numpy as np
import pytest
from RealTimeImagingLib.Model.Errors import WireError
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.OpenIGTLink import ImageMessage, Receiver, StringMessage, pack
from RealTimeImagingLib.OpenIGTLink.ImageMessage import SHARE
from RealTimeImagingLib.OpenIGTLink.ReceiveBuffer import FIRST, Budget, Budgets
from RealTimeImagingLib.OpenIGTLink.Receiver import METADATA_LIMIT
from RealTimeImagingLib.Sources.OpenIGTLink.Peers import PAUSE, SLOWEST
from unit.openIGTLinkBytes import extended, framed, give, imageContent
from unit.openIGTLinkSource import Link, image, sendAll

MIB = 1 << 20


class Lender:
    """Lends memory and notes what of it is still held."""

    def __init__(self):
        self._lent = []

    def __call__(self, nbytes):
        memory = np.empty(nbytes, np.uint8)
        self._lent.append(weakref.ref(memory))
        return memory

    @property
    def held(self):
        return sum(one() is not None for one in self._lent)


@pytest.mark.parametrize("endian", ["little", "big"])
def test_an_image_that_pauses_anywhere_gives_lent_memory_back(endian):
    message = ImageMessage(np.arange(60, dtype=np.int16).reshape(3, 4, 5), endian=endian)
    message.metadata = {"a": "b"}
    wire = pack(message, version=2)
    for place in range(1, len(wire)):
        lender = Lender()
        receiver = Receiver(lender)
        assert give(receiver, wire[:place]) == []
        receiver.giveBack()
        assert (lender.held, receiver.borrows) == (0, False)
        (found,) = give(receiver, wire[place:])
        np.testing.assert_array_equal(found.pixels, message.pixels)
        assert found.metadata == {"a": "b"}
        del found


def test_a_large_image_goes_on_in_memory_that_grows():
    pixels = np.random.default_rng(1).integers(0, 256, FIRST * 2 + 77, np.uint8).reshape(1, 1, -1)[..., : FIRST * 2]
    pixels = np.ascontiguousarray(pixels).reshape(2, 1024, -1)
    wire = pack(ImageMessage(pixels))
    lender = Lender()
    receiver = Receiver(lender)
    give(receiver, wire[: FIRST // 2])
    receiver.giveBack()
    (found,) = give(receiver, wire[FIRST // 2 :])
    assert (lender.held, checksum(found.pixels)) == (0, checksum(pixels))
    (found,) = give(Receiver(), wire)
    assert checksum(found.pixels) == checksum(pixels)


def test_the_source_asks_a_slow_peer_for_the_memory(tmp_path):
    """After a pause, and also from a peer that sends a byte now and then."""
    server = Link(tmp_path, role="server")
    lender = Lender()
    server.source._getBuffer = lender
    wire = pack(image(1))
    with server.peer() as slow, server.peer() as good:
        slow.sendall(wire[:150])
        server.until(lambda: lender.held)
        sendAll(good, image(2))
        server.until(lambda: server.sums)
        assert lender.held == 1  # that of the slow one: the other image came into own memory
        for number in range(3):
            server.step(passes=0.8 * PAUSE)
            slow.sendall(wire[150 + number : 151 + number])
            server.step()
        assert lender.held == 0
        slow.sendall(wire[153:])
        server.until(lambda: len(server.sums) == 2)
    assert server.sums == [checksum(image(2).pixels), checksum(image(1).pixels)]
    assert image(1).pixels.nbytes < SLOWEST * PAUSE
    server.close()


def test_all_connections_share_one_limit():
    """The largest holder gives way; its connection goes on with the next message."""
    budgets = Budgets.of(10 * MIB)
    first, second, third = (Receiver(sizeLimit=10 * MIB, budgets=budgets) for _ in range(3))
    wire = pack(ImageMessage(np.ones((1, 2048, 4096), np.uint8)))  # 8 MiB
    assert give(first, wire[: 6 * MIB]) == []
    assert give(second, wire[: 3 * MIB]) == []
    assert budgets.receiving.used < 10 * MIB
    small = pack(ImageMessage(np.ones((1, 1024, 2048), np.uint8)))
    (found,) = give(third, small)
    assert found.pixels.size == 2 * MIB
    assert first.ready
    (problem,) = first.filled(0)
    assert (problem.code, problem.fatal) == ("too-large", False)
    (found,) = give(second, wire[3 * MIB :])
    assert found.pixels.size == 8 * MIB
    (message,) = give(first, wire[6 * MIB :] + pack(StringMessage("next")))
    assert message.string == "next"
    for one in (first, second, third):
        one.finish()
    assert (budgets.receiving.used, budgets.parts.used) == (0, 0)


def test_who_would_be_the_largest_is_refused():
    budgets = Budgets.of(4 * MIB)
    many = [Receiver(sizeLimit=4 * MIB, budgets=budgets) for _ in range(8)]
    wire = pack(ImageMessage(np.ones((1, 1024, 4000), np.uint8)))
    for one in many:
        assert give(one, wire[: MIB // 4]) == []
    (problem,) = give(many[0], wire[MIB // 4 :])
    assert problem.code == "too-large"
    assert "all connections together" in problem.text
    assert budgets.receiving.used <= 4 * MIB


def test_a_budget_is_never_exceeded():
    budget = Budget(100)
    gone = []
    one, other = budget.open(lambda: gone.append("one")), budget.open(lambda: gone.append("other"))
    one.claim(60)
    other.claim(40)
    with pytest.raises(WireError, match="limit is 100"):
        one.claim(61 + 40)
    other.claim(50)
    assert (gone, budget.used) == (["one"], 50)
    budget.close(other)
    assert budget.used == 0


def part(offset, size, whole=(1024, 1024, 250), fill=1):
    """A part of an image of 500 MB, little-endian int16."""
    pixels = np.full(int(np.prod(size)), fill, "<i2").tobytes()
    return framed("IMAGE", imageContent(pixels, scalar=4, size=whole, offset=offset, part=size))


def test_a_small_part_of_a_huge_image_costs_its_own_size():
    asked = []
    receiver = Receiver(lambda nbytes: asked.append(nbytes))
    said = give(receiver, part((5, 6, 7), (1, 1, 1)) * 1000)
    assert [one.code for one in said] == ["image-in-parts"]
    assert "524,288,000 bytes in small parts" in said[0].text
    assert asked == []
    assert receiver._partsAccount.nbytes < 2048


def test_parts_of_a_few_devices_are_reported(monkeypatch):
    monkeypatch.setattr(sys.modules[Receiver.__module__], "MOST_DEVICES", 2)
    content = imageContent(bytes(2), scalar=4, size=(1024, 1024, 250), part=(1, 1, 1))
    said = give(Receiver(), b"".join(framed("IMAGE", content, device=name.encode()) for name in "AABABC"))
    assert [(one.code, one.device) for one in said] == [("image-in-parts", name) for name in "AB"]


def test_an_image_in_parts_is_given_each_time_that_a_share_of_it_came():
    size, slices = (128, 128, 16), 16
    whole = Receiver()
    given = []
    for number in range(2 * slices):
        wire = part((0, 0, number % slices), (128, 128, 1), size, number + 1)
        given.append([one for one in give(whole, wire) if isinstance(one, ImageMessage)])
    counts = [len(one) for one in given]
    step = slices // SHARE
    assert counts == ([0] * (step - 1) + [1]) * (2 * SHARE)
    last = given[-1][0].pixels
    assert [int(one[0, 0]) for one in last] == list(range(slices + 1, 2 * slices + 1))
    first = given[step - 1][0].pixels
    assert [int(one[0, 0]) for one in first] == [1, 2, 3, 4, *([0] * 12)]


def test_parts_of_all_connections_share_one_limit():
    budgets = Budgets.of(300_000)
    receivers = [Receiver(sizeLimit=300_000, budgets=budgets) for _ in range(5)]
    for one in receivers:
        give(one, part((0, 0, 0), (100, 100, 5), (100, 100, 10)))
        assert budgets.parts.used <= 300_000


@pytest.mark.parametrize("name", ["STRING", "IMAGE"])
def test_metadata_that_is_huge_is_refused_and_the_next_message_is_read(name):
    content = imageContent() if name == "IMAGE" else b"\0\3\0\1a"
    body = extended(content, [(b"key", 3, b"x" * METADATA_LIMIT)])
    receiver = Receiver()
    problem, message = give(receiver, framed(name, body, version=2) + pack(StringMessage("next")))
    assert problem.code == "over-limit"
    assert "metadata" in problem.text
    assert message.string == "next"


def test_a_status_names_three_peers_and_counts_the_rest(tmp_path):
    server = Link(tmp_path, role="server", silentAfter=4.0)
    with server.peer(), server.peer(), server.peer(), server.peer(), server.peer():
        server.step(passes=5)
        assert server.source.status.count("127.0.0.1") == 6
        assert server.source.status.count("and 2 others") == 2
    server.close()


def test_the_source_gives_all_its_connections_one_budget(tmp_path):
    link = Link(tmp_path, role="server", sizeLimit=MIB)
    half = pack(ImageMessage(np.ones((1, 1000, 1000), np.uint8)))[:900_000]
    with link.peer() as one, link.peer() as other:
        one.sendall(half)
        other.sendall(half)
        link.untilCode("too-large")
        assert link.source._budgets.receiving.used <= MIB
        assert link.checkpoint.rejected == 1
    link.close()
