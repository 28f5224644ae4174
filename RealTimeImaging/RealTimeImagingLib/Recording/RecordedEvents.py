"""Events of a recording: a file that grows beside the images of its first stream, and at the end its manifest.

A line of the file, as an entry of the manifest, has ``time`` (seconds since the epoch, UTC), ``level``, ``code`` and
``text`` (English). Equal events share an entry of the manifest: ``count``, and ``lastTime`` of the last one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from ..Model.Event import Event
from ..Model.Files import openPrivate, openRegular, parsedJSON, removeFile

MOST_EVENTS = 500
"""Most different events of a recording; later ones are counted."""
_FLAGS = os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)

Entry = dict[str, Any]


class RecordedEvents:
    """Events of one process in one recording. File system errors never raise: images matter more."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str, str], Entry] = {}
        self._leftOut = 0
        self._path = ""

    def add(self, event: Event) -> None:
        """Take an event."""
        self._take({"time": event.time, "level": event.level, "code": event.code, "text": str(event.text)})

    def open(self, path: str) -> None:
        """Write to a new file from now on, all events so far included; the file before stays as it is."""
        if self._path == path:
            return
        self._path = path
        self._append(self._entries.values(), os.O_CREAT | os.O_EXCL)

    def remove(self) -> None:
        """Remove the file."""
        if self._path:
            removeFile(self._path)

    def toManifest(self) -> dict[str, Any]:
        """Return the fields of the manifest: ``events`` in order of time, ``eventsLeftOut`` beyond the limit."""
        # An event of Slicer's side may arrive after later ones.
        events = sorted(self._entries.values(), key=lambda entry: entry["time"])
        found: dict[str, Any] = {"events": events} if events else {}
        return found | ({"eventsLeftOut": self._leftOut} if self._leftOut else {})

    @classmethod
    def fromFile(cls, path: str) -> RecordedEvents:
        """Read a file up to its first damaged line; without a file there are no events."""
        found = cls()
        try:
            with openRegular(path) as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    values = parsedJSON(line)
                    texts = {name: values[name] for name in ("level", "code", "text")}
                    found._take({"time": float(values["time"]), **texts})
        except (OSError, ValueError, KeyError, TypeError):
            pass  # as far as they were written
        return found

    def _take(self, entry: Entry) -> None:
        key = entry["level"], entry["code"], entry["text"]
        known = self._entries.get(key)
        if known:
            known["count"], known["lastTime"] = known["count"] + 1, entry["time"]
        elif len(self._entries) >= MOST_EVENTS:
            self._leftOut += 1
        else:
            self._entries[key] = {**entry, "count": 1, "lastTime": entry["time"]}
            if self._path:
                self._append([self._entries[key]])

    def _append(self, entries: Iterable[Entry], flags: int = 0) -> None:
        try:
            handle = openPrivate(self._path, _FLAGS | flags)
            try:
                os.write(handle, b"".join(json.dumps(one).encode("ascii") + b"\n" for one in entries))
            finally:
                os.close(handle)
        except OSError:
            pass


def eventsOf(manifest: Mapping[str, Any]) -> list[Event]:
    """Return the events in a manifest, each once; older versions wrote none."""
    found = []
    for entry in manifest.get("events", []):
        try:
            code, text, level = (str(entry[name]) for name in ("code", "text", "level"))
            found.append(Event(code, text, level, time=float(entry["time"])))
        except (KeyError, TypeError, ValueError):
            continue  # another version wrote it
    return found
