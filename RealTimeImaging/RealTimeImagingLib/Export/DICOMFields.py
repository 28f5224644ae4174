"""DICOM fields of attributes.

Fields and their types: PS3.3 section C.7.1.1 (Patient), C.7.2.1 (General Study), C.7.3.1 (General Series), C.7.6.22
(Specimen), C.7.5.1 (General Equipment). Limits of value representations: PS3.5 section 6.2. A private element also
holds all attributes exactly, because fields lose outer spaces, and fields of type CS lose lower case.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..Model.Event import Event
from ..Model.Text import textsOf

_ = textsOf(__file__)

CREATOR = "RealTimeImaging"
GROUP = 0x0099
"""Group of the private elements: 01 (UT) JSON of the whole, 02 (UT) one line of JSON for each frame of the file."""

_SAME = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDescription", "StudyID", "AccessionNumber"),
    *("ReferringPhysicianName", "SeriesDescription", "OperatorsName", "ProtocolName", "BodyPartExamined"),
    *("InstitutionName", "ManufacturerModelName", "DeviceSerialNumber", "StationName", "Laterality"),
)
"""Attributes that have the name of their field."""
_FIELDS = {
    **{name: name for name in _SAME},
    "Operator": "OperatorsName",
    "Protocol": "ProtocolName",
    "Anatomy": "BodyPartExamined",
    "Description": "SeriesDescription",
    "Institution": "InstitutionName",
    "Strain": "StrainDescription",
}
_HANDLED = ("SpecimenID", "CollectionID", "Genus", "Species", "ContainerID")
_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "ReferringPhysicianName", "StudyID"),
    *("AccessionNumber", "Laterality"),
)
"""Fields of type 2, or of type 2C with an unknown condition: they must exist and may be empty."""
_UNPAIRED = (
    *("ABDOMEN", "AORTA", "BLADDER", "BRAIN", "CHEST", "COCCYX", "COLON", "CSPINE", "ESOPHAGUS", "FACE"),
    *("GALLBLADDER", "HEAD", "HEART", "JAW", "LARYNX", "LIVER", "LSPINE", "MAXILLA", "MEDIASTINUM", "MOUTH"),
    *("NECK", "NOSE", "PANCREAS", "PELVIS", "PHARYNX", "PROSTATE", "RECTUM", "SKULL", "SPINE", "SPLEEN"),
    *("SSPINE", "STERNUM", "STOMACH", "THYMUS", "THYROID", "TONGUE", "TRACHEA", "TSPINE", "UTERUS", "WHOLEBODY"),
)
"""Body parts (PS3.16 annex L) that exist once, and therefore have no laterality."""
_COMMENT = 10240
"""Most characters of a value of type LT."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def describe(dataset: Any, attributes: Mapping[str, str]) -> list[Event]:
    """Add the fields of patient, study, series and specimen.

    :param dataset: a pydicom Dataset without any of these fields.
    :returns: a warning for each attribute that does not fit its field.
    """
    import pydicom

    for name in _EMPTY:
        setattr(dataset, name, "")
    misplaced: list[str] = []
    comments = []
    for name, value in attributes.items():
        field = _FIELDS.get(name)
        if not value.strip() or name in _HANDLED:
            continue
        if field is None:
            comments.append(name)
        elif fitting := fitted(field, value):
            setattr(dataset, field, fitting)
        else:
            misplaced.append(name)
    if dataset.get("BodyPartExamined") in _UNPAIRED and not dataset.Laterality:
        del dataset.Laterality
    misplaced += _species(dataset, attributes)
    misplaced += _specimen(dataset, attributes, pydicom)
    others = {name: attributes[name] for name in [*misplaced, *comments]}
    if others:
        dataset.ImageComments = _comment(others)
    return [
        Event(
            "export-field",
            _(
                "The value of {name} does not fit its DICOM field ({count} characters). It is stored "
                "in Image Comments and, exactly, in the private element."
            ).format(name=name, count=len(attributes[name])),
            "warning",
            name,
        )
        for name in misplaced
    ]


def fitted(keyword: str, value: str) -> str:
    """Convert a value for a field; empty when it is too long or contains characters that the field cannot hold."""
    from pydicom.datadict import dictionary_VR

    vr = dictionary_VR(keyword)
    value = value.strip()
    # A backslash separates values, and in names = separates spellings.
    if "\\" in value or _CONTROL.search(value) or (vr == "PN" and "=" in value):
        return ""
    if vr == "CS":
        # Upper case may change other letters ("ß", "SS").
        value = value.upper() if value.isascii() else ""
    return value if _valid(vr, value) else ""


def private(dataset: Any, whole: Mapping[str, Any], lines: list[str]) -> None:
    """Add the private elements."""
    block = dataset.private_block(GROUP, CREATOR, create=True)
    block.add_new(0x01, "UT", json.dumps(whole))
    block.add_new(0x02, "UT", "\n".join(lines))


def _valid(vr: str, value: str) -> bool:
    from pydicom import config
    from pydicom.valuerep import validate_value

    if vr == "PN" and any(len(group) > 64 for group in value.split("=")):
        return False
    try:
        validate_value(vr, value, config.RAISE)
    except ValueError:
        return False
    return True


def _species(dataset: Any, attributes: Mapping[str, str]) -> list[str]:
    genus, species = (attributes.get(name, "").strip() for name in ("Genus", "Species"))
    whole = species if species.startswith(genus) else f"{genus} {species}".strip()
    if not whole:
        return []
    fitting = fitted("PatientSpeciesDescription", whole)
    if not fitting:
        return [name for name in ("Genus", "Species") if attributes.get(name, "").strip()]
    dataset.PatientSpeciesDescription = fitting
    if code := _taxon(whole):
        dataset.PatientSpeciesCodeSequence = [code]
    if whole.lower() != "homo sapiens":
        # Fields of type 2C, required unless the patient is human.
        for name in (
            "PatientBreedDescription",
            "PatientSexNeutered",
            "ResponsiblePerson",
            "ResponsibleOrganization",
        ):
            setattr(dataset, name, "")
        for name in ("PatientBreedCodeSequence", "BreedRegistrationSequence"):
            setattr(dataset, name, [])
    return []


def _taxon(name: str) -> Any | None:
    # PS3.16, CID 7454 "Animal Taxonomic Rank Value", from pydicom.
    import pydicom
    from pydicom.sr.codedict import codes

    wanted = "".join(name.split()).lower()
    try:
        found = next((entry for entry in codes.cid7454.dir() if entry.lower() == wanted), None)
        concept = getattr(codes.cid7454, found) if found else None
    except AttributeError:
        return None
    if concept is None:
        return None
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator = concept.value, concept.scheme_designator
    item.CodeMeaning = concept.meaning
    return item


def _specimen(dataset: Any, attributes: Mapping[str, str], pydicom: Any) -> list[str]:
    misplaced = []
    specimen, collection, container = (
        attributes.get(name, "").strip() for name in ("SpecimenID", "CollectionID", "ContainerID")
    )
    fitting = fitted("SpecimenIdentifier", specimen) if specimen else ""
    if fitting:
        item = pydicom.Dataset()
        item.SpecimenIdentifier = fitting
        item.IssuerOfTheSpecimenIdentifierSequence = []
        item.SpecimenUID = pydicom.uid.generate_uid(prefix=None)
        item.SpecimenPreparationSequence = []
        dataset.ContainerIdentifier = (fitted("ContainerIdentifier", container) if container else "") or fitting
        dataset.IssuerOfTheContainerIdentifierSequence = []
        dataset.ContainerTypeCodeSequence = []
        dataset.SpecimenDescriptionSequence = [item]
        # Databases sort by these fields.
        dataset.PatientID = dataset.PatientID or fitting
        dataset.PatientName = dataset.PatientName or fitted("PatientName", specimen)
    elif specimen:
        misplaced.append("SpecimenID")
    if container and (not fitting or dataset.ContainerIdentifier != container):
        misplaced.append("ContainerID")
    if collection:
        other = pydicom.Dataset()
        other.PatientID, other.TypeOfPatientID = fitted("PatientID", collection), "TEXT"
        if other.PatientID:
            dataset.OtherPatientIDsSequence = [other]
            dataset.AccessionNumber = dataset.AccessionNumber or fitted("AccessionNumber", collection)
        else:
            misplaced.append("CollectionID")
    return misplaced


def _comment(values: Mapping[str, str]) -> str:
    # For people who look at the fields; the private element has the exact values.
    text = "\r\n".join(f"{name}: {value}" for name, value in values.items())
    text = re.sub(r"[\x00-\x08\x0b\x0e-\x1f\x7f]", " ", text)
    more = " ... (more in the private element)"
    return (text if len(text) <= _COMMENT else text[: _COMMENT - len(more)] + more).rstrip()
