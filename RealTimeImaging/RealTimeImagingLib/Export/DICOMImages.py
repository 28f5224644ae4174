"""The data sets of an export, without pixels.

Multi-frame Grayscale Byte, Word and True Color Secondary Capture (PS3.3 sections A.8.3 to A.8.5): one instance a frame
of the recording, whose slices are its frames, each with its position. Ultrasound Multi-frame (A.7): a cine of 2-D
frames.

- Stored values are without sign: for int16 RescaleIntercept says what to add. It is in the data set, because GDCM takes
  no notice of the functional group for it (C.7.6.16.2.9) in this class. With 8 bits only the identity is allowed.
- GDCM takes the geometry of Secondary Capture from the functional groups alone, of ultrasound from the plane and
  PixelSpacing in the data set itself, which the class allows beside the calibration of its region (PS3.2, Standard
  Extended), and refuses several frames in one place: so frames of 16 bits are never a cine.
- Numbers are written with as many digits as DS has (PS3.5 section 6.2).
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
"""Seconds; the standard's times have no finer digits, and those of frames are written as finely."""
_STRAIGHT = 1e-7
"""Cosine up to which axes count as being at right angles."""
_PER_FRAME = 0x52009230
_FRAME_TIME, _FRAME_TIME_VECTOR = 0x00181063, 0x00181065


def newUID() -> str:
    """A UID below 2.25, made of a random number (PS3.5 section B.2)."""
    from pydicom.uid import generate_uid

    return str(generate_uid(prefix=None))


def seriesDataset(frames: Frames) -> tuple[Any, list[Event]]:
    """What all instances have in common, and what of it somebody should know."""
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
    """What tells an instance from others; its time is that of its first frame, to the microsecond below.

    :param places: of its frames in the export. :param number: from 1.
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
    """Make it a Secondary Capture of so many slices.

    :param matrix: IJKToLPS, millimetres, right-handed, at right angles; slice 0 is the first of the instance.
    :param dimensions: UID of the way in which the slices are ordered.
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
    """Make it an Ultrasound Multi-frame image of these frames.

    :param matrix: IJKToLPS, millimetres, right-handed.
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
    """The nearest matrix with axes at right angles; readers of DICOM accept no other.

    Rounding leaves headers up to :data:`Volumes.SHEAR` off. The middle of the volume stays in place.

    :param ijkToRAS: 4x4 float64, millimetres. ``shape``: (k, j, i) of the volume.
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
    """IJKToLPS whose third axis is the normal of the other two, and whether the slices go the other way for that."""
    matrix: Matrix = LPS_TO_RAS @ ijkToRAS
    if np.linalg.det(matrix[:3, :3]) > 0:
        return matrix, False
    flip = np.eye(4)
    flip[2, 2], flip[2, 3] = -1.0, slices - 1
    return matrix @ flip, True


def frameSteps(times: list[float]) -> list[str]:
    """FrameTimeVector: milliseconds since the frame before, whose sums do not drift."""
    # Nanoseconds, as whole numbers.
    marks = [round((time - times[0]) * 1e9) for time in times]
    steps = [0, *(after - before for before, after in pairwise(marks))]
    return [f"{step // 10**6}.{step % 10**6:06d}".rstrip("0").rstrip(".") for step in steps]


def dateTime(seconds: float) -> tuple[str, str]:
    """DA and TM in UTC, to the microsecond below; empty where no calendar has such a day."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=int(seconds // 1))
    except (OverflowError, ValueError):
        return "", ""
    micro = min(999_999, int(seconds % 1 * 1e6))
    return f"{moment.year:04d}{moment:%m%d}", f"{moment:%H%M%S}.{micro:06d}"


def decimals(values: Any) -> list[str]:
    """DS of at most 16 characters each."""
    from pydicom.valuerep import format_number_as_ds

    return [format_number_as_ds(float(value) + 0.0) for value in values]


def unitAxes(matrix: Matrix) -> tuple[Matrix, Matrix]:
    """The axes as columns of length 1, and their lengths."""
    spacing: Matrix = np.linalg.norm(matrix[:3, :3], axis=0)
    return matrix[:3, :3] / spacing, spacing


def _sliceGroups(matrix: Matrix, k: int) -> Any:
    import pydicom

    groups, position, content = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    position.ImagePositionPatient = decimals(matrix[:3, 3] + k * matrix[:3, 2])
    content.StackID, content.InStackPositionNumber, content.DimensionIndexValues = "1", k + 1, [1, k + 1]
    groups.PlanePositionSequence, groups.FrameContentSequence = [position], [content]
    return groups
