"""python3 run.py torture: faults on every source at once, until the time is over; the ledger must balance."""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import sys
import tempfile
import time
from typing import Any

import slicerhost

from .Plan import KINDS, roundOf
from .Rounds import COUNTS, MODULE, Torture
from .System import mayMount


def main() -> int:
    """Run the torture; return 0 when everything balances."""
    options = _options()
    if options.soak:
        from .Soak import soak

        return soak(options.minutes, options.report, options.plot)
    mounts = mayMount()
    logging.basicConfig(level=logging.CRITICAL)
    seed = options.seed if options.seed is not None else random.randrange(1 << 30)
    print(f"Torture with the seed {seed}: {options.minutes:g} minutes. The disk is {'real' if mounts else 'a quota'}.")
    rounds: list[dict[str, Any]] = []
    problems: list[str] = []
    slicerhost.boot()
    slicerhost.loadModule(MODULE)
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        torture = Torture(os.path.join(folder, "work"), mounts, _say)
        try:
            end, number = time.monotonic() + 60 * options.minutes, options.round or 0
            while True:
                plan = roundOf(seed, number, kinds=options.kinds or KINDS)
                kinds = ", ".join(source["kind"] for source in plan["sources"])
                _say(f"Round {number}: {kinds}; ends with {plan['ending']}")
                found, figures = torture.run(plan)
                counts = {name: figures[name] for name in COUNTS}
                _say(f"    {'FAILED' if found else 'balanced'} after {figures['seconds']} s: {counts}")
                for problem in found:
                    _say(f"    ! {problem}")
                rounds.append({"plan": plan, "figures": figures, "problems": found})
                problems += [f"Round {number}: {problem}" for problem in found]
                number += 1
                if options.round is not None or time.monotonic() > end:
                    break
        finally:
            torture.close()
    problems += _left()
    _tell(seed, rounds, problems, options.report)
    return 1 if problems else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (default 5)")
    parser.add_argument("--seed", type=int, help="repeat the plan of an earlier torture")
    parser.add_argument("--round", type=int, metavar="N", help="run this round alone")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, help="torture these sources only")
    parser.add_argument("--report", help="write plans, figures and problems to this JSON file")
    parser.add_argument("--soak", action="store_true", help="no faults: the images of an hour, and what they cost")
    parser.add_argument("--plot", help="soak: write the picture to this PNG file")
    return parser.parse_args()


def _left() -> list[str]:
    """Unload the module and return what is left of it."""
    found = []
    slicerhost.unloadModule("RealTimeImaging")
    slicerhost.closeScene()
    found += slicerhost.leftovers()
    found += [f"An exception in a slot: {error.text}" for error in slicerhost.slotErrors]
    found += [f"VTK says: {text}" for text in slicerhost.vtkMessages]
    mark = f"RealTimeImaging-{os.getpid()}-"
    for root in ("/dev/shm", tempfile.gettempdir()):
        if os.path.isdir(root):
            found += [f"The work folder {root}/{name} is left." for name in os.listdir(root) if name.startswith(mark)]
    return found


def _say(text: str) -> None:
    print(text, flush=True)


def _tell(seed: int, rounds: list[dict[str, Any]], problems: list[str], path: str | None) -> None:
    totals = {name: sum(one["figures"][name] for one in rounds) for name in (*COUNTS, "kills", "events")}
    print(
        f"{len(rounds)} rounds. At least {totals['sent']} images had to arrive, {totals['received']} arrived; "
        f"{totals['recorded']} are stored, {totals['failed']} could not be stored and are counted, "
        f"{totals['rejected']} were rejected. {totals['kills']} processes were killed; {totals['events']} events tell."
    )
    if problems:
        print(f"{len(problems)} things do not balance (repeat with --seed {seed}, one round with --round N):")
        for problem in problems:
            print(f"  {problem}")
    else:
        print("Everything balances: each image is stored, or named with a reason, and nothing is left.")
    if path:
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"seed": seed, "totals": totals, "problems": problems, "rounds": rounds}, file, indent=1)


if __name__ == "__main__":
    sys.exit(main())
