"""Bytes of a DICOM file, plain or deflated, and the fragments of encapsulated pixels, with limits against damage."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, BinaryIO

from ...Model.Errors import NotAnImageError
from ...Model.Text import textsOf
from ..ImageFile import translateErrors
from ..Inflate import GZIP, PIECE, isPacked
from ..Raw import openFile, readUpTo

_ = textsOf(__file__)

LONG_FORM = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN")
"""Value representations of pixels whose length has 32 bits after two reserved bytes (PS3.5 section 7.1.2)."""
UNDEFINED = 0xFFFFFFFF
"""Length of an element that ends with a delimiter."""

_PLAIN, _DEFLATED = b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.1.99"
LONGEST_HEADER = 64 << 20
"""Most bytes beside the image."""
_BEGINNING, _MOST_ZEROS = 8, 8
"""Bytes at the beginning of an element, and the most elements of zeros that may follow one another."""


class Clamped(io.BufferedReader):
    """A file that never allocates more than it has: a damaged length would make Python reserve gigabytes.

    ``short`` is set when pydicom reads beyond the end, or reads zeros where elements should be. Such zeros mean that a
    preallocated file is not written so far; a gigabyte of them would be millions of elements.
    """

    name = ""  # required by pydicom; a file in memory has none

    def __init__(self, raw: Any, size: int) -> None:
        super().__init__(raw)
        self.size = size
        self.short = False
        self._zeros = 0

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            # pydicom reads "all" only to inflate it, and deflated files do not come here.
            self.short = True
            raise NotAnImageError(_("The file meta information is damaged."), "damaged")
        # Only a large size costs memory; tell() takes longer than to read an element.
        found = super().read(size if size <= PIECE else max(0, min(size, self.size - self.tell())))
        self.short = self.short or len(found) < size
        if size == _BEGINNING:
            self._zeros = 0 if any(found) else self._zeros + 1
            if self._zeros > _MOST_ZEROS:
                self.short = True
                raise NotAnImageError(_("Zeros are where elements of the DICOM header should be."), "damaged")
        return found


class Packed:
    """Plain version of a file that is packed with gzip, or whose data set is one deflate stream (PS3.5 section A.5).

    It unpacks only new bytes.

    :param offset: start of the stream.
    :param meta: bytes before the stream, with the transfer syntax of the plain version.
    :param limit: most bytes of one image.
    :param wrapper: window bits that select the wrapper of the stream for zlib.
    """

    def __init__(self, path: str, offset: int, meta: bytes, limit: int, wrapper: int = -zlib.MAX_WBITS) -> None:
        self.path = path
        self.sealed = wrapper == GZIP
        """True when the stream has a checksum, which its end proves."""
        self._limit = len(meta) + limit + LONGEST_HEADER
        self._position = offset
        self._inflater = zlib.decompressobj(wrapper)
        self._content = io.BytesIO(meta)
        self._content.seek(0, io.SEEK_END)
        self._asked = False

    def missing(self, most: Callable[[], int]) -> str | None:
        """Return None when the stream is complete, else a sentence.

        :param most: returns the most bytes of the plain file, by its header; called when it has more than
            LONGEST_HEADER. A small file could unpack to gigabytes.
        :raises NotAnImageError: the stream is damaged, or unpacks to more bytes than the limit.
        """
        with openFile(self.path) as file:
            file.seek(self._position)
            while not self._inflater.eof and (piece := readUpTo(file, PIECE)):
                self._position += len(piece)
                while piece and not self._inflater.eof:
                    self._content.write(self._unpacked(piece))
                    piece = self._inflater.unconsumed_tail
                    if self._content.tell() > LONGEST_HEADER and not self._asked:
                        self._asked = True
                        self._limit = min(self._limit, most())
                    if self._content.tell() > self._limit:
                        raise NotAnImageError(
                            _("The file unpacks to more than the limit of {limit:,} bytes.").format(limit=self._limit),
                            "too-large",
                        )
        if self._inflater.eof:
            return None
        return _("The file unpacks to {size:,} bytes so far; the end of the packed data is missing.").format(
            size=self._content.tell()
        )

    def _unpacked(self, piece: bytes) -> bytes:
        try:
            return self._inflater.decompress(piece, PIECE)
        except zlib.error as error:
            raise NotAnImageError(_("The packed data are damaged."), "damaged") from error

    def open(self) -> BinaryIO:
        """Open the plain file, in memory."""
        return io.BytesIO(self._content.getvalue())  # no copy: both share the bytes


def packedFile(path: str, limit: int) -> Packed | None:
    """Return the plain version of a packed file; None for any other file, or one that is too short to know."""
    if isPacked(path, (".gz",)):
        return Packed(path, 0, b"", limit, GZIP)
    with openFile(path) as file:
        head = readUpTo(file, 1 << 14)
    position, syntax = 132, (0, b"")
    while head[128:132] == b"DICM" and position + 12 <= len(head):
        group, element, kind, length = struct.unpack_from("<HH2sH", head, position)
        begin = position + 8
        if kind in LONG_FORM:
            begin, length = position + 12, struct.unpack_from("<I", head, position + 8)[0]
        if group != 2:
            break
        if element == 0x10:
            syntax = begin, head[begin : begin + length]
        position = begin + length
    else:
        return None
    if syntax[1].rstrip(b"\0 ") != _DEFLATED:
        return None
    begin, name = syntax
    return Packed(
        path, position, head[:begin] + _PLAIN.ljust(len(name), b"\0") + head[begin + len(name) : position], limit
    )


@contextlib.contextmanager
def guarded(path: str) -> Iterator[None]:
    """Turn errors of pydicom into a NotAnImageError, see :func:`translateErrors`."""
    # pydicom warns about every oddity.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with translateErrors(path, "DICOM"):
            yield


_ENDS = (b"\xff\xd9", b"\xff\xd9\0")
"""Ends of a frame in JPEG, JPEG-LS or JPEG 2000: a mark, and perhaps a byte that makes the length even."""


class Fragments:
    """Items of PixelData (PS3.5 section A.4) in a file that may still grow.

    :param offset: start of the first item, the offset table.
    """

    def __init__(self, offset: int) -> None:
        self._next = offset
        self._ended = False
        self._found: list[tuple[int, int]] = []
        self._ofFrame: list[list[tuple[int, int]]] | None = None

    def missing(self, file: BinaryIO, size: int) -> str | None:
        """Read the new items; return None when the sequence delimiter was found, else a sentence.

        :param size: bytes of the file.
        :raises NotAnImageError: code "damaged": an item is missing where one should begin.
        """
        while size - self._next >= 8 and not self._ended:
            file.seek(self._next)
            tag, length = struct.unpack("<4sI", readUpTo(file, 8))
            if tag == b"\xfe\xff\xdd\xe0":
                self._ended = True
            elif tag != b"\xfe\xff\x00\xe0" or length == UNDEFINED:
                raise NotAnImageError(
                    _("There is no fragment of PixelData at byte {place:,}.").format(place=self._next), "damaged"
                )
            elif self._next + 8 + length > size:
                break
            else:
                self._found.append((self._next + 8, length))
                self._next += 8 + length
        if self._ended:
            return None
        return _("{count} fragments of pixels are present ({size:,} bytes); their end is missing.").format(
            count=max(0, len(self._found) - 1), size=size
        )

    def frame(self, file: BinaryIO, frames: int, number: int, most: int) -> bytes:
        """Return the compressed bytes of one frame.

        :param frames: number of frames in the file.
        :param most: most bytes of a compressed frame.
        :raises NotAnImageError: code "damaged": the file has fewer frames; code "unsupported": the boundaries of the
            frames are unknown.
        """
        if self._ofFrame is None:
            self._ofFrame = self._divided(file, frames)
        if number >= len(self._ofFrame):
            raise NotAnImageError(
                _("The header declares {frames:,} frames; {count:,} are present.").format(
                    frames=frames, count=len(self._ofFrame)
                ),
                "damaged",
            )
        size = sum(length for _offset, length in self._ofFrame[number])
        if size > most:
            text = _("A compressed frame has {size:,} bytes, more than its pixels can have.").format(size=size)
            raise NotAnImageError(text, "damaged")
        return b"".join(_bytes(file, fragment) for fragment in self._ofFrame[number])

    def _divided(self, file: BinaryIO, frames: int) -> list[list[tuple[int, int]]]:
        # An extended offset table is not needed: with it, each frame is one fragment (PS3.3 section C.7.6.3.1.8).
        from pydicom.encaps import parse_basic_offsets

        fragments = self._found[1:]
        if frames == 1:
            return [fragments]
        if len(fragments) == frames:
            return [[fragment] for fragment in fragments]
        found: list[list[tuple[int, int]]] = [[]]
        begin, size = self._found[0] if self._found else (0, 0)
        if size == 4 * frames:
            file.seek(begin - 8)
            offsets = parse_basic_offsets(file)
            starts = [offset - 8 - begin - size for offset, _length in fragments]
            isAscending = offsets[0] == 0 and all(before < after for before, after in pairwise(offsets))
            if not isAscending or not set(starts).issuperset(offsets):
                text = _("The offset table of PixelData does not fit its {count:,} fragments: it is damaged.")
                raise NotAnImageError(text.format(count=len(fragments)), "damaged")
            found = [[] for _offset in offsets]
            for start, fragment in zip(starts, fragments, strict=True):
                found[bisect_right(offsets, start) - 1].append(fragment)
            return found
        # Without a table, the end marks of the compressed frames divide the fragments.
        for fragment in fragments:
            found[-1].append(fragment)
            if _bytes(file, (fragment[0] + max(0, fragment[1] - 3), min(3, fragment[1]))).endswith(_ENDS):
                found.append([])
        if len(found) - 1 != frames or found[-1]:
            text = _("Without an offset table, the boundaries of the frames in PixelData are unknown.")
            raise NotAnImageError(text, "unsupported")
        return found[:-1]


def _bytes(file: BinaryIO, fragment: tuple[int, int]) -> bytes:
    file.seek(fragment[0])
    data = readUpTo(file, fragment[1])
    if len(data) < fragment[1]:
        raise NotAnImageError(_("The file became shorter while it was read."), "damaged")
    return data
