import os
import struct
import subprocess
import sys
import threading

import pytest
from RealTimeImagingLib.Sources.Folder import OpenFiles
from RealTimeImagingLib.Sources.Folder.OpenFiles import hasWriter, isOpenForWriting
from unit.conftest import until

REPORTS_WRITERS = sys.platform in ("linux", "win32", "darwin")
reportsWriters = pytest.mark.skipif(not REPORTS_WRITERS, reason="the system reports no writers")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(bytes(100))
    return path


@reportsWriters
def test_a_file_is_open_for_writing_until_it_is_closed(path):
    assert isOpenForWriting(str(path)) is False
    for mode in ("ab", "r+b", "wb"):
        with path.open(mode):
            assert isOpenForWriting(str(path)) is True
        assert isOpenForWriting(str(path)) is False


@reportsWriters
def test_a_writer_in_another_process_is_found(path):
    script = "import sys; file = open(sys.argv[1], 'ab'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-S", "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        assert isOpenForWriting(str(path)) is True
        process.communicate(b"\n")
    assert isOpenForWriting(str(path)) is False


@reportsWriters
def test_a_reader_is_no_writer(path):
    with path.open("rb"):
        assert isOpenForWriting(str(path)) is False


@pytest.mark.skipif(sys.platform != "linux", reason="a lease is a thing of Linux")
def test_asking_neither_blocks_nor_kills_a_writer(path):
    """One thread asks and another opens for writing, both without pause: neither waits, and no signal arrives."""
    ended = threading.Event()
    answers = set()

    def ask():
        while not ended.is_set():
            answers.add(isOpenForWriting(str(path)))

    thread = threading.Thread(target=ask)
    thread.start()
    for _ in range(2000):
        os.close(os.open(path, os.O_WRONLY))
    until(lambda: answers)
    ended.set()
    thread.join(5)
    assert answers <= {True, False}
    assert isOpenForWriting(str(path)) is False
    assert path.read_bytes() == bytes(100)


@pytest.mark.skipif(sys.platform == "darwin", reason="libproc is there")
def test_an_unknown_system_is_answered_by_none(path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with path.open("ab"):
        assert isOpenForWriting(str(path)) is None


# ---- macOS


class Libproc:
    """The functions of libproc and statfs, which answer from a table in the structures of Apple's headers.

    :param opened: process number to the files it has open: (number of the descriptor, type, flags, device, inode).
    """

    def __init__(self, opened, local=True):
        self.opened, self.local, self.closed = opened, local, set()

    def statfs(self, path, buffer):
        struct.pack_into("=I", buffer, 64, 0x1000 if self.local else 0)
        return 0

    def proc_listpidspath(self, kind, info, path, flags, buffer, size):
        assert (kind, info, flags) == (1, 0, 2)
        struct.pack_into(f"={len(self.opened)}i", buffer, 0, *self.opened)
        return 4 * len(self.opened)

    def proc_pidinfo(self, process, flavor, argument, buffer, size):
        assert (flavor, argument.value) == (1, 0)
        files = self.opened[process][: size // 8]
        for place, (number, kind, *_) in enumerate(files):
            struct.pack_into("=iI", buffer, 8 * place, number, kind)
        return 8 * len(files)

    def proc_pidfdinfo(self, process, number, flavor, buffer, size):
        assert (flavor, size) == (1, 176)
        if number in self.closed:
            return 0
        _, _, flags, device, inode = next(one for one in self.opened[process] if one[0] == number)
        struct.pack_into("=I20xIHHQ", buffer, 0, flags, device, 0o100644, 1, inode)
        return size


def test_macos_finds_a_writer_among_the_open_files_of_processes(path):
    status = path.stat()
    device, inode = status.st_dev & 0xFFFFFFFF, status.st_ino
    reads, writes, both = ((number, 1, number, device, inode) for number in (1, 2, 3))
    socket, elsewhere, other = (4, 2, 3, device, inode), (5, 1, 3, device + 1, inode), (6, 1, 3, device, inode + 1)
    many = [(number, 1, 1, device, inode) for number in range(100, 9000)]
    for files, expected in (
        ([], False),
        ([reads], False),
        ([reads, socket, elsewhere, other], False),
        ([reads, writes], True),
        ([both], True),
        ([*many, both], True),
    ):
        assert hasWriter(Libproc({17: [reads], 18: files}), str(path), status) is expected
    library = Libproc({18: [both]})
    library.closed.add(3)  # closed while it was asked about
    assert hasWriter(library, str(path), status) is False
    assert hasWriter(Libproc({}), str(path), status) is False


def test_macos_reports_files_of_this_computer_and_this_user_only(path, monkeypatch):
    status = path.stat()
    writer = {18: [(3, 1, 2, status.st_dev & 0xFFFFFFFF, status.st_ino)]}
    for library, owner, expected in (
        (None, 0, None),  # no libproc, or one that does not find our own file
        (Libproc(writer), 0, True),
        (Libproc({}), 0, False),
        (Libproc({}), 1, None),  # the programs of another user are not shown
        (Libproc(writer, local=False), 0, None),  # a share: other computers write
    ):
        monkeypatch.setattr(OpenFiles, "_library", lambda library=library: library)
        monkeypatch.setattr(os, "getuid", lambda owner=owner: status.st_uid + owner, raising=False)
        assert OpenFiles.isOpenOnMacOS(str(path)) is expected
    with pytest.raises(FileNotFoundError):
        OpenFiles.isOpenOnMacOS(str(path) + "gone")


@reportsWriters
def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        isOpenForWriting(str(tmp_path / "gone.nii"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0 or sys.platform != "linux", reason="needs root")
def test_writers_of_files_of_other_users_are_unknown(path):
    path.chmod(0o644)
    command = (
        f"import os, sys; sys.path[:] = {sys.path!r}; "
        "from RealTimeImagingLib.Sources.Folder.OpenFiles import isOpenForWriting; "
        f"handle = os.open({str(path.parent)!r}, os.O_RDONLY); os.fchdir(handle); os.setuid(65534); "
        "print(isOpenForWriting('a.nii'))"
    )
    path.parent.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, check=False)
    assert done.stdout.strip() == b"None", done.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.nii")
    answered = threading.Event()

    def ask():
        isOpenForWriting(str(tmp_path / "pipe.nii"))
        answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    answered.wait(2)
    in_time = answered.is_set()
    if not in_time:  # let the thread go
        os.close(os.open(tmp_path / "pipe.nii", os.O_RDWR | os.O_NONBLOCK))
    thread.join(5)
    assert in_time
