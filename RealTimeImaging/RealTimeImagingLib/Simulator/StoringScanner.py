"""Simulated scanner that sends images to a DICOM receiver (C-STORE), slice by slice, and logs checksums."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import IO, Any

import numpy as np

from ..Model.Errors import NotAnImageError
from ..Model.Frame import LPS_TO_RAS, Image, Matrix, Pixels, checksum
from .Scanners import logSent, waitUntil

RETRY = 0.2
"""Seconds between two attempts to reach the receiver."""
TITLE = "SIMULATOR"
MR, CAPTURE = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"
"""SOP classes: MR Image Storage for 16 bits, Secondary Capture for all others."""
_SYNTAX = "1.2.840.10008.1.2.1"


class StoringScanner:
    """Simulated scanner that sends one series in one association, as long as the association lasts.

    :param host: address of the receiver. ``port``: its port. ``title``: its AE title.
    :param fps: volumes a second.
    :param log: receives one JSON line for each stored volume: its number from 0 as ``file``, checksums as the receiver
        sorts the slices, and the time (seconds since the epoch) at which the last slice was stored.
    :param thin: send every Nth slice only.
    """

    def __init__(self, host: str, port: int, title: str, fps: float, log: IO[str] | None = None, thin: int = 1) -> None:
        from pydicom.uid import generate_uid
        from pynetdicom import AE, _config

        _config.LOG_HANDLER_LEVEL = "none"
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
        self._address, self._title, self._fps, self._log, self._thin = (host, port), title, fps, log, thin
        self._entity = AE(ae_title=TITLE)
        for kind in (MR, CAPTURE):
            self._entity.add_requested_context(kind, _SYNTAX)
        self._study, self._series = (str(generate_uid(prefix=None)) for _ in range(2))
        self._instances = 0
        self._association: Any = None

    def send(self, images: Iterator[Image], stopped: Callable[[], bool]) -> int:
        """Send all images, or until stopped, from the receiver's first answer on; return the number of sent images.

        :raises NotAnImageError: DICOM has no place for the image's type, or the receiver rejected a slice.
        """
        count, due = 0, 0.0
        for image in images:
            pixels, matrix = rightHanded(image, self._thin)
            due = due or time.monotonic()
            waitUntil(due, stopped)
            for one in self._slices(pixels, matrix, count):
                self._store(one, stopped)
                if stopped():
                    return count
            logSent(self._log, str(count), [checksum(pixels)], time.time())
            count, due = count + 1, due + 1 / self._fps
        return count

    def close(self) -> None:
        """Release the association."""
        if self._association and self._association.is_established:
            self._association.release()

    def _slices(self, pixels: Pixels, matrix: Matrix, number: int) -> Iterator[Any]:
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

    def _store(self, one: Any, stopped: Callable[[], bool]) -> None:
        while not stopped():
            if not (self._association and self._association.is_established):
                self._association = self._entity.associate(*self._address, ae_title=self._title)
                if not self._association.is_established:
                    waitUntil(time.monotonic() + RETRY, stopped)
                    continue
                keepAnswers(self._association)
            answer = self._association.send_c_store(one)
            if "Status" in answer:
                if answer.Status != 0:
                    words = answer.get("ErrorComment", "")
                    raise NotAnImageError(f"The receiver rejected a slice (0x{answer.Status:04X}). {words}".strip())
                return


def keepAnswers(association: Any) -> None:
    """Keep the association's thread from taking the receiver's answers.

    send_c_store waits for the answer in the queue in which pynetdicom's association thread looks for requests. The
    thread pauses meanwhile, but when it pauses late (once in some thousand stores on a busy computer), it takes the
    answer. A receiver sends no requests.
    """
    take = association.dimse.get_msg
    association.dimse.get_msg = lambda block=False: take(block=True) if block else (None, None)


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
    one.file_meta.TransferSyntaxUID = _SYNTAX
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
    return [f"{float(number):.10g}" for number in numbers]
