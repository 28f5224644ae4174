"""Base class of all readers: a file that may still be growing, and yields its images once it is complete."""

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
"""Largest accepted image in bytes. A header that declares more counts as damaged."""


class ImageFile(ABC):
    """Reader of one file.

    Make one when the file is first seen and keep it while the file grows: :meth:`missing` reads only the new part. No
    file stays open between calls, so that a writer on Windows can still rename or replace the file.

    A subclass implements :meth:`_missing` and :meth:`_images`. They may raise anything: callers of :meth:`missing` and
    :meth:`images` see only NotAnImageError and OSError, see :func:`translateErrors`.

    :param path: the file.
    :param limit: most bytes of one image; above it NotAnImageError has the code "too-large".
    """

    title = "image"
    """The format's name in messages."""

    sealed = False
    """True once the content proves its completeness (end of a gzip stream with the right checksum, PNG's IEND). A
    writer that still has the file open does not matter then. Valid after missing() returned None."""

    count = 1
    """Number of images. Valid after missing() returned None."""

    times: list[float] | None = None
    """Seconds of each image since the first, strictly increasing; None when the file has none. Valid after missing()
    returned None."""

    notes: tuple[str, ...] = ()
    """Sentences about the images for the user: an assumed distance, missing slices. Valid after missing() returned
    None."""

    streaming = False
    """Set it before the first call of missing(): compressed voxels of NIfTI and NRRD are then unpacked image by image
    and not at once. This takes little time and memory, but damage is found late."""

    def __init__(self, path: str, limit: int = DEFAULT_LIMIT) -> None:
        self.path = path
        self.limit = limit
        self.getBuffer: GetBuffer = lambda nbytes: None

    @property
    def files(self) -> tuple[str, ...]:
        """All files of the image, this one first (a detached header names others). Before the header is read: this file
        alone."""
        return (self.path,)

    def missing(self) -> str | None:
        """Return None when the file is complete, else one sentence: what is expected, and what exists.

        :raises NotAnImageError: the file will never be an image.
        :raises OSError: the file cannot be read (removed, not permitted, sharing violation).
        """
        with translateErrors(self.path, self.title):
            return self._missing()

    def images(self, first: int = 0) -> Iterator[Image]:
        """Yield the images in order, one for each volume of a 4-D file; call it after missing() returned None.

        :param first: index of the first image to read, from 0.
        :raises NotAnImageError: the content contradicts the header.
        :raises OSError: the file cannot be read any more.
        """
        with translateErrors(self.path, self.title):
            yield from self._images(first)

    @abstractmethod
    def _missing(self) -> str | None:
        """Do the work of :meth:`missing`. May raise anything."""

    @abstractmethod
    def _images(self, first: int) -> Iterator[Image]:
        """Do the work of :meth:`images`. May raise anything."""


@contextmanager
def translateErrors(path: str, title: str) -> Iterator[None]:
    """Turn every exception that a file's bytes cause into a NotAnImageError, and log its traceback.

    :param title: the format's name.
    :raises NotAnImageError: code "damaged" for an exception that no reader expects, "too-large" without enough memory,
        "missing-package" with the packages to install.
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
        # Errors of decoders have no number. EINVAL means an impossible offset, which only a damaged header causes.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise _damaged(path, title) from error
    except Exception as error:  # decoders do not document their exceptions on damaged bytes
        raise _damaged(path, title) from error


def _damaged(path: str, title: str) -> NotAnImageError:
    log.warning("%s could not be read as %s", os.path.basename(path), title, exc_info=True)
    return NotAnImageError(f"The content contradicts the {title} format. The log has the details.", "damaged")


def sinceFirst(times: Iterable[float]) -> list[float] | None:
    """Return the times relative to the first, None unless there are two or more and they strictly increase."""
    found = list(times)
    if len(found) < 2 or not all(map(math.isfinite, found)):
        return None
    seconds = [time - found[0] for time in found]
    return seconds if all(before < after for before, after in pairwise(seconds)) else None
