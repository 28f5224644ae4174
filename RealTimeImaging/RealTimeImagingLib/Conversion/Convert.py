"""A conversion from its folder to its report, in the calling process and its workers."""

from __future__ import annotations

import math
import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

from ..Model.Files import moveFile, reasonOf, removeFile
from ..Model.NamePattern import fieldsOf
from ..Model.Text import textsOf
from ..Recording.Layout import candidates
from . import ConversionSettings
from .Headers import Refused, Slice
from .Plan import Planned, batches, divided, plan
from .Report import CANCELLED, DONE, FAILED, SKIPPED, UNFINISHED, Report, State
from .Scan import listFiles, scanChunk
from .Tags import tagsOf
from .Tasks import Outcome, Task, runPiece, runTasks
from .Volumes import volumesOf
from .WorkerPool import Job, WorkerPool

_ = textsOf(__file__)

SCANNED = 160
"""Most files whose headers are read in one job."""
LASTING = 2000
"""Number of files from which processes are started at once, as reading the headers takes long."""
_SCAN = 0.1
"""Part of the progress bar for reading headers."""
_SOON = 0.5
"""Seconds of work after which the remaining time is estimated."""


class Progress:
    """Progress and cancellation of a conversion. Other threads may read it, and set ``cancelled``.

    :param onChange: called with this object in the conversion's thread, several times a second.
    """

    def __init__(self, onChange: Callable[[Progress], object] = lambda _: None) -> None:
        self.part = 0.0
        """From 0 to 1."""
        self.words: str = _("Looking for files")
        self.left: float | None = None
        """Estimate of the remaining seconds; None while unknown."""
        self.cancelled = False
        """Set it to end the conversion."""
        self.unfinished: set[str] = set()
        """Paths of unfinished files."""
        self._onChange = onChange

    def update(self, part: float, words: str, left: float | None = None) -> None:
        """Set the progress and call onChange."""
        self.part, self.words, self.left = part, words, left
        self._onChange(self)


class _Cancelled(Exception):
    """The conversion was cancelled."""


def convert(settings: ConversionSettings, executor: Executor | None = None, progress: Progress | None = None) -> Report:
    """Convert all DICOM files below a folder.

    The report is also in the output folder, as ``conversion.json`` and ``conversion.csv``. After a cancellation,
    finished files stay, and the others have the status "cancelled".

    :param executor: does the work instead of own worker processes. The machines of a cluster need both folders under
        the same paths.
    :raises ConversionError: the output folder is not writable, or another conversion writes there.
    :raises OSError: the report cannot be written (disk full); finished files stay, and the next run skips them.
    """
    state = State(settings.output)
    try:
        return _Conversion(settings, state, executor, progress or Progress()).run()
    finally:
        state.close()


class _Conversion:
    def __init__(
        self, settings: ConversionSettings, state: State, executor: Executor | None, progress: Progress
    ) -> None:
        self._settings, self._state, self._progress = settings, state, progress
        self._workers = settings.workers or os.cpu_count() or 1
        self._divides = executor is None or isinstance(executor, ProcessPoolExecutor | ThreadPoolExecutor)
        self._pool = WorkerPool(self._workers, executor)
        self._report = Report(settings.input, settings.output)
        self._started = self._begun = time.monotonic()
        self._total = self._worked = self._ended = self._count = 0
        self._byNumber: dict[int, Planned] = {}
        self._former = {key: entry.bytes for key, entry in state.entries.items()}

    def run(self) -> Report:
        try:
            planned = self._plan(self._scan())
            self._work(planned)
        except _Cancelled:
            pass
        except KeyboardInterrupt:
            self._progress.cancelled = True
        finally:
            self._pool.close()
            for path in list(self._progress.unfinished):
                removeFile(path)
        self._report.seconds = time.monotonic() - self._started
        self._state.finish(self._report)
        return self._report

    def _check(self) -> None:
        if self._progress.cancelled:
            raise _Cancelled

    # ---- headers

    def _scan(self) -> list[Slice | Refused]:
        settings = self._settings
        refused: list[Slice | Refused] = []
        paths = []
        for path in listFiles(settings.input, settings.output, refused.append):
            paths.append(path)
            if len(paths) % 1000 == 0:
                self._check()
        if len(paths) >= LASTING:
            self._pool.hurry()
        tags = tagsOf(("SeriesNumber", "SeriesDescription", *fieldsOf(settings.name), *settings.keys))
        found: dict[int, list[Slice | Refused]] = {}
        # Each process gets the same number of jobs, all of one size.
        size = max(1, math.ceil(len(paths) / self._workers / max(1, math.ceil(len(paths) / self._workers / SCANNED))))

        def handle(job: Job, result: Any, error: BaseException | None) -> Iterable[Job]:
            begin, chunk, _tags = job.argument
            if error and len(chunk) > 1:
                # One of these files crashed the process: read each file on its own.
                return [Job(scanChunk, (begin + at, [path], tags)) for at, path in enumerate(chunk)]
            words = _("The header is damaged: the process that read it crashed.")
            found[begin] = [Refused(path, "damaged", words) for path in chunk] if error else result
            part = _SCAN * len(found) * size / max(1, len(paths))
            self._progress.update(min(part, _SCAN), _("Reading headers of {count:,} files").format(count=len(paths)))
            return ()

        chunks = range(0, len(paths), size)
        jobs = [Job(scanChunk, (begin, paths[begin : begin + size], tags)) for begin in chunks]
        self._pool.each(jobs, handle, self._check)
        return [*refused, *(one for begin in sorted(found) for one in found[begin])]

    # ---- plan

    def _plan(self, found: list[Slice | Refused]) -> list[Planned]:
        settings, report = self._settings, self._report
        volumes, refused = volumesOf(found)
        start = len(settings.input) + 1
        report.files = [
            {"path": one.path[start:] or ".", "code": one.code, "reason": one.reason, "series": one.series}
            for one in refused
        ]
        damaged: dict[str, list[Refused]] = defaultdict(list)
        for file in refused:
            if file.series and file.code not in ("duplicate", "no-pixels"):
                damaged[file.series].append(file)
        for volume in volumes:
            volume.warnings += [
                _("{path} is left out: {reason}").format(path=file.path, reason=file.reason)
                for file in damaged.get(volume.uid, ())
            ]
        planned = plan(volumes, settings, self._state)
        report.entries = [one.done.replaced(status=SKIPPED) if one.done else one.entry for one in planned]
        for one in planned:
            if one.entry.reason:
                self._end(one, FAILED, one.entry.reason)
            elif one.done is None:
                report.entries[one.number] = one.entry.replaced(status=CANCELLED, file="")
        # From here on, the names are known to be ours, even after a crash.
        self._state.note(one.entry for one in planned if one.task)
        return planned

    # ---- volumes

    def _work(self, planned: list[Planned]) -> None:
        waiting = [one for one in planned if one.task]
        self._total = sum(one.bytes for one in waiting)
        self._count = len(waiting)
        self._begun = time.monotonic()
        self._byNumber = {one.number: one for one in waiting}
        self._pool.each(self._jobs(waiting), self._handle, self._check)

    def _jobs(self, waiting: list[Planned]) -> list[Job]:
        jobs: list[Job] = []
        for batch in batches(waiting):
            # Pixels that have to be decoded keep Python busy.
            tasks: list[Task] = []
            decoded: list[Task] = []
            for one in batch:
                assert one.task is not None
                # Only processes of one machine write pieces of one file: over a network, pieces could collide.
                one.pieces = divided(one, self._workers) if self._divides else [one.task]
                self._progress.unfinished.add(one.task.path)
                if len(one.pieces) == 1:
                    (tasks if one.task.types else decoded).append(one.task)
                else:
                    removeFile(one.task.path)
                    jobs += [Job(runPiece, piece, copies=True) for piece in one.pieces]
            if tasks:
                jobs.append(Job(runTasks, tasks, copies=True))
            if decoded:
                jobs.append(Job(runTasks, decoded))
        return jobs

    def _handle(self, job: Job, result: Any, error: BaseException | None) -> Iterable[Job]:
        tasks = job.argument if job.function is runTasks else [job.argument]
        if error is not None:
            words = _("The worker process ended: {kind} {error}").format(kind=type(error).__name__, error=error).strip()
            outcomes = [Outcome(task.number, 0, 0.0, words) for task in tasks]
        else:
            outcomes = result if job.function is runTasks else [result]
        more: deque[Job] = deque()
        for task, outcome in zip(tasks, outcomes, strict=True):
            one = self._byNumber[task.number]
            one.outcomes.append(outcome)
            self._worked += one.bytes // len(one.pieces)
            if len(one.outcomes) == len(one.pieces):
                more += self._whole(one)
        self._showProgress()
        return more

    def _whole(self, one: Planned) -> list[Job]:
        task = one.task
        assert task is not None
        if len(one.pieces) > 1 and any(outcome.narrow for outcome in one.outcomes) and len(task.types) > 1:
            # A value does not fit: convert the whole volume again, in wider types.
            wider = task._replace(types=task.types[1:])
            self._worked -= one.bytes
            one.pieces, one.outcomes = [wider], []
            return [Job(runTasks, [wider], copies=True)]
        reasons = [outcome.reason for outcome in one.outcomes if outcome.reason]
        nbytes = sum(outcome.nbytes for outcome in one.outcomes)
        seconds = sum(outcome.seconds for outcome in one.outcomes)
        warnings = (*one.entry.warnings, *(words for outcome in one.outcomes for words in outcome.warnings))
        if not reasons:
            try:
                warnings += self._name(one, nbytes)
            except OSError as error:
                reasons.append(f"{one.entry.file}: {reasonOf(error)}.")
        one.entry = one.entry.replaced(warnings=warnings, seconds=round(seconds, 4))
        if reasons:
            removeFile(task.path)
            self._end(one, FAILED, reasons[0])
        else:
            one.entry = one.entry.replaced(bytes=nbytes)
            self._end(one, DONE)
        self._progress.unfinished.discard(task.path)
        self._ended += 1
        return []

    def _name(self, one: Planned, nbytes: int) -> tuple[str, ...]:
        # Give the file its name. Another file of this name that was changed is kept.
        task, words = one.task, ""
        assert task is not None
        size = os.path.getsize(task.path)
        if size != nbytes:
            raise OSError(None, _("{size:,} of {nbytes:,} bytes were written").format(size=size, nbytes=nbytes))
        final = task.path.removesuffix(UNFINISHED)
        known = self._former.get(one.entry.key)
        # A file of the new size comes from a run that was killed before it could note the size.
        if os.path.lexists(final) and os.path.getsize(final) not in (known, nbytes):
            stem = final.removesuffix(".nrrd").removesuffix(".seq")
            kept = next(
                path for name in candidates(f"{stem}_old") if not os.path.lexists(path := name + final[len(stem) :])
            )
            os.rename(final, kept)
            words = _("Another file had this name. It was kept as {kept}.").format(kept=kept)
        moveFile(task.path, final)
        return (words,) if words else ()

    def _end(self, one: Planned, status: str, reason: str = "") -> None:
        entry = one.entry.replaced(status=status, reason=reason)
        final = os.path.join(self._settings.output, entry.file)
        if status == FAILED and not (entry.file and os.path.exists(final)):
            entry = entry.replaced(file="")
        self._report.entries[one.number] = entry
        self._state.note([entry])

    def _showProgress(self) -> None:
        done = self._worked / max(1, self._total)
        taken = time.monotonic() - self._begun
        left = taken * (1 - done) / done if done > 0 and taken > _SOON else None
        self._progress.update(
            _SCAN + (1 - _SCAN) * done,
            _("{ended:,} of {count:,} volumes are converted").format(ended=self._ended, count=self._count),
            left,
        )
