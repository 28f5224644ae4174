"""A camera source with real videos, and with a stream over a real socket that disconnects and reconnects."""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
from RealTimeImagingLib.Formats import stampOf
from RealTimeImagingLib.Simulator.Film import Film
from RealTimeImagingLib.Sources.Camera.Device import bitsOf
from RealTimeImagingLib.Sources.Checkpoint import DEATHS, Checkpoint
from unit.cameraSource import CARS, PHONE, Filming, decoded, film, picture, sums
from unit.conftest import until
from unit.networkCamera import PictureStream

RETRY = 0.1
FEW = [picture(number) for number in range(12)]


@pytest.fixture
def camera(workFolder, monkeypatch):
    """Starts sources, one after the other with the same checkpoint, which retry ten times a second."""
    monkeypatch.setattr("RealTimeImagingLib.Sources.Camera.Grabber.RETRY", RETRY)
    made = []

    def start(device, **values):
        made.append(Filming(workFolder, device=device, **values))
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_every_picture_of_a_real_video_is_received_as_decoded(camera):
    filming = camera(CARS, realTime=False).untilCode("video-ended")
    assert filming.sums == sums(decoded(CARS))
    assert filming.places == list(range(250))
    assert filming.codes == ["camera-opened", "video-ended"]
    assert "640 x 272 at 25 images/s, h264, driver FFMPEG" in filming.events[0].text
    first = filming.frames[0]
    assert first.image.pixels.shape == (1, 272, 640, 3)
    assert (first.stream, first.image.attributes["SourceFile"]) == ("Camera", "bikes.mp4")
    assert filming.source.status == "bikes.mp4 has ended."
    assert filming.counts == {"grabbed": 250, "passedOver": 0, "lost": 0, "driverDropped": 0, "driverTells": False}


def test_red_is_red_left_is_left_and_up_is_up(camera):
    """Pictures that OpenCV did not encode: red on the left, blue on the right, a green bar at the top."""
    with PictureStream() as stream:
        filming = camera(stream.url)
        filming.until(lambda: filming.frames)
    pixels = filming.frames[0].image.pixels[0].astype(int)
    for row, column, colour in ((2, 10, (0, 255, 0)), (30, 10, (255, 0, 0)), (30, 54, (0, 0, 255))):
        assert np.abs(pixels[row, column] - colour).max() < 12


def test_a_file_is_played_at_its_own_rate(camera, tmp_path):
    begin = time.time()
    filming = camera(film(tmp_path / "a.mkv", FEW, rate=20), recording=True).untilCode("video-ended")
    assert filming.sums == sums(FEW)
    times = [frame.image.deviceTime for frame in filming.frames]
    assert begin < times[0] < filming.frames[0].receiveTime
    assert np.allclose(np.diff(times), 0.05, atol=0.002)
    # Never early; the delay depends on the load of this computer.
    assert all(frame.receiveTime >= frame.image.deviceTime - 1e-3 for frame in filming.frames)


def test_times_of_a_file_that_are_no_round_numbers(camera):
    filming = camera(PHONE, realTime=False).untilCode("video-ended")
    times = np.array([frame.image.deviceTime for frame in filming.frames])
    assert np.allclose(times - times[0], np.arange(120) * 1001 / 30000, atol=1e-6)


def test_grey_pictures_have_the_luma_of_the_colours(camera, tmp_path):
    path = film(tmp_path / "a.mkv", FEW)
    filming = camera(path, realTime=False, colour=False).untilCode("video-ended")
    for frame, one in zip(filming.frames, FEW, strict=True):
        assert frame.image.pixels.shape == (1, 24, 40)
        assert np.abs(frame.image.pixels[0] - one @ (0.299, 0.587, 0.114)).max() <= 0.51


def test_grey_values_of_16_bits_are_not_reduced(camera, tmp_path):
    path = str(tmp_path / "thermal.mkv")
    expected = [np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21 + number for number in range(3)]
    with closing(Film(path, 25)) as made:
        for one in expected:
            made.write(one)
    filming = camera(path, realTime=False, rotate=90).untilCode("video-ended")
    assert filming.codes == ["camera-opened", "video-ended"]
    assert filming.sums == sums([np.rot90(one, -1) for one in expected])


@pytest.mark.parametrize(
    ("tag", "bits"),
    [
        (b"Y1\0\x10", 16),
        (b"\x10\x001Y", 16),
        (b"Y1\0\x0a", 10),
        (b"Y3\x0b\x0a", 10),
        (b"G3\0\x0c", 12),
        (b"RGB0", 16),
        (b"0RGB", 16),
        (b"RBA@", 16),
        (b"RGB\x0f", 8),
        (b"I420", 8),
        (b"Y800", 8),
        (b"NV12", 8),
        (b"BGR\0", 8),
        (bytes(4), 8),
        (b"\xff" * 4, 8),
    ],
)
def test_pixel_formats_have_a_number_of_bits(tag, bits):
    assert bitsOf(tag) == bits


def test_a_reduction_to_8_bits_is_reported(camera, tmp_path):
    path = str(tmp_path / "deep.png")  # FFmpeg plays it as a video of one picture
    cv2.imwrite(path, np.full((48, 64, 3), 40_000, np.uint16))
    filming = camera(path, realTime=False).untilCode("video-ended")
    assert filming.codes == ["camera-opened", "depth-reduced", "video-ended"]
    assert filming.events[1].text == "deep.png has values of 16 bits; OpenCV converts them to 8 bits."


def test_a_file_may_be_played_in_a_loop(camera, tmp_path):
    filming = camera(film(tmp_path / "a.mkv", FEW, rate=25), realTime=False, loop=True)
    filming.until(lambda: len(filming.frames) >= 30)
    assert filming.sums[:30] == (3 * sums(FEW))[:30]
    assert filming.places[:30] == (3 * list(range(12)))[:30]
    assert np.allclose(np.diff([frame.image.deviceTime for frame in filming.frames]), 0.04, atol=0.002)
    assert filming.codes == ["camera-opened"]


def test_a_missing_file_is_reported_once_and_played_when_it_arrives(camera, tmp_path):
    filming = camera(str(tmp_path / "late.mkv"), realTime=False)
    filming.untilCode("file-missing")
    assert "does not exist. Waiting for it" in filming.source.status
    end = time.monotonic() + 3 * RETRY
    filming.until(lambda: time.monotonic() > end)
    assert filming.codes == ["file-missing"]
    film(tmp_path / "late.mkv", FEW)
    filming.untilCode("video-ended")
    assert filming.codes == ["file-missing", "camera-opened", "video-ended"]
    assert filming.sums == sums(FEW)


def test_half_a_copy_is_no_video_until_it_is_complete(camera, tmp_path):
    data = Path(PHONE).read_bytes()
    path = tmp_path / "copied.mp4"
    path.write_bytes(data[: len(data) // 2])
    filming = camera(str(path), realTime=False).untilCode("not-a-video")
    path.write_bytes(data)
    filming.untilCode("video-ended")
    assert filming.codes == ["not-a-video", "camera-opened", "video-ended"]
    assert len(filming.frames) == 120


def test_a_file_that_grows_is_played_as_it_grows(camera, tmp_path):
    pictures = [picture(number) for number in range(60)]
    data = Path(film(tmp_path / "whole.mkv", pictures, rate=20)).read_bytes()
    path = tmp_path / "growing.mkv"
    path.write_bytes(data[: len(data) // 2])
    filming = camera(str(path), recording=True)
    filming.until(lambda: len(filming.frames) >= 10)
    path.write_bytes(data)
    filming.untilCode("video-ended")
    assert filming.codes == ["camera-opened", "video-ended"]
    assert filming.places == list(range(60))
    assert filming.sums[40:] == sums(pictures)[40:]


@pytest.mark.parametrize("loop", [False, True])
def test_a_shorter_film_that_replaces_a_film_is_played_from_its_beginning(camera, tmp_path, loop):
    path = film(tmp_path / "a.mkv", [picture(number) for number in range(30)], rate=15)
    other = film(tmp_path / "b.mkv", [picture(number) for number in range(50, 60)], rate=15)
    filming = camera(path, recording=True, loop=loop)
    filming.until(lambda: len(filming.frames) >= 10)
    os.replace(other, path)
    filming.until(lambda: len(filming.frames) >= 40)
    assert filming.places[:40] == [*range(30), *range(10)]
    assert filming.sums[30:40] == sums(picture(number) for number in range(50, 60))
    if not loop:
        filming.untilCode("video-ended")
        assert "10 pictures" in filming.events[-1].text


@pytest.mark.parametrize("content", [b"", b"no video at all\n" * 99, bytes(5000)])
def test_a_file_of_another_kind_is_reported_once(camera, tmp_path, content):
    (tmp_path / "text.mp4").write_bytes(content)
    filming = camera(str(tmp_path / "text.mp4"), realTime=False).untilCode("not-a-video")
    end = time.monotonic() + 3 * RETRY
    filming.until(lambda: time.monotonic() > end)
    assert filming.codes == ["not-a-video"]
    assert filming.frames == []


def test_the_readable_part_of_a_cut_file_is_shown_and_the_rest_is_reported(camera, tmp_path):
    data = Path(film(tmp_path / "whole.avi", [picture(n) for n in range(40)])).read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) * 6 // 10])
    filming = camera(str(tmp_path / "cut.avi"), realTime=False).untilCode("video-ended")
    count = len(filming.frames)
    assert 15 < count < 30
    # The last may have lost a part.
    assert filming.sums[: count - 1] == sums(picture(n) for n in range(count - 1))
    assert filming.codes == ["camera-opened", "video-cut", "video-ended"]
    assert f"it declares 40 pictures, {count} can be read" in filming.events[1].text


def test_a_missing_camera_is_reported_once_and_searched(camera):
    filming = camera(97)
    filming.untilCode("camera-missing")
    end = time.monotonic() + 3 * RETRY
    filming.until(lambda: time.monotonic() > end)
    assert filming.codes == ["camera-missing"]
    missing = "Camera 97 is not connected: there is no /dev/video97. Connect it, or choose another camera."
    elsewhere = "Camera 97 cannot be opened: it is not connected"
    assert (missing if sys.platform == "linux" else elsewhere) in filming.source.status
    assert filming.checkpoint.rejected == 0


def test_a_missing_driver_is_reported_with_the_available_drivers(camera):
    filming = camera(97, backend="NOSUCH").untilCode("no-backend")
    assert "NOSUCH. It has " in filming.events[0].text
    assert "FFMPEG" in filming.events[0].text


def test_pictures_without_pixels_after_cropping_count_as_rejected(camera, tmp_path):
    filming = camera(film(tmp_path / "a.mkv", FEW), realTime=False, crop=(30, 0, 10, 0)).untilCode("video-ended")
    assert filming.codes == ["camera-opened", "not-usable", "video-ended"]
    assert "40 x 24" in filming.events[1].text
    assert (filming.frames, filming.checkpoint.rejected) == ([], 12)


def test_a_slow_reader_gets_the_newest_picture_and_the_others_are_counted(camera, tmp_path):
    pictures = [picture(number) for number in range(100)]
    filming = camera(film(tmp_path / "a.mkv", pictures, rate=100))
    filming.until(lambda: filming.frames)
    # The test reads nothing until all was played.
    until(lambda: filming.counts["grabbed"] == 100)
    filming.untilCode("video-ended")
    counts = filming.counts
    assert filming.sums[-1] == sums(pictures)[-1]
    assert filming.places == sorted(set(filming.places))
    assert counts["passedOver"] > 80
    assert len(filming.frames) + counts["passedOver"] == counts["grabbed"] == 100
    assert counts["lost"] == filming.checkpoint.rejected == 0
    event = next(event for event in filming.events if event.code == "passed-over")
    assert "too slow" in event.text
    assert event.level == "warning"


def test_a_slow_reader_gets_all_pictures_during_a_recording(camera, tmp_path):
    pictures = [picture(number) for number in range(100)]
    filming = camera(film(tmp_path / "a.mkv", pictures, rate=100), recording=True)
    filming.until(lambda: filming.frames)
    until(lambda: filming.counts["grabbed"] == 100)
    filming.untilCode("video-ended")
    assert filming.sums == sums(pictures)
    assert filming.counts["passedOver"] == filming.counts["lost"] == 0


def test_after_the_command_to_record_no_picture_is_dropped(camera, tmp_path):
    pictures = [picture(number) for number in range(100)]
    filming = camera(film(tmp_path / "a.mkv", pictures, rate=100))
    filming.until(lambda: filming.frames)
    filming.source.command("record", {})
    begin = filming.counts["passedOver"]
    until(lambda: filming.counts["grabbed"] == 100)
    filming.recording = True
    filming.untilCode("video-ended")
    assert filming.counts["passedOver"] == begin
    assert len(filming.frames) + begin == 100


def test_pictures_that_wait_at_the_end_of_a_recording_are_recorded(camera, tmp_path):
    pictures = [picture(number) for number in range(50)]
    filming = camera(film(tmp_path / "a.mkv", pictures, rate=100), recording=True)
    filming.until(lambda: filming.frames)
    until(lambda: filming.counts["grabbed"] == 50)
    assert len(filming.frames) < 50
    filming.rest()
    assert filming.sums == sums(pictures)


def test_pictures_that_wait_at_the_end_without_a_recording_are_dropped_and_counted(camera, tmp_path):
    filming = camera(film(tmp_path / "a.mkv", [picture(number) for number in range(50)], rate=100))
    filming.until(lambda: filming.frames)
    until(lambda: not filming.source._grabber.is_alive())
    assert filming.counts["grabbed"] == 50
    shown = len(filming.frames)
    filming.rest()
    assert len(filming.frames) == shown
    assert filming.counts["passedOver"] == 50 - shown
    assert "video-ended" in filming.codes


def test_pictures_that_cannot_be_recorded_in_time_at_the_end_count_as_lost(camera, tmp_path, monkeypatch):
    monkeypatch.setattr("RealTimeImagingLib.Sources.Camera.Source.REST", 0.0)
    filming = camera(film(tmp_path / "a.mkv", [picture(number) for number in range(50)], rate=100), recording=True)
    filming.until(lambda: filming.frames)
    until(lambda: filming.counts["grabbed"] == 50)
    stored = len(filming.frames)
    filming.rest()
    assert len(filming.frames) == stored
    assert filming.checkpoint.rejected == filming.counts["lost"] == 50 - stored > 0
    assert filming.codes.count("lost") == 1


def test_wanted_pictures_without_room_count_as_rejected(camera, tmp_path):
    pictures = [picture(number) for number in range(60)]
    path = film(tmp_path / "a.mkv", pictures, rate=100)
    filming = camera(path, recording=True, room=20 * pictures[0].nbytes)
    filming.until(lambda: filming.frames)
    until(lambda: filming.counts["grabbed"] == 60)
    filming.untilCode("video-ended")
    lost = filming.counts["lost"]
    assert lost >= 30
    assert len(filming.frames) + lost == 60
    assert filming.checkpoint.rejected == lost
    assert filming.places == list(range(60 - lost))
    assert [event.level for event in filming.events if event.code == "lost"] == ["error"]


def test_a_file_that_is_read_as_fast_as_possible_waits_for_room(camera, tmp_path):
    pictures = [picture(number) for number in range(60)]
    path = film(tmp_path / "a.mkv", pictures)
    filming = camera(path, realTime=False, room=3 * pictures[0].nbytes).untilCode("video-ended")
    assert filming.sums == sums(pictures)


def test_a_file_continues_after_a_restart(camera, tmp_path):
    path = film(tmp_path / "a.mkv", FEW, rate=20)
    filming = camera(path, recording=True)
    filming.until(lambda: len(filming.frames) >= 4)
    filming.close()
    again = camera(path, recording=True).untilCode("video-ended")
    assert filming.places + again.places == list(range(12))
    assert filming.sums + again.sums == sums(FEW)


def test_a_stream_that_disconnects_and_reconnects(camera):
    with PictureStream() as stream:
        filming = camera(stream.url)
        filming.until(lambda: len(filming.frames) >= 5)
        assert filming.happened == ["camera-opened"]
        assert filming.frames[0].image.attributes == {"Camera": stream.url}
        stream.unplug()
        filming.untilCode("camera-gone")
        end = time.monotonic() + 3 * RETRY
        filming.until(lambda: time.monotonic() > end)
        assert filming.happened == ["camera-opened", "camera-gone"]
        count = len(filming.frames)
        stream.plugIn()
        filming.until(lambda: len(filming.frames) >= count + 5)
        assert filming.happened == ["camera-opened", "camera-gone", "camera-back"]


def test_a_password_is_neither_shown_nor_stored(camera):
    with PictureStream() as stream:
        stream.unplug()
        filming = camera(stream.url.replace("//", "//user:secret@")).untilCode("stream-missing")
        filming.untilCode("stream-missing")
    assert "secret" not in filming.source.status + "".join(event.text + event.subject for event in filming.events)
    assert "secret" not in str(filming.settings.withoutSecrets())


@pytest.mark.skipif(sys.platform != "linux", reason="Names of other systems are Unicode.")
def test_a_name_that_is_not_utf_8_is_refused(camera, tmp_path):
    """OpenCV would end the process."""
    path = film(tmp_path / "a.mkv", FEW)
    os.rename(path, named := str(tmp_path / os.fsdecode(b"\xff.mkv")))
    filming = camera(named).untilCode("not-a-video")
    assert "Rename the file." in filming.source.status


def test_a_file_that_crashed_the_process_is_skipped_until_the_end(tmp_path):
    path = film(tmp_path / "a.mkv", FEW)
    for _ in range(DEATHS):
        with Checkpoint(str(tmp_path)) as checkpoint:
            checkpoint.begin(path, stampOf(path))
    filming = Filming(tmp_path, device=path)
    filming.rest()
    filming.close()
    assert filming.codes == ["crashed"]


def test_close_closes_the_file(camera, tmp_path):
    path = film(tmp_path / "a.mkv", FEW, rate=1)
    filming = camera(path)
    filming.until(lambda: filming.frames)
    begin = time.monotonic()
    filming.source.close()
    assert time.monotonic() - begin < 0.5
    # Windows refuses both while the file is open.
    os.rename(path, tmp_path / "b.mkv")
    os.remove(tmp_path / "b.mkv")
