"""Engines that make the bytes: atheris, which follows the coverage of the parser, and otherwise Hypothesis.

Atheris ends its process after a find and after its time. So each target runs in a copy of the process (fork), which
has all parsers and packages imported and instrumented already. Atheris runs on Linux and macOS only.

A short run follows the coverage too, and gives each parser the same inputs each time: its seed and their number are
fixed, nothing is kept from an earlier run, and no limit depends on how busy the computer is. Another version of Python,
of a package or of the library may lead to other inputs.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from .Rules import CORPUS, LARGEST, Target, check

SLOWEST, SLOWEST_SHORT = 60, 300
"""Seconds after which an input counts as one that never ends; the rule is checked in processor time."""
EXAMPLES = 200
"""Most inputs of a short run by Hypothesis, which is slower."""
LAST_WORDS = 6000
"""Characters of a find that are shown."""


def fuzzByAtheris(targets: Sequence[Target], jobs: int, work: Path, seconds: int = 0, seed: int = 0) -> list[str]:
    """Fuzz targets by atheris; return the names of those with a find.

    :param jobs: number of processes at once.
    :param work: folder for finds, and for inputs of new coverage.
    :param seconds: for each target; 0 for a short run.
    :param seed: of the random numbers; 0 takes another one each time, and that of the target in a short run.
    """
    running: dict[int, tuple[Target, float]] = {}
    found: list[str] = []
    waiting = list(targets)
    for prepare in dict.fromkeys(target.prepare for target in targets if not target.inFork):
        prepare()
    while waiting or running:
        while waiting and len(running) < jobs:
            target = waiting.pop(0)
            log = work / f"{target.name}.log"
            pid = _forked(lambda target=target: _fuzzOne(target, work, seconds, seed), log)
            running[pid] = target, time.time()
        pid, status = os.wait()
        target, began = running.pop(pid)
        words = (work / f"{target.name}.log").read_text(errors="replace")
        if status:
            found.append(target.name)
            print(f"---- {target.name}: a find\n{words[-LAST_WORDS:]}")
            print(f"Repeat it: {repeating(target, work, began, seconds, seed)}", flush=True)
        else:
            print(f"{target.name}: no find{_inputs(words)}", flush=True)
    return found


def repeating(target: Target, work: Path, began: float, seconds: float, seed: int = 0) -> str:
    """Return the command that repeats a find.

    :param began: time since which the find was written (seconds since the epoch).
    :param seconds: as of :func:`fuzzByAtheris`.
    """
    names = ("crash", "timeout", "oom", "leak")
    inputs = [path for name in names for path in work.glob(f"{target.name}-{name}-*")]
    written = [path for path in inputs if path.stat().st_mtime >= began - 1]
    options = [f"--seconds={seconds:.0f}", f"--seed={seed}"] if seconds else ["--short"]
    if written:
        options = ["--input", str(max(written, key=lambda path: path.stat().st_mtime))]
    command = ["run.py", "fuzz", target.name, *options]
    if os.name == "nt":
        return subprocess.list2cmdline(["py", *command])
    return shlex.join(["python3", *command])


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


def _fuzzOne(target: Target, work: Path, seconds: int, seed: int) -> None:
    import atheris

    target.prepare()
    options: dict[str, object] = {
        "max_len": LARGEST,
        "rss_limit_mb": 4096,
        "artifact_prefix": f"{work}/{target.name}-",
        "verbosity": 0,
    }
    folders: list[str] = []
    inputs = Inputs(target, work)
    if seconds:
        new = work / target.name
        new.mkdir(exist_ok=True)
        folders = [str(new), str(CORPUS / target.name)]
        options |= {"max_total_time": seconds, "timeout": SLOWEST, "print_final_stats": 1}
        options |= {"use_value_profile": 1, "seed": seed}
    else:
        # In order of names: that of a folder is the file system's.
        seeds = ",".join(map(str, sorted((CORPUS / target.name).iterdir())))
        options |= {"seed_inputs": seeds, "keep_seed": 1, "seed": seed or target.seed, "timeout": SLOWEST_SHORT}
        # Compared values, and the frequencies of what inputs cover, differ from run to run.
        options |= {"shuffle": 0, "reload": 0, "use_cmp": 0, "entropic": 0}
        inputs.most = target.runs
    arguments = [target.name, *(f"-{name}={value}" for name, value in options.items()), *folders]
    atheris.Setup(arguments, inputs.take)
    atheris.Fuzz()


class Inputs:
    """Inputs that a target is given: checked, counted, and written when they break a rule.

    A crash or an endless input is written by atheris.

    :ivar most: number of inputs after which the process ends; 0 for no limit.
    """

    def __init__(self, target: Target, work: Path) -> None:
        self._target, self._work = target, work
        self.most = self.count = 0
        self.digest = hashlib.sha1(usedforsecurity=False)

    def check(self, data: bytes) -> None:
        """Check an input."""
        self.count += 1
        self.digest.update(len(data).to_bytes(4, "little") + data)
        check(self._target, data)

    def take(self, data: bytes) -> None:
        """Check an input; end the process after the last one."""
        try:
            self.check(data)
        except Exception:
            _write(self._target, data, self._work)
            raise
        if self.count == self.most:
            print(self.words, flush=True)
            os._exit(0)

    @property
    def words(self) -> str:
        """Number of inputs, and the beginning of their digest: equal for the same inputs."""
        return f"{COUNTED}{self.count} inputs, digest {self.digest.hexdigest()[:8]}"


COUNTED = "All inputs: "
"""Beginning of the line that a short run ends with."""


def _write(target: Target, data: bytes, work: Path) -> None:
    (work / f"{target.name}-crash-{hashlib.sha1(data).hexdigest()}").write_bytes(data)


def _inputs(words: str) -> str:
    for line in words.splitlines():
        if line.startswith(COUNTED):
            return f" in {line.removeprefix(COUNTED)}"
        if "number_of_executed_units" in line:
            return f" in {int(line.split()[-1]):,} inputs"
    return ""


def fuzzByHypothesis(target: Target, work: Path, seconds: float = 0.0) -> bool:
    """Fuzz a target; return True for a find, which is written to a file.

    :param work: folder for finds.
    :param seconds: time; 0 for a short run.
    """
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from hypothesis import strategies as st

    began, end = time.time(), time.monotonic() + seconds
    seeds = list(target.corpus.values())
    found = b""
    inputs = Inputs(target, work)
    changes = st.lists(st.tuples(st.integers(0, LARGEST), st.integers(0, 4), st.binary(max_size=8)), max_size=6)

    @settings(
        max_examples=1000 if seconds else min(EXAMPLES, target.runs),
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(seeds), changes)
    def run(seed: bytes, changed: list[tuple[int, int, bytes]]) -> None:
        nonlocal found
        if not seconds or time.monotonic() <= end:
            found = mutated(seed, changed)
            inputs.check(found)

    try:
        target.prepare()
        if not seconds:
            seed(target.seed)(run)()
        while time.monotonic() < end:
            run()
    except Exception:  # noqa: BLE001 - the find itself
        traceback.print_exc()
        _write(target, found, work)  # the smallest
        print(f"Repeat it: {repeating(target, work, began, seconds)}", flush=True)
        return True
    print(f"{target.name}: no find{_inputs(inputs.words)}", flush=True)
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
