import os
import subprocess
import sys
import threading

import pytest
from RealTimeImagingLib.Sources.Writers import beingWritten
from unit.conftest import until

TELLS = sys.platform in ("linux", "win32")
tells = pytest.mark.skipif(not TELLS, reason="this system does not tell who writes")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(bytes(100))
    return path


@tells
def test_a_file_is_being_written_until_it_is_closed(path):
    assert beingWritten(str(path)) is False
    for mode in ("ab", "r+b", "wb"):
        with path.open(mode):
            assert beingWritten(str(path)) is True
        assert beingWritten(str(path)) is False


@tells
def test_another_process_is_seen_too(path):
    script = "import sys; file = open(sys.argv[1], 'ab'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-S", "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        assert beingWritten(str(path)) is True
        process.communicate(b"\n")
    assert beingWritten(str(path)) is False


@tells
def test_one_who_reads_does_not_write(path):
    with path.open("rb"):
        assert beingWritten(str(path)) is False


@pytest.mark.skipif(sys.platform != "linux", reason="a lease is a thing of Linux")
def test_asking_neither_holds_up_nor_ends_anyone(path):
    """One thread asks without pause, another opens for writing, again and again: nobody waits, no signal comes."""
    ended = threading.Event()
    answers = set()

    def ask():
        while not ended.is_set():
            answers.add(beingWritten(str(path)))

    thread = threading.Thread(target=ask)
    thread.start()
    for _ in range(2000):
        os.close(os.open(path, os.O_WRONLY))
    until(lambda: answers)
    ended.set()
    thread.join(5)
    assert answers <= {True, False}
    assert beingWritten(str(path)) is False
    assert path.read_bytes() == bytes(100)


@pytest.mark.skipif(TELLS, reason="this system tells")
def test_where_the_system_does_not_tell_the_answer_is_none(path):
    assert beingWritten(str(path)) is None


def test_where_nobody_can_tell_the_answer_is_none(path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with path.open("ab"):
        assert beingWritten(str(path)) is None


@tells
def test_a_file_that_is_gone_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        beingWritten(str(tmp_path / "gone.nii"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0 or sys.platform != "linux", reason="needs root")
def test_of_files_of_others_the_system_does_not_tell(path):
    path.chmod(0o644)
    command = (
        f"import os, sys; sys.path[:] = {sys.path!r}; from RealTimeImagingLib.Sources.Writers import beingWritten; "
        f"handle = os.open({str(path.parent)!r}, os.O_RDONLY); os.fchdir(handle); os.setuid(65534); "
        "print(beingWritten('a.nii'))"
    )
    path.parent.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, check=False)
    assert done.stdout.strip() == b"None", done.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.nii")
    answered = threading.Event()

    def ask():
        beingWritten(str(tmp_path / "pipe.nii"))
        answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    answered.wait(2)
    in_time = answered.is_set()
    if not in_time:  # let the thread go
        os.close(os.open(tmp_path / "pipe.nii", os.O_RDWR | os.O_NONBLOCK))
    thread.join(5)
    assert in_time
