import os
import subprocess
import sys
import tempfile

import pytest
from RealTimeImagingLib.Link.WorkFolders import (
    PREFIX,
    alive,
    makeWorkFolder,
    makeWorkFolders,
    readHolder,
    removeWorkFolders,
    roots,
    sweep,
)


@pytest.fixture(autouse=True)
def temporaryFolder(tmp_path, monkeypatch):
    """A folder of the test as the disk for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def deadPid():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def test_working_folders_are_new_and_the_users_own():
    folders = makeWorkFolders()
    try:
        assert [os.path.dirname(folder) for folder in folders] == roots()
        assert all(os.listdir(folder) == ["process"] and readHolder(folder) == "" for folder in folders)
        assert makeWorkFolder() not in folders
        if os.name == "posix":
            assert all(os.stat(folder).st_mode & 0o077 == 0 for folder in folders)
    finally:
        removeWorkFolders(folders)
    assert not any(os.path.exists(folder) for folder in folders)


def test_one_folder_lies_on_the_disk(temporaryFolder):
    assert os.path.dirname(makeWorkFolder()) == str(temporaryFolder)


def test_memory_is_preferred_to_disk(temporaryFolder):
    assert roots()[-1] == str(temporaryFolder)
    if os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK):
        assert roots()[0] == "/dev/shm"


def test_folders_are_removed_with_their_content(tmp_path):
    folder = makeWorkFolder()
    os.makedirs(os.path.join(folder, "a", "b"))
    with open(os.path.join(folder, "a", "ring"), "wb") as file:
        file.write(bytes(10))
    removeWorkFolders([folder, str(tmp_path / "never made")])
    assert not os.path.exists(folder)


def test_only_leftovers_of_dead_processes_are_removed(tmp_path, deadPid):
    dead = tmp_path / f"{PREFIX}-{deadPid}-abc"
    dead.mkdir()
    (dead / "state0.json").write_bytes(b"x")
    others = [
        tmp_path / f"{PREFIX}-{os.getpid()}-abc",
        tmp_path / f"{PREFIX}-{os.getppid()}-abc",
        tmp_path / f"Other-{deadPid}-abc",
        tmp_path / f"{PREFIX}-{deadPid}",
        tmp_path / f"{PREFIX}-notes-abc",
        tmp_path / f"my {PREFIX}-{deadPid}-abc",
    ]
    for other in others:
        other.mkdir()
    assert str(dead) in sweep()
    assert not dead.exists()
    assert all(other.exists() for other in others)
    assert str(dead) not in sweep()


@pytest.mark.skipif(os.name != "posix", reason="each user of Windows has a folder of their own")
def test_leftovers_of_another_user_are_left_to_that_user(tmp_path, deadPid, monkeypatch):
    dead = tmp_path / f"{PREFIX}-{deadPid}-abc"
    dead.mkdir()
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    assert str(dead) not in sweep()
    monkeypatch.undo()
    assert dead.exists()


def test_targets_of_links_are_not_removed(tmp_path, deadPid):
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "thesis.txt").write_text("years of work")
    try:
        (tmp_path / f"{PREFIX}-{deadPid}-link").symlink_to(treasure)
    except OSError:
        pytest.skip("no links here")
    sweep()
    assert (treasure / "thesis.txt").read_text() == "years of work"


def test_a_process_is_alive_until_it_is_waited_for(deadPid):
    assert alive(os.getpid())
    assert not alive(deadPid)
    process = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    assert alive(process.pid)
    process.communicate(b"\n")
    assert not alive(process.pid)


@pytest.mark.skipif(os.name != "posix", reason="process 1 is init")
def test_a_process_of_another_user_is_alive():
    assert alive(1)
    if os.geteuid() == 0:  # become a user who may not send signals to process 1
        command = (
            f"import os, sys; sys.path[:] = {sys.path!r}; "
            "from RealTimeImagingLib.Link.WorkFolders import alive; os.setuid(65534); print(alive(1))"
        )
        assert subprocess.check_output([sys.executable, "-c", command]).strip() == b"True"


@pytest.mark.parametrize("pid", [0, 2**31, 2**64, 10**30])
def test_an_impossible_process_number_is_dead(tmp_path, pid):
    folder = tmp_path / f"{PREFIX}-{pid}-abc"
    folder.mkdir()
    assert not alive(pid)
    assert str(folder) in sweep()


def test_leftovers_of_a_killed_decoder_are_removed(temporaryFolder):
    program = f"""
import os, sys, tempfile
tempfile.tempdir = {str(temporaryFolder)!r}
sys.path[:] = {sys.path!r}
from RealTimeImagingLib.Formats.Raw import temporaryFolder
with temporaryFolder():
    os._exit(9)
"""
    subprocess.run([sys.executable, "-S", "-c", program], check=False)
    (left,) = os.listdir(temporaryFolder)
    assert str(temporaryFolder / left) in sweep()
    assert os.listdir(temporaryFolder) == []
