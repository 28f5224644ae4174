"""python3 run.py docs: pictures of the panel in every state, made with real sources in the test host."""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys

from PIL import Image

from .Stage import WIDTH, Stage
from .States import STATES, USED
from .Steps import STEPS
from .Tutorials import TUTORIALS

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
PLACES = {"Demo": ("Resources",)} | dict.fromkeys((*STEPS, *TUTORIALS), ("docs", "tutorials", "pictures"))
"""Folders of pictures that belong elsewhere than in docs/pictures."""
LARGEST = 60_000
"""Bytes of a picture in the repository."""
COLOURS = (256, 128, 64, 48)
FOLDER = "/data"


def main() -> int:
    """Make the pictures; return 0 when all were made."""
    options = _options()
    with Folder(options.data) as data:
        stage, failed = Stage(data, options.width, options.font, options.dark), []
        for name in options.only or USED:
            folder = options.output or os.path.join(ROOT, *PLACES.get(name, ("docs", "pictures")))
            os.makedirs(folder, exist_ok=True)
            try:
                with stage.panel():
                    made = STATES[name](stage)
                    for index, png in enumerate([made] if isinstance(made, bytes) else made):
                        path = os.path.join(
                            os.path.relpath(folder), f"{name}-{index + 1}.png" if index else f"{name}.png"
                        )
                        save(png, path)
                        size = os.path.getsize(path)
                        print(f"{path}: {size:,} bytes")
                        if size > LARGEST:
                            failed.append(name)
            except TimeoutError as error:
                failed.append(name)
                print(f"{name}: {error}", file=sys.stderr)
        stage.close()
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py docs", description=__doc__)
    parser.add_argument("--output", help="folder of the pictures (default: docs/pictures; of Demo.png: Resources)")
    parser.add_argument("--only", nargs="+", choices=STATES, metavar="NAME", help="make these pictures only")
    parser.add_argument("--all", action="store_true", help="make every picture, not only those of the documentation")
    parser.add_argument("--list", action="store_true", help="list the names of all pictures, and end")
    parser.add_argument("--width", type=int, default=WIDTH, help="pixels of the panel (default: %(default)s)")
    parser.add_argument("--font", type=int, default=100, help="size of the font in percent (default: %(default)s)")
    parser.add_argument("--dark", action="store_true", help="use the colours of Slicer's dark style")
    parser.add_argument(
        "--data",
        default=FOLDER,
        help="folder for images and recordings, which the pictures name; it must be empty or absent, and is emptied at "
        "the end (default: %(default)s)",
    )
    options = parser.parse_args()
    if options.list:
        print(*STATES, sep="\n")
        parser.exit()
    if options.all:
        options.only = list(STATES)
    return options


class Folder:
    """Context with an empty folder, which is removed at the end if it was absent.

    :param path: absolute path.
    :raises SystemExit: it has content, or cannot be made.
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)

    def __enter__(self) -> str:
        """Make the folder; return its path."""
        self._made = not os.path.isdir(self._path)
        try:
            os.makedirs(self._path, exist_ok=True)
            content = os.listdir(self._path)
        except OSError as error:
            raise SystemExit(
                f"{self._path} cannot be used: {error.strerror}. Name another folder with --data."
            ) from None
        if content:
            raise SystemExit(f"{self._path} is not empty. Name another folder with --data.")
        return self._path

    def __exit__(self, *_error: object) -> None:
        """Empty the folder."""
        for name in os.listdir(self._path):
            path = os.path.join(self._path, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
        if self._made:
            os.rmdir(self._path)


def save(png: bytes, path: str) -> None:
    """Write a picture with as many colours, at most 256, as fit in its size."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for colours in COLOURS:
        picture.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
        if os.path.getsize(path) <= LARGEST:
            return


if __name__ == "__main__":
    sys.exit(main())
