"""Reasons why a folder cannot be listed, in words for the event and the status."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class FolderProblem:
    """A folder that cannot be listed now.

    :param code: "folder-missing" (never seen), "folder-gone" (it was there), "folder-denied" (no permission) or
        "too-many-open-files" (the folder itself may be fine).
    :param words: the problem, with advice where there is any; without a full stop.
    """

    code: str
    words: str


def problemOf(folder: str, error: OSError, seen: bool) -> FolderProblem:
    """The problem behind a system error.

    :param seen: True when the folder could be listed before.
    """
    absent = "folder-gone" if seen else "folder-missing"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        why = f"too many files are open ({error.strerror})"
        return FolderProblem("too-many-open-files", f"The folder {folder} cannot be listed now: {why}")
    if error.errno in (errno.EACCES, errno.EPERM) and not os.path.isfile(folder):
        advice = "check its permissions"
        if sys.platform == "darwin":
            advice += ", and Slicer's in System Settings > Privacy & Security > Files and Folders"
        words = f"The folder {folder} cannot be listed ({error.strerror}): {advice}"
        return FolderProblem("folder-denied", words)
    if os.path.isfile(folder):
        return FolderProblem(absent, f"{folder} is a file, not a folder: choose the folder that it is in")
    if error.errno == errno.ELOOP:
        return FolderProblem(absent, f"{folder} is a symbolic link that leads in a circle")
    if isinstance(error, FileNotFoundError):
        return FolderProblem(absent, f"The folder {folder} is not there{' any more' if seen else ''}")
    if isinstance(error, NotADirectoryError):
        return FolderProblem(absent, f"The folder {folder} is not there: a part of its path is a file")
    return FolderProblem(absent, f"The folder {folder} cannot be listed: {error.strerror or error}")
