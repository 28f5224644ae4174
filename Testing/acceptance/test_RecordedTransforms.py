"""Recorded poses in the scene: each image is shown with the pose of its time."""

import time
from dataclasses import replace

import numpy as np
import pytest
import slicerhost
from contract.inSlicer import posesInSlicer
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Model.Errors import RecordingError
from RealTimeImagingLib.Recording import MessageRecorder, Origin, openMessages
from unit.recordings import START, deviceMessage, frame, recorder

CLOCK = 4000.0


@pytest.fixture(autouse=True)
def emptyScene(slicer):
    yield
    slicerhost.closeScene()


def newSequences(slicer):
    from RealTimeImagingLib.Scene.RecordedSequences import RecordedSequences

    return RecordedSequences(slicer.mrmlScene, slicer.modules.sequences.logic())


@pytest.fixture
def sequences(slicer):
    return newSequences(slicer)


class Recording:
    """Recording of one process: images and poses in any order, with the times of one clock or none."""

    def __init__(self, folder, name="Test"):
        self.folder, self.name, self.origin = folder, name, Origin()
        self.images, self.poses, self.count = {}, MessageRecorder(str(folder), name, {}, self.origin), 0
        self.poseTimes = []

    def image(self, seconds, delay=0.0, stream="Image", clock=True):
        if stream not in self.images:
            self.images[stream] = recorder(self.folder, stream, origin=self.origin)
        device = CLOCK + seconds if clock else None
        each = frame(self.count, (1, 2, 2), stream=stream, receiveTime=START + seconds + delay, deviceTime=device)
        self.count += 1
        assert self.images[stream].append(each)

    def pose(self, seconds, delay=0.0, device="Probe", clock=True):
        deviceTime = CLOCK + seconds if clock else None
        number = len(self.poseTimes)
        message = deviceMessage(number, "transform", device, receiveTime=START + seconds + delay, deviceTime=deviceTime)
        assert self.poses.append(message)
        self.poseTimes.append(seconds)

    def come(self, what):
        """Record items in the order of their arrival: (kind, seconds, delay)."""
        for kind, seconds, delay in sorted(what, key=lambda each: (round(each[1] + each[2], 6), each[1])):
            getattr(self, kind)(seconds, delay)

    def finish(self):
        headers = [path for each in self.images.values() for path in each.finish()]
        return headers, self.poses.finish()


def build(sequences, *recordings, name="Test"):
    """Put recordings into the scene as one; the browser."""
    browser = sequences.newBrowser(name)
    files = [each.finish() for each in recordings]
    for headers, _ in files:
        sequences.add(browser, headers)
    sequences.addMessages(browser, [path for _, messages in files for path in messages])
    while sequences.busy:
        sequences.step(0.01)
    return browser


def synchronized(browser):
    import vtk

    found = vtk.vtkCollection()
    browser.GetSynchronizedSequenceNodes(found, True)
    return [found.GetItemAsObject(i) for i in range(found.GetNumberOfItems())]


def posesIn(browser):
    """Sequences of transforms by device."""
    found = {node.GetAttribute("RecordingDevice"): node for node in synchronized(browser)}
    return {device: node for device, node in found.items() if device is not None}


def positions(slicer, browser, device="Probe"):
    """Return the first coordinate of the shown pose at each item of the browser; it is the number of the pose."""
    import vtk

    proxy, matrix, numbers = browser.GetProxyNode(posesIn(browser)[device]), vtk.vtkMatrix4x4(), []
    for place in range(browser.GetNumberOfItems()):
        browser.SetSelectedItemNumber(place)
        proxy.GetMatrixTransformToParent(matrix)
        numbers.append(matrix.GetElement(0, 3))
    return numbers


def shown(slicer, browser, device="Probe"):
    """Return the number of the last pose that is not later, at each item of the browser."""
    return [int(number) for number in positions(slicer, browser, device)]


def lastNotLater(images, poses):
    """Return the poses by Slicer's rule: the last pose that is not later, or the first pose."""
    return [max([number for number, pose in enumerate(poses) if pose <= image + 1e-6], default=0) for image in images]


# Which pose an image shows


@pytest.mark.parametrize("delay", [0.0, 0.2, 0.4], ids=["at once", "late", "later"])
@pytest.mark.parametrize("burst", [1, 10], ids=["one by one", "in bursts"])
def test_each_image_shows_the_last_pose_that_is_not_later(slicer, sequences, tmp_path, delay, burst):
    """Images at 30 Hz, poses at 100 Hz, with one clock."""
    images = [number / 30 for number in range(60)]
    poses = [number / 100 + 0.004 for number in range(200)]
    bursts = [(number // burst * burst + burst - number - 1) / 100 for number in range(200)]
    recording = Recording(tmp_path)
    recording.come(
        [
            *[("image", seconds, 0.03) for seconds in images],
            *[("pose", seconds, delay + wait) for seconds, wait in zip(poses, bursts, strict=True)],
        ]
    )
    browser = build(sequences, recording)
    assert shown(slicer, browser) == lastNotLater(images, poses)
    # An image whose time is that of no pose has an item of its own.
    assert posesIn(browser)["Probe"].GetNumberOfDataNodes() == 260
    expected = [min(199, max(0.0, (seconds - 0.004) * 100)) for seconds in images]
    assert positions(slicer, browser) == pytest.approx(expected, abs=0.01)


def test_a_pose_with_the_time_of_the_image_is_the_one_that_is_shown(slicer, sequences, tmp_path):
    """A tracked ultrasound scanner gives image and pose one time; the pose comes first, or much later."""
    recording = Recording(tmp_path)
    for number in range(90):
        recording.come([("image", number / 30, 0.1), ("pose", number / 30, 0.02 if number % 2 else 0.13)])
    assert shown(slicer, build(sequences, recording)) == list(range(90))


rates = st.lists(st.floats(0.0004, 0.3), min_size=1, max_size=25)


@given(rates, rates, st.floats(0, 0.4), st.floats(0, 0.4))
def test_any_rates_and_delays_give_the_pose_of_the_time(
    slicer, tmp_path_factory, imageSteps, poseSteps, imageDelay, poseDelay
):
    images, poses = np.cumsum(imageSteps).tolist(), np.cumsum(poseSteps).tolist()
    recording = Recording(tmp_path_factory.mktemp("recording"))
    recording.come([*[("image", one, imageDelay) for one in images], *[("pose", one, poseDelay) for one in poses]])
    numbers = shown(slicer, build(newSequences(slicer), recording))
    expected = lastNotLater(images, poses)
    close = {place for place, image in enumerate(images) if min(abs(pose - image) for pose in poses) < 3e-6}
    assert all(numbers[i] == expected[i] for i in range(len(images)) if i not in close)
    slicerhost.closeScene()


def test_without_times_of_the_device_arrival_counts(slicer, sequences, tmp_path):
    recording, images, poses = Recording(tmp_path), [i / 30 for i in range(30)], [i / 100 + 0.002 for i in range(100)]
    for kind, seconds in sorted(
        [("image", one) for one in images] + [("pose", one) for one in poses], key=lambda x: x[1]
    ):
        getattr(recording, kind)(seconds, clock=False)
    assert shown(slicer, build(sequences, recording)) == lastNotLater(images, poses)


def test_a_missing_tool_keeps_its_last_pose_and_has_a_status(slicer, sequences, tmp_path):
    statuses = ["MISSING", "OK", "", "MISSING", "INVALID", "OK"]
    recording = Recording(tmp_path)
    for number, status in enumerate(statuses):
        given = {"Status": status} if status else {}
        message = replace(deviceMessage(number), attributes=given, receiveTime=START + number)
        assert recording.poses.append(message)
        recording.image(number)
    browser = build(sequences, recording)
    assert shown(slicer, browser) == [0, 1, 2, 2, 2, 5]
    proxy, said = browser.GetProxyNode(posesIn(browser)["Probe"]), []
    for place in range(len(statuses)):
        browser.SetSelectedItemNumber(place)
        said.append(proxy.GetAttribute("Status"))
    assert said == ["MISSING", "OK", "OK", "MISSING", "INVALID", "OK"]


def test_a_tool_without_a_pose_never_gets_one(slicer, sequences, tmp_path):
    """Zeros and a gap of the poses have no pose, and neither has an image between."""
    recording = Recording(tmp_path)
    for number in range(10):
        message = deviceMessage(number, receiveTime=START + number / 10)
        if number == 3:
            message = replace(message, values={"type": "TRANSFORM", "matrix": np.zeros((4, 4)).tolist()})
        if number not in (6, 7, 8):
            assert recording.poses.append(replace(message, receiveTime=START + (number + 10 * (number > 6)) / 10))
    for number in range(20):
        recording.image(number / 10 + 0.05, clock=False)
    browser = build(sequences, recording)
    proxy, found = browser.GetProxyNode(posesIn(browser)["Probe"]), {}
    for place, x in enumerate(positions(slicer, browser)):
        browser.SetSelectedItemNumber(place)
        found.setdefault(proxy.GetAttribute("Status"), []).append((place, round(x, 3)))
    assert found["OK"] == [(0, 0.5), (1, 1.5), (4, 4.5)]
    assert found["INVALID"] == [(2, 2.0), (3, 2.0)]
    assert found["MISSING"] == [(place, 5.0 if place < 19 else 9.0) for place in range(5, 20)]


def test_images_of_one_process_and_poses_of_another(slicer, sequences, tmp_path):
    """Each counts from its own first; the scene has one axis."""
    camera, tracker = Recording(tmp_path), Recording(tmp_path)
    images, poses = [0.5 + i / 30 for i in range(30)], [i / 100 for i in range(200)]
    for seconds in images:
        camera.image(seconds)
    for seconds in poses:
        tracker.pose(seconds)
    assert shown(slicer, build(sequences, tracker, camera)) == lastNotLater(images, poses)


# What is in the scene


def test_proxies_are_transforms_of_their_own(slicer, sequences, tmp_path):
    live = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Probe")
    recording = Recording(tmp_path)
    for number in range(10):
        recording.image(number / 10)
        recording.pose(number / 10)
        recording.pose(number / 10 + 0.01, device="Needle")
    browser = build(sequences, recording)
    assert set(posesIn(browser)) == {"Probe", "Needle"}
    image = browser.GetMasterSequenceNode()
    assert image.GetAttribute("RecordingStream") == "Image"
    browser.SetSelectedItemNumber(7)
    for device, node in posesIn(browser).items():
        proxy = browser.GetProxyNode(node)
        assert (proxy.GetClassName(), proxy.GetName()) == ("vtkMRMLLinearTransformNode", f"Test-{device}")
        assert proxy is not live
        assert (node.GetIndexName(), node.GetIndexUnit()) == ("time", "s")
        assert not node.GetModifiedSinceRead()
        assert node.GetStorageNode().GetFileName() == str(tmp_path / f"Test-{device}.seq.mha")
        assert not browser.GetSaveChanges(node)
        # No pose of the needle has the time of an image: the interpolated poses are items, too.
        assert node.GetNumberOfDataNodes() == {"Probe": 10, "Needle": 20}[device]
    assert slicer.util.arrayFromTransformMatrix(live).tolist() == np.eye(4).tolist()
    assert sequences.recordings() == {"Test-Image": [str(tmp_path / "Test-Image.seq.nhdr")]}
    assert image.GetNumberOfDataNodes() == 10


def test_a_recording_of_poses_only(slicer, sequences, tmp_path):
    recording = Recording(tmp_path)
    for number in range(50):
        recording.pose(number / 50)
        if number % 5 == 0:
            recording.pose(number / 50 + 0.001, device="Needle")
    browser = build(sequences, recording)
    assert sequences.filled(browser)
    assert browser.GetMasterSequenceNode() is posesIn(browser)["Probe"]
    probe = [number for number in range(60) if number % 6 != 1]
    assert shown(slicer, browser) == probe
    needle = [number for number in range(60) if number % 6 == 1]
    assert shown(slicer, browser, "Needle") == [needle[max(0, (place - 1) // 5)] for place in range(50)]


def test_messages_without_poses_fill_no_browser(slicer, sequences, tmp_path):
    recording = Recording(tmp_path)
    assert recording.poses.append(deviceMessage(0, "text", "Notes", text="a"))
    assert not sequences.filled(build(sequences, recording))


def test_each_part_has_the_poses_of_its_time(slicer, sequences, tmp_path):
    """The second part begins with the current pose, even of a device that sent one pose at the start."""
    recording = Recording(tmp_path)
    recording.pose(0, device="Reference")
    for number in range(20):
        recording.image(number / 10)
        for part in range(3):
            recording.pose(number / 10 + part / 30 + 0.001)
        if number == 9:  # another size is another part
            each = frame(99, (1, 3, 3), stream="Image", receiveTime=START + 0.95, deviceTime=CLOCK + 0.95)
            assert recording.images["Image"].append(each)
    first = build(sequences, recording)
    browsers = sorted(slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode"), key=lambda node: node.GetName())
    assert browsers[0] is first
    assert len(browsers) == 3
    probes = [posesIn(browser)["Probe"] for browser in browsers]
    times = [[float(node.GetNthIndexValue(i)) for i in range(node.GetNumberOfDataNodes())] for node in probes]
    assert times[0][-1] < 0.95 <= times[1][-1] < 1
    assert times[1][0] <= 0.95
    assert times[2][0] < 1 <= times[2][1]
    assert all(shown(slicer, browser, "Reference") == [0] * browser.GetNumberOfItems() for browser in browsers)
    for browser, images in zip(
        browsers, ([i / 10 for i in range(10)], [0.95], [i / 10 for i in range(10, 20)]), strict=True
    ):
        # Number 0 is that of the other device.
        assert shown(slicer, browser) == [max(1, number) for number in lastNotLater(images, recording.poseTimes)]


def test_of_too_many_poses_the_shown_ones_are_added(slicer, sequences, tmp_path):
    recording = Recording(tmp_path)
    images = list(range(5))
    recording.come(
        [*[("image", one, 0) for one in images], *[("pose", number / 2500 + 0.0001, 0) for number in range(10_050)]]
    )
    browser = build(sequences, recording)
    assert shown(slicer, browser) == lastNotLater(images, recording.poseTimes)
    assert posesIn(browser)["Probe"].GetNumberOfDataNodes() <= 5
    assert openMessages(recording.finish()[1][0]).count == 10_050


def test_many_poses_without_images_have_several_browsers(slicer, sequences, tmp_path):
    recording = Recording(tmp_path)
    for number in range(6500):
        recording.pose(number / 100)
    first = build(sequences, recording)
    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
    assert [browser.GetName() for browser in browsers] == ["Test", "Test_2", "Test_3"]
    assert sum(browser.GetNumberOfItems() for browser in browsers) == 6500
    assert first.GetNumberOfItems() == 3000


def test_it_is_built_in_short_steps(slicer, sequences, tmp_path):
    recording = Recording(tmp_path)
    for number in range(100):
        recording.image(number / 30)
        for part in range(30):
            recording.pose(number / 30 + part / 900 + 0.0001)
    headers, messages = recording.finish()
    browser = sequences.newBrowser("Test")
    sequences.add(browser, headers)
    sequences.addMessages(browser, messages)
    longest, steps = 0.0, 0
    while sequences.busy:
        started = time.thread_time()
        sequences.step(0.005)
        longest, steps = max(longest, time.thread_time() - started), steps + 1
    assert posesIn(browser)["Probe"].GetNumberOfDataNodes() == 3100
    assert steps > 20
    assert longest < 0.05


def test_unreadable_files_are_reported_and_all_others_added(slicer, sequences, tmp_path):
    good, bad = Recording(tmp_path), Recording(tmp_path)
    good.image(0)
    good.pose(0)
    bad.pose(0)
    (headers, messages), (_, broken) = good.finish(), bad.finish()
    (tmp_path / "Test_1.messages.jsonl").unlink()
    browser = sequences.newBrowser("Test")
    sequences.add(browser, headers)
    sequences.addMessages(browser, [*broken, *messages])
    with pytest.raises(RecordingError, match="Test_1"):
        sequences.step(10)
    assert not sequences.busy
    assert shown(slicer, browser) == [0]


def test_the_scene_is_closed_meanwhile(slicer, sequences, tmp_path):
    recording = Recording(tmp_path)
    for number in range(500):
        recording.pose(number / 100)
    browser = sequences.newBrowser("Test")
    sequences.addMessages(browser, recording.finish()[1])
    sequences.step(0.001)
    sequences.forget()
    slicerhost.closeScene()
    assert not sequences.busy
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 0


# The files in unmodified Slicer


@pytest.mark.parametrize("same", [True, False], ids=["one time", "times between"])
def test_files_that_slicer_opens_by_itself_match(slicer, tmp_path, same):
    """Header and transforms, read by Slicer's storage nodes: a pose may be one further, by less than a millisecond."""
    recording = Recording(tmp_path)
    images, poses = [i / 30 for i in range(60)], [i / 30 if same else i / 100 + 0.004 for i in range(60)]
    recording.come([*[("image", one, 0) for one in images], *[("pose", one, 0.1) for one in poses]])
    (header,), (messages,) = recording.finish()
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    for path, kind in ((header, "Volume"), (openMessages(messages).transforms["Probe"], "LinearTransform")):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
        storage = slicer.mrmlScene.AddNewNodeByClass(f"vtkMRML{kind}SequenceStorageNode")
        storage.SetFileName(path)
        assert storage.ReadData(node)
        browser.AddSynchronizedSequenceNode(node)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    _, transforms = synchronized(browser)
    transforms.SetAttribute("RecordingDevice", "Probe")
    numbers = shown(slicer, browser)
    assert len(posesInSlicer(slicer, openMessages(messages).transforms["Probe"])) == 60
    if same:
        assert numbers == list(range(60))
    for number, image in zip(numbers, images, strict=True):
        assert poses[number] <= image + 0.0016 or number == 0
        assert number == 59 or poses[number + 1] > image - 0.0016
