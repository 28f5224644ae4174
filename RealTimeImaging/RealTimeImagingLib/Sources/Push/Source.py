"""Frames made in Python inside Slicer.

    Feed (Slicer) ──line "push"──► PushSource ──► Arrival
                  ◄──"taken"──────     │ copies out of Slicer's ring

Each frame has a number, from 0, without gaps. The journal counts those that became frames in the same write that
numbers them, so that after a restart, when Slicer sends again what was not taken, none is lost and none comes twice.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from ...Formats import GetBuffer
from ...Link.Messages import FrameHeader
from ...Link.Ring import Place
from ...Model.Errors import RingError
from ...Model.Event import Event
from ...Model.Frame import Image, Pixels
from ..Checkpoint import Checkpoint
from ..Source import Arrival

JOURNAL_PATH, JOURNAL_STAMP = "pushed", (0, 0)
"""Under which the journal keeps the number of the next frame, as that of the next image of a file."""


class PushReceiver(Protocol):
    """The memory that Slicer writes."""

    def view(self, place: Place, shape: tuple[int, ...], dtype: str) -> Pixels:
        """The pixels in a slot, read-only, valid until they are taken.

        :raises RingError: they are gone.
        """

    def taken(self, number: int, problem: str = "") -> None:
        """Tell that all frames up to this one are taken; ``problem`` says why this one could not be."""


class PushSource:
    """The frames that Slicer sends, in their order.

    :param checkpoint: knows which were taken before a restart.
    :param inlet: where their pixels are.
    :param getBuffer: gives memory to copy an image into, or None.
    """

    def __init__(self, checkpoint: Checkpoint, inlet: PushReceiver, getBuffer: GetBuffer = lambda nbytes: None) -> None:
        self._checkpoint, self._inlet, self._getBuffer = checkpoint, inlet, getBuffer
        self._sent: deque[Mapping[str, Any]] = deque()
        self._wake = threading.Event()
        self._opened = checkpoint.begin(JOURNAL_PATH, JOURNAL_STAMP)

    @property
    def status(self) -> str:
        """What is waited for."""
        return "Shows the images that Python pushes."

    def read(self, seconds: float) -> Iterator[Arrival | Event]:
        """The frames that were sent; then wait for the next."""
        while self._sent:
            yield from self._take(self._sent.popleft())
        self._wake.wait(seconds)
        self._wake.clear()

    def wake(self) -> None:
        """End the waiting in read()."""
        self._wake.set()

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Take ``push``: the header of a frame, and the place of its pixels in the ring."""
        if name == "push":
            self._sent.append(values)

    def close(self) -> None:
        """Nothing more is taken."""
        self._sent.clear()
        self._checkpoint.leave()

    def _take(self, values: Mapping[str, Any]) -> Iterator[Arrival]:
        header: FrameHeader = values["frame"]
        number = header.number
        if number > self._opened.accepted:
            return  # sent before Slicer knew of a restart: it comes again behind those before it
        if number == self._opened.accepted:
            try:
                pixels = self._copy(values["place"], header.shape, header.dtype)
            except RingError as error:
                self._opened.accepted += 1
                self._checkpoint.keep()
                self._inlet.taken(number, str(error))
                return
            matrix = np.array(header.ijkToRAS, np.float64)
            image = Image(pixels, matrix, header.deviceTime, header.attributes)
            yield Arrival(header.stream, image, header.receiveTime)
        self._inlet.taken(number)

    def _copy(self, place: Place, shape: tuple[int, ...], dtype: str) -> Pixels:
        sent = self._inlet.view(place, shape, dtype)
        memory = self._getBuffer(sent.nbytes)
        pixels: Pixels = np.empty(shape, dtype) if memory is None else memory.view(dtype).reshape(shape)
        np.copyto(pixels, sent)
        return pixels
