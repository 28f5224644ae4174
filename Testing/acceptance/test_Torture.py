"""The torture: it balances when the program is right, and its ledger names each deliberate fault."""

from __future__ import annotations

import json
import sys

import pytest
from torture.Faults import FAULTS, inSlicer
from torture.Plan import KINDS, STEPS, roundOf
from torture.Rounds import Torture

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it stops processes and looks into /proc")


@pytest.fixture
def torture(module, tmp_path, monkeypatch):
    """A torture that gives up early; the files of a failed test stay."""
    made = Torture(str(tmp_path / "work"), say=lambda text: None, patience=1.5)
    yield made
    made.close()


def plain(kind, *steps, **more):
    """The plan of a round with one source and without disturbances."""
    names = ["image"] * 10 + list(steps)
    made = [
        {"after": 0.02, "do": name, "serial": 2 * place, "dice": place, "pause": 0.3}
        for place, name in enumerate(names)
    ]
    source = {"kind": kind, "sender": 7, "steps": made, **more}
    return {"seed": 0, "number": 0, "sources": [source], "disturbances": [], "ending": "stop"}


def test_theSeedMakesThePlan():
    plans = [[json.dumps(roundOf(5, number)) for number in range(40)] for _repetition in range(2)]
    assert plans[0] == plans[1]
    assert plans[0] != [json.dumps(roundOf(6, number)) for number in range(40)]
    rounds = [json.loads(plan) for plan in plans[0]]
    assert {source["kind"] for one in rounds for source in one["sources"]} == set(KINDS)
    done = {(source["kind"], step["do"]) for one in rounds for source in one["sources"] for step in source["steps"]}
    assert done == {(kind, step) for kind, steps in STEPS.items() for step in steps}


@pytest.mark.parametrize("kind", ["folder", "http"])
def test_aRoundWithoutAFaultOfTheProgramBalances(torture, kind):
    problems, figures = torture.run(plain(kind, "garbage", "cut", "image", answerTime=3))
    assert problems == []
    assert figures["sent"] == figures["recorded"] == 14


@pytest.mark.parametrize("name", FAULTS)
def test_theLedgerNamesADeliberateFault(torture, name):
    fault = FAULTS[name]
    plan = plain(fault.kind, "garbage", "image", answerTime=3)
    if name == "leaked-descriptor":  # those of the first round may be Python's and Qt's own
        assert torture.run({**plan, "number": 1})[0] == []
    with inSlicer(name):
        problems, _figures = torture.run(plan, fault="" if fault.inSlicer else name)
    assert [problem for problem in problems if fault.caught in problem], problems
