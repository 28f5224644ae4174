"""Events in the manifest of a recording: bounded, folded, and there after a crash."""

import json
import os

from RealTimeImagingLib.Model.DeviceMessage import DeviceMessage
from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.Model.Text import textsOf
from RealTimeImagingLib.Recording import MessageRecorder, RecordedEvents, Recorder, eventsOf, openRecording, repair
from RealTimeImagingLib.Recording.RecordedEvents import MOST_EVENTS
from unit.recordings import frame, manifestOf

_ = textsOf(__file__)


def event(number=0, time=1.7e9, level="warning"):
    return Event("damaged", _("{name} is damaged.").format(name=f"{number}.nii"), level, time=time)


def recorderOf(folder, log):
    return Recorder(str(folder), "Run", "Scan", {}, recordedEvents=log)


def test_events_are_in_the_manifest_and_leave_no_file(tmp_path):
    """Before and after the first image; equal ones share an entry."""
    log = RecordedEvents()
    recorder = recorderOf(tmp_path, log)
    log.add(event(1, 1.7e9))
    assert recorder.append(frame(0))
    assert "Run-Scan.events" in os.listdir(tmp_path)
    log.add(event(1, 1.7e9 + 5))
    log.add(event(2, 1.7e9 + 6, "error"))
    (header,) = recorder.finish()
    assert manifestOf(header)["events"] == [
        {
            "time": 1.7e9,
            "level": "warning",
            "code": "damaged",
            "text": "1.nii is damaged.",
            "count": 2,
            "lastTime": 1.7e9 + 5,
        },
        {
            "time": 1.7e9 + 6,
            "level": "error",
            "code": "damaged",
            "text": "2.nii is damaged.",
            "count": 1,
            "lastTime": 1.7e9 + 6,
        },
    ]
    assert sorted(os.listdir(tmp_path)) == ["Run-Scan.json", "Run-Scan.raw", "Run-Scan.seq.nhdr"]
    assert openRecording(header).count == 1
    assert [(one.level, one.text) for one in eventsOf(manifestOf(header))] == [
        ("warning", "1.nii is damaged."),
        ("error", "2.nii is damaged."),
    ]


def test_without_events_the_manifest_is_as_before(tmp_path):
    recorder = recorderOf(tmp_path, RecordedEvents())
    assert recorder.append(frame(0))
    (header,) = recorder.finish()
    assert "events" not in manifestOf(header)
    assert eventsOf(manifestOf(header)) == []


def test_events_that_arrive_late_stand_in_order_of_time(tmp_path):
    """Also after a crash."""
    log = RecordedEvents()
    log.open(str(tmp_path / "Run-Scan.events"))
    log.add(event(1, 1.7e9 + 5))
    log.add(event(2, 1.7e9))
    for found in (log, RecordedEvents.fromFile(str(tmp_path / "Run-Scan.events"))):
        assert [one["text"] for one in found.toManifest()["events"]] == ["2.nii is damaged.", "1.nii is damaged."]


def test_without_images_no_file_stays(tmp_path):
    log = RecordedEvents()
    log.add(event())
    assert recorderOf(tmp_path, log).finish() == []
    assert os.listdir(tmp_path) == []


def test_a_repair_keeps_what_was_appended(tmp_path):
    """The process dies in the middle of a line."""
    log = RecordedEvents()
    recorder = recorderOf(tmp_path, log)
    assert recorder.append(frame(0))
    log.add(event(1))
    log.add(event(2))
    with open(tmp_path / "Run-Scan.events", "ab") as file:
        file.write(b'{"time": 1.7e9, "lev')
    recorder._growing.rest()
    recorder._lock.release(remove=False)
    (found,) = repair(str(tmp_path))
    assert found.event.code == "recording-repaired"
    assert [one.text for one in eventsOf(manifestOf(found.headers[0]))] == ["1.nii is damaged.", "2.nii is damaged."]
    assert sorted(os.listdir(tmp_path)) == ["Run-Scan.json", "Run-Scan.raw", "Run-Scan.seq.nhdr"]


def test_the_number_of_events_is_bounded(tmp_path):
    log = RecordedEvents()
    recorder = recorderOf(tmp_path, log)
    assert recorder.append(frame(0))
    for number in range(MOST_EVENTS + 7):
        log.add(event(number))
    assert len((tmp_path / "Run-Scan.events").read_bytes().splitlines()) == MOST_EVENTS
    manifest = manifestOf(recorder.finish()[0])
    assert (len(manifest["events"]), manifest["eventsLeftOut"]) == (MOST_EVENTS, 7)


def test_events_beside_device_messages_only(tmp_path):
    log = RecordedEvents()
    log.add(event(3))
    recorder = MessageRecorder(str(tmp_path), "Run", {})
    recorder.recordedEvents = log
    assert recorder.append(DeviceMessage("text", "Stylus", {"text": "x"}, 1.7e9))
    (path,) = recorder.finish()
    with open(path, encoding="ascii") as file:
        assert [one.text for one in eventsOf(json.load(file))] == ["3.nii is damaged."]


def test_a_folder_that_is_gone_stops_nothing(tmp_path):
    log = RecordedEvents()
    log.open(str(tmp_path / "away" / "Run-Scan.events"))
    log.add(event())
    assert len(log.toManifest()["events"]) == 1
    log.remove()


def test_damaged_entries_are_left_out():
    assert eventsOf({"events": [{"code": "x"}, {"code": "x", "text": "y", "level": "info", "time": "1.5"}, None]}) == [
        Event("x", "y", "info", time=1.5)
    ]
