"""DICOM to NRRD beside the floor: the same bytes read and written; and beside what others do, in one run."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from RealTimeImagingLib.Conversion import convertFolder

ONE = (1, 300, 512)
MANY = (500, 20, 256)
"""Series, slices, rows and columns; int16."""
ROUNDS = 9


def measure() -> dict[str, Any]:
    """Seconds, the best of several rounds in turn: what else the machine does only adds."""
    with tempfile.TemporaryDirectory() as folder:
        figures = {"one": _figures(folder, ONE, ROUNDS), "many": _figures(folder, MANY, 3)}
    one, many = figures["one"]["timesFloor"], figures["many"]["timesFloor"]
    rules = {
        "300 slices, one worker: at most 1.6 x the floor": one["oneWorker"] <= 1.6,
        "300 slices, two workers that are there: at most 1.0 x the floor": one["twoWarmWorkers"] <= 1.0,
        "500 series, two workers: at most 1.5 x the floor": many["twoWorkers"] <= 1.5,
    }
    return {**figures, "rules": rules}


def _figures(folder: str, kind: tuple[int, int, int], rounds: int) -> dict[str, Any]:
    source, target = os.path.join(folder, "in"), os.path.join(folder, "out")
    paths = _make(source, *kind)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(_warm, range(8)))
        ways: dict[str, Callable[[], object]] = {
            "floor": lambda: _floor(paths, target),
            "floorOnTwo": lambda: list(pool.map(_floorPart, _halves(paths, target))),
            "oneWorker": lambda: _ours(source, target, kind[0], workers=1),
            "twoWorkers": lambda: _ours(source, target, kind[0], workers=2),
            "twoWarmWorkers": lambda: _ours(source, target, kind[0], workers=2, executor=pool),
            "SimpleITK": lambda: _simpleITK(paths, target),
            "databaseLoadSave": lambda: _forum(source, target),
        }
        if program := shutil.which("dcm2niix", path=os.pathsep.join((os.path.dirname(sys.executable), os.defpath))):
            ways["dcm2niix"] = lambda: subprocess.run(
                [program, "-z", "n", "-o", target, source], check=True, capture_output=True
            )
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds):
            for name, way in ways.items():
                if number and name in ("SimpleITK", "databaseLoadSave", "dcm2niix") and kind[0] > 1:
                    continue  # slow ones once
                shutil.rmtree(target, ignore_errors=True)
                os.makedirs(target)
                if hasattr(os, "sync"):
                    os.sync()
                started = time.perf_counter()
                way()
                taken[name].append(time.perf_counter() - started)
    best = {name: min(times) for name, times in taken.items()}
    medians = {name: statistics.median(times) for name, times in taken.items()}
    shutil.rmtree(source)
    return {
        "seconds": {name: round(value, 3) for name, value in best.items()},
        "timesFloor": {name: round(value / best["floor"], 2) for name, value in best.items()},
        "medianTimesFloor": {name: round(value / medians["floor"], 2) for name, value in medians.items()},
    }


def _make(folder: str, series: int, slices: int, size: int) -> list[list[str]]:
    """CT slices with the header of a usual scanner, all in one folder; their paths."""
    os.makedirs(folder)
    random = np.random.default_rng(0)
    plane = random.integers(-1000, 3000, (size, size)).astype(np.int16)
    made = []
    for number in range(series):
        made.append([])
        for k in range(slices):
            path = os.path.join(folder, f"IM{number * slices + k:06d}")
            _slice(path, np.roll(plane, k + number), number, k)
            made[-1].append(path)
    return made


def _slice(path: str, plane: Any, number: int, k: int) -> None:
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}.{k}"
    one.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    one.StudyDate = one.SeriesDate = one.AcquisitionDate = one.ContentDate = "20240102"
    one.StudyTime = one.SeriesTime = one.AcquisitionTime = one.ContentTime = "030405.678"
    one.AccessionNumber, one.Modality, one.Manufacturer = "1", "CT", "Maker"
    one.InstitutionName, one.StationName, one.StudyDescription = "Place", "Station", "Cores"
    one.SeriesDescription, one.ManufacturerModelName = f"Core {number}", "Model"
    one.PatientName, one.PatientID, one.PatientBirthDate, one.PatientSex = "A^B", "1", "", "O"
    one.BodyPartExamined, one.SliceThickness, one.KVP = "CHEST", 1.25, 120
    one.DataCollectionDiameter, one.ReconstructionDiameter, one.GantryDetectorTilt = 500, 300, 0
    one.TableHeight, one.RotationDirection, one.ExposureTime, one.XRayTubeCurrent = 100, "CW", 800, 200
    one.FilterType, one.ConvolutionKernel, one.PatientPosition = "BODY", "STANDARD", "HFS"
    one.StudyInstanceUID, one.SeriesInstanceUID = "1.2.3", f"1.2.3.{number}"
    one.StudyID, one.SeriesNumber, one.AcquisitionNumber, one.InstanceNumber = "1", number + 1, 1, k + 1
    one.ImagePositionPatient, one.ImageOrientationPatient = [-150, -150, 1.25 * k], [1, 0, 0, 0, 1, 0]
    one.FrameOfReferenceUID, one.PositionReferenceIndicator, one.SliceLocation = "1.2.9", "SN", 1.25 * k
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.Rows, one.Columns, one.PixelSpacing = *plane.shape, [0.586, 0.586]
    one.BitsAllocated = one.BitsStored = 16
    one.HighBit, one.PixelRepresentation = 15, 1
    one.WindowCenter, one.WindowWidth = 40, 400
    one.RescaleIntercept, one.RescaleSlope, one.RescaleType = 0, 1, "HU"
    one.PixelData = plane.tobytes()
    one["PixelData"].VR = "OW"
    one.save_as(path, enforce_file_format=True)


def _warm(_: int) -> None:
    import RealTimeImagingLib.Conversion.Scan
    import RealTimeImagingLib.Conversion.Tasks

    assert RealTimeImagingLib.Conversion
    time.sleep(0.1)  # so that each of the processes gets one


def _floor(paths: list[list[str]], target: str) -> None:
    """Read every byte of every file into memory that is there, and write it."""
    buffer = bytearray(max(os.path.getsize(path) for path in paths[0]) + 4096)
    for number, series in enumerate(paths):
        with open(os.path.join(target, f"{number}.raw"), "wb", buffering=0) as out:
            for path in series:
                with open(path, "rb", buffering=0) as file:
                    size = file.readinto(buffer)
                    out.write(memoryview(buffer)[:size])


def _halves(paths: list[list[str]], target: str) -> list[tuple[list[list[str]], str]]:
    """Half of the files of each series for each of two processes, with a folder of its own."""
    parts = [[series[: len(series) // 2] for series in paths], [series[len(series) // 2 :] for series in paths]]
    folders = [os.path.join(target, str(number)) for number in range(2)]
    for folder in folders:
        os.mkdir(folder)
    return list(zip(parts, folders, strict=True))


def _floorPart(part: tuple[list[list[str]], str]) -> None:
    """What a second processor is worth on this machine, with nothing to find out about the files."""
    _floor(*part)


def _ours(source: str, target: str, series: int, **options: Any) -> None:
    report = convertFolder(source, target, **options)
    assert report.count("done") == series, report.words


def _simpleITK(paths: list[list[str]], target: str) -> None:
    """With the files of each series known."""
    reader = SimpleITK.ImageSeriesReader()
    for number, series in enumerate(paths):
        reader.SetFileNames(series)
        SimpleITK.WriteImage(reader.Execute(), os.path.join(target, f"{number}.nrrd"), useCompression=False)


def _forum(source: str, target: str) -> None:
    """As the script of Slicer's forum: all headers into a database, then series after series loaded and saved."""
    import sqlite3

    import pydicom

    database = sqlite3.connect(os.path.join(target, "ctkDICOM.sql"))
    database.execute("create table files (series text, number integer, path text)")
    for entry in os.scandir(source):
        header = pydicom.dcmread(entry.path, stop_before_pixels=True)
        row = (str(header.SeriesInstanceUID), int(header.InstanceNumber), entry.path)
        database.execute("insert into files values (?, ?, ?)", row)
    database.commit()
    reader = SimpleITK.ImageSeriesReader()
    for (series,) in database.execute("select distinct series from files").fetchall():
        found = database.execute("select path from files where series = ? order by number", (series,))
        reader.SetFileNames([path for (path,) in found])
        SimpleITK.WriteImage(reader.Execute(), os.path.join(target, f"{series}.nrrd"), useCompression=False)
    database.close()
