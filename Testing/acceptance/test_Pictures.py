"""python3 run.py docs: pictures of the panel, in a folder that is used for nothing else."""

from __future__ import annotations

import subprocess
import sys

from PIL import Image


def make(*options):
    command = [sys.executable, "-m", "pictures", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_theNamedPicturesAreMade(tmp_path):
    """Of the panel's width; the folder of images is gone afterwards."""
    output, data = tmp_path / "pictures", tmp_path / "data"
    done = make("--only", "idle-folder", "waiting", "--output", output, "--data", data)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in output.iterdir()) == ["idle-folder.png", "waiting.png"]
    for path in output.iterdir():
        picture = Image.open(path)
        assert picture.width == 420
        assert 200 < picture.height < 800
        # Text, not an empty widget.
        assert picture.convert("L").getextrema() == (0, 255)
    assert not data.exists()


def test_aPictureHasTheWidthTheFontAndTheColoursThatAreAsked(tmp_path):
    """The same state is higher with a large font, and its background is dark."""
    sizes = []
    for options in ((), ("--font", "200", "--dark")):
        output = tmp_path / f"pictures{len(options)}"
        done = make(
            "--only", "idle-folder", "--width", "380", *options, "--output", output, "--data", tmp_path / "data"
        )
        assert done.returncode == 0, done.stderr
        picture = Image.open(output / "idle-folder.png").convert("L")
        sizes.append(picture.size)
        assert (picture.getpixel((2, 2)) < 100) == bool(options)
    assert [width for width, _height in sizes] == [380, 380]
    assert sizes[1][1] > 1.3 * sizes[0][1]


def test_aFolderWithFilesIsLeftAlone(tmp_path):
    kept = tmp_path / "image.nii"
    kept.write_bytes(b"mine")
    done = make("--only", "idle-folder", "--output", tmp_path / "pictures", "--data", tmp_path)
    assert done.returncode == 1
    assert f"{tmp_path} is not empty" in done.stderr
    assert kept.read_bytes() == b"mine"


def test_allNamesAreListed():
    done = make("--list")
    assert done.returncode == 0
    assert {"idle-dicom", "stalled", "dark", "live"} < set(done.stdout.split())
