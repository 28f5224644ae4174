"""What the head of a request wants of its images.

What a sender may say, each as ``name=`` in the address or as a header ``X-RTI-name`` (in any case of the letters):

``stream``      name of the stream, and of its live volume
``time``        when it was acquired: seconds since the epoch (UTC)
``attributes``  an object of JSON, text to text; in the address also ``attr.NAME=text``
``name``        a file name: the attribute SourceFile, and its ending says the format
``format``      nii, nii.gz, nrrd, mha, png, jpg, dcm ... or raw, whatever Content-Type says
``shape``       of raw pixels, such as 480,640 or 64,256,256 or 480,640,3 (slowest axis first); also as JSON
``dtype``       of raw pixels: uint8, int16, float32 ...
``byteOrder``   of raw pixels: little (as when nothing is said) or big
``ijkToRAS``    of raw pixels: 16 numbers, row after row, or the matrix as JSON; voxel index to millimetres in RAS
``colour``      of raw pixels: true or false, whether the last axis is colour
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...Formats import IMAGE_SUFFIXES
from ...Model.Errors import FrameError, RequestError
from ...Model.Frame import ATTRIBUTE_NAME, Image, Matrix, imageOf, textOf, timeOf
from .Request import Head

NAMES = ("stream", "time", "attributes", "name", "format", "shape", "dtype", "byteOrder", "ijkToRAS", "colour")
RAW = ("shape", "dtype", "byteOrder", "ijkToRAS", "colour")
HEADER, ATTRIBUTE = "x-rti-", "attr."
LONGEST = 200
"""Most signs of a stream's name, and of a file's."""
PAIRS = {suffix for suffix in IMAGE_SUFFIXES if suffix.endswith((".nhdr", ".mhd", ".hdr", ".hdr.gz"))}
"""Endings of headers whose voxels lie in another file."""
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
"""Content-Type to the ending of a file name."""
ANY = ("", "application/octet-stream", "binary/octet-stream", "application/x-www-form-urlencoded", "*/*")
"""Types that say nothing: curl and others send them when they are told none."""
DTYPES = (*(f"{sign}int{bits}" for sign in ("u", "") for bits in (8, 16, 32, 64)), "float16", "float32", "float64")


@dataclass(frozen=True)
class RawPixels:
    """Pixels without a file format: see :func:`RealTimeImagingLib.Arrays.imageOf`."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    ijkToRAS: Matrix | None = None
    colour: bool | None = None

    @property
    def bytes(self) -> int:
        """How many there must be."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class FrameRequest:
    """What a sender wants of its images. ``suffix``: the ending of a file of its format, empty when the bytes say
    it."""

    stream: str
    time: float | None = None
    name: str = ""
    suffix: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    raw: RawPixels | None = None

    def image(self, image: Image, seconds: float | None) -> Image:
        """The image with what the sender says of it.

        :param seconds: since the first image of its file; None when that is not known.
        """
        known = {"SourceFile": self.name} if self.name else {}
        time = image.deviceTime if self.time is None or seconds is None else self.time + seconds
        return replace(image, deviceTime=time, attributes={**known, **image.attributes, **self.attributes})


def frameRequestOf(head: Head, stream: str) -> FrameRequest:
    """What the head of a request says.

    :param stream: for images of which it names none.
    :raises RequestError: something that is not understood; nothing is passed over.
    """
    given, attributes = _given(head)
    if head.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError(415, "A Content-Encoding is not understood: send the bytes as they are.")
    try:
        raw, suffix = None, _suffix(head, given)
        if suffix == "raw":
            raw, suffix = _raw(given), ""
        elif found := [name for name in RAW if name in given]:
            raise RequestError(400, f"{' and '.join(found)} are for raw pixels (application/octet-stream) only.")
        if "attributes" in given:
            attributes |= _json(given, "attributes", dict)
        attributes = textOf(attributes)
    except FrameError as error:
        raise RequestError(400, str(error)) from error
    for name in attributes:
        if not ATTRIBUTE_NAME.fullmatch(name):
            raise RequestError(400, f"An attribute name has only letters, digits and _ . - in it, not {name[:60]!r}.")
    name = os.path.basename(_name(given, "name").replace("\\", "/"))
    return FrameRequest(_name(given, "stream") or stream, _time(given), name, suffix, attributes, raw)


def _given(head: Head) -> tuple[dict[str, str], dict[str, str]]:
    """What is said under our names, and the single attributes."""
    known = {name.lower(): name for name in NAMES}
    given, attributes = {}, {}
    for name, text in head.headers.items():
        if name.startswith(HEADER):
            if name.removeprefix(HEADER) not in known:
                raise RequestError(400, f"The header {name} is not known; X-RTI- has {', '.join(NAMES)}.")
            given[known[name.removeprefix(HEADER)]] = text
    for name, text in head.query.items():
        if name.startswith(ATTRIBUTE):
            attributes[name.removeprefix(ATTRIBUTE)] = text
        elif name not in NAMES:
            raise RequestError(400, f"{name[:60]!r} in the address is not known; {', '.join(NAMES)}, attr.NAME are.")
        elif given.setdefault(name, text) != text:
            raise RequestError(400, f"The address and the header X-RTI-{name} say different things.")
    return given, attributes


def _suffix(head: Head, given: Mapping[str, str]) -> str:
    # "raw", or the ending of a file name, or nothing: then the bytes say it.
    kind = head.headers.get("content-type", "").split(";")[0].strip().lower()
    if "format" in given:
        wanted = given["format"].strip().lower().lstrip(".")
        if wanted == "raw":
            return wanted
        suffix = f".{wanted}"
    elif kind in ANY and ("shape" in given or "dtype" in given):
        return "raw"
    elif kind in ANY:
        suffix = suffixOf(given.get("name", ""))
    elif kind.startswith("multipart/"):
        raise RequestError(415, 'A form is not understood: send the file itself, with curl as --data-binary "@FILE".')
    else:
        suffix = TYPES.get(kind, f" of the type {kind[:60]}")
    if suffix in PAIRS:
        words = f"The voxels of {suffix} files lie in a second file: send one that holds both, .nrrd, .mha or .nii."
        raise RequestError(415, words)
    if suffix and suffix not in IMAGE_SUFFIXES:
        known = ", ".join(one for one in IMAGE_SUFFIXES if one not in PAIRS)
        raise RequestError(415, f"Images{suffix} cannot be read: {known} can, and raw pixels.")
    return suffix


def suffixOf(name: str) -> str:
    """The ending of a file name when it says a format, else nothing."""
    found = [suffix for suffix in IMAGE_SUFFIXES if name.lower().endswith(suffix)]
    return max(found, key=len, default="")


def _name(given: Mapping[str, str], name: str) -> str:
    text = given.get(name, "").strip()
    if len(text) > LONGEST or not text.isprintable():
        raise RequestError(400, f'"{name}" is at most {LONGEST} signs that can be shown.')
    return text


def _time(given: Mapping[str, str]) -> float | None:
    try:
        return timeOf(given.get("time"))
    except FrameError as error:
        raise RequestError(400, str(error)) from error


def _raw(given: Mapping[str, str]) -> RawPixels:
    missing = [name for name in ("shape", "dtype") if name not in given]
    if missing:
        raise RequestError(400, f"Raw pixels need {' and '.join(missing)}, such as shape=480,640 and dtype=uint8.")
    shape = tuple(_json(given, "shape", list))
    if not 2 <= len(shape) <= 4 or not all(type(size) is int and 0 < size < 1 << 32 for size in shape):
        raise RequestError(
            400, f"A shape is 2 to 4 whole numbers above 0, the slowest first, not {given['shape'][:60]}."
        )
    if given["dtype"] not in DTYPES:
        raise RequestError(400, f"{given['dtype'][:60]!r} is no type of pixels; {', '.join(DTYPES)} are.")
    order, colour = given.get("byteOrder", "little"), given.get("colour")
    if order not in ("little", "big"):
        raise RequestError(400, f"The byte order is little or big, not {order[:60]!r}.")
    if colour is not None and colour not in ("true", "false"):
        raise RequestError(400, f'"colour" is true or false, not {colour[:60]!r}.')
    dtype: np.dtype[Any] = np.dtype(given["dtype"]).newbyteorder("<" if order == "little" else ">")
    raw = RawPixels(shape, dtype, _matrix(given), None if colour is None else colour == "true")
    # A few pixels stand for all of them: what cannot be shown is refused before it comes.
    imageOf(np.zeros([1] * (len(shape) - 1) + [min(shape[-1], 5)], raw.dtype), raw.ijkToRAS, None, raw.colour)
    return raw


def _matrix(given: Mapping[str, str]) -> Matrix | None:
    if "ijkToRAS" not in given:
        return None
    values = _json(given, "ijkToRAS", list)
    try:
        matrix = np.array(values, np.float64)
        return matrix.reshape(4, 4) if matrix.shape in ((16,), (4, 4)) else np.zeros(0).reshape(4, 4)
    except (TypeError, ValueError) as error:
        raise RequestError(400, "IJKToRAS is 16 numbers, row after row, or a 4x4 matrix as JSON.") from error


def _json(given: Mapping[str, str], name: str, kind: type[Any]) -> Any:
    text = given[name].strip()
    if kind is list and not text.startswith("["):
        text = f"[{text}]"
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f'"{name}" cannot be read as JSON: {error}.') from error
    if not isinstance(found, kind):
        raise RequestError(400, f'"{name}" is {"a list" if kind is list else "an object"} in JSON.')
    return found
