"""python3 run.py bench [NAME] [--report R.json]: one benchmark, or all."""

from __future__ import annotations

import argparse
import json
import sys

from . import Conversion, Folder, Listing, MainThread, Mapped, OpenIGTLink, Push, Recording, Together

BENCHMARKS = {
    "mainthread": MainThread.measure,
    "folder": Folder.measure,
    "listing": Listing.measure,
    "recording": Recording.measure,
    "mapped": Mapped.measure,
    "push": Push.measure,
    "conversion": Conversion.measure,
    "openigtlink": OpenIGTLink.measure,
    "together": Together.measure,
}


def main() -> int:
    """Run the benchmarks; returns 1 when one is slower than it may be."""
    parser = argparse.ArgumentParser(prog="run.py bench", description=__doc__)
    parser.add_argument("name", nargs="?", choices=list(BENCHMARKS), help="one benchmark; all without it")
    parser.add_argument("--report", help="write the figures to this JSON file")
    options = parser.parse_args()
    figures = {name: measure() for name, measure in BENCHMARKS.items() if options.name in (None, name)}
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
