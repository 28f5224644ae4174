"""Fuzz parsers: ``python3 run.py fuzz [TARGET ...] [--seconds N | --short] [--input FILE ...]``."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import importlib
import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

WORK = Path(__file__).resolve().parents[2] / "build" / "fuzz"


def main() -> int:
    """Fuzz each target; return 1 for a find."""
    options = parsedArguments()
    byAtheris = not options.hypothesis and not options.input and importlib.util.find_spec("atheris") is not None
    engines, known = load(byAtheris)
    unknown = [name for name in options.targets if name not in known]
    if unknown:
        print(f"There is no parser {', '.join(unknown)}; there are {', '.join(known)}.")
        return 2
    targets = [known[name] for name in options.targets or known]
    if options.input:
        return checkFiles(targets, options.input)
    WORK.mkdir(parents=True, exist_ok=True)
    seconds = 0 if options.short else max(1, options.seconds * (options.jobs if byAtheris else 1) // len(targets))
    amount = f"{seconds} s each" if seconds else "always the same inputs"
    print(f"{len(targets)} parsers, {amount}, by {'atheris' if byAtheris else 'Hypothesis'}", flush=True)
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=shared) as tempfile.tempdir:
        if byAtheris:
            found = engines.fuzzByAtheris(targets, options.jobs, WORK, seconds, options.seed)
        else:
            found = [target.name for target in targets if engines.fuzzByHypothesis(target, WORK, seconds)]
    print(f"Finds: {', '.join(found)}, in {WORK}" if found else "No finds")
    return int(bool(found))


def parsedArguments() -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(prog="run.py fuzz", description="Fuzz the parsers of bytes from outside.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="parsers; all without one")
    parser.add_argument("--seconds", type=int, default=60, help="for all parsers together, at least 1 for each (60)")
    parser.add_argument("--short", action="store_true", help="the same inputs each time, for checks before a merge")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once, with atheris")
    parser.add_argument("--seed", type=int, default=0, help="of atheris; 0: another one each time")
    parser.add_argument("--hypothesis", action="store_true", help="without coverage, also where atheris is installed")
    parser.add_argument("--input", nargs="+", type=Path, help="check these files once, with the TARGET")
    return parser.parse_args()


def load(covered: bool) -> tuple[ModuleType, dict[str, object]]:
    """Import the engines and the targets; return the targets by name.

    :param covered: instrument the library for atheris.
    """
    with instrumented() if covered else contextlib.nullcontext():
        files, messages, engines = (
            importlib.import_module(f"fuzz.{name}") for name in ("Files", "Messages", "Engines")
        )
    return engines, {target.name: target for target in (*files.TARGETS, *messages.TARGETS)}


@contextlib.contextmanager
def instrumented():
    """Count the branches of the library's modules that are imported meanwhile."""
    import atheris

    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)  # it names each module
    try:
        with atheris.instrument_imports(include=["RealTimeImagingLib"], enable_loader_override=False):
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def checkFiles(targets: list, paths: list[Path]) -> int:
    """Give files to parsers; a find ends with its traceback."""
    faulthandler.enable()
    check = importlib.import_module("fuzz.Rules").check
    for target in targets:
        target.prepare()
        for path in paths:
            check(target, path.read_bytes())
            print(f"{target.name}: {path} breaks no rule")
    return 0


if __name__ == "__main__":
    sys.exit(main())
