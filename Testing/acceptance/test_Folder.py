"""A scanner writes files into a folder: the newest is in the live volume, and every file is counted."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from functools import partial

import nibabel
import numpy as np
import pytest
from RealTimeImagingLib import Event, FolderSettings
from RealTimeImagingLib.Model.Frame import checksum

from .conftest import now, snapshot, until, untilRunning, untilStopped


def save(path, array, affine, **header):
    """Write with nibabel under another name, then rename: array is indexed (i, j, k)."""
    image = nibabel.Nifti1Image(array, affine)
    hidden = path.with_name("." + path.name)
    image.to_filename(hidden)
    os.rename(hidden, path)


def landmarks(shape=(20, 24, 16)):
    """An image in which every octant has its own value, so that no flip or swap goes unseen."""
    array = np.zeros(shape, np.int16)
    i, j, k = (np.arange(size) >= size * part for size, part in zip(shape, (0.3, 0.6, 0.4), strict=True))
    array += 1 + i[:, None, None] * np.int16(10) + j[None, :, None] * np.int16(100) + k[None, None, :] * np.int16(1000)
    return array


AFFINES = {
    "right-handed": np.array([[2, 0, 0, -30], [0, 3, 0, 12], [0, 0, 4, 5], [0, 0, 0, 1.0]]),
    "left-handed": np.array([[-2, 0, 0, 30], [0, 3, 0, 12], [0, 0, 4, 5], [0, 0, 0, 1.0]]),
    "sagittal": np.array([[0, 0, 4, 5], [-2, 0, 0, 30], [0, -3, 0, 12], [0, 0, 0, 1.0]]),
    "oblique": np.array([[1.6, -1.2, 0, 7], [1.2, 1.6, 0, -9], [0, 0, 2.5, 4], [0, 0, 0, 1.0]]),
}


@pytest.mark.parametrize("name", AFFINES)
def test_voxelsAreWhereTheFileSays(slicer, logic, incoming, noErrors, name):
    """Written by nibabel, read back from the node at world points."""
    source = logic.start(FolderSettings(incoming))
    untilRunning(source)
    array, affine = landmarks(), AFFINES[name]
    save(incoming / "a.nii", array, affine)
    until(lambda: logic.statistics()["shown"] == 1)
    node = logic.liveVolumeNode()
    inverse = np.linalg.inv(slicer.util.arrayFromVTKMatrix(_rasToIJK(slicer, node, inverse=True)))
    voxels = slicer.util.arrayFromVolume(node)
    for ijk in [(0, 0, 0), (19, 0, 0), (0, 23, 0), (0, 0, 15), (19, 23, 15), (5, 13, 6)]:
        world = affine @ (*ijk, 1)
        i, j, k = np.rint((inverse @ world)[:3]).astype(int)
        assert voxels[k, j, i] == array[ijk]


def _rasToIJK(slicer, node, inverse=False):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    (node.GetIJKToRASMatrix if inverse else node.GetRASToIJKMatrix)(matrix)
    return matrix


OUTSIDE_SCANNER = textwrap.dedent("""
    # Not the project's simulator: 500 files in random order, some slow, cut, garbage or sent twice.
    import json, os, random, struct, sys, threading, time
    import numpy as np

    folder, log = sys.argv[1], sys.argv[2]
    rng = random.Random(7)
    jobs = ["whole"] * 455 + ["slow"] * 25 + ["cut"] * 10 + ["garbage"] * 5 + ["duplicate"] * 5
    rng.shuffle(jobs)
    names = [f"img{n}.nii" for n in range(len(jobs))]
    rng.shuffle(names)

    def nifti(n):
        header = bytearray(352)
        struct.pack_into("<i", header, 0, 348)
        struct.pack_into("<8h", header, 40, 3, 20, 16, 12, 1, 1, 1, 1)
        struct.pack_into("<2h", header, 70, 4, 16)
        struct.pack_into("<4f", header, 76, 1, 1.5, 1.5, 3)
        struct.pack_into("<f", header, 108, 352)
        struct.pack_into("<2h", header, 252, 0, 1)
        struct.pack_into("<12f", header, 280, -1.5, 0, 0, 9, 0, 1.5, 0, -7, 0, 0, 3, 2)
        struct.pack_into("<4s", header, 344, b"n+1")
        return bytes(header) + np.random.default_rng(n).integers(0, 900, (12, 16, 20)).astype("<i2").tobytes()

    def renamed(name, data):
        hidden = os.path.join(folder, "." + name)
        with open(hidden, "wb") as file:
            file.write(data)
        os.rename(hidden, os.path.join(folder, name))

    def slowly(name, data):
        with open(os.path.join(folder, name), "wb", buffering=0) as file:
            file.truncate(len(data) if len(name) % 2 else 0)  # some preallocate
            for start in range(0, len(data), 1500):
                file.write(data[start:start + 1500])
                time.sleep(rng.random() * 0.1)

    sent, threads, last = [], [], None
    for n, (name, job) in enumerate(zip(names, jobs)):
        data = nifti(n)
        if job == "slow":
            threads.append(threading.Thread(target=slowly, args=(name, data)))
            threads[-1].start()
        elif job == "cut":
            renamed(name, data[:rng.randrange(len(data))])
        elif job == "garbage":
            renamed(name, rng.randbytes(4000))
        elif job == "duplicate":
            data = last
            renamed(name, data)
        else:
            renamed(name, data)
            last = data
        sent.append({"file": name, "job": job, "seed": n})
        if job == "duplicate":
            sent[-1]["seed"] = lastSeed
        elif job == "whole":
            lastSeed = n
        if n % 40 == 39:
            sys.stdin.readline()  # go on
        time.sleep(0.002)
    for thread in threads:
        thread.join()
    json.dump(sent, open(log, "w"))
""")


def test_fiveHundredFilesOfAnOutsideScanner(logic, incoming, tmp_path, noErrors):
    """Every complete file is shown once, every bad one reported; the folder does not change."""
    shown, events = [], []
    logic.addFrameCallback(lambda frame: shown.append((frame.attributes["SourceFile"], checksum(frame.pixels))))
    logic.addEventCallback(events.append)
    # A busy computer may halt a writer, which must not look cut.
    source = logic.start(FolderSettings(incoming, incompleteAfter=5.0))
    untilRunning(source)
    (tmp_path / "scanner.py").write_text(OUTSIDE_SCANNER)
    log = tmp_path / "log.json"
    command = [sys.executable, str(tmp_path / "scanner.py"), str(incoming), str(log)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0) as scanner:
        for number in range(12):
            until(lambda number=number: len(shown) > number, 30)
            scanner.stdin.write(b"\n")
        until(lambda: scanner.poll() is not None, 60)
    before = snapshot(incoming)
    sent = json.loads(log.read_text())
    good = {entry["file"]: entry["seed"] for entry in sent if entry["job"] in ("whole", "slow", "duplicate")}
    bad = {entry["file"]: entry["job"] for entry in sent if entry["job"] in ("cut", "garbage")}
    until(lambda: logic.statistics()["rejected"] >= len(bad), 30)
    until(lambda: logic.statistics()["received"] >= len(good), 30)
    untilStopped(logic)
    counts = logic.statistics()
    assert counts["received"] == len(good) == counts["shown"] + counts["skipped"]
    assert counts["rejected"] == len(bad) == 15
    assert counts["shown"] == len(shown) > 10
    assert len({name for name, _ in shown}) == len(shown)
    for name, value in shown:
        pixels = np.random.default_rng(good[name]).integers(0, 900, (12, 16, 20)).astype("<i2")
        assert value == checksum(pixels)
    # That the stream stalls, while files are still waited for, is a warning, too.
    warnings = [event for event in events if event.level == "warning" and event.code != "stalled"]
    named = {os.path.basename(event.subject): event for event in warnings}
    assert named.keys() == bad.keys()
    assert all(name in event.text for name, event in named.items())
    codes = {"cut": {"incomplete"}, "garbage": {"not-an-image", "damaged", "unsupported", "too-large"}}
    assert all(named[name].code in codes[job] for name, job in bad.items())
    assert snapshot(incoming) == before


def test_killedProcessContinues(logic, incoming, scanner, noErrors):
    """kill -9 while images arrive: an event reports it, and no image in the folder is missed."""
    events = []
    logic.addEventCallback(events.append)
    source = logic.start(FolderSettings(incoming))
    untilRunning(source)
    process, log = scanner("--fps", "60", "--frames", "150")
    for kills, goal in enumerate((20, 70), 1):
        until(lambda goal=goal: logic.statistics()["received"] >= goal)
        untilRunning(source)
        os.kill(source.pid, signal.SIGKILL)
        until(lambda kills=kills: sum(event.code == "restarted" for event in events) == kills)
    until(lambda: process.poll() is not None)
    until(lambda: logic.statistics()["received"] == 150)
    untilStopped(logic)
    counts = logic.statistics()
    assert counts["received"] == 150 == counts["shown"] + counts["skipped"]
    assert counts["rejected"] == 0
    assert len(log.read_text().splitlines()) == 150


def test_sizeTypeAndColourChangeInMidRun(slicer, logic, incoming, noErrors):
    """Each frame is shown correctly in one node for each stream; Slicer has two classes for scalar and colour."""
    seen = []

    def look(frame):
        node = logic.liveVolumeNode()
        seen.append(
            (node.GetID(), node.GetClassName(), np.array_equal(slicer.util.arrayFromVolume(node), frame.pixels))
        )

    logic.addFrameCallback(look)
    source = logic.start(FolderSettings(incoming))
    untilRunning(source)
    rng = np.random.default_rng(3)
    rgb = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    arrays = [
        rng.integers(0, 99, (9, 8, 7)).astype(np.int16),
        rng.integers(0, 99, (19, 18, 17)).astype(np.int16),
        rng.random((19, 18, 17)).astype(np.float32),
        rng.integers(0, 99, (19, 18, 17)).astype(np.uint8),
        rng.integers(0, 255, (12, 11, 1, 3)).astype(np.uint8).view(rgb)[..., 0],
        rng.integers(0, 99, (5, 6, 7)).astype(np.float64),
    ]
    for number, array in enumerate(arrays):
        save(incoming / f"f{number}.nii", array, AFFINES["left-handed"])
        until(lambda number=number: len(seen) == number + 1)
    assert all(equal for _, _, equal in seen)
    assert len({node for node, _, _ in seen[:4]}) == 1
    scalar, colour = "vtkMRMLScalarVolumeNode", "vtkMRMLVectorVolumeNode"
    assert [name for _, name, _ in seen] == [scalar, scalar, scalar, scalar, colour, scalar]
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    assert [node.GetName() for node in nodes] == ["Live"]


def test_slowViewsSkipAndCount(slicer, logic, views, incoming, scanner, noErrors, monkeypatch):
    """Views slower than the stream: the newest image is shown, counts are exact, the window stays responsive."""
    drawing = []

    def timed(draw):
        began = now()
        draw()
        drawing.append(now() - began)

    for view in views.views():
        view.extraRenderSeconds = 0.03
        monkeypatch.setattr(view, "forceRender", partial(timed, view.forceRender))
    source = logic.start(FolderSettings(incoming))
    untilRunning(source)
    process, log = scanner("--fps", "100", "--frames", "200")
    until(lambda: logic.statistics()["shown"] > 1)
    before, began = sum(drawing), now()
    until(lambda: logic.statistics()["received"] == 200, 30)
    assert sum(drawing) - before <= 0.7 * (now() - began)
    counts = logic.statistics()
    assert counts["received"] == counts["shown"] + counts["skipped"]
    assert counts["skipped"] > 20
    until(lambda: process.poll() is not None)  # its log is complete
    last = json.loads(log.read_text().splitlines()[-1])
    until(lambda: checksum(slicer.util.arrayFromVolume(logic.liveVolumeNode())) == last["checksums"][0])


def test_callbacksReceiveEveryFrameOnRequest(logic, views, incoming, scanner, noErrors):
    """Views too slow for the stream: a callback receives the shown frames, or on request all frames."""
    for view in views.views():
        view.extraRenderSeconds = 0.04
    some, every = [], []
    logic.addFrameCallback(lambda frame: some.append(frame.number))
    logic.addFrameCallback(lambda frame: every.append((frame.number, checksum(frame.pixels))), every=True)
    untilRunning(logic.start(FolderSettings(incoming)))
    process, log = scanner("--fps", "15", "--frames", "30")
    until(lambda: logic.statistics()["received"] == 30 and process.poll() is not None, 30)
    sent = [one for line in log.read_text().splitlines() for one in json.loads(line)["checksums"]]
    assert every == [(number, sent[number]) for number, _ in every]
    assert len(some) == logic.statistics()["shown"] < len(every)
    assert {number for number, _ in every} >= set(some)
    assert some[-1] == every[-1][0] == 29


def test_eachSeriesHasAStream(slicer, logic, incoming, noErrors):
    """One folder, three series: a stream and a node for each; the first is in the views."""
    source = logic.start(FolderSettings(incoming, seriesPattern="*_{series}_*.nii"))
    untilRunning(source)
    rng = np.random.default_rng(5)
    for number in range(4):
        for series in ("mag", "phase", "temp"):
            save(incoming / f"scan_{series}_{number}.nii", rng.random((5, 6, 7)).astype("f4"), np.eye(4))
    until(lambda: logic.statistics()["received"] == 12)
    streams = logic.statistics()["streams"]
    assert {name: values["received"] for name, values in streams.items()} == {"mag": 4, "phase": 4, "temp": 4}
    names = {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")}
    assert names == {"mag", "phase", "temp"}


def test_folderDisappearsAndReturns(logic, incoming, noErrors):
    """A share is unmounted and mounted again: no image twice, new files shown."""
    events = []
    logic.addEventCallback(lambda event: events.append(event.code))
    source = logic.start(FolderSettings(incoming))
    untilRunning(source)
    save(incoming / "a.nii", landmarks(), np.eye(4))
    until(lambda: logic.statistics()["received"] == 1)
    away = incoming.with_name("away")
    os.rename(incoming, away)
    until(lambda: "folder-gone" in events)
    until(lambda: "is not there" in source.status)
    os.rename(away, incoming)
    until(lambda: "folder-back" in events)
    save(incoming / "b.nii", landmarks(), np.eye(4))
    until(lambda: logic.statistics()["received"] == 2)
    shutil.rmtree(incoming)
    until(lambda: events.count("folder-gone") == 2)
    assert logic.statistics()["rejected"] == 0


@pytest.mark.parametrize(("existing", "expected"), [("ignore", []), ("newest", ["b9.nii"]), ("all", None)])
def test_existingFiles(logic, incoming, noErrors, existing, expected):
    """Ignored, the newest only, or all in natural order."""
    names = [f"b{number}.nii" for number in (10, 2, 1, 9)]
    for number, name in enumerate(names):
        save(incoming / name, landmarks(), np.eye(4))
        os.utime(incoming / name, ns=(0, 10**18 + 10**9 * number))
    seen = []
    logic.addFrameCallback(lambda frame: seen.append(frame.attributes["SourceFile"]))
    source = logic.start(FolderSettings(incoming, existing=existing))
    untilRunning(source)
    count = 4 if expected is None else len(expected)
    until(lambda: logic.statistics()["received"] == count)
    save(incoming / "c.nii", landmarks(), np.eye(4))
    until(lambda: logic.statistics()["received"] == count + 1)
    order = ["b1.nii", "b2.nii", "b9.nii", "b10.nii"] if expected is None else expected
    assert seen == [name for name in [*order, "c.nii"] if name in seen]
    assert seen[-1] == "c.nii"


def test_mainThreadHeldFor2Seconds(slicer, logic, incoming, scanner, noErrors):
    """The window is blocked: every image is received, and the newest is shown afterwards."""
    from slicerhost.EventLoop import sleepWithLock

    source = logic.start(FolderSettings(incoming))
    untilRunning(source)
    process, log = scanner("--fps", "100", "--frames", "200")
    until(lambda: logic.statistics()["received"] > 5)
    sleepWithLock(2.5)
    process.wait()
    until(lambda: logic.statistics()["received"] == 200)
    counts = logic.statistics()
    assert counts["received"] == counts["shown"] + counts["skipped"]
    last = json.loads(log.read_text().splitlines()[-1])
    assert checksum(slicer.util.arrayFromVolume(logic.liveVolumeNode())) == last["checksums"][0]


def test_randomStartsAndStops(logic, incoming, scanner, noErrors):
    """Start and Stop at any moment, even before the process is ready: nothing hangs, nothing is left behind."""
    scanner("--fps", "50", "--keep", "30")
    rng = random.Random(11)
    for _ in range(6):
        logic.start(FolderSettings(incoming))
        wanted = rng.choice((0, 0, 1, 5))
        until(lambda wanted=wanted: logic.statistics()["received"] >= wanted)
        logic.stop()
        if rng.random() < 0.5:
            until(lambda: not logic.isRunning())
    until(lambda: not logic.isRunning())
    counts = logic.statistics()
    assert counts["received"] == counts["shown"] + counts["skipped"]


def test_theWatcherHintsAtNewFilesOnceTheFolderIsThere(slicer, incoming, monkeypatch):
    from RealTimeImagingLib.Sources.Folder import Host

    monkeypatch.setattr(Host, "PERIOD", 1_000_000)  # only the watcher hints
    hints = []
    watching = Host.FolderHints(str(incoming), lambda: hints.append(1))
    try:
        watching.heard(Event("folder-there", "Watching.", "info"))
        (incoming / "a.nii").write_bytes(b"")
        until(lambda: hints)
    finally:
        watching.close()


def test_aMissingVolumeIsNamed(logic, incoming, noErrors):
    """By the name that its file would have; and again when it arrives late."""
    source = logic.start(FolderSettings(incoming))
    untilRunning(source)
    for number in (1, 2, 3, 4, 5, 7):
        save(incoming / f"vol_{number:03d}.nii", landmarks(), AFFINES["oblique"])
        until(lambda: logic.statistics()["received"] == min(number, 6))  # noqa: B023 - it is awaited here
    until(lambda: any(event.code == "file-missing" for event in logic.events()))
    save(incoming / "vol_006.nii", landmarks(), AFFINES["oblique"])
    until(lambda: any(event.code == "file-late" for event in logic.events()))
    until(lambda: logic.statistics()["received"] == 7)
    texts = [event.text for event in logic.events() if event.code.startswith("file-")]
    assert texts == ["vol_006.nii is missing: vol_007.nii has already arrived.", "vol_006.nii arrived late."]
    untilStopped(logic)
    assert logic.statistics()["received"] == 7
