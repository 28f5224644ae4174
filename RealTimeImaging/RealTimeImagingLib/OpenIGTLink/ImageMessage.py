"""IMAGE: a picture or a volume with its place in space, or a box-shaped part of one."""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ..Model.Errors import WireError
from ..Model.Frame import LPS_TO_RAS, Matrix, Pixels, componentsOf
from ..Model.Text import textsOf
from .Base import SCALAR_TYPES, Buffer, WireMessage, codec
from .ReceiveBuffer import Account

_ = textsOf(__file__)

IMAGE_HEADER_SIZE = 72
_HEADER = struct.Struct(">HBBBB3H12f6H")
ENDIANS = {1: "big", 2: "little"}
"""Byte orders of pixels by their numbers on the wire."""
COORDINATES = {1: "RAS", 2: "LPS"}
"""Coordinates of matrices by their numbers on the wire."""
_IDENTITY: Matrix = np.eye(4)

Triple = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """Image header: the 72 bytes before the pixels.

    :param components: components of a voxel, 1 to 255.
    :param dtype: type of the pixels, in native byte order.
    :param endian: "little" or "big": byte order of the pixels on the wire.
    :param coordinates: "RAS" or "LPS": coordinates of the matrix on the wire.
    :param size: voxels of the whole image along i, j, k.
    :param ijkToRAS: 4x4 float64, voxel index (i, j, k) of the whole image to millimetres in RAS.
    :param offset: index (i, j, k) of the first voxel of the part.
    :param partSize: voxels of the part along i, j, k.
    """

    components: int
    dtype: np.dtype[Any]
    endian: str
    coordinates: str
    size: Triple
    ijkToRAS: Matrix
    offset: Triple
    partSize: Triple

    @staticmethod
    @lru_cache(maxsize=32)
    def unpack(raw: bytes) -> ImageHeader:
        """Read a header; cached, because the images of a stream mostly have the same header.

        :raises WireError: no image can have this header.
        """
        version, components, scalar, endian, coordinates, *rest = _HEADER.unpack(raw)
        size, matrix, offset, partSize = tuple(rest[:3]), rest[3:15], tuple(rest[15:18]), tuple(rest[18:])
        if version != 1:
            raise WireError(_("its image header has version {version}; expected 1").format(version=version))
        if components < 1:
            raise WireError(_("its voxels have 0 components"))
        if scalar not in SCALAR_TYPES:
            raise WireError(_("its scalar type is {scalar}; expected 2 to 7, 10 or 11").format(scalar=scalar))
        if endian not in ENDIANS:
            raise WireError(_("its byte order is {endian}; expected 1 (big) or 2 (little)").format(endian=endian))
        if coordinates not in COORDINATES:
            raise WireError(
                _("its coordinates are {coordinates}; expected 1 (RAS) or 2 (LPS)").format(coordinates=coordinates)
            )
        if 0 in size or 0 in partSize:
            raise WireError(_("it has no voxels: image {size}, part {part}").format(size=str(size), part=str(partSize)))
        if any(first + count > whole for first, count, whole in zip(offset, partSize, size, strict=True)):
            raise WireError(
                _("its part of {part} voxels at {offset} exceeds the image size {size}").format(
                    part=str(partSize), offset=str(offset), size=str(size)
                )
            )
        if not all(map(math.isfinite, matrix)):
            raise WireError(_("its matrix has values that are NaN or infinite"))
        dtype, named = np.dtype(SCALAR_TYPES[scalar]), COORDINATES[coordinates]
        ijkToRAS = toRAS(matrix, size, named)
        return ImageHeader(components, dtype, ENDIANS[endian], named, size, ijkToRAS, offset, partSize)

    def pack(self) -> bytes:
        """Pack the header.

        :raises WireError: a value does not fit its field.
        """
        scalar = next((number for number, name in SCALAR_TYPES.items() if np.dtype(name) == self.dtype), None)
        if scalar is None:
            raise WireError(_("OpenIGTLink cannot carry pixels of type {type}").format(type=str(self.dtype)))
        if not 1 <= self.components <= 255 or not all(1 <= count <= 0xFFFF for count in self.size):
            raise WireError(
                _("an image of {size} voxels with {components} components is too large, or empty").format(
                    size=str(self.size), components=self.components
                )
            )
        return _HEADER.pack(
            1,
            self.components,
            scalar,
            1 if self.endian == "big" else 2,
            1 if self.coordinates == "RAS" else 2,
            *self.size,
            *fromRAS(self.ijkToRAS, self.size, self.coordinates),
            *self.offset,
            *self.partSize,
        )

    @cached_property
    def wire(self) -> np.dtype[Any]:
        """Type of the pixels in the byte order of the wire."""
        wire: np.dtype[Any] = np.dtype((">" if self.endian == "big" else "<") + self.dtype.str[1:])
        return wire

    @property
    def whole(self) -> bool:
        """True when the part is the whole image."""
        return self.partSize == self.size

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole image: (k, j, i) or (k, j, i, components)."""
        return self._shape(self.size)

    @cached_property
    def partShape(self) -> tuple[int, ...]:
        """Shape of the part: (k, j, i) or (k, j, i, components)."""
        return self._shape(self.partSize)

    @property
    def part(self) -> tuple[slice, ...]:
        """Slices of the part in the whole image."""
        return tuple(
            slice(first, first + count) for first, count in zip(self.offset[::-1], self.partSize[::-1], strict=True)
        )

    @cached_property
    def nbytes(self) -> int:
        """Bytes of the whole image."""
        return math.prod(self.shape) * self.dtype.itemsize

    @cached_property
    def partBytes(self) -> int:
        """Bytes of the part."""
        return math.prod(self.partShape) * self.dtype.itemsize

    def check(self, nbytes: int) -> None:
        """Check the number of bytes after the header.

        :raises WireError: the header declares another number of bytes.
        """
        if nbytes != self.partBytes:
            raise WireError(
                _(
                    "its header declares {size} voxels of {components} x {type} ({expected:,} bytes), "
                    "but {received:,} bytes of pixels were received"
                ).format(
                    size=str(self.partSize),
                    components=self.components,
                    type=str(self.dtype),
                    expected=self.partBytes,
                    received=nbytes,
                )
            )

    def pixels(self, memory: Pixels) -> Pixels:
        """Return the pixels of the part in native byte order, without a copy; big-endian pixels are swapped in place.

        :param memory: uint8, at least :attr:`partBytes` bytes.
        """
        array: Pixels = memory[: self.partBytes].view(self.wire).reshape(self.partShape)
        return array if self.wire.isnative else array.byteswap(inplace=True).view(self.dtype)

    def _shape(self, size: Triple) -> tuple[int, ...]:
        return (*size[::-1], self.components) if self.components > 1 else size[::-1]


def toRAS(matrix: Sequence[float], size: Triple, coordinates: str) -> Matrix:
    """Convert a matrix from the wire: columns t, s and n with the length of the spacing, and the image's centre."""
    made = np.eye(4)
    made[:3] = np.reshape(matrix, (4, 3)).transpose()
    made[:3, 3] -= made[:3, :3] @ _centre(size)
    return LPS_TO_RAS @ made if coordinates == "LPS" else made


def fromRAS(ijkToRAS: Matrix, size: Triple, coordinates: str) -> list[float]:
    """Convert a matrix to the wire; the inverse of :func:`toRAS`.

    :raises WireError: float32 cannot hold its values.
    """
    made = LPS_TO_RAS @ ijkToRAS if coordinates == "LPS" else ijkToRAS.copy()
    made[:3, 3] += made[:3, :3] @ _centre(size)
    with np.errstate(over="ignore"):
        values = made[:3].transpose().astype(np.float32)
    if not np.isfinite(values).all():
        raise WireError(_("its matrix has values that are NaN, infinite, or too large for float32"))
    return [float(value) for value in values.ravel()]


def _centre(size: Triple) -> Matrix:
    return (np.array(size, np.float64) - 1) / 2


@codec("IMAGE")
class ImageMessage(WireMessage):
    """An image message.

    After reception, ``pixels`` is the whole image. Of an image in parts it holds the parts received so far, and zeros
    elsewhere. ``offset`` and ``size`` describe the part of this message. ``ijkToRAS`` is RAS, whatever the coordinates
    on the wire are.

    :param pixels: (k, j, i), or (k, j, i, components) with 2 to 255 components; one of u1 i1 u2 i2 u4 i4 f4 f8. Sent
        without a copy when C-contiguous and in the byte order of ``endian``.
    :param ijkToRAS: 4x4, voxel index (i, j, k) to millimetres in RAS; sent as float32. None: the identity.
    :param coordinates: "RAS" or "LPS": coordinates of the matrix on the wire.
    :param endian: "little" or "big": byte order of the pixels on the wire.
    :param offset: index (i, j, k) of the first voxel to send.
    :param size: voxels (i, j, k) to send; None: all from ``offset`` on.
    """

    TYPE = "IMAGE"
    BULK = True

    def __init__(
        self,
        pixels: Pixels | None = None,
        ijkToRAS: Matrix | None = None,
        *,
        coordinates: str = "RAS",
        endian: str = sys.byteorder,
        offset: Triple = (0, 0, 0),
        size: Triple | None = None,
        timestamp: float | None = None,
        device_name: str | None = None,
    ) -> None:
        super().__init__(timestamp, device_name)
        self.pixels: Pixels = np.zeros((1, 1, 1), np.uint8) if pixels is None else pixels
        self.ijkToRAS: Matrix = _IDENTITY.copy() if ijkToRAS is None else np.array(ijkToRAS, np.float64)
        self.coordinates, self.endian, self.offset, self.size = coordinates, endian, offset, size

    def take(self, header: ImageHeader, pixels: Pixels) -> None:
        """Set the fields from a received image.

        :param pixels: the whole image.
        """
        self.pixels, self.ijkToRAS, self.coordinates = pixels, header.ijkToRAS.copy(), header.coordinates
        self.offset, self.size, self.endian = header.offset, header.partSize, header.endian

    def _pack_buffers(self) -> Sequence[Buffer]:
        if self.pixels.ndim not in (3, 4) or np.shape(self.ijkToRAS) != (4, 4):
            raise WireError(
                _("pixels of shape {shape} with a matrix of shape {matrix}").format(
                    shape=str(self.pixels.shape), matrix=str(np.shape(self.ijkToRAS))
                )
            )
        if self.coordinates not in COORDINATES.values() or self.endian not in ENDIANS.values():
            raise WireError(
                _("coordinates {coordinates} and byte order {endian}").format(
                    coordinates=self.coordinates, endian=self.endian
                )
            )
        shape = self.pixels.shape
        whole = (shape[2], shape[1], shape[0])
        part = self.size or tuple(count - first for count, first in zip(whole, self.offset, strict=True))
        header = ImageHeader(
            componentsOf(shape),
            self.pixels.dtype.newbyteorder("="),
            self.endian,
            self.coordinates,
            whole,
            np.asarray(self.ijkToRAS, np.float64),
            self.offset,
            part,
        )
        head = header.pack()
        ImageHeader.unpack(head)  # raises for a part that exceeds the image
        pixels = np.ascontiguousarray(self.pixels[header.part], header.wire)
        return [head, pixels.reshape(-1).view(np.uint8).data]

    def _pack_content(self) -> bytes:
        return b"".join(self._pack_buffers())

    def _unpack_content(self, content: bytes) -> None:
        """Read an image inside another message; connections read images in place.

        :raises WireError: the content is not an image, or only a part.
        """
        if len(content) < IMAGE_HEADER_SIZE:
            raise WireError(
                _("an image has a header of {expected} bytes, but this content has {size} bytes").format(
                    expected=IMAGE_HEADER_SIZE, size=len(content)
                )
            )
        header = ImageHeader.unpack(content[:IMAGE_HEADER_SIZE])
        header.check(len(content) - IMAGE_HEADER_SIZE)
        if not header.whole:
            raise WireError(_("parts of images inside another message are not supported"))
        self.take(header, header.pixels(np.frombuffer(content, np.uint8)[IMAGE_HEADER_SIZE:].copy()))


MOST_DEVICES = 256
SMALL = 1 << 16
"""Largest image in bytes that is returned after each part."""
SHARE = 4
"""A larger image is returned whenever parts with 1/SHARE of its bytes have arrived. A part of one voxel can declare an
image of gigabytes: this keeps the cost in proportion to the received bytes."""
_OVERHEAD = 1024
"""Memory of a waiting part beside its pixels, in bytes."""


@dataclass(eq=False)
class _Partial:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pixels: Pixels | None = None
    """The whole image; None while too little of it has arrived."""
    waiting: dict[tuple[Triple, Triple], tuple[tuple[slice, ...], Pixels]] = field(default_factory=dict)
    """Parts that are not copied into the whole image yet, by offset and size."""
    received: int = 0
    """Bytes of parts since the whole image was returned."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        whole = 0 if self.pixels is None else self.pixels.nbytes
        return whole + sum(part.nbytes + _OVERHEAD for _, part in self.waiting.values())


class PartialImages:
    """Images of devices that send parts.

    Parts change the whole image that precedes them. A copy takes time, so whole images are kept only for a device that
    has sent parts, and the first image of each device. When a device sends two whole images before its first part, the
    parts start on zeros.

    :param account: memory account; the device that was silent longest is forgotten first.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._kept: dict[str, _Partial | None] = {}
        self._inParts: set[str] = set()
        self._last: str | None = None
        """Device of the last image, when that was whole and is not kept."""

    def put(self, device: str, header: ImageHeader, part: Pixels) -> Pixels | None:
        """Copy a part into the device's image; voxels without a part are zero. Another size or type starts a new image.

        :param part: pixels; the caller must not use their memory again.
        :returns: the whole image, which the next part will change; None while the parts since the last return have less
            than 1/SHARE of its bytes.
        :raises WireError: the memory is used up.
        """
        image = self._kept.pop(device, None)
        if image is None or image.shape != header.shape or image.dtype != part.dtype:
            image = _Partial(header.shape, part.dtype)
        image.received += part.nbytes
        self._last = None
        self._inParts.add(device)
        due = header.nbytes <= max(SMALL, SHARE * image.received)
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
        image.received = 0
        return image.pixels

    def whole(self, device: str, pixels: Pixels) -> None:
        """Note a whole image."""
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
                pass  # the following parts start on zeros
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
        """Forget images until ``nbytes`` more bytes fit.

        :raises WireError: they do not fit although all images are forgotten.
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
