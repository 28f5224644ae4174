"""DICOM receiver in its process, with DCMTK's programs as senders."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.uid import UltrasoundMultiFrameImageStorage
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Recording import openRecording
from RealTimeImagingLib.Sources.DICOM import DICOMSettings
from unit.conftest import PROGRAM, Acquisition, until
from unit.dicomSource import Scanner, sender, series, stackOf
from unit.openIGTLinkSource import freePort
from unit.test_DICOMMosaic import mosaic, placed

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
# pynetdicom installs its own storescu beside this Python.
PATH = os.pathsep.join(
    folder
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep)
    if os.path.realpath(folder) != os.path.realpath(os.path.dirname(sys.executable))
)
dcmtk = pytest.mark.skipif(not shutil.which("storescu", path=PATH), reason="DCMTK's storescu is not installed")


@pytest.fixture
def receive(tmp_path, workFolder):
    """Start acquisition processes that receive DICOM, one after another, with one checkpoint and folder."""
    made = []
    port = freePort()

    def start(**values):
        settings = DICOMSettings(**{"folder": str(tmp_path / "kept"), "port": port, **values})
        made.append(Acquisition(settings, [workFolder], f"process{len(made) + 1}", PROGRAM))
        made[-1].port = port
        made[-1].listen().untilReady().until(lambda: "listening" in made[-1].codes)
        return made[-1]

    yield start
    for one in made:
        one.close()


def stored(tmp_path):
    return sorted(path for path in (tmp_path / "kept").rglob("*") if path.is_file())


def written(folder, datasets):
    folder.mkdir()
    for number, one in enumerate(datasets):
        one.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)
    return folder


def dcm(program, port, *arguments):
    """Run a program of DCMTK; return its exit code and output."""
    command = [shutil.which(program, path=PATH), "-aec", "SLICER", "127.0.0.1", str(port), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


@dcmtk
def test_twenty_slices_of_storescu_lie_where_SimpleITK_has_them(receive, tmp_path):
    receiver = receive()
    pixels = [np.random.default_rng(number).integers(0, 4000, (64, 48)).astype(np.int16) for number in range(20)]
    slices = series(20, step=7.0, SliceThickness=5, SpacingBetweenSlices=2)
    for one, plane in zip(slices, pixels, strict=True):
        one.Rows, one.Columns, one.PixelData = 64, 48, plane.tobytes()
    folder = written(tmp_path / "sent", random.Random(3).sample(slices, 20))
    assert dcm("storescu", receiver.port, *sorted(folder.iterdir()))[0] == 0
    receiver.until(lambda: receiver.frames)
    paths = stored(tmp_path)
    assert [pydicom.dcmread(path) for path in paths] == slices
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(paths[0].parent)))
    image = reader.Execute()
    line = receiver.of("frame")[0]
    assert line["stream"] == "t2 tse 7"
    assert receiver.frames[0][3] == checksum(SimpleITK.GetArrayFromImage(image).astype(np.int16))
    matrix = np.array(line["ijkToRAS"])
    for index in np.ndindex(2, 2, 2):
        ijk = [(size - 1) * end for size, end in zip(image.GetSize(), index, strict=True)]
        world = np.array(image.TransformIndexToPhysicalPoint(ijk)) * (-1, -1, 1)
        np.testing.assert_allclose((matrix @ (*ijk, 1))[:3], world, atol=1e-3)
    assert receiver.stop() == 0


@dcmtk
def test_a_run_of_155_mosaics_at_full_speed(receive, tmp_path):
    receiver = receive()
    (tmp_path / "sent").mkdir()
    volumes = []
    for number in range(155):
        volumes.append(np.random.default_rng(number).integers(0, 900, (14, 32, 32)).astype(np.int16))
        path = tmp_path / "sent" / f"{number:04d}.dcm"
        extra = {"SeriesInstanceUID": "1.2.3.4", "StudyInstanceUID": "1.2", "InstanceNumber": number + 1}
        mosaic(path, volumes[-1], SeriesNumber=4, **extra, **placed())
        one = pydicom.dcmread(path)
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{number + 1}"
        one.save_as(path, enforce_file_format=True)
    assert dcm("storescu", receiver.port, *sorted((tmp_path / "sent").iterdir()))[0] == 0
    receiver.until(lambda: receiver.received == 155)
    assert len(stored(tmp_path)) == 155
    assert [path.name[:6] for path in stored(tmp_path)] == [f"{number:06d}" for number in range(1, 156)]
    assert receiver.counts["rejected"] == 0
    # The ring passes on as many frames as fit, unchanged and in order.
    numbers = [number for _, number, *_ in receiver.frames]
    assert numbers == sorted(set(numbers))
    assert [sum_ for *_, sum_ in receiver.frames] == [checksum(volumes[number]) for number in numbers]
    receiver.stop()


@dcmtk
def test_echoscu(receive):
    receiver = receive()
    assert dcm("echoscu", receiver.port)[0] == 0
    receiver.stop()


@dcmtk
def test_storescu_reports_a_full_disk(receive, tmp_path):
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    if not hasattr(resource, "prlimit"):
        pytest.skip("a limit for another process is set on Linux only")
    receiver = receive()
    folder = written(tmp_path / "sent", series(3))
    before = resource.prlimit(receiver.process.pid, resource.RLIMIT_FSIZE, (300, resource.RLIM_INFINITY))
    code, words = dcm("storescu", receiver.port, "-v", "+sd", folder)
    resource.prlimit(receiver.process.pid, resource.RLIMIT_FSIZE, before)
    assert code != 0
    assert "Refused: OutOfResources" in words
    assert stored(tmp_path) == []
    receiver.until(lambda: "not-stored" in receiver.codes)
    assert dcm("storescu", receiver.port, "+sd", folder)[0] == 0
    receiver.until(lambda: receiver.frames)
    receiver.stop()


@pytest.mark.skipif(os.name != "posix", reason="killed in another way there")
def test_a_killed_process_loses_no_acknowledged_instance(receive, tmp_path):
    receiver = receive(completeAfter=30.0)
    slices = series(6, ImagesInAcquisition="6")
    hold = threading.Event()
    first = Scanner(receiver.port, slices[:4], hold=hold)
    until(lambda: len(first.statuses) == 4)
    receiver.kill()
    hold.set()
    first.join(30)
    receiver = receive(completeAfter=30.0)
    Scanner(receiver.port, slices[4:])
    receiver.until(lambda: receiver.frames)
    assert receiver.frames[0][3] == checksum(stackOf(slices))
    assert len(stored(tmp_path)) == 6
    receiver.stop()


def test_a_stop_shows_and_records_the_volume_whose_end_is_unknown(receive, tmp_path):
    """Its association is still open, and silence would close it 30 s later."""
    receiver, slices = receive(completeAfter=30.0), series(4)
    receiver.record(tmp_path / "out", "Run")
    with sender(receiver.port, *slices) as association:
        for one in slices:
            assert association.send_c_store(one).Status == 0
        assert receiver.stop() == 0
    assert [sum_ for *_, sum_ in receiver.frames] == [checksum(stackOf(slices))]
    assert (receiver.received, receiver.counts["recorded"], receiver.counts["rejected"]) == (1, 1, 0)
    (path,) = receiver.of("recorded")[0]
    assert np.array_equal(openRecording(path).pixels(0), stackOf(slices))


def test_a_stop_in_the_middle_of_an_instance_stores_all_its_frames(receive, tmp_path):
    receiver, (film,) = receive(), series(1)
    count = 300
    film.SOPClassUID = film.file_meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    film.NumberOfFrames, film.PixelRepresentation, pixels = count, 0, np.arange(count * 30, dtype="<u2")
    film.PixelData = pixels.tobytes()
    receiver.record(tmp_path / "out", "Run")
    with sender(receiver.port, film) as association:
        assert association.send_c_store(film).Status == 0
        receiver.until(lambda: receiver.frames)
        assert receiver.stop() == 0
    assert (receiver.received, receiver.counts["recorded"]) == (count, count)
    (path,) = receiver.of("recorded")[0]
    part = openRecording(path)
    found = np.stack([part.pixels(number) for number in range(part.count)])
    assert np.array_equal(found.ravel(), pixels)


def test_a_stop_without_a_recording_does_not_wait_for_thousands_of_images(receive):
    receiver, (film,) = receive(), series(1)
    film.SOPClassUID = film.file_meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    film.NumberOfFrames, film.PixelRepresentation, film.PixelData = 60_000, 0, bytes(60_000 * 60)
    with sender(receiver.port, film) as association:
        assert association.send_c_store(film).Status == 0
        receiver.until(lambda: receiver.frames)
        assert receiver.stop() == 0
    assert 0 < receiver.received < 60_000
    assert receiver.codes.count("cut-off") == 1
