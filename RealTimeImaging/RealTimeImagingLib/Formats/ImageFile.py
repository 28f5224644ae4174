"""What every reader is: a file that may still be growing, and that gives its images once it is whole."""

from __future__ import annotations

import errno
import logging
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise

from ..Model.Errors import FrameError, MissingPackageError, NotAnImageError, RealTimeImagingError
from ..Model.Frame import GetBuffer, Image

log = logging.getLogger(__name__)

DEFAULT_LIMIT = 8 << 30
"""Largest image in bytes that is believed; a header that announces more is taken for damage."""


class ImageFile(ABC):
    """A file on its way to being images.

    Make one when the file is first seen and keep it while the file grows: :meth:`missing` reads only what is new.
    Nothing is held open between calls, so that a writer on Windows can still rename or replace the file.

    A subclass implements :meth:`_missing` and :meth:`_images`. Whatever these raise, callers of :meth:`missing` and
    :meth:`images` see a NotAnImageError or an OSError only: see :func:`translateErrors`.

    :param path: the file.
    :param limit: most bytes one image may have; more is a NotAnImageError with the code "too-large".
    """

    title = "image"
    """The format's name in messages."""

    sealed = False
    """True once the content itself proves that nothing is missing (end of a gzip stream with the right checksum, PNG's
    IEND): then nobody needs to ask whether a writer still has the file open. Read it after missing() returned None."""

    count = 1
    """How many images there are. Read it after missing() returned None."""

    times: list[float] | None = None
    """Seconds of each image since the first, strictly increasing; None when the format tells none. Read it after
    missing() returned None."""

    notes: tuple[str, ...] = ()
    """Sentences about the images for the user: an assumed distance, missing slices. Read it after missing() returned
    None."""

    streaming = False
    """Set it before missing() is asked: packed voxels of NIfTI and NRRD are then unpacked as images are asked for and
    not at once. It takes little time and memory, and what is wrong with them is found on the way."""

    def __init__(self, path: str, limit: int = DEFAULT_LIMIT) -> None:
        self.path = path
        self.limit = limit
        self.getBuffer: GetBuffer = lambda nbytes: None

    @property
    def files(self) -> tuple[str, ...]:
        """All files that belong to the image, this one first (a detached header names others). Known after the header
        was read; before that the file alone."""
        return (self.path,)

    def missing(self) -> str | None:
        """None when everything the format declares is there, else one sentence: what was expected and what came.

        :raises NotAnImageError: waiting will not help.
        :raises OSError: the file cannot be read at all (gone, not permitted, sharing violation).
        """
        with translateErrors(self.path, self.title):
            return self._missing()

    def images(self, first: int = 0) -> Iterator[Image]:
        """The images in order, one for each volume of a 4-D file; call only after missing() returned None.

        :param first: the place of the image to begin with, from 0; those before it are not read.
        :raises NotAnImageError: the content contradicts the header.
        :raises OSError: the file cannot be read any more.
        """
        with translateErrors(self.path, self.title):
            yield from self._images(first)

    @abstractmethod
    def _missing(self) -> str | None:
        """What :meth:`missing` returns. May raise anything."""

    @abstractmethod
    def _images(self, first: int) -> Iterator[Image]:
        """What :meth:`images` yields. May raise anything."""


@contextmanager
def translateErrors(path: str, title: str) -> Iterator[None]:
    """Turn every exception that a file's bytes cause into a NotAnImageError, and log its traceback.

    :param title: the format's name.
    :raises NotAnImageError: "damaged" for an exception that no reader foresaw, "too-large" where memory ran out,
        "missing-package" with what to install.
    :raises OSError: the operating system refuses the file.
    """
    try:
        yield
    except FrameError as error:
        raise NotAnImageError(str(error), "unsupported") from error
    except MissingPackageError as error:
        packages = ", ".join(repr(one) for one in error.requirements)
        raise NotAnImageError(
            f"{title} files need Python packages that are not installed. Run "
            f"slicer.util.getModuleLogic('RealTimeImaging').installPackages([{packages}]) in the Python console, "
            "then start the source again.",
            "missing-package",
        ) from error
    except ImportError as error:
        text = f"{title} files need the Python package {error.name}, which is not installed."
        raise NotAnImageError(text, "missing-package") from error
    except RealTimeImagingError:
        raise
    except MemoryError as error:
        raise NotAnImageError(f"There is not enough memory for this {title} file.", "too-large") from error
    except OSError as error:
        # Errors of decoders have no number. EINVAL means an impossible offset, which only a damaged header can give.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise _damaged(path, title) from error
    except Exception as error:  # decoders do not declare which exceptions they raise on damaged bytes
        raise _damaged(path, title) from error


def _damaged(path: str, title: str) -> NotAnImageError:
    log.warning("%s could not be read as %s", os.path.basename(path), title, exc_info=True)
    return NotAnImageError(f"The content contradicts the {title} format. The log has the details.", "damaged")


def sinceFirst(times: Iterable[float]) -> list[float] | None:
    """The times counted from the first, None when there are not two or more that strictly increase."""
    found = list(times)
    if len(found) < 2 or not all(map(math.isfinite, found)):
        return None
    seconds = [time - found[0] for time in found]
    return seconds if all(before < after for before, after in pairwise(seconds)) else None
