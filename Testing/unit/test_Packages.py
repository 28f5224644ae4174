"""Packages are checked at use, and the message names the missing packages."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import RealTimeImagingLib
from RealTimeImagingLib.Model.Errors import MissingPackageError
from RealTimeImagingLib.Model.Packages import (
    COMPRESSED_TIFF_PACKAGES,
    NIBABEL_PACKAGES,
    TIFF_PACKAGES,
    VIDEO_PACKAGES,
    checkPackages,
    isOptional,
    missingPackages,
    titleOf,
)
from RealTimeImagingLib.Processing.BuiltIn import ONNXSegmentation
from RealTimeImagingLib.Sources import KINDS
from RealTimeImagingLib.Sources.Folder import FolderSettings
from RealTimeImagingLib.Sources.MRD import HDF5_PACKAGES

PACKAGES = {name: kind.packages for name, kind in KINDS.items()}
OTHERS = (*TIFF_PACKAGES, *VIDEO_PACKAGES, *NIBABEL_PACKAGES, *HDF5_PACKAGES, *ONNXSegmentation.REQUIREMENTS)
"""Packages for some of the files, streams and functions."""


def test_installed_packages_are_not_requested():
    assert missingPackages(PACKAGES["openigtlink"]) == []
    assert missingPackages(PACKAGES["folder"]) == []
    checkPackages(PACKAGES["openigtlink"])


def test_missing_packages_are_named_with_optional_packages(hidden):
    hidden("pyigtl", "fastcrc")
    with pytest.raises(MissingPackageError, match="pyigtl and fastcrc") as caught:
        checkPackages(PACKAGES["openigtlink"])
    assert [one.split(">")[0] for one in caught.value.requirements] == ["pyigtl", "fastcrc"]


def test_a_folder_of_TIFF_files_needs_the_packages_for_TIFF(hidden):
    checkPackages(FolderSettings("incoming").extraPackages)
    hidden("tifffile", "imagecodecs")
    checkPackages(FolderSettings("incoming").extraPackages)
    with pytest.raises(MissingPackageError, match="tifffile and imagecodecs"):
        checkPackages(FolderSettings("incoming", pattern="*.nii;*.TIFF").extraPackages)


def test_a_source_starts_without_optional_packages(hidden):
    hidden("fastcrc")
    checkPackages(PACKAGES["openigtlink"])
    assert [isOptional(package.requirement) for package in PACKAGES["openigtlink"]] == [False, True]


def test_every_version_has_an_upper_bound():
    for packages in (*PACKAGES.values(), TIFF_PACKAGES, COMPRESSED_TIFF_PACKAGES):
        for package in packages:
            assert re.fullmatch(r"[A-Za-z0-9_-]+>=[0-9.]+,<[0-9.]+", package.requirement), package


def test_a_missing_package_has_its_usual_name(hidden):
    hidden("cv2")
    with pytest.raises(MissingPackageError, match="needs OpenCV, which Slicer does not include"):
        checkPackages(PACKAGES["camera"])
    assert titleOf("pynetdicom>=3.0.3,<4") == "pynetdicom"


def test_the_list_for_administrators_has_all_packages():
    """Resources/requirements.txt, also those of the functions that are built in."""
    library = Path(RealTimeImagingLib.__file__).parent
    declared = {requirement for packages in (*PACKAGES.values(), OTHERS) for requirement in packages}
    declared = {getattr(one, "requirement", one) for one in declared}
    for file in library.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "Package(" in text else ():
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Package":
                assert node.args[1].value in declared, file
    lines = (library.parent / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert lines[1:] == sorted(declared)


def test_the_library_is_imported_without_optional_packages():
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
