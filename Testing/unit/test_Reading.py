"""Reading of recordings; damaged files are rejected with a reason."""

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Model.Errors import RecordingError
from RealTimeImagingLib.Recording import noteChecksum, openRecording
from unit.examples import examples
from unit.recordings import START, assertHolds, frame, manifestOf, record

FRAMES = [frame(number) for number in range(4)]


@pytest.fixture
def recorded(tmp_path):
    """The header of a recording of FRAMES."""
    (path,) = record(tmp_path, FRAMES, attributes={"Strain": "C57BL/6J"})
    return path


def rewrite(path, *replacements):
    """Replace bytes of a file; each must occur."""
    with open(path, "rb") as file:
        data = file.read()
    for old, new in replacements:
        assert old in data
        data = data.replace(old, new, 1)
    with open(path, "wb") as file:
        file.write(data)


def test_a_part_describes_its_frames(recorded, tmp_path):
    part = openRecording(recorded)
    assert (part.path, part.rawPath) == (recorded, str(tmp_path / "Test-Scan.raw"))
    assert (part.recording, part.stream, part.part, part.start) == ("Test-Scan", "Scan", 1, START)
    assert (part.shape, part.dtype.newbyteorder("="), part.frameBytes) == ((2, 3, 4), np.dtype("i2"), 48)
    assert (part.count, part.attributes) == (4, {"Strain": "C57BL/6J"})
    assert [part.offset(index) for index in range(4)] == [0, 48, 96, 144]
    assert [entry["time"] for entry in part.frames] == part.times
    assertHolds([recorded], FRAMES)


@pytest.mark.parametrize("index", [-1, 4])
def test_a_missing_frame_has_no_offset(recorded, index):
    with pytest.raises(IndexError, match="4 frames"):
        openRecording(recorded).offset(index)


def test_pixels_are_a_writable_copy(recorded):
    part = openRecording(recorded)
    part.pixels(0)[:] = 0
    assertHolds([recorded], FRAMES)


def test_a_file_of_the_other_byte_order_opens(recorded, tmp_path):
    raw = tmp_path / "Test-Scan.raw"
    little = openRecording(recorded).dtype.str[0] == "<"
    before, after = ("<", ">") if little else (">", "<")
    raw.write_bytes(np.fromfile(raw, "i2").byteswap().tobytes())
    words = (b"little", b"big") if little else (b"big", b"little")
    rewrite(recorded, (f'"{before}i2"'.encode(), f'"{after}i2"'.encode()), words)
    assertHolds([recorded], FRAMES)


def test_a_recording_may_be_moved(recorded, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for name in ("Test-Scan.seq.nhdr", "Test-Scan.raw"):
        os.rename(tmp_path / name, other / name)
    assertHolds([str(other / "Test-Scan.seq.nhdr")], FRAMES)


DAMAGES = {
    "no description": ((b"Recording:=", b"Recorded:="), "not a recording of this module"),
    "no pixel file": ((b"data file: ", b"date file: "), "not a recording of this module"),
    "pixels elsewhere": ((b"data file: Test", b"data file: ../Test"), "not beside it"),
    "pixels of a name that no file has": ((b"data file: Test", b"data file: Te\0st"), "not beside it"),
    "pixels that are the folder": ((b"data file: Test-Scan.raw", b"data file: .."), "not beside it"),
    "a later version": ((b'"version":1', b'"version":2'), "This version of the module cannot read"),
    "another format": ((b'"format":"Real', b'"format":"Feal'), "This version of the module cannot read"),
    "no JSON": ((b'Recording:={"format', b"Recording:={format"), "is damaged"),
    "no object": ((b"Recording:={", b"Recording:=[{"), "is damaged"),
    "a shape of nothing": ((b'"shape":[2,3,4]', b'"shape":[0,3,4]'), "impossible type or shape"),
    "too many components": ((b'"shape":[2,3,4]', b'"shape":[2,3,4,5]'), "impossible type or shape"),
    "no number": ((b'"shape":[2,3,4]', b'"shape":[2,3,"x"]'), "is damaged"),
    "an unknown type": ((b'i2"', b'c8"'), "impossible type or shape"),
    "no type": ((b'i2"', b'zz"'), "is damaged"),
    "a type that NumPy parses": ((b'"dtype":"<i2"', b'"dtype":"11111111111111111111"'), "is damaged"),
    "versions of numbers": ((b'"python":"', b'"python":3,"x":"'), "attributes are damaged"),
    "a matrix of 15": ((b'"ijkToRAS":[-0.5,', b'"ijkToRAS":['), "is damaged"),
    "a matrix that maps nothing": ((b'"ijkToRAS":[-0.5,', b'"ijkToRAS":[0.0,'), "is damaged"),
    "attributes of numbers": ((b'"C57BL/6J"}', b"6}"), "attributes are damaged"),
    "no start": ((b'"start":17', b'"start":NaN,"x":17'), "is damaged"),
    "another size": ((b"sizes: 4 3 2 4", b"sizes: 4 3 2 5"), "declares the sizes"),
    "half a slice": ((b'"shape":[2,3,4]', b'"shape":[2.5,3,4]'), "is damaged"),
    "another type": ((b'"dtype":"<i2"', b'"dtype":"<u2"'), "declares type 'int16' and describes 'uint16'"),
    "another byte order": ((b'"dtype":"<i2"', b'"dtype":">i2"'), "declares endian 'little' and describes 'big'"),
    "packed pixels": ((b"encoding: raw", b"encoding: gzip"), "declares encoding 'gzip'"),
    "no size": ((b"sizes: ", b"sizez: "), "is damaged"),
    "a frame too few": ((b"axis 3 item 0002 Frame:=", b"axis 3 item 0002 Frume:="), "declares the sizes"),
    "a frame that is no JSON": ((b'Frame:={"number"', b"Frame:={number"), "is damaged"),
    "a frame without a number": ((b'Frame:={"number":0,', b"Frame:={"), "is damaged"),
    "a frame numbered by words": ((b'Frame:={"number":0,', b'Frame:={"number":"0",'), "is damaged"),
    "a frame with more": ((b'Frame:={"number":0,', b'Frame:={"number":0,"x":0,'), "is damaged"),
    "a time that is none": ((b'"time":0.0,', b'"time":NaN,'), "is damaged"),
    "a time of words": ((b'"time":0.0,', b'"time":"now",'), "is damaged"),
    "times that do not increase": ((b'"time":0.0,', b'"time":5.0,'), "do not increase"),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_header_is_rejected_with_a_reason(recorded, damage, words):
    rewrite(recorded, damage)
    with pytest.raises(RecordingError, match=words) as refused:
        openRecording(recorded)
    assert "Test-Scan.seq.nhdr" in str(refused.value)


def test_a_header_without_a_frame_is_rejected(recorded):
    with open(recorded, "rb") as file:
        lines = [line for line in file.read().split(b"\n") if b" Frame:=" not in line]
    with open(recorded, "wb") as file:
        file.write(b"\n".join(lines).replace(b"sizes: 4 3 2 4", b"sizes: 4 3 2 0"))
    with pytest.raises(RecordingError, match="describes no frame"):
        openRecording(recorded)


def test_an_impossible_path_is_rejected():
    with pytest.raises(RecordingError, match="not the path of a file"):
        openRecording("a\0b.seq.nhdr")


def test_frames_above_the_limit_are_rejected(recorded):
    rewrite(
        recorded, (b'"shape":[2,3,4]', b'"shape":[2,30000,400000]'), (b"sizes: 4 3 2 4", b"sizes: 400000 30000 2 4")
    )
    with pytest.raises(RecordingError, match="frames of 48,000,000,000 bytes"):
        openRecording(recorded)


def test_a_header_that_ends_early_is_rejected(recorded):
    with open(recorded, "rb") as file:
        data = file.read()
    ends = [*range(0, len(data) - 2, 7), len(data) - 4]  # the last bytes are a brace and two line ends
    for end in ends:
        with open(recorded, "wb") as file:
            file.write(data[:end])
        with pytest.raises(RecordingError):
            openRecording(recorded)


@examples(4)
@given(data=st.data())
def test_any_header_opens_or_is_rejected(recorded, data):
    with open(recorded, "rb") as file:
        whole = file.read()
    first = data.draw(st.integers(0, len(whole)))
    spoilt = whole[:first] + data.draw(st.binary(max_size=9)) + whole[first + data.draw(st.integers(0, 9)) :]
    path = recorded.replace("Test-Scan.seq", "Test-Spoilt.seq")
    with open(path, "wb") as file:
        file.write(spoilt)
    try:
        part = openRecording(path)
    except RecordingError:
        return
    assert part.count == len(part.times) == 4
    part.pixels(3)


def test_cut_or_missing_pixels_are_rejected(recorded, tmp_path):
    part = openRecording(recorded)
    os.truncate(tmp_path / "Test-Scan.raw", 100)
    with pytest.raises(RecordingError, match=r"has 100 bytes; 4 frames need 192"):
        openRecording(recorded)
    assert np.array_equal(part.pixels(1), FRAMES[1].pixels)
    with pytest.raises(RecordingError, match="ends within frame 2"):
        part.pixels(2)
    os.unlink(tmp_path / "Test-Scan.raw")
    with pytest.raises(RecordingError, match="cannot be read"):
        openRecording(recorded)
    with pytest.raises(RecordingError, match="cannot be read"):
        part.pixels(0)


def test_other_files_are_rejected(tmp_path):
    with pytest.raises(RecordingError, match="cannot be read"):
        openRecording(str(tmp_path / "absent.seq.nhdr"))
    for name in ("other.seq.nhdr", "x.nrrd"):
        (tmp_path / name).write_bytes(b"NRRD0005\ntype: uint8\ndata file: x.raw\n\n")
        with pytest.raises(RecordingError, match="not a recording"):
            openRecording(str(tmp_path / name))


def test_a_checksum_changes_only_its_entry_of_the_manifest(tmp_path):
    paths = record(tmp_path, [*FRAMES, frame(4, (1, 1, 1))])
    before = manifestOf(paths[0])
    noteChecksum(str(tmp_path / "Test-Scan.json"), paths[1], "ab" * 32)
    after = manifestOf(paths[0])
    assert [entry["sha256"] for entry in after["parts"]] == [None, "ab" * 32]
    after["parts"][1]["sha256"] = None
    assert after == before


def test_a_manifest_without_the_part_is_rejected(recorded, tmp_path):
    manifest, sha256 = tmp_path / "Test-Scan.json", "ab" * 32
    with pytest.raises(RecordingError, match=r"does not name the part Other\.seq\.nhdr"):
        noteChecksum(str(manifest), str(tmp_path / "Other.seq.nhdr"), sha256)
    for data in (b"{", b"[]", json.dumps({"parts": [{}]}).encode()):
        manifest.write_bytes(data)
        with pytest.raises(RecordingError, match="is damaged"):
            noteChecksum(str(manifest), recorded, sha256)
        assert manifest.read_bytes() == data
    manifest.unlink()
    with pytest.raises(RecordingError, match="cannot be read or written"):
        noteChecksum(str(manifest), recorded, sha256)
