"""Unit tests run without Slicer's libraries; tests that need Qt or VTK are in acceptance/ and contract/."""

import re
from pathlib import Path

import pytest


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_no_unit_test_imports_slicers_libraries(path):
    imports = re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert not {"slicer", "slicerhost", "qt", "ctk", "vtk", "PySide6"} & set(imports)
