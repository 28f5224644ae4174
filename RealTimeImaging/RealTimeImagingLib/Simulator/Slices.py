"""DICOM slices of simulated images: one data set a slice, all of one series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from ..Model.Errors import NotAnImageError
from ..Model.Frame import LPS_TO_RAS, Image, Matrix, Pixels

MR, CAPTURE = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"
"""SOP classes: MR Image Storage for 16 bits, Secondary Capture for all others."""
SYNTAX = "1.2.840.10008.1.2.1"


class SliceSeries:
    """One series, with a time point for each image."""

    def __init__(self) -> None:
        from pydicom.uid import generate_uid

        self._study, self._series = (str(generate_uid(prefix=None)) for _ in range(2))
        self._instances = 0

    def slices(self, pixels: Pixels, matrix: Matrix, number: int) -> Iterator[Any]:
        """Yield the data sets of an image, one a slice.

        :param pixels: as :func:`rightHanded` returns them, with ``matrix``.
        :param number: of the time point, from 0.
        :raises NotAnImageError: DICOM has no place for the type of the pixels.
        """
        from pydicom.uid import generate_uid

        taken = datetime.now()
        for index, plane in enumerate(pixels):
            self._instances += 1
            one = _picture(plane)
            one.StudyInstanceUID, one.SeriesInstanceUID = self._study, self._series
            one.FrameOfReferenceUID = self._study
            one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
            one.SeriesDescription, one.SeriesNumber, one.InstanceNumber = "Simulated", 1, self._instances
            one.PatientName, one.PatientID = "Simulated", "0"
            one.AcquisitionNumber = one.TemporalPositionIdentifier = number + 1
            one.ImagesInAcquisition = len(pixels)
            one.AcquisitionDate = one.ContentDate = taken.strftime("%Y%m%d")
            one.AcquisitionTime = one.ContentTime = taken.strftime("%H%M%S.%f")
            _place(one, matrix, index)
            yield one


def rightHanded(image: Image, thin: int = 1) -> tuple[Pixels, Matrix]:
    """Return pixels and IJKToRAS with the slices in DICOM's order: along the cross product of rows and columns.

    :param thin: keep every Nth slice only.
    """
    pixels, matrix = image.pixels[::thin], image.ijkToRAS.copy()
    matrix[:3, 2] *= thin
    if np.linalg.det(matrix[:3, :3]) < 0:
        matrix[:3, 3] += (len(pixels) - 1) * matrix[:3, 2]
        matrix[:3, 2] *= -1
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels), matrix


def _picture(plane: Pixels) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset

    colour = plane.ndim == 3
    if plane.dtype.kind not in "iu" or plane.itemsize > 2 or (colour and (plane.itemsize > 1 or plane.shape[2] != 3)):
        raise NotAnImageError(f"Only integers of 8 or 16 bits and RGB are sent as DICOM, not {plane.dtype}.")
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = SYNTAX
    grey16 = plane.itemsize == 2
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = MR if grey16 else CAPTURE
    one.Modality = "MR" if grey16 else "OT"
    one.Rows, one.Columns = plane.shape[:2]
    one.SamplesPerPixel, one.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        one.PlanarConfiguration = 0
    one.BitsAllocated = one.BitsStored = 8 * plane.itemsize
    one.HighBit, one.PixelRepresentation = one.BitsStored - 1, int(plane.dtype.kind == "i")
    data = plane.astype(plane.dtype.newbyteorder("<"), copy=False).tobytes()
    one.add_new(0x7FE00010, "OW" if grey16 else "OB", data + bytes(len(data) % 2))
    return one


def _place(one: Any, matrix: Matrix, index: int) -> None:
    inLPS = LPS_TO_RAS @ matrix
    spacing = np.linalg.norm(inLPS[:3, :3], axis=0)
    axes = inLPS[:3, :3] / spacing
    one.ImageOrientationPatient = _decimals([*axes[:, 0], *axes[:, 1]])
    one.ImagePositionPatient = _decimals(inLPS[:3, 3] + index * inLPS[:3, 2])
    one.PixelSpacing = _decimals([spacing[1], spacing[0]])
    one.SliceThickness = one.SpacingBetweenSlices = _decimals(spacing[2:3])[0]


def _decimals(numbers: Sequence[float] | Pixels) -> list[str]:
    # DS has 16 characters (PS3.5 section 6.2).
    return [f"{round(float(number), 9):.10g}" for number in numbers]
