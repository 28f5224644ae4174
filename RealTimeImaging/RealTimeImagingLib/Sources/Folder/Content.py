"""Content of a folder: files that are not shown, the newest image at start, and reasons for a failed listing."""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...Formats import IMAGE_SUFFIXES, ignoredName, isDICOM, openImageFile
from ...Formats.DICOM.Header import readSlice
from ...Model.Errors import NotAnImageError
from ...Model.Files import Stamp, naturalOrder, reasonOf


@dataclass(frozen=True)
class FolderProblem:
    """A folder that cannot be listed now.

    :param code: "folder-missing" (never listed), "folder-gone" (listed before), "folder-denied" (no permission) or
        "too-many-open-files" (the folder itself may be fine).
    :param words: the problem, with advice where there is any; without a full stop.
    """

    code: str
    words: str


def problemOf(folder: str, error: OSError, seen: bool) -> FolderProblem:
    """Return the problem behind a system error.

    :param seen: True when the folder could be listed before.
    """
    absent = "folder-gone" if seen else "folder-missing"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        why = reasonOf(error)
        return FolderProblem("too-many-open-files", f"The folder {folder} cannot be listed now: {why}")
    if error.errno in (errno.EACCES, errno.EPERM) and not os.path.isfile(folder):
        advice = "check its permissions"
        if sys.platform == "darwin":
            advice += ", and Slicer's in System Settings > Privacy & Security > Files and Folders"
        words = f"The folder {folder} cannot be listed ({reasonOf(error)}): {advice}"
        return FolderProblem("folder-denied", words)
    if os.path.isfile(folder):
        return FolderProblem(absent, f"{folder} is a file, not a folder: choose the folder that contains it")
    if error.errno == errno.ELOOP:
        return FolderProblem(absent, f"{folder} is a circular symbolic link")
    if isinstance(error, FileNotFoundError):
        return FolderProblem(absent, f"The folder {folder} is not there{' any more' if seen else ''}")
    if isinstance(error, NotADirectoryError):
        return FolderProblem(absent, f"The folder {folder} is not there: a part of its path is a file")
    return FolderProblem(absent, f"The folder {folder} cannot be listed: {reasonOf(error)}")


_FOLDERS, _NAMES = 20, 200
"""Most subfolders that are searched, and most names in each."""
_SEARCH_PERIOD = 5.0
"""Seconds between two searches of the subfolders."""


class FolderContent:
    """Files that are not shown: names that do not fit the pattern, files of the start, and images in subfolders.

    :param matches: returns True for a name that fits the pattern.
    """

    def __init__(self, folder: str, pattern: str, matches: Callable[[str], bool]) -> None:
        self._folder, self._pattern = folder, pattern
        # Every poll has the same names.
        self._fits = functools.lru_cache(maxsize=1 << 17)(lambda name: None if ignoredName(name) else matches(name))
        self._others: Counter[str] = Counter()
        self.existing = 0
        """Number of files at the start."""
        self.shown = 0
        """Number of them that are shown."""
        self._subfolder = ""
        self._due = 0.0

    def begin(self) -> None:
        """Reset the counts before a new poll."""
        self._others.clear()

    def wanted(self, name: str) -> bool:
        """Return True for a name that fits the pattern; count other names that could be images."""
        fits = self._fits(name)
        if fits is False:
            self._others[_suffixOf(name)] += 1
        return bool(fits)

    def searchSubfolders(self, now: float) -> None:
        """Search the subfolders for images, when it is time.

        :param now: monotonic seconds.
        """
        if now < self._due:
            return
        self._due, self._subfolder = now + _SEARCH_PERIOD, ""
        try:
            with os.scandir(self._folder) as entries:
                folders = [one.path for one in entries if not one.name.startswith(".") and one.is_dir()][:_FOLDERS]
            for folder in folders:
                with os.scandir(folder) as entries:
                    for _, entry in zip(range(_NAMES), entries, strict=False):
                        if self._fits(entry.name) and entry.is_file():
                            self._subfolder = os.path.basename(folder)
                            return
        except OSError:
            return  # the next poll reports it

    @property
    def existingWords(self) -> str:
        """Text about the images of the start; empty when there were none."""
        if not self.existing:
            return ""
        count = f"{self.existing} images were" if self.existing > 1 else "1 image was"
        if not self.shown:
            return f"{count} already there and skipped"
        if self.shown == self.existing:
            return f"{count} already there and shown" if self.existing > 1 else f"{count} already there and is shown"
        return f"{count} already there; only the newest is shown"

    @property
    def words(self) -> str:
        """Text about the files that are not shown; empty when there are none."""
        parts = []
        if self.existing and not self.shown:
            parts.append(self.existingWords)
        if self._others:
            count = sum(self._others.values())
            kinds = ", ".join(f"*{suffix}" for suffix, _ in self._others.most_common(3) if suffix)
            files = f"{count} other files are" if count > 1 else "1 other file is"
            fit = "do" if count > 1 else "does"
            parts.append(
                f"{files} there{f' ({kinds})' if kinds else ''}, which {fit} not fit the pattern {self._pattern}"
            )
        if self._subfolder:
            parts.append(f"images are in the subfolder {self._subfolder}: switch on Look in subfolders to show them")
        return "; ".join(parts)


def _suffixOf(name: str) -> str:
    lower = name.lower()
    known = max((one for one in IMAGE_SUFFIXES if lower.endswith(one)), key=len, default="")
    return known or os.path.splitext(lower)[1]


_TRIED = 20
"""Most files that are opened, the newest first, to find an image."""
_SLICES = 1000
"""Newest files that may belong to the newest volume."""


def newestImage(files: Mapping[str, Stamp]) -> set[str]:
    """Return the paths of the newest image: one file, or the DICOM files of the newest volume, one slice each.

    :param files: path to version.
    """
    order = sorted(files, key=lambda path: (files[path][1], naturalOrder(path)), reverse=True)
    for place, path in enumerate(order[:_TRIED]):
        try:
            reader = openImageFile(path)
            complete = reader.missing() is None
        except NotAnImageError:
            continue
        except OSError:
            return {path}  # the reader reports it
        if complete and isDICOM(reader):
            return _volumeOf(path, order[place : place + _SLICES])
        return {path}
    return set(order[:1])


def _volumeOf(newest: str, paths: list[str]) -> set[str]:
    first = readSlice(newest)
    if first is None:
        return {newest}
    places: dict[object, list[tuple[tuple[object, ...], str]]] = {}
    for path in paths:
        one = readSlice(path)
        if one is not None and one.series == first.series:
            places.setdefault((one.position, one.orientation, one.echo, one.kinds), []).append(
                ((one.time, *one.order), path)
            )
    # From the last complete time point on; a newer one may be incomplete.
    complete = min(map(len, places.values()))
    return {path for found in places.values() for _, path in sorted(found)[complete - 1 :]}
