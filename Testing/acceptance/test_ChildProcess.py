"""Child processes that misbehave."""

from __future__ import annotations

import pytest

from .conftest import until

pytestmark = pytest.mark.usefixtures("slicer")

BEGIN = "import os, time\nos.write(1, b'{\"pid\":%d}\\n' % os.getpid())\n"
STATUS = """
def report(status):
    line = memoryview(b'{"status": "%s"}\\n' % status)
    while line:
        line = line[os.write(1, line):]
"""
GARBAGE = (b"no JSON", b"", b"{}", b"[]", b'["pid"]', b'""', b"null", b"[" * 100_000, b'{"unknown": 1}', b"\xff")


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a program as a child process; return the process, its messages and its exit codes."""
    from RealTimeImagingLib.Host import ChildProcess

    made = []

    def run(program, onMessage=lambda message: None):
        folder = tmp_path / str(len(made)) / "Link"
        folder.mkdir(parents=True)
        (folder / "Program.py").write_text(BEGIN + program)
        monkeypatch.setattr(ChildProcess, "PROGRAM", str(folder / "Program.py"))
        messages, ends = [], []

        def take(message):
            messages.append(message)
            onMessage(message)

        child = ChildProcess.ChildProcess("test process", "test", take, ends.append)
        made.append(child)
        child.start()
        return child, messages, ends

    yield run
    for child in made:
        child.end(2000)


def test_a_message_between_garbage_is_taken(start, caplog):
    lines = b"\n".join([*GARBAGE, b'{"status": "Waiting"}', *GARBAGE, b'{"status": "Ready"}', b"cut"])
    child, messages, ends = start(f"print('printed', flush=True)\nos.write(1, {lines!r})")
    until(lambda: ends)
    assert [message.status for message in messages] == ["Waiting", "Ready"]
    assert (ends, child.taking) == ([0], False)
    assert len(caplog.records) == 1 + 2 * len(GARBAGE)


def test_an_error_of_a_receiver_loses_no_other_message(start, caplog):
    def fail(message):
        raise AttributeError(message.status)

    child, messages, ends = start('os.write(1, b\'{"status": "One"}\\n{"status": "Two"}\\n\')', fail)
    until(lambda: ends)
    assert [message.status for message in messages] == ["One", "Two"]
    assert not child.taking


def test_a_line_of_50_MB_blocks_nothing(start):
    _, messages, ends = start(STATUS + "report(b'x' * 50_000_000)")
    until(lambda: ends, 60)
    assert len(messages[0].status) == 50_000_000


@pytest.mark.parametrize("program", ["raise SystemExit(3)", "os._exit(3)"])
def test_a_child_that_dies_at_once(start, program):
    _, messages, ends = start(program)
    until(lambda: ends)
    assert (ends, messages) == ([3], [])


def test_a_child_that_ignores_its_end_is_killed(start):
    child, _, ends = start("while True: time.sleep(1)")
    child.closeInput()
    child.end(5000)
    assert (ends, child.ended) == ([9], True)
