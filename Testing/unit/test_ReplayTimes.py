"""Times and seeking of readers, and gzip streams that are decompressed while reading."""

import gzip
import os

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Formats import Inflate as streamed
from RealTimeImagingLib.Formats import openImageFile
from RealTimeImagingLib.Formats.ImageFile import sinceFirst
from RealTimeImagingLib.Formats.Inflate import Streamed
from RealTimeImagingLib.Formats.Raw import allocate
from RealTimeImagingLib.Model.Errors import NotAnImageError
from unit.conftest import niftiFile
from unit.examples import examples
from unit.replaySource import pixelsOf, sequence
from unit.test_DICOM import FRAMES, groups, made

CINE = np.arange(4 * 6 * 5, dtype=np.uint8).reshape(4, 6, 5)


def timesOf(path):
    """Return (count, times) of a file after checking that seeking finds the same images."""
    reader = openImageFile(str(path))
    assert reader.missing() is None
    images = list(reader.images())
    assert reader.count == len(images)
    for first in range(reader.count + 1):
        rest = list(reader.images(first))
        assert len(rest) == reader.count - first
        for image, same in zip(rest, images[first:], strict=True):
            np.testing.assert_array_equal(image.pixels, same.pixels)
            assert image.attributes == same.attributes
    return reader.count, reader.times


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([5.0, 6.0, 8.0], [0.0, 1.0, 3.0]),
        ([], None),
        ([1.0], None),
        ([0.0, 1.0, 1.0], None),
        ([0.0, 2.0, 1.0], None),
        ([0.0, float("nan")], None),
        ([0.0, float("inf")], None),
    ],
)
def test_times_start_at_0_and_increase(times, expected):
    assert sinceFirst(times) == expected


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(
    ("unit", "index", "expected"),
    [
        ("s", [10, 10.5, 12], [0, 0.5, 2]),
        ("ms", [0, 33.5, 66], [0, 0.0335, 0.066]),
        ("us", [0, 10, 20], [0, 1e-5, 2e-5]),
        ("mm", [0, 1, 2], None),
        ("", [0, 1, 2], None),
        ("s", [0, 2, 1], None),
        ("s", [0, 1], None),
        ("s", ["a", "b", "c"], None),
        ("s", None, None),
    ],
)
def test_the_index_of_a_sequence_is_time_if_its_unit_is(tmp_path, encoding, colour, unit, index, expected):
    frames = [np.full((2, 3, 4, 3), n, np.uint8) for n in range(3)] if colour else pixelsOf(range(3))
    (tmp_path / "a.seq.nrrd").write_bytes(sequence(frames, index, unit, encoding))
    count, times = timesOf(tmp_path / "a.seq.nrrd")
    assert count == 3
    assert times == (None if expected is None else pytest.approx(expected))


def test_volumes_along_the_fastest_axis_have_times(tmp_path):
    header = ["NRRD0004", "type: uint8", "dimension: 4", "sizes: 5 4 3 2", "encoding: raw"]
    header += [
        "kinds: list domain domain domain",
        'units: "s" "mm" "mm" "mm"',
        "axis 0 index values:=0 1 2 3 4",
        "",
        "",
    ]
    (tmp_path / "a.nrrd").write_bytes("\n".join(header).encode() + bytes(range(120)))
    assert timesOf(tmp_path / "a.nrrd") == (5, [0, 1, 2, 3, 4])


@pytest.mark.parametrize(
    ("unit", "period", "shape", "expected"),
    [
        ("sec", 2.0, (2, 3, 4, 3), [0, 2, 4]),
        ("msec", 250.0, (2, 3, 4, 3), [0, 0.25, 0.5]),
        ("usec", 1000.0, (2, 3, 4, 3), [0, 0.001, 0.002]),
        ("unknown", 2.0, (2, 3, 4, 3), None),
        ("sec", 0.0, (2, 3, 4, 3), None),
        ("sec", float("nan"), (2, 3, 4, 3), None),
        ("sec", 2.0, (2, 3, 4), None),
        ("sec", 2.0, (2, 3, 4, 3, 2), None),
        ("hz", 2.0, (2, 3, 4, 3), None),
    ],
)
def test_a_nifti_has_times_if_its_unit_is_one(tmp_path, unit, period, shape, expected):
    image = nibabel.Nifti1Image(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), np.eye(4))
    image.header.set_xyzt_units("mm", unit)
    image.header["pixdim"][4] = period
    for name in ("a.nii", "a.nii.gz"):
        nibabel.save(image, tmp_path / name)
        count, times = timesOf(tmp_path / name)
        assert count == np.prod(shape[3:], dtype=int)
        assert times == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"FrameTime": "40"}, [0, 0.04, 0.08, 0.12]),
        ({"FrameTimeVector": ["0", "10", "20", "40"]}, [0, 0.01, 0.03, 0.07]),
        ({"FrameTimeVector": ["0", "10"], "FrameTime": "40"}, [0, 0.04, 0.08, 0.12]),
        ({"RecommendedDisplayFrameRate": "25", "CineRate": "10"}, [0, 0.04, 0.08, 0.12]),
        ({"CineRate": "10"}, [0, 0.1, 0.2, 0.3]),
        ({"FrameTime": "40", "AcquisitionDateTime": "20200101120000"}, [0, 0.04, 0.08, 0.12]),
        ({"CineRate": "0"}, None),
        ({"FrameTime": "-5"}, None),
        ({}, None),
    ],
)
def test_a_cine_has_the_times_of_its_frames(tmp_path, elements, expected):
    count, times = timesOf(made(tmp_path / "a.dcm", CINE, Modality="US", **elements))
    assert count == 4
    assert times == (None if expected is None else pytest.approx(expected))


def test_frames_of_one_volume_have_no_times(tmp_path):
    positions = [(0, 0, z) for z in range(4)]
    assert timesOf(made(tmp_path / "a.dcm", FRAMES, FrameTime="40", **groups(positions))) == (1, None)


def test_repeated_volumes_have_the_times_of_their_first_slices(tmp_path):
    positions = [(0, 0, 0), (0, 0, 5), (0, 0, 0), (0, 0, 5)]
    assert timesOf(made(tmp_path / "a.dcm", FRAMES, FrameTime="40", **groups(positions))) == (2, [0, 0.08])


def test_a_single_image_has_no_times(tmp_path):
    (tmp_path / "a.nii").write_bytes(niftiFile(1))
    assert timesOf(tmp_path / "a.nii") == (1, None)


# ---- decompressed while reading

CONTENT = bytes(range(251)) * 40


def opened(path, data, skip=0):
    path.write_bytes(data)
    stream = Streamed(str(path), 1 << 30, skip=skip)
    assert stream.missing(len(CONTENT) - skip) is None
    return stream


def part(stream, start, size):
    target = allocate(size, 1 << 30, "")
    stream.readInto(start, target)
    return target.tobytes()


@examples(1.5)
@given(
    kept=st.booleans(),
    members=st.integers(1, 4),
    skip=st.integers(0, 400),
    rest=st.sampled_from([b"", b"\0\0\0", b"garbage"]),
    reads=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 3000)), max_size=8),
)
def test_any_part_in_any_order(tmp_path, kept, members, skip, rest, reads):
    cut = len(CONTENT) // members
    pieces = [CONTENT[n * cut : (n + 1) * cut if n + 1 < members else None] for n in range(members)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamed, "_kept", 1 << 20 if kept else 0)
        stream = opened(tmp_path / "a.gz", b"".join(map(gzip.compress, pieces)) + rest, skip=skip)
        total = len(CONTENT) - skip
        for share, size in [*reads, (0.0, total), (1.0, 1)]:
            start = round(share * (total - min(size, total)))
            size = min(size, total - start)
            assert part(stream, start, size) == CONTENT[skip + start : skip + start + size]


@pytest.mark.parametrize("kept", [0, 1 << 20])
def test_truncated_or_damaged_data_is_found_while_reading(tmp_path, monkeypatch, kept):
    monkeypatch.setattr(streamed, "_kept", kept)
    random = np.random.default_rng(1).integers(0, 256, len(CONTENT), np.uint8).tobytes()
    whole = gzip.compress(random)
    for data, words in (
        (whole[: len(whole) // 2], "compressed data end after"),
        (whole[:-1], "compressed data end after"),
        (whole[:-6] + bytes(6), "damaged after"),
        (gzip.compress(random[:-1]), "compressed data end after"),
    ):
        stream = opened(tmp_path / "a.gz", data)
        assert part(stream, 0, 100) == random[:100]
        with pytest.raises(NotAnImageError, match=words) as caught:
            part(stream, 0, len(CONTENT))
        assert caught.value.code == "damaged"


@pytest.mark.parametrize("kept", [0, 1 << 20])
def test_a_replaced_file_is_read_from_its_beginning(tmp_path, monkeypatch, kept):
    monkeypatch.setattr(streamed, "_kept", kept)
    stream = opened(tmp_path / "a.gz", gzip.compress(CONTENT))
    assert part(stream, 500, 100) == CONTENT[500:600]
    other = CONTENT[::-1]
    (tmp_path / "b.gz").write_bytes(gzip.compress(other, 1))
    os.replace(tmp_path / "b.gz", tmp_path / "a.gz")
    assert part(stream, 700, 100) == other[700:800]


def test_an_empty_or_missing_stream(tmp_path):
    (tmp_path / "a.gz").write_bytes(b"")
    assert "none are present" in Streamed(str(tmp_path / "a.gz"), 1 << 30).missing(10)
    with pytest.raises(FileNotFoundError):
        Streamed(str(tmp_path / "none.gz"), 1 << 30).missing(10)
    assert "does not exist" in Streamed(str(tmp_path / "none.gz"), 1 << 30, detached=True).missing(10)


def test_a_large_compressed_series_needs_the_memory_of_one_image(tmp_path, monkeypatch):
    monkeypatch.setattr(streamed, "_kept", 0)
    frames = [np.full((16, 64, 64), n, np.int16) for n in range(20)]
    (tmp_path / "a.seq.nrrd").write_bytes(sequence(frames, range(20), "s", "gzip"))
    reader = openImageFile(str(tmp_path / "a.seq.nrrd"))
    reader.streaming = True
    sizes = []

    def getBuffer(nbytes):
        sizes.append(nbytes)
        return None

    reader.getBuffer = getBuffer
    assert reader.missing() is None
    assert [int(image.pixels[0, 0, 0]) for image in reader.images()] == list(range(20))
    assert sizes == [16 * 64 * 64 * 2] * 20
    assert [vars(stored)["_buffer"] for stored in reader._made.values()] == [None]
