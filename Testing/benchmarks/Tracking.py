"""Poses for images: a source of OpenIGTLink with images and tools, beside the same bytes, and beside scipy."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import textwrap
import time

import numpy as np
from RealTimeImagingLib import OpenIGTLinkSettings
from RealTimeImagingLib.Model.Poses import PoseTrack
from RealTimeImagingLib.Sources.Checkpoint import Checkpoint
from RealTimeImagingLib.Sources.OpenIGTLink.Source import OpenIGTLinkSource
from RealTimeImagingLib.Sources.Source import Arrival

from .Rows import OURS, Found, Row, interleaved

TITLE = "Poses for images"
ABOUT = """
A source of OpenIGTLink with images of 640 x 480 at 60/s and 3 tools of 100 poses a second each, sent as fast as it
reads: processor time of the source for each image with the pose of its time. Floor: the same bytes read from the same
socket. One pose: interpolated between the two around its image; peer: linear interpolation of numpy and the slerp of
scipy.
"""
WITHOUT, SCIPY = "Real-Time Imaging, without poses", "numpy and scipy"

IMAGES, FPS, RATE = 300, 60, 100
TOOLS = ("ProbeToTracker", "StylusToTracker", "ReferenceToTracker")
ROUNDS = 5
POSES, MOMENTS = 1000, 2000
PATIENCE = 30.0
OFF = 2e-3
"""Most difference of a pose to that of scipy, in millimetres and of the parts of a rotation."""

SENDER = textwrap.dedent("""
    import socket, sys
    import numpy as np
    from RealTimeImagingLib.OpenIGTLink import ImageMessage, TransformMessage, pack

    port, count, fps, rate = map(int, sys.argv[1:5])
    pixels = np.random.default_rng(1).integers(0, 255, (1, 480, 640), np.uint8)
    data, pose = [], 0
    for number in range(count):
        while pose / rate <= number / fps + 1 / rate:
            for tool in sys.argv[5:]:
                matrix = np.eye(4)
                matrix[2, 3] = pose
                data.append(pack(TransformMessage(matrix, device_name=tool, timestamp=1.7e9 + pose / rate), version=2))
            pose += 1
        image = ImageMessage(pixels, np.eye(4), device_name="Image", timestamp=1.7e9 + number / fps)
        data.append(pack(image, version=2))
    data = b"".join(data)
    print(len(data), flush=True)
    peer = socket.create_connection(("127.0.0.1", port))
    peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)
    peer.recv(1)
""")


def measure() -> Found:
    """Milliseconds of the source for each image, and microseconds of a pose."""
    posed = []

    def withPoses() -> float:
        cost, found = _source(TOOLS)
        posed.append(found)
        return cost

    ways = {"bare socket": _floor, OURS: withPoses, WITHOUT: lambda: _source(())[0]}
    goal = "the poses take less than a tenth of the time between two images"
    rows = [Row("image with 3 poses", "ms", interleaved(ways, ROUNDS), goal, limit=100 / FPS)]
    own, peer, same = _interpolation()
    rows.append(Row("one pose", "us", {OURS: [own], SCIPY: [peer]}))
    checks = {
        "every image has the pose of its time of each tool": set(posed) == {IMAGES},
        "the poses are those of scipy": same,
    }
    return Found(rows, checks)


def _sender(port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SENDER, *map(str, (port, IMAGES, FPS, RATE)), *TOOLS]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _floor() -> float:
    """Processor milliseconds to read the bytes of an image and its poses."""
    memory = bytearray(1 << 20)
    with socket.create_server(("127.0.0.1", 0)) as server, _sender(server.getsockname()[1]) as process:
        peer, _address = server.accept()
        with peer:
            started = time.thread_time()
            while peer.recv_into(memory):
                pass
            taken = time.thread_time() - started
        process.wait(PATIENCE)
    return 1000 * taken / IMAGES


def _source(tools: tuple[str, ...]) -> tuple[float, int]:
    """Processor milliseconds of the source for an image, and the number of images with the pose of their time."""
    posed, count, end = 0, 0, time.monotonic() + PATIENCE
    with tempfile.TemporaryDirectory() as folder, Checkpoint(folder) as checkpoint:
        port = _freePort()
        source = OpenIGTLinkSource(OpenIGTLinkSettings(role="server", port=port, tools=tools), checkpoint)
        list(source.read(0))
        with _sender(port) as process:
            process.stdout.readline()
            started = time.thread_time()
            while count < IMAGES and time.monotonic() < end:
                for item in source.read(0.1):
                    if isinstance(item, Arrival):
                        posed += _isPosed(item, count)
                        count += 1
            taken = time.thread_time() - started
            source.close()
            process.wait(PATIENCE)
    return 1000 * taken / IMAGES, posed


def _isPosed(item: Arrival, number: int) -> bool:
    names = [f"{tool}Transform" for tool in TOOLS]
    if any(item.image.attributes.get(f"{name}Status") != "OK" for name in names):
        return False
    places = [float(item.image.attributes[name].split()[11]) for name in names]
    return bool(np.allclose(places, RATE * number / FPS, atol=1e-3))


def _interpolation() -> tuple[float, float, bool]:
    """Microseconds of a pose, of this library and of scipy, and whether both are the same."""
    from scipy.spatial.transform import Rotation, Slerp

    random = np.random.default_rng(3)
    times = np.cumsum(random.uniform(0.005, 0.015, POSES))
    turns = Rotation.from_rotvec(np.cumsum(random.normal(0, 0.02, (POSES, 3)), axis=0))
    places = np.cumsum(random.normal(0, 0.2, (POSES, 3)), axis=0)
    track = PoseTrack()
    for moment, turn, place in zip(times.tolist(), turns.as_matrix(), places, strict=True):
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = turn, place
        track.add(moment, matrix.ravel().tolist(), "OK")
    moments = np.sort(random.uniform(times[0], times[-1], MOMENTS))
    started = time.perf_counter()
    ours = [track.at(one)[0] for one in moments.tolist()]
    taken = time.perf_counter() - started
    started = time.perf_counter()
    theirs = []
    for one in moments.tolist():
        # As each image comes: the two poses around it.
        after = int(np.searchsorted(times, one))
        pair = slice(after - 1, after + 1)
        turn = Slerp(times[pair], turns[pair])(one).as_matrix()
        theirs.append((turn, [np.interp(one, times[pair], axis) for axis in places[pair].T]))
    peer = time.perf_counter() - started
    same = all(
        found is not None and np.abs(found[:3, :3] - turn).max() < OFF and np.abs(found[:3, 3] - place).max() < OFF
        for found, (turn, place) in zip(ours, theirs, strict=True)
    )
    return 1e6 * taken / MOMENTS, 1e6 * peer / MOMENTS, same


def _freePort() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
