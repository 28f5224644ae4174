"""IMAGE: every voxel where it was sent, in the memory that was lent, whole and in parts."""

import gc
import weakref

import numpy as np
import pyigtl.messages
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Model.Errors import FrameError, WireError
from RealTimeImagingLib.OpenIGTLink import ImageMessage, Problem, Receiver, pack
from RealTimeImagingLib.Sources.OpenIGTLink.Translation import imageOf
from unit.openIGTLinkBytes import framed, give, giveInPieces, imageContent, received, refused
from unit.test_NIfTI import affines, counted

TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"]
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
CORNERS = np.array([[0, 0, 0, 1], [3, 0, 0, 1], [0, 2, 0, 1], [0, 0, 1, 1], [3, 2, 1, 1]]).T


class Lender:
    """Lends memory as the ring does: each time another piece, longer than asked for."""

    def __init__(self, spare=0):
        self.asked, self.lent, self._spare = [], [], spare

    def __call__(self, nbytes):
        self.asked.append(nbytes)
        memory = np.full(nbytes + self._spare, 0xEE, np.uint8)
        self.lent.append(memory)
        return memory


def addressOf(array):
    return array.__array_interface__["data"][0]


@given(
    affine=affines(),
    dtype=st.sampled_from(TYPES),
    components=st.sampled_from([None, 2, 3, 4]),
    coordinates=st.sampled_from(["RAS", "LPS"]),
    endian=st.sampled_from(["little", "big"]),
    version=st.sampled_from([1, 2]),
    pieces=st.lists(st.integers(0, 2000), max_size=6),
)
def test_an_image_comes_as_it_was_sent(affine, dtype, components, coordinates, endian, version, pieces):
    pixels = counted((2, 3, 4) if components is None else (2, 3, 4, components), dtype)
    sent = ImageMessage(pixels, affine, coordinates=coordinates, endian=endian, device_name="CT")
    lender = Lender()
    (found,) = giveInPieces(Receiver(lender), pack(sent, version=version), pieces)
    assert found.pixels.dtype == pixels.dtype
    assert found.pixels.dtype.isnative
    np.testing.assert_array_equal(found.pixels, pixels)
    scale = np.abs(affine).max()
    np.testing.assert_allclose(found.ijkToRAS @ CORNERS, affine @ CORNERS, atol=scale * 1e-5)
    assert (found.coordinates, found.endian, found.offset, found.size) == (coordinates, endian, (0, 0, 0), (4, 3, 2))
    assert lender.asked == [pixels.nbytes]
    assert addressOf(found.pixels) == addressOf(lender.lent[0])


@given(
    affine=affines(),
    dtype=st.sampled_from(TYPES),
    components=st.sampled_from([None, 2, 3, 4]),
    coordinates=st.sampled_from(["ras", "lps"]),
    endian=st.sampled_from(["little", "big"]),
)
def test_pyigtl_and_we_have_every_voxel_at_the_same_place(affine, dtype, components, coordinates, endian):
    pixels = counted((2, 3, 4) if components is None else (2, 3, 4, components), dtype)
    world = affine if coordinates == "ras" else LPS @ affine
    theirs = pyigtl.messages.ImageMessage(pixels, world, coordinates, 1.5, "CT")  # it sends native order only
    found = received(theirs.pack())
    scale = np.abs(affine).max() * 1e-5
    np.testing.assert_array_equal(found.pixels, pixels)
    np.testing.assert_allclose(found.ijkToRAS @ CORNERS, affine @ CORNERS, atol=scale)

    wire = pack(ImageMessage(pixels, affine, coordinates=coordinates.upper(), endian=endian, device_name="CT"))
    header = pyigtl.messages.MessageBase.parse_header(wire[:58])
    back = pyigtl.messages.MessageBase.create_message("IMAGE")
    back.unpack(header, wire[58:])
    assert type(back) is pyigtl.messages.ImageMessage
    np.testing.assert_array_equal(back.image, pixels)
    np.testing.assert_allclose(back.ijk_to_world_matrix @ CORNERS, world @ CORNERS, atol=scale)
    assert back.world_coordinate_system == coordinates


def test_the_position_is_that_of_the_centre():
    """image.md: PX PY PZ "Center position of the image", halfway between the first and the last voxel's centre."""
    found = received(framed("IMAGE", imageContent()))
    np.testing.assert_allclose(found.ijkToRAS @ (1.5, 1.0, 0.5, 1), (10, 20, 30, 1))
    found = received(framed("IMAGE", imageContent(coordinates=2)))
    np.testing.assert_allclose(found.ijkToRAS @ (1.5, 1.0, 0.5, 1), (-10, -20, 30, 1))
    np.testing.assert_allclose(found.ijkToRAS[:3, :3], np.diag([-1, -2, 3]))


def test_voxels_lie_with_i_fastest_and_components_together():
    found = received(framed("IMAGE", imageContent(bytes(range(72)), components=3)))
    assert found.pixels[1, 2, 3].tolist() == [69, 70, 71]
    assert found.pixels[0, 0, 1].tolist() == [3, 4, 5]
    five = received(framed("IMAGE", imageContent(bytes(range(120)), components=5)))
    with pytest.raises(FrameError, match="voxels have 5 components"):
        imageOf(five)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"version": 2}, "version 2"),
        ({"components": 0}, "0 components"),
        ({"scalar": 1}, "type is 1;"),
        ({"scalar": 13}, "type is 13"),
        ({"endian": 0}, "byte order"),
        ({"coordinates": 3}, "coordinates"),
        ({"size": (4, 0, 2)}, "no voxels"),
        ({"part": (4, 3, 0)}, "no voxels"),
        ({"part": (5, 3, 2)}, "exceeds"),
        ({"offset": (0, 0, 65535)}, "exceeds"),
        ({"offset": (1, 0, 0)}, "exceeds"),
        ({"t": (float("nan"), 0.0, 0.0)}, "NaN"),
        ({"centre": (0.0, float("inf"), 0.0)}, "infinite"),
        ({"scalar": 5}, "48 bytes"),
        ({"components": 3}, "72 bytes"),
        ({"part": (4, 3, 1)}, "12 bytes"),
        ({"size": (65535,) * 3, "part": (65535,) * 3, "components": 255, "scalar": 11}, "574,182,"),
        ({"pixels": bytes(25)}, "25 bytes of pixels"),
        ({"pixels": b""}, "0 bytes of pixels"),
    ],
    ids=str,
)
def test_an_image_that_contradicts_itself_is_refused_before_memory_is_lent(values, words):
    lender = Lender()
    problem = refused(framed("IMAGE", imageContent(**values)), getBuffer=lender)
    assert (problem.code, problem.device) == ("malformed", "Probe")
    assert words in problem.text
    assert lender.asked == []


@pytest.mark.parametrize("length", [1, 71])
def test_an_image_without_a_whole_header_is_refused(length):
    assert "header of 72 bytes" in refused(framed("IMAGE", imageContent()[:length])).text


@pytest.mark.parametrize(
    "message",
    [
        ImageMessage(np.zeros((2, 3), np.uint8)),
        ImageMessage(np.zeros((0, 2, 3), np.uint8)),
        ImageMessage(np.zeros((1, 1, 65536), np.uint8)),
        ImageMessage(np.zeros((1, 1, 1, 256), np.uint8)),
        ImageMessage(np.zeros((1, 1, 1), np.int64)),
        ImageMessage(np.zeros((1, 1, 1), bool)),
        ImageMessage(np.zeros((1, 1, 1), np.uint8), np.eye(3)),
        ImageMessage(np.zeros((1, 1, 1), np.uint8), np.full((4, 4), np.nan)),
        ImageMessage(np.zeros((1, 1, 1), np.uint8), np.eye(4) * 1e300),
        ImageMessage(np.zeros((1, 1, 1), np.uint8), coordinates="LAS"),
        ImageMessage(np.zeros((1, 1, 1), np.uint8), endian="middle"),
        ImageMessage(np.zeros((1, 1, 2), np.uint8), offset=(2, 0, 0)),
        ImageMessage(np.zeros((1, 1, 2), np.uint8), size=(3, 1, 1)),
        ImageMessage(np.zeros((1, 1, 2), np.uint8), offset=(-1, 0, 0), size=(1, 1, 1)),
    ],
    ids=range(14),
)
def test_an_image_that_cannot_be_sent_is_refused_in_words(message):
    message.device_name = "CT"
    with pytest.raises(WireError, match="IMAGE of CT cannot be sent: "):
        pack(message)


def test_pixels_that_do_not_lie_in_order_are_sent_in_order():
    pixels = counted((2, 3, 4), "i2").transpose(2, 0, 1)[::-1]
    np.testing.assert_array_equal(received(pack(ImageMessage(pixels))).pixels, pixels)


@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize("spare", [0, 100])
def test_pixels_are_received_where_memory_is_lent(endian, spare):
    pixels = np.random.default_rng(3).integers(0, 60000, (5, 200, 300)).astype(np.uint16)
    lender = Lender(spare)
    wire = pack(ImageMessage(pixels, endian=endian), version=2)
    first, second = give(Receiver(lender), wire + wire)
    for found, memory in zip((first, second), lender.lent, strict=True):
        np.testing.assert_array_equal(found.pixels, pixels)
        assert addressOf(found.pixels) == addressOf(memory)
        assert (memory[pixels.nbytes :] == 0xEE).all()
    assert lender.asked == [pixels.nbytes] * 2


def test_the_next_memory_is_lent_after_the_image_before_was_given():
    lender = Lender()
    receiver = Receiver(lender)
    wire = pack(ImageMessage(counted((2, 3, 4), "u1"))) * 3
    receiver.space()[: len(wire)] = wire
    answers = receiver.filled(len(wire))
    for number in range(1, 4):
        next(answers)
        assert len(lender.asked) == number
    assert list(answers) == []


@pytest.mark.parametrize("ending", ["given", "wrong checksum", "metadata", "cut"])
def test_lent_memory_is_let_go(ending):
    """The ring has its slot back when nobody holds the memory that it lent."""
    alive = []

    def getBuffer(nbytes):
        memory = np.empty(nbytes, np.uint8)
        alive.append(weakref.ref(memory))
        return memory

    wire = pack(ImageMessage(np.zeros((10, 100, 100), np.uint8)), version=2)
    receiver = Receiver(getBuffer)
    if ending == "wrong checksum":
        wire = wire[:-1] + bytes([wire[-1] ^ 1])
    elif ending == "metadata":
        receiver = Receiver(getBuffer, checkCRC=False)
        wire = wire[:-2] + b"\xff\xff"
    gc.disable()
    try:
        if ending == "cut":
            assert give(receiver, wire[:-50_000]) == []
            assert alive[0]() is not None
            assert receiver.finish().code == "cut"
        else:
            said = give(receiver, wire)
            assert len(said) == 1
            assert isinstance(said[0], Problem) == (ending != "given")
            assert (alive[0]() is not None) == (ending == "given")
            del said
        assert alive[0]() is None
    finally:
        gc.enable()


def part(number, whole=(4, 5, 6), device="US", **values):
    """A part of an image of this shape (k, j, i), all of whose voxels have this number."""
    pixels = np.full(whole, number, values.pop("dtype", np.int16))
    return pack(ImageMessage(pixels, device_name=device, **values))


def test_parts_are_put_together():
    lender = Lender()
    receiver = Receiver(lender)
    expected = np.zeros((4, 5, 6), np.int16)
    boxes = [((0, 0, 0), (6, 5, 2)), ((0, 0, 2), (6, 5, 2)), ((2, 1, 1), (3, 2, 1)), ((5, 4, 3), (1, 1, 1))]
    for number, (offset, size) in enumerate(boxes, 1):
        endian = "big" if number % 2 else "little"
        (found,) = give(receiver, part(number, offset=offset, size=size, endian=endian))
        (i, j, k), (width, height, depth) = offset, size
        expected[k : k + depth, j : j + height, i : i + width] = number
        np.testing.assert_array_equal(found.pixels, expected)
        assert (found.offset, found.size) == (offset, size)
        assert addressOf(found.pixels) == addressOf(lender.lent[-1])
        assert lender.asked[-1] == expected.nbytes
        found.pixels[:] = -1  # it is a copy: what the caller does with it is not in the next


def test_the_place_of_a_part_is_that_of_the_whole():
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    (found,) = give(Receiver(), part(1, ijkToRAS=affine, offset=(2, 1, 1), size=(3, 2, 1)))
    np.testing.assert_allclose(found.ijkToRAS, affine)


def test_parts_of_two_devices_do_not_mix():
    receiver = Receiver()
    give(receiver, part(1, device="A", size=(6, 5, 1)))
    (found,) = give(receiver, part(2, device="B", offset=(0, 0, 3)))
    assert found.pixels.max() == 2
    assert found.pixels.sum() == 2 * 30


@pytest.mark.parametrize("other", [{"whole": (4, 5, 7)}, {"dtype": np.uint16}, {"whole": (4, 5, 6, 2)}])
def test_an_image_of_another_form_starts_anew(other):
    receiver = Receiver()
    give(receiver, part(1, size=(6, 5, 1)))
    (found,) = give(receiver, part(2, size=(1, 1, 1), **other))
    assert np.count_nonzero(found.pixels) == found.pixels[0, 0, 0].size


def test_parts_change_the_whole_image_before_them():
    receiver = Receiver()
    give(receiver, part(1))
    (found,) = give(receiver, part(2, size=(1, 1, 1)))
    assert found.pixels.sum() == 4 * 5 * 6 + 1
    give(receiver, part(3))
    give(receiver, part(4))
    (found,) = give(receiver, part(5, size=(1, 1, 1)))
    assert found.pixels.sum() == 4 * 4 * 5 * 6 + 1


def test_of_a_device_that_sent_whole_images_only_the_first_was_kept():
    receiver = Receiver()
    give(receiver, part(1) + part(2))
    (found,) = give(receiver, part(3, size=(1, 1, 1)))
    assert found.pixels.sum() == 3


def test_a_part_with_a_wrong_checksum_changes_nothing():
    receiver = Receiver()
    give(receiver, part(1, size=(6, 5, 1)))
    wrong = bytearray(part(2, offset=(0, 0, 3)))
    wrong[-1] ^= 1
    assert give(receiver, wrong)[0].code == "wrong-crc"
    (found,) = give(receiver, part(3, offset=(0, 0, 2), size=(1, 1, 1)))
    assert found.pixels[3].max() == 0


def test_what_is_kept_of_images_in_parts_stays_below_the_limit():
    receiver = Receiver(sizeLimit=1000)
    for device in ("A", "B", "C", "D", "E"):  # 240 bytes each
        give(receiver, part(1, device=device, size=(6, 5, 1)))
    (oldest,) = give(receiver, part(2, device="A", offset=(0, 0, 3)))
    assert oldest.pixels.sum() == 2 * 30
    (newest,) = give(receiver, part(2, device="E", offset=(0, 0, 3)))
    assert newest.pixels.sum() == 3 * 30


def test_an_image_in_parts_above_the_limit_is_passed_over():
    problem = refused(part(1, size=(1, 1, 1)), sizeLimit=200)
    assert (problem.code, problem.fatal) == ("too-large", False)
    assert "240 bytes; the limit is 200" in problem.text
