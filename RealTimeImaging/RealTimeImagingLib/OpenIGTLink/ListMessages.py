"""IMGMETA, LBMETA and VIDEOMETA: lists of the images, labels and videos of a device.

OpenIGTLink v3, "ImageMeta Message", "LabelMeta Message", "VIDEOMeta Message"; igtlutil/igtl_imgmeta.h, igtl_lbmeta.h,
igtl_videometa.h. Texts are cut to their fields: 20 bytes for names of devices (64 of videos), 32 for the modality, 64
for all others.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .Base import codec
from .Records import RecordsMessage, recordForm

Triple = tuple[int, int, int]
RGBA = tuple[int, int, int, int]


@dataclass
class ImageMeta:
    """An image.

    :param deviceName: device name for GET_IMAGE and GET_COLORT.
    :param time: time of the acquisition, seconds since the epoch (UTC), 0.0 for none.
    :param size: voxels along i, j, k.
    :param scalarType: OpenIGTLink's number, as in IMAGE.
    """

    name: str = ""
    deviceName: str = ""
    modality: str = ""
    patientName: str = ""
    patientID: str = ""
    time: float = 0.0
    size: Triple = (0, 0, 0)
    scalarType: int = 3


@dataclass
class LabelMeta:
    """A label in an image.

    :param deviceName: device name for GET_IMAGE.
    :param label: value of the label, 0 for none.
    :param rgba: 0 to 255 each, all 0 for none.
    :param size: voxels of the bounding box along i, j, k.
    :param owner: device name of the image with the label; may be empty.
    """

    name: str = ""
    deviceName: str = ""
    label: int = 0
    rgba: RGBA = (0, 0, 0, 0)
    size: Triple = (0, 0, 0)
    owner: str = ""


@dataclass
class VideoMeta:
    """A video.

    :param zoomLevel: zoom of the camera.
    :param focalLength: focal length, millimetres.
    :param size: pixels along i, j, k.
    :param matrix: matrix as on the wire: vectors t, s, n with the length of the spacing, and the centre; x, y, z each;
        millimetres.
    :param scalarType: OpenIGTLink's number, as in IMAGE.
    """

    name: str = ""
    deviceName: str = ""
    patientName: str = ""
    patientID: str = ""
    zoomLevel: int = 0
    focalLength: float = 0.0
    size: Triple = (0, 0, 0)
    matrix: tuple[float, ...] = field(default=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0))
    scalarType: int = 3


@codec("IMGMETA")
class ImageMetaMessage(RecordsMessage):
    """Images of a device; ``items`` are :class:`ImageMeta`."""

    TYPE = "IMGMETA"
    ITEM = ImageMeta
    FORM = recordForm(
        "name S64, deviceName S20, modality S32, patientName S64, patientID S64, time >u8, size 3>u2, scalarType u1, "
        "reserved u1"
    )


@codec("LBMETA")
class LabelMetaMessage(RecordsMessage):
    """Labels of a device; ``items`` are :class:`LabelMeta`."""

    TYPE = "LBMETA"
    ITEM = LabelMeta
    FORM = recordForm("name S64, deviceName S20, label u1, reserved u1, rgba 4u1, size 3>u2, owner S20")


@codec("VIDEOMETA")
class VideoMetaMessage(RecordsMessage):
    """Videos of a device; ``items`` are :class:`VideoMeta`."""

    TYPE = "VIDEOMETA"
    ITEM = VideoMeta
    FORM = recordForm(
        "name S64, deviceName S64, patientName S64, patientID S64, zoomLevel >i2, focalLength >f8, size 3>u2, "
        "matrix 12>f4, scalarType u1, reserved u1"
    )
