"""Frames made in Python, as the user meets them: pushed from the console, a loop, a timer or a callback."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
import slicerhost
import vtk
from RealTimeImagingLib import FolderSettings, PushSettings
from RealTimeImagingLib.Model.Frame import Frame, checksum, pictureToRAS
from slicerhost.Views import MAXIMUM_UPDATE_RATE

from .conftest import until, untilStopped
from .test_Recording import built, errors, parts, running, save, sumsOf


def arrays(count, shape=(6, 7, 8), dtype=np.int16):
    random = np.random.default_rng(count)
    return [random.integers(0, 200, shape).astype(dtype) for _ in range(count)]


def sums(pushed):
    return [checksum(one if one.ndim > 2 else one[np.newaxis]) for one in pushed]


def received(logic, count, stream="Live"):
    until(lambda: logic.statistics()["streams"].get(stream, {}).get("received") == count)


def shownArray(slicer, logic, stream="Live"):
    return slicer.util.arrayFromVolume(logic.liveVolumeNode(stream))


def test_pictureColourAndVolume(slicer, logic, noErrors):
    """The first push starts all that is needed; each shape is shown as what it is."""
    picture = arrays(1, (5, 6), np.uint8)[0]
    logic.push(picture)
    received(logic, 1)
    node = logic.liveVolumeNode()
    assert (shownArray(slicer, logic) == picture[np.newaxis]).all()
    found = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(found)
    np.testing.assert_allclose(slicer.util.arrayFromVTKMatrix(found), pictureToRAS(6, 5))
    colour = arrays(1, (5, 6, 3), np.uint8)[0]
    logic.push(colour)
    received(logic, 2)
    assert logic.liveVolumeNode().IsA("vtkMRMLVectorVolumeNode")
    assert (shownArray(slicer, logic) == colour[np.newaxis]).all()
    volume = arrays(1, (4, 5, 6), np.float32)[0]
    found.Identity()
    found.SetElement(0, 3, 12.5)
    logic.push(volume, ijkToRAS=found, time=1.7e9, attributes={"Note": "Zoë"})
    received(logic, 3)
    node = logic.liveVolumeNode()
    assert node.IsA("vtkMRMLScalarVolumeNode")
    assert (shownArray(slicer, logic) == volume).all()
    assert node.GetOrigin()[0] == 12.5
    assert node.GetAttribute("Note") == "Zoë"
    assert float(node.GetAttribute("DeviceTime")) == 1.7e9
    assert [source.state for source in logic.sources()] == ["running"]
    assert "Python" in logic.sources()[0].status
    untilStopped(logic)
    counts = logic.statistics()
    assert counts["received"] == 3 == counts["shown"] + counts["skipped"]


def test_viewsDrawInTheMiddleOfAChangeOfColour(slicer, views, logic, noErrors):
    """As when the window is busy: a rendering that is overdue comes with the first change, whatever is half done."""
    for number, array in enumerate((np.zeros((5, 6), np.uint8), np.ones((5, 6, 3), np.uint8)) * 3):
        for view in views.views():
            view.scheduleRender()
        due = time.monotonic() + 2 / MAXIMUM_UPDATE_RATE
        while time.monotonic() < due:
            pass
        logic.volumes.show(Frame(array[np.newaxis], np.eye(4), "Live", number, 0.0))
        assert slicerhost.vtkMessages == []
    logic.volumes.forget()


def test_typesAreConverted(slicer, logic, noErrors):
    """Types that Slicer does not show become one that keeps every value; memory layout does not matter."""
    base = np.arange(24).reshape(2, 3, 4)
    cases = [
        (base > 5, np.uint8),
        (base.astype(np.float16), np.float32),
        (base.astype(np.int64), np.float64),
        (base.astype(np.uint64), np.float64),
        (base.astype(">i2"), np.int16),
        (base.astype(np.int16).transpose(2, 1, 0), np.int16),
        (base.astype(np.uint8)[:, ::-1, ::2], np.uint8),
        (np.asfortranarray(base.astype(np.float32)), np.float32),
    ]
    for number, (array, dtype) in enumerate(cases):
        logic.push(array, colour=False)
        received(logic, number + 1)
        shown = shownArray(slicer, logic)
        assert shown.dtype == dtype
        assert (shown == array).all()
    logic.push([[1, 2], [3, 4]])
    received(logic, len(cases) + 1)
    untilStopped(logic)


def test_whatCannotBeAFrameIsRefused(logic, noErrors):
    """Each with a sentence, and nothing starts or counts."""
    good = np.zeros((2, 3, 4), np.int16)
    frameError, settingsError = errors().FrameError, errors().SettingsError
    for array in (np.zeros(3), np.zeros((0, 4)), np.zeros((1, 2, 3, 4, 5)), np.zeros((2, 2, 2, 2)), np.array(3)):
        with pytest.raises(frameError, match=r"shape|voxel"):
            logic.push(array)
    for array in (good.astype(complex), good.astype(str), good.astype(object), np.full((2, 2), 2**62 + 1)):
        with pytest.raises(frameError, match=r"Slicer cannot show|too large"):
            logic.push(array)
    for matrix in (np.full((4, 4), np.nan), np.zeros((4, 4)), np.eye(3), "none", 1j * np.eye(4)):
        with pytest.raises(frameError, match="IJKToRAS"):
            logic.push(good, ijkToRAS=matrix)
    for when in (float("nan"), -1, 1.7e12, "now"):
        with pytest.raises(frameError, match="seconds since 1970"):
            logic.push(good, time=when)
    for attributes in ({"a: b": "c"}, {"a": 3}, {"a": "\ud800"}):
        with pytest.raises(frameError, match="ttribute"):
            logic.push(good, attributes=attributes)
    for array, colour in ((good[..., :2], True), (np.zeros((2, 2, 2, 3), np.uint8), False), (good[0], True)):
        with pytest.raises(frameError, match="colour"):
            logic.push(array, colour=colour)
    with pytest.raises(settingsError, match="needs a name"):
        logic.push(good, name=" ")
    assert not logic.isRunning()
    assert logic.statistics()["received"] == 0


def test_300FramesAsFastAsPossibleAreRecorded(logic, tmp_path, noErrors):
    """A loop that gives Slicer no turn: every frame is in the file, with its pixels, in order."""
    pushed = arrays(300, (64, 64, 8))
    logic.startRecording(tmp_path / "recordings", name="Fast")
    for number, array in enumerate(pushed):
        logic.push(array, time=1.7e9 + number / 100, wait=20)
    logic.stopRecording()
    built(logic)
    assert logic.statistics()["recorded"] == 300
    assert logic.statistics()["failed"] == 0
    assert sumsOf(tmp_path / "recordings") == sums(pushed)
    (part,) = parts(tmp_path / "recordings")
    assert [entry["number"] for entry in part.frames] == list(range(300))
    assert [entry["deviceTime"] for entry in part.frames] == [1.7e9 + number / 100 for number in range(300)]
    untilStopped(logic)
    counts = logic.statistics()
    assert counts["received"] == 300 == counts["shown"] + counts["skipped"]


def test_theArrayMayChangeAtOnce(logic, tmp_path, noErrors):
    """What is pushed is a copy, in a slot or waiting."""
    logic.startRecording(tmp_path / "recordings")
    array = np.zeros((40, 50), np.uint16)
    for number in range(40):
        array[:] = number
        logic.push(array)
    array[:] = 999
    logic.stopRecording()
    built(logic)
    (part,) = parts(tmp_path / "recordings")
    assert [int(part.pixels(index).max()) for index in range(part.count)] == list(range(40))
    untilStopped(logic)


def test_tooMuchAtOnceIsRefusedInWords(logic, tmp_path, noErrors):
    """Every push that raised nothing is stored; the others were told."""
    logic.startRecording(tmp_path / "recordings")
    pushed, refused = [], []
    for array in arrays(120):
        try:
            logic.push(array)
            pushed.append(array)
        except errors().PushError as error:
            refused.append(str(error))
    assert len(pushed) + len(refused) == 120
    assert refused
    assert all("64 images" in words and "processEvents" in words for words in refused)
    logic.stopRecording()
    built(logic)
    assert sumsOf(tmp_path / "recordings") == sums(pushed)
    untilStopped(logic)
    assert logic.statistics()["received"] == len(pushed)


def test_recordingCutsTheStreamWhereItWasAsked(logic, tmp_path, noErrors):
    """Frames that still wait when recording starts or stops belong to the side on which they were pushed."""
    pushed = arrays(60)
    for number, array in enumerate(pushed):
        if number == 20:
            logic.startRecording(tmp_path / "recordings")
        if number == 40:
            logic.stopRecording()
        logic.push(array)
    until(lambda: logic.statistics()["received"] == 60)
    built(logic)
    assert sumsOf(tmp_path / "recordings") == sums(pushed[20:40])
    untilStopped(logic)


def test_stopRightAfterTheLastPush(logic, tmp_path, noErrors):
    """Stop delivers all that was pushed, also what waits for a process that has not yet started."""
    pushed = arrays(50)
    logic.startRecording(tmp_path / "recordings")
    for array in pushed:
        logic.push(array)
    logic.stop()
    assert [source.state for source in logic.sources()] == ["stopping"]
    until(lambda: not logic.isRunning())
    built(logic)
    assert logic.statistics()["received"] == 50
    assert sumsOf(tmp_path / "recordings") == sums(pushed)
    for array in pushed[:3]:  # the same again, with a process of its own
        logic.push(array)
    untilStopped(logic)
    assert logic.statistics()["received"] == 3


def test_sceneCloseDeliversToo(slicer, logic, tmp_path, noErrors):
    """Nobody comes back to the event loop: what was pushed is stored nevertheless."""
    pushed = arrays(40)
    logic.startRecording(tmp_path / "recordings")
    for array in pushed:
        logic.push(array)
    slicerhost.closeScene()
    assert not logic.isRunning()
    assert sumsOf(tmp_path / "recordings") == sums(pushed)


@pytest.mark.parametrize("goals", [(60,), (5, 40, 41, 90, 130)])
def test_killInMidStream(logic, tmp_path, goals):
    """The process dies: what it had not taken is sent to the next one, once."""
    pushed, left, killed = arrays(150), list(goals), {0}
    logic.startRecording(tmp_path / "recordings", name="Cut")
    for number, array in enumerate(pushed):
        logic.push(array, wait=20) if number % 3 else pushWhenThereIsRoom(logic, array)
        if left and number == left[0]:
            del left[0]
            handle = logic.sources()[0]
            # The number of a process that was killed may be gone before the event loop tells of its end.
            until(lambda handle=handle: handle.pid not in killed)
            killed.add(handle.pid)
            os.kill(handle.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    until(lambda: logic.statistics()["received"] == 150, 30)
    logic.stopRecording()
    built(logic)
    stored = {}
    for part in parts(tmp_path / "recordings"):
        for index, entry in enumerate(part.frames):
            stored[entry["number"]] = checksum(part.pixels(index))
    assert [stored[number] for number in sorted(stored)] == sums(pushed)
    assert sorted(stored) == list(range(150))
    untilStopped(logic)
    counts = logic.statistics()
    assert counts["received"] == 150 == counts["shown"] + counts["skipped"]
    assert {event.code for event in logic.events()} >= {"restarted"}
    assert "push-lost" not in {event.code for event in logic.events()}


def test_killBetweenStopOfTheRecordingAndItsLastFrame(logic, tmp_path):
    """The next process records what was pushed while it was to be recorded, and nothing else."""
    pushed = arrays(60)
    logic.push(pushed[0])
    received(logic, 1)
    logic.startRecording(tmp_path / "recordings", name="Cut")
    for array in pushed[1:40]:
        logic.push(array)
    logic.stopRecording()
    for array in pushed[40:]:
        logic.push(array)
    os.kill(logic.sources()[0].pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    received(logic, 60)
    built(logic)
    stored = {}
    for part in parts(tmp_path / "recordings"):
        stored |= {entry["number"]: checksum(part.pixels(index)) for index, entry in enumerate(part.frames)}
    assert stored == dict(zip(range(1, 40), sums(pushed[1:40]), strict=True))
    assert logic.statistics()["recorded"] == 39
    untilStopped(logic)


def pushWhenThereIsRoom(logic, array):
    """As a script does that lets the event loop run."""

    left = [array]

    def tried():
        try:
            if left:
                logic.push(left[0])
                left.clear()
        except errors().PushError:
            return False
        return True

    until(tried)


def test_aProcessThatTakesNothingIsEndedAndWhatIsLostIsTold(logic):
    if not hasattr(signal, "SIGSTOP"):
        pytest.skip("needs SIGSTOP")
    logic.push(np.zeros((4, 4)))
    received(logic, 1)
    handle = logic.sources()[0]
    os.kill(handle.pid, signal.SIGSTOP)
    for _ in range(30):
        logic.push(np.zeros((4, 4)))
    untilStopped(logic)
    assert [event.text for event in logic.events() if event.code == "push-lost"] == [
        "30 of 31 images from Python did not reach the acquisition process."
    ]
    assert handle.state == "stopped"


def test_streamsHaveNames(slicer, logic, incoming, noErrors):
    """Several streams through one process, beside another source; a name belongs to one of them."""
    folder = running(logic, logic.start(FolderSettings(incoming)))
    with pytest.raises(errors().SettingsError, match="Live already"):
        logic.push(np.zeros((4, 4)))
    for number in range(3):
        logic.push(np.full((4, 4), number), name="A")
        logic.push(np.full((2, 2), number), name="B")
    save(incoming / "a.nii", 1)
    for stream, count in (("A", 3), ("B", 3), ("Live", 1)):
        received(logic, count, stream)
    assert len(logic.sources()) == 2
    assert (shownArray(slicer, logic, "B") == 2).all()
    with pytest.raises(errors().SettingsError, match="runs already"):
        logic.start(PushSettings("C"))
    logic.stop(folder)
    until(lambda: folder.ended)
    logic.push(np.ones((4, 4)))
    until(lambda: logic.statistics()["streams"]["Live"]["shown"] >= 1)
    untilStopped(logic)


def test_theSourceMayBeStartedBefore(logic, noErrors):
    """By start(), as any other: the process is there when the first frame comes."""
    handle = running(logic, logic.start(PushSettings("Camera")))
    logic.push(np.zeros((4, 4)), name="Camera")
    received(logic, 1, "Camera")
    assert logic.sources() == [handle]
    logic.stop(handle)
    until(lambda: handle.ended)


# ---- callbacks that return an array


def test_aFilterMakesASecondVolume(slicer, logic, incoming, tmp_path, noErrors):
    """Its array is a frame of its own: same place, same time, same attributes, recorded and counted."""

    def threshold(frame):
        return frame.pixels > 3

    logic.addFrameCallback(threshold)
    running(logic, logic.start(FolderSettings(incoming)))
    logic.startRecording(tmp_path / "recordings", name="Both")
    until(lambda: logic.recording.status()["free"] is not None)
    for number in range(6):
        save(incoming / f"{number}.nii", number, affine=np.diag([2.0, 3, 4, 1]))
        received(logic, number + 1)
    logic.stop()  # the answer to the last image is delivered too
    until(lambda: not logic.isRunning())
    built(logic)
    counts = logic.statistics()
    assert counts["streams"]["Live"]["shown"] == 6
    assert counts["streams"]["Live threshold"]["received"] == 6
    live, made = logic.liveVolumeNode(), logic.liveVolumeNode("Live threshold")
    assert (slicer.util.arrayFromVolume(made) == (slicer.util.arrayFromVolume(live) > 3)).all()
    assert made.GetSpacing() == live.GetSpacing()
    assert made.GetOrigin() == live.GetOrigin()
    assert made.GetAttribute("SourceFile") == "5.nii"
    assert (made.GetAttribute("Callback"), made.GetAttribute("CallbackFrame")) == ("threshold", "5")
    assert {part.stream: part.count for part in parts(tmp_path / "recordings")} == {"Live": 6, "Live threshold": 6}
    times = counts["callbackMs"]["threshold"]
    assert 0 < times["median"] <= times["p95"] <= times["max"]


def test_filtersDoNotAnswerThemselvesOrEachOther(logic, noErrors):
    """Unless one asks for a stream by its name."""
    calls = []

    def double(frame):
        calls.append(("double", frame.stream))
        return 2 * frame.pixels

    def half(frame):
        calls.append(("half", frame.stream))
        logic.push(frame.pixels // 2, name="Half")

    def chained(frame):
        calls.append(("chained", frame.stream))
        logic.push(frame.pixels, name="Chained")
        return frame.pixels

    def back(frame):
        calls.append(("back", frame.stream))
        logic.push(frame.pixels, name="Half")

    logic.addFrameCallback(double)
    logic.addFrameCallback(half)
    logic.addFrameCallback(chained, stream="Half")
    logic.addFrameCallback(back, stream="Chained")
    logic.push(np.full((4, 4), 8, np.int16))
    for stream in ("Live double", "Chained", "Half chained"):
        until(lambda stream=stream: stream in logic.statistics()["streams"])
    until(lambda: ("back", "Chained") in calls)
    received(logic, 2, "Half")
    untilStopped(logic)
    # The second frame of Half was made by way of "chained", which is therefore not called again.
    assert sorted(calls) == [("back", "Chained"), ("chained", "Half"), ("double", "Live"), ("half", "Live")]
    streams = logic.statistics()["streams"]
    assert {name: one["received"] for name, one in streams.items()} == {
        "Live": 1,
        "Live double": 1,
        "Half": 2,
        "Chained": 1,
        "Half chained": 1,
    }


def test_filtersOfOneNameAndOfNone(logic, noErrors):
    first, second = (lambda frame: frame.pixels), (lambda frame: frame.pixels[0, ::2])
    logic.addFrameCallback(first)
    logic.addFrameCallback(second)
    logic.addFrameCallback(first)
    logic.addFrameCallback(lambda frame: frame.pixels.mean())  # a number is not shown
    logic.push(np.zeros((4, 4)))
    received(logic, 1, "Live lambda")
    received(logic, 1, "Live lambda 2")
    assert logic.liveVolumeNode("Live lambda 2").GetImageData().GetDimensions() == (4, 2, 1)
    logic.removeFrameCallback(first)
    logic.removeFrameCallback(second)
    logic.push(np.zeros((4, 4)))
    received(logic, 2)
    untilStopped(logic)
    assert list(logic.statistics()["streams"]) == ["Live", "Live lambda", "Live lambda 2"]


def test_whatACallbackReturnsInVainIsAnEvent(logic):
    def flat(frame):
        return frame.pixels.ravel()

    def same(frame):
        logic.push(frame.pixels)

    logic.addFrameCallback(flat)
    logic.addFrameCallback(same)
    for number in range(3):
        logic.push(np.zeros((4, 4)))
        received(logic, number + 1)
    untilStopped(logic)
    told = [event.text for event in logic.events() if event.code == "callback-failed"]
    assert len(told) == 2
    assert "flat failed: FrameError: An image has the shape" in told[0]
    assert (
        "same failed: SettingsError: A callback for the stream Live must push its images under another name" in told[1]
    )


def test_slowCallbacksAreToldOnce(logic, noErrors):
    def slow(frame):
        time.sleep(0.03)

    logic.addFrameCallback(slow)
    for number in range(25):
        logic.push(np.zeros((4, 4)))
        received(logic, number + 1)
    untilStopped(logic)
    (event,) = [event for event in logic.events() if event.code == "callback-slow"]
    assert "of Live (slowest: test_slowCallbacksAreToldOnce" not in event.text
    assert "of Live (slowest: slow)" in event.text
    assert event.subject == "slow"
    assert logic.statistics()["callbackMs"]["slow"]["median"] >= 30
