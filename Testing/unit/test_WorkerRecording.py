"""Recording in the worker: stored images and device messages, and the reports about them."""

import json
import os

import pytest
from RealTimeImagingLib.Link.Commands import commandOf
from RealTimeImagingLib.Link.Lines import LineWriter
from RealTimeImagingLib.Link.Messages import Counts, Receivers
from RealTimeImagingLib.Link.Ring import RingWriter
from RealTimeImagingLib.Recording import openMessages, openRecording
from RealTimeImagingLib.Sources.Checkpoint import Checkpoint
from RealTimeImagingLib.Sources.Source import Values
from RealTimeImagingLib.Worker.Frames import FrameSender
from RealTimeImagingLib.Worker.HangWatch import HangWatch
from RealTimeImagingLib.Worker.WorkerRecording import WorkerRecording
from unit.recordings import START, deviceMessage, frame


class Stored:
    """A WorkerRecording whose reports go to a file."""

    def __init__(self, folder):
        self._path = folder / "lines"
        self._descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY)
        self._ring, self._lines = RingWriter([str(folder)], "ring"), LineWriter(self._descriptor)
        self.checkpoint = Checkpoint(str(folder))
        self._commands = Receivers()
        sender, watch = FrameSender(self._ring, self._lines), HangWatch(print)
        self.store = WorkerRecording(self.checkpoint, sender, Counts, self._commands, watch)
        self.folder = folder / "recordings"

    def obey(self, command, **values):
        assert self._commands.deliver(commandOf(command, values))

    def record(self, **values):
        self.obey("record", folder=str(self.folder), name="Test", attributes={"Strain": "B6"}, **values)

    def stop(self):
        """Paths of headers and of manifests of messages."""
        self.obey("stopRecording")
        line = self.of("recorded")[-1]
        return line["recorded"], line["messages"]

    def of(self, kind):
        assert self._lines.flush(5)
        lines = map(json.loads, self._path.read_bytes().splitlines())
        return [line for line in lines if kind in line]

    def close(self):
        self.store.close()
        assert self._lines.close(5)
        self._ring.close()
        self.checkpoint.close()
        os.close(self._descriptor)


@pytest.fixture
def stored(workFolder):
    made = Stored(workFolder)
    yield made
    made.close()


def numbersIn(path):
    """The numbers of the poses of a manifest, which are their first coordinates."""
    return [int(line.message.values["matrix"][0][3]) for line in openMessages(path).messages()]


def test_messages_are_stored_from_the_command_to_the_stop(stored):
    stored.store.appendMessage(deviceMessage(0))
    stored.record()
    for number in range(1, 4):
        stored.store.appendMessage(deviceMessage(number))
    assert stored.store.append(frame(0)) is True
    stored.store._reportDue = 0.0
    stored.store.report()
    assert stored.of("storage")[-1]["storage"]["stored"]["messages"] == {"recorded": 3, "failed": 0}
    (header,), (path,) = stored.stop()
    stored.store.appendMessage(deviceMessage(4))
    assert numbersIn(path) == [1, 2, 3]
    found = openMessages(path)
    assert (found.attributes, found.origin) == ({"Strain": "B6"}, openRecording(header).origin)
    assert found.origin == deviceMessage(1).receiveTime


def test_a_recording_without_messages_has_no_file_for_them(stored):
    stored.record()
    assert stored.store.append(frame(0))
    headers, messages = stored.stop()
    assert (len(headers), messages) == (1, [])
    assert not [name for name in os.listdir(stored.folder) if ".messages" in name]


def test_messages_that_cannot_be_stored_are_reported(stored):
    stored.record()
    os.rmdir(stored.folder)
    stored.store.appendMessage(deviceMessage(0))
    stored.store.report()
    assert [line["event"]["code"] for line in stored.of("event")] == ["recording-failed"]
    assert stored.stop() == ([], [])
    assert [line["event"]["code"] for line in stored.of("event")] == ["recording-failed", "recording-gap"]
    assert (stored.checkpoint.recorded, stored.checkpoint.failed) == (0, 0)


def test_buffered_images_and_messages_share_one_time_axis(stored):
    """The last 0.2 s: images at 30 Hz, poses at 100 Hz."""
    stored.obey("keep", seconds=0.2, bytes=1 << 20)
    for hundredth in range(100):
        stored.store.appendMessage(deviceMessage(hundredth))
        if hundredth % 10 == 0:
            stored.store.append(frame(hundredth // 10, receiveTime=START + hundredth / 100))
    stored.record(kept=True)
    (header,), (path,) = stored.stop()
    assert numbersIn(path) == list(range(79, 100))
    part, found = openRecording(header), openMessages(path)
    assert [entry["number"] for entry in part.frames] == [7, 8, 9]
    assert part.origin == found.origin == pytest.approx(START + 0.7)
    times = [line.time for line in found.messages()]
    assert times[11] == part.times[2] == pytest.approx(0.2)
    assert stored.checkpoint.recorded == 3
    stored.record(kept=True)
    assert stored.stop() == ([], [])


def test_buffered_messages_are_dropped_with_age_and_beyond_the_limit(stored):
    stored.obey("keep", seconds=1, bytes=1 << 20)
    stored.store.appendMessage(deviceMessage(0))
    stored.store.append(frame(0, receiveTime=START + 5))
    stored.store._reportDue = 0.0
    stored.store.report()
    assert stored.of("storage")[-1]["storage"]["kept"]["frames"] == 1
    stored.record(kept=True)
    assert stored.stop()[1] == []
    stored.store._keptMessages._limit = 3000
    for number in range(100):
        stored.store.appendMessage(deviceMessage(number))
    stored.store.appendMessage(deviceMessage(100, "text", "Notes", text="x" * 5000))
    stored.record(kept=True)
    numbers = numbersIn(stored.stop()[1][0])
    assert 3 < len(numbers) < 15
    assert numbers == list(range(100 - len(numbers), 100))


def test_files_of_values_are_reported_at_once_and_by_a_later_process(stored):
    """The process that made the first file is dead when the recording ends."""
    values = {name: Values(name, "Live", 0, START, {"mean": 1.0}) for name in ("Live mean", "Live SD")}
    stored.record(id=7)
    stored.store.appendValues(values["Live mean"])
    stored.store.report()
    path = str(stored.folder / "Test-Live_mean.values.csv")
    assert stored.of("storage")[-1]["storage"]["stored"]["values"] == [path]
    stored.store._recorders = None  # as after the death of the process
    stored.record(id=7)
    stored.store.appendValues(values["Live mean"])
    stored.store.appendValues(values["Live SD"])
    stored.obey("stopRecording")
    names = ["Test-Live_mean", "Test-Live_mean_1", "Test-Live_SD"]
    found = stored.of("recorded")[-1]["stored"]["values"]
    assert [os.path.basename(one) for one in found] == [f"{name}.values.csv" for name in names]
    stored.record(id=8)
    stored.obey("stopRecording")
    assert stored.of("recorded")[-1]["stored"]["values"] == []


def test_losses_of_an_earlier_process_count(stored):
    stored.record(id=7)
    os.rmdir(stored.folder)
    assert stored.store.append(frame(0)) is False
    stored.store.report()
    stored.store._recorders = None  # as after the death of the process
    stored.record(id=7)
    stored.obey("stopRecording")
    assert list(stored.of("recorded")[-1]["stored"]["losses"].values()) == [1]


def test_a_repair_reports_messages(stored):
    stored.record()
    stored.store._repairing.wait(5)  # recording starts a repair, which must not find these files
    stored.store.appendMessage(deviceMessage(0))
    recorder = stored.store._recorders._messages
    recorder._file.rest()
    recorder._file.lock.release(remove=False)
    stored.store._recorders = None  # as after the death of the process
    stored.obey("repair", folder=str(stored.folder))
    stored.store._repairing.wait(5)
    (line,) = stored.of("repaired")
    assert line["repaired"]["recording"] == "Test.messages"
    assert line["repaired"]["paths"] == []
    assert numbersIn(line["repaired"]["messages"][0]) == [0]
