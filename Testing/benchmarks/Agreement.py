"""Comparison of two runs of the benchmarks: a claim holds when both say the same about who is ahead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from .Rows import OURS, peersOf

LEVEL = 1.1
"""Times up to which two medians count as equal."""


def standing(row: dict[str, Any], peer: str) -> str:
    """Return whether we are "ahead" of a peer in a row, "behind" or "level".

    Level: the medians are within 10 %, or the middle halves of the samples overlap.
    """
    ours, theirs = row["ways"][OURS], row["ways"][peer]
    if row["unit"].endswith("/s"):
        ours, theirs = theirs, ours
    sign = "ahead"
    if ours["median"] > theirs["median"]:
        ours, theirs, sign = theirs, ours, "behind"
    if ours["high"] >= theirs["low"] or ours["median"] * LEVEL >= theirs["median"]:
        return "level"
    return sign


def peers(report: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield the title of each benchmark, each of its rows, and each peer of the row."""
    for found in report["benchmarks"].values():
        for row in found["rows"]:
            if OURS in row["ways"]:
                for peer in peersOf(row):
                    yield found["title"], row, peer


def agreement(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Compare the benchmarks that both reports have, each measured anew.

    :returns: number of comparisons in which we are ``ahead``, ``behind`` and ``level`` in the first report, number
        ``changed`` to level or from it in the second, and ``contradictions``: sentences about peers that are ahead in
        one report and behind in the other.
    """
    measured = {found["title"]: found["measured"] for found in first["benchmarks"].values()}
    again = {
        key: found for key, found in second["benchmarks"].items() if found["measured"] != measured.get(found["title"])
    }
    others = {(title, row["name"], peer): standing(row, peer) for title, row, peer in peers({"benchmarks": again})}
    counts: Counter[str] = Counter()
    contradictions = []
    for title, row, peer in peers(first):
        mine, other = standing(row, peer), others.get((title, row["name"], peer))
        if other is None:
            continue
        counts[mine] += 1
        if {mine, other} == {"ahead", "behind"}:
            words = {"ahead": f"ahead of {peer}", "behind": f"behind {peer}"}
            contradictions.append(f"{title}: {row['name']}: {words[mine]} in one run, {other} in the other")
        elif mine != other:
            counts["changed"] += 1
    return {**{key: counts[key] for key in ("ahead", "behind", "level", "changed")}, "contradictions": contradictions}


def sentence(found: dict[str, Any]) -> str:
    """Return the result of a comparison in words."""
    total = found["ahead"] + found["behind"] + found["level"]
    text = (
        f"Two runs, {total} comparisons with peers: ahead in {found['ahead']}, behind in {found['behind']}, "
        f"level in {found['level']} (medians within 10 %, or middle halves that overlap). In the second run, "
        f"{found['changed']} became level or were level before, and {len(found['contradictions'])} contradict."
    )
    return " ".join([text, *(f"{one}." for one in found["contradictions"])])
