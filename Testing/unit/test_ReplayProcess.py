"""Replay in the acquisition process."""

import random
from pathlib import Path

import numpy as np
import pytest
from RealTimeImagingLib.Recording import openRecording
from RealTimeImagingLib.Sources.Replay import ReplaySettings
from unit.conftest import PROGRAM, Acquisition, arrive, checksum, seriesFile, snapshot
from unit.recordings import START, frame, record
from unit.replaySource import pixelsOf, sequence, sumsOf
from unit.test_DICOM import made

CINE = np.arange(6 * 8 * 10, dtype=np.uint16).reshape(6, 8, 10)


@pytest.fixture
def acquire(workFolder):
    """Start acquisition processes that replay a file, one after the other with the same checkpoint."""
    started = []

    def start(file, listen=True, **values):
        settings = ReplaySettings(file=str(file), **values)
        started.append(Acquisition(settings, [workFolder], f"process{len(started) + 1}", PROGRAM))
        return started[-1].listen().untilReady() if listen else started[-1]

    yield start
    for acquisition in started:
        acquisition.close()


def placesOf(acquisition):
    """Return the indices in the file of the shown frames."""
    return [int(line["frame"]["attributes"]["ReplayedFrame"]) for line in acquisition.lines if "frame" in line]


def sumsShown(acquisition):
    return [sum_ for _, _, _, sum_ in acquisition.frames]


def files(incoming):
    """Write a file of each format; return the pixels of its images by name."""
    arrive(incoming / "raw.seq.nrrd", sequence(pixelsOf(range(6)), [n / 50 for n in range(6)]))
    arrive(incoming / "gzip.seq.nrrd", sequence(pixelsOf(range(6)), [20 * n for n in range(6)], "ms", "gzip"))
    arrive(incoming / "four.nii", seriesFile(range(6)))
    made(incoming / "cine.dcm", CINE, Modality="US", FrameTime="20")
    frames = [frame(number, (2, 3, 4) if number < 3 else (3, 2, 4), step=0.02) for number in range(6)]
    return {
        "raw.seq.nrrd": pixelsOf(range(6)),
        "gzip.seq.nrrd": pixelsOf(range(6)),
        "four.nii": pixelsOf(range(6)),
        "cine.dcm": CINE[:, np.newaxis],
        record(incoming, frames)[0]: [one.pixels for one in frames],
    }


def test_every_format_is_replayed_completely_and_in_order(acquire, incoming, workFolder, tmp_path):
    """A recording has every frame; a reader that is late is shown the newest ones only."""
    pixels = files(incoming)
    before = snapshot(incoming)
    (tmp_path / "again").mkdir()
    for name, expected in pixels.items():
        acquisition = acquire(incoming / name, paused=True)
        acquisition.record(tmp_path / "again", Path(name).name)
        acquisition.send("resume")
        acquisition.until(lambda acquisition=acquisition: "replay-ended" in acquisition.codes)
        assert acquisition.stop() == 0
        assert acquisition.counts["received"] == {"Live": 6}
        places = placesOf(acquisition)
        assert places == sorted(set(places))
        assert places[-1] == 5
        assert sumsShown(acquisition) == [checksum(np.ascontiguousarray(expected[place])) for place in places]
        found = []
        for header in sorted((tmp_path / "again").glob(f"{Path(name).name}-*.seq.nhdr")):
            part = openRecording(str(header))
            found += [(entry["attributes"]["ReplayedFrame"], part.pixels(i)) for i, entry in enumerate(part.frames)]
        assert [place for place, _pixels in found] == [str(number) for number in range(6)]
        for (_place, one), wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, wanted)
        for path in workFolder.iterdir():
            path.unlink()
    assert snapshot(incoming) == before


def test_at_the_fastest_pace_all_frames_are_received_even_if_not_shown(acquire, incoming):
    path = incoming / "a.seq.nrrd"
    path.write_bytes(sequence(pixelsOf(range(500)), range(500)))
    acquisition = acquire(path, pace="fastest")
    acquisition.untilCounted(500)
    acquisition.until(lambda: acquisition.frames and acquisition.frames[-1][1] == 499)
    assert acquisition.stop() == 0
    places, sums = placesOf(acquisition), sumsOf(range(500))
    assert places == sorted(set(places))
    assert sumsShown(acquisition) == [sums[place] for place in places]


def test_commands_are_obeyed_in_order(acquire, incoming):
    path = incoming / "a.seq.nrrd"
    path.write_bytes(sequence(pixelsOf(range(50)), range(50)))
    acquisition = acquire(path, paused=True)
    for command, values in (
        ("step", {"frames": 1}),
        ("step", {"frames": 1}),
        ("step", {"frames": -1}),
        ("seek", {"frame": 40}),
    ):
        count = len(acquisition.frames)
        acquisition.send(command, **values)
        acquisition.until(lambda count=count: len(acquisition.frames) > count)
    acquisition.until(lambda: "paused at frame 41 of 50" in acquisition.of("status")[-1])
    acquisition.send("pace", rate=1000)
    acquisition.send("pace", rate=-1)
    acquisition.send("resume")
    acquisition.until(lambda: "replay-ended" in acquisition.codes)
    acquisition.until(lambda: acquisition.frames[-1][1] == 12)
    assert acquisition.stop() == 0
    assert acquisition.codes == ["replay-opened", "command-refused", "replay-ended"]
    assert placesOf(acquisition)[:4] == [0, 1, 0, 40]
    assert acquisition.counts["received"] == {"Live": 4 + 9}


def test_kills_at_any_moment_lose_and_repeat_nothing(acquire, incoming):
    # Much longer than what is played until the last kill, which comes late on a busy computer.
    count, chance, shown = 1500, random.Random(7), []
    path = record(incoming, [frame(number, step=0.002) for number in range(count)])[0]
    acquisition = acquire(path, pace="rate", rate=500.0)
    for goal in sorted(chance.sample(range(20, 560), 5)):
        # A file at which two processes end without a frame is given up.
        acquisition.until(
            lambda acquisition=acquisition, goal=goal: acquisition.frames and acquisition.received >= goal
        )
        acquisition.kill()
        shown += acquisition.lines
        acquisition = acquire(path, pace="rate", rate=500.0)
    acquisition.until(lambda: "replay-ended" in acquisition.codes)
    acquisition.untilCounted(count)
    acquisition.until(lambda: placesOf(acquisition)[-1] == count - 1)
    assert acquisition.stop() == 0
    frames = [line["frame"] for line in [*shown, *acquisition.lines] if "frame" in line]
    assert all(int(one["attributes"]["ReplayedFrame"]) == one["number"] for one in frames)
    numbers = [one["number"] for one in frames]
    assert numbers == sorted(set(numbers))
    assert acquisition.counts["received"] == {"Live": count}


def test_a_recording_of_a_replay_has_the_same_pixels_and_device_times(acquire, incoming, tmp_path):
    frames = [frame(number, deviceTime=START + number / 200, step=1 / 200) for number in range(40)]
    path = record(incoming, frames)[0]
    (tmp_path / "again").mkdir()
    acquisition = acquire(path, paused=True)
    acquisition.record(tmp_path / "again", "Again")
    acquisition.send("resume")
    acquisition.until(lambda: "replay-ended" in acquisition.codes)
    assert acquisition.stop() == 0
    assert acquisition.counts["recorded"] == acquisition.counts["received"]["Live"] == 40
    assert acquisition.counts["failed"] == 0
    part = openRecording(str(tmp_path / "again" / "Again-Live.seq.nhdr"))
    assert part.times == pytest.approx([n / 200 for n in range(40)], abs=1e-6)
    for index, (entry, sent) in enumerate(zip(part.frames, frames, strict=True)):
        assert entry["deviceTime"] == sent.deviceTime
        assert entry["clock"] == "device"
        assert entry["attributes"]["OriginalSourceFile"] == f"{index}.nii"
        np.testing.assert_array_equal(part.pixels(index), sent.pixels)


def test_the_source_waits_for_a_missing_file_and_says_so(acquire, incoming):
    acquisition = acquire(incoming / "a.nii")
    acquisition.until(lambda: "file-missing" in acquisition.codes)
    acquisition.until(lambda: any("waiting for it" in words for words in acquisition.of("status")))
    arrive(incoming / "a.nii", seriesFile(range(3)))
    acquisition.until(lambda: "replay-ended" in acquisition.codes)
    acquisition.until(lambda: "has ended: 3 frames" in acquisition.of("status")[-1])
    assert acquisition.stop() == 0
    assert sumsShown(acquisition) == sumsOf(range(3))


def test_1080p_colour_video_keeps_30_frames_a_second(acquire, incoming):
    """No frame is early, and the last is not late."""
    shape, count = (1, 1080, 1920, 3), 30
    path = record(incoming, [frame(number, shape, np.uint8) for number in range(count)])[0]
    acquisition = acquire(path)
    acquisition.until(lambda: "replay-ended" in acquisition.codes, seconds=60)
    assert acquisition.stop() == 0
    assert acquisition.counts["received"] == {"Live": count}
    arrivals = [line["frame"]["receiveTime"] for line in acquisition.lines if "frame" in line]
    places = placesOf(acquisition)
    assert places[0] == 0
    assert places[-1] == count - 1
    late = [arrival - arrivals[0] - place / 30 for arrival, place in zip(arrivals, places, strict=True)]
    assert min(late) > -0.1  # the first may have been late
    assert late[-1] < 0.5
