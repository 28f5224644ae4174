"""Content of a folder: files that are not shown, the newest image at start, and reasons for a failed listing."""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ...Formats import HEADERS, IMAGE_SUFFIXES, dicomOf, ignoredName, knownSuffix, openImageFile
from ...Formats.DICOM.Header import readSlice
from ...Model.Errors import NotAnImageError
from ...Model.Event import Remedy
from ...Model.Files import Stamp, naturalOrder, reasonOf
from ...Model.Text import joined, textsOf
from .Listing import isFolder, matcher

_ = textsOf(__file__)


@dataclass(frozen=True)
class FolderProblem:
    """A folder that cannot be listed now.

    :param code: "folder-missing" (never listed), "folder-gone" (listed before), "folder-denied" (no permission) or
        "too-many-open-files" (the folder itself may be fine).
    :param text: sentences about the problem and the advice.
    :param remedy: another folder, None when none is known.
    """

    code: str
    text: str
    remedy: Remedy | None = None


def problemOf(folder: str, error: OSError, seen: bool) -> FolderProblem:
    """Return the problem behind a system error.

    :param seen: True when the folder could be listed before.
    """
    absent = "folder-gone" if seen else "folder-missing"
    remedy = None
    if error.errno in (errno.EMFILE, errno.ENFILE):
        text = _("The folder {folder} cannot be listed now: {reason}.")
        return FolderProblem("too-many-open-files", text.format(folder=folder, reason=reasonOf(error)))
    if error.errno in (errno.EACCES, errno.EPERM) and not os.path.isfile(folder):
        text = _("The folder {folder} cannot be listed ({reason}): check its permissions.")
        text = text.format(folder=folder, reason=reasonOf(error))
        if sys.platform == "darwin":
            mac = _("Check Slicer's in System Settings > Privacy & Security > Files and Folders, too.")
            text = joined(text, mac)
        return FolderProblem("folder-denied", text)
    if os.path.isfile(folder):
        text = _("{folder} is a file, not a folder: choose the folder that contains it.")
        remedy = Remedy(_("Use its folder"), {"folder": os.path.dirname(folder)})
    elif error.errno == errno.ELOOP:
        text = _("{folder} is a circular symbolic link: choose another folder.")
    elif isinstance(error, FileNotFoundError) and seen:
        text = _("The folder {folder} is not there any more. Is its drive or network share connected?")
    elif isinstance(error, FileNotFoundError):
        text = _("The folder {folder} is not there. Check the path, and whether its drive is connected.")
    elif isinstance(error, NotADirectoryError):
        text = _("The folder {folder} is not there: a part of its path is a file. Check the path.")
    else:
        text = _("The folder {folder} cannot be listed: {reason}.")
    return FolderProblem(absent, text.format(folder=folder, reason=reasonOf(error).rstrip(".")), remedy)


_FOLDERS, _NAMES = 50, 200
"""Most subfolders that are searched, and most names in each."""
SPARE_NAMES = 1000
"""Names that stay in memory although the folder has them no longer."""
_SEARCH_PERIOD = 3.0
"""Seconds between two searches of the subfolders."""


class FolderContent:
    """Files that are not shown: names that do not fit the pattern, files of the start, and images in subfolders.

    :param subfolders: True when the images of subfolders are shown.
    """

    def __init__(self, folder: str, pattern: str, subfolders: bool) -> None:
        self._folder, self._pattern, self._below = folder, pattern, subfolders
        matches = matcher(pattern)
        # Every poll has the same names.
        self._judge = functools.lru_cache(maxsize=1 << 17)(lambda name: _judge(name, matches))
        self._judged = 0
        """Names that were judged before this poll, since the cache was emptied."""
        self._others: Counter[str] = Counter()
        """Suffixes of the names that do not fit the pattern."""
        self._ignored: Counter[str] = Counter()
        """Suffixes of the names that no image has."""
        self._samples: dict[str, str] = {}
        """A name with each suffix of :attr:`_others`."""
        self.existing = 0
        """Number of files at the start."""
        self.shown = 0
        """Number of them that are shown."""
        self._subfolder = ""
        self._better = ""
        """Pattern that fits names of :attr:`_others`; empty when these are no images."""
        self._searched: Counter[str] = Counter()
        self._due = 0.0

    def begin(self) -> None:
        """Reset the counts before a new poll, and forget names when most of them are gone."""
        cache = self._judge.cache_info()
        names, self._judged = cache.hits + cache.misses - self._judged, cache.hits + cache.misses
        if cache.currsize > 2 * names + SPARE_NAMES:
            self._judge.cache_clear()
            self._judged = 0
        self._others.clear()
        self._ignored.clear()
        self._samples.clear()

    def wanted(self, name: str) -> bool:
        """Return True for a name that fits the pattern; count the other names."""
        fits, suffix = self._judge(name)
        if fits is False:
            self._others[suffix] += 1
            self._samples.setdefault(suffix, name)
        elif fits is None and not name.startswith("."):
            self._ignored[suffix] += 1
        return bool(fits)

    def search(self, now: float) -> None:
        """Search for images that are not shown, when it is time.

        :param now: monotonic seconds.
        """
        if now < self._due and self._searched == self._others:
            return
        if now >= self._due and not self._below:
            found = (os.path.relpath(one, self._folder) for one in self._foldersWithImages())
            self._subfolder = next(found, "")
        self._due, self._searched = now + _SEARCH_PERIOD, self._others.copy()
        images = (suffix for suffix, _count in self._others.most_common() if self._areImages(suffix))
        suffix = next(images, None)
        self._better = "" if suffix is None else _patternFor(self._samples[suffix], suffix, self._pattern)

    def _areImages(self, suffix: str) -> bool:
        return _mayBeImage(os.path.join(self._folder, self._samples[suffix]))

    def _foldersWithImages(self) -> Iterator[str]:
        # The nearest first.
        waiting, left = deque([self._folder]), _FOLDERS
        while waiting and left:
            folder, left = waiting.popleft(), left - 1
            try:
                with os.scandir(folder) as listing:
                    entries = [entry for _place, entry in zip(range(_NAMES), listing, strict=False)]
            except OSError:
                continue  # the next poll reports the folder itself
            waiting.extend(one.path for one in entries if not one.name.startswith(".") and isFolder(one, True))
            names = [entry for entry in entries if self._judge(entry.name)[0]] if folder != self._folder else []
            if any(os.path.isfile(entry) and _mayBeImage(entry.path) for entry in names):
                yield folder

    @property
    def existingText(self) -> str:
        """Sentence about the images of the start; empty when there were none."""
        count = self.existing
        if not count:
            return ""
        if not self.shown:
            text = (
                _("1 image was already there and skipped.")
                if count == 1
                else _("{count:,} images were already there and skipped.")
            )
        elif self.shown == count:
            text = (
                _("1 image was already there and is shown.")
                if count == 1
                else _("{count:,} images were already there and shown.")
            )
        else:
            text = _("{count:,} images were already there; only the newest is shown.")
        return text.format(count=count)

    @property
    def text(self) -> str:
        """Sentences about the files that are not shown; empty when there are none."""
        parts = [self.existingText if self.existing and not self.shown else ""]
        if self._others:
            count = sum(self._others.values())
            text = _("{count:,} other files are there ({names}), which do not fit the pattern {pattern}.")
            if count == 1:
                text = _("1 other file is there ({names}), which does not fit the pattern {pattern}.")
            names = _listed(self._others, self._samples)
            parts.append(text.format(count=count, names=names, pattern=self._pattern))
        if self._subfolder:
            text = _("Images are in the subfolder {name}: switch on Look in subfolders to show them.")
            parts.append(text.format(name=self._subfolder))
        lonely = next((ending for ending in HEADERS if ending in self._ignored), "")
        if lonely and not any(parts):
            text = _("Only voxels are there (*{ending}): their headers, such as *{header}, are missing.")
            parts.append(text.format(ending=lonely, header=HEADERS[lonely]))
        elif self._ignored and not any(parts):
            text = _("Only files of other types are there ({names}), which are no images.")
            parts.append(text.format(names=_listed(self._ignored, {})))
        return joined(*parts)

    @property
    def remedy(self) -> Remedy | None:
        """Settings with which these files are shown, None when none are known."""
        if self.existing and not self.shown:
            all_ = Remedy(_("Show all"), {"existing": "all"}) if self.existing > 1 else None
            return Remedy(_("Show newest"), {"existing": "newest"}, all_)
        if self._better:
            return Remedy(_("Use {pattern}").format(pattern=self._better), {"pattern": self._better})
        if self._subfolder:
            return Remedy(_("Look there"), {"subfolders": True})
        return None


def _listed(suffixes: Mapping[str, int], samples: Mapping[str, str]) -> str:
    # The three most frequent ones, as *.nii; names without a suffix as they are.
    common = sorted(suffixes, key=lambda suffix: -suffixes[suffix])[:3]
    return ", ".join(f"*{suffix}" if suffix else samples.get(suffix, "*") for suffix in common)


def _patternFor(name: str, suffix: str, pattern: str) -> str:
    """Return a pattern near the given one that fits a name."""
    stem = pattern.split(".")[0] + suffix
    if ";" not in pattern and "," not in pattern and matcher(stem)(name):
        return stem
    return f"*{suffix}"


def _mayBeImage(path: str) -> bool:
    # True for a name of an image, or a content that is one: DICOM files need no suffix.
    if path.lower().endswith(IMAGE_SUFFIXES):
        return True
    try:
        return openImageFile(path).missing() is None
    except (NotAnImageError, OSError):
        return False


def _judge(name: str, matches: Callable[[str], bool]) -> tuple[bool | None, str]:
    # Whether a name fits the pattern, None for a name that no image has; and its suffix.
    return None if ignoredName(name) else matches(name), suffixOf(name)


def suffixOf(name: str) -> str:
    """Return the ending of a file's name in lower case, such as ".nii.gz"; empty when it has none."""
    return knownSuffix(name) or os.path.splitext(name.lower())[1]


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
        if complete and dicomOf(reader):
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
    return {path for found in places.values() for _moment, path in sorted(found)[complete - 1 :]}
