"""Watch over calls that may hang, such as to a network share that was disconnected."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from ..Model.Files import LONGEST_ACCESS, longAccess
from ..Model.Text import Text

LONGEST = LONGEST_ACCESS
"""Seconds that a call takes before it is reported."""
PERIOD = 0.5
"""Seconds between two looks."""
NOTHING = Text("")


class HangWatch:
    """Thread that reports a call that takes unusually long. A context: it works inside a "with" block.

    :param report: takes a sentence, once for each call, in that thread; an empty one once that call has ended.
    """

    def __init__(self, report: Callable[[Text], None]) -> None:
        self._report = report
        self._call: tuple[str] | None = None
        """The place of the call, in an object of its own for each call."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hang watch", daemon=True)

    def __enter__(self) -> HangWatch:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """End the thread."""
        self._ended.set()

    @contextlib.contextmanager
    def during(self, place: str) -> Iterator[None]:
        """Watch a call. After a call inside it, the time of the outer one begins anew.

        :param place: the folder or file that the call accesses; empty for a call that is not watched.
        """
        outer = self._call[0] if self._call else ""
        self._begin(place)
        try:
            yield
        finally:
            self._begin(outer)

    def _begin(self, place: str) -> None:
        self._call = (place,) if place else None

    def _run(self) -> None:
        told: tuple[str] | None = None
        seen: tuple[str] | None = None
        looks = 0
        while not self._ended.wait(PERIOD):
            call = self._call
            if told and call is not told:
                told = None
                self._report(NOTHING)
            # Looks are counted, not seconds: a process that is halted accesses nothing meanwhile.
            seen, looks = call, looks + 1 if call is seen else 0
            if call is not None and call is not told and looks * PERIOD >= LONGEST:
                told = call
                self._report(longAccess(call[0], LONGEST))
