"""Sentences and offers of the listener and the connector, with real sockets."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from contextlib import closing

import pytest
from RealTimeImagingLib.Model.Event import Remedy
from RealTimeImagingLib.Model.Text import Text
from RealTimeImagingLib.Sources.DICOM import DICOMSettings
from RealTimeImagingLib.Sources.Endpoints import (
    CONNECT_TIME,
    Connector,
    Listener,
    networkAddresses,
    whyNotConnected,
    whyNotListening,
)
from RealTimeImagingLib.Sources.HTTP import HTTPSettings
from unit.conftest import Clock
from unit.recordings import withoutRights

ALLOW = Remedy("Allow the network", {"host": "0.0.0.0"})


@pytest.fixture
def closed():
    with contextlib.ExitStack() as stack:
        yield lambda endpoint: stack.enter_context(closing(endpoint))


def test_a_listener_of_this_computer_alone_offers_the_network(closed):
    listener = closed(Listener("127.0.0.1", 0))
    (event,) = listener.open(0.0)
    assert (event.code, event.level, event.remedy) == ("listening", "info", None)
    assert listener.remedy == ALLOW
    assert f"127.0.0.1:{listener.port}. Only programs on this computer can connect." in listener.status
    for address in networkAddresses():
        assert address in listener.status
        assert f"port {listener.port}, if the firewall agrees" in listener.status
    assert isinstance(listener.status, Text)


def test_the_offered_network_is_the_address_for_others(closed):
    listener = closed(Listener(ALLOW.settings["host"], 0))
    (event,) = listener.open(0.0)
    assert event.text.endswith("All computers in the network can send images there.")
    assert (event.level, listener.remedy) == ("warning", None)
    assert f"port {listener.port}, if the firewall agrees" in listener.status
    for address in networkAddresses():
        assert address in listener.status
        socket.create_connection((address, listener.port), 5).close()


def test_the_addresses_are_of_this_computer():
    for address in networkAddresses():
        with socket.socket() as probe:
            probe.bind((address, 0))
        assert not address.startswith("127.")


def test_an_ipv6_listener_offers_all_addresses(closed):
    if not socket.has_ipv6:
        pytest.skip("This computer has no IPv6.")
    listener = closed(Listener("::1", 0))
    if [event.code for event in listener.open(0.0)] != ["listening"]:
        pytest.skip("This computer has no IPv6.")
    assert listener.remedy == Remedy("Allow the network", {"host": "::"})


def test_a_port_that_is_taken_offers_a_free_one(closed):
    with closing(socket.create_server(("127.0.0.1", 0))) as holder:
        port = holder.getsockname()[1]
        listener = closed(Listener("127.0.0.1", port))
        (event,) = listener.open(0.0)
        assert event.code == "port-taken"
        assert f"Port {port} is in use by another program." in event.text
        assert f"Port {port} is in use by another program." in listener.status
        assert event.remedy == listener.remedy
        free = event.remedy.settings["port"]
        assert event.remedy.label == f"Use port {free}"
        assert free != port
        mended = closed(Listener("127.0.0.1", free))
        assert [one.code for one in mended.open(0.0)] == ["listening"]
        # The offer stays though its port is taken meanwhile, and is reported once.
        assert not list(listener.open(1.0))
        assert listener.remedy.settings["port"] == free
    assert [one.code for one in listener.open(2.0)] == ["listening"]
    assert listener.remedy == ALLOW


def test_a_high_port_that_the_system_keeps_is_not_called_low():
    """Windows keeps ranges of high ports for its own services."""
    refused = PermissionError(errno.EACCES, "not allowed")
    assert whyNotListening(refused, "127.0.0.1", 18944).text == (
        "Port 18944 is reserved by the system. Choose another port."
    )
    assert "above 1024" in whyNotListening(refused, "127.0.0.1", 104).text


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="Every program may use these ports.")
def test_a_port_that_is_reserved_offers_another(closed, tmp_path):
    listener = closed(Listener("127.0.0.1", 104))
    with withoutRights(tmp_path):
        (event,) = listener.open(0.0)
        assert event.code == "port-refused"
        assert event.text.startswith("Port 104 is reserved by the system. Choose a port above 1024.")
        free = listener.remedy.settings["port"]
        assert 10_104 <= free < 10_204
        assert [one.code for one in closed(Listener("127.0.0.1", free)).open(0.0)] == ["listening"]


def test_an_address_of_another_computer_offers_all_addresses(closed):
    listener = closed(Listener("203.0.113.7", 0))
    (event,) = listener.open(0.0)
    assert event.code == "address-refused"
    assert event.text.startswith("This computer has no address 203.0.113.7.")
    assert all(address in event.text for address in networkAddresses())
    assert event.remedy == ALLOW


def test_a_peer_that_is_not_allowed_can_be_allowed(closed):
    listener = closed(Listener("127.0.0.1", 0, ("10.1.0.0/16",)))
    list(listener.open(0.0))
    with closing(socket.create_connection(("127.0.0.1", listener.port))):
        (event,) = listener.take(0.0)
    assert event.code == "peer-refused"
    assert event.remedy == Remedy("Allow 127.0.0.1", {"allowed": ["10.1.0.0/16", "127.0.0.1"]})
    allowed = HTTPSettings(**event.remedy.settings).allowed
    mended = closed(Listener("127.0.0.1", 0, allowed))
    list(mended.open(0.0))
    with closing(socket.create_connection(("127.0.0.1", mended.port))):
        ((connection, name),) = mended.take(0.0)
        connection.close()
    assert name.startswith("127.0.0.1:")


def answer(connector, clock):
    """Return the events of one attempt to connect."""
    events = list(connector.open(clock()))
    return events + list(connector.take(clock()))


def test_a_server_that_does_not_run_is_named(closed):
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    connector, clock = closed(Connector("127.0.0.1", port)), Clock()
    events = answer(connector, clock)
    assert [event.code for event in events] == ["no-listener"]
    assert connector.status == (
        f"Connecting to 127.0.0.1:{port}. Connection refused by 127.0.0.1:{port}. Is the server running?"
    )
    with closing(socket.create_server(("127.0.0.1", port))):
        clock.now += 1.0
        ((connection, name),) = answer(connector, clock)
        connection.close()
    assert name == f"127.0.0.1:{port}"
    assert connector.status == f"Connecting to 127.0.0.1:{port}."


@pytest.mark.skipif(sys.platform != "linux", reason="Other systems refuse a connection when the queue is full.")
def test_a_server_that_does_not_answer_is_named(closed):
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(closing(socket.socket()))
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        for _ in range(3):  # a full queue: the system drops further requests
            waiting = stack.enter_context(closing(socket.socket()))
            waiting.setblocking(False)
            waiting.connect_ex(address)
        connector = closed(Connector(*address))
        assert not list(connector.open(0.0))
        (event,) = connector.open(CONNECT_TIME)
    assert event.code == "no-answer"
    assert event.text.startswith(f"127.0.0.1:{address[1]} does not answer. Is it switched on?")


def test_a_name_that_is_unknown_is_named():
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    found = whyNotConnected(error, "scaner", 18944)
    assert found.code == "address-refused"
    assert found.text == (
        "scaner cannot be found (Name or service not known). Check the name or address, and the network."
    )


@pytest.mark.parametrize("endpoint", [Connector, Listener])
@pytest.mark.parametrize("host", ["192.168.0..10", "scanner." + 64 * "x"])
def test_a_host_that_python_cannot_encode_is_refused(closed, endpoint, host):
    (event,) = closed(endpoint(host, 18944)).open(0.0)
    assert event.code == "address-refused"
    assert host in event.text


@pytest.mark.parametrize("settings", [HTTPSettings, lambda **values: DICOMSettings("/tmp", **values)])
@pytest.mark.parametrize(
    ("typed", "host", "port"),
    [
        ("localhost:18980", "localhost", 18980),
        (" 0.0.0.0 ", "0.0.0.0", 1),
        ("http://10.0.0.5:18980/frame", "10.0.0.5", 18980),
        ("[::1]:5", "::1", 5),
    ],
)
def test_an_address_to_listen_on_may_have_its_port(settings, typed, host, port):
    made = settings(host=typed, port=1)
    assert (made.host, made.port) == (host, port)
