"""Files of simulated images in several formats, and files of a folder as they are."""

from __future__ import annotations

import io
import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..Formats import PAIRED
from ..Model.Errors import NotAnImageError
from ..Model.Frame import LPS_TO_RAS, Image, Matrix, Pixels, checksum
from .Images import images, namesIn, niftiBytes, wholeFile
from .Slices import SliceSeries, rightHanded


@dataclass(frozen=True)
class Shot:
    """An image to send: its files, in the order in which they are written, and the checksums of its frames.

    :param name: the file that stands for the image.
    :param files: name without folder to bytes.
    """

    name: str
    files: Mapping[str, bytes]
    checksums: tuple[str, ...]


def shots(source: str | None, loop: bool, kind: str = "nii", thin: int = 1) -> Iterator[Shot]:
    """Yield the images to send.

    :param source: None: the phantom. A file: each of its images in files of their own. A folder: its files as they are,
        in natural order.
    :param loop: start again at the end.
    :param kind: one of FORMATS. ``thin``: every Nth slice only.
    :raises RealTimeImagingError: a file is no image, or incomplete; or the format has no place for an image.
    """
    if source is None or not os.path.isdir(source):
        write = FORMATS[kind]()
        for number, image in enumerate(images(source, loop)):
            matrix = image.ijkToRAS.copy()
            matrix[:3, 2] *= thin
            pixels = np.ascontiguousarray(image.pixels[::thin])
            yield write(Image(pixels, matrix, image.deviceTime, image.attributes), number)
        return
    names = namesIn(source)
    for repetition in itertools.count() if loop else range(1):
        for name in names:
            yield _copied(os.path.join(source, name), f"{repetition}_" if repetition else "")


def _copied(path: str, before: str) -> Shot:
    reader = wholeFile(path)
    if len(reader.files) > 1 and not path.lower().endswith(PAIRED):
        raise NotAnImageError(
            f"The voxels of {path} are in other files that it names; only pairs of one name are sent."
        )
    files = {}
    # Voxels first: a header is read as soon as its voxels are there.
    for part in reader.files[::-1]:
        with open(part, "rb") as file:
            files[before + os.path.basename(part)] = file.read()
    return Shot(before + os.path.basename(path), files, tuple(checksum(image.pixels) for image in reader.images()))


def _nifti() -> Callable[[Image, int], Shot]:
    def write(image: Image, number: int) -> Shot:
        name = f"frame_{number:06d}.nii"
        return Shot(name, {name: niftiBytes(image)}, (checksum(image.pixels),))

    return write


def _numpy() -> Callable[[Image, int], Shot]:
    def write(image: Image, number: int) -> Shot:
        name, data = f"frame_{number:06d}.npy", io.BytesIO()
        np.save(data, image.pixels, allow_pickle=False)
        return Shot(name, {name: data.getvalue()}, (checksum(image.pixels),))

    return write


def _dicom() -> Callable[[Image, int], Shot]:
    series = SliceSeries()

    def write(image: Image, number: int) -> Shot:
        pixels, matrix = rightHanded(image)
        files = {}
        for index, one in enumerate(series.slices(pixels, matrix, number)):
            data = io.BytesIO()
            one.save_as(data, enforce_file_format=True)
            files[f"frame_{number:06d}_slice_{index:04d}.dcm"] = data.getvalue()
        return Shot(next(iter(files)), files, (checksum(pixels),))

    return write


def _afni() -> Callable[[Image, int], Shot]:
    types = {"uint8": 0, "int16": 1, "float32": 3}

    def write(image: Image, number: int) -> Shot:
        pixels = image.pixels
        if pixels.ndim > 3 or pixels.dtype.name not in types:
            raise NotAnImageError(f"AFNI files have {', '.join(types)}, not {pixels.dtype} or colour.")
        matrix = (LPS_TO_RAS @ image.ijkToRAS)[:3]
        axes = np.abs(matrix[:, :3]).argmax(axis=0)
        steps = matrix[axes, range(3)]
        text = "\n".join(
            (
                _attribute("DATASET_RANK", (3, 1, 0, 0, 0, 0, 0, 0)),
                _attribute("DATASET_DIMENSIONS", (*pixels.shape[::-1], 0, 0)),
                _attribute("TYPESTRING", "3DIM_HEAD_ANAT"),
                _attribute("SCENE_DATA", (0, 2, 0, *[-999] * 5)),
                # Two codes for each direction: R to L, P to A, I to S, and the opposite ones.
                _attribute(
                    "ORIENT_SPECIFIC", [2 * a + int((s > 0) == (a == 1)) for a, s in zip(axes, steps, strict=True)]
                ),
                _attribute("ORIGIN", matrix[axes, 3].tolist()),
                _attribute("DELTA", steps.tolist()),
                _attribute("IJK_TO_DICOM_REAL", matrix.ravel().tolist()),
                _attribute("BRICK_TYPES", (types[pixels.dtype.name],)),
                _attribute("BYTEORDER_STRING", "LSB_FIRST"),
            )
        )
        name = f"frame_{number:06d}+orig"
        files = {f"{name}.BRIK": _little(pixels), f"{name}.HEAD": text.encode()}
        return Shot(f"{name}.HEAD", files, (checksum(pixels),))

    return write


def _attribute(name: str, values: str | Sequence[float]) -> str:
    if isinstance(values, str):
        return f"\ntype = string-attribute\nname = {name}\ncount = {len(values) + 1}\n'{values}~\n"
    kind = "float" if any(isinstance(value, float) for value in values) else "integer"
    words = " ".join(f"{value:.10g}" for value in values)
    return f"\ntype = {kind}-attribute\nname = {name}\ncount = {len(values)}\n {words}\n"


def _little(pixels: Pixels) -> bytes:
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()


_PAR = """# === DATA DESCRIPTION FILE ======================================================
#
# CLINICAL TRYOUT             Research image export tool     V4.2
#
# === GENERAL INFORMATION ========================================================
#
.    Patient name                       :   Simulated
.    Examination name                   :   Simulated
.    Protocol name                      :   Simulated
.    Examination date/time              :   2024.01.01 / 00:00:00
.    Max. number of echoes              :   1
.    Max. number of slices/locations    :   {slices}
.    Max. number of dynamics            :   1
.    Repetition time [ms]               :   1000.000
.    Angulation midslice(ap,fh,rl)[degr]:   {angles}
.    Off Centre midslice(ap,fh,rl) [mm] :   {centre}
.    Dynamic scan      <0=no 1=yes> ?   :   0
.    Diffusion         <0=no 1=yes> ?   :   0
#
# === IMAGE INFORMATION =========================================================
{lines}
# === END OF DATA DESCRIPTION FILE ===============================================
"""
_PAR_LINE = (
    "{slice} 1 1 1 0 2 {index} {bits} 100 {columns} {rows} 0 1 1 0 0 {angles} {centre} {thickness:.10g} 0 0 1 0 2 "
    "{pixel:.10g} {height:.10g} 30 0 0 0 1 90 0 0 0 1 0 1 1 7 0 0 0 0 1"
)


def _parrec() -> Callable[[Image, int], Shot]:
    def write(image: Image, number: int) -> Shot:
        pixels, matrix = rightHanded(image)
        if pixels.ndim > 3 or pixels.dtype.kind not in "iu" or pixels.itemsize > 2 or pixels.min() < 0:
            raise NotAnImageError("PAR/REC files have integers of 8 or 16 bits from 0 on.")
        pixels = pixels.astype(f"u{pixels.itemsize}")
        slices, rows, columns = pixels.shape
        angles, centre, (pixel, height, thickness) = _parGeometry(matrix, pixels.shape)
        values = {"columns": columns, "rows": rows, "bits": 8 * pixels.itemsize, "slices": slices}
        values |= {"pixel": pixel, "height": height, "thickness": thickness}
        values |= {"angles": " ".join(map("{:.9f}".format, angles)), "centre": " ".join(map("{:.9f}".format, centre))}
        lines = [_PAR_LINE.format(slice=index + 1, index=index, **values) for index in range(slices)]
        name = f"frame_{number:06d}"
        text = _PAR.format(lines="\n".join(lines), **values)
        return Shot(f"{name}.PAR", {f"{name}.REC": _little(pixels), f"{name}.PAR": text.encode()}, (checksum(pixels),))

    return write


def _parGeometry(matrix: Matrix, shape: Sequence[int]) -> tuple[list[float], list[float], list[float]]:
    # Angles (ap, fh, rl) in degrees, centre (ap, fh, rl) and sizes in millimetres of transverse slices: nibabel's
    # PARRECHeader.get_affine, solved for them. Rows of the rotation are posterior, superior and left.
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    axes = np.array([-matrix[1, :3], matrix[2, :3], -matrix[0, :3]]) / spacing
    turn = axes[:, [1, 2, 0]]
    ap = math.asin(max(-1.0, min(1.0, turn[2, 1])))
    angles = [ap, math.atan2(-turn[2, 0], turn[2, 2]), math.atan2(-turn[0, 1], turn[1, 1])]
    middle = matrix @ [*((np.array(shape[::-1]) - 1) / 2), 1]
    return list(map(math.degrees, angles)), [-middle[1], middle[2], -middle[0]], spacing.tolist()


FORMATS: dict[str, Callable[[], Callable[[Image, int], Shot]]] = {
    "nii": _nifti,
    "dcm": _dicom,
    "npy": _numpy,
    "par": _parrec,
    "head": _afni,
}
"""Name of a format to the maker of its writer."""
