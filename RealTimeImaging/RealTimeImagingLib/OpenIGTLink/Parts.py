"""Images that come in parts: the whole of each device, as far as it is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..Errors import WireError
from ..Frame import Pixels
from .Budget import Account
from .ImageMessage import ImageHeader, Triple

MOST_DEVICES = 256
SMALL = 1 << 16
"""Most bytes of an image that is returned after every part, whatever the part's size."""
SHARE = 4
"""A larger image is returned each time that parts with one SHARE-th of its bytes arrived. So a few bytes never cost
much more than themselves: a part of one voxel can announce an image of gigabytes."""
_OVERHEAD = 1024
"""Bytes of memory that a waiting part takes beside its pixels."""


@dataclass(eq=False)
class _Partial:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pixels: Pixels | None = None
    """The whole image; None while too little of it has arrived."""
    waiting: dict[tuple[Triple, Triple], tuple[tuple[slice, ...], Pixels]] = field(default_factory=dict)
    """Parts that are not laid into the whole image yet, by offset and size."""
    came: int = 0
    """Bytes of parts since the whole image was returned."""

    @property
    def nbytes(self) -> int:
        """Bytes of its memory."""
        whole = 0 if self.pixels is None else self.pixels.nbytes
        return whole + sum(part.nbytes + _OVERHEAD for _, part in self.waiting.values())


class Parts:
    """Keeps what was sent of the images of devices that send parts.

    A device is known to send parts once it did. A whole image is kept as well, so that the parts after it change it:
    always from such a device, else only the first of a device, because the copy takes time. Of a device that sends two
    whole images in a row before its first part, the parts lie on zeros.

    :param account: the memory that this takes; the device that was silent longest is forgotten first.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._kept: dict[str, _Partial | None] = {}
        self._inParts: set[str] = set()
        self._last: str | None = None
        """The device of the image before, when that was whole and is not kept."""

    def put(self, device: str, header: ImageHeader, part: Pixels) -> Pixels | None:
        """Lay a part into the device's image; what was never sent is zero.

        :param part: its memory must not be used again.
        :returns: the whole image, which the next part will change; None while the parts since the last one have less
            than one SHARE-th of its bytes. An image of another size or type starts anew.
        :raises WireError: there is no memory for it.
        """
        image = self._kept.pop(device, None)
        if image is None or image.shape != header.shape or image.dtype != part.dtype:
            image = _Partial(header.shape, part.dtype)
        image.came += part.nbytes
        self._last = None
        self._inParts.add(device)
        due = header.nbytes <= max(SMALL, SHARE * image.came)
        if image.pixels is None and not due:
            image.waiting[header.offset, header.partSize] = (header.part, part)
            self._keep(device, image)
            return None
        if image.pixels is None:
            self._makeRoom(header.nbytes)
            image.pixels = np.zeros(image.shape, image.dtype)
            for place, pixels in image.waiting.values():
                image.pixels[place] = pixels
            image.waiting.clear()
        image.pixels[header.part] = part
        self._keep(device, image)
        if not due:
            return None
        image.came = 0
        return image.pixels

    def whole(self, device: str, pixels: Pixels) -> None:
        """Note that a whole image came."""
        if device == self._last:
            return
        kept = device not in self._kept or device in self._inParts
        self._kept.pop(device, None)
        self._last = None if kept else device
        image = None
        if kept:
            try:
                self._makeRoom(pixels.nbytes)
                image = _Partial(pixels.shape, pixels.dtype, pixels.copy())
            except (WireError, MemoryError):
                pass  # parts that follow lie on zeros
        self._keep(device, image)

    def clear(self) -> None:
        """Forget all images."""
        self._kept.clear()
        self._inParts.clear()
        self._last = None
        self._account.release()

    def _keep(self, device: str, image: _Partial | None) -> None:
        self._kept[device] = image
        while len(self._kept) > MOST_DEVICES:
            self._forgetOldest()
        self._makeRoom(0)

    def _makeRoom(self, nbytes: int) -> None:
        """Forget images until there is room for ``nbytes`` bytes more.

        :raises WireError: there is no room although all images are forgotten.
        """
        while True:
            kept = sum(one.nbytes for one in self._kept.values() if one is not None)
            try:
                self._account.claim(kept + nbytes)
                return
            except WireError:
                if not self._kept:
                    raise
                self._forgetOldest()

    def _forgetOldest(self) -> None:
        oldest = next(iter(self._kept))
        del self._kept[oldest]
        self._inParts.discard(oldest)
