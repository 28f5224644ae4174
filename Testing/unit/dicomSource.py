"""Synthetic DICOM series, senders, and a DICOMSource in this process, read as the worker reads it."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from contextlib import contextmanager

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pynetdicom import AE, _config, build_context
from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Simulator.StoringScanner import keepAnswers
from RealTimeImagingLib.Sources.Checkpoint import Checkpoint
from RealTimeImagingLib.Sources.DICOM import DICOMSettings
from RealTimeImagingLib.Sources.DICOM.Source import DICOMSource
from unit.conftest import Clock

_config.LOG_HANDLER_LEVEL = "none"
for name in ("pydicom", "pynetdicom"):
    logging.getLogger(name).setLevel(logging.CRITICAL)
_TILTED = np.linalg.qr(np.array([[0.9, 0.3, 0.1], [-0.2, 0.8, 0.5], [0.1, 0.2, 0.9]]).T)[0].T
OBLIQUE = (*_TILTED[0], *_TILTED[1])
"""Right-angled ImageOrientationPatient along no axis."""


def pixelsOf(number, shape=(6, 5)):
    """Return the pixels of a slice, different for each number."""
    return np.random.default_rng(number).integers(-900, 900, shape).astype(np.int16)


def slice_(number, position, pixels=None, series="1.2.3", syntax=ExplicitVRLittleEndian, orientation=OBLIQUE, **others):
    """Return an MR slice, as scanners send it.

    :param number: InstanceNumber. :param position: millimetres along the normal.
    :param others: elements by keyword; None leaves one out.
    """
    pixels = pixelsOf(number) if pixels is None else pixels
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = syntax
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = MRImageStorage
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = "1.2", series, "1.9"
    one.Modality, one.SeriesDescription, one.SeriesNumber, one.InstanceNumber = "MR", "t2 tse", 7, number
    normal = np.cross(orientation[:3], orientation[3:])
    one.ImageOrientationPatient = [round(float(value), 9) for value in orientation]
    one.ImagePositionPatient = [round(float(value), 6) for value in np.array([-40.0, 12.5, 33.0]) + position * normal]
    one.PixelSpacing, one.SliceThickness = [1.5, 2.0], 5
    one.Rows, one.Columns = pixels.shape[:2]
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated = one.BitsStored = 8 * pixels.itemsize
    one.HighBit, one.PixelRepresentation = one.BitsStored - 1, int(pixels.dtype.kind == "i")
    for name, value in others.items():
        if value is None:
            delattr(one, name)
        else:
            setattr(one, name, value)
    one.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    one["PixelData"].VR = "OW"
    return one


def series(count, step=4.0, first=1, **others):
    """Return slices one above the other, the lowest first, of a new series unless one is named."""
    others.setdefault("series", generate_uid())
    return [slice_(first + index, index * step, **others) for index in range(count)]


def stackOf(slices):
    """Return the pixels of the slices, in their order, as a volume."""
    shape = (slices[0].Rows, slices[0].Columns)
    return np.stack([np.frombuffer(one.PixelData, "<i2").reshape(shape) for one in slices])


@contextmanager
def sender(port, *datasets, title="SCANNER", called="SLICER", syntaxes=None, echo=True):
    """Open an association with the receiver on the port and release it at the end; None: it was rejected."""
    entity = AE(ae_title=title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    kinds = sorted({str(one.SOPClassUID) for one in datasets} or {str(MRImageStorage)})
    found = sorted({str(one.file_meta.TransferSyntaxUID) for one in datasets} or {str(ExplicitVRLittleEndian)})
    contexts = [build_context(kind, syntaxes or [syntax]) for kind in kinds for syntax in found]
    contexts += [build_context("1.2.840.10008.1.1")] if echo else []
    association = entity.associate("127.0.0.1", port, contexts=contexts, ae_title=called)
    if association.is_established:
        keepAnswers(association)
    try:
        yield association if association.is_established else None
    finally:
        if association.is_established:
            association.release()


class Scanner(threading.Thread):
    """Sender of one association, in a thread.

    :param hold: keeps the association open until it is set.

    ``statuses`` has the answers in order.
    """

    def __init__(self, port, datasets, pause=0.0, hold=None, **options):
        super().__init__(daemon=True)
        self._port, self._datasets, self._pause, self._hold, self._options = port, datasets, pause, hold, options
        self.statuses, self.comments = [], []
        self.refused = False
        self.start()

    def run(self):
        with sender(self._port, *self._datasets, **self._options) as association:
            if not association or not association.accepted_contexts:
                self.refused = True
                return
            for one in self._datasets:
                if not association.is_established:
                    return
                answer = association.send_c_store(one)
                self.statuses.append(answer.get("Status"))
                self.comments.append(answer.get("ErrorComment"))
                time.sleep(self._pause)
            if not self._datasets:
                self.statuses.append(association.send_c_echo().get("Status"))
            if self._hold:
                self._hold.wait(20)


class Receiver:
    """DICOMSource with a clock that :meth:`step` advances."""

    def __init__(self, workFolder, folder="", **values):
        self.clock = Clock()
        self.settings = DICOMSettings(**{"folder": str(folder), "port": 0, **values})
        self._listening = 0
        self._workFolder = workFolder
        self.frames, self.sums, self.events, self.buffers = [], [], [], []
        self.open()

    def open(self):
        self.checkpoint = Checkpoint(str(self._workFolder))
        self.source = DICOMSource(self.settings, self.checkpoint, self.clock, self.getBuffer)
        self.port = 0

    def reopen(self):
        """Open the source again, as after a crash of the process."""
        self.close()
        self.open()

    def close(self):
        self.source.close()
        self.checkpoint.close()

    def getBuffer(self, nbytes):
        self.buffers.append(nbytes)

    @property
    def codes(self):
        return [event.code for event in self.events]

    @property
    def streams(self):
        return [frame.stream for frame in self.frames]

    @property
    def shapes(self):
        return [frame.image.pixels.shape for frame in self.frames]

    def listen(self):
        """Wait until senders can connect; return the port."""
        self._listening += 1
        self.untilCode("listening", self._listening)
        words = [event.text for event in self.events if event.code == "listening"][-1]
        self.port = int(words.split("port ")[1].split(".")[0])
        return self.port

    def step(self, passes=0.0, seconds=0.01):
        self.clock.now += passes
        for item in self.source.read(seconds):
            if isinstance(item, Event):
                self.events.append(item)
            else:
                self.checkpoint.accept(item.stream)
                self.frames.append(item)
                self.sums.append(checksum(item.image.pixels))

    def until(self, condition, seconds=20.0, passes=0.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"the condition stays false: {self.codes} {self.source.status}"
            self.step(passes)

    def untilCode(self, code, count=1, passes=0.0):
        self.until(lambda: Counter(self.codes)[code] >= count, passes=passes)

    def untilSent(self, scanner):
        """Wait until the scanner has ended and its instances were read."""
        self.until(lambda: not scanner.is_alive())
        self.until(lambda: not self.source._scp.senders)
        return scanner
