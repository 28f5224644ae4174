"""A camera, a video file or a video stream."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from ...Model.Errors import SettingsError
from ...Model.Packages import Package
from ...Model.Settings import STREAM, SourceSettings, about, typedPath
from ...Model.Text import textsOf
from ..Source import Source, SourceContext, SourceControls, SourceKind

_ = textsOf(__file__)

FLIPS = {
    "none": _("None"),
    "horizontal": _("Left and right"),
    "vertical": _("Top and bottom"),
    "both": _("Both"),
}
ROTATIONS = {
    0: _("None"),
    90: _("90° clockwise"),
    180: _("180°"),
    270: _("90° counterclockwise"),
}
WITH_PASSWORD = re.compile(r"(?<=:)//[^/]*@")
LONGEST_SIDE = 1 << 15
"""Pixels of the longest side that can be requested."""
VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
IS_CAMERA = re.compile(r"\s*([0-9]+|/dev/.*)\s*")
PACKAGES = (Package("cv2", "opencv-python-headless>=4.8,<6"),)


@dataclass(frozen=True)
class CameraSettings(SourceSettings):
    """A camera, through OpenCV; or a video, which is played like a camera.

    The picture is first cropped, then rotated, then flipped. The remaining pixels keep their place in space: the centre
    of the whole picture is the origin. ``spacing`` may be one number for both directions.
    """

    kind: ClassVar[str] = "camera"

    device: int | str = field(
        default=0,
        metadata=about(
            _("Camera"),
            _(
                "The number of the camera, from 0; or a device such as /dev/video2; or a video file, which may be "
                "missing at Start; or the address of a stream, such as rtsp://192.168.0.20/live. A password in an "
                "address is used and not saved."
            ),
        ),
    )
    width: int = field(
        default=0,
        metadata=about(
            _("Size"),
            _("Width of the pictures in pixels, together with their height. 0: the camera's default."),
            limits=(0, LONGEST_SIDE),
            offered=_("Camera default"),
        ),
    )
    height: int = field(
        default=0,
        metadata=about(
            _("Height"),
            _("Height of the pictures in pixels, together with their width. 0: the camera's default."),
            limits=(0, LONGEST_SIDE),
            sharesRow="width",
        ),
    )
    rate: float = field(
        default=0.0,
        metadata=about(
            _("Rate"),
            _("Pictures per second. 0: the camera's default."),
            unit=_("images/s"),
            limits=(0, 100_000),
            offered=_("Camera default"),
        ),
    )
    codec: str = field(
        default="",
        metadata=about(
            _("Codec"),
            _(
                "How the camera encodes its pictures: four characters such as MJPG, which often allows larger pictures "
                "or a higher rate, or Y16 for grey values of 16 bits. Empty: the camera's default."
            ),
            offered=_("Camera default"),
            advanced=True,
        ),
    )
    backend: str = field(
        default="",
        metadata=about(
            _("Driver"),
            _(
                "Video driver interface, such as V4L2, DSHOW, MSMF or AVFOUNDATION. Empty: automatic. Try another one "
                "if a camera does not open."
            ),
            offered=_("Automatic"),
            advanced=True,
        ),
    )
    colour: bool = field(
        default=True,
        metadata=about(
            _("Keep colours"),
            _("Greyscale pictures (ITU-R BT.601) take a third of the memory and disk space."),
            advanced=True,
        ),
    )
    crop: tuple[int, int, int, int] = field(
        default=(0, 0, 0, 0),
        metadata=about(
            _("Crop"),
            _("Numbers of pixels to remove: left, top, right, bottom. The remaining pixels keep their place in space."),
            unit=_("pixels"),
            limits=(0, LONGEST_SIDE),
            parts=(_("Crop left"), _("Crop top"), _("Crop right"), _("Crop bottom")),
            advanced=True,
        ),
    )
    rotate: int = field(
        default=0,
        metadata=about(
            _("Rotate"),
            _("Rotate the pictures clockwise, in degrees, when the camera is not upright."),
            choices=ROTATIONS,
            advanced=True,
        ),
    )
    flip: str = field(
        default="none",
        metadata=about(_("Flip"), _("Flip the pictures after rotating them."), choices=FLIPS, advanced=True),
    )
    spacing: tuple[float, float] = field(
        default=(1.0, 1.0),
        metadata=about(
            _("Pixel size"),
            _(
                "Millimetres from pixel to pixel across and down the camera's picture, so that measurements are right. "
                "Take a picture of a ruler: its length in millimetres divided by its length in pixels."
            ),
            unit=_("mm"),
            limits=(1e-6, 1e6),
            decimals=5,
            parts=(_("Pixel width"), _("Pixel height")),
            advanced=True,
        ),
    )
    loop: bool = field(default=False, metadata=about(_("Loop"), _("Start a video file again after its last picture.")))
    realTime: bool = field(
        default=True,
        metadata=about(
            _("Real time"),
            _(
                "Play a video file at its own pace. Otherwise every picture is read, as fast as it can be read and "
                "stored."
            ),
            inPanel=False,
        ),
    )
    stream: str = field(default="Camera", metadata=STREAM)

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", _device(self.device))
        if isinstance(self.spacing, (int, float)):
            object.__setattr__(self, "spacing", (self.spacing, self.spacing))
        super().__post_init__()
        # The code of Y16 ends with a space, which nobody types.
        object.__setattr__(self, "codec", self.codec and self.codec.ljust(4))
        if bool(self.width) != bool(self.height):
            raise SettingsError(_("Give both the width and the height of the picture, or neither."))
        if not re.fullmatch(r"[\x21-\x7e][\x20-\x7e]{3}|", self.codec):
            raise SettingsError(
                _("A codec is named by four letters or digits such as MJPG, not {codec}.").format(
                    codec=repr(self.codec)
                )
            )

    @classmethod
    def unused(cls, values: Mapping[str, Any]) -> set[str]:
        """Return what only a camera offers, or only a file."""
        return {"loop"} if IS_CAMERA.fullmatch(str(values["device"])) else {"width", "rate", "codec", "backend"}

    @property
    def name(self) -> str:
        """The camera, file or stream in words, without a password."""
        if isinstance(self.device, int):
            return _("Camera {device}").format(device=self.device)
        if self.isStream:
            return WITH_PASSWORD.sub("//", self.device).split("?")[0]
        name = self.device if self.device.startswith("/dev/") else os.path.basename(self.device)
        # A name that is no UTF-8 could be neither shown nor sent.
        return os.fsencode(name).decode("utf-8", "replace")

    def withoutSecrets(self) -> CameraSettings:
        """Return a copy without the password in the address of a stream."""
        return replace(self, device=WITH_PASSWORD.sub("//", self.device)) if isinstance(self.device, str) else self

    @property
    def isStream(self) -> bool:
        """True for the address of a stream."""
        return isinstance(self.device, str) and "://" in self.device

    @property
    def isFile(self) -> bool:
        """True for a file, which may be missing; a device such as /dev/video2 is none."""
        if isinstance(self.device, int) or self.isStream:
            return False
        return os.path.isfile(self.device) or not os.path.exists(self.device)


def _device(device: object) -> int | str:
    if isinstance(device, bool) or not isinstance(device, (int, str, os.PathLike)):
        raise SettingsError(_("A camera is a number, a file or an address, not {device}.").format(device=repr(device)))
    text = str(device).strip().strip("\"'").strip()
    if not text:
        raise SettingsError(_("Name the camera: its number, from 0, a video file or the address of a stream."))
    if re.fullmatch(r"-?[0-9]{1,9}", text):
        if not 0 <= int(text) <= 99:
            raise SettingsError(
                _("The number of a camera is a whole number from 0 to 99, not {number}.").format(number=text)
            )
        return int(text)
    return text if "://" in text and not text.lower().startswith("file:") else typedPath(text)


def _open(settings: CameraSettings, context: SourceContext) -> Source:
    from .Source import CameraSource

    return CameraSource(settings, context.checkpoint, getBuffer=context.getBuffer)


def _controls() -> type[SourceControls]:
    from .Host import CameraControls

    return CameraControls


KIND = SourceKind(
    CameraSettings,
    _("Camera or video"),
    _open,
    idle=lambda values: _("Choose a camera, a video file or a stream, and press Start."),
    sender=lambda settings: settings.name,
    dropped=lambda path: {"device": path} if path.lower().endswith(VIDEO_SUFFIXES) else None,
    packages=PACKAGES,
    preferredView="Red",
    controls=_controls,
)
