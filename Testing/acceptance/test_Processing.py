"""A function runs beside a stream: its results are shown, plotted and recorded; what it does wrong stays with it."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import slicerhost
from RealTimeImagingLib import ReplaySettings
from RealTimeImagingLib.Command.Options import readOptions
from RealTimeImagingLib.Link.WorkFolders import alive
from RealTimeImagingLib.Model.Errors import MissingPackageError, SettingsError
from RealTimeImagingLib.Recording import openRecording
from unit.conftest import seriesFile, volume
from unit.functions import functionFile, otherPython

from . import conftest
from .conftest import untilRecording, untilStopped
from .test_Recording import built

posix = pytest.mark.skipif(os.name != "posix", reason="signals are others there")

HALF = """
    def process(frame):
        return Result(frame.pixels // 2, values={"mean": frame.pixels.mean(), "pid": os.getpid()})
"""


def until(predicate):
    """Wait longer than usual: each function needs three processes."""
    conftest.until(predicate, 60)


def replay(logic, tmp_path, count=20, rate=50.0, stream="Live", paused=True):
    """A replay of `count` volumes, which waits to be resumed."""
    path = tmp_path / f"{stream}.nii"
    path.write_bytes(seriesFile(range(count)))
    source = logic.start(
        ReplaySettings(str(path), stream=stream, pace="rate", rate=rate, paused=paused, loop=not paused)
    )
    until(lambda: source.state == "running")
    return source


def connected(*processors):
    """Wait until frames would reach the functions, and these are loaded."""
    until(lambda: all(one.resultSource.details.get("connected") and "starting" not in one.status for one in processors))


def counts(processor):
    figures = processor.statistics()
    return tuple(figures[name] for name in ("received", "processed", "skipped", "failed", "waiting"))


def untilPassedOn(processor):
    """Wait until this process of a function's source has stored a result and its count."""
    until(lambda: processor.statistics()["latencyMs"]["median"] is not None)


def decided(processor, count):
    """Wait until the fate of so many frames is reported."""
    until(lambda: processor.statistics() and counts(processor)[0] == count and not counts(processor)[4])


def test_theResultIsAStreamLikeAnyOther(slicer, logic, tmp_path, noErrors):
    """A live volume, counts, signals in the rows of their frames, a table, a recording and values beside it."""
    source = replay(logic, tmp_path)
    processor = logic.processing.start(functionFile(tmp_path, HALF, "half"))
    assert (processor.stream, processor.name, processor.sourceStream) == ("Live half", "half", "Live")
    assert logic.processing.list() == [processor]
    connected(processor)
    folder = tmp_path / "recordings"
    logic.startRecording(str(folder), name="Run")
    untilRecording(logic)
    source.send("resume")
    decided(processor, 20)
    assert counts(processor) == (20, 20, 0, 0, 0)
    assert logic.statistics()["processing"]["Live half"]["processed"] == 20
    assert 0 < processor.statistics()["latencyMs"]["median"] < 15_000
    until(lambda: logic.statistics()["streams"].get("Live half", {}).get("received") == 20)
    node = logic.liveVolumeNode("Live half")
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), volume(19).pixels // 2)
    assert node.GetAttribute("SourceFrame") == "19"
    browser = logic.stopRecording()
    built(logic)
    assert browser is not None
    part = openRecording(str(folder / "Run-Live_half.seq.nhdr"))
    assert part.count == 20
    with open(folder / "Run-Live_half.values.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    means = [volume(number).pixels.mean() for number in range(20)]
    assert [int(row["Frame"]) for row in rows] == list(range(20))
    assert [float(row["mean"]) for row in rows] == means
    columns = logic.signals.columns("Live")
    assert columns["Frame"].tolist() == list(range(20))
    assert columns["half: mean"].tolist() == means
    table = logic.processing.table(processor)
    assert slicer.util.arrayFromTableColumn(table, "mean").tolist() == means
    assert slicer.util.arrayFromTableColumn(table, "Frame").tolist() == list(range(20))
    pid = int(float(rows[0]["pid"]))
    assert alive(pid)
    untilStopped(logic)
    assert not alive(pid)
    assert logic.processing.list() == []


def test_aChainOfThreeAndTwoOnOneStream(slicer, logic, tmp_path, noErrors):
    source = replay(logic, tmp_path)
    add = "def process(frame): return Result(frame.pixels + np.int16({}), values={{'v': frame.pixels.flat[0]}})"
    start = logic.processing.start
    first = start(functionFile(tmp_path, add.format(1), "one"))
    second = start(functionFile(tmp_path, add.format(10), "two"), stream=first.stream)
    third = start(functionFile(tmp_path, add.format(100), "three"), stream=second.stream)
    same = start(functionFile(tmp_path, add.format(1), "one"))
    assert third.stream == "Live one two three"
    assert same.stream == "Live one 2"
    connected(first, second, third, same)
    source.send("resume")
    for processor in (first, second, third, same):
        decided(processor, 20)
        assert counts(processor) == (20, 20, 0, 0, 0)
    shown = lambda stream: slicer.util.arrayFromVolume(logic.liveVolumeNode(stream))  # noqa: E731
    until(lambda: logic.statistics()["streams"].get(third.stream, {}).get("received") == 20)
    until(lambda: logic.statistics()["streams"].get(same.stream, {}).get("received") == 20)
    np.testing.assert_array_equal(shown(third.stream), volume(19).pixels + 111)
    np.testing.assert_array_equal(shown(same.stream), volume(19).pixels + 1)
    assert {"one: v", "one 2: v"} < set(logic.signals.columns("Live"))
    assert "three: v" in logic.signals.columns("Live one two")
    untilStopped(logic)


def test_framesThatWaitAtTheEndOfTheSourceAreProcessed(logic, tmp_path, noErrors):
    """The function ends after its source; what it cannot process in time is skipped and counted."""
    source = replay(logic, tmp_path, rate=500)
    slow = "def process(frame): time.sleep(0.01)"
    never = "def process(frame): time.sleep(60)"
    processors = [
        logic.processing.start(functionFile(tmp_path, code, name), limit=limit)
        for code, name, limit in ((slow, "a", 30), (never, "b", 4))
    ]
    connected(*processors)
    source.send("resume")
    until(lambda: logic.statistics()["streams"].get("Live", {}).get("received") == 20)
    untilStopped(logic)
    assert [counts(one) for one in processors] == [(20, 20, 0, 0, 0), (20, 0, 20, 0, 0)]


def test_aSlowFunctionFinishesTheImagesThatWait(logic, tmp_path, noErrors):
    """Each call may take as long as its limit allows, and the import a minute more."""
    source = replay(logic, tmp_path, rate=500)
    code = """
        def process(frame):
            while not os.path.exists(__file__ + ".go"): time.sleep(0.01)
    """
    path = functionFile(tmp_path, code)
    processor = logic.processing.start(path, limit=30)
    connected(processor)
    source.send("resume")
    until(lambda: logic.statistics()["streams"].get("Live", {}).get("received") == 20)
    logic.stop()
    until(lambda: source.ended)
    assert not processor.isDone(time.monotonic())
    assert not processor.isDone(time.monotonic() + 60)
    Path(path + ".go").touch()
    until(lambda: not logic.isRunning())
    assert counts(processor) == (20, 20, 0, 0, 0)


def test_aFunctionThatFinishesItsImagesCanBeStopped(logic, tmp_path, noErrors):
    source = replay(logic, tmp_path, rate=500)
    processor = logic.processing.start(functionFile(tmp_path, "def process(frame): time.sleep(60)"), limit=60)
    connected(processor)
    source.send("resume")
    until(lambda: processor.statistics().get("received") == 20)
    logic.stop()
    until(lambda: source.ended)
    assert processor.state == "stopping"
    logic.processing.stop(processor)
    until(lambda: not logic.isRunning())
    assert counts(processor) == (20, 0, 20, 0, 0)


def test_aFileIsDescribedWhateverItDoes(logic, tmp_path, noErrors, monkeypatch):
    """It may end or print; the program that is to load it may be no Python. Arguments hold no environment."""
    found = []

    def described(code, python=""):
        found.clear()
        path = functionFile(tmp_path, code)
        look = logic.processing.describe(path, python, lambda *answer: found.extend(answer))
        until(lambda: found)
        look.close()
        return found

    fine = "def process(frame): pass\n"
    assert described("os._exit(7)")[1] == "made cannot be used: its process ended while it loaded (exit code 7)."
    assert described("raise KeyboardInterrupt")[1] == "made cannot be used: KeyboardInterrupt (made.py, line 5)"
    assert described("os.write(1, b'junk'); print('more', end='')\n" + fine)[0]["title"] == "made"
    assert described("assert sys.stdin.read() == ''\n" + fine)[0]["title"] == "made"
    if os.name == "posix":
        assert described(fine, "sh")[1] == f"made cannot be used: {shutil.which('sh')} is no Python."
        monkeypatch.setenv("PYTHONPATH", "/private")
        other, arguments = tmp_path / "python", tmp_path / "arguments"
        other.write_text(f'#!/bin/sh\ncat /proc/$PPID/cmdline >> {arguments} 2>&-\nexec {sys.executable} "$@"\n')
        other.chmod(0o700)
        given = "assert os.environ['PYTHONPATH'] == '/private' and 'private' not in str(sys.orig_argv)\n"
        assert described(given + fine, str(other))[0]["title"] == "made"
        if sys.platform == "linux":
            text = arguments.read_text()
            assert text.count("description") == 2
            assert "private" not in text
        path = functionFile(tmp_path, "open(__file__ + '.pid', 'w').write(str(os.getpid()))\ntime.sleep(600)")
        look = logic.processing.describe(path, str(other), lambda *answer: None)
        pid = Path(path + ".pid")
        until(lambda: pid.exists() and pid.read_text())
        look.close()
        until(lambda: not alive(int(pid.read_text())))


def test_aBlockedWindowDoesNotStopProcessing(logic, tmp_path, noErrors):
    """The frames do not pass through Slicer."""
    source = replay(logic, tmp_path, count=40, rate=100)
    code = "def process(frame): open(__file__ + f'.{frame.number}', 'w').close()"
    processor = logic.processing.start(functionFile(tmp_path, code, "touch"))
    connected(processor)
    source.send("resume")
    slicerhost.processEvents()
    last, end = tmp_path / "touch.py.39", time.monotonic() + 20
    while not last.exists():  # no event loop
        assert time.monotonic() < end
        time.sleep(0.01)
    decided(processor, 40)
    assert counts(processor) == (40, 40, 0, 0, 0)
    untilStopped(logic)


def test_aFunctionThatHangsDisturbsNeitherDisplayNorRecording(logic, tmp_path, noErrors):
    source = replay(logic, tmp_path, count=100, rate=100)
    processor = logic.processing.start(functionFile(tmp_path, "def process(frame): time.sleep(60)"), limit=4)
    newest = logic.processing.start(
        functionFile(tmp_path, "def process(frame): time.sleep(60)", "b"), "Live", "newest", limit=4
    )
    connected(processor, newest)
    logic.startRecording(str(tmp_path / "recordings"), name="Run")
    source.send("resume")
    until(lambda: logic.statistics()["streams"].get("Live", {}).get("received") == 100)
    until(lambda: processor.statistics()["received"] == newest.statistics()["received"] == 100)
    assert counts(processor) == (100, 0, 36, 0, 64)
    assert counts(newest) == (100, 0, 98, 0, 2)
    logic.stopRecording()
    built(logic)
    assert openRecording(str(tmp_path / "recordings" / "Run-Live.seq.nhdr")).count == 100
    untilStopped(logic)
    assert counts(processor) == (100, 0, 100, 0, 0)
    assert counts(newest) == (100, 0, 100, 0, 0)


def test_errorsAreEventsAndAnEditedFileIsReloaded(logic, tmp_path, noErrors):
    source = replay(logic, tmp_path)
    processor = logic.processing.start(functionFile(tmp_path, "def process(frame): return frame.pixels / nothing"))
    connected(processor)
    source.send("step", frames=1)
    decided(processor, 1)
    until(lambda: any(event.code == "processing-failed" for event in logic.events()))
    events = [event.text for event in logic.events() if event.code == "processing-failed"]
    assert events == ["made failed with frame 0 of Live: NameError: name 'nothing' is not defined (made.py, line 5)"]
    mark = tmp_path / "loaded"
    functionFile(tmp_path, f"open({str(mark)!r}, 'w').close()\ndef process(frame): return frame.pixels")
    logic.processing.reload(processor)
    # The image takes another way than the command.
    until(mark.exists)
    source.send("step", frames=1)
    decided(processor, 2)
    assert counts(processor) == (2, 1, 0, 1, 0)
    untilStopped(logic)


def test_parametersAreSetAtTheStartAndLater(logic, tmp_path, noErrors):
    from unit.test_ProcessingProcess import GAIN

    source = replay(logic, tmp_path)
    with pytest.raises(SettingsError, match="cannot be sent"):
        logic.processing.start(functionFile(tmp_path, GAIN), parameters={"gain": object()})
    processor = logic.processing.start(functionFile(tmp_path, GAIN), parameters={"gain": np.int16(3)})
    connected(processor)
    for number, gain in enumerate((3.0, 4.5)):
        if number:
            logic.processing.setParameters(processor, gain=np.float32(gain))
            # The next image takes another way.
            until(lambda: processor.statistics()["parameters"]["gain"] == 4.5)
        source.send("step", frames=1)
        decided(processor, number + 1)
    until(lambda: logic.signals.columns("Live")["made: gain"].tolist() == [3.0, 4.5])
    with pytest.raises(SettingsError, match="cannot be sent"):
        logic.processing.setParameters(processor, gain=object())
    untilStopped(logic)


@posix
def test_theProcessesAreRestartedAndTheCountsStay(logic, tmp_path, noErrors):
    """First the function's acquisition process dies, then that of its source."""
    source = replay(logic, tmp_path)
    processor = logic.processing.start(functionFile(tmp_path, HALF, "half"))
    connected(processor)
    for count, victim in enumerate((processor.resultSource, source, None), 1):
        source.send("step", frames=1)
        decided(processor, count)
        untilPassedOn(processor)
        if victim:
            pid, port = victim.pid, processor.resultSource.details["connected"]
            processor.resultSource.details = {}
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid, victim=victim: victim.pid not in (0, pid) and victim.state == "running")
            connected(processor)
            assert (processor.resultSource.details["connected"] == port) == (victim is processor.resultSource)
    assert counts(processor) == (3, 3, 0, 0, 0)
    until(lambda: logic.statistics()["streams"]["Live half"]["received"] == 3)
    untilStopped(logic)


@posix
def test_pushedImagesAreProcessedWhileARecordingRuns(logic, tmp_path, noErrors):
    """Also by a process that replaces a dead one: commands among the images do not disturb its connection."""
    image = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    logic.push(image)
    until(lambda: logic.statistics()["received"] == 1)
    processor = logic.processing.start(functionFile(tmp_path, HALF, "half"))
    connected(processor)
    logic.startRecording(str(tmp_path / "recordings"), name="Run")
    untilRecording(logic)
    logic.push(image)
    decided(processor, 1)
    untilPassedOn(processor)
    pid, processor.resultSource.details = processor.resultSource.pid, {}
    os.kill(pid, signal.SIGKILL)
    until(lambda: processor.resultSource.pid not in (0, pid))
    connected(processor)
    for count in range(2, 12):
        logic.push(image)
        decided(processor, count)
    assert counts(processor) == (11, 11, 0, 0, 0)
    until(lambda: logic.statistics()["streams"].get("Live half", {}).get("received") == 11)
    logic.stopRecording()
    built(logic)
    untilStopped(logic)
    parts = list((tmp_path / "recordings").glob("*-Live_half.seq.nhdr"))
    assert sorted(openRecording(str(path)).count for path in parts) == [1, 10]
    rows = [path.read_text().count("\n") - 1 for path in (tmp_path / "recordings").glob("*.values.csv")]
    assert sorted(rows) == [1, 10]


def test_stopInTheMiddle(logic, tmp_path, noErrors):
    source = replay(logic, tmp_path, count=300, rate=200, paused=False)
    processor = logic.processing.start(functionFile(tmp_path, HALF, "half"))
    until(lambda: processor.statistics().get("processed", 0) > 5)
    logic.processing.stop(processor)
    until(lambda: processor.ended)
    received, processed, skipped, failed, waiting = counts(processor)
    assert waiting == 0
    assert received == processed + skipped + failed
    assert not source.ended
    untilStopped(logic)


def test_impossibleStartsAreRefused(logic, tmp_path, noErrors):
    good = functionFile(tmp_path, HALF)
    with pytest.raises(SettingsError, match="No running source has the stream Live"):
        logic.processing.start(good)
    replay(logic, tmp_path)
    for function, words in ((str(tmp_path / "none.py"), "no Python file"), ("Magic", "no Python file")):
        with pytest.raises(SettingsError, match=words):
            logic.processing.start(function)
    with pytest.raises(SettingsError, match="is no program"):
        logic.processing.start(good, python="/no/such/python")
    with pytest.raises(SettingsError, match='"every" is one of'):
        logic.processing.start(good, every="second")
    with pytest.raises(SettingsError, match="is no Python"):
        logic.processing.start(functionFile(tmp_path, "def process(frame) return", "wrong"))
    needs = "REQUIREMENTS: tuple[str, ...] = ('numpy', 'not-a-package>=1,<2')\ndef process(frame): pass"
    with pytest.raises(MissingPackageError) as raised:
        logic.processing.start(functionFile(tmp_path, needs, "needs"))
    assert raised.value.requirements == ["not-a-package>=1,<2"]
    assert logic.processing.list() == []
    untilStopped(logic)


@pytest.mark.skipif(sys.platform != "linux", reason="leases are of Linux")
def test_aFileOnADriveThatHangsDoesNotBlockTheWindow(logic, tmp_path, noErrors):
    """To open a file that another process has leased takes 45 s, or until it gives the lease back."""
    source = replay(logic, tmp_path)
    path = functionFile(tmp_path, HALF)
    code = "import fcntl, signal, sys; signal.signal(signal.SIGIO, signal.SIG_IGN); file = open(sys.argv[1], 'r+')"
    code += "; fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        started = time.monotonic()
        with pytest.raises(SettingsError, match=r"folder .* does not respond\. Check that its drive is connected"):
            logic.processing.start(path)
        assert time.monotonic() - started < 20
        look = logic.processing.describe(path, "", lambda *answer: None)
        assert time.monotonic() - started < 20
        look.close()
        holder.stdin.close()
    processor = logic.processing.start(path)
    connected(processor)
    source.send("step", frames=1)
    decided(processor, 1)
    untilStopped(logic)


@posix
def test_anotherPythonRunsTheFunction(logic, tmp_path, noErrors):
    other = otherPython(tmp_path / "other")
    source = replay(logic, tmp_path)
    code = """
        def process(frame):
            return Result(frame.pixels, attributes={"Program": sys.orig_argv[0]})
    """
    processor = logic.processing.start(functionFile(tmp_path, code), python=str(other))
    connected(processor)
    source.send("step", frames=1)
    decided(processor, 1)
    until(lambda: logic.liveVolumeNode("Live made") is not None)
    assert logic.liveVolumeNode("Live made").GetAttribute("Program") == str(other)
    untilStopped(logic)


def test_aClosedSceneEndsEverything(logic, tmp_path, noErrors):
    replay(logic, tmp_path, paused=False)
    processor = logic.processing.start(functionFile(tmp_path, HALF, "half"))
    until(lambda: processor.statistics().get("processed", 0) > 0)
    pid = processor.resultSource.pid
    slicerhost.closeScene()
    until(lambda: not logic.isRunning())
    assert not alive(pid)
    assert Path(tmp_path).exists()


def test_theHowToRunsAsItStands(slicer, logic, tmp_path, monkeypatch, noErrors):
    """Its file, its calls, and its command with the options of the program."""
    page = (conftest.ROOT / "docs" / "how-to" / "add-a-processing-function.md").read_text(encoding="utf-8")
    file, calls = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (command,) = re.findall(r"```bash\npython3 run.py acquire (.*?)\n```", page)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "threshold.py").write_text(file, encoding="utf-8")
    source = replay(logic, tmp_path)
    made = {}
    exec(compile("import slicer\n" + calls, "page", "exec"), made)
    processor = made["processor"]
    connected(processor)
    source.send("resume")
    decided(processor, 20)
    assert counts(processor) == (20, 20, 0, 0, 0)
    assert processor.stream == "Live threshold"
    until(lambda: logic.statistics()["streams"].get("Live threshold", {}).get("received") == 20)
    expected = [float((volume(number).pixels > 30).sum()) for number in range(20)]
    table = logic.processing.table(processor)
    assert slicer.util.arrayFromTableColumn(table, "voxels").tolist() == expected
    untilStopped(logic)
    plan = readOptions([word.replace("/data/incoming", str(tmp_path)) for word in command.split()])
    assert plan.process.function == str(tmp_path / "threshold.py")
    assert plan.process.parameters == '{"level": 20}'


def test_aRemedyStartsAFunctionAgainWithOtherSettings(logic, tmp_path, noErrors):
    """A function that takes too long offers a longer limit; functions of its results stay with it."""
    source = replay(logic, tmp_path)
    code = "def process(frame): time.sleep(0.5); return frame.pixels"
    slow = logic.processing.start(functionFile(tmp_path, code, "slow"), limit=0.2)
    after = logic.processing.start(functionFile(tmp_path, HALF, "half"), stream=slow.stream)
    connected(slow, after)
    source.send("step", frames=1)
    decided(slow, 1)
    assert counts(slow) == (1, 0, 0, 1, 0)
    until(lambda: slow.resultSource.offer and slow.resultSource.offer.code == "processing-failed")
    offer = slow.resultSource.offer
    assert (offer.code, str(offer.remedy.label)) == ("processing-failed", "Allow 1.2 s")
    restarted = logic.restart(slow.resultSource, **offer.remedy.settings)
    again = next(one for one in logic.processing.list() if one.resultSource is restarted)
    assert (again.settings.limit, again.stream, after.source) == (1.2, "Live slow", restarted)
    after.resultSource.details = {}
    connected(again, after)
    source.send("step", frames=1)
    decided(again, 1)
    until(lambda: after.statistics()["processed"] == 1)
    assert counts(again) == (1, 1, 0, 0, 0)
    assert logic.restart(restarted) is restarted
    untilStopped(logic)
    assert logic.processing.list() == []
