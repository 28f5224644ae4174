"""SHA-256 of recorded pixels into their manifests: after the recording, since it costs more than storing does."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..Recording import Checksums, noteChecksum, openRecording
from .Work import Work

PIECE = 4 << 20


@dataclass(frozen=True)
class ChecksumJob:
    """:param headers: of the recorded parts (``.seq.nhdr``), whose manifests lie beside them."""

    headers: tuple[str, ...]

    def toJSON(self) -> dict[str, Any]:
        """What the process is told."""
        return {"checksums": list(self.headers)}


def noteChecksums(headers: Sequence[str], work: Work) -> list[str]:
    """Read the pixels of each part and note their SHA-256; the paths of the manifests.

    :raises RecordingError: a part or its manifest cannot be read, or the manifest not be written.
    :raises OSError: the pixels cannot be read.
    :raises Cancelled: ``work`` was.
    """
    parts = [openRecording(path) for path in headers]
    work.begin(sum(part.count * part.frameBytes for part in parts))
    manifests = []
    for part in parts:
        digest = hashlib.sha256()
        with open(part.rawPath, "rb", buffering=0) as file:
            while piece := file.read(PIECE):
                digest.update(piece)
                work.step(len(piece), "Checksums")
        manifest = os.path.join(os.path.dirname(part.path), f"{part.recording}.json")
        noteChecksum(manifest, part.path, Checksums(digest.hexdigest(), []))
        manifests.append(manifest)
    return manifests
