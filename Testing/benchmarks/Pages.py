"""The tables and pictures of a report: docs/benchmarks.md, and one table and one picture in README.md."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .Agreement import sentence
from .Rows import OURS, floorsOf, peersOf

ROOT = Path(__file__).resolve().parents[2]
README, PAGE = ROOT / "README.md", ROOT / "docs" / "benchmarks.md"
REPORT = ROOT / "docs" / "benchmarks.json"
PICTURE = ROOT / "docs" / "pictures" / "speed.png"
BEGIN, END = "<!-- speed: python3 run.py bench -->", "<!-- end of speed -->"
LEVELS = (0.17, -0.32, 0.37)
"""Distances of the peers' names from their line, so that neighbours do not cover one another."""
HEAD = """# Benchmarks

`python3 run.py bench --report R.json --plot DIR` measures all of this again, `python3 run.py bench folder http` some
of it. Each figure stands beside its floor, the least that the same computer needs for the same bytes, and beside other
programs that do the same in their fastest documented way. All ways of a row are measured in turn in one run. "x floor"
is the time beside the floor's time: 2 takes twice as long. A goal is what this project expects of itself. No check
fails because a computer is slow: checks are of counts and pixels. Peers that are not installed are left out and named.

The host of the tests stands for Slicer's window: real MRML and VTK, Qt, no drawing card. The load is the number of
busy processes before the measurement: what else ran slows all ways of a row. `--compare S.json` says whether another
run agrees about who is ahead.
"""


def headline(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the rows of README with the titles of their benchmarks."""
    return [
        (found["title"], row) for found in report["benchmarks"].values() for row in found["rows"] if row.get("headline")
    ]


def draw(report: dict[str, Any], folder: str) -> None:
    """Draw a picture of each benchmark, and speed.png of README, into a folder."""
    os.makedirs(folder, exist_ok=True)
    for name, found in report["benchmarks"].items():
        rows = [(found["title"], row) for row in found["rows"] if row["floor"]]
        if rows:
            _picture(rows, os.path.join(folder, f"{name}.png"), found["title"], titled=False)
    if rows := headline(report):
        _picture(rows, os.path.join(folder, "speed.png"), "", titled=True)


def writeDocs(report: dict[str, Any]) -> None:
    """Write docs/benchmarks.md, the picture, and the table of README between its markers."""
    PAGE.write_text(page(report), encoding="utf-8")
    _picture(headline(report), str(PICTURE), "", titled=True)
    text = README.read_text(encoding="utf-8")
    before, begun, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (begun and ended):
        raise SystemExit(f"README.md has no markers {BEGIN} and {END}.")
    README.write_text(f"{before}{BEGIN}\n{table(report)}{END}{after}", encoding="utf-8")


def table(report: dict[str, Any]) -> str:
    """Return the table of README."""
    lines = ["| | floor | Real-Time Imaging | others |", "|---|---|---|---|"]
    for title, row in headline(report):
        ways = row["ways"]
        floors, others = (
            "; ".join(f"{way}: {_figure(ways[way])}" for way in found(row)) for found in (floorsOf, peersOf)
        )
        lines.append(f"| {title}: {row['name']} ({row['unit']}) | {floors} | {_figure(ways[OURS])} | {others} |")
    return "\n".join(lines) + "\n"


def page(report: dict[str, Any]) -> str:
    """Return the whole of docs/benchmarks.md."""
    parts = [HEAD, _machine(report["machine"])]
    if "repeated" in report:
        parts.append(f"{sentence(report['repeated'])}\n")
    for name, found in report["benchmarks"].items():
        when = f"Measured {found['measured']} UTC" + (f", load {found['load']:g}" if found["load"] is not None else "")
        lines = [f"## {found['title']}", "", f"`python3 run.py bench {name}`. {found['about']} {when}.", ""]
        lines += ["| | way | median | middle half | samples | x floor |", "|---|---|---|---|---|---|"]
        for row in found["rows"]:
            label = f"{row['name']} ({row['unit']})"
            for way, one in row["ways"].items():
                times = f"{one['timesFloor']:g}" if row["floor"] else ""
                half = f"{one['low']:g} to {one['high']:g}"
                mark = f"**{way}**" if way == OURS else way
                lines.append(f"| {label} | {mark} | {_figure(one)} | {half} | {one['count']} | {times} |")
                label = ""
        goals = [(row["name"], row["goal"]) for row in found["rows"] if "goal" in row]
        if goals:
            lines += ["", *[f"- Goal, {name}: {goal['words']}: {_met(goal)}." for name, goal in goals]]
        if found["checks"]:
            lines += [
                "",
                *[f"- Checked: {check}: {'yes' if kept else 'NO'}." for check, kept in found["checks"].items()],
            ]
        if found["absent"]:
            lines += ["", *[f"- Left out: {peer}: {why}." for peer, why in found["absent"].items()]]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _met(goal: dict[str, Any]) -> str:
    return "met" if goal["met"] else "missed"


def _figure(one: dict[str, Any]) -> str:
    return f"{one['median']:g}"


def _machine(machine: dict[str, Any]) -> str:
    memory = f", {machine['memoryGiB']:g} GiB" if machine["memoryGiB"] else ""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"Measured on: {machine['processor']}, {machine['cores']} cores{memory}, {machine['system']}, "
        f"Python {machine['python']}; {packages}.\n"
    )


def _picture(rows: list[tuple[str, dict[str, Any]]], path: str, heading: str, titled: bool) -> None:
    """Draw how many times the floor's time each way takes: one line for each row, on a logarithmic axis."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot
    from PIL import Image

    figure, axes = pyplot.subplots(figsize=(9.5, 0.7 + 0.62 * len(rows)), layout="constrained")
    labels = []
    for number, (title, row) in enumerate(rows):
        labels.append(f"{title}\n{row['name']}" if titled else row["name"])
        place = -number
        axes.plot([1, 1], [place - 0.3, place + 0.3], color="#555555", linewidth=2)
        times = {way: row["ways"][way]["timesFloor"] for way in peersOf(row)}
        others = sorted((one, way) for way, one in times.items() if one)
        for index, (one, way) in enumerate(others):
            axes.plot(one, place, "o", color="#b0620a", markersize=5)
            axes.text(one, place + LEVELS[index % len(LEVELS)], way, fontsize=7, ha="center", color="#444444")
        axes.plot(row["ways"][OURS]["timesFloor"], place, "o", color="#0a6ebd", markersize=8)
    axes.set_xscale("log")
    axes.set_yticks([-number for number in range(len(rows))], labels, fontsize=8)
    axes.set_ylim(-len(rows) + 0.4, 0.6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("times the floor's time: less is better; grey line: the floor, blue: Real-Time Imaging", fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(heading, fontsize=10)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
    # A few colours make the file small.
    with Image.open(path) as image:
        image.convert("RGB").quantize(32).save(path, optimize=True)
