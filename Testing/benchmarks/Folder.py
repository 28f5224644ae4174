"""From the rename of a file to its voxels in the volume node, beside reading the same file into an array."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import slicerhost
from RealTimeImagingLib import FolderSettings

from .Common import startedModule, stop, writeImage
from .Rows import OURS, Found, Row, interleaved, timed

TITLE = "From the rename of a file to its voxels in the volume"
ABOUT = """
Floor: the bytes of the same file are read into memory that exists, decompressed with zlib where they are compressed,
and copied into an array; nothing looks for the file, and its header is not read. Peers know the file's path, too:
SimpleITK with `updateVolumeFromArray`, and Slicer's storage node. They block Slicer meanwhile, and detect nothing.
Volumes of 8 MiB (64 x 256 x 256, int16); the DICOM file has one frame of 2048 x 2048.
"""

SHAPE = (64, 256, 256)
ROUNDS = 10
FORMATS = (".nii", ".nii.gz", ".nrrd", ".mha", ".dcm")
PAUSE = 0.05
"""Seconds between two samples."""


def measure() -> Found:
    """Measure milliseconds for each format."""
    slicerhost.boot()
    rows, counts = [], []
    for ending in FORMATS:
        with startedModule() as logic, tempfile.TemporaryDirectory() as folder:
            samples = _format(logic, folder, ending)
            counts.append(logic.statistics()["shown"] == logic.statistics()["received"] == ROUNDS + 2)
            stop(logic)
        floor = statistics.median(samples["read and copy"])
        row = Row(f"{ending}, 8 MiB", "ms", samples, "at most 2 x the floor + 2 ms", 2 * floor + 2)
        row.headline = ending in (".nii", ".nii.gz")
        rows.append(row)
    return Found(rows, {"each file is shown once": all(counts)})


def _format(logic: Any, folder: str, ending: str) -> dict[str, list[float]]:
    import SimpleITK
    import slicer

    incoming, waiting = os.path.join(folder, "incoming"), os.path.join(folder, "waiting")
    os.mkdir(incoming)
    os.mkdir(waiting)
    first = os.path.join(waiting, "image" + ending)
    _write(first)
    with open(first, "rb") as file:
        content = file.read()
    buffer, target = bytearray(len(content)), bytearray(2 * int(np.prod(SHAPE)))
    shown: dict[str, float] = {}
    logic.setShowIn("none")
    logic.addFrameCallback(lambda frame: shown.setdefault(frame.attributes["SourceFile"], time.perf_counter()))
    source = logic.start(FolderSettings(incoming, existing="ignore"))
    slicerhost.runUntil(lambda: source.state == "running" and bool(source.status), 20)
    numbers = iter(range(1000))

    def ours() -> float:
        name = f"image{next(numbers):04d}{ending}"
        part = os.path.join(waiting, "part")
        with open(part, "wb") as file:
            file.write(content)
        _pause()
        renamed = time.perf_counter()
        os.rename(part, os.path.join(incoming, name))
        assert slicerhost.runUntil(lambda: name in shown, 20, everyMs=200), f"{name} is not shown"
        os.unlink(os.path.join(incoming, name))
        return 1000 * (shown[name] - renamed)

    def floor() -> None:
        with open(first, "rb", buffering=0) as file:
            file.readinto(buffer)
        data: Any = zlib.decompress(buffer, 31, 352 + len(target)) if ending == ".nii.gz" else buffer
        memoryview(target)[:] = memoryview(data)[-len(target) :]

    node = slicer.util.addVolumeFromArray(np.zeros(SHAPE, np.int16), name="Peer")

    def simpleITK() -> None:
        image = SimpleITK.ReadImage(first)
        slicer.util.updateVolumeFromArray(node, SimpleITK.GetArrayViewFromImage(image))

    nodeClass = slicer.vtkMRMLNRRDStorageNode if ending == ".nrrd" else slicer.vtkMRMLVolumeArchetypeStorageNode
    storage = nodeClass()
    storage.SetFileName(first)
    storage.SetSingleFile(True) if ending != ".nrrd" else None
    stored = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Stored")
    ways: dict[str, Callable[[], float]] = {
        "read and copy": timed(floor),
        OURS: ours,
        "SimpleITK, path known": timed(simpleITK),
        "storage node, path known": timed(lambda: storage.ReadData(stored)),
    }
    return interleaved(ways, ROUNDS, warm=2, before=_pause)


def _write(path: str) -> None:
    # Smooth with noise: compresses as images do.
    ramp = np.add.outer(np.add.outer(np.arange(SHAPE[0]), np.arange(SHAPE[1])), np.arange(SHAPE[2]))
    pixels = (4 * ramp + np.random.default_rng(0).integers(0, 16, SHAPE)).astype(np.int16)
    if not path.endswith(".dcm"):
        writeImage(path, pixels)
        return
    from pydicom import dcmread

    from .Slices import writeSlice

    writeSlice(path, pixels.reshape(2048, 2048), 1, 1)
    one = dcmread(path)
    # A single picture: a slice of a volume would wait for its neighbours.
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    one.Modality = "CR"
    del one.ImagePositionPatient, one.ImageOrientationPatient, one.SliceLocation
    one.save_as(path)


def _pause() -> None:
    slicerhost.runUntil(lambda: False, PAUSE, everyMs=int(1000 * PAUSE))
