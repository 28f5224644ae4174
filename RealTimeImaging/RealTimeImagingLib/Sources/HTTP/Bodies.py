"""Bodies of requests: raw pixels in memory, image files in the working folder."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from ...Formats import GetBuffer, openImageFile
from ...Model.Errors import FrameError, NotAnImageError, RequestError
from ...Model.Files import moveFile, openPrivate, reasonOf, removeFile
from ...Model.Frame import Image, Pixels, imageOf
from ...Model.Text import renamed, sentence, textsOf
from .FrameRequest import FrameRequest, RawPixels

_ = textsOf(__file__)

GZIP = b"\x1f\x8b"
PIECE = 1 << 18
"""Bytes of a file to receive at once."""


class RawBody:
    """Raw pixels, received directly into the memory of their image.

    :param length: from Content-Length; None without it.
    :param limit: most bytes of the image.
    :raises RequestError: the shape needs another length, or more than the limit.
    """

    def __init__(self, wanted: FrameRequest, raw: RawPixels, length: int | None, limit: int) -> None:
        self.wanted, self._raw, self.size, self._count = wanted, raw, raw.bytes, 0
        self.count = 1
        """Number of images."""
        if length is not None and length != raw.bytes:
            raise self._wrongLength(_("{count:,} are announced").format(count=length))
        if raw.bytes > limit:
            raise tooLarge(raw.bytes, limit)
        try:
            self._pixels: Pixels = np.empty(raw.bytes, np.uint8)
        except MemoryError as error:
            text = _("There is no memory for {count:,} bytes: retry later.").format(count=raw.bytes)
            raise RequestError(503, text) from error
        self._memory: memoryview = self._pixels.data

    def buffer(self, most: int) -> memoryview:
        """Return the memory of the next pixels.

        :raises RequestError: the shape needs fewer bytes.
        """
        end = self._count + most
        if end > self.size:
            raise self._wrongLength(_("more arrived"))
        return self._memory[self._count : end]

    def filled(self, count: int) -> None:
        """Count the bytes that are in place."""
        self._count += count

    def images(self) -> Iterator[Image]:
        """Yield the image.

        :raises RequestError: bytes are missing, or the pixels cannot be an image.
        """
        if self._count < self.size:
            raise self._wrongLength(_("{count:,} arrived").format(count=self._count))
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
        """Release the memory."""
        self._memory.release()
        self._pixels = np.empty(0, np.uint8)

    def _wrongLength(self, found: str) -> RequestError:
        raw = self._raw
        shape = " x ".join(map(str, raw.shape))
        text = _("{shape} pixels of {dtype} are {count:,} bytes; {found}.")
        return RequestError(400, text.format(shape=shape, dtype=raw.dtype.name, count=raw.bytes, found=found))


class FileBody:
    """An image file, kept in the working folder until its reader has read it.

    :param path: for the file, without a suffix.
    :param length: from Content-Length; None without it.
    :param limit: most bytes of the file, and of an image in it.
    :param getBuffer: returns memory to decode an image into, or None.
    :raises RequestError: the file is larger than the limit, or cannot be created.
    """

    def __init__(self, wanted: FrameRequest, path: str, length: int | None, limit: int, getBuffer: GetBuffer) -> None:
        self.wanted, self._path, self._limit, self._getBuffer = wanted, path, limit, getBuffer
        self.size, self._count, self._start = length or 0, 0, b""
        self.count = 0
        """Number of images; 0 until the reader knows it."""
        if self.size > limit:
            raise tooLarge(self.size, limit)
        self._memory = memoryview(bytearray(min(PIECE, self.size or PIECE)))
        try:
            self._file = open(path, "xb", buffering=0, opener=openPrivate)  # noqa: SIM115 (closed by close())
        except OSError as error:
            raise _notStored(error) from error

    def buffer(self, most: int) -> memoryview:
        """Return memory for the next bytes."""
        return self._memory[:most]

    def filled(self, count: int) -> None:
        """Write the bytes in the buffer to the file.

        :raises RequestError: the file is larger than the limit, or cannot be written.
        """
        piece = self._memory[:count]
        if len(self._start) < len(GZIP):
            self._start += bytes(piece[: len(GZIP)])
        self._count += count
        self.size = max(self.size, self._count)
        if self._count > self._limit:
            raise tooLarge(self._count, self._limit)
        try:
            while len(piece):
                piece = piece[self._file.write(piece) :]
        except OSError as error:
            raise _notStored(error) from error

    def images(self) -> Iterator[Image]:
        """Yield the images in the file.

        :raises RequestError: the file is incomplete, or no image.
        """
        if not self._count:
            text = _("The request has no body. With curl, send a file with --data-binary @FILE.")
            raise RequestError(400, text)
        suffix = self.wanted.suffix
        if self._start.startswith(GZIP) and suffix in ("", ".nii"):
            suffix = ".nii.gz"
        try:
            self._file.close()
            moveFile(self._path, self._path + suffix)
            self._path += suffix
            yield from self._read()
        except NotAnImageError as error:
            unsure = error.code == "not-an-image" and not suffix
            unread = unsure or error.code in ("unsupported", "missing-package")
            status = 413 if error.code == "too-large" else 415 if unread else 400
            reason = renamed(str(error), os.path.basename(self._path), self.wanted.name or "it")
            text = _("The image cannot be read: {reason}").format(reason=sentence(reason))
            raise RequestError(status, text) from error
        except OSError as error:
            text = _("The image cannot be read: {reason}").format(reason=sentence(reasonOf(error)))
            raise RequestError(503, text) from error

    def _read(self) -> Iterator[Image]:
        reader = openImageFile(self._path, self._limit)
        reader.getBuffer = self._getBuffer
        missing = reader.missing()
        if reader.files != (self._path,):
            raise NotAnImageError(_("The voxels are in another file: send one file that holds both."), "unsupported")
        if missing:
            raise NotAnImageError(_("The file is incomplete: {reason}").format(reason=missing), "damaged")
        self.count, times = reader.count, reader.times or [0.0]
        for index, image in enumerate(reader.images()):
            yield self.wanted.image(image, times[index] if index < len(times) else None)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
        # What stays is removed with the whole folder by close() of the source.
        removeFile(self._path)


def tooLarge(size: int, limit: int) -> RequestError:
    """Return the refusal of a request, or of an image, of ``size`` bytes."""
    text = _("{size:,} bytes are more than the limit of {limit:,} for a request, or an image.")
    return RequestError(413, text.format(size=size, limit=limit))


def _notStored(error: OSError) -> RequestError:
    return RequestError(503, _("The image cannot be stored: {reason}").format(reason=sentence(reasonOf(error))))
