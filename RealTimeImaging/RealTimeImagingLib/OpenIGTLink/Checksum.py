"""CRC-64 of ECMA-182, the checksum over the body of every OpenIGTLink message (igtlutil/igtl_util.c, crc64).

Polynomial 0x42F0E1EBA9EA3693, start 0, not reflected, nothing added at the end: the checksum of no bytes is 0, and that
of two parts is that of the second begun with that of the first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

Buffer = Any
"""Bytes, or a C-contiguous memoryview of bytes."""

_Sum = Callable[[Buffer, int], int]


def crc64(data: Buffer, before: int = 0) -> int:
    """The checksum of ``data``, or of what came before and ``data``.

    :param data: bytes, or a C-contiguous memoryview of bytes.
    :param before: the checksum of what came before.
    """
    return _sum()(data, before)


def fastChecksum() -> bool:
    """True where checksums run at gigabytes a second, False where they run in Python at some 20 MB/s."""
    return _fast() is not None


@cache
def _sum() -> _Sum:
    return _fast() or _slow()


@cache
def _fast() -> _Sum | None:
    try:
        from fastcrc.crc64 import ecma_182

        # Old versions know bytes only, and a copy of every image is what is to be avoided.
        ecma_182(memoryview(b""), 0)
    except (ImportError, TypeError):
        return None
    return cast(_Sum, ecma_182)


def _slow() -> _Sum:
    from crcmod import mkCrcFun

    update = mkCrcFun(0x142F0E1EBA9EA3693, initCrc=0, rev=False, xorOut=0)
    # Its compiled form wants bytes; pieces of this size keep the copies small.
    piece = 1 << 20

    def checksum(data: Buffer, before: int) -> int:
        view = memoryview(data).cast("B") if len(data) else memoryview(b"")
        for start in range(0, len(view), piece):
            before = update(bytes(view[start : start + piece]), before)
        return before

    return checksum
