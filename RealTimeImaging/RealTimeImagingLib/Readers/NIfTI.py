"""NIfTI-1 and NIfTI-2: in one file (.nii, .nii.gz), or in two (.hdr and .img, as Analyze 7.5, too)."""

from __future__ import annotations

import os
import struct

from ..Errors import NotAnImageError
from .AnalyzeHeader import AnalyzeHeader
from .ImageFile import DEFAULT_LIMIT
from .Inflate import Inflated
from .NIfTIHeader import FIRST, SECOND, NIfTI2Header, NIfTIHeader
from .Raw import RawBytes, Stored, readStart
from .Streamed import Streamed
from .TextHeader import checkInside
from .Volumes import VolumeFile, Volumes

_GZIP_MARK = b"\x1f\x8b"


class NIfTI(VolumeFile):
    """A NIfTI file; missing() is None once all declared bytes (and, for .gz, the stream's end) are there.

    Geometry, in RAS as the standard has it: the sform when sform_code > 0 (METHOD 3), else the qform when
    qform_code > 0 (METHOD 2), as nibabel does; ITK and so Slicer agree, except that ITK prefers the qform where both
    are set, differ, and sform_code is not 1 ("scanner"). A sheared sform gives way to a qform, as in ITK, and
    is refused without one. With neither code (METHOD 1, which leaves the orientation open) spacing counts,
    the origin is 0 and the axes are those of ITK: i to the left, j to the posterior, k to the superior.

    Values: scl_slope and scl_inter, unless the slope is 0 or not finite or they change nothing. RGB24 and RGBA32, and
    unsigned bytes whose fifth dimension is a vector of 3 or 4, are colour. Attributes: Description (descrip), TR
    (seconds, of a series with a unit of time), VolumeIndex (of a file with several volumes).
    """

    title = "NIfTI"
    paired = False

    def __init__(self, path: str, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(path, limit)
        self._inflated: Inflated | Streamed | None = None

    def _declared(self) -> Volumes | str:
        header = self._readHeader()
        return header if isinstance(header, str) else header.volumes(self._stored(header))

    def _readHeader(self) -> NIfTIHeader | str:
        size = NIfTI2Header.size
        if self._inflated is None and self._isPacked():
            self._inflated = (Streamed if self.streaming else Inflated)(self.path, self.limit)
        data = self._inflated.start(size) if self._inflated else readStart(self.path, size)
        return readNIfTIHeader(data, self.paired)

    def _isPacked(self) -> bool:
        # The content decides, as in ITK; the name while there is none.
        begin = readStart(self.path, len(_GZIP_MARK))
        return begin == _GZIP_MARK if len(begin) == len(_GZIP_MARK) else self.path.lower().endswith(".gz")

    def _stored(self, header: NIfTIHeader) -> Stored:
        offset = header.offset(self.limit)
        if self._inflated:
            self._inflated.skip(offset)
            return self._inflated
        return RawBytes(self.path, offset)


class NIfTIPair(NIfTI):
    """The header (.hdr, .hdr.gz) of a pair with its voxels in a file of the same name (.img, .img.gz), of which either
    may come first. It is NIfTI-1, NIfTI-2 or Analyze 7.5: see :class:`NIfTI` and :class:`AnalyzeHeader`.
    """

    paired = True

    def __init__(self, path: str, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(path, limit)
        self._voxels: Inflated | Streamed | RawBytes | None = None

    @property
    def files(self) -> tuple[str, ...]:
        return self.path, imageOfPair(self.path)

    def _missing(self) -> str | None:
        words = super()._missing()
        # The header's own end proves nothing of a header that is not packed.
        self.sealed = self.sealed and self._inflated is not None
        return words

    def _stored(self, header: NIfTIHeader) -> Stored:
        path, offset = imageOfPair(self.path), header.offset(self.limit)
        checkInside(self.path, [path])
        if not path.lower().endswith(".gz"):
            self._voxels = RawBytes(path, offset, detached=True)
        elif isinstance(self._voxels, Inflated | Streamed) and self._voxels.path == path:
            self._voxels.skip(offset)
        else:
            self._voxels = (Streamed if self.streaming else Inflated)(path, self.limit, skip=offset, detached=True)
        return self._voxels


def imageOfPair(header: str) -> str:
    """The path of the voxels of a header: the one that is there, packed like the header if there are two."""
    plain = header[: -len(".gz")] if header.lower().endswith(".gz") else header
    stem, packed = plain[: -len(".hdr")], plain != header
    suffix = ".IMG" if plain.endswith(".HDR") else ".img"
    names = [stem + suffix, f"{stem}{suffix}.{'GZ' if suffix == '.IMG' else 'gz'}"]
    names = names[::-1] if packed else names
    return next((name for name in names if os.path.exists(name)), names[0])


def readNIfTIHeader(data: bytes, paired: bool) -> NIfTIHeader | str:
    """The header at the beginning of a file, or a sentence saying what of it is missing.

    :param data: the first 540 bytes of the file, fewer when there are no more.
    :param paired: it is the header of a pair (.hdr), whose voxels are in another file.
    :raises NotAnImageError: it is no such header.
    """
    order, size = _beginning(data, paired)
    if size == SECOND and not any(data[4:7] == mark[: len(data[4:7])] for mark in (b"n+2", b"ni2")):
        raise NotAnImageError('A header of 540 bytes has the mark "n+2" of NIfTI-2; this one has not.', "unsupported")
    if size is None or len(data) < size:
        return f"A NIfTI header has {size or FIRST} bytes, {len(data):,} are there."
    if not any(data[:size]):
        return f"The first {size} bytes are still zero; the header is not written yet."
    magic = data[4:12] if size == SECOND else data[344:348]
    number = b"2" if size == SECOND else b"1"
    if magic[:3] == (b"ni" if paired else b"n+") + number:
        if size == FIRST:
            return NIfTIHeader(order, data, paired)
        if magic[3:] != b"\0\r\n\x1a\n":
            raise NotAnImageError("The line ends of the header were changed, as by a transfer as text.", "damaged")
        return NIfTI2Header(order, data, paired)
    if magic[:3] in (b"ni" + number, b"n+" + number):
        words = "is named .nii" if paired else "has a header named .hdr"
        where = "in the same file, which" if paired else "in another file; such a pair"
        raise NotAnImageError(f"By this header the voxels are {where} {words}.", "unsupported")
    if paired:
        return AnalyzeHeader(order, data, paired)
    raise NotAnImageError(
        'The header lacks NIfTI\'s mark "n+1"; Analyze 7.5 is read from .hdr and .img.', "unsupported"
    )


def _beginning(data: bytes, paired: bool) -> tuple[str, int | None]:
    # Byte order and size of the header, as far as its first bytes tell.
    found = [
        (order, size)
        for order in "<>"
        for size in (FIRST, SECOND)
        if data[:4] == struct.pack(order + "i", size)[: len(data)]
    ]
    if found:
        return found[0][0], found[0][1] if len(data) >= 4 else None
    if len(data) < 4 or not any(data):
        return "<", FIRST if len(data) >= 4 else None
    what = "The header of a .hdr/.img pair" if paired else "A NIfTI file"
    raise NotAnImageError(f"{what} begins with the number 348 or 540; this one does not.", "not-an-image")
