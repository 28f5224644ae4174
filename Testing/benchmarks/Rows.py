"""The form of every benchmark: rows of figures, each way of a row measured in turn with its floor and its peers."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

OURS = "Real-Time Imaging"


def floorsOf(row: dict[str, Any]) -> list[str]:
    """Return the ways of a report's row that are floors; some have another, such as "floor on two"."""
    return [way for way in row["ways"] if way == row["floor"] or way.startswith("floor")]


def peersOf(row: dict[str, Any]) -> list[str]:
    """Return the ways of a report's row that are neither ours nor floors."""
    floors = floorsOf(row)
    return [way for way in row["ways"] if OURS not in way and way not in floors]


@dataclass
class Row:
    """One figure of several ways to do the same.

    :param unit: of the samples; of a unit that ends with "/s" more is better, of all others less.
    :param samples: by way, the floor first.
    :param goal: what OURS is expected to reach, in words; ``limit``: the same as a number in the unit, or ``most``: as
        the most times that it may take of the floor's time.
    :param headline: the row is in the table and the picture of README.
    """

    name: str
    unit: str
    samples: dict[str, list[float]]
    goal: str = ""
    limit: float | None = None
    most: float | None = None
    headline: bool = False

    def toJSON(self) -> dict[str, Any]:
        """Return the row as the report has it."""
        ways = {way: spread(values) for way, values in self.samples.items() if values}
        floor = next(iter(self.samples))
        for way, figures in ways.items():
            figures["timesFloor"] = self.timesFloor(way, floor)
        # A figure of ours alone has no floor.
        floor = "" if floor == OURS else floor
        row: dict[str, Any] = {"name": self.name, "unit": self.unit, "floor": floor, "ways": ways}
        if self.headline:
            row["headline"] = True
        if self.goal:
            row["goal"] = {"words": self.goal, "met": self._isMet(ways[OURS])}
        return row

    def _isMet(self, figures: dict[str, Any]) -> bool:
        if self.most is not None:
            return bool(figures["timesFloor"] <= self.most)
        assert self.limit is not None
        if self.unit.endswith("/s"):
            return bool(figures["median"] >= self.limit)
        return bool(figures["median"] <= self.limit)

    def timesFloor(self, way: str, floor: str) -> float:
        """Return how many times as long as the floor a way takes.

        Ways that were measured equally often are compared round by round: what else the computer does slows both.
        """
        mine, least = self.samples[way], self.samples[floor]
        if len(mine) != len(least):
            mine, least = [statistics.median(mine)], [statistics.median(least)]
        if self.unit.endswith("/s"):
            mine, least = least, mine
        parts = [one / other for one, other in zip(mine, least, strict=True) if other > 0]
        return rounded(statistics.median(parts)) if parts else 0.0


@dataclass
class Found:
    """What a benchmark has measured.

    :param checks: counts and equality, which hold on every computer, however slow; no times.
    :param absent: peers that were left out, by name, and why.
    """

    rows: list[Row]
    checks: dict[str, bool] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


def spread(values: Iterable[float]) -> dict[str, Any]:
    """Return median, quartiles and number of samples."""
    ordered = sorted(values)
    low, _, high = statistics.quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1 else ordered * 3
    return {
        "median": rounded(statistics.median(ordered)),
        "low": rounded(low),
        "high": rounded(high),
        "count": len(ordered),
    }


def rounded(value: float) -> float:
    """Return the value with three significant digits."""
    return float(f"{value:.3g}")


def interleaved(
    ways: dict[str, Callable[[], float]], rounds: int, warm: int = 1, before: Callable[[], object] = lambda: None
) -> dict[str, list[float]]:
    """Measure all ways in turn, every other round backwards; the first rounds are not kept.

    :param ways: each returns its sample.
    :param before: called before each sample, outside its time.
    """
    samples: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(-warm, rounds):
        order = list(ways) if number % 2 else list(reversed(ways))
        for way in order:
            before()
            value = ways[way]()
            if number >= 0:
                samples[way].append(value)
    return samples


def timed(action: Callable[[], object], unit: float = 1000.0) -> Callable[[], float]:
    """Return a way that does the action and returns its milliseconds, or seconds times the unit."""

    def way() -> float:
        started = time.perf_counter()
        action()
        return unit * (time.perf_counter() - started)

    return way


def missing(package: str, module: str = "") -> str:
    """Return why a peer is absent, empty when it is installed."""
    try:
        importlib.import_module(module or package)
    except ImportError:
        return f"not installed (pip install {package})"
    return ""


def machine() -> dict[str, Any]:
    """Describe the computer and the versions of what was measured."""
    packages = "numpy", "slicer-core", "vtk", "PySide6-Essentials", "pydicom", "pynetdicom", "SimpleITK", "dcm2niix"
    packages += "pyigtl", "ismrmrd", "av", "opencv-python-headless", "h5py", "zarr", "watchdog", "watchfiles"
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memoryGiB": _memory(),
        "python": platform.python_version(),
        "packages": {name: version for name in packages if (version := _version(name))},
    }


def load() -> float | None:
    """Return the average number of busy processes of the last minute; None where the system does not know it."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None
