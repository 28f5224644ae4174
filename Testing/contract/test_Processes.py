"""qt.QProcess as in Slicer."""

import os
import sys

import pytest
import slicerhost

ECHO = "import sys\nfor line in sys.stdin: print(line.strip()[::-1], flush=True)"


@pytest.fixture
def process(qt):
    child = qt.QProcess()
    yield child
    if child.state() != qt.QProcess.NotRunning:
        child.kill()
        child.waitForFinished(5000)


def run(process, code):
    process.start(sys.executable, ["-S", "-c", code])


@pytest.mark.parametrize("text", ["abc\n", b"abc\n", "QByteArray"])
def test_write_takes_text_bytes_and_byte_arrays(qt, process, text):
    run(process, ECHO)
    assert process.waitForStarted(5000)
    process.write(qt.QByteArray(b"abc\n") if text == "QByteArray" else text)
    process.closeWriteChannel()
    assert process.waitForFinished(5000)
    assert process.readAllStandardOutput().data() == b"cba" + os.linesep.encode()


def test_output_arrives_as_a_signal(process):
    lines = []
    process.connect("readyReadStandardOutput()", lambda: lines.append(process.readAllStandardOutput().data()))
    run(process, "print('hello', flush=True); input()")
    assert slicerhost.runUntil(lambda: lines, everyMs=10)
    assert lines[0].strip() == b"hello"
    process.closeWriteChannel()
    assert process.waitForFinished(5000)


def test_finished_gives_numbers(qt, process):
    got = []
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: got.append((code, status)))
    run(process, "raise SystemExit(3)")
    assert slicerhost.runUntil(lambda: got, everyMs=10)
    assert got == [(3, 0)]
    # The enumeration is a kind of int and no plain one.
    assert [isinstance(value, int) for value in got[0]] == [True, True]
    assert [type(value) is int for value in got[0]] == [True, False]
    assert (process.exitCode(), process.exitStatus(), process.state()) == (3, qt.QProcess.NormalExit, 0)


def test_a_program_that_is_not_there(process):
    got = []
    process.connect("errorOccurred(QProcess::ProcessError)", got.append)
    process.start("no-such-program", [])
    assert slicerhost.runUntil(lambda: got, everyMs=10)
    assert got == [0]
    assert isinstance(got[0], int)


def test_the_environment_is_passed(qt, process):
    environment = qt.QProcessEnvironment.systemEnvironment()
    environment.insert("RTI_WORD", "hello")
    process.setProcessEnvironment(environment)
    run(process, "import os; print(os.environ['RTI_WORD'])")
    assert process.waitForFinished(5000)
    assert process.readAllStandardOutput().data().strip() == b"hello"


def test_channels_can_be_merged_or_kept_apart(qt, process):
    process.setProcessChannelMode(qt.QProcess.SeparateChannels)
    run(process, "import sys; sys.stderr.write('oops')")
    assert process.waitForFinished(5000)
    assert process.readAllStandardError().data() == b"oops"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_losing_the_last_reference_kills_the_child(qt):
    process = qt.QProcess()
    run(process, "input()")
    assert process.waitForStarted(5000)
    pid = process.processId()
    assert os.path.exists(f"/proc/{pid}")
    del process
    assert not os.path.exists(f"/proc/{pid}")
