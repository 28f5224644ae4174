"""Status and remedy of a folder source that waits, and that receives regularly."""

from __future__ import annotations

import sys

import pytest
from RealTimeImagingLib.Model.Event import Remedy
from RealTimeImagingLib.Model.Text import Text
from unit.conftest import arrive, niftiFile, sumOf


@pytest.mark.parametrize("period", [0.2, 2.0, 7.0])
def test_the_status_stays_the_same_while_images_come_regularly(receive, incoming, period):
    """Each file grows for 80 % of the period, as a scanner's files do."""
    receiver = receive()
    receiver.step()
    statuses = []
    for number in range(6):
        data, path = niftiFile(number), incoming / f"{number}.nii"
        path.write_bytes(data[:-1])
        for _part in range(8):
            receiver.run(period / 10)
            statuses += [receiver.source.status] if number > 3 else []
        path.write_bytes(data)
        for _part in range(2):
            receiver.run(period / 10)
            statuses += [receiver.source.status] if number > 3 else []
    assert receiver.counts == (6, 0)
    assert set(statuses) == {f"Waiting for the next image in {incoming}."}


def test_a_growing_file_is_named_when_the_next_image_is_overdue(receive, incoming):
    receiver = receive()
    receiver.step()
    for number in range(3):
        arrive(incoming / f"{number}.nii", niftiFile(number))
        receiver.run(1)
    (incoming / "3.nii").write_bytes(niftiFile(3)[:-1])
    receiver.run(0.4)
    assert receiver.source.status == f"Waiting for the next image in {incoming}."
    receiver.run(0.8)
    assert receiver.source.status.startswith("Waiting until 3.nii is complete: The header declares 48 bytes")


def test_the_last_file_that_is_no_image_is_named_until_it_is_removed(receive, incoming):
    receiver = receive()
    receiver.step()
    arrive(incoming / "bad.nii", b"no image" * 100)
    receiver.run(3)
    assert f"arrived in {incoming} yet. bad.nii: " in receiver.source.status
    (incoming / "bad.nii").unlink()
    receiver.run(1)
    assert receiver.source.status == f"No image has arrived in {incoming} yet."
    arrive(incoming / "worse.nii", b"no image" * 100)
    receiver.run(3)
    assert "worse.nii: " in receiver.source.status
    arrive(incoming / "good.nii", niftiFile(1))
    receiver.run(3)
    assert receiver.source.status == f"Waiting for the next image in {incoming}."


@pytest.mark.skipif(sys.platform == "win32", reason="Users of Windows may not make links.")
def test_images_below_are_found_beside_a_circular_link(receive, incoming):
    (incoming / "day").mkdir()
    for folder in (incoming, incoming / "day"):
        (folder / "circle.nii").symlink_to("circle.nii")
    (incoming / "day" / "a.nii").write_bytes(niftiFile(1))
    receiver = receive()
    receiver.run(4)
    assert "Images are in the subfolder day" in receiver.source.status


@pytest.mark.skipif(sys.platform == "win32", reason="Users of Windows may not make links.")
@pytest.mark.parametrize("target", ["a.nii", "../away/a.nii"], ids=["circular", "dangling"])
def test_a_link_to_no_file_is_reported_once_and_received_when_its_target_appears(receive, incoming, target):
    receiver = receive()
    receiver.step()
    (incoming / "a.nii").symlink_to(target)
    receiver.run(0.3)
    assert receiver.events == []
    receiver.run(5)
    (event,) = receiver.events
    assert (event.code, event.level, event.subject) == ("unreadable", "warning", str(incoming / "a.nii"))
    assert event.text.startswith("a.nii cannot be read (it is a link that leads to no file).")
    assert "a.nii cannot be read" in receiver.source.status
    (incoming.parent / "away").mkdir()
    arrive(incoming.parent / "away" / "a.nii", niftiFile(1))
    if target == "a.nii":
        (incoming / "a.nii").unlink()
        (incoming / "a.nii").symlink_to("../away/a.nii")
    receiver.until(lambda: receiver.sums == [sumOf(1)])
    (incoming.parent / "away").rename(incoming.parent / "gone")  # a share that goes away and comes back
    receiver.run(3)
    (incoming.parent / "gone").rename(incoming.parent / "away")
    receiver.run(3)
    assert receiver.sums == [sumOf(1)]
    assert receiver.codes == ["unreadable"]


@pytest.mark.skipif(sys.platform == "win32", reason="Users of Windows may not make links.")
def test_links_to_a_share_that_is_away_are_counted_together(receive, incoming):
    receiver = receive()
    receiver.step()
    for number in range(200):
        (incoming / f"{number:03}.nii").symlink_to(f"../away/{number:03}.nii")
    receiver.until(lambda: len(receiver.events) == 4, 30)
    assert receiver.codes == ["unreadable"] * 4
    assert receiver.events[-1].text.startswith("197 more. The last: 199.nii cannot be read (it is a link that leads")
    assert receiver.checkpoint.rejected == 200
    (incoming.parent / "away").mkdir()
    for number in range(200):
        arrive(incoming.parent / "away" / f"{number:03}.nii", niftiFile(number))
    receiver.until(lambda: len(receiver.sums) == 200, 30)
    assert receiver.sums == [sumOf(number) for number in range(200)]
    assert receiver.checkpoint.rejected == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Users of Windows may not make links.")
def test_a_stop_reports_the_counted_links(receive, incoming):
    receiver = receive()
    receiver.step()
    for number in range(10):
        (incoming / f"{number:03}.nii").symlink_to(f"../away/{number:03}.nii")
    receiver.until(lambda: len(receiver.events) == 3)
    receiver.run(0.5)
    (last,) = receiver.source.rest()
    assert last.text.startswith("7 more. The last: 009.nii cannot be read")


@pytest.mark.skipif(sys.platform == "win32", reason="Users of Windows may not make links.")
def test_an_existing_link_to_no_file_is_skipped_and_received_when_its_target_appears(receive, incoming):
    arrive(incoming / "old.nii", niftiFile(0))
    (incoming / "a.nii").symlink_to("../a.nii")
    receiver = receive()
    receiver.run(5)
    assert receiver.events == []
    arrive(incoming.parent / "a.nii", niftiFile(1))
    receiver.until(lambda: receiver.sums == [sumOf(0), sumOf(1)])


def test_images_deep_below_are_found(receive, incoming):
    (incoming / "empty").mkdir()
    (incoming / "day" / "series").mkdir(parents=True)
    receiver = receive()
    receiver.step()
    assert receiver.source.remedy is None
    arrive(incoming / "day" / "series" / "a.nii", niftiFile(1))
    receiver.run(4)
    assert "Images are in the subfolder day" in receiver.source.status
    assert receiver.source.remedy == Remedy("Look there", {"subfolders": True})
    mended = receive(**receiver.source.remedy.settings)
    mended.run(1)
    assert mended.counts == (1, 0)
    assert mended.source.remedy is None


@pytest.mark.parametrize(
    ("pattern", "name", "better"),
    [
        ("*.nii", "scan1.nii.gz", "*.nii.gz"),
        ("scan*.nii", "scan1.NII.GZ", "scan*.nii.gz"),
        ("scan*.nii", "image1.nii", "*.nii"),
        ("*.nii, *.mha", "image1.nrrd", "*.nrrd"),
    ],
)
def test_a_pattern_that_fits_the_files_is_offered(receive, incoming, pattern, name, better):
    receiver = receive(pattern=pattern)
    receiver.step()
    arrive(incoming / "notes.dat", b"no image")
    receiver.run(0.5)
    assert "1 other file is there (*.dat)" in receiver.source.status
    assert receiver.source.remedy is None
    arrive(incoming / name, niftiFile(1))
    receiver.run(0.5)
    assert "2 other files are there" in receiver.source.status
    assert receiver.source.remedy == Remedy(f"Use {better}", {"pattern": better})


def test_the_offer_stays_beside_a_file_that_is_never_completed(receive, incoming):
    receiver = receive(pattern="*.nii", incompleteAfter=2.0)
    (incoming / "a.nii").write_bytes(niftiFile(1)[:-1])
    arrive(incoming / "b.nrrd", niftiFile(1))
    receiver.run(1)
    assert receiver.source.remedy is None
    receiver.run(5)
    assert "a.nii is not complete" in receiver.source.status
    assert receiver.source.remedy == Remedy("Use *.nrrd", {"pattern": "*.nrrd"})


def test_a_pattern_with_commas_is_a_list(receive, incoming):
    receiver = receive(pattern="*.nii, *.mha")
    receiver.step()
    arrive(incoming / "a.nii", niftiFile(1))
    receiver.run(0.5)
    assert receiver.counts == (1, 0)


def test_files_that_no_image_can_be_are_named_only_when_nothing_else_is_there(receive, incoming):
    receiver = receive(existing="ignore")
    for name in ("a.pdf", "b.pdf", "c.txt", ".hidden"):
        (incoming / name).touch()
    receiver.step()
    text = f"No image has arrived in {incoming} yet. Only files of other types are there (*.pdf, *.txt), which are no "
    assert receiver.source.status == text + "images."
    assert isinstance(receiver.source.status, Text)
    (incoming / "day").mkdir()
    arrive(incoming / "day" / "a.nii", niftiFile(1))
    receiver.run(4)
    assert "Only files of other types" not in receiver.source.status
