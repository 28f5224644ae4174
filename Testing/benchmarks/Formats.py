"""Files of a folder in the formats that other libraries read, from the open file to the image in memory."""

from __future__ import annotations

import gzip
import io
import os
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

from .Rows import OURS, Found, Row, interleaved

TITLE = "Files of other formats in a folder"
ABOUT = """
Volumes of 8 MiB, processor time, of which a busy computer needs hardly more; all files are in the cache of the system.
Floor: the bytes of the same files. Peer: the format's own library (nibabel; numpy for npy; pydicom for DICOM). DICOM
slices are 64 files, which become one volume; the folder source also lists them, and judges whether each is complete.
"""
FLOOR, PEER = "bytes of the files", "its library"

SHAPE = (64, 256, 256)
"""Of int16: 8 MiB."""
ROUNDS = 7
PATIENCE = 60.0


def measure() -> Found:
    """Milliseconds of a volume, a row for each format; all ways have the same voxels."""
    pixels = np.random.default_rng(0).integers(0, 999, SHAPE).astype(np.int16)
    image = Image(pixels, np.diag([2.0, 2.0, 3.0, 1.0]))
    rows, checks = [], {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, ways in _formats(Path(folder), image).items():
            timed = {way: _busy(read) for way, read in ways.items()}
            rows.append(Row(name, "ms", interleaved(timed, ROUNDS)))
            checks[f"{name}: the voxels are those of its library"] = bool(np.array_equal(ways[OURS](), ways[PEER]()))
    return Found(rows, checks)


def _busy(read: Callable[[], object]) -> Callable[[], float]:
    """Return a way that reads and returns its milliseconds of processor time."""

    def way() -> float:
        started = time.process_time()
        read()
        return 1000 * (time.process_time() - started)

    return way


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

    formats["DICOM slices"] = {FLOOR: lambda: _bytesOf(files), OURS: lambda: _volumeOf(slices), PEER: slicesPeer}
    return formats


def _ways(path: Path, files: list[Path], peer: Callable[[Path], Any]) -> dict[str, Callable[[], Any]]:
    return {
        FLOOR: lambda: _bytesOf(files),
        OURS: lambda: next(openImageFile(str(path)).images()).pixels,
        PEER: lambda: peer(path),
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
