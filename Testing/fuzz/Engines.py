"""Engines that make the bytes: atheris, which follows the coverage of the parser, and otherwise Hypothesis.

Atheris ends its process after a find and after its time. So each target runs in a copy of the process (fork), which
has all parsers imported and instrumented already. Atheris runs on Linux and macOS only.
"""

from __future__ import annotations

import hashlib
import os
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from .Rules import CORPUS, LARGEST, Target, check

SLOWEST = 60
"""Seconds after which an input counts as one that never ends; the rule is checked in processor time."""
LAST_WORDS = 6000
"""Characters of a find that are shown."""


def fuzzWithCoverage(targets: Sequence[Target], seconds: int, jobs: int, work: Path, seed: int = 0) -> list[str]:
    """Fuzz targets by atheris, each for so many seconds; return the names of those with a find.

    :param jobs: number of processes at once.
    :param seed: of the random numbers; 0 takes another one each time.
    :param work: folder for finds, and for inputs of new coverage.
    """
    running: dict[int, Target] = {}
    found: list[str] = []
    waiting = list(targets)
    while waiting or running:
        while waiting and len(running) < jobs:
            target = waiting.pop(0)
            running[
                _forked(lambda target=target: _fuzzOne(target, seconds, work, seed), work / f"{target.name}.log")
            ] = target
        pid, status = os.wait()
        target = running.pop(pid)
        words = (work / f"{target.name}.log").read_text(errors="replace")
        if status:
            found.append(target.name)
            print(f"---- {target.name}: a find\n{words[-LAST_WORDS:]}", flush=True)
        else:
            print(f"{target.name}: no find{_inputs(words)}", flush=True)
    return found


def _forked(run: Callable[[], None], log: Path) -> int:
    # Run in a copy of this process, whose output goes into a file; return its number.
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        run()
        code = 0
    except SystemExit:  # so atheris ends after a find, which it has shown
        pass
    finally:
        os._exit(code)


def _fuzzOne(target: Target, seconds: int, work: Path, seed: int) -> None:
    import atheris

    target.prepare()
    new = work / target.name
    new.mkdir(exist_ok=True)
    options = {
        "max_total_time": seconds,
        "max_len": LARGEST,
        "timeout": SLOWEST,
        "rss_limit_mb": 4096,
        "artifact_prefix": f"{work}/{target.name}-",
        "verbosity": 0,
        "print_final_stats": 1,
        "use_value_profile": 1,
        "seed": seed,
    }
    arguments = [target.name, *(f"-{name}={value}" for name, value in options.items())]
    atheris.Setup([*arguments, str(new), str(CORPUS / target.name)], lambda data: _kept(target, data, work))
    atheris.Fuzz()


def _kept(target: Target, data: bytes, work: Path) -> None:
    # A crash or an endless input is written by atheris.
    try:
        check(target, data)
    except Exception:
        _write(target, data, work)
        raise


def _write(target: Target, data: bytes, work: Path) -> None:
    (work / f"{target.name}-crash-{hashlib.sha1(data).hexdigest()}").write_bytes(data)


def _inputs(words: str) -> str:
    line = next((line for line in words.splitlines() if "number_of_executed_units" in line), "")
    return f" in {int(line.split()[-1]):,} inputs" if line else ""


def fuzzByHypothesis(target: Target, seconds: float, work: Path) -> bool:
    """Fuzz a target for so many seconds; return True for a find, which is written to a file.

    :param work: folder for finds.
    """
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    end = time.monotonic() + seconds
    seeds = list(target.corpus.values())
    found = b""
    changes = st.lists(st.tuples(st.integers(0, LARGEST), st.integers(0, 4), st.binary(max_size=8)), max_size=6)

    @settings(
        max_examples=1000,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(seeds), changes)
    def run(seed: bytes, changed: list[tuple[int, int, bytes]]) -> None:
        nonlocal found
        if time.monotonic() <= end:
            found = mutated(seed, changed)
            check(target, found)

    try:
        target.prepare()
        while time.monotonic() < end:
            run()
    except Exception:  # noqa: BLE001 - the find itself
        traceback.print_exc()
        _write(target, found, work)  # the smallest
        return True
    return False


def mutated(data: bytes, changes: Sequence[tuple[int, int, bytes]]) -> bytes:
    """Return changed bytes.

    :param changes: place, kind of change (0 replace, 1 insert, 2 remove, 3 cut, 4 repeat), and bytes.
    """
    for place, kind, more in changes:
        place %= len(data) + 1
        if kind == 0:
            data = data[:place] + more + data[place + len(more) :]
        elif kind == 1:
            data = data[:place] + more + data[place:]
        elif kind == 2:
            data = data[:place] + data[place + len(more) :]
        elif kind == 3:
            data = data[:place]
        else:
            data += data[place:]
    return data[:LARGEST]
