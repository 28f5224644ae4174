"""Why is there no image over DICOM? One row a fault, with the real process, real senders and real files."""

from __future__ import annotations

import os
import socket
from contextlib import closing

import numpy as np
import pytest
from RealTimeImagingLib.Sources.DICOM import DICOMSettings
from RealTimeImagingLib.Sources.Endpoints import networkAddresses
from unit.dicomSource import Scanner, sender, series, slice_
from unit.faults import Says, explain

ALLOW = ("Allow the network", {"host": "0.0.0.0"})
MPEG4 = "1.2.840.10008.1.2.4.102"
FILM = "1.2.840.10008.5.1.1.1"
"""Basic Film Session: a printer stores it, an archive does not."""


def start(world, **values):
    world.start(DICOMSettings(**{"folder": str(world.folder / "kept"), "port": world.port, **values}))


def listening(world):
    """Wait until senders can connect; return the port."""
    world.until(lambda: "listening" in world.process.codes)
    return world.settings.port


def send(world, *datasets, **options):
    """Send instances, and wait for the end of the association."""
    scanner = Scanner(listening(world), datasets, **options)
    world.until(lambda: not scanner.is_alive())
    return scanner


def sendImage(world, **options):
    assert send(world, slice_(1, 0.0), **options).statuses == [0]
    world.untilImage()


def portTaken(world):
    with world.serve():
        start(world)
        world.until(lambda: world.status[1])
        remedy = world.status[1]
        text = f"Port {world.port} is in use by another program. Close that program, or choose another port."
        yield Says((text,), (remedy.label, dict(remedy.settings)), "port-taken", (text,))
        assert remedy.label == f"Use port {remedy.settings['port']}"
        world.restart()
        sendImage(world)


def thisComputerOnly(world):
    start(world)
    parts = (f"on 127.0.0.1, port {world.port}.", "Only programs on this computer can connect.", *networkAddresses())
    yield Says(parts, ALLOW)
    world.restart()
    sendImage(world)


def nobodyConnected(world):
    start(world, host="0.0.0.0")
    yield Says((f"Waiting for images sent to SLICER on 0.0.0.0, port {world.port}.", "if the firewall agrees"))
    sendImage(world)


def connectedButSilent(world):
    start(world)
    with closing(socket.create_connection(("127.0.0.1", listening(world)))):
        yield Says(("Connected with 127.0.0.1:", "No image was sent yet: send a series from there."))
        sendImage(world)


def wrongTitle(world):
    start(world, checkCalled=True)
    assert send(world, called="ROOM1").refused
    text = "it calls the AE title ROOM1, but this receiver is SLICER; set SLICER at the sender."
    yield Says((text,), ("Accept any title", {"checkCalled": False}), "peer-refused", (text,))
    world.restart()
    sendImage(world, called="ROOM1")


def titleNotAllowed(world):
    start(world, callers=("CT1",))
    assert send(world).refused
    text = "its AE title SCANNER is not among the allowed AE titles."
    yield Says((text,), ("Accept SCANNER", {"callers": ["CT1", "SCANNER"]}), "peer-refused", (text,))
    world.restart()
    sendImage(world)


def computerNotAllowed(world):
    """20 attempts are a few lines."""
    start(world, allowed=("10.1.2.3",))
    for _ in range(20):
        socket.create_connection(("127.0.0.1", listening(world))).close()
    text = "refused: it is not among the allowed computers."
    remedy = ("Allow 127.0.0.1", {"allowed": ["10.1.2.3/32", "127.0.0.1"]})
    yield Says((text,), remedy, "peer-refused", (text,))
    assert len(world.told("peer-refused")) <= 3
    world.restart()
    sendImage(world)


def notStorable(world):
    start(world)
    send(world, slice_(1, 0.0, SOPClassUID=FILM))
    text = "offers Basic Film Session SOP Class, which this receiver cannot store: it stores images."
    yield Says((text,), None, "nothing-in-common", (text,))
    sendImage(world)


def notDecodable(world):
    start(world)
    assert send(world, syntaxes=[MPEG4], echo=False).refused
    text = "offers MR Image Storage only with a compression that cannot be decoded here."
    yield Says((text,), None, "nothing-in-common", (text,))
    sendImage(world)


def withoutImages(world):
    start(world)
    with sender(listening(world), slice_(1, 0.0)):
        pass
    text = "connected and disconnected without sending an image. Send a series from there."
    yield Says((text,), None, "no-image", (text,))
    sendImage(world)


def echo(world):
    start(world)
    assert send(world).statuses == [0]
    text = "tested the connection (C-ECHO). The connection works; no image was sent yet."
    yield Says((text,), None, "echo", ("SCANNER (127.0.0.1:", text))
    sendImage(world)


def folderNotWritable(world):
    kept = world.folder / "kept"
    kept.mkdir(mode=0o555)
    world.start(DICOMSettings(folder=str(kept), port=world.port), world.ordinary)
    text = f"The folder {kept} cannot be written (permission denied): no instance can be stored. Choose another folder,"
    yield Says((text,), None, "folder-missing", (text,))
    kept.chmod(0o777)
    world.until(lambda: world.told("folder-there"))
    sendImage(world)


def folderBelowAFile(world):
    (world.folder / "kept").touch()
    start(world, folder=str(world.folder / "kept" / "here"))
    text = "cannot be written (a file has that name): no instance can be stored."
    yield Says((text,), None, "folder-missing", (text,))
    (world.folder / "kept").unlink()
    world.until(lambda: world.told("folder-there"))
    sendImage(world)


def diskFull(world):
    """20 instances that cannot be stored are a few lines."""
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    if not hasattr(resource, "prlimit"):
        pytest.skip("A limit for another process can be set on Linux only.")
    start(world)
    listening(world)
    before = resource.prlimit(world.process.process.pid, resource.RLIMIT_FSIZE, (300, resource.RLIM_INFINITY))
    assert set(send(world, *series(20)).statuses) == {0xA700}
    parts = (
        f"cannot be stored in {world.folder / 'kept'}: the file is too large for the disk",
        "Free space there, or choose another",
    )
    yield Says(parts, None, "not-stored", parts, most=3)
    world.until(lambda: len(world.told("not-stored")) == 3)
    resource.prlimit(world.process.process.pid, resource.RLIMIT_FSIZE, before)
    sendImage(world)


def incompleteVolume(world):
    start(world, completeAfter=0.5)
    slices = series(6, ImagesInAcquisition="6")
    send(world, *slices[:2], *slices[3:])
    yield Says((), None, "incomplete", ("t2 tse 7", "5 of 6"), template=False)
    world.untilImage()


def notAnImage(world):
    """Its pixels are missing."""
    start(world)
    large = slice_(1, 0.0, Rows=1000, Columns=1000)
    assert send(world, large).statuses == [0]
    parts = ("is stored, but cannot be shown: PixelData has 60 bytes; 1 frames of 1000 x 1000 need 2,000,000.",)
    world.until(lambda: world.process.codes[1:])
    yield Says(parts, None, world.process.codes[1])
    sendImage(world)


def cutOff(world):
    start(world)
    large = slice_(1, 0.0, pixels=np.zeros((1500, 1000), np.int16))
    with sender(listening(world), large) as association:
        wire, sent = association.dul.socket, [0]
        original = wire.send

        def cut(data):
            sent[0] += len(data)
            original(data) if sent[0] < 1 << 20 else wire.close()

        wire.send = cut
        association.send_c_store(large)
    text = "disconnected in the middle of an instance, which is not stored. Send it again."
    yield Says((text,), None, "sender-lost", (text,))
    sendImage(world)


def browser(world):
    start(world)
    with closing(socket.create_connection(("127.0.0.1", listening(world)))) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
        yield Says(("A web browser connected from 127.0.0.1",), None, "not-dicom", ("this port speaks DICOM.",))
    sendImage(world)


def encrypted(world):
    start(world)
    with closing(socket.create_connection(("127.0.0.1", listening(world)))) as peer:
        peer.sendall(b"\x16\x03\x01\x02\x00")
        text = "connected with TLS, which this receiver does not support: turn TLS off at the sender."
        yield Says((text,), None, "not-dicom", (text,))
    sendImage(world)


FAULTS = [
    portTaken,
    thisComputerOnly,
    nobodyConnected,
    connectedButSilent,
    wrongTitle,
    titleNotAllowed,
    computerNotAllowed,
    notStorable,
    notDecodable,
    withoutImages,
    echo,
    pytest.param(folderNotWritable, marks=pytest.mark.skipif(os.name != "posix", reason="Rights are others there.")),
    folderBelowAFile,
    diskFull,
    incompleteVolume,
    notAnImage,
    cutOff,
    browser,
    encrypted,
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_explained_until_it_is_mended(fault):
    explain(fault)
