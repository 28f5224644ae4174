"""Frames of multi-frame files: volumes by what each frame says of itself, read and converted."""

import itertools
import random
import re

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, RLELossless
from RealTimeImagingLib.Conversion import convertFolder
from RealTimeImagingLib.Formats.DICOM.Frames import FrameInfo, stacksOf
from unit.conversions import convert, fromUs, one
from unit.examples import examples
from unit.readers import assertHarmless, mutated, read, refusal
from unit.test_DICOM import made

STACK, PLACE, TIME, ECHO = 0x00209056, 0x00209057, 0x00209128, 0x00189082
RUN = [(z, t) for t in range(3) for z in range(4)]
"""Four slices at three time points."""


def value(z, t):
    return 100 * t + z + 1


def item(**elements):
    found = Dataset()
    for name, content in elements.items():
        setattr(found, name, content)
    return found


def enhanced(path, frames, content=lambda z, t: {}, groups=lambda z, t: {}, dimensions=(), **elements):
    """An Enhanced MR file with a frame for each (z, t), whose voxels are value(z, t); slices lie 2 mm apart.

    :param content: of the FrameContentSequence of a frame. ``groups``: its further functional groups.
    """
    own = []
    for z, t in frames:
        frame = item(
            PlanePositionSequence=[item(ImagePositionPatient=[-10, -8, 2 * z])],
            FrameContentSequence=[item(**content(z, t))],
        )
        for name, group in groups(z, t).items():
            setattr(frame, name, [group])
        own.append(frame)
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[item(PixelSpacing=[3, 2], SliceThickness=9)],
    )
    values = np.stack([np.full((3, 5), value(z, t), np.int16) for z, t in frames])
    pointers = [item(DimensionIndexPointer=tag, FunctionalGroupPointer=0x00209111) for tag in dimensions]
    common = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": own}
    common |= {"DimensionIndexSequence": pointers} if pointers else {}
    common |= {"SeriesInstanceUID": "1.2.3.4", "SeriesNumber": 1, "SeriesDescription": "Run"}
    return made(path, values, **{**common, **elements})


def moment(seconds):
    return f"20240501101010.{seconds:06d}"


def first(images):
    """The value of each slice of each image."""
    return [image.pixels[:, 0, 0].tolist() for image in images]


def converted(folder, entry):
    return fromUs(folder / entry.file)[0][:, :, 0, 0].tolist()


EXPECTED = [[value(z, t) for z in range(4)] for t in range(3)]
SAYING = {
    "dimensions": (lambda z, t: {"DimensionIndexValues": [1, z + 1, t + 1]}, (STACK, PLACE, TIME)),
    "time dimension first": (lambda z, t: {"DimensionIndexValues": [t + 1, z + 1]}, (TIME, PLACE)),
    "a dimension that counts the frames": (
        lambda z, t: {"DimensionIndexValues": [4 * t + z + 1, t + 1, z + 1]},
        (0x00209156, TIME, PLACE),
    ),
    "temporal index": (lambda z, t: {"TemporalPositionIndex": t + 1}, ()),
    "time": (lambda z, t: {"FrameAcquisitionDateTime": moment(1000 * t + 10 * z)}, ()),
    "reference time": (lambda z, t: {"FrameReferenceDateTime": moment(1000 * t)}, ()),
}


@pytest.mark.parametrize("name", SAYING)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_frames_in_any_order_are_volumes_by_what_they_say(tmp_path, name, syntax):
    content, dimensions = SAYING[name]
    (tmp_path / "in").mkdir()
    shuffled = random.Random(1).sample(RUN, 12)
    plain = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    path = enhanced(tmp_path / "in/a.dcm", shuffled, content, dimensions=dimensions, syntax=plain)
    if syntax == RLELossless:
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless)
        dataset.save_as(path)
    images = read(path)
    assert first(images) == EXPECTED
    np.testing.assert_allclose(images[0].ijkToRAS, [[-2, 0, 0, 10], [0, -3, 0, 8], [0, 0, 2, 0], [0, 0, 0, 1]])
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    assert converted(tmp_path / "out", entry) == EXPECTED
    assert (entry.size, entry.slices, entry.volumes, entry.warnings) == ("5 x 3", 4, 3, ())


def test_frames_with_delays_are_phases_of_the_heart(tmp_path):
    def groups(z, t):
        return {"CardiacSynchronizationSequence": item(NominalCardiacTriggerDelayTime=50.0 * t)}

    images = read(enhanced(tmp_path / "a.dcm", random.Random(2).sample(RUN, 12), groups=groups))
    assert first(images) == EXPECTED
    assert [image.attributes["TriggerTime"] for image in images] == ["0.0", "50.0", "100.0"]


def test_an_aborted_run_gives_whole_volumes_and_names_what_is_missing(tmp_path):
    content, dimensions = SAYING["dimensions"]
    (tmp_path / "in").mkdir()
    path = enhanced(
        tmp_path / "in/a.dcm", [f for f in RUN if f not in ((2, 2), (3, 2))], content, dimensions=dimensions
    )
    images = read(path)
    assert first(images) == [*EXPECTED[:2], [201, 202, 201, 201]]
    assert [image.attributes.get("MissingSlices") for image in images] == [None, None, "3 4"]
    assert "Missing: 2 of 4 slices of image 3, number 3, 4." in images[0].attributes["Note"]
    whole, rest = convert(tmp_path / "in", tmp_path / "out").entries
    assert converted(tmp_path / "out", whole) == EXPECTED[:2]
    assert (rest.slices, rest.volumes) == (2, 1)
    assert "2 slices; other volumes of the series have 4" in rest.warnings[0]


@pytest.mark.parametrize("name", ["time", "reference time"])
@pytest.mark.parametrize("lost", itertools.product(range(4), range(3)))
def test_a_lost_frame_moves_no_other_to_its_time_point(tmp_path, name, lost):
    content, dimensions = SAYING[name]
    there = random.Random(3).sample([frame for frame in RUN if frame != lost], 11)
    images = read(enhanced(tmp_path / "a.dcm", there, content, dimensions=dimensions))
    z, t = lost
    expected = [list(volume) for volume in EXPECTED]
    expected[t][z] = min(expected[t][:z] + expected[t][z + 1 :])
    assert first(images) == expected
    assert [image.attributes.get("MissingSlices") for image in images] == [
        str(z + 1) if moment == t else None for moment in range(3)
    ]


def test_an_aborted_run_with_the_planned_count_gives_what_is_there(tmp_path):
    content, dimensions = SAYING["dimensions"]
    path = enhanced(tmp_path / "a.dcm", RUN, content, dimensions=dimensions)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = dataset.PixelData[: 10 * 30]
    dataset.save_as(path)
    images = read(path)
    assert first(images) == [*EXPECTED[:2], [201, 202, 201, 201]]
    note = "The header declares 12 frames; 10 are there. Missing: 2 of 4 slices of image 3, number 3, 4."
    assert images[0].attributes["Note"] == note


def test_a_place_that_all_volumes_lack_is_filled_and_named(tmp_path):
    content, dimensions = SAYING["dimensions"]
    images = read(enhanced(tmp_path / "a.dcm", [f for f in RUN if f[0] != 2], content, dimensions=dimensions))
    assert [image.pixels.shape for image in images] == [(4, 3, 5)] * 3
    assert {image.attributes["MissingSlices"] for image in images} == {"3"}


def echoes(z, t):
    """Time points 0, 1, 2 as the echoes of one and a half repetitions."""
    return {"MREchoSequence": item(EffectiveEchoTime=10.0 + 20 * (t % 2))}


def test_echoes_are_images_of_their_own_and_become_files_of_their_own(tmp_path):
    def content(z, t):
        return {"DimensionIndexValues": [z + 1, t % 2 + 1, t // 2 + 1]}

    (tmp_path / "in").mkdir()
    frames = [(z, t) for z in range(4) for t in (3, 0, 2, 1)]
    path = enhanced(tmp_path / "in/a.dcm", frames, content, echoes, (PLACE, ECHO, TIME))
    images = read(path)
    assert first(images) == [[value(z, t) for z in range(4)] for t in (0, 2, 1, 3)]
    assert [image.attributes["EchoTime"] for image in images] == ["10.0", "10.0", "30.0", "30.0"]
    entries = convert(tmp_path / "in", tmp_path / "out").entries
    found = sorted(converted(tmp_path / "out", entry) for entry in entries)
    assert found == [[[value(z, t) for z in range(4)] for t in both] for both in ((0, 2), (1, 3))]


def test_magnitude_and_phase_are_not_mixed(tmp_path):
    def groups(z, t):
        component = ("MAGNITUDE", "PHASE")[t % 2]
        return {"MRImageFrameTypeSequence": item(FrameType=["ORIGINAL", "PRIMARY"], ComplexImageComponent=component)}

    (tmp_path / "in").mkdir()
    path = enhanced(tmp_path / "in/a.dcm", [(z, t) for z in range(4) for t in (1, 0)], groups=groups)
    images = read(path)
    assert {image.attributes["ComplexImageComponent"] for image in images} == {"MAGNITUDE", "PHASE"}
    assert sorted(first(images)) == EXPECTED[:2]
    entries = convert(tmp_path / "in", tmp_path / "out").entries
    assert sorted(converted(tmp_path / "out", entry) for entry in entries) == [[EXPECTED[0]], [EXPECTED[1]]]


def test_stacks_are_volumes_of_their_own(tmp_path):
    (tmp_path / "in").mkdir()
    frames = [(z, 0) for z in (20, 1, 22, 0, 21)]
    path = enhanced(tmp_path / "in/a.dcm", frames, lambda z, t: {"StackID": "A" if z < 9 else "B"})
    assert sorted(first(read(path))) == [[1, 2], [21, 22, 23]]
    entries = convert(tmp_path / "in", tmp_path / "out").entries
    assert sorted(converted(tmp_path / "out", entry) for entry in entries) == [[[1, 2]], [[21, 22, 23]]]


def test_moments_of_one_slice_are_no_volume(tmp_path):
    path = enhanced(tmp_path / "a.dcm", [(0, t) for t in (2, 0, 1)], lambda z, t: {"TemporalPositionIndex": t + 1})
    dataset = pydicom.dcmread(path)
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        place = frame.PlanePositionSequence
        del frame.PlanePositionSequence
    (shared,) = dataset.SharedFunctionalGroupsSequence
    shared.PlanePositionSequence, shared.PixelMeasuresSequence[0].SpacingBetweenSlices = place, 4
    dataset.save_as(path)
    assert first(read(path)) == [[1], [101], [201]]


def test_each_frame_has_its_own_slope(tmp_path):
    def groups(z, t):
        return {"PixelValueTransformationSequence": item(RescaleSlope=z + 0.5, RescaleIntercept=t, RescaleType="US")}

    (tmp_path / "in").mkdir()
    content, dimensions = SAYING["dimensions"]
    path = enhanced(tmp_path / "in/a.dcm", RUN[::-1], content, groups, dimensions)
    expected = [[value(z, t) * (z + 0.5) + t for z in range(4)] for t in range(3)]
    assert first(read(path)) == expected
    assert converted(tmp_path / "out", one(convert(tmp_path / "in", tmp_path / "out"))) == expected


def test_files_of_one_time_point_each_are_a_sequence_with_times(tmp_path):
    (tmp_path / "in").mkdir()
    for t in range(3):
        enhanced(
            tmp_path / f"in/{2 - t}.dcm",
            [(z, t) for z in (2, 0, 3, 1)],
            lambda z, t: {"FrameAcquisitionDateTime": moment(250_000 * t), "TemporalPositionIndex": 1},
            InstanceNumber=t + 1,
            SOPInstanceUID=f"1.2.{t + 3}",
        )
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    assert entry.file.endswith(".seq.nrrd")
    assert converted(tmp_path / "out", entry) == EXPECTED
    header = (tmp_path / "out" / entry.file).read_bytes().split(b"\n\n")[0].decode()
    assert "axis 3 index values:=0.000000 0.250000 0.500000" in header


def test_files_of_one_frame_each_are_a_volume(tmp_path):
    (tmp_path / "in").mkdir()
    for z in range(4):
        enhanced(tmp_path / f"in/{3 - z}.dcm", [(z, 0)], InstanceNumber=z + 1, SOPInstanceUID=f"1.2.{z + 3}")
    assert converted(tmp_path / "out", one(convert(tmp_path / "in", tmp_path / "out"))) == EXPECTED[:1]


def test_a_file_that_is_cut_keeps_the_frames_that_are_there(tmp_path):
    (tmp_path / "in").mkdir()
    content, dimensions = SAYING["dimensions"]
    path = enhanced(tmp_path / "in/a.dcm", RUN, content, dimensions=dimensions)
    path.write_bytes(path.read_bytes()[:-70])
    entry = convert(tmp_path / "in", tmp_path / "out").entries[0]
    assert entry.status == "done"
    assert converted(tmp_path / "out", entry) == [*EXPECTED[:2], [201, 1, 1, 1]]
    assert any("3 slices are filled" in words for words in entry.warnings)


def test_segments_are_volumes_and_what_is_left_out_is_empty(tmp_path):
    def groups(z, t):
        return {"SegmentIdentificationSequence": item(ReferencedSegmentNumber=t + 1)}

    frames = [(0, 0), (1, 0), (2, 0), (3, 0), (1, 1), (2, 1)]
    images = read(enhanced(tmp_path / "a.dcm", frames, groups=groups, Modality="SEG"))
    assert [image.attributes["SegmentNumber"] for image in images] == ["1", "2"]
    assert [image.pixels.shape[0] for image in images] == [4, 4]
    assert not any("MissingSlices" in image.attributes for image in images)


def test_slices_and_gates_of_nuclear_medicine_are_told_apart(tmp_path):
    values = np.stack([np.full((3, 5), value(z, t), np.uint16) for z, t in RUN])
    path = made(
        tmp_path / "a.dcm",
        values,
        Modality="NM",
        SpacingBetweenSlices=4,
        PixelSpacing=[3, 2],
        SliceVector=[z + 1 for z, _ in RUN],
        TimeSlotVector=[t + 1 for _, t in RUN],
        DetectorInformationSequence=[
            item(ImagePositionPatient=[0, 0, 0], ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        ],
    )
    assert first(read(path)) == EXPECTED


def test_a_copy_of_a_file_is_named_once(tmp_path):
    (tmp_path / "in").mkdir()
    path = enhanced(tmp_path / "in/a.dcm", RUN[:4])
    (tmp_path / "in/b.dcm").write_bytes(path.read_bytes())
    report = convert(tmp_path / "in", tmp_path / "out")
    assert converted(tmp_path / "out", one(report)) == EXPECTED[:1]
    assert [(file["code"], file["path"]) for file in report.files] == [("duplicate", "b.dcm")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    content, dimensions = SAYING["dimensions"]
    return enhanced(tmp_path_factory.mktemp("whole") / "a.dcm", RUN, content, echoes, dimensions).read_bytes()


@examples(0.75)
@given(changes=st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 255)), min_size=1, max_size=6))
def test_hostile_bytes_are_refused_in_words_and_are_one_row_of_the_report(tmp_path, whole, changes):
    data = mutated(whole, changes)
    assertHarmless(tmp_path / "a.dcm", data)
    (tmp_path / "in").mkdir(exist_ok=True)
    (tmp_path / "in/a.dcm").write_bytes(data)
    report = convertFolder(tmp_path / "in", tmp_path / "out", workers=1)
    assert [file["path"] for file in report.files] in ([], ["a.dcm"])
    assert report.files or report.entries
    for words in [*(file["reason"] for file in report.files), *(entry.reason for entry in report.entries)]:
        assert not re.search(r"Error|Traceback|invalid literal|argument|broadcast|object at", words)


@pytest.mark.parametrize(
    ("name", "text"),
    [("SliceThickness", b"***"), ("AcquisitionDate", b"***"), ("EchoTime", b"none"), ("RescaleSlope", b"1,5")],
)
def test_values_that_an_anonymiser_spoilt_do_not_refuse_the_file(tmp_path, name, text):
    content, dimensions = SAYING["dimensions"]
    path = enhanced(tmp_path / "a.dcm", RUN, content, dimensions=dimensions)
    dataset = pydicom.dcmread(path)
    tag = pydicom.datadict.tag_for_keyword(name)
    value = text + b" " * (len(text) % 2)
    dataset[tag] = pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag(tag), pydicom.datadict.dictionary_VR(tag), len(value), value, 0, False, True
    )
    dataset.save_as(path)
    assert first(read(path)) == EXPECTED


def test_a_count_that_is_none_is_named(tmp_path):
    path = enhanced(tmp_path / "a.dcm", RUN)
    path.write_bytes(path.read_bytes().replace(b"IS\x02\x0012", b"IS\x02\x001A"))
    assert str(refusal(path)) == "The header's NumberOfFrames is not a whole number."


def test_time_points_that_lie_elsewhere_are_volumes_of_their_own(tmp_path):
    """As after prospective motion correction."""
    (tmp_path / "in").mkdir()
    for t in range(3):
        path = enhanced(
            tmp_path / f"in/{t}.dcm", [(z, t) for z in range(4)], InstanceNumber=t, SOPInstanceUID=f"1.2.{t}"
        )
        dataset = pydicom.dcmread(path)
        for frame in dataset.PerFrameFunctionalGroupsSequence:
            frame.PlanePositionSequence[0].ImagePositionPatient[2] += 0.3 * t * t
        dataset.save_as(path)
    entries = convert(tmp_path / "in", tmp_path / "out").entries
    assert [converted(tmp_path / "out", entry) for entry in entries] == [[volume] for volume in EXPECTED]


def test_frames_of_a_rotation_are_slices_in_their_directions(tmp_path):
    frames = []
    for number in range(400):
        angle = number // 2 / 100
        plane = np.eye(4)
        plane[:2, 0], plane[:2, 1] = (np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))
        plane[:2, 0] += 1e-6 * (number % 2)
        frames.append(FrameInfo(number, plane, None, "", (), None))
    assert [[frame.number for frame in stack] for stack in stacksOf(frames)] == [[n, n + 1] for n in range(0, 400, 2)]
