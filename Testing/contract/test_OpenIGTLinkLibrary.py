"""The C++ library of OpenIGTLink at the other end: its example programs, and two of ours that are compiled with it."""

from __future__ import annotations

import base64
import itertools
import re
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from contract.library import EXAMPLES, IMAGES, Programs, absence, connect, running
from RealTimeImagingLib.Frame import LPS_TO_RAS, checksum
from RealTimeImagingLib.OpenIGTLink import (
    CapabilityMessage,
    ImageMessage,
    PointMessage,
    PolyDataAttribute,
    PolyDataMessage,
    PositionMessage,
    QuaternionTool,
    QuaternionTrackingDataMessage,
    StartTrackingMessage,
    StatusMessage,
    StringMessage,
    TrackedTool,
    TrackingDataMessage,
    Trajectory,
    TrajectoryMessage,
    TransformMessage,
    pack,
    query,
)
from unit.linking import Link, freePort
from unit.wire import received

pytestmark = pytest.mark.skipif(bool(absence()), reason=absence())

SERVERS = (
    "Imager/ImagerServer",
    "Tracker/TrackerServer",
    "TrackingData/TrackingDataServer",
    "QuaternionTrackingData/QuaternionTrackingDataServer",
    "Status/StatusServer",
    "Point/PointServer",
    "Trajectory/TrajectoryServer",
    "PolyData/PolyDataServer",
    "String/StringServer",
    "Capability/CapabilityServer",
    "ImageMeta/ImageMetaServer",
    "ImageMeta/LabelMetaServer",
)
CLIENTS = ("Receiver/ReceiveClient", "PolyData/PolyDataClient", "Bind/BindClient")
OURS = ("ReceiveImages", "SendAll")
TYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")
OBLIQUE = np.array([[0.3, -1.6, 0.0, 12], [0.4, 1.2, 0.0, -34], [0.0, 0.0, 2.5, 56], [0, 0, 0, 1]])
POSE = np.array([[0, -1, 0, 1.5], [1, 0, 0, -2], [0, 0, 1, 3], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    own = Path(__file__).with_name("openigtlink")
    sources = [EXAMPLES / f"{name}.cxx" for name in SERVERS + CLIENTS] + [own / f"{name}.cxx" for name in OURS]
    return Programs(tmp_path_factory.mktemp("programs"), sources)


@pytest.fixture
def client(programs, tmp_path):
    """Starts an example server and our source as its client."""
    made = []

    def start(name, *options, ask=()):
        port = freePort()
        process = running([programs[name], str(port), *options], stdout=subprocess.PIPE)
        link = Link(tmp_path, port=port, ask=ask)
        made.append((process, link))
        link.process = process.__enter__()
        link.untilCode("connected", passes=0.05)
        return link

    yield start
    for process, link in made:
        link.close()
        process.__exit__(None, None, None)


# ---- what the library sends


def test_all_images_of_the_image_server(client):
    link = client("ImagerServer", "1000", str(IMAGES))
    link.untilCode("disconnected")
    files = [(IMAGES / f"igtlTestImage{number}.raw").read_bytes() for number in range(1, 6)]
    sums = [checksum(np.frombuffer(file, np.uint8).reshape(1, 256, 256)) for file in files]
    assert link.sums == sums * 20
    assert set(link.streams) == {"ImagerClient"}
    # Spacing 1, 1, 5, the second axis reversed, the centre at 0.
    expected = [[1, 0, 0, -127.5], [0, -1, 0, 127.5], [0, 0, 5, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal([frame.image.ijkToRAS for frame in link.frames], [expected] * 100)
    assert link.journal.rejected == 0


def test_all_poses_of_the_tracker(client):
    link = client("TrackerServer", "1000")
    link.untilCode("disconnected")
    assert len(link.messages) == 100
    assert {(one.kind, one.device) for one in link.messages} == {("transform", "Tracker")}
    link.process.terminate()
    printed = link.process.stdout.read().decode().split("=============\n")[1::2]
    matrices = [[[float(value) for value in line.split(",")] for line in one.splitlines()] for one in printed]
    np.testing.assert_allclose([one.values["matrix"] for one in link.messages[: len(matrices)]], matrices, atol=1e-4)
    # Of the last, the server had not yet given its text to the pipe.
    assert len(matrices) > 50


@pytest.mark.parametrize("name", ["TrackingDataServer", "QuaternionTrackingDataServer"])
def test_tools_of_a_tracker_that_waits_to_be_asked(client, name):
    link = client(name, ask=("STT_QTDATA" if "Quaternion" in name else "STT_TDATA",))
    link.until(lambda: len(link.messages) >= 30)
    for number, message in enumerate(link.messages[:30]):
        step, tool = divmod(number, 3)
        assert (message.kind, message.device) == ("transform", f"Channel {tool}")
        phi = step * (0.1, 0.2, 0.3)[tool]
        position = 50 * np.array([np.cos(phi), np.sin(phi), np.cos(phi)])
        matrix = np.array(message.values["matrix"])
        np.testing.assert_allclose(matrix[:3, 3], position, atol=1e-4)
        np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-5)
        assert np.linalg.det(matrix) > 0


def test_status_points_and_texts(client):
    status = client("StatusServer")
    status.until(lambda: status.messages)
    said = status.messages[0].values
    assert (said["code"], said["subCode"], said["name"], said["ok"]) == (1, 128, "OK!", True)
    assert said["text"] == "This is a test to send status message."
    points = client("PointServer")
    points.until(lambda: points.messages)
    rgba = [[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255]]
    assert points.messages[0].values["points"] == [
        {"position": [10 + 30 * n, 20 + 30 * n, 30 + 30 * n], "name": f"POINT_{n}", "group": "GROUP_0"}
        | {"diameter": 15 + 30 * n, "rgba": rgba[n]}
        for n in range(3)
    ]
    texts = client("StringServer", "1000")
    texts.untilCode("disconnected")
    words = ["OpenIGTLink", "Network", "Communication", "Protocol", "Image Guided Therapy"]
    assert [one.values["text"] for one in texts.messages] == words * 20
    ways = client("TrajectoryServer")
    ways.until(lambda: ways.messages)
    first = ways.messages[0].values["points"][0]
    assert (first["position"], first["entry"], first["name"]) == ([20, 20, 40], [10, 20, 30], "TRAJECTORY_0")


def test_a_surface_and_lists_that_are_asked_for(client):
    link = client("PolyDataServer", ask=("GET_POLYDATA",))
    link.until(lambda: link.messages)
    surface = link.messages[0].values
    points = np.frombuffer(base64.b64decode(surface["points"]), "<f4").reshape(8, 3)
    polygons = np.frombuffer(base64.b64decode(surface["polygons"]), "<i4").reshape(6, 5)
    assert points[6].tolist() == [1, 1, 1]
    assert polygons[4].tolist() == [4, 2, 3, 7, 6]
    assert surface["vertices"] == surface["lines"] == surface["strips"] == ""
    (scalars,) = surface["scalars"]
    assert (scalars["name"], scalars["of"]) == ("attr", "points")
    assert np.frombuffer(base64.b64decode(scalars["values"]), "<f4").tolist() == list(range(8))
    images = client("ImageMetaServer", ask=("GET_IMGMETA",))
    images.until(lambda: images.messages)
    assert images.messages[0].values["text"].endswith("IMAGE_DESCRIPTION_0, IMAGE_DESCRIPTION_1, IMAGE_DESCRIPTION_2")
    able = client("CapabilityServer")
    able.until(lambda: able.messages)
    assert able.messages[0].values["text"] == "understands TRANSFORM, GET_IMAGE, GET_LBMETA"


def test_several_messages_bound_to_one(programs, tmp_path):
    link = Link(tmp_path, role="server")
    link.step()
    with closing(link), running([programs["BindClient"], "127.0.0.1", str(link.settings.port), "1000"]):
        link.until(lambda: len(link.messages) >= 10)
        said = [(one.kind, one.device) for one in link.messages[:10]]
        assert said == [("text", "StringMessage"), ("transform", "Tracker")] * 5
        x = [one.values["matrix"][0][3] for one in link.messages[1:10:2]]
        np.testing.assert_allclose(x, 50 * np.cos(0.2 * np.arange(5)), atol=1e-4)


QUESTIONS = {
    "TrackingDataServer": StartTrackingMessage(resolution=10),
    "QuaternionTrackingDataServer": StartTrackingMessage("STT_QTDATA", resolution=10),
    "PolyDataServer": query("GET_POLYDATA"),
    "ImageMetaServer": query("GET_IMGMETA"),
    "LabelMetaServer": query("GET_LBMETA"),
}
OPTIONS = {"ImagerServer": ("1000", str(IMAGES)), "TrackerServer": ("1000",), "StringServer": ("1000",)}


@pytest.mark.parametrize("name", [Path(one).name for one in SERVERS])
def test_what_a_server_sends_is_written_as_the_library_writes_it(programs, name):
    port = freePort()
    with running([programs[name], str(port), *OPTIONS.get(name, ())]), closing(connect(port)) as connection:
        if name in QUESTIONS:
            connection.sendall(pack(QUESTIONS[name]))
        _assertSameBytes(_messageIn(connection))


def test_what_a_client_sends_is_written_as_the_library_writes_it(programs):
    with closing(socket.create_server(("127.0.0.1", 0))) as door:
        port = str(door.getsockname()[1])
        with running([programs["BindClient"], "127.0.0.1", port, "1000"]):
            connection, _ = door.accept()
            with closing(connection):
                # The second text has an odd length.
                for _ in range(3):
                    _assertSameBytes(_messageIn(connection))
        with running([programs["SendAll"], port]):
            connection, _ = door.accept()
            with closing(connection):
                made = [_assertSameBytes(raw) for raw in iter(lambda: _messageIn(connection), b"")]
    images = [one for one in made if isinstance(one, ImageMessage)]
    for number, message in enumerate(images[:16]):
        wire = np.dtype((">" if message.device_name == "Big" else "<") + TYPES[number // 2])
        counted = (np.arange(60 * wire.itemsize) % 64).astype(np.uint8)
        np.testing.assert_array_equal(message.pixels, counted.view(wire).reshape(3, 4, 5))
    assert [one.pixels.shape for one in images[16:]] == [(3, 4, 5, 3), (3, 4, 5, 4), (3, 4, 5)]
    part = images[18].pixels
    np.testing.assert_array_equal(part[2, 1:4, 3:5], np.arange(12, dtype=np.uint8).view("<u2").reshape(3, 2))
    assert np.count_nonzero(part) == 6
    # The library's words are columns, spacing and centre.
    matrix = np.array([[0.3, 0, 2.4, 0], [0.4, 0, -1.8, 0], [0, 1.25, 0, 0], [0, 0, 0, 1]])
    matrix[:3, 3] = np.array([10, -20, 30.5]) - matrix[:3, :3] @ (2, 1.5, 1)
    for message in images:
        turned = LPS_TO_RAS @ matrix if message.device_name in ("Colours", "Vectors") else matrix
        np.testing.assert_allclose(message.ijkToRAS, turned, atol=1e-5)
    position, sensor, *arrays = made[19:]
    assert (position.position, position.quaternion) == ((1.5, -2, 3), (0.5, -0.5, 0.5, 0.5))
    assert sensor.values.tolist() == [0.25, -0.75, -1.75]
    assert [one.array.dtype.str[1:] for one in arrays] == list(TYPES)
    for one in arrays:
        np.testing.assert_array_equal(one.array, 3 * np.arange(24).reshape(2, 3, 4))


# ---- what the library receives


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


# ---- helpers


def _messageIn(connection):
    """The bytes of the next message, none at the end."""
    connection.settimeout(10)
    header = connection.recv(58, socket.MSG_WAITALL)
    return header + connection.recv(int.from_bytes(header[42:50], "big"), socket.MSG_WAITALL) if header else b""


def _assertSameBytes(raw):
    """Read and written again, nothing has changed; of the time, the last bits may."""
    message = received(raw)
    written = pack(message)
    assert (written[:34], written[42:]) == (raw[:34], raw[42:])
    assert abs(int.from_bytes(written[34:42], "big") - int.from_bytes(raw[34:42], "big")) < 2**12
    return message


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
