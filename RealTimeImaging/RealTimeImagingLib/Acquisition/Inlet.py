"""The way into the acquisition process: pixels that Slicer wrote into a ring of its own; see Feed for the other end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..Frame import Pixels
from .Ring import Place, RingReader

RING_NAME = "pushed"
"""Common start of the names of the ring's files. It is not that of a process: the ring outlives each of them."""


class RingInlet:
    """The acquisition process's end of the ring that Slicer writes.

    :param folders: the working folders.
    :param tell: sends a line to Slicer.
    """

    def __init__(self, folders: list[str], tell: Callable[[dict[str, Any]], None]) -> None:
        self._ring, self._tell = RingReader(folders, RING_NAME), tell

    def view(self, place: Mapping[str, int], shape: tuple[int, ...], dtype: str) -> Pixels:
        """The pixels in a slot, read-only, valid until they are taken.

        :raises RingError: they are gone.
        """
        return self._ring.view(Place(**place), shape, np.dtype(dtype))

    def taken(self, number: int, problem: str = "") -> None:
        """Give back the slots of all frames up to this one.

        :param problem: why this one could not be taken.
        """
        self._tell({"taken": number, "problem": problem})
