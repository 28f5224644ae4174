"""Any message comes out as it went in, in any pieces; and no bytes do harm."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from RealTimeImagingLib import OpenIGTLink as igtl
from RealTimeImagingLib.Model.Text import textFromJSON
from RealTimeImagingLib.OpenIGTLink.Base import deviceName
from unit.examples import examples
from unit.openIGTLinkBytes import extended, fields, framed, give, giveInPieces
from unit.readers import mutated
from unit.test_OpenIGTLinkMessages import EXPECTED, typeOf

GOOD = framed("STRING", b"\0\3\0\4good", device=b"Next")
LIMIT = 1 << 20
HEADER = 58
TYPES = sorted({typeOf(name) for name in EXPECTED} | {"VIDEO", "OWN", "STT_OWN", "RTS_OWN"})

signs = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


def texts(size):
    """Text that fits a field of so many bytes."""
    return st.text(signs, max_size=size).filter(lambda text: len(text.encode()) <= size)


def exact(*parts):
    return st.tuples(*parts)


singles = st.floats(width=32, allow_nan=False, allow_infinity=False)
bytes8, words16 = st.integers(0, 255), st.integers(0, 65535)
points3, points4 = exact(*[singles] * 3), exact(*[singles] * 4)
colors, sizes = exact(*[bytes8] * 4), exact(*[words16] * 3)
times = st.integers(0, 2**64 - 2**12).map(lambda stamp: stamp / 2**32)
doubles = st.floats(allow_nan=False)


@st.composite
def matrices(draw):
    matrix = np.eye(4)
    matrix[:3] = draw(arrays.arrays(np.float64, (3, 4), elements=singles))
    return matrix


@st.composite
def images(draw):
    shape = draw(arrays.array_shapes(min_dims=3, max_dims=3, max_side=6))
    components = draw(st.sampled_from([(), (2,), (3,), (4,), (255,)]))
    dtype = draw(st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"]))
    pixels = np.random.default_rng(draw(bytes8)).integers(0, 100, shape + components).astype(dtype)
    endian = draw(st.sampled_from(["little", "big"]))
    affine = np.diag([*draw(exact(*[st.sampled_from([0.5, 1.0, 2.0, -3.0])] * 3)), 1.0])
    affine[:3, 3] = draw(exact(*[st.integers(-1000, 1000)] * 3))
    coordinates = draw(st.sampled_from(["RAS", "LPS"]))
    return igtl.ImageMessage(pixels, affine, coordinates=coordinates, endian=endian, size=shape[::-1])


@st.composite
def surfaces(draw):
    points = draw(arrays.arrays(np.float32, (draw(st.integers(1, 9)), 3), elements=singles))
    cells = st.lists(st.lists(st.integers(0, len(points) - 1), max_size=4), max_size=5)
    flat = [
        np.array([number for cell in draw(cells) for number in (len(cell), *cell)], np.uint32).reshape(-1)
        for _ in range(4)
    ]
    attributes = []
    for kind in draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 0x10, 0x11, 0x14]), max_size=3)):
        width = {1: 3, 2: 3, 3: 9, 4: 4, 5: 3}.get(kind & 15) or draw(st.integers(1, 5))
        values = draw(arrays.arrays(np.float32, (draw(st.integers(0, 4)), width), elements=singles))
        attributes.append(igtl.PolyDataAttribute(draw(texts(255)), kind, values))
    return igtl.PolyDataMessage(points, *flat, attributes)


@st.composite
def pointLists(draw):
    count = draw(st.integers(0, 3))

    def several(of):
        return draw(st.lists(of, min_size=count, max_size=count))

    return igtl.PointMessage(
        several(points3), several(texts(64)), several(colors), several(singles), several(texts(32)), several(texts(20))
    )


def listed(made, item):
    return st.lists(item, max_size=3).map(made)


simple = st.one_of(
    st.builds(igtl.StringMessage, st.text(signs, max_size=100)),
    st.builds(igtl.StatusMessage, words16, st.integers(-(2**63), 2**63 - 1), texts(20), st.text(signs, max_size=50)),
    st.builds(igtl.CommandMessage, st.integers(0, 2**32 - 1), texts(128), st.text(signs, max_size=100)),
    st.builds(igtl.CommandReplyMessage, st.integers(0, 2**32 - 1), texts(128), st.text(signs, max_size=100)),
    listed(igtl.CapabilityMessage, texts(12)),
    st.builds(igtl.PositionMessage, points3, points4),
    listed(igtl.TrackingDataMessage, st.builds(igtl.TrackedTool, texts(20), bytes8, matrices())),
    listed(igtl.QuaternionTrackingDataMessage, st.builds(igtl.QuaternionTool, texts(20), bytes8, points3, points4)),
    pointLists(),
    listed(
        igtl.TrajectoryMessage,
        st.builds(igtl.Trajectory, texts(64), texts(32), bytes8, colors, points3, points3, singles, texts(20)),
    ),
    listed(
        igtl.ImageMetaMessage,
        st.builds(igtl.ImageMeta, texts(64), texts(20), texts(32), texts(64), texts(64), times, sizes, bytes8),
    ),
    listed(igtl.LabelMetaMessage, st.builds(igtl.LabelMeta, texts(64), texts(20), bytes8, colors, sizes, texts(20))),
    listed(
        igtl.VideoMetaMessage,
        st.builds(
            igtl.VideoMeta,
            texts(64),
            texts(64),
            texts(64),
            texts(64),
            st.integers(-(2**15), 2**15 - 1),
            doubles,
            sizes,
            exact(*[singles] * 12),
            bytes8,
        ),
    ),
    st.builds(
        igtl.NDArrayMessage,
        st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8", "c16"]).flatmap(
            lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4))
        ),
    ),
    st.builds(igtl.SensorMessage, st.lists(doubles, max_size=255), st.integers(0, 2**64 - 1), bytes8),
    st.builds(igtl.QueryMessage, st.sampled_from(["GET_IMAGE", "STP_TDATA", "STT_VIDEO"]), st.binary(max_size=40)),
    st.builds(igtl.ReplyMessage, st.sampled_from(["RTS_TDATA", "RTS_OWN"]), st.none() | bytes8),
    st.builds(
        igtl.StartTrackingMessage,
        st.sampled_from(["STT_TDATA", "STT_QTDATA"]),
        st.integers(-(2**31), 2**31 - 1),
        texts(32),
    ),
    st.builds(igtl.BindQueryMessage, st.just("GET_BIND"), st.lists(st.tuples(texts(12), texts(20)), max_size=3)),
    st.builds(
        igtl.BindQueryMessage,
        st.just("STT_BIND"),
        st.lists(st.tuples(texts(12), texts(20)), max_size=3),
        st.integers(0, 2**64 - 1),
    ),
    images(),
    surfaces(),
)


@st.composite
def messages(draw):
    children = st.lists(simple, max_size=3)
    message = draw(simple | children.map(igtl.BindMessage))
    for child in getattr(message, "messages", []):
        child.timestamp, child.device_name = 0.0, deviceName(draw(texts(20)))
    message.device_name, message.timestamp = deviceName(draw(texts(20))), draw(times)
    message.header_version = draw(st.sampled_from([1, 2]))
    if message.header_version == 2:
        message.message_id = draw(st.integers(0, 2**32 - 1))
        ended = st.text(signs, max_size=20)
        message.metadata = draw(st.dictionaries(ended, ended, max_size=3))
    return message


@examples(2)
@given(sent=st.lists(messages(), min_size=1, max_size=3), pieces=st.lists(st.integers(0, 5000), max_size=10))
def test_any_message_comes_out_as_it_went_in(sent, pieces):
    receiver = igtl.Receiver()
    wire = b"".join(map(igtl.pack, sent))
    found = giveInPieces(receiver, wire, pieces)
    assert [fields(message) for message in found] == [fields(message) for message in sent]
    assert b"".join(map(igtl.pack, found)) == wire
    assert not receiver.pending
    assert (receiver.counts.messages, receiver.counts.bytes) == (len(sent), len(wire))


@examples(2)
@given(message=messages())
def test_the_pieces_to_send_are_the_whole(message):
    assert b"".join(map(bytes, igtl.packBuffers(message))) == igtl.pack(message)


class Lender:
    def __init__(self):
        self.asked = []

    def __call__(self, nbytes):
        self.asked.append(nbytes)


def assertHarmless(data, pieces=()):
    """Nothing is raised, no memory above the limit asked for, and the connection goes on or is known to be broken."""
    lender = Lender()
    receiver = igtl.Receiver(lender, sizeLimit=LIMIT)
    said = giveInPieces(receiver, data, pieces)
    assert all(nbytes <= LIMIT for nbytes in lender.asked)
    problems = [item for item in said if isinstance(item, igtl.Problem)]
    assert all(problem.text.endswith(".") and problem.code for problem in problems)
    assert all(textFromJSON(json.loads(json.dumps(problem.text.toJSON()))) == problem.text for problem in problems)
    assert [problem for problem in problems if problem.fatal] == problems[-1:] * receiver.broken
    assert receiver.counts.messages == len(said) - len(problems)
    return receiver, said


def assertGoesOn(data, pieces=()):
    """As :func:`assertHarmless`, and the good message behind these bytes is received."""
    receiver, said = assertHarmless(data + GOOD, pieces)
    assert len(said) == 2
    assert said[-1].string == "good"
    assert not receiver.pending


@examples(5)
@given(
    name=st.sampled_from(TYPES),
    body=st.binary(max_size=300),
    version=st.sampled_from([1, 2]),
    pieces=st.lists(st.integers(0, 400), max_size=5),
)
def test_random_bytes_behind_a_good_header_do_no_harm(name, body, version, pieces):
    assertGoesOn(framed(name, body, version=version), pieces)


@examples(5)
@given(
    name=st.sampled_from(sorted(EXPECTED)),
    version=st.sampled_from([1, 2]),
    changes=st.lists(st.tuples(st.integers(0, 400), bytes8), min_size=1, max_size=6),
    pieces=st.lists(st.integers(0, 400), max_size=5),
)
def test_a_changed_content_with_a_right_checksum_does_no_harm(name, version, changes, pieces):
    body = bytes.fromhex(EXPECTED[name][1])
    if version == 2:
        body = extended(body, [(b"key", 3, b"value"), (b"other", 106, b"value")], size=20)
    if body:
        assertGoesOn(framed(typeOf(name), mutated(body, changes), version=version), pieces)


@examples(2)
@given(message=messages(), changes=st.lists(st.tuples(st.integers(0, 10_000), bytes8), min_size=1, max_size=4))
def test_a_changed_message_does_no_harm(message, changes):
    assertHarmless(mutated(igtl.pack(message), changes) + GOOD)


@examples(2)
@given(
    message=messages(),
    changes=st.lists(st.tuples(st.integers(HEADER, 10_000), bytes8), min_size=1, max_size=4),
    pieces=st.lists(st.integers(0, 1000), max_size=5),
)
def test_a_changed_body_is_a_wrong_checksum_or_what_it_was(message, changes, pieces):
    wire = igtl.pack(message)
    changed = wire[:HEADER] + (mutated(wire[HEADER:], changes) if len(wire) > HEADER else b"")
    receiver = igtl.Receiver()
    first, last = giveInPieces(receiver, changed + GOOD, pieces)
    assert last.string == "good"
    if changed == wire:
        assert fields(first) == fields(message)
    else:
        assert isinstance(first, igtl.Problem)
        assert first.code in ("wrong-crc", "malformed")


@examples(2)
@given(data=st.binary(max_size=500), pieces=st.lists(st.integers(0, 500), max_size=5))
def test_random_bytes_do_no_harm(data, pieces):
    assertHarmless(data, pieces)


@examples(2)
@given(message=messages(), cut=st.floats(0, 1, exclude_max=True))
def test_a_message_that_is_cut_is_never_taken_for_whole(message, cut):
    wire = igtl.pack(message)
    receiver = igtl.Receiver()
    assert give(receiver, wire[: int(cut * len(wire))]) == []
    problem = receiver.finish()
    assert (problem is None) == (int(cut * len(wire)) == 0)
