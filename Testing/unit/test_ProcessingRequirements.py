"""What a function needs before it runs: packages, and a Python."""

from __future__ import annotations

import json
import os
import sys
import venv

import numpy as np
import pytest
from RealTimeImagingLib.Model.Errors import MissingPackageError, SettingsError
from RealTimeImagingLib.Processing.OtherPython import checkPython
from RealTimeImagingLib.Processing.Requirements import checkRequirements, requirementsOf
from unit.functions import Driver, frameOf, functionFile

NEXT = int(np.__version__.split(".")[0]) + 1


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("REQUIREMENTS = ('a', 'b>=1')", ("a", "b>=1")),
        ("REQUIREMENTS: tuple[str, ...] = ['a']", ("a",)),
        ("REQUIREMENTS: tuple[str, ...]", ()),
        ("REQUIREMENTS = ('a', 5, None)", ("a",)),
        ("REQUIREMENTS = {[]: 1}", ()),
        ("REQUIREMENTS = [*names]", ()),
        ("REQUIREMENTS = 5", ()),
        ("", ()),
    ],
)
def test_requirementsAreReadWithoutRunningTheFile(tmp_path, code, found):
    assert requirementsOf(functionFile(tmp_path, f"{code}\nraise SystemExit")) == found


@pytest.mark.parametrize(
    "code", [b"def process(frame) pass", b"x = '\xff\xfe'", b"\x00", b"x = " + b"-" * 200_000 + b"1"]
)
def test_aFileThatIsNoPythonIsNamed(tmp_path, code):
    path = tmp_path / "made.py"
    path.write_bytes(code)
    with pytest.raises(SettingsError, match=r"made\.py is no Python: ."):
        requirementsOf(str(path))


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"# -*- coding: latin-1 -*-\r\n# \xe9\r\n"])
def test_marksAndLineEndsOfOtherSystemsAreRead(tmp_path, mark):
    path = tmp_path / "made.py"
    path.write_bytes(mark + b"REQUIREMENTS = ['a']\r\n")
    assert requirementsOf(str(path)) == ("a",)


def test_missingPackagesAndOtherVersionsAreNamed(tmp_path):
    """Requirements for other systems are not."""
    other = '; sys_platform == "none"'
    needs = ["numpy", " numpy >= 1", f"numpy>={NEXT}", "not-a-package[extra]~=1.0", f"not-a-package{other}"]
    with pytest.raises(MissingPackageError) as raised:
        checkRequirements(functionFile(tmp_path, f"REQUIREMENTS = {needs}"))
    assert raised.value.requirements == needs[2:4]
    for wrong in ("", "  ", ">=1"):
        with pytest.raises(SettingsError, match="is no requirement for pip"):
            checkRequirements(functionFile(tmp_path, f"REQUIREMENTS = [{wrong!r}]"))


@pytest.mark.skipif(os.name != "posix", reason="scripts of a shell")
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("#!/bin/sh\necho Python 3.8.2", "is Python 3.8. A function needs Python 3.10 or newer"),
        ("#!/bin/sh\necho Python 2.7.18 >&2", "is Python 2.7. A function"),
        ("#!/bin/sh\nyes", "is no Python"),
        ("#!/bin/sh\nexit 3", "is no Python"),
        ("no program", "cannot be started"),
    ],
)
def test_aProgramThatIsNoPythonIsRefused(tmp_path, script, words):
    path = tmp_path / "program"
    path.write_text(script, encoding="utf-8")
    path.chmod(0o700)
    with pytest.raises(SettingsError, match=words):
        checkPython(str(path), {})


def test_thisPythonIsAccepted():
    checkPython(sys.executable, {"PYTHONHOME": None})


def test_aPythonWithoutNumPyIsRefusedInOneSentence(tmp_path):
    """At its first start: the function is not started again and again."""
    venv.EnvBuilder(symlinks=os.name == "posix", with_pip=False).create(tmp_path / "env")
    python = str(tmp_path / "env" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"))
    environment = {"PYTHONPATH": None, "PYTHONHOME": None}
    with pytest.raises(SettingsError, match=r"has no numpy, which each function needs\. Install it: .* -m pip install"):
        checkPython(python, environment)
    function = functionFile(tmp_path, "def process(frame): return None")
    with Driver(tmp_path, function, python=python, environment=json.dumps(environment)) as driver:
        driver.give(frameOf(0))
        driver.untilIdle()
        assert [event.code for event in driver.events] == ["function-unusable", "processing-failed"]
        assert driver.events[0].text.startswith(f"made cannot be used: {python} has no numpy")
        assert driver.counts == (1, 0, 0, 1, 0)
