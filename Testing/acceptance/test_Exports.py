"""What is told of exports, in the host that runs the module without Slicer."""

import os

import pytest
import slicerhost
from RealTimeImagingLib.Export.Job import ExportJob
from unit.recordings import frame, manifestOf, record

slicerhost.boot()

from RealTimeImagingLib.Host.Callbacks import Callbacks  # noqa: E402 - needs qt
from RealTimeImagingLib.Host.ExportControl import ExportControl  # noqa: E402 - needs qt


class Told:
    """Exports, and the events that they report."""

    def __init__(self):
        self.callbacks = Callbacks()
        self.exports = ExportControl(self.callbacks, lambda: None, lambda stream: [], dict)

    @property
    def events(self):
        return [(event.code, event.text) for event in self.callbacks.events]

    def untilEnd(self):
        assert slicerhost.runUntil(lambda: not self.exports._running, 20)


@pytest.fixture
def told():
    made = Told()
    yield made
    made.exports.close()
    slicerhost.processEvents()


@pytest.mark.parametrize(
    ("format_", "words"),
    [("seq.nrrd", "{out}.seq.nrrd"), ("nii", "out.json, out.nii in {folder}"), ("dicom", "4 files in {out}")],
)
def test_few_files_are_named_and_many_are_counted(tmp_path, told, format_, words):
    folder = tmp_path / "recordings"
    folder.mkdir()
    parts = record(folder, [frame(number) for number in range(4)])
    told.exports.start(ExportJob(format_, str(tmp_path / "out"), tuple(parts)))
    told.untilEnd()
    expected = words.format(out=tmp_path / "out", folder=tmp_path)
    assert told.events == [("saved", f"Saved and compared: {expected}")]


@pytest.mark.parametrize("end", ["close", "forget", "cancel"])
def test_checksums_that_are_broken_off_are_not_told(tmp_path, told, end):
    headers = record(tmp_path, [frame(0)])
    told.exports.checksums(headers)
    getattr(told.exports, end)()
    told.untilEnd()
    assert told.events == []
    # Only the end of all breaks them off: nobody asked for them, and nobody can ask for them again.
    assert end == "close" or manifestOf(headers[0])["parts"][0]["sha256"]


def test_checksums_that_fail_are_told_as_what_they_are(tmp_path, told):
    headers = record(tmp_path, [frame(0)])
    os.unlink(headers[0].replace(".seq.nhdr", ".json"))
    told.exports.checksums(headers)
    told.untilEnd()
    ((code, text),) = told.events
    assert code == "not-saved"
    assert "Test-Scan.json cannot be read or written" in text
    assert not told.exports.status()["failed"]
