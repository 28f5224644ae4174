"""Unusable folders are rejected before a recording begins."""

import os
import shutil
import stat
import subprocess

import pytest
from RealTimeImagingLib.Model.Errors import RecordingError, RecordingFolderError, SettingsError
from RealTimeImagingLib.Recording.Layout import prepareFolder
from RealTimeImagingLib.Sources.Folder import FolderSettings
from unit.recordings import filesOfAtMost, withoutRights

posix = pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")


def test_a_usable_folder_is_made_and_left_empty(tmp_path):
    folder = tmp_path / "a" / "b"
    for _ in range(2):
        prepareFolder(str(folder))
        assert os.listdir(folder) == []
    if os.name == "posix":
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_file_is_rejected_as_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(RecordingFolderError, match="it is a file"):
        prepareFolder(str(tmp_path / "file"))
    with pytest.raises(RecordingFolderError, match="a file"):
        prepareFolder(str(tmp_path / "file" / "below"))


@posix
@pytest.mark.parametrize("below", ["", "new"])
def test_a_folder_without_rights_is_rejected(tmp_path, below):
    folder = tmp_path / "closed"
    folder.mkdir()
    with withoutRights(folder), pytest.raises(RecordingFolderError, match="permission denied") as caught:
        prepareFolder(str(folder / below))
    assert str(folder) in str(caught.value)
    assert isinstance(caught.value, RecordingError)
    assert isinstance(caught.value, SettingsError)


def test_a_full_disk_is_rejected(tmp_path):
    with filesOfAtMost(100), pytest.raises(RecordingFolderError, match="too large"):
        prepareFolder(str(tmp_path))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("options", "words"), [("size=16k", "disk full"), ("ro", "read-only")])
def test_a_full_and_a_read_only_disk_are_rejected(tmp_path, options, words):
    if os.name != "posix" or os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting needs the rights of root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(RecordingFolderError, match=words):
            prepareFolder(str(tmp_path))
        assert os.listdir(tmp_path) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize("below", ["", "a", "a/b"])
def test_a_watched_folder_is_rejected_by_any_name(tmp_path, below):
    watched, link = tmp_path / "watched", tmp_path / "link"
    watched.mkdir()
    settings = FolderSettings(str(watched))
    with pytest.raises(RecordingFolderError, match="Choose another folder"):
        settings.checkRecordingFolder(str(watched / below))
    settings.checkRecordingFolder(str(tmp_path / "watched2" / below))
    try:
        link.symlink_to(watched)
    except OSError:
        pytest.skip("no links here")
    with pytest.raises(RecordingFolderError, match="Choose another folder"):
        settings.checkRecordingFolder(str(link / below))


@pytest.mark.skipif(os.name != "posix", reason="Windows stores such names")
def test_an_impossible_folder_name_is_rejected(tmp_path):
    with pytest.raises(RecordingFolderError, match="the name contains forbidden characters"):
        prepareFolder(str(tmp_path / "a\ud800"))
