"""The source with real sockets at the other end: images, messages, answers, and peers that misbehave."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import closing

import numpy as np
import pyigtl
import pytest
from RealTimeImagingLib.Model.DeviceMessage import words
from RealTimeImagingLib.Model.Errors import SettingsError
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.OpenIGTLink import (
    BindMessage,
    CommandMessage,
    CommandReplyMessage,
    PointMessage,
    PositionMessage,
    StatusMessage,
    StringMessage,
    TrackedTool,
    TrackingDataMessage,
    Trajectory,
    TrajectoryMessage,
    pack,
    query,
)
from RealTimeImagingLib.Sources.OpenIGTLink import OpenIGTLinkSettings
from RealTimeImagingLib.Sources.OpenIGTLink.Peers import STALLED
from RealTimeImagingLib.Sources.OpenIGTLink.Translation import TRACKING_PERIOD
from RealTimeImagingLib.Sources.Repetitions import PERIOD
from RealTimeImagingLib.Sources.Source import STREAMS
from unit.openIGTLinkSource import Link, descriptors, freePort, hear, image, pose, sendAll

PATHS = os.pathsep.join(path for path in sys.path if path)


@pytest.fixture
def link(tmp_path):
    made = []

    def make(**values):
        made.append(Link(tmp_path / str(len(made)), **values))
        return made[-1]

    def makeFolder(**values):
        (tmp_path / str(len(made))).mkdir()
        return make(**values)

    yield makeFolder
    for one in made:
        one.close()


@pytest.fixture
def server(link):
    return link(role="server")


def test_images_of_several_devices_and_peers(server):
    """Each device is a stream; two peers with one name have a stream each, the first its own again when it is back."""
    with server.peer() as one, server.peer() as other:
        sendAll(one, image(1), image(2, "Camera"))
        server.until(lambda: len(server.sums) == 2)
        sendAll(other, image(3))
        server.until(lambda: len(server.sums) == 3)
    server.untilCode("disconnected", 2)
    with server.peer() as again:
        sendAll(again, image(4))
        server.until(lambda: len(server.sums) == 4)
    assert server.streams == ["Probe", "Camera", "Probe 2", "Probe"]
    assert server.sums == [checksum(image(number).pixels) for number in (1, 2, 3, 4)]
    frame = server.frames[0].image
    np.testing.assert_allclose(frame.ijkToRAS, image(1).ijkToRAS, atol=1e-5)
    assert frame.deviceTime == pytest.approx(1.7e9 + 1 / 64, abs=1e-6)
    assert frame.attributes["Device"] == "Probe"
    assert server.checkpoint.rejected == 0


def test_the_number_of_streams_is_limited(server):
    with server.peer() as peer:
        sendAll(peer, *(image(number, f"Device {number}") for number in range(STREAMS + 3)), image(7, "Device 7"))
        server.until(lambda: len(server.frames) == STREAMS + 1)
    assert server.streams[-1] == "Device 7"
    assert len(set(server.streams)) == STREAMS
    assert server.codes.count("not-usable") == 3
    assert "100 streams already" in server.events[-1].text
    assert server.checkpoint.rejected == 3


def test_everything_that_a_device_says(server):
    tools = [TrackedTool("Needle", 2, pose(7).matrix), TrackedTool("Probe", 2, pose(8).matrix)]
    tracking = TrackingDataMessage(tools, device_name="Tracker")
    with server.peer() as peer:
        sendAll(
            peer,
            pose(3),
            StringMessage("Größe", device_name="Note"),
            StatusMessage(5, 2, "Busy", "warming up", device_name="Scanner"),
            tracking,
            PositionMessage((1, 2, 3), (0, 0, 0, 1), device_name="Tip"),
            PointMessage([(1, 2, 3)], ["F"], device_name="Points"),
            BindMessage([image(9, "Bound"), pose(4, "BoundPose")], device_name="Both"),
        )
        server.until(lambda: len(server.messages) == 8 and server.sums)
    said = {(one.kind, one.device): one.values for one in server.messages}
    assert said["transform", "Stylus"]["matrix"] == pose(3).matrix.tolist()
    assert said["text", "Note"] == {"text": "Größe"}
    status = said["status", "Scanner"]
    assert (status["code"], status["subCode"], status["name"], status["text"], status["ok"]) == (
        5,
        2,
        "Busy",
        "warming up",
        False,
    )
    assert said["transform", "Needle"]["matrix"] == pose(7).matrix.tolist()
    assert said["transform", "Probe"]["matrix"] == pose(8).matrix.tolist()
    assert [row[3] for row in said["transform", "Tip"]["matrix"]] == [1, 2, 3, 1]
    assert said["points", "Points"]["points"][0]["position"] == [1, 2, 3]
    assert said["transform", "BoundPose"]["matrix"] == pose(4).matrix.tolist()
    assert server.streams == ["Bound"]
    assert server.messages[0].deviceTime == pytest.approx(1.7e9 + 3 / 64, abs=1e-6)


def test_the_ends_of_a_trajectory(server):
    """Its type says which ends it has; where both are given they are both meant, whatever it says."""
    entry, target, none = (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), (0.0, 0.0, 0.0)
    ends = [(1, entry, none), (2, none, target), (3, entry, none), (1, entry, target), (2, entry, target)]
    ways = [Trajectory(type=type_, entry=first, target=last) for type_, first, last in ends]
    with server.peer() as peer:
        sendAll(peer, TrajectoryMessage(ways, device_name="Ways"))
        server.until(lambda: server.messages)
    found = [(one.get("entry"), one["position"]) for one in server.messages[0].values["points"]]
    assert found == [
        (None, list(entry)),
        (None, list(target)),
        (list(entry), list(none)),
        (list(entry), list(target)),
        (list(entry), list(target)),
    ]


def test_a_flood_of_small_messages_leaves_the_others_their_turn(server):
    """Nor does it hold up a command for longer than some hundred messages take."""
    with server.peer() as flood, server.peer() as other:
        flood.settimeout(10)
        flood.sendall(pack(pose(1)) * 5000)
        sendAll(other, image(1))
        server.until(lambda: server.sums)
        assert len(server.messages) < 4000
        server.until(lambda: len(server.messages) == 5000)


def test_pixels_that_Slicer_cannot_show_as_they_are(server):
    two, five = image(1, shape=(1, 4, 5, 2)), image(2, shape=(1, 4, 5, 5))
    flat = image(3)
    flat.ijkToRAS[:3, 0] = 0
    with server.peer() as peer:
        sendAll(peer, two, five, flat, image(4))
        server.until(lambda: len(server.sums) == 2)
    shown = server.frames[0].image
    assert shown.pixels.shape == (1, 4, 5, 3)
    np.testing.assert_array_equal(shown.pixels[..., :2], two.pixels)
    assert not shown.pixels[..., 2].any()
    assert shown.attributes["Components"] == "2"
    assert server.codes.count("not-usable") == 2
    assert server.checkpoint.rejected == 2
    assert server.sums[1] == checksum(image(4).pixels)


def test_a_message_that_is_wrong_is_one_event_and_the_stream_goes_on(server):
    broken = bytearray(pack(image(1)))
    broken[-1] ^= 1
    flat = image(2)
    flat.ijkToRAS[:3, 0] = 0
    unknown, video = bytearray(pack(StringMessage("x"))), bytearray(pack(StringMessage("x")))
    unknown[2:14], video[2:14] = b"OWN".ljust(12, b"\0"), b"VIDEO".ljust(12, b"\0")
    with server.peer() as peer:
        peer.sendall(broken + pack(flat) + bytes(unknown) * 3 + bytes(video) * 3 + pack(image(5)))
        server.until(lambda: server.sums)
    assert server.sums == [checksum(image(5).pixels)]
    assert server.checkpoint.rejected == 2 + 3
    assert [code for code in server.codes if code not in ("listening", "connected", "disconnected")] == [
        "wrong-crc",
        "not-usable",
        "unknown-type",
        "malformed",
    ]
    assert "127.0.0.1" in server.events[-1].text


def test_who_speaks_another_language_is_sent_away_and_the_next_is_heard(server):
    hello = bytes.fromhex("16030100f1010000ed0303") + bytes(range(100))
    announced = struct.pack(">H12s20sIIQQ", 1, b"IMAGE", b"Probe", 0, 0, 1 << 40, 0)
    for greeting in (hello, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", announced):
        gone = server.codes.count("disconnected")
        with server.peer() as peer:
            peer.sendall(greeting)
            server.untilCode("disconnected", gone + 1)
            peer.settimeout(5)
            assert peer.recv(1) == b""
    for _ in range(20):  # a port scanner
        socket.create_connection(("127.0.0.1", server.settings.port)).close()
    server.untilCode("disconnected", 23)
    with server.peer() as peer:
        sendAll(peer, image(1))
        server.until(lambda: server.sums)
    assert server.codes.count("not-openigtlink") == 2
    (event,) = [event for event in server.events if event.code == "over-limit"]
    assert "Largest message" not in event.text  # it would not help
    assert server.lent == [image(1).pixels.nbytes]


def test_a_peer_that_falls_silent_is_told_once_and_again_when_it_is_back(link):
    server = link(role="server", silentAfter=4.0)
    with server.peer() as peer, server.peer():
        server.step(passes=3.9)
        assert "peer-silent" not in server.codes
        sendAll(peer, image(1))
        server.until(lambda: server.sums)
        server.step(passes=0.2)
        assert server.codes.count("peer-silent") == 1
        server.step(passes=5)
        server.step(passes=5)
        assert server.codes.count("peer-silent") == 2
        assert "Nothing arrives from" in server.source.status
        sendAll(peer, image(2))
        server.untilCode("peer-back")
    assert len(server.sums) == 2


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux lets one choose the time")
def test_a_device_that_never_reads_is_given_up_only_when_it_is_silent_too(server):
    def patience():
        (peer,) = server.source._peers.connected
        return peer.link.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)

    with server.peer() as peer:
        assert patience() == 0
        server.step(passes=5)
        assert server.codes[-1] == "peer-silent"
        assert patience() == 5000
        sendAll(peer, image(1))
        server.untilCode("peer-back")
        assert patience() == 0


def test_half_a_message_and_then_silence(server):
    data = pack(image(1))
    with server.peer() as stuck, server.peer() as other:
        stuck.sendall(data[:100])
        server.step()
        sendAll(other, image(2))
        server.until(lambda: server.sums)
        server.step(passes=STALLED / 2)
        stuck.sendall(data[100:])
        server.until(lambda: len(server.sums) == 2)
        stuck.sendall(data[:100])
        server.step(0.1)
        server.step(passes=STALLED + 1)
        server.untilCode("disconnected")
        assert server.codes.count("cut") == 1
        assert server.checkpoint.rejected == 1
        sendAll(other, image(3))
        server.until(lambda: len(server.sums) == 3)


@pytest.mark.skipif(os.name != "posix", reason="needs a signal that interrupts a wait")
def test_a_message_that_was_sent_while_the_process_was_halted_arrives(link):
    server, data = link(role="server"), pack(image(1))

    def halt(_number, _stack):
        server.clock.now += STALLED + 1
        peer.sendall(data[100:])
        time.sleep(0.1)

    before = signal.signal(signal.SIGALRM, halt)
    try:
        with server.peer() as peer:
            peer.sendall(data[:100])
            server.step()
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            server.step(0.08)
            server.until(lambda: server.sums)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert server.codes == ["listening", "connected"]


def test_the_client_comes_back_within_two_seconds(link):
    port = freePort()
    client = link(port=port)
    client.untilCode("no-listener")
    client.step(passes=0.5)
    before = client.clock.now
    for round_ in range(3):
        with closing(socket.create_server(("127.0.0.1", port))) as listener:
            client.untilCode("connected", round_ + 1, passes=0.05)
            connection, _ = listener.accept()
            with closing(connection):
                sendAll(connection, image(round_))
                client.until(lambda round_=round_: len(client.sums) == round_ + 1)
        client.untilCode("disconnected", round_ + 1, passes=0.01)
    assert client.clock.now - before < 3 * 2
    # Told once in each absence, not at every try.
    assert client.codes.count("no-listener") <= 4


def test_addresses_that_cannot_work(link):
    with closing(socket.create_server(("127.0.0.1", 0))) as holder:
        taken = link(role="server", port=holder.getsockname()[1])
        taken.untilCode("port-taken")
        taken.step(passes=1.1)
        taken.step(passes=1.1)
        assert taken.codes == ["port-taken"]
    taken.untilCode("listening", passes=0.2)
    elsewhere = link(role="server", host="203.0.113.7")
    elsewhere.untilCode("address-refused")
    assert "203.0.113.7" in elsewhere.events[0].text
    nowhere = link(host="no-such-host.invalid")
    nowhere.untilCode("address-refused")
    with pytest.raises(SettingsError, match="no address such as"):
        OpenIGTLinkSettings(allowed=("localhost?",))


def test_only_allowed_peers_are_let_in(link):
    server = link(role="server", allowed=("10.1.2.3",))
    server.step()
    with closing(socket.create_connection(("127.0.0.1", server.settings.port))) as peer:
        server.untilCode("peer-refused")
        peer.settimeout(5)
        assert peer.recv(1) == b""
    open_ = link(role="server", allowed=("10.1.2.3", "127.0.0.0/8"))
    with open_.peer() as peer:
        sendAll(peer, image(1))
        open_.until(lambda: open_.sums)


def test_what_is_sent_arrives_and_is_answered(link):
    server = link(role="server", ask=("STT_TDATA",))
    server.source.command("send", {"type": "STRING", "device": "CMD_1", "values": {"text": "START_SCAN"}})
    server.untilCode("no-peer")
    with server.peer() as peer:
        server.source.command("send", {"type": "TRANSFORM", "device": "PLANE", "values": {"matrix": pose(5).matrix}})
        server.source.command("send", {"type": "STRING", "device": "CMD_2", "values": {"text": "STOP_SCAN"}})
        server.source.command(
            "send", {"type": "COMMAND", "device": "C", "values": {"id": 7, "name": "Start", "text": "<x/>"}}
        )
        server.source.command("send", {"type": "NOTHING", "device": "", "values": {}})
        asked, plane, text, command = hear(peer, 4)
        assert asked.message_type == "STT_TDATA"
        assert asked.resolution == TRACKING_PERIOD
        assert (plane.message_type, plane.device_name) == ("TRANSFORM", "PLANE")
        np.testing.assert_array_equal(plane.matrix, pose(5).matrix)
        assert (text.device_name, text.string) == ("CMD_2", "STOP_SCAN")
        assert (command.commandID, command.commandName, command.command) == (7, "Start", "<x/>")
        sendAll(peer, query("GET_CAPABIL"), query("GET_STATUS"), CommandMessage(9, "Go", "START", device_name="Evil"))
        server.until(lambda: len(server.messages) == 3)
        capability, status, reply = hear(peer, 3)
        assert {"IMAGE", "TRANSFORM", "STRING"} <= set(capability.items)
        assert status.code == 1
        assert (reply.message_type, reply.commandID, reply.commandName) == ("RTS_COMMAND", 9, "not executed")
        assert server.messages[2].values["text"] == "START"
    server.untilCode("not-sent")


def test_without_fastcrc_it_works_and_says_that_it_is_slow(tmp_path):
    code = (
        "import importlib.abc, sys\n"
        "class Refuse(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'fastcrc':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from unit.openIGTLinkSource import Link, image, sendAll\n"
        "server = Link(sys.argv[1], role='server')\n"
        "with server.peer() as peer:\n"
        "    sendAll(peer, image(1, shape=(1, 600, 600)), image(2, shape=(1, 600, 600)))\n"
        "    server.until(lambda: len(server.sums) == 2)\n"
        "assert server.codes.count('slow-checksum') == 1, server.codes\n"
        "assert server.checkpoint.rejected == 0\n"
        "server.close()\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env={**os.environ, "PYTHONPATH": PATHS})


def test_a_peer_that_does_not_read_holds_up_nobody(server):
    text = "x" * 60_000
    with server.peer() as deaf, server.peer() as other:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(400):
            server.source.command("send", {"type": "STRING", "device": "D", "values": {"text": text}})
            server.step(0)
            (heard,) = hear(other, 1)
            assert heard.string == text
        assert "peer-slow" in server.codes
        sendAll(other, image(1))
        server.until(lambda: server.sums)


def test_nothing_is_left_open(tmp_path):
    before = descriptors()
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        link = Link(tmp_path / str(number), role="server")
        with link.peer() as peer, link.peer():
            peer.sendall(pack(image(1))[:200])
            link.step()
            link.close()
    assert descriptors() == before


def test_pyigtl_as_the_server(link):
    port = freePort()
    server = pyigtl.OpenIGTLinkServer(port=port, local_server=True)
    try:
        client = link(port=port)
        client.untilCode("connected")
        client.until(server.is_connected)
        pixels = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
        server.send_message(pyigtl.ImageMessage(pixels, np.diag([2.0, 3, 4, 1]), "ras", device_name="Img"))
        server.send_message(pyigtl.TransformMessage(pose(2).matrix, device_name="T"))
        server.send_message(pyigtl.StringMessage("hello", device_name="S"))
        server.send_message(pyigtl.PointMessage([[1, 2, 3], [4, 5, 6]], ["a", "b"], device_name="P"))
        client.until(lambda: client.sums and len(client.messages) == 3)
        assert client.sums == [checksum(pixels)]
        np.testing.assert_array_equal(client.frames[0].image.ijkToRAS, np.diag([2.0, 3, 4, 1]))
        assert [one.kind for one in client.messages] == ["transform", "text", "points"]
        client.source.command("send", {"type": "STRING", "device": "CMD", "values": {"text": "START_SCAN"}})
        client.source.command("send", {"type": "TRANSFORM", "device": "PLANE", "values": {"matrix": pose(3).matrix}})
        points = [{"position": [7, 8, 9], "name": "target"}]
        client.source.command("send", {"type": "POINT", "device": "Targets", "values": {"points": points}})
        text = server.wait_for_message("CMD", timeout=5)
        plane = server.wait_for_message("PLANE", timeout=5)
        target = server.wait_for_message("Targets", timeout=5)
        assert text.string == "START_SCAN"
        np.testing.assert_array_equal(plane.matrix, pose(3).matrix)
        assert [tuple(one) for one in target.positions] == [(7.0, 8.0, 9.0)]
    finally:
        server.stop()
        for thread in threading.enumerate():
            if "print_host_and_port" in thread.name:  # it notices the stop within six seconds
                thread.join(30)


def test_pyigtl_as_the_client(server):
    server.step()
    client = pyigtl.OpenIGTLinkClient("127.0.0.1", server.settings.port)
    try:
        server.untilCode("connected")
        server.until(client.is_connected)
        client.send_message(pyigtl.ImageMessage(np.full((1, 4, 5), 3, np.uint8), device_name="Cam"), wait=False)
        client.send_message(pyigtl.StringMessage("hi", device_name="S"), wait=False)
        server.until(lambda: server.sums and server.messages)
        assert server.streams == ["Cam"]
        server.source.command("send", {"type": "TRANSFORM", "device": "PLANE", "values": {"matrix": pose(3).matrix}})
        np.testing.assert_array_equal(client.wait_for_message("PLANE", timeout=5).matrix, pose(3).matrix)
    finally:
        client.stop()


def test_settings_that_cannot_work_are_refused():
    for wrong in (
        {"role": "both"},
        {"host": " "},
        {"port": 0},
        {"port": 70000},
        {"ask": ("START",)},
        {"sizeLimit": 1},
        {"version": 3},
        {"silentAfter": 0},
    ):
        with pytest.raises(SettingsError):
            OpenIGTLinkSettings(**wrong)


@pytest.mark.parametrize(
    ("typed", "host", "port"),
    [
        ("localhost:18945", "localhost", 18945),
        (" 10.0.0.7 : 18945 ", "10.0.0.7", 18945),
        ("[::1]:18945", "::1", 18945),
        ("igtl://scanner:18945/", "scanner", 18945),
        ("scanner", "scanner", 18944),
        ("::1", "::1", 18944),
        ("fe80::1%eth0", "fe80::1%eth0", 18944),
    ],
)
def test_an_address_may_have_its_port(typed, host, port):
    settings = OpenIGTLinkSettings(host=typed)
    assert (settings.host, settings.port) == (host, port)


@pytest.mark.parametrize("typed", ["localhost:0", "localhost:70000", ":18944", "[]"])
def test_an_address_that_cannot_be(typed):
    with pytest.raises(SettingsError):
        OpenIGTLinkSettings(host=typed)


def test_the_same_fault_again_and_again_is_one_event_with_advice(server):
    broken = bytearray(pack(image(1)))
    broken[-1] ^= 1
    with server.peer() as peer:
        peer.sendall(bytes(broken) * 20 + pack(image(2)))
        server.until(lambda: server.sums)
        assert server.codes.count("wrong-crc") == 1
        assert "untick Verify checksums (CRC)" in server.events[-1].text
        assert server.checkpoint.rejected == 20
        server.step(passes=PERIOD + 1)
        told = [event.text for event in server.events if event.code == "wrong-crc"]
        assert len(told) == 2
        assert told[1].startswith("19 more. The last: 127.0.0.1:")
        peer.sendall(broken)
        server.until(lambda: server.checkpoint.rejected == 21)
    server.untilCode("disconnected")
    assert server.events[-2].text.startswith("Again: 127.0.0.1:")


def test_a_tool_that_is_not_seen_stays_what_it_is(server):
    """Neither NaN nor zeros nor the word of the tracker are turned into a position."""
    nan, missing = pose(2), pose(3)
    nan.matrix[:] = np.nan
    missing.matrix, missing.metadata = np.eye(4), {"Status": "MISSING"}
    with server.peer() as peer:
        sendAll(peer, nan, missing, version=2)
        server.until(lambda: len(server.messages) == 2)
    assert np.isnan(server.messages[0].values["matrix"][0]).all()
    assert [one.unseen for one in server.messages] == ["", "MISSING"]
    assert [words(one) for one in server.messages] == ["no valid position", "not seen (MISSING)"]
    assert server.checkpoint.rejected == 0
    json.loads(json.dumps(server.messages[0].toJSON()))


LONG = ["ReferenceMarkerToTracker", "ReferenceMarkerToTrackerFiltered"]


def test_names_of_more_than_20_bytes_are_received_whole(server):
    images = [image(number, f"UltrasoundTransducerImage{word}") for number, word in enumerate(("Linear", "Curved"))]
    with server.peer() as peer:
        sendAll(peer, *(pose(1, name) for name in LONG), *images, version=2)
        server.until(lambda: len(server.messages) == 2 and len(server.sums) == 2)
    assert [one.device for one in server.messages] == LONG
    assert server.streams == ["UltrasoundTransducerImageLinear", "UltrasoundTransducerImageCurved"]
    assert server.frames[0].image.attributes == {"Device": "UltrasoundTransducerImageLinear"}


def test_parts_of_devices_with_long_names_do_not_mix(server):
    one, other = image(1, LONG[0]), image(2, LONG[1])
    one.size, other.offset = (5, 4, 1), (0, 0, 2)
    with server.peer() as peer:
        sendAll(peer, one, other, version=2)
        server.until(lambda: len(server.sums) == 2)
    assert not server.frames[1].image.pixels[:2].any()


def test_names_of_more_than_20_bytes_are_sent_whole_with_version_2(link):
    server = link(role="server", version=2)
    values = {"type": "TRANSFORM", "device": LONG[1], "values": {"matrix": pose(5).matrix}}
    with server.peer() as peer:
        server.source.command("send", values)
        raw = b""
        peer.settimeout(5)
        while len(raw) < 58 or LONG[1].encode() not in raw:
            raw += peer.recv(4096)
    assert raw[14:34] == LONG[1][:20].encode()
    assert b"IGTL_DEVICE_NAME" + LONG[1].encode() in raw


def test_tools_of_two_peers_with_one_name_are_two(server):
    with server.peer() as one, server.peer() as other:
        sendAll(one, pose(1))
        server.until(lambda: len(server.messages) == 1)
        sendAll(other, pose(2), StringMessage("hello", device_name="Stylus"))
        server.until(lambda: len(server.messages) == 3)
    assert [one.device for one in server.messages] == ["Stylus", "Stylus 2", "Stylus"]


def test_an_answer_tells_whether_the_command_was_done(server):
    answers = [CommandReplyMessage(number, "", "", device_name="C") for number in range(2)]
    answers[1].metadata = {"Status": "FAIL"}
    with server.peer() as peer:
        sendAll(peer, *answers, version=2)
        server.until(lambda: len(server.messages) == 2)
    assert [one.values["ok"] for one in server.messages] == [True, False]


def test_images_that_Slicer_cannot_show_are_explained_while_no_other_arrives(server):
    flat = image(1)
    flat.ijkToRAS[:3, 0] = 0
    with server.peer() as peer:
        sendAll(peer, flat, flat)
        server.untilCode("not-usable")
        server.until(lambda: server.checkpoint.rejected == 2)
        assert "has sent 2 messages that cannot be used, and no image since." in server.source.status
        sendAll(peer, image(2))
        server.until(lambda: server.sums)
        assert server.source.status == f"Connected to {peer.getsockname()[0]}:{peer.getsockname()[1]}."
        sendAll(peer, flat)
        server.until(lambda: server.checkpoint.rejected == 3)
        assert "cannot be used" not in server.source.status
        server.step(passes=1.1)
        assert "has sent a message that cannot be used, and no image since:" in server.source.status


def test_a_slow_stream_is_not_complained_of_between_two_images(server):
    with server.peer() as peer:
        for number in (1, 2):
            sendAll(peer, image(number))
            server.until(lambda number=number: len(server.sums) == number)
            server.step(passes=3.0)
        flat = image(3)
        flat.ijkToRAS[:3, 0] = 0
        sendAll(peer, flat)
        server.untilCode("not-usable")
        server.step(passes=3.0)
        assert "cannot be used" not in server.source.status
        server.step(passes=3.1)
        assert "cannot be used" in server.source.status


def test_a_tracker_beside_a_sender_of_images_is_no_fault(server):
    with server.peer() as scanner, server.peer() as tracker:
        sendAll(scanner, image(1))
        sendAll(tracker, pose(1))
        server.until(lambda: server.sums and server.messages)
        server.step(passes=3.9)
        assert "but no image" not in server.source.status
        assert server.source.remedy is None
    with server.peer() as tracker:
        sendAll(tracker, pose(2))
        server.until(lambda: len(server.messages) == 2)
        assert "but no image" not in server.source.status
        server.step(passes=3.9)
        assert "but no image" not in server.source.status
        server.step(passes=0.2)
        assert "sends TRANSFORM, but no image." in server.source.status
