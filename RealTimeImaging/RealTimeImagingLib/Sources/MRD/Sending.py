"""Images that are sent over MRD: those of MRD files (HDF5), and those of all other image files."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...Formats import ignoredName, openImageFile
from ...Formats.ImageFile import checkRightAngles, translateErrors
from ...Model.Errors import FrameError, NotAnImageError
from ...Model.Event import Event
from ...Model.Files import naturalOrder, reasonOf
from ...Model.Frame import LPS_TO_RAS, Image, Pixels
from ...Model.Text import sentence, textsOf
from . import HDF5_SUFFIXES
from .Header import headerXML, metaXML, stampOf
from .Protocol import (
    DATA_TYPES,
    IMAGE_HEADER_TYPE,
    MAGNITUDE,
    RGB,
    ImageHeader,
    ImageMessage,
)

_ = textsOf(__file__)

LARGEST = 0xFFFF
"""Most pixels along an axis, and largest counter."""
_WIDER = {np.dtype(np.uint8): np.dtype(np.uint16), np.dtype(np.int8): np.dtype(np.int16)}
"""Types that MRD lacks, and those that hold their values."""


class Outgoing:
    """Images of a file or folder, in order.

    :param path: file or folder.
    :param tick: milliseconds of a time stamp; 0: send no times.
    :raises NotAnImageError: nothing of it can be sent.
    :raises OSError: it cannot be read.
    """

    def __init__(self, path: str, tick: float) -> None:
        self._tick = tick
        self._paths = _pathsOf(path)
        self.header = self._headerOf(self._paths[0], path)
        """Text of the header that is sent before the images."""

    def messages(self) -> Iterator[ImageMessage | Event]:
        """Yield the messages of all images; a file that cannot be sent is an event."""
        number = sent = 0
        for path in self._paths:
            try:
                if path.lower().endswith(HDF5_SUFFIXES):
                    yield from _hdf5Messages(path)
                    continue
                for image in _whole(path).images():
                    for message in messagesOf(image, number, sent, self._tick):
                        sent += 1
                        yield message
                    number += 1
            except (NotAnImageError, FrameError) as error:
                text = _("{name} is not sent: {reason}").format(name=os.path.basename(path), reason=str(error))
                yield Event("not-sent", text, "warning", path)
            except OSError as error:
                text = _("{name} is not sent: it cannot be read ({reason}).")
                text = text.format(name=os.path.basename(path), reason=reasonOf(error))
                yield Event("not-sent", text, "warning", path)

    def _headerOf(self, first: str, path: str) -> str:
        name = os.path.basename(path).partition(".")[0] or "MRD"
        if first.lower().endswith(HDF5_SUFFIXES):
            header = _hdf5Header(first)
            if header:
                return header
            head = next((one.header for one in _hdf5Messages(first) if isinstance(one, ImageMessage)), None)
            if head is None:
                raise NotAnImageError(_("{name} contains no images.").format(name=os.path.basename(first)))
            return headerXML(name, head.matrix_size, head.field_of_view)
        image = next(_whole(first).images())
        return headerOf(image, name)


def headerOf(image: Image, name: str) -> str:
    """Return the header of a measurement of images like this one.

    :param name: of the protocol.
    """
    slices, rows, columns = image.pixels.shape[:3]
    spacing = np.linalg.norm(image.ijkToRAS[:3, :3], axis=0)
    lengths = (columns * float(spacing[0]), rows * float(spacing[1]), float(spacing[2]))
    return headerXML(name, (columns, rows, 1), lengths, slices)


def messagesOf(image: Image, repetition: int, before: int, tick: float) -> Iterator[ImageMessage]:
    """Yield the messages of an image, one for each slice, in the order of the slices.

    :param repetition: number of the image, from 0.
    :param before: number of messages before it.
    :param tick: milliseconds of a time stamp; 0: no times.
    :raises FrameError: MRD has no place for the image.
    """
    checkRightAngles(image.ijkToRAS)
    slices, rows, columns = image.pixels.shape[:3]
    if max(slices, rows, columns) > LARGEST:
        raise FrameError(_("MRD has at most {limit:,} pixels along an axis.").format(limit=LARGEST))
    inLPS = LPS_TO_RAS @ image.ijkToRAS
    spacing = np.linalg.norm(inLPS[:3, :3], axis=0)
    axes = inLPS[:3, :3] / spacing
    dtype = _WIDER.get(image.pixels.dtype, image.pixels.dtype).newbyteorder("<")
    dataType = next(code for code, known in DATA_TYPES.items() if known == dtype)
    stamp = stampOf(image.deviceTime, tick) if tick and image.deviceTime is not None else 0
    meta = metaXML({name: [value] for name, value in image.attributes.items()}).encode()
    for index, plane in enumerate(image.pixels):
        channels = _channels(plane, dtype)
        centre = inLPS @ np.array([(columns - 1) / 2, (rows - 1) / 2, index, 1.0])
        header = ImageHeader(
            data_type=dataType,
            matrix_size=(columns, rows, 1),
            field_of_view=(columns * spacing[0], rows * spacing[1], spacing[2]),
            channels=len(channels),
            position=tuple(centre[:3]),
            read_dir=tuple(axes[:, 0]),
            phase_dir=tuple(axes[:, 1]),
            slice_dir=tuple(axes[:, 2]),
            slice=index,
            repetition=repetition & LARGEST,
            acquisition_time_stamp=stamp,
            image_type=RGB if plane.ndim == 3 else MAGNITUDE,
            image_index=(before + index + 1) & LARGEST,
            attribute_string_len=len(meta),
        )
        try:
            head = header.pack()
        except (struct.error, OverflowError) as error:
            raise FrameError(_("A position, size or time does not fit into a header of MRD.")) from error
        yield ImageMessage(head, header, meta, channels)


def _channels(plane: Pixels, dtype: np.dtype[Any]) -> Pixels:
    """Return a slice as (channels, 1, y, x)."""
    last = plane[..., np.newaxis] if plane.ndim == 2 else plane
    return np.ascontiguousarray(np.moveaxis(last, -1, 0)[:, np.newaxis].astype(dtype, copy=False))


def _whole(path: str) -> Any:
    reader = openImageFile(path)
    reader.streaming = True
    if missing := reader.missing():
        raise NotAnImageError(missing, "incomplete")
    return reader


def _pathsOf(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path]
    names = sorted((one for one in os.listdir(path) if not ignoredName(one)), key=naturalOrder)
    paths = [one for one in (os.path.join(path, name) for name in names) if os.path.isfile(one)]
    if not paths:
        raise NotAnImageError(_("There are no images in {folder}.").format(folder=path))
    return paths


# ---- MRD files


def _hdf5Header(path: str) -> str:
    with translateErrors(path, _("MRD")), _opened(path) as file:
        for group in file.values():
            if "xml" in getattr(group, "keys", tuple)():
                text = group["xml"][0]
                return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return ""


def _hdf5Messages(path: str) -> Iterator[ImageMessage | Event]:
    """Yield the images of an MRD file: groups with the datasets header, attributes and data, below any group; an event
    for each image that cannot be sent."""
    with translateErrors(path, _("MRD")), _opened(path) as file:
        for group in file.values():
            for name in sorted(getattr(group, "keys", tuple)(), key=naturalOrder):
                series = group[name]
                if {"header", "attributes", "data"} <= set(getattr(series, "keys", tuple)()):
                    for index in range(len(series["header"])):
                        yield _sendable(series, index, path)


def _sendable(series: Any, index: int, path: str) -> ImageMessage | Event:
    try:
        return _hdf5Message(series, index)
    except (ValueError, FrameError) as error:
        text = _("Image {number} of {series} in {name} is not sent: {reason}")
        reason = sentence(reasonOf(error))
        values = {"number": index + 1, "series": series.name, "name": os.path.basename(path), "reason": reason}
        return Event("not-sent", text.format(**values), "warning", path)


def _hdf5Message(series: Any, index: int) -> ImageMessage:
    head = series["header"][index].astype(IMAGE_HEADER_TYPE).tobytes()
    header = ImageHeader.unpack(head)
    attributes = series["attributes"][index]
    meta = attributes if isinstance(attributes, bytes) else str(attributes).encode()
    values = np.ascontiguousarray(series["data"][index])
    if header.dtype is None:
        raise FrameError(_("An image has the data type {type}; MRD defines 1 to 8.").format(type=header.data_type))
    # Complex values are pairs of the fields real and imag.
    isPair = values.dtype.names is not None
    pixels = values.view(header.dtype) if isPair else values.astype(header.dtype, copy=False)
    if pixels.size != math.prod(header.shape):
        text = _("It has {count:,} values, but its header declares {shape}.")
        raise FrameError(text.format(count=pixels.size, shape=" x ".join(map(str, header.shape))))
    return ImageMessage(head, header, meta, pixels.reshape(header.shape))


def _opened(path: str) -> Any:
    import h5py

    return h5py.File(path, "r")
