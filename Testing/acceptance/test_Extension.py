"""Requirements of Slicer's build, index and generic tests for an extension."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import slicerhost

from .conftest import MODULE, ROOT

LIBRARY = ROOT / "RealTimeImaging" / "RealTimeImagingLib"
BUNDLED = {"slicer", "vtk", "qt", "ctk", "numpy", "RealTimeImagingLib"}


def test_everyScriptIsInstalled():
    """A file that CMake does not list is not installed."""
    text = (MODULE.parent / "CMakeLists.txt").read_text().replace("${MODULE_NAME}", "RealTimeImaging")
    pattern = re.search(
        r"GLOB_RECURSE MODULE_PYTHON_SCRIPTS.*?\$\{CMAKE_CURRENT_SOURCE_DIR\}/(\S+)\*\.py", text, re.DOTALL
    )[1]
    listed = [*(MODULE.parent / pattern).rglob("*.py"), MODULE]
    assert "list(APPEND MODULE_PYTHON_SCRIPTS RealTimeImaging.py)" in text
    assert sorted(listed) == sorted(MODULE.parent.rglob("*.py"))


def test_everyResourceIsListed():
    text = (MODULE.parent / "CMakeLists.txt").read_text().replace("${MODULE_NAME}", "RealTimeImaging")
    listed = re.search(r"set\(MODULE_PYTHON_RESOURCES(.*?)\)", text, re.DOTALL)[1].split()
    there = [
        str(path.relative_to(MODULE.parent)) for path in (MODULE.parent / "Resources").rglob("*") if path.is_file()
    ]
    assert sorted(listed) == sorted(there)


def test_fileScopeImports():
    """Only the standard library, Slicer's own and numpy are imported at file scope; pyigtl in the codecs that derive
    from its classes, which are imported themselves at the point of use only (see test_importActsOnNothing)."""
    bundled = BUNDLED | set(sys.stdlib_module_names)
    for path in MODULE.parent.rglob("*.py"):
        allowed = bundled | ({"pyigtl"} if path.parent.name == "OpenIGTLink" else set())
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            assert {name.split(".")[0] for name in names} <= allowed, path


def test_importActsOnNothing():
    """Importing the library starts no thread and process, and needs neither Slicer nor Qt."""
    code = (
        "import sys, threading, RealTimeImagingLib, RealTimeImagingLib.Worker.Worker;"
        "assert not {'slicer', 'qt', 'vtk', 'ctk', 'pydicom', 'PIL', 'pyigtl', 'crcmod', 'fastcrc'} & set(sys.modules);"
        "assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-c", code], cwd=MODULE.parent, check=True)


def test_filesAreTopics():
    for path in MODULE.parent.rglob("*.py"):
        assert len(path.read_text().splitlines()) < 600, path


SOURCES = {
    "folder": "folder",
    "replay": "recording",
    "openigtlink": "OpenIGTLink",
    "http": "HTTP",
    "camera": "cameras",
    "dicom": "DICOM",
    "mrd": "MRD",
    "python": "Python",
}
"""The word for each kind of source in the help."""


def test_theHelpNamesAllSourcesAndLinksThePage(slicer, module):
    from RealTimeImagingLib.Sources.Kinds import KINDS

    own = {name for name, kind in KINDS.items() if kind.settings.__module__.startswith("RealTimeImagingLib")}
    assert own - {"processor"} == set(SOURCES)
    text = slicer.modules.realtimeimaging.helpText
    assert [word for word in SOURCES.values() if word not in text] == []
    page = re.search(r'set\(EXTENSION_HOMEPAGE "([^"]*)"\)', (ROOT / "CMakeLists.txt").read_text())[1]
    assert f'<a href="{page}">' in text


def test_genericTests(slicer, module):
    """Slicer's own generic tests of a module: no main window, scene swapped, widget shown, description there."""
    assert slicerhost.runGenericTests(MODULE) == []


def test_moduleSelfTest(slicer, module):
    """RealTimeImagingTest, as ctest and the Reload and Test button run it."""
    slicer.selfTests["RealTimeImaging"]()
