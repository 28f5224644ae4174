"""Frames and device messages to record, and checks of recordings."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from RealTimeImagingLib.Model.DeviceMessage import DeviceMessage
from RealTimeImagingLib.Model.Frame import Frame
from RealTimeImagingLib.Recording import MessageRecorder, Recorder, openRecording, repair
from unit import processes

START = 1_700_000_000.0
RIGHT_HANDED = np.array([[-0.5, 0, 0, 10.25], [0, -0.6, 0, -20.5], [0, 0, 2.0, 1 / 3], [0, 0, 0, 1]])
LEFT_HANDED = RIGHT_HANDED @ np.diag([1.0, 1, -1, 1])
OBLIQUE = np.array([[0, 0.8, -0.6, 1], [1.5, 0, 0, 2], [0, 0.6, 0.8, 3], [0, 0, 0, 1.0]])


def frame(number, shape=(2, 3, 4), dtype=np.int16, matrix=RIGHT_HANDED, stream="Scan", step=1 / 30, **values):
    """Make a frame unique to this number, ``step`` seconds after the frame before."""
    pixels = np.random.default_rng(number).integers(0, 100, shape, np.uint8).astype(dtype)
    values.setdefault("receiveTime", START + number * step)
    values.setdefault("attributes", {"SourceFile": f"{number}.nii"})
    return Frame(pixels, matrix, stream, number, **values)


def quickFrame(kind, number):
    """Make a frame faster than a recorder writes it; the kinds differ in size and in the work of the recorder."""
    shapes = {"small": (1, 4, 4), "big": (16, 256, 256), "stopping": (1, 64, 64)}
    shape = ((1, 64, 64), (2, 8, 8))[number // 5 % 2] if kind == "changing" else shapes[kind]
    pixels = np.arange(number, number + math.prod(shape), dtype=np.int32).reshape(shape)
    matrix = OBLIQUE + np.eye(4, k=3) * number if kind == "changing" else RIGHT_HANDED
    return Frame(pixels, matrix, "Scan", number, START + number / 1000)


def poseAt(number):
    """Make a pose unique to this number, which is its first coordinate."""
    angle = 0.1 * number
    turn = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, [number, number / 3, -7.25]
    return matrix


def deviceMessage(number, kind="transform", device="Probe", /, receiveTime=None, deviceTime=None, **values):
    """Make a message, 10 ms after the message before; a transform is :func:`poseAt` this number."""
    if kind == "transform":
        values = {"type": "TRANSFORM", "matrix": poseAt(number).tolist(), **values}
    return DeviceMessage(kind, device, values, START + number / 100 if receiveTime is None else receiveTime, deviceTime)


def recordMessages(folder, messages, attributes=None, name="Test"):
    """Record all messages; return the path of the manifest."""
    recording = MessageRecorder(str(folder), name, attributes or {})
    assert [recording.append(each) for each in messages] == [True] * len(messages)
    assert recording.events() == []
    (path,) = recording.finish()
    return path


def recorder(folder, stream="Scan", **values):
    """Make a recorder of a recording called Test."""
    return Recorder(str(folder), "Test", stream, {}, **values)


def record(folder, frames, name="Test", attributes=None):
    """Record all frames; return the paths of the headers."""
    recorder = Recorder(str(folder), name, frames[0].stream, attributes or {})
    assert [recorder.append(each) for each in frames] == [True] * len(frames)
    assert recorder.events() == []
    return recorder.finish()


def assertHolds(paths, frames):
    """Check that the parts hold exactly these frames: pixels, type, geometry, numbers, times and attributes."""
    parts = [openRecording(path) for path in paths]
    places = [(part, index) for part in parts for index in range(part.count)]
    assert [part.frames[index]["number"] for part, index in places] == [each.number for each in frames]
    for (part, index), each in zip(places, frames, strict=True):
        pixels, entry = part.pixels(index), part.frames[index]
        assert (pixels.dtype, pixels.shape) == (each.pixels.dtype, each.pixels.shape)
        assert pixels.tobytes() == each.pixels.tobytes()
        assert np.array_equal(entry["ijkToRAS"], each.ijkToRAS)
        assert (entry["deviceTime"], entry["receiveTime"]) == (each.deviceTime, each.receiveTime)
        assert entry["attributes"] == dict(each.attributes)


def manifestOf(path):
    """A manifest, or that beside the header of a first part."""
    with open(str(path).removesuffix(".json").removesuffix(".seq.nhdr") + ".json", encoding="ascii") as file:
        return json.load(file)


def child(*command):
    """A Python process that can import what this one can."""
    return processes.start(*command, text=True, environment={"PYTHONPATH": os.pathsep.join(sys.path)})


def killAfter(seconds, program, *arguments):
    """Kill a program so many seconds after its first line; return the number in its last line."""
    process = child("-c", program, *arguments)
    process.stdout.readline()
    threading.Event().wait(seconds)
    process.kill()
    told = process.stdout.read().split()  # communicate() skips bytes that readline() has read ahead
    process.communicate()
    return int(told[-1]) if told else 1


def ageLocks(folder):
    """Make the lock files of a dead process old: a repair leaves one that was just made, and is empty."""
    for path in Path(folder).glob("*.lock"):
        os.utime(path, (0, 0))


def bytesOf(folder):
    """Names and bytes of all files of a folder."""
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def countWords(count, noun):
    """The words of a repair for its stored frames or messages, which have the numbers from 0."""
    return f"{count} {noun}{'s' * (count != 1)}, the last is number {count - 1}" if count else f"no {noun} was stored"


def assertRepaired(folder):
    """Check that only finished files are left."""
    left = [name for name in os.listdir(folder) if name.endswith((".jsonl", ".lock", ".tmp"))]
    assert (left, repair(str(folder))) == ([], [])


@contextlib.contextmanager
def filesOfAtMost(size):
    """The system lets no file grow beyond so many bytes, as a full disk does: what fits is written, then comes an
    error."""
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def withoutRights(folder):
    """Make the folder read-only, also for root."""
    user = os.geteuid()
    folder.chmod(0o500)
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o700)
