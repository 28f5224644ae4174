"""Values of recorded images in the scene: a sequence of texts for each value, in the browser of its images.

The files of values have the number and the time of the image of each row. A row belongs to an image when both are
equal: so a file finds the stream of its values. Each image has an item. Its text is empty when the
function has no value for it, because Slicer shows the item before in place of a missing one.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import slicer

from ..Model.Errors import RecordingError
from ..Model.Files import openRegular, reasonOf
from ..Model.Signals import NUMBER, TIME
from ..Model.Text import textsOf
from ..Recording import RecordedPart
from ..Recording.Layout import recordingName
from ..Recording.ValuesFile import VALUES
from .Nodes import addToBrowser, plain, timeSequence

_ = textsOf(__file__)

VALUE_ATTRIBUTE = "RecordingValue"
"""Attribute of the sequence node, and of its proxy, with the name of the value."""
_LINES = 50
"""Lines of one step, which takes some tenths of a millisecond."""

Image = tuple[int, float]
"""Number and time of an image: seconds since the epoch (UTC), rounded to microseconds."""


@dataclass(frozen=True)
class ShownPart:
    """A part of a recording in the scene.

    :param images: number and time of each image.
    :param indices: index of each image in the sequence, as text.
    """

    browser: Any
    recording: str
    images: list[Image]
    indices: list[str]

    @classmethod
    def of(cls, browser: Any, part: RecordedPart, sequence: Any) -> ShownPart:
        """Return a part whose sequence is complete."""
        images = [
            (entry["number"], round(entry["receiveTime"] if entry["deviceTime"] is None else entry["deviceTime"], 6))
            for entry in part.frames
        ]
        indices = [sequence.GetNthIndexValue(index) for index in range(sequence.GetNumberOfDataNodes())]
        recording = recordingName(part.recording, part.stream)
        return cls(browser, recording, images, indices)


class RecordedValues:
    """Sequences of values that are built in short steps.

    :param scene: the MRML scene.
    :param sequencesLogic: slicer.modules.sequences.logic().
    """

    def __init__(self, scene: Any, sequencesLogic: Any) -> None:
        self._scene, self._logic = scene, sequencesLogic

    def add(self, parts: list[ShownPart], paths: Iterable[str]) -> Iterator[None]:
        """Add all values of the images of a recording.

        :param paths: of the files of values.
        :raises RecordingError: a file cannot be read, or has damaged lines; all other values are added first.
        """
        failed: RecordingError | None = None
        for path in paths:
            try:
                names, rows, damaged = yield from _read(path)
            except (OSError, ValueError, csv.Error) as error:
                text = _("{path} cannot be read: {reason}.")
                failed = RecordingError(text.format(path=path, reason=reasonOf(error)))
                continue
            if damaged:
                text = _("{path} has damaged lines, whose values are left out: {count}, the first is line {line}.")
                failed = RecordingError(text.format(path=path, count=len(damaged), line=damaged[0]))
            for part in parts:
                function = os.path.basename(path).removeprefix(f"{part.recording}-").removesuffix(VALUES)
                found = [rows.get(image, []) for image in part.images]
                for column, name in enumerate(names):
                    texts = [row[column] if column < len(row) else "" for row in found]
                    if any(texts):
                        yield from self._build(part, f"{function}: {name}", name, texts)
        if failed:
            raise failed

    def _build(self, part: ShownPart, title: str, name: str, texts: list[str]) -> Iterator[None]:
        node, item = timeSequence(title), slicer.vtkMRMLTextNode()
        node.SetAttribute(VALUE_ATTRIBUTE, plain(name))
        for index, text in zip(part.indices, texts, strict=True):
            item.SetText(text)
            node.SetDataNodeAtValue(item, index)
            yield
        scene = self._scene
        if part.browser.GetScene() is not scene:
            return
        scene.AddNode(node)
        proxy = scene.AddNewNodeByClass("vtkMRMLTextNode", plain(title))
        proxy.SetAttribute(VALUE_ATTRIBUTE, plain(name))
        yield
        addToBrowser(part.browser, [(node, proxy)], self._logic)


def _read(path: str) -> Generator[None, None, tuple[list[str], dict[Image, list[str]], list[int]]]:
    """Read a file of values in short steps; return the names of the values, the texts of each image, and the numbers
    of damaged lines."""
    rows: dict[Image, list[str]] = {}
    damaged = []
    # Spreadsheet programs put a mark before the first title.
    with io.TextIOWrapper(openRegular(path), "utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        titles = next(reader, [])
        if titles and titles[:2] != [NUMBER, TIME]:
            text = _("it does not begin with the columns {number} and {time}")
            raise ValueError(text.format(number=NUMBER, time=TIME))
        for row in reader:
            try:
                rows[int(row[0]), float(row[1])] = row[2:]
            except (ValueError, IndexError):
                damaged.append(reader.line_num)
            if reader.line_num % _LINES == 0:
                yield
        if damaged and damaged[-1] == reader.line_num:
            damaged.pop()  # the last line of a process that was killed
    return titles[2:], rows, damaged
