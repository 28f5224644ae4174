"""Compressed DICOM frames: with the decoders that pydicom finds, else with the one inside SimpleITK."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..Errors import NotAnImageError
from ..Frame import Pixels
from .DICOMPixels import Layout, coloured
from .Raw import temporaryFolder

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_RESCALING = ("RescaleSlope", "RescaleIntercept", "RescaleType")
_RLE = "1.2.840.10008.1.2.5"
_BY_SIMPLEITK = (_RLE, *(f"1.2.840.10008.1.2.4.{kind}" for kind in (50, 51, 57, 70, 80, 81, 90, 91)))
"""Transfer syntaxes that GDCM decodes."""
_KEPT_COLOURS = ("RGB", "YBR_RCT", "YBR_ICT")
"""Photometric interpretations whose decoded values are RGB by the standard."""


def decoded(dataset: Any, layout: Layout, data: bytes) -> Pixels:
    """Rows, columns and components of one compressed frame.

    pydicom decodes RLE itself, JPEG (8 bits) and JPEG 2000 through Pillow, JPEG-LS through pyjpegls, and all with
    python-gdcm or pylibjpeg and its plugins, where they are installed. SimpleITK, which Slicer brings, has GDCM in it:
    JPEG Lossless, JPEG of 12 bits, JPEG-LS and JPEG 2000; grey or RGB.

    :raises NotAnImageError: code "unsupported": no decoder for the transfer syntax is installed; code "damaged": the
        decoder fails on these bytes.
    """
    import pydicom

    single = _singleFrame(dataset, data)
    syntax = pydicom.uid.UID(str(dataset.file_meta.get("TransferSyntaxUID", "")))
    # pydicom 2 hands out YBR as it is stored, and asks the data set for the byte order.
    modern = hasattr(single, "pixel_array_options")
    if not modern:
        single.is_little_endian, single.is_implicit_VR = True, False
    if layout.bits == 1:
        raise NotAnImageError(f"Pixels of 1 bit in {syntax.name} are not supported.", "unsupported")
    try:
        array = np.asarray(single.pixel_array)
        isRGB = modern and layout.photometric.startswith("YBR_FULL")
    except MemoryError:
        raise
    except Exception as error:
        # Decoders do not declare which exceptions they raise on damaged bytes.
        found = _decodedBySimpleITK(single, layout, modern)
        if found is None and _decodes(syntax):
            text = f"The pixels are damaged: they cannot be decoded as {syntax.name}."
            raise NotAnImageError(text, "damaged") from error
        if found is None:
            raise NotAnImageError(
                f"Pixels in {syntax.name} cannot be decoded: no decoder for it is installed.", "unsupported"
            ) from error
        array, isRGB = found, False
    if array.shape[:2] != (layout.rows, layout.columns):
        raise NotAnImageError(f"A frame has the size {array.shape}, not {layout.rows} x {layout.columns}.", "damaged")
    return array if isRGB else coloured(array, layout, dataset)


def _decodes(syntax: Any) -> bool:
    # Whether a decoder is installed. If it is, a failure means damaged bytes.
    try:
        import SimpleITK  # noqa: F401

        if syntax in _BY_SIMPLEITK:
            return True
    except ImportError:
        pass
    try:
        from pydicom.pixels import get_decoder
    except ImportError:
        return bool(syntax == _RLE)
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


def _decodedBySimpleITK(single: Any, layout: Layout, modern: bool) -> Pixels | None:
    # None when it is not installed or cannot decode it either.
    if layout.samples != 1 and layout.photometric not in _KEPT_COLOURS:
        return None
    try:
        import SimpleITK
    except ImportError:
        return None
    for name in _RESCALING:
        if name in single:
            del single[name]
    single.SOPClassUID, single.SOPInstanceUID = _SECONDARY_CAPTURE, "1.2"
    if layout.samples == 1:
        single.PhotometricInterpretation = "MONOCHROME2"
    with temporaryFolder() as folder:
        path = os.path.join(folder, "frame.dcm")
        try:
            single.save_as(path, **{"enforce_file_format": True} if modern else {"write_like_original": False})
        except ValueError:
            return None  # a transfer syntax that pydicom does not know
        reader = SimpleITK.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(path)
        shown = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
        try:
            array = SimpleITK.GetArrayFromImage(reader.Execute())
        except RuntimeError:
            return None
        finally:
            SimpleITK.ProcessObject.SetGlobalWarningDisplay(shown)
    frame: Pixels = array.reshape(array.shape[-2:] if layout.samples == 1 else array.shape[-3:])
    return frame.astype(layout.dtype.newbyteorder("="), copy=False)
