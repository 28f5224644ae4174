"""What sends images to the module in a demo, and knows what it sent."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from RealTimeImagingLib.Frame import Frame, Image, checksum, pictureToRAS
from RealTimeImagingLib.Readers import openImageFile
from RealTimeImagingLib.Recording import Recorder

SIMULATOR = os.path.join(
    os.path.dirname(os.path.abspath(__file__)),
    "../../RealTimeImaging/RealTimeImagingLib/Simulator/__main__.py",
)
WIDTH, HEIGHT = 1920, 1080
REPLAYED = 40
"""Frames of a replay whose number nobody gave."""


class FolderFeed:
    """The simulated scanner, another process, writes files into a folder.

    :param folder: for its files. :param frames: how many, None: without end.
    """

    def __init__(self, options: Any, folder: str, frames: int | None) -> None:
        self.input = options.input or "phantom"
        self._incoming, self._log = os.path.join(folder, "incoming"), os.path.join(folder, "sent.jsonl")
        os.mkdir(self._incoming)
        self._command = [sys.executable, SIMULATOR, self._incoming, "--fps", str(options.fps), "--mode", options.mode]
        self._command += ["--log", self._log, "--until-input-ends", "--loop"]
        if options.input:
            self._command += ["--input", os.path.abspath(options.input)]
        if frames:
            self._command += ["--frames", str(frames)]
        self._process: subprocess.Popen[bytes] | None = None

    def choose(self, ui: Any) -> None:
        """Fill the panel as a user would."""
        ui.sourceComboBox.currentIndex = 0
        ui.folderPathLineEdit.currentPath = self._incoming

    def begin(self) -> None:
        """Send; the module is ready."""
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE)

    @property
    def ended(self) -> bool:
        """True when all is sent."""
        return self._process is not None and self._process.poll() is not None

    def sent(self) -> list[dict[str, Any]]:
        """File, checksums of its frames, time at which it was whole; one entry a file. Ends the scanner."""
        self.close()
        with open(self._log, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def close(self) -> None:
        """End the scanner."""
        if self._process and self._process.stdin:
            self._process.stdin.close()
            self._process.wait()


class ReplayFeed:
    """A file that the module itself replays; made here when it has to have another number of frames.

    :param folder: for the file. :param frames: how many, None: as many as the file has.
    """

    def __init__(self, options: Any, folder: str, frames: int | None) -> None:
        self.input = options.input or "ultrasound cine, scaled to 1080p RGB"
        self._fps = options.fps
        images = list(_imagesOf(options.input) if options.input else _cine())
        if options.input and frames in (None, len(images)):
            self._file = os.path.abspath(options.input)
            self._sums = [checksum(image.pixels) for image in images]
        else:
            images = list(itertools.islice(itertools.cycle(images), frames or REPLAYED))
            self._file = _record(images, folder, options.fps)
            known = {id(image): checksum(image.pixels) for image in images}
            self._sums = [known[id(image)] for image in images]

    def choose(self, ui: Any) -> None:
        """Fill the panel as a user would."""
        ui.sourceComboBox.currentIndex = 1
        ui.replayFilePathLineEdit.currentPath = self._file
        ui.replayPaceComboBox.currentIndex = 1
        ui.replayRateSpinBox.value = self._fps

    def begin(self) -> None:
        """The module has begun by itself."""
        self._until = time.monotonic() + len(self._sums) / self._fps

    @property
    def ended(self) -> bool:
        """True when all should have come."""
        return time.monotonic() > self._until

    def sent(self) -> list[dict[str, Any]]:
        """As the scanner tells it, with the frame's place in place of a file."""
        return [{"file": str(index), "checksums": [value], "time": None} for index, value in enumerate(self._sums)]

    def close(self) -> None:
        """Nothing is left to do."""


FEEDS = {"folder": FolderFeed, "replay": ReplayFeed}


def _imagesOf(path: str) -> Iterator[Image]:
    reader = openImageFile(os.path.abspath(path))
    missing = reader.missing()
    if missing:
        raise SystemExit(f"{path} cannot be replayed: {missing}")
    return reader.images()


def _cine() -> Iterator[Image]:
    """A real ultrasound cine (of pydicom's examples), scaled."""
    from PIL import Image as Picture
    from pydicom.data import get_testdata_file

    path = str(get_testdata_file("examples_ybr_color.dcm"))
    for image in _imagesOf(path):
        scaled = np.asarray(Picture.fromarray(image.pixels[0]).resize((WIDTH, HEIGHT)))
        yield Image(np.ascontiguousarray(scaled[None]), pictureToRAS(WIDTH, HEIGHT))


def _record(images: list[Image], folder: str, fps: float) -> str:
    recorder = Recorder(folder, "Replayed", "Cine", {})
    start = time.time()
    for number, image in enumerate(images):
        frame = Frame(image.pixels, image.ijkToRAS, "Cine", number, start + number / fps)
        if not recorder.append(frame):
            raise SystemExit(recorder.events()[0].text)
    return recorder.finish()[0]
