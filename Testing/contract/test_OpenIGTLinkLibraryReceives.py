"""What programs with the C++ library of OpenIGTLink understand of what is sent to them."""

from __future__ import annotations

import itertools
import re
import socket
import subprocess
from contextlib import closing

import numpy as np
import pytest
from contract.library import absence, running
from RealTimeImagingLib.OpenIGTLink import (
    CapabilityMessage,
    ImageMessage,
    PointMessage,
    PolyDataAttribute,
    PolyDataMessage,
    PositionMessage,
    QuaternionTool,
    QuaternionTrackingDataMessage,
    StatusMessage,
    StringMessage,
    TrackedTool,
    TrackingDataMessage,
    Trajectory,
    TrajectoryMessage,
    TransformMessage,
    pack,
)
from unit.openIGTLinkSource import Link

pytestmark = pytest.mark.skipif(bool(absence()), reason=absence())

TYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")
OBLIQUE = np.array([[0.3, -1.6, 0.0, 12], [0.4, 1.2, 0.0, -34], [0.0, 0.0, 2.5, 56], [0, 0, 0, 1]])
POSE = np.array([[0, -1, 0, 1.5], [1, 0, 0, -2], [0, 0, 1, 3], [0, 0, 0, 1.0]])


def test_the_receiver_prints_what_the_source_sends(programs, tmp_path):
    link = Link(tmp_path, role="server")
    link.step()
    command = [programs["ReceiveClient"], "127.0.0.1", str(link.settings.port)]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        link.untilCode("connected")
        points = [{"position": [1, 2, 3.5], "name": "A", "group": "G", "diameter": 2, "rgba": [1, 2, 3, 4]}]
        for type_, values in (
            ("TRANSFORM", {"matrix": POSE}),
            ("STRING", {"text": "START_SCAN"}),
            ("STATUS", {"code": 13, "name": "Busy", "text": "warming up"}),
            ("POINT", {"points": points}),
        ):
            link.source.command("send", {"type": type_, "device": "D", "values": values})
        link.close()
        matrix, words = _heard(process)
    assert matrix.splitlines()[1:-1] == ["0, -1, 0, 1.5", "1, 0, 0, -2", "0, 0, 1, 3", "0, 0, 0, 1"]
    assert "Encoding: 3; String: START_SCAN" in words
    assert _facts(words, "Code Error_Name Status") == ["13", "Busy", "warming up"]
    assert _facts(words, "Name GroupName RGBA Position") == [
        "A",
        "G",
        "( 1, 2, 3, 4 )",
        "( 1.000000, 2.000000, 3.500000 )",
    ]


def test_the_receiver_prints_what_the_codecs_write(programs):
    time = {"device_name": "Dev", "timestamp": 1.7e9 + 0.5}
    text = _print(
        programs["ReceiveClient"],
        StringMessage("Größe", **time),
        StatusMessage(5, -7, "Off", "no power", **time),
        PointMessage([(1, 2, 3), (-4, 5, 6)], ["A", "B"], (5, 6, 7, 8), [2, 3], "G", "Im", **time),
        ImageMessage(np.zeros((3, 4, 5), np.int16), OBLIQUE, **time),
        PositionMessage((1, 2, 3), (0.5, 0.5, 0.5, -0.5), **time),
        TrajectoryMessage([Trajectory("T", "G", 3, (1, 2, 3, 4), (1, 2, 3), (4, 5, 6), 7, "Im")], **time),
        TrackingDataMessage([TrackedTool("Needle", 2, POSE), TrackedTool("Tip", 3)], **time),
        QuaternionTrackingDataMessage([QuaternionTool("Tool", 4, (7, 8, 9), (0.5, -0.5, 0.5, 0.5))], **time),
        CapabilityMessage(["IMAGE", "GET_IMAGE"], **time),
        TransformMessage(POSE, **time),
    )
    assert text.count("Time stamp: 1700000000.500000000") == 10
    assert "Encoding: 106; String: Größe" in text
    assert _facts(text, "Code SubCode Error_Name Status") == ["5", "-7", "Off", "no power"]
    assert re.findall(r" Position +: (\( .*)", text) == [
        "( 1.000000, 2.000000, 3.000000 )",
        "( -4.000000, 5.000000, 6.000000 )",
    ]
    assert _facts(text, "RGBA Radius Owner") == ["( 5, 6, 7, 8 )", "2.000000", "Im"]
    assert _facts(text, "Scalar_Type Dimensions Spacing") == ["4", "(5, 4, 3)", "(0.500000, 2.000000, 2.500000)"]
    assert "position   = (1.000000, 2.000000, 3.000000)\nquaternion = (0.500000, 0.500000, 0.500000, -0.500000)" in text
    assert _facts(text, "Entry_Pt Target_Pt") == [
        "( 1.000000, 2.000000, 3.000000 )",
        "( 4.000000, 5.000000, 6.000000 )",
    ]
    assert re.findall(r" Name +: (Needle|Tip|Tool)\n Type +: (\d)", text) == [
        ("Needle", "2"),
        ("Tip", "3"),
        ("Tool", "4"),
    ]
    assert "7, 8, 9\n0.5, -0.5, 0.5, 0.5" in text
    assert "Typename #0: IMAGE\nTypename #1: GET_IMAGE\n" in text
    assert text.count("0, -1, 0, 1.5\n1, 0, 0, -2\n0, 0, 1, 3\n0, 0, 0, 1") == 2


def test_the_receiver_prints_the_surface_that_was_sent(programs):
    text = _print(
        programs["PolyDataClient"],
        PolyDataMessage(
            [[0, 0, 0], [1, 0, 0.5], [1, 1, 0], [0, 1, 0]],
            vertices=[1, 2],
            lines=[2, 1, 3],
            polygons=[3, 0, 1, 2, 4, 0, 1, 2, 3],
            triangle_strips=[4, 3, 1, 2, 0],
            attributes=[
                PolyDataAttribute("heat", 0, np.arange(4).reshape(4, 1)),
                PolyDataAttribute("arrows", 1, np.arange(12).reshape(4, 3)),
            ],
        ),
    )
    assert "point[1] = (1, 0, 0.5)" in text
    # The program prints each cell's first point twice.
    cells = ["(2, 2)", "(1, 1, 3)", "(0, 0, 1, 2)", "(0, 0, 1, 2, 3)", "(3, 3, 1, 2, 0)"]
    assert re.findall(r"cell\[\d\] = (.*)", text) == cells
    assert re.findall(r"(?:Name|Type) = (.*)", text) == ["heat", "POINT_SCALAR", "arrows", "POINT_VECTOR"]
    assert re.findall(r"data\[3\] = (.*)", text) == ["(3)", "(9, 10, 11)"]


def test_images_that_the_library_receives_are_those_that_were_sent(programs):
    """Pixels, and the place of voxels in the world, of images unlike their own mirror images."""
    random = np.random.default_rng(3)
    sent = [
        ImageMessage(random.integers(0, 100, (3, 4, 5)).astype(name), OBLIQUE, coordinates=coordinates, endian=endian)
        for name, coordinates, endian in itertools.product(TYPES, ("RAS", "LPS"), ("little", "big"))
    ]
    for shape in ((3, 4, 5, 2), (1, 6, 7, 3), (2, 3, 1, 4), (1, 1, 1)):
        sent.append(ImageMessage(random.integers(0, 200, shape).astype(np.uint8), OBLIQUE, coordinates="LPS"))
    sent.append(ImageMessage(random.integers(0, 200, (5, 6, 7), np.uint16), OBLIQUE, offset=(1, 2, 3), size=(4, 3, 2)))
    with closing(socket.create_server(("127.0.0.1", 0))) as door:
        command = [programs["ReceiveImages"], str(door.getsockname()[1])]
        with running(command, stdout=subprocess.PIPE) as process:
            connection, _ = door.accept()
            with closing(connection):
                for message in sent:
                    connection.sendall(pack(message))
            for message in sent:
                _assertReceived(message, process.stdout)
            assert process.stdout.read() == b""


def _assertReceived(message, stream):
    numbers = [float(one) for one in stream.readline().split()]
    well, nbytes, scalar, components, endian, coordinates = (int(one) for one in numbers[:6])
    assert well == 1, "the checksum is wrong"
    size, part, offset, spacing = np.array(numbers[6:18]).reshape(3, 4).T
    matrix = np.array(numbers[18:]).reshape(4, 4)
    shape = message.pixels.shape
    assert size.astype(int).tolist() == list(shape[2::-1])
    assert components == (shape[3] if len(shape) == 4 else 1)
    assert scalar == dict(zip(TYPES, (2, 3, 4, 5, 6, 7, 10, 11), strict=True))[message.pixels.dtype.str[1:]]
    assert endian == (1 if message.endian == "big" else 2)
    begin, end = offset.astype(int), (offset + part).astype(int)
    region = tuple(slice(*one) for one in zip(begin[::-1], end[::-1], strict=True))
    wire = message.pixels.dtype.newbyteorder(">" if message.endian == "big" else "<")
    assert stream.read(nbytes) == message.pixels[region].astype(wire).tobytes()
    for voxel in itertools.product(*((0, count - 1) for count in size)):
        place = matrix[:3, 3] + matrix[:3, :3] @ (spacing * (np.array(voxel) - (size - 1) / 2))
        if coordinates == 2:
            place = place * (-1, -1, 1)
        np.testing.assert_allclose(place, (message.ijkToRAS @ (*voxel, 1))[:3], atol=1e-4)


def _print(program, *messages):
    """What a program of the library that receives prints."""
    with closing(socket.create_server(("127.0.0.1", 0))) as door:
        command = [program, "127.0.0.1", str(door.getsockname()[1])]
        with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            connection, _ = door.accept()
            with closing(connection):
                connection.sendall(b"".join(pack(message) for message in messages))
                connection.shutdown(socket.SHUT_WR)
                return "\n".join(_heard(process))


def _heard(process):
    return tuple(text.decode() for text in process.communicate(timeout=20))


def _facts(text, names):
    return [re.search(rf"^ *{name.replace('_', ' ')} *: (.*)$", text, re.MULTILINE).group(1) for name in names.split()]
