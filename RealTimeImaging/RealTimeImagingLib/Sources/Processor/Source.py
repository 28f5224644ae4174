"""Source of the images that a function computes from the frames of another acquisition process.

Commands: ``connect`` {"port", "token", "source"} subscribes to the frames of a process; ``setParameters``
{"parameters"}; ``reload``. The counts survive a restart of this process.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...Formats import GetBuffer
from ...Link.Ring import PUSH_BYTES, PUSH_SLOTS
from ...Link.Subscription import Offer, Subscribe, Subscription
from ...Model.Event import Event, Remedy
from ..Checkpoint import Checkpoint
from ..Source import TURN, Arrival, Values
from . import ProcessorSettings
from .Processor import Counts, Processor

DETAILS_PERIOD = 0.25
"""Seconds between two reports of the counts."""
LATEST = 1.0
"""Seconds after which counts are reported although a result that they count has not been passed on."""
NEWEST_SLOTS = 3
"""Slots for the newest frame: one in the function, one that waits, and one for the frame that replaces it."""
COUNTS, PARAMETERS = "processing", "parameters"
"""Keys in the checkpoint."""


class ProcessorSource:
    """Source of the results of a function.

    :param settings: the function and its stream.
    :param checkpoint: keeps the counts; its folder holds the ring of the results.
    :param getBuffer: returns memory for a result, or None.
    :param folders: for the ring of the results, best first.
    """

    def __init__(
        self,
        settings: ProcessorSettings,
        checkpoint: Checkpoint,
        getBuffer: GetBuffer = lambda nbytes: None,
        folders: Sequence[str] = (),
    ) -> None:
        self._settings, self._checkpoint = settings, checkpoint
        self._wake = threading.Event()
        kept = checkpoint.kept.get(COUNTS)
        counts = Counts(**kept) if kept else None
        self._processor = Processor(settings, [*folders] or [checkpoint.folder], self._wake.set, getBuffer, counts)
        if PARAMETERS in checkpoint.kept:
            self._processor.setParameters(checkpoint.kept[PARAMETERS])
        self._subscription: Subscription | None = None
        self._port, self._token = 0, ""
        """Of the last subscription."""
        self._details: dict[str, Any] = {}
        self._detailsDue = 0.0
        self._saved: dict[str, Any] = {}

    @property
    def status(self) -> str:
        """Sentence for the panel."""
        return self._processor.statusWords()

    @property
    def remedy(self) -> Remedy | None:
        """Offer with which a function that cannot be used may be; None while it can."""
        return self._processor.remedy

    @property
    def details(self) -> Mapping[str, Any]:
        """``processing`` (:meth:`Processor.figures`); ``connected``: port of the open subscription, else 0;
        ``subscription``: :attr:`Subscription.state`; ``finishing``, ``stalled``, ``restarted``: as of
        :class:`Processor`; ``problem``: True when the function cannot be used."""
        return self._details

    def read(self, seconds: float) -> Iterator[Arrival | Event | Values]:
        """Yield the results that are there; block at most ``seconds`` when there is none."""
        if not self._processor.unread:
            self._wake.wait(seconds)
        self._wake.clear()
        yield from self._processor.take(time.monotonic() + TURN)
        self._processor.watch()
        late = time.monotonic() - self._detailsDue
        self._note(*self._processor.counted(late >= LATEST, due=late >= 0))

    def rest(self) -> Iterator[Arrival | Event | Values]:
        """Yield the results that are there at a stop; frames that wait count as skipped."""
        self._disconnect()
        self._processor.close()
        yield from self._processor.take()
        self._note(*self._processor.counted(always=True, due=True))

    def wake(self) -> None:
        """Let read() return."""
        self._wake.set()

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Execute a command in the description of this module."""
        if name == "connect":
            self._connect(values["port"], values["token"])
        elif name == "setParameters":
            self._processor.setParameters(values["parameters"])
        elif name == "reload":
            self._processor.reload()

    def close(self) -> None:
        """End the subscription and the function."""
        self._disconnect()
        self._processor.close()

    def _connect(self, port: int, token: str) -> None:
        if self._state != "ended" and (self._port, self._token) == (port, token):
            return
        self._disconnect()
        every = self._settings.every == "all"
        slots, limit = (PUSH_SLOTS, PUSH_BYTES) if every else (NEWEST_SLOTS, None)
        self._port, self._token = port, token
        request = Subscribe(token, self._settings.source, slots, limit)
        self._subscription = Subscription(port, request, self._take, lambda subscription: self._wake.set())

    def _disconnect(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription:
            subscription.close()

    def _take(self, subscription: Subscription, offer: Offer) -> None:
        self._processor.offer(offer.frame, offer.place, subscription)

    @property
    def _state(self) -> str:
        return self._subscription.state if self._subscription else "ended"

    def _note(self, counts: Counts | None, figures: dict[str, Any] | None) -> None:
        """Save the counts, and put the figures into the details."""
        if counts is None:
            return
        state = {COUNTS: dataclasses.asdict(counts), PARAMETERS: self._processor.parameters}
        if state != self._saved:
            self._saved = state
            self._checkpoint.keep(**state)
        if figures is not None:
            self._refresh(figures)

    def _refresh(self, figures: dict[str, Any]) -> None:
        self._detailsDue = time.monotonic() + DETAILS_PERIOD
        self._details = {
            "processing": figures,
            "connected": self._port if self._state == "open" else 0,
            "subscription": self._state,
            "finishing": self._processor.finishing,
            "problem": bool(self._processor.problem),
            "stalled": self._processor.stalled,
            "restarted": self._processor.restarted,
        }
