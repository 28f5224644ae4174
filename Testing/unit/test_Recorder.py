"""Recorder: stored frames, names of the files, counts and manifest."""

import dataclasses
import os
import sys
import textwrap
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from RealTimeImagingLib.Model.Errors import RecordingError
from RealTimeImagingLib.Model.Frame import SCALAR_TYPES
from RealTimeImagingLib.Recording import Recorder, openRecording
from RealTimeImagingLib.Recording.Layout import fileName
from RealTimeImagingLib.Recording.Recorder import MOST_FRAMES
from unit.conftest import snapshot
from unit.examples import examples
from unit.recordings import OBLIQUE, RIGHT_HANDED, assertHolds, child, frame, manifestOf, record, recorder

STRAIN = "BKS.Cg-Dock7m +/+ Leprdb/J"


def names(folder):
    return sorted(os.listdir(folder))


# What is stored


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 1, 1), (1, 5, 7, 3), (2, 3, 4, 4)])
@pytest.mark.parametrize("dtype", SCALAR_TYPES, ids=str)
def test_every_frame_is_stored_unchanged(tmp_path, dtype, shape):
    frames = [frame(number, shape, dtype, OBLIQUE, deviceTime=number / 7) for number in range(5)]
    assertHolds(record(tmp_path, frames), frames)


def test_extreme_values_of_a_type_are_stored(tmp_path):
    odd = np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324, 1.7976931348623157e308]).reshape(1, 2, 3)
    frames = [dataclasses.replace(frame(0), pixels=odd)]
    assertHolds(record(tmp_path, frames), frames)


def test_each_frame_keeps_its_own_geometry(tmp_path):
    frames = [frame(number, matrix=RIGHT_HANDED + np.diag([0, 0, number / 3, 0])) for number in range(5)]
    assertHolds(record(tmp_path, frames), frames)


def test_while_it_grows_a_lock_is_held_and_the_stop_leaves_header_pixels_and_manifest(tmp_path):
    recording = recorder(tmp_path)
    assert names(tmp_path) == []
    assert recording.append(frame(0))
    assert names(tmp_path) == ["Test-Scan.jsonl", "Test-Scan.lock", "Test-Scan.raw"]
    assert (tmp_path / "Test-Scan.raw").read_bytes() == frame(0).pixels.tobytes()
    assert recording.finish() == [str(tmp_path / "Test-Scan.seq.nhdr")]
    assert names(tmp_path) == ["Test-Scan.json", "Test-Scan.raw", "Test-Scan.seq.nhdr"]


def test_without_a_frame_no_file_is_made(tmp_path):
    recording = recorder(tmp_path)
    assert (recording.finish(), recording.events(), names(tmp_path)) == ([], [], [])


def test_a_second_finish_does_nothing(tmp_path):
    recording = recorder(tmp_path)
    recording.append(frame(0))
    paths = recording.finish()
    before = snapshot(tmp_path)
    assert (recording.finish(), snapshot(tmp_path)) == (paths, before)
    with pytest.raises(RecordingError, match="finished"):
        recording.append(frame(1))


def test_the_manifest_describes_the_stored_frames(tmp_path):
    frames = [frame(number, deviceTime=100 + number / 10) for number in range(5, 9)]
    frames += [frame(9, (1, 2, 2, 3), np.uint8, deviceTime=100.9)]
    manifest = manifestOf(record(tmp_path, frames, attributes={"Strain": STRAIN})[0])
    assert set(manifest.pop("versions")) == {"format", "python", "numpy", "platform"}
    little = "<" if sys.byteorder == "little" else ">"
    common = {"poses": None, "sha256": None}
    first = {"header": "Test-Scan.seq.nhdr", "raw": "Test-Scan.raw", "frames": 4, "firstNumber": 5, "lastNumber": 8}
    first |= {"firstTime": 0.0, "lastTime": 0.3, "shape": [2, 3, 4], "dtype": little + "i2", "bytes": 4 * 48}
    second = {"header": "Test-Scan_2.seq.nhdr", "raw": "Test-Scan_2.raw", "frames": 1, "firstNumber": 9}
    second |= {"lastNumber": 9, "firstTime": 0.4, "lastTime": 0.4, "shape": [1, 2, 2, 3], "dtype": "|u1", "bytes": 12}
    assert manifest == {
        "recording": "Test-Scan",
        "stream": "Scan",
        "attributes": {"Strain": STRAIN},
        "recorded": 5,
        "failed": 0,
        "gaps": [],
        "start": "1970-01-01T00:01:40.500000+00:00",
        "startClock": "device",
        "firstTime": 0.0,
        "lastTime": 0.4,
        "finishedBy": "stop",
        "parts": [first | common, second | common],
    }


def test_recorded_and_bytes_are_counted(tmp_path):
    recording = recorder(tmp_path)
    for number in range(7):
        recording.append(frame(number))
    assert (recording.recorded, recording.failed, recording.bytes) == (7, 0, 7 * 48)
    recording.finish()


# Parts


def test_a_change_of_shape_type_or_components_begins_a_part(tmp_path):
    kinds = [((2, 3, 4), "i2"), ((2, 3, 5), "i2"), ((2, 3, 5), "u2"), ((1, 3, 5, 3), "u2"), ((1, 3, 5, 4), "u2")]
    kinds += [((2, 3, 4), "i2")]
    frames = [frame(number, *kinds[number // 2]) for number in range(12)]
    paths = record(tmp_path, frames)
    assert [os.path.basename(path) for path in paths] == [
        f"Test-Scan{number}.seq.nhdr" for number in ("", "_2", "_3", "_4", "_5", "_6")
    ]
    assert [openRecording(path).part for path in paths] == [1, 2, 3, 4, 5, 6]
    assertHolds(paths, frames)
    times = [time for path in paths for time in openRecording(path).times]
    assert times == pytest.approx([number / 30 for number in range(12)], abs=1e-6)


def test_after_3000_frames_a_part_begins(tmp_path):
    frames = [frame(number, (1, 1, 2), step=0.001) for number in range(2 * MOST_FRAMES + 1)]
    paths = record(tmp_path, frames)
    assert MOST_FRAMES == 3000
    assert [openRecording(path).count for path in paths] == [3000, 3000, 1]
    assertHolds(paths, frames)


def test_3000_frames_are_finished_within_a_second(tmp_path):
    recording = recorder(tmp_path)
    for number in range(MOST_FRAMES):
        assert recording.append(frame(number, (1, 1, 2), attributes={f"A{each}": STRAIN for each in range(5)}))
    begun = time.perf_counter()
    (path,) = recording.finish()
    assert time.perf_counter() - begun < 1
    assert openRecording(path).count == MOST_FRAMES


def test_a_growing_part_needs_little_memory_and_a_finished_one_none(tmp_path):
    recording = recorder(tmp_path)
    used = []
    for number in range(MOST_FRAMES + 1):
        assert recording.append(frame(number, (1, 1, 2), attributes={"Strain": STRAIN}))
        if number == 100:
            tracemalloc.start()
        elif number >= MOST_FRAMES - 1:
            used.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    # The line of a frame has 150 bytes.
    assert used[0] < 40 * MOST_FRAMES
    assert used[1] < 10_000
    recording.finish()


def test_a_part_skips_taken_names(tmp_path):
    (tmp_path / "Test-Scan_2.raw").write_bytes(b"mine")
    frames = [frame(0), frame(1, (1, 1, 1))]
    paths = record(tmp_path, frames)
    assert [os.path.basename(path) for path in paths] == ["Test-Scan.seq.nhdr", "Test-Scan_3.seq.nhdr"]
    assertHolds(paths, frames)
    assert (tmp_path / "Test-Scan_2.raw").read_bytes() == b"mine"


# Names


def test_nothing_is_overwritten(tmp_path):
    found = []
    for number in range(4):
        before = snapshot(tmp_path)
        found += record(tmp_path, [frame(number)])
        assert {name: found for name, found in snapshot(tmp_path).items() if name in before} == before
    assert [os.path.basename(path) for path in found] == [
        f"Test{number}-Scan.seq.nhdr" for number in ("", "_1", "_2", "_3")
    ]
    assertHolds(found, [frame(number) for number in range(4)])


@pytest.mark.parametrize("suffix", [".raw", ".jsonl", ".lock", ".json", ".seq.nhdr", ".poses.seq.mha"])
def test_any_file_of_that_name_is_kept(tmp_path, suffix):
    mine = tmp_path / f"Test-Scan{suffix}"
    mine.write_bytes(b"mine")
    (path,) = record(tmp_path, [frame(0)])
    assert (os.path.basename(path), mine.read_bytes()) == ("Test_1-Scan.seq.nhdr", b"mine")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        *[("a/b\\c:d*?", "a_b_c_d__"), ("", "_"), ("..", "_"), ("LISTE", "_LISTE"), ("Größe 5", "Größe_5")],
        *[("x" * 300, "x" * 80), ("鼠" * 300, "鼠" * 53), ("end.", "end")],
    ],
)
def test_a_text_becomes_a_file_name(words, name):
    assert fileName(words) == name


def test_two_recorders_of_one_name_at_once_take_two_names(tmp_path):
    both = [recorder(tmp_path), recorder(tmp_path)]
    frames = [frame(number) for number in range(6)]
    for number, each in enumerate(frames):
        assert both[number % 2].append(each)
    assertHolds(both[0].finish(), frames[::2])
    assertHolds(both[1].finish(), frames[1::2])


RECORD_OFTEN = textwrap.dedent("""
    import sys
    from RealTimeImagingLib.Recording import Recorder
    from unit.recordings import frame
    first = int(sys.argv[2])
    sys.stdin.readline()
    for number in range(first, first + 20):
        recorder = Recorder(sys.argv[1], "Test", "Scan", {})
        assert recorder.append(frame(number)) and recorder.events() == []
        print(*recorder.finish(), flush=True)
""")


def test_processes_that_record_under_one_name_use_different_files(tmp_path):
    processes = [child("-c", RECORD_OFTEN, tmp_path, 100 * number) for number in range(3)]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    paths = [process.communicate()[0].split("\n")[:-1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len({path for found in paths for path in found}) == 60
    for number, found in enumerate(paths):
        assertHolds(found, [frame(each) for each in range(100 * number, 100 * number + 20)])
    assert len(os.listdir(tmp_path)) == 3 * 60


SLOW_TO_CLAIM = textwrap.dedent("""
    import os, sys
    from unit.recordings import frame, recorder
    reallyOpen = os.open
    def slowly(path, *values):
        if path.endswith(".lock"):
            os.open = reallyOpen
            print("claims", flush=True)
            sys.stdin.readline()
        return reallyOpen(path, *values)
    os.open = slowly
    recording = recorder(sys.argv[1])
    assert recording.append(frame(1))
    print(*recording.finish(), flush=True)
""")


def test_a_name_that_another_process_just_used_is_not_used_again(tmp_path):
    process = child("-c", SLOW_TO_CLAIM, tmp_path)
    assert process.stdout.readline() == "claims\n"
    (first,) = record(tmp_path, [frame(0)])
    manifest = manifestOf(first)
    second = process.communicate("\n")[0].strip()
    assert second == str(tmp_path / "Test_1-Scan.seq.nhdr")
    assertHolds([first], [frame(0)])
    assertHolds([second], [frame(1)])
    assert manifestOf(first) == manifest


# Metadata


@pytest.mark.parametrize("name", ["Key: Value", "a b", "", "Größe", "a=b", "#a", "a\n"])
def test_attribute_names_that_would_damage_the_file_are_rejected(tmp_path, name):
    with pytest.raises(RecordingError, match=r"has characters other than letters, digits and _ \. -"):
        Recorder(str(tmp_path), "Test", "Scan", {name: "x"})


@pytest.mark.parametrize("name", ["Recording", "recordingstart", "space", "NRRD_encoding", "DataNodeClassName"])
def test_reserved_attribute_names_are_rejected(tmp_path, name):
    with pytest.raises(RecordingError, match="is reserved"):
        Recorder(str(tmp_path), "Test", "Scan", {name: "x"})


def test_an_attribute_value_other_than_text_is_rejected(tmp_path):
    with pytest.raises(RecordingError, match="must be text, not int"):
        Recorder(str(tmp_path), "Test", "Scan", {"Weight": 5})


attributes = st.dictionaries(st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True), st.text(st.characters()))


@examples(1.5)
@given(frameAttributes=attributes, values=st.lists(st.text(st.characters()), max_size=5))
@example({"Strain": STRAIN}, [STRAIN, "Größe 5 µm, 鼠", "first\nsecond", '\r\n \\n \\ " \x00 \x85\u2028', "\udcff"])
def test_every_attribute_is_read_back_exactly(tmp_path_factory, frameAttributes, values):
    folder = tmp_path_factory.mktemp("recording")
    given = {f"A.{number}": value for number, value in enumerate(values)}
    frames = [frame(number, (1, 1, 1), attributes=frameAttributes) for number in range(2)]
    paths = record(folder, frames, attributes=given)
    assertHolds(paths, frames)
    assert openRecording(paths[0]).attributes == given
    assert manifestOf(paths[0])["attributes"] == given
