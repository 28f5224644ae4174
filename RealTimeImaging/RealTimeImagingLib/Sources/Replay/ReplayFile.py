"""Files to replay, in any format: images by index, and their times."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate

from ...Formats import DEFAULT_LIMIT, GetBuffer, ImageFile, openImageFile
from ...Formats.ImageFile import sinceFirst
from ...Formats.Raw import RawBytes, readArray
from ...Model.Errors import FrameError, NotAnImageError, RecordingError
from ...Model.Files import parsedJSON
from ...Model.Frame import ATTRIBUTE_NAME, Image
from ...Model.Text import textsOf
from ...Recording import RecordedPart, isRecording, openRecording
from ...Recording.Layout import HEADER, MANIFEST, RAW, isPartOf

_ = textsOf(__file__)


class ReplayFile(ABC):
    """Opened file, or the parts of a recording; holds no file open between calls.

    :param count: number of images.
    :param times: as :attr:`ImageFile.times`.
    :param problems: a sentence for each missing part.
    """

    count: int
    times: list[float] | None
    problems: list[str]

    @abstractmethod
    def files(self, index: int) -> tuple[str, ...]:
        """Return the paths of the files that hold an image."""

    @abstractmethod
    def image(self, index: int, getBuffer: GetBuffer) -> Image:
        """Read one image.

        :param index: from 0.
        :param getBuffer: returns memory to read into, or None.
        :raises NotAnImageError: the file is damaged, or has become shorter.
        :raises OSError: the file cannot be read.
        """


class RecordingReplay(ReplayFile):
    """Parts of a recording, one after the other; reads pixels directly into the memory from ``getBuffer``.

    Each image has the attributes of its frame, and those of the recording.

    :param parts: in order, at least one.
    """

    def __init__(self, parts: list[RecordedPart], problems: list[str]) -> None:
        self._parts, self.problems = parts, problems
        self._ends = list(accumulate(part.count for part in parts))
        self.count = self._ends[-1]
        self.times = sinceFirst(time for part in parts for time in part.times)

    def files(self, index: int) -> tuple[str, ...]:
        part, _frame = self._find(index)
        return part.path, part.rawPath

    def image(self, index: int, getBuffer: GetBuffer) -> Image:
        part, frame = self._find(index)
        raw = RawBytes(part.rawPath, 0)
        pixels = readArray(raw, part.offset(frame), part.shape, part.dtype, DEFAULT_LIMIT, getBuffer)
        entry = part.frames[frame]
        attributes = {**part.attributes, **entry["attributes"]}
        known = {name: value for name, value in attributes.items() if ATTRIBUTE_NAME.fullmatch(name)}
        try:
            return Image(pixels, entry["ijkToRAS"], entry["deviceTime"], known)
        except FrameError as error:
            raise NotAnImageError(str(error), "damaged") from error

    def _find(self, index: int) -> tuple[RecordedPart, int]:
        number = bisect_right(self._ends, index)
        return self._parts[number], index - self._ends[number] + self._parts[number].count


class ImageFileReplay(ReplayFile):
    """Images of a file in any readable format. The next image is cheap; seeking in compressed files costs as
    :class:`RealTimeImagingLib.Formats.Inflate.Streamed` describes."""

    def __init__(self, reader: ImageFile) -> None:
        self._reader = reader
        self.count, self.times, self.problems = reader.count, reader.times, []
        self._images: Iterator[Image] | None = None
        self._next = 0

    def files(self, index: int) -> tuple[str, ...]:
        return self._reader.files

    def image(self, index: int, getBuffer: GetBuffer) -> Image:
        self._reader.getBuffer = getBuffer
        if self._images is None or index != self._next:
            self._images = self._reader.images(index)
        images, self._images = self._images, None
        image = next(images, None)
        if image is None:
            text = _("The file has no image {number}, though it declares {count}.")
            raise NotAnImageError(text.format(number=index + 1, count=self.count), "damaged")
        self._images, self._next = images, index + 1
        return image


class Opening:
    """Opens a file in short steps, one for each part of a recording.

    :param path: chosen by the user.
    """

    def __init__(self, path: str) -> None:
        self.files: tuple[str, ...] = (path,)
        """Paths to watch for a change after a failure."""
        self._path = path
        self._waiting: list[str] = []
        self._parts: list[RecordedPart] = []
        self._problems: list[str] = []

    def step(self) -> ReplayFile | None:
        """Do the next step; return the file after the last one, else None.

        :raises NotAnImageError: the file cannot be replayed; code "incomplete": the rest may still arrive.
        :raises OSError: the file cannot be read.
        """
        if not self._parts:
            if not isRecording(self._path):
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
        return RecordingReplay(sorted(self._parts, key=lambda part: part.part), self._problems)

    def _open(self, path: str) -> None:
        first = self._parts[0]
        try:
            part = openRecording(path)
        except RecordingError as error:
            text = _("A part of the recording is missing from the replay: {reason}")
            self._problems.append(text.format(reason=str(error)))
            return
        if (part.recording, part.stream) == (first.recording, first.stream):
            self._parts.append(part)

    def _file(self) -> ReplayFile:
        reader = openImageFile(self._path)
        reader.streaming = True
        reason = reader.missing()
        self.files = reader.files
        if reason:
            raise NotAnImageError(reason, "incomplete")
        return ImageFileReplay(reader)


def recordingNear(path: str) -> str:
    """Return the header of the recording that a path stands for: its data, its manifest or its folder; else "".

    Of the recordings in a folder it is the newest.
    """
    if os.path.isdir(path):
        try:
            found = [entry for entry in os.scandir(path) if entry.name.endswith(HEADER) and isRecording(entry.path)]
            newest = max(found, key=lambda entry: entry.stat().st_mtime_ns, default=None)
        except (NotAnImageError, OSError):
            return ""
        return newest.path if newest else ""
    for suffix in (RAW, MANIFEST):
        header = path.removesuffix(suffix) + HEADER
        if path.endswith(suffix) and os.path.isfile(header):
            return header
    return ""


def _otherParts(first: RecordedPart) -> list[str]:
    # Headers of the later parts: from the folder, and from the manifest, which also names missing ones.
    folder, own = os.path.split(first.path)
    base = own.removesuffix(HEADER) if first.part == 1 else first.recording
    try:
        with open(os.path.join(folder, base + MANIFEST), "rb") as file:
            named = [os.path.basename(entry["header"]) for entry in parsedJSON(file.read())["parts"]]
    except (OSError, ValueError, KeyError, TypeError):
        named = []  # the headers in the folder suffice
    # A repair may have found no frame of the first part.
    if first.part != 1 and named[:1] != [own]:
        return []
    names = {name for name in os.listdir(folder) if name.endswith(HEADER) and isPartOf(base, name.removesuffix(HEADER))}
    return [os.path.join(folder, name) for name in sorted({*names, *named} - {own})]
