"""Exports to test, as independent readers read them: pixels (k, j, i[, c]) and IJKToRAS."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from RealTimeImagingLib.Export.Job import ExportJob, Work
from RealTimeImagingLib.Export.Worker import export
from RealTimeImagingLib.Link import __file__ as linkPackage
from RealTimeImagingLib.Model.Frame import Frame
from RealTimeImagingLib.Model.Text import textFromJSON
from unit import processes
from unit.conftest import parsed
from unit.recordings import LEFT_HANDED, OBLIQUE, RIGHT_HANDED, frame, record

PROGRAM = Path(linkPackage).with_name("Program.py")
GEOMETRIES = {
    "right-handed": RIGHT_HANDED,
    "left-handed": LEFT_HANDED,
    "oblique": OBLIQUE,
    "oblique left-handed": OBLIQUE @ np.diag([1.0, 1, -1, 1]),
}
LPS = np.diag([-1.0, -1, 1, 1])
BYTE, WORD, COLOUR, ULTRASOUND = (
    "1.2.840.10008.5.1.4.1.1.7.2",
    "1.2.840.10008.5.1.4.1.1.7.3",
    "1.2.840.10008.5.1.4.1.1.7.4",
    "1.2.840.10008.5.1.4.1.1.3.1",
)
VOLUMES = {
    "int16": ((3, 4, 5), np.int16, WORD),
    "uint16": ((3, 4, 5), np.uint16, WORD),
    "uint8": ((3, 3, 5), np.uint8, BYTE),
    "RGB": ((3, 3, 5, 3), np.uint8, COLOUR),
    "one slice uint16": ((1, 4, 5), np.uint16, WORD),
    "one slice int16": ((1, 4, 5), np.int16, WORD),
}
CINES = {"uint8": (1, 3, 5), "RGB": (1, 3, 5, 3)}


def extremes(number, shape, dtype, matrix=RIGHT_HANDED, **values):
    """A frame with the whole range of its type, and a landmark at one end of each axis."""
    one = frame(number, shape, dtype, matrix, **values)
    limits = np.iinfo(dtype)
    pixels = np.random.default_rng(number).integers(limits.min, limits.max, shape, dtype, endpoint=True)
    pixels[0, 0, 0], pixels[-1, -1, -1] = limits.min, limits.max
    return Frame(pixels, one.ijkToRAS, one.stream, number, one.receiveTime, one.deviceTime, one.attributes)


def save(format_, destination, parts=(), **values):
    """Export in this process; the paths and the events."""
    paths, events = export(ExportJob(format_, str(destination), tuple(parts), **values), Work())
    assert not [path for path in Path(destination).parent.iterdir() if path.name.startswith(".")]
    return [Path(path) for path in paths], events


def exportedVolumes(folder, case, matrix):
    """Recorded frames of one of VOLUMES, and the files of their export to DICOM."""
    shape, dtype, kind = VOLUMES[case]
    frames = [extremes(number, shape, dtype, matrix) for number in range(3)]
    paths, events = save("dicom", folder / "out", record(folder, frames))
    assert [path.name for path in paths] == ["0001.dcm", "0002.dcm", "0003.dcm"]
    assert {path.parent for path in paths} == {folder / "out"}
    assert events == []
    assert {pydicom.dcmread(path).SOPClassUID for path in paths} == {kind}
    return frames, paths


def atVoxels(pixels, matrix, ijkToRAS, shape, tolerance=1e-4):
    """The pixels of a reader, taken at the world points of the voxels of a frame."""
    k, j, i = np.indices(shape[:3])
    world = ijkToRAS @ np.stack([i.ravel(), j.ravel(), k.ravel(), np.ones(i.size)])
    places = np.rint(np.linalg.inv(matrix) @ world).astype(int)
    assert np.abs(matrix @ places - world).max() < tolerance
    assert pixels.shape[:3] == tuple(shape[:3])
    return pixels[places[2], places[1], places[0]].reshape(shape)


def assertSame(found, frame, tolerance=1e-4):
    """A reader's (pixels, matrix) is this frame."""
    pixels, matrix = found
    assert pixels.dtype == frame.pixels.dtype
    assert np.array_equal(atVoxels(pixels, matrix, frame.ijkToRAS, frame.pixels.shape, tolerance), frame.pixels)


def fromSimpleITK(path):
    image = sitk.ReadImage(str(path))
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image), LPS @ matrix


def fromPynrrd(path):
    """Pixels, matrix and header."""
    data, header = nrrd.read(str(path), index_order="C")
    matrix = np.eye(4)
    directions = header["space directions"]
    matrix[:3, :3] = np.array(directions[-3:]).T
    matrix[:3, 3] = header["space origin"]
    return data, LPS @ matrix, header


def fromNibabel(path):
    """Frames as (t, k, j, i[, c]), the matrix of the sform and of the qform."""
    image = nibabel.load(str(path))
    array = np.asanyarray(image.dataobj)
    if array.dtype.names:
        array = np.stack([array[name] for name in array.dtype.names], -1)
        axes = range(array.ndim - 1)
        array = array.transpose(*reversed(axes), array.ndim - 1)
    else:
        array = array.transpose()
    if len(image.shape) == 3:
        array = array[np.newaxis]
    assert image.header["qform_code"] == image.header["sform_code"] == 1
    return array, image.get_sform(), image.get_qform()


def fromPydicom(path, frame=None):
    """Multi-frame pixels by pydicom, geometry by PS3.3 C.7.6.2.1.1 from functional groups or from the data set."""
    dataset = pydicom.dcmread(path)
    array = dataset.pixel_array
    if frame is not None and dataset.NumberOfFrames > 1:
        array = array[frame]
    intercept = int(dataset.get("RescaleIntercept", 0))
    if intercept:
        array = (array.astype(np.int32) + intercept).astype(f"i{array.dtype.itemsize}")
    color = dataset.SamplesPerPixel > 1
    array = array.reshape((-1, dataset.Rows, dataset.Columns, *([3] if color else [])))
    shared = dataset.get("SharedFunctionalGroupsSequence")
    if shared:
        own = dataset.PerFrameFunctionalGroupsSequence
        positions = [np.array(item.PlanePositionSequence[0].ImagePositionPatient, float) for item in own]
        orientation = shared[0].PlaneOrientationSequence[0].ImageOrientationPatient
        spacing = shared[0].PixelMeasuresSequence[0].PixelSpacing
        thickness = float(shared[0].PixelMeasuresSequence[0].SpacingBetweenSlices)
    else:
        positions, orientation = [np.array(dataset.ImagePositionPatient, float)], dataset.ImageOrientationPatient
        spacing, thickness = dataset.PixelSpacing, float(dataset.SliceThickness)
    along, down = np.array(orientation[:3], float), np.array(orientation[3:], float)
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1] = along * float(spacing[1]), down * float(spacing[0])
    matrix[:3, 2], matrix[:3, 3] = np.cross(along, down) * thickness, positions[0]
    for number, position in enumerate(positions):
        assert np.allclose(position, positions[0] + number * matrix[:3, 2], atol=1e-6)
    return array, LPS @ matrix


def fromGDCM(path):
    gdcm = pytest.importorskip("gdcm", reason="python-gdcm is not installed")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    image = reader.GetImage()
    format_ = image.GetPixelFormat()
    kind = {gdcm.PixelFormat.UINT8: "u1", gdcm.PixelFormat.UINT16: "u2"}[format_.GetScalarType()]
    data = image.GetBuffer().encode("utf-8", "surrogateescape")
    sizes = [image.GetDimension(axis) for axis in range(image.GetNumberOfDimensions())]
    array = np.frombuffer(data, kind)
    components = format_.GetSamplesPerPixel()
    array = array.reshape((-1, sizes[1], sizes[0], *([components] if components > 1 else [])))
    if image.GetIntercept():
        array = (array.astype(np.int32) + int(image.GetIntercept())).astype(f"i{array.itemsize}")
    cosines = np.array(image.GetDirectionCosines()).reshape(2, 3)
    spacing = [image.GetSpacing(axis) for axis in range(3)]
    if pydicom.dcmread(path, specific_tags=["SOPClassUID"]).SOPClassUID == "1.2.840.10008.5.1.4.1.1.3.1":
        # For ultrasound GDCM 3.2 gives the numbers of the region as they are: centimetres (that of ITK: millimetres).
        spacing = [10 * spacing[0], 10 * spacing[1], spacing[2]]
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1] = cosines[0] * spacing[0], cosines[1] * spacing[1]
    matrix[:3, 2] = np.cross(*cosines) * spacing[2]
    matrix[:3, 3] = [image.GetOrigin(axis) for axis in range(3)]
    return array, LPS @ matrix


FORMATS = {
    "nrrd": ((2, 3, 4), 1),
    "seq.nrrd": ((2, 3, 4), 4),
    "nii": ((2, 3, 4), 4),
    "nii.gz": ((2, 3, 4), 4),
    "dicom": ((2, 3, 4), 4),
    "dicom cine": ((1, 3, 4), 4),
}
"""A format, the shape of a frame and how many."""


def listing(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*"))


def recorded(folder, case, dtype=None):
    """A job in this format and its recording."""
    shape, count = FORMATS[case]
    dtype = dtype or (np.uint8 if case == "dicom cine" else np.int16)
    frames = [frame(n, shape, dtype, OBLIQUE) for n in range(count)]
    parts = record(folder, frames, attributes={"Strain": "BKS.Cg-Dock7m +/+ Leprdb/J"})
    return ExportJob(case.split()[0], str(folder / "out"), tuple(parts))


def _textOf(values):
    return textFromJSON(values) if {"template", "context", "values"} == values.keys() else values


class Program:
    """The export process, controlled as Slicer's side does."""

    def __init__(self, job, program=PROGRAM, **options):
        self.process = processes.start(program, "export", **options)
        self.lines = []
        self.process.stdin.write(json.dumps(job.toJSON() if isinstance(job, ExportJob) else job).encode() + b"\n")

    def next(self):
        """The next line, None at the end."""
        text = self.process.stdout.readline()
        if not text:
            return None
        self.lines.append(parsed(text))
        return self.lines[-1]

    def until(self, condition):
        """Take lines until one fulfils the condition; return it."""
        while (line := self.next()) is not None:
            if condition(line):
                return line
        raise AssertionError(f"it did not come: {self.lines[-5:]} {self.process.stderr.read()}")

    def cancel(self):
        self.process.stdin.close()

    def end(self):
        """Take all lines; return the last."""
        while self.next() is not None:
            pass
        assert self.process.wait(10) in (0, 1)
        complaints = self.process.stderr.read().decode()
        assert complaints == "", complaints
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.stderr.close()
        return self.lines[-1]

    def of(self, kind):
        return [line[kind] for line in self.lines if kind in line]


def tool(*names):
    """The first of these programs that is on the path; skips when none is."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"{' or '.join(names)} is not on the path")
    return found


def program(folder, statements):
    """Write a program that runs the export with some statements of the test's before it; returns its path.

    :param folder: its path is beside it.
    """
    path = folder.with_name(f"{folder.name}-program.py")
    path.write_text(f"""
import os, sys, time
sys.path[0] = {str(PROGRAM.parents[2])!r}
from RealTimeImagingLib.Export import DICOMFiles, DICOMImages, NIfTIFiles, NRRDFiles, Output, Worker
{statements}
code = Worker.main()
sys.stdout.flush()
os._exit(code)
""")
    return path
