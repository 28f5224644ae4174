"""Export to MP4 and Matroska, read back by PyAV alone."""

from __future__ import annotations

import json
from fractions import Fraction

import av
import numpy as np
import pytest
from RealTimeImagingLib.Export.Comparison import Different
from RealTimeImagingLib.Export.Frames import Frames, openFrames
from RealTimeImagingLib.Export.Job import Cancelled, ExportJob, Work
from RealTimeImagingLib.Export.VideoFiles import NEAR, MatroskaFile, VideoFile
from RealTimeImagingLib.Export.Worker import export
from RealTimeImagingLib.Model.Errors import ExportError
from RealTimeImagingLib.Model.Frame import Frame
from unit.exports import save
from unit.recordings import OBLIQUE, START, frame, record
from unit.videos import picture

STEPS = (0.0, 0.033, 0.066, 0.1, 0.25, 1.0, 1.001, 7.5)
"""Irregular times of the frames in seconds."""
COLUMNS, ROWS = 160, 96
CLOCKS = {"mp4": 90_000, "mkv": 1000}


def pictures(kind, columns=COLUMNS, rows=ROWS):
    """Pictures (rows, columns[, components]) without any symmetry."""
    colour = [picture(number, columns, rows) for number in range(len(STEPS))]
    made = {
        "RGB": colour,
        "RGBA": [np.dstack([one, one[..., 1]]) for one in colour],
        "grey": [one[..., 0].copy() for one in colour],
        "uint16": [one[..., 0] * np.uint16(211) for one in colour],
        "int16": [one[..., 0] * np.int16(16) - np.int16(1000) for one in colour],
        "float32": [one[..., 0] * np.float32(1e-3) for one in colour],
    }
    return made[kind]


def recorded(folder, kind, columns=COLUMNS, rows=ROWS, **attributes):
    """Headers of a recording whose frames move, and its pictures."""
    made, found = [], pictures(kind, columns, rows)
    for number, one in enumerate(found):
        matrix = OBLIQUE.copy()
        matrix[:3, 3] = number, -2 * number, 5
        made.append(Frame(one[None], matrix, "Scan", number, START + STEPS[number], None, attributes))
    return record(folder, made), found


def read(path):
    """Pictures of a video as FFmpeg's frames, and their times in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return frames, [float(one.pts * one.time_base) for one in frames], container.metadata


@pytest.mark.parametrize(
    ("kind", "name"), [("RGB", "rgb24"), ("RGBA", "rgba"), ("grey", "gray"), ("uint16", "gray16le")]
)
def test_a_lossless_video_is_equal(tmp_path, kind, name):
    parts, sent = recorded(tmp_path, kind, 61, 47)
    (sidecar, path), events = save("mkv", tmp_path / "out", parts)
    assert (path.name, sidecar.name, events) == ("out.mkv", "out.json", [])
    frames, times, _ = read(path)
    assert len(frames) == len(sent)
    for found, expected in zip(frames, sent, strict=True):
        assert np.array_equal(found.to_ndarray(format=name), expected)
    assert np.allclose(times, STEPS, atol=0.0005)


@pytest.mark.parametrize("kind", ["RGB", "grey"])
def test_a_video_with_loss_is_close(tmp_path, kind):
    parts, sent = recorded(tmp_path, kind)
    (_, path), events = save("mp4", tmp_path / "out", parts)
    assert events == []
    frames, times, _ = read(path)
    assert len(frames) == len(sent)
    assert np.abs(np.subtract(times, STEPS)).max() <= 0.5 / 90_000 + 1e-9
    for number, found in enumerate(frames):
        grey = found.to_ndarray(format="gray").astype(int)
        wanted = sent[number] if kind == "grey" else _brightness(sent[number])
        assert np.abs(grey - wanted).mean() < 4
        # It is not mirrored, turned, or another picture.
        others = [wanted[::-1], wanted[:, ::-1], wanted[::-1, ::-1], _brightness(picture(number + 1, COLUMNS, ROWS))]
        assert min(np.abs(grey - other).mean() for other in others) > 15


def _brightness(picture):
    return picture @ (0.299, 0.587, 0.114)


def test_colours_stay_colours(tmp_path):
    areas = np.zeros((64, 96, 3), np.uint8)
    areas[:, :32], areas[:, 32:64], areas[:32, 64:] = (200, 30, 40), (20, 180, 60), (30, 50, 220)
    frames = [Frame(areas[None], OBLIQUE, "Scan", number, START + number) for number in range(2)]
    (_, path), _ = save("mp4", tmp_path / "out", record(tmp_path, frames))
    found = read(path)[0][1].to_ndarray(format="rgb24").astype(int)
    assert np.abs(found - areas)[4:28, [8, 48, 88]].max() < 8


@pytest.mark.parametrize(("kind", "low", "high"), [("int16", -1000, 3080), ("float32", 0, 0.255), ("uint16", 0, 53805)])
def test_values_of_more_bits_become_brightness(tmp_path, kind, low, high):
    parts, sent = recorded(tmp_path, kind)
    (sidecar, path), events = save("mp4", tmp_path / "out", parts)
    assert len(events) == 1
    shown = json.loads(sidecar.read_text())["ShownValues"]
    assert np.allclose(shown, (low, high), atol=0.02 * (high - low))
    assert "(black) to" in events[0].text
    grey = read(path)[0][3].to_ndarray(format="gray").astype(int)
    expected = (sent[3].astype(float) - shown[0]) / (shown[1] - shown[0]) * 255
    assert np.abs(grey - expected).mean() < 5


def test_the_window_of_the_recording_is_applied(tmp_path):
    parts, _ = recorded(tmp_path, "int16", WindowCenter="40\\50", WindowWidth="400\\350")
    (sidecar, _), events = save("mp4", tmp_path / "out", parts)
    assert json.loads(sidecar.read_text())["ShownValues"] == [-160, 240]
    assert events[0].text == "The video shows values from -160 (black) to 240 (white), with 8 bits."


def test_odd_numbers_of_rows_and_columns(tmp_path):
    parts, sent = recorded(tmp_path, "grey", 61, 47)
    (_, path), (event,) = save("mp4", tmp_path / "out", parts)
    assert event.text == "H.264 needs an even number of rows and columns: the last one is there twice."
    found = read(path)[0][2].to_ndarray(format="gray").astype(int)
    assert found.shape == (48, 62)
    assert np.abs(found[:47, :61] - sent[2]).mean() < 4
    assert np.abs(found[-1] - found[-2]).mean() < 12


@pytest.mark.parametrize("format_", ["mp4", "mkv"])
@pytest.mark.parametrize(("columns", "rows"), [(333, 1), (1, 7), (1, 1)])
def test_pictures_of_one_row_or_column(tmp_path, format_, columns, rows):
    parts, sent = recorded(tmp_path, "uint16", columns, rows)
    (_, path), _ = save(format_, tmp_path / "out", parts)
    frames = read(path)[0]
    assert len(frames) == len(sent)
    if format_ == "mkv":
        found = [one.to_ndarray(format="gray16le") for one in frames]
        assert all(map(np.array_equal, found, sent))


@pytest.mark.parametrize("format_", ["mp4", "mkv"])
def test_a_pause_of_a_day_keeps_its_length(tmp_path, format_):
    times = [0.0, 0.5, 108_000.0, 108_000.5]
    frames = [frame(number, (1, 48, 64), np.uint8, receiveTime=START + time) for number, time in enumerate(times)]
    (_, path), events = save(format_, tmp_path / "out", record(tmp_path, frames))
    assert events == []
    assert np.allclose(read(path)[1], times, atol=0.001)


@pytest.mark.parametrize("format_", ["mp4", "mkv"])
def test_the_JSON_file_has_exact_times_geometry_and_attributes(tmp_path, format_):
    parts, _ = recorded(tmp_path, "grey", Depth="5 cm")
    (sidecar, path), _ = save(format_, tmp_path / "out", parts, first=2, last=5, attributes={"Operator": "Ada"})
    words = json.loads(sidecar.read_text())
    assert np.allclose(words["VolumeTiming"], np.subtract(STEPS[2:6], STEPS[2]), atol=1e-6)
    assert [one["number"] for one in words["Frames"]] == [2, 3, 4, 5]
    assert words["Frames"][0]["attributes"] == {"Depth": "5 cm"}
    assert words["Attributes"]["Operator"] == "Ada"
    assert words["TimeUnit"] == f"1/{CLOCKS[format_]} s"
    assert np.array(words["Geometry"])[:, 3].tolist() == [2, 3, 4, 5]
    _, times, metadata = read(path)
    assert np.allclose(times, np.subtract(STEPS[2:6], STEPS[2]), atol=0.5 / CLOCKS[format_] + 1e-6)
    assert metadata["creation_time"].startswith("2023-11-14T22:13:20")


def test_frames_that_are_closer_than_the_clock_are_said(tmp_path):
    frames = [frame(number, (1, 48, 64), np.uint8, step=0.0002) for number in range(20)]
    (sidecar, path), (event,) = save("mkv", tmp_path / "out", record(tmp_path, frames))
    assert "Frames are closer to each other than the times of .mkv can tell; their times differ by up to" in event.text
    assert np.allclose(read(path)[1], np.arange(20) / 1000)
    assert np.isclose(json.loads(sidecar.read_text())["RepetitionTime"], 0.0002, rtol=1e-2)


def test_one_frame_is_a_video(tmp_path):
    for format_ in ("mp4", "mkv"):
        (_, path), _ = save(format_, tmp_path / "out", record(tmp_path, [frame(0, (1, 48, 64), np.uint8)], format_))
        assert len(read(path)[0]) == 1


@pytest.mark.parametrize(
    ("format_", "shape", "dtype", "words"),
    [
        ("mp4", (2, 48, 64), np.uint8, "A video shows one slice, but these images have 2. Choose .seq.nrrd, NIfTI or"),
        ("mkv", (2, 48, 64), np.uint8, "A video shows one slice, but these images have 2."),
        ("mkv", (1, 48, 64), np.int16, "not 1 x int16. Choose another format: .mp4 shows grey values of any type with"),
        ("mp4", (1, 48, 64, 3), np.uint16, "A video holds colour of uint8 only, not uint16. Choose .seq.nrrd."),
    ],
)
def test_what_cannot_be_a_video_is_said(tmp_path, format_, shape, dtype, words):
    parts = record(tmp_path, [frame(number, shape, dtype) for number in range(2)])
    with pytest.raises(ExportError) as error:
        save(format_, tmp_path / "out", parts)
    assert words in str(error.value)


@pytest.mark.parametrize("format_", ["mp4", "mkv"])
def test_a_cancelled_export_leaves_nothing(tmp_path, format_):
    parts, _ = recorded(tmp_path, "RGB")
    before = sorted(tmp_path.iterdir())
    work = _CancelledAt(5)
    with pytest.raises(Cancelled):
        export(ExportJob(format_, str(tmp_path / "out"), tuple(parts)), work)
    assert sorted(tmp_path.iterdir()) == before
    assert 0 < work.progress < 1


class _CancelledAt(Work):
    """Work that is cancelled when a frame is begun."""

    def __init__(self, number):
        super().__init__()
        self._number = number

    def step(self, nbytes=0, words=""):
        if words.startswith(f"Writing frame {self._number} "):
            self.cancel()
        super().step(nbytes, words)


@pytest.mark.parametrize("format_", ["mp4", "mkv"])
def test_a_file_that_differs_is_noticed(tmp_path, format_, monkeypatch):
    parts, sent = recorded(tmp_path, "grey")
    pixels = Frames.pixels
    asked = []

    def changed(self, index):
        asked.append(index)
        found = pixels(self, index)
        return found[:, ::-1] if index == 3 and asked.count(3) == 1 else found

    monkeypatch.setattr(Frames, "pixels", changed)
    with pytest.raises(Different, match=r"Picture 4 of the file is another one than was written\."):
        export(ExportJob(format_, str(tmp_path / "out"), tuple(parts)), Work())
    assert not list(tmp_path.glob("*out*"))
    assert np.abs(sent[3].astype(int) - sent[3][::-1]).mean() > 2 * NEAR


def test_a_missing_picture_is_noticed(tmp_path):
    parts, _ = recorded(tmp_path, "grey")
    job = ExportJob("mkv", str(tmp_path / "out"), tuple(parts))
    writer = MatroskaFile(openFrames(job), job, Work())
    fewer = ExportJob("mkv", str(tmp_path / "out"), tuple(parts), last=6)
    output = MatroskaFile.output(job.base, Work())
    VideoFile.write(MatroskaFile(openFrames(fewer), fewer, Work()), output)
    with pytest.raises(Different, match=r"The file has 7 pictures, but 8 were written\."):
        writer.compare(output)
    output.discard()


def test_the_clock_of_a_file_is_that_of_its_class(tmp_path):
    parts, _ = recorded(tmp_path, "grey")
    for format_, clock in CLOCKS.items():
        (_, path), _ = save(format_, tmp_path / "out", parts)
        with av.open(str(path)) as container:
            assert container.streams.video[0].time_base == Fraction(1, clock)
