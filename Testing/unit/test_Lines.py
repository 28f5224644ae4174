import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Link import Lines as StandardStreams
from RealTimeImagingLib.Link.Lines import LineLogHandler, LineSplitter, readLines

LIBRARY = Path(StandardStreams.__file__).parents[2]


def run(body, *arguments):
    """Run code in a process with captured standard streams; return the output of the real ones."""
    script = f"""
import logging, os, sys
sys.path.insert(0, {str(LIBRARY)!r})
from RealTimeImagingLib.Link.Lines import LineLogHandler, LineWriter, captureStandardStreams
from RealTimeImagingLib.Link.Messages import LogReport
lines = LineWriter(os.dup(1))
logging.basicConfig(level=logging.INFO, handlers=[LineLogHandler(lines.put)])
captureStandardStreams()
{body}
"""
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, timeout=20, check=False)


UNTIL_LOGGED = """
import threading
from RealTimeImagingLib.Link import Lines as StandardStreams
seen = threading.Event()
class Last(logging.Handler):
    def emit(self, record):
        if "last" in record.getMessage():
            seen.set()
logging.getLogger("library").addHandler(Last())
{body}
os.write(1, b"last\\n")
assert seen.wait(10)
lines.close(5)
os._exit(0)
"""


def test_printed_text_becomes_lines_of_the_log():
    body = r"""
print("from Python", flush=True)
print("to standard error", file=sys.stderr, flush=True)
os.write(1, b"from C \xff\n")
os.system("echo from a child process")
lines.put(LogReport("direct", 10, "test"))
"""
    done = run(UNTIL_LOGGED.format(body=body))
    found = [json.loads(line) for line in done.stdout.splitlines()]
    direct = {"log": "direct", "level": 10, "logger": "test"}
    assert direct in found
    found.remove(direct)
    logged = [line["log"] for line in found]
    assert sorted(logged[:-1]) == ["from C \ufffd", "from Python", "from a child process", "to standard error"]
    assert {(line["logger"], line["level"]) for line in found} == {("library", logging.WARNING)}
    assert done.stderr == b""


def test_printing_without_end_blocks_nothing():
    body = r"""
for number in range(3000):
    os.write(2, b"x" * 99 + b"\n")
"""
    done = run(UNTIL_LOGGED.format(body=body))
    assert done.returncode == 0
    assert done.stdout.count(b"\n") == 3001


def test_the_trace_of_a_crash_goes_to_the_real_standard_error():
    done = run("os.abort()")
    assert done.returncode != 0
    assert b"Fatal Python error" in done.stderr
    assert b"Aborted" in done.stderr


# ---- lines of the log


def logged(level, message, *arguments, **options):
    put = []
    handler = LineLogHandler(put.append)
    logger = logging.Logger("unit.test")
    logger.addHandler(handler)
    logger.log(level, message, *arguments, **options)
    return [report.toJSON() for report in put]


def test_a_record_becomes_one_report():
    (line,) = logged(logging.ERROR, "%s of %d", "one", 2)
    assert line == {"log": "one of 2", "level": logging.ERROR, "logger": "unit.test"}


def test_an_exception_is_reported_with_its_trace():
    try:
        raise KeyError("name")
    except KeyError:
        (line,) = logged(logging.ERROR, "It failed", exc_info=True)
    assert line["log"].startswith("It failed\nTraceback")
    assert line["log"].endswith("KeyError: 'name'")
    assert json.loads(json.dumps(line)) == line


def test_a_faulty_log_call_does_not_raise(capsys):
    assert logged(logging.WARNING, "%d", "no number") == []
    assert "no number" in capsys.readouterr().err


def test_a_flood_of_records_is_cut_off(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(StandardStreams.time, "monotonic", lambda: clock[0])
    put = []
    logger = logging.Logger("unit.test")
    logger.addHandler(LineLogHandler(put.append))
    for number in range(10_000):
        logger.warning("record %d", number)
    assert len(put) == StandardStreams.MOST_RECORDS + 1
    words = put[-1].toJSON()["log"]
    assert words == "More than 4,000 records within 10 s: further ones are left out."
    assert type(words) is str
    clock[0] += StandardStreams.RECORD_PERIOD
    logger.warning("later")
    assert [one.log for one in put[-1:]] == ["later"]


def test_a_long_record_is_cut():
    (line,) = logged(logging.WARNING, "x" * 50_000_000)
    assert len(line["log"]) < 21_000
    assert line["log"].endswith("x ... (50,000,000 characters)")


# ---- reading


@given(st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b" "))), st.binary(max_size=9), st.data())
def test_lines_are_read_whole_whatever_their_pieces(lines, rest, data):
    rest = rest.replace(b"\n", b" ")
    whole = b"".join(line + b"\n" for line in lines) + rest
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    reading, writing = os.pipe()
    found = []
    thread = threading.Thread(target=lambda: found.extend(readLines(reading)))
    thread.start()
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        os.write(writing, whole[start:end])
    os.close(writing)
    thread.join(5)
    os.close(reading)
    assert found == lines  # a last line without an end was cut by a death: it is none


def test_a_long_line_is_read_in_linear_time():
    splitter, piece = LineSplitter(), bytes(1 << 16)
    for _ in range(800):
        assert splitter.split(piece) == []
    begin = time.perf_counter()
    assert splitter.split(b"x\nrest") == [bytes(800 << 16) + b"x"]
    assert splitter.split(b"\n") == [b"rest"]
    assert time.perf_counter() - begin < 2


def test_a_line_is_yielded_as_soon_as_it_ends():
    reading, writing = os.pipe()
    lines = readLines(reading)
    os.write(writing, b"one\ntwo\nth")
    assert [next(lines), next(lines)] == [b"one", b"two"]
    os.write(writing, b"ree\n")
    assert next(lines) == b"three"
    os.close(writing)
    assert list(lines) == []
    os.close(reading)
