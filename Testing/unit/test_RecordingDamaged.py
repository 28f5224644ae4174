"""Recordings with one odd value in a file: pixels and messages stay, and the report is in plain words."""

import json
import os
import shutil

import pytest
from RealTimeImagingLib.Model.Errors import RecordingError
from RealTimeImagingLib.Recording import MessageRecorder, Recorder, openMessages, openRecording, repair
from unit.recordings import deviceMessage, frame, recordMessages

ODD = [None, 0, 10**400, 1e308, "a\0b", "../x", "1" * 20, [[]]]
FOREIGN = "this module does not write"


def places(value, place=()):
    """Yield the place of each value in a JSON value; of lists only the first item."""
    yield place
    inside = value if isinstance(value, dict) else range(len(value[:1])) if isinstance(value, list) else ()
    for name in inside:
        yield from places(value[name], (*place, name))


def spoilt(value, place, odd):
    """A copy with a different value at a place."""
    if not place:
        return odd
    copy = json.loads(json.dumps(value))
    inner = copy
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = odd
    return copy


@pytest.fixture(scope="module")
def dead(tmp_path_factory):
    """Files of a process that was killed after it had written both manifests."""
    folder = tmp_path_factory.mktemp("dead")
    images, said = Recorder(str(folder), "T", "Scan", {"A": "b"}), MessageRecorder(str(folder), "T", {"A": "b"})
    for number in range(3):
        assert images.append(frame(number))
        assert said.append(deviceMessage(number))
    images._lock.release(remove=False)
    images._growing.rest()
    said._file.rest()
    said._file.lock.release(remove=False)
    whole = tmp_path_factory.mktemp("whole")
    shutil.copytree(folder, whole, dirs_exist_ok=True)
    assert len(repair(str(whole))) == 2
    for name in {path.name for path in whole.iterdir()} - {path.name for path in folder.iterdir()}:
        shutil.copy(whole / name, folder)
    return folder


@pytest.mark.parametrize("name", ["T-Scan.json", "T.messages.json"])
def test_a_manifest_with_an_odd_value_loses_no_stored_entry(dead, tmp_path, name):
    manifest = json.loads((dead / name).read_text())
    for count, place in enumerate(places(manifest)):
        for odd in ODD:
            folder = tmp_path / f"{count}"
            shutil.copytree(dead, folder)
            (folder / name).write_text(json.dumps(spoilt(manifest, place, odd)))
            texts = [found.event.text for found in repair(str(folder))]
            assert len(texts) == 2
            assert not any(FOREIGN in text for text in texts), (place, odd, texts)
            for kept in ("T-Scan.raw", "T.messages.jsonl"):
                assert (folder / kept).read_bytes() == (dead / kept).read_bytes(), (place, odd)
            assert openRecording(str(folder / "T-Scan.seq.nhdr")).count == 3
            shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["T-Scan.jsonl", "T.messages.jsonl"])
@pytest.mark.parametrize("line", [0, 2])
def test_a_line_with_an_odd_value_is_reported_in_plain_words(dead, tmp_path, name, line):
    lines = (dead / name).read_bytes().split(b"\n")
    value = {**json.loads(lines[line]), "missed": {"first": 1, "last": 2, "count": 2, "reason": "x"}}
    for count, place in enumerate(places(value)):
        for odd in ODD:
            folder = tmp_path / f"{count}"
            shutil.copytree(dead, folder)
            for manifest in folder.glob("*.json"):
                manifest.unlink()
            data = json.dumps(spoilt(value, place, odd)).encode()
            (folder / name).write_bytes(b"\n".join([*lines[:line], data, *lines[line + 1 :]]))
            found = repair(str(folder))
            assert not any(FOREIGN in one.event.text for one in found), (place, odd, found)
            for one in found:
                assert all(openRecording(path).count for path in one.headers), (place, odd)
            assert sorted(os.listdir(tmp_path)) == [folder.name]  # no file was made elsewhere
            shutil.rmtree(folder)


def test_a_manifest_of_messages_names_files_of_its_folder_only(tmp_path):
    path = recordMessages(tmp_path, [deviceMessage(0)])
    with open(path, encoding="ascii") as file:
        manifest = json.load(file)
    for place in (("messages",), ("devices", 0, "transforms")):
        for odd in ("../x", "/x", "a\0b", "..", 5):
            with open(path, "w", encoding="ascii") as file:
                json.dump(spoilt(manifest, place, odd), file)
            with pytest.raises(RecordingError, match=r"is damaged: its (messages|transforms) are not beside it"):
                openMessages(path)
