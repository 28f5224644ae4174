"""The torture: it balances when the program is right, and its ledger names each deliberate fault."""

from __future__ import annotations

import json
import re
import sys

import pytest
from torture.Faults import FAULTS, inSlicer
from torture.Plan import KINDS, STEPS, roundOf
from torture.Rounds import Torture

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it stops processes and looks into /proc")


PATIENCE = 8.0
"""Seconds after which a torture no longer waits for images that a deliberate fault has lost."""


@pytest.fixture
def torture(module, tmp_path):
    """A torture."""
    made = Torture(str(tmp_path / "work"), say=lambda text: None)
    yield made
    made.close()


def source(kind, sender, *steps, **more):
    """A source whose sender sends ten images, and then takes the steps."""
    names = ["image"] * 10 + list(steps)
    made = [
        {"after": 0.02, "do": name, "serial": 2 * place, "dice": place, "pause": 0.3}
        for place, name in enumerate(names)
    ]
    return {"kind": kind, "sender": sender, "steps": made, "answerTime": 5.0, **more}


def plan(number, *sources, disturbances=()):
    """The plan of a round that ends with a stop."""
    steps = [{"seconds": 0.5, "by": -3600.0, **one} for one in disturbances]
    return {"seed": 0, "number": number, "sources": sources, "disturbances": steps, "ending": "stop"}


def test_theSeedMakesThePlan():
    plans = [[json.dumps(roundOf(5, number)) for number in range(40)] for _repetition in range(2)]
    assert plans[0] == plans[1]
    assert plans[0] != [json.dumps(roundOf(6, number)) for number in range(40)]
    rounds = [json.loads(plan) for plan in plans[0]]
    assert {source["kind"] for one in rounds for source in one["sources"]} == set(KINDS)
    done = {(source["kind"], step["do"]) for one in rounds for source in one["sources"] for step in source["steps"]}
    assert done == {(kind, step) for kind, steps in STEPS.items() for step in steps}


def test_aDisturbedRoundBalances(torture):
    sources = [source("folder", 1, "garbage", "cut", "away", "image"), source("http", 2, "flip", "token", "image")]
    disturbances = [{"at": 0.5, "do": "clock", "source": 0}, {"at": 1.0, "do": "block", "source": 0}]
    disturbances += [{"at": 1.6, "do": "kill", "source": 0}, {"at": 1.7, "do": "freeze", "source": 1}]
    problems, figures = torture.run(plan(0, *sources, disturbances=disturbances))
    assert problems == []
    assert figures["kills"] == 1
    assert figures["recorded"] == figures["received"] >= figures["sent"] == 29


def test_theLedgerNamesEachDeliberateFault(torture):
    """One source has no fault: nothing may be said about it."""
    torture.patience = PATIENCE
    names = [name for name, fault in FAULTS.items() if not fault.inSlicer]
    faulty = [source(FAULTS[name].kind, place + 2, "garbage", "image", fault=name) for place, name in enumerate(names)]
    problems, _figures = torture.run(plan(0, source("folder", 1, "garbage", "image"), *faulty))
    for place, name in enumerate(names):
        about = [problem for problem in problems if f"S{place + 2}" in problem]
        assert any(FAULTS[name].caught in problem for problem in about), (name, problems)
    assert not [problem for problem in problems if re.search(r"S1\b", problem)]
    # The first round opened what Python and Qt open for themselves.
    for name in [name for name, fault in FAULTS.items() if fault.inSlicer]:
        with inSlicer(name):
            problems, _figures = torture.run(plan(1, source(FAULTS[name].kind, 1, "image")))
        assert [problem for problem in problems if FAULTS[name].caught in problem], (name, problems)
