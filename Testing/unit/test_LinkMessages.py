"""Messages between Slicer's side and its child processes: all survive their line, and receivers get theirs."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from RealTimeImagingLib.Link import Commands, Messages
from RealTimeImagingLib.Link.Commands import COMMANDS, Record, SourceCommand, StartBroadcast, decodeCommand
from RealTimeImagingLib.Link.Messages import (
    REPORTS,
    TRACE,
    Counted,
    Counts,
    DeviceReport,
    EventReport,
    FrameHeader,
    FrameReport,
    Message,
    Receivers,
    StatusReport,
    decode,
    encode,
    trace,
)
from RealTimeImagingLib.Link.Ring import Place
from RealTimeImagingLib.Model.DeviceMessage import DeviceMessage
from RealTimeImagingLib.Model.Errors import LinkError
from RealTimeImagingLib.Model.Event import Event, Remedy
from RealTimeImagingLib.Model.Frame import Frame

PIXELS = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
FRAME = Frame(PIXELS, np.diag([-0.1, 1 / 3, 1e-3, 1.0]), "T1 ä", 7, 1700000000.123456, None, {"SourceFile": "a.nii"})
EXAMPLES = {
    "event": Event("damaged", "a.nii is damaged.", "warning", "/in/a.nii", 5.0),
    "message": DeviceMessage("text", "Notes", {"text": "ä\n"}, 1.0),
    "frame": FrameHeader.of(FRAME),
    "place": Place(1, 2, 4096, 4),
    "counts": Counts({"T1 ä": 8}, 1, 2, 3),
    "remedy": Remedy("Show newest", {"existing": "newest"}),
    "slots": [[0, 3], [1, 2]],
}


def example(kind):
    """A message of this type; the values of simple fields only have to be JSON."""
    return kind(**{field.name: EXAMPLES.get(field.name, "text") for field in fields(kind)})


@pytest.mark.parametrize("kind", REPORTS.values())
def test_every_report_survives_its_line(kind):
    message = example(kind)
    line = encode(message)
    assert line.count(b"\n") == 1
    assert decode(line) == message


@pytest.mark.parametrize("kind", [kind for kind in COMMANDS.values() if kind is not StartBroadcast])
def test_every_command_survives_its_line(kind):
    command = example(kind)
    assert decodeCommand(encode(command)) == command


def test_commands_of_a_source_and_of_the_broadcast_have_any_values():
    for command in (SourceCommand("step", {"frames": 1}), StartBroadcast({"port": 5, "host": "a"})):
        assert decodeCommand(encode(command)) == command


def test_the_tables_name_every_message():
    def leaves(kind):
        found = kind.__subclasses__()
        return {one for sub in found for one in leaves(sub)} if found else {kind}

    known = {*REPORTS.values(), *COMMANDS.values(), SourceCommand, Commands.Start}
    assert {one for one in leaves(Message) if one.__module__ in (Messages.__name__, Commands.__name__)} == known
    assert len(set(REPORTS.values())) == len(REPORTS)


def test_a_frame_has_the_header_of_its_line():
    report = decode(encode(FrameReport(FrameHeader.of(FRAME), EXAMPLES["place"])))
    assert isinstance(report, FrameReport)
    found = report.frame.frame(PIXELS)
    np.testing.assert_array_equal(found.ijkToRAS, FRAME.ijkToRAS)
    assert (found.stream, found.number, found.receiveTime, found.deviceTime, dict(found.attributes)) == (
        FRAME.stream,
        FRAME.number,
        FRAME.receiveTime,
        FRAME.deviceTime,
        FRAME.attributes,
    )
    assert report.counts is None


NO_OBJECTS = (b"no JSON", b"", b"[]", b"[1]", b'["pid"]', b'""', b"5", b"null", b"[" * 100_000, b"\xff")


@pytest.mark.parametrize(
    "line",
    [
        *NO_OBJECTS,
        b'{"command": "release"}',
        b'{"command": "keep", "x": 1}',
        b'{"command": "recordEvent", "event": []}',
        b'{"command": []}',
    ],
)
def test_a_line_that_is_no_command_raises(line):
    with pytest.raises(LinkError, match="no message"):
        decodeCommand(line)


@pytest.mark.parametrize(
    "line",
    [
        *NO_OBJECTS,
        b"{}",
        b'{"unknown": 1}',
        b'{"status": "a", "unknown": 1}',
        b'{"status": {"template": "{x"}}',
        b'{"frame": {"shape": 5}, "place": {}}',
        b'{"event": []}',
    ],
)
def test_a_line_that_is_no_report_raises(line):
    with pytest.raises(LinkError, match="no message"):
        decode(line)


def test_a_frame_on_a_line_has_a_type_of_frames():
    line = encode(FrameReport(FrameHeader.of(FRAME), EXAMPLES["place"])).decode()
    for type_ in ("<u2", ">f8", "|u1"):
        decode(line.replace(FRAME.pixels.dtype.str, type_).encode())
    for type_ in ("xu1", "<c8", "|O"):
        with pytest.raises(LinkError, match="no message"):
            decode(line.replace(FRAME.pixels.dtype.str, type_).encode())


@pytest.mark.parametrize("rows", [[[1, 0, 0, 0]] * 3, [[1, 0, 0, 0]] * 3 + [[0, 0, 0]], [[1, 0, 0, [0]]] * 4])
def test_a_frame_on_a_line_has_a_matrix_of_4x4(rows):
    report = FrameReport(FrameHeader.of(FRAME), EXAMPLES["place"])
    line = encode(replace(report, frame=replace(report.frame, ijkToRAS=rows)))
    with pytest.raises(LinkError, match="no message"):
        decode(line)


def test_receivers_get_their_messages_and_those_of_a_base_class_first():
    receivers, heard = Receivers(), []
    receivers.connect(StatusReport, lambda source, message: heard.append((source, message.status)))
    receivers.connect(Counted, lambda source, message: heard.append((source, message.counts)))
    receivers.connect(StatusReport, lambda source, message: heard.append("second"))
    assert receivers.deliver(StatusReport("waiting", Counts()), "A")
    assert heard == [("A", Counts()), ("A", "waiting"), "second"]
    assert not receivers.deliver(DeviceReport(EXAMPLES["message"]), "A")


# ---- the trace


def test_without_the_variable_nothing_is_traced(tmp_path, monkeypatch):
    monkeypatch.delenv(TRACE, raising=False)
    trace("worker", "sent", StatusReport("a"))
    assert list(tmp_path.iterdir()) == []


def test_the_trace_has_a_line_for_each_message(tmp_path, monkeypatch):
    path = tmp_path / "trace.jsonl"
    monkeypatch.setenv(TRACE, str(path))
    trace("worker 5", "sent", Record("/folder", "Test", {"Strain": "ä"}))
    trace("worker 5", "received", EventReport(EXAMPLES["event"]))
    sent, received = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert sent["message"]["command"] == "record"
    assert sent["message"]["attributes"] == {"Strain": "ä"}
    assert (sent["process"], sent["direction"]) == ("worker 5", "sent")
    assert received["message"]["event"]["code"] == "damaged"
    assert sent["time"] <= received["time"]


def test_a_trace_that_cannot_be_written_is_reported_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv(TRACE, str(tmp_path / "none" / "trace.jsonl"))
    for _ in range(3):
        trace("worker", "sent", StatusReport("a"))
    assert len(caplog.records) == 1
    assert "none" in caplog.text
