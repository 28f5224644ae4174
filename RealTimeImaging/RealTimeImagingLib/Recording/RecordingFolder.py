"""Check that a folder can store a recording, by writing to it before the recording begins."""

from __future__ import annotations

import os
import threading

from ..Errors import RecordingFolderError
from ..Private import makePrivateFolder, openPrivate
from .Layout import UNFINISHED
from .Part import writeAll
from .Reasons import reasonOf

LONGEST = 5.0
"""Most seconds for a folder to respond."""
_SOME = 1 << 16
"""Bytes that are written as a test: as many as the first lines of a recording."""


def prepareFolder(folder: str) -> None:
    """Make a folder when it is missing, and make, write, rename and remove a file in it.

    :param folder: absolute path.
    :raises RecordingFolderError: that is not possible, or takes longer than LONGEST.
    """
    errors: list[Exception] = []

    def attempt() -> None:
        try:
            makePrivateFolder(folder)
            _write(os.path.join(folder, f".RealTimeImaging-{os.getpid()}-{threading.get_ident()}"))
        except (OSError, ValueError) as error:  # ValueError: characters that no file name can have
            errors.append(error)

    # A disconnected network drive may respond after minutes, and would block Slicer meanwhile.
    thread = threading.Thread(target=attempt, name="recording folder", daemon=True)
    thread.start()
    thread.join(LONGEST)
    if thread.is_alive():
        text = f"The folder {folder} does not answer. Is the network drive connected? Choose another folder."
        raise RecordingFolderError(text)
    if errors:
        reason = (
            "it is a file"
            if os.path.isfile(folder)
            else reasonOf(errors[0])
            if isinstance(errors[0], OSError)
            else "no file can have this name"
        )
        raise RecordingFolderError(f"Nothing can be recorded in {folder}: {reason}. Choose another folder.")


def _write(path: str) -> None:
    handle = openPrivate(path + UNFINISHED, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    name = path + UNFINISHED
    try:
        try:
            writeAll(handle, bytes(_SOME))
        finally:
            os.close(handle)  # a full network drive may report its error only here
        os.replace(name, path)
        name = path
    finally:
        os.unlink(name)
