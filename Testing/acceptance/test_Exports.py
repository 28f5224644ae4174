"""Events of exports, in the host that runs the module without Slicer."""

import os

import pytest
import slicerhost
from RealTimeImagingLib.Export.Job import ExportJob
from unit.recordings import frame, manifestOf, record

slicerhost.boot()

from RealTimeImagingLib.Host.Callbacks import Callbacks  # noqa: E402 - needs qt
from RealTimeImagingLib.Host.ExportControl import ExportControl  # noqa: E402 - needs qt


class Exporting:
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
def exporting():
    made = Exporting()
    yield made
    made.exports.close()
    slicerhost.processEvents()


@pytest.mark.parametrize(
    ("format_", "words"),
    [("seq.nrrd", "{out}.seq.nrrd"), ("nii", "out.json, out.nii in {folder}"), ("dicom", "4 files in {out}")],
)
def test_few_files_are_named_and_many_are_counted(tmp_path, exporting, format_, words):
    folder = tmp_path / "recordings"
    folder.mkdir()
    parts = record(folder, [frame(number) for number in range(4)])
    exporting.exports.start(ExportJob(format_, str(tmp_path / "out"), tuple(parts)))
    exporting.untilEnd()
    expected = words.format(out=tmp_path / "out", folder=tmp_path)
    assert exporting.events == [("saved", f"Saved and compared: {expected}")]


@pytest.mark.parametrize("end", ["close", "forget", "cancel"])
def test_cancelled_checksums_are_not_reported(tmp_path, exporting, end):
    headers = record(tmp_path, [frame(0)])
    exporting.exports.checksums(headers)
    getattr(exporting.exports, end)()
    exporting.untilEnd()
    assert exporting.events == []
    # Only close() cancels them: the user cannot ask for them again.
    assert end == "close" or manifestOf(headers[0])["parts"][0]["sha256"]


def test_failed_checksums_are_reported(tmp_path, exporting):
    headers = record(tmp_path, [frame(0)])
    os.unlink(headers[0].replace(".seq.nhdr", ".json"))
    exporting.exports.checksums(headers)
    exporting.untilEnd()
    ((code, text),) = exporting.events
    assert code == "not-saved"
    assert "Test-Scan.json cannot be read or written" in text
    assert not exporting.exports.status()["failed"]
