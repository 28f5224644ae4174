"""The images that the simulated scanner sends: the phantom, those of a file, or those of a folder."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

from ..Errors import NotAnImageError
from ..Frame import Image
from ..Readers import ImageFile, ignoredName, openImageFile
from ..Sources.Listing import naturalOrder
from .Phantom import phantom


def images(source: str | None, loop: bool) -> Iterator[Image]:
    """The images one after the other.

    :param source: None for the phantom, which has no end; a file; or a folder, whose files follow in natural order.
    :param loop: begin again at the end.
    :raises RealTimeImagingError: a file is no image, or not whole; or the folder has none.
    """
    if source is None:
        yield from phantom()
        return
    paths = [os.path.join(source, name) for name in namesIn(source)] if os.path.isdir(source) else [source]
    for _ in itertools.count() if loop else range(1):
        for path in paths:
            yield from wholeFile(path).images()


def namesIn(folder: str) -> list[str]:
    """Names of the files in a folder that may be images, in natural order.

    :raises NotAnImageError: there are none.
    """
    names = [name for name in os.listdir(folder) if os.path.isfile(os.path.join(folder, name))]
    names = sorted((name for name in names if not ignoredName(name)), key=naturalOrder)
    if not names:
        raise NotAnImageError(f"There are no images in {folder}.")
    return names


def wholeFile(path: str) -> ImageFile:
    """The file, ready to give its images.

    :raises NotAnImageError: it is none, or not complete.
    """
    reader = openImageFile(path)
    missing = reader.missing()
    if missing:
        raise NotAnImageError(f"{path} is not complete: {missing}", "incomplete")
    return reader
