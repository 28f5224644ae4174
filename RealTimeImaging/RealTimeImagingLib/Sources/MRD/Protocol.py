"""The MRD (ISMRMRD) streaming protocol: messages, their fixed headers, and their bytes. No socket.

Sources: the MRD documentation, pages "Session Protocol", "Image Data", "Waveform Data" and "Raw Data"
(https://ismrmrd.readthedocs.io), and the structures of ismrmrd.h. Names of fields are those of the standard. All
numbers are little-endian, without gaps except in the header of a waveform.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Any

import numpy as np

from ...Model.Frame import Pixels
from ...Model.Text import Text, textsOf

_ = textsOf(__file__)

CONFIG_FILE, CONFIG_TEXT, HEADER, CLOSE, TEXT = 1, 2, 3, 4, 5
ACQUISITION, IMAGE, WAVEFORM, NDARRAY = 1008, 1022, 1026, 1030
NAMES = {
    CONFIG_FILE: "MRD_MESSAGE_CONFIG_FILE",
    CONFIG_TEXT: "MRD_MESSAGE_CONFIG_TEXT",
    HEADER: "MRD_MESSAGE_HEADER",
    CLOSE: "MRD_MESSAGE_CLOSE",
    TEXT: "MRD_MESSAGE_TEXT",
    ACQUISITION: "MRD_MESSAGE_ISMRMRD_ACQUISITION",
    IMAGE: "MRD_MESSAGE_ISMRMRD_IMAGE",
    WAVEFORM: "MRD_MESSAGE_ISMRMRD_WAVEFORM",
    NDARRAY: "NDARRAY",
}
CONFIG_FILE_BYTES = 1024
"""Bytes of the name of a configuration, filled with zeros."""

DATA_TYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<u2"),
    2: np.dtype("<i2"),
    3: np.dtype("<u4"),
    4: np.dtype("<i4"),
    5: np.dtype("<f4"),
    6: np.dtype("<f8"),
    7: np.dtype("<c8"),
    8: np.dtype("<c16"),
}
"""Types of voxels by ``data_type``."""
MAGNITUDE, PHASE, REAL, IMAGINARY, COMPLEX, RGB = 1, 2, 3, 4, 5, 6
IMAGE_TYPES = {
    MAGNITUDE: "magnitude",
    PHASE: "phase",
    REAL: "real",
    IMAGINARY: "imaginary",
    COMPLEX: "complex",
    RGB: "RGB",
}
"""Names by ``image_type``."""

_Numbers = tuple[float, ...]
_ZEROS: _Numbers = (0.0, 0.0, 0.0)


def _of(code: str, count: int = 1) -> dict[str, Any]:
    return {"wire": (code, count)}


@dataclass(frozen=True)
class ImageHeader:
    """Fixed header of an image, 198 bytes. Lengths are millimetres in LPS, directions are unit vectors in LPS."""

    version: int = field(default=1, metadata=_of("H"))
    data_type: int = field(default=1, metadata=_of("H"))
    flags: int = field(default=0, metadata=_of("Q"))
    measurement_uid: int = field(default=0, metadata=_of("I"))
    matrix_size: tuple[int, ...] = field(default=(1, 1, 1), metadata=_of("H", 3))
    field_of_view: _Numbers = field(default=(1.0, 1.0, 1.0), metadata=_of("f", 3))
    channels: int = field(default=1, metadata=_of("H"))
    position: _Numbers = field(default=_ZEROS, metadata=_of("f", 3))
    read_dir: _Numbers = field(default=(1.0, 0.0, 0.0), metadata=_of("f", 3))
    phase_dir: _Numbers = field(default=(0.0, 1.0, 0.0), metadata=_of("f", 3))
    slice_dir: _Numbers = field(default=(0.0, 0.0, 1.0), metadata=_of("f", 3))
    patient_table_position: _Numbers = field(default=_ZEROS, metadata=_of("f", 3))
    average: int = field(default=0, metadata=_of("H"))
    slice: int = field(default=0, metadata=_of("H"))
    contrast: int = field(default=0, metadata=_of("H"))
    phase: int = field(default=0, metadata=_of("H"))
    repetition: int = field(default=0, metadata=_of("H"))
    set: int = field(default=0, metadata=_of("H"))
    acquisition_time_stamp: int = field(default=0, metadata=_of("I"))
    physiology_time_stamp: tuple[int, ...] = field(default=(0, 0, 0), metadata=_of("I", 3))
    image_type: int = field(default=MAGNITUDE, metadata=_of("H"))
    image_index: int = field(default=0, metadata=_of("H"))
    image_series_index: int = field(default=0, metadata=_of("H"))
    user_int: tuple[int, ...] = field(default=(0,) * 8, metadata=_of("i", 8))
    user_float: _Numbers = field(default=(0.0,) * 8, metadata=_of("f", 8))
    attribute_string_len: int = field(default=0, metadata=_of("I"))

    @classmethod
    def unpack(cls, raw: bytes) -> ImageHeader:
        """Read a header from its IMAGE_HEADER_BYTES bytes."""
        numbers = iter(_IMAGE.unpack(raw))
        values: list[Any] = []
        for _name, _code, count in _FIELDS:
            values.append(next(numbers) if count == 1 else tuple(islice(numbers, count)))
        return cls(*values)

    def pack(self) -> bytes:
        """Return the bytes of the header.

        :raises struct.error: a number does not fit into its field.
        """
        values: list[Any] = []
        for name, _code, count in _FIELDS:
            value = getattr(self, name)
            values.extend([value] if count == 1 else value)
        return _IMAGE.pack(*values)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Channels, z, y, x."""
        x, y, z = self.matrix_size
        return self.channels, z, y, x

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """Type of the voxels, None for an unknown ``data_type``."""
        return DATA_TYPES.get(self.data_type)


_FIELDS = [(one.name, *one.metadata["wire"]) for one in fields(ImageHeader)]
_IMAGE = struct.Struct("<" + "".join(f"{count}{code}" for _name, code, count in _FIELDS))
IMAGE_HEADER_BYTES = _IMAGE.size
"""198."""
IMAGE_HEADER_TYPE = np.dtype(
    [
        (name, {"H": "<u2", "I": "<u4", "Q": "<u8", "i": "<i4", "f": "<f4"}[code], *([(count,)] if count > 1 else []))
        for name, code, count in _FIELDS
    ]
)
"""The same header in an HDF5 file."""

_WAVEFORM = struct.Struct("<H6xQIIIHHfH2x")
WAVEFORM_HEADER_BYTES = _WAVEFORM.size
"""40, with the gaps that a C compiler leaves."""
ACQUISITION_HEADER_BYTES = 340
_ACQUISITION = struct.Struct("<34xH2xH")
"""number_of_samples and active_channels, behind version, flags, four time stamps and two counters."""
_TRAJECTORY = struct.Struct("<176xH")
"""trajectory_dimensions."""
NDARRAY_HEADER = struct.Struct("<HHH")
"""Type, version and number of dimensions, before the dimensions (64 bits each)."""


@dataclass(frozen=True)
class TextMessage:
    """Configuration, header or text.

    :param kind: CONFIG_FILE, CONFIG_TEXT, HEADER or TEXT.
    """

    kind: int
    text: str


@dataclass(frozen=True)
class CloseMessage:
    """The sender has sent everything."""


@dataclass(frozen=True, eq=False)
class ImageMessage:
    """An image as it arrived.

    :param head: bytes of the fixed header.
    :param meta: bytes of the meta attributes (XML).
    :param pixels: shape (channels, z, y, x), in a type of DATA_TYPES.
    """

    head: bytes
    header: ImageHeader
    meta: bytes
    pixels: Pixels

    def buffers(self) -> list[Any]:
        """Return the bytes of the message, in pieces; the pixels are not copied."""
        begin = struct.pack("<H", IMAGE) + self.head + struct.pack("<Q", len(self.meta)) + self.meta
        return [begin, self.pixels.reshape(-1).view(np.uint8).data]


@dataclass(frozen=True, eq=False)
class WaveformMessage:
    """Samples of a waveform.

    :param waveform_id: 0 ECG, 1 pulse oximetry, 2 respiratory, 3 and 4 external; from 1024 on named in the header.
    :param time_stamp: of the first sample, in ticks of the scanner's clock.
    :param sample_time_us: microseconds between two samples.
    :param samples: shape (channels, samples), uint32.
    """

    waveform_id: int
    time_stamp: int
    sample_time_us: float
    samples: Pixels
    measurement_uid: int = 0
    scan_counter: int = 0
    flags: int = 0

    def pack(self) -> bytes:
        """Return the bytes of the message."""
        channels, count = self.samples.shape
        head = _WAVEFORM.pack(
            1,
            self.flags,
            self.measurement_uid,
            self.scan_counter,
            self.time_stamp,
            count,
            channels,
            self.sample_time_us,
            self.waveform_id,
        )
        return struct.pack("<H", WAVEFORM) + head + self.samples.astype("<u4", copy=False).tobytes()


@dataclass(frozen=True)
class AcquisitionMessage:
    """One readout of raw data, which is skipped."""


@dataclass(frozen=True)
class Problem:
    """A message that cannot be used.

    :param code: for programs.
    :param text: a sentence without the sender.
    :param fatal: True when the begin of the next message is unknown.
    :param lost: number of images that the message contained.
    """

    code: str
    text: Text
    fatal: bool = False
    lost: int = 0


Message = TextMessage | CloseMessage | ImageMessage | WaveformMessage | AcquisitionMessage | Problem


def packText(kind: int, text: str) -> bytes:
    """Return the bytes of a configuration, header or text.

    :raises ValueError: the name of a configuration is too long.
    """
    data = text.encode()
    if kind != CONFIG_FILE:
        # Older senders end it with a zero, which some readers of XML refuse.
        return struct.pack("<HI", kind, len(data)) + data
    if len(data) >= CONFIG_FILE_BYTES:
        raise ValueError(f"The name of a configuration has at most {CONFIG_FILE_BYTES - 1} bytes, not {len(data)}.")
    return struct.pack("<H", kind) + data.ljust(CONFIG_FILE_BYTES, b"\0")


def packClose() -> bytes:
    """Return the bytes of MRD_MESSAGE_CLOSE."""
    return struct.pack("<H", CLOSE)


def unpackWaveformHeader(raw: bytes) -> tuple[dict[str, Any], int, int]:
    """Return the fields of a waveform, its channels and its number of samples."""
    _version, flags, uid, counter, stamp, count, channels, sampleTime, kind = _WAVEFORM.unpack(raw)
    values = {"waveform_id": kind, "time_stamp": stamp, "sample_time_us": sampleTime}
    return {**values, "measurement_uid": uid, "scan_counter": counter, "flags": flags}, channels, count


def acquisitionBytes(raw: bytes) -> int:
    """Return the bytes behind the fixed header of an acquisition: trajectory and samples."""
    samples, channels = _ACQUISITION.unpack_from(raw)
    (dimensions,) = _TRAJECTORY.unpack_from(raw)
    return int(samples) * (4 * int(dimensions) + 8 * int(channels))


def ndarrayBytes(dataType: int, dimensions: Sequence[int]) -> int | None:
    """Return the bytes behind the dimensions of an array, None for an unknown type."""
    dtype = DATA_TYPES.get(dataType)
    if dtype is None:
        return None
    count = 1
    for size in dimensions:
        count *= size
    return count * dtype.itemsize
