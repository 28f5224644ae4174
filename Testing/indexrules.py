"""Rules of Slicer's Extensions Index for a repository: ``python -m indexrules [FOLDER]`` names what breaks one.

The rules are those that the index applies to a new entry (Slicer/ExtensionsIndex: the scripts and the template of pull
requests), the schema of its entries (Slicer/Slicer: Schemas, version 1.0.2), and Slicer's developer guide.
"""

from __future__ import annotations

import json
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
NAME = "RealTimeImaging"
CATEGORY = "IGT"
TYPES = {
    "$schema": str,
    "category": str,
    "scm_url": str,
    "scm_revision": str,
    "scm_type": str,
    "build_dependencies": list,
    "dicom_support_rule": str,
    "build_subdirectory": str,
    "enabled": bool,
    "tier": int,
}
"""Keys of an entry, and their types; there are no others."""
REQUIRED = ("$schema", "category", "scm_url")
LICENSES = ("LICENSE", "LICENCE", "License.txt", "license.txt", "LICENSE.txt", "COPYING", "COPYING.txt")
PICTURES = re.compile(
    r"https://raw\.githubusercontent\.com/([^/\s$]+/[^/\s$]+)/([^/\s$]+)/([^\s$]+\.(?:png|jpg|jpeg|gif))"
)
ICON = 128
"""Width and height of the icon in pixels."""
LARGEST = 100 << 20
"""Most bytes of a repository."""
SENTENCES = re.compile(r"[.!?](?:\s|$)")


def problems(root: Path = ROOT) -> list[str]:
    """Return a sentence for each broken rule."""
    entry = _read(root / f"{NAME}.json")
    cmake = _read(root / "CMakeLists.txt")
    return [*_entry(entry), *_cmake(root, cmake, entry), *_files(root)]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _parsed(entry: str) -> dict[str, object]:
    try:
        found = json.loads(entry)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _entry(text: str) -> Iterator[str]:
    entry = _parsed(text)
    if not entry:
        yield f"{NAME}.json is missing, or is no JSON object."
        return
    for key, value in entry.items():
        if key not in TYPES:
            yield f"{NAME}.json: the schema has no {key}."
        elif type(value) is not TYPES[key]:
            yield f"{NAME}.json: {key} is of the wrong type."
    yield from (f"{NAME}.json: {key} is missing." for key in REQUIRED if not entry.get(key))
    if "extension-catalog-entry-schema" not in str(entry.get("$schema")):
        yield f"{NAME}.json: $schema is not the schema of entries."
    if entry.get("category") != CATEGORY:
        yield f"{NAME}.json: the category is not {CATEGORY}."
    address = urlsplit(str(entry.get("scm_url")))
    if address.scheme not in ("git", "https") or not address.netloc:
        yield f"{NAME}.json: scm_url begins with neither https:// nor git://."
    repository = address.path.rsplit("/", 1)[-1].removesuffix(".git")
    if repository != f"Slicer{NAME}":
        yield f"{NAME}.json: the repository is called {repository}, not Slicer{NAME}."
    tier = entry.get("tier", 1)
    if not isinstance(tier, int) or not 1 <= tier <= 5:
        yield f"{NAME}.json: tier is not between 1 and 5."


def _cmake(root: Path, text: str, entryText: str) -> Iterator[str]:
    entry = _parsed(entryText)
    names = re.findall(r"^\s*project\s*\(\s*([^\s)]+)", text, re.IGNORECASE | re.MULTILINE)
    if names[:1] != [NAME]:
        yield f"CMakeLists.txt: project() is not {NAME}."
    values = dict(re.findall(r'^set\(EXTENSION_(\w+) "([^"]*)"\)', text, re.MULTILINE))
    for name in ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"):
        if not values.get(name):
            yield f"CMakeLists.txt: EXTENSION_{name} is missing."
    repository = urlsplit(str(entry.get("scm_url"))).path.removesuffix(".git").strip("/")
    if repository not in values.get("HOMEPAGE", ""):
        yield "CMakeLists.txt: EXTENSION_HOMEPAGE is not the page of the repository."
    for name in ("ICONURL", "SCREENSHOTURLS"):
        for url in values.get(name, "").split():
            yield from _picture(root, name, url, repository, str(entry.get("scm_revision")))
    for one in values.get("CONTRIBUTORS", "").split(", "):
        if not re.fullmatch(r"[^(),]+ \([^()]+\)", one):
            yield f'CMakeLists.txt: a contributor is a name with an organisation, "Name (Organisation)", not "{one}".'
    if not 1 <= len(SENTENCES.findall(values.get("DESCRIPTION", ""))) <= 3:
        yield "CMakeLists.txt: EXTENSION_DESCRIPTION has not one to three sentences."


def _picture(root: Path, name: str, url: str, repository: str, branch: str) -> Iterator[str]:
    # The index takes the text between the quotation marks: variables of CMake are not replaced.
    found = PICTURES.fullmatch(url)
    if not found:
        yield f"CMakeLists.txt: EXTENSION_{name} is not the address of a picture in a repository, written out: {url}."
        return
    if found[1] != repository or found[2] != branch:
        yield f"CMakeLists.txt: EXTENSION_{name} names another repository or branch: {url}."
    path = root / found[3]
    data = path.read_bytes() if path.is_file() else b""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        yield f"{found[3]} is missing, or is no PNG file."
    elif name == "ICONURL" and struct.unpack(">II", data[16:24]) != (ICON, ICON):
        yield f"{found[3]} has not {ICON} x {ICON} pixels."


def _files(root: Path) -> Iterator[str]:
    if not any((root / name).is_file() for name in LICENSES):
        yield "The file with the licence is missing."
    readme = _read(root / "README.md")
    module = _read(root / NAME / f"{NAME}.py")
    title = re.search(r'parent\.title = _\("([^"]+)"\)', module)
    if not title or not readme.startswith(f"# {title[1]}"):
        yield "README.md does not begin with the title of the module."
    for what, pattern in (
        ("a picture", r"!\[[^\]]*\]\([^)]+\)"),
        ("how to cite", r"(?i)\bcite\b"),
        ("the licence", r"(?i)\blicen[cs]e\b"),
        ("a tutorial", r"(?i)\btutorial"),
        ("the sample data", r"(?i)\bsample\s+data\b"),
    ):
        if not re.search(pattern, readme):
            yield f"README.md does not have {what}."
    if f'categories = [translate("qSlicerAbstractCoreModule", "{CATEGORY}")]' not in module:
        yield f"The category of the module is not {CATEGORY}."
    contributing = _read(root / "docs" / "contributing.md")
    if "`3d-slicer-extension`" not in contributing:
        yield "docs/contributing.md does not name the topic 3d-slicer-extension."
    size = sum(path.stat().st_size for path in _tracked(root))
    if size > LARGEST:
        yield f"The repository has {size >> 20} MiB, more than {LARGEST >> 20}."


def _tracked(root: Path) -> Iterator[Path]:
    for path in root.iterdir():
        if path.name.startswith((".venv", ".git", ".mypy", ".ruff", ".pytest", "build")):
            continue
        yield from (one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]


def main(folder: str | None = None) -> int:
    """Print the broken rules; return 1 when there are any."""
    found = problems(Path(folder) if folder else ROOT)
    for one in found:
        print(one)
    print("Rules of the Extensions Index:", f"{len(found)} broken." if found else "all kept.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
