"""Impossible jobs are rejected with a reason; possible jobs survive JSON."""

import json
import os

import pytest
from RealTimeImagingLib.Export.Job import FORMATS, ExportJob, Snapshot
from RealTimeImagingLib.Export.Output import OutputFolder
from RealTimeImagingLib.Export.Worker import WRITERS
from RealTimeImagingLib.Model.Errors import SettingsError

SNAPSHOT = {
    **{"rawPath": "a.raw", "shape": (2, 3, 4), "dtype": "<i2"},
    **{"ijkToRAS": (1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1), "receiveTime": 5.0},
}


def test_every_format_has_a_name_and_a_writer():
    assert list(FORMATS) == list(WRITERS)
    for name, each in FORMATS.items():
        assert each.words
        assert (each.suffix == "") == (WRITERS[name].output is OutputFolder)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"format": "jpg"}, "format 'jpg' is unknown"),
        ({"destination": " "}, "Choose a file to save to"),
        ({"destination": "/a/.nii"}, "consists of a suffix only"),
        ({"parts": ()}, "either the parts"),
        ({"snapshot": Snapshot(**SNAPSHOT)}, "either the parts"),
        ({"first": -1}, "is empty"),
        ({"first": 3, "last": 2}, "is empty"),
        ({"attributes": {"a: b": "c"}}, "attribute name"),
        ({"attributes": {"space": "c"}}, "is reserved"),
        ({"attributes": {"a": 5}}, "must be text"),
    ],
)
def test_an_impossible_job_is_rejected(values, words):
    with pytest.raises(SettingsError, match=words):
        ExportJob(**{"format": "nii", "destination": "a", "parts": ("b",), **values})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"shape": (2, 3)}, "shape"),
        ({"shape": (2, 3, 0)}, "shape"),
        ({"shape": (2, 3, 4, 2)}, "shape"),
        ({"dtype": "<i8"}, "int64|i8"),
        ({"dtype": "nonsense"}, "nonsense"),
        ({"ijkToRAS": (0.0,) * 16}, "last row"),
        ({"ijkToRAS": (0.0,) * 15}, "geometry of a snapshot"),
        ({"receiveTime": float("nan")}, "finite"),
        ({"attributes": {"a b": "c"}}, "attribute name"),
    ],
)
def test_an_impossible_snapshot_is_rejected(values, words):
    with pytest.raises(SettingsError, match=words):
        Snapshot(**{**SNAPSHOT, **values})


@pytest.mark.parametrize(
    ("format_", "destination", "base"),
    [
        ("nii", "a.nii", "a"),
        ("nii", "a", "a"),
        ("nii", "a.b", "a.b"),
        ("nii.gz", "a.NII.GZ", "a"),
        ("nii", "a.nii.gz", "a"),
        ("nrrd", "a.nrrd", "a"),
        ("nrrd", "a.seq.nrrd", "a"),
        ("seq.nrrd", "a.seq.nrrd", "a"),
        ("dicom", "a.nii", "a.nii"),
    ],
)
def test_a_destination_may_have_its_suffix(format_, destination, base):
    assert ExportJob(format_, destination, ("p",)).base == os.path.abspath(base)


def test_a_job_survives_json():
    for job in (
        ExportJob("nii", "a", ("b", "c"), 3, 9, attributes={"Strain": "ü\n"}, compress=True),
        ExportJob("nrrd", "a", snapshot=Snapshot(**SNAPSHOT, deviceTime=4.0, number=3, stream="S")),
    ):
        assert ExportJob.fromJSON(json.loads(json.dumps(job.toJSON()))) == job


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"format": "nii"}, "The export needs a value of destination"),
        ({"unknown": 1}, "The export has no setting 'unknown'"),
        ({"format": "nrrd", "destination": "a", "snapshot": 3}, "The snapshot has settings by name, not 3"),
        ({"format": "nrrd", "destination": "a", "snapshot": {"x": 1}}, "The snapshot has no setting 'x'"),
    ],
)
def test_an_invalid_description_of_a_job_is_rejected(values, words):
    with pytest.raises(SettingsError, match=words):
        ExportJob.fromJSON(values)
