"""Which pages of a TIFF file make an image, how large their pixels are, and when they were taken.

Sources: TIFF 6.0 (resolution); ImageJ's "Image description" (ij.io.FileInfo, TiffEncoder); the OME data model,
schema 2016-06 (Pixels).
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..Errors import NotAnImageError
from .ImageFile import sinceFirst
from .TextHeader import millimetres
from .TIFFPage import Page, sameKind

_SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "μs": 1e-6, "min": 60.0, "h": 3600.0}
_PIXELS = re.compile(r"<(?:\w+:)?Pixels\s([^>]*)>")
_ATTRIBUTE = re.compile(r'(\w+)\s*=\s*"([^"]*)"')
_IMAGEJ, _IMAGEJ_AXES = "ImageJ=", ("channels", "slices", "frames")
_LONGEST = 2000


@dataclass(frozen=True)
class Stack:
    """One image.

    :param pages: the numbers of its pages, one for each slice.
    :param spacing: millimetres between columns, rows and slices.
    """

    pages: list[int]
    spacing: tuple[float, float, float]
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """What a description says of the pages.

    :param sizes: how many channels (c), slices (z) and points in time (t) there are.
    :param order: those letters, the one that changes fastest from page to page first.
    :param spacing: as in :class:`Stack`, None where it is not stated.
    :param interval: seconds from one point in time to the next.
    """

    sizes: dict[str, int]
    order: str
    spacing: tuple[float | None, float | None, float | None]
    interval: float | None


def stacked(pages: Sequence[Page]) -> tuple[list[Stack], list[float] | None]:
    """The images of a file in order, and their times as in :attr:`ImageFile.times`.

    Pages of one size and type are one volume, as in ITK, unless the file says by ImageJ's or OME's description which of
    them are channels or points in time: then each of those is a volume. Smaller copies and masks are left out; pages
    of several sizes are an image each.
    """
    used = [number for number, page in enumerate(pages) if page.isPicture] or list(range(len(pages)))
    first = pages[used[0]]
    if not sameKind([pages[number] for number in used]):
        return [Stack([number], (*_resolution(pages[number]), 1.0), {"Page": str(number + 1)}) for number in used], None
    layout = layoutOf(first, first.samples)
    x, y = _resolution(first)
    if layout is None:
        text = first.description.strip()[:_LONGEST]
        return [Stack(used, (x, y, 1.0), {"Description": text} if text else {})], None
    across, down, apart = layout.spacing
    if first.turned:
        across, down = down, across
    spacing = (across or x, down or y, apart or 1.0)
    sizes = layout.sizes
    if math.prod(sizes.values()) != len(used):
        return [Stack(used, spacing)], None
    stacks = []
    for time in range(sizes["t"]):
        for channel in range(sizes["c"]):
            slices = [used[_page(layout, {"c": channel, "t": time, "z": z})] for z in range(sizes["z"])]
            stacks.append(Stack(slices, spacing, {"Channel": str(channel + 1)} if sizes["c"] > 1 else {}))
    if sizes["c"] > 1 or layout.interval is None:
        return stacks, None
    return stacks, sinceFirst(number * layout.interval for number in range(sizes["t"]))


def _page(layout: Layout, place: dict[str, int]) -> int:
    number, step = 0, 1
    for axis in layout.order:
        number += place[axis] * step
        step *= layout.sizes[axis]
    return number


def _resolution(page: Page) -> tuple[float, float]:
    # Millimetres between columns and between rows; 1 where the file does not state them.
    unit = {2: 25.4, 3: 10.0}.get(page.resolutionUnit)
    x, y = (unit / value if unit and value and 1e-6 < unit / value < 1e6 else 1.0 for value in page.resolution)
    return (y, x) if page.turned else (x, y)


def layoutOf(page: Page, samples: int) -> Layout | None:
    """What ImageJ or OME says of the pages in the description of the first; None when neither does.

    :param samples: of a pixel, which OME counts as channels.
    """
    if page.description.startswith(_IMAGEJ):
        return _imageJ(page)
    match = _PIXELS.search(page.description) if "<OME" in page.description or "<ome:OME" in page.description else None
    return _ome(dict(_ATTRIBUTE.findall(match[1])), samples) if match else None


def imagesOfImageJ(page: Page) -> int:
    """How many images ImageJ says that there are; above 4 GB it writes one page for all of them."""
    return _count(_fields(page).get("images", "1")) if page.description.startswith(_IMAGEJ) else 1


def _fields(page: Page) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in page.description.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def _imageJ(page: Page) -> Layout:
    fields = _fields(page)
    sizes = {axis: _count(fields.get(name, "1")) for axis, name in zip("czt", _IMAGEJ_AXES, strict=True)}
    images = _count(fields.get("images", "1"))
    if math.prod(sizes.values()) != images:
        sizes = {"c": 1, "z": images, "t": 1}
    # Where ImageJ states a unit of its own, the resolution is in pixels per unit.
    unit = _length(_plain(fields.get("unit", "")))
    (x, y), z = page.resolution, _positive(fields.get("spacing", ""))
    spacing = (unit / x if unit and x else None, unit / y if unit and y else None, unit * z if unit and z else None)
    rate = _positive(fields.get("fps", ""))
    return Layout(sizes, "czt", spacing, _positive(fields.get("finterval", "")) or (1 / rate if rate else None))


def _ome(fields: dict[str, str], samples: int) -> Layout | None:
    order = "".join(letter for letter in fields.get("DimensionOrder", "XYZCT").lower() if letter in "zct")
    if sorted(order) != ["c", "t", "z"]:
        return None
    sizes = {axis: _count(fields.get(f"Size{axis.upper()}", "1")) for axis in "czt"}
    if samples > 1 and sizes["c"] % samples == 0:
        sizes["c"] //= samples

    def length(axis: str) -> float | None:
        value = _positive(fields.get(f"PhysicalSize{axis}", ""))
        unit = _length(_plain(fields.get(f"PhysicalSize{axis}Unit", "µm"))) if value else None
        return value * unit if value and unit else None

    step = _positive(fields.get("TimeIncrement", ""))
    unit = _SECONDS.get(_plain(fields.get("TimeIncrementUnit", "s")))
    return Layout(sizes, order, (length("X"), length("Y"), length("Z")), step * unit if step and unit else None)


def _length(unit: str) -> float | None:
    # Programs let users type any unit: an unknown unit counts as none.
    try:
        return millimetres(unit)
    except NotAnImageError:
        return None


def _plain(unit: str) -> str:
    return html.unescape(unit.strip()).replace("\\u00B5", "µ")


def _count(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,7}", text.strip(), re.ASCII) and int(text) else 1


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None
