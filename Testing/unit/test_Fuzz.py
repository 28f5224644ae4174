"""The rules of fuzzing catch what breaks them, and both engines find it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from fuzz.Engines import fuzzByHypothesis, mutated
from fuzz.Files import TARGETS as FILES
from fuzz.Messages import TARGETS as MESSAGES
from fuzz.Rules import CORPUS, LARGEST, Find, Target, check, checkSentence
from RealTimeImagingLib.Model.Errors import NotAnImageError

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the address space")


def test_each_parser_has_a_small_corpus():
    names = [target.name for target in (*FILES, *MESSAGES)]
    assert sorted(names) == sorted(os.listdir(CORPUS))
    assert len(names) == len(set(names))
    inputs = [data for target in (*FILES, *MESSAGES) for data in target.corpus.values()]
    assert all(0 < len(data) <= LARGEST for data in inputs)
    assert sum(map(len, inputs)) < 1 << 19


def slow(_data):
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass


def large(_data):
    np.ones(64 << 20, np.uint8)


def unreadable(_data):
    raise NotAnImageError("KeyError: 'sizes'")


def unexpected(data):
    return {}[data]


@linux
@pytest.mark.parametrize(
    ("run", "error", "words"),
    [
        (slow, Find, r"took 0\.[2-9] s"),
        (large, Find, "MiB"),
        (unreadable, Find, "no sentence"),
        (unexpected, KeyError, "x"),
    ],
)
def test_a_broken_rule_is_a_find(monkeypatch, run, error, words):
    # Memory that is new takes time, too.
    monkeypatch.setattr("fuzz.Rules.SECONDS", 0.1 if run is slow else 10.0)
    monkeypatch.setattr("fuzz.Rules.MEMORY", 32 << 20)
    with pytest.raises(error, match=words):
        check(Target("broken", run), b"x")


def test_documented_errors_are_no_find():
    def refused(data):
        raise NotAnImageError("A picture begins with its signature; this file does not.")

    check(Target("good", refused), b"x")
    check(Target("good", unexpected, (KeyError,)), b"x")
    checkSentence("The header's Offset are not numbers: '__x__'. It begins with b'__x__'.")
    with pytest.raises(Find):
        checkSentence("The header's Offset are not numbers: __x__.")


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Corpus of the parser "broken"."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "seed").write_bytes(b"seed")
    monkeypatch.setattr("fuzz.Rules.CORPUS", tmp_path)
    return tmp_path


def test_hypothesis_finds_a_broken_rule(corpus, capsys):
    def run(data):
        assert len(data) < 12

    assert fuzzByHypothesis(Target("broken", run), corpus, 60)
    (found,) = corpus.glob("broken-crash-*")
    assert 12 <= len(found.read_bytes()) < 30
    said = capsys.readouterr()
    assert "AssertionError" in said.err
    assert said.out == f"Repeat it: python3 run.py fuzz broken --input {found}\n"


def test_hypothesis_gives_the_same_inputs_in_each_short_run(corpus, capsys):
    given = []
    for _run in range(2):
        given.append([])
        assert not fuzzByHypothesis(Target("broken", given[-1].append, runs=50), corpus)
    assert given[0] == given[1]
    assert len({bytes(data) for data in given[0]}) > 20
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert first.startswith("broken: no find in 50 inputs, digest ")


def test_hypothesis_ends_in_time(corpus):
    begin = time.process_time()
    assert not fuzzByHypothesis(Target("broken", len), corpus, 0.2)
    assert time.process_time() - begin < 10


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
def test_atheris_finds_a_broken_rule(corpus):
    program = f"""
import sys
from pathlib import Path
import fuzz.Rules
fuzz.Rules.CORPUS = Path({str(corpus)!r})
import fuzz.Engines as engines
engines.CORPUS = fuzz.Rules.CORPUS

def run(data):
    if len(data) > 5:
        raise KeyError(len(data))

targets = [fuzz.Rules.Target("broken", run)]
print(engines.fuzzByAtheris(targets, 1, Path({str(corpus)!r}), 30))
for short in range(2):
    engines.fuzzByAtheris([fuzz.Rules.Target("broken", len, runs=300)], 1, Path({str(corpus)!r}))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True)
    *_words, command, found, first, second = result.stdout.splitlines()
    assert found == "['broken']"
    assert "KeyError: 6" in result.stdout
    (path,) = corpus.glob("broken-crash-*")
    assert len(path.read_bytes()) > 5
    assert command == f"Repeat it: python3 run.py fuzz broken --input {path}"
    assert first == second
    assert first.startswith("broken: no find in 300 inputs, digest ")


PLANTED = """
def parse(data):
    if data[:1] == b"@":
        if data[1:2] == b"=":
            if data[2:3] == b"0":
                if data[3:4] == b"~":
                    raise KeyError("planted")
"""


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
def test_the_short_run_follows_the_coverage(corpus):
    (corpus / "Planted.py").write_text(PLANTED)
    program = f"""
import contextlib, sys
from pathlib import Path
import RealTimeImagingLib
RealTimeImagingLib.__path__.append({str(corpus)!r})
import fuzz.Rules
import fuzz.Engines as engines
import fuzz.__main__ as command
engines.CORPUS = fuzz.Rules.CORPUS = command.WORK = Path({str(corpus)!r})
fuzz.Rules.memory = lambda: ()

def load(covered):
    with command.instrumented() if covered and how == "covered" else contextlib.nullcontext():
        from RealTimeImagingLib.Planted import parse
    return engines, {{"broken": fuzz.Rules.Target("broken", parse, runs=60_000)}}

command.load = load
how = sys.argv[1]
sys.argv[1:] = ["broken", "--short"]
sys.exit(command.main())
"""

    def run(how):
        return subprocess.run([sys.executable, "-c", program, how], capture_output=True, text=True, timeout=100)

    covered, other = run("covered"), run("other")
    assert (covered.returncode, other.returncode) == (1, 0), covered.stdout + covered.stderr + other.stderr
    assert "KeyError: 'planted'" in covered.stdout
    (path,) = corpus.glob("broken-crash-*")
    assert path.read_bytes().startswith(b"@=0~")
    assert "no find in 60000 inputs" in other.stdout


def test_changes_of_bytes():
    assert mutated(b"abcdef", [(1, 0, b"XY")]) == b"aXYdef"
    assert mutated(b"abcdef", [(1, 1, b"XY")]) == b"aXYbcdef"
    assert mutated(b"abcdef", [(1, 2, b"XY")]) == b"adef"
    assert mutated(b"abcdef", [(3, 3, b"")]) == b"abc"
    assert mutated(b"abcdef", [(4, 4, b"")]) == b"abcdefef"
    assert len(mutated(bytes(LARGEST), [(0, 4, b"")])) == LARGEST
