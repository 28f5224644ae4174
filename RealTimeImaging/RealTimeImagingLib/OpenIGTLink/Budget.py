"""One memory limit for all connections of a source: each is charged for the bytes that it received, not announced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..Errors import WireError


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
                    f"all connections together hold {self.used:,} bytes of unfinished messages, "
                    f"and the limit is {self._limit:,}",
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
