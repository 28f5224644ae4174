"""What is in the scene as it is in a file: nothing asks to save it again."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import slicer

from ..Acquisition.WorkFolders import roots


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
