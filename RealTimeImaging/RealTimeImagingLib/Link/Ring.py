"""Shared memory that carries pixels between the acquisition process and Slicer: slots in a file that both map.

The writer puts a frame into a free slot and reports it in a message; the reader copies it and gives the slot back. A
frame that does not fit starts a new generation, which is a new file. The old file is deleted with its last slot.

Subscribers, which process frames beside Slicer, read the same slots. Each has slots of its own in the file, as many as
it may hold: so one that hangs takes none from Slicer.
"""

from __future__ import annotations

import math
import mmap
import os
import sys
import weakref
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..Model.Errors import RingError
from ..Model.Files import reasonOf, removeFile, writeAll
from ..Model.Frame import Pixels
from ..Model.Text import sentence, textsOf

_ = textsOf(__file__)

SLOTS = 4
FEW = 2
"""Slots with which a ring works when memory is short."""
MOST_GENERATIONS = 2
"""Generations beyond which subscribers get no frames: one that hangs must not keep the memory of more. A new subscriber
starts no further one."""
PAGE = 4096
MAGIC = b"RealTimeImaging ring"
"""End of the memory: Windows creates new, empty memory when a name that is gone is opened."""
PUSH_RING = "pushed"
"""Common start of the file names of the ring that Slicer writes, which outlives each acquisition process."""
PUSH_SLOTS, PUSH_BYTES = 64, 512 << 20
"""Limits of that ring: slots, and bytes of all slots. It has at least one slot, whatever the size of a frame. The slots
hold the images of a callback at 30 images/s while the acquisition process starts, which takes about a second."""


class Place(NamedTuple):
    """Place of a frame: generation, slot, bytes of a slot and slots of the generation."""

    generation: int
    slot: int
    slotBytes: int
    slots: int

    @property
    def key(self) -> tuple[int, int]:
        """(generation, slot), as it is given back."""
        return self.generation, self.slot

    def toJSON(self) -> dict[str, int]:
        """Return an object with all fields."""
        return self._asdict()

    @classmethod
    def fromJSON(cls, values: Mapping[str, int]) -> Place:
        """Return the place that :meth:`toJSON` wrote."""
        return cls(**values)


@dataclass(eq=False)
class Quota:
    """Slots that one subscriber may hold, see :meth:`RingWriter.share`.

    :param slots: most slots.
    :param limit: most bytes of these slots, unless one frame is larger; None: no limit.
    """

    slots: int
    limit: int | None = None
    held: set[tuple[int, int]] = field(default_factory=set)
    """Slots that the subscriber has not given back, as (generation, slot)."""

    def most(self, slotBytes: int) -> int:
        """Return the number of slots of so many bytes that it allows."""
        return self.slots if self.limit is None else max(1, min(self.slots, self.limit // slotBytes))


class _Mapping(mmap.mmap):
    """Memory of a generation."""

    path = ""
    """Path of its file; on Windows the path from which its name follows."""


class Target(NamedTuple):
    """Memory from :meth:`RingWriter.getBuffer`, as another process finds it.

    Path of the file, bytes of the file, first byte, and bytes that may be written.
    """

    path: str
    size: int
    start: int
    nbytes: int

    @classmethod
    def of(cls, memory: Pixels) -> Target | None:
        """Return the target of a buffer; None for memory of this process alone."""
        base = memory.base
        mapping = base.obj if isinstance(base, memoryview) else base
        if not isinstance(mapping, _Mapping):
            return None
        whole = np.frombuffer(mapping, np.uint8)
        start = memory.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        return cls(mapping.path, whole.size, start, memory.nbytes)

    def toJSON(self) -> dict[str, str | int]:
        """Return an object with all fields."""
        return self._asdict()

    @classmethod
    def fromJSON(cls, values: Mapping[str, Any]) -> Target:
        """Return the target that :meth:`toJSON` wrote."""
        return cls(**values)


@dataclass
class _Generation:
    path: str
    memory: _Mapping
    handle: int
    """Descriptor of the file; -1 on Windows."""
    slotBytes: int
    slots: int
    own: int
    """Most slots for frames on their way to Slicer; the others are for frames that subscribers hold."""
    reserved: int = 0
    """Slots that have memory. The file has a place for all, and each gets its memory when it is used first."""
    full: bool = False
    """True when no more memory could be reserved."""
    free: list[int] = field(default_factory=list)
    sent: set[int] = field(default_factory=set)
    """Slots that the reader has not given back."""
    buffers: dict[int, weakref.ref[Any]] = field(default_factory=dict)
    """Slots whose memory is a decoder's buffer, or that of a frame decoded into it."""
    shared: Counter[int] = field(default_factory=Counter)
    """Number of subscribers that hold a slot."""
    address: int = field(init=False)
    """Address of the first slot's first byte."""

    def __post_init__(self) -> None:
        self.address = np.frombuffer(self.memory, np.uint8).__array_interface__["data"][0]

    @property
    def taken(self) -> int:
        """Number of slots whose frames are on their way to Slicer."""
        return len(self.sent | self.buffers.keys())

    @property
    def unused(self) -> bool:
        """True when all slots are free."""
        return not self.sent and not self.buffers and not self.shared

    def takeFree(self) -> int | None:
        """Take a free slot for a frame on its way to Slicer; None when all are taken."""
        return self._take() if self.taken < self.own else None

    def takeShared(self) -> int | None:
        """Take a free slot for subscribers; None when there is none to spare."""
        return self._take() if self.canShare() else None

    def canShare(self) -> bool:
        """Return whether subscribers can hold one more slot, and all slots for Slicer stay."""
        while not self.full and self.reserved - len(self.shared) <= self.own:
            self.reserve()
        least = self.own if self.reserved == self.slots else min(self.own, FEW)
        return self.reserved - len(self.shared) > least

    def _take(self) -> int | None:
        if not self.free and not self.full:
            self.reserve()
        return self.free.pop() if self.free else None

    def reserve(self) -> None:
        """Reserve the memory of one more slot when there is one."""
        self.full = self.reserved == self.slots
        if self.full:
            return
        try:
            _reserve(self.handle, self.reserved * self.slotBytes, self.slotBytes)
        except OSError:
            self.full = True
            return
        self.free.append(self.reserved)
        self.reserved += 1

    def start(self, slot: int) -> int:
        """Return the address of a slot's first byte."""
        return self.address + slot * self.slotBytes


class RingWriter:
    """Writing end of a ring. Not thread-safe: its owner holds a lock.

    A decoder may write straight into the memory of a slot; such a frame is not copied. The slot is free again when the
    reader has given it back and this process holds no reference to its memory.

    :param folders: folders for the files, best first; the next is tried when one has no room.
    :param name: common start of the files' names, unique to this writer.
    :param slots: most slots of a generation.
    :param limit: most bytes of all slots of a generation, unless one frame is larger; None: no limit.
    """

    def __init__(self, folders: list[str], name: str, slots: int = SLOTS, limit: int | None = None) -> None:
        self._folders, self._name, self._slots, self._limit = folders, name, slots, limit
        self._generations: dict[int, _Generation] = {}
        self._newest = -1
        self._quotas: list[Quota] = []
        self._quotasChanged = False
        """True until a generation has slots for the present quotas."""
        self._dropped: deque[tuple[int, int]] = deque()
        self.onDropped: Callable[[], None] = lambda: None
        """Called when a buffer is released, from any thread and within garbage collection. It must not take a lock."""

    def getBuffer(self, nbytes: int) -> Pixels | None:
        """Return memory of a free slot to decode into (uint8); None when there is none of that size."""
        self._collect()
        current = self._generations.get(self._newest)
        if current is None or current.slotBytes < nbytes:
            return None
        slot = current.takeFree()
        if slot is None:
            return None
        generation = self._newest
        memory: Pixels = np.frombuffer(current.memory, np.uint8, nbytes, slot * current.slotBytes)

        def dropped(_: object) -> None:
            # Any thread may release the last view: note it here, and free the slot in _collect().
            self._dropped.append((generation, slot))
            self.onDropped()

        current.buffers[slot] = weakref.ref(memory, dropped)
        return memory

    def put(self, pixels: Pixels) -> Place | None:
        """Put a frame into a slot and return its place; None when all slots are taken.

        A frame that was decoded into the memory of a slot is not copied.

        :raises RingError: no memory can be reserved for a frame of this size.
        """
        self._collect()
        current = self._generationFor(pixels.nbytes)
        if current is None:
            return None
        slot = self._slotOf(current, pixels)
        if slot is None or slot in current.sent:
            slot = current.takeFree()
            if slot is None:
                return None
            self._copy(current, slot, pixels)
        current.sent.add(slot)
        return Place(self._newest, slot, current.slotBytes, current.slots)

    def addQuota(self, slots: int, limit: int | None) -> Quota:
        """Add a subscriber, which may hold so many slots and bytes. The next frame starts a generation with them."""
        quota = Quota(slots, limit)
        self._quotas.append(quota)
        self._quotasChanged = True
        return quota

    def removeQuota(self, quota: Quota) -> None:
        """Remove a subscriber and take all its slots back."""
        if quota in self._quotas:
            self._quotas.remove(quota)
            self._quotasChanged = True
            for generation, slot in list(quota.held):
                self.takeBack(quota, generation, slot)

    def share(self, quota: Quota, pixels: Pixels) -> Place | None:
        """Return a place of a frame for a subscriber; None when its quota or the memory is exhausted.

        A frame that was decoded into the memory of a slot is not copied.

        :raises RingError: no memory can be reserved for a frame of this size.
        """
        self._collect()
        current = self._generationFor(pixels.nbytes)
        if current is None or len(self._generations) > MOST_GENERATIONS:
            return None
        if quota not in self._quotas or len(quota.held) >= quota.most(current.slotBytes):
            return None
        slot = self._slotOf(current, pixels)
        if slot is None:
            slot = current.takeShared()
            if slot is None:
                return None
            self._copy(current, slot, pixels)
        elif slot not in current.shared and not current.canShare():
            return None
        current.shared[slot] += 1
        quota.held.add((self._newest, slot))
        return Place(self._newest, slot, current.slotBytes, current.slots)

    def takeBack(self, quota: Quota, generation: int, slot: int) -> None:
        """Take a slot back from a subscriber; ignore slots that it does not hold."""
        if (generation, slot) not in quota.held:
            return
        quota.held.discard((generation, slot))
        owner = self._generations.get(generation)
        if owner is None:
            return
        owner.shared[slot] -= 1
        if not owner.shared[slot]:
            del owner.shared[slot]
            self._free(generation, slot)

    def release(self, generation: int, slot: int) -> None:
        """Take a slot back; ignore unknown ones and those given back before, which precede a restart."""
        owner = self._generations.get(generation)
        if owner is None or slot not in owner.sent:
            return
        owner.sent.discard(slot)
        self._free(generation, slot)

    @property
    def idle(self) -> bool:
        """True when the reader has given all slots back."""
        return not any(owner.sent for owner in self._generations.values())

    def _collect(self) -> None:
        while self._dropped:
            generation, slot = self._dropped.popleft()
            owner = self._generations.get(generation)
            if owner is not None:
                owner.buffers.pop(slot, None)
                self._free(generation, slot)

    def _free(self, generation: int, slot: int) -> None:
        owner = self._generations[generation]
        if slot not in owner.sent and slot not in owner.buffers and slot not in owner.shared:
            owner.free.append(slot)
        if generation != self._newest and owner.unused:
            self._drop(generation)

    def _slotOf(self, generation: _Generation, pixels: Pixels) -> int | None:
        address = pixels.__array_interface__["data"][0]
        return next((slot for slot in generation.buffers if address == generation.start(slot)), None)

    def _copy(self, generation: _Generation, slot: int, pixels: Pixels) -> None:
        target = np.frombuffer(generation.memory, np.uint8, pixels.nbytes, slot * generation.slotBytes)
        np.copyto(target, pixels.reshape(-1).view(np.uint8))

    def _generationFor(self, nbytes: int) -> _Generation | None:
        """Return the generation for a frame, a new one if need be; None when it has to wait.

        :raises RingError: no memory can be reserved for a frame of this size.
        """
        current = self._generations.get(self._newest)
        if current is None or current.slotBytes < nbytes:
            # Frames of the old generation that the reader still has limit the memory: one new generation at a time.
            if any(owner.taken for generation, owner in self._generations.items() if generation != self._newest):
                return None
            return self._grow(nbytes, (self._slots, FEW))
        if not self._quotasChanged or len(self._generations) >= MOST_GENERATIONS:
            # Subscribers share the slots that are there until an old generation is free.
            return current
        try:
            return self._grow(current.slotBytes, (self._slots,))
        except RingError:
            return current

    def close(self) -> None:
        """Unmap and delete all files."""
        for generation in list(self._generations):
            self._drop(generation)

    def _grow(self, nbytes: int, choices: tuple[int, ...]) -> _Generation:
        """Start a generation.

        :param choices: numbers of slots for frames on their way to Slicer; the first that there is memory for is taken.
        """
        self._quotasChanged = False
        slotBytes = -(-nbytes // PAGE) * PAGE
        generation = self._newest + 1
        reason = ""
        forSubscribers = sum(quota.most(slotBytes) for quota in self._quotas)
        for most in choices:
            own = Quota(most, self._limit).most(slotBytes)
            few = min(own, FEW)
            slots = own + (forSubscribers if most == self._slots else min(forSubscribers, FEW))
            for folder in self._folders:
                path = ringPath(folder, self._name, generation)
                try:
                    memory, handle = _create(path, slotBytes * slots, slotBytes * few)
                except (OSError, ValueError, MemoryError) as error:
                    reason = f"{folder}: {reasonOf(error)}"
                    continue
                memory[-len(MAGIC) :] = MAGIC
                memory.path = path
                made = _Generation(path, memory, handle, slotBytes, slots, own, few, free=list(range(few)))
                self._generations[generation] = made
                previous, self._newest = self._newest, generation
                old = self._generations.get(previous)
                if old is not None and old.unused:
                    self._drop(previous)
                return made
        text = _("There is no memory to pass images of {count:,} bytes to Slicer ({reason}). Close other programs.")
        raise RingError(text.format(count=nbytes, reason=reason))

    def _drop(self, generation: int) -> None:
        owner = self._generations.pop(generation)
        removeFile(owner.path)
        if owner.handle >= 0:
            os.close(owner.handle)
        try:
            owner.memory.close()
        except BufferError:
            pass  # a decoder still holds memory of it, with which it goes


class RingReader:
    """Reading end of a ring.

    :param folders: as given to the writer.
    :param name: as given to the writer.
    """

    def __init__(self, folders: list[str], name: str) -> None:
        self._folders, self._name = folders, name
        self._memory: dict[int, npt.NDArray[np.uint8]] = {}

    def view(self, place: Place, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Pixels:
        """Return the frame in a slot, read-only, without a copy; valid until the slot is given back.

        :raises RingError: the generation's file is gone or the place lies outside it.
        """
        if place.generation not in self._memory:
            self._memory = {g: memory for g, memory in self._memory.items() if g >= place.generation - 1}
            self._memory[place.generation] = self._open(place)
        nbytes = math.prod(shape) * dtype.itemsize
        start = place.slot * place.slotBytes
        memory = self._memory[place.generation]
        known = 0 <= place.slot < place.slots and min(shape, default=0) > 0
        if not known or nbytes > place.slotBytes or start + nbytes > memory.size:
            text = _("A frame of {count:,} bytes does not fit slot {slot} of {size:,} bytes.")
            raise RingError(text.format(count=nbytes, slot=place.slot, size=place.slotBytes))
        return memory[start : start + nbytes].view(dtype).reshape(shape)

    def close(self) -> None:
        """Release the memory; views that callers kept stay valid."""
        self._memory.clear()

    def _open(self, place: Place) -> npt.NDArray[np.uint8]:
        size = place.slotBytes * place.slots
        reason: str = ""
        for folder in self._folders:
            try:
                memory = _attach(ringPath(folder, self._name, place.generation), size + PAGE)
            except (OSError, ValueError) as error:
                reason = reasonOf(error)
                continue
            if memory[-len(MAGIC) :] == MAGIC:
                return np.frombuffer(memory, np.uint8, size)
            reason = _("it is empty")
        raise RingError(_("The memory of the acquisition process is gone: {reason}").format(reason=sentence(reason)))


class TargetWriter:
    """Writer of pixels into buffers that another process took from its ring."""

    def __init__(self) -> None:
        self._path = ""
        self._memory: npt.NDArray[np.uint8] | None = None

    def write(self, target: Target, pixels: Pixels) -> bool:
        """Copy pixels into a buffer; return False when they do not fit or the memory is gone."""
        if pixels.nbytes > target.nbytes:
            return False
        if target.path != self._path:
            self._path, self._memory = target.path, None
            try:
                mapping = _attach(target.path, target.size, mmap.ACCESS_WRITE)
            except (OSError, ValueError):
                return False
            if mapping[-len(MAGIC) :] == MAGIC:
                self._memory = np.frombuffer(mapping, np.uint8)
        if self._memory is None:
            return False
        memory = self._memory[target.start : target.start + pixels.nbytes]
        np.copyto(memory.view(pixels.dtype).reshape(pixels.shape), pixels)
        return True


def ringPath(folder: str, name: str, generation: int) -> str:
    """Return the path of a generation's file, or on Windows, where a mapped file cannot be deleted, of a mapping."""
    return os.path.join(folder, f"{name}-{generation}.ring")


def removeRing(folders: list[str], name: str) -> None:
    """Delete the files that a dead writer of this name left."""
    for folder in folders:
        try:
            files = os.listdir(folder)
        except OSError:
            continue
        for file in files:
            if file.startswith(f"{name}-") and file.endswith(".ring"):
                removeFile(os.path.join(folder, file))


def _tag(path: str) -> str:
    folder, name = os.path.split(path)
    return f"Local\\{os.path.basename(folder)}-{name}"


def _create(path: str, size: int, reserved: int) -> tuple[_Mapping, int]:
    """Make a file for slots and one more page, and reserve its first bytes; return its memory and descriptor."""
    if sys.platform == "win32":
        return _Mapping(-1, size + PAGE, tagname=_tag(path)), -1
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(handle, size + PAGE)
        _reserve(handle, 0, reserved)
        _reserve(handle, size, PAGE)
        return _Mapping(handle, size + PAGE), handle
    except BaseException:
        os.close(handle)
        removeFile(path)
        raise


def _reserve(handle: int, start: int, size: int) -> None:
    # ftruncate beyond a file system's space succeeds, and the first write into the mapping is then a SIGBUS.
    if sys.platform == "win32":
        return
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, start, size)
        return
    block = bytes(1 << 20)
    os.lseek(handle, start, os.SEEK_SET)
    for done in range(0, size, len(block)):
        writeAll(handle, block[: size - done])


def _attach(path: str, size: int, access: int = mmap.ACCESS_READ) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, size, tagname=_tag(path), access=access)
    handle = os.open(path, os.O_RDONLY if access == mmap.ACCESS_READ else os.O_RDWR)
    try:
        return mmap.mmap(handle, size, access=access)
    finally:
        os.close(handle)
