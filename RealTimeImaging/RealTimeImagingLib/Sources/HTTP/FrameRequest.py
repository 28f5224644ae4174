"""Parameters of a posted image, from the head of its request.

Each parameter is ``name=`` in the address, or a header ``X-RTI-name`` (upper or lower case):

``stream``      name of the stream, and of its live volume
``time``        time of acquisition: seconds since the epoch (UTC)
``attributes``  JSON object, text to text; in the address also ``attr.NAME=text``
``name``        file name: becomes the attribute SourceFile; its suffix is the format
``format``      nii, nii.gz, nrrd, mha, png, jpg, dcm ... or raw; overrides Content-Type
``shape``       of raw pixels, such as 480,640 or 64,256,256 or 480,640,3 (slowest axis first); also as JSON
``dtype``       of raw pixels: uint8, int16, float32 ...
``byteOrder``   of raw pixels: little (the default) or big
``ijkToRAS``    of raw pixels: 16 numbers, row after row, or the matrix as JSON; voxel index to millimetres in RAS
``colour``      of raw pixels: true or false, whether the last axis is colour
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...Formats import IMAGE_SUFFIXES, PAIRED, knownSuffix
from ...Model.Errors import FrameError, RequestError
from ...Model.Files import parsedJSON, reasonOf
from ...Model.Frame import ATTRIBUTE_NAME, Image, Matrix, imageOf, textOf, timeOf
from ...Model.Text import textsOf
from .Request import Head

_ = textsOf(__file__)

NAMES = ("stream", "time", "attributes", "name", "format", "shape", "dtype", "byteOrder", "ijkToRAS", "colour")
RAW = ("shape", "dtype", "byteOrder", "ijkToRAS", "colour")
HEADER, ATTRIBUTE = "x-rti-", "attr."
LONGEST = 200
"""Most characters of the name of a stream or a file."""
PAIRS = {suffix for suffix in IMAGE_SUFFIXES if suffix.endswith((".nhdr", ".mhd", *PAIRED))}
"""Suffixes of headers whose voxels are in another file."""
TYPES = {
    **dict.fromkeys(("application/nrrd", "application/x-nrrd", "image/nrrd", "image/x-nrrd"), ".nrrd"),
    **dict.fromkeys(("application/nifti", "application/x-nifti", "image/nifti", "image/x-nifti"), ".nii"),
    **dict.fromkeys(("application/gzip", "application/x-gzip"), ".nii.gz"),
    **dict.fromkeys(("application/x-metaimage", "image/x-metaimage", "image/metaimage"), ".mha"),
    **dict.fromkeys(("image/jpeg", "image/jpg"), ".jpg"),
    **dict.fromkeys(("application/dicom", "application/dicom+octet-stream"), ".dcm"),
    "image/png": ".png",
    "image/tiff": ".tif",
    "image/bmp": ".bmp",
}
"""Content-Type to file suffix."""
ANY = ("", "application/octet-stream", "binary/octet-stream", "application/x-www-form-urlencoded", "*/*")
"""Types without meaning: curl and others send them by default."""
DTYPES = (*(f"{sign}int{bits}" for sign in ("u", "") for bits in (8, 16, 32, 64)), "float16", "float32", "float64")


@dataclass(frozen=True)
class RawPixels:
    """Shape and type of pixels without a file format; see :func:`RealTimeImagingLib.Model.Frame.imageOf`."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    ijkToRAS: Matrix | None = None
    colour: bool | None = None

    @property
    def bytes(self) -> int:
        """Number of bytes that the shape needs."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class FrameRequest:
    """Parameters of the images in a request.

    :param time: of the first image, seconds since the epoch; None without one.
    :param name: of the file; empty without one.
    :param suffix: of a file in this format; empty when the format is to be detected.
    """

    stream: str
    time: float | None = None
    name: str = ""
    suffix: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    raw: RawPixels | None = None

    def image(self, image: Image, seconds: float | None) -> Image:
        """Return the image with these parameters.

        :param seconds: time of the image since the first image of its file; None when unknown.
        """
        known = {"SourceFile": self.name} if self.name else {}
        time = image.deviceTime if self.time is None or seconds is None else self.time + seconds
        return replace(image, deviceTime=time, attributes={**known, **image.attributes, **self.attributes})


def frameRequestOf(head: Head, stream: str) -> FrameRequest:
    """Parse the parameters in the head of a request.

    :param stream: default stream.
    :raises RequestError: a parameter is unknown or invalid.
    """
    values, attributes = _parameters(head)
    if head.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError(415, _("Content-Encoding is not supported: send the bytes uncompressed."))
    try:
        raw, suffix = None, _suffix(head, values)
        if suffix == "raw":
            raw, suffix = _raw(values), ""
        elif found := [name for name in RAW if name in values]:
            text = _("These are for raw pixels (application/octet-stream) only: {names}.")
            raise RequestError(400, text.format(names=", ".join(found)))
        if "attributes" in values:
            attributes |= _json(values, "attributes", dict)
        attributes = textOf(attributes)
    except FrameError as error:
        raise RequestError(400, str(error)) from error
    for name in attributes:
        if not ATTRIBUTE_NAME.fullmatch(name):
            text = _("Attribute names consist of letters, digits and _ . -, not {name!r}.")
            raise RequestError(400, text.format(name=name[:60]))
    name = os.path.basename(_name(values, "name").replace("\\", "/"))
    return FrameRequest(_name(values, "stream") or stream, _time(values), name, suffix, attributes, raw)


def _parameters(head: Head) -> tuple[dict[str, str], dict[str, str]]:
    """Return the parameters, and the attributes from ``attr.NAME=``."""
    known = {name.lower(): name for name in NAMES}
    values, attributes = {}, {}
    for name, text in head.headers.items():
        if name.startswith(HEADER):
            if name.removeprefix(HEADER) not in known:
                reason = _("Unknown header {name}; X-RTI- knows {names}.")
                raise RequestError(400, reason.format(name=name, names=", ".join(NAMES)))
            values[known[name.removeprefix(HEADER)]] = text
    for name, text in head.query.items():
        if name.startswith(ATTRIBUTE):
            attributes[name.removeprefix(ATTRIBUTE)] = text
        elif name not in NAMES:
            reason = _("Unknown name {name!r} in the address; known: {names}, attr.NAME.")
            raise RequestError(400, reason.format(name=name[:60], names=", ".join(NAMES)))
        elif values.setdefault(name, text) != text:
            reason = _("The address and the header X-RTI-{name} have different values.")
            raise RequestError(400, reason.format(name=name))
    return values, attributes


def _suffix(head: Head, values: Mapping[str, str]) -> str:
    # "raw", a file suffix, or nothing: the format is detected from the bytes.
    kind = head.headers.get("content-type", "").split(";")[0].strip().lower()
    if "format" in values:
        wanted = values["format"].strip().lower().lstrip(".")
        if wanted == "raw":
            return wanted
        suffix = f".{wanted}"
    elif kind in ANY and ("shape" in values or "dtype" in values):
        return "raw"
    elif kind in ANY:
        suffix = knownSuffix(values.get("name", ""))
    elif kind.startswith("multipart/"):
        text = _('Forms are not supported: send the file itself, with curl as --data-binary "@FILE".')
        raise RequestError(415, text)
    elif kind in TYPES:
        suffix = TYPES[kind]
    else:
        raise _unsupported(_("The type {name}").format(name=kind[:60]))
    if suffix in PAIRS:
        text = _("The voxels of {suffix} files are in a second file: send one that holds both, .nrrd, .mha or .nii.")
        raise RequestError(415, text.format(suffix=suffix))
    if suffix and suffix not in IMAGE_SUFFIXES:
        raise _unsupported(suffix[:60])
    return suffix


def _unsupported(what: str) -> RequestError:
    known = ", ".join(one for one in IMAGE_SUFFIXES if one not in PAIRS)
    return RequestError(415, _("{what} is not supported; send {known}, or raw pixels.").format(what=what, known=known))


def _name(values: Mapping[str, str], name: str) -> str:
    text = values.get(name, "").strip()
    if len(text) > LONGEST or not text.isprintable():
        reason = _('"{name}" has at most {count} printable characters.')
        raise RequestError(400, reason.format(name=name, count=LONGEST))
    return text


def _time(values: Mapping[str, str]) -> float | None:
    try:
        return timeOf(values.get("time"))
    except FrameError as error:
        raise RequestError(400, str(error)) from error


def _raw(values: Mapping[str, str]) -> RawPixels:
    missing = [name for name in ("shape", "dtype") if name not in values]
    if missing:
        text = _("Raw pixels need shape and dtype, such as shape=480,640 and dtype=uint8; missing: {names}.")
        raise RequestError(400, text.format(names=", ".join(missing)))
    shape = tuple(_json(values, "shape", list))
    if not 2 <= len(shape) <= 4 or not all(type(size) is int and 0 < size < 1 << 32 for size in shape):
        text = _("A shape has 2 to 4 whole numbers above 0, slowest axis first, not {shape}.")
        raise RequestError(400, text.format(shape=values["shape"][:60]))
    if values["dtype"] not in DTYPES:
        text = _("Unknown pixel type {name!r}; known: {names}.")
        raise RequestError(400, text.format(name=values["dtype"][:60], names=", ".join(DTYPES)))
    order, colour = values.get("byteOrder", "little"), values.get("colour")
    if order not in ("little", "big"):
        raise RequestError(400, _("The byte order is little or big, not {name!r}.").format(name=order[:60]))
    if colour is not None and colour not in ("true", "false"):
        raise RequestError(400, _('"colour" is true or false, not {name!r}.').format(name=colour[:60]))
    dtype: np.dtype[Any] = np.dtype(values["dtype"]).newbyteorder("<" if order == "little" else ">")
    raw = RawPixels(shape, dtype, _matrix(values), None if colour is None else colour == "true")
    # Convert a few pixels: an invalid shape, type or matrix is refused before the body arrives.
    imageOf(np.zeros([1] * (len(shape) - 1) + [min(shape[-1], 5)], raw.dtype), raw.ijkToRAS, None, raw.colour)
    return raw


def _matrix(values: Mapping[str, str]) -> Matrix | None:
    if "ijkToRAS" not in values:
        return None
    numbers = _json(values, "ijkToRAS", list)
    try:
        matrix = np.array(numbers, np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.empty(0)
    if matrix.shape not in ((16,), (4, 4)):
        raise RequestError(400, _("ijkToRAS has 16 numbers, row after row, or is a 4x4 matrix as JSON."))
    return matrix.reshape(4, 4)


def _json(values: Mapping[str, str], name: str, kind: type[Any]) -> Any:
    text = values[name].strip()
    if kind is list and not text.startswith("["):
        text = f"[{text}]"
    try:
        found = parsedJSON(text)
    except ValueError as error:
        reason = _('"{name}" is not valid JSON: {reason}.').format(name=name, reason=reasonOf(error))
        raise RequestError(400, reason) from error
    if not isinstance(found, kind):
        reason = _('"{name}" must be a list in JSON.') if kind is list else _('"{name}" must be an object in JSON.')
        raise RequestError(400, reason.format(name=name))
    return found
