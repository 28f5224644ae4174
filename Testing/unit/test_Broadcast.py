"""Frames to those who connect: real sockets; what one takes or not is nothing to the others."""

import random
import socket
import threading
import time

import numpy as np
import pytest
from pyigtl import OpenIGTLinkClient
from RealTimeImagingLib.Link.Commands import StartBroadcast, StopBroadcast, StopRecording
from RealTimeImagingLib.Link.Messages import Counts, Receivers
from RealTimeImagingLib.Model.DeviceMessage import DeviceMessage
from RealTimeImagingLib.Model.Errors import SettingsError
from RealTimeImagingLib.Model.Frame import SCALAR_TYPES, checksum
from RealTimeImagingLib.OpenIGTLink import ImageMessage, StringMessage, pack, query
from RealTimeImagingLib.Sources.Endpoints import Listener
from RealTimeImagingLib.Sources.OpenIGTLink import BroadcastSettings
from RealTimeImagingLib.Worker import Broadcaster as module
from RealTimeImagingLib.Worker.Broadcast import Broadcast
from unit.broadcast import MATRIX, START, Broadcasting, Listening, frame
from unit.conftest import arrive, niftiFile, sumOf, until
from unit.openIGTLinkSource import descriptors, freePort, hear

FULL = (1, 1080, 1920, 3)
QUARTER = (1, 540, 960, 3)


@pytest.fixture
def broadcasting():
    """Starts broadcasters, which listen."""
    made = []

    def start(**values):
        made.append(Broadcasting(**values))
        return made[-1].untilListening()

    yield start
    for one in made:
        one.close()


def sums(messages):
    return [checksum(message.pixels) for message in messages]


def test_whoever_sees_that_it_listens_sees_the_port():
    """In any thread: the one is set after the other."""
    ports = []

    class Watched(Listener):
        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            if name == "socket" and value is not None:
                ports.append(self.port)

    door = Watched("127.0.0.1", 0)
    list(door.open(0.0))
    assert ports == [door.socket.getsockname()[1]]
    door.close()


# ---- what is sent


@pytest.mark.parametrize("components", [1, 3, 4])
@pytest.mark.parametrize("dtype", SCALAR_TYPES, ids=str)
def test_pixels_of_every_type_arrive_as_they_are(broadcasting, dtype, components):
    one = broadcasting()
    client = one.connect()
    shape = (3, 4, 5) if components == 1 else (3, 4, 5, components)
    sent = frame(1, shape, dtype)
    one.send(sent)
    until(lambda: client.messages)
    (message,) = client.messages
    assert message.pixels.dtype == dtype
    np.testing.assert_array_equal(message.pixels, sent.pixels)
    np.testing.assert_allclose(message.ijkToRAS, MATRIX, atol=1e-5)


def test_a_frame_has_its_device_time_or_else_that_of_its_arrival(broadcasting):
    one = broadcasting()
    client = one.connect()
    one.send(frame(1, Name="first"))
    one.send(frame(2, deviceTime=START - 100.25))
    until(lambda: len(client.messages) == 2)
    assert [message.timestamp for message in client.messages] == [START + 1 / 64, START - 100.25]
    assert [message.metadata for message in client.messages] == [{}, {}]
    assert {message.device_name for message in client.messages} == {"Live"}


def test_version_2_carries_attributes_and_number(broadcasting):
    one = broadcasting(version=2)
    client = one.connect()
    one.send(frame(7, SourceFile="Größe 7.nii"))
    until(lambda: client.messages)
    assert client.messages[0].metadata == {"SourceFile": "Größe 7.nii"}
    assert client.messages[0].message_id == 7


def test_long_names_that_begin_alike_stay_two(broadcasting):
    one = broadcasting()
    client = one.connect()
    names = ["a very long name of a stream", "a very long name of another"]
    for name in names * 2:
        one.send(frame(1, stream=name))
    until(lambda: len(client.messages) == 4)
    sent = [message.device_name for message in client.messages]
    assert sent[:2] == sent[2:]
    assert len(set(sent)) == 2
    assert one.codes.count("renamed") == 2


@pytest.mark.parametrize("version", [1, 2])
def test_a_tool_that_is_not_seen_is_never_sent_as_a_pose(broadcasting, version):
    """Version 1 of the header has no room for its status."""
    one = broadcasting(version=version)
    client = one.connect()
    pose, lost = {"matrix": MATRIX.tolist()}, np.zeros((4, 4)).tolist()
    for values, status in ((pose, "MISSING"), ({"matrix": lost}, ""), (pose, "OK")):
        attributes = {"Status": status} if status else {}
        one.broadcaster.sendMessage(DeviceMessage("transform", "Probe", values, START, None, attributes))
    one.close()
    statuses = [message.metadata.get("Status") for message in client.untilEnd()]
    assert statuses == ([None] if version == 1 else ["MISSING", "INVALID", "OK"])


def test_of_what_devices_say_only_transforms_are_sent(broadcasting):
    one = broadcasting()
    client = one.connect()
    one.broadcaster.sendMessage(DeviceMessage("text", "Note", {"text": "no"}, START))
    one.broadcaster.sendMessage(DeviceMessage("transform", "Stylus", {"matrix": MATRIX.tolist()}, START, START - 1))
    one.send(frame(1))
    until(lambda: len(client.messages) == 2)
    transform = client.messages[0]
    assert (transform.message_type, transform.device_name, transform.timestamp) == ("TRANSFORM", "Stylus", START - 1)
    np.testing.assert_array_equal(transform.matrix, MATRIX)


def test_what_openigtlink_cannot_carry_is_told_once_and_counted(broadcasting):
    one = broadcasting()
    client = one.connect()
    for number in range(3):
        one.send(frame(number, deviceTime=-1.0))
    one.send(frame(5))
    until(lambda: client.messages and one.statusOf(client)["sent"])
    assert one.codes.count("not-sent") == 1
    assert (one.statusOf(client)["sent"], one.statusOf(client)["lost"]) == (1, 3)


def test_pixels_are_those_at_the_time_they_were_given(broadcasting):
    """The memory of a frame is used again at once."""
    one = broadcasting()
    client = one.connect()
    pixels = np.empty((20, 200, 200), np.int16)
    for number in range(20):
        pixels[:] = number
        one.send(frame(number).__class__(pixels, MATRIX, "Live", number, START))
    until(lambda: len(client.messages) == 20)
    assert [(message.pixels.min(), message.pixels.max()) for message in client.messages] == [
        (number, number) for number in range(20)
    ]


def test_nothing_is_copied_when_nobody_is_connected(broadcasting, monkeypatch):
    one = broadcasting()
    client = one.connect()
    one.send(frame(1))
    until(lambda: client.messages)
    client.close()
    until(lambda: not one.status["clients"])
    monkeypatch.setattr(module.PixelMemory, "take", lambda *_: pytest.fail("copied"))
    one.send(frame(2))
    assert one.broadcaster._memories._lent == []


def test_pyigtl_receives_it_too(broadcasting):
    one = broadcasting()
    client = OpenIGTLinkClient("127.0.0.1", one.status["port"])
    try:
        until(lambda: one.status["clients"])
        sent = frame(1, (3, 4, 5, 3), np.uint8)
        one.send(sent)
        message = client.wait_for_message("Live", timeout=10)
    finally:
        client.stop()
    np.testing.assert_array_equal(message.image, sent.pixels)
    np.testing.assert_allclose(message.ijk_to_world_matrix, MATRIX, atol=1e-5)


# ---- who takes it


def test_one_who_never_reads_is_counted_and_costs_the_others_nothing(broadcasting):
    one = broadcasting()
    readers, stuck = [one.connect(), one.connect()], one.connect(reading=False)
    frames = [frame(number, QUARTER, np.uint8) for number in range(40)]
    for number, sent in enumerate(frames):
        one.send(sent)
        until(lambda number=number: all(len(reader.messages) > number for reader in readers))
    for reader in readers:
        assert sums(reader.messages) == [checksum(sent.pixels) for sent in frames]
        until(lambda reader=reader: (one.statusOf(reader)["sent"], one.statusOf(reader)["lost"]) == (40, 0))
    slow = one.statusOf(stuck)
    assert slow["lost"] > 20
    one.close()
    assert one.status["sent"] + one.status["lost"] == 3 * 40
    stuck.close()


def test_one_who_is_slow_gets_newer_ones_in_order(broadcasting):
    one = broadcasting()
    slow = one.connect(reading=False)
    frames = [frame(number, FULL, np.uint8) for number in range(4)]
    for number in range(60):
        one.send(frames[number % 4].__class__(frames[number % 4].pixels, MATRIX, "Live", number, START + number))
    until(lambda: one.statusOf(slow)["lost"])
    lost = one.statusOf(slow)["lost"]
    messages = hear(slow, 60 - lost)
    times = [message.timestamp for message in messages]
    assert times == sorted(times)
    assert times[-1] == START + 59
    until(lambda: one.statusOf(slow)["sent"] == 60 - lost)
    slow.close()


def test_giving_a_frame_takes_no_longer_when_somebody_does_not_read(broadcasting):
    one = broadcasting()
    stuck = one.connect(reading=False)
    sent = frame(1, FULL, np.uint8)
    for _ in range(40):  # whatever the system has room for is full
        one.send(sent)
    until(lambda: one.statusOf(stuck)["lost"])
    started = time.perf_counter()
    for _ in range(20):
        one.send(sent)
    took = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(20):
        sent.pixels.copy()
    assert took < 10 * (time.perf_counter() - started) + 0.5
    assert len(one.broadcaster._memories._lent) < 20
    stuck.close()


def test_one_who_takes_nothing_for_long_is_disconnected(broadcasting, monkeypatch):
    monkeypatch.setattr(module, "STALLED", 0.3)
    one = broadcasting()
    stuck = one.connect(reading=False)
    sent = frame(1, FULL, np.uint8)
    for _ in range(5):
        one.send(sent)
    until(lambda: "disconnected" in one.codes)
    event = next(event for event in one.events if event.code == "disconnected")
    assert event.level == "warning"
    assert "read nothing" in event.text
    assert "dropped" in event.text
    until(lambda: one.status["sent"] + one.status["lost"] == 5)
    stuck.close()


def test_clients_come_and_go_at_random(broadcasting):
    """What each gets is whole and in order; nothing is left of those who went."""
    one, chance = broadcasting(), random.Random(5)
    one.connect().close()
    until(lambda: not one.status["clients"])
    before = descriptors()
    frames = [frame(number, (10, 100, 100)) for number in range(100)]
    known, clients = {checksum(sent.pixels): number for number, sent in enumerate(frames)}, []
    for sent in frames:
        if chance.random() < 0.3:
            clients.append(one.connect(reading=chance.random() < 0.7))
        if clients and chance.random() < 0.3:
            client = clients.pop(chance.randrange(len(clients)))
            client.close()
            if isinstance(client, Listening):
                numbers = [known[sum_] for sum_ in sums(client.messages)]
                assert numbers == sorted(set(numbers))
        one.send(sent)
    for client in clients:
        client.close()
    until(lambda: not one.status["clients"])
    assert descriptors() == before
    until(lambda: one.codes.count("disconnected") == one.status["served"])
    assert one.status["served"] == one.codes.count("connected")


# ---- what clients say


def test_questions_are_answered_and_all_else_is_ignored_and_counted(broadcasting):
    one = broadcasting()
    with one.connect(reading=False) as client:
        large = ImageMessage(np.zeros((10, 200, 200), np.int16), device_name="Mine")
        for message in (StringMessage("do it"), large, query("GET_STATUS"), query("GET_CAPABIL")):
            client.sendall(pack(message))
        answers = hear(client, 2)
        assert [answer.message_type for answer in answers] == ["STATUS", "CAPABILITY"]
        assert "IMAGE" in answers[1].items
        assert one.statusOf(client)["ignored"] == 2
        assert (one.statusOf(client)["sent"], one.statusOf(client)["lost"]) == (0, 0)


def test_one_who_speaks_something_else_is_disconnected_and_the_rest_goes_on(broadcasting):
    one = broadcasting()
    client, other = one.connect(), one.connect(reading=False)
    other.sendall(b"GET / HTTP/1.1\r\nHost: scanner\r\n\r\n" * 9)
    until(lambda: "disconnected" in one.codes)
    one.send(frame(1))
    until(lambda: client.messages)
    other.close()


# ---- the port


def test_a_port_that_is_taken_is_told_once_and_taken_when_it_is_free():
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        one = Broadcasting(port=port)
        until(lambda: one.codes == ["port-taken"])
        assert not one.status["listening"]
        one.send(frame(1))
    until(lambda: len(one.codes) == 2)
    assert one.codes == ["port-taken", "listening"]
    assert str(port) in one.events[1].text
    one.close()


def test_what_waits_is_sent_before_the_end(broadcasting):
    one = broadcasting()
    client = one.connect()
    frames = [frame(number, FULL, np.uint8) for number in range(5)]
    for sent in frames:
        one.send(sent)
    one.close()
    assert sums(client.untilEnd()) == [checksum(sent.pixels) for sent in frames]
    assert one.status["sent"] == 5


def test_the_end_does_not_wait_for_one_who_does_not_read(broadcasting):
    one = broadcasting()
    stuck = one.connect(reading=False)
    for _ in range(5):
        one.send(frame(1, FULL, np.uint8))
    one.broadcaster.end()
    until(lambda: one.broadcaster.ended, 2)
    assert not [thread for thread in threading.enumerate() if thread.name == "broadcast"]
    stuck.close()


@pytest.mark.parametrize("values", [{"port": 70000}, {"port": "a"}, {"host": " "}, {"version": 3}, {"allowed": ["x"]}])
def test_settings_that_cannot_work_are_refused(values):
    with pytest.raises(SettingsError):
        BroadcastSettings(**values)


# ---- in the acquisition process


class Told:
    """An outlet that remembers."""

    def __init__(self):
        self.events, self.lines = [], []

    def event(self, event, counts):
        self.events.append(event)

    def report(self, report):
        self.lines.append(report.broadcast)


def test_a_new_port_is_taken_without_waiting_for_the_end_of_the_old():
    told, commands = Told(), Receivers()
    broadcast = Broadcast(told, Counts, commands)
    port = freePort()
    for number in range(3):
        assert commands.deliver(StartBroadcast({"port": port, "version": 1 + number % 2}))
    until(lambda: broadcast.report() or any(line.get("listening") for line in told.lines))
    assert "port-taken" not in [event.code for event in told.events]
    assert commands.deliver(StopBroadcast())
    until(lambda: broadcast.report() or told.lines[-1] == {})
    assert told.events[-1].code == "broadcast-ended"
    broadcast.close()
    assert not commands.deliver(StopRecording())


def portOf(acquisition):
    acquisition.until(lambda: "listening" in acquisition.codes)
    event = next(event for event in acquisition.of("event") if event["code"] == "listening")
    return int(event["subject"].split(":")[1])


def test_clients_that_come_and_go_are_nothing_to_a_recording(acquire, incoming, tmp_path):
    chance = random.Random(3)
    acquisition = acquire()
    acquisition.send("broadcast", port=0)
    acquisition.record(tmp_path / "recordings", "All")
    port, clients = portOf(acquisition), []
    for number in range(60):
        if chance.random() < 0.4:
            reading = chance.random() < 0.6
            clients.append(Listening(port) if reading else socket.create_connection(("127.0.0.1", port)))
        if clients and chance.random() < 0.4:
            clients.pop(chance.randrange(len(clients))).close()
        arrive(incoming / f"{number}.nii", niftiFile(number, (20, 60, 60)))
        acquisition.untilCounted(number + 1)
    assert acquisition.stop() == 0
    assert acquisition.counts["recorded"] == 60
    assert acquisition.counts["failed"] == 0
    known = {sumOf(number, (20, 60, 60)): number for number in range(60)}
    for client in clients:
        if isinstance(client, Listening):
            numbers = [known[sum_] for sum_ in sums(client.untilEnd())]
            assert numbers == list(range(numbers[0], 60)) if numbers else True
        else:
            client.close()
    assert "broadcast-ended" in acquisition.codes


def test_frames_of_a_source_reach_a_client_and_the_counts_are_told(acquire, incoming):
    acquisition = acquire()
    acquisition.send("broadcast", **{"port": 0, "version": 2})
    client = Listening(portOf(acquisition))
    acquisition.until(lambda: "connected" in acquisition.codes)
    for number in range(10):
        arrive(incoming / f"{number}.nii", niftiFile(number))
        acquisition.untilCounted(number + 1)
    acquisition.until(lambda: acquisition.of("broadcast")[-1]["sent"] == 10)
    assert acquisition.of("broadcast")[-1]["lost"] == 0
    acquisition.send("stopBroadcast")
    acquisition.until(lambda: acquisition.of("broadcast")[-1] == {})
    assert sums(client.untilEnd()) == [sumOf(number) for number in range(10)]
    assert [message.metadata["SourceFile"] for message in client.messages] == [f"{number}.nii" for number in range(10)]
    assert acquisition.stop() == 0
