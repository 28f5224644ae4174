import errno
import os
import sys

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from RealTimeImagingLib.Link.Ring import PAGE, SLOTS, Place, RingReader, RingWriter, ringPath
from RealTimeImagingLib.Model.Errors import RingError
from unit.examples import examples

DTYPE = np.dtype(np.uint16)
SHAPE = (1, 2, 3)


def pixels(number, count=6, dtype=DTYPE):
    return np.random.default_rng(number).integers(0, 250, (1, 1, count)).astype(dtype)


@pytest.fixture
def writer(workFolder):
    ring = RingWriter([str(workFolder)], "ring")
    yield ring
    ring.close()


@pytest.fixture
def reader(workFolder):
    ring = RingReader([str(workFolder)], "ring")
    yield ring
    ring.close()


inFiles = pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps the memory without a file")


def rings(*folders):
    return sorted(path.name for folder in folders for path in folder.glob("*.ring"))


# ---- against a model


class Model:
    """A plain model of a ring."""

    def __init__(self):
        self.held = {}  # (generation, slot) that is with Slicer: its place, what was put
        self.lent = []  # what a reader holds: [memory, what it wrote there, generation, key once it was sent]
        self.newest, self.slotBytes = -1, 0

    def used(self, generation):
        sent = sum(one == generation for one, _ in self.held)
        return sent + sum(of == generation and key not in self.held for _, _, of, key in self.lent)

    def alive(self):
        """The newest generation, and those with slots in use."""
        return {self.newest, *(one for one, _ in self.held), *(of for _, _, of, _ in self.lent)} - {-1}

    def takeBack(self, key):
        for lent in self.lent:
            if lent[3] == key:
                lent[3] = "back, and not to be sent again"

    def room(self, nbytes):
        if nbytes > self.slotBytes:  # a new generation; only one that is not the newest may still be in use
            return self.alive() <= {self.newest}
        return self.used(self.newest) < SLOTS


# Sizes around one and two pages, so that frames fit, just fit, and do not.
COUNTS = [1, PAGE // 2 - 1, PAGE // 2, PAGE // 2 + 1, PAGE, PAGE + 1, 3 * PAGE]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(COUNTS)),
        st.tuples(st.just("put"), st.just(1)),
        st.tuples(st.just("lend"), st.sampled_from(COUNTS)),
        st.tuples(st.just("put lent"), st.integers(0, 7)),
        st.tuples(st.just("let go"), st.integers(0, 7)),
        st.tuples(st.just("release"), st.integers(0, 7)),
        st.tuples(st.just("release again"), st.integers(0, 7)),
        st.tuples(st.just("release nonsense"), st.tuples(st.integers(-2, 9), st.integers(-2, 9))),
    ),
    max_size=40,
)


def noteSent(model, place, frame):
    assert place.key not in model.held
    assert place.slotBytes >= frame.nbytes
    assert place.generation - model.newest == (frame.nbytes > model.slotBytes)
    model.newest, model.slotBytes = place.generation, place.slotBytes
    model.held[place.key] = place, frame.copy()


def assertIntact(model, reader):
    for place, frame in model.held.values():
        np.testing.assert_array_equal(reader.view(place, frame.shape, DTYPE), frame)
    for memory, frame, _, _ in model.lent:
        np.testing.assert_array_equal(memory, frame.reshape(-1).view(np.uint8))


@examples(1.5)
@given(steps)
def test_no_frame_is_overwritten_before_its_slot_is_free(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("ring")
    writer, reader, model = RingWriter([str(folder)], "ring"), RingReader([str(folder)], "ring"), Model()
    released = []
    for number, (kind, what) in enumerate(steps):
        if kind == "put":
            frame = pixels(number, what)
            room = model.room(frame.nbytes)
            place = writer.put(frame)
            assert (place is not None) is room
            if place:
                noteSent(model, place, frame)
        elif kind == "lend":
            frame = pixels(number, what)
            room = frame.nbytes <= model.slotBytes and model.room(frame.nbytes)
            memory = writer.getBuffer(frame.nbytes)
            assert (memory is not None) is room
            if memory is not None:
                memory[:] = frame.reshape(-1).view(np.uint8)
                model.lent.append([memory, frame, model.newest, None])
            del memory
        elif kind == "put lent" and model.lent:
            lent = model.lent[what % len(model.lent)]
            memory, frame, generation, key = lent
            if key is None:
                inPlace = generation == model.newest
                room = inPlace or model.room(frame.nbytes)
                place = writer.put(memory.view(DTYPE).reshape(frame.shape))
                assert (place is not None) is room
                if place:
                    if inPlace:
                        lent[3] = place.key
                    noteSent(model, place, frame)
            del memory, lent
        elif kind == "let go" and model.lent:
            del model.lent[what % len(model.lent)]
        elif kind == "release" and model.held:
            key = list(model.held)[what % len(model.held)]
            released.append(key)
            del model.held[key]
            model.takeBack(key)
            writer.release(*key)
        elif kind == "release again" and released:
            key = released[what % len(released)]
            if key not in model.held:
                writer.release(*key)
        elif kind == "release nonsense" and what not in model.held:
            writer.release(*what)
        assertIntact(model, reader)
        assert writer.idle is (not model.held)
        alive = {f"ring-{generation}.ring" for generation in model.alive()}
        assert len(rings(folder)) <= 2
        if sys.platform == "win32":
            continue
        assert alive <= set(rings(folder))
        if kind in ("put", "lend"):  # what was let go is seen when the ring is asked for room
            assert alive == set(rings(folder))
    writer.close()
    assert rings(folder) == []
    reader.close()


sharing = st.lists(
    st.tuples(
        st.sampled_from(
            ["put", "put", "decode", "share", "share", "release", "take back", "subscribe", "unsubscribe", "let go"]
        ),
        st.integers(0, 11),
    ),
    max_size=60,
)


@examples(1.5)
@given(sharing)
@example([("put", 0), ("release", 0), ("subscribe", 0), ("share", 0), ("put", 0)])
@example([("subscribe", 0), ("subscribe", 0), ("share", 0), ("share", 0)])  # more than the quota
@example([("put", 0), ("decode", 0), ("put", 1), ("release", 1), *[("put", 0)] * SLOTS])  # a decoder's until the end
@example(
    # Two subscribers hold a slot that was decoded into, and one gives it back; frames to Slicer and decoders follow.
    [
        *(("subscribe", 5), ("subscribe", 5), ("subscribe", 5), ("put", 0), ("decode", 0), ("share", 1), ("share", 3)),
        *(("let go", 0), ("take back", 0), *[("decode", 0)] * SLOTS, ("take back", 0), ("decode", 0)),
    ]
)
def test_subscribers_take_no_slots_from_slicer_and_keep_what_they_hold(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("ring")
    writer, reader = RingWriter([str(folder)], "ring"), RingReader([str(folder)], "ring")
    shown, decoded, quotas, shared = {}, [], [], {}  # decoded: [memory, frame, generation]; shared: (quota, key): ...

    def taken(generation):
        """The slots of a generation that are on their way to Slicer, or are a decoder's."""
        slotBytes = writer._generations[generation].slotBytes
        addresses = {memory.__array_interface__["data"][0] for memory, _, of in decoded if of == generation}
        start = writer._generations[generation].address
        return {slot for of, slot in shown if of == generation} | {(one - start) // slotBytes for one in addresses}

    for number, (kind, what) in enumerate(steps):
        frame = pixels(number, COUNTS[what % len(COUNTS)])
        # Each kind of request can begin a generation, for a larger frame or for a subscriber.
        newest = writer._newest
        slotBytes = writer._generations[newest].slotBytes if newest >= 0 else 0
        if kind == "put":
            given = frame
            if what % 2 and decoded:
                memory, frame, _ = decoded[what % len(decoded)]
                given = memory.view(DTYPE).reshape(frame.shape)
                if any(address == given.__array_interface__["data"][0] for _, _, address in shown.values()):
                    del memory, given
                    continue  # a frame is shown once
                del memory
            full = newest >= 0 and len(taken(newest)) >= SLOTS
            place = writer.put(given)
            if place is None:
                assert full or given.nbytes > slotBytes
            else:
                shown[place.key] = place, frame, given.__array_interface__["data"][0]
            del given
        elif kind == "decode":
            memory = writer.getBuffer(frame.nbytes)
            if memory is None:
                assert newest < 0 or frame.nbytes > slotBytes or len(taken(newest)) >= SLOTS
            else:
                memory[:] = frame.reshape(-1).view(np.uint8)
                decoded.append([memory, frame, newest])
            del memory
        elif kind == "share" and quotas:
            given = frame
            if what % 2 and decoded:
                memory, frame, _ = decoded[what % len(decoded)]
                given = memory.view(DTYPE).reshape(frame.shape)
                del memory
            quota = quotas[what % len(quotas)]
            place = writer.share(quota, given)
            if place and (id(quota), place.key) not in shared:
                shared[id(quota), place.key] = quota, place, frame
            assert len(quota.held) <= quota.slots
            del given
        elif kind == "release" and shown:
            key = list(shown)[what % len(shown)]
            del shown[key]
            writer.release(*key)
        elif kind == "take back" and shared:
            quota, place, _ = shared.pop(list(shared)[what % len(shared)])
            writer.takeBack(quota, *place.key)
            writer.takeBack(quota, *place.key)
        elif kind == "subscribe" and len(quotas) < 3:
            quotas.append(writer.addQuota(1 + what % 6, None if what % 2 else 5 * PAGE))
        elif kind == "unsubscribe" and quotas:
            quota = quotas.pop(what % len(quotas))
            writer.removeQuota(quota)
            assert not quota.held
            shared = {key: value for key, value in shared.items() if value[0] is not quota}
        elif kind == "let go" and decoded:
            del decoded[what % len(decoded)]
        for place, frame, *_ in shown.values():
            np.testing.assert_array_equal(reader.view(place, frame.shape, DTYPE), frame)
        for _, place, frame in shared.values():
            np.testing.assert_array_equal(reader.view(place, frame.shape, DTYPE), frame)
        for memory, frame, _ in decoded:
            np.testing.assert_array_equal(memory, frame.reshape(-1).view(np.uint8))
            del memory
        assert {(id(quota), key) for quota in quotas for key in quota.held} == set(shared)
    for key in shown:
        writer.release(*key)
    for quota in quotas:
        writer.removeQuota(quota)
    decoded.clear()
    place = writer.put(pixels(0))
    if quotas:  # the slots of subscribers that are gone are given up
        assert place.slots == SLOTS
    assert len(rings(folder)) == (sys.platform != "win32")
    writer.close()
    reader.close()


# ---- single facts


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (2, 3, 4, 3)])
def test_pixels_are_read_as_they_were_written(writer, reader, dtype, shape):
    frame = np.random.default_rng(1).integers(0, 100, shape).astype(dtype)
    view = reader.view(writer.put(frame), shape, frame.dtype)
    np.testing.assert_array_equal(view, frame)
    assert (view.dtype, view.shape) == (frame.dtype, shape)


def test_the_reader_copies_nothing_and_cannot_write(writer, reader):
    place = writer.put(pixels(1))
    view = reader.view(place, SHAPE, DTYPE)
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0, 0] = 1
    writer.release(*place.key)
    frames = {}
    for number in range(2, 2 + SLOTS):
        frames[writer.put(pixels(number)).slot] = pixels(number)
    np.testing.assert_array_equal(view, frames[place.slot].reshape(SHAPE))


def test_a_frame_that_was_decoded_into_a_slot_is_copied_when_it_is_put_again(writer, reader):
    writer.release(*writer.put(pixels(0)).key)
    memory = writer.getBuffer(pixels(1).nbytes)
    memory[:] = pixels(1).reshape(-1).view(np.uint8)
    frame = memory.view(DTYPE).reshape(SHAPE)
    places = [writer.put(frame) for _ in range(2)]
    assert places[0].slot != places[1].slot
    for place in places:
        np.testing.assert_array_equal(reader.view(place, SHAPE, DTYPE), pixels(1).reshape(SHAPE))
    del memory, frame


def test_a_frame_waits_when_all_slots_are_taken(writer):
    places = [writer.put(pixels(number)) for number in range(SLOTS)]
    assert writer.put(pixels(9)) is None
    writer.release(*places[2].key)
    assert writer.put(pixels(9)).key == places[2].key
    assert writer.put(pixels(9)) is None


@inFiles
def test_a_larger_frame_gets_a_new_file_and_the_old_one_is_deleted_with_its_last_slot(writer, reader, workFolder):
    old = [writer.put(pixels(number)) for number in range(2)]
    views = [reader.view(place, (1, 1, 6), DTYPE) for place in old]
    large = pixels(5, PAGE)
    place = writer.put(large)
    assert place.generation == old[0].generation + 1
    np.testing.assert_array_equal(reader.view(place, large.shape, DTYPE), large)
    assert rings(workFolder) == ["ring-0.ring", "ring-1.ring"]
    assert writer.put(pixels(6, 2 * PAGE)) is None  # two generations are enough
    writer.release(*old[0].key)
    assert rings(workFolder) == ["ring-0.ring", "ring-1.ring"]
    writer.release(*old[1].key)
    assert rings(workFolder) == ["ring-1.ring"]
    for number, view in enumerate(views):  # what Slicer's side still looks at is not taken from it
        np.testing.assert_array_equal(view, pixels(number))
    small = writer.put(pixels(7))
    assert small.generation == place.generation
    assert writer.put(pixels(6, 2 * PAGE)).generation == place.generation + 1


def test_a_frame_decoded_into_a_slot_is_not_copied(writer, reader):
    writer.release(*writer.put(pixels(1)).key)
    memory = writer.getBuffer(12)
    frame = memory.view(DTYPE).reshape(SHAPE)
    frame[:] = pixels(2).reshape(SHAPE)
    place = writer.put(frame)
    view = reader.view(place, SHAPE, DTYPE)
    frame[0, 0, 0] += 1  # the same memory
    assert view[0, 0, 0] == frame[0, 0, 0]


def test_a_buffer_is_free_when_slicer_and_the_decoder_have_released_it(writer):
    writer.release(*writer.put(pixels(1)).key)
    memory = writer.getBuffer(12)
    place = writer.put(memory.view(DTYPE).reshape(SHAPE))
    assert all(writer.put(pixels(number)) for number in range(SLOTS - 1))
    assert writer.put(pixels(9)) is None
    writer.release(*place.key)
    assert writer.put(pixels(9)) is None
    assert writer.getBuffer(12) is None
    del memory
    assert writer.put(pixels(9)).key == place.key


def test_buffers_outlive_the_ring(writer):
    writer.release(*writer.put(pixels(1)).key)
    memory = writer.getBuffer(12)
    memory[:] = 7
    writer.close()
    assert (memory == 7).all()


@inFiles
def test_memory_is_reserved_before_it_is_written(writer, workFolder):
    for number in range(SLOTS):
        writer.put(pixels(number, 5 * PAGE))
        status = (workFolder / "ring-0.ring").stat()
        assert SLOTS * 10 * PAGE <= status.st_size <= (SLOTS * 10 + 1) * PAGE
        if sys.platform == "linux":
            assert status.st_blocks * 512 >= ((number + 1) * 10 + 1) * PAGE
        assert status.st_mode & 0o077 == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows reserves the memory of all slots at once")
def test_a_slot_gets_its_memory_when_it_is_used_first(writer, reader, workFolder):
    frames = {}
    for number in range(20):
        place = writer.put(pixels(number, 1 << 17))
        frames[place.slot] = number
        writer.release(*place.key)
    assert frames == {1: 19}  # the slot that was used last is used again
    blocks = (workFolder / "ring-0.ring").stat().st_blocks * 512
    assert 2 * (1 << 18) <= blocks < 3 * (1 << 18)


def test_the_bytes_of_all_slots_are_limited(workFolder):
    ring = RingWriter([str(workFolder)], "ring", 16, 10 * PAGE)
    for size, slots in ((1, 10), (2, 5), (3, 3), (11, 1)):
        places = []
        while place := ring.put(pixels(1, size * PAGE, np.uint8)):
            places.append(place)
        assert [place.slots for place in places] == [slots] * slots
        assert {place.generation for place in places} == {places[0].generation}
        for place in places:
            ring.release(*place.key)
    ring.close()
    unlimited = RingWriter([str(workFolder)], "unlimited", 16)
    assert unlimited.put(pixels(1)).slots == 16
    unlimited.close()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs posix_fallocate")
def test_a_slot_without_memory_is_never_used(writer, reader, monkeypatch):
    def full(handle, start, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    frame = pixels(1, 1 << 20, np.uint8)
    places = [writer.put(frame) for _ in range(3)]
    with monkeypatch.context() as disk:
        disk.setattr(os, "posix_fallocate", full)
        assert writer.put(frame) is None
    assert [place.slot for place in places] == [1, 0, 2]
    assert writer.put(frame) is None
    for place in places:
        np.testing.assert_array_equal(reader.view(place, frame.shape, frame.dtype), frame)
        writer.release(*place.key)
    assert all(writer.put(frame) for _ in range(3))
    assert writer.put(frame) is None


def test_the_next_folder_replaces_one_without_room(tmp_path, workFolder):
    writer = RingWriter([str(tmp_path / "missing"), str(workFolder)], "ring")
    reader = RingReader([str(tmp_path / "missing"), str(workFolder)], "ring")
    np.testing.assert_array_equal(reader.view(writer.put(pixels(1)), (1, 1, 6), DTYPE), pixels(1))
    assert sys.platform == "win32" or rings(workFolder) == ["ring-0.ring"]
    writer.close()


@pytest.fixture
def largestFile():
    """Limits the size of files, as a full disk would: posix_fallocate fails."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_with_little_memory_two_slots_suffice(writer, workFolder, largestFile):
    largestFile(3 << 20)
    frame = pixels(1, 1 << 20, np.uint8)
    places = [writer.put(frame) for _ in range(3)]
    assert [place and place.slots for place in places] == [2, 2, None]
    assert (workFolder / "ring-0.ring").stat().st_size <= (2 << 20) + PAGE


def test_without_memory_put_raises_and_leaves_no_file(writer, workFolder, largestFile):
    held = writer.put(pixels(1))
    largestFile(1 << 20)
    with pytest.raises(RingError, match="1,048,576 bytes"):
        writer.put(pixels(1, 1 << 20, np.uint8))
    assert rings(workFolder) == ["ring-0.ring"]
    assert writer.put(pixels(2)).generation == held.generation  # smaller ones still pass
    largestFile(1 << 30)
    assert writer.put(pixels(1, 1 << 20, np.uint8)).slots == SLOTS


@inFiles
def test_a_file_of_that_name_is_not_overwritten(writer, workFolder):
    (workFolder / "ring-0.ring").write_bytes(b"of somebody else")
    with pytest.raises(RingError):
        writer.put(pixels(1))
    assert (workFolder / "ring-0.ring").read_bytes() == b"of somebody else"


@inFiles
def test_the_reader_raises_when_the_memory_is_gone(writer, reader, workFolder):
    place = writer.put(pixels(1))
    os.unlink(ringPath(str(workFolder), "ring", 0))
    with pytest.raises(RingError, match="gone"):
        reader.view(place, SHAPE, DTYPE)


def test_the_reader_refuses_a_file_that_is_too_short(writer, reader, workFolder):
    place = writer.put(pixels(1))
    (workFolder / "ring-7.ring").write_bytes(b"short")
    with pytest.raises(RingError, match="gone"):
        reader.view(Place(7, place.slot, place.slotBytes, place.slots), SHAPE, DTYPE)


@inFiles
def test_the_reader_refuses_empty_memory(writer, reader, workFolder):
    """Windows creates it when a mapping that is gone is opened."""
    place = writer.put(pixels(1))
    size = (workFolder / "ring-0.ring").stat().st_size
    (workFolder / "ring-7.ring").write_bytes(bytes(size))
    with pytest.raises(RingError, match="it is empty"):
        reader.view(Place(7, place.slot, place.slotBytes, place.slots), SHAPE, DTYPE)


@pytest.mark.parametrize(
    ("slot", "shape"),
    [
        *[(0, (1, 1, PAGE // 2 + 1)), (SLOTS, SHAPE), (0, (1 << 21, 1 << 21, 1 << 21))],
        *[(-1, SHAPE), (0, (-1, -2, 3)), (0, (0, 3, 4)), (0, ())],
    ],
)
def test_the_reader_refuses_places_outside_the_memory(writer, reader, slot, shape):
    place = writer.put(pixels(1))
    with pytest.raises(RingError, match="does not fit"):
        reader.view(Place(place.generation, slot, place.slotBytes, place.slots), shape, DTYPE)


def test_views_outlive_reader_and_file(writer, reader):
    view = reader.view(writer.put(pixels(1)), SHAPE, DTYPE)
    reader.close()
    writer.close()
    np.testing.assert_array_equal(view, pixels(1).reshape(SHAPE))


def test_old_memory_is_released(workFolder, writer, reader):
    """The reader keeps the generation before the newest, and no older one."""
    maps = "/proc/self/maps"
    if sys.platform != "linux":
        pytest.skip("needs /proc")
    for number in range(4):
        place = writer.put(pixels(number, (number + 1) * PAGE))
        reader.view(place, SHAPE, DTYPE)
        writer.release(*place.key)
    with open(maps) as lines:
        mapped = {line.split()[-2] for line in lines if str(workFolder) in line and "(deleted)" in line}
    assert mapped == {str(workFolder / "ring-2.ring")}
