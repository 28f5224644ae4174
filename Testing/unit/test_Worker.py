"""The acquisition process as Slicer's side uses it: started as a file, sent lines, killed."""

import os
import random
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from RealTimeImagingLib.Link.Ring import SLOTS
from RealTimeImagingLib.Link.WorkFolders import writeHolder
from RealTimeImagingLib.Sources.Checkpoint import FILES_NAME
from RealTimeImagingLib.Sources.Folder import FolderSettings
from unit.conftest import PROGRAM, Acquisition, arrive, niftiFile, seriesFile, snapshot, sumOf, until

LIBRARY = PROGRAM.parents[2]
COUNTS = {"rejected": 0, "recorded": 0, "failed": 0}


@pytest.fixture
def program(tmp_path):
    """Writes a program that runs the acquisition process with a reader of the test's; returns its path."""

    def write(missing, before=""):
        path = tmp_path / "program.py"
        path.write_text(f"""
import os, sys, time
sys.path[0] = {str(LIBRARY)!r}
from RealTimeImagingLib import Formats
from RealTimeImagingLib.Worker.Worker import main

class Reader(Formats.NIfTI):
    def missing(self):
        {missing}
        return super().missing()

Formats._READERS[".nii"] = Reader
{before}
code = main()
sys.stdout.flush()
os._exit(code)
""")
        return path

    return write


# ---- the ordinary way


def test_each_kind_of_unlikely_place_is_named_once(acquire, incoming):
    """The first remark, such as shear, which may be meant, does not hide a later mistake in the position."""
    acquisition = acquire()
    for number, (size, offset) in enumerate(((1e9, 0), (1e9, 0), (1, 1e30), (1, 1e30))):
        data = bytearray(niftiFile(number))
        struct.pack_into("<hh", data, 252, 0, 1)  # qform_code, sform_code
        struct.pack_into("<12f", data, 280, size, 0, 0, offset, 0, size, 0, 0, 0, 0, size, 0)
        arrive(incoming / f"{number}.nii", bytes(data))
        acquisition.untilCounted(number + 1, 0)
    assert acquisition.stop() == 0
    events = [one["event"] for one in acquisition.lines if "event" in one]
    size, place = (str(one["text"]) for one in events if one["code"] == "unlikely-geometry")
    assert "mm in size" in size
    assert "mm from the origin" in place


def test_it_reports_its_number_then_ready_and_at_last_its_counts(acquire, incoming):
    acquisition = acquire()
    assert acquisition.lines[0] == {"pid": acquisition.process.pid}
    ready = next(line for line in acquisition.lines if "ready" in line)
    assert ready["counts"] == COUNTS | {"received": {}}
    arrive(incoming / "0.nii", niftiFile(0))
    for number in (1, 2):
        # The offset is a number of float32 at byte 280 + 12 (srow_x) of the header.
        data = bytearray(niftiFile(number))
        data[292:296] = struct.pack("<f", 1e30)
        arrive(incoming / f"{number}.nii", bytes(data))
    arrive(incoming / "bad.nii", b"no image" * 99)
    acquisition.untilCounted(3, 1)
    assert acquisition.stop() == 0
    assert acquisition.lines[-1] == {"end": True, "counts": COUNTS | {"received": {"Live": 3}, "rejected": 1}}
    assert acquisition.codes.count("unlikely-geometry") == 1  # of two images


def test_every_file_is_received_or_rejected_and_pixels_are_those_that_were_sent(acquire, incoming):
    acquisition = acquire(seriesPattern="{series}_*", incompleteAfter=0.3)
    kinds = random.Random(3).choices(["good", "good", "good", "garbage", "cut"], k=60)
    for number, kind in enumerate(kinds):
        path = incoming / f"T{number % 3}_{number}.nii"
        if kind == "good":
            arrive(path, niftiFile(number))
        else:
            arrive(path, b"no image" * 99 if kind == "garbage" else niftiFile(number)[:-1])
        if number % 10 == 9:
            acquisition.until(lambda number=number: acquisition.received >= kinds[: number + 1].count("good"))
    good, before = kinds.count("good"), snapshot(incoming)
    acquisition.untilCounted(good, 60 - good)
    assert acquisition.stop() == 0
    assert snapshot(incoming) == before
    assert acquisition.codes.count("incomplete") == kinds.count("cut")
    assert acquisition.codes.count("not-an-image") == kinds.count("garbage")
    for stream, _, name, sum_ in acquisition.frames:
        number = int(name.split("_")[1].split(".")[0])
        assert sum_ == sumOf(number)
        assert stream == f"T{number % 3}"
    for stream in ("T0", "T1", "T2"):
        numbers = [number for one, number, _, _ in acquisition.frames if one == stream]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == acquisition.counts["received"][stream] - 1  # the newest is always shown


def test_a_status_is_reported_when_it_changes(acquire, incoming):
    acquisition = acquire()
    acquisition.until(lambda: len(acquisition.of("status")) == 2)
    first, second = acquisition.of("status")
    # It stays when the drive does not answer.
    assert first == f"Opening {incoming}. If this takes long, its drive or device does not answer."
    assert second.startswith("No image has arrived")
    (incoming / "a.nii").write_bytes(niftiFile(1)[:-10])
    acquisition.until(lambda: "38 are present" in acquisition.of("status")[-1])
    (incoming / "a.nii").write_bytes(niftiFile(1))
    acquisition.until(lambda: acquisition.of("status")[-1].startswith("Waiting for the next image"))


def test_lines_that_are_no_command_are_ignored_and_so_is_ctrl_c(acquire, incoming):
    acquisition = acquire()
    if os.name == "posix":
        acquisition.process.send_signal(signal.SIGINT)
    for line in (b"no JSON", b"[1, 2]", b"5", b'{"command": "unknown"}', b"{}", b'{"command": "release"}'):
        acquisition.process.stdin.write(line + b"\n")
    acquisition.send("release", slots=[[0, 0], [7, 99], [-1, -1]])
    acquisition.send("rescan")
    arrive(incoming / "a.nii", niftiFile(1))
    acquisition.untilCounted(1)
    acquisition.until(lambda: acquisition.frames)
    assert acquisition.stop() == 0
    assert any("not understood" in log for log in acquisition.of("log"))
    kinds = {"pid", "ready", "frame", "event", "status", "log", "end"}
    assert all(len(kinds & line.keys()) == 1 for line in acquisition.lines)


def test_text_printed_by_a_reader_is_logged_and_breaks_no_line(acquire, incoming, program):
    noise = "os.write(1, b'from the depth\\n'); print('printed', flush=True); os.system('echo from a child')"
    acquisition = acquire(program(noise))
    arrive(incoming / "a.nii", niftiFile(1))
    acquisition.until(lambda: {"from the depth", "printed", "from a child"} <= set(acquisition.of("log")))
    acquisition.untilCounted(1)
    assert acquisition.stop() == 0


# ---- nobody reads


def test_without_a_reader_all_frames_are_received_and_few_are_kept(acquire, incoming, workFolder):
    acquisition = acquire(listen=False, existing="all")
    if sys.platform == "linux":
        import fcntl

        fcntl.fcntl(acquisition.process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    done = workFolder / FILES_NAME
    until(done.exists)
    before = memoryOf(acquisition.process.pid)
    arrive(incoming / "0.nii", niftiFile(1, (64, 64, 64)))  # 512 KiB
    for number in range(1, 300):
        os.link(incoming / "0.nii", incoming / f"{number}.nii")
    for number in range(100):  # whose words fill the pipe
        arrive(incoming / f"bad{number}.nii", b"no image" * 99)
    until(lambda: done.read_bytes().count(b"\n") == 400)
    after = memoryOf(acquisition.process.pid)
    assert after - before < 64 << 20  # of 150 MiB that came
    acquisition.listen().send("stop")
    assert acquisition.untilEnd() == 0
    assert acquisition.counts == COUNTS | {"received": {"Live": 300}, "rejected": 100}
    assert len(acquisition.codes) == 101  # "folder-there", and one for each that was rejected
    numbers = [number for _, number, _, _ in acquisition.frames]
    assert numbers == [*range(SLOTS), 299]
    assert {sum_ for _, _, _, sum_ in acquisition.frames} == {sumOf(1, (64, 64, 64))}


def memoryOf(pid):
    """Return the most memory that a process has had, in bytes; 0 where unknown."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def test_a_slot_that_is_never_released_does_not_prevent_the_stop(acquire, incoming):
    acquisition = acquire()
    acquisition.releasing = False
    for number in range(SLOTS + 3):
        arrive(incoming / f"{number}.nii", niftiFile(number))
    acquisition.until(lambda: len(acquisition.frames) == SLOTS)
    started = time.monotonic()
    assert acquisition.stop() == 0
    assert time.monotonic() - started < 2.0


# ---- deaths


def untilReceived(acquisition, count):
    # A file at which two processes end without a frame is given up.
    acquisition.until(lambda: acquisition.frames and acquisition.received >= count)


def test_after_kills_between_its_volumes_a_file_is_resumed_and_every_volume_arrives_once(acquire, incoming, program):
    slowly = program("pass", "Reader.images = lambda self: (time.sleep(0.01) or i for i in Formats.NIfTI.images(self))")
    # Much longer than what is read until the last kill, which comes late on a busy computer.
    count, shown = 300, []
    acquisition = acquire(slowly)
    arrive(incoming / "a.nii", seriesFile(range(count)))
    for goal in (20, 90):
        untilReceived(acquisition, goal)
        acquisition.kill()
        shown += acquisition.frames
        acquisition = acquire(slowly)
    acquisition.untilCounted(count)
    assert acquisition.stop() == 0
    shown += acquisition.frames
    assert acquisition.counts == COUNTS | {"received": {"Live": count}}
    numbers = [number for _, number, _, _ in shown]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == count - 1
    assert all(sum_ == sumOf(number) for _, number, _, sum_ in shown)


def test_kills_at_any_moment_lose_and_duplicate_no_frame(acquire, incoming):
    acquisition, chance, shown = acquire(), random.Random(5), []
    for number in range(60):
        arrive(incoming / f"{number}.nii", niftiFile(number))
        if number % 20 == 19:
            untilReceived(acquisition, number - chance.randrange(12))
            acquisition.kill()
            shown += acquisition.frames
            acquisition = acquire()
    acquisition.untilCounted(60)
    assert acquisition.stop() == 0
    shown += acquisition.frames
    numbers = [number for _, number, _, _ in shown]
    assert len(set(numbers)) == len(numbers)
    assert len({name for _, _, name, _ in shown}) == len(shown)
    assert all(sum_ == sumOf(int(name.split(".")[0])) for _, _, name, sum_ in shown)


def test_a_file_that_ends_the_process_twice_is_named_and_the_others_are_read(acquire, incoming, program):
    """One file crashes the process, one raises an unexpected error; reports before a crash arrive."""
    bad = program(
        "if 'bad0' in self.path: os.abort()\n        if 'bad1' in self.path: raise RuntimeError('an unheard-of fault')"
    )
    acquisition = acquire(bad)
    for name in ("a.nii", "bad0.nii", "bad1.nii", "c.nii"):
        arrive(incoming / name, niftiFile(len(name)))
    events = []
    for code in (None, None, 1, 1):
        ended = acquisition.untilEnd()
        events += acquisition.of("event")
        if code:
            assert ended == code
            assert events[-1]["code"] == "failed"
            assert "an unheard-of fault" in events[-1]["text"]
            assert any("Traceback" in log for log in acquisition.of("log"))
        else:
            assert ended not in (0, 1)
            assert b"Fatal Python error: Aborted" in acquisition.process.stderr.read()
        acquisition = acquire(bad)
    arrive(incoming / "d.nii", niftiFile(4))
    acquisition.untilCounted(3, 2)
    assert acquisition.stop() == 0
    crashed = [event for event in [*events, *acquisition.of("event")] if event["code"] == "crashed"]
    assert [event["subject"] for event in crashed] == [str(incoming / "bad0.nii"), str(incoming / "bad1.nii")]
    assert {event["level"] for event in crashed} == {"error"}
    assert "bad0.nii crashed the reading process 2 times" in crashed[0]["text"]


def test_the_reason_of_a_failed_start_is_reported(acquire, workFolder):
    (workFolder / FILES_NAME).mkdir()
    acquisition = acquire(listen=False).listen()
    assert acquisition.untilEnd() == 1
    (event,) = acquisition.of("event")
    assert (event["code"], event["level"]) == ("failed", "error")
    assert FILES_NAME in event["text"]


# ---- the end of input


def closeInput(acquisition):
    acquisition.process.stdin.close()
    acquisition.releasing = False


def test_the_end_of_input_ends_it_and_its_folders(acquire, incoming, workFolder):
    acquisition = acquire()
    arrive(incoming / "a.nii", niftiFile(1))
    acquisition.untilCounted(1)
    closeInput(acquisition)
    assert acquisition.untilEnd() == 0
    assert acquisition.of("end") == [True]
    assert not workFolder.exists()
    assert [path.name for path in incoming.iterdir()] == ["a.nii"]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_to_all_processes_lets_it_finish_the_recording(acquire, incoming, workFolder, tmp_path, name):
    acquisition, folder = acquire(), tmp_path / "recordings"
    acquisition.record(folder, "Test")
    arrive(incoming / "a.nii", niftiFile(1))
    acquisition.untilCounted(1)
    acquisition.process.send_signal(getattr(signal, name))
    closeInput(acquisition)
    assert acquisition.untilEnd() == 0
    assert sorted(os.listdir(folder)) == [f"Test-Live{suffix}" for suffix in (".json", ".raw", ".seq.nhdr")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not workFolder.exists()


def test_folders_of_another_process_are_kept(acquire, workFolder):
    acquisition = acquire()
    writeHolder(str(workFolder), "process2")
    closeInput(acquisition)
    assert acquisition.untilEnd() == 0
    assert workFolder.exists()


def test_the_end_of_input_ends_it_though_a_reader_hangs(acquire, incoming, workFolder, program):
    acquisition = acquire(program("os.write(1, b'hanging\\n'); time.sleep(1000)"))
    arrive(incoming / "a.nii", niftiFile(1))
    acquisition.until(lambda: "hanging" in acquisition.of("log"))
    closeInput(acquisition)
    assert acquisition.untilEnd() == 0
    assert not workFolder.exists()


def test_the_end_of_input_ends_it_without_a_reader(acquire, incoming, workFolder):
    acquisition = acquire(listen=False, existing="all")
    until((workFolder / FILES_NAME).exists)
    for number in range(400):  # whose words fill the pipe
        arrive(incoming / f"bad{number}.nii", b"no image" * 99)
    until(lambda: (workFolder / FILES_NAME).read_bytes().count(b"\n") == 400)
    closeInput(acquisition)
    acquisition.process.wait(10)
    assert not workFolder.exists()


def test_an_empty_input_is_an_end():
    command = [sys.executable, str(PROGRAM), "acquisition"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stderr == b""


# ---- rights


QUICK = """
from RealTimeImagingLib.Sources.Folder import Completeness
Completeness.QUIET = 0.1
"""
"""Files whose state this user may not see count as closed soon."""


@pytest.mark.skipif(os.name != "posix", reason="rights are others there")
def test_a_file_that_may_not_be_read_is_named_and_shown_when_it_may(program):
    """Root may read every file: then the process becomes another user before it reads."""
    with tempfile.TemporaryDirectory() as name:
        incoming, workFolder = Path(name, "incoming"), Path(name, "work")
        for folder in (Path(name), incoming, workFolder):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        other = os.geteuid() or 65534
        os.chown(workFolder, other, -1)
        for number, mode in enumerate((0o000, 0o644)):
            arrive(incoming / f"{number}.nii", niftiFile(number)).chmod(mode)
        settings = FolderSettings(folder=incoming, existing="all", incompleteAfter=0.3)
        acquisition = Acquisition(settings, [workFolder], "process1", program(f"os.seteuid({other})", QUICK))
        try:
            acquisition.listen().untilCounted(1, 1)
            event = next(event for event in acquisition.of("event") if event["code"] == "unreadable")
            assert "0.nii cannot be read (permission denied)." in event["text"]
            (incoming / "0.nii").chmod(0o644)
            acquisition.untilCounted(2)
            assert acquisition.stop() == 0
        finally:
            acquisition.close()
