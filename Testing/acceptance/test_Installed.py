"""The module as Slicer installs it: from the CMake files, read-only, at an awkward path, for two users at once."""

from __future__ import annotations

import compileall
import importlib.util
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import slicerhost
from unit.openIGTLinkSource import freePort

from .conftest import MODULE, ROOT

CMAKE, CTEST = (shutil.which(name, path=os.path.dirname(sys.executable)) for name in ("cmake", "ctest"))
TREE = "lib/Slicer-5.12/qt-scripted-modules"
USER = Path(__file__).with_name("installed.py")
JOBS = {65533: "process", 65534: "convert"}
"""What each user does beside recording, by user numbers without rights. Where the tests run as root, the two users are
two users of the system."""
TWO_USERS = os.name == "posix" and os.geteuid() == 0


@pytest.fixture(scope="module")
def installed():
    """The folder of the scripted modules in the install tree, read-only, and its build folder."""
    top = Path(tempfile.mkdtemp(prefix="Slicer é ü 図 "))
    top.chmod(0o755)
    build, prefix = top / "build", top / "Extensions 5.12" / "RealTimeImaging"
    # Nothing is compiled: this program stands for the compiler and the build tool.
    forced = [f"-DCMAKE_{one}_COMPILER{what}" for one in ("C", "CXX") for what in (f"={sys.executable}", "_FORCED=ON")]
    known = [f"-DCMAKE_{one}_COMPILER_ID_RUN=ON" for one in ("C", "CXX")]
    tool = f"-DCMAKE_MAKE_PROGRAM={sys.executable}"
    host = f"-DSlicer_DIR={Path(slicerhost.__file__).with_name('cmake')}"
    command = [CMAKE, "-S", ROOT, "-B", build, "-G", "Unix Makefiles", host, tool, *forced, *known]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([CMAKE, "--install", build, "--prefix", prefix], check=True, stdout=subprocess.DEVNULL)
    tree = prefix / TREE
    protect(tree)
    yield tree, build
    protect(tree, False)
    shutil.rmtree(top)


@pytest.fixture
def compiled(installed):
    """The tree with bytecode, as Slicer's build makes it: each process would compile everything again."""
    tree, _build = installed
    protect(tree, False)
    compileall.compile_dir(tree, quiet=1)
    protect(tree)
    yield tree
    if sys.pycache_prefix:  # the bytecode is elsewhere
        shutil.rmtree(Path(importlib.util.cache_from_source(os.fspath(tree / "RealTimeImaging.py"))).parent)


def protect(tree, on=True):
    """Make a folder and all in it read-only, or writable again."""
    for path in (*tree.rglob("*"), tree):
        path.chmod((0o555 if path.is_dir() else 0o444) | (0 if on else 0o200))


def files(folder):
    """Return size and time of each file below a folder, by name."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if not path.is_dir() and path.parent.name != "__pycache__"
    }


def test_theTreeHasEveryFileOfTheModule(installed):
    tree, _build = installed
    sources = MODULE.parent
    expected = {str(path.relative_to(sources)) for path in sources.rglob("*") if path.is_file()}
    expected = {name for name in expected if "__pycache__" not in name and name != "CMakeLists.txt"}
    assert set(files(tree)) == expected
    for name in expected:
        assert (tree / name).read_bytes() == (sources / name).read_bytes()


def test_theTestsOfTheModuleAreRegistered(installed):
    _tree, build = installed
    listed = subprocess.run([CTEST, "-N"], cwd=build, capture_output=True, text=True)
    for name in ("py_RealTimeImaging", "py_nomainwindow_RealTimeImagingModuleGenericTest"):
        assert f": {name}\n" in listed.stdout


class User:
    """A user with a home, a folder for temporary files and settings of their own, in whose Python pip fails."""

    def __init__(self, top, number, module, port, job):
        self.home = Path(top, f"user {number}")
        for name in ("home", "tmp", "data", "run", "forbidden/pip"):
            (self.home / name).mkdir(parents=True)
        (self.home / "forbidden/pip/__init__.py").write_text("raise SystemExit('pip is forbidden')")
        paths = [self.home / "forbidden", *map(os.path.abspath, (ROOT / "Testing",))]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))},
            "HOME": str(self.home / "home"),
            "USERPROFILE": str(self.home / "home"),
            "XDG_RUNTIME_DIR": str(self.home / "run"),
            **dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(self.home / "tmp")),
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PYTHONUNBUFFERED": "1",
        }
        options = {}
        if TWO_USERS:
            for path in (self.home, *self.home.rglob("*")):
                os.chown(path, number, number)
            options = {"user": number, "group": number, "extra_groups": []}
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
        self.process = subprocess.Popen(
            [sys.executable, str(USER), str(module), str(port), str(self.home / "data"), job],
            env=environment,
            cwd=self.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )

    def says(self):
        return self.process.stdout.readline().strip()


def test_twoUsersWorkAtOnce(compiled):
    """Both record from one read-only tree, and ask for the same port; one also processes images, one converts."""
    tree, before = compiled, files(compiled)
    assert not any(stat.S_IMODE((tree / name).stat().st_mode) & 0o222 for name in before)
    port = freePort()
    with tempfile.TemporaryDirectory(prefix="two users é ") as top:
        os.chmod(top, 0o755)
        users = [User(top, number, tree / "RealTimeImaging.py", port, job) for number, job in JOBS.items()]
        try:
            for step in ("live", "asked"):
                assert [user.says() for user in users] == [step, step]
                for user in users:
                    user.process.stdin.write("\n")
                    user.process.stdin.flush()
            seen = [json.loads(user.says()) for user in users]
            assert [user.process.wait(30) for user in users] == [0, 0]
        finally:
            for user in users:
                user.process.kill()
                user.process.communicate()
        left = [path.name for user in users for path in (user.home / "tmp").iterdir()]
    assert sorted(one["busy"] for one in seen) == [False, True]
    for one in seen:
        assert one["library"] == str(tree / "RealTimeImagingLib")
        assert one["errors"] == []
        counts = one["counts"]
        assert counts["received"] == counts["shown"] + counts["skipped"]
        assert (counts["failed"], counts["rejected"]) == (0, 0)
        assert counts["recorded"] >= 3
        assert {".raw", ".seq.nhdr", ".json"} == set(one["recorded"])
        assert "Documentation and tutorials" in one["help"]
    assert seen[0]["processed"] >= 3
    assert seen[1]["converted"] == ["done"]
    assert left == []
    assert files(tree) == before
    if os.path.isdir("/dev/shm"):
        pids = {user.process.pid for user in users}
        assert [name for name in os.listdir("/dev/shm") if any(f"-{pid}-" in name for pid in pids)] == []
