"""Packages are looked for at the point of use, and the words say what is to be installed."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from RealTimeImagingLib.Model.Errors import MissingPackageError
from RealTimeImagingLib.Model.Packages import (
    COMPRESSED_TIFF_PACKAGES,
    TIFF_PACKAGES,
    checkPackages,
    isOptional,
    missingPackages,
    titleOf,
)
from RealTimeImagingLib.Sources import KINDS
from RealTimeImagingLib.Sources.Folder import FolderSettings

PACKAGES = {name: kind.packages for name, kind in KINDS.items()}


def test_what_is_there_is_not_asked_for():
    assert missingPackages(PACKAGES["openigtlink"]) == []
    assert missingPackages(PACKAGES["folder"]) == []
    checkPackages(PACKAGES["openigtlink"])


def test_what_is_missing_is_named_with_what_is_good_to_have(hidden):
    hidden("pyigtl", "fastcrc")
    with pytest.raises(MissingPackageError, match="pyigtl and fastcrc") as caught:
        checkPackages(PACKAGES["openigtlink"])
    assert [one.split(">")[0] for one in caught.value.requirements] == ["pyigtl", "fastcrc"]


def test_a_folder_of_TIFF_files_needs_what_reads_them(hidden):
    checkPackages(FolderSettings("incoming").extraPackages)
    hidden("tifffile", "imagecodecs")
    checkPackages(FolderSettings("incoming").extraPackages)
    with pytest.raises(MissingPackageError, match="tifffile and imagecodecs"):
        checkPackages(FolderSettings("incoming", pattern="*.nii;*.TIFF").extraPackages)


def test_a_source_starts_without_what_it_can_do_without(hidden):
    hidden("fastcrc")
    checkPackages(PACKAGES["openigtlink"])
    assert [isOptional(package.requirement) for package in PACKAGES["openigtlink"]] == [False, True]


def test_every_version_has_an_upper_bound():
    for packages in (*PACKAGES.values(), TIFF_PACKAGES, COMPRESSED_TIFF_PACKAGES):
        for package in packages:
            assert re.fullmatch(r"[A-Za-z0-9_-]+>=[0-9.]+,<[0-9.]+", package.requirement), package


def test_a_missing_package_is_named_as_people_know_it(hidden):
    hidden("cv2")
    with pytest.raises(MissingPackageError, match="needs OpenCV, which Slicer does not include"):
        checkPackages(PACKAGES["camera"])
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
