"""Packages are looked for at the point of use, and the words say what is to be installed."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys

import pytest
from RealTimeImagingLib.Model.Errors import MissingPackageError
from RealTimeImagingLib.Model.Packages import NEEDED, checkPackages, isOptional, missingPackages, titleOf
from RealTimeImagingLib.Sources.Folder import FolderSettings


def test_what_is_there_is_not_asked_for():
    assert missingPackages("openigtlink") == []
    assert missingPackages("folder") == []
    checkPackages("openigtlink")


def test_what_is_missing_is_named_with_what_is_good_to_have(hidden):
    hidden("pyigtl", "fastcrc")
    with pytest.raises(MissingPackageError, match="pyigtl and fastcrc") as caught:
        checkPackages("openigtlink")
    assert [one.split(">")[0] for one in caught.value.requirements] == ["pyigtl", "fastcrc"]


def test_a_folder_of_TIFF_files_needs_what_reads_them(hidden):
    checkPackages(FolderSettings("incoming").packages)
    hidden("tifffile", "imagecodecs")
    checkPackages(FolderSettings("incoming").packages)
    with pytest.raises(MissingPackageError, match="tifffile and imagecodecs"):
        checkPackages(FolderSettings("incoming", pattern="*.nii;*.TIFF").packages)


def test_a_source_starts_without_what_it_can_do_without(hidden):
    hidden("fastcrc")
    checkPackages("openigtlink")
    assert [isOptional(package.requirement) for package in NEEDED["openigtlink"]] == [False, True]


def test_every_version_has_an_upper_bound():
    for packages in NEEDED.values():
        for package in packages:
            for requirement in filter(None, (package.requirement, package.olderPydicom)):
                assert re.fullmatch(r"[A-Za-z0-9_-]+>=[0-9.]+,<[0-9.]+", requirement), requirement


def test_a_missing_package_is_named_as_people_know_it(hidden):
    hidden("cv2")
    with pytest.raises(MissingPackageError, match="needs OpenCV, which Slicer does not include"):
        checkPackages("camera")
    assert titleOf("pynetdicom>=3.0.3,<4") == "pynetdicom"


def test_the_module_is_imported_without_them():
    code = (
        "import sys, importlib.abc\n"
        "class Refuse(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('pyigtl', 'fastcrc', 'crcmod', 'cv2'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import RealTimeImagingLib, RealTimeImagingLib.Worker.Worker, RealTimeImagingLib.Sources.Kinds\n"
        "RealTimeImagingLib.OpenIGTLinkSettings(port=18944)\n"
        "RealTimeImagingLib.CameraSettings()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("version", "asked"), [("2.4.4", "pynetdicom>=2.1,<2.2"), ("3.0.2", "pynetdicom>=3.0.3,<4")])
def test_pip_is_asked_for_what_leaves_the_pydicom_of_slicer_as_it_is(hidden, monkeypatch, version, asked):
    hidden("pynetdicom")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    with pytest.raises(MissingPackageError) as caught:
        checkPackages("dicom")
    assert caught.value.requirements == [asked]
