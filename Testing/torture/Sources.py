"""Sources of a round: their settings, the files that they play, and what the ledger needs of them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from RealTimeImagingLib import (
    CameraSettings,
    DICOMSettings,
    FolderSettings,
    HTTPSettings,
    MRDSettings,
    OpenIGTLinkSettings,
    ReplaySettings,
)
from RealTimeImagingLib.Model.Frame import Frame
from RealTimeImagingLib.Recording import Recorder
from RealTimeImagingLib.Simulator.Film import Film
from unit.openIGTLinkSource import freePort

from .Images import MATRIX, picture, volume
from .Ledger import Account
from .Plan import PLAYED, Plan

TOKEN = "a-token-of-the-torture"
LAST = 9000
"""Serial number of the first of the three images that each sender sends at the end."""


@dataclass
class Source:
    """A source of a round.

    :param started: its running source, after those that a restart ended.
    """

    plan: Plan
    name: str
    log: str
    settings: Any = None
    started: list[Any] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)
    processor: Any = None
    kills: int = 0
    killed: int = 0
    """ID of the process that was killed last."""
    dead: dict[str, int] = field(default_factory=dict)
    """Frames of each stream that killed processes had received. The last one may have died with the memory of its
    process, before it was shown."""
    lastSeen: bool = False
    """Whether one of the images that its sender sends at the end was shown."""
    stopped: bool = False
    """Whether it was stopped while its sender sent."""

    @property
    def kind(self) -> str:
        """Kind of the source."""
        return str(self.plan["kind"])

    @property
    def title(self) -> str:
        """Name in problems."""
        return f"{self.kind} {self.name}"

    @property
    def running(self) -> Any:
        """The latest running source; None before the first push."""
        return self.started[-1] if self.started else None

    def account(self) -> Account:
        """Read the log of its sender."""
        # A file, or a slice of a volume, confirms nothing.
        confirmed = not (self.stopped and self.kind in ("folder", "dicom", *PLAYED))
        return Account.read(self.log, self.restarts, confirmed, lossy=self.kind == "dicom")

    def total(self, name: str) -> int:
        """Return the sum of a count over its started sources."""
        values = [sum(one.received.values()) if name == "received" else getattr(one, name) for one in self.started]
        return sum(values)

    @property
    def owned(self) -> set[str]:
        """Names of its streams, at the source and in the session."""
        return {name for one in self.started for pair in one.streams.items() for name in pair}


def prepare(plan: Plan, folder: str) -> tuple[Source, dict[str, Any]]:
    """Return a source that is not started yet, and the order for its sender.

    :param folder: for its files; it is made.
    """
    os.makedirs(os.path.join(folder, "beside"))
    name, sender = f"S{plan['sender']}", int(plan["sender"])
    source = Source(plan, name, os.path.join(folder, "log.jsonl"))
    incoming, port = os.path.join(folder, "incoming"), freePort()
    order: dict[str, Any] = {"sender": sender, "kind": source.kind, "steps": plan["steps"], "log": source.log}
    order |= {"last": LAST, **{name: plan[name] for name in ("answerTime",) if name in plan}}
    if source.kind == "folder":
        os.mkdir(incoming)
        source.settings = FolderSettings(incoming, existing="all", stream=name, incompleteAfter=1.0)
        order |= {"folder": incoming, "beside": os.path.join(folder, "beside")}
    elif source.kind == "openigtlink":
        source.settings = OpenIGTLinkSettings(role="server", port=port, stream=name)
        order |= {"port": port, "device": name}
    elif source.kind == "http":
        source.settings = HTTPSettings(port=port, stream=name, token=TOKEN)
        order |= {"port": port, "token": TOKEN, "stream": name}
    elif source.kind == "dicom":
        source.settings = DICOMSettings(folder=os.path.join(folder, "stored"), port=port, stream=name)
        order |= {"port": port, "title": source.settings.aeTitle}
    elif source.kind == "mrd":
        # A stalled sender pauses in the middle of a volume, on a busy computer for longer than it wants to.
        source.settings = MRDSettings(port=port, stream=name, sendBack=plan["sendBack"], completeAfter=5.0)
        order |= {"port": port}
    elif source.kind in PLAYED:
        order |= _played(source, folder)
    return source, order


def _played(source: Source, folder: str) -> dict[str, Any]:
    plan = source.plan
    made, count, rate = os.path.join(folder, "made"), int(plan["count"]), float(plan["rate"])
    sender, path = int(plan["sender"]), os.path.join(folder, "playing.mkv")
    os.mkdir(made)
    if source.kind == "camera":
        made = _film(os.path.join(made, "playing.mkv"), [picture(sender, one) for one in range(count)], rate)
        source.settings = CameraSettings(device=path, stream=source.name, realTime=not plan["late"])
        return {"made": made, "path": path, "count": count}
    recorder = Recorder(made, "played", "Played", {})
    for one in range(count):
        recorder.append(Frame(volume(sender, one, False).pixels, MATRIX, "Played", one, 1e9 + one / rate))
    # A replay reads the header first, and the pixels beside it.
    path = os.path.join(folder, "playing")
    file = os.path.join(path, os.path.basename(recorder.finish()[0]))
    source.settings = ReplaySettings(file=file, pace="rate", rate=rate, stream=source.name)
    return {"made": made, "path": path, "count": count}


def _film(path: str, pictures: list[Any], rate: float) -> str:
    film = Film(path, rate)
    for one in pictures:
        film.write(one)
    film.close()
    return path
