"""Rules for every parser of bytes from outside, whatever the bytes are.

It ends within two seconds of processor time, takes no more memory than its declared limit allows, and raises nothing
but the errors that it documents. An error that a user sees is a sentence.
"""

from __future__ import annotations

import re
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from RealTimeImagingLib.Model.Errors import LinkError, RealTimeImagingError
from RealTimeImagingLib.Model.Text import Text

SECONDS = 2.0
"""Most seconds of processor time for one input."""
LIMIT = 1 << 20
"""Limit of one image that the parsers are given, in bytes."""
MEMORY = 128 << 20
"""Most bytes of memory that one input may take beside what is in use: decoders keep several copies of an image."""
LARGEST = 1 << 14
"""Most bytes of an input."""
CORPUS = Path(__file__).with_name("corpus")

_PYTHON = re.compile(
    r"Traceback|Errno|object at 0x|\w+Error[:(]|NoneType|\bndarray|__\w+__|\bcodec can't|requires a buffer|"
    r"object has no|Expecting (value|property|',')|invalid literal|could not convert|(positional|keyword) argument"
)
_QUOTED = re.compile(r"(?:\B|\bb)'[^']*'|\"[^\"]*\"")
"""No apostrophe begins it, as in "the header's"."""
_END = re.compile(r"[.?!][)\"]?$")
SHORT = 12
"""Characters of an error of Python up to which its text may stand in a sentence by chance."""


class Find(AssertionError):
    """A parser breaks a rule."""


@dataclass(frozen=True)
class Target:
    """A parser of bytes from outside.

    :param name: names it in the command, and its folder of the corpus.
    :param run: parses bytes. It may raise errors of the library, which are sentences, and those of ``allowed``.
    :param allowed: further errors that the parser documents.
    :param prepare: called before the first input, such as to import packages; calls after the first do nothing.
    :param inFork: ``prepare`` starts threads, which a fork of the process would lose.
    :param runs: inputs of a short run, about two seconds of processor time.
    """

    name: str
    run: Callable[[bytes], object]
    allowed: tuple[type[Exception], ...] = ()
    prepare: Callable[[], object] = lambda: None
    inFork: bool = False
    runs: int = 5000

    @property
    def seed(self) -> int:
        """Seed of a short run, from 1 on."""
        return zlib.crc32(self.name.encode()) % 1_000_000 + 1

    @property
    def corpus(self) -> dict[str, bytes]:
        """Inputs in the repository by file name."""
        return {path.name: path.read_bytes() for path in sorted((CORPUS / self.name).iterdir())}


def check(target: Target, data: bytes) -> None:
    """Give bytes to a parser.

    :raises Find: the parser breaks a rule, other than by an unexpected exception.
    :raises Exception: that exception.
    """
    before = memory()
    begin = time.process_time()
    try:
        target.run(data)
    except target.allowed:
        pass
    except LinkError:
        pass  # for developers, in the log
    except RealTimeImagingError as error:
        checkSentence(str(error))
        _checkCauses(error)
    seconds = time.process_time() - begin
    if seconds > SECONDS:
        raise Find(f"{target.name} took {seconds:.1f} s for {len(data)} bytes")
    taken = memoryTaken(before)
    if taken > MEMORY:
        raise Find(f"{target.name} took {taken >> 20} MiB for {len(data)} bytes")


def checkSentence(text: str) -> None:
    """Check that a text is one that a user can read.

    :raises Find: it has words of Python, or does not end like a sentence.
    """
    # What is quoted comes from the input.
    own = _QUOTED.sub("", text)
    if len(text) < 10 or not _END.search(text) or _PYTHON.search(own):
        raise Find(f"no sentence: {text!r}")


def _checkCauses(error: BaseException) -> None:
    # What Python says about its own error tells a user nothing.
    text, cause = str(error), error.__cause__ or error.__context__
    while cause is not None:
        words = str(cause)
        isOurs = isinstance(cause, RealTimeImagingError | OSError) or isinstance(words, Text)
        if not isOurs and len(words) > SHORT and words in text:
            raise Find(f"words of {type(cause).__name__} in a sentence: {text!r}") from error
        cause = cause.__cause__ or cause.__context__


_NAMES = (b"VmSize:", b"VmPeak:", b"VmRSS:", b"VmHWM:")


def memory() -> tuple[int, ...]:
    """Return the bytes of address space, the most ever, those in memory and the most of those; empty if unknown.

    The last one begins anew.
    """
    if not sys.platform.startswith("linux"):
        return ()
    with open("/proc/self/clear_refs", "wb", buffering=0) as file:
        file.write(b"5")
    return _read()


def memoryTaken(before: tuple[int, ...]) -> int:
    """Return the most bytes that were taken since :func:`memory`; 0 if unknown."""
    if not before:
        return 0
    now = _read()
    reserved = now[1] - before[0] if now[1] > before[1] else 0
    return max(reserved, now[3] - before[2])


def _read() -> tuple[int, ...]:
    with open("/proc/self/status", "rb", buffering=0) as file:
        data = file.read(4096)
    return tuple(int(data[data.index(name) + len(name) :].split(None, 1)[0]) << 10 for name in _NAMES)
