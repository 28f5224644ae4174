"""What programs with the C++ library of OpenIGTLink send: its examples, and one of ours, at the other end."""

from __future__ import annotations

import base64
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from contract.library import IMAGES, SERVERS, absence, connect, running
from RealTimeImagingLib.Model.Frame import LPS_TO_RAS, checksum
from RealTimeImagingLib.OpenIGTLink import ImageMessage, StartTrackingMessage, pack, query
from unit.openIGTLinkBytes import received
from unit.openIGTLinkSource import Link, freePort

pytestmark = pytest.mark.skipif(bool(absence()), reason=absence())

TYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")


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
    assert link.checkpoint.rejected == 0


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
