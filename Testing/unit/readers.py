"""What every reader must do with a file that is still being written, or damaged; used by the tests of the formats."""

import re
from pathlib import Path

import numpy as np
from RealTimeImagingLib.Formats import ImageFile, openImageFile
from RealTimeImagingLib.Model.Errors import NotAnImageError


def read(path, **options):
    """All images of a whole file."""
    reader = openImageFile(str(path), **options)
    assert reader.missing() is None
    return list(reader.images())


def refusal(path, **options):
    """The error with which a file is refused, its message checked to be a sentence."""
    try:
        reader = openImageFile(str(path), **options)
        if reader.missing() is None:
            list(reader.images())
    except NotAnImageError as error:
        caught = error
    else:
        raise AssertionError("The file was not refused.")
    assertWords(str(caught))
    return caught


def assertWords(words):
    """What a user can read, and nothing that Python says."""
    assert isinstance(words, str)
    assert len(words) > 15
    assert words.endswith(".")
    assert not re.search(r"Traceback|Errno|object at 0x|[a-z]Error\b|dtype|NoneType|argument|\bndarray", words)


def assertSentence(words):
    assertWords(words)


def assertMissingWhenCut(path: Path, cut: int) -> None:
    """Any beginning of the file that is shorter than the whole is missing something, and says so."""
    whole = path.read_bytes()
    part = path.with_name("cut-" + path.name)
    part.write_bytes(whole[:cut])
    assertSentence(openImageFile(str(part)).missing())
    part.unlink()


def assertGrows(path: Path, pieces: list[int]) -> None:
    """One reader that sees the file grow by the given pieces ends with the same images as one that sees it whole."""
    whole = path.read_bytes()
    expected = read(path)
    growing = path.with_name("growing-" + path.name)
    growing.write_bytes(b"")
    reader: ImageFile = openImageFile(str(growing))
    assertSentence(reader.missing())
    grow(growing, whole, pieces, reader)
    assertSame(list(reader.images()), expected)
    growing.unlink()


def grow(path: Path, whole: bytes, pieces: list[int], reader: ImageFile) -> None:
    """Append the bytes to the file in pieces of these sizes, then the rest; the reader misses some until the end."""
    done = 0
    for piece in pieces:
        if done + piece >= len(whole):
            break
        with path.open("ab") as file:
            file.write(whole[done : done + piece])
        done += piece
        assertSentence(reader.missing())
    with path.open("ab") as file:
        file.write(whole[done:])
    assert reader.missing() is None


def assertSame(images, others):
    assert len(images) == len(others)
    for one, other in zip(images, others, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        np.testing.assert_array_equal(one.ijkToRAS, other.ijkToRAS)
        assert one.attributes == other.attributes


def assertHarmless(path: Path, data: bytes, limit: int = 1 << 20) -> None:
    """Whatever the bytes: images within the limit, a sentence, or a refusal; nothing else."""
    path.write_bytes(data)
    refused = None
    try:
        reader = openImageFile(str(path), limit)
        words = reader.missing()
        if words is None:
            for image in reader.images():
                assert image.pixels.nbytes <= limit
        else:
            assertSentence(words)
    except NotAnImageError as error:
        refused = error
    if refused is not None:
        assert refused.code in ("not-an-image", "damaged", "unsupported", "too-large")
        assertWords(str(refused))


def mutated(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    """The bytes with some of them replaced: (position, value), positions taken modulo the length."""
    changed = bytearray(data)
    for position, value in changes:
        changed[position % len(changed)] = value
    return bytes(changed)


def valueAt(simpleITKImage, worldRAS):
    """The voxel that SimpleITK has nearest to a point in RAS."""
    index = simpleITKImage.TransformPhysicalPointToIndex([-worldRAS[0], -worldRAS[1], worldRAS[2]])
    return simpleITKImage[index]


def assertSameAtWorldPoints(image, simpleITKImage):
    """Every voxel of ours lies where SimpleITK has the same value: arrays may be flipped, the patient may not."""
    for k, j, i in np.ndindex(image.pixels.shape[:3]):
        world = image.ijkToRAS @ (i, j, k, 1)
        np.testing.assert_array_equal(image.pixels[k, j, i], valueAt(simpleITKImage, world))
