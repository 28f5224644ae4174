"""DICOM slices with the header of a usual scanner."""

from __future__ import annotations

import os
from io import BytesIO

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

CT = "1.2.840.10008.5.1.4.1.1.2"


def sliceOf(plane: np.ndarray, number: int, k: int) -> Dataset:
    """Return slice k, from 0, of series ``number``; plane: rows, columns of int16."""
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = CT
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
    one.StudyID, one.SeriesNumber, one.AcquisitionNumber, one.InstanceNumber = "1", number, 1, k + 1
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
    return one


def writeSlice(path: str, plane: np.ndarray, number: int, k: int) -> None:
    """Write :func:`sliceOf` to a file."""
    sliceOf(plane, number, k).save_as(path, enforce_file_format=True)


def writeSeries(folder: str, series: int, slices: int, size: int) -> list[list[str]]:
    """Write series into one new folder; return the paths of each."""
    os.makedirs(folder)
    plane = np.random.default_rng(0).integers(-1000, 3000, (size, size)).astype(np.int16)
    header = _header(plane)
    made = []
    for number in range(series):
        made.append([os.path.join(folder, f"IM{number * slices + k:06d}") for k in range(slices)])
        for k, path in enumerate(made[-1]):
            one = header.replace(b"7777", b"%04d" % (1000 + number)).replace(b"3334", b"%04d" % (1001 + k))
            one = one.replace(b"3333", b"%04d" % (1000 + k)).replace(b"4166.25", b"%7.2f" % (1.25 * k))
            with open(path, "wb") as file:
                file.write(one + np.roll(plane, k + number).tobytes())
    return made


def _header(plane: np.ndarray) -> bytes:
    # pydicom needs milliseconds for each file. Numbers of four digits are replaced without a change of lengths.
    file = BytesIO()
    sliceOf(plane, 7777, 3333).save_as(file, enforce_file_format=True)
    return file.getvalue()[: -plane.nbytes]
