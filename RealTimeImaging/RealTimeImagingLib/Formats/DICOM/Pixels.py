"""Values of a DICOM frame: layout in the file, decoding, colour, and rescaling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ...Model.Errors import NotAnImageError
from ...Model.Frame import Pixels
from ...Model.Text import textsOf
from ..Raw import decodedBySimpleITK

_ = textsOf(__file__)

_GDCM = "GDCMImageIO"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_RESCALING = ("RescaleSlope", "RescaleIntercept", "RescaleType")
_JPEG = "1.2.840.10008.1.2.4."
"""First part of the UIDs of all kinds of JPEG."""
_BY_SIMPLEITK = tuple(f"{_JPEG}{kind}" for kind in (50, 51, 57, 70, 80, 81, 90, 91))
"""Transfer syntaxes that GDCM decodes. It also decodes RLE, but a damaged frame would end this process (SIGFPE)."""
_EXACT = 2.0**53
"""A float64 holds each smaller whole number."""
_KEPT_COLOURS = ("RGB", "YBR_RCT", "YBR_ICT")
"""Photometric interpretations whose decoded values are RGB by the standard."""


def decoded(dataset: Any, layout: Layout, data: bytes) -> Pixels:
    """Decode one compressed frame: (rows, columns[, components]).

    pydicom decodes RLE itself, JPEG (8 bits) and JPEG 2000 with Pillow, and JPEG-LS with pyjpegls. Where python-gdcm or
    pylibjpeg and its plugins are installed, they decode all of these. SimpleITK, which Slicer bundles, contains GDCM:
    JPEG Lossless, JPEG of 12 bits, JPEG-LS and JPEG 2000, in grey or RGB.

    :raises NotAnImageError: code "unsupported": no decoder for the transfer syntax is installed; code "damaged": the
        decoder fails on these bytes.
    """
    import pydicom

    if not data:
        raise NotAnImageError(_("A frame has no compressed bytes."), "damaged")
    single = _singleFrame(dataset, data)
    syntax = pydicom.uid.UID(str(dataset.file_meta.get("TransferSyntaxUID", "")))
    if not syntax:
        raise NotAnImageError(_("The header names no transfer syntax, so its pixels cannot be decoded."), "damaged")
    if layout.bits == 1:
        raise NotAnImageError(_("Pixels of 1 bit in {name} are not supported.").format(name=syntax.name), "unsupported")
    try:
        array = np.asarray(single.pixel_array)
        isRGB = layout.photometric.startswith("YBR_FULL")
    except MemoryError:
        raise
    except Exception as error:
        # Decoders do not document their exceptions on damaged bytes.
        # pydicom itself decodes RLE and the deflated syntaxes: there GDCM has nothing to add.
        found = _decodedBySimpleITK(single, layout) if syntax.startswith(_JPEG) else None
        if found is None and _decodes(syntax):
            text = _("The pixels are damaged: they cannot be decoded as {name}.").format(name=syntax.name)
            raise NotAnImageError(text, "damaged") from error
        if found is None:
            raise NotAnImageError(
                _("Pixels in {name} cannot be decoded: no decoder for it is installed.").format(name=syntax.name),
                "unsupported",
            ) from error
        array, isRGB = found, False
    if array.shape[:2] != (layout.rows, layout.columns):
        raise NotAnImageError(
            _("A frame has the size {shape}, not {rows} x {columns}.").format(
                shape=array.shape, rows=layout.rows, columns=layout.columns
            ),
            "damaged",
        )
    return array if isRGB else coloured(array, layout, dataset)


def _decodes(syntax: Any) -> bool:
    # True when a decoder is installed: then a failure means damaged bytes.
    try:
        import SimpleITK  # noqa: F401

        if syntax in _BY_SIMPLEITK:
            return True
    except ImportError:
        pass
    from pydicom.pixels import get_decoder

    try:
        return bool(get_decoder(syntax).is_available)
    except (NotImplementedError, ValueError):
        return False


def _singleFrame(dataset: Any, data: bytes) -> Any:
    import pydicom
    from pydicom.encaps import encapsulate

    single = pydicom.Dataset()
    for element in dataset.group_dataset(0x0028):
        single.add(element)
    single.file_meta = dataset.file_meta
    single.NumberOfFrames = 1
    single.add_new(0x7FE00010, "OB", encapsulate([data]))
    single["PixelData"].is_undefined_length = True
    return single


def _decodedBySimpleITK(single: Any, layout: Layout) -> Pixels | None:
    # None when SimpleITK is not installed or cannot decode the frame either.
    if layout.samples != 1 and layout.photometric not in _KEPT_COLOURS:
        return None
    for name in _RESCALING:
        if name in single:
            del single[name]
    single.SOPClassUID, single.SOPInstanceUID = _SECONDARY_CAPTURE, "1.2"
    if layout.samples == 1:
        single.PhotometricInterpretation = "MONOCHROME2"
    try:
        array = decodedBySimpleITK(lambda path: single.save_as(path, enforce_file_format=True), "frame.dcm", _GDCM)
    except (ImportError, RuntimeError, ValueError):
        return None  # ValueError: pydicom does not know the transfer syntax
    frame: Pixels = array.reshape(array.shape[-2:] if layout.samples == 1 else array.shape[-3:])
    return frame.astype(layout.dtype.newbyteorder("="), copy=False)


_FLOATS = {0x0008: ("f4", 32), 0x0009: ("f8", 64)}
"""Float Pixel Data and Double Float Pixel Data (PS3.3 section C.7.6.24, C.7.6.25): element and type."""


@cache
def _tagOf(name: str) -> int | None:
    from pydicom.datadict import tag_for_keyword

    tag: int | None = tag_for_keyword(name)
    return tag


def get(source: Any, name: str) -> Any | None:
    """Return the value of an element, None where it is absent: ``source.get``, without its time for absent elements.

    :raises Exception: any that pydicom raises for a damaged value.
    """
    return source.get(name) if _tagOf(name) in source.keys() else None  # noqa: SIM118 - "in source" makes a tag


def valueOf(source: Any, name: str) -> Any | None:
    """Return the value of an element; None where it is absent, empty, or invalid for its representation ("***")."""
    try:
        value = get(source, name)
    except (ValueError, TypeError, ArithmeticError, AttributeError, NotImplementedError):
        return None
    return None if value == "" else value


def itemsOf(source: Any, name: str) -> Sequence[Any]:
    """Return the items of a sequence; none where it is absent or empty.

    :raises NotAnImageError: code "damaged": the element is no sequence.
    """
    import pydicom

    value = get(source, name)
    if value is None or isinstance(value, pydicom.Sequence):
        return value or ()
    raise NotAnImageError(_("The header's {name} is no sequence of items.").format(name=name), "damaged")


def functionalGroup(dataset: Any, frame: int, name: str) -> Any | None:
    """Return the item of a functional group: of the frame, else the shared one, else None (PS3.3 C.7.6.16)."""
    own = itemsOf(dataset, "PerFrameFunctionalGroupsSequence")
    for groups in (
        (own[frame] if frame < len(own) else None),
        *itemsOf(dataset, "SharedFunctionalGroupsSequence"),
    ):
        if groups is not None and (items := itemsOf(groups, name)):
            return items[0]
    return None


@dataclass(frozen=True)
class Layout:
    """Layout of the frames in PixelData (PS3.3 section C.7.6.3).

    :param samples: values of a pixel, 1 or 3. ``bits``: BitsAllocated.
    :param planar: the three colours of a frame follow one another as planes.
    :param dtype: of the stored values, with their byte order.
    :param swapped: the two bytes of each 16-bit word are in the wrong order (PS3.5 section 8.1.2, OW).
    """

    rows: int
    columns: int
    frames: int
    samples: int
    bits: int
    bitsStored: int
    highBit: int
    signed: bool
    planar: bool
    photometric: str
    dtype: np.dtype[Any]
    swapped: bool

    @classmethod
    def of(cls, dataset: Any, element: bytes) -> Layout:
        """Read the layout.

        :param dataset: the header.
        :param element: beginning of the element with the pixels: tag and value representation.
        :raises NotAnImageError: a value is damaged, or the kind of pixels is not supported.
        """

        def number(name: str, default: int) -> int:
            value = get(dataset, name)
            try:
                return default if value is None or value == "" else int(value)
            except (ValueError, TypeError) as error:
                raise NotAnImageError(
                    _("The header's {name} is not a whole number.").format(name=name), "damaged"
                ) from error

        little = element[:2] == b"\xe0\x7f"
        which = int.from_bytes(element[2:4], "little" if little else "big")
        bits = number("BitsAllocated", 16)
        signed = number("PixelRepresentation", 0) == 1
        kind = f"{'i' if signed else 'u'}{bits // 8}"
        if which in _FLOATS:
            kind, bits = _FLOATS[which]
        stored = number("BitsStored", bits)
        samples = number("SamplesPerPixel", 1)
        dtype: np.dtype[Any] = np.dtype(np.uint8 if bits == 1 else kind if bits in (8, 16, 32, 64) else "V1")
        made = cls(
            rows=number("Rows", 0),
            columns=number("Columns", 0),
            frames=number("NumberOfFrames", 1) or 1,
            samples=samples,
            bits=bits,
            bitsStored=stored,
            highBit=number("HighBit", stored - 1),
            signed=signed,
            planar=number("PlanarConfiguration", 0) == 1,
            photometric=str(dataset.get("PhotometricInterpretation", "MONOCHROME2")).upper(),
            dtype=dtype.newbyteorder("<" if little else ">"),
            swapped=bits == 8 and not little and element[4:6] == b"OW",
        )
        made._check()
        return made

    def _check(self) -> None:
        if self.rows < 1 or self.columns < 1 or self.frames < 1:
            raise NotAnImageError(
                _("The header declares {columns} columns, {rows} rows and {frames} frames.").format(
                    columns=self.columns, rows=self.rows, frames=self.frames
                ),
                "damaged",
            )
        if self.dtype.kind == "V" or self.samples not in (1, 3) or (self.bits == 1 and self.samples != 1):
            raise NotAnImageError(
                _("Pixels of {samples} samples with {bits} bits are not supported.").format(
                    samples=self.samples, bits=self.bits
                ),
                "unsupported",
            )
        if not 1 <= self.bitsStored <= self.bits or not self.bitsStored - 1 <= self.highBit < self.bits:
            raise NotAnImageError(
                _("The header stores {stored} of {bits} bits up to bit {highBit}.").format(
                    stored=self.bitsStored, bits=self.bits, highBit=self.highBit
                ),
                "damaged",
            )
        # PixelData has at most 4 GiB, compressed or not, which limits the number of frames.
        if self.frames > 1 << 24:
            raise NotAnImageError(_("The header declares {frames:,} frames.").format(frames=self.frames), "damaged")

    @property
    def pixels(self) -> int:
        return self.rows * self.columns

    @property
    def halved(self) -> bool:
        """Uncompressed YBR_FULL_422: two pixels share their colour (PS3.3 section C.7.6.3.1.2)."""
        return self.photometric == "YBR_FULL_422" and self.samples == 3

    @property
    def frameBytes(self) -> int:
        return self.pixels * (2 if self.halved else self.samples) * self.dtype.itemsize

    @property
    def bytes(self) -> int:
        return (self.frames * self.pixels + 7) // 8 if self.bits == 1 else self.frames * self.frameBytes

    @property
    def shownBytes(self) -> int:
        """Most bytes of a frame once it is decoded, coloured and rescaled."""
        return self.pixels * max(self.samples * self.dtype.itemsize, 8)

    def arranged(self, values: Pixels, dataset: Any) -> Pixels:
        """Arrange the bytes of an uncompressed frame: (rows, columns[, 3]), colour as RGB."""
        array = np.ascontiguousarray(values).view(self.dtype)
        if not self.dtype.isnative:
            array = array.byteswap(inplace=True).view(self.dtype.newbyteorder("="))
        if self.halved:
            # Y1 Y2 Cb Cr, for two pixels each
            quads = array.reshape(-1, 4)
            array = np.empty((len(quads), 2, 3), array.dtype)
            array[:, :, 0], array[:, :, 1], array[:, :, 2] = quads[:, :2], quads[:, 2:3], quads[:, 3:]
            array = array.reshape(self.rows, self.columns, 3)
        elif self.samples == 1:
            array = array.reshape(self.rows, self.columns)
        elif self.planar:
            array = np.ascontiguousarray(array.reshape(3, self.rows, self.columns).transpose(1, 2, 0))
        else:
            array = array.reshape(self.rows, self.columns, 3)
        if array.dtype.kind in "iu" and self.bitsStored < self.bits:
            # Bits outside of BitsStored may hold old overlays; the shift to the right also extends the sign.
            array <<= self.bits - 1 - self.highBit
            array >>= self.bits - self.bitsStored
        return coloured(array, self, dataset)


def coloured(array: Pixels, layout: Layout, dataset: Any) -> Pixels:
    """Convert YBR and palette indices to RGB; return other pixels unchanged."""
    if layout.photometric.startswith("YBR_FULL") and array.ndim == 3:
        from pydicom.pixels import convert_color_space

        rgb: Pixels = convert_color_space(array, "YBR_FULL", "RGB")
        return rgb
    if layout.photometric == "PALETTE COLOR" and array.ndim == 2:
        from pydicom.pixels import apply_color_lut

        painted: Pixels = apply_color_lut(array, dataset)
        # Entries of 16 bits have the full range (PS3.3 section C.7.6.3.1.6); screens show the upper 8 bits.
        return (painted >> 8).astype(np.uint8) if painted.dtype.itemsize == 2 else painted
    return array


def rescaleOf(dataset: Any, frame: int) -> tuple[float, float]:
    """Return RescaleSlope and RescaleIntercept of a frame; 1 and 0 where the file has none or impossible ones."""
    group = functionalGroup(dataset, frame, "PixelValueTransformationSequence") or dataset
    slope, intercept = _real(group, "RescaleSlope", 1.0), _real(group, "RescaleIntercept", 0.0)
    return (slope, intercept) if slope and math.isfinite(slope + intercept) else (1.0, 0.0)


def rescaled(values: Pixels, dataset: Any, layout: Layout, frame: int) -> Pixels:
    """Apply RescaleSlope and RescaleIntercept to grey values (PS3.3 section C.11.1.1).

    With whole numbers, the result has the smallest of int8, uint8, int16, uint16, int32, uint32 that holds every value
    which BitsStored allows. 16 bits stay 16 bits (int16) when the values of the frame fit, so that CT does not double
    its size. With other numbers, the result is float32 up to 16 bits, float64 above.
    """
    slope, intercept = rescaleOf(dataset, frame)
    if (slope, intercept) == (1.0, 0.0) or values.ndim == 3:
        return values
    if values.dtype.kind == "f":
        return np.asarray(values * np.float64(slope) + intercept, values.dtype)
    if slope.is_integer() and intercept.is_integer() and max(abs(slope), abs(intercept)) < _EXACT:
        low, high = (
            (-(1 << layout.bitsStored - 1), (1 << layout.bitsStored - 1) - 1)
            if layout.signed
            else (
                0,
                (1 << layout.bitsStored) - 1,
            )
        )
        ends = sorted(int(slope) * end + int(intercept) for end in (low, high))
        target = _holding(ends[0], ends[1])
        if target is None or (layout.bits == 16 and target.itemsize > 2):
            ends = sorted(int(slope) * int(end) + int(intercept) for end in (values.min(), values.max()))
            short = np.dtype(np.int16)
            target = short if _holds(short, ends[0], ends[1]) and layout.bits == 16 else target or _holding(*ends)
        if target is not None:
            wide = values.astype(np.int64)
            wide *= int(slope)
            wide += int(intercept)
            return wide.astype(target)
    result = values.astype(np.float64)
    result *= slope
    result += intercept
    return np.asarray(result, np.float32 if layout.bits <= 16 else np.float64)


def _real(group: Any, name: str, default: float) -> float:
    value = valueOf(group, name)
    try:
        return default if value is None else float(value)
    except (ValueError, TypeError):
        return default


def _holds(dtype: np.dtype[Any], low: int, high: int) -> bool:
    limits = np.iinfo(dtype)
    return bool(limits.min <= low and high <= limits.max)


def _holding(low: int, high: int) -> np.dtype[Any] | None:
    for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32"):
        if _holds(np.dtype(name), low, high):
            return np.dtype(name)
    return None
