"""Pages of docs/: their Python blocks run as they stand, and their links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
ELSEWHERE = ("add-a-source.md", "add-a-processing-function.md", *(page.name for page in TUTORIALS))
ELSEWHERE += tuple(page.name for page in (ROOT / "docs" / "sources").glob("*.md"))
ELSEWHERE += ("python.md", "recording.md", "convert-dicom.md")
"""Pages that a test of their own runs in Slicer."""


def blocksOf(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocksOf(page) and page.name not in ELSEWHERE], ids=lambda page: page.stem
)
def test_thePythonBlocksOfAPageRunOneAfterAnother(page, tmp_path):
    """In a process of their own: some of them register classes."""
    program = tmp_path / "page.py"
    library = str(ROOT / "RealTimeImaging")
    program.write_text("\n".join(blocksOf(page)))
    start = f"import runpy, sys; sys.path.insert(0, {library!r}); runpy.run_path({str(program)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", start], cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


def anchorsOf(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_everyLinkOfAPageLeadsSomewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchorsOf(target), link


def test_everyPageIsInTheIndex():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in PAGES:
        assert page.name == "README.md" or page.name in index, page


PICTURES = sorted((ROOT / "docs" / "pictures").glob("*"))
LARGEST = 60_000
"""Bytes of a picture."""


def test_everyPictureIsUsedAndSmall():
    text = "".join(page.read_text(encoding="utf-8") for page in [*PAGES, ROOT / "README.md"])
    assert PICTURES
    for picture in PICTURES:
        assert f"pictures/{picture.name})" in text, picture.name
        assert picture.stat().st_size <= LARGEST, picture.name
    assert len(PICTURES) <= 16


def test_everyTutorialHasASmallPicture():
    assert len(TUTORIALS) == 10
    pictures = sorted((ROOT / "docs" / "tutorials" / "pictures").glob("*"))
    used = [re.findall(r"\]\((pictures/[^)]*)\)", page.read_text(encoding="utf-8")) for page in TUTORIALS]
    assert sorted(name for names in used for name in names) == [f"pictures/{picture.name}" for picture in pictures]
    assert all(used)
    assert all(picture.stat().st_size <= LARGEST for picture in pictures)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_aBlockWaitsBeforeItsFirstLineOnly(page):
    """Users paste whole blocks: a wait within one would not happen."""
    for block in blocksOf(page):
        assert not re.search(r"\n *# \.\.\. .* \.\.\.$", block, re.MULTILINE), block


def test_theCitationNamesTheExtension():
    """The version is in pyproject.toml alone."""
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split(": ", 1) for line in lines if re.match(r"[a-z-]+: ", line))
    assert {"cff-version", "message", "title", "type", "license"} <= fields.keys()
    assert "version" not in fields
    assert any(line.startswith("  - name: ") for line in lines)
    assert fields["license"] in (ROOT / "LICENSE.txt").read_text(encoding="utf-8").splitlines()[0]
    assert f"{fields['repository-code']}#readme" in (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
