"""Reasons why files could not be stored, in a few words."""

from __future__ import annotations

import errno

_WORDS = {
    "ENOSPC": "disk full",
    "EDQUOT": "disk quota used up",
    "EROFS": "the disk is read-only",
    "EACCES": "permission denied",
    "EPERM": "permission denied",
    "ENOENT": "the folder or a file in it is gone",
    "ENOTDIR": "the folder is a file",
    "EEXIST": "a file has the name of a folder",
    "EIO": "the disk reports an error",
    "ENODEV": "the disk is gone",
    "ENXIO": "the disk is gone",
    "EMFILE": "too many files are open in this process",
    "ENFILE": "too many files are open on this computer",
    "EFBIG": "the file is too large for the disk or for the limit of this process",
    "ENAMETOOLONG": "the name is too long",
    "ETIMEDOUT": "the network drive does not answer",
    "ESTALE": "the network drive was reconnected",
}


def reasonOf(error: Exception) -> str:
    """The reason of an error in words for the user, where they are known."""
    if isinstance(error, OSError):
        return _WORDS.get(errno.errorcode.get(error.errno or 0, "")) or error.strerror or str(error)
    return str(error)
