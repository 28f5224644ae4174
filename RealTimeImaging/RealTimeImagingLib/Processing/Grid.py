"""Voxel grids: geometry, resampling, types of results, and volumes in files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..Model.Errors import FrameError, SettingsError
from ..Model.Frame import LPS_TO_RAS, Frame, Matrix, Pixels
from ..Model.Text import textsOf

_ = textsOf(__file__)

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Volume:
    """Pixels with their place in space.

    :param pixels: shape (k, j, i).
    :param ijkToRAS: 4x4 float64, voxel index (i, j, k) to millimetres in RAS.
    :param fields: text of the file's header by key; empty for a volume that is not of a file.
    """

    pixels: Pixels
    ijkToRAS: Matrix
    fields: dict[str, str]


def scalarPixels(frame: Frame) -> Pixels:
    """Return the pixels of a frame without colour.

    :raises FrameError: the frame is in colour.
    """
    if frame.components > 1:
        raise FrameError(
            _("This function needs images with one value a voxel; the images of {stream} are in colour.").format(
                stream=frame.stream
            )
        )
    return frame.pixels


def floatType(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type for results: float32, or float64 where float32 cannot hold each value of the given type."""
    return np.dtype(np.float32) if np.can_cast(dtype, np.float32) else np.dtype(np.float64)


def spacingOf(ijkToRAS: Matrix) -> npt.NDArray[np.float64]:
    """Return the distances between voxels along i, j and k in millimetres."""
    lengths: npt.NDArray[np.float64] = np.linalg.norm(ijkToRAS[:3, :3], axis=0)
    return lengths


def centreOf(shape: tuple[int, ...], ijkToRAS: Matrix) -> npt.NDArray[np.float64]:
    """Return the centre of a volume of shape (k, j, i) in RAS, in millimetres."""
    middle = (np.array(shape[2::-1]) - 1) / 2
    centre: npt.NDArray[np.float64] = ijkToRAS[:3, :3] @ middle + ijkToRAS[:3, 3]
    return centre


def gridKey(frame: Frame) -> tuple[tuple[int, ...], bytes]:
    """Return a key that is equal for frames with the same voxels in the same places."""
    return frame.pixels.shape, frame.ijkToRAS.tobytes()


def resampled(pixels: Pixels, ijkToRAS: Matrix, shape: tuple[int, ...], target: Matrix, order: int) -> Pixels:
    """Return a volume on another grid.

    :param pixels: shape (k, j, i), on the grid of ``ijkToRAS``.
    :param shape: (k, j, i) of the result, on the grid of ``target``.
    :param order: 0 for the nearest voxel, and 0 outside of the volume. 1 for linear interpolation, 3 for a cubic
        spline; the values at the border continue outside.
    """
    from scipy import ndimage

    between = np.linalg.inv(ijkToRAS) @ target
    # Arrays have the order (k, j, i).
    matrix, offset = between[:3, :3][::-1, ::-1], between[:3, 3][::-1]
    mode = "nearest" if order else "grid-constant"
    result: Pixels = ndimage.affine_transform(pixels, matrix, offset, shape[:3], order=order, mode=mode)
    return result


def readVolume(path: str) -> Volume:
    """Read a volume from a file that SimpleITK reads, such as NRRD, NIfTI or MetaImage.

    A file with several components has the shape (k, j, i, components).

    :raises SettingsError: the file cannot be read, or is no volume.
    """
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(path)
    except RuntimeError as error:
        raise SettingsError(_("The volume {path} cannot be read.").format(path=os.path.basename(path))) from error
    if image.GetDimension() != 3:
        raise SettingsError(
            _("{path} has {count} axes; a volume has three.").format(
                path=os.path.basename(path), count=image.GetDimension()
            )
        )
    ijkToLPS = np.eye(4)
    ijkToLPS[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    ijkToLPS[:3, 3] = image.GetOrigin()
    fields = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    return Volume(sitk.GetArrayFromImage(image), LPS_TO_RAS @ ijkToLPS, fields)
