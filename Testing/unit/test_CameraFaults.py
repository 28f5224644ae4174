"""Why does no picture come? One row a fault, with the real process, real videos, streams and device files."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack, closing

import pytest
from RealTimeImagingLib.Sources.Camera import CameraSettings
from unit.cameraSource import PHONE, film, picture
from unit.faults import Says, explain
from unit.networkCamera import PictureStream

linux = pytest.mark.skipif(sys.platform != "linux", reason="Other systems do not tell why a camera cannot be opened.")
PICTURES = [picture(number) for number in range(5)]
MISSING = 97
"""Number of a camera that no computer has."""


def start(world, device, **values):
    world.start(CameraSettings(device=device, **values))


def mended(world):
    """Play a video instead."""
    world.restart(device=PHONE, backend="")
    world.untilImage()


def terminal(world):
    """Return the path of a device that is no camera, and is open in this process."""
    import pty  # not on Windows

    master, slave = pty.openpty()
    world.stack.callback(os.close, master)
    world.stack.callback(os.close, slave)
    return os.ttyname(slave)


def missing(world):
    start(world, MISSING)
    text = f"Camera {MISSING} is not connected: there is no /dev/video{MISSING}. Connect it, or choose another camera."
    yield Says((text,), None, "camera-missing", (text,))
    mended(world)


def inUse(world):
    path = terminal(world)
    start(world, path, backend="V4L2")
    with open("/proc/self/comm", encoding="utf-8") as file:
        program = file.read().strip()
    yield Says((f"{path} is in use by ", program, "Close that program."), None, "camera-busy")
    mended(world)


def notAllowed(world):
    path = terminal(world)
    os.chmod(path, 0o000)
    world.start(CameraSettings(device=path, backend="V4L2"), world.ordinary)
    text = f"This program may not use {path}: only the owner and the group "
    yield Says((text, f"may open {path}. Add your user to that group"), None, "camera-refused", (text,))
    mended(world)


def unplugged(world):
    stream = world.stack.enter_context(PictureStream())
    start(world, stream.url)
    world.untilImage()
    stream.unplug()
    text = f"{stream.url} delivers no pictures any more. Check its cable and power. Reconnecting every second."
    yield Says((text,), None, "camera-gone", (text,))
    count = world.process.received
    stream.plugIn()
    world.until(lambda: world.process.received > count)


def streamRefused(world):
    start(world, f"http://127.0.0.1:{world.port}/live.mjpg")
    text = f"Connection refused by 127.0.0.1:{world.port}. Is the server running? Retrying every second."
    yield Says((text,), None, "stream-missing", (text,))
    mended(world)


def streamUnknown(world):
    start(world, "rtsp://no-such-host.invalid/live")
    parts = ("no-such-host.invalid cannot be found (", "Check the name or address, and the network.")
    yield Says(parts, None, "stream-missing", parts)
    mended(world)


def streamSilent(world):
    """The server accepts the connection and sends nothing: OpenCV waits for 4 s."""
    silent = world.serve()
    start(world, f"http://127.0.0.1:{silent.getsockname()[1]}/live.mjpg")
    yield Says(("is not open yet. It takes longer than usual. Check that it is switched on.",))
    mended(world)


def streamWithoutVideo(world):
    server = world.serve()
    start(world, f"http://127.0.0.1:{server.getsockname()[1]}/live.mjpg")
    with ExitStack() as stack:
        connection, _ = server.accept()
        stack.enter_context(closing(connection))
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        connection.shutdown(socket.SHUT_RDWR)
    text = "accepts the connection but sends no video. Check the path in the address, and the password."
    yield Says((text,), None, "stream-missing", (text,))
    mended(world)


def fileMissing(world):
    path = world.folder / "late.mkv"
    start(world, str(path), loop=True)
    text = f"The file {path} does not exist. Waiting for it. Check its name."
    yield Says((text,), None, "file-missing", (text,))
    film(path, PICTURES)
    world.untilImage()


def notAVideo(world):
    path = world.folder / "text.mp4"
    path.write_bytes(b"no video at all\n" * 99)
    start(world, str(path), loop=True)
    text = "text.mp4 is not a video that OpenCV can play, or is incomplete. Choose another file, or wait until"
    yield Says((text,), None, "not-a-video", (text,))
    film(path.with_suffix(".mkv"), PICTURES)
    os.replace(path.with_suffix(".mkv"), path)
    world.untilImage()


def aFolder(world):
    start(world, str(world.folder))
    text = f"{world.folder.name} is a folder. Choose a video file in it, or a camera."
    yield Says((text,), None, "not-a-video", (text,))
    mended(world)


def endOfFile(world):
    start(world, film(world.folder / "a.mkv", PICTURES), realTime=False)
    remedy = ("Play in a loop", {"loop": True})
    yield Says(("a.mkv has ended.",), remedy, "video-ended", ("a.mkv has ended: 5 pictures.",))
    world.restart()
    world.until(lambda: world.process.received > 2 * len(PICTURES))


def noDriver(world):
    start(world, PHONE, backend="NOSUCH")
    text = "This computer has no driver NOSUCH. It has "
    yield Says((text,), ("Choose automatically", {"backend": ""}), "no-backend", (text,))
    world.restart()
    world.untilImage()


def croppedAway(world):
    start(world, PHONE, crop=(100, 0, 100, 0), loop=True)
    text = "Cropping leaves nothing of a picture of 176 x 144 pixels. Crop less."
    yield Says((text,), ("Remove the crop", {"crop": [0, 0, 0, 0]}), "not-usable", (text,))
    world.restart()
    world.untilImage()


FAULTS = [
    pytest.param(missing, marks=linux),
    pytest.param(inUse, marks=linux),
    pytest.param(notAllowed, marks=linux),
    unplugged,
    streamRefused,
    streamUnknown,
    streamSilent,
    streamWithoutVideo,
    fileMissing,
    notAVideo,
    aFolder,
    endOfFile,
    noDriver,
    croppedAway,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_explained_until_it_is_mended(fault):
    explain(fault)
