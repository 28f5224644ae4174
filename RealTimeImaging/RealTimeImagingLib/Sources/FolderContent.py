"""Describe the files of a folder that are not shown, for the status while nothing appears."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable

from ..Readers import IMAGE_SUFFIXES, ignoredName

_FOLDERS, _NAMES = 20, 200
"""Subfolders that are looked into, and names in each."""
_LOOK_AGAIN = 5.0
"""Seconds between two looks into subfolders."""


class FolderContent:
    """Names that do not fit the pattern, files that were there at start, and subfolders with images.

    :param matches: whether a name fits the pattern.
    """

    def __init__(self, folder: str, pattern: str, matches: Callable[[str], bool]) -> None:
        self._folder, self._pattern = folder, pattern
        # The same names come with every look.
        self._fits = functools.lru_cache(maxsize=1 << 17)(lambda name: None if ignoredName(name) else matches(name))
        self._others: Counter[str] = Counter()
        self.existing = 0
        """Files that were there at start."""
        self.shown = 0
        """How many of these are shown."""
        self._subfolder = ""
        self._due = 0.0

    def begin(self) -> None:
        """Reset the counts before a new look at the folder."""
        self._others.clear()

    def wanted(self, name: str) -> bool:
        """True for a name that fits the pattern; other names are counted, unless they cannot be images."""
        fits = self._fits(name)
        if fits is False:
            self._others[_suffixOf(name)] += 1
        return bool(fits)

    def lookBelow(self, now: float) -> None:
        """Look for images in the subfolders, when it is time.

        :param now: monotonic seconds.
        """
        if now < self._due:
            return
        self._due, self._subfolder = now + _LOOK_AGAIN, ""
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
            return  # the next look at the folder reports it

    @property
    def existingWords(self) -> str:
        """Words about the images that were there at start; empty when there were none."""
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
        """Words about the files that are not shown; empty when there are none."""
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
            parts.append(f"images lie in the subfolder {self._subfolder}: switch on Look in subfolders to show them")
        return "; ".join(parts)


def _suffixOf(name: str) -> str:
    lower = name.lower()
    known = max((one for one in IMAGE_SUFFIXES if lower.endswith(one)), key=len, default="")
    return known or os.path.splitext(lower)[1]
