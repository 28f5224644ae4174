"""Simulated scanner that sends over DICOM: its volumes are valid and lie in the right place."""

from __future__ import annotations

import io
import itertools
import json
import threading

import numpy as np
import pytest
from RealTimeImagingLib.Model.Errors import NotAnImageError
from RealTimeImagingLib.Model.Frame import Image, checksum
from RealTimeImagingLib.Simulator.StoringScanner import StoringScanner, rightHanded
from unit.dicomSource import Receiver

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def receiver(tmp_path, workFolder):
    made = Receiver(workFolder, tmp_path / "kept")
    made.listen()
    yield made
    made.close()


def anImage(dtype=np.int16, shape=(3, 4, 5), handed=1):
    pixels = np.random.default_rng(1).integers(0, 100, shape).astype(dtype)
    matrix = np.array([[0, -2.0, 0, 10], [1.5, 0, 0, -20], [0, 0, 3.0 * handed, 30], [0, 0, 0, 1]])
    return Image(pixels, matrix)


def sent(receiver, *images, thin=1):
    """Send images to the receiver; return the checksums that the scanner logged."""
    log = io.StringIO()
    scanner = StoringScanner("127.0.0.1", receiver.port, "SLICER", 1000.0, log, thin)

    def send():
        scanner.send(iter(images), lambda: False)
        scanner.close()

    thread = threading.Thread(target=send)
    thread.start()
    receiver.untilSent(thread)
    return [json.loads(line)["checksums"][0] for line in log.getvalue().splitlines()]


@pytest.mark.parametrize("handed", [1, -1])
@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8])
def test_a_volume_arrives_where_it_is(receiver, dtype, handed):
    image = anImage(dtype, handed=handed)
    assert sent(receiver, image, image) == receiver.sums
    found = receiver.frames[0].image
    assert found.pixels.dtype == dtype
    for index in itertools.product(*map(range, image.pixels.shape)):
        ijk = np.linalg.inv(found.ijkToRAS) @ image.ijkToRAS @ (*index[::-1], 1)
        i, j, k = np.round(ijk[:3]).astype(int)
        np.testing.assert_allclose(ijk[:3], (i, j, k), atol=1e-5)
        assert found.pixels[k, j, i] == image.pixels[index]
    assert found.deviceTime == pytest.approx(receiver.frames[0].receiveTime, abs=60)


def test_every_nth_slice(receiver):
    image = anImage(shape=(7, 4, 5))
    sent(receiver, image, thin=3)
    np.testing.assert_array_equal(receiver.frames[0].image.pixels, rightHanded(image, 3)[0])
    np.testing.assert_allclose(receiver.frames[0].image.ijkToRAS, rightHanded(image, 3)[1], atol=1e-6)


def test_pictures_in_colour(receiver):
    image = Image(np.random.default_rng(1).integers(0, 255, (1, 5, 7, 3)).astype(np.uint8), np.diag([-2.0, -2, 1, 1]))
    assert sent(receiver, image) == [checksum(image.pixels)]
    receiver.until(lambda: receiver.frames, passes=1)
    assert receiver.sums == [checksum(image.pixels)]


def test_an_unsupported_pixel_type_raises_an_error():
    scanner = StoringScanner("127.0.0.1", 1, "SLICER", 10.0)
    with pytest.raises(NotAnImageError, match="8 or 16 bits"):
        scanner.send(iter([anImage(np.float32)]), lambda: False)
