import errno
import gzip
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from pydicom.data import get_testdata_file
from RealTimeImagingLib.Formats import IMAGE_SUFFIXES, ImageFile, ignoredName, openImageFile
from RealTimeImagingLib.Model.Errors import FrameError, NotAnImageError, RingError
from RealTimeImagingLib.Model.Frame import Image
from RealTimeImagingLib.Simulator.Images import niftiBytes
from unit.readers import assertSame, assertSentence, read, refusal


@pytest.mark.parametrize(
    "name",
    [
        ".a.nii",
        "a.nii.part",
        "a.nii.TMP",
        "a.png.crdownload",
        "a.dcm.filepart",
        "a.nii~",
        "a.raw",
        "a.zraw",
        "a.img",
        "a.img.gz",
        "a.bin",
        "a.json",
        "a.txt",
        "a.log",
        "a.xml",
        "a.csv",
        "a.bval",
        "a.BVEC",
        "DICOMDIR",
        "Thumbs.db",
        "a.partial",
    ],
)
def test_companions_and_unfinished_files_are_ignored(name):
    assert ignoredName(name)


@pytest.mark.parametrize(
    "name", ["a.nii", "A.NII.GZ", "a.seq.nrrd", "IM_0001", "1.2.840.10008", "a.ima", "a.igs.mha", "a.hdr"]
)
def test_images_are_not_ignored(name):
    assert not ignoredName(name)


def test_every_ending_has_a_reader(tmp_path):
    for suffix in IMAGE_SUFFIXES:
        path = tmp_path / f"EMPTY{suffix.upper()}"
        path.write_bytes(b"")
        assertSentence(openImageFile(str(path)).missing())


@pytest.mark.parametrize("name", ["IM_0001", "slice.ima", "1.2.840.1", "IM_0001.gz", "a.dcm.gz"])
def test_dicom_needs_no_ending(tmp_path, name):
    source = get_testdata_file("CT_small.dcm")
    data = Path(source).read_bytes()
    if name.endswith(".gz"):
        data = gzip.compress(data)
    path = tmp_path / name
    path.write_bytes(data[:100])
    reader = openImageFile(str(path))
    assertSentence(reader.missing())
    path.write_bytes(data)
    assert reader.missing() is None
    assertSame(list(reader.images()), read(source))


def test_a_file_that_is_known_late_is_read_into_the_memory_of_the_caller(tmp_path):
    path, lent = tmp_path / "IM0001", []
    path.write_bytes(b"")
    reader = openImageFile(str(path))
    reader.getBuffer = lambda nbytes: lent.append(np.empty(nbytes, np.uint8)) or lent[-1]
    path.write_bytes(gzip.compress(niftiBytes(Image(np.zeros((2, 3, 4), np.int16), np.eye(4)))))
    assert reader.missing() is None
    (image,) = reader.images()
    assert np.shares_memory(image.pixels, lent[0])


def test_a_picture_is_known_by_its_content(tmp_path):
    PIL.Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "camera", "png")
    assert read(tmp_path / "camera")[0].pixels.shape == (1, 4, 5)


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("a.gif", b"", "not-an-image"),
        ("a.txt", b"", "not-an-image"),
        ("a.hdr", b"ENVI\ndescription = {a file of another format with the same ending}\n" * 9, "not-an-image"),
        ("unknown", b"text " * 200, "not-an-image"),
    ],
)
def test_what_is_surely_no_image_is_refused(tmp_path, name, data, code):
    (tmp_path / name).write_bytes(data)
    assert refusal(tmp_path / name).code == code


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.MP4", "It is a video. Choose the source Camera or video."),
        ("a.tar.gz", "It is an archive. Unpack it first."),
        ("a.nii.bz2", "It is packed in a way that is not supported. Unpack it, or pack it with gzip."),
        ("a.mnc", "It is a MINC file. Convert it to NIfTI with mnc2nii."),
    ],
)
def test_a_known_format_that_is_not_read_has_advice(tmp_path, name, advice):
    (tmp_path / name).write_bytes(b"content " * 99)
    assert str(refusal(tmp_path / name)) == f"{name} is not an image of a supported format: {advice}"


@pytest.mark.parametrize("data", [b"", b"text", bytes(4096)])
def test_what_cannot_be_told_yet_is_missing_something(tmp_path, data):
    (tmp_path / "unknown").write_bytes(data)
    assertSentence(openImageFile(str(tmp_path / "unknown")).missing())


def test_a_file_that_is_gone_is_said_by_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        openImageFile(str(tmp_path / "a.nii")).missing()
    with pytest.raises(FileNotFoundError):
        openImageFile(str(tmp_path / "unknown"))


class Raising(ImageFile):
    """A reader of which each step raises what it is told to."""

    title = "Example"

    def __init__(self, error):
        super().__init__("a.example")
        self.error = error

    def _missing(self):
        raise self.error

    def _images(self, first):
        raise self.error
        yield


@pytest.mark.parametrize("step", ["missing", "images"])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("could not broadcast input array"), "damaged"),
        (KeyError("MPO"), "damaged"),
        (OverflowError("cannot convert float NaN to integer"), "damaged"),
        (OSError("image file is truncated"), "damaged"),
        (OSError(errno.EINVAL, "Invalid argument"), "damaged"),
        (MemoryError(), "too-large"),
        (FrameError("Slicer cannot show pixels of type complex64."), "unsupported"),
    ],
)
def test_whatever_a_reader_raises_is_a_refusal_in_words(step, error, code, caplog):
    with pytest.raises(NotAnImageError) as caught:
        list(getattr(Raising(error), step)() or ())
    assert caught.value.code == code
    if code == "damaged":
        assert (
            str(caught.value)
            == "The content contradicts the Example format: write the file again. The log has the details."
        )
        assert repr(error.args[-1]) in caplog.text or str(error.args[-1]) in caplog.text


@pytest.mark.parametrize("step", ["missing", "images"])
def test_a_file_that_is_nested_too_deeply_is_refused_in_words(step):
    with pytest.raises(NotAnImageError, match="nests its elements too deeply") as caught:
        list(getattr(Raising(RecursionError("maximum recursion depth exceeded")), step)() or ())
    assert caught.value.code == "damaged"


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), RingError("gone"), KeyboardInterrupt()])
def test_what_is_not_the_fault_of_the_content_passes(error):
    with pytest.raises(type(error)):
        Raising(error).missing()
