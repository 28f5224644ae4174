"""Rebroadcast: every client gets the live images of every source, and the recording has them all."""

from __future__ import annotations

import os
import signal
import socket

import numpy as np
import pytest
from RealTimeImagingLib import FolderSettings
from RealTimeImagingLib.Model.Errors import SettingsError
from RealTimeImagingLib.Model.Frame import checksum
from unit.broadcast import Listening
from unit.conftest import arrive, niftiFile, sumOf
from unit.openIGTLinkSource import freePort

from .conftest import until, untilRunning, untilStopped


def connect(logic, place=0):
    """A client of the source at this place, known to it."""
    until(lambda: len(logic.broadcast.counts()["sources"]) > place)
    until(lambda: logic.broadcast.counts()["sources"][place]["listening"])
    source = logic.broadcast.counts()["sources"][place]
    client = Listening(source["port"])
    name = "{}:{}".format(*client.connection.getsockname())
    until(lambda: name in [one["name"] for one in logic.broadcast.counts()["sources"][place]["clients"]])
    return client


def sums(client):
    return [checksum(message.pixels) for message in client.messages]


@pytest.fixture
def clients():
    """Sockets of the connected clients."""
    made = []
    yield made
    for client in made:
        client.connection.close()


def test_clientsGetTheImagesThatAreShownAndRecorded(logic, incoming, tmp_path, clients, noErrors):
    assert logic.broadcast.words() == ""
    logic.broadcast.start(port=0)
    assert "when a source is started" in logic.broadcast.words()
    logic.startRecording(tmp_path / "recordings")
    source = logic.start(FolderSettings(str(incoming)))
    untilRunning(source)
    clients += [connect(logic), connect(logic)]
    for number in range(15):
        arrive(incoming / f"{number}.nii", niftiFile(number))
        until(lambda number=number: all(len(client.messages) > number for client in clients))
    until(lambda: logic.broadcast.counts()["sent"] == 30)
    assert "2 clients, 30 messages sent." in logic.broadcast.words()
    for client in clients:
        assert sums(client) == [sumOf(number) for number in range(15)]
        np.testing.assert_array_equal(client.messages[0].ijkToRAS, np.diag([-2.0, 2, 3, 1]))
    logic.stopRecording()
    untilStopped(logic)
    until(lambda: logic.statistics()["recorded"] == 15)
    for client in clients:
        client.untilEnd()


def test_furtherSourcesTakeTheNextPortsAndStopEndsAll(logic, tmp_path, clients, noErrors):
    port = freePort()
    for name in ("A", "B"):
        (tmp_path / name).mkdir()
        untilRunning(logic.start(FolderSettings(str(tmp_path / name), stream=name)))
    logic.broadcast.start(port=port)
    # The second may be there before the first, and in its place till then.
    until(lambda: len(logic.broadcast.counts()["sources"]) == 2)
    clients += [connect(logic, 0), connect(logic, 1)]
    assert [source["port"] for source in logic.broadcast.counts()["sources"]] == [port, port + 1]
    for number, name in enumerate(("A", "B")):
        arrive(tmp_path / name / "1.nii", niftiFile(number))
        until(lambda number=number: clients[number].messages)
    assert [client.messages[0].device_name for client in clients] == ["A", "B"]
    assert [sums(client) for client in clients] == [[sumOf(0)], [sumOf(1)]]
    logic.broadcast.stop()
    until(lambda: not logic.broadcast.counts()["sources"])
    for client in clients:
        client.untilEnd()
    assert logic.broadcast.words() == ""
    assert len(logic._session.running()) == 2


@pytest.mark.skipif(os.name != "posix", reason="signals are others there")
def test_aRestartedProcessKeepsItsPort(logic, incoming, clients):
    logic.broadcast.start(port=freePort())
    source = logic.start(FolderSettings(str(incoming)))
    untilRunning(source)
    clients.append(connect(logic))
    port, pid = logic.broadcast.counts()["sources"][0]["port"], source.pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: source.state == "running" and source.pid != pid)
    clients[0].untilEnd()
    clients.append(connect(logic))
    assert logic.broadcast.counts()["sources"][0]["port"] == port
    arrive(incoming / "1.nii", niftiFile(1))
    until(lambda: clients[1].messages)
    assert sums(clients[1]) == [sumOf(1)]


def test_aPortThatIsTakenIsReportedAndTheSourceContinues(logic, incoming):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        logic.broadcast.start(port=holder.getsockname()[1])
        source = logic.start(FolderSettings(str(incoming)))
        untilRunning(source)
        until(lambda: "port-taken" in [event.code for event in logic.events()])
        assert "is not open yet" in logic.broadcast.words()
        arrive(incoming / "1.nii", niftiFile(1))
        until(lambda: logic.statistics()["shown"] == 1)
    until(lambda: "listening" in [event.code for event in logic.events()])
    until(lambda: "no clients" in logic.broadcast.words())


def test_invalidSettingsAreRejected(logic):
    for values in ({"port": -1}, {"host": ""}, {"version": 3}):
        with pytest.raises(SettingsError):
            logic.broadcast.start(**values)
    assert not logic.broadcast.counts()["active"]
