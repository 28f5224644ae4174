"""Attributes are complete in their DICOM fields, or are reported; the private element has all of them exactly."""

import json

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Export.DICOMFields import CREATOR, GROUP, describe
from unit.examples import examples
from unit.exports import save
from unit.recordings import frame, record

STRAIN = "BKS.Cg-Dock7m +/+ Leprdb/J"


def described(**attributes):
    """A data set with the fields of these attributes, and the names of those that did not fit."""
    dataset = pydicom.Dataset()
    events = describe(dataset, attributes)
    assert {(event.code, event.level) for event in events} <= {("export-field", "warning")}
    return dataset, [event.subject for event in events]


@pytest.fixture
def exported(tmp_path):
    """Export one frame with these attributes; return the data set and the events."""

    def export(attributes, frameAttributes=None):
        parts = record(tmp_path, [frame(0, attributes=frameAttributes or {})])
        (path,), events = save("dicom", tmp_path / "out", parts, attributes=attributes)
        return pydicom.dcmread(path), events

    return export


def test_specimen_species_and_study_are_in_their_standard_fields(exported):
    dataset, events = exported(
        {
            **{"SpecimenID": "UF-12345", "Genus": "Mus", "Species": "musculus", "Strain": STRAIN},
            **{"CollectionID": "UF Mammals", "Operator": "Müller", "Protocol": "T2 \u9f20", "Anatomy": "Head"},
        }
    )
    assert events == []
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert dataset.ContainerIdentifier == "UF-12345"
    (specimen,) = dataset.SpecimenDescriptionSequence
    assert specimen.SpecimenIdentifier == "UF-12345"
    assert specimen.SpecimenUID.startswith("2.25.")
    assert (dataset.PatientID, str(dataset.PatientName)) == ("UF-12345", "UF-12345")
    assert dataset.PatientSpeciesDescription == "Mus musculus"
    (code,) = dataset.PatientSpeciesCodeSequence
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("447612001", "SCT")
    assert dataset.StrainDescription == STRAIN
    assert dataset.OtherPatientIDsSequence[0].PatientID == dataset.AccessionNumber == "UF Mammals"
    assert (str(dataset.OperatorsName), dataset.ProtocolName) == ("Müller", "T2 \u9f20")
    assert dataset.BodyPartExamined == "HEAD"


def test_names_of_fields_are_fields():
    dataset, misplaced = described(PatientID="7", PatientName="Doe^Jane", PatientBirthDate="20200131", StudyID="s")
    assert misplaced == []
    assert (dataset.PatientID, dataset.PatientName.family_name, dataset.PatientBirthDate) == ("7", "Doe", "20200131")


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("Protocol", "ProtocolName", "p" * 65),
        ("Protocol", "ProtocolName", "a\\b"),
        ("Protocol", "ProtocolName", "two\nlines"),
        ("Operator", "OperatorsName", "x" * 65),
        ("Operator", "OperatorsName", "a=b"),
        ("Strain", "StrainDescription", "a\\b"),
        ("Anatomy", "BodyPartExamined", "left hind limb, distal"),
        ("Anatomy", "BodyPartExamined", "Fuß"),
        ("SpecimenID", "ContainerIdentifier", "s" * 65),
        ("CollectionID", "OtherPatientIDsSequence", "c" * 65),
        ("Species", "PatientSpeciesDescription", "s" * 65),
        ("StudyID", "StudyID", "17 letters or so."),
        ("PatientBirthDate", "PatientBirthDate", "in May"),
        ("PatientSex", "PatientSex", "a very long word of it"),
    ],
)
def test_a_value_that_does_not_fit_is_reported_and_complete_in_the_comments(name, field, value):
    dataset, misplaced = described(**{name: value})
    assert misplaced == [name]
    assert not dataset.get(field)
    assert value.replace("\n", "") in dataset.ImageComments.replace("\n", "")


def test_a_value_of_the_full_length_is_in_its_field():
    dataset, misplaced = described(Protocol="ü" * 64, StudyID="7" * 16, CollectionID="c" * 64, Strain="s" * 70_000)
    assert misplaced == []
    assert (dataset.ProtocolName, dataset.StudyID) == ("ü" * 64, "7" * 16)
    assert dataset.OtherPatientIDsSequence[0].PatientID == "c" * 64
    assert len(dataset.StrainDescription) == 70_000
    assert dataset.AccessionNumber == ""


def test_attributes_without_a_field_are_in_the_comments():
    dataset, misplaced = described(Remark="5 µm", StrainStockNumber="000642")
    assert misplaced == []
    assert dataset.ImageComments == "Remark: 5 µm\r\nStrainStockNumber: 000642"


def test_long_comments_end_with_a_note():
    dataset, _ = described(Remark="x" * 20_000)
    assert len(dataset.ImageComments) <= 10240
    assert dataset.ImageComments.endswith("(more in the private element)")


@pytest.mark.parametrize(
    "value", [STRAIN, "Größe 5 µm, 鼠", "a\r\nb\0c", "C:\\data\\x", " around ", "x" * 100_000], ids=range(6)
)
def test_the_private_element_has_every_attribute_exactly(exported, value):
    attributes = {"SpecimenID": value, "Strain": value, "Protocol": value, "Operator": value, "Remark": value}
    dataset, _ = exported(attributes, {"SourceFile": value})
    block = dataset.private_block(GROUP, CREATOR)
    assert json.loads(block[0x01].value)["attributes"] == attributes
    told = [json.loads(line) for line in block[0x02].value.split("\n")]
    assert [each["attributes"] for each in told] == [{"SourceFile": value}]


def test_a_human_has_no_fields_of_animals():
    assert "PatientSexNeutered" not in described(Species="Homo sapiens")[0]
    assert "PatientSexNeutered" in described(Species="Felis catus")[0]
    assert "PatientSpeciesCodeSequence" not in described(Species="Danio rerio")[0]
    assert described(Genus="Mus", Species="Mus musculus")[0].PatientSpeciesDescription == "Mus musculus"


NAMES = [
    "SpecimenID",
    "CollectionID",
    "Genus",
    "Species",
    "Strain",
    "Operator",
    "Protocol",
    "Anatomy",
    "Any",
    "PatientID",
]


@examples(2)
@given(st.dictionaries(st.sampled_from(NAMES), st.text(st.characters(exclude_categories=["Cs"]), max_size=80)))
def test_any_text_makes_a_file_that_is_equal_when_it_is_read(tmp_path_factory, attributes):
    folder = tmp_path_factory.mktemp("any")
    (path,), _ = save("dicom", folder / "out", record(folder, [frame(0)]), attributes=attributes)
    block = pydicom.dcmread(path).private_block(GROUP, CREATOR)
    assert json.loads(block[0x01].value)["attributes"] == attributes
