"""Sockets: the same behaviour on every system, and the words for what goes wrong."""

import ctypes
import errno
import socket
import sys

import pytest
from RealTimeImagingLib.Model.Files import reasonOf
from RealTimeImagingLib.Sources.Endpoints import Connector, reachOf
from RealTimeImagingLib.Sources.Sockets import giveUpAfter, listenOn, socketError

IPV6 = socket.has_ipv6
try:
    listenOn("::1", 0).close()
except OSError:
    IPV6 = False
needsIPv6 = pytest.mark.skipif(not IPV6, reason="this computer has no IPv6")


def connected(address, port):
    with socket.create_connection((address, port), timeout=5) as made:
        return made.getpeername()[0]


def test_localhost_takes_senders_to_127_0_0_1_also_where_it_is_another_address_first(monkeypatch):
    resolve = socket.getaddrinfo

    def windows(host, port, **values):
        """As Windows and macOS answer."""
        assert host == "localhost"
        return [one for name in ("::1", "127.0.0.1") for one in resolve(name, port, **values)]

    monkeypatch.setattr(socket, "getaddrinfo", windows)
    with listenOn("localhost", 0) as listening:
        monkeypatch.undo()
        assert connected("127.0.0.1", listening.getsockname()[1]) == "127.0.0.1"


@needsIPv6
def test_all_ipv6_addresses_include_those_of_ipv4():
    with listenOn("::", 0) as listening:
        assert listening.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0
        port = listening.getsockname()[1]
        assert connected("127.0.0.1", port) == "127.0.0.1"
        assert connected("::1", port) == "::1"


class Connection:
    """Takes options as a socket of another system does."""

    def __init__(self, refuses=False):
        self.options, self.refuses = [], refuses

    def setsockopt(self, level, option, value):
        if self.refuses:
            raise OSError(errno.ENOPROTOOPT, "unknown option")
        self.options.append((level, option, value))


@pytest.mark.parametrize(
    ("system", "expected"),
    [("win32", [(socket.IPPROTO_TCP, 5, 3)]), ("darwin", [(socket.IPPROTO_TCP, 0x80, 3)]), ("freebsd14", [])],
)
def test_a_dead_peer_is_given_up_on_each_system(monkeypatch, system, expected):
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT", raising=False)
    monkeypatch.setattr(sys, "platform", system)
    connection = Connection()
    giveUpAfter(connection, 2.5)
    assert connection.options == expected
    giveUpAfter(Connection(refuses=True), 2.5)


def test_a_real_socket_takes_the_limit():
    with listenOn("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()[:2]) as connection:
        giveUpAfter(connection, 2.5)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2500


def test_windows_words_its_own_codes(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "FormatError", lambda code: f"Windows knows {code}. ", raising=False)
    assert reasonOf(socketError(10_064)) == "Windows knows 10064."
    monkeypatch.setattr(errno, "errorcode", {10_065: "WSAEHOSTUNREACH", 10_054: "WSAECONNRESET"})
    assert reasonOf(socketError(10_065)) == "no route to that computer"
    assert reasonOf(socketError(10_054)) == "the other side reset the connection"


def test_a_computer_without_a_way_to_it_is_worded(monkeypatch):
    connector = Connector("192.0.2.1", 18944)
    (event,) = connector._refused(errno.EHOSTUNREACH, 0.0)
    assert event.code == "not-connected"
    assert "192.0.2.1:18944 cannot be reached: no route to that computer." in event.text


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_the_program_that_the_firewall_asks_for_is_named(monkeypatch, system, host):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(sys, "executable", "/Slicer/bin/python-real.exe")
    monkeypatch.setattr("RealTimeImagingLib.Sources.Endpoints.networkAddresses", lambda: ["10.0.0.7"])
    assert reachOf(host, 18944).text.endswith("The firewall calls this program python-real.exe.")
    monkeypatch.setattr(sys, "platform", "linux")
    assert "calls this program" not in reachOf(host, 18944).text


def test_a_path_that_windows_cannot_take_is_worded(monkeypatch):
    error = FileNotFoundError(errno.ENOENT, "No such file", "C:\\" + "x" * 300)
    assert reasonOf(error) == "the folder or a file in it is gone"
    monkeypatch.setattr(sys, "platform", "win32")
    assert reasonOf(error) == "the path is too long for Windows; choose a shorter folder"
