"""Files that are no images of a supported format: what they are, and what helps."""

from __future__ import annotations

import os

from ..Model.Errors import NotAnImageError
from ..Model.Text import Text, textsOf

_ = textsOf(__file__)

FORMATS = "NIfTI, Analyze, NRRD, MetaImage, DICOM, PAR/REC, AFNI, MGH, NumPy, TIFF, PNG, JPEG, BMP"

_VIDEO = _("It is a video. Choose the source Camera or video.")
_ARCHIVE = _("It is an archive. Unpack it first.")
_PACKED = _("It is packed in a way that is not supported. Unpack it, or pack it with gzip.")
_PICTURE = _("Save the picture as PNG or TIFF.")
_MICROSCOPE = _("It has a format of its microscope. Export it as OME-TIFF.")
_MODEL = _("It is a file of VTK or a surface. Save images as NRRD.")
_DATA = _("It is a file of HDF5 or MATLAB. Save images as NIfTI, NRRD or NumPy (.npy).")
_OTHERS: dict[str, Text] = {
    **dict.fromkeys((".mp4", ".m4v", ".avi", ".mov", ".mkv", ".webm", ".wmv", ".mpg", ".mpeg"), _VIDEO),
    **dict.fromkeys((".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar", ".npz"), _ARCHIVE),
    **dict.fromkeys((".bz2", ".xz", ".zst", ".z"), _PACKED),
    **dict.fromkeys(
        (".gif", ".webp", ".jp2", ".j2k", ".heic", ".ppm", ".pgm", ".tga", ".psd", ".exr", ".svg"), _PICTURE
    ),
    **dict.fromkeys((".czi", ".nd2", ".lif", ".oib", ".oif", ".vsi"), _MICROSCOPE),
    **dict.fromkeys((".vtk", ".vti", ".vtp", ".vtu", ".stl", ".obj", ".ply"), _MODEL),
    **dict.fromkeys((".h5", ".hdf5", ".mat"), _DATA),
    ".mnc": _("It is a MINC file. Convert it to NIfTI with mnc2nii."),
}
"""Advice by the ending of the name in lower case. The content of such files is not examined."""


def isOther(name: str) -> bool:
    """Return True for a name that a file of another format has."""
    return name.lower().endswith(tuple(_OTHERS))


def notSupported(path: str) -> NotAnImageError:
    """Return the error for a file that is no image of a supported format."""
    name = os.path.basename(path)
    advice = next((text for ending, text in _OTHERS.items() if name.lower().endswith(ending)), None)
    text = _("{name} is not an image of a supported format: {advice}")
    return NotAnImageError(text.format(name=name, advice=advice or _("{names}.").format(names=FORMATS)))
