"""python3 run.py bench [NAME ...] [--report R.json] [--compare S.json] [--plot DIR] [--docs]: measure, show figures.

Each figure is measured in turn with its floor, the least that the computer needs for the same, and with other programs
that do the same. Times are compared, never limited: a benchmark fails only when images are lost or differ.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BENCHMARKS = (
    "MainThread",
    "Folder",
    "Formats",
    "Detection",
    "Window",
    "OpenIGTLink",
    "Recording",
    "Conversion",
    "HTTP",
    "Camera",
    "CStore",
    "MRD",
    "Video",
    "Tracking",
    "Reconstruction",
    "Starting",
    "Processing",
    "Push",
    "Messages",
    "Panel",
    "Drawing",
    "Mapped",
    "Together",
)
"""Files of this folder. Imported one by one: what a benchmark starts as a process imports this file once more."""
WORK = Path(__file__).resolve().parents[2] / "build"


def main() -> int:
    """Run the benchmarks; return 1 when images were lost or differ, or when two runs contradict each other."""
    parser = argparse.ArgumentParser(prog="run.py bench", description=__doc__)
    names = [name.lower() for name in BENCHMARKS]
    parser.add_argument("name", nargs="*", metavar="NAME", help=f"all, or some of: {', '.join(names)}, none")
    parser.add_argument("--report", help="write the figures to this JSON file; figures of other benchmarks there stay")
    parser.add_argument("--compare", metavar="REPORT", help="say whether the report of another run agrees")
    parser.add_argument("--plot", metavar="DIR", help="draw the figures of the report into this folder")
    parser.add_argument("--docs", action="store_true", help="write the report into docs/benchmarks.md and README.md")
    options = parser.parse_args()
    if unknown := set(options.name) - {*names, "none"}:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    other = _read(options.compare)
    if options.compare and not other["benchmarks"]:
        parser.error(f"{options.compare} has no figures of this computer")
    report = _read(options.report)
    chosen = [name for name in BENCHMARKS if not options.name or name.lower() in options.name]
    failed = []
    for name in chosen:
        found = measured(name) if len(chosen) == 1 else measuredAlone(name)
        report["benchmarks"][name.lower()] = found
        report.pop("repeated", None)
        failed += [f"{name}: {check}" for check, kept in found["checks"].items() if not kept]
        _show(name, found)
        if options.report:
            _write(options.report, report)
    if options.compare:
        from . import Agreement

        found = report["repeated"] = Agreement.agreement(report, other)
        print(Agreement.sentence(found))
        failed += found["contradictions"]
        if not found["ahead"] + found["behind"] + found["level"]:
            failed.append(f"nothing was measured again in {options.compare}")
        if options.report:
            _write(options.report, report)
    if options.plot or options.docs:
        from . import Pages

        if options.plot:
            Pages.draw(report, options.plot)
        if options.docs:
            Pages.writeDocs(report)
    for check in failed:
        print("FAILED", check)
    return 1 if failed else 0


def measured(name: str) -> dict[str, Any]:
    """Run one benchmark; return its part of the report."""
    from .Rows import load

    module = importlib.import_module(f"benchmarks.{name}")
    began, busy = time.time(), load()
    found = module.measure()
    return {
        "title": module.TITLE,
        "about": " ".join(module.ABOUT.split()),
        "measured": time.strftime("%Y-%m-%d %H:%M", time.gmtime(began)),
        "seconds": round(time.time() - began),
        "load": busy,
        "rows": [row.toJSON() for row in found.rows],
        "absent": found.absent,
        "checks": found.checks,
    }


def measuredAlone(name: str) -> dict[str, Any]:
    """Run one benchmark in a process of its own, without the views and the memory of the others.

    :raises CalledProcessError: the process crashed.
    """
    WORK.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        path = os.path.join(folder, "report.json")
        command = [sys.executable, "-m", "benchmarks", name.lower(), "--report", path]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if not os.path.exists(path):
            done.check_returncode()
        found: dict[str, Any] = _read(path)["benchmarks"][name.lower()]
    return found


def _read(path: str | None) -> dict[str, Any]:
    """Return the report of this computer that exists already, or an empty one."""
    from .Rows import machine

    report: dict[str, Any] = {"machine": machine(), "benchmarks": {}}
    if path and os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            former = json.load(file)
        if former["machine"]["processor"] != report["machine"]["processor"]:
            print(f"{path} is the report of another computer: its figures are dropped.")
            return report
        report |= {key: former[key] for key in ("benchmarks", "repeated") if key in former}
    return report


def _write(path: str, report: dict[str, Any]) -> None:
    order = [name.lower() for name in BENCHMARKS]
    report["benchmarks"] = dict(sorted(report["benchmarks"].items(), key=lambda item: order.index(item[0])))
    with open(path, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)
        file.write("\n")


def _show(name: str, found: dict[str, Any]) -> None:
    print(f"\n{name}: {found['title']} ({found['seconds']} s)")
    for row in found["rows"]:
        goal = row.get("goal")
        words = f"   goal: {goal['words']}: {'met' if goal['met'] else 'MISSED'}" if goal else ""
        print(f"  {row['name']}, {row['unit']}{words}")
        for way, one in row["ways"].items():
            print(
                f"    {way:40} {one['median']:>9g}   ({one['low']:g} to {one['high']:g}, n={one['count']})"
                f"   x {one['timesFloor']:g}"
            )
    for peer, why in found["absent"].items():
        print(f"    {peer}: {why}")
    for check, kept in found["checks"].items():
        print(f"  {'ok    ' if kept else 'FAILED'} {check}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
