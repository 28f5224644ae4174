#!/usr/bin/env python3
"""Commands; the first makes its own .venv.

    python3 run.py demo | docs | test | check | fuzz | bench | torture | acquire | convert

Needs Python 3.10 to 3.13 and nothing else; on a bare Linux also the system's OpenGL and font libraries, which it
installs where it may (root, apt) and otherwise names in one line. Inside Slicer none of this is needed.
"""

from __future__ import annotations

import ctypes
import glob
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import venv

HERE = os.path.dirname(os.path.abspath(__file__))
EVERYTHING = (".venv", ("requirements.txt", "requirements-acquire.txt"))
WITHOUT_SLICER = (".venv-acquire", ("requirements-acquire.txt",))
"""Folder of the environment, and the files that say what is in it, the first of them first."""
LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libfontconfig.so.1": "libfontconfig1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libdbus-1.so.3": "libdbus-1-3",
}
SCREEN = {"libxcb-cursor.so.0": "libxcb-cursor0", "libxkbcommon-x11.so.0": "libxkbcommon-x11-0"}
MESA = ("/usr/lib/*/dri/*_dri.so", "/usr/lib64/dri/*_dri.so", "/usr/lib/dri/*_dri.so", "/usr/lib/*/libgallium*")
FONTS = "/usr/share/fonts/**/*.[ot]tf"
COMMANDS = {
    "demo": ["{python}", "-m", "demo"],
    "docs": ["{python}", "-m", "pictures"],
    "bench": ["{python}", "-m", "benchmarks"],
    "torture": ["{python}", "-m", "torture"],
    "fuzz": ["{python}", "-m", "fuzz"],
    "test": ["{python}", "-m", "pytest", "-n4", "--dist=worksteal"],
    "acquire": ["{python}", "-m", "RealTimeImagingLib.Command"],
    "convert": ["{python}", "-m", "RealTimeImagingLib.Conversion"],
}
SMALL = ("acquire", "convert")
"""Commands that need neither Slicer's libraries nor a screen."""
PIP = ("--disable-pip-version-check", "--no-compile")
"""Bytecode is kept elsewhere, see run(), of what is imported only."""
CHECKS = (
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["mypy", "RealTimeImaging/RealTimeImagingLib"],
    ["lint-imports"],
    ["codespell"],
    ["python", "-m", "indexrules"],
)


def main(arguments: list[str]) -> int:
    """Run one command; returns its exit code."""
    if arguments == ["--version"]:
        print(version())
        return 0
    if not arguments or arguments[0] not in (*COMMANDS, "check"):
        python = "py" if os.name == "nt" else "python3"
        print(f"usage: {python} run.py {' | '.join((*COMMANDS, 'check', '--version'))} [options]")
        return 2
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        print(f"Python 3.10 to 3.13 is needed; this is {sys.version.split()[0]}.")
        return 2
    # The computer beside the scanner needs nothing to draw with.
    small = arguments[0] in SMALL
    missing = [] if small else missingPackages()
    if missing and not installPackages(missing):
        return 1
    try:
        python = makeEnvironment(*(WITHOUT_SLICER if small else EVERYTHING))
    except subprocess.CalledProcessError as error:
        print(f"The environment could not be made: {' '.join(map(str, error.cmd))}")
        print("It needs Python's venv and pip (on Debian: sudo apt-get install python3-venv) and a package index.")
        return 1
    if arguments[0] == "check":
        return max(run([os.path.join(os.path.dirname(python), check[0]), *check[1:]]) for check in CHECKS)
    # The paths that a person names are meant from where they are; pytest and the checks find their settings here.
    folder = HERE if arguments[0] == "test" else os.getcwd()
    return run([part.format(python=python) for part in COMMANDS[arguments[0]]] + arguments[1:], folder)


def version() -> str:
    """Return the version of the extension, which pyproject.toml alone holds."""
    with open(os.path.join(HERE, "pyproject.toml"), encoding="utf-8") as file:
        return file.read().partition('\nversion = "')[2].partition('"')[0]


def run(command: list[str], folder: str = HERE) -> int:
    """Run a command in a folder with the module and the test code importable; Ctrl+C is its own affair."""
    paths = [os.path.join(HERE, "RealTimeImaging"), os.path.join(HERE, "Testing")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    # Not beside the sources: what lies there is what Slicer installs.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTHONPYCACHEPREFIX"] = os.path.join(HERE, "build", "bytecode")
    process = subprocess.Popen(command, cwd=folder, env=environment)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def makeEnvironment(name: str, requirements: tuple[str, ...]) -> str:
    """The Python of an environment, made or renewed when its requirements or this Python changed."""
    folder = os.path.join(HERE, name)
    python = os.path.join(folder, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
    paths = [os.path.join(HERE, "Testing", file) for file in requirements]
    digest = hashlib.sha256(sys.version.encode() + folder.encode())
    for path in paths:
        with open(path, "rb") as file:
            digest.update(file.read())
    stamp = os.path.join(folder, "requirements.sha256")
    if os.path.exists(stamp):
        with open(stamp) as file:
            if file.read() == digest.hexdigest():
                return python
    print(f"Making {name} (once; about a minute) ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    subprocess.check_call([python, "-m", "pip", "install", "-q", *PIP, "-r", paths[0]])
    with open(stamp, "w") as file:
        file.write(digest.hexdigest())
    return python


def missingPackages() -> list[str]:
    """Debian packages of the libraries that Qt and VTK load and this Linux has not; elsewhere none."""
    if not sys.platform.startswith("linux"):
        return []
    missing = []
    libraries = LIBRARIES | (SCREEN if "DISPLAY" in os.environ else {})
    for library, package in libraries.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append(package)
    if not any(glob.glob(pattern) for pattern in MESA):
        missing.append("libgl1-mesa-dri")
    if not glob.glob(FONTS, recursive=True):
        missing.append("fonts-dejavu-core")
    return missing


def installPackages(packages: list[str]) -> bool:
    """Install with apt where that is possible; otherwise say what to run. True when they are there."""
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print("Installing", *packages, flush=True)
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        updated = subprocess.call(["apt-get", "update", "-q"], stdout=subprocess.DEVNULL, env=quiet)
        return updated == 0 and subprocess.call([*command, "-q"], stdout=subprocess.DEVNULL, env=quiet) == 0
    print("Libraries of the system are missing. Run this once, or its like for your Linux:")
    print("  sudo", *command)
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
