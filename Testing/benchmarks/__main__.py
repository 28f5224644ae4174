"""python3 run.py bench [NAME] [--report R.json]: one benchmark, or all."""

from __future__ import annotations

import argparse
import importlib
import json
import sys

BENCHMARKS = (
    "MainThread",
    "Drawing",
    "Panel",
    "Folder",
    "Formats",
    "Listing",
    "Hints",
    "Messages",
    "Recording",
    "Mapped",
    "Push",
    "Processing",
    "HTTP",
    "MRD",
    "Conversion",
    "OpenIGTLink",
    "Video",
    "Tracking",
    "Reconstruction",
    "Together",
)
"""Files of this folder. Imported one by one: what a benchmark starts as a process imports this file once more."""


def main() -> int:
    """Run the benchmarks; returns 1 when one is slower than it may be."""
    parser = argparse.ArgumentParser(prog="run.py bench", description=__doc__)
    names = [name.lower() for name in BENCHMARKS]
    parser.add_argument("name", nargs="?", choices=names, help="one benchmark; all without it")
    parser.add_argument("--report", help="write the figures to this JSON file")
    options = parser.parse_args()
    chosen = [name for name in BENCHMARKS if options.name in (None, name.lower())]
    figures = {name.lower(): importlib.import_module(f"benchmarks.{name}").measure() for name in chosen}
    text = json.dumps(figures, indent=1)
    print(text)
    if options.report:
        with open(options.report, "w", encoding="utf-8") as file:
            file.write(text)
    slow = [f"{name}: {rule}" for name, found in figures.items() for rule, kept in found["rules"].items() if not kept]
    for rule in slow:
        print("too slow:", rule)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
