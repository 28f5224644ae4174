"""Reasons why a camera, a stream or a video file cannot be opened, with settings that help."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import socket
import sys
from urllib.parse import urlsplit

from ...Model.Event import Remedy
from ...Model.Text import joined, textsOf
from ..Endpoints import whyNotConnected
from . import CameraSettings

_ = textsOf(__file__)

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935}
"""Usual ports of streams, by the scheme of their address."""
ANSWER_TIME = 1.0
"""Seconds for the computer of a stream to answer."""
MOST_PROGRAMS = 3


class CannotOpenError(Exception):
    """A camera, file or stream cannot be opened now.

    :param text: sentences for the user.
    :param code: short reason for programs.
    :param remedy: settings that help, None when there are none.
    """

    def __init__(self, text: str, code: str, remedy: Remedy | None = None) -> None:
        super().__init__(text)
        self.code, self.remedy = code, remedy


def whyNotOpen(settings: CameraSettings) -> CannotOpenError:
    """Return the reason why OpenCV could not open the device."""
    if settings.isFile:
        text = _(
            "{name} is not a video that OpenCV can play, or is incomplete. Choose another file, or wait until it is "
            "complete."
        ).format(name=settings.name)
        return CannotOpenError(text, "not-a-video")
    if settings.isStream:
        return CannotOpenError(joined(_whyNoStream(settings), _("Retrying every second.")), "stream-missing")
    if os.path.isdir(str(settings.device)):
        text = _("{name} is a folder. Choose a video file in it, or a camera.").format(name=settings.name)
        return CannotOpenError(text, "not-a-video")
    code, why, remedy = _onLinux(settings) if sys.platform == "linux" else _elsewhere(settings)
    return CannotOpenError(joined(why, _("Retrying every second.")), code, remedy)


def _whyNoStream(settings: CameraSettings) -> str:
    address = urlsplit(str(settings.device))
    with contextlib.suppress(ValueError):  # no number as port
        port = address.port or PORTS.get(address.scheme.lower())
        if not address.hostname or not port:
            return _("{name} sends no video. Check the address.").format(name=settings.name)
        try:
            socket.create_connection((address.hostname, port), ANSWER_TIME).close()
        except OSError as error:
            return whyNotConnected(error, address.hostname, port).text
        text = _("{name} accepts the connection but sends no video. Check the path in the address, and the password.")
        return text.format(name=settings.name)
    return _("{name} is no address such as rtsp://192.168.0.20/live.").format(name=settings.name)


def _elsewhere(settings: CameraSettings) -> tuple[str, str, Remedy | None]:
    where = _("Windows: Settings, Privacy, Camera")
    if sys.platform == "darwin":
        where = _("System Settings, Privacy & Security, Camera")
    text = _(
        "{name} cannot be opened: it is not connected, another program uses it, or this program may not use cameras "
        "({where})."
    )
    return "camera-missing", text.format(name=settings.name, where=where), None


def _onLinux(settings: CameraSettings) -> tuple[str, str, Remedy | None]:
    path = f"/dev/video{settings.device}" if isinstance(settings.device, int) else settings.device
    values = {"name": settings.name, "path": path}
    try:
        group = os.stat(path).st_gid
    except OSError:
        text = _("{name} is not connected: there is no {path}. Connect it, or choose another camera.")
        return "camera-missing", text.format(**values), _otherCamera()
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        text = _(
            "This program may not use {name}: only the owner and the group {group} may open {path}. Add your user to "
            "that group, and log in again."
        )
        return "camera-refused", text.format(**values, group=_groupOf(group)), None
    programs = _programsWith(path)
    if programs:
        text = _("{name} is in use by {programs}. Close that program.")
        return "camera-busy", text.format(**values, programs=", ".join(programs)), None
    text = _(
        "{name} cannot be opened: another program uses it, or it delivers no pictures. Close other programs, or choose "
        "another camera or driver."
    )
    return "camera-busy", text.format(**values), None


def _otherCamera() -> Remedy | None:
    numbers = sorted(int(found[1]) for path in glob.glob("/dev/video*") if (found := re.search(r"(\d+)$", path)))
    if not numbers:
        return None
    return Remedy(_("Use camera {number}").format(number=numbers[0]), {"device": numbers[0]})


def _groupOf(number: int) -> str:
    if sys.platform != "win32":
        import grp

        with contextlib.suppress(KeyError):
            return grp.getgrgid(number).gr_name
    return str(number)


def _programsWith(path: str) -> list[str]:
    """Return the names of the other programs that have a device open, as far as this user may know."""
    path, found = os.path.realpath(path), []
    for handle in glob.iglob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            process = handle.split("/")[2]
            if os.readlink(handle) == path and process != str(os.getpid()):
                with open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as file:
                    found.append(file.read().strip())
    return list(dict.fromkeys(found))[:MOST_PROGRAMS]
