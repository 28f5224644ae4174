"""Simulated scanners that write to a folder or send to a source of the user's choice."""

from __future__ import annotations

from RealTimeImagingLib import FolderSettings, MRDSettings
from unit.openIGTLinkSource import freePort

from .conftest import until, untilRunning, untilStopped


def test_aScannerWritesIntoAFolderUntilStop(logic, incoming, noErrors):
    """The same call again, as of a block that is pasted twice, starts no second scanner."""
    source = logic.start(FolderSettings(incoming))
    untilRunning(source)
    for _paste in range(2):
        logic.simulator.run(incoming, "--fps", 20, "--frames", 3)
    until(lambda: logic.statistics()["received"] == 3)
    assert not logic.simulator.isSimulated(source)
    untilStopped(logic)
    assert sorted(path.name for path in incoming.iterdir()) == [f"frame_{number:06}.nii" for number in range(3)]


def test_aScannerSendsUntilItIsEnded(logic, noErrors):
    """After its end, the same call starts it again."""
    port = freePort()
    source = logic.start(MRDSettings(port=port))
    untilRunning(source)
    logic.simulator.run("--mrd", port)
    until(lambda: logic.statistics()["received"] > 0)
    logic.simulator.end()
    until(lambda: "Waiting for the next measurement" in source.status)
    before = logic.statistics()["received"]
    logic.simulator.run("--mrd", port)
    until(lambda: logic.statistics()["received"] > before)
    untilStopped(logic)


def test_anOptionThatCannotWorkIsAnEvent(logic, caplog):
    logic.simulator.run("--format", "xyz")
    until(lambda: [event.code for event in logic.events()] == ["simulator-failed"])
    assert "invalid choice: 'xyz'" in logic.events()[0].text
    caplog.clear()
