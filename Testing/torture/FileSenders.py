"""Senders that write files: a folder with all faults of files and of the folder itself, and files that are played."""

from __future__ import annotations

import fcntl
import gzip
import os
import socket
import time
from typing import Any

from RealTimeImagingLib.Simulator.Files import Shot
from RealTimeImagingLib.Simulator.Images import niftiBytes
from RealTimeImagingLib.Simulator.Scanners import FolderScanner

from .Images import volume
from .Plan import Step
from .Senders import Sender

PIECES = 5
"""Pieces in which a file grows."""
KEPT = 200
"""Files that stay in the folder of a soak."""


class FolderSender(Sender):
    """Writes files into a watched folder.

    :param order: ``folder``: the watched folder; ``beside``: a folder beside it, on the same disk.
    """

    def __init__(self, order: dict[str, Any]) -> None:
        super().__init__(order)
        self._folder, self._beside = order["folder"], order["beside"]

    def _path(self, step: Step, ending: str = ".nii", more: str = "") -> str:
        return os.path.join(self._folder, f"{step['do']}{step['serial']:06d}{more}{ending}")

    def _bytes(self, serial: int) -> bytes:
        return niftiBytes(volume(self.number, serial))

    def _arrive(self, path: str, data: bytes) -> None:
        part = os.path.join(self._beside, os.path.basename(path))
        with open(part, "wb") as file:
            file.write(data)
        os.rename(part, path)

    def _good(self, step: Step, most: int = 1) -> None:
        self.note(step["serial"], 1, most, step["do"])

    def _image(self, step: Step) -> None:
        self._arrive(self._path(step), self._bytes(step["serial"]))
        self._good(step)

    def _burst(self, step: Step) -> None:
        # The names come in the opposite order.
        for serial in reversed(range(step["serial"], step["serial"] + 8)):
            self._arrive(self._path({**step, "serial": serial}), self._bytes(serial))
            self.note(serial, 1, 1, "burst")

    def _grow(self, step: Step) -> None:
        self._slowly(step, 0.02)

    def _late(self, step: Step) -> None:
        """Halt in the middle for longer than an incomplete file is waited for."""
        self._slowly(step, step["pause"] / PIECES, halt=1.5)

    def _slowly(self, step: Step, pause: float, halt: float = 0.0) -> None:
        data = self._bytes(step["serial"])
        size = -(-len(data) // PIECES)
        with open(self._path(step), "wb", buffering=0) as file:
            for place in range(PIECES):
                file.write(data[place * size : (place + 1) * size])
                time.sleep(pause + halt * (place == PIECES // 2))
        self._good(step)

    def _cut(self, step: Step) -> None:
        data = self._bytes(step["serial"])
        self._arrive(self._path(step), data[: self.dice.randrange(1, len(data))])
        self._bad(step, self._path(step))

    def _bad(self, step: Step, path: str) -> None:
        self.note(step["serial"], 0, 0, step["do"], report="subject", subject=path)

    def _zeros(self, step: Step) -> None:
        """Reserve the whole file, and fill it from the beginning."""
        data = self._bytes(step["serial"])
        with open(self._path(step), "wb", buffering=0) as file:
            file.truncate(len(data))
            file.write(data[:400])
            time.sleep(step["pause"])
            file.write(data[400:])
        self._good(step)

    def _garbage(self, step: Step) -> None:
        path = self._path(step, self.dice.choice((".nii", ".nrrd", ".mha", ".dcm", ".png", ".npy", ".nii.gz")))
        self._arrive(path, self.dice.randbytes(self.dice.randrange(1, 5000)))
        self._bad(step, path)

    def _copy(self, step: Step) -> None:
        for more in ("", "b"):
            self._arrive(self._path(step, more=more), self._bytes(step["serial"]))
        self.note(step["serial"], 2, 2, "copy")

    def _rename(self, step: Step) -> None:
        """Give a file another name, before or after it was read."""
        self._arrive(self._path(step), self._bytes(step["serial"]))
        time.sleep(step["pause"] / 4)
        os.rename(self._path(step), self._path(step, more="b"))
        self._good(step, 2)

    def _delete(self, step: Step) -> None:
        self._arrive(self._path(step), self._bytes(step["serial"]))
        time.sleep(self.dice.choice((0, 0, 0.005, 0.02)))
        os.unlink(self._path(step))
        self.note(step["serial"], 0, 1, "delete")

    def _replace(self, step: Step) -> None:
        """Replace a file by another image, while it is read."""
        self._arrive(self._path(step), self._bytes(step["serial"]))
        time.sleep(self.dice.choice((0, 0.005, 0.02)))
        self._arrive(self._path(step), self._bytes(step["serial"] + 1))
        self.note(step["serial"], 0, 1, "replace")
        self.note(step["serial"] + 1, 1, 1, "replace")

    def _lock(self, step: Step) -> None:
        with open(self._path(step), "wb", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(self._bytes(step["serial"]))
            time.sleep(step["pause"])
        self._good(step)

    def _link(self, step: Step) -> None:
        path = os.path.join(self._beside, f"linked{step['serial']}.nii")
        with open(path, "wb") as file:
            file.write(self._bytes(step["serial"]))
        os.symlink(path, self._path(step))
        self._good(step)

    def _odd(self, step: Step) -> None:
        """Make what has the name of an image and is no file, or a file without end."""
        path = self._path(step)
        kind = self.dice.choice(("pipe", "folder", "socket", "dangling", "circle", "zero", "memory"))
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            os.mkdir(path)
        elif kind == "socket":
            # The path of such a socket has at most 107 bytes.
            folder = os.open(self._folder, os.O_RDONLY)
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
            os.close(folder)
        else:
            targets = {"dangling": "/no/such.nii", "circle": path, "zero": "/dev/zero", "memory": "/proc/self/mem"}
            os.symlink(targets[kind], path)
        self.write(odd=kind, path=path)

    def _backdate(self, step: Step) -> None:
        path = os.path.join(self._beside, f"old{step['serial']}.nii")
        with open(path, "wb") as file:
            file.write(self._bytes(step["serial"]))
        os.utime(path, (1e9, 1e9))
        os.rename(path, self._path(step))
        self._good(step)

    def _compress(self, step: Step) -> None:
        self._arrive(self._path(step, ".nii.gz"), gzip.compress(self._bytes(step["serial"]), 1))
        self._good(step)

    def _away(self, step: Step) -> None:
        """Remove the folder, and restore it with one more image in it."""
        away = os.path.join(self._beside, "away")
        os.rename(self._folder, away)
        time.sleep(step["pause"])
        with open(os.path.join(away, f"away{step['serial']:06d}.nii"), "wb") as file:
            file.write(self._bytes(step["serial"]))
        os.rename(away, self._folder)
        self._good(step)

    def _unreadable(self, step: Step) -> None:
        """Let nobody read a file for a while; root may all the same."""
        path = os.path.join(self._beside, f"secret{step['serial']}.nii")
        with open(path, "wb") as file:
            file.write(self._bytes(step["serial"]))
        os.chmod(path, 0)
        os.rename(path, self._path(step))
        time.sleep(step["pause"] / 2)
        os.chmod(self._path(step), 0o600)
        self._good(step)

    def finish(self) -> None:
        """Send three images after all faults: the source must still work."""
        for serial in range(self.order["last"], self.order["last"] + 3):
            self._image({"do": "image", "serial": serial})


class PlayedFile(Sender):
    """Lets a file come that the module plays, whole or in pieces.

    :param order: ``made``: the file; ``path``: where it comes.
    """

    def finish(self) -> None:
        """Bring the file."""
        if self.order.get("late"):
            time.sleep(1.0)
            with open(self.order["made"], "rb") as file, open(self.order["path"], "wb", buffering=0) as copy:
                data = file.read()
                copy.write(data[: len(data) // 2])
                time.sleep(0.5)
                copy.write(data[len(data) // 2 :])
        else:
            os.rename(self.order["made"], self.order["path"])
        for serial in range(self.order["count"]):
            self.note(serial, 1, 1, "played")


class SteadyFiles(Sender):
    """Writes files at a rate, and removes old ones.

    :param order: ``folder``, ``count``, ``rate`` in files/s.
    """

    def finish(self) -> None:
        """Write all files."""
        data = niftiBytes(volume(self.number, 0))
        files = (Shot(f"{one:06d}.nii", {f"{one:06d}.nii": data}, ()) for one in range(self.order["count"]))
        FolderScanner(self.order["folder"], self.order["rate"], "rename", keep=KEPT).send(files, lambda: False)


SENDERS = {"folder": FolderSender, "camera": PlayedFile, "replay": PlayedFile, "steadyFiles": SteadyFiles}
"""Senders by the kind of source."""
