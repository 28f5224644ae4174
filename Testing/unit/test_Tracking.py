"""Poses of live images: clocks, waiting, status, time offsets, and the estimate of an offset from a sweep."""

import threading
import time

import numpy as np
import pytest
from RealTimeImagingLib import SettingsError
from RealTimeImagingLib.Model.DeviceMessage import DeviceMessage
from RealTimeImagingLib.Model.Frame import Image
from RealTimeImagingLib.Sources.OpenIGTLink import OpenIGTLinkSettings
from RealTimeImagingLib.Sources.OpenIGTLink.Tracking import MOST_CLOCKED, WAIT, Clocks, Moment, Sweep, TrackedImages
from RealTimeImagingLib.Sources.Source import Arrival
from unit.openIGTLinkSource import Link, sendAll
from unit.sweeps import sweepImage, sweepMessages, sweepPose

NOW = 1.7e9


def message(x, arrival=NOW, status=None, device="Probe"):
    matrix = np.eye(4)
    matrix[0, 3] = x
    attributes = {"Status": status} if status else {}
    return DeviceMessage("transform", device, {"matrix": matrix.tolist()}, arrival, None, attributes)


def image(number, arrival=NOW):
    return Arrival("US", Image(np.full((1, 2, 2), number, np.uint8), np.eye(4), None, {"n": str(number)}), arrival)


def local(clocks, *values):
    """Return the time by the clock of this computer."""
    return clocks.moment(*values).by(None)


def at(seconds):
    return Moment(seconds, None)


def numbersOf(arrivals):
    return [int(one.image.attributes["n"]) for one in arrivals]


def poseOf(arrival, tool="Probe"):
    attributes = arrival.image.attributes
    return float(attributes[f"{tool}Transform"].split()[3]), attributes[f"{tool}TransformStatus"]


# Clocks


def test_a_clock_is_placed_by_its_fastest_message():
    clocks = Clocks()
    delays = [0.49, 0.2, 0.003, 0.1, 0.0, 0.05]
    placed = [local(clocks, "a", "US", NOW + n + delay, 100.0 + n) - NOW - n for n, delay in enumerate(delays)]
    assert placed == pytest.approx([0.49, 0.2, 0.003, 0.003, 0.0, 0.0], abs=1e-6)


def test_devices_of_one_connection_share_a_clock_and_those_of_two_do_not():
    clocks = Clocks()
    assert local(clocks, "a", "US", NOW + 0.3, 100.0) == pytest.approx(NOW + 0.3)
    assert local(clocks, "a", "Probe", NOW, 100.0) == pytest.approx(NOW)
    assert local(clocks, "a", "US", NOW + 1.3, 101.0) == pytest.approx(NOW + 1)
    assert local(clocks, "b", "Needle", NOW + 2, 101.55) == pytest.approx(NOW + 2)


def test_repeated_times_arrive_and_a_clock_that_is_set_back_is_found_again():
    clocks = Clocks()
    assert local(clocks, "a", "US", NOW, 100.0) == NOW
    assert local(clocks, "a", "US", NOW + 1, 100.0) == NOW + 1
    assert local(clocks, "a", "US", NOW + 2, float("nan")) == NOW + 2
    assert local(clocks, "a", "US", NOW + 3, 50.0) == NOW + 3
    assert local(clocks, "a", "US", NOW + 4.5, 51.0) == NOW + 4


def test_a_clock_that_drifts_is_followed():
    clocks = Clocks()
    for second in range(3600):
        placed = local(clocks, "a", "US", NOW + second, 100 + second * (1 - 5e-5))
    assert abs(placed - NOW - 3599) < 0.0015


def test_two_clocks_meet_on_either_of_them():
    clocks = Clocks()
    for number in range(3):
        image = clocks.moment("a", "US", NOW + number + (number == 0) * 0.49, 100.0 + number)
        pose = clocks.moment("b", "Probe", NOW + number, 3700.45 + number)
    assert image.by(pose.clock) == pytest.approx(pose.seconds, abs=1e-6)
    assert pose.by(image.clock) == pytest.approx(102, abs=1e-6)
    assert Moment(NOW, None).by(pose.clock) == pytest.approx(3700.45, abs=1e-6)


def test_a_flood_of_devices_gets_arrival_times():
    clocks = Clocks()
    for number in range(MOST_CLOCKED + 1):
        last = clocks.moment("a", f"Tool {number}", NOW, 100.0)
    assert last == Moment(NOW, None)
    assert local(clocks, "b", "Probe", NOW, 100.0) == NOW
    assert clocks.moment("a", "Tool 0", NOW + 1, 101.0).clock
    clocks.forget("a")
    assert clocks.moment("a", "New", NOW, 100.0).clock


# Waiting


def test_an_image_waits_for_the_pose_after_it():
    tracked = TrackedImages(["Probe"])
    tracked.addPose(message(0), at(NOW))
    tracked.addImage(image(1), at(NOW + 0.005))
    assert list(tracked.due(NOW + 0.01)) == []
    assert tracked.wait(NOW + 0.05) == pytest.approx(WAIT - 0.05, abs=1e-6)
    tracked.addPose(message(10), at(NOW + 0.02))
    (made,) = tracked.due(NOW + 0.01)
    assert poseOf(made) == (pytest.approx(2.5, abs=1e-3), "OK")
    assert made.image.attributes["n"] == "1"


def test_images_keep_their_order_and_none_waits_longer_than_told():
    tracked = TrackedImages(["Probe"])
    tracked.addPose(message(0), at(NOW))
    tracked.addImage(image(1), at(NOW + 0.1))
    tracked.addImage(image(2), at(NOW))
    assert list(tracked.due(NOW + 0.9 * WAIT)) == []
    made = list(tracked.due(NOW + 1.01 * WAIT))
    assert numbersOf(made) == [1, 2]
    assert [poseOf(one) for one in made] == [(0, "MISSING"), (0, "OK")]


def test_no_image_waits_for_a_tool_that_is_silent():
    tracked = TrackedImages(["Probe", "Needle"])
    tracked.addPose(message(3), at(NOW))
    tracked.addPose(message(4), at(NOW + 1))
    tracked.addImage(image(1, NOW + 1), at(NOW + 1))
    (made,) = tracked.due(NOW + 1)
    assert (poseOf(made), poseOf(made, "Needle")) == ((4, "OK"), (0, "MISSING"))


@pytest.mark.parametrize("status", ["MISSING", "OUT_OF_VIEW"])
def test_a_missing_tool_is_no_pose(status):
    tracked = TrackedImages(["Probe"])
    for number, said in enumerate(["OK", status, "OK", "OK"]):
        tracked.addPose(message(number, status=said), at(NOW + number / 10))
    for number in range(7):
        tracked.addImage(image(number), at(NOW + number / 20))
    made = [poseOf(one) for one in tracked.due(NOW)]
    assert [(round(x, 3), said) for x, said in made] == [
        *[(0, "OK"), (0, status), (0, status), (0, status)],
        *[(2, "OK"), (2.5, "OK"), (3, "OK")],
    ]


def test_at_the_end_all_images_are_delivered():
    tracked = TrackedImages(["Probe"])
    tracked.addPose(message(0), at(NOW))
    for number in range(5):
        tracked.addImage(image(number), at(NOW + 1))
    assert numbersOf(tracked.due(NOW, all_=True)) == [0, 1, 2, 3, 4]


# The source


@pytest.fixture
def linkOf(tmp_path):
    made = []

    def make(**values):
        made.append(Link(tmp_path, role="server", **values))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("offset", [0.0, 0.02])
def test_images_and_poses_of_two_connections_meet(linkOf, offset):
    """The clocks of the two computers are an hour apart; each message is sent at its time."""
    offsets = (f"ProbeToTracker={offset}",) if offset else ()
    link = linkOf(tools=("ProbeToTracker",), timeOffsets=offsets)
    with link.peer() as probe, link.peer() as tracker:
        started = time.monotonic()
        for number in range(60):
            sendAll(tracker, sweepPose(number / 100, 3600))
            if number % 4 == 0:
                sendAll(probe, sweepImage(number, number / 100))
            while time.monotonic() < started + (number + 1) / 100:
                link.step(0.001)
        link.until(lambda: len(link.frames) == 15)
    assert {one.sender for one in link.frames} != {one.sender for one in link.messages}
    found = [poseOf(one, "ProbeToTracker") for one in link.frames]
    assert [status for _x, status in found[3:-2]] == ["OK"] * 10
    # Milliseconds: 1 mm is 10 ms of motion, and the load of the computer delays single messages only.
    errors = sorted(10 * (x - 100 * (0.04 * place - offset)) for place, (x, _status) in enumerate(found) if x)
    assert abs(errors[len(errors) // 2]) < 6
    assert {one.timeOffset for one in link.messages} == {offset}
    assert {one.attributes.get("TimeOffset") for one in link.messages} == {f"{offset:g}" if offset else None}


def test_without_tools_no_image_waits(linkOf):
    link = linkOf()
    with link.peer() as probe:
        sendAll(probe, sweepImage(0, 0.0))
        link.until(lambda: link.frames)
    assert dict(link.frames[0].image.attributes) == {"Device": "US"}


def test_images_that_wait_at_the_stop_are_delivered(linkOf):
    link = linkOf(tools=("ProbeToTracker",))
    with link.peer() as probe:
        sendAll(probe, sweepPose(0.0), sweepImage(0, 0.01))
        link.until(lambda: link.messages)
        link.frames += link.source.rest()
    assert poseOf(link.frames[0], "ProbeToTracker")[1] in ("OK", "MISSING")


def test_a_sweep_with_an_offset_of_83_ms_is_estimated_within_3_ms(linkOf):
    """The tracker is 83 ms behind: its poses have too late times. The source is told 20 ms already."""
    link = linkOf(timeOffsets=("Other=0.5", "ProbeToTracker=-0.02"))
    link.source.command("estimateOffset", {"device": "ProbeToTracker", "stream": "US", "seconds": 3600})
    with link.peer() as both:
        sender = threading.Thread(target=lambda: sendAll(both, *sweepMessages()))
        sender.start()
        link.until(lambda: (len(link.frames), len(link.messages)) == (240, 400), 30)
        sender.join()
    link.source._sweep.until = 0
    link.untilCode("offset-estimated")
    (event,) = [one for one in link.events if one.code == "offset-estimated"]
    assert event.text.startswith("The time offset of ProbeToTracker is -83 ms (correlation")
    other, own = event.remedy.settings["timeOffsets"]
    assert other == "Other=0.5"
    assert float(own.removeprefix("ProbeToTracker=")) == pytest.approx(-0.083, abs=0.003)
    OpenIGTLinkSettings(**event.remedy.settings)


@pytest.mark.parametrize(
    ("poses", "images", "words"),
    [
        ([], [image(1)], "No pose of Probe arrived"),
        ([message(1)], [], "No image of the same source"),
        ([message(1, status="MISSING")], [image(1)], "The tracker did not see Probe"),
        ([message(1)], [image(1)], "are too few"),
    ],
)
def test_why_no_offset_was_estimated(poses, images, words):
    sweep = Sweep("Probe", "", NOW)
    for one in poses:
        sweep.addPose(one, at(NOW))
    for one in images:
        sweep.addImage(one, at(NOW))
    event = sweep.event({}, ())
    assert (event.code, event.level, event.remedy) == ("no-offset", "warning", None)
    assert words in event.text


@pytest.mark.parametrize("text", ["Probe", "=0.1", "Probe=", "Probe=fast", "Probe=nan", "Probe=11"])
def test_a_text_that_is_no_offset_is_refused(text):
    with pytest.raises(SettingsError, match="no time offset"):
        OpenIGTLinkSettings(timeOffsets=(text,))


def test_names_with_an_equals_sign_have_offsets():
    assert OpenIGTLinkSettings(timeOffsets=("a=b=-0.5", " Tool = 1e-3 ")).offsets() == {"a=b": -0.5, "Tool": 0.001}
