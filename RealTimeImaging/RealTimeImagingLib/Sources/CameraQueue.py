"""Pictures on their way from the thread that grabs to the source, which may be slower."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from ..Event import Event
from ..Frame import Pixels

LIMIT = 512 << 20
"""Bytes of pictures that may wait while all are wanted; one may wait whatever its size."""


@dataclass(frozen=True)
class Grabbed:
    """A picture as it was grabbed.

    :param pixels: as OpenCV gives them; None when it cannot be decoded.
    :param arrival: when it was here, seconds since the epoch (UTC).
    :param deviceTime: when it was taken, seconds since the epoch (UTC), or None.
    :param place: its place in a file, from 0; None for a camera or stream.
    """

    pixels: Pixels | None
    arrival: float
    deviceTime: float | None
    place: int | None = None

    @property
    def bytes(self) -> int:
        return 0 if self.pixels is None else self.pixels.nbytes


class CameraQueue:
    """Keeps every picture while all are wanted, and otherwise only the newest. Thread-safe.

    :param limit: bytes that may wait.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._items: deque[Grabbed | Event] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._all, self._woken, self._closed = True, False, False
        self.grabbed = 0
        """Pictures that were put in."""
        self.passedOver = 0
        """Pictures that a newer one replaced, as only the newest was wanted."""
        self.lost = 0
        """Pictures for which there was no room, although all were wanted."""

    def keepAll(self, all_: bool) -> None:
        """Keep every picture from now on, or only the newest."""
        with self._changed:
            self._all = all_

    def put(self, picture: Grabbed, patient: bool = False) -> None:
        """Put a picture in.

        :param patient: it may wait for room, and nothing is dropped: a file does not run away.
        """
        with self._changed:
            self.grabbed += 1
            if patient:
                self._changed.wait_for(lambda: self._closed or not self._bytes or self._fits(picture))
            elif not self._all:
                self._dropPictures()
            elif self._bytes and not self._fits(picture):
                self.lost += 1
                return
            self._bytes += picture.bytes
            self._append(picture)

    def tell(self, event: Event) -> None:
        """Put an event in, in its place among the pictures."""
        with self._changed:
            self._append(event)

    def take(self, seconds: float) -> Grabbed | Event | None:
        """The next; waits for so many seconds at most, None when nothing came or :meth:`wake` was called."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._woken, seconds)
            self._woken = False
            return self._next()

    def takeWanted(self) -> Grabbed | Event | None:
        """The next that is there; pictures only while all are wanted, else they count as passed over."""
        with self._changed:
            if not self._all:
                self._dropPictures()
            return self._next()

    def giveUp(self) -> None:
        """Count the pictures that wait as lost."""
        with self._changed:
            self.lost += sum(isinstance(item, Grabbed) for item in self._items)
            self._items.clear()
            self._bytes = 0

    @property
    def waiting(self) -> int:
        """Pictures and events that wait."""
        with self._changed:
            return len(self._items)

    def wake(self) -> None:
        """End the waiting in :meth:`take`."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """End all waiting in :meth:`put`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _next(self) -> Grabbed | Event | None:
        if not self._items:
            return None
        item = self._items.popleft()
        if isinstance(item, Grabbed):
            self._bytes -= item.bytes
        self._changed.notify_all()
        return item

    def _fits(self, picture: Grabbed) -> bool:
        return self._bytes + picture.bytes <= self._limit

    def _append(self, item: Grabbed | Event) -> None:
        self._items.append(item)
        self._changed.notify_all()

    def _dropPictures(self) -> None:
        pictures = sum(isinstance(item, Grabbed) for item in self._items)
        if pictures:
            self.passedOver += pictures
            self._bytes = 0
            self._items = deque(item for item in self._items if isinstance(item, Event))
