"""Memory for the message that is being received: lent, or growing with the bytes that come."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..Frame import Pixels
from .Budget import Account
from .Intake import BUFFER_SIZE, Intake, Steps

FIRST = 16 << 20
"""Most bytes of the first piece of memory for a message that is not received into lent memory. It is doubled as the
bytes come: a message costs what was sent of it, and not what its header announces."""

Lend = Callable[[int], "Pixels | None"]
"""Gives memory for so many bytes (uint8) to receive pixels into, or None when there is none to spare."""


class Memory:
    """Receives into lent memory as long as the bytes come at once, and into own memory otherwise.

    :param intake: gives the bytes.
    :param account: pays for own memory.
    :ivar borrows: True while bytes are received into lent memory.
    :ivar borrowed: how often memory was lent.
    """

    def __init__(self, intake: Intake, account: Account) -> None:
        self._intake, self._account = intake, account
        self._memory: Pixels | None = None
        self._memorySize = 0
        self.borrows = False
        self.borrowed = 0

    @property
    def received(self) -> int:
        """Bytes of the image that is received into lent memory which came so far."""
        return self._memorySize - self._intake.toFill if self.borrows else 0

    def giveBack(self) -> None:
        """Let lent memory go and receive the rest of the image into own memory.

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
        """Pay for the bytes that came.

        :raises WireError: all connections together have too much in memory.
        """
        if self._memory is not None and not self.borrows:
            self._account.claim(self._memorySize - self._intake.toFill)

    def fill(self, nbytes: int, lent: Pixels | None = None) -> Steps[None]:
        """Receive so many bytes into lent memory, or into memory that grows as they come; :meth:`taken` gives it.

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
            # Memory that was given back meanwhile is replaced by own memory, which may be shorter than the message.
            done = self._memorySize
            if done == nbytes:
                break
            bigger = np.empty(min(nbytes, 2 * done), np.uint8)
            bigger[:done] = self._memory
            self._memory, self._memorySize = bigger, bigger.nbytes
            del bigger

    def taken(self) -> Pixels:
        """What was filled last; it is the caller's."""
        memory, self._memory, self.borrows = self._memory, None, False
        if memory is None:
            raise AssertionError("Nothing was filled.")
        return memory

    def takeAll(self, nbytes: int) -> Steps[bytes]:
        if nbytes <= BUFFER_SIZE:
            return (yield from self._intake.take(nbytes))
        yield from self.fill(nbytes)
        return self.taken().tobytes()

    def letGo(self) -> None:
        """Hold nothing."""
        self._memory, self.borrows = None, False
        self._account.release()
