"""The bodies of requests on their way to images: raw pixels in memory, files in the working folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import numpy as np

from ...Formats import GetBuffer, openImageFile
from ...Model.Errors import FrameError, NotAnImageError, RequestError
from ...Model.Frame import Image, Pixels, imageOf
from .FrameRequest import FrameRequest, RawPixels

GZIP = b"\x1f\x8b"


class RawBody:
    """Takes raw pixels straight into the memory of their image.

    :param length: that the sender announced; None when it did not.
    :raises RequestError: another length than the shape needs.
    """

    def __init__(self, wanted: FrameRequest, raw: RawPixels, length: int | None, limit: int) -> None:
        self.wanted, self._raw, self.size, self._count = wanted, raw, raw.bytes, 0
        self.count = 1
        """How many images it has."""
        if length is not None and length != raw.bytes:
            raise self._wrong(f"{length:,} are announced")
        if raw.bytes > limit:
            raise tooLarge(raw.bytes, limit)
        try:
            self._pixels: Pixels = np.empty(raw.bytes, np.uint8)
        except MemoryError as error:
            raise RequestError(503, "There is no memory for the image.") from error
        self._memory: memoryview = self._pixels.data

    def write(self, piece: memoryview) -> None:
        """The next bytes.

        :raises RequestError: more than the shape needs.
        """
        end = self._count + len(piece)
        if end > self.size:
            raise self._wrong("more came")
        self._memory[self._count : end] = piece
        self._count = end

    def images(self) -> Iterator[Image]:
        """The image.

        :raises RequestError: it cannot be one.
        """
        if self._count < self.size:
            raise self._wrong(f"{self._count:,} came")
        raw = self._raw
        values = self._pixels.view(raw.dtype).reshape(raw.shape)
        if not raw.dtype.isnative:
            values = values.byteswap(inplace=True).view(raw.dtype.newbyteorder("="))
        try:
            image = imageOf(values, raw.ijkToRAS, None, raw.colour)
        except FrameError as error:
            raise RequestError(400, str(error)) from error
        yield self.wanted.image(image, 0.0)

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.release()
        self._pixels = np.empty(0, np.uint8)

    def _wrong(self, words: str) -> RequestError:
        raw = self._raw
        shape = " x ".join(map(str, raw.shape))
        return RequestError(400, f"{shape} pixels of {raw.dtype.name} are {raw.bytes:,} bytes; {words}.")


class FileBody:
    """Takes a file: readers read files, so that it is one in the working folder until it is read.

    :param path: for the file, without an ending.
    :param length: that the sender announced; None when it did not.
    :param limit: most bytes of the file, and of an image in it.
    :param getBuffer: gives memory to decode an image into, or None.
    :raises RequestError: it is announced to be larger, or there is no room.
    """

    def __init__(self, wanted: FrameRequest, path: str, length: int | None, limit: int, getBuffer: GetBuffer) -> None:
        self.wanted, self._path, self._limit, self._getBuffer = wanted, path, limit, getBuffer
        self.size, self._count, self._start = length or 0, 0, b""
        self.count = 0
        """How many images it has, once that is known."""
        if self.size > limit:
            raise tooLarge(self.size, limit)
        try:
            self._file = open(path, "wb", buffering=0)  # noqa: SIM115 (closed by close())
        except OSError as error:
            raise _noRoom(error) from error

    def write(self, piece: memoryview) -> None:
        """The next bytes.

        :raises RequestError: more than may come, or there is no room for them.
        """
        self._start = self._start or bytes(piece[:2])
        self._count += len(piece)
        self.size = max(self.size, self._count)
        if self._count > self._limit:
            raise tooLarge(self._count, self._limit)
        try:
            while len(piece):
                piece = piece[self._file.write(piece) :]
        except OSError as error:
            raise _noRoom(error) from error

    def images(self) -> Iterator[Image]:
        """The images in the file, one after another.

        :raises RequestError: it is none, or is not whole.
        """
        if not self._count:
            raise RequestError(400, "The request has no body; with curl, send a file with --data-binary @FILE.")
        suffix = self.wanted.suffix
        if self._start == GZIP and suffix in ("", ".nii"):
            suffix = ".nii.gz"
        try:
            self._file.close()
            os.replace(self._path, self._path + suffix)
            self._path += suffix
            yield from self._read()
        except NotAnImageError as error:
            unsure = error.code == "not-an-image" and not suffix
            unread = unsure or error.code in ("unsupported", "missing-package")
            status = 413 if error.code == "too-large" else 415 if unread else 400
            words = str(error).replace(os.path.basename(self._path), self.wanted.name or "it")
            raise RequestError(status, f"The image cannot be read: {words}") from error
        except OSError as error:
            raise RequestError(503, f"The image cannot be read: {error.strerror or error}.") from error

    def _read(self) -> Iterator[Image]:
        reader = openImageFile(self._path, self._limit)
        reader.getBuffer = self._getBuffer
        missing = reader.missing()
        if reader.files != (self._path,):
            raise NotAnImageError("The voxels lie in another file: send one that holds both.", "unsupported")
        if missing:
            raise NotAnImageError(f"It is not whole: {missing}", "damaged")
        self.count, times = reader.count, reader.times or [0.0]
        for index, image in enumerate(reader.images()):
            yield self.wanted.image(image, times[index] if index < len(times) else None)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
        try:
            os.unlink(self._path)
        except OSError:
            pass  # the whole folder goes with the source


def tooLarge(size: int, limit: int) -> RequestError:
    """The refusal of something that is larger than may be sent."""
    return RequestError(413, f"{size:,} bytes are more than the {limit:,} that one request, or one image, may have.")


def _noRoom(error: OSError) -> RequestError:
    return RequestError(503, f"There is no room for the image: {re.sub(r'[.]$', '', error.strerror or str(error))}.")
