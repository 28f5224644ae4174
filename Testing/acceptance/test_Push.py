"""Images made in Python: pushed from the console, a loop, a timer or a callback."""

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
from .test_Recording import built, errors, parts, running, save, sumsOf, untilRepaired


def arrays(count, shape=(6, 7, 8), dtype=np.int16):
    random = np.random.default_rng(count)
    return [random.integers(0, 200, shape).astype(dtype) for _ in range(count)]


def sums(pushed):
    return [checksum(one if one.ndim > 2 else one[np.newaxis]) for one in pushed]


def received(logic, count, stream="Live"):
    until(lambda: logic.statistics()["streams"].get(stream, {}).get("received") == count)


def shownArray(slicer, logic, stream="Live"):
    return slicer.util.arrayFromVolume(logic.liveVolumeNode(stream))


def test_picturesColoursAndVolumesAreShown(slicer, logic, noErrors):
    """The first push starts the source; each shape becomes the right kind of volume."""
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


def test_viewsMayDrawDuringAChangeOfColour(slicer, views, logic, noErrors):
    """An overdue rendering may run within the first change, as when Slicer is busy."""
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
    """Types that Slicer cannot show become a type that keeps every value; the memory layout does not matter."""
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


def test_arraysThatAreNotImagesAreRejected(logic, noErrors):
    """The error names the reason, and nothing starts or counts."""
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
    for when in (float("nan"), -1, 1.7e12, "now", 10**400):
        with pytest.raises(frameError, match="seconds since 1970"):
            logic.push(good, time=when)
    for attributes in ({"a: b": "c"}, {"a": 3}, {"a": "\ud800"}, {"a": "b\0c"}, 5):
        with pytest.raises(frameError, match="ttribute"):
            logic.push(good, attributes=attributes)
    for array, colour in ((good[..., :2], True), (np.zeros((2, 2, 2, 3), np.uint8), False), (good[0], True)):
        with pytest.raises(frameError, match="colour"):
            logic.push(array, colour=colour)
    with pytest.raises(settingsError, match="needs a name"):
        logic.push(good, name=" ")
    assert not logic.isRunning()
    assert logic.statistics()["received"] == 0


def test_namesThatNoVolumeCanHaveAreRejectedWhileOthersArePushed(logic, noErrors):
    logic.push(np.zeros((2, 3)), name="A")
    for name in (["A"], None, 3, "", "\ud800", "A\0B"):
        with pytest.raises(errors().SettingsError, match="name"):
            logic.push(np.zeros((2, 3)), name=name)
    received(logic, 1, "A")
    assert list(logic.statistics()["streams"]) == ["A"]
    untilStopped(logic)


def test_300FramesAsFastAsPossibleAreRecorded(logic, tmp_path, noErrors):
    """A loop without Slicer's event loop: every frame is in the file, with its pixels, in order."""
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
    """The pushed pixels are a copy."""
    logic.startRecording(tmp_path / "recordings")
    array = np.zeros((40, 50), np.uint16)
    for number in range(40):
        array[:] = number
        logic.push(array, wait=20)
    array[:] = 999
    logic.stopRecording()
    built(logic)
    (part,) = parts(tmp_path / "recordings")
    assert [int(part.pixels(index).max()) for index in range(part.count)] == list(range(40))
    untilStopped(logic)


def test_tooManyImagesAtOnceAreRejected(logic, tmp_path, noErrors):
    """Every push that did not raise is stored."""
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
    assert all("acquisition process: 64, as many as fit" in words and "processEvents" in words for words in refused)
    logic.stopRecording()
    built(logic)
    assert sumsOf(tmp_path / "recordings") == sums(pushed)
    untilStopped(logic)
    assert logic.statistics()["received"] == len(pushed)


def test_recordingStartsAndEndsBetweenPushes(logic, tmp_path, noErrors):
    """A frame that waits while recording starts or stops belongs to the time when it was pushed."""
    pushed = arrays(60)
    for number, array in enumerate(pushed):
        if number == 20:
            logic.startRecording(tmp_path / "recordings")
        if number == 40:
            logic.stopRecording()
        logic.push(array, wait=20)
    until(lambda: logic.statistics()["received"] == 60)
    built(logic)
    assert sumsOf(tmp_path / "recordings") == sums(pushed[20:40])
    untilStopped(logic)


def test_stopRightAfterTheLastPush(logic, tmp_path, noErrors):
    """Stop delivers all pushed images, also when the process has not started yet."""
    pushed = arrays(16)
    logic.startRecording(tmp_path / "recordings")
    for array in pushed:
        logic.push(array)
    logic.stop()
    assert [source.state for source in logic.sources()] == ["stopping"]
    until(lambda: not logic.isRunning())
    built(logic)
    assert logic.statistics()["received"] == 16
    assert sumsOf(tmp_path / "recordings") == sums(pushed)
    for array in pushed[:3]:  # the same again, with a process of its own
        logic.push(array)
    untilStopped(logic)
    assert logic.statistics()["received"] == 3


def test_sceneCloseDeliversAllImages(slicer, logic, tmp_path, noErrors):
    """Pushed images are stored although the event loop does not run."""
    pushed = arrays(16)
    logic.startRecording(tmp_path / "recordings")
    for array in pushed:
        logic.push(array)
    slicerhost.closeScene()
    until(lambda: not logic.isRunning())  # no more than the end of a process that writes longer
    assert sumsOf(tmp_path / "recordings") == sums(pushed)


@pytest.mark.parametrize("goals", [(60,), (5, 40, 41, 90, 130)])
def test_aKilledProcessLosesNoImage(logic, tmp_path, goals):
    """The next process gets, once, the images that the killed one had not taken."""
    pushed, left, killed = arrays(150), list(goals), {0}
    logic.startRecording(tmp_path / "recordings", name="Cut")
    for number, array in enumerate(pushed):
        logic.push(array, wait=20) if number % 3 else pushWhenThereIsRoom(logic, array)
        if left and number == left[0]:
            del left[0]
            source = logic.sources()[0]
            # The number of a process that was killed may be gone before the event loop tells of its end.
            until(lambda source=source: source.pid not in killed)
            killed.add(source.pid)
            os.kill(source.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    until(lambda: logic.statistics()["received"] == 150, 30)
    logic.stopRecording()
    built(logic)
    untilRepaired(tmp_path / "recordings")
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


@pytest.mark.parametrize("tookNothing", [False, True])
def test_aKillBeforeTheLastFrameOfARecordingLosesNothing(logic, tmp_path, tookNothing):
    """The next process records the images that were pushed during the recording, and no others."""
    if tookNothing and not hasattr(signal, "SIGSTOP"):
        pytest.skip("needs SIGSTOP")
    pushed = arrays(17)
    logic.push(pushed[0])
    received(logic, 1)
    if tookNothing:
        os.kill(logic.sources()[0].pid, signal.SIGSTOP)
    logic.startRecording(tmp_path / "recordings", name="Cut")
    for array in pushed[1:9]:
        logic.push(array)
    logic.stopRecording()
    for array in pushed[9:]:
        logic.push(array)
    os.kill(logic.sources()[0].pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    received(logic, 17)
    built(logic)
    untilRepaired(tmp_path / "recordings")
    stored = {}
    for part in parts(tmp_path / "recordings"):
        stored |= {entry["number"]: checksum(part.pixels(index)) for index, entry in enumerate(part.frames)}
    assert stored == dict(zip(range(1, 9), sums(pushed[1:9]), strict=True))
    assert logic.statistics()["recorded"] == 8
    untilStopped(logic)


def pushWhenThereIsRoom(logic, array):
    """Push images as a script that runs the event loop in between."""

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


def test_aProcessThatTakesNothingIsStoppedAndTheLossIsReported(logic):
    if not hasattr(signal, "SIGSTOP"):
        pytest.skip("needs SIGSTOP")
    logic.push(np.zeros((4, 4)))
    received(logic, 1)
    source = logic.sources()[0]
    os.kill(source.pid, signal.SIGSTOP)
    for _ in range(16):
        logic.push(np.zeros((4, 4)))
    untilStopped(logic)
    assert [event.text for event in logic.events() if event.code == "push-lost"] == [
        "16 of 17 images from Python did not reach the acquisition process."
    ]
    assert source.state == "stopped"


def test_streamsHaveNames(slicer, logic, incoming, noErrors):
    """Several streams use one process, beside another source; a name belongs to one source."""
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


def test_theSourceMayBeStartedFirst(logic, noErrors):
    """start() starts it like any other source, before the first push."""
    source = running(logic, logic.start(PushSettings("Camera")))
    logic.push(np.zeros((4, 4)), name="Camera")
    received(logic, 1, "Camera")
    assert logic.sources() == [source]
    logic.stop(source)
    until(lambda: source.ended)


# ---- callbacks that return an array


def test_aFilterMakesASecondVolume(slicer, logic, incoming, tmp_path, noErrors):
    """The array of a callback becomes a frame with the same position, time and attributes, recorded and counted."""

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


def test_filtersDoNotProcessEachOthersFrames(logic, noErrors):
    """Unless a filter names the stream."""
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


def test_filtersOfEqualNameAndWithoutName(logic, noErrors):
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


def test_arraysThatCannotBePushedAreReported(logic):
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
    texts = [event.text for event in logic.events() if event.code == "callback-failed"]
    assert len(texts) == 2
    assert "flat failed: FrameError: An image has the shape" in texts[0]
    assert (
        "same failed: SettingsError: A callback for the stream Live must push its images under another name" in texts[1]
    )


def test_slowCallbacksAreReportedOnce(logic, noErrors):
    def slow(frame):
        time.sleep(0.03)

    logic.addFrameCallback(slow)
    for number in range(25):
        logic.push(np.zeros((4, 4)))
        received(logic, number + 1)
    untilStopped(logic)
    (event,) = [event for event in logic.events() if event.code == "callback-slow"]
    assert "of Live (slowest: test_slowCallbacksAreReportedOnce" not in event.text
    assert "of Live (slowest: slow)" in event.text
    assert event.subject == "slow"
    assert logic.statistics()["callbackMs"]["slow"]["median"] >= 30
