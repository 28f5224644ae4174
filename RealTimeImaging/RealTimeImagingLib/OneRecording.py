"""One recording of this session: what its processes told, and the words for it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .Event import Event
from .Handle import Handle


class OneRecording:
    """From its start until its end was told.

    :param id: by which the processes know it; 0 when it was found and finished by a repair.
    :param name: of the recording.
    :param plan: ``folder``, ``name`` and ``attributes``, as the command to record has them; empty when it was found.
    """

    def __init__(self, id: int, name: str, plan: Mapping[str, Any]) -> None:
        self.id, self.name = id, name
        self.plan: dict[str, Any] = {**plan, "id": id} if plan else {}
        self.stopped = self.settled = self.interrupted = self.repairing = self.posed = self.sceneless = False
        self.browser: Any = None
        self.untold: list[Handle] = []
        """Sources that record, or have not told yet that their files are closed."""
        self.headers: list[str] = []
        self.messages: list[str] = []
        """Files that are not told yet."""
        self._begin = time.monotonic()
        self._end: float | None = None
        self._stored: dict[Handle, dict[str, Any]] = {}
        self._before: dict[Handle, tuple[int, int]] = {}
        self._unfinished = ""
        self._told = False

    # ---- what happens

    def expect(self, handles: list[Handle]) -> None:
        """These sources record, and tell when their files are closed."""
        self.untold += [handle for handle in handles if handle not in self.untold]

    def count(self, handle: Handle, stored: Mapping[str, Any]) -> None:
        """Take what a source's process tells of what it stored; its counts were taken before."""
        self._stored[handle] = dict(stored)
        self._before[handle] = (handle.recorded - stored["recorded"], handle.failed - stored["failed"])

    def told(self, handle: Handle, line: Mapping[str, Any]) -> None:
        """A source's process has closed its files: what it stored is known, and changes no more."""
        self._before.pop(handle, None)
        self._unfinished = self._unfinished or line.get("unfinished", "")
        if handle in self.untold:
            self.untold.remove(handle)

    def stop(self) -> None:
        """Nothing that comes from now on belongs to it."""
        self.stopped, self._end = True, time.monotonic()

    def leaveScene(self) -> None:
        """The scene is closed; only the end is to be told."""
        if not self.stopped:
            self.stop()
        self.browser, self.sceneless = None, True

    # ---- what is told

    @property
    def seconds(self) -> float:
        """Since its start, until its stop."""
        return (self._end or time.monotonic()) - self._begin

    @property
    def counts(self) -> dict[str, Any]:
        """``recorded``, ``failed`` and ``bytes`` of images, ``messages`` (recorded, failed)."""
        recorded = failed = 0
        for handle, stored in self._stored.items():
            before = self._before.get(handle)
            # The source's counts come with each image, those of the recording twice a second.
            recorded += handle.recorded - before[0] if before else stored["recorded"]
            failed += handle.failed - before[1] if before else stored["failed"]
        messages = [stored["messages"] for stored in self._stored.values()]
        return {
            "recorded": recorded,
            "failed": failed,
            "bytes": sum(stored["bytes"] for stored in self._stored.values()),
            "messages": {name: sum(one[name] for one in messages) for name in ("recorded", "failed")},
        }

    def lastWords(self) -> list[Event]:
        """How it ended; nothing when that was told before, or by a repair."""
        if self._told or not self.plan:
            return []
        self._told = True
        counts, files = self.counts, self.headers or self.messages
        recorded, failed, said = counts["recorded"], counts["failed"], counts["messages"]
        begins = f" It begins with {files[0]}." if files else ""
        subject = files[0] if files else self.plan["folder"]
        lost = [f"{failed} of {recorded + failed} images lost: {self._reason}"] if failed else []
        if said["failed"]:
            lost.append(f"{said['failed']} of {said['recorded'] + said['failed']} messages of devices lost")
        if self._unfinished:
            text = f"Recording {self.name} is not finished: files in {self.plan['folder']} could not be closed: "
            text += f"{self._unfinished}. {_named(recorded)} stored and kept; the next start of a source finishes them."
            return [Event("recording-unfinished", " ".join([text, *(f"{one}." for one in lost)]), "error", subject)]
        if self.interrupted and not files and recorded:
            text = (
                f"Recording {self.name} was interrupted: {_named(recorded)} stored in {self.plan['folder']}, and could "
            )
            text += "not be finished yet. The next start of a source tries again."
            return [Event("recording-unfinished", " ".join([text, *(f"{one}." for one in lost)]), "error", subject)]
        if lost:
            nothing = not recorded and not files
            code, level = ("nothing-recorded", "error") if nothing else ("recorded", "warning")
            return [Event(code, f"Recording {self.name} finished: {'; '.join(lost)}.{begins}", level, subject)]
        if not recorded and not self.headers:
            text = "No image and no pose came while it was recorded."
            text += f" What the devices said is in {files[0]}." if files else ""
            events = [Event("nothing-recorded", text, "warning")]
            return events + (
                [Event("recorded", f"Recording {self.name} finished.{begins}", subject=subject)] if files else []
            )
        size = f"{_named(recorded, ' ')}, {counts['bytes'] / 1e6:.1f} MB"
        return [Event("recorded", f"Recording {self.name} finished: {size}.{begins}", subject=subject)]

    @property
    def _reason(self) -> str:
        losses: dict[str, int] = {}
        for stored in self._stored.values():
            for reason, count in stored["losses"].items():
                losses[reason] = losses.get(reason, 0) + count
        if not losses:
            return "the reason is not known"
        most = max(losses, key=lambda reason: losses[reason])
        return most if len(losses) == 1 else f"{most} ({losses[most]}), and {len(losses) - 1} other reasons"


def _named(count: int, verb: str = "") -> str:
    if verb:
        return "1 image" if count == 1 else f"{count} images"
    return "1 image is" if count == 1 else f"{count} images are"
