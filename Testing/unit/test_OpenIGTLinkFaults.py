"""Why is there no image over OpenIGTLink? One row a fault, with the real process and real sockets."""

from __future__ import annotations

import socket
import sys
import time
from contextlib import ExitStack, closing

import pytest
from RealTimeImagingLib.OpenIGTLink import StatusMessage, StringMessage, pack
from RealTimeImagingLib.Sources.Endpoints import networkAddresses
from RealTimeImagingLib.Sources.OpenIGTLink import OpenIGTLinkSettings
from unit.faults import Says, explain
from unit.openIGTLinkSource import hear, image, pose, sendAll
from unit.videos import encode, messages, picture

ALLOW = ("Allow the network", {"host": "0.0.0.0"})
REQUEST = ("Request images", {"ask": ["STT_IMAGE", "STT_TDATA"]})
SKIP = ("Skip checksums", {"checkCRC": False})


def server(world, **values):
    world.start(OpenIGTLinkSettings(role="server", port=world.port, **values))


def client(world, **values):
    world.start(OpenIGTLinkSettings(**{"port": world.port, **values}))


def sendImage(world, host="127.0.0.1", port=None):
    """Send an image from a new connection, and wait for it."""
    peer = world.connect(host, port)
    sendAll(peer, image(1))
    world.untilImage()
    return peer


def named(message, name):
    """Return the bytes of a message with another type."""
    raw = bytearray(pack(message))
    raw[2:14] = name.encode().ljust(12, b"\0")
    return bytes(raw)


def portTaken(world):
    with world.serve():
        server(world)
        free = world.port + 1
        while not isFree(free):
            free += 1
        text = f"Port {world.port} is in use by another program. Close that program, or choose another port."
        yield Says((text,), (f"Use port {free}", {"port": free}), "port-taken", (text,))
        world.restart()
        sendImage(world, port=free)


def isFree(port):
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def thisComputerOnly(world):
    server(world)
    yield Says(("Waiting for a device", "Only programs on this computer can connect.", *networkAddresses()), ALLOW)
    world.restart()
    sendImage(world, *networkAddresses()[:1])


def nobodyConnected(world):
    server(world, host="0.0.0.0")
    yield Says((f"Waiting for a device to connect to 0.0.0.0:{world.port}.", "if the firewall agrees"))
    sendImage(world)


def connectedButSilent(world):
    server(world)
    world.connect()
    parts = ("Nothing arrives from 127.0.0.1:", "Start the transmission at the device, or request the images from here")
    yield Says(parts, REQUEST, "peer-silent", ("is connected but has sent nothing for 4 s.",))
    world.restart()
    peer = world.connect()
    assert [message.message_type for message in hear(peer, 2)] == list(REQUEST[1]["ask"])
    sendAll(peer, image(1))
    world.untilImage()


def protocol(begin, text):
    """Return the row of a peer with another protocol."""

    def fault(world):
        server(world)
        world.connect().sendall(begin)
        yield Says((text, "Waiting for the next connection."), None, "not-openigtlink", (text,))
        sendImage(world)

    return fault


def wrongChecksums(world):
    broken = bytearray(pack(image(1)))
    broken[-1] ^= 1
    server(world)
    world.connect().sendall(bytes(broken) * 20)
    parts = ("has sent 20 messages with a wrong checksum (CRC), and no valid image since.",)
    yield Says(parts, SKIP, "wrong-crc", ("IMAGE from Probe", "untick Verify checksums (CRC)"))
    world.restart()
    world.connect().sendall(broken)
    world.untilImage()


def someWrongChecksums(world):
    broken = bytearray(pack(image(1)))
    broken[-1] ^= 1
    server(world)
    peer = world.connect()
    peer.sendall(bytes(broken) * 3)
    yield Says(("has sent 3 messages with a wrong checksum",), SKIP)
    sendAll(peer, image(2))
    world.untilImage()


def compressedVideo(world):
    server(world)
    peer = world.connect()
    sent = messages("H264", encode("H264", map(picture, range(11))))
    sendAll(peer, *sent[1:10], version=2)
    text = "The video of Probe begins between two key frames. Its images begin with the next key frame."
    yield Says((text,), None, "no-key-frame", (text,))
    sendAll(peer, sent[10], version=2)
    world.untilImage()


def unknownType(world):
    server(world)
    peer = world.connect()
    peer.sendall(named(StringMessage("x"), "OWN") * 5)
    parts = ("sends messages that cannot be shown: OWN (5). Set the device to send IMAGE.",)
    yield Says(parts, None, "unknown-type", ("its type is unknown",))
    sendAll(peer, image(1))
    world.untilImage()


def tooLarge(world):
    server(world, sizeLimit=1024)
    peer = world.connect()
    sendAll(peer, image(1, shape=(10, 20, 30)))
    parts = ("bytes; the limit is 1,024.", "raise Largest message")
    yield Says(parts, None, "too-large", parts)
    sendAll(peer, image(2))
    world.untilImage()


def impossibleSize(world):
    """An image whose header declares more pixels than the message has."""
    raw = bytearray(pack(image(1)))
    for place in (6, 66):  # columns of the whole image, and of the part
        raw[58 + place : 58 + place + 2] = (200).to_bytes(2, "big")
    server(world, checkCRC=False)
    peer = world.connect()
    peer.sendall(raw)
    parts = (
        "has sent a message that cannot be used, and no image since:",
        "IMAGE from Probe was rejected: its header declares",
    )
    yield Says(parts, None, "malformed", ("bytes of pixels were received",))
    sendAll(peer, image(2))
    world.untilImage()


def noVoxels(world):
    raw = bytearray(pack(image(1)))
    raw[58 + 6 : 58 + 12] = bytes(6)
    server(world, checkCRC=False)
    peer = world.connect()
    peer.sendall(raw)
    yield Says(("it has no voxels: image (0, 0, 0)",), None, "malformed", ("it has no voxels",))
    sendAll(peer, image(2))
    world.untilImage()


def statusError(world):
    server(world)
    peer = world.connect()
    sendAll(peer, StatusMessage(13, 0, "Not ready", "warming up", device_name="Scanner"))
    text = "Scanner reports an error: Not ready, warming up (code 13). See the device for the reason."
    yield Says((text,), None, "device-error", (text,))
    sendAll(peer, StatusMessage(1, 0, "", "", device_name="Scanner"))


def longStatusError(world):
    """A reason of a megabyte does not fill the panel."""
    server(world)
    peer = world.connect()
    sendAll(peer, StatusMessage(13, 0, "Not ready", "warm " * 200_000, device_name="Scanner"))
    text = f"Scanner reports an error: Not ready, {'warm ' * 39}warm… (code 13). See the device for the reason."
    yield Says((text,), None, "device-error", (text,))
    sendAll(peer, StatusMessage(1, 0, "", "", device_name="Scanner"))


def posesButNoImage(world):
    server(world)
    peer = world.connect()
    world.process.until(lambda: "connected" in world.process.codes)
    for number in range(45):  # longer than 4 s without an image, and never silent
        sendAll(peer, pose(number))
        time.sleep(0.1)
    yield Says(("sends TRANSFORM, but no image.", "switch on the transmission of images at the device"))
    sendAll(peer, image(1))
    world.untilImage()


def hostUnknown(world):
    client(world, host="no-such-host.invalid")
    parts = ("no-such-host.invalid cannot be found (", "Check the name or address, and the network.")
    yield Says(parts, None, "address-refused", parts)
    serveImage(world, host="127.0.0.1")


def serveImage(world, **changes):
    """Serve an image on the port of a client, which starts again with other settings where some are given."""
    listener = world.serve()
    if changes:
        world.restart(**changes)
    connection, _ = listener.accept()
    world.stack.enter_context(closing(connection))
    sendAll(connection, image(1))
    world.untilImage()


def hostDoesNotAnswer(world):
    with ExitStack() as stack:
        listener = stack.enter_context(closing(socket.socket()))
        listener.bind(("127.0.0.1", world.port))
        listener.listen(0)
        for _ in range(3):  # a full queue: the system drops further requests
            waiting = stack.enter_context(closing(socket.socket()))
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", world.port))
        client(world)
        text = f"127.0.0.1:{world.port} does not answer. Is it switched on? Does its firewall allow this port?"
        yield Says((text,), None, "no-answer", (text,))
    serveImage(world)


def refused(world):
    """The port is typed in the field of the address."""
    client(world, host=f" 127.0.0.1:{world.port} ", port=18944)
    text = f"Connection refused by 127.0.0.1:{world.port}. Is the server running?"
    yield Says((text,), None, "no-listener", (text,))
    serveImage(world)


def disconnects(world):
    server(world)
    sendImage(world).close()
    yield Says(("disconnected: it closed the connection. Waiting for the next connection.",), None, "disconnected")
    sendAll(world.connect(), image(2))
    world.until(lambda: world.process.received == 2)


def notAllowed(world):
    """20 attempts are a few lines."""
    server(world, allowed=("10.1.2.3",))
    for _ in range(20):
        world.connect()
    text = "refused: it is not among the allowed computers."
    remedy = ("Allow 127.0.0.1", {"allowed": ["10.1.2.3/32", "127.0.0.1"]})
    yield Says((text,), remedy, "peer-refused", (text,), most=3)
    assert len(world.told("peer-refused")) <= 3
    world.restart()
    sendImage(world)


OTHERS = {
    "browser": (b"GET / HTTP/1.1\r\n\r\n", "A web browser connected; this port speaks OpenIGTLink."),
    "TLS": (b"\x16\x03\x01\x02\x00", "A program connected with TLS; this port speaks OpenIGTLink without encryption."),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", "An SSH program connected; this port speaks OpenIGTLink. Check the port."),
    "DICOM": (b"\x01\x00\x00\x00\x00\xcd", "A DICOM program connected; this port speaks OpenIGTLink. Check the port."),
    "other": (b"hello\r\n", "Not an OpenIGTLink message: its header has the version 26725. It begins with 'hello"),
}
FAULTS = [
    portTaken,
    thisComputerOnly,
    nobodyConnected,
    connectedButSilent,
    *(protocol(*row) for row in OTHERS.values()),
    wrongChecksums,
    someWrongChecksums,
    compressedVideo,
    unknownType,
    tooLarge,
    impossibleSize,
    noVoxels,
    statusError,
    longStatusError,
    posesButNoImage,
    hostUnknown,
    pytest.param(
        hostDoesNotAnswer,
        marks=pytest.mark.skipif(sys.platform != "linux", reason="Other systems refuse when the queue is full."),
    ),
    refused,
    disconnects,
    notAllowed,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_explained_until_it_is_mended(fault):
    explain(fault)
