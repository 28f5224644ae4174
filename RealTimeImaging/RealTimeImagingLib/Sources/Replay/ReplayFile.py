"""What can be replayed, whatever its format: images by their place, and their times."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate

from ...Formats import DEFAULT_LIMIT, GetBuffer, ImageFile, openImageFile
from ...Formats.ImageFile import sinceFirst
from ...Formats.Raw import RawBytes, openFile, readArray
from ...Model.Errors import FrameError, NotAnImageError, RecordingError
from ...Model.Frame import ATTRIBUTE_NAME, Image
from ...Recording import RecordedPart, openRecording
from ...Recording.Layout import HEADER, MANIFEST, RAW, isPartOf

_MARK = b"\nRecording:="


class ReplayFile(ABC):
    """An opened file, or the parts of a recording. Nothing is held open between calls.

    :param count: of its images.
    :param times: as :attr:`ImageFile.times`.
    :param problems: a sentence for each part that is missing.
    """

    count: int
    times: list[float] | None
    problems: list[str]

    @abstractmethod
    def files(self, place: int) -> tuple[str, ...]:
        """The files from which the image at this place is read."""

    @abstractmethod
    def image(self, place: int, getBuffer: GetBuffer) -> Image:
        """Read one image.

        :param place: from 0.
        :param getBuffer: gives memory to read it into, or None.
        :raises NotAnImageError: the file is damaged, or shorter than it was.
        :raises OSError: it cannot be read.
        """


class RecordedFootage(ReplayFile):
    """The parts of a recording, one after the other. Pixels are read straight into the memory that is lent. Of the
    recording's own attributes each image has those that its frame has not.

    :param parts: in order, at least one.
    """

    def __init__(self, parts: list[RecordedPart], problems: list[str]) -> None:
        self._parts, self.problems = parts, problems
        self._ends = list(accumulate(part.count for part in parts))
        self.count = self._ends[-1]
        self.times = sinceFirst(time for part in parts for time in part.times)

    def files(self, place: int) -> tuple[str, ...]:
        part, _ = self._find(place)
        return part.path, part.rawPath

    def image(self, place: int, getBuffer: GetBuffer) -> Image:
        part, index = self._find(place)
        raw = RawBytes(part.rawPath, 0)
        pixels = readArray(raw, part.offset(index), part.shape, part.dtype, DEFAULT_LIMIT, getBuffer)
        entry = part.frames[index]
        attributes = {**part.attributes, **entry["attributes"]}
        known = {name: value for name, value in attributes.items() if ATTRIBUTE_NAME.fullmatch(name)}
        try:
            return Image(pixels, entry["ijkToRAS"], entry["deviceTime"], known)
        except FrameError as error:
            raise NotAnImageError(str(error), "damaged") from error

    def _find(self, place: int) -> tuple[RecordedPart, int]:
        number = bisect_right(self._ends, place)
        return self._parts[number], place - self._ends[number] + self._parts[number].count


class FileFootage(ReplayFile):
    """The images of a file of any format that is read. Going on is cheap; another place is found at once in raw files,
    and in packed ones as :class:`Streamed` has it."""

    def __init__(self, reader: ImageFile) -> None:
        self._reader = reader
        self.count, self.times, self.problems = reader.count, reader.times, []
        self._images: Iterator[Image] | None = None
        self._next = 0

    def files(self, place: int) -> tuple[str, ...]:
        return self._reader.files

    def image(self, place: int, getBuffer: GetBuffer) -> Image:
        self._reader.getBuffer = getBuffer
        if self._images is None or place != self._next:
            self._images = self._reader.images(place)
        images, self._images = self._images, None
        image = next(images, None)
        if image is None:
            raise NotAnImageError(f"The file has no image {place + 1}, though it declares {self.count}.", "damaged")
        self._images, self._next = images, place + 1
        return image


class Opening:
    """Opens a file in short steps, one for each part of a recording.

    :param path: the file that the user chose.
    """

    def __init__(self, path: str) -> None:
        self.files: tuple[str, ...] = (path,)
        """What is to be watched for a change if it cannot be opened."""
        self._path = path
        self._waiting: list[str] = []
        self._parts: list[RecordedPart] = []
        self._problems: list[str] = []

    def step(self) -> ReplayFile | None:
        """Do a part of it; the footage when all is done.

        :raises NotAnImageError: it cannot be replayed; the code "incomplete": what is missing may still come.
        :raises OSError: it cannot be read.
        """
        if not self._parts:
            if not _isRecording(self._path):
                return self._file()
            self.files = (self._path, self._path.removesuffix(HEADER) + RAW)
            try:
                self._parts.append(openRecording(self._path))
            except RecordingError as error:
                raise NotAnImageError(str(error), "damaged") from error
            self._waiting = _otherParts(self._parts[0])
        elif self._waiting:
            self._open(self._waiting.pop(0))
        if self._waiting:
            return None
        return RecordedFootage(sorted(self._parts, key=lambda part: part.part), self._problems)

    def _open(self, path: str) -> None:
        first = self._parts[0]
        try:
            part = openRecording(path)
        except RecordingError as error:
            self._problems.append(f"A part of the recording is left out: {error}")
            return
        if (part.recording, part.stream) == (first.recording, first.stream):
            self._parts.append(part)

    def _file(self) -> ReplayFile:
        reader = openImageFile(self._path)
        reader.streaming = True
        words = reader.missing()
        self.files = reader.files
        if words:
            raise NotAnImageError(words, "incomplete")
        return FileFootage(reader)


def _isRecording(path: str) -> bool:
    if not path.endswith(HEADER):
        return False
    with openFile(path) as file:
        return _MARK in file.read()


def _otherParts(first: RecordedPart) -> list[str]:
    # The headers that follow the first part: those that are there, and those that the manifest names.
    folder, base = os.path.dirname(first.path), os.path.basename(first.path).removesuffix(HEADER)
    if first.part != 1:
        return []
    names = {name for name in os.listdir(folder) if name.endswith(HEADER) and isPartOf(base, name.removesuffix(HEADER))}
    try:
        with open(os.path.join(folder, base + MANIFEST), "rb") as file:
            names |= {os.path.basename(entry["header"]) for entry in json.loads(file.read())["parts"]}
    except (OSError, ValueError, KeyError, TypeError):
        pass  # the manifest is a help, no more
    return [os.path.join(folder, name) for name in sorted(names - {base + HEADER})]
