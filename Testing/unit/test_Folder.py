"""The folder source from files to frames. The tests set the clock: one step is 50 ms and takes no time."""

import gzip
import os
import shutil
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Model.Event import Remedy
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Sources.Folder import Content, Listing
from RealTimeImagingLib.Sources.Source import Arrival
from unit.conftest import Receiver, arrive, niftiFile, seriesFile, snapshot, sumOf
from unit.conversions import dicomFile
from unit.examples import examples

reportsWriters = pytest.mark.skipif(sys.platform not in ("linux", "win32"), reason="the system reports no writers")


# ---- one file


def test_a_file_renamed_into_the_folder_is_shown_at_the_first_poll(receive, incoming):
    receiver = receive()
    arrive(incoming / "a.nii", niftiFile(1))
    receiver.step()
    assert receiver.frames == [("Live", 0, "a.nii", sumOf(1))]
    receiver.run(30)
    assert receiver.counts == (1, 0)
    assert receiver.events == []


@examples(0.5)
@given(data=st.data(), packed=st.booleans())
def test_a_growing_file_is_shown_once_when_it_is_complete(tmp_path_factory, data, packed):
    folder, work = tmp_path_factory.mktemp("incoming"), tmp_path_factory.mktemp("work")
    whole = gzip.compress(niftiFile(1), mtime=0) if packed else niftiFile(1)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=5)))
    receiver = Receiver(work, folder, incompleteAfter=60.0)
    with (folder / ("a.nii.gz" if packed else "a.nii")).open("wb", buffering=0) as file:
        for start, end in zip([0, *cuts], cuts, strict=False):
            file.write(whole[start:end])
            receiver.run(data.draw(st.sampled_from([0.05, 0.3, 2.0])))
            assert receiver.frames == []
        file.write(whole[cuts[-1] if cuts else 0 :])
    receiver.run(15)
    assert receiver.sums == [sumOf(1)]
    assert receiver.counts == (1, 0)
    assert receiver.events == []
    receiver.checkpoint.close()


def test_a_cut_file_is_reported_with_numbers_and_shown_when_completed(receive, incoming):
    receiver = receive(incompleteAfter=4.0)
    (incoming / "a.nii").write_bytes(niftiFile(1)[:-10])
    receiver.run(3.9)
    assert receiver.events == []
    assert "a.nii is complete: The header declares 48 bytes of voxels; 38 are present." in receiver.source.status
    receiver.until(lambda: receiver.events, 1.0)
    (event,) = receiver.events
    assert (event.code, event.level, event.subject) == ("incomplete", "warning", str(incoming / "a.nii"))
    assert event.text.startswith("a.nii is not complete: The header declares 48 bytes of voxels; 38 are present.")
    assert "not changed for 4 s" in event.text
    receiver.run(60)
    assert receiver.counts == (0, 1)
    assert len(receiver.events) == 1  # reported once
    with (incoming / "a.nii").open("ab") as file:
        file.write(niftiFile(1)[-10:])
    receiver.run(1)
    assert receiver.sums == [sumOf(1)]
    assert receiver.counts == (1, 0)  # one file: it is not received and rejected


def test_a_cut_file_that_grows_and_stays_cut_is_one_rejected_file(receive, incoming):
    receiver = receive(incompleteAfter=2.0)
    for size in (100, 200, 360):
        (incoming / "a.nii").write_bytes(niftiFile(1)[:size])
        receiver.run(3)
    assert receiver.codes == ["incomplete"] * 3
    assert receiver.counts == (0, 1)


def test_a_cut_file_counts_once_after_a_restart_and_is_still_shown_when_completed(receive, incoming):
    receiver = receive(incompleteAfter=2.0)
    (incoming / "a.nii").write_bytes(niftiFile(1)[:-1])
    receiver.run(3)
    receiver.reopen()
    assert receiver.counts == (0, 1)
    receiver.run(30)
    assert set(receiver.codes) == {"incomplete"}
    assert receiver.counts == (0, 1)
    (incoming / "a.nii").write_bytes(niftiFile(1))
    receiver.run(2)
    assert receiver.counts == (1, 0)


@reportsWriters
def test_a_preallocated_file_is_not_shown_before_it_is_closed(receive, incoming):
    receiver = receive()
    whole = niftiFile(1)
    with (incoming / "a.nii").open("wb", buffering=0) as file:
        file.truncate(len(whole))
        receiver.run(2)
        for start in range(0, len(whole), 50):
            file.write(whole[start : start + 50])
            receiver.run(2)
        assert receiver.frames == []
        assert "open for writing" in receiver.source.status
    receiver.run(1)
    assert receiver.sums == [sumOf(1)]
    assert receiver.events == []


@pytest.mark.parametrize(
    ("name", "data", "code", "words"),
    [
        ("a.nii", b"no image" * 100, "not-an-image", "348"),
        ("a.nii.gz", b"no gzip" * 100, "not-an-image", "348"),
        ("b.nii.gz", b"\x1f\x8b" * 100, "damaged", "compressed"),
        ("IM_0001", b"no image" * 100, "not-an-image", "supported format"),
        ("a.gif", b"GIF89a" * 100, "not-an-image", "supported format"),
        ("a.hdr", b"ENVI" * 100, "not-an-image", ".hdr/.img"),
    ],
    ids=["nii", "no gzip", "gzip", "no ending", "gif", "hdr"],
)
def test_a_file_of_another_kind_is_rejected_with_a_reason(receive, incoming, name, data, code, words):
    receiver = receive()
    arrive(incoming / name, data)
    arrive(incoming / "b.nii", niftiFile(2))
    receiver.run(30)
    (event,) = receiver.events
    assert (event.code, event.level, event.subject) == (code, "warning", str(incoming / name))
    assert event.text.startswith(name)
    assert words in event.text
    assert receiver.names == ["b.nii"]
    assert receiver.counts == (1, 1)


def test_an_image_that_replaces_garbage_is_another_file(receive, incoming):
    receiver = receive()
    arrive(incoming / "a.nii", b"no image" * 100)
    receiver.run(1)
    arrive(incoming / "a.nii", niftiFile(1))
    receiver.run(1)
    assert receiver.counts == (1, 1)


def test_an_empty_file_is_reported_after_a_while(receive, incoming):
    receiver = receive(incompleteAfter=5.0)
    (incoming / "a.nii").touch()
    receiver.run(4)
    assert receiver.counts == (0, 0)
    receiver.run(2)
    assert receiver.codes == ["incomplete"]
    assert receiver.counts == (0, 1)
    (incoming / "a.nii").write_bytes(niftiFile(1))
    receiver.run(1)
    assert receiver.counts == (1, 0)


def test_a_file_overwritten_by_rename_is_another_frame(receive, incoming):
    receiver = receive()
    for number in (1, 2, 2, 3):
        arrive(incoming / "a.nii", niftiFile(number))
        receiver.run(0.5)
    assert receiver.frames == [("Live", n, "a.nii", sumOf(number)) for n, number in enumerate((1, 2, 2, 3))]
    assert receiver.counts == (4, 0)


def test_the_same_bytes_under_another_name_are_another_frame(receive, incoming):
    receiver = receive()
    arrive(incoming / "a.nii", niftiFile(1))
    receiver.run(0.5)
    shutil.copyfile(incoming / "a.nii", incoming / "b.nii")
    os.link(incoming / "a.nii", incoming / "c.nii")
    receiver.run(1)
    assert sorted(receiver.names) == ["a.nii", "b.nii", "c.nii"]
    assert set(receiver.sums) == {sumOf(1)}
    assert receiver.counts == (3, 0)


def test_an_incomplete_file_that_is_removed_is_reported(receive, incoming):
    receiver = receive()
    (incoming / "a.nii").write_bytes(niftiFile(1)[:-10])
    receiver.run(1)
    (incoming / "a.nii").unlink()
    receiver.run(30)
    (event,) = receiver.events
    assert (event.code, event.level) == ("vanished", "info")
    assert "38 are present" in event.text
    assert receiver.counts == (0, 0)
    assert receiver.source.status.startswith("No image")
    arrive(incoming / "a.nii", niftiFile(1))
    receiver.run(1)
    assert receiver.counts == (1, 0)


def test_a_file_overwritten_while_its_volumes_are_read_is_checked_again(receive, incoming):
    receiver = receive()
    receiver.step()
    arrive(incoming / "a.nii", seriesFile([1, 2, 3]))
    reading = receiver.begin()
    receiver.take(next(reading))
    arrive(incoming / "a.nii", seriesFile([4, 5, 6]))
    for item in reading:
        receiver.take(item)
    receiver.run(1)
    assert receiver.sums == [sumOf(number) for number in (1, 4, 5, 6)]
    assert receiver.events == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_rejected_and_does_not_block(receive, incoming):
    receiver = receive()
    os.mkfifo(incoming / "a.nii")
    arrive(incoming / "b.nii", niftiFile(2))
    receiver.run(2)
    assert receiver.names == ["b.nii"]
    (event,) = receiver.events
    assert event.code == "not-an-image"
    assert "pipe" in event.text
    assert receiver.counts == (1, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
def test_a_name_that_is_not_utf8_is_accepted(receive, incoming):
    receiver = receive()
    name = os.fsdecode(b"\xff\xe4.nii")
    arrive(incoming / name, niftiFile(1))
    receiver.step()
    receiver.reopen()
    receiver.run(1)
    assert receiver.names == ["\ufffd\ufffd.nii"]
    assert receiver.counts == (1, 0)


# ---- which files


@pytest.mark.parametrize(
    ("existing", "expected"),
    [("ignore", []), ("newest", ["a9.nii"]), ("all", ["a1.nii", "a2.nii", "a9.nii", "a10.nii"])],
)
def test_files_that_exist_at_the_start(receive, incoming, existing, expected):
    for order, name in enumerate(("a10.nii", "a2.nii", "a1.nii", "a9.nii")):
        arrive(incoming / name, niftiFile(order))
        os.utime(incoming / name, ns=(0, 10**18 + order))
    receiver = receive(existing=existing)
    receiver.run(2)
    assert receiver.names == expected
    arrive(incoming / "a3.nii", niftiFile(7))
    arrive(incoming / "a2.nii", niftiFile(8))  # overwritten: a new file
    receiver.run(2)
    assert receiver.names == [*expected, "a2.nii", "a3.nii"]
    assert receiver.counts == (len(expected) + 2, 0)


def test_the_last_name_is_the_newest_among_files_of_the_same_time(receive, incoming):
    for name in ("a2.nii", "a10.nii", "a9.nii"):
        arrive(incoming / name, niftiFile(1))
        os.utime(incoming / name, ns=(0, 10**18))
    receiver = receive(existing="newest")
    receiver.run(1)
    assert receiver.names == ["a10.nii"]


def test_files_of_the_first_start_are_not_new_after_a_restart(receive, incoming):
    arrive(incoming / "old.nii", niftiFile(1))
    receiver = receive(existing="ignore")
    receiver.step()
    receiver.checkpoint.close()
    arrive(incoming / "while.nii", niftiFile(2))  # arrived while no process ran
    receiver.open()
    receiver.run(1)
    assert receiver.names == ["while.nii"]


def test_only_complete_names_that_fit_the_pattern_are_shown(receive, incoming):
    receiver = receive(pattern="*.nii; scan*.mha")
    for name in ("a.nii", "B.NII", "c.nii.gz", "d.nrrd", ".e.nii", "f.nii.part", "g.nii.tmp", "h.json", "i.nii~"):
        (incoming / name).write_bytes(niftiFile(1))
    receiver.run(30)
    assert receiver.names == ["a.nii", "B.NII"]
    assert receiver.counts == (2, 0)
    assert receiver.events == []
    os.rename(incoming / "f.nii.part", incoming / "f.nii")
    receiver.run(1)
    assert receiver.names[2:] == ["f.nii"]


@pytest.mark.parametrize("subfolders", [False, True])
def test_subfolders_are_searched_when_the_setting_says_so(receive, incoming, subfolders):
    receiver = receive(subfolders=subfolders)
    for name in ("run10/a.nii", "run2/b10.nii", "run2/b9.nii", "c.nii", ".hidden/d.nii", "run2/.e.nii"):
        (incoming / name).parent.mkdir(exist_ok=True)
        (incoming / name).write_bytes(niftiFile(1))
    receiver.run(2)
    below = [os.path.join(*name.split("/")) for name in ("run2/b9.nii", "run2/b10.nii", "run10/a.nii")]
    assert receiver.names == ["c.nii", *below] if subfolders else ["c.nii"]


def test_each_series_is_a_stream_with_its_own_numbers(receive, incoming):
    receiver = receive(seriesPattern="*_{series}_*", stream="Rest")
    for name in ("m_T1_1.nii", "m_T2_1.nii", "m_T1_2.nii", "other.nii", "m_T1_3.nii"):
        arrive(incoming / name, niftiFile(1))
        receiver.run(0.2)
    assert [frame[:3] for frame in receiver.frames] == [
        ("T1", 0, "m_T1_1.nii"),
        ("T2", 0, "m_T2_1.nii"),
        ("T1", 1, "m_T1_2.nii"),
        ("Rest", 0, "other.nii"),
        ("T1", 2, "m_T1_3.nii"),
    ]


def test_files_that_arrive_together_are_shown_in_natural_order(receive, incoming):
    receiver = receive()
    numbers = [*range(1, 13), 100, 99, 20]
    for number in sorted(numbers, key=lambda number: number * 7919 % 101):
        arrive(incoming / f"im{number}.nii", niftiFile(number))
    receiver.run(1)
    assert receiver.names == [f"im{number}.nii" for number in sorted(numbers)]
    assert receiver.sums == [sumOf(number) for number in sorted(numbers)]


# ---- the folder


def test_a_folder_that_is_missing_at_the_start_may_appear(receive, incoming):
    receiver = receive(folder=incoming / "later", existing="ignore")
    receiver.run(3)
    assert receiver.codes == ["folder-missing"]
    assert "is not there. Check the path" in receiver.source.status
    (incoming / "later").mkdir()
    arrive(incoming / "later" / "a.nii", niftiFile(1))
    receiver.run(1)
    assert receiver.codes == ["folder-missing", "folder-back"]
    assert receiver.names == ["a.nii"]


def test_a_folder_that_is_removed_and_made_again_continues(receive, incoming):
    receiver = receive()
    arrive(incoming / "a.nii", niftiFile(1))
    receiver.run(1)
    (incoming / "half.nii").write_bytes(niftiFile(2)[:-1])
    receiver.run(1)
    shutil.rmtree(incoming)
    receiver.run(10)
    assert receiver.codes == ["folder-gone"]
    assert receiver.counts == (1, 0)
    incoming.mkdir()
    arrive(incoming / "b.nii", niftiFile(3))
    receiver.run(1)
    assert receiver.codes == ["folder-gone", "folder-back"]
    assert receiver.names == ["a.nii", "b.nii"]
    assert receiver.source.status.startswith("Waiting for the next image")


def test_a_folder_that_comes_back_with_the_same_files_shows_none_twice(receive, incoming):
    receiver = receive()
    arrive(incoming / "a.nii", niftiFile(1))
    receiver.run(1)
    away = incoming.rename(incoming.with_name("away"))
    receiver.run(2)
    arrive(away / "b.nii", niftiFile(2))
    away.rename(incoming)
    receiver.run(2)
    assert receiver.names == ["a.nii", "b.nii"]


def test_files_that_were_removed_are_forgotten(receive, incoming, monkeypatch):
    monkeypatch.setattr(Listing, "MOST_GONE", 10)
    monkeypatch.setattr(Content, "SPARE_NAMES", 10)
    receiver = receive()
    for number in range(60):
        arrive(incoming / f"{number}.nii", niftiFile(number))
        receiver.step()
        if 5 <= number < 35:
            (incoming / f"{number - 5}.nii").unlink()
            assert len(receiver.checkpoint.done) <= 5 + 10 + 1
            assert receiver.source._content._judge.cache_info().currsize < 30
    assert receiver.names == [f"{number}.nii" for number in range(60)]
    # A share that is away leaves an empty folder.
    away = incoming.rename(incoming.with_name("away"))
    incoming.mkdir()
    receiver.run(1)
    incoming.rmdir()
    away.rename(incoming)
    receiver.run(1)
    assert receiver.counts == (60, 0)


def test_a_folder_that_became_a_file_is_gone(receive, incoming):
    receiver = receive()
    receiver.run(1)
    incoming.rmdir()
    incoming.touch()
    receiver.run(1)
    assert receiver.codes == ["folder-gone"]
    assert f"{incoming} is a file, not a folder" in receiver.events[0].text
    assert f"{incoming} is a file, not a folder" in receiver.source.status


@pytest.fixture
def public():
    """A folder that every user can access."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder, "incoming")
        path.mkdir()
        yield path
        os.chmod(path, 0o755)


@contextmanager
def withoutRights():
    """Run as an ordinary user, who is subject to permissions."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def linked(link, target):
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("no links here")


def test_event_and_status_report_the_same_problem_of_a_folder(receive, incoming):
    (incoming / "file").touch()
    linked(incoming / "circle", incoming / "circle")
    for name, words in (
        ("file", "is a file, not a folder"),
        ("file/below", "a part of its path is a file"),
        ("circle", "is a circular symbolic link"),
        ("none", "is not there"),
    ):
        receiver = receive(folder=incoming / name)
        receiver.run(3)
        (event,) = receiver.events
        assert (event.code, event.level) == ("folder-missing", "warning")
        assert words in event.text
        assert words in receiver.source.status


@pytest.mark.skipif(os.name == "nt", reason="no permissions of this kind there")
def test_a_folder_without_permission_is_not_called_missing(receive, public):
    arrive(public / "a.nii", niftiFile(1))
    os.chmod(public, 0)
    receiver = receive(folder=public, existing="ignore")
    with withoutRights():
        receiver.run(2)
    (event,) = receiver.events
    assert event.code == "folder-denied"
    for words in (event.text, receiver.source.status):
        assert "cannot be listed (permission denied): check its permissions" in words
        assert "not there" not in words
    os.chmod(public, 0o755)
    with withoutRights():
        receiver.run(1)
        assert receiver.codes == ["folder-denied", "folder-back"]
        assert receiver.frames == []
    os.chmod(public, 0)
    with withoutRights():
        receiver.run(2)
        assert receiver.codes[2:] == ["folder-denied"]
        assert "gone" not in receiver.events[-1].text
    os.chmod(public, 0o755)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of this kind are not everywhere")
def test_too_many_open_files_are_not_reported_as_a_missing_folder(receive, incoming):
    import resource

    receiver = receive()
    receiver.run(1)
    arrive(incoming / "a.nii", niftiFile(1))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        receiver.run(3)
        status = receiver.source.status
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    (event,) = receiver.events
    assert event.code == "too-many-open-files"
    assert "too many files are open" in event.text
    assert "too many files are open" in status
    receiver.run(1)
    assert receiver.codes == ["too-many-open-files", "folder-back"]
    assert receiver.names == ["a.nii"]


def test_an_unreadable_file_is_reported_soon_and_shown_when_readable(receive, public):
    receiver = receive(folder=public, incompleteAfter=10.0)
    receiver.step()
    arrive(public / "a.nii", niftiFile(1))
    os.chmod(public / "a.nii", 0)
    with withoutRights():
        if os.access(public / "a.nii", os.R_OK, effective_ids=os.access in os.supports_effective_ids):
            pytest.skip("no permissions of this kind here")
        receiver.run(0.3)
        assert receiver.events == []  # the writer may still set its permissions
        receiver.run(1)
        (event,) = receiver.events
        assert (event.code, event.level, event.subject) == ("unreadable", "warning", str(public / "a.nii"))
        assert "a.nii cannot be read (permission denied)" in event.text
        receiver.run(60)
        assert "a.nii cannot be read (permission denied)" in receiver.source.status
        assert len(receiver.events) == 1
        assert receiver.counts == (0, 1)
    os.chmod(public / "a.nii", 0o644)
    receiver.run(2)
    assert receiver.counts == (1, 0)


@pytest.mark.parametrize(
    ("existing", "words"),
    [
        ("ignore", "3 images were already there and skipped"),
        ("newest", "3 images were already there; only the newest is shown"),
        ("all", "3 images were already there and shown"),
    ],
)
def test_images_of_the_start_are_mentioned(receive, incoming, existing, words):
    for number in range(3):
        arrive(incoming / f"{number}.nii", niftiFile(number))
    receiver = receive(existing=existing)
    receiver.step()
    assert words in receiver.there.text
    if existing == "ignore":
        assert words in receiver.source.status


def test_a_file_that_is_never_completed_stays_in_the_status(receive, incoming):
    receiver = receive(incompleteAfter=2.0)
    (incoming / "a.nii").write_bytes(niftiFile(1)[:-10])
    receiver.run(60)
    words = "a.nii is not complete: The header declares 48 bytes of voxels; 38 are present."
    assert receiver.source.status == f"No image has arrived in {incoming} yet. {words}"
    arrive(incoming / "b.nii", niftiFile(2))
    receiver.run(1)
    assert receiver.source.status == f"Waiting for the next image in {incoming}. {words}"


def test_a_change_of_the_image_size_is_reported_once(receive, incoming):
    receiver = receive()
    for number, shape in enumerate(((2, 3, 4), (2, 3, 4), (5, 3, 4), (2, 3, 4))):
        arrive(incoming / f"{number}.nii", niftiFile(number, shape))
        receiver.run(0.5)
    (event,) = receiver.events
    assert (event.code, event.level, event.subject) == ("size-changed", "info", "Live")
    assert "from 4 x 3 x 2 int16 to 4 x 3 x 5 int16 with 2.nii" in event.text


def test_the_newest_existing_file_that_is_an_image_is_shown(receive, incoming):
    for order, (name, data) in enumerate(
        (("a.nii", niftiFile(1)), ("b.nii", niftiFile(2)), ("c.dat", b"no image" * 100), ("d.nii", b"no image" * 100))
    ):
        arrive(incoming / name, data)
        os.utime(incoming / name, ns=(0, 10**18 + order))
    receiver = receive()
    receiver.run(1)
    assert receiver.names == ["b.nii"]
    assert receiver.events == []


def test_all_new_images_of_a_folder_missing_at_the_start_are_shown(receive, incoming):
    receiver = receive(folder=incoming / "later")
    receiver.run(1)
    (incoming / "later").mkdir()
    for name in ("a.nii", "b.nii", "c.nii"):
        arrive(incoming / "later" / name, niftiFile(1))
    receiver.run(1)
    assert receiver.names == ["a.nii", "b.nii", "c.nii"]


# ---- replaced files


def test_a_replaced_file_of_the_same_size_and_time_is_another_frame(receive, incoming):
    when = (10**18, 10**18)
    receiver = receive()
    receiver.step()
    for number in range(4):
        part = incoming / ".part"
        part.write_bytes(niftiFile(number))
        os.utime(part, ns=when)
        os.replace(part, incoming / "a.nii")
        receiver.run(0.5)
    assert receiver.sums == [sumOf(number) for number in range(4)]


@pytest.mark.skipif(os.name == "nt", reason="no change time there")
def test_a_file_overwritten_in_place_whose_time_is_restored_is_another_frame(receive, incoming):
    when = (10**18, 10**18)
    receiver = receive()
    receiver.step()
    for number in range(3):
        with open(incoming / "a.nii", "r+b" if number else "wb") as file:
            file.write(niftiFile(number))
            file.flush()
            os.utime(incoming / "a.nii", ns=when)
        receiver.run(0.5)
    assert receiver.sums == [sumOf(number) for number in range(3)]


def test_new_rights_or_links_make_no_new_file(receive, incoming):
    receiver = receive(pattern="a.nii")
    receiver.step()
    arrive(incoming / "a.nii", niftiFile(1))
    receiver.run(0.5)
    os.chmod(incoming / "a.nii", 0o400)
    receiver.run(0.5)
    os.link(incoming / "a.nii", incoming / "b.nii")
    receiver.run(0.5)
    receiver.reopen()
    receiver.run(0.5)
    assert receiver.counts == (1, 0)
    os.chmod(incoming / "a.nii", 0o600)


def test_a_file_replaced_while_no_process_ran_is_noticed(receive, incoming):
    when = (10**18, 10**18)
    receiver = receive()
    for number in range(2):
        receiver.run(0.5)
        (incoming / ".part").write_bytes(niftiFile(number))
        os.utime(incoming / ".part", ns=when)
        os.replace(incoming / ".part", incoming / "a.nii")
        receiver.run(0.5 * (not number))
        receiver.reopen()
    receiver.run(0.5)
    assert receiver.sums == [sumOf(0), sumOf(1)]


def test_names_and_times_of_any_kind(receive, incoming):
    """Line ends and 255 bytes in a name, times in the future and before 1970, sparse files."""
    receiver = receive()
    receiver.step()
    names = ["a" * 251 + ".nii", "future.nii", "past.nii"] + (["line\nend\t.nii"] if os.name == "posix" else [])
    for number, name in enumerate(names):
        part = incoming / ".part"
        part.write_bytes(niftiFile(number))
        times = {"future.nii": 2 * 10**18 * 2, "past.nii": -(10**15)}
        os.utime(part, ns=(0, times.get(name, 10**18)))
        os.replace(part, incoming / name)
        receiver.run(0.5)
    with open(incoming / "sparse.nii", "wb") as file:
        file.write(niftiFile(9)[:360])
        file.truncate(400)
    receiver.run(0.5)
    assert receiver.counts == (len(names) + 1, 0)
    assert receiver.events == []
    assert all(name.isprintable() or "\ufffd" in name for name in receiver.names)


def test_the_status_says_why_the_source_waits(receive, incoming):
    receiver = receive(pattern="*.nii")
    receiver.step()
    assert receiver.source.status == f"No image that fits *.nii has arrived in {incoming} yet."
    (incoming / "a.mha").touch()
    (incoming / "b.mha").touch()
    receiver.run(1)
    assert receiver.source.status.endswith("yet. 2 other files are there (*.mha), which do not fit the pattern *.nii.")
    assert receiver.source.remedy == Remedy("Use *.mha", {"pattern": "*.mha"})
    for name in ("c.nii", "d.nii"):
        (incoming / name).write_bytes(niftiFile(1)[:-1])
    receiver.run(1)
    assert receiver.source.status.startswith(
        "Waiting until c.nii (and 1 more) is complete: The header declares 48 bytes"
    )
    for name in ("c.nii", "d.nii"):
        (incoming / name).write_bytes(niftiFile(1))
    receiver.run(1)
    assert receiver.source.status == f"Waiting for the next image in {incoming}."


# ---- 4-D files and crashes


def test_each_volume_of_a_file_becomes_a_frame(receive, incoming):
    receiver = receive()
    arrive(incoming / "a.nii", seriesFile(range(5)))
    receiver.run(1)
    assert receiver.frames == [("Live", number, "a.nii", sumOf(number)) for number in range(5)]


@pytest.mark.parametrize("frames", range(6))
@pytest.mark.parametrize("again", [None, 0, 1, 3])
def test_a_crash_between_two_volumes_loses_and_repeats_none(receive, incoming, frames, again):
    """The process crashes in the reader after some frames; its replacement does the same, once."""
    receiver = receive()
    receiver.step()
    arrive(incoming / "a.nii", seriesFile(range(6)))
    arrive(incoming / "b.nii", niftiFile(9))
    before = receiver.begin()
    for _ in range(frames):
        receiver.take(next(before))
    if frames:
        next(before)  # read, but not accepted
    receiver.reopen()
    if again is not None:
        before = receiver.begin()
        for _ in range(min(again, 6 - frames)):
            receiver.take(next(before))
        receiver.checkpoint.leave()  # the process closed the file before it crashed
        receiver.reopen()
    receiver.run(2)
    assert receiver.sums == [*map(sumOf, range(6)), sumOf(9)]
    assert [number for _, number, _, _ in receiver.frames] == list(range(7))
    assert receiver.counts == (7, 0)
    assert receiver.events == []


def readHalf(receiver, incoming):
    """Let the voxels of a file of four images disappear after two; return the checksums of all."""
    receiver.step()
    (incoming / "a.raw").write_bytes(bytes(range(32)))
    arrive(
        incoming / "a.nhdr",
        b"NRRD0004\ntype: uint8\ndimension: 4\nsizes: 2 2 2 4\nkinds: domain domain domain list\n"
        b"space: right-anterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,1) none\n"
        b"space origin: (0,0,0)\nencoding: raw\ndata file: a.raw\n\n",
    )
    reading = receiver.begin()
    for _ in range(2):
        receiver.take(next(reading))
    os.rename(incoming / "a.raw", incoming / "away.raw")
    for item in reading:
        receiver.take(item)
    return [checksum(np.arange(8 * n, 8 * n + 8, dtype=np.uint8).reshape(2, 2, 2)) for n in range(4)]


def test_a_file_that_is_unreadable_for_a_while_continues(receive, incoming):
    """A share fails in the middle of a file: no image is shown twice."""
    receiver = receive()
    expected = readHalf(receiver, incoming)
    receiver.run(1)
    assert len(receiver.frames) == 2
    os.rename(incoming / "away.raw", incoming / "a.raw")
    receiver.run(3)
    assert receiver.sums == expected
    assert receiver.counts == (4, 0)


def test_a_file_reported_after_some_images_continues(receive, incoming):
    """The voxels are missing until the file is reported, and the process crashes meanwhile."""
    receiver = receive(incompleteAfter=2.0)
    expected = readHalf(receiver, incoming)
    receiver.run(10)
    assert receiver.counts == (2, 1)
    receiver.reopen()
    receiver.run(5)
    os.rename(incoming / "away.raw", incoming / "a.raw")
    receiver.run(3)
    assert receiver.sums == expected
    assert receiver.counts == (4, 0)


def test_a_file_that_crashed_two_processes_is_reported_and_skipped(receive, incoming):
    receiver = receive()
    receiver.step()
    arrive(incoming / "a.nii", niftiFile(1))
    for _ in range(2):
        # The process crashes before it accepts the image.
        next(item for item in receiver.begin() if isinstance(item, Arrival))
        receiver.reopen()
    arrive(incoming / "b.nii", niftiFile(2))
    receiver.run(2)
    (event,) = receiver.events
    assert (event.code, event.level, event.subject) == ("crashed", "error", str(incoming / "a.nii"))
    assert "a.nii crashed the reading process 2 times" in event.text
    assert receiver.names == ["b.nii"]
    assert receiver.counts == (1, 1)
    receiver.reopen()
    receiver.run(2)
    assert receiver.counts == (1, 1)
    arrive(incoming / "a.nii", niftiFile(3))  # another file with that name is read
    receiver.run(2)
    assert receiver.counts == (2, 1)


def test_files_are_shown_in_natural_order_even_if_the_first_poll_has_pieces(receive, incoming):
    for number in range(1, 400):
        (incoming / f"im{number}.nii").write_bytes(niftiFile(number, (1, 1, 1)))
    receiver = receive(existing="all")
    receiver.clock.tick = 0.002
    receiver.until(lambda: len(receiver.frames) == 399)
    assert receiver.names == [f"im{number}.nii" for number in range(1, 400)]


def test_a_file_overwritten_without_pause_is_neither_mixed_nor_shown_twice(receive, incoming):
    """A scanner replaces one file many times: each frame is one of its images, in order, with the last."""
    receiver = receive()
    path, stop, sent = incoming / "live.nii", threading.Event(), []

    def scan():
        for number in range(3000):
            shape = (1 + number % 3, 2, 3)
            sent.append(sumOf(number, shape))
            arrive(path, niftiFile(number, shape))
            if stop.is_set():
                return

    thread = threading.Thread(target=scan)
    thread.start()
    end = time.monotonic() + 0.7
    while time.monotonic() < end:
        receiver.step()
    stop.set()
    thread.join()
    receiver.run(2)
    places = [sent.index(sum_) for sum_ in receiver.sums]
    assert places == sorted(set(places))
    assert places[-1] == len(sent) - 1
    assert receiver.counts == (len(places), 0)
    assert receiver.codes in ([], ["size-changed"])


# ---- effects on other programs


def test_nothing_in_the_folder_is_changed(receive, incoming):
    for name, data in (
        ("a.nii", niftiFile(1)),
        ("b.nii", b"no image" * 99),
        ("c.nii", niftiFile(2)[:-1]),
        ("sub/d.nii.gz", gzip.compress(niftiFile(3))),
        ("e.txt", b"notes"),
        (".f.nii.part", niftiFile(4)),
    ):
        (incoming / name).parent.mkdir(exist_ok=True)
        (incoming / name).write_bytes(data)
    before = snapshot(incoming)
    receiver = receive(existing="all", subfolders=True, incompleteAfter=1.0)
    receiver.run(5)
    assert receiver.counts == (2, 2)
    receiver.source.close()
    assert snapshot(incoming) == before


def test_a_hint_starts_a_poll_at_once(receive, incoming):
    receiver = receive()
    receiver.run(20)  # no file arrived for long: polls are rare
    receiver.STEP = 0.0
    receiver.step()
    arrive(incoming / "a.nii", niftiFile(1))
    receiver.step()
    assert receiver.frames == []
    receiver.source.command("rescan", {})
    receiver.step()
    assert receiver.names == ["a.nii"]
    receiver.source.command("unknown", {"value": 1})


def test_read_returns_for_commands_after_a_while(receive, incoming):
    """The clock advances while files are read: one call does not read all of them."""
    receiver = receive()
    for number in range(20):
        arrive(incoming / f"{number}.nii", niftiFile(number))
    calls = []
    while len(receiver.frames) < 20:
        before = len(receiver.frames)
        for item in receiver.source.read(0):
            receiver.take(item)
            receiver.clock.now += 0.03  # the time for a frame
        calls.append(len(receiver.frames) - before)
        assert len(calls) < 50
    assert max(calls) <= 5
    assert receiver.names == [f"{number}.nii" for number in range(20)]


@examples(0.5)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["renamed", "written", "cut", "garbage", "overwritten", "completed", "removed", "died"]),
            st.integers(0, 3),
            st.sampled_from([0.05, 1.0, 3.0]),
        ),
        max_size=12,
    )
)
def test_every_file_is_received_or_rejected(tmp_path_factory, happenings):
    folder, work = tmp_path_factory.mktemp("incoming"), tmp_path_factory.mktemp("work")
    receiver = Receiver(work, folder, incompleteAfter=2.0)
    sent, good = 0, []
    state = {}
    for number, (kind, which, seconds) in enumerate(happenings):
        path = folder / f"f{which}.nii"
        was = state.get(which)
        if was in ("cut", "good") and kind in ("renamed", "written", "cut", "garbage"):
            continue  # a file has that name
        if kind in ("renamed", "overwritten"):
            if kind == "overwritten" and was != "good":
                continue
            arrive(path, niftiFile(number))
            state[which] = "good"
        elif kind == "written":
            path.write_bytes(niftiFile(number))
            state[which] = "good"
        elif kind == "cut":
            path.write_bytes(niftiFile(number)[:-3])
            state[which] = "cut"
            state[which, "number"] = number
            sent += 1
            receiver.run(3)
        elif kind == "garbage":
            arrive(path, b"no image" * 50 + b"%d" % number)
            state[which] = "bad"
            sent += 1
        elif kind == "completed" and was == "cut":
            with path.open("ab") as file:
                file.write(niftiFile(state[which, "number"])[-3:])
            state[which] = "good"
            good.append(sumOf(state[which, "number"]))
        elif kind == "removed" and was in ("good", "bad"):
            path.unlink()
            state[which] = None
        elif kind == "died":
            receiver.reopen()
        if kind in ("renamed", "overwritten", "written"):
            sent += 1
            good.append(sumOf(number))
        receiver.run(max(seconds, 0.3))
    receiver.run(5)
    assert sorted(receiver.sums) == sorted(good)
    assert receiver.counts == (len(good), sent - len(good))
    assert [number for _, number, _, _ in receiver.frames] == list(range(len(good)))
    receiver.checkpoint.close()


def test_assumptions_about_files_are_reported_once(receive, incoming):
    place = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None}
    receiver = receive()
    for number in range(2):
        dicomFile(incoming / f"{number}.dcm", np.zeros((3, 4), np.uint8), Modality="OT", **place)
    receiver.until(lambda: len(receiver.frames) == 2)
    assert [(event.code, event.text) for event in receiver.events] == [
        ("image-note", "0.dcm: PixelSpacing is missing: 1 mm is assumed.")
    ]
