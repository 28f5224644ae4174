"""A camera in the acquisition process, as Slicer's side uses it."""

from __future__ import annotations

import os
import socket
import time

import pytest
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Recording import openRecording
from RealTimeImagingLib.Sources.Camera import CameraSettings
from unit.cameraSource import CARS, decoded, film, picture, sums
from unit.conftest import PROGRAM, Acquisition


@pytest.fixture
def acquire(workFolder):
    """Starts acquisition processes of a camera, one after the other with the same checkpoint."""
    started = []

    def start(device, **values):
        settings = CameraSettings(device=device, **values)
        started.append(Acquisition(settings, [workFolder], f"process{len(started) + 1}", PROGRAM))
        return started[-1].listen().untilReady()

    yield start
    for acquisition in started:
        acquisition.close()


def recording(acquisition, folder, name, film, device):
    """Begin to record; the film is there from then on. Of a film that is not recorded, pictures may be passed over."""
    untilEvent(acquisition, "file-missing")
    acquisition.record(folder, name)
    os.replace(film, device)


def untilEvent(acquisition, code):
    acquisition.until(lambda: code in acquisition.codes, 30)


def stored(path):
    part = openRecording(path)
    return [checksum(part.pixels(index)) for index in range(part.count)]


def test_a_real_video_is_received_completely(acquire):
    acquisition = acquire(CARS, realTime=False)
    untilEvent(acquisition, "video-ended")
    assert acquisition.stop() == 0
    assert acquisition.received == 250
    expected = sums(decoded(CARS))
    shown = [line["frame"] for line in acquisition.lines if "frame" in line]
    places = [int(frame["attributes"]["ReplayedFrame"]) for frame in shown]
    assert [sum_ for *_, sum_ in acquisition.frames] == [expected[place] for place in places]
    assert shown
    assert all(frame["deviceTime"] for frame in shown)
    assert acquisition.of("log") == []


def test_every_picture_is_recorded_although_slicer_shows_few(acquire, tmp_path):
    """Slicer releases no slot: almost no picture can be shown, but all are stored."""
    path = film(tmp_path / "a.mkv", [picture(number) for number in range(150)], rate=300)
    acquisition = acquire(str(tmp_path / "later.mkv"))
    acquisition.releasing = False
    recording(acquisition, tmp_path / "out", "Cine", path, tmp_path / "later.mkv")
    untilEvent(acquisition, "video-ended")
    acquisition.send("stopRecording")
    acquisition.until(lambda: acquisition.of("recorded"))
    (header,) = acquisition.of("recorded")[0]
    assert stored(header) == sums(picture(number) for number in range(150))
    counts = acquisition.counts
    assert counts["received"] == {"Camera": 150}
    assert (counts["recorded"], counts["failed"], counts["rejected"]) == (150, 0, 0)
    assert len(acquisition.frames) < 10


def test_grabbed_pictures_are_received_or_counted_as_dropped(acquire, tmp_path):
    path = film(tmp_path / "a.mkv", [picture(number) for number in range(200)], rate=1000)
    acquisition = acquire(path)
    untilEvent(acquisition, "video-ended")
    acquisition.until(lambda: acquisition.of("details") and acquisition.of("details")[-1]["grabbed"] == 200)
    details = acquisition.of("details")[-1]
    assert details["grabbed"] == acquisition.received + details["passedOver"]
    assert details["lost"] == acquisition.counts["rejected"] == 0


def test_a_stop_in_the_middle_stores_all_grabbed_pictures(acquire, tmp_path):
    path = film(tmp_path / "a.mkv", [picture(number, 120, 160) for number in range(100)], rate=500)
    acquisition = acquire(str(tmp_path / "later.mkv"))
    recording(acquisition, tmp_path / "out", "Cine", path, tmp_path / "later.mkv")
    acquisition.until(lambda: acquisition.received)
    assert acquisition.stop() == 0
    grabbed = acquisition.of("details")[-1]["grabbed"]
    assert grabbed > 1
    (header,) = acquisition.of("recorded")[0]
    assert stored(header) == sums(picture(number, 120, 160) for number in range(grabbed))
    assert acquisition.counts["rejected"] == 0


def test_the_recording_of_a_video_continues_after_a_kill(acquire, tmp_path):
    path = film(tmp_path / "a.mkv", [picture(number) for number in range(60)], rate=40)
    acquisition = acquire(path)
    acquisition.record(tmp_path / "out", "Cine")
    acquisition.until(lambda: acquisition.received >= 15)
    acquisition.kill()
    again = acquire(path)
    again.record(tmp_path / "out", "Cine2")
    untilEvent(again, "video-ended")
    assert again.stop() == 0
    # On a busy computer, pictures are passed over before the recording has begun.
    assert again.received + again.of("details")[-1]["passedOver"] == 60
    places = [int(frame["attributes"]["ReplayedFrame"]) for frame in again.of("frame")]
    assert places == sorted(set(places))
    assert places[-1] == 59


def test_a_video_that_is_missing_at_the_restart_continues_when_it_is_back(acquire, tmp_path):
    path = film(tmp_path / "a.mkv", [picture(number) for number in range(60)], rate=40)
    device = tmp_path / "later.mkv"
    acquisition = acquire(str(device))
    recording(acquisition, tmp_path / "out", "Cine", path, device)
    acquisition.until(lambda: acquisition.received >= 15)
    acquisition.kill()
    os.replace(device, path)
    again = acquire(str(device))
    recording(again, tmp_path / "out", "Cine2", path, device)
    untilEvent(again, "video-ended")
    assert again.stop() == 0
    assert again.counts["received"] == {"Camera": 60}


def test_another_video_at_the_restart_is_played_from_its_beginning(acquire, tmp_path):
    path = film(tmp_path / "a.mkv", [picture(number) for number in range(60)], rate=40)
    other = film(tmp_path / "b.mkv", [picture(number) for number in range(20)], rate=40)
    device = tmp_path / "later.mkv"
    acquisition = acquire(str(device))
    recording(acquisition, tmp_path / "out", "Cine", path, device)
    acquisition.until(lambda: acquisition.received >= 15)
    acquisition.kill()
    device.unlink()
    again = acquire(str(device))
    recording(again, tmp_path / "out", "Cine2", other, device)
    untilEvent(again, "video-ended")
    assert again.stop() == 0
    (header,) = again.of("recorded")[0]
    assert stored(header) == sums(picture(number) for number in range(20))


def test_stop_does_not_wait_for_a_camera_that_hangs(acquire):
    """A server accepts the connection and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        acquisition = acquire(f"http://127.0.0.1:{silent.getsockname()[1]}/live.mjpg")
        connection, _ = silent.accept()
        begin = time.monotonic()
        assert acquisition.stop() == 0
        assert time.monotonic() - begin < 1.9
        connection.close()
