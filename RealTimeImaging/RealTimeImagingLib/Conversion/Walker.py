"""Walk through a DICOM header by the lengths of its elements, keeping only wanted values."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence, Set
from itertools import pairwise
from typing import NamedTuple

from ..Formats.DICOM.File import UNDEFINED
from ..Model.Text import textsOf

_ = textsOf(__file__)

LONGEST = 64
"""Most elements of a run."""
MOST = 4096
"""Most runs in memory."""


class Element(NamedTuple):
    """Position of an element.

    :param start: offset of its beginning. ``value``: offset of its value. ``end``: offset of the next element.
    """

    tag: int
    start: int
    value: int
    end: int


class Run:
    """Consecutive elements of a header that was walked before. The first use compiles them: most are never used."""

    def __init__(self, elements: Sequence[Element], beginnings: Sequence[bytes], wanted: Set[int]) -> None:
        self._elements, self._expected = elements, tuple(beginnings)
        self._wanted, self.first = wanted, elements[0].tag
        self._beginnings: struct.Struct | None = None

    def _compile(self) -> struct.Struct:
        elements = self._elements
        start = elements[0].start
        kept = [one for one in elements if one.tag in self._wanted]
        places = [start, *(place for one in kept for place in (one.value, one.end))]
        pieces = (
            f"{after - before}{'s' if number % 2 else 'x'}" for number, (before, after) in enumerate(pairwise(places))
        )
        self._values = struct.Struct("".join(pieces))
        self._tags = [one.tag for one in kept]
        self.last, self.size = elements[-1].tag, elements[-1].end - start
        return struct.Struct("".join(f"{one.value - one.start}s{one.end - one.value}x" for one in elements))

    def take(self, data: bytes, position: int, values: dict[int, bytes]) -> tuple[int, int]:
        """Return the number of bytes that match, and the tag of the last matching element; 0 and 0 without a match.

        :param values: receives the wanted values.
        """
        beginnings = self._beginnings = self._beginnings or self._compile()
        try:
            found = beginnings.unpack_from(data, position)
        except struct.error:
            return 0, 0
        if found != self._expected:
            pairs = zip(found, self._expected, strict=True)
            same = next(number for number, (here, before) in enumerate(pairs) if here != before)
            if not same:
                return 0, 0
            self._elements, self._expected = self._elements[:same], self._expected[:same]
            self._beginnings = self._compile()
        values.update(zip(self._tags, self._values.unpack_from(data, position), strict=True))
        return self.size, self.last


class Layouts:
    """Known runs, for one set of wanted tags and one encoding of elements."""

    def __init__(self, wanted: Set[int]) -> None:
        self._wanted = wanted
        self._runs: dict[bytes, Run] = {}

    def at(self, data: bytes, position: int) -> Run | None:
        """Return a run that may begin here."""
        return self._runs.get(data[position : position + 8])

    def learn(self, data: bytes, elements: Sequence[Element]) -> None:
        """Store the runs that begin with each of these elements; a gap between two elements ends a run."""
        if len(self._runs) > MOST:
            self._runs.clear()
        beginnings = [data[one.start : one.value] for one in elements]
        for number, element in enumerate(elements):
            last = number + 1
            while last < min(len(elements), number + LONGEST) and elements[last].start == elements[last - 1].end:
                last += 1
            run = Run(elements[number:last], beginnings[number:last], self._wanted)
            self._runs[data[element.start : element.start + 8]] = run


PIXELS = 0x7FE00010
IMPLICIT, EXPLICIT, BIG, DEFLATED = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2", ".1.99"))
"""Transfer syntaxes, PS3.6 annex A; every other one is encapsulated, and explicit little endian."""

_SYNTAX, _GROUP_LENGTH = 0x00020010, 0x00020000
_META = frozenset((_SYNTAX, _GROUP_LENGTH))
_LONG = {b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"SV", b"UC", b"UR", b"UT", b"UN", b"UV"}
_SHORT = {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL"} | {
    *(b"SS", b"ST", b"TM", b"UI", b"UL", b"US")
}
"""PS3.5 section 7.1.2: value representations with a length of 32 bits behind two reserved bytes, and of 16 bits."""
_ELEMENT = {order: struct.Struct(order + "HH2sH").unpack_from for order in "<>"}
_LENGTH = {order: struct.Struct(order + "I").unpack_from for order in "<>"}
"""By byte order: tag, value representation and length of an element; a length of 32 bits."""
_FLOAT_PIXELS = (0x7FE00008, 0x7FE00009)
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DEEPEST = 16


class ShortError(Exception):
    """The header continues behind the given bytes."""


class OddError(Exception):
    """The header is of a kind that only another reader can read."""


class Walked(NamedTuple):
    """Values of a header.

    :param values: bytes of each wanted element in the header, by tag (group << 16 | element), in ``order``.
    :param syntax: UID of the transfer syntax.
    :param order: "<" or ">", the byte order of numbers behind the file meta information.
    :param tag: tag of the element with the pixels; 0 when the data set ends without pixels.
    :param offset: offset of the first byte of the pixels; in the deflated syntax, inside the inflated header.
    :param length: bytes of the pixels, UNDEFINED when they are encapsulated.
    """

    values: dict[int, bytes]
    syntax: str
    order: str
    tag: int
    offset: int
    length: int


class Memory:
    """Layouts of earlier headers for one set of wanted tags: similar headers are walked faster."""

    def __init__(self, wanted: Set[int]) -> None:
        self.wanted = wanted
        self.meta = Layouts(_META)
        self._layouts: dict[tuple[bool, str], Layouts] = {}

    def of(self, explicit: bool, order: str) -> Layouts:
        """Return the layouts of one encoding."""
        found = self._layouts.get((explicit, order))
        if found is None:
            found = self._layouts[explicit, order] = Layouts(self.wanted)
        return found


def walk(data: bytes, wanted: Set[int], whole: bool, memory: Memory | None = None) -> Walked:
    """Walk to the pixels.

    :param data: the beginning of a file.
    :param wanted: tags to keep; only those at the top level of the data set are found.
    :param whole: ``data`` is the whole file.
    :raises ShortError: more of the file is needed; with ``whole``, the file is truncated.
    :raises OddError: only another reader can read the header.
    """
    if data[128:132] != b"DICM":
        raise ShortError if len(data) < 132 and not whole else OddError
    memory = memory or Memory(wanted)
    try:
        meta, position = _meta(data, memory.meta)
        syntax = meta.get(_SYNTAX, b"").rstrip(b"\0 ").decode("ascii", "replace")
        if syntax == DEFLATED:
            data, whole = inflatedStart(data[position:], len(data) * 8, whole)
            position = 0
        return _dataset(data, position, meta, syntax, memory, whole)
    except (struct.error, IndexError):
        raise ShortError from None


def inflatedStart(packed: bytes, size: int, whole: bool) -> tuple[bytes, bool]:
    """Inflate at most ``size`` bytes of a data set (PS3.5 section A.5); the second value is True when these are all.

    :raises OddError: the data set is not deflated.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(packed, size)
    except zlib.error as error:
        raise OddError(_("the deflated data set is damaged")) from error
    return plain, inflater.eof or (whole and not inflater.unconsumed_tail)


def _meta(data: bytes, layouts: Layouts) -> tuple[dict[int, bytes], int]:
    # PS3.10 section 7.1: always explicit little endian.
    values: dict[int, bytes] = {}
    position = 132
    fresh: list[Element] = []
    while data[position : position + 2] == b"\x02\x00":
        if (run := layouts.at(data, position)) is not None and (taken := run.take(data, position, values)[0]):
            position += taken
            continue
        begin = position
        group, element, kind, length = struct.unpack_from("<HH2sH", data, position)
        position += 8
        if kind in _LONG:
            (length,) = struct.unpack_from("<I", data, position)
            position += 4
        elif kind not in _SHORT:
            raise OddError(_("an element of the file meta information has no value representation"))
        if position + length > len(data):
            raise ShortError
        tag = group << 16 | element
        if tag in _META:
            values[tag] = data[position : position + length]
        fresh.append(Element(tag, begin, position, position + length))
        position += length
    if len(data) < position + 2:
        raise ShortError
    layouts.learn(data, fresh)
    # The bytes of a deflated data set could look like another element of the meta information by chance.
    declared = values.get(_GROUP_LENGTH, b"")
    if values.get(_SYNTAX, b"").startswith(DEFLATED.encode()) and len(declared) == 4:
        position = 144 + int(struct.unpack("<I", declared)[0])
    return values, position


def _dataset(data: bytes, position: int, values: dict[int, bytes], syntax: str, memory: Memory, whole: bool) -> Walked:
    explicit, order, size = syntax != IMPLICIT, ">" if syntax == BIG else "<", len(data)
    unpack, unpackLong = _ELEMENT[order], _LENGTH[order]
    short, before, wanted = _SHORT if explicit else frozenset[bytes](), 0, memory.wanted
    layouts = memory.of(explicit, order)
    fresh: list[Element] = []
    while True:
        if (run := layouts.at(data, position)) is not None and run.first > before:
            taken, last = run.take(data, position, values)
            if taken:
                position += taken
                before = last
                continue
        begin = position
        try:
            group, element, kind, length = unpack(data, position)
        except struct.error:
            if position == size and whole:
                return Walked(values, syntax, order, 0, position, 0)
            raise ShortError from None
        tag = group << 16 | element
        if tag <= before:
            raise OddError(_("the elements are not in order"))
        before = tag
        if kind in short:
            position += 8
        else:
            if not explicit:
                (length,) = unpackLong(data, position + 4)
                position += 8
            elif kind in _LONG:
                (length,) = unpackLong(data, position + 8)
                position += 12
            else:
                raise OddError(_("an element has no value representation"))
            if tag == PIXELS or tag in _FLOAT_PIXELS:
                layouts.learn(data, fresh)
                return Walked(values, syntax, order, tag, position, length)
            if length == UNDEFINED:
                # PS3.5 section 6.2.2, note 2: an UN of undefined length is implicit inside.
                position = _skipSequence(data, position, order, explicit and kind != b"UN", 0)
                continue
        if position + length > size:
            raise ShortError
        if tag in wanted:
            values[tag] = data[position : position + length]
        fresh.append(Element(tag, begin, position, position + length))
        position += length


def _skipSequence(data: bytes, position: int, order: str, explicit: bool, depth: int) -> int:
    # PS3.5 section 7.5.
    if depth > _DEEPEST:
        raise OddError(_("sequences are nested too deeply"))
    while True:
        group, element, length = struct.unpack_from(order + "HHI", data, position)
        position += 8
        tag = group << 16 | element
        if tag == _SEQUENCE_END:
            return position
        if tag != _ITEM:
            raise OddError(_("a sequence has something else than items"))
        position = position + length if length != UNDEFINED else _skipItem(data, position, order, explicit, depth)
        if position > len(data):
            raise ShortError


def _skipItem(data: bytes, position: int, order: str, explicit: bool, depth: int) -> int:
    while True:
        group, element = struct.unpack_from(order + "HH", data, position)
        tag = group << 16 | element
        if tag == _ITEM_END:
            return position + 8
        kind = data[position + 4 : position + 6]
        if explicit and kind in _SHORT:
            (length,) = struct.unpack_from(order + "H", data, position + 6)
            position += 8
        elif explicit and kind in _LONG:
            (length,) = struct.unpack_from(order + "I", data, position + 8)
            position += 12
        elif explicit:
            raise OddError(_("an element has no value representation"))
        else:
            (length,) = struct.unpack_from(order + "I", data, position + 4)
            position += 8
        if length == UNDEFINED:
            position = _skipSequence(data, position, order, explicit and kind != b"UN", depth + 1)
        else:
            position += length
        if position > len(data):
            raise ShortError
