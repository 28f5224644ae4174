"""The public names of the logic: calls that every script uses, and the services."""

from __future__ import annotations

CALLS = """
start restart stop isRunning sources push startSimulatedScanner installPackages sceneSettings close
addFrameCallback removeFrameCallback addEventCallback removeEventCallback addMessageCallback removeMessageCallback
events stalls statistics liveVolumeNode showIn setShowIn
startRecording stopRecording sendTransform sendCommand
"""
SERVICES = "recording metadata exports devices broadcast conversion simulator timing signals processing views volumes"


def test_theLogicHasTheseCallsAndServicesAndNoOthers(logic):
    """A new call belongs to a service."""
    public = {name for name in vars(type(logic)) if not name.startswith("_")}
    assert public == set(CALLS.split())
    own = {name for name, value in vars(logic).items() if "RealTimeImagingLib" in type(value).__module__}
    assert {name for name in own if not name.startswith("_")} == {*SERVICES.split(), "changed"}


def test_everyCallAndServiceIsDocumented(logic):
    """In its own docstring, and so is every public call of a service."""
    for name in CALLS.split():
        assert getattr(logic, name).__doc__
    for name in SERVICES.split():
        service = type(getattr(logic, name))
        assert service.__doc__
        assert [call for call, value in vars(service).items() if not (call.startswith("_") or value.__doc__)] == []
