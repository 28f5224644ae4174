"""The check of the Extensions Index's rules finds each broken rule."""

import json
import shutil

import indexrules
import pytest
from indexrules import NAME, ROOT, problems

FILES = ("CMakeLists.txt", f"{NAME}.json", f"{NAME}.png", "LICENSE.txt", "README.md", "docs/contributing.md")


@pytest.fixture
def repository(tmp_path):
    for name in (*FILES, f"{NAME}/{NAME}.py", "Resources/Demo.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_this_repository_keeps_all_rules(capsys):
    assert problems() == []
    assert indexrules.main() == 0
    assert "all kept" in capsys.readouterr().out


RAW = "https://raw.githubusercontent.com/RealTimeImaging/SlicerRealTimeImaging/main/"
CMAKE = [
    ("project(RealTimeImaging)", "project(SlicerRealTimeImaging)", "project()"),
    (f"{RAW}{NAME}.png", RAW.replace("RealTimeImaging/S", "${owner}/S") + f"{NAME}.png", "written out"),
    (f"{RAW}{NAME}.png", f"{RAW}Missing.png", "Missing.png is missing"),
    (f"{RAW}{NAME}.png", f"{RAW}Resources/Demo.png", "has not 128 x 128 pixels"),
    (f"{RAW}Resources", RAW.replace("main", "master") + "Resources", "another repository or branch"),
    ("The developers (RealTimeImaging)", "The developers", "a contributor"),
    ("EXTENSION_HOMEPAGE", "EXTENSION_PAGE", "EXTENSION_HOMEPAGE is missing"),
    ("Slicer never freezes.", "It is good. Very. Slicer never freezes.", "one to three sentences"),
]


@pytest.mark.parametrize(("old", "new", "expected"), CMAKE)
def test_a_broken_rule_of_cmake_is_named(repository, old, new, expected):
    edit(repository / "CMakeLists.txt", old, new)
    assert any(expected in one for one in problems(repository))
    assert indexrules.main(str(repository)) == 1


ENTRY = [
    ({"category": "Imaging"}, "the category is not IGT"),
    ({"category": None}, "category is of the wrong type"),
    ({"scm_url": "git@github.com:RealTimeImaging/SlicerRealTimeImaging.git"}, "begins with neither"),
    ({"scm_url": "https://github.com/RealTimeImaging/RealTimeImaging"}, "the repository is called RealTimeImaging"),
    ({"tier": 6}, "tier is not between"),
    ({"tier": "3"}, "tier is of the wrong type"),
    ({"homepage": "https://example.org"}, "the schema has no homepage"),
    ({"$schema": "https://example.org"}, "$schema is not the schema"),
]


@pytest.mark.parametrize(("values", "expected"), ENTRY)
def test_a_broken_rule_of_the_entry_is_named(repository, values, expected):
    path = repository / f"{NAME}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    assert any(expected in one for one in problems(repository))
    path.write_text("{")
    assert f"{NAME}.json is missing, or is no JSON object." in problems(repository)


TEXTS = [
    ("README.md", "cite", "mention", "how to cite"),
    ("README.md", "![", "[", "a picture"),
    ("docs/contributing.md", "`3d-slicer-extension`", "", "does not name the topic"),
    (f"{NAME}/{NAME}.py", '"IGT"', '"Imaging"', "category of the module"),
    (f"{NAME}/{NAME}.py", 'parent.title = _("Real-Time Imaging")', 'parent.title = _("Live")', "title of the module"),
]


@pytest.mark.parametrize(("file", "old", "new", "expected"), TEXTS)
def test_a_broken_rule_of_the_texts_is_named(repository, file, old, new, expected):
    edit(repository / file, old, new)
    assert any(expected in one for one in problems(repository))


def test_a_missing_licence_and_a_large_repository_are_named(repository, monkeypatch):
    (repository / "LICENSE.txt").unlink()
    monkeypatch.setattr(indexrules, "LARGEST", 1 << 20)
    with (repository / "large").open("wb") as file:
        file.truncate(2 << 20)
    assert [one.split(",")[0] for one in problems(repository)] == [
        "The file with the licence is missing.",
        "The repository has 2 MiB",
    ]
