"""Values of functions in the sequence browser: each image is shown with the value that was computed from it."""

from __future__ import annotations

import os
import sys
import threading

import pytest
import slicerhost
from RealTimeImagingLib.Recording.ValuesFile import ValuesFile
from unit.functions import functionFile
from unit.recordings import frame, record

from .conftest import untilRecording, untilStopped
from .test_Processing import connected, decided, replay, until
from .test_RecordedTransforms import newSequences, synchronized
from .test_Recording import built


@pytest.fixture(autouse=True)
def emptyScene(slicer):
    yield
    slicerhost.closeScene()


def shown(browser, value):
    """Return the text of the proxy of a value at each image, scrubbing through the browser."""
    (node,) = [one for one in synchronized(browser) if one.GetAttribute("RecordingValue") == value]
    texts = []
    for place in range(browser.GetNumberOfItems()):
        browser.SetSelectedItemNumber(place)
        texts.append(browser.GetProxyNode(node).GetText())
    return texts


def valuesIn(browser):
    return sorted(
        one.GetAttribute("RecordingValue") for one in synchronized(browser) if one.GetAttribute("RecordingValue")
    )


def build(sequences, paths, values):
    browser = sequences.newBrowser("Test")
    sequences.add(browser, paths)
    sequences.addValues(browser, values)
    while sequences.busy:
        sequences.step(0.01)
    return browser


def recorded(folder, count, rows, function="Scan mean", name="Test"):
    """Record images of the stream Scan, and values of some of them."""
    frames = [frame(number, (1, 2, 2)) for number in range(count)]
    paths = record(folder, frames, name)
    file = ValuesFile(str(folder), name, function)
    for number, values in rows.items():
        assert file.append(number, frames[number].time, values)
    file.close()
    return paths, file.path


def test_eachImageShowsItsValue(slicer, tmp_path, noErrors):
    """An image that the function skipped has no value, and shifts no other one."""
    rows = {number: {"mean": number / 8, "SD, all": float(number)} for number in range(20) if number not in (0, 7, 8)}
    paths, path = recorded(tmp_path, 20, rows)
    browser = build(newSequences(slicer), paths, [path])
    assert valuesIn(browser) == ["SD, all", "mean"]
    assert shown(browser, "mean") == [str(number / 8) if number in rows else "" for number in range(20)]
    assert browser.GetMasterSequenceNode().GetAttribute("RecordingStream") == "Scan"


def test_valuesOfAnotherStreamOrRecordingAreNotTaken(slicer, tmp_path, noErrors):
    """Numbers alone do not identify an image."""
    paths, path = recorded(tmp_path, 5, {number: {"mean": 1.0} for number in range(5)})
    file = ValuesFile(str(tmp_path), "Test", "Other mean")
    for number in range(5):
        file.append(number, 5.0 + number, {"other": 2.0})
    file.close()
    browser = build(newSequences(slicer), paths, [path, file.path])
    assert valuesIn(browser) == ["mean"]


def test_aLineThatWasCutOffIsPassedOver(slicer, tmp_path, noErrors):
    paths, path = recorded(tmp_path, 4, {number: {"mean": float(number)} for number in range(3)})
    with open(path, "a", encoding="utf-8") as file:
        file.write("3,17")
    assert shown(build(newSequences(slicer), paths, [path]), "mean") == ["0.0", "1.0", "2.0", ""]


@pytest.mark.parametrize(
    ("damage", "words", "values"),
    [
        (lambda data: data.replace(b"\n1,", b"\nx,"), "left out: 1, the first is line 3.", ["0.0", "", "2.0"]),
        (lambda data: data[3:], "does not begin with the columns Frame and Time", None),
        (lambda data: b"\xff\xfe" + data, "it has bytes that are no text", None),
        (lambda data: None, "it is a folder, pipe or device", None),
        (lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"), None, ["0.0", "1.0", "2.0"]),
    ],
    ids=["line", "titles", "bytes", "folder", "spreadsheet"],
)
def test_damagedFilesOfValuesAreNamed(slicer, tmp_path, damage, words, values):
    """A spreadsheet program writes a mark and other line ends, which are no damage."""
    from RealTimeImagingLib.Model.Errors import RecordingError
    from RealTimeImagingLib.Scene.RecordedValues import RecordedValues, ShownPart

    file = ValuesFile(str(tmp_path), "Test", "f")
    for number in range(3):
        file.append(number, float(number), {"v": float(number)})
    file.close()
    with open(file.path, "rb") as opened:
        data = damage(opened.read())
    os.unlink(file.path)
    if data is None:
        os.mkdir(file.path)
    else:
        with open(file.path, "wb") as opened:
            opened.write(data)
    images = [(number, float(number)) for number in range(3)]
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    adding = RecordedValues(slicer.mrmlScene, slicer.modules.sequences.logic()).add(
        [ShownPart(browser, "Test", images, [f"{time:.6f}" for _number, time in images])], [file.path]
    )
    if words is None:
        list(adding)
    else:
        with pytest.raises(RecordingError, match=words) as refused:
            list(adding)
        assert file.path in str(refused.value)
    texts = [
        [node.GetNthDataNode(place).GetText() for place in range(3)]
        for node in slicer.util.getNodesByClass("vtkMRMLSequenceNode")
    ]
    assert texts == ([] if values is None else [values])


def test_eachPartHasTheValuesOfItsImages(slicer, tmp_path, noErrors):
    """A recording of more than 3,000 images has several browsers."""
    paths, path = recorded(tmp_path, 3010, {number: {"mean": float(number)} for number in range(3010)})
    assert len(paths) == 2
    sequences = newSequences(slicer)
    first = build(sequences, paths, [path])
    second = next(one for one in sequences.browsersOf(first) if one is not first)
    assert shown(second, "mean") == [str(float(number)) for number in range(3000, 3010)]


def test_aStepIsShortAtAnyLength(slicer, tmp_path, noErrors):
    """Each step reads some lines or adds one item: their number grows with the images and not their size."""
    from RealTimeImagingLib.Scene.RecordedValues import RecordedValues, ShownPart

    images = [(number, float(number)) for number in range(3000)]
    file = ValuesFile(str(tmp_path), "Test", "f")
    for number, time in images:
        file.append(number, time, {"v": 1.0})
    file.close()
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    part = ShownPart(browser, "Test", images, [f"{time:.6f}" for _number, time in images])
    values = RecordedValues(slicer.mrmlScene, slicer.modules.sequences.logic())
    steps = sum(1 for _step in values.add([part], [file.path]))
    assert 3000 + 3000 // 50 <= steps <= 3000 + 3000 // 50 + 2


def lostBefore(logic, number):
    """Number of frames lost before a frame; images that were not shown have no row."""
    columns = logic.signals.columns("Live")
    return columns["Lost"][columns["Frame"] == number].tolist() if "Lost" in columns else []


@pytest.fixture
def listed():
    """Folders that this thread, Slicer's main thread, lists: a share that hangs would block the window."""
    found, here, watching = [], threading.get_ident(), [True]

    def note(event, arguments):
        if watching and event in ("os.listdir", "os.scandir") and threading.get_ident() == here:
            found.append(str(arguments[0]))

    sys.addaudithook(note)  # it cannot be removed
    yield found
    watching.clear()


@pytest.mark.parametrize("stays", [True, False], ids=["at stop", "opened later"])
def test_theValuesOfARunOpenWithItsImages(slicer, logic, tmp_path, listed, stays):
    """The function fails for the images 3 and 4."""
    source = replay(logic, tmp_path, count=8)
    code = """
    def process(frame):
        if frame.number in (3, 4):
            raise ValueError("no")
        return Result(values={"number": frame.number})
    """
    processor = logic.processing.start(functionFile(tmp_path, code, "count"))
    connected(processor)
    folder = str(tmp_path / "recordings")
    logic.startRecording(folder, name="Run")
    untilRecording(logic)
    source.send("resume")
    decided(processor, 8)
    until(lambda: lostBefore(logic, 5) == [2])
    until(lambda: logic.signals.columns("Live")["Frame"].tolist()[-1:] == [7])
    browser = logic.stopRecording()
    built(logic)
    untilStopped(logic)
    if not stays:
        slicerhost.closeScene()
        logic.recording.list.read(folder)
        until(lambda: logic.recording.list.entries and not logic.recording.list.status()["reading"])
        entry = next(one for one in logic.recording.list.entries if one.stream == "Live")
        browser = logic.recording.open(entry)
        built(logic)
    assert os.path.exists(os.path.join(folder, "Run-Live_count.values.csv"))
    wanted = [str(float(number)) if number not in (3, 4) else "" for number in range(8)]
    assert shown(browser, "number") == wanted
    assert folder not in listed
