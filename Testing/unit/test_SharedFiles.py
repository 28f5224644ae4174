"""Files that are read while other programs rename, replace, delete and write them; paths of any length."""

import ctypes
import os
import sys
from types import SimpleNamespace

import pytest
from RealTimeImagingLib.Conversion.Scan import listFiles as listDICOMFiles
from RealTimeImagingLib.Formats import openImageFile, stampOf
from RealTimeImagingLib.Formats.Pairs import voxelsOf
from RealTimeImagingLib.Formats.Raw import openFile, readStart
from RealTimeImagingLib.Model import Files
from RealTimeImagingLib.Model.Files import moveFile
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Model.SharedFiles import LONGEST, longPath, openOnWindows, openShared, openSharedHandle
from RealTimeImagingLib.Sources.Folder.Listing import FolderPoller, versionOf
from unit.conftest import niftiFile, sumOf


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(niftiFile(1))
    return path


@pytest.mark.parametrize("opened", [openShared, openFile, lambda path: os.fdopen(openSharedHandle(path, 0), "rb")])
def test_a_file_is_renamed_written_and_deleted_while_it_is_read(path, opened):
    with opened(str(path)) as file:
        assert file.read(4) == niftiFile(1)[:4]
        moved = path.rename(path.with_name("b.nii"))
        path.write_bytes(b"new")
        with moved.open("ab") as writer:
            writer.write(b"more")
        moved.unlink()
        assert file.read() == niftiFile(1)[4:] + b"more"
    assert path.read_bytes() == b"new"


def test_an_absent_file_is_named(path):
    path.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        openShared(str(path))
    assert caught.value.filename == str(path)


# ---- Windows


class Kernel:
    """CreateFileW as Windows declares it, over the files of this system."""

    def __init__(self):
        self.calls = []
        self.code = 0
        self.CreateFileW = self._create

    def _create(self, path, access, share, security, creation, attributes, template):
        self.calls.append((path, access.value, share, security, creation, attributes, template))
        return ctypes.c_void_p(-1).value if self.code else os.open(path, os.O_RDONLY)


class Windows:
    """What Python's standard library has on Windows only."""

    def __init__(self, monkeypatch):
        kernel = self.kernel = Kernel()
        create = kernel.CreateFileW
        kernel.CreateFileW = type("Function", (), {"__call__": lambda _self, *values: create(*values)})()
        monkeypatch.setattr(sys, "platform", "win32")
        monkeypatch.setattr(ctypes, "WinDLL", lambda name, use_last_error: kernel, raising=False)
        monkeypatch.setattr(ctypes, "get_last_error", lambda: kernel.code, raising=False)
        monkeypatch.setattr(ctypes, "FormatError", lambda code: f"error {code}. ", raising=False)
        monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(open_osfhandle=lambda handle, flags: handle))


@pytest.mark.skipif(sys.platform == "win32", reason="the real one is used")
def test_windows_is_asked_to_share_everything(path, monkeypatch):
    windows = Windows(monkeypatch)
    with openShared(str(path), buffering=0) as file:
        assert file.read() == niftiFile(1)
    assert windows.kernel.calls == [(str(path), 0x80000000, 7, None, 3, 0, None)]
    assert windows.kernel.CreateFileW.restype is ctypes.c_void_p
    windows.kernel.code = 32
    with pytest.raises(OSError, match=r"error 32\.") as caught:
        openOnWindows(str(path), 5)
    assert caught.value.filename == str(path)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("C:\\data\\a.nii", "C:\\data\\a.nii"),
        ("C:\\" + "x" * (LONGEST - 3), "C:\\" + "x" * (LONGEST - 3)),
        ("C:\\" + "x" * (LONGEST - 2), "\\\\?\\C:\\" + "x" * (LONGEST - 2)),
        ("C:/data/./b/../" + "x" * 250, "\\\\?\\C:\\data\\" + "x" * 250),
        ("\\\\server\\share\\" + "x" * 250, "\\\\?\\UNC\\server\\share\\" + "x" * 250),
        ("\\\\?\\C:\\" + "x" * 250, "\\\\?\\C:\\" + "x" * 250),
        ("x" * 250, "x" * 250),
    ],
)
def test_a_long_path_gets_the_form_that_windows_takes(monkeypatch, given, expected):
    monkeypatch.setattr(sys, "platform", "win32")
    assert longPath(given) == expected
    monkeypatch.setattr(sys, "platform", "linux")
    assert longPath(given) == given


def test_the_stamp_of_a_file_with_a_long_path_is_asked_for_in_that_form(monkeypatch):
    asked = []
    with monkeypatch.context() as windows:
        windows.setattr(sys, "platform", "win32")
        windows.setattr(os, "stat", lambda path: asked.append(path) or SimpleNamespace(st_size=5, st_mtime_ns=7))
        windows.setattr(os.path, "exists", lambda path: asked.append(path) or True)
        stamp = stampOf("C:\\" + "x" * LONGEST + ".nii")
        voxels = voxelsOf("C:\\" + "x" * LONGEST + ".hdr")
    assert stamp == (5, 7)
    assert voxels == "C:\\" + "x" * LONGEST + ".img"
    assert [path.startswith("\\\\?\\C:\\x") for path in asked] == [True, True]


def test_files_in_a_deep_folder_are_listed_and_read(tmp_path):
    """On Windows the path of the file is beyond the limit of 260 characters."""
    folder = tmp_path
    while len(str(folder)) < 300:
        folder = folder / ("long name of a folder " + "x" * 28)
    os.makedirs(longPath(str(folder)))
    path = os.path.join(str(folder), "a.nii")
    with open(longPath(path), "wb") as file:
        file.write(niftiFile(1))
    poller = FolderPoller(str(tmp_path), True, lambda name: name.endswith(".nii"), lambda: 0.0)
    assert poller.all() == {path: versionOf(path)}
    assert list(listDICOMFiles(str(tmp_path))) == [path]
    assert readStart(path, 4) == niftiFile(1)[:4]
    reader = openImageFile(path)
    assert reader.missing() is None
    assert [checksum(image.pixels) for image in reader.images()] == [sumOf(1)]


@pytest.mark.parametrize("refusals", [0, 1, 2])
def test_a_file_that_a_scanner_of_windows_has_open_is_renamed_a_moment_later(path, monkeypatch, refusals):
    monkeypatch.setattr(sys, "platform", "win32")
    replace, calls = os.replace, []

    def refusing(source, target):
        calls.append(target)
        if len(calls) <= refusals:
            raise PermissionError(13, "in use", source, 32)
        replace(source, target)

    monkeypatch.setattr(os, "replace", refusing)
    target = path.with_name("b.nii")
    moveFile(str(path), str(target))
    assert target.read_bytes() == niftiFile(1)
    assert calls == [str(target)] * (refusals + 1)


@pytest.mark.parametrize("system", ["win32", "linux"])
def test_a_file_that_stays_in_use_is_not_renamed(path, monkeypatch, system):
    def refusing(source, target):
        raise PermissionError(13, "in use", source, 32)

    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(os, "replace", refusing)
    monkeypatch.setattr(Files, "LONGEST_MOVE", 0.02)
    with pytest.raises(PermissionError):
        moveFile(str(path), str(path.with_name("b.nii")))
    assert path.exists()
