"""List of the recordings in a folder: what is there, what is damaged, and nothing is changed."""

import json
import os
import subprocess
import sys
import time

import pytest
from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.Recording import (
    Catalogue,
    RecordedEvents,
    Recorder,
    RecordingEntry,
    listRecordings,
)
from unit.recordings import START, deviceMessage, frame, manifestOf, record, recorder, recordMessages


def listed(folder):
    """List a folder; it is unchanged afterwards."""
    before = {entry.path: (entry.stat().st_size, entry.stat().st_mtime_ns) for entry in os.scandir(folder)}
    entries, more = listRecordings(str(folder))
    assert not more
    assert {entry.path: (entry.stat().st_size, entry.stat().st_mtime_ns) for entry in os.scandir(folder)} == before
    assert [RecordingEntry.fromJSON(json.loads(json.dumps(one.toJSON()))) for one in entries] == entries
    return entries


def test_a_recording_with_its_figures(tmp_path):
    """Of several parts, with the newest first."""
    record(tmp_path, [frame(number, shape=(2, 3, 4 + number // 5)) for number in range(10)], name="Old")
    record(tmp_path, [frame(number + 90_000) for number in range(2)], name="New")
    new, old = listed(tmp_path)
    assert (new.name, new.stream, new.frames, new.lost, new.bytes) == ("New", "Scan", 2, 0, 2 * 48)
    assert (old.name, old.state, old.problem, old.frames) == ("Old", "finished", "", 10)
    assert old.bytes == 5 * 48 + 5 * 60
    assert old.seconds == pytest.approx(9 / 30, abs=1e-5)
    assert old.time == pytest.approx(START, abs=1e-5)
    assert [os.path.basename(path) for path in old.headers] == ["Old-Scan.seq.nhdr", "Old-Scan_2.seq.nhdr"]
    assert old.path == old.headers[0]


def test_streams_and_device_messages(tmp_path):
    record(tmp_path, [frame(0)])
    record(tmp_path, [frame(0, stream="Probe 2")])
    path = recordMessages(tmp_path, [deviceMessage(number) for number in range(3)])
    entries = {one.stream: one for one in listed(tmp_path)}
    assert set(entries) == {"Scan", "Probe 2", ""}
    assert {one.name for one in entries.values()} == {"Test"}
    assert (entries[""].path, entries[""].frames, entries[""].state) == (path, 3, "finished")
    assert entries[""].seconds == pytest.approx(0.02)


def test_files_of_values(tmp_path):
    """Those whose name begins as the recording's; the rows tell whether the values are of its images."""
    record(tmp_path, [frame(0)])
    record(tmp_path, [frame(0)], name="Other")
    for name in ("Test-Live_mean.values.csv", "Test-Live_SD.values.csv", "Test-Live.csv", "Test.values.csv"):
        (tmp_path / name).touch()
    entries = {one.name: one for one in listed(tmp_path)}
    found = [os.path.basename(path) for path in entries["Test"].values]
    assert found == ["Test-Live_SD.values.csv", "Test-Live_mean.values.csv"]
    assert entries["Other"].values == []


def test_losses_and_warnings(tmp_path):
    log = RecordedEvents()
    made = Recorder(str(tmp_path), "Run", "Scan", {}, recordedEvents=log)
    assert made.append(frame(0))
    log.add(Event("damaged", "a.nii is damaged.", "warning"))
    log.add(Event("note", "All is well.", "info"))
    made.failed = 5
    made.finish()
    (entry,) = listed(tmp_path)
    assert (entry.lost, entry.warnings) == (5, ["a.nii is damaged."])


def test_a_growing_and_an_abandoned_recording(tmp_path):
    growing = recorder(tmp_path)
    assert growing.append(frame(0))
    (entry,) = listed(tmp_path)
    assert (entry.name, entry.stream, entry.state, entry.bytes) == ("Test", "Scan", "recording", 48)
    assert not entry.usable
    growing._growing.rest()
    growing._lock.release(remove=False)
    past = time.time() - 60
    os.utime(tmp_path / "Test-Scan.lock", (past, past))
    (entry,) = listed(tmp_path)
    assert entry.state == "unfinished"
    assert sorted(os.listdir(tmp_path)) == ["Test-Scan.jsonl", "Test-Scan.lock", "Test-Scan.raw"]


def test_a_held_lock_that_is_not_young(tmp_path):
    growing = recorder(tmp_path)
    assert growing.append(frame(0))
    past = time.time() - 60
    os.utime(tmp_path / "Test-Scan.lock", (past, past))
    (entry,) = listed(tmp_path)
    assert entry.state == "recording"
    assert growing.append(frame(1))
    growing.finish()
    (entry,) = listed(tmp_path)
    assert (entry.state, entry.frames) == ("finished", 2)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: os.unlink(folder / "Test-Scan.raw"), "Test-Scan.raw is missing."),
        (lambda folder: os.unlink(folder / "Test-Scan.seq.nhdr"), "Test-Scan.seq.nhdr is missing."),
        (lambda folder: os.truncate(folder / "Test-Scan.raw", 60), "Test-Scan.raw has 60 bytes instead of 96."),
        (lambda folder: (folder / "Test-Scan.json").write_bytes(b"{"), "Test-Scan cannot be read: its manifest is"),
        (lambda folder: (folder / "Test-Scan.json").write_bytes(b'{"recording": "Test-Scan"}'), "manifest is damaged"),
    ],
)
def test_damaged_recordings_are_named(tmp_path, damage, words):
    record(tmp_path, [frame(0), frame(1)])
    damage(tmp_path)
    (entry,) = listed(tmp_path)
    assert entry.state == "damaged"
    assert words in entry.problem


def test_a_recording_with_pixels_that_a_repair_kept_is_not_damaged(tmp_path):
    record(tmp_path, [frame(0), frame(1)])
    with open(tmp_path / "Test-Scan.raw", "ab") as raw:
        raw.write(bytes(1000))
    (entry,) = listed(tmp_path)
    assert (entry.state, entry.problem, entry.frames, entry.bytes) == ("finished", "", 2, 96)


def test_headers_without_a_manifest(tmp_path):
    """A copy of the two files that Slicer opens."""
    record(tmp_path, [frame(number, shape=(2, 3, 4 + number // 5)) for number in range(10)])
    os.unlink(tmp_path / "Test-Scan.json")
    (entry,) = listed(tmp_path)
    assert (entry.name, entry.stream, entry.frames, entry.state) == ("Test", "Scan", 10, "finished")
    assert len(entry.headers) == 2
    os.unlink(tmp_path / "Test-Scan.raw")
    os.unlink(tmp_path / "Test-Scan_2.raw")
    (entry,) = listed(tmp_path)
    assert entry.state == "damaged"


def test_other_files_are_ignored(tmp_path):
    (tmp_path / "other.seq.nhdr").write_text("NRRD0005\ntype: short\n")
    (tmp_path / "bids.json").write_text('{"RepetitionTime": 2}')
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "other.lock").write_text("x")
    (tmp_path / "scan.nii").write_text("x")
    assert listed(tmp_path) == []


def test_folders_below_and_their_number(tmp_path, monkeypatch):
    for number, folder in enumerate(["sub-01/ses-1", "sub-02/ses-1", "a/b/c/d"]):
        (tmp_path / folder).mkdir(parents=True)
        record(tmp_path / folder, [frame(number)], name=f"R{number}")
    (tmp_path / ".hidden").mkdir()
    record(tmp_path / ".hidden", [frame(0)])
    entries, more = listRecordings(str(tmp_path))
    assert (sorted(one.name for one in entries), more) == (["R0", "R1"], False)
    assert {one.folder for one in entries} == {str(tmp_path / "sub-01/ses-1"), str(tmp_path / "sub-02/ses-1")}
    monkeypatch.setattr(Catalogue, "MOST_FOLDERS", 2)
    assert listRecordings(str(tmp_path))[1]


@pytest.mark.parametrize(
    "damage",
    [
        {"parts": []},
        {"failed": float("inf")},
        {"failed": -1},
        {"recorded": 10**30},
        {"lastTime": float("nan")},
        {"parts": [{"header": "Test-Scan.seq.nhdr", "raw": "Test-Scan.raw", "bytes": float("inf")}]},
    ],
)
def test_a_manifest_with_impossible_numbers_hides_no_other_recording(tmp_path, damage):
    (header,) = record(tmp_path, [frame(0)])
    record(tmp_path, [frame(0)], name="Good")
    manifest = manifestOf(header)
    (tmp_path / "Test-Scan.json").write_text(json.dumps(manifest | damage))
    entries = {one.name: one for one in listed(tmp_path)}
    assert [entries[name].state for name in ("Good", "Test")] == ["finished", "damaged"]
    assert entries["Test"].problem.startswith("Test-Scan cannot be read: its manifest is damaged")


def test_events_of_a_damaged_manifest_are_texts(tmp_path):
    """The panel joins them."""
    (header,) = record(tmp_path, [frame(0)])
    event = {"code": 1, "text": 5, "level": "warning", "time": 0}
    (tmp_path / "Test-Scan.json").write_text(json.dumps(manifestOf(header) | {"events": [event]}))
    assert listed(tmp_path)[0].warnings == ["5"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
@pytest.mark.parametrize("name", ["a.json", "a.seq.nhdr", "a.lock"])
def test_pipes_are_not_read(tmp_path, name):
    """Without another program at a pipe, reading it never ends."""
    record(tmp_path, [frame(0)])
    os.mkfifo(tmp_path / name)
    (tmp_path / "a.raw").write_bytes(b"")
    command = "import sys; from RealTimeImagingLib.Recording import listRecordings; "
    command += "print([one.name for one in listRecordings(sys.argv[1])[0]])"
    run = subprocess.run([sys.executable, "-c", command, tmp_path], capture_output=True, text=True, timeout=30)
    assert run.stdout == "['Test']\n", run.stderr


def test_links_to_folders_above_list_nothing_twice(tmp_path):
    record(tmp_path, [frame(0)])
    (tmp_path / "below").mkdir()
    os.symlink(tmp_path, tmp_path / "below" / "up", target_is_directory=True)
    os.symlink(".", tmp_path / "same", target_is_directory=True)
    os.symlink("itself", tmp_path / "itself")
    entries, more = listRecordings(str(tmp_path))
    assert ([one.path for one in entries], more) == ([str(tmp_path / "Test-Scan.seq.nhdr")], False)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(OSError, match="none"):
        listRecordings(str(tmp_path / "none"))


def test_a_recording_of_an_earlier_version(tmp_path):
    """Its manifest has no events; a device that counts from its start has no date."""
    (header,) = record(tmp_path, [frame(0, deviceTime=12.5)])
    assert "events" not in manifestOf(header)
    assert manifestOf(header)["start"].startswith("1970")
    (entry,) = listed(tmp_path)
    assert entry.time == pytest.approx(os.stat(header).st_mtime)
