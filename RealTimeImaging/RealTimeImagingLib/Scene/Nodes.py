"""Text that the scene and its file can hold, and nodes that need not be saved again."""

from __future__ import annotations

import os
import re
import tempfile
from typing import Any

import slicer

from ..Link.WorkFolders import roots

_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def plain(text: object) -> str:
    """The text with a question mark for each sign that VTK refuses, or that would make a scene file unreadable."""
    return _UNFIT.sub("?", str(text))


def attributeName(name: str, reserved: str) -> str:
    """A name for a node attribute: letters, digits and ``_ . -`` only.

    :param reserved: the beginning of names that mean something else.
    """
    made = re.sub(r"[^A-Za-z0-9_.-]+", "_", name) or "_"
    return f"_{made}" if made.startswith(reserved) else made


def markStored(storage: Any, item: Any, suffix: str, path: str) -> None:
    """Make now the time at which a storage node has stored its sequence. Only reading and writing set this time, so
    something small is written.

    :param item: what a sequence with one item can hold, for this kind of storage node.
    :param suffix: of a file of this kind.
    :param path: of the file that has what is in the scene.
    """
    sequence = slicer.vtkMRMLSequenceNode()
    sequence.SetDataNodeAtValue(item, "0")
    try:
        with tempfile.TemporaryDirectory(dir=roots()[0]) as folder:
            storage.SetFileName(os.path.join(folder, f"stored{suffix}"))
            storage.WriteData(sequence)
    except OSError:
        pass  # no space for temporary files: Slicer will ask to save the node although it is saved
    storage.SetFileName(path)
