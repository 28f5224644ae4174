"""Signals: an object announces a change without knowing the receivers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, ParamSpec

Arguments = ParamSpec("Arguments")

log = logging.getLogger(__name__)


class Signal(Generic[Arguments]):
    """A declared notification, such as ``self.onShown: Signal[[str]] = Signal()``. One thread only."""

    def __init__(self) -> None:
        self._receivers: list[Callable[Arguments, object]] = []

    @property
    def receivers(self) -> tuple[Callable[Arguments, object], ...]:
        """The connected receivers, in the order of connection."""
        return tuple(self._receivers)

    def connect(self, receiver: Callable[Arguments, object]) -> None:
        """Call a receiver at each emission from now on; receivers are called in the order of connection."""
        if receiver not in self._receivers:
            self._receivers.append(receiver)

    def disconnect(self, receiver: Callable[Arguments, object]) -> None:
        """Stop calling a receiver; do nothing when it is not connected."""
        if receiver in self._receivers:
            self._receivers.remove(receiver)

    def emit(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        """Call all receivers. A receiver that raises is logged, and the others are called nevertheless."""
        for receiver in list(self._receivers):
            try:
                receiver(*args, **kwargs)
            except Exception:  # the sender must not suffer from a fault of a receiver
                log.exception("A receiver of a signal failed: %r", receiver)
