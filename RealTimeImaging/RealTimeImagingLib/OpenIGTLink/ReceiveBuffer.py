"""Receive buffer of a connection, and one memory limit for all connections of a source."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..Model.Errors import WireError
from ..Model.Frame import Pixels
from ..Model.Text import textsOf
from .Base import Buffer, crc64

_ = textsOf(__file__)


class Account:
    """Memory that one connection holds for one purpose.

    :param budget: the limit that it shares.
    :param giveUp: releases all of this memory, because another account needs it.
    """

    def __init__(self, budget: Budget, giveUp: Callable[[], None]) -> None:
        self._budget, self._giveUp = budget, giveUp
        self.nbytes = 0

    def claim(self, nbytes: int) -> None:
        """Change the account to ``nbytes`` bytes.

        :raises WireError: too much memory is in use, and no other account holds more than this one would.
        """
        if nbytes > self.nbytes:
            self._budget.makeRoom(self, nbytes)
        self._set(nbytes)

    def release(self) -> None:
        """Change the account to 0 bytes."""
        self._set(0)

    def giveUp(self) -> None:
        """Release all memory."""
        self._giveUp()
        self.release()

    def _set(self, nbytes: int) -> None:
        self._budget.used += nbytes - self.nbytes
        self.nbytes = nbytes


class Budget:
    """A number of bytes shared among accounts.

    When the bytes are used up, the account with the most bytes gives them up. So a peer that sends small messages is
    never refused because others hold large ones.

    :param limit: most bytes of all accounts together.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._accounts: list[Account] = []
        self.used = 0
        """Bytes of all accounts."""

    def open(self, giveUp: Callable[[], None]) -> Account:
        """Open an account; :meth:`close` ends it.

        :param giveUp: called when the account has to release all its memory.
        """
        account = Account(self, giveUp)
        self._accounts.append(account)
        return account

    def close(self, account: Account) -> None:
        """End an account, and free its bytes."""
        account.release()
        if account in self._accounts:
            self._accounts.remove(account)

    def makeRoom(self, account: Account, nbytes: int) -> None:
        """Make the largest accounts give up their memory until this one can hold ``nbytes`` bytes.

        :raises WireError: it would be the largest itself.
        """
        while self.used - account.nbytes + nbytes > self._limit:
            largest = max((one for one in self._accounts if one is not account), key=_size, default=None)
            if largest is None or largest.nbytes <= nbytes:
                raise WireError(
                    _(
                        "all connections together hold {used:,} bytes of unfinished messages, and the limit is "
                        "{limit:,}"
                    ).format(used=self.used, limit=self._limit),
                    "too-large",
                )
            largest.giveUp()


def _size(account: Account) -> int:
    return account.nbytes


@dataclass(frozen=True)
class Budgets:
    """The budgets that all connections of a source share.

    :param receiving: memory of messages that are not complete.
    :param parts: memory of images that come in parts.
    """

    receiving: Budget
    parts: Budget

    @classmethod
    def of(cls, limit: int) -> Budgets:
        """Make both budgets with this limit in bytes."""
        return cls(Budget(limit), Budget(limit))


FIRST = 16 << 20
"""Most bytes of the first memory for a message that is not received into lent memory. The memory doubles as bytes
arrive: it depends on the received bytes, not on the declared size."""


class Memory:
    """Memory of one connection: lent while the bytes arrive without a pause, otherwise its own.

    :param buffer: receive buffer of the connection.
    :param account: account that is charged for own memory.
    :ivar borrows: True while bytes are received into lent memory.
    :ivar borrowed: number of times that memory was lent.
    """

    def __init__(self, buffer: ReceiveBuffer, account: Account) -> None:
        self._buffer, self._account = buffer, account
        self._memory: Pixels | None = None
        self._memorySize = 0
        self.borrows = False
        self.borrowed = 0

    @property
    def received(self) -> int:
        """Bytes of the current image in lent memory."""
        return self._memorySize - self._buffer.toFill if self.borrows else 0

    def giveBack(self) -> None:
        """Return lent memory, and receive the rest of the image into own memory.

        :raises WireError: all connections together have too much in memory.
        :raises MemoryError: the computer has no memory for it.
        """
        if not self.borrows or self._memory is None:
            return
        came = self.received
        self._account.claim(came)
        own = np.empty(min(self._memorySize, max(FIRST, 2 * came)), np.uint8)
        own[:came] = self._memory[:came]
        self._buffer.redirect(own.data[came:])
        self._memory, self._memorySize, self.borrows = own, own.nbytes, False

    def charge(self) -> None:
        """Charge the account for the received bytes.

        :raises WireError: all connections together have too much in memory.
        """
        if self._memory is not None and not self.borrows:
            self._account.claim(self._memorySize - self._buffer.toFill)

    def fill(self, nbytes: int, lent: Pixels | None = None) -> Steps[None]:
        """Receive ``nbytes`` bytes into lent memory, or into memory that grows with them; :meth:`taken` returns it.

        :raises WireError: all connections together have too much in memory.
        :raises MemoryError: the computer has no memory for them.
        """
        first = np.empty(min(nbytes, FIRST), np.uint8) if lent is None else lent
        self._memory, self._memorySize, self.borrows = first, min(nbytes, first.nbytes), lent is not None
        self.borrowed += self.borrows
        del lent, first
        done = 0
        while True:
            yield from self._buffer.fill(self._memory.data[done : self._memorySize])
            # giveBack() may have replaced the memory by own memory, which may be shorter than the message.
            done = self._memorySize
            if done == nbytes:
                break
            bigger = np.empty(min(nbytes, 2 * done), np.uint8)
            bigger[:done] = self._memory
            self._memory, self._memorySize = bigger, bigger.nbytes
            del bigger

    def taken(self) -> Pixels:
        """Return the memory of the last :meth:`fill`; the caller owns it."""
        memory, self._memory, self.borrows = self._memory, None, False
        if memory is None:
            raise AssertionError("fill() must precede taken().")
        return memory

    def takeAll(self, nbytes: int) -> Steps[bytes]:
        """Receive ``nbytes`` bytes, any number, and return them."""
        if nbytes <= BUFFER_SIZE:
            return (yield from self._buffer.take(nbytes))
        yield from self.fill(nbytes)
        return self.taken().tobytes()

    def free(self) -> None:
        """Release all memory."""
        self._memory, self.borrows = None, False
        self._account.release()


BUFFER_SIZE = 1 << 16

Made = TypeVar("Made")
Steps = Generator[bool, None, Made]
"""Yields False when more bytes are needed, and True (in the receiver) when an item is ready for the caller."""


class ReceiveBuffer:
    """Buffer between the received bytes and their reader.

    Methods that read are generators, which yield while bytes are missing: ``raw = yield from buffer.take(58)``.

    :ivar left: bytes of the current body that are not read yet.
    :ivar checksum: CRC-64 of the bytes that are read.
    :ivar summing: True while the checksum is computed.
    :ivar most: largest space() in bytes. It is small before an image, so that its pixels need not be copied from here.
    """

    def __init__(self) -> None:
        self.left, self.checksum, self.summing, self.most = 0, 0, False, BUFFER_SIZE
        self._buffer = memoryview(bytearray(BUFFER_SIZE))
        self._start = self._end = 0
        self._target: memoryview | None = None

    @property
    def waiting(self) -> int:
        """Received bytes that are not read yet."""
        return self._end - self._start

    def space(self) -> memoryview:
        """Return the memory for the next bytes; empty only while BUFFER_SIZE bytes wait."""
        if self._target:
            return self._target
        if self._start:
            kept = bytes(self._buffer[self._start : self._end])
            self._buffer[: len(kept)] = kept
            self._start, self._end = 0, len(kept)
        return self._buffer[self._end : self._end + self.most]

    def filled(self, nbytes: int) -> None:
        """Note that ``nbytes`` bytes of space() were filled.

        :raises ValueError: space() was smaller.
        """
        target = self._target
        if not 0 <= nbytes <= (len(target) if target else BUFFER_SIZE - self._end):
            raise ValueError(f"space() had no room for {nbytes} bytes.")
        if target:
            self._given(target[:nbytes])
            self._target = target[nbytes:]
        else:
            self._end += nbytes

    def clear(self) -> None:
        """Forget all waiting bytes, and release the memory of others."""
        self._start = self._end = self.left = 0
        self._target = None

    def begin(self, nbytes: int, summing: bool) -> None:
        """Begin a body of ``nbytes`` bytes."""
        self.left, self.checksum, self.summing = nbytes, 0, summing

    def peek(self, nbytes: int) -> Steps[bytes]:
        """Return the next bytes, at most BUFFER_SIZE, without consuming them."""
        while self._end - self._start < nbytes:
            yield False
        return bytes(self._buffer[self._start : self._start + nbytes])

    def glimpse(self, nbytes: int) -> bytes:
        """Return waiting bytes, at most ``nbytes``, without consuming them."""
        return bytes(self._buffer[self._start : min(self._start + nbytes, self._end)])

    def drop(self, nbytes: int) -> None:
        """Skip bytes that were peeked at and belong to no body."""
        self._start += nbytes

    def take(self, nbytes: int) -> Steps[bytes]:
        """Return the next bytes of the body, at most BUFFER_SIZE."""
        while self._end - self._start < nbytes:
            yield False
        start, self._start = self._start, self._start + nbytes
        raw = bytes(self._buffer[start : self._start])
        self._given(raw)
        return raw

    def fill(self, target: memoryview) -> Steps[None]:
        """Receive the next bytes of the body straight into this memory until it is full."""
        here = min(len(target), self.waiting)
        source = self._buffer[self._start : self._start + here]
        target[:here] = source
        self._given(source)
        self._start += here
        self._target = target[here:]
        del target
        try:
            while self._target:
                yield False
        finally:
            self._target = None

    @property
    def toFill(self) -> int:
        """Bytes that :meth:`fill` still expects."""
        return len(self._target) if self._target else 0

    def redirect(self, target: memoryview) -> None:
        """Continue :meth:`fill` in other memory, and release the memory before."""
        self._target = target

    def skip(self, nbytes: int) -> Steps[None]:
        """Skip the next bytes of the body, any number."""
        while nbytes:
            here = min(nbytes, self.waiting)
            self._given(self._buffer[self._start : self._start + here])
            self._start += here
            nbytes -= here
            if nbytes:
                yield False

    def _given(self, data: Buffer) -> None:
        self.left -= len(data)
        if self.summing:
            self.checksum = crc64(data, self.checksum)
