"""Frames that Python code in Slicer pushes.

    PushSender (Slicer) ──line "push"──► PushSource ──► Arrival
                        ◄──"taken"──────     │ copies pixels from Slicer's ring

Each pushed frame has a number, from 0, without gaps. One write of the checkpoint both counts and numbers an accepted
frame. After a restart, Slicer sends the unaccepted frames again: none is lost, and none arrives twice.
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
from ...Model.Text import textsOf
from ..Checkpoint import Checkpoint
from ..Source import Arrival

_ = textsOf(__file__)

PUSHED_PATH, PUSHED_STAMP = "pushed", (0, 0)
"""Name of the pushed frames in the checkpoint, which counts them like the images of a file."""


class PushReceiver(Protocol):
    """Reading end of the ring that Slicer writes."""

    def view(self, place: Place, shape: tuple[int, ...], dtype: str) -> Pixels:
        """Return the pixels in a slot: read-only, valid until :meth:`taken`.

        :raises RingError: the pixels are gone.
        """

    def taken(self, number: int, problem: str = "") -> None:
        """Acknowledge all frames up to this number.

        :param problem: the reason why this frame could not be copied; empty without one.
        """


class PushSource:
    """Source of pushed frames, in the order of the pushes.

    :param checkpoint: counts the accepted frames over a restart.
    :param receiver: holds their pixels.
    :param getBuffer: returns memory to copy an image into, or None.
    """

    def __init__(
        self, checkpoint: Checkpoint, receiver: PushReceiver, getBuffer: GetBuffer = lambda nbytes: None
    ) -> None:
        self._checkpoint, self._receiver, self._getBuffer = checkpoint, receiver, getBuffer
        self._sent: deque[Mapping[str, Any]] = deque()
        self._wake = threading.Event()
        self._opened = checkpoint.begin(PUSHED_PATH, PUSHED_STAMP)

    @property
    def status(self) -> str:
        """Sentence for the panel."""
        return _("Showing the images that Python pushes.")

    def read(self, seconds: float) -> Iterator[Arrival | Event]:
        """Yield the frames that have arrived, then wait for more; block at most ``seconds``."""
        while self._sent:
            yield from self._take(self._sent.popleft())
        self._wake.wait(seconds)
        self._wake.clear()

    def wake(self) -> None:
        """Let read() return."""
        self._wake.set()

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Take ``push``: the header of a frame, and the place of its pixels in the ring."""
        if name == "push":
            self._sent.append(values)

    def close(self) -> None:
        """Drop the frames that wait."""
        self._sent.clear()
        self._checkpoint.leave()

    def _take(self, values: Mapping[str, Any]) -> Iterator[Arrival]:
        header: FrameHeader = values["frame"]
        number = header.number
        if number >= self._opened.accepted:
            try:
                pixels = self._copy(values["place"], header.shape, header.dtype)
            except RingError as error:
                self._opened.accepted += 1
                self._checkpoint.keep()
                self._receiver.taken(number, str(error))
                return
            matrix = np.array(header.ijkToRAS, np.float64)
            image = Image(pixels, matrix, header.deviceTime, header.attributes)
            yield Arrival(header.stream, image, header.receiveTime)
        self._receiver.taken(number)

    def _copy(self, place: Place, shape: tuple[int, ...], dtype: str) -> Pixels:
        sent = self._receiver.view(place, shape, dtype)
        memory = self._getBuffer(sent.nbytes)
        pixels: Pixels = np.empty(shape, dtype) if memory is None else memory.view(dtype).reshape(shape)
        np.copyto(pixels, sent)
        return pixels
