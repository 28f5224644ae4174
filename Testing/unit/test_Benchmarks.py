"""The form of the benchmarks, and the pages that are made of their report."""

import json

import pytest
from benchmarks import Pages
from benchmarks.__main__ import BENCHMARKS
from benchmarks.Agreement import agreement, sentence
from benchmarks.Rows import OURS, Row, interleaved, missing


def test_a_figure_has_median_quartiles_and_the_times_of_its_floor():
    row = Row("copy", "ms", {"memcpy": [1.0, 2.0, 3.0], OURS: [2.0, 4.0, 12.0]}).toJSON()
    assert row["floor"] == "memcpy"
    assert row["ways"]["memcpy"] == {"median": 2.0, "low": 1.5, "high": 2.5, "count": 3, "timesFloor": 1.0}
    # Round by round 2, 2 and 4.
    assert row["ways"][OURS] == {"median": 4.0, "low": 3.0, "high": 8.0, "count": 3, "timesFloor": 2.0}


def test_the_floor_of_a_rate_is_faster():
    row = Row("receive", "MB/s", {"socket": [1000.0] * 2, OURS: [500.0, 500.0], "peer": [250.0]}).toJSON()
    assert (row["ways"][OURS]["timesFloor"], row["ways"]["peer"]["timesFloor"]) == (2.0, 4.0)


@pytest.mark.parametrize(("unit", "value", "met"), [("ms", 3.0, True), ("ms", 3.1, False), ("MB/s", 2.9, False)])
def test_a_goal_is_met_below_a_time_and_above_a_rate(unit, value, met):
    goal = Row("x", unit, {"floor": [1.0], OURS: [value]}, "at most 3", 3.0).toJSON()["goal"]
    assert goal == {"words": "at most 3", "met": met}


@pytest.mark.parametrize(("most", "met"), [(1.5, True), (1.4, False)])
def test_a_goal_in_times_of_the_floor_is_judged_round_by_round(most, met):
    row = Row("x", "ms", {"floor": [1.0, 10.0, 2.0], OURS: [1.5, 15.0, 3.0]}, "at most 1.5 x the floor", most=most)
    assert row.toJSON()["goal"]["met"] == met


def test_ways_are_measured_in_turn_every_other_round_backwards():
    order = []
    ways = {name: lambda name=name: order.append(name) or float(len(order)) for name in "abc"}
    samples = interleaved(ways, 2)
    assert "".join(order) == "abc" + "cba" + "abc"
    assert samples == {"a": [6.0, 7.0], "b": [5.0, 8.0], "c": [4.0, 9.0]}


def runOf(unit, ours, measured="first", **peers):
    ways = {"floor": [0.1, 0.1], OURS: ours, f"{OURS}, warm": [9.0], "floor on two": [0.05], **peers}
    row = Row("x", unit, ways).toJSON()
    return {"benchmarks": {"x": {"title": "X", "measured": measured, "rows": [row]}}}


@pytest.mark.parametrize(
    ("unit", "ours", "peer", "standing"),
    [
        ("ms", [1.0, 1.1], [1.3, 1.4], "ahead"),
        ("ms", [1.3, 1.4], [1.0, 1.1], "behind"),
        ("MB/s", [1.3, 1.4], [1.0, 1.1], "ahead"),
        ("MB/s", [1.0, 1.1], [1.3, 1.4], "behind"),
        ("ms", [1.0, 1.01], [1.05, 1.06], "level"),  # within 10 %
        ("ms", [1.0, 2.0], [1.4, 2.4], "level"),  # the middle halves overlap
    ],
)
def test_a_run_says_who_is_ahead(unit, ours, peer, standing):
    first, second = (runOf(unit, ours, when, peer=peer) for when in ("first", "second"))
    found = agreement(first, second)
    assert {key: count for key, count in found.items() if count} == {standing: 1}
    assert not any(agreement(first, first).values()), "it was measured once"


def test_two_runs_contradict_each_other():
    first, second = (runOf("ms", [1.0], str(one), fast=[one], slow=[3.0], once=[2.0], new=[0.1]) for one in (0.5, 2.0))
    del second["benchmarks"]["x"]["rows"][0]["ways"]["new"]
    second["benchmarks"]["x"]["rows"][0]["ways"]["once"]["median"] = 1.0
    found = agreement(first, second)
    assert found == {
        "ahead": 2,
        "behind": 1,
        "level": 0,
        "changed": 1,
        "contradictions": ["X: x: behind fast in one run, ahead in the other"],
    }
    assert sentence(found).startswith("Two runs, 3 comparisons with peers: ahead in 2, behind in 1, level in 0")


def test_a_missing_peer_is_named():
    assert missing("numpy") == ""
    assert missing("no-such-package", "noSuchPackage") == "not installed (pip install no-such-package)"


def test_the_documentation_shows_the_report():
    """``python3 run.py bench none --report docs/benchmarks.json --docs`` writes both pages."""
    report = json.loads(Pages.REPORT.read_text(encoding="utf-8"))
    assert set(report["benchmarks"]) <= {name.lower() for name in BENCHMARKS}
    assert Pages.PAGE.read_text(encoding="utf-8") == Pages.page(report)
    readme = Pages.README.read_text(encoding="utf-8")
    assert readme.partition(Pages.BEGIN)[2].partition(Pages.END)[0].strip() == Pages.table(report).strip()
    assert not [found for found in report["benchmarks"].values() if not all(found["checks"].values())]
