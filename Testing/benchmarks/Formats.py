"""Files of a folder, from the open file to the image in memory: volumes of 8 MiB, one format after the other.

Each round reads a file of each format with this library, with the format's own library, and as bytes, which is the
floor: processor milliseconds, of which a busy computer needs hardly more. All files are in the cache of the system.
DICOM slices are 64 files, which become one volume; the folder source also lists them, and judges whether each is
complete.
"""

from __future__ import annotations

import gzip
import io
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from RealTimeImagingLib import FolderSettings
from RealTimeImagingLib.Formats import openImageFile
from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.Model.Frame import Image
from RealTimeImagingLib.Simulator.Files import FORMATS
from RealTimeImagingLib.Sources.Checkpoint import Checkpoint
from RealTimeImagingLib.Sources.Folder.Source import FolderSource

from .Common import SHAPE

ROUNDS = 7
PATIENCE = 60.0


def measure() -> dict[str, Any]:
    """Milliseconds of each format and way, and whether all have the same voxels."""
    pixels = np.random.default_rng(0).integers(0, 999, SHAPE).astype(np.int16)
    image = Image(pixels, np.diag([2.0, 2.0, 3.0, 1.0]))
    figures: dict[str, Any] = {}
    rules: dict[str, bool] = {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        formats = _formats(Path(folder), image)
        values: dict[str, dict[str, Any]] = {name: {} for name in formats}
        taken: dict[str, dict[str, list[float]]] = {name: {} for name in formats}
        for _round in range(ROUNDS):
            for name, ways in formats.items():
                for way, read in ways.items():
                    started = time.process_time()
                    found = read()
                    taken[name].setdefault(way, []).append(1000 * (time.process_time() - started))
                    values[name][way] = found
        for name, ways in taken.items():
            figures[name] = {
                f"{way}Ms": {
                    "median": round(statistics.median(one), 2),
                    "from": round(min(one), 2),
                    "to": round(max(one), 2),
                }
                for way, one in ways.items()
            }
            own, peer = (values[name][way] for way in ("own", "peer"))
            rules[f"{name}: the voxels are those of its library"] = bool(np.array_equal(own, peer))
    return {**figures, "rules": rules}


def _formats(folder: Path, image: Image) -> dict[str, dict[str, Callable[[], Any]]]:
    """Write the files; return the ways to read each: of this library, of the peer, and the bytes alone."""
    import nibabel
    import pydicom

    formats: dict[str, dict[str, Callable[[], Any]]] = {}
    for kind, title in (("par", "PAR/REC"), ("head", "AFNI"), ("npy", "NumPy")):
        shot = FORMATS[kind]()(image, 0)
        for name, data in shot.files.items():
            (folder / name).write_bytes(data)
        path = folder / shot.name
        files = [folder / name for name in shot.files]
        formats[title] = _ways(path, files, np.load if kind == "npy" else _nibabelOf)
    path = folder / "volume.mgz"
    nibabel.save(nibabel.MGHImage(image.pixels.T, image.ijkToRAS), path)
    formats["MGZ"] = _ways(path, [path], _nibabelOf)
    slices = folder / "slices"
    slices.mkdir()
    for name, data in FORMATS["dcm"]()(image, 0).files.items():
        (slices / name).write_bytes(data)
    files = sorted(slices.iterdir())
    packed = folder / "slice.dcm.gz"
    packed.write_bytes(gzip.compress(files[0].read_bytes(), 6))

    def packedPeer(path: Path) -> Any:
        with gzip.open(path) as file:
            return pydicom.dcmread(io.BytesIO(file.read())).pixel_array[None]

    formats[".dcm.gz (one slice)"] = _ways(packed, [packed], packedPeer)

    def slicesPeer() -> Any:
        read = [pydicom.dcmread(one) for one in files]
        normal = np.cross(*np.reshape(read[0].ImageOrientationPatient, (2, 3)))
        read.sort(key=lambda one: float(np.dot(normal, one.ImagePositionPatient)))
        return np.stack([one.pixel_array for one in read])

    formats["DICOM slices"] = {"own": lambda: _volumeOf(slices), "peer": slicesPeer, "floor": lambda: _bytesOf(files)}
    return formats


def _ways(path: Path, files: list[Path], peer: Callable[[Path], Any]) -> dict[str, Callable[[], Any]]:
    return {
        "own": lambda: next(openImageFile(str(path)).images()).pixels,
        "peer": lambda: peer(path),
        "floor": lambda: _bytesOf(files),
    }


def _nibabelOf(path: Path) -> Any:
    import nibabel

    # AFNI files have a fourth axis, of one volume here.
    return np.ascontiguousarray(np.asarray(nibabel.load(path).dataobj).T).reshape(SHAPE)


def _bytesOf(files: list[Path]) -> int:
    return sum(len(one.read_bytes()) for one in files)


def _volumeOf(folder: Path) -> Any:
    """Return the volume that the folder source makes of all files that are there."""
    end = time.monotonic() + PATIENCE
    with tempfile.TemporaryDirectory() as state, Checkpoint(state) as checkpoint:
        source = FolderSource(FolderSettings(str(folder), existing="all"), checkpoint)
        try:
            while time.monotonic() < end:
                for item in source.read(0.01):
                    if not isinstance(item, Event):
                        return item.image.pixels
        finally:
            source.close()
    raise TimeoutError(f"No volume came of {os.listdir(folder)}.")
