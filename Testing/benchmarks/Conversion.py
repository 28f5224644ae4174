"""DICOM to NRRD beside the floor, the same bytes read and written, and beside other converters."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import SimpleITK
from RealTimeImagingLib.Conversion import convertFolder

from .Rows import OURS, Found, Row, interleaved, timed
from .Slices import writeSeries

TITLE = "Conversion of DICOM folders to NRRD"
ABOUT = """
Floor: every byte of every file is read into memory that exists, and written, in one process with nothing to find out
about the files; "floor on two" does the same in two processes. A conversion must read every header before it can write,
as files come in no order; the floors leave that out. Our two workers need both processors of this computer: anything
else that runs slows them more than the floor. Peers: dcm2niix without compression, which writes NIfTI
and sorts the files itself; SimpleITK's series reader, to which the files of each series are told in their order; and
the way of the scripts on Slicer's forum, all headers into a database, then series after series loaded and saved.
"""

ONE = (1, 300, 512)
MANY = (500, 20, 256)
"""Series, slices, rows and columns; int16."""
ROUNDS = 5
SLOW = ("SimpleITK, files known", "database, load, save", "dcm2niix", f"{OURS}, one worker")
"""Ways that convert the many series once only, as they take long."""


def measure() -> Found:
    """Measure seconds of one large series, and of 500 small ones."""
    rows, absent = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name, kind in (("300 slices of 512 x 512", ONE), ("500 series of 20 slices of 256 x 256", MANY)):
            samples, without = _samples(folder, kind)
            most = 1.3 if kind is MANY else 1.0
            rows.append(Row(name, "s", samples, f"at most {most} x the floor", most=most, headline=kind is MANY))
            absent |= without
    return Found(rows, {"every series is converted": True}, absent)


def _samples(folder: str, kind: tuple[int, int, int]) -> tuple[dict[str, list[float]], dict[str, str]]:
    source, target = os.path.join(folder, "in"), os.path.join(folder, "out")
    paths = writeSeries(source, *kind)
    absent = {}
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(_warm, range(8)))
        ways: dict[str, Callable[[], object]] = {
            "floor": lambda: _floor(paths, target),
            OURS: lambda: _ours(source, target, kind[0], workers=2),
            f"{OURS}, one worker": lambda: _ours(source, target, kind[0], workers=1),
            f"{OURS}, workers there": lambda: _ours(source, target, kind[0], workers=2, executor=pool),
            "floor on two": lambda: list(pool.map(_floorPart, _halves(paths, target))),
            "SimpleITK, files known": lambda: _simpleITK(paths, target),
            "database, load, save": lambda: _forum(source, target),
        }
        program = shutil.which("dcm2niix", path=os.pathsep.join((os.path.dirname(sys.executable), os.defpath)))
        if program:
            command = [program, "-z", "n", "-o", target, source]
            ways["dcm2niix"] = lambda: subprocess.run(command, check=True, capture_output=True)
        else:
            absent["dcm2niix"] = "not installed (pip install dcm2niix)"

        def clean() -> None:
            shutil.rmtree(target, ignore_errors=True)
            os.makedirs(target)
            if hasattr(os, "sync"):
                os.sync()

        timedWays = {name: timed(way, 1) for name, way in ways.items()}
        if kind is not MANY:
            samples = interleaved(timedWays, ROUNDS, warm=0, before=clean)
        else:
            fast = {name: way for name, way in timedWays.items() if name not in SLOW}
            slow = {name: way for name, way in timedWays.items() if name in SLOW}
            samples = interleaved(fast, ROUNDS, 0, clean) | interleaved(slow, 1, 0, clean)
    shutil.rmtree(source)
    return samples, absent


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
