"""Memory for the message that is being received: lent, or growing with the received bytes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..Frame import Pixels
from .Budget import Account
from .Intake import BUFFER_SIZE, Intake, Steps

FIRST = 16 << 20
"""Most bytes of the first memory for a message that is not received into lent memory. The memory doubles as bytes
arrive: a message costs as much as was sent of it, not as much as its header announces."""

Lend = Callable[[int], "Pixels | None"]
"""Gives memory of this number of bytes (uint8) to receive pixels into; None when no slot is free."""


class Memory:
    """Memory of one connection: lent while the bytes arrive without a pause, otherwise its own.

    :param intake: gives the bytes.
    :param account: is charged for own memory.
    :ivar borrows: True while bytes are received into lent memory.
    :ivar borrowed: number of times that memory was lent.
    """

    def __init__(self, intake: Intake, account: Account) -> None:
        self._intake, self._account = intake, account
        self._memory: Pixels | None = None
        self._memorySize = 0
        self.borrows = False
        self.borrowed = 0

    @property
    def received(self) -> int:
        """Bytes of the current image in lent memory."""
        return self._memorySize - self._intake.toFill if self.borrows else 0

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
        self._intake.redirect(own.data[came:])
        self._memory, self._memorySize, self.borrows = own, own.nbytes, False

    def charge(self) -> None:
        """Charge the account for the received bytes.

        :raises WireError: all connections together have too much in memory.
        """
        if self._memory is not None and not self.borrows:
            self._account.claim(self._memorySize - self._intake.toFill)

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
            yield from self._intake.fill(self._memory.data[done : self._memorySize])
            # giveBack() may have replaced the memory by own memory, which may be shorter than the message.
            done = self._memorySize
            if done == nbytes:
                break
            bigger = np.empty(min(nbytes, 2 * done), np.uint8)
            bigger[:done] = self._memory
            self._memory, self._memorySize = bigger, bigger.nbytes
            del bigger

    def taken(self) -> Pixels:
        """The memory of the last :meth:`fill`; the caller owns it."""
        memory, self._memory, self.borrows = self._memory, None, False
        if memory is None:
            raise AssertionError("Nothing was filled.")
        return memory

    def takeAll(self, nbytes: int) -> Steps[bytes]:
        """Receive ``nbytes`` bytes, any number, and return them."""
        if nbytes <= BUFFER_SIZE:
            return (yield from self._intake.take(nbytes))
        yield from self.fill(nbytes)
        return self.taken().tobytes()

    def letGo(self) -> None:
        """Release all memory."""
        self._memory, self.borrows = None, False
        self._account.release()
