"""VIDEO: a frame of a compressed video with its place in space.

OpenIGTLink v3.1, "Video Message" (Documents/Protocol/video.md); VideoStreaming/igtl_video.h. The page lists three bytes
for the coordinates and one number for the size; the header in the library has one byte and three numbers.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Sequence

import numpy as np

from ..Model.Errors import WireError
from ..Model.Frame import Matrix
from ..Model.Text import textsOf
from .Base import Buffer, WireMessage, codec, encoded, lengthOf
from .ImageMessage import COORDINATES, ENDIANS, Triple, fromRAS, toRAS

_ = textsOf(__file__)

VIDEO_HEADER_SIZE = 76
FOURCC_SIZE = 4
_HEADER = struct.Struct(f">HB{FOURCC_SIZE}sHB3H12f6H")
_GREY = 8
"""Bits by which the frame type of a grey video is shifted."""


@codec("VIDEO")
class VideoMessage(WireMessage):
    """A video message: the bytes that an encoder made of one picture.

    :param data: compressed bytes; may be empty when the encoder has skipped a picture.
    :param fourcc: codec by its four characters, such as "H264", "X265", "VP90" or "AV10".
    :param size: pixels of the picture along i, j, k.
    :param ijkToRAS: 4x4, voxel index (i, j, k) to millimetres in RAS; sent as float32. None: the identity to send;
        after reception, the sender gave no matrix with an inverse, as programs do that set no spacing.
    :param key: True for a key frame, which does not depend on frames before it. After reception, trust the bytes
        instead: the C++ library puts other numbers here for H265 and for grey H264.
    :param grey: True for a grey picture: its brightness counts, not its colour.
    :param coordinates: "RAS" or "LPS": coordinates of the matrix on the wire.
    """

    TYPE = "VIDEO"
    BULK = True
    KEY, OTHER = 1, 5
    """Frame types: key frame, and unknown, which the C++ library sends for all others."""

    def __init__(
        self,
        data: bytes = b"",
        fourcc: str = "H264",
        size: Triple = (1, 1, 1),
        ijkToRAS: Matrix | None = None,
        *,
        key: bool = False,
        grey: bool = False,
        coordinates: str = "RAS",
        timestamp: float | None = None,
        device_name: str | None = None,
    ) -> None:
        super().__init__(timestamp, device_name)
        self.data, self.fourcc, self.size, self.ijkToRAS = data, fourcc, size, ijkToRAS
        self.key, self.grey, self.coordinates = key, grey, coordinates

    def _pack_buffers(self) -> Sequence[Buffer]:
        rawFourcc = encoded(self.fourcc)
        lengthOf(rawFourcc, FOURCC_SIZE, _("The name of the codec"))
        matrix = np.eye(4) if self.ijkToRAS is None else np.asarray(self.ijkToRAS, np.float64)
        if matrix.shape != (4, 4) or not all(1 <= count <= 0xFFFF for count in self.size):
            raise WireError(
                _("a picture of {size} pixels with a matrix of shape {matrix}").format(
                    size=str(self.size), matrix=str(matrix.shape)
                )
            )
        numbers = {name: number for number, name in COORDINATES.items()}
        endians = {name: number for number, name in ENDIANS.items()}
        if self.coordinates not in numbers:
            raise WireError(_("coordinates {coordinates}").format(coordinates=self.coordinates))
        head = _HEADER.pack(
            1,
            endians[sys.byteorder],
            rawFourcc,
            (self.KEY if self.key else self.OTHER) << (_GREY if self.grey else 0),
            numbers[self.coordinates],
            *self.size,
            *fromRAS(matrix, self.size, self.coordinates),
            *(0, 0, 0),
            *self.size,
        )
        return [head, self.data]

    def _pack_content(self) -> bytes:
        return b"".join(self._pack_buffers())

    def _unpack_content(self, content: bytes) -> None:
        if len(content) < VIDEO_HEADER_SIZE:
            raise WireError(
                _("a video frame has a header of {expected} bytes, but this content has {size} bytes").format(
                    expected=VIDEO_HEADER_SIZE, size=len(content)
                )
            )
        version, _endian, fourcc, frameType, coordinates, *rest = _HEADER.unpack(content[:VIDEO_HEADER_SIZE])
        size, matrix = tuple(rest[:3]), rest[3:15]
        offset, part = tuple(rest[15:18]), tuple(rest[18:])
        if version != 1:
            raise WireError(_("its video header has version {version}; expected 1").format(version=version))
        if coordinates not in COORDINATES:
            raise WireError(
                _("its coordinates are {coordinates}; expected 1 (RAS) or 2 (LPS)").format(coordinates=coordinates)
            )
        if 0 in size:
            raise WireError(_("it has no pixels: its size is {size}").format(size=str(size)))
        if (offset, part) != ((0, 0, 0), size):
            raise WireError(
                _(
                    "it is a part of {part} pixels at {offset} of a video of {size}; only whole pictures are supported"
                ).format(part=str(part), offset=str(offset), size=str(size))
            )
        self.data, self.size = content[VIDEO_HEADER_SIZE:], size
        self.fourcc = fourcc.split(b"\0", 1)[0].decode("ascii", "replace").strip()
        self.grey = frameType > 0xFF
        self.key = (frameType >> _GREY if self.grey else frameType) == self.KEY
        self.coordinates = COORDINATES[coordinates]
        self.ijkToRAS = _usable(toRAS(matrix, size, self.coordinates)) if all(map(math.isfinite, matrix)) else None


def _usable(matrix: Matrix) -> Matrix | None:
    with np.errstate(all="ignore"):
        determinant = float(np.linalg.det(matrix[:3, :3]))
    return matrix if math.isfinite(determinant) and determinant else None
