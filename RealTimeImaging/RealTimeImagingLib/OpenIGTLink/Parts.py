"""Images that come in parts: the whole of each device, as far as it is known."""

from __future__ import annotations

import numpy as np

from ..Frame import Pixels
from .ImageMessage import ImageHeader

MOST_DEVICES = 256


class Parts:
    """Keeps what was sent of the images of devices that send parts.

    A device is known to send parts once it did. A whole image is kept as well, so that the parts after it change it:
    always from such a device, else only the first of a device, because the copy takes time. Of a device that sends two
    whole images in a row before its first part, the parts lie on zeros.

    :param limit: most bytes kept; the device that was silent longest is forgotten first.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: dict[str, Pixels | None] = {}
        self._inParts: set[str] = set()
        self._last: str | None = None
        """The device of the image before, when that was whole and is not kept."""

    def put(self, device: str, header: ImageHeader, part: Pixels) -> Pixels:
        """Lay a part into the device's image; what was never sent is zero.

        :returns: the whole image, which the next part will change. An image of another size or type starts anew.
        """
        whole = self._kept.pop(device, None)
        if whole is None or whole.shape != header.shape or whole.dtype != part.dtype:
            whole = np.zeros(header.shape, part.dtype)
        whole[header.part] = part
        self._last = None
        self._inParts.add(device)
        self._keep(device, whole)
        return whole

    def whole(self, device: str, pixels: Pixels) -> None:
        """Note that a whole image came."""
        if device == self._last:
            return
        kept = device not in self._kept or device in self._inParts
        self._kept.pop(device, None)
        self._keep(device, pixels.copy() if kept else None)
        self._last = None if kept else device

    def _keep(self, device: str, pixels: Pixels | None) -> None:
        self._kept[device] = pixels
        while len(self._kept) > MOST_DEVICES or self._nbytes > self._limit:
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            self._inParts.discard(oldest)

    @property
    def _nbytes(self) -> int:
        return sum(0 if pixels is None else pixels.nbytes for pixels in self._kept.values())
