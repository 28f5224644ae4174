"""Parsers of files: images while they grow, DICOM headers, recordings, checkpoints."""

from __future__ import annotations

import atexit
import ctypes
import importlib
import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import cache

from RealTimeImagingLib.Conversion.Headers import TAGS
from RealTimeImagingLib.Conversion.Scan import Scanner
from RealTimeImagingLib.Conversion.Walker import OddError, ShortError, walk
from RealTimeImagingLib.Formats import openImageFile
from RealTimeImagingLib.Formats.DICOM.Header import readFileHeader, readHeader
from RealTimeImagingLib.Model.Errors import NotAnImageError
from RealTimeImagingLib.Recording import openMessages, openRecording, repair
from RealTimeImagingLib.Recording.Catalogue import listRecordings

from .Rules import LIMIT, Find, Target, checkSentence

MOST_IMAGES = 8
"""Images of a file that are read."""
CODES = ("not-an-image", "damaged", "unsupported", "too-large")
_ARENAS = -8
"""M_ARENA_MAX of mallopt: each thread would reserve 64 MiB of address space."""
_DECODERS = (
    *("nibabel.brikhead", "nibabel.freesurfer.mghformat", "nibabel.parrec", "tifffile", "imagecodecs"),
    *("pydicom.pixels", "pydicom.pixels.decoders", "jpeg_ls", "SimpleITK", "PIL.Image", "PIL.JpegImagePlugin"),
)
ANOTHER = "contradicts the"
"""Part of the sentence about an exception that no reader expects."""
VOXELS = bytes(range(256)) * 16


@cache
def folder() -> str:
    """Return a private folder of this process."""
    made = tempfile.mkdtemp(prefix="fuzz-")
    atexit.register(shutil.rmtree, made, True)
    return made


def write(name: str, data: bytes) -> str:
    """Write a file into the folder; return its path."""
    path = os.path.join(folder(), name)
    with open(path, "wb", buffering=0) as file:
        file.write(data)
    return path


def readImages(name: str, ours: bool, *beside: str) -> Callable[[bytes], None]:
    """Return the parser of an image file: a half of it, then all.

    :param name: of the file.
    :param ours: the whole format is read by this library, which foresees each kind of damage.
    :param beside: names of the files with voxels.
    """

    def run(data: bytes) -> None:
        for each in beside:
            write(each, VOXELS)
        path = write(name, data[: len(data) // 2])
        try:
            reader = openImageFile(path, LIMIT)
            reader.missing()
            write(name, data)
            words = reader.missing()
            if words is not None:
                checkSentence(words)
                return
            for number, image in enumerate(reader.images()):
                if image.pixels.nbytes > LIMIT:
                    raise Find(f"an image of {image.pixels.nbytes:,} bytes")
                if number == MOST_IMAGES:
                    break
        except NotAnImageError as error:
            if error.code not in CODES or (ours and ANOTHER in str(error)):
                raise Find(f"{error.code}: {error}") from error
            raise

    return run


def quiet() -> None:
    """Keep logs and warnings of decoders away from the terminal, and their threads from reserving memory."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).mallopt(_ARENAS, 1)


def decoders() -> None:
    """Import the packages that read images."""
    quiet()
    for name in _DECODERS:
        importlib.import_module(name)


def walkHeader(data: bytes) -> None:
    """Walk a DICOM header, by itself and as a file of a conversion."""
    wanted = frozenset(TAGS.values())
    try:
        walk(data, wanted, True)
    except (ShortError, OddError):
        pass
    path = write("walked.dcm", data)
    Scanner({}).scan([path])
    try:
        readFileHeader(path)
    except NotAnImageError:
        pass


def readSet(data: bytes) -> None:
    """Read a DICOM data set as the storage SCP does: implicit, explicit, big-endian."""
    import io

    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    syntax = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)[data[:1] in (b"\0", b"\1")]
    readHeader(io.BytesIO(data), len(data), syntax)


def readRecording(data: bytes) -> None:
    """Open the header of a recording, and read a frame."""
    write("a-Live.raw", VOXELS[:24])
    part = openRecording(write("a-Live.seq.nhdr", data))
    part.pixels(0)


def readMessages(data: bytes) -> None:
    """Open the manifest and the messages of a recording, parted by the first line end."""
    manifest, _end, lines = data.partition(b"\n")
    write("a.messages.jsonl", lines)
    found = openMessages(write("a.messages.json", manifest))
    list(found.messages())
    list(found.poses(invalid=True))


def listFolder(data: bytes) -> None:
    """List and repair a folder with a manifest, lines of frames, a lock and messages, parted by lines of ``%``."""
    names = ("a-Live.json", "a-Live.jsonl", "a-Live.lock", "a-Live.seq.nhdr", "a-Live.events.jsonl")
    path = os.path.join(folder(), "recordings")
    shutil.rmtree(path, ignore_errors=True)
    os.mkdir(path)
    write("recordings/a-Live.raw", VOXELS[:48])
    for name, part in zip(names, data.split(b"\n%\n"), strict=False):
        if part:
            write(f"recordings/{name}", part)
    for entry in listRecordings(path)[0]:
        entry.toJSON()
    repair(path)
    listRecordings(path)


TARGETS = [
    Target("nifti", readImages("a.nii", True), prepare=quiet),
    Target("nifti-pair", readImages("b.hdr", True, "b.img"), prepare=quiet),
    Target("nrrd", readImages("a.nrrd", True), prepare=quiet),
    Target("nhdr", readImages("c.nhdr", True, "c.raw", "d.raw.gz"), prepare=quiet),
    Target("metaimage", readImages("a.mha", True), prepare=quiet),
    Target("mhd", readImages("e.mhd", True, "e.raw", "f.zraw"), prepare=quiet),
    Target("gzip", readImages("a.nii.gz", True), prepare=quiet),
    Target("numpy", readImages("a.npy", True), prepare=quiet),
    Target("par-rec", readImages("g.par", False, "g.rec"), prepare=decoders),
    Target("afni", readImages("h+orig.head", False, "h+orig.brik"), prepare=decoders),
    Target("mgh", readImages("a.mgh", False), prepare=decoders),
    Target("png", readImages("a.png", True), prepare=decoders),
    Target("jpeg", readImages("a.jpg", True), prepare=quiet),
    Target("bmp", readImages("a.bmp", True), prepare=quiet),
    Target("tiff", readImages("a.tif", False), prepare=decoders),
    Target("dicom", readImages("a.dcm", False), prepare=decoders),
    Target("unnamed", readImages("IM0001", False), prepare=decoders),
    Target("dicom-walker", walkHeader, prepare=decoders),
    Target("dicom-set", readSet, prepare=decoders),
    Target("recording", readRecording, prepare=quiet),
    Target("recorded-messages", readMessages, prepare=quiet),
    Target("recording-folder", listFolder, prepare=quiet),
]
