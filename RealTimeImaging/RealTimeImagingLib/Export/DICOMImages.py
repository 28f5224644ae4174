"""DICOM data sets of an export, without pixels.

Multi-frame Grayscale Byte, Word and True Color Secondary Capture (PS3.3 sections A.8.3 to A.8.5): one instance for each
frame of the recording; the slices are its frames, each with its position. Ultrasound Multi-frame (A.7): a cine of 2-D
frames.

- Stored values are unsigned; for int16, RescaleIntercept restores the sign. It is in the data set itself, because GDCM
  ignores its functional group (C.7.6.16.2.9) in this class. With 8 bits only the identity is allowed.
- GDCM reads the geometry of Secondary Capture from the functional groups only. It reads that of ultrasound from the
  plane and PixelSpacing in the data set itself, which the class allows beside the calibration of its region (PS3.2,
  Standard Extended). It rejects several frames at one position; therefore 16-bit frames are never a cine.
- Numbers have as many digits as DS allows (PS3.5 section 6.2).
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import numpy as np

from ..Formats.ImageFile import angleError
from ..Model.Event import Event
from ..Model.Frame import LPS_TO_RAS, Matrix
from .DICOMFields import describe, private
from .Frames import Frames

BYTE, WORD, COLOUR = (f"1.2.840.10008.5.1.4.1.1.7.{kind}" for kind in (2, 3, 4))
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.3.1"
TICK = 1e-6
"""Resolution of DICOM's times, seconds."""
_STRAIGHT = 1e-7
"""Most cosine between axes at right angles."""
_PER_FRAME = 0x52009230
_FRAME_TIME, _FRAME_TIME_VECTOR = 0x00181063, 0x00181065


def newUID() -> str:
    """Make a UID below 2.25 from a random number (PS3.5 section B.2)."""
    from pydicom.uid import generate_uid

    return str(generate_uid(prefix=None))


def seriesDataset(frames: Frames) -> tuple[Any, list[Event]]:
    """Compose the fields that all instances share.

    :returns: a pydicom Dataset, and warnings.
    """
    import pydicom

    dataset = pydicom.Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    events = describe(dataset, frames.attributes)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = newUID(), newUID(), newUID()
    dataset.PositionReferenceIndicator = ""
    dataset.SeriesNumber = 1
    if not dataset.get("SeriesDescription"):
        dataset.SeriesDescription = frames.stream[:64].replace("\\", "/")
    dataset.Manufacturer = "RealTimeImaging"
    dataset.TimezoneOffsetFromUTC = "+0000"
    day, moment = dateTime(frames.start)
    dataset.StudyDate = dataset.SeriesDate = day
    dataset.StudyTime = dataset.SeriesTime = moment
    dataset.PatientOrientation = ""
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    dataset.Rows, dataset.Columns = frames.shape[1:3]
    dataset.SamplesPerPixel = frames.components
    dataset.PhotometricInterpretation = "MONOCHROME2" if frames.components == 1 else "RGB"
    if frames.components > 1:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * frames.dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = 0
    return dataset, events


def addInstance(dataset: Any, frames: Frames, places: range, number: int, uid: str) -> None:
    """Add the fields of one instance. Its time is that of its first frame, rounded down to a microsecond.

    :param places: places of its frames in the export.
    :param number: number of the instance, from 1.
    """
    dataset.SOPInstanceUID = uid
    dataset.InstanceNumber = dataset.AcquisitionNumber = number
    day, moment = dateTime(frames.start + frames.times[places[0]])
    if day:
        dataset.AcquisitionDateTime = f"{day}{moment}+0000"
    dataset.ContentDate = dataset.AcquisitionDate = day
    dataset.ContentTime = dataset.AcquisitionTime = moment
    whole = {
        "attributes": dict(frames.attributes),
        "recording": frames.recording,
        "stream": frames.stream,
        "start": frames.start,
        "startClock": frames.startClock,
        "dtype": frames.dtype.str,
    }
    private(dataset, whole, [frames.line(place).toBytes().decode("ascii").rstrip() for place in places])


def addVolume(dataset: Any, frames: Frames, matrix: Matrix, count: int, dimensions: str) -> None:
    """Add the fields of a Secondary Capture with ``count`` slices.

    :param matrix: IJKToLPS, millimetres, right-handed, at right angles; slice 0 is the first of the instance.
    :param dimensions: UID of the order of the slices.
    """
    import pydicom

    grey = frames.components == 1
    dataset.SOPClassUID = COLOUR if not grey else BYTE if frames.dtype.itemsize == 1 else WORD
    dataset.Modality, dataset.ConversionType = "OT", "WSD"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.NumberOfFrames = count
    if grey:
        dataset.PresentationLUTShape = "IDENTITY"
        dataset.RescaleIntercept = str(np.iinfo(frames.dtype).min)
        dataset.RescaleSlope, dataset.RescaleType = "1", "US"
    if count > 1:
        dataset.FrameIncrementPointer = _PER_FRAME
    axes, spacing = unitAxes(matrix)
    orientation, measures, shared = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    orientation.ImageOrientationPatient = decimals([*axes[:, 0], *axes[:, 1]])
    measures.PixelSpacing = decimals([spacing[1], spacing[0]])
    measures.SliceThickness = measures.SpacingBetweenSlices = decimals([spacing[2]])[0]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [_sliceGroups(matrix, k) for k in range(count)]
    organization, stack, position = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    organization.DimensionOrganizationUID = dimensions
    dataset.DimensionOrganizationSequence = [organization]
    for item, pointer in ((stack, 0x00209056), (position, 0x00209057)):  # StackID, InStackPositionNumber
        item.DimensionOrganizationUID = dimensions
        item.DimensionIndexPointer, item.FunctionalGroupPointer = pointer, 0x00209111
    dataset.DimensionIndexSequence = [stack, position]


def addCine(dataset: Any, frames: Frames, matrix: Matrix, places: range) -> None:
    """Add the fields of an Ultrasound Multi-frame image.

    :param matrix: IJKToLPS, millimetres, right-handed.
    :param places: places of its frames in the export.
    """
    import pydicom

    times = [frames.times[place] for place in places]
    dataset.SOPClassUID = ULTRASOUND
    dataset.Modality = "US"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.NumberOfFrames = len(places)
    dataset.FrameIncrementPointer = _FRAME_TIME_VECTOR
    steps = frameSteps(times)
    period = f"{1000 * (times[-1] - times[0]) / max(1, len(times) - 1):.9f}"[:16]
    if len(times) > 1 and all(
        abs(times[0] + number * float(period) / 1000 - time) < TICK for number, time in enumerate(times)
    ):
        dataset.FrameTime, dataset.FrameIncrementPointer = period, _FRAME_TIME
    else:
        dataset.FrameTimeVector = steps
    if len(times) > 1:
        rate = min(2**31 - 1, max(1, round((len(times) - 1) / (times[-1] - times[0]))))
        dataset.CineRate = dataset.RecommendedDisplayFrameRate = rate
    axes, spacing = unitAxes(matrix)
    region = pydicom.Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = frames.shape[2] - 1, frames.shape[1] - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3  # centimetres
    region.PhysicalDeltaX, region.PhysicalDeltaY = float(spacing[0] / 10), float(spacing[1] / 10)
    dataset.SequenceOfUltrasoundRegions = [region]
    if frames.components > 1:
        dataset.UltrasoundColorDataPresent = 1
    dataset.ImagePositionPatient = decimals(matrix[:3, 3])
    dataset.ImageOrientationPatient = decimals([*axes[:, 0], *axes[:, 1]])
    dataset.PixelSpacing = decimals([spacing[1], spacing[0]])
    dataset.SliceThickness = decimals([spacing[2]])[0]


def rightAngled(ijkToRAS: Matrix, shape: tuple[int, ...]) -> Matrix:
    """Find the nearest matrix with axes at right angles; readers of DICOM reject others.

    Rounding in headers tilts axes by up to :data:`Frame.SHEAR`. The middle of the volume stays in place.

    :param ijkToRAS: 4x4 float64, millimetres.
    :param shape: shape of the volume, (k, j, i) first.
    """
    if angleError(ijkToRAS) <= _STRAIGHT:
        return ijkToRAS
    axes, spacing = unitAxes(ijkToRAS)
    left, _, right = np.linalg.svd(axes)
    matrix = np.eye(4)
    matrix[:3, :3] = left @ right * spacing
    middle = np.array([(size - 1) / 2 for size in reversed(shape[:3])])
    matrix[:3, 3] = ijkToRAS[:3, 3] + (ijkToRAS[:3, :3] - matrix[:3, :3]) @ middle
    return matrix


def rightHanded(ijkToRAS: Matrix, slices: int) -> tuple[Matrix, bool]:
    """Make a matrix right-handed.

    :returns: IJKToLPS with the third axis along the normal of the other two, and whether the slices are reversed.
    """
    matrix: Matrix = LPS_TO_RAS @ ijkToRAS
    if np.linalg.det(matrix[:3, :3]) > 0:
        return matrix, False
    flip = np.eye(4)
    flip[2, 2], flip[2, 3] = -1.0, slices - 1
    return matrix @ flip, True


def frameSteps(times: list[float]) -> list[str]:
    """Compose FrameTimeVector: milliseconds since the frame before; their sums do not drift."""
    # Whole nanoseconds.
    marks = [round((time - times[0]) * 1e9) for time in times]
    steps = [0, *(after - before for before, after in pairwise(marks))]
    return [f"{step // 10**6}.{step % 10**6:06d}".rstrip("0").rstrip(".") for step in steps]


def dateTime(seconds: float) -> tuple[str, str]:
    """Format DA and TM in UTC, rounded down to a microsecond; empty when the calendar has no such day."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=int(seconds // 1))
    except (OverflowError, ValueError):
        return "", ""
    micro = min(999_999, int(seconds % 1 * 1e6))
    return f"{moment.year:04d}{moment:%m%d}", f"{moment:%H%M%S}.{micro:06d}"


def decimals(values: Any) -> list[str]:
    """Format numbers as DS of at most 16 characters."""
    from pydicom.valuerep import format_number_as_ds

    return [format_number_as_ds(float(value) + 0.0) for value in values]


def unitAxes(matrix: Matrix) -> tuple[Matrix, Matrix]:
    """Split a matrix into axes, as columns of length 1, and their lengths."""
    spacing: Matrix = np.linalg.norm(matrix[:3, :3], axis=0)
    return matrix[:3, :3] / spacing, spacing


def _sliceGroups(matrix: Matrix, k: int) -> Any:
    import pydicom

    groups, position, content = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    position.ImagePositionPatient = decimals(matrix[:3, 3] + k * matrix[:3, 2])
    content.StackID, content.InStackPositionNumber, content.DimensionIndexValues = "1", k + 1, [1, k + 1]
    groups.PlanePositionSequence, groups.FrameContentSequence = [position], [content]
    return groups
