"""The simulated scanner that speaks OpenIGTLink: real sockets, and what arrives is what was logged."""

import io
import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from RealTimeImagingLib.Formats.VideoStream import VideoDecoder
from RealTimeImagingLib.Model.Frame import Image, checksum
from RealTimeImagingLib.OpenIGTLink import Receiver
from RealTimeImagingLib.Simulator import Scanners as ScannerModule
from RealTimeImagingLib.Simulator.NetworkScanner import NetworkScanner
from RealTimeImagingLib.Simulator.Sweep import RATE, SimulatedTracker, sweepImages
from unit.conftest import niftiFile, seriesFile, sumOf, until, volume

PROGRAM = Path(ScannerModule.__file__).with_name("__main__.py")


def never():
    return False


def volumes(count):
    return (volume(number) for number in range(count))


def receiveAll(connection, most=None):
    """The messages that come until the other side ends, or so many."""
    receiver, messages = Receiver(), []
    connection.settimeout(10)
    while (most is None or len(messages) < most) and (count := connection.recv_into(receiver.space())):
        messages.extend(receiver.filled(count))
    return messages


class Sending:
    """A scanner that sends in a thread."""

    def __init__(self, images, fps=1000, server=True, port=0, video="", tracker=None):
        self.log = io.StringIO()
        self.scanner = NetworkScanner("127.0.0.1", port, server, fps, "Live", self.log, video, tracker)
        self.stopped = threading.Event()
        self.count = None
        self.thread = threading.Thread(target=self._run, args=(images,))
        self.thread.start()

    def _run(self, images):
        self.count = self.scanner.send(images, self.stopped.is_set)
        self.scanner.close()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.scanner.port), 10)

    @property
    def lines(self):
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def end(self):
        self.stopped.set()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def sending():
    made = []

    def start(*arguments, **options):
        made.append(Sending(*arguments, **options))
        return made[-1]

    yield start
    for one in made:
        one.end()


def test_what_arrives_is_what_was_logged(sending):
    before = time.time()
    one = sending(volumes(12))
    with one.connect() as connection:
        messages = receiveAll(connection)
    one.thread.join(10)
    assert one.count == 12
    assert [line["file"] for line in one.lines] == [str(number) for number in range(12)]
    for number, (message, line) in enumerate(zip(messages, one.lines, strict=True)):
        assert line["checksums"] == [checksum(message.pixels)] == [sumOf(number)]
        assert message.timestamp == line["time"]
        assert before <= line["time"] <= time.time()
        assert message.device_name == "Live"
        np.testing.assert_array_equal(message.ijkToRAS, volume(number).ijkToRAS)


def test_attributes_travel_as_metadata(sending):
    image = volume(1)
    one = sending(iter([Image(image.pixels, image.ijkToRAS, attributes={"Name": "Größe 1"})]))
    with one.connect() as connection:
        (message,) = receiveAll(connection)
    assert message.metadata == {"Name": "Größe 1"}


def test_the_rate_counts_from_the_moment_a_peer_is_there(sending):
    fps = 50
    one = sending(volumes(10), fps=fps)
    with one.connect() as connection:
        receiveAll(connection)
    one.thread.join(10)
    times = [line["time"] for line in one.lines]
    assert all(moment - times[0] > number / fps - 0.01 for number, moment in enumerate(times))


def test_the_next_peer_gets_what_the_last_one_left(sending):
    """A frame too large for the system's buffers is on its way when the peer goes: it is sent again, whole."""
    shape = (60, 400, 400)
    one = sending(iter([volume(1), volume(2, shape), volume(3)]))
    with one.connect() as connection:
        first = receiveAll(connection, 1)
    with one.connect() as connection:
        rest = receiveAll(connection)
    sums = [checksum(message.pixels) for message in first[:1] + rest]
    assert sums == [sumOf(1), sumOf(2, shape), sumOf(3)]
    one.thread.join(10)
    assert [line["checksums"][0] for line in one.lines] == sums


def test_a_peer_that_does_not_read_does_not_keep_it_from_ending(sending):
    one = sending(itertools.repeat(volume(1, (60, 400, 400))))
    with one.connect() as connection:
        until(lambda: connection.recv(1))
        one.stopped.set()
        connection.shutdown(socket.SHUT_RDWR)
    one.end()
    assert one.count <= 1


def test_images_of_a_busy_scanner_keep_the_time_of_their_pose(sending):
    """Some are sent late, and the next ones at once: poses between two images would be those of another time."""
    late = threading.Event()

    def images():
        for number, image in enumerate(sweepImages(50)):
            if number == 3:
                late.wait(0.1)
            yield image

    made = sending(itertools.islice(images(), 8), 50, tracker=SimulatedTracker("Probe", 0.0))
    with made.connect() as peer:
        messages = receiveAll(peer)
    times = {kind: [one.timestamp for one in messages if one.message_type == kind] for kind in ("IMAGE", "TRANSFORM")}
    assert np.diff(times["IMAGE"]) == pytest.approx([0.02] * 7, abs=1e-5)
    assert np.diff(times["TRANSFORM"]) == pytest.approx([1 / RATE] * (len(times["TRANSFORM"]) - 1), abs=1e-5)
    assert [line["time"] for line in made.lines] == pytest.approx(times["IMAGE"], abs=1e-5)


def test_as_a_client_it_waits_for_one_who_listens(sending):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    sending(volumes(3), server=False, port=port)
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(10)
        connection, _ = listener.accept()
        with connection:
            messages = receiveAll(connection)
    assert [checksum(message.pixels) for message in messages] == [sumOf(number) for number in range(3)]


# ---- the program


def sent(*arguments):
    """Runs the program with a peer; its messages and the exit code."""
    command = [sys.executable, str(PROGRAM), "--listen", "0", "--fps", "500", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        port = int(process.stdout.readline().split()[-1])
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            messages = receiveAll(connection)
        return messages, process.wait(10)


def test_the_program_sends_the_images_of_a_file_or_a_folder_again_and_again(tmp_path, incoming):
    (incoming / "a.nii").write_bytes(seriesFile([4, 5]))
    (incoming / "b.nii").write_bytes(niftiFile(6))
    for source, numbers in ((incoming / "a.nii", [4, 5, 4, 5, 4]), (incoming, [4, 5, 6, 4, 5])):
        log = tmp_path / "log"
        messages, code = sent("--input", source, "--frames", 5, "--loop", "--log", log)
        assert code == 0
        sums = [json.loads(line)["checksums"][0] for line in log.read_text().splitlines()]
        assert sums == [checksum(message.pixels) for message in messages] == [sumOf(number) for number in numbers]


def test_without_an_input_it_sends_the_phantom_under_the_name_of_a_device():
    messages, code = sent("--frames", 3, "--device", "Phantom")
    assert code == 0
    assert [int(message.pixels[0, 0, 0]) for message in messages] == [0, 1, 2]
    assert {message.device_name for message in messages} == {"Phantom"}


def test_a_port_that_is_taken_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, str(PROGRAM), "--listen", str(listener.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(("codec", "fourcc"), [("h264", "H264"), ("hevc", "X265"), ("vp9", "VP90"), ("av1", "AV10")])
@pytest.mark.parametrize("colour", [False, True])
def test_compressed_video_is_what_was_logged(sending, codec, fourcc, colour):
    """A volume is sent as its middle slice, with 8 bits."""
    shape = (3, 48, 65, 3) if colour else (3, 48, 65)
    pixels = [np.random.default_rng(n).integers(0, 256, shape).astype(np.uint8 if colour else np.int16) for n in (1, 2)]
    scanner = sending((Image(one, np.diag([2.0, 2, 3, 1])) for one in pixels), video=codec)
    with scanner.connect() as peer:
        messages = receiveAll(peer)
    scanner.end()
    assert [(one.fourcc, one.size, one.grey, one.message_id) for one in messages] == [
        (fourcc, (65, 48, 1), not colour, 1),
        (fourcc, (65, 48, 1), not colour, 2),
    ]
    assert np.array_equal(messages[0].ijkToRAS[:3, 3], (0, 0, 3))
    decoder = VideoDecoder(codec, 1 << 20)
    for number, (message, line) in enumerate(zip(messages, scanner.lines, strict=True)):
        ((_, shown),) = decoder.decode(message.data, number, message.grey, (65, 48))
        assert line["checksums"] == [checksum(np.ascontiguousarray(shown[None, :48, :65]))]
        sent = pixels[number][1].astype(float)
        assert np.corrcoef(shown[:48, :65].ravel(), sent.ravel())[0, 1] > 0.6
