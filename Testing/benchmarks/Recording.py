"""What storing an image costs, beside an append of the same bytes and other ways to store a stream."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import slicerhost
from RealTimeImagingLib.Model.Frame import Frame
from RealTimeImagingLib.Recording import Recorder, openRecording

from .Rows import OURS, Found, Row, interleaved, missing, timed

TITLE = "Recording of one image"
ABOUT = """
Floor: one `os.write` of the same pixels to an open file. Peers: h5py with one chunk for each image, written with
`write_direct_chunk`, and with plain assignment; zarr with one uncompressed chunk for each image; Slicer's own recorder,
a sequence browser that stores a copy of the volume in memory, while we write to disk. None of them waits for the disk.
The row of 20,000 images has the first 1,000 of a recording as its floor: an image costs the same however long the
recording is. "Kept" counts the images that are kept of a volume that changes 30 times a second.
"""

KINDS: dict[str, tuple[tuple[int, ...], str, int]] = {
    "1080p RGB": ((1, 1080, 1920, 3), "uint8", 20),
    "512x512 u8": ((1, 512, 512), "uint8", 300),
    "256x256x64 i16": ((64, 256, 256), "int16", 16),
}
"""Shape, type and number of images: few enough that the system need not write to the disk meanwhile."""
LINE = 0.05
"""Milliseconds that the line of an image may cost, whatever its size."""
SMALL, MANY, SOME = (1, 16, 16), 20_000, 1000
FPS, SECONDS = 30, 4


def measure() -> Found:
    """Measure milliseconds for each image."""
    absent = {name: why for name in ("h5py", "zarr") if (why := missing(name))}
    rows = []
    for name, kind in KINDS.items():
        samples = _costs(*kind, absent)
        floor = statistics.median(samples["raw append"])
        words = f"at most 1.1 x the raw append, or {LINE} ms above it"
        limit = max(1.1 * floor, floor + LINE)
        rows.append(Row(name, "ms", samples, words, limit, headline=name == "1080p RGB"))
    first, last, whole = _long()
    samples = {f"first {SOME:,}": first, OURS: last}
    words, limit = "at most 1.2 x the first", 1.2 * statistics.median(first)
    rows.append(Row(f"last {SOME:,} of {MANY:,} images of 16x16", "ms", samples, words, limit, headline=True))
    kept, equal = _kept()
    rows.append(Row("kept of a volume changed 30 times a second, 512x512 u8", "images/s", kept))
    checks = {
        f"a recording of {MANY:,} images is read back whole": whole,
        f"each of {FPS * SECONDS} images is kept as it was": equal,
    }
    return Found(rows, checks, absent)


def _frame(pixels: Any, number: int) -> Frame:
    attributes = {"SourceFile": f"frame{number:05d}.nii"}
    return Frame(pixels, np.diag([-1.0, -1.0, 2.0, 1.0]), "Scan", number, 1.7e9 + number / FPS, None, attributes)


def _costs(shape: tuple[int, ...], dtype: str, count: int, absent: dict[str, str]) -> dict[str, list[float]]:
    pixels = np.random.default_rng(0).integers(0, 99, shape).astype(dtype)
    if hasattr(os, "sync"):
        os.sync()
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(folder, "Bench", "Scan", {})
        handle = os.open(os.path.join(folder, "floor"), os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0))
        numbers = iter(range(count + 1))
        ways: dict[str, Callable[[], object]] = {
            "raw append": lambda: os.write(handle, pixels.data),
            OURS: lambda: recorder.append(_frame(pixels, next(numbers))),
        }
        if "h5py" not in absent:
            import h5py

            file = h5py.File(os.path.join(folder, "peer.h5"), "w")
            most = (None, *shape)
            direct = file.create_dataset("direct", (0, *shape), dtype, maxshape=most, chunks=(1, *shape))
            plain = file.create_dataset("plain", (0, *shape), dtype, maxshape=most, chunks=(1, *shape))
            ways["h5py, direct chunk"] = lambda: _direct(direct, pixels)
            ways["h5py"] = lambda: _assign(plain, pixels)
        if "zarr" not in absent:
            import zarr

            where = os.path.join(folder, "peer.zarr")
            whole = (count + 1, *shape)
            array = zarr.create_array(where, shape=whole, chunks=(1, *shape), dtype=dtype, compressors=None)
            places = iter(range(count + 1))
            ways["zarr"] = lambda: array.__setitem__(next(places), pixels)
        samples = interleaved({name: timed(way) for name, way in ways.items()}, count)
        os.close(handle)
        recorder.finish()
        assert recorder.recorded == count + 1
        if "h5py" not in absent:
            file.close()
    return samples


def _direct(dataset: Any, pixels: np.ndarray) -> None:
    number = dataset.shape[0]
    dataset.resize(number + 1, axis=0)
    dataset.id.write_direct_chunk((number, *[0] * pixels.ndim), pixels)


def _assign(dataset: Any, pixels: np.ndarray) -> None:
    number = dataset.shape[0]
    dataset.resize(number + 1, axis=0)
    dataset[number] = pixels


def _long() -> tuple[list[float], list[float], bool]:
    """Return the milliseconds of the first and of the last appends, and whether all images are read back."""
    pixels = np.zeros(SMALL, np.uint8)
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(folder, "Bench", "Scan", {})
        # The files are made with the first frame.
        recorder.append(_frame(pixels, 0))
        for number in range(1, MANY):
            frame = _frame(pixels, number)
            taken.append(timed(lambda frame=frame: recorder.append(frame))())
        paths = recorder.finish()
        whole = sum(openRecording(path).count for path in paths) == MANY
    return taken[:SOME], taken[-SOME:], whole


def _kept() -> tuple[dict[str, list[float]], bool]:
    """Modify a volume 30 times each second for 4 s, while Slicer's browser and we record it."""
    slicer = slicerhost.boot()
    import qt

    scene, logic = slicer.mrmlScene, slicer.modules.sequences.logic()
    volume = slicer.util.addVolumeFromArray(np.zeros((1, 512, 512), np.uint8), name="Live")
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode")
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    logic.AddSynchronizedNode(sequence, volume, browser)
    browser.SetRecording(sequence, True)
    random = np.random.default_rng(0)
    sent = [random.integers(0, 99, (1, 512, 512)).astype(np.uint8) for _ in range(FPS * SECONDS)]
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(folder, "Bench", "Scan", {})
        browser.SetRecordingActive(True)
        waiting, kept = iter(enumerate(sent)), 0

        def once() -> None:
            nonlocal kept
            number, pixels = next(waiting, (-1, None))
            if pixels is None:
                timer.stop()
                return
            kept += recorder.append(_frame(pixels, number))
            slicer.util.arrayFromVolume(volume)[:] = pixels
            slicer.util.arrayFromVolumeModified(volume)

        timer = qt.QTimer()
        timer.connect("timeout()", once)
        timer.start(1000 // FPS)
        slicerhost.runUntil(lambda: not timer.isActive(), 20)
        browser.SetRecordingActive(False)
        (path,) = recorder.finish()
        part = openRecording(path)
        equal = sum(np.array_equal(part.pixels(index), pixels) for index, pixels in enumerate(sent))
    slicers = sequence.GetNumberOfDataNodes()
    slicerhost.closeScene()
    found = {"sent": len(sent), OURS: kept, "Slicer's recorder": slicers}
    return {way: [count / SECONDS] for way, count in found.items()}, equal == kept == len(sent)
