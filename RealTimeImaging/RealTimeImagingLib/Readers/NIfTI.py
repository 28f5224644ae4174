"""NIfTI-1 and NIfTI-2: in one file (.nii, .nii.gz), or in two (.hdr and .img, as Analyze 7.5, too)."""

from __future__ import annotations

import os

from .ImageFile import DEFAULT_LIMIT
from .Inflate import Inflated
from .NIfTIHeader import NIfTI2Header, NIfTIHeader, readNIfTIHeader
from .Raw import RawBytes, Stored, readStart
from .Streamed import Streamed
from .Volumes import VolumeFile, Volumes


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

    paired = False

    def __init__(self, path: str, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(path, limit)
        self._inflated: Inflated | Streamed | None = None

    def _declared(self) -> Volumes | str:
        header = self._readHeader()
        return header if isinstance(header, str) else header.volumes(self._stored(header))

    def _readHeader(self) -> NIfTIHeader | str:
        size = NIfTI2Header.size
        if self._inflated is None and self.path.lower().endswith(".gz"):
            self._inflated = (Streamed if self.streaming else Inflated)(self.path, self.limit)
        data = self._inflated.start(size) if self._inflated else readStart(self.path, size)
        return readNIfTIHeader(data, self.paired)

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

    def missing(self) -> str | None:
        words = super().missing()
        # The header's own end proves nothing of a header that is not packed.
        self.sealed = self.sealed and self._inflated is not None
        return words

    def _stored(self, header: NIfTIHeader) -> Stored:
        path, offset = imageOfPair(self.path), header.offset(self.limit)
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
