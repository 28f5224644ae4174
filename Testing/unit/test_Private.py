"""Access rights of files and folders."""

from __future__ import annotations

import os
import stat

import pytest
from RealTimeImagingLib.Model.Files import GROUP_VARIABLE, makePrivateFolder, openPrivate, setGroupMayRead

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows: the rights of the profile are inherited")


@pytest.fixture(autouse=True)
def rights(monkeypatch):
    """The user's umask, as strict as it can be, and no choice of the environment."""
    monkeypatch.setenv(GROUP_VARIABLE, "")
    before = os.umask(0o077)
    yield
    os.umask(before)


def modeOf(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize(("group", "folder", "file"), [(False, 0o700, 0o600), (True, 0o750, 0o640)])
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_what_is_made_is_private(tmp_path, group, folder, file, umask):
    os.umask(umask)
    setGroupMayRead(group)
    made = tmp_path / "a" / "b"
    makePrivateFolder(str(made))
    os.close(openPrivate(str(made / "file"), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    with open(made / "text", "w", opener=openPrivate) as text:
        text.write("x")
    assert [modeOf(path) for path in (tmp_path / "a", made)] == [folder] * 2
    assert [modeOf(made / name) for name in ("file", "text")] == [file] * 2


def test_what_is_there_stays_as_it_is(tmp_path):
    folder, file = tmp_path / "there", tmp_path / "there" / "file"
    folder.mkdir()
    file.touch()
    folder.chmod(0o755)
    file.chmod(0o644)
    setGroupMayRead(True)
    makePrivateFolder(str(folder))
    os.close(openPrivate(str(file), os.O_WRONLY | os.O_CREAT))
    assert (modeOf(folder), modeOf(file)) == (0o755, 0o644)
    with pytest.raises(FileExistsError):
        makePrivateFolder(str(folder), new=True)


def test_the_group_of_a_folder_is_passed_on(tmp_path):
    tmp_path.chmod(0o2750)
    if not modeOf(tmp_path) & stat.S_ISGID or os.uname().sysname != "Linux":
        pytest.skip("this file system passes no group on by a bit")
    setGroupMayRead(True)
    makePrivateFolder(str(tmp_path / "made"))
    assert modeOf(tmp_path / "made") == 0o2750


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        makePrivateFolder(str(tmp_path / "file"))
    with pytest.raises(OSError, match="file"):
        makePrivateFolder(str(tmp_path / "file" / "below"))
