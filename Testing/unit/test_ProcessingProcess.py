"""Functions in their own processes: results, errors, hangs, deaths, parameters, and counts that add up."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from RealTimeImagingLib.Link.WorkFolders import alive
from RealTimeImagingLib.Sources.Processor.Failures import SLOW as SLOWER
from RealTimeImagingLib.Sources.Processor.Failures import Skips
from unit.functions import Driver, frameOf, functionFile

GAIN = """
    @dataclass(frozen=True)
    class P(Parameters):
        gain: float = field(default=1.0, metadata=about("Gain", "Factor.", limits=(0, 100)))
    PARAMETERS = P
    def setup(parameters, first):
        global gain
        gain = parameters.gain
    def process(frame):
        return Result(frame.pixels * np.float32(gain), values={"gain": gain})
"""


def texts(driver):
    return [event.text for event in driver.events]


def test_aResultCarriesTheFrameItWasMadeOf(tmp_path):
    """Number, times, geometry and attributes; values have the frame's number and time."""
    code = """
        def process(frame):
            own = {"Own": "yes", "State": "new"}
            return Result(frame.pixels + 1, values={"mean": frame.pixels.mean()}, attributes=own)
    """
    with Driver(tmp_path, functionFile(tmp_path, code)) as driver:
        driver.give(frameOf(7, time=500.25, attributes={"Study": "A", "State": "old"}))
        driver.give(frameOf(8))
        driver.untilIdle()
        first, second = driver.images
        assert first.stream == "Live made"
        assert (first.image.pixels == 8).all()
        assert first.image.pixels.dtype == np.int16
        np.testing.assert_array_equal(first.image.ijkToRAS, np.diag([2.0, 3, 4, 1]))
        assert first.image.deviceTime == 500.25
        assert second.image.deviceTime is None
        assert dict(first.image.attributes) == {
            "Study": "A",
            "Own": "yes",
            "State": "new",
            "Function": "made",
            "SourceStream": "Live",
            "SourceFrame": "7",
            "SourceReceiveTime": "1007.000000",
        }
        assert first.stages == {"seen": 1007.0}
        assert [(one.stream, one.number, one.time, dict(one.values)) for one in driver.values] == [
            ("Live", 7, 500.25, {"mean": 7.0}),
            ("Live", 8, 1008.0, {"mean": 8.0}),
        ]
        assert driver.counts == (2, 2, 0, 0, 0)
        assert driver.feed.idle
    assert driver.events == []


@pytest.mark.parametrize(
    ("expression", "shape", "dtype"),
    [
        ("frame.pixels", (2, 3, 5), "int16"),
        ("frame.pixels[0]", (1, 3, 5), "int16"),
        ("frame.pixels > 3", (2, 3, 5), "uint8"),
        ("np.full((2, 3, 3), np.nan)", (2, 3, 3), "float64"),
        ("np.zeros((2, 3, 5, 3), np.uint8)", (2, 3, 5, 3), "uint8"),
        ("np.zeros((50, 200, 300), np.float32)", (50, 200, 300), "float32"),
    ],
)
def test_imagesOfAnyShapeAndType(tmp_path, expression, shape, dtype):
    with Driver(tmp_path, functionFile(tmp_path, f"def process(frame): return {expression}")) as driver:
        for number in range(3):
            driver.give(frameOf(number))
        driver.untilIdle()
        assert [(one.image.pixels.shape, one.image.pixels.dtype) for one in driver.images] == [(shape, dtype)] * 3
        assert driver.counts == (3, 3, 0, 0, 0)


def test_aVolumeOfThreeColumnsIsNoPicture(tmp_path):
    with Driver(tmp_path, functionFile(tmp_path, "def process(frame): return frame.pixels")) as driver:
        driver.give(frameOf(0, np.zeros((2, 5, 3), np.uint8)))
        driver.untilIdle()
        assert [one.image.pixels.shape for one in driver.images] == [(2, 5, 3)]


def test_aFunctionWithoutImages(tmp_path):
    code = """
        def process(frame):
            return Result(values={"a": 1, "b": float("nan")}) if frame.number else None
    """
    with Driver(tmp_path, functionFile(tmp_path, code)) as driver:
        driver.give(frameOf(0))
        driver.give(frameOf(1))
        driver.untilIdle()
        assert driver.images == []
        ((values),) = [one.values for one in driver.values]
        assert values["a"] == 1.0
        assert np.isnan(values["b"])
        assert driver.counts == (2, 2, 0, 0, 0)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ValueError('no signal')", "ValueError: no signal (made.py, line 6)"),
        ("return np.zeros((1, 2, 3, 4, 5))", "shape"),
        ("return np.zeros((0, 3, 5))", "at least one voxel"),
        ("return 'text'", "shape"),
        ("return np.zeros((2, 3, 5), complex)", "complex128"),
        ("return Result(values={'a': 'high'})", "'a' is a number"),
        ("return Result(values=[1, 2])", "numbers by name, not list"),
        ("return Result(values={f'v{i}': i for i in range(10_000)})", "at most 1000 values, not 10,000"),
        ("return Result(values={'': 1})", "1 to 200 printable characters"),
        (r"return Result(values={'a\nb': 1})", "1 to 200 printable characters"),
        (r"return Result(values={'\ud800': 1})", "1 to 200 printable characters"),
        ("return Result(values={'a' * 200_000: 1})", "1 to 200 printable characters"),
        ("return Result(values={'Frame': 1})", "another name than Frame"),
        ("return Result(frame.pixels, ijkToRAS=np.zeros((4, 4)))", "IJKToRAS"),
        ("return Result(frame.pixels, attributes={'a b': 'c'})", "attribute name"),
        ("return np.zeros((1 << 20, 1 << 20, 1 << 10))", "MemoryError"),
        ("sys.exit(4)", "SystemExit: 4"),
        ("frame.pixels[:] = 0", "read-only"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import asyncio; raise asyncio.CancelledError", "CancelledError"),
        ("raise type('Bad', (Exception,), {'__str__': lambda self: 1 / 0})", "Bad: <exception str() failed>"),
        (r"raise RuntimeError('CUDA error\nCompile with another flag')", "RuntimeError: CUDA error (made.py, line 6)"),
        ("error = ValueError('main'); error.__notes__ = ['a note']; raise error", "ValueError: main (made.py, line 6)"),
    ],
)
def test_aFrameThatFailsIsNamedWithItsReason(tmp_path, code, words):
    path = functionFile(tmp_path, f"def process(frame):\n    if frame.number == 1: {code}\n    return frame.pixels\n")
    with Driver(tmp_path, path) as driver:
        for number in range(3):
            driver.give(frameOf(number))
        driver.untilIdle()
        (event,) = driver.events
        assert event.code == "processing-failed"
        assert "frame 1 of Live" in event.text
        assert words in event.text
        assert [one.image.attributes["SourceFrame"] for one in driver.images] == ["0", "2"]
        assert driver.counts == (3, 2, 0, 1, 0)
        assert driver.feed.idle


@pytest.mark.parametrize(
    "code",
    [
        "raise ValueError(f'frame {frame.number} at {time.time()}')",
        "raise [ValueError, TypeError][frame.number % 2]('wrong')",
        "raise ValueError('x' * frame.number)",
    ],
)
def test_reasonsThatDifferMakeFewEventsThatNameAllFrames(tmp_path, code):
    """Numbers in them, reasons in turn, and any number of reasons."""
    with Driver(tmp_path, functionFile(tmp_path, f"def process(frame): {code}")) as driver:
        for number in range(64):
            driver.give(frameOf(number))
        driver.untilIdle()
        driver.processor.close()
        driver.take()
        assert driver.counts == (64, 0, 0, 64, 0)
        assert len(driver.events) < 20
        more = [int(text.split("with ")[1].split(" more")[0]) for text in texts(driver) if " more frame" in text]
        assert len(driver.events) - len(more) + sum(more) == 64
        assert {event.subject for event in driver.events} == {"Live made"}


def test_twoEqualFunctionsHaveTheirOwnEvents(tmp_path):
    path = functionFile(tmp_path, "def process(frame): 1 / 0")
    with Driver(tmp_path, path, results="Live made 2") as driver:
        driver.give(frameOf(0))
        driver.untilIdle()
        (event,) = driver.events
        assert event.subject == "Live made 2"
        assert event.text.startswith("made 2 failed with frame 0 of Live: ")


def test_theReasonOfAFailureIsShort(tmp_path):
    path = functionFile(tmp_path, "def process(frame): raise ValueError('x' * 50_000_000)")
    with Driver(tmp_path, path) as driver:
        driver.give(frameOf(0))
        driver.untilIdle()
        (text,) = texts(driver)
        assert len(text) < 700
        assert text.endswith("x ... (made.py, line 5)")


def test_aValueIsAnyNumber(tmp_path):
    """Also of numpy, in an array of one, and infinite; any name that can be shown."""
    code = """
        def process(frame):
            values = {"a": np.float32(1), "b": np.array([2]), "c": np.array(3), "d": True, 5: 5, "e": float("inf")}
            return Result(values={**values, "Größe: (µm), \\"x\\"": 2**63})
    """
    with Driver(tmp_path, functionFile(tmp_path, code)) as driver:
        driver.give(frameOf(0))
        driver.untilIdle()
        assert texts(driver) == []
        (values,) = [one.values for one in driver.values]
        assert values == {"a": 1, "b": 2, "c": 3, "d": 1, "5": 5, "e": float("inf"), 'Größe: (µm), "x"': 2.0**63}


def test_manyFailuresMakeFewEventsThatNameAllFrames(tmp_path):
    with Driver(tmp_path, functionFile(tmp_path, "def process(frame): 1 / 0")) as driver:
        for number in range(50):
            driver.give(frameOf(number))
        driver.untilIdle()
        driver.processor.close()
        driver.take()
        assert driver.counts == (50, 0, 0, 50, 0)
        assert len(driver.events) < 10
        assert "frame 0 of Live: ZeroDivisionError: division by zero" in texts(driver)[0]
        assert "49: ZeroDivisionError" in texts(driver)[-1]
        told = sum(int(text.split("with ")[1].split(" more")[0]) for text in texts(driver)[1:])
        assert told == 49


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("\n        while True: pass", "longer than 0.4 s (made.py, line 7 in process)"),
        ("time.sleep(60)", "longer than 0.4 s (made.py, line 6 in process)"),
        # This holds the interpreter's lock: no other thread of the process can run.
        ("import re; re.match('(a+)+$', 'a' * 60 + 'b')", "longer than 0.4 s"),
        ("os._exit(3)", "Exit code 3"),
        ("import faulthandler; faulthandler._sigsegv()", "Segmentation fault"),
    ],
)
def test_aFrameThatHangsOrEndsTheProcessIsPassedOverAfterThreeDeaths(tmp_path, code, words):
    path = functionFile(tmp_path, f"def process(frame):\n    if frame.number == 2: {code}\n    return frame.pixels\n")
    with Driver(tmp_path, path, limit=0.4) as driver:
        for number in range(5):
            driver.give(frameOf(number))
        driver.untilIdle()
        assert [event.code for event in driver.events] == ["function-restarted"] * 2 + ["processing-failed"]
        for text in texts(driver):
            assert words in text
            assert "frame 2" in text
        assert "3 times with this frame, which is passed over" in texts(driver)[2]
        assert [one.image.attributes["SourceFrame"] for one in driver.images] == ["0", "1", "3", "4"]
        assert driver.counts == (5, 4, 0, 1, 0)
        assert driver.feed.idle


@pytest.mark.skipif(os.name != "posix", reason="signals are others there")
def test_aStoppedProcessIsKilledFromOutside(tmp_path):
    code = """
        import signal
        def process(frame):
            if frame.number == 1 and not os.path.exists(__file__ + ".stopped"):
                open(__file__ + ".stopped", "w").close()
                os.kill(os.getpid(), signal.SIGSTOP)
            return frame.pixels
    """
    with Driver(tmp_path, functionFile(tmp_path, code), limit=0.1) as driver:
        for number in range(2):
            driver.give(frameOf(number))
        driver.untilIdle()
        assert [event.code for event in driver.events] == ["function-restarted"]
        assert "longer than 0.1 s" in texts(driver)[0]
        assert driver.counts == (2, 2, 0, 0, 0)


HANGS_ONCE = """
    import faulthandler, signal, threading
    def process(frame):
        path = __file__ + ".hung"
        if frame.number == 1 and os.path.getsize(path) < 2:
            with open(path, "a") as file: file.write("x")
            {}
        return frame.pixels
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are others there")
@pytest.mark.parametrize(
    "code",
    [
        "faulthandler.cancel_dump_traceback_later(); signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "os.closerange(3, 100)",
    ],
)
def test_aProcessThatDoesNotEndItselfIsKilledEachTime(tmp_path, code):
    """Also when it hangs with its first frame again: the time for setup() is over when process() is called."""
    path = functionFile(tmp_path, HANGS_ONCE.format(code))
    Path(path + ".hung").touch()
    with Driver(tmp_path, path, limit=0.1) as driver:
        for number in range(3):
            driver.give(frameOf(number))
        driver.untilIdle()
        assert [event.code for event in driver.events] == ["function-restarted"] * 2
        assert driver.counts == (3, 3, 0, 0, 0)


@pytest.mark.skipif(os.name != "posix", reason="processes fork there")
@pytest.mark.parametrize(
    "code",
    [
        "child = os.fork()\n            if not child: time.sleep(600)",
        "child = os.fork() or os.getpid()",
        "import subprocess; child = subprocess.Popen(['sleep', '600']).pid",
    ],
)
@pytest.mark.parametrize("end", ["", "os._exit(3)"])
def test_processesThatTheFunctionStartsEndWithIt(tmp_path, code, end):
    """They hold its output open, and may answer in its place."""
    code = f"""
    def process(frame):
        path = __file__ + ".child"
        if frame.number == 1 and not os.path.exists(path):
            {code}
            with open(path, "w") as file: file.write(str(child))
            {end}
        return Result(values={{"n": frame.number}})
    """
    path = functionFile(tmp_path, code)
    with Driver(tmp_path, path) as driver:
        for number in range(5):
            driver.give(frameOf(number))
        driver.untilIdle()
        assert driver.counts == (5, 5, 0, 0, 0)
        assert [one.values["n"] for one in driver.values] == list(range(5))
        pid = int(Path(path + ".child").read_text())
        if end:
            assert [event.code for event in driver.events] == ["function-restarted"]
    until = time.monotonic() + 5
    while alive(pid):
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is of Linux")
def test_theSystemEndsAFunctionFirstWhenMemoryRunsOut(tmp_path):
    code = """
        def process(frame): return Result(values={"adjusted": int(open("/proc/self/oom_score_adj").read())})
    """
    with Driver(tmp_path, functionFile(tmp_path, code)) as driver:
        driver.give(frameOf(0))
        driver.untilIdle()
        assert [one.values["adjusted"] for one in driver.values] == [1000]


def test_aProcessKilledFromOutsideLosesNoFrame(tmp_path):
    code = """
        def process(frame):
            if frame.number == 1 and not os.path.exists(__file__ + ".died"):
                open(__file__ + ".died", "w").close()
                os.kill(os.getpid(), 9)
            return frame.pixels
    """
    with Driver(tmp_path, functionFile(tmp_path, code)) as driver:
        for number in range(3):
            driver.give(frameOf(number))
        driver.untilIdle()
        assert [one.image.attributes["SourceFrame"] for one in driver.images] == ["0", "1", "2"]
        assert driver.counts == (3, 3, 0, 0, 0)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def process(frame) return 1", "SyntaxError"),
        ("import notInstalledAnywhere", "No module named 'notInstalledAnywhere' (made.py, line 6)"),
        ("value = 3", "has no function process(frame)"),
        ("process = 3", "process in"),
        ("PARAMETERS = dict\ndef process(frame): pass", "no dataclass"),
        ("PARAMETERS = 5\ndef process(frame): pass", "no dataclass"),
        (
            "@dataclass\nclass P:\n    a: object = field(default_factory=object)\n"
            "PARAMETERS = P\ndef process(frame): pass",
            "object is not JSON serializable",
        ),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("os._exit(7)", "Exit code 7"),
    ],
)
def test_aFunctionThatCannotBeLoadedSaysWhyUntilItIsCorrected(tmp_path, code, words):
    path = functionFile(tmp_path, "\n" + code)
    with Driver(tmp_path, path) as driver:
        driver.give(frameOf(0))
        driver.until(lambda: driver.processor.problem)
        driver.give(frameOf(1))
        driver.take()
        assert words in driver.processor.problem
        assert words in driver.processor.statusWords()
        assert driver.counts == (2, 0, 0, 2, 0)
        assert "function-unusable" in [event.code for event in driver.events]
        functionFile(tmp_path, "def process(frame): return frame.pixels")
        driver.processor.reload()
        driver.give(frameOf(2))
        driver.untilIdle()
        assert driver.counts == (3, 1, 0, 2, 0)
        assert driver.feed.idle


def test_reloadUsesTheEditedFileAndKeepsFramesAndParameters(tmp_path):
    path = functionFile(tmp_path, GAIN)
    with Driver(tmp_path, path, parameters='{"gain": 3}') as driver:
        driver.give(frameOf(1))
        driver.untilIdle()
        functionFile(tmp_path, GAIN.replace("frame.pixels *", "10 + frame.pixels *"))
        driver.processor.reload()
        for number in (2, 3):
            driver.give(frameOf(number))
        driver.untilIdle()
        assert [one.image.pixels[0, 0, 0] for one in driver.images] == [3, 16, 19]
        assert driver.counts == (3, 3, 0, 0, 0)
        assert driver.events == []


def test_reloadForgetsParametersThatTheEditedFileNoLongerHas(tmp_path):
    """At the start an unknown name is an error; the user who edits a file needs no other start."""
    path = functionFile(tmp_path, GAIN)
    with Driver(tmp_path, path, parameters='{"gain": 3}') as driver:
        driver.give(frameOf(1))
        driver.untilIdle()
        functionFile(tmp_path, "def process(frame): return frame.pixels")
        driver.processor.reload()
        driver.give(frameOf(2))
        driver.untilIdle()
        assert [one.image.pixels[0, 0, 0] for one in driver.images] == [3, 2]
        assert driver.processor.parameters == {}
        assert driver.events == []


def test_aFileThatIsGoneAtReloadIsNamed(tmp_path):
    path = functionFile(tmp_path, GAIN)
    with Driver(tmp_path, path) as driver:
        driver.until(lambda: driver.processor.ready)
        os.remove(path)
        driver.processor.reload()
        driver.until(lambda: driver.processor.problem)
        (text,) = texts(driver)
        assert text.startswith(f"made cannot be used: {path} cannot be read: ")
        assert text.endswith(". Correct it, then press Reload.")


def test_reloadEndsAFunctionThatHangs(tmp_path):
    path = functionFile(tmp_path, "def process(frame): time.sleep(60)")
    with Driver(tmp_path, path) as driver:
        driver.give(frameOf(1))
        driver.until(lambda: driver.processor.ready and driver.processor.waiting == 1)
        functionFile(tmp_path, "def process(frame): return frame.pixels")
        driver.processor.reload()
        driver.untilIdle()
        assert driver.counts == (1, 1, 0, 0, 0)
        assert driver.events == []


def test_aParameterHoldsFromTheNextFrameOn(tmp_path):
    with Driver(tmp_path, functionFile(tmp_path, GAIN)) as driver:
        for number in range(100):
            driver.processor.setParameters({"gain": number / 2})
            driver.give(frameOf(number))
            driver.untilIdle()
        assert [one.values["gain"] for one in driver.values] == [number / 2 for number in range(100)]
        for number in range(100):
            driver.processor.setParameters({"gain": number / 4})
        driver.give(frameOf(100))
        driver.untilIdle()
        assert driver.values[-1].values["gain"] == 99 / 4
        assert driver.counts == (101, 101, 0, 0, 0)
        assert driver.events == []


@pytest.mark.parametrize(("values", "words"), [({"gain": 101}, "0 to 100"), ({"gian": 1}, "no parameter gian")])
def test_aBadParameterIsRefusedAndTheOthersStay(tmp_path, values, words):
    with Driver(tmp_path, functionFile(tmp_path, GAIN), parameters='{"gain": 7}') as driver:
        driver.give(frameOf(0))
        driver.untilIdle()
        driver.processor.setParameters(values)
        driver.give(frameOf(1))
        driver.untilIdle()
        (event,) = driver.events
        assert event.code == "parameters-refused"
        assert words in event.text
        assert [one.values["gain"] for one in driver.values] == [7.0, 7.0]
        assert driver.processor.figures()["parameters"] == {"gain": 7}


def test_setupThatRaisesIsTriedAgainWithTheNextFrame(tmp_path):
    code = """
        def setup(parameters, first):
            if first.number < 2: raise RuntimeError("too early")
        def process(frame): return frame.pixels
    """
    with Driver(tmp_path, functionFile(tmp_path, code)) as driver:
        for number in range(4):
            driver.give(frameOf(number))
        driver.untilIdle()
        assert driver.counts == (4, 2, 0, 2, 0)
        assert "RuntimeError: too early" in texts(driver)[0]


SLOW = """
    def process(frame):
        while not os.path.exists(__file__ + ".go"): time.sleep(0.01)
        return frame.pixels
"""


def test_newestSkipsAllButTheNewestFrame(tmp_path):
    path = functionFile(tmp_path, SLOW)
    with Driver(tmp_path, path, every="newest", slots=3) as driver:
        driver.give(frameOf(0))
        driver.until(lambda: driver.processor.ready)
        for number in range(1, 50):
            driver.give(frameOf(number))
        assert driver.counts == (50, 0, 48, 0, 2)
        Path(path + ".go").touch()
        driver.untilIdle()
        assert [one.image.attributes["SourceFrame"] for one in driver.images] == ["0", "49"]
        assert driver.counts == (50, 2, 48, 0, 0)
    assert driver.events == []


def test_framesBeyondTheBoundOfTheQueueAreSkippedAndCounted(tmp_path):
    path = functionFile(tmp_path, SLOW)
    with Driver(tmp_path, path, slots=4) as driver:
        for number in range(10):
            driver.give(frameOf(number))
        assert driver.counts == (10, 0, 6, 0, 4)
        Path(path + ".go").touch()
        driver.untilIdle()
        assert [one.image.attributes["SourceFrame"] for one in driver.images] == ["0", "1", "2", "3"]
        driver.give(frameOf(15))  # five frames before it got lost on the way
        driver.untilIdle()
        assert driver.counts == (16, 5, 11, 0, 0)


def test_oneEventNamesTheFramesThatWereSkippedAndWhy(tmp_path):
    """While the function starts, while it is slower than the frames, and on the way to it; all frames are named."""
    path = functionFile(tmp_path, "\n    while not os.path.exists(__file__ + '.load'): time.sleep(0.01)" + SLOW)
    with Driver(tmp_path, path, slots=4) as driver:
        for number in range(14):
            driver.give(frameOf(number))
        Path(path + ".load").touch()
        driver.until(lambda: not driver.processor._isFirst)
        driver.give(frameOf(14))
        Path(path + ".go").touch()
        driver.untilIdle()
        driver.give(frameOf(18))
        driver.untilIdle()
        driver.processor.close()
        driver.take()
        assert driver.counts == (19, 5, 14, 0, 0)
        assert texts(driver) == [
            "made skipped 10 images of Live, 4 to 13: it is starting, and 4 already wait.",
            "made skipped 1 image of Live, 14: it is slower than they arrive, and 4 already wait.",
            "made skipped 3 images of Live, 15 to 17: they did not reach its process.",
        ]
        assert {(event.code, event.level, event.subject) for event in driver.events} == {
            ("images-skipped", "warning", "Live made")
        }
        assert [event.remedy and event.remedy.settings for event in driver.events] == [None, {"every": "newest"}, None]


def test_skipsThatGoOnMakeFewEvents():
    """The first one soon, then one a minute; together they name every frame."""
    skips = Skips("Live", "made", "Live made")
    found = []
    for number in range(1, 30_001):
        now = number / 100  # five minutes
        found += [(now, event.text) for event in skips.add(2 * number, 1, SLOWER, 64, now)]
        found += [(now, event.text) for event in skips.due(now)]
    assert [now for now, _text in found] == [1.01, 61.01, 121.01, 181.01, 241.01]
    found += [(300, event.text) for event in skips.rest()]
    told = [text.split("skipped ")[1].split(" image")[0] for _now, text in found]
    assert sum(int(count.replace(",", "")) for count in told) == 30_000
    assert list(skips.add(80_000, 1, SLOWER, 64, 310)) == list(skips.due(310.9)) == []
    assert [event.text.split(", ")[1] for event in skips.due(311)] == ["80000: it is slower than they arrive"]
    assert list(skips.rest()) == []


def test_aStopBetweenValuesAndImageOfAResultLosesNeither(tmp_path):
    """The acquisition process takes no further item after a stop, and asks for the rest then."""
    code = "def process(frame): return Result(frame.pixels, values={'n': frame.number})"
    with Driver(tmp_path, functionFile(tmp_path, code)) as driver:
        for number in range(3):
            driver.give(frameOf(number))
        end = time.monotonic() + 30
        while not driver.processor.unread:
            assert time.monotonic() < end
            time.sleep(0.002)
        for item in driver.processor.take():
            driver.values.append(item)
            break
        assert not driver.processor.idle
        driver.untilIdle()
        assert [one.number for one in driver.values] == [0, 1, 2]
        assert [one.image.attributes["SourceFrame"] for one in driver.images] == ["0", "1", "2"]
        assert driver.counts == (3, 3, 0, 0, 0)


def test_aStopInTheMiddleSkipsWhatWaits(tmp_path):
    with Driver(tmp_path, functionFile(tmp_path, SLOW)) as driver:
        for number in range(10):
            driver.give(frameOf(number))
        driver.until(lambda: driver.processor.ready)
        started = time.monotonic()
        driver.processor.close()
        assert time.monotonic() - started < 2
        driver.give(frameOf(10))
        assert driver.counts == (11, 0, 11, 0, 0)
        assert driver.feed.idle


def test_tenThousandFrames(tmp_path):
    """In order, each once, and nothing is left behind."""
    code = """
        def process(frame):
            if frame.number % 1000 == 500: raise ValueError("every thousandth")
            return Result(frame.pixels, values={"n": frame.number, "pid": os.getpid()})
    """
    count = 10_000
    with Driver(tmp_path, functionFile(tmp_path, code)) as driver:
        for number in range(count):
            while driver.processor.waiting > 40:
                driver.take()
                time.sleep(0.0005)
            driver.give(frameOf(number, np.array([[[number % 256]]], np.uint8)))
        driver.untilIdle()
        expected = [number for number in range(count) if number % 1000 != 500]
        assert [one.number for one in driver.values] == expected
        assert [int(one.image.pixels[0, 0, 0]) for one in driver.images] == [number % 256 for number in expected]
        assert driver.counts == (count, count - 10, 0, 10, 0)
        (pid,) = {int(one.values["pid"]) for one in driver.values}
        assert alive(pid)
    assert not alive(pid)
    assert [name for name in os.listdir(tmp_path) if name.endswith(".ring") and not name.startswith("function")] == []


def test_closeOfTheFunctionIsCalledAtTheEnd(tmp_path):
    code = """
        def process(frame): return None
        def close(): open(__file__ + ".closed", "w").close()
    """
    path = functionFile(tmp_path, code)
    with Driver(tmp_path, path) as driver:
        driver.give(frameOf(0))
        driver.untilIdle()
    assert os.path.exists(path + ".closed")


def test_textThatTheFunctionPrintsDoesNotMixWithItsResults(tmp_path):
    code = """
        def process(frame):
            print('{"computed": 99}')
            os.write(1, b"raw\\n")
            return frame.pixels
    """
    with Driver(tmp_path, functionFile(tmp_path, code)) as driver:
        for number in range(5):
            driver.give(frameOf(number))
        driver.untilIdle()
        assert driver.counts == (5, 5, 0, 0, 0)
        assert driver.events == []


@pytest.mark.skipif(os.name != "posix", reason="cat")
@pytest.mark.parametrize(
    "code",
    [
        "assert sys.stdin.read() == ''",
        "assert os.read(0, 100) == b''",
        "import subprocess; assert subprocess.run(['cat'], stdout=-1, check=True).stdout == b''",
        "os.close(0)",
    ],
)
def test_aFunctionThatReadsStandardInputTakesNoFrame(tmp_path, code):
    path = functionFile(tmp_path, f"def process(frame):\n    if frame.number == 1: {code}\n    return frame.pixels")
    with Driver(tmp_path, path) as driver:
        for number in range(5):
            driver.give(frameOf(number))
        driver.untilIdle()
        assert driver.events == []
        assert driver.counts == (5, 5, 0, 0, 0)


def test_anotherPythonNeedsNumpyAndThePureLibraryOnly(tmp_path):
    """An environment of its own, in which of all packages only numpy can be imported."""
    import venv

    venv.EnvBuilder(symlinks=os.name == "posix", with_pip=False).create(tmp_path / "env")
    binary = tmp_path / "env" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    packages = tmp_path / "packages"
    packages.mkdir()
    installed = Path(np.__file__).parents[1]
    for name in ("numpy", "numpy.libs"):
        if (installed / name).exists():
            (packages / name).symlink_to(installed / name, target_is_directory=True)
    code = """
        import importlib.util
        others = [name for name in ("slicer", "vtk", "qt", "scipy", "pydicom") if importlib.util.find_spec(name)]
        def process(frame):
            return Result(frame.pixels, attributes={"Prefix": sys.prefix, "Others": ",".join(others)})
    """
    environment = f'{{"PYTHONPATH": "{packages.as_posix()}", "PYTHONHOME": null}}'
    path = functionFile(tmp_path, code)
    with Driver(tmp_path, path, python=str(binary), environment=environment) as driver:
        driver.give(frameOf(0))
        driver.untilIdle()
        (arrival,) = driver.images
        assert os.path.samefile(arrival.image.attributes["Prefix"], tmp_path / "env")
        assert arrival.image.attributes["Others"] == ""


def test_aPythonThatCannotStartIsNamed(tmp_path):
    path = functionFile(tmp_path, "def process(frame): return None")
    with Driver(tmp_path, path, python=str(tmp_path / "no-python")) as driver:
        driver.give(frameOf(0))
        driver.take()
        assert "no-python cannot be started" in driver.processor.problem
        assert driver.counts == (1, 0, 0, 1, 0)


@pytest.mark.skipif(os.name != "posix", reason="signals are others there")
def test_theFunctionEndsWithTheProcessThatFeedsIt(tmp_path):
    """Also when that one is killed while the function is busy."""
    path = functionFile(tmp_path, "def process(frame):\n    print(os.getpid())\n    time.sleep(60)\n")
    code = """
        import sys, time, logging
        from pathlib import Path
        from unit.functions import Driver, frameOf
        driver = Driver(Path(sys.argv[1]), sys.argv[2])
        driver.give(frameOf(0))
        driver.until(lambda: driver.processor.ready and driver.processor._process.pid)
        print(driver.processor._process.pid, flush=True)
        time.sleep(60)
    """
    import textwrap

    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path), path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    feeder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    pid = int(feeder.stdout.readline())
    assert alive(pid)
    feeder.kill()
    feeder.wait()
    feeder.stdout.close()
    end = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < end
        time.sleep(0.02)
