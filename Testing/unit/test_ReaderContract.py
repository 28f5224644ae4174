"""The reader contract: what the reader of every format does with a growing, cut, damaged or replaced file."""

from __future__ import annotations

import contextlib
import functools
import gzip
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Formats import openImageFile
from RealTimeImagingLib.Model.Errors import NotAnImageError
from unit import (
    test_BMP,
    test_DICOM,
    test_DICOMMosaic,
    test_DICOMSyntaxes,
    test_MetaImage,
    test_Nibabel,
    test_NIfTI,
    test_NIfTIPair,
    test_NRRD,
    test_NumPy,
    test_Picture,
    test_TIFF,
)
from unit.readers import assertGrows, assertHarmless, assertMissingWhenCut, assertSame, mutated, read, refusal

SERIES = np.random.default_rng(1).integers(0, 999, (8, 9, 10, 2)).astype("i2")
VOLUME = test_NIfTI.counted((5, 6, 7))
PICTURE = PIL.Image.fromarray(test_Picture.RGB)


@dataclass(frozen=True)
class Kind:
    """One kind of file: `make` writes one into a folder and returns the path that a reader opens."""

    make: Callable[[Path], Path]
    head: int
    """Bytes at its beginning that hostile examples change."""
    sealed: bool
    """Its content proves that nothing is missing."""
    packed: bool = False
    """Hostile examples change the bytes that gzip packs."""


def nifti2(kind, array=SERIES):
    return lambda folder: test_NIfTIPair.written(folder, array, kind=kind)


def nrrd(encoding):
    extra = {"space": "RAS", "space directions": np.eye(3), "space origin": np.zeros(3), "Name": "value"}
    return lambda folder: test_NRRD.written(folder / "a.nrrd", VOLUME, encoding, **extra)


def bmp(mode):
    return lambda folder: test_BMP.written(folder / "a.bmp", mode)


def dicom(name):
    """One of pydicom's files, without what may follow the pixels."""

    def make(folder):
        path = folder / "a.dcm"
        path.write_bytes(test_DICOM.withoutPadding(test_DICOM.real(name)))
        return path

    return make


def mosaic(folder):
    header = test_DICOMMosaic.csa(NumberOfImagesInMosaic=["5"], SliceNormalVector=["0", "0", "1"])
    volume = test_DICOMMosaic.counted((5, 3, 4))
    return test_DICOMMosaic.mosaic(folder / "a.dcm", volume, image=header, **test_DICOMMosaic.placed())


def deflated(folder):
    plain = test_DICOM.made(folder / "plain.dcm", test_DICOM.FRAMES)
    path = test_DICOMSyntaxes.deflated(plain, folder / "a.dcm")
    plain.unlink()
    return path


def packed(folder):
    plain = dicom("MR_small")(folder)
    path = folder / "a.dcm.gz"
    path.write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    return path


KINDS = {
    "NIfTI": Kind(lambda folder: test_NIfTI.written(folder / "a.nii", SERIES), 352, False),
    "NIfTI packed": Kind(lambda folder: test_NIfTI.written(folder / "a.nii.gz", SERIES), 352, True, packed=True),
    "NIfTI-2": Kind(nifti2("single2"), 544, False),
    "NIfTI-2 packed": Kind(nifti2("packed2"), 544, True, packed=True),
    "NRRD": Kind(nrrd("raw"), 500, False),
    "NRRD gzip": Kind(nrrd("gzip"), 500, True),
    "MetaImage": Kind(lambda folder: test_MetaImage.written(folder / "a.mha", VOLUME), 400, False),
    "MetaImage packed": Kind(lambda folder: test_MetaImage.written(folder / "a.mha", VOLUME, packed=True), 400, True),
    "NumPy": Kind(lambda folder: test_NumPy.written(folder, SERIES), 128, False),
    "MGH": Kind(lambda folder: test_Nibabel.mgh(folder, SERIES), 90, False),
    "MGH packed": Kind(lambda folder: test_Nibabel.mgh(folder, SERIES, ending=".mgz"), 90, True, packed=True),
    "PNG": Kind(lambda folder: test_Picture.written(folder / "a.png", PICTURE), 5000, True),
    "JPEG": Kind(lambda folder: test_Picture.written(folder / "a.jpg", PICTURE), 5000, True),
    **{f"BMP {mode}": Kind(bmp(mode), 1200, False) for mode in ("1", "P", "RGB", "RGBA")},
    "BMP runs": Kind(lambda folder: test_BMP.runs(folder / "a.bmp"), 1200, False),
    **{f"TIFF {name}": Kind(functools.partial(test_TIFF.layout, name), 6000, False) for name in test_TIFF.LAYOUTS},
    **{
        f"DICOM {name}": Kind(dicom(name), 3000, sealed)
        for name, sealed in {
            "MR_small": False,
            "MR_small_implicit": False,
            "CT_small": False,
            "SC_rgb_small_odd": False,
            "MR_small_RLE": True,
            "SC_rgb_rle_2frame": True,
            "rtdose_rle": True,
        }.items()
    },
    "DICOM mosaic": Kind(mosaic, 2200, False),
    "DICOM deflated": Kind(deflated, 900, False),
    "DICOM packed": Kind(packed, 3000, True, packed=True),
}
PAIRS = {
    "NIfTI pair": Kind(nifti2("pair1"), 348, False),
    "NIfTI-2 pair": Kind(nifti2("pair2"), 544, False),
    "Analyze": Kind(lambda folder: test_NIfTIPair.analyze(folder, VOLUME), 348, False),
    "NIfTI pair packed": Kind(nifti2("packedPair1"), 348, True, packed=True),
    "NIfTI-2 pair packed": Kind(nifti2("packedPair2"), 544, True, packed=True),
    "PAR/REC": Kind(test_Nibabel.copied, 9000, False),
    "AFNI": Kind(lambda folder: test_Nibabel.copied(folder, "scaled+tlrc.HEAD"), 4000, False),
    "AFNI packed": Kind(lambda folder: test_Nibabel.copied(folder, test_Nibabel.EPI), 4000, False),
}
"""Voxels in a file of their own; how these grow is in test_NIfTIPair and test_Nibabel."""

everyFile = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
everyKind = pytest.mark.parametrize("kind", [*KINDS.values(), *PAIRS.values()], ids=[*KINDS, *PAIRS])


@functools.cache
def made(kind):
    """The name of the file that a reader opens, and the bytes of all files by name."""
    with tempfile.TemporaryDirectory() as folder:
        path = kind.make(Path(folder))
        return path.name, {name: (Path(folder) / name).read_bytes() for name in os.listdir(folder)}


def written(folder, kind):
    """Write the files of a kind; returns the path that a reader opens."""
    name, files = made(kind)
    for each, data in files.items():
        (folder / each).write_bytes(data)
    return folder / name


@everyFile
@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_cut_file_is_never_taken_for_whole(tmp_path, kind, cut):
    path = written(tmp_path, kind)
    assertMissingWhenCut(path, int(cut * path.stat().st_size))


@everyFile
@given(pieces=st.lists(st.integers(1, 400), max_size=12))
def test_a_growing_file_is_read_once_it_is_whole(tmp_path, kind, pieces):
    path = written(tmp_path, kind)
    size = path.stat().st_size
    assertGrows(path, [max(1, piece * size // 1000) for piece in pieces])


@everyKind
@given(changes=st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(0, 255)), max_size=8))
def test_hostile_bytes_do_no_harm(tmp_path, kind, changes):
    path = written(tmp_path, kind)
    changes = [(place % kind.head, value) for place, value in changes]
    data = path.read_bytes()
    assertHarmless(
        path, gzip.compress(mutated(gzip.decompress(data), changes)) if kind.packed else mutated(data, changes)
    )


@everyKind
@pytest.mark.parametrize("left", [None, 0, 0.5])
def test_a_file_that_is_replaced_while_it_is_read_does_no_harm(tmp_path, kind, left):
    """Images or a documented error; a reader made later reads what is there then."""
    path = written(tmp_path, kind)
    expected, reader = read(path), openImageFile(str(path))
    assert reader.missing() is None
    path.unlink()
    if left is not None:
        data = made(kind)[1][path.name]
        path.write_bytes(data[: int(left * len(data))])
    with contextlib.suppress(NotAnImageError, OSError):
        list(reader.images())
    assertSame(read(written(tmp_path, kind)), expected)


@everyKind
def test_whether_a_file_proves_that_it_is_whole(tmp_path, kind):
    reader = openImageFile(str(written(tmp_path, kind)))
    assert reader.missing() is None
    assert reader.sealed is kind.sealed


@everyFile
def test_bytes_after_the_end_do_not_matter(tmp_path, kind):
    path = written(tmp_path, kind)
    expected = read(path)
    path.write_bytes(path.read_bytes() + bytes(9))
    assertSame(read(path), expected)


@everyKind
def test_more_than_the_limit_is_refused(tmp_path, kind):
    path = written(tmp_path, kind)
    size = max(image.pixels.nbytes for image in read(path))
    assert refusal(path, limit=size - 1).code == "too-large"
