"""The content of each type against bytes worked out from the specification: read as expected, written as they were.

The comments name the page of OpenIGTLink v3 (Documents/Protocol of the C++ library) and the fields in their order.
"""

import numpy as np
import pyigtl.messages
import pytest
from RealTimeImagingLib.Model.Errors import WireError
from RealTimeImagingLib.OpenIGTLink import (
    BindMessage,
    BindQueryMessage,
    CapabilityMessage,
    ColorTableMessage,
    CommandMessage,
    CommandReplyMessage,
    ImageMessage,
    ImageMeta,
    ImageMetaMessage,
    LabelMeta,
    LabelMetaMessage,
    NDArrayMessage,
    PointMessage,
    PolyDataAttribute,
    PolyDataMessage,
    PositionMessage,
    QuaternionTool,
    QuaternionTrackingDataMessage,
    QuaternionTransformMessage,
    QueryMessage,
    RawMessage,
    ReplyMessage,
    SensorMessage,
    StartTrackingMessage,
    StatusMessage,
    StringMessage,
    TrackedTool,
    TrackingDataMessage,
    Trajectory,
    TrajectoryMessage,
    TransformMessage,
    VideoMeta,
    VideoMetaMessage,
    pack,
    query,
)
from RealTimeImagingLib.OpenIGTLink.Base import WireMessage, deviceName, unpackContent
from unit.openIGTLinkBytes import extended, fields, framed, imageContent, plain, received, refused

HEADER = 58
AT = {"timestamp": 1234567892.5, "device_name": "Probe"}

ONE, TWO, MINUS_HALF = "3f800000", "40000000", "bf000000"  # float32
ZERO = "00000000"


def text(value, size):
    return value.encode().ljust(size, b"\0").hex()


QUAD = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)

MATRIX = np.array([[1, 2, -0.5, 1], [0, 1, 0, 2], [0, 0, 1, 0], [0, 0, 0, 1]], np.float64)
# transform.md: R11 R21 R31, R12 R22 R32, R13 R23 R33, TX TY TZ
MATRIX_HEX = ONE + ZERO * 2 + TWO + ONE + ZERO + MINUS_HALF + ZERO + ONE + ONE + TWO + ZERO

EXPECTED = {
    "TRANSFORM": (TransformMessage(MATRIX, **AT), MATRIX_HEX),
    # position.md: X Y Z OX OY OZ W
    "POSITION": (
        PositionMessage((1.0, 2.0, -0.5), (0.0, 0.0, 0.0, 1.0), **AT),
        ONE + TWO + MINUS_HALF + ZERO * 3 + ONE,
    ),
    "QTRANS": (
        QuaternionTransformMessage((1.0, 2.0, -0.5), (1.0, 0.0, 0.0, 0.0), **AT),
        ONE + TWO + MINUS_HALF + ONE + ZERO * 3,
    ),
    # string.md: ENCODING (3 ASCII) LENGTH STRING
    "STRING": (StringMessage("START_SCAN", **AT), "0003 000a 53544152545f5343414e"),
    # string.md, with 106 for UTF-8: 3 characters in 6 bytes
    "STRING in UTF-8": (StringMessage("aé€", **AT), "006a 0006 61c3a9e282ac"),
    # status.md: C SUB_CODE ERROR_NAME[20] MESSAGE, and the NUL of igtlStatusMessage.cxx
    "STATUS": (
        StatusMessage(13, -2, "NotReady", "Starting up", **AT),
        "000d fffffffffffffffe" + text("NotReady", 20) + "5374617274696e67207570 00",
    ),
    # command.md: COMMAND_ID COMMAND_NAME[128] ENCODING LENGTH (32 bits) COMMAND
    "COMMAND": (
        CommandMessage(5, "Scan", "<Start/>", **AT),
        "00000005" + text("Scan", 128) + "0003 00000008 3c53746172742f3e",
    ),
    "RTS_COMMAND": (
        CommandReplyMessage(5, "", "done", **AT),
        "00000005" + text("", 128) + "0003 00000004 646f6e65",
    ),
    # capability.md: TYPE[12] ...
    "CAPABILITY": (CapabilityMessage(["IMAGE", "GET_IMAGE"], **AT), text("IMAGE", 12) + text("GET_IMAGE", 12)),
    # trackingdata.md: NAME[20] TYPE (reserved) MATRIX
    "TDATA": (
        TrackingDataMessage([TrackedTool("Needle", 3, MATRIX), TrackedTool("Probe", 2)], **AT),
        text("Needle", 20)
        + "03 00"
        + MATRIX_HEX
        + text("Probe", 20)
        + "02 00"
        + (ONE + ZERO * 3 + ONE + ZERO * 3 + ONE + ZERO * 3),
    ),
    # qtrackingdata.md: NAME[20] TYPE (reserved) POSITION QUATERNION
    "QTDATA": (
        QuaternionTrackingDataMessage([QuaternionTool("Needle", 4, (1.0, 2.0, -0.5), (0.0, 1.0, 0.0, 0.0))], **AT),
        text("Needle", 20) + "04 00" + ONE + TWO + MINUS_HALF + ZERO + ONE + ZERO * 2,
    ),
    # point.md: NAME[64] GROUP[32] RGBA XYZ DIAMETER OWNER[20]
    "POINT": (
        PointMessage(
            positions=[(1.0, 2.0, -0.5)],
            names=["Tip"],
            rgba_colors=[(255, 0, 16, 128)],
            diameters=[2.0],
            groups=["Fiducial"],
            owners=["CT"],
            **AT,
        ),
        text("Tip", 64) + text("Fiducial", 32) + "ff001080" + ONE + TWO + MINUS_HALF + TWO + text("CT", 20),
    ),
    # trajectory.md: NAME[64] GROUP_NAME[32] TYPE (reserved) RGBA XYZ1 XYZ2 DIAMETER OWNER_IMAGE[20]
    "TRAJ": (
        TrajectoryMessage(
            [Trajectory("Way", "Trajectory", 3, (1, 2, 3, 4), (1.0, 0.0, 0.0), (2.0, 0.0, -0.5), 1.0, "CT")], **AT
        ),
        text("Way", 64)
        + text("Trajectory", 32)
        + "03 00 01020304"
        + (ONE + ZERO * 2 + TWO + ZERO + MINUS_HALF + ONE)
        + text("CT", 20),
    ),
    # ndarray.md: SCALAR_TYPE (4: int16) DIM SIZE[DIM] DATA
    "NDARRAY": (
        NDArrayMessage(np.array([[1, -2, 3], [4, 5, 256]], np.int16), **AT),
        "04 02 0002 0003 0001 fffe 0003 0004 0005 0100",
    ),
    # ndarray.md, with 13 for complex: real and imaginary float64
    "NDARRAY of complex numbers": (
        NDArrayMessage(np.array([1 - 2j]), **AT),
        "0d 01 0001 3ff0000000000000 c000000000000000",
    ),
    # sensordata.md: LARRAY STATUS UNIT DATA; the unit is its example's, newton metre
    "SENSOR": (
        SensorMessage([1.0, -2.0], 0x02C0100000000000, **AT),
        "02 00 02c0100000000000 3ff0000000000000 c000000000000000",
    ),
    # colortable.md: INDEX_TYPE (3: uint8) MAP_TYPE (19: RGB) TABLE
    "COLORT": (
        ColorTableMessage(np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1), **AT),
        "03 13" + "".join(f"{index:02x}" * 3 for index in range(256)),
    ),
    # colortable.md: MAP_TYPE 5: uint16
    "COLORT of uint16": (
        ColorTableMessage(np.arange(256, dtype=np.uint16) + 256, **AT),
        "03 05" + "".join(f"01{index:02x}" for index in range(256)),
    ),
    # imagemeta.md: NAME[64] ID[20] MODALITY[32] PATIENT_NAME[64] PATIENT_ID[64] TIMESTAMP RI RJ RK S (reserved)
    "IMGMETA": (
        ImageMetaMessage([ImageMeta("Head", "T1", "MR", "Doe", "42", 1234567892.5, (256, 256, 2), 5)], **AT),
        text("Head", 64)
        + text("T1", 20)
        + text("MR", 32)
        + text("Doe", 64)
        + text("42", 64)
        + "499602d4 80000000 0100 0100 0002 05 00",
    ),
    # labelmeta.md: NAME[64] ID[20] LABEL (reserved) RGBA RI RJ RK OWNER_IMAGE[20]
    "LBMETA": (
        LabelMetaMessage([LabelMeta("Liver", "L1", 7, (1, 2, 3, 4), (16, 8, 4), "T1")], **AT),
        text("Liver", 64) + text("L1", 20) + "07 00 01020304 0010 0008 0004" + text("T1", 20),
    ),
    # videometa.md: NAME[64] DEVICENAME[64] PATIENT_NAME[64] PATIENT_ID[64] ZOOM FOCAL SIZE MATRIX S (reserved)
    "VIDEOMETA": (
        VideoMetaMessage([VideoMeta("Scope", "V1", "Doe", "42", -3, 2.0, (640, 480, 1))], **AT),
        text("Scope", 64)
        + text("V1", 64)
        + text("Doe", 64)
        + text("42", 64)
        + "fffd 4000000000000000 0280 01e0 0001"
        + (ONE + ZERO * 3 + ONE + ZERO * 3 + ONE + ZERO * 3)
        + "03 00",
    ),
    # polydata.md: ten counts, POINTS, cells, ATTRIBUTE_HEADER, ATTRIBUTE_NAMES (even), ATTRIBUTE_DATA
    "POLYDATA": (
        PolyDataMessage(
            QUAD,
            lines=np.array([2, 0, 1], np.uint32),
            polygons=np.array([3, 0, 1, 2, 3, 0, 2, 3], np.uint32),
            attributes=[
                PolyDataAttribute("depth", 0x00, np.array([[1], [2], [1], [2]], np.float32)),
                PolyDataAttribute("up", 0x12, np.array([[0, 0, 1], [0, 0, 2]], np.float32)),
            ],
            **AT,
        ),
        "00000004 00000000 00000000 00000001 0000000c 00000002 00000020 00000000 00000000 00000002"
        + (ZERO * 3 + ONE + ZERO * 2 + ONE * 2 + ZERO + ZERO + ONE + ZERO)
        + "00000002 00000000 00000001"
        + "00000003 00000000 00000001 00000002 00000003 00000000 00000002 00000003"
        + "00 01 00000004 12 03 00000002"
        + "646570746800 757000 00"
        + (ONE + TWO + ONE + TWO)
        + (ZERO * 2 + ONE + ZERO * 2 + TWO),
    ),
    # bind.md: N_CHILD, then CTYPE[12] CSIZE (64 bits) each, NTABLE_SIZE NAME_TABLE (even), CDATA (even)
    "BIND": (
        BindMessage(
            [
                StringMessage("abc", 0.0, "Word"),
                RawMessage("OWN_TYPE", b"\1\2", 0.0, "Raw"),
                SensorMessage([1.0], timestamp=0.0, device_name="S"),
            ],
            **AT,
        ),
        "0003"
        + (text("STRING", 12) + "0000000000000007")
        + (text("OWN_TYPE", 12) + "0000000000000002")
        + (text("SENSOR", 12) + "0000000000000012")
        + "000c 576f726400 52617700 5300 00"
        + "0003 0003 616263 00"
        + "0102"
        + "01 00 0000000000000000 3ff0000000000000",
    ),
    # bind.md, GET_BIND: N_CHILD CTYPE[12] NTABLE_SIZE NAME_TABLE
    "GET_BIND": (
        BindQueryMessage("GET_BIND", [("IMAGE", "CT"), ("TDATA", "")], **AT),
        "0002" + text("IMAGE", 12) + text("TDATA", 12) + "0004 435400 00",
    ),
    "GET_BIND for all": (BindQueryMessage("GET_BIND", **AT), ""),
    # igtl_bind.c, igtl_bind_pack: RESOL before what GET_BIND has
    "STT_BIND": (
        BindQueryMessage("STT_BIND", [("IMAGE", "CT")], 1_000_000, **AT),
        "00000000000f4240 0001" + text("IMAGE", 12) + "0004 435400 00",
    ),
    # trackingdata.md: RESOL COORD_NAME[32]
    "STT_TDATA": (StartTrackingMessage("STT_TDATA", 50, "CAMERA", **AT), "00000032" + text("CAMERA", 32)),
    "STT_QTDATA": (StartTrackingMessage("STT_QTDATA", 0, "", **AT), "00000000" + text("", 32)),
    # query.md, and STATUS of each page: 0 success, 1 error
    "GET_IMAGE": (QueryMessage("GET_IMAGE", **AT), ""),
    "STT_IMAGE": (QueryMessage("STT_IMAGE", **AT), ""),
    "STP_TDATA": (QueryMessage("STP_TDATA", **AT), ""),
    "STT_POLYDATA": (QueryMessage("STT_POLYDATA", bytes(8), **AT), "00" * 8),
    "RTS_TDATA": (ReplyMessage("RTS_TDATA", 1, **AT), "01"),
    "RTS_BIND": (ReplyMessage("RTS_BIND", None, **AT), ""),
    "STP_BIND": (QueryMessage("STP_BIND", **AT), ""),
    "GET_OWN": (QueryMessage("GET_OWN", **AT), ""),
    # image.md, see unit/openIGTLinkBytes.py
    "IMAGE": (
        ImageMessage(
            np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
            np.array([[1, 0, 0, 8.5], [0, 2, 0, 18], [0, 0, 3, 28.5], [0, 0, 0, 1]]),
            size=(4, 3, 2),
            endian="little",
            **AT,
        ),
        imageContent(bytes(range(24))).hex(),
    ),
}


def typeOf(name):
    return name.split()[0]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_message_is_written_as_specified(name):
    message, content = EXPECTED[name]
    wire = pack(message)
    assert wire[HEADER:].hex() == bytes.fromhex(content).hex()
    assert wire == framed(typeOf(name), bytes.fromhex(content))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", EXPECTED)
def test_a_message_is_read_as_specified(name, version):
    message, content = EXPECTED[name]
    body = bytes.fromhex(content)
    if version == 2:
        body = extended(body, [(b"Patient", 3, b"Doe")])
    found = received(framed(typeOf(name), body, version=version))
    expected = fields(message)
    if name == "TRANSFORM":
        expected["matrix"] = plain(MATRIX)  # pyigtl takes float32 and gives float64
    if version == 2:
        expected |= {"header_version": 2, "message_id": 7, "metadata": {"Patient": "Doe"}}
    assert type(found) is type(message)
    assert fields(found) == expected


@pytest.mark.parametrize("name", [name for name in EXPECTED if name not in ("IMAGE", "GET_OWN")])
def test_pyigtl_reads_and_writes_it_with_the_codec_of_this_package(name):
    message, content = EXPECTED[name]
    wire = framed(typeOf(name), bytes.fromhex(content))
    header = pyigtl.messages.MessageBase.parse_header(wire[:HEADER])
    found = pyigtl.messages.MessageBase.create_message(header["message_type"])
    found.unpack(header, wire[HEADER:])
    assert type(found) is type(message)
    assert found.pack() == message.pack() == wire


FREE = {"STATUS", "STT_POLYDATA", "GET_IMAGE", "STT_IMAGE", "STP_TDATA", "STP_BIND", "RTS_BIND", "GET_OWN"}
"""Their contents have no length of their own."""


@pytest.mark.parametrize("name", [name for name in EXPECTED if EXPECTED[name][1] and name not in FREE | {"RTS_TDATA"}])
def test_a_content_that_is_cut_is_refused_in_words(name):
    problem = refused(framed(typeOf(name), bytes.fromhex(EXPECTED[name][1])[:-1]))
    assert (problem.code, problem.fatal, problem.device) == ("malformed", False, "Probe")
    assert problem.text.startswith(f"{typeOf(name)} from Probe was rejected: ")


@pytest.mark.parametrize("name", [name for name in EXPECTED if name not in FREE])
def test_a_content_that_is_too_long_is_refused_or_its_end_passed_over(name):
    wire = framed(typeOf(name), bytes.fromhex(EXPECTED[name][1]) + b"\0")
    if typeOf(name) in ("STRING", "COMMAND", "RTS_COMMAND"):
        assert fields(received(wire)) == fields(EXPECTED[name][0])
    else:
        assert refused(wire).code == "malformed"


@pytest.mark.parametrize("name", ["TRANSFORM", "POSITION", "STRING", "STATUS", "COMMAND", "NDARRAY", "SENSOR", "IMAGE"])
@pytest.mark.parametrize("version", [1, 2])
def test_an_empty_message_says_that_there_is_nothing_to_give(name, version):
    """query.md: "If data is not available, a returned message must be null body"."""
    problem = refused(framed(name, extended(b"") if version == 2 else b"", version=version))
    assert (problem.code, problem.fatal) == ("no-data", False)
    assert "the device has no data" in problem.text


@pytest.mark.parametrize("name", ["TDATA", "QTDATA", "POINT", "TRAJ", "IMGMETA", "LBMETA", "VIDEOMETA", "CAPABILITY"])
def test_an_empty_list_is_a_list(name):
    assert pack(received(framed(name, b""))) == framed(name, b"")


@pytest.mark.parametrize(
    ("content", "quaternion"),
    [
        (ONE * 3, (0.0, 0.0, 0.0, 1.0)),
        (ONE * 3 + "3f000000" * 3, (0.5, 0.5, 0.5, 0.5)),
        (ONE * 3 + ONE * 3, (0.0, 0.0, 0.0, 1.0)),
    ],
)
def test_the_short_forms_of_a_position_are_read(content, quaternion):
    """igtlPositionMessage.h, SetPackType: the position alone, and without w."""
    found = received(framed("POSITION", bytes.fromhex(content)))
    assert found.position == (1.0, 1.0, 1.0)
    assert found.quaternion == quaternion


def test_a_quaternion_is_a_matrix():
    # A quarter turn around z: x goes to y.
    message = PositionMessage((1.0, 2.0, 3.0), (0.0, 0.0, 2**-0.5, 2**-0.5))
    np.testing.assert_allclose(message.matrix @ (1, 0, 0, 1), (1, 3, 3, 1), atol=1e-12)
    np.testing.assert_allclose(QuaternionTool("a", quaternion=(0, 0, 0, 0)).matrix, np.eye(4))


def test_numbers_that_are_none_are_passed_on_where_they_are_no_image():
    assert np.isnan(received(framed("TRANSFORM", bytes.fromhex("7fc00000" * 12))).matrix[:3]).all()


@pytest.mark.parametrize(
    ("encoding", "raw", "string"),
    [
        (3, b"abc\0\0", "abc"),
        (3, "é".encode(), "é"),
        (106, b"a\xff", "aÿ"),
        (4, b"\xe9", "é"),
        (1, "Ø".encode(), "Ø"),
        (4, "Größe".encode(), "Größe"),
        (3, b"Gr\xf6\xdfe", "Größe"),
        (2025, b"\x81", "\x81"),
        (0, b"", ""),
    ],
)
def test_no_text_is_refused(encoding, raw, string):
    content = encoding.to_bytes(2, "big") + len(raw).to_bytes(2, "big") + raw
    assert received(framed("STRING", content)).string == string


def test_names_that_are_not_UTF8_are_read_as_Latin1():
    content = b"\xff" * 20 + b"\2\0" + bytes(48)
    assert received(framed("TDATA", content)).items[0].name == "ÿ" * 20
    assert received(framed("GET_IMAGE", b"", device=b"A\xe9\0rest")).device_name == "Aé"


def test_short_names_in_Latin1_keep_their_last_letter():
    """The last letter looks like the beginning of a letter of UTF-8, but its field has not cut it."""
    short = "Café".encode("latin-1")
    assert received(framed("TDATA", short.ljust(70, b"\0"))).items[0].name == "Café"
    assert received(framed("CAPABILITY", short.ljust(12, b"\0"))).items == ["Café"]
    assert received(framed("LBMETA", short.ljust(116, b"\0"))).items[0].name == "Café"
    point = received(framed("POINT", short.ljust(64, b"\0") + short.ljust(52, b"\0") + short.ljust(20, b"\0")))
    assert (point.names, point.groups, point.owners) == (["Café"], ["Café"], ["Café"])


def test_long_names_are_cut_between_two_characters():
    message = received(pack(TrackingDataMessage([TrackedTool("a" * 19 + "é")], device_name="b" * 18 + "€")))
    assert message.items[0].name == "a" * 19
    assert message.device_name == "b" * 18


def test_numbers_that_are_too_large_for_their_field_are_refused():
    """As nothing else would tell the receiver: float32 would hold infinity."""
    far = np.eye(4)
    far[0, 3] = 1e39
    for message in (TrackingDataMessage([TrackedTool("a", matrix=far)]), PointMessage(positions=(0, 1e39, 0))):
        with pytest.raises(WireError, match="does not fit its field"):
            pack(message)
    far[0, 3] = np.inf
    assert received(pack(TrackingDataMessage([TrackedTool("a", matrix=far)]))).items[0].matrix[0, 3] == np.inf


def test_points_without_attributes_are_written():
    found = received(pack(PointMessage(positions=(1, 2, 3), names="A", rgba_colors=np.array([[1, 2, 3, 4]]))))
    assert (found.positions, found.names, found.rgba_colors) == ([(1.0, 2.0, 3.0)], ["A"], [(1, 2, 3, 4)])
    assert (found.diameters, found.groups, found.owners) == ([0.0], [""], [""])
    assert received(pack(PointMessage())).positions == []
    assert received(pack(PointMessage(positions=np.zeros((2, 3))))).rgba_colors == [(255, 255, 0, 255)] * 2


def polydata(numbers, data=""):
    return framed("POLYDATA", np.array(numbers, ">u4").tobytes() + bytes.fromhex(data))


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        (polydata([0, 0, 0, 1, 8, 0, 0, 0, 0, 0], "00000001 00000000"), "of only 0 points"),
        (polydata([0, 0, 0, 1, 8, 0, 0, 0, 0, 0], "00000002 00000000"), "cut off"),
        (polydata([0, 0, 0, 1, 4, 0, 0, 0, 0, 0], "ffffffff"), "cut off"),
        (polydata([0, 0, 0, 2, 4, 0, 0, 0, 0, 0], "00000000"), "declared number of"),
        (polydata([0, 0, 0, 1, 3, 0, 0, 0, 0, 0], "000000"), "not a whole number"),
        (polydata([2**32 - 1] + [0] * 9), "too early"),
        (polydata([0, 0, 0, 0, 2**32 - 4, 0, 0, 0, 0, 0]), "too early"),
        (polydata([0] * 9 + [2**32 - 1]), "attributes"),
        (polydata([0] * 9 + [1], "00 01 00000000 61"), "names"),
    ],
    ids=["index", "cut", "long cell", "count", "bytes", "points", "lines", "attributes", "names"],
)
def test_hostile_surfaces_are_refused(wire, words):
    """Indices beyond the points would be read by VTK as they are."""
    problem = refused(wire)
    assert problem.code == "malformed"
    assert words in problem.text


def test_cells_of_different_sizes_are_counted():
    surface = PolyDataMessage(QUAD, polygons=np.array([3, 0, 1, 2, 4, 0, 1, 2, 3], np.uint32))
    np.testing.assert_array_equal(received(pack(surface)).polygons, surface.polygons)


def test_values_of_cells_as_the_c_library_sends_them_are_read():
    """igtl_polydata.c reserves 9 numbers for each value of a type that it does not know: those of cells, and RGBA."""
    counts = [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    values = np.arange(18, dtype=">f4").tobytes().hex()
    found = received(polydata(counts, ZERO * 3 + "10 01 00000002 6100" + values))
    np.testing.assert_array_equal(found.attributes[0].values, [[0], [1]])


def test_a_bind_within_a_bind_is_not_read_deeper():
    inner = pack(BindMessage([StringMessage("a", device_name="A")]))[HEADER:]
    (child,) = received(pack(BindMessage([RawMessage("BIND", inner, device_name="B")]))).messages
    assert (type(child), child.content, child.message_type, child.device_name) == (RawMessage, inner, "BIND", "B")


def test_an_image_within_a_bind_is_read():
    image = ImageMessage(np.arange(6, dtype=">i2").reshape(1, 2, 3), device_name="CT", endian="big")
    (child,) = received(pack(BindMessage([image]))).messages
    np.testing.assert_array_equal(child.pixels, image.pixels)
    part = ImageMessage(np.zeros((1, 2, 3), np.uint8), size=(1, 1, 1))
    assert "are not supported" in refused(pack(BindMessage([part]))).text


@pytest.mark.parametrize(("type_", "size"), [("TDATA", 70 * 8_000), ("POINT", 136 * 64_000)])
def test_lists_in_a_bind_have_one_limit_together(type_, size):
    child = RawMessage(type_, bytes(size), device_name="B")
    assert len(received(pack(BindMessage([child]))).messages) == 1
    assert refused(pack(BindMessage([child] * 2))).code == "over-limit"


@pytest.mark.parametrize(
    "message",
    [
        StringMessage("a" * 65536),
        StatusMessage(-1),
        StatusMessage(1, 2**63),
        CommandMessage(-1),
        SensorMessage([0.0] * 256),
        NDArrayMessage(np.zeros(3, np.int64)),
        NDArrayMessage(np.zeros(65536, np.uint8)),
        ColorTableMessage(np.zeros(7, np.uint8)),
        TrackingDataMessage([TrackedTool("a", 2, np.eye(3))]),
        TrackingDataMessage([TrackedTool("a", 256)]),
        PointMessage(positions=[(1, 2, 3)], names=["a", "b"]),
        PolyDataMessage(QUAD, polygons=np.array([3, 0, 1, 9])),
        PolyDataMessage(QUAD, attributes=[PolyDataAttribute("a", 1, np.zeros((4, 2)))]),
        BindMessage([RawMessage("A" * 13)]),
        ImageMetaMessage([ImageMeta(time=-1.0)]),
        ReplyMessage("RTS_TDATA", 300),
        QueryMessage("GET_SOMETHING"),
        pyigtl.messages.ImageMessage(),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_the_protocol_cannot_carry_is_refused_in_words(message):
    with pytest.raises(WireError, match=r"\w+ \w+"):
        pack(message)


def test_a_query_knows_what_it_asks_for():
    assert (query("STT_TDATA").action, query("STT_TDATA").dataType) == ("STT_", "TDATA")
    assert type(query("STT_QTDATA")) is StartTrackingMessage
    assert type(query("RTS_IMAGE")) is ReplyMessage
    assert type(query("STT_BIND")) is BindQueryMessage
    assert received(framed("STT_TDATA", b"")).resolution == 0


def test_a_name_that_the_sender_cut_within_a_character_keeps_the_rest():
    cut = "abcdefghijklmnopqrsü".encode()[:20]
    assert received(framed("GET_IMAGE", b"", device=cut)).device_name == "abcdefghijklmnopqrs"


@pytest.mark.parametrize(
    ("raw", "name"), [(b"a\nb", "a b"), (b" \r\n", ""), (b"<b>x</b>", "<b>x</b>"), ("\u202egpj".encode(), "gpj")]
)
def test_control_signs_in_device_names_are_spaces(raw, name):
    assert received(framed("GET_IMAGE", b"", device=raw)).device_name == name


class Faulty(WireMessage):
    """A message whose codec raises an error of Python."""

    def _unpack_content(self, content):
        raise ValueError("invalid literal for int() with base 10")


def test_an_error_of_python_is_worded():
    with pytest.raises(WireError, match=r"^a value in it is impossible$"):
        unpackContent(Faulty(), b"x")


def test_a_long_name_of_a_device_is_cut():
    assert deviceName("x" * 300) == "x" * 255


def test_a_text_that_is_too_long_is_named():
    with pytest.raises(WireError, match="The text has 70,000 bytes; OpenIGTLink can send at most 65,535"):
        pack(StringMessage("x" * 70_000))
