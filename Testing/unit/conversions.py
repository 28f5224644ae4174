"""DICOM files to convert, and what was made of them, read by others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from RealTimeImagingLib.Conversion import convertFolder
from RealTimeImagingLib.Formats import openImageFile

LPS = np.diag([-1.0, -1, 1, 1])
AXIAL = (1.0, 0, 0, 0, 1, 0)
OBLIQUE = (0.8, 0.6, 0, 0, 0, -1)


def dicomFile(path: Path, plane, position=(0, 0, 0), syntax=ExplicitVRLittleEndian, **elements):
    """One slice as a file.

    :param plane: (rows, columns[, 3]) uint8, int8, uint16, int16, uint32 or int32.
    """
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.Modality, made.PatientName, made.PatientID = "CT", "Somebody^Else", "4711"
    made.SeriesInstanceUID, made.StudyInstanceUID = "1.2.3.4", "1.2.3"
    made.SeriesNumber, made.SeriesDescription = 7, "Core A"
    made.ImagePositionPatient, made.ImageOrientationPatient = [f"{x:.6f}".rstrip("0") for x in position], list(AXIAL)
    made.PixelSpacing, made.SliceThickness = [0.5, 0.25], 9
    made.Rows, made.Columns = plane.shape[:2]
    made.SamplesPerPixel = 3 if plane.ndim == 3 else 1
    made.PhotometricInterpretation = "RGB" if plane.ndim == 3 else "MONOCHROME2"
    if plane.ndim == 3:
        made.PlanarConfiguration = 0
    made.BitsAllocated = made.BitsStored = 8 * plane.itemsize
    made.HighBit, made.PixelRepresentation = made.BitsAllocated - 1, int(plane.dtype.kind == "i")
    for name, value in elements.items():
        if value is None:
            delattr(made, name)
        else:
            setattr(made, name, value)
    order = "<" if syntax.is_little_endian else ">"
    made.PixelData = plane.astype(plane.dtype.newbyteorder(order)).tobytes()
    made["PixelData"].VR = "OB" if plane.itemsize == 1 else "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def series(folder: Path, count=6, shape=(5, 4), dtype=np.int16, step=(0, 0, 2.0), origin=(1, 2, 3), **elements):
    """A series of slices in files without suffix, whose names are not in the order of the places; (k, j, i) values."""
    random = np.random.default_rng(count)
    limits = np.iinfo(dtype)
    values = random.integers(limits.min // 4, limits.max // 4, (count, *shape), dtype)
    for k in range(count):
        place = np.array(origin, float) + k * np.array(step, float)
        dicomFile(folder / f"{(k * 7) % count:03d}x{k}", values[k], place, InstanceNumber=k + 1, **elements)
    return values


def convert(folder: Path, output: Path, **options):
    """Convert in this process, and check what always holds."""
    report = convertFolder(folder, output, **{"workers": 1, **options})
    assert not list(output.glob("*.part"))
    assert {entry.file for entry in report.entries if entry.file} <= {path.name for path in output.iterdir()}
    for entry in report.entries:
        assert entry.status in ("done", "skipped", "failed", "cancelled")
        assert bool(entry.reason) == (entry.status == "failed")
        if entry.status in ("done", "skipped"):
            assert (output / entry.file).stat().st_size == entry.bytes
    return report


def one(report):
    """The only entry, which is done."""
    (entry,) = report.entries
    assert entry.status == "done", entry.reason
    return entry


def fromITK(path, tilted=False):
    """Values (k, j, i[, c]) and IJKToLPS, as SimpleITK reads a file or a list of files in order.

    :param tilted: the third axis goes from slice to slice; otherwise along the normal, as ITK has it by default.
    """
    if isinstance(path, list):
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames([str(one) for one in path])
        reader.SetForceOrthogonalDirection(not tilted)
        image = reader.Execute()
    else:
        image = SimpleITK.ReadImage(str(path))
    matrix = np.eye(4)
    size = image.GetDimension()
    direction = np.array(image.GetDirection()).reshape(size, size)
    matrix[:3, :3] = (direction * image.GetSpacing())[:3, :3]
    matrix[:3, 3] = image.GetOrigin()[:3]
    return SimpleITK.GetArrayFromImage(image), matrix


def fromUs(path):
    """Values (t, k, j, i[, c]) and IJKToLPS, as this module's own reader has them."""
    reader = openImageFile(str(path))
    assert reader.missing() is None
    images = list(reader.images())
    return np.stack([image.pixels for image in images]), LPS @ images[0].ijkToRAS


def assertSameAtWorldPoints(found, expected, tolerance=1e-3):
    """Values and matrix are equal, or the same upside down: every voxel lies where the other has the same value.

    :param tolerance: millimetres.
    """
    (values, matrix), (others, otherMatrix) = found, expected
    assert values.shape == others.shape
    for flip in (False, True):
        turned = np.eye(4)
        if flip:
            turned[2, 2], turned[2, 3] = -1, len(others) - 1
        corners = np.array([[i, j, k, 1.0] for i in (0, 9) for j in (0, 9) for k in (0, max(0, len(values) - 1))])
        if np.abs((matrix - otherMatrix @ turned) @ corners.T).max() < tolerance:
            np.testing.assert_array_equal(values, others[::-1] if flip else others)
            return
    raise AssertionError(f"the places differ:\n{matrix}\n{otherMatrix}")
