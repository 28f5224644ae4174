"""The same slices live (folder, C-STORE, frames of one file) and converted: where one is a volume, the other is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from pydicom.uid import generate_uid
from RealTimeImagingLib.Formats import openImageFile
from RealTimeImagingLib.Formats.DICOM.Stacking import ARRIVING, CONVERTED, EVEN, FRAMES, areMoments, placesOf, stacked
from RealTimeImagingLib.Model.Event import Event
from unit.conversions import LPS, convert, fromITK
from unit.dicomSource import OBLIQUE, Receiver, Scanner, slice_
from unit.test_DICOM import made
from unit.test_DICOMFrames import item

AXIAL = (1.0, 0, 0, 0, 1, 0)
NOTHING = 0
"""Number of a missing slice; the others count from 1."""


class Found(NamedTuple):
    """A volume: the number of the slice in each place, and IJKToRAS."""

    numbers: list[int]
    matrix: np.ndarray


class Case(NamedTuple):
    """Slices with the volumes that they are, as the numbers of their slices.

    :param slices: height along the normal, and time point; the order is that of numbers and files.
    :param volumes: volumes live. ``converted``: those of the conversion, where it differs on purpose.
    :param shift: vector from place to place beside the normal, millimetres for one millimetre of height.
    :param turn: difference of the direction of each second slice, radians.
    :param apart: largest distance of corresponding slices, millimetres.
    :param asFrames: volumes of one file with these frames, where it differs on purpose.
    """

    slices: list[tuple[float, int]]
    volumes: list[list[int]]
    converted: list[list[int]] | None = None
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    orientation: tuple[float, ...] = AXIAL
    pixel: float = 1.5
    turn: float = 0.0
    apart: float = 1e-6
    asFrames: list[list[int]] | None = None


def heights(*values, moment=0):
    return [(float(value), moment) for value in values]


EVENLY = [4.0 * number for number in range(6)]
SINGLES = [[1], [2], [3], [4], [5], [6]]
CASES = {
    "even": Case(heights(*EVENLY), [[1, 2, 3, 4, 5, 6]]),
    "reversed": Case(heights(*EVENLY[::-1]), [[6, 5, 4, 3, 2, 1]]),
    "one missing": Case(heights(0, 4, 12, 16, 20), [[1, 2, NOTHING, 3, 4, 5]]),
    "0.5 % uneven": Case(heights(0, 4.02, 8, 11.98, 16, 20), [[1, 2, 3, 4, 5, 6]]),
    "2 % uneven": Case(heights(0, 4.079, 8, 11.921, 16, 20), [[1, 2, 3, 4, 5, 6]]),
    "oblique": Case(heights(*EVENLY), [[1, 2, 3, 4, 5, 6]], orientation=OBLIQUE),
    "oblique, 2 % uneven": Case(heights(0, 4.079, 8, 12, 16, 20), [[1, 2, 3, 4, 5, 6]], orientation=OBLIQUE),
    "single": Case(heights(4), [[1]]),
    "two time points": Case([*heights(*EVENLY[:3], moment=1), *heights(*EVENLY[:3], moment=2)], [[1, 2, 3], [4, 5, 6]]),
    "time points 0.01 mm apart": Case(
        [*heights(*EVENLY[:3], moment=1), *heights(0.01, 4.01, 8.01, moment=2)],
        [[1, 2, 3], [4, 5, 6]],
        apart=0.0101,
    ),
    "directions with rounded digits": Case(heights(*EVENLY), [[1, 2, 3, 4, 5, 6]], turn=3e-4),
    "microscopic": Case(heights(0, 4e-4, 8e-4), [[1, 2, 3]], pixel=1e-3),
    # Live, slices may be under way or lost: more than half of a volume may be missing. One file is complete.
    "nearly half missing": Case(
        [(4.0 * place, 0) for place in (0, 1, 4, 6, 7, 10, 12, 13, 16)],
        [[1, 2, 0, 0, 3, 0, 4, 5, 0, 0, 6, 0, 7, 8, 0, 0, 9]],
        asFrames=[[number] for number in range(1, 10)],
    ),
    # On purpose: the conversion allows uneven distances, and reports them.
    "4 % uneven": Case(heights(0, 4.16, 8, 12, 16, 20), SINGLES, [[1, 2, 3, 4, 5, 6]]),
    # On purpose: the conversion allows tilt. Live, axes are at right angles.
    "gantry tilt": Case(heights(*EVENLY), SINGLES, [[1, 2, 3, 4, 5, 6]], shift=(0, 0.2, 0)),
    # On purpose: in complete series, another distance for good makes parts. Live, slices may be under way.
    "distance that doubles": Case(
        heights(0, 3, 6, 9, 15, 21, 27),
        [[1, 2, 3, 4, NOTHING, 5, NOTHING, 6, NOTHING, 7]],
        [[1, 2, 3, 4], [5, 6, 7]],
    ),
    # On purpose: with more than half of a volume missing, complete series are divided, and frames stay slices.
    "mostly missing": Case(
        heights(0, 10, 90),
        [[1, 2, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, 3]],
        [[1, 2], [3]],
        asFrames=[[1], [2], [3]],
    ),
    # On purpose: live, a slice in a place that is taken begins the next time point. The conversion knows all slices.
    "two in one place": Case(
        heights(0, 4, 8, 12, 8),
        [[1, 2, 3, 4], [NOTHING, NOTHING, 5, NOTHING]],
        [[1, 2, 3, 4]],
    ),
}


def planes(case):
    """Position and orientation of each slice."""
    for number, (height, _moment) in enumerate(case.slices):
        along, down = np.array(case.orientation[:3]), np.array(case.orientation[3:])
        normal = np.cross(along, down)
        along = along + case.turn * (number % 2) * down
        yield np.array([1.0, 2, 3]) + height * (normal + np.array(case.shift)), (*along, *down)


def datasets(case):
    uid = generate_uid()
    for number, ((position, orientation), (_, moment)) in enumerate(zip(planes(case), case.slices, strict=True), 1):
        yield slice_(
            number,
            0.0,
            np.full((6, 5), number, np.int16),
            series=uid,
            ImagePositionPatient=[round(float(value), 8) for value in position],
            ImageOrientationPatient=[round(float(value), 8) for value in orientation],
            PixelSpacing=[case.pixel, case.pixel],
            SliceThickness=4,
            AcquisitionDate="20240501",
            AcquisitionTime=f"1010{moment:02d}",
            **({"TemporalPositionIdentifier": moment} if moment else {}),
        )


def inFolder(case, folder):
    folder.mkdir(exist_ok=True)
    for number, one in enumerate(datasets(case), 1):
        one.save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)
    return folder


def found(image):
    assert all(plane.min() == plane.max() for plane in image.pixels)
    return Found(image.pixels[:, 0, 0].tolist(), image.ijkToRAS)


def fromFolder(case, receive, incoming):
    inFolder(case, incoming)
    receiver = receive(existing="all")
    images = []
    end = receiver.clock.now + 8
    while receiver.clock.now < end:
        for one in receiver.begin():
            if not isinstance(one, Event):
                receiver.checkpoint.accept(one.stream)
                images.append(found(one.image))
    return images


def fromNetwork(case, workFolder, folder):
    receiver = Receiver(workFolder, folder)
    try:
        receiver.listen()
        sent = list(datasets(case))
        assert receiver.untilSent(Scanner(receiver.port, sent)).statuses == [0] * len(sent)
        receiver.until(lambda: not receiver.source._assembly.open, passes=0.5)
        return [found(frame.image) for frame in receiver.frames]
    finally:
        receiver.close()


def fromFrames(case, path):
    """Volumes of one Enhanced MR file with these frames; missing slices have the lowest value."""
    frames = []
    for (position, orientation), (_, moment) in zip(planes(case), case.slices, strict=True):
        frame = item(
            PlanePositionSequence=[item(ImagePositionPatient=[float(f"{value:.8f}") for value in position])],
            PlaneOrientationSequence=[item(ImageOrientationPatient=[float(f"{value:.8f}") for value in orientation])],
            PixelMeasuresSequence=[item(PixelSpacing=[case.pixel] * 2, SliceThickness=4)],
            FrameContentSequence=[item(TemporalPositionIndex=moment) if moment else item(FrameComments="none")],
        )
        frames.append(frame)
    values = np.stack([np.full((6, 5), number + 1, np.int16) for number in range(len(frames))])
    reader = openImageFile(str(made(path, values, PerFrameFunctionalGroupsSequence=frames)))
    assert reader.missing() is None
    return [found(image) for image in reader.images()]


def fromConversion(case, folder, output):
    images = []
    for entry in convert(folder, output).entries:
        assert entry.status == "done", entry.reason
        if any(case.shift):
            values, matrix = fromITK(output / entry.file)
            images.append(Found(values[:, 0, 0].tolist(), LPS @ matrix))
            np.testing.assert_allclose(matrix[:3, 2], 4 * np.add(case.shift, (0, 0, 1)), atol=1e-6)
            continue
        reader = openImageFile(str(output / entry.file))
        assert reader.missing() is None
        images += [found(image) for image in reader.images()]
    return images


def filled(volumes):
    """Volumes of files: a missing slice has the lowest value."""
    return [[number or min(filter(None, volume)) for number in volume] for volume in volumes]


@pytest.mark.parametrize("name", CASES)
def test_slices_are_the_same_volumes_live_and_converted(name, receive, incoming, workFolder, tmp_path):
    case = CASES[name]
    live = fromFolder(case, receive, incoming)
    stored = fromNetwork(case, workFolder, tmp_path / "kept")
    converted = fromConversion(case, incoming, tmp_path / "out")
    assert sorted(one.numbers for one in live) == sorted(case.volumes)
    assert sorted(one.numbers for one in stored) == sorted(case.volumes)
    assert sorted(one.numbers for one in converted) == sorted(filled(case.converted or case.volumes))
    for one, other in zip(sorted(live, key=numbers), sorted(stored, key=numbers), strict=True):
        np.testing.assert_array_equal(one.matrix, other.matrix)
    if not case.converted:
        for one, other in zip(sorted(live, key=numbers), sorted(converted, key=numbers), strict=True):
            np.testing.assert_allclose(one.matrix, other.matrix, rtol=0, atol=case.apart)


@pytest.mark.parametrize("name", CASES)
def test_frames_of_one_file_are_the_same_volumes_as_slices(name, receive, incoming, tmp_path):
    case = CASES[name]
    volumes = case.asFrames or case.volumes
    images = fromFrames(case, tmp_path / "frames.dcm")
    assert sorted(one.numbers for one in images) == sorted(filled(volumes))
    if not case.asFrames:
        live = fromFolder(case, receive, incoming)
        for one, other in zip(sorted(images, key=numbers), sorted(live, key=numbers), strict=True):
            np.testing.assert_allclose(one.matrix, other.matrix, rtol=0, atol=case.apart)


def numbers(one):
    return max(one.numbers)


def test_the_tolerances_differ_as_declared():
    """What any of them allows live, the conversion allows."""
    assert (FRAMES.along, ARRIVING.along, CONVERTED.along) == (EVEN, EVEN, 0.25)
    assert (FRAMES.tilted, ARRIVING.tilted, CONVERTED.tilted) == (False, False, True)
    assert [one.mostMissing(9) for one in (FRAMES, ARRIVING, CONVERTED)] == [4.5, 9, 4.5]


def test_the_slice_distance_is_the_usual_one():
    """A small distance beside others would move the slice behind a large gap by a place."""
    places = [*range(30), 44]
    positions = np.zeros((31, 3))
    positions[:, 2] = 4.0 * np.array(places)
    positions[3:5, 2] += 0.079, -0.079
    assert stacked(positions, np.eye(4), ARRIVING).numbers == places


def test_heights_in_one_place_keep_their_order():
    assert placesOf(np.array([4.0, 0.0, 4.009, 0.0, 4.011]), 0.01) == [[1, 3], [0, 2], [4]]


@pytest.mark.parametrize(
    ("keys", "moments"),
    [
        ([["a", "b"], ["a", "b"]], True),
        ([["a", "b"], ["a"], ["a", "b"]], True),
        ([["a", "a"], ["a", "b"]], False),
        ([["a", "b"], ["c", "d"]], False),
        ([["a", "b", "c"]], True),
    ],
)
def test_keys_tell_time_points_or_not(keys, moments):
    assert areMoments(keys) is moments
