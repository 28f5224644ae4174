"""Why is there no image? Each fault is made for real; the acquisition process names it, and a remedy or a repair helps.

A fault is a generator: it makes the fault, yields the sentence and the remedy that are expected, and mends the fault
when it is resumed. Where a remedy is expected, the source is started again with its settings before that.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from RealTimeImagingLib.Model.Event import Remedy
from RealTimeImagingLib.Model.Text import Text
from RealTimeImagingLib.Sources.Checkpoint import RETRY
from RealTimeImagingLib.Sources.Endpoints import networkAddresses
from RealTimeImagingLib.Sources.Folder import FolderSettings
from RealTimeImagingLib.Sources.HTTP import HTTPSettings
from RealTimeImagingLib.Sources.HTTP.Server import MOST
from RealTimeImagingLib.Sources.Replay import ReplaySettings
from unit.conftest import PROGRAM, Acquisition, arrive, niftiFile
from unit.httpSource import TOKEN, head, posted, rawQuery
from unit.recordings import frame, record
from unit.test_Nibabel import copied

FAULTS = []
"""The table: all faults."""
ORDINARY = os.name == "posix" and 65534
"""User without the rights of root."""


def fault(make):
    """Add a fault to the table."""
    FAULTS.append(make)
    return make


def linux(make):
    """Add a fault that only Linux lets a test make."""
    FAULTS.append(pytest.param(make, marks=pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")))
    return make


@dataclass
class Says:
    """Expected sentence.

    :param words: part of the status.
    :param remedy: offer beside the status, None for none.
    :param event: code of the event that has the words instead of the status.
    """

    words: str
    remedy: Remedy | None = None
    event: str = ""


class World:
    """A folder, and the acquisition process of the newest source."""

    def __init__(self, root, stack):
        self.root, self._stack = root, stack
        self.folder = root / "incoming"
        self.folder.mkdir()
        self.settings = self.acquisition = None
        self._asUser, self._starts = False, 0

    def start(self, settings, asUser=None, workFolder=None, program=None):
        """Start a source; the one before is closed."""
        if self.acquisition:
            self.acquisition.close()
        self._asUser = self._asUser if asUser is None else asUser
        self._starts += 1
        folders = [self.root / f"ring{self._starts}", workFolder or self.root / f"work{self._starts}"]
        for folder in folders:
            folder.mkdir(exist_ok=True)
            if self._asUser:
                os.chown(folder, ORDINARY, -1)
        self.settings = settings
        program = program or (self._userProgram() if self._asUser else PROGRAM)
        self.acquisition = Acquisition(settings, folders, f"process{self._starts}", program)
        self.acquisition.listen().untilReady()
        self.atEnd(self.acquisition.close)

    def _userProgram(self):
        # Root may read every file and open every port.
        path = self.root / "program.py"
        path.write_text(f"""
import os, sys
sys.path[0] = {str(PROGRAM.parents[2])!r}
import encodings.idna
import RealTimeImagingLib.Sources.Folder.Source
import RealTimeImagingLib.Sources.HTTP.Source
from RealTimeImagingLib.Worker import Worker
if os.geteuid() == 0:
    os.seteuid({ORDINARY})
code = Worker.main()
sys.stdout.flush()
os._exit(code)
""")
        return path

    @property
    def _report(self):
        reports = [line for line in self.acquisition.lines if "status" in line]
        return reports[-1] if reports else {"status": ""}

    @property
    def status(self):
        return self._report["status"]

    @property
    def remedy(self):
        remedy = self._report.get("remedy")
        return remedy and Remedy.fromJSON(remedy)

    def eventsOf(self, code):
        return [event for event in self.acquisition.of("event") if event["code"] == code]

    def until(self, condition):
        self.acquisition.until(condition)

    def untilReceived(self, count=1):
        self.until(lambda: self.acquisition.received >= count)

    def atEnd(self, function):
        """Call a function at the end, after what is started from now on has been closed."""
        self._stack.callback(function)

    def keep(self, closing):
        """Close something at the end."""
        self.atEnd(closing.close)
        return closing

    @property
    def port(self):
        return int(self.acquisition.of("details")[-1]["url"].split(":")[-1].split("/")[0])

    def listening(self, **values):
        """Start an HTTP source."""
        self.start(HTTPSettings(**{"port": 0, "token": TOKEN, **values}))
        self.until(lambda: self.acquisition.of("details"))

    def send(self, data, host="127.0.0.1"):
        """Send bytes to the HTTP source; return the connection."""
        link = self.keep(socket.create_connection((host, self.port), 10))
        link.sendall(data)
        return link


@pytest.fixture
def world():
    # Below pytest's own folder, which other users may not enter, a process of another user could read nothing.
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        root.chmod(0o755)
        yield World(root, stack)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_source_says_why_there_is_no_image(world, fault):
    steps = fault(world)
    expected = next(steps)
    began = time.monotonic()
    if expected.event:
        world.until(lambda: any(expected.words in one["text"] for one in world.eventsOf(expected.event)))
        text = next(one["text"] for one in world.eventsOf(expected.event) if expected.words in one["text"])
    else:
        world.until(lambda: expected.words in world.status and world.remedy == expected.remedy)
        text = world.status
    print(f"{fault.__name__} | {text} | {time.monotonic() - began:.1f} s | {expected.remedy and expected.remedy.label}")
    assert isinstance(text, Text)
    if expected.remedy:
        world.start(replace(world.settings, **expected.remedy.settings))
    next(steps, None)
    world.untilReceived()
    world.until(lambda: expected.words not in world.status)


# ---- folder


def waiting(world, program=None, **values):
    world.start(FolderSettings(str(world.folder), **values), program=program)


def programThatHangs(world, call, place, hang):
    """Return the acquisition program: while a file is there, a call of the system waits at paths from ``place`` on."""
    path = world.root / "program.py"
    path.write_text(f"""
import os, shutil, sys, time
sys.path[0] = {str(PROGRAM.parents[2])!r}
call = {call}
def waits(path, *values, **named):
    while str(path).startswith({str(place)!r}) and os.path.exists({str(hang)!r}):
        time.sleep(0.02)
    return call(path, *values, **named)
{call} = waits
from RealTimeImagingLib.Worker import Worker
code = Worker.main()
sys.stdout.flush()
os._exit(code)
""")
    return path


@fault
def folderMissing(world):
    world.start(FolderSettings(str(world.folder / "later")))
    yield Says(f"The folder {world.folder / 'later'} is not there. Check the path")
    (world.folder / "later").mkdir()
    arrive(world.folder / "later" / "a.nii", niftiFile(1))


@fault
def folderIsAFile(world):
    arrive(world.folder / "a.nii", niftiFile(1))
    world.start(FolderSettings(str(world.folder / "a.nii")))
    yield Says(
        f"{world.folder / 'a.nii'} is a file, not a folder: choose the folder that contains it.",
        Remedy("Use its folder", {"folder": str(world.folder)}),
    )


@linux
def folderForbidden(world):
    arrive(world.folder / "a.nii", niftiFile(1))
    world.folder.chmod(0o700)
    world.start(FolderSettings(str(world.folder)), asUser=True)
    yield Says(f"The folder {world.folder} cannot be listed (permission denied): check its permissions.")
    world.folder.chmod(0o755)
    arrive(world.folder / "b.nii", niftiFile(2))


@fault
def folderVanished(world):
    waiting(world)
    world.until(lambda: world.status.startswith("No image has arrived"))
    world.folder.rename(world.root / "away")
    yield Says(f"The folder {world.folder} is not there any more. Is its drive or network share connected?")
    (world.root / "away").rename(world.folder)
    arrive(world.folder / "a.nii", niftiFile(1))


@fault
def folderHangsInMidStream(world):
    hang = world.root / "hangs"
    waiting(world, program=programThatHangs(world, "os.scandir", world.folder, hang))
    arrive(world.folder / "a.nii", niftiFile(1))
    world.untilReceived()
    world.until(lambda: world.status.startswith("Waiting for the next image"))
    hang.touch()
    yield Says(f"Access to {world.folder} takes more than 3 s. A file is large, or the drive or network share does not")
    hang.unlink()
    arrive(world.folder / "b.nii", niftiFile(2))
    world.untilReceived(2)


@fault
def recordingFolderHangsInMidStream(world):
    hang, folder = world.root / "hangs", world.root / "recordings"
    waiting(world, program=programThatHangs(world, "os.open", folder / "Run", hang))
    world.acquisition.record(folder, "Run")
    hang.touch()
    arrive(world.folder / "a.nii", niftiFile(1))
    yield Says(f"Access to {folder} takes more than 3 s. A file is large, or the drive or network share does not")
    hang.unlink()


def test_the_last_close_of_a_recording_that_hangs_is_named(world):
    hang, folder = world.root / "hangs", world.root / "recordings"
    waiting(world, program=programThatHangs(world, "os.open", folder / "Run", hang))
    world.acquisition.record(folder, "Run")
    arrive(world.folder / "a.nii", niftiFile(1))
    world.untilReceived()
    hang.touch()
    world.acquisition.send("stop")
    world.until(lambda: f"Access to {folder} takes more than 3 s." in world.status)
    assert [line.get("hangs") for line in world.acquisition.lines if "status" in line][-2:] == [None, True]
    hang.unlink()
    assert world.acquisition.untilEnd() == 0
    assert world.acquisition.of("recorded") == [[str(folder / "Run-Live.seq.nhdr")]]


def recordingFolderHangsWithoutAnImage(world, call, recording):
    hang, folder = world.root / "hangs", world.root / "recordings"
    waiting(world, program=programThatHangs(world, call, folder, hang))
    if recording:
        world.acquisition.record(folder, "Run")
        hang.touch()
    else:
        hang.touch()
        world.acquisition.send("record", folder=str(folder), name="Run", attributes={}, id=1)
    yield Says(f"Access to {folder} takes more than 3 s. A file is large, or the drive or network share does not")
    hang.unlink()
    arrive(world.folder / "a.nii", niftiFile(1))


@fault
def newRecordingFolderHangs(world):
    yield from recordingFolderHangsWithoutAnImage(world, "os.mkdir", recording=False)


@fault
def freeSpaceHangs(world):
    yield from recordingFolderHangsWithoutAnImage(world, "shutil.disk_usage", recording=True)


@fault
def filesAlreadyThere(world):
    for number in range(3):
        arrive(world.folder / f"{number}.nii", niftiFile(number))
    waiting(world, existing="ignore")
    both = Remedy("Show newest", {"existing": "newest"}, Remedy("Show all", {"existing": "all"}))
    yield Says("3 images were already there and skipped.", both)


@fault
def imagesInASubfolder(world):
    (world.folder / "run1").mkdir()
    arrive(world.folder / "run1" / "a.nii", niftiFile(1))
    waiting(world)
    yield Says("Images are in the subfolder run1", Remedy("Look there", {"subfolders": True}))


@fault
def patternNearMiss(world):
    waiting(world, pattern="*.nii")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 3, 2), np.int16), np.eye(4)), world.folder / "a.nii.gz")
    yield Says(
        f"No image that fits *.nii has arrived in {world.folder} yet. 1 other file is there (*.nii.gz), which does not "
        "fit the pattern *.nii.",
        Remedy("Use *.nii.gz", {"pattern": "*.nii.gz"}),
    )


@fault
def onlyOtherTypes(world):
    for name in ("a.pdf", "b.pdf", "c.txt"):
        (world.folder / name).touch()
    waiting(world)
    yield Says("Only files of other types are there (*.pdf, *.txt), which are no images.")
    arrive(world.folder / "a.nii", niftiFile(1))


@fault
def onlyVoxels(world):
    arrive(world.folder / "a.REC", bytes(99))
    waiting(world)
    yield Says("Only voxels are there (*.rec): their headers, such as *.par, are missing.")
    arrive(world.folder / "a.nii", niftiFile(1))


@fault
def patternNamesTheVoxels(world):
    waiting(world, pattern="*.REC")
    copied(world.folder)
    yield Says(
        "1 other file is there (*.par), which does not fit the pattern *.REC.",
        Remedy("Use *.par", {"pattern": "*.par"}),
    )


@fault
def fileGrowing(world):
    waiting(world)
    (world.folder / "a.nii").write_bytes(niftiFile(1)[:-10])
    yield Says("Waiting until a.nii is complete: The header declares 48 bytes of voxels; 38 are present.")
    (world.folder / "a.nii").write_bytes(niftiFile(1))


@fault
def fileNeverFinished(world):
    waiting(world, incompleteAfter=0.3)
    (world.folder / "a.nii").write_bytes(niftiFile(1)[:-10])
    yield Says("yet. a.nii is not complete: The header declares 48 bytes of voxels; 38 are present.")
    (world.folder / "a.nii").write_bytes(niftiFile(1))


@fault
def fileNoImage(world):
    waiting(world)
    arrive(world.folder / "bad.nii", b"no image" * 100)
    yield Says(f"No image has arrived in {world.folder} yet. bad.nii: A NIfTI file begins with the number 348 or 540")
    arrive(world.folder / "bad.nii", niftiFile(1))


@fault
def fileOfAnotherFormat(world):
    waiting(world)
    arrive(world.folder / "cine.mp4", b"\0\0\0\x18ftypmp42" + bytes(1000))
    yield Says(f"No image has arrived in {world.folder} yet. cine.mp4 is not an image of a supported format: ")
    arrive(world.folder / "a.nii", niftiFile(1))


@linux
def fileForbidden(world):
    world.start(FolderSettings(str(world.folder)), asUser=True)
    arrive(world.folder / "secret.nii", niftiFile(1)).chmod(0)
    yield Says("secret.nii cannot be read (permission denied). Check its permissions and its disk.")
    (world.folder / "secret.nii").chmod(0o644)


@fault
def sizeChanges(world):
    waiting(world, existing="all")
    arrive(world.folder / "1.nii", niftiFile(1))
    world.untilReceived()
    arrive(world.folder / "2.nii", niftiFile(2, (5, 3, 4)))
    yield Says("Live: the image size changed from 4 x 3 x 2 int16 to 4 x 3 x 5 int16 with 2.nii.", event="size-changed")


@fault
def typeChanges(world):
    waiting(world, existing="all")
    arrive(world.folder / "1.nii", niftiFile(1))
    world.untilReceived()
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 3, 2), np.float32), np.eye(4)), world.folder / "2.nii")
    yield Says("from 4 x 3 x 2 int16 to 4 x 3 x 2 float32 with 2.nii.", event="size-changed")


@linux
def temporaryDiskFull(world):
    disk = world.root / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and shutil.which("mount")
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]
    if not mounted or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    world.atEnd(lambda: subprocess.run(["umount", disk], check=True))
    world.start(FolderSettings(str(world.folder)), workFolder=disk)
    (disk / "filler").write_bytes(bytes(40_000))
    with contextlib.suppress(OSError), open(disk / "filler", "ab", buffering=0) as file:
        while file.write(bytes(512)):
            pass
    for number in range(400):  # their lines need more than the rest of the last page
        arrive(world.folder / f"{number}.nii", niftiFile(number))
    yield Says(f"The temporary folder {disk} cannot be written: disk full. Free space on that disk.")
    (disk / "filler").unlink()
    time.sleep(RETRY + 0.1)
    arrive(world.folder / "last.nii", niftiFile(1))
    world.untilReceived(401)
    world.until(lambda: len(world.eventsOf("temporary-folder")) == 2)


# ---- HTTP


@fault
def nobodyConnected(world):
    world.listening()
    yield Says(
        f"Waiting for images that programs post to http://127.0.0.1:{world.port}/frame. No program has connected yet. "
        "Only programs on this computer can connect.",
        Remedy("Allow the network", {"host": "0.0.0.0"}),
    )
    world.until(lambda: world.acquisition.of("details"))
    world.until(lambda: f"port {world.port}, if the firewall agrees" in world.status)
    world.send(posted(), *networkAddresses()[:1])


@fault
def connectedButSilent(world):
    world.listening()
    link = world.keep(socket.create_connection(("127.0.0.1", world.port), 10))
    yield Says(f"127.0.0.1:{link.getsockname()[1]} is connected, but sends no request.")
    link.sendall(posted())


def refused(world, request, words):
    """An HTTP source that has refused a request."""
    world.listening()
    world.send(request)
    yield Says(words)
    world.send(posted())


@fault
def wrongToken(world):
    yield from refused(world, head(token="another-token-of-others", length=0), "The token is missing or wrong: send")


@fault
def browser(world):
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n"
    yield from refused(world, request, "GET / was refused: A web browser cannot send images.")


@fault
def wrongAddress(world):
    request = head(path="/images", length=0)
    yield from refused(world, request, "POST /images was refused: Unknown address '/images'; use POST /frame")


@fault
def wrongMethod(world):
    yield from refused(world, head("PUT", length=0), "PUT /frame was refused: /frame accepts only POST.")


@fault
def bodyOfAWrongSize(world):
    path, body = rawQuery(1)
    request = head(path=path, length=len(body) - 8) + body[:-8]
    yield from refused(world, request, "2 x 3 x 4 pixels of int16 are 48 bytes; 40 are announced.")


@fault
def unknownType(world):
    request = head(headers={"Content-Type": "video/mp4"}, length=0)
    yield from refused(world, request, "The type video/mp4 is not supported; send .nii")


@fault
def noImageInTheBody(world):
    yield from refused(world, posted(b"no image" * 100, "/frame?name=bad.nii"), "was refused: The image cannot be read")


@fault
def tooManyConnections(world):
    world.listening()
    links = [world.send(posted()[:-1]) for _number in range(MOST)]
    world.until(lambda: f"{MOST} are arriving." in world.status)
    world.send(posted())
    yield Says(f"{MOST} connections are open already: close some, or send all images over one.")
    for link in links:
        link.close()
    answer = 503
    while answer == 503:  # the server notices the ends one after the other
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", world.port, timeout=10)) as connection:
            connection.request("POST", "/frame", niftiFile(1), {"Authorization": f"Bearer {TOKEN}"})
            answer = connection.getresponse().status


@fault
def portTaken(world):
    holder = world.keep(socket.create_server(("127.0.0.1", 0)))
    port = holder.getsockname()[1]
    world.start(HTTPSettings(port=port, token=TOKEN))
    world.until(lambda: world.remedy)
    remedy = world.remedy
    assert port < remedy.settings["port"] < port + 100
    yield Says(
        f"Port {port} is in use by another program. Close that program, or choose another port.",
        Remedy(f"Use port {remedy.settings['port']}", remedy.settings),
    )
    world.until(lambda: world.acquisition.of("details"))
    world.send(posted())


@linux
def portReserved(world):
    world.start(HTTPSettings(port=80, token=TOKEN), asUser=True)
    world.until(lambda: world.remedy)
    remedy = world.remedy
    assert 10_080 <= remedy.settings["port"] < 10_180
    yield Says("Port 80 is reserved by the system. Choose a port above 1024.", remedy)
    world.until(lambda: world.acquisition.of("details"))
    world.send(posted())


@fault
def addressOfAnotherComputer(world):
    world.start(HTTPSettings(host="203.0.113.7", port=0, token=TOKEN))
    yield Says("This computer has no address 203.0.113.7.", Remedy("Allow the network", {"host": "0.0.0.0"}))
    world.until(lambda: world.acquisition.of("details"))
    world.send(posted())


@fault
def computerNotAllowed(world):
    world.listening(allowed=("10.1.2.3",))
    link = world.keep(socket.create_connection(("127.0.0.1", world.port), 10))
    yield Says(
        f"Connection from 127.0.0.1:{link.getsockname()[1]} refused: it is not among the allowed computers.",
        Remedy("Allow 127.0.0.1", {"allowed": ["10.1.2.3/32", "127.0.0.1"]}),
    )
    world.until(lambda: world.acquisition.of("details"))
    world.send(posted())


# ---- replay


@fault
def replayMissing(world):
    path = world.folder / "a.nii"
    world.start(ReplaySettings(str(path)))
    yield Says(f"a.nii is not replayed: {path} is not there; waiting for it.")
    arrive(path, niftiFile(1))


@fault
def replayOfAFolder(world):
    (path,) = record(world.folder, [frame(number) for number in range(3)])
    world.start(ReplaySettings(str(world.folder)))
    yield Says(
        "incoming is not replayed: it is a folder. Choose a file in it, such as the recording Test-Scan.seq.nhdr.",
        Remedy("Replay the recording", {"file": path}),
    )


@fault
def replayOfAManifest(world):
    (path,) = record(world.folder, [frame(number) for number in range(3)])
    manifest = path.replace(".seq.nhdr", ".json")
    world.start(ReplaySettings(manifest))
    yield Says(f"{os.path.basename(manifest)} is not replayed: ", Remedy("Replay the recording", {"file": path}))


@fault
def replayOfAnEmptyRecording(world):
    (path,) = record(world.folder, [frame(number) for number in range(3)])
    content = Path(path).read_bytes()
    Path(path).write_bytes(b"")
    world.start(ReplaySettings(path))
    yield Says(f"{os.path.basename(path)} is not replayed: The header has 0 bytes so far and is not complete.")
    arrive(Path(path), content)


@fault
def replayOfAnotherKind(world):
    path = world.folder / "notes.nii"
    path.write_text("These are notes. " * 100)
    world.start(ReplaySettings(str(path)))
    yield Says("notes.nii is not replayed: A NIfTI file begins with the number 348 or 540; this file does not.")
    arrive(path, niftiFile(1))


@fault
def replayEnded(world):
    (path,) = record(world.folder, [frame(number) for number in range(3)])
    world.start(ReplaySettings(path, pace="fastest"))
    yield Says(f"The replay of {os.path.basename(path)} has ended: 3 frames.", Remedy("Play again", {}))
    world.untilReceived(3)


def test_a_quoted_and_padded_path_is_the_path(world):
    world.start(FolderSettings(f' "{world.folder}"  ', existing="all"))
    arrive(world.folder / "a.nii", niftiFile(1))
    world.untilReceived()
