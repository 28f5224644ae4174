"""Acquisition without Slicer with a function beside the source: results are streams of their own."""

from __future__ import annotations

import csv
import mmap
import os
import signal
import sys
import time

import numpy as np
import pytest
from RealTimeImagingLib.Command.Console import _open
from RealTimeImagingLib.Command.Options import readOptions
from RealTimeImagingLib.Link.WorkFolders import PREFIX, roots
from RealTimeImagingLib.Recording import openRecording
from RealTimeImagingLib.Sources.Checkpoint import Checkpoint
from RealTimeImagingLib.Sources.Processor import ProcessorSettings
from RealTimeImagingLib.Sources.Source import Arrival, Values
from unit import test_Acquire
from unit.conftest import arrive, seriesFile, volume
from unit.functions import functionFile
from unit.test_Acquire import portOf, posix

program, link = test_Acquire.program, test_Acquire.link


def planned(tmp_path, *options):
    return readOptions(["folder", str(tmp_path), "--openigtlink", "18945", *options]).process


def test_theFunctionIsChosenByOptions(tmp_path):
    path = functionFile(tmp_path, "def process(frame): pass")
    assert planned(tmp_path) is None
    assert planned(tmp_path, "--process", path) == ProcessorSettings(path, stream="made")
    parameters = ["--process-parameter", "gain=2.5", "--process-parameter", "mode=mean of all"]
    chosen = planned(tmp_path, "--process", "regionstatistics", "--process-every", "newest", *parameters)
    values = '{"gain": 2.5, "mode": "mean of all"}'
    name = "RegionStatistics"
    assert chosen == ProcessorSettings(name, stream=name, every="newest", parameters=values)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--process", "none.py"], "no Python file"),
        (["--process", "{}/made.py", "--process-parameter", "gain"], "is no NAME=VALUE"),
        (["--process", "{}/made.py", "--process-python", "/no/python"], "is no program"),
        (["--process", "{}/wrong.py"], "is no Python"),
        (["--process", "{}/needs.py"], "needs not-a-package, which Slicer does not include (not-a-package>=1)."),
    ],
)
def test_optionsThatCannotWorkGiveWords(tmp_path, capsys, options, words):
    functionFile(tmp_path, "def process(frame): pass")
    functionFile(tmp_path, "def process(frame) pass", "wrong")
    functionFile(tmp_path, "REQUIREMENTS = ['not-a-package>=1']\ndef process(frame): pass", "needs")
    with pytest.raises(SystemExit) as ended:
        planned(tmp_path, *(option.format(tmp_path) for option in options))
    assert ended.value.code == 2
    assert words in capsys.readouterr().err.replace("\n", " ")


def test_anotherPythonHasPackagesOfItsOwn(tmp_path):
    path = functionFile(tmp_path, "REQUIREMENTS = ['not-a-package>=1']\ndef process(frame): pass", "needs")
    assert planned(tmp_path, "--process", path, "--process-python", sys.executable).python == sys.executable


CODE = """
    @dataclass(frozen=True)
    class P(Parameters):
        add: int = field(default=0, metadata=about("Add", "Number."))
    PARAMETERS = P
    def setup(parameters, first):
        global add
        add = parameters.add
    def process(frame):
        if frame.number == 7: os._exit(3)
        if frame.number == 9: raise ValueError("nine")
        return Result(frame.pixels + np.int16(add), values={"mean": frame.pixels.mean()})
"""


def test_imagesAreDecodedIntoTheMemoryThatTheFunctionReads(tmp_path, incoming):
    """After the first one, which tells the size: they are not copied. The pixels are those of the file."""
    (incoming / "a.nii").write_bytes(seriesFile(range(12)))
    code = "def process(frame): return Result(values={'sum': frame.pixels.sum(dtype=float)})"
    options = ["replay", str(incoming / "a.nii"), "--rate", "50", "--record", str(tmp_path / "r")]
    plan = readOptions([*options, "--process", functionFile(tmp_path, code)])
    images, values = [], []
    with Checkpoint(str(tmp_path)) as checkpoint:
        source = _open(plan, checkpoint, [])
        until = time.monotonic() + 30
        while len(values) < 12:
            assert time.monotonic() < until, (images, values)
            for item in source.read(0.02):
                if isinstance(item, Arrival):
                    owner = item.image.pixels
                    while isinstance(owner, np.ndarray):
                        owner = owner.base
                    images.append(isinstance(owner, memoryview | mmap.mmap))
                    item.accepted(len(images) - 1, None)
                    del owner
                values += [item] if isinstance(item, Values) else []
                del item
        source.close()
    assert images == [False] + [True] * 11
    assert [one.values["sum"] for one in values] == [volume(n).pixels.sum(dtype=float) for n in range(12)]
    assert not [name for name in os.listdir(tmp_path) if name.startswith("source")]


@posix
def test_aSlowFunctionFinishesTheImagesThatWait(program, incoming, tmp_path):
    """Also when one call takes longer than all the other steps of the end may."""
    (incoming / "a.nii").write_bytes(seriesFile(range(2)))
    code = """
        def process(frame):
            time.sleep(9 if frame.number else 0)
            return Result(values={"n": frame.number})
    """
    function = ["--process", functionFile(tmp_path, code)]
    acquiring = program("replay", incoming / "a.nii", "--rate", 100, "--record", tmp_path / "r", *function, fresh=True)
    acquiring.until("has ended: 2 frames")
    code, last = acquiring.end(signal.SIGINT)
    assert code == 0
    assert last.endswith("Processing of Live: 2 received, 2 processed, 0 skipped, 0 failed.")


@posix
def test_resultsAreRecordedAndSentBesideTheImages(program, link, incoming, tmp_path):
    """Frames that wait at the end are processed; counts add up; nothing is left behind."""
    folder, path = tmp_path / "recordings", functionFile(tmp_path, CODE)
    function = ["--process", path, "--process-parameter", "add=5"]
    outputs = ["--openigtlink", "0", "--record", folder]
    acquiring = program("replay", incoming / "a.nii", "--rate", 100, *outputs, *function, fresh=True)
    other = link(portOf(acquiring))
    other.untilCode("connected")
    arrive(incoming / "a.nii", seriesFile(range(30)))  # the replay waits for it
    acquiring.until("has ended: 30 frames")
    code, last = acquiring.end(signal.SIGINT)
    assert code == 0
    assert "58 received, 58 recorded, 0 failed, 0 rejected" in acquiring.until("The end: ")
    assert last.endswith("Processing of Live: 30 received, 28 processed, 0 skipped, 2 failed.")
    assert "Exit code 3" in acquiring.until("made failed with frame 7 of Live")
    assert "ValueError: nine" in acquiring.until("made failed with frame 9 of Live")
    kept = [number for number in range(30) if number not in (7, 9)]
    (header,) = folder.glob("*-Live_made.seq.nhdr")
    part = openRecording(str(header))
    assert part.count == 28
    for index, number in enumerate(kept):
        np.testing.assert_array_equal(part.pixels(index), volume(number).pixels + 5)
    (values,) = folder.glob("*-Live_made.values.csv")
    with open(values, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["Frame"]), float(row["mean"])) for row in rows] == [(n, volume(n).pixels.mean()) for n in kept]
    other.untilCode("disconnected")
    assert {"Live", "Live made"} == set(other.streams)
    mark = f"{PREFIX}-{acquiring.process.pid}-"
    assert not [root for root in roots() for name in os.listdir(root) if name.startswith(mark)]
