"""Rounds of a torture: the real logic in the test host, real processes and sockets, disturbed by a plan."""

from __future__ import annotations

import gc
import json
import logging
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import slicerhost
from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.Model.Frame import Frame
from RealTimeImagingLib.Sources.Checkpoint import Checkpoint
from RealTimeImagingLib.Sources.Folder.Source import REPORTED_RECHECK
from slicerhost.EventLoop import sleepWithLock

from .Images import identify, volume
from .Ledger import Account, Books, Stored, photograph, readRecordings, repairAll, unfinished
from .Plan import PLAYED, Plan, Step
from .Sources import LAST, Source, prepare
from .System import FAULT, HOOK, Disk, WrongClock, descriptors, environment, hasEnded, limitFiles

MODULE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "RealTimeImaging", "RealTimeImaging.py")
UNRULY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Unruly.py")
TICK = 20
"""Milliseconds between two looks at the plan."""
STARTING = 120.0
"""Most seconds for the processes to start."""
SENDING = 180.0
"""Most seconds for the senders: each has a patience of its own."""
STOPPING = 150.0
"""Most seconds for all sources to stop: a function whose images wait has a minute to load."""
DRAIN = 60.0
"""Seconds without progress after which a round gives up to wait for images."""
RESUMING = 20.0
"""Most seconds until a replay reports that it is paused."""
COUNTS = ("sent", "received", "recorded", "failed", "rejected")
"""Figures of a round."""
QUIET = REPORTED_RECHECK + 0.5
"""Seconds without a change after which a round counts as drained: a folder checks reported files again in this time."""
FORGETTING = 0.6
"""Seconds in which Slicer's side forgets sources that have ended."""
QUOTA = 4096
"""Bytes of the largest file of a process while its disk is "full", where no disk can be mounted."""


class Torture:
    """A session of rounds.

    :param folder: for everything that a round makes; removed at the end.
    :param mounts: whether this process may mount.
    :param say: takes lines of progress.
    :param patience: seconds without progress after which a round waits no longer for images.
    """

    def __init__(
        self, folder: str, mounts: bool = False, say: Callable[[str], object] = print, patience: float = DRAIN
    ) -> None:
        self._folder, self._say, self.patience = folder, say, patience
        self._opened: set[tuple[str, str]] | None = None
        """Descriptors after the first round; Python and Qt open some for themselves in it."""
        os.makedirs(folder, exist_ok=True)
        self._disk = Disk(os.path.join(folder, "disk"), mounts)
        self._temporary = Disk(os.path.join(folder, "temporary"), mounts)
        clock = os.path.join(folder, "clock")
        self._clock = WrongClock(clock)
        self._before = {name: os.environ.get(name) for name in ("PYTHONPATH", "TORTURE_CLOCK", FAULT, "TMPDIR")}
        os.environ.update({**environment(clock), "TMPDIR": self._temporary.folder})
        self._times, self._tempdir, tempfile.tempdir = (time.time, time.time_ns), tempfile.tempdir, None
        # The clock of this process is that of its children.
        runpy.run_path(os.path.join(HOOK, "sitecustomize.py"))
        self._senders = self._startSenders()
        self._errors = _Errors()
        logging.getLogger().addHandler(self._errors)

    def _startSenders(self) -> subprocess.Popen[str]:
        # Of the torture, not of the module: no mark of the host's, by which it finds what a module left behind.
        variables = {name: value for name, value in os.environ.items() if not name.startswith("SLICERHOST")}
        testing = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        paths = [os.path.join(testing, "..", "RealTimeImaging"), testing, *sys.path]
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        command = [sys.executable, "-m", "torture.Senders"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=variables)

    def close(self) -> None:
        """End the senders, and undo everything."""
        logging.getLogger().removeHandler(self._errors)
        self._senders.terminate()
        self._senders.wait()
        if self._senders.stdin:
            self._senders.stdin.close()
        for name, value in self._before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        time.time, time.time_ns = self._times
        tempfile.tempdir = self._tempdir
        self._disk.close()
        self._temporary.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def order(self, **values: Any) -> None:
        """Give an order to the process of the senders."""
        if self._senders.stdin:
            self._senders.stdin.write(json.dumps(values) + "\n")
            self._senders.stdin.flush()

    def run(self, plan: Plan) -> tuple[list[str], dict[str, Any]]:
        """Run one round; return what does not balance, and figures for the report."""
        import slicer

        self._errors.texts.clear()
        one = _Round(self, plan, os.path.join(self._folder, f"round{plan['number']}"), self._disk, self._temporary)
        try:
            one.run(slicer)
        except Exception:  # noqa: BLE001 - the boundary of a round: the others follow
            one.problems.append(f"The round ended with an error: {traceback.format_exc()}")
            one.abandon()
        finally:
            self._clock.set(0.0)
            self._disk.setWritable()
            self._disk.empty()
            self._temporary.empty()
        problems = [*one.problems, *(f"The log has an error: {text}" for text in self._errors.texts)]
        figures = one.figures
        for path in (one.folder, one.recordings):
            shutil.rmtree(path, ignore_errors=True)
        # A source that has ended keeps the pipes of its process as long as anybody knows it.
        del one
        slicer.util.getModuleLogic("RealTimeImaging").sources().clear()
        return [*problems, *self._left()], figures

    def _left(self) -> list[str]:
        gc.collect()
        now = set(descriptors().items())
        more = sorted(target for _number, target in now - (self._opened or now))
        self._opened = now
        return [f"{len(more)} descriptors of the round are still open: {', '.join(more)}."] * bool(more)

    def setClock(self, seconds: float) -> None:
        """Let the clocks of the processes be wrong."""
        self._clock.set(seconds)

    def say(self, text: str) -> None:
        """Report progress."""
        self._say(text)


class _Errors(logging.Handler):
    """Records of the log that a healthy program never writes."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record)[-1500:])


class _Round:
    def __init__(self, torture: Torture, plan: Plan, folder: str, disk: Disk, temporary: Disk) -> None:
        self._torture, self._plan, self.folder, self._disk, self._temporary = torture, plan, folder, disk, temporary
        self.recordings = os.path.join(disk.folder, f"round{plan['number']}")
        self.problems: list[str] = []
        self.figures: dict[str, Any] = {}
        self._sources: list[Source] = []
        self._events: list[Event] = []
        self._undo: list[tuple[float, Callable[[], object]]] = []
        """Disturbances that end, with their time (monotonic)."""
        self._seen: dict[str, int] = {}
        """Number of the last frame that a callback got, by stream."""
        self._diskFailed = self._toggled = False
        self._pushes: list[tuple[float, Source, Step]] = []
        self._photographs: set[str] = set()
        self._logic: Any = None

    def run(self, slicer: Any) -> None:
        """Run the round, and fill :attr:`problems` and :attr:`figures`."""
        os.makedirs(self.folder)
        self._logic = logic = slicer.util.getModuleLogic("RealTimeImaging")
        logic.addEventCallback(self._events.append)
        logic.addFrameCallback(self._see, every=True)
        logic.startRecording(self.recordings, name="torture")
        orders = [self._start(source, place) for place, source in enumerate(self._plan["sources"])]
        started = [source for source in self._sources if source.running]
        if not slicerhost.runUntil(lambda: all(one.running.state == "running" for one in started), STARTING, TICK):
            self.problems.append("Not all sources have started in time.")
        began = time.monotonic()
        for source, order in zip(self._sources, orders, strict=True):
            if source.running:
                self._torture.order(**order)
                self._process(source)
            else:
                self._planPushes(source)
        self._disturb(began)
        if self._plan.get("abrupt"):
            for one in self._sources:
                one.stopped = True
        else:
            self._drain()
            self._checkLive()
        self._end()
        self._check()
        self.figures["seconds"] = round(time.monotonic() - began, 1)

    def abandon(self) -> None:
        """Stop everything after an error."""
        self._disk.setWritable()
        self._disk.empty()
        slicerhost.closeScene()
        self._logic.stop()
        slicerhost.runUntil(lambda: not self._logic.isRunning(), 60)
        self.figures = dict.fromkeys((*COUNTS, "kills", "events", "seconds"), 0)

    # ---- sources

    def _start(self, plan: Plan, place: int) -> dict[str, Any]:
        """Start a source; return the order for its sender."""
        source, order = prepare(plan, os.path.join(self.folder, f"source{place}"))
        self._sources.append(source)
        if source.settings:
            # A deliberate fault of its process, see Faults.py.
            os.environ[FAULT] = plan.get("fault", "")
            source.started.append(self._logic.start(source.settings))
            os.environ[FAULT] = ""
        return order

    def _process(self, source: Source) -> None:
        """Run the unruly function beside a source."""
        if "process" in source.plan and source.running and not source.processor:
            every = source.plan["process"]
            source.processor = self._logic.processing.start(UNRULY, stream=source.name, every=every, limit=1.0)

    def _planPushes(self, source: Source) -> None:
        due = time.monotonic()
        for step in source.plan["steps"]:
            due += step["after"]
            self._pushes.append((due, source, step))
        self._pushes += [(due, source, {"do": "last", "serial": LAST + one}) for one in range(3)]

    def _push(self, source: Source, step: Step) -> None:
        for serial in range(step["serial"], step["serial"] + (8 if step["do"] == "burst" else 1)):
            try:
                image = volume(int(source.plan["sender"]), serial)
                self._logic.push(image.pixels, image.ijkToRAS, name=source.name)
            except _errorOfTheLibrary():
                continue  # rejected with an error: it never was the module's
            line = {"time": time.monotonic(), "serial": serial, "least": 1, "most": 1, "why": step["do"], "report": ""}
            with open(source.log, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            running = self._logic._session.runningWith(source.name)
            if running is not None and running not in source.started:
                source.started.append(running)
                self._process(source)

    # ---- while it runs

    def _disturb(self, began: float) -> None:
        """Execute the plan until all senders are done and all disturbances have ended."""
        waiting, abrupt = list(self._plan["disturbances"]), self._plan.get("abrupt")

        def over() -> bool:
            now = time.monotonic()
            while self._pushes and self._pushes[0][0] <= now:
                _due, source, step = self._pushes.pop(0)
                self._push(source, step)
            while waiting and began + waiting[0]["at"] <= now:
                self._one(waiting.pop(0))
            for due, undo in [one for one in self._undo if one[0] <= now]:
                self._undo.remove((due, undo))
                undo()
            self._photographs.update(photograph(self.recordings))
            if abrupt and now > began + abrupt:
                return True
            done = all(source.kind == "push" or source.account().done for source in self._sources)
            return done and not (self._pushes or waiting or self._undo)

        if not slicerhost.runUntil(over, SENDING, TICK):
            self.problems.append("The senders did not end in time.")
        for _due, undo in self._undo:
            undo()

    def _one(self, step: Step) -> None:
        source = self._sources[step["source"] % len(self._sources)]
        self._torture.say(f"    {step['do']} ({source.kind})")
        getattr(self, f"_{step['do']}")(source, step)

    def _later(self, seconds: float, undo: Callable[[], object]) -> None:
        self._undo.append((time.monotonic() + seconds, undo))

    def _pidOf(self, source: Source) -> int:
        # Slicer may not have noticed yet that a process was killed.
        pid = int(source.running.pid) if source.running and source.running.state == "running" else 0
        return 0 if pid == source.killed else pid

    def _kill(self, source: Source, step: Step) -> None:
        if pid := self._pidOf(source):
            source.kills, source.killed = source.kills + 1, pid
            os.kill(pid, signal.SIGKILL)
            if hasEnded(pid):
                with Checkpoint(source.running.process.folders[-1]) as checkpoint:
                    source.dead |= checkpoint.numbers

    def _freeze(self, source: Source, step: Step) -> None:
        if pid := self._pidOf(source):
            self._torture.order(stop=pid, seconds=step["seconds"])
            self._later(step["seconds"] + 0.3, lambda: None)

    def _starve(self, source: Source, step: Step) -> None:
        if pid := self._pidOf(source):
            self._torture.order(starve=pid, seconds=step["seconds"])
            self._later(step["seconds"] + 0.5, lambda: None)

    def _block(self, source: Source, step: Step) -> None:
        sleepWithLock(step["seconds"])

    def _clock(self, source: Source, step: Step) -> None:
        self._torture.setClock(step["by"])
        self._later(step["seconds"], lambda: self._torture.setClock(0.0))

    def _diskFull(self, source: Source, step: Step) -> None:
        self._diskFailed = True
        if self._disk.fill(int(step["seconds"] * 8000)):
            self._later(step["seconds"], self._disk.empty)
        elif not self._disk.real and (pid := self._pidOf(source)):
            limitFiles(pid, QUOTA)
            self._later(step["seconds"], lambda: limitFiles(pid, None))

    def _readOnly(self, source: Source, step: Step) -> None:
        if self._disk.setReadOnly():
            self._diskFailed = True
            self._later(step["seconds"], self._disk.setWritable)

    def _temporaryFull(self, source: Source, step: Step) -> None:
        if self._temporary.fill(0):
            self._later(step["seconds"], self._temporary.empty)

    def _restart(self, source: Source, step: Step) -> None:
        if source.kind in ("push", *PLAYED) or not self._pidOf(source) or source.processor:
            return
        source.restarts.append(time.monotonic())
        source.started.append(self._logic.restart(source.running))

    def _record(self, source: Source, step: Step) -> None:
        self._toggled = True
        self._logic.stopRecording()
        self._beginRecording()

    def _beginRecording(self) -> None:
        try:
            self._logic.startRecording(self.recordings, name="again")
        except _errorOfTheLibrary():  # the disk is read-only or full now
            self._later(0.5, self._beginRecording)

    def _pause(self, source: Source, step: Step) -> None:
        if source.kind == "replay" and source.running:
            source.running.send("pause")
            self._later(step["seconds"], lambda: self._resume(source, RESUMING))

    def _resume(self, source: Source, seconds: float) -> None:
        """Resume a replay as soon as it reports the pause, which a process that dies may not have obeyed."""
        details = source.running.details
        if details.get("ended"):
            return  # it would play once more
        if details.get("paused"):
            source.running.send("resume")
        elif seconds > 0:
            self._later(0.5, lambda: self._resume(source, seconds - 0.5))

    def _see(self, frame: Frame) -> None:
        last = self._seen.get(frame.stream, -1)
        if frame.number <= last and not any(source.restarts or source.kind == "push" for source in self._sources):
            self.problems.append(f"Frame {frame.number} of {frame.stream} came after frame {last}.")
        self._seen[frame.stream] = frame.number
        source = next((one for one in self._sources if frame.stream in one.owned), None)
        known = identify(np.asarray(frame.pixels)) if source else None
        if source and known:
            source.lastSeen = source.lastSeen or known.serial >= LAST
        elif source and not source.account().wild:
            self.problems.append(f"Frame {frame.number} of {frame.stream} in Slicer is no image that was sent.")

    # ---- the end

    def _drain(self) -> None:
        """Wait until everything that must arrive has arrived and is shown, or nothing moves any more."""
        last: Any = None
        since = time.monotonic()

        def over() -> bool:
            nonlocal last, since
            now = self._state()
            if now != last:
                last, since = now, time.monotonic()
            quiet = time.monotonic() - since
            # A restarted source reads its folder again, which nobody waits for.
            drained = quiet > QUIET and all(self._isDrained(one) for one in self._sources)
            begun = all(one.total("received") for one in self._sources)
            return drained or quiet > (self._torture.patience if begun else DRAIN)

        slicerhost.runUntil(over, 5 * DRAIN, 50)

    def _state(self) -> Any:
        return [(one.total("received"), one.total("rejected")) for one in self._sources], dict(self._seen)

    def _isDrained(self, source: Source) -> bool:
        account = source.account()
        if source.running is None or source.running.ended:
            return True
        waiting = [text for text in Books(**self._booksOf(source, account, Stored())).problems() if "no event" in text]
        arrived = source.total("received") + source.running.details.get("passedOver", 0) >= account.expected
        # Images that need not arrive count, too: those at the end show that the others came.
        arrived = arrived and (source.lastSeen or source.kind in PLAYED)
        if source.restarts and source.kind in ("folder", "dicom"):
            # The images before a restart do not stand for those after it.
            arrived = arrived and sum(source.running.received.values()) >= account.sinceRestart
        return arrived and not waiting and not self._unseen(source) and not source.running.held

    def _unseen(self, source: Source) -> list[str]:
        """Return the streams whose last frame was not shown."""
        running = source.running
        names = [(inner, running.streams.get(inner, inner)) for inner in running.received]
        return [
            outer
            for inner, outer in names
            if (
                self._seen.get(outer, -1) < running.received[inner] - 1
                and running.received[inner] != source.dead.get(inner)
            )
            or outer not in running.counts
            or running.counts[outer].received < running.received[inner]
        ]

    def _checkLive(self) -> None:
        for source in self._sources:
            running = source.running
            if running is None:
                continue
            if running.ended:
                why = running.failure.text if running.failure else running.status
                self.problems.append(f"{source.title}: the source has ended by itself: {why}")
                continue
            for stream in self._unseen(source):
                last = max(running.received.values())
                self.problems.append(f"{source.title}: frame {last - 1} of {stream}, the last one, was not shown.")
            if running.held:
                self.problems.append(f"{source.title}: Slicer holds {running.held} slots of memory.")
        for name, counts in self._logic.statistics()["streams"].items():
            if counts["received"] != counts["shown"] + counts["skipped"]:
                self.problems.append(f"{name}: received is not shown + skipped: {counts}.")
        restarts = sum(event.code == "restarted" for event in self._events)
        kills = sum(source.kills for source in self._sources)
        if restarts != kills:
            self.problems.append(f"{restarts} processes were restarted; the torture killed {kills}.")
        for text in sorted(self._photographs):
            self.problems.append(text)

    def _end(self) -> None:
        logic, ending = self._logic, self._plan["ending"]
        if ending == "stopEach":
            # A source may end with images that it had begun: they are received, and nothing records them.
            self._toggled = True
            logic.stopRecording()
            slicerhost.runUntil(lambda: not logic.recording.building, 30)
            for source in self._sources:
                if source.running and not source.running.ended:
                    logic.stop(source.running)
        elif ending == "scene":
            slicerhost.closeScene()
        elif ending == "reload":
            slicerhost.reloadModule("RealTimeImaging")
        if ending != "reload":  # it has closed this logic
            logic.stop()
        if not slicerhost.runUntil(lambda: not logic.isRunning(), STOPPING):
            running = ", ".join(f"{one.settings.stream}: {one.status}" for one in logic._session.running())
            self.problems.append(f"Not all sources have stopped within {STOPPING:g} s: {running}")
        self._torture.order(quit=True)
        sending = [source for source in self._sources if source.kind != "push"]
        if not slicerhost.runUntil(lambda: all(one.account().done for one in sending), 60):
            self.problems.append("Not all senders have ended.")
        logic.stopRecording()
        # Checksums and repairs follow in a process of their own.
        if not slicerhost.runUntil(lambda: not (logic.recording.building or logic.exports._running), 60):
            self.problems.append("The recordings are not finished within 60 s.")
        self._checkProcessors()
        logic.removeFrameCallback(self._see)
        logic.removeEventCallback(self._events.append)
        slicerhost.closeScene()
        slicerhost.runUntil(lambda: False, FORGETTING)

    def _checkProcessors(self) -> None:
        if self._plan["ending"] == "reload":
            return  # the functions ended before their last images
        for source in self._sources:
            figures = source.processor.statistics() if source.processor else {}
            if figures and figures["received"] != sum(
                figures[name] for name in ("processed", "skipped", "failed", "waiting")
            ):
                self.problems.append(f"The function beside {source.kind} does not balance: {figures}.")

    def _booksOf(self, source: Source, account: Account, stored: Stored) -> dict[str, Any]:
        details = source.running.details if source.running else {}
        lost = [event.text.split()[0] for event in self._events if event.code == "push-lost" and source.kind == "push"]
        return {
            "name": source.title,
            "account": account,
            "stored": stored,
            **{name: source.total(name) for name in COUNTS[1:]},
            "kills": source.kills,
            "sessions": 1 + len(source.restarts),
            "diskFailed": self._diskFailed,
            "alwaysRecorded": not self._toggled,
            "abrupt": source.stopped,
            "dropped": details.get("passedOver", 0)
            + details.get("lost", 0)
            + sum(int(word) if word.isdigit() else 1 for word in lost),
            "events": self._events,
        }

    def _check(self) -> None:
        kills = sum(source.kills for source in self._sources)
        left = unfinished(self.recordings)
        if left and not (kills or self._diskFailed or self._plan.get("abrupt")):
            self.problems.append(f"Recordings that are finished left {', '.join(left)}.")
        self.problems += repairAll(self.recordings)
        if left := unfinished(self.recordings):
            self.problems.append(f"Repaired recordings left {', '.join(left)}.")
        streams, problems = readRecordings(self.recordings)
        self.problems += problems
        found = dict.fromkeys(COUNTS, 0)
        for source in self._sources:
            account, owned = source.account(), source.owned
            stored = Stored()
            for name in [name for name in streams if name in owned]:
                one = streams.pop(name)
                stored.copies += one.copies
                stored.unknown += one.unknown
                stored.partial += one.partial
                stored.frames += one.frames
            self.problems += Books(**self._booksOf(source, account, stored)).problems()
            found["sent"] += account.expected
            for name in COUNTS[1:]:
                found[name] += source.total(name)
        self._checkResults(streams)
        self.figures |= found | {
            "sources": [[source.kind, *map(_countsOf, source.started)] for source in self._sources],
            "kills": kills,
            "events": len(self._events),
        }

    def _checkResults(self, streams: dict[str, Stored]) -> None:
        results = {source.processor.stream: source for source in self._sources if source.processor}
        for name, stored in streams.items():
            if name not in results:
                self.problems.append(f"The stream {name} is recorded, and no source has it.")
            elif stored.unknown > results[name].account().wild:
                self.problems.append(f"{stored.unknown} results in {name} are no image that was sent.")


def _errorOfTheLibrary() -> type[Exception]:
    # After a reload the library has other classes.
    base: type[Exception] = sys.modules["RealTimeImagingLib.Model.Errors"].RealTimeImagingError
    return base


def _countsOf(running: Any) -> dict[str, Any]:
    counts = {name: getattr(running, name) for name in ("recorded", "failed", "rejected", "received", "state")}
    return {**counts, "losses": running.storage.get("stored", {}).get("losses")}
