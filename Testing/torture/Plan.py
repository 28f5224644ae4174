"""Plan of a torture: from the seed and the number of a round follow its sources, steps and disturbances.

A plan is plain JSON, so that a report has it. A sender executes a step, ``{"after": seconds, "do": name, "serial":
number}``. The round executes a disturbance, ``{"at": seconds, "do": name, "source": place}``.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

Step = dict[str, Any]
Plan = dict[str, Any]

STEPS: dict[str, dict[str, int]] = {
    "folder": {
        "image": 10,
        "burst": 2,
        "grow": 2,
        "late": 1,
        "cut": 1,
        "zeros": 1,
        "garbage": 1,
        "copy": 1,
        "rename": 1,
        "delete": 1,
        "replace": 1,
        "lock": 1,
        "link": 1,
        "odd": 1,
        "backdate": 1,
        "compress": 1,
        "away": 1,
        "unreadable": 1,
    },
    "openigtlink": {
        "image": 12,
        "twice": 1,
        "stall": 1,
        "cut": 1,
        "reset": 1,
        "hostile": 1,
        "garbage": 1,
        "flip": 2,
        "pieces": 1,
        "second": 1,
    },
    "http": {
        "image": 10,
        "file": 3,
        "twice": 1,
        "stall": 1,
        "cut": 1,
        "reset": 1,
        "hostile": 1,
        "garbage": 1,
        "token": 1,
        "flip": 1,
        "chunks": 1,
        "pieces": 1,
    },
    "dicom": {
        "image": 10,
        "shuffle": 2,
        "twice": 1,
        "release": 1,
        "abort": 1,
        "garbage": 1,
        "hostile": 1,
        "stall": 1,
        "damage": 1,
    },
    "mrd": {
        "image": 12,
        "close": 2,
        "stall": 1,
        "cut": 1,
        "reset": 1,
        "hostile": 1,
        "garbage": 1,
        "pieces": 1,
    },
    "push": {"image": 12, "burst": 2},
    "camera": {},
    "replay": {},
}
"""Kinds of sources, and for each the steps of a sender with their frequencies."""
KINDS = tuple(STEPS)
PLAYED = ("camera", "replay")
"""Kinds that play one file."""
DISTURBANCES = {
    "kill": 6,
    "freeze": 3,
    "starve": 2,
    "block": 3,
    "diskFull": 2,
    "readOnly": 1,
    "clock": 2,
    "temporaryFull": 1,
    "restart": 1,
    "record": 1,
    "pause": 1,
}
"""Disturbances, and their frequencies. "record" ends the recording and begins another."""
ENDINGS = ("stop", "stop", "stopEach", "scene", "reload")
ABRUPT = 0.25
"""Share of the rounds that end in the middle."""
PAUSES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds before a step."""
LEAST_GAP = 2.5
"""Least seconds between two deaths of one process: the product gives up after some in a row without an image."""


def roundOf(seed: int, number: int, seconds: float = 7.0, kinds: Sequence[str] = KINDS) -> Plan:
    """Return the plan of a round.

    :param seconds: for which senders send.
    :param kinds: kinds of sources to choose from.
    """
    dice = random.Random(f"{seed}/{number}")
    # Each kind comes in turn, with one or two others beside it.
    first = kinds[number % len(kinds)]
    others = [kind for kind in kinds if kind != first]
    chosen = [first, *dice.sample(others, min(len(others), dice.randint(0, 2)))]
    sources = [_sourceOf(dice, kind, number * 8 + place + 1, seconds) for place, kind in enumerate(chosen)]
    return {
        "seed": seed,
        "number": number,
        "sources": sources,
        "disturbances": _disturbancesOf(dice, len(sources), seconds),
        "ending": dice.choice(ENDINGS),
        # Some rounds end while the senders send.
        "abrupt": round(dice.uniform(1.0, seconds), 2) if dice.random() < ABRUPT else None,
    }


def _sourceOf(dice: random.Random, kind: str, sender: int, seconds: float) -> Plan:
    # A word has at most 14 bits in the first voxels of an image.
    source: Plan = {"kind": kind, "sender": sender % (1 << 14), "steps": []}
    names, weights = list(STEPS[kind]), list(STEPS[kind].values())
    serial, total = 0, 0.0
    while names and total < seconds:
        step = {"after": dice.choice(PAUSES), "do": dice.choices(names, weights)[0], "serial": serial}
        step |= {"dice": dice.randrange(1 << 30), "pause": round(dice.uniform(0.3, 2.0), 2)}
        total += step["after"] + (step["pause"] if step["do"] in ("stall", "late", "zeros", "lock", "away") else 0.05)
        serial += 8 if step["do"] == "burst" else 2
        source["steps"].append(step)
    if kind in PLAYED:
        source |= {"count": dice.randint(30, 90), "rate": dice.choice((10, 20, 30)), "late": dice.random() < 0.3}
    if kind in ("folder", "push", "replay", "http") and dice.random() < 0.4:
        source["process"] = dice.choice(("all", "newest"))
    if kind == "mrd":
        source["sendBack"] = dice.random() < 0.5
    return source


def _disturbancesOf(dice: random.Random, sources: int, seconds: float) -> list[Step]:
    names, weights = list(DISTURBANCES), list(DISTURBANCES.values())
    found: list[Step] = []
    for _one in range(dice.randint(3, 10)):
        step: Step = {
            "at": round(dice.uniform(0.3, seconds), 2),
            "do": dice.choices(names, weights)[0],
            "source": dice.randrange(sources),
            "seconds": round(dice.uniform(0.2, 2.5), 2),
            "by": dice.choice((-86400.0, -3600.0, -5.0, -0.5, 5.0, 3600.0)),
        }
        found.append(step)
    return sorted(_apart(found), key=lambda step: float(step["at"]))


def _apart(steps: list[Step]) -> list[Step]:
    """Leave out deaths that follow another one too soon, and those while no checkpoint can be written."""
    kept: list[Step] = []
    full = any(step["do"] == "temporaryFull" for step in steps)
    for step in sorted(steps, key=lambda step: float(step["at"])):
        if step["do"] == "kill" and (
            full
            or any(
                one["do"] == "kill"
                and one["source"] == step["source"]
                and abs(float(step["at"]) - float(one["at"])) < LEAST_GAP
                for one in kept
            )
        ):
            continue
        kept.append(step)
    return kept
