"""Bad files, full disks, kills, reruns, workers and clusters: nothing is lost, every one is named."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from RealTimeImagingLib.Conversion import __file__ as package
from RealTimeImagingLib.Conversion import convertFolder
from RealTimeImagingLib.Conversion.Output import Output
from RealTimeImagingLib.Conversion.Report import State
from RealTimeImagingLib.Conversion.Scan import _kept, scanFiles
from RealTimeImagingLib.Conversion.Tags import SAFE
from RealTimeImagingLib.Model.Errors import ConversionError, SettingsError
from unit.conversions import convert, dicomFile, fromUs, one, series

PROGRAM = Path(package).parent


def many(folder, count=12, shape=(64, 64), slices=6, **options):
    """Series with values of their own, by the files they become."""
    return {
        f"{n + 1}_Core_A.nrrd": series(
            folder / f"{n:03d}", slices, shape, SeriesInstanceUID=f"1.2.{n}", SeriesNumber=n + 1, **options
        )
        for n in range(count)
    }


def assertAll(output, expected):
    for name, values in expected.items():
        np.testing.assert_array_equal(fromUs(output / name)[0][0], values)
    assert sorted(path.name for path in output.glob("*.nrrd*")) == sorted(expected)


# ---- bad files


def test_every_bad_file_is_named_and_stops_nothing(tmp_path):
    folder = tmp_path / "in"
    values = series(folder / "good")
    whole = (folder / "good/000x0").read_bytes()
    bad = {
        "empty": (b"", "The file is empty"),
        "header": (whole[:400], "ends within its header, after 400 bytes"),
        "text.dcm": (b"no DICOM at all" * 99, "not a DICOM file"),
        "noise": (np.random.default_rng(0).bytes(9000), "not a DICOM file"),
        "small": (b"abc", "not a DICOM file"),
    }
    for name, (data, _) in bad.items():
        (folder / name).write_bytes(data)
    (folder / "DICOMDIR").write_bytes(whole)
    (folder / ".hidden").write_bytes(whole)
    (folder / "IM.part").write_bytes(whole)
    report = convert(folder, tmp_path / "out")
    np.testing.assert_array_equal(fromUs(tmp_path / "out" / one(report).file)[0][0], values)
    named = {file["path"]: file["reason"] for file in report.files}
    assert named.keys() == bad.keys()
    assert all(words in named[name] for name, (_, words) in bad.items())
    with (tmp_path / "out/conversion.csv").open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["status"] for row in table].count("done") == 1
    assert {row["file"] for row in table} >= bad.keys()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_forbidden_files_and_folders_are_named(tmp_path):
    series(tmp_path / "in/good")
    series(tmp_path / "in/closed", SeriesInstanceUID="1.8")
    (tmp_path / "in/good/000x0").chmod(0)
    (tmp_path / "in/closed").chmod(0)
    try:
        report = convert(tmp_path / "in", tmp_path / "out")
    finally:
        (tmp_path / "in/closed").chmod(0o700)
    named = {file["path"]: file["code"] for file in report.files}
    assert named == {"closed": "unreadable", os.path.join("good", "000x0"): "unreadable"}


def test_a_cut_slice_is_filled_and_named(tmp_path):
    values = series(tmp_path / "in")
    path = next((tmp_path / "in").glob("*x5"))
    path.write_bytes(path.read_bytes()[:-7])
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    assert f"{path}: The file is truncated: 33 of 40 bytes" in entry.warnings[0]
    found = fromUs(tmp_path / "out" / entry.file)[0][0]
    np.testing.assert_array_equal(found[:5], values[:5])
    assert (found[5] == values[:5].min()).all()


def test_a_file_that_changes_meanwhile_fails_its_volume(tmp_path):
    many(tmp_path / "in", 3)
    changed = next((tmp_path / "in/001").iterdir())

    def change(progress):
        if progress.words.startswith("Reading"):
            changed.write_bytes(changed.read_bytes() + b"\0\0")

    report = convert(tmp_path / "in", tmp_path / "out", onProgress=change)
    assert [entry.status for entry in report.entries] == ["done", "failed", "done"]
    assert "changed during the conversion" in report.entries[1].reason
    assert convert(tmp_path / "in", tmp_path / "out").count("done") == 1


def test_settings_that_cannot_work_are_said_before(tmp_path):
    series(tmp_path / "in")
    for options, words in (
        ({"name": "{Nonsense}"}, "Nonsense"),
        ({"name": "{SeriesNumber"}, "brace"),
        ({"tags": ["Bad: tag"]}, "Bad: tag"),
        ({"workers": -1}, "workers"),
    ):
        with pytest.raises(SettingsError, match=words):
            convertFolder(tmp_path / "in", tmp_path / "out", **options)
    with pytest.raises(SettingsError, match="not the folder of the DICOM files"):
        convertFolder(tmp_path / "in", tmp_path / "in")
    with pytest.raises(SettingsError, match="does not exist"):
        convertFolder(tmp_path / "none", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- reruns


def test_a_rerun_skips_what_is_whole_and_does_the_rest(tmp_path):
    expected = many(tmp_path / "in", 5)
    assert convert(tmp_path / "in", tmp_path / "out").count("done") == 5
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.nrrd")}
    assert convert(tmp_path / "in", tmp_path / "out").count("skipped") == 5
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.nrrd")} == before
    (tmp_path / "out/1_Core_A.nrrd").unlink()
    changed = next((tmp_path / "in/002").glob("*x0"))
    dicomFile(changed, np.zeros((64, 64), np.int16), (1, 2, 3), SeriesInstanceUID="1.2.2", SeriesNumber=3)
    expected["3_Core_A.nrrd"][0] = 0
    expected |= {f"9{name}": values for name, values in many(tmp_path / "in/more", 1).items()}
    for path in (tmp_path / "in/more/000").iterdir():
        data = path.read_bytes()
        path.write_bytes(data.replace(b"1.2.0\0", b"1.2.7\0"))
    report = convert(tmp_path / "in", tmp_path / "out")
    assert (report.count("done"), report.count("skipped")) == (3, 3)
    expected["1_Core_A_1.nrrd"] = expected.pop("91_Core_A.nrrd")
    assertAll(tmp_path / "out", expected)


def test_other_keys_are_written_anew(tmp_path):
    series(tmp_path / "in")
    convert(tmp_path / "in", tmp_path / "out")
    entry = one(convert(tmp_path / "in", tmp_path / "out", tags=["PatientID"]))
    assert entry.file == "7_Core_A.nrrd"
    assert b"PatientID:=4711" in (tmp_path / "out" / entry.file).read_bytes()


def test_what_is_not_ours_is_never_overwritten(tmp_path):
    series(tmp_path / "in")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/7_core_a.NRRD").write_text("mine")
    assert one(convert(tmp_path / "in", tmp_path / "out")).file == "7_Core_A_1.nrrd"
    assert (tmp_path / "out/7_core_a.NRRD").read_text() == "mine"
    (tmp_path / "out/7_Core_A_1.nrrd").write_text("saved over it by somebody")
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    assert entry.file == "7_Core_A_1.nrrd"
    assert "7_Core_A_1_old.nrrd" in entry.warnings[0]
    assert (tmp_path / "out/7_Core_A_1_old.nrrd").read_text() == "saved over it by somebody"


def test_two_conversions_into_one_folder_are_refused(tmp_path):
    series(tmp_path / "in")
    state = State(str(tmp_path / "out"))
    with pytest.raises(ConversionError, match="Another conversion"):
        convertFolder(tmp_path / "in", tmp_path / "out", workers=1)
    state.close()
    one(convert(tmp_path / "in", tmp_path / "out"))


def test_a_memory_of_any_bytes_does_no_harm(tmp_path):
    series(tmp_path / "in")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/conversion.json").write_text('{"series": [1, {"file": "../../x", "key": "a"}, null]}')
    (tmp_path / "out/conversion.jsonl").write_bytes(b'{"half": \xff\n\0\n[]\n')
    one(convert(tmp_path / "in", tmp_path / "out"))


# ---- the command


def command(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_the_command_says_what_it_did(tmp_path):
    many(tmp_path / "in", 3)
    (tmp_path / "in/notes").write_text("x" * 200)
    made = command(tmp_path / "in", tmp_path / "out", "--workers", 2, "--name", "core{SeriesNumber:02}")
    text, errors = made.communicate(timeout=60)
    assert (made.returncode, errors) == (0, "")
    assert "done         core02.nrrd: 64 x 64 x 6" in text
    assert "notes: The file is not a DICOM file." in text
    assert "3 volumes: 3 done; 1 file is in no volume" in text
    made = command(tmp_path / "in", tmp_path / "out", "--name", "{x")
    assert made.communicate(timeout=60)[1].startswith("The name")
    assert made.returncode == 2


@pytest.fixture(scope="module")
def forty(tmp_path_factory):
    """A folder with forty series, and their voxels by the names of the converted files."""
    folder = tmp_path_factory.mktemp("forty")
    return folder, many(folder, 40, (128, 128), 20)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signal")
@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_what_is_left_by_a_kill_is_finished_by_the_next_run(tmp_path, forty, how):
    source, expected = forty
    for round_ in range(3):
        made = command(source, tmp_path / "out", "--workers", 2)
        end = time.monotonic() + 30
        while len(list((tmp_path / "out").glob("*.nrrd"))) < 9 * (round_ + 1) and made.poll() is None:
            assert time.monotonic() < end
        made.send_signal(getattr(signal, how))
        made.communicate(timeout=30)
        for path in (tmp_path / "out").glob("*.nrrd"):
            np.testing.assert_array_equal(fromUs(path)[0][0], expected[path.name])
        if how != "SIGKILL":
            assert not list((tmp_path / "out").glob("*.part"))
    report = convert(source, tmp_path / "out")
    assert report.count("done") + report.count("skipped") == 40
    assert report.count("skipped") > 0
    assertAll(tmp_path / "out", expected)
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".nrrd") == [
        "conversion.csv",
        "conversion.json",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="a limit of file sizes is POSIX")
def test_a_disk_that_takes_no_more_fails_the_volume_and_leaves_nothing(tmp_path):
    many(tmp_path / "in", 3)
    large = series(tmp_path / "in/large", 30, (128, 128), SeriesInstanceUID="1.9", SeriesNumber=50)
    program = f"""
import resource, signal, sys
sys.path.insert(0, {str(PROGRAM.parents[1])!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({large.nbytes // 2}, {large.nbytes // 2}))
from RealTimeImagingLib.Conversion import convertFolder
report = convertFolder({str(tmp_path / "in")!r}, {str(tmp_path / "out")!r}, workers=1)
print(report.count("done"), report.count("failed"), next(one.reason for one in report.entries if one.reason))
"""
    text = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert text.startswith("3 1 ")
    assert "the file is too large" in text
    assert len(list((tmp_path / "out").glob("*.nrrd*"))) == 3
    assert convert(tmp_path / "in", tmp_path / "out").count("skipped") == 3
    np.testing.assert_array_equal(fromUs(tmp_path / "out/50_Core_A.nrrd")[0][0], large)


@pytest.mark.parametrize("reserving", [True, False])
def test_a_full_disk_fails_the_volumes_that_have_no_room(tmp_path, monkeypatch, reserving):
    """Whether the system can tell beforehand, or when it is written."""
    if not reserving:
        monkeypatch.setattr("RealTimeImagingLib.Conversion.Output._fallocate", lambda: None)
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode(errors='replace').strip()}")
    try:
        expected = many(tmp_path / "in", 3)
        series(tmp_path / "in/large", 30, (128, 128), SeriesInstanceUID="1.9", SeriesNumber=50)
        report = convert(tmp_path / "in", disk)
        assert (report.count("done"), report.count("failed")) == (3, 1)
        (reason,) = (one.reason for one in report.entries if one.reason)
        assert "50_Core_A" in reason
        assert "disk full" in reason
        assertAll(disk, expected)
        assert not list(disk.glob("*.part"))
        if reserving:
            with Output(str(disk / "a"), truncate=True) as file, pytest.raises(OSError, match="No space"):
                file.reserve(0, 1 << 20)
            assert os.path.getsize(disk / "a") == 0
    finally:
        subprocess.run(["umount", disk], check=True)


# ---- workers


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers_makes_the_same_files(tmp_path, workers):
    expected = many(tmp_path / "in", 8, (200, 200), 40)
    assert convert(tmp_path / "in", tmp_path / "out", workers=workers).count("done") == 8
    assertAll(tmp_path / "out", expected)


def test_any_executor_does_the_work(tmp_path):
    expected = many(tmp_path / "in", 4)
    with ThreadPoolExecutor(2) as executor:
        assert convert(tmp_path / "in", tmp_path / "out", executor=executor).count("done") == 4
    assertAll(tmp_path / "out", expected)


def test_each_thread_of_an_executor_learns_headers_by_itself():
    """What one thread learns while another one reads would make sound files "damaged"."""
    together = threading.Barrier(2)

    def scanner():
        together.wait()
        scanFiles([], SAFE)
        return _kept.scanner

    with ThreadPoolExecutor(2) as executor:
        first, second = (executor.submit(scanner) for _ in range(2))
        assert first.result() is not second.result()


DASK = """
import sys
from distributed import Client, LocalCluster
from RealTimeImagingLib.Conversion import convertFolder

if __name__ == "__main__":
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
        client.get_executor() as executor,
    ):
        report = convertFolder(*sys.argv[1:], executor=executor)
    assert report.count("done") == 6, report.entries
"""


def test_dasks_cluster_does_the_work(tmp_path):
    """In a process of its own: its threads live as long as that."""
    pytest.importorskip("distributed", reason="dask is not installed")
    expected = many(tmp_path / "in", 6)
    (tmp_path / "cluster.py").write_text(DASK)
    paths = [str(tmp_path / name) for name in ("cluster.py", "in", "out")]
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parents[1])}
    subprocess.run([sys.executable, *paths], env=environment, check=True)
    assertAll(tmp_path / "out", expected)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured in another way there")
def test_memory_is_bounded_whatever_the_series(tmp_path):
    series(tmp_path / "in", 400, (512, 512))  # 200 MB
    program = f"""
import sys
sys.path.insert(0, {str(PROGRAM.parents[1])!r})
from RealTimeImagingLib.Conversion import convertFolder
assert convertFolder({str(tmp_path / "in")!r}, {str(tmp_path / "out")!r}, workers=1).count("done") == 1
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    text = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert int(text) < 100 << 10, "kilobytes, for a series of 200 MB"


def test_the_report_tells_all(tmp_path):
    many(tmp_path / "in", 2)
    report = convert(tmp_path / "in", tmp_path / "out")
    told = json.loads((tmp_path / "out/conversion.json").read_text(encoding="utf-8"))
    assert (told["done"], told["skipped"], told["failed"]) == (2, 0, 0)
    assert told["bytes"] == sum(path.stat().st_size for path in (tmp_path / "out").glob("*.nrrd"))
    assert [entry["file"] for entry in told["series"]] == [entry.file for entry in report.entries]
    assert all(entry["seconds"] > 0 and entry["sourceBytes"] > 0 for entry in told["series"])


@pytest.mark.skipif(os.name != "posix", reason="Windows has no umask for files")
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_the_umask_says_who_may_read_volumes_and_report(tmp_path, mask):
    many(tmp_path / "in", 2)
    before = os.umask(mask)
    try:
        convert(tmp_path / "in", tmp_path / "out")
        for path in (tmp_path / "in/001").iterdir():
            path.unlink()
        convert(tmp_path / "in", tmp_path / "out")  # keeps the line of a former volume
    finally:
        os.umask(before)
    rights = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "out").iterdir()}
    assert rights.keys() >= {"conversion.json", "conversion.csv", "conversion.jsonl", "1_Core_A.nrrd"}
    assert set(rights.values()) == {oct(0o666 & ~mask)}
