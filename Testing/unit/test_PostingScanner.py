"""The simulated scanner that posts images: what is taken is what was logged."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from RealTimeImagingLib.Model.Errors import RequestError
from RealTimeImagingLib.Model.Frame import Image, checksum
from RealTimeImagingLib.Simulator import Scanners as ScannerModule
from RealTimeImagingLib.Simulator.Scanners import PostingScanner
from unit.conftest import seriesFile, sumOf, volume
from unit.httpSource import TOKEN, Server
from unit.openIGTLinkSource import freePort

PROGRAM = Path(ScannerModule.__file__).with_name("__main__.py")


def never():
    return False


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    made = Server(folder)
    with made.running():
        yield made
    made.close()


@pytest.fixture
def scanner(server):
    log = io.StringIO()
    made = PostingScanner(server.source.details["url"], TOKEN, 1000.0, log)
    made.log = log
    yield made
    made.close()


def test_what_is_logged_is_what_came(server, scanner):
    """Any type, in colour too, with its place and its attributes, in order, over one connection."""
    matrix = np.array([[0, -2.0, 0, 10], [1.5, 0, 0, -20], [0, 0, 3.0, 30], [0, 0, 0, 1]])
    dtypes = ("uint8", "int16", "uint32", "float32", "float64")
    images = [volume(number, (2, 3, 4), np.dtype(dtype)) for number, dtype in enumerate(dtypes)]
    images += [volume(9, (1, 5, 6, 3), np.uint8), volume(10, (2, 5, 3), np.uint8)]
    images = [Image(image.pixels, matrix, None, {"Size": "größer"}) for image in images]
    assert scanner.send(iter(images), never) == 7
    logged = [json.loads(line) for line in scanner.log.getvalue().splitlines()]
    assert [entry["file"] for entry in logged] == [frame.image.attributes["SourceFile"] for frame in server.frames]
    assert [entry["checksums"] for entry in logged] == [[sum_] for sum_ in server.sums]
    assert server.sums == [checksum(image.pixels) for image in images]
    assert all((frame.image.ijkToRAS == matrix).all() for frame in server.frames)
    assert all(frame.image.attributes["Size"] == "größer" for frame in server.frames)
    assert len(server.source._server.connected) == 1


def test_a_rejected_image_ends_sending_with_the_reason(server):
    made = PostingScanner(server.source.details["url"], "a-token-that-is-wrong", 10.0)
    with pytest.raises(RequestError, match="token is missing or wrong"):
        made.send(iter([volume(1)]), never)
    made.close()
    with pytest.raises(ValueError, match="no HTTP address"):
        PostingScanner("https://127.0.0.1/", TOKEN, 10.0)


def test_it_waits_for_one_who_is_not_there_and_ends_when_it_is_told():
    made, asked = PostingScanner(f"http://127.0.0.1:{freePort()}/frame", TOKEN, 10.0), itertools.count()
    assert made.send(iter([volume(1)]), lambda: next(asked) > 10) == 0
    made.close()


def test_as_a_program(server, tmp_path):
    path, log = tmp_path / "four.nii", tmp_path / "log.jsonl"
    path.write_bytes(seriesFile(range(4)))
    command = [sys.executable, str(PROGRAM), "--post", server.source.details["url"], f"--token={TOKEN}"]
    done = subprocess.run(
        [*command, "--input", str(path), "--fps", "500", "--loop", "--frames", "6", "--log", str(log)], check=True
    )
    assert done.returncode == 0
    assert server.sums == [sumOf(number) for number in (0, 1, 2, 3, 0, 1)]
    assert len(log.read_text().splitlines()) == 6
