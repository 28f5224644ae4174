"""Slicer waits for a folder on a slow or disconnected drive for a moment only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from RealTimeImagingLib.Model.Errors import RecordingFolderError, SettingsError
from RealTimeImagingLib.Recording.FolderAccess import FolderAccess
from RealTimeImagingLib.Recording.Names import namedPlace
from unit import processes

SHORT = 0.2
"""Seconds to wait for a folder."""


class Drive:
    """Hangs until it is released; counts the accesses."""

    def __init__(self):
        self.released, self.accesses = threading.Event(), 0

    def access(self, note):
        note("/drive/a")
        self.accesses += 1
        assert self.released.wait(20)
        return self.accesses


@pytest.fixture
def drive():
    found = Drive()
    yield found
    found.released.set()


def released(access, key, drive):
    """Release the drive, and ask until the access that began before has its result."""
    drive.released.set()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            return access.result(key, drive.access)
        except RecordingFolderError:
            pass
    raise AssertionError("no result")


def test_a_folder_that_hangs_is_not_waited_for(monkeypatch, tmp_path):
    hangs = threading.Event()
    monkeypatch.setattr(os, "listdir", lambda folder: hangs.wait(20) and [])

    def name(note):
        note(str(tmp_path))
        return namedPlace(str(tmp_path), "{run}", {})

    try:
        with pytest.raises(SettingsError, match="does not respond") as caught:
            FolderAccess(SHORT).result("a", name)
        assert str(tmp_path) in str(caught.value)
    finally:
        hangs.set()


def test_a_slow_drive_is_accessed_once(drive):
    """The attempts wait for the same access, and the one after its end gets the result."""
    access = FolderAccess(SHORT)
    for _attempt in range(3):
        with pytest.raises(RecordingFolderError, match="The folder /drive/a does not respond"):
            access.result("a", drive.access)
    assert released(access, "a", drive) == 1
    assert released(access, "a", drive) == 2


@pytest.mark.parametrize("fresh", [60.0, -1.0])
def test_another_or_an_old_access_begins_anew(drive, fresh):
    access = FolderAccess(SHORT, fresh)
    with pytest.raises(RecordingFolderError):
        access.result("a", drive.access)
    if fresh > 0:
        assert released(access, "b", drive) == 2
    else:
        drive.released.set()
        end = time.monotonic() + 20
        while access._attempt[1].age < 0 and time.monotonic() < end:
            time.sleep(0.001)
        assert released(access, "a", drive) == 2


HALTED = """
import time
from RealTimeImagingLib.Recording.FolderAccess import FolderAccess

def action(note):
    note("/drive/a")
    print("begun", flush=True)
    time.sleep(0.1)
    for _ in range(10):
        time.sleep(0.01)  # goes on behind a halt
    return "found"

print(FolderAccess(0.5).result("a", action))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGSTOP")
def test_a_halt_of_the_process_is_no_hanging_drive():
    process = processes.start("-c", HALTED, text=True, environment={"PYTHONPATH": os.pathsep.join(sys.path)})
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.8)
    process.send_signal(signal.SIGCONT)
    assert process.communicate()[0] == "found\n"


def test_the_error_of_an_access_is_raised():
    def fails(note):
        raise SettingsError("no")

    with pytest.raises(SettingsError, match="no"):
        FolderAccess().result("a", fails)
