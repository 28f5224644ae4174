"""Live processing on Slicer's side: starts functions beside streams, connects them, and takes their values.

worker of the stream ──frames, not through Slicer──► worker of the function ──results──► Session, as any stream
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import qt
import slicer

from ..Link.Commands import Command, Publish
from ..Link.Messages import PublishedReport, Ready, ValuesReport
from ..Model.Errors import SettingsError
from ..Model.Event import Event
from ..Model.Files import reasonOf
from ..Model.Quantities import freeName
from ..Model.Settings import SourceSettings
from ..Model.Text import textsOf
from ..Processing.Loading import builtInName, functionName
from ..Processing.Requirements import checkedFunction
from ..Processing.Runner import LOAD_TIME
from ..Recording.FolderAccess import FolderAccess
from ..Sources.Processor import ProcessorSettings
from .AcquisitionProcess import AcquisitionProcess
from .Callbacks import Callbacks
from .FunctionDescription import FunctionDescription, OnDone
from .RunningSource import RunningSource
from .Session import Session

_ = textsOf(__file__)

Commands = list[Command]
MARGIN = 5.0
"""Seconds beyond the time for a call without a sign of life, after which a function ends with its source."""
RECOVERED = 3.0
"""Seconds without a failed image after which a function counts as working again."""
PERIOD = 250
"""Milliseconds between two looks at functions whose source has ended."""


class RunningProcessor:
    """A started function.

    :param resultSource: the source of its results.
    :param source: the source of its images.
    :param stream: name of the stream of its images.
    """

    def __init__(self, resultSource: RunningSource, source: RunningSource, stream: str) -> None:
        self.resultSource, self.sourceStream = resultSource, stream
        self._progressed: float | None = None
        """Time of the last result after the end of its source, monotonic seconds."""
        self._done = -1
        self._failed, self._failedAt, self._processedThen = 0, 0.0, 0
        self._keeps: list[AcquisitionProcess] = []
        self.follow(source)

    def follow(self, source: RunningSource) -> None:
        """Take the images of a source from now on; its memory is kept until :meth:`release`."""
        self.source = self.resultSource.fedBy = source
        if source.process:
            source.process.keepFolders()
            self._keeps.append(source.process)

    @property
    def settings(self) -> ProcessorSettings:
        """Function, parameters at the start, Python and limits."""
        settings = self.resultSource.settings
        assert isinstance(settings, ProcessorSettings)
        return settings

    @property
    def stream(self) -> str:
        """Name of the stream of the results."""
        return self.settings.stream

    @property
    def name(self) -> str:
        """Short name of the function; its values are named "<name>: <value>" in the signals of the source's stream."""
        return self.stream.removeprefix(f"{self.sourceStream} ")

    @property
    def state(self) -> str:
        """State of its process, as of any source."""
        return self.resultSource.state

    @property
    def status(self) -> str:
        """State in words."""
        return self.resultSource.status

    @property
    def ended(self) -> bool:
        """True once it processes nothing more."""
        return self.resultSource.ended

    def statistics(self) -> dict[str, Any]:
        """Return ``received``, ``processed``, ``skipped``, ``failed``, ``waiting``, ``latencyMs`` and ``parameters``.

        Always, received = processed + skipped + failed + waiting; ``latencyMs`` is the time from the arrival of an
        image at its source to its result. Empty until the process has reported them.
        """
        return dict(self.resultSource.details.get("processing", {}))

    def isFailing(self, now: float) -> bool:
        """Return True until the function has processed images again, and none failed for RECOVERED seconds.

        :param now: monotonic seconds.
        """
        figures = self.statistics()
        failed, processed = figures.get("failed", 0), figures.get("processed", 0)
        if failed != self._failed:
            self._failed, self._failedAt, self._processedThen = failed, now, processed
        return bool(failed) and (now < self._failedAt + RECOVERED or processed == self._processedThen)

    def release(self) -> None:
        """Release the memory of the images once it has ended."""
        while self._keeps and self.ended:
            self._keeps.pop().releaseFolders()

    def isDone(self, now: float) -> bool:
        """Return True when its source has ended, and no image or pause waits, or a call has taken too long.

        :param now: monotonic seconds.
        """
        if not self.source.ended:
            return False
        details, figures = self.resultSource.details, self.statistics()
        done = figures.get("processed", 0) + figures.get("failed", 0)
        if self._progressed is None or done != self._done:
            self._done, self._progressed = done, now
        over = bool(details) and details["subscription"] == "ended"
        drained = over and not (figures["waiting"] or details["finishing"])
        # Its process counts the time of each call. This limit is for a process that reports nothing.
        longest = LOAD_TIME + self.settings.limit + MARGIN
        return drained or details.get("stalled", False) or now > self._progressed + longest


class ProcessingControl:
    """Functions that run beside streams.

    :param session: the sources.
    :param callbacks: get events.
    :param start: starts a source.
    :param addValues: takes stream, number and time of a frame, its values by name, and the number of frames lost
        before it.
    :param table: takes the name of a table and its columns; returns the node.
    :param columns: returns the latest values of a stream by name.
    """

    def __init__(
        self,
        session: Session,
        callbacks: Callbacks,
        start: Callable[[SourceSettings], RunningSource],
        addValues: Callable[[str, int, float, Mapping[str, float], int], None],
        table: Callable[[str, Mapping[str, Any]], Any],
        columns: Callable[[str], Mapping[str, Any]],
    ) -> None:
        self._session, self._callbacks, self._start = session, callbacks, start
        self._addValues, self._table, self._columns = addValues, table, columns
        self._processors: list[RunningProcessor] = []
        self._published: dict[RunningSource, PublishedReport] = {}
        self._access = FolderAccess()
        session.startupProviders.append(self._startupCommands)
        session.reports.connect(Ready, self._takeReady)
        session.reports.connect(PublishedReport, self._takePublished)
        session.reports.connect(ValuesReport, self._takeValues)
        self._watch = qt.QTimer()
        self._watch.connect("timeout()", self.update)

    def start(
        self,
        function: str,
        stream: str = "Live",
        every: str = "all",
        parameters: Mapping[str, Any] | None = None,
        python: str | None = None,
        *,
        name: str = "",
        limit: float = 10.0,
    ) -> RunningProcessor:
        """Run a function beside a stream; its images are a stream of their own, its values are signals of the stream.

        It ends with the source of the stream, or with :meth:`stop`.

        :param function: path of a Python file with ``process(frame)`` (see Processing/Function.py), or the name of a
            built-in function.
        :param stream: whose images are processed; it may be the stream of another function.
        :param every: "all": images wait while the function is busy, at most 64 or 512 MB; "newest": a newer image
            replaces the one that waits.
        :param parameters: values of the function's parameters by name; the others have their defaults.
        :param python: another Python that runs the function, such as that of a conda environment; it needs numpy.
        :param name: of the stream of the results; empty: "<stream> <function>".
        :param limit: seconds after which a call counts as hung.
        :raises SettingsError: no running source has the stream, there is no such function, or a parameter is no JSON.
        :raises MissingPackageError: the function requires packages that Slicer's Python lacks.
        :raises AcquisitionError: the process cannot be started.
        """
        source = self._session.runningWith(stream)
        if source is None:
            raise SettingsError(_("No running source has the stream {stream}.").format(stream=stream))
        atSource = next((inner for inner, outer in source.streams.items() if outer == stream), stream)
        check = partial(checkedFunction, function, python or "")
        # A function of the module is on no drive that could hang.
        isOurs = not python and builtInName(function)
        found, program = check() if isOurs else self._access.result((function, python), check)
        taken = {used for one in self._session.active() for used in one.streams.values()}
        settings = ProcessorSettings(
            found,
            atSource,
            name or freeName(f"{stream} {functionName(found)}", taken),
            every,
            _jsonOf(parameters or {}),
            program,
            limit,
            json.dumps(_ownEnvironment() if program else {}),
        )
        return self._run(settings, source, stream)

    def _run(self, settings: ProcessorSettings, source: RunningSource, stream: str) -> RunningProcessor:
        processor = RunningProcessor(self._start(settings), source, stream)
        self._processors.append(processor)
        self._feed(processor)
        return processor

    def _feed(self, processor: RunningProcessor) -> None:
        if processor.source in self._published:
            self._connect(processor)
        else:
            processor.source.sendCommand(Publish())

    def describe(self, function: str, python: str, onDone: OnDone) -> FunctionDescription:
        """Find the parameters of a function file in a process of its own; close the object that is returned.

        :param onDone: called with ``title`` and ``parameters``, see Processing/Description.py, and an empty text; or
            with None and the reason; and with the requirements for pip of missing packages.
        :raises AcquisitionError: the process cannot be started.
        """
        look = FunctionDescription(function, onDone)
        look.start(python, _ownEnvironment() if python else {})
        return look

    def stop(self, processor: RunningProcessor | None = None) -> None:
        """Stop one function, or all; images that wait are skipped."""
        for one in [processor] if processor else self.list():
            self._session.stop(one.resultSource)

    def reload(self, processor: RunningProcessor) -> None:
        """Restart a function from its file, with its parameters."""
        processor.resultSource.send("reload")

    def restart(self, source: RunningSource, changes: Mapping[str, Any]) -> RunningSource | None:
        """Start a function again with other settings, from its file; return the source of its results.

        :param source: source of its results before; None is returned for any other source.
        :param changes: new values of the settings of :class:`ProcessorSettings`; without one it is reloaded.
        :raises SettingsError: a value that cannot work, or its source has ended.
        """
        found = next((one for one in self._processors if one.resultSource is source), None)
        if found is None:
            return None
        if not (changes or found.ended):
            self.reload(found)
            return source
        parameters = found.statistics().get("parameters")
        now = {} if parameters is None else {"parameters": json.dumps(parameters)}
        settings = replace(found.settings, **{**now, **changes})
        if found.source.ended:
            raise SettingsError(_("No running source has the stream {stream}.").format(stream=found.sourceStream))
        chained = [one for one in self.list() if one.source is source]
        self._session.stop(source)
        started = self._run(settings, found.source, found.sourceStream).resultSource
        for one in chained:
            one.follow(started)
            self._feed(one)
        return started

    def setParameters(self, processor: RunningProcessor, **values: Any) -> None:
        """Change parameters of a function, from its next image on. The event "parameters-refused" reports a bad value.

        :raises SettingsError: a value is no JSON.
        """
        processor.resultSource.send("setParameters", parameters=json.loads(_jsonOf(values)))

    def list(self) -> list[RunningProcessor]:
        """Return the functions that run."""
        return [one for one in self._processors if not one.ended]

    def statistics(self) -> dict[str, dict[str, Any]]:
        """Return the counts of each function in the statistics, by the name of its stream of results."""
        sources = self._session.sources
        return {one.stream: one.statistics() for one in self._processors if one.resultSource in sources}

    def table(self, processor: RunningProcessor) -> Any:
        """Return a vtkMRMLTableNode with the latest values of a function, a row an image; a later call fills it again.

        Columns: number of the frame, seconds since the first frame, and the values.
        """
        prefix = f"{processor.name}: "
        columns = dict(self._columns(processor.sourceStream))
        mine = {title.removeprefix(prefix): values for title, values in columns.items() if title.startswith(prefix)}
        known = [any(value == value for value in row) for row in zip(*mine.values(), strict=True)]
        shown = {**dict(list(columns.items())[:2]), **mine}
        rows = {
            title: [float(one) for one, kept in zip(all_, known, strict=True) if kept] for title, all_ in shown.items()
        }
        return self._table(f"{processor.stream} values", rows if mine else {title: [] for title in shown})

    def follows(self, source: RunningSource) -> bool:
        """Let a function end after its source and its waiting images; return False for another source."""
        for one in self.list():
            if one.resultSource is source and not one.source.ended:
                source.ending = True
                self._watch.start(PERIOD)
                return True
        return False

    def update(self) -> None:
        """End functions whose sources have ended; forget sources that have ended."""
        now, running = time.monotonic(), self.list()
        for one in self._processors:
            one.release()
        for one in running:
            if one.isDone(now) and (one.state != "stopping" or one.resultSource.ending):
                one.resultSource.ending = False
                self._session.stop(one.resultSource)
        waiting = any(one.source.ended for one in running)
        if waiting and not self._watch.isActive():
            self._watch.start(PERIOD)
        elif not waiting and self._watch.isActive() and not any(one.resultSource.ending for one in running):
            self._watch.stop()
        if not running:
            sources = self._session.sources
            self._processors = [one for one in self._processors if one.resultSource in sources]
            self._published.clear()

    def close(self) -> None:
        """Release the timer. Do not use the object afterwards."""
        self._watch.stop()
        self._watch.disconnect("timeout()", self.update)

    def _startupCommands(self, source: RunningSource) -> Commands:
        commands: Commands = []
        if any(one.source is source for one in self.list()):
            commands.append(Publish())
        return commands

    def _takeReady(self, source: RunningSource, message: Ready) -> None:
        for one in self.list():
            if one.resultSource is source and one.source in self._published:
                self._connect(one)

    def _takePublished(self, source: RunningSource, message: PublishedReport) -> None:
        if not message.published:
            text = _("The images of {stream} cannot be processed: {reason}.")
            text = text.format(stream=source.settings.stream, reason=message.problem)
            self._callbacks.report(Event("not-published", text, "error"))
            return
        self._published[source] = message
        for one in self.list():
            if one.source is source:
                self._connect(one)

    def _connect(self, processor: RunningProcessor) -> None:
        published = self._published[processor.source]
        processor.resultSource.send("connect", port=published.published, token=published.token)

    def _takeValues(self, source: RunningSource, message: ValuesReport) -> None:
        for one in self._processors:
            if one.resultSource is source:
                named = {f"{one.name}: {name}": value for name, value in message.values.items()}
                self._addValues(one.sourceStream, message.number, message.time, named, message.lost)


def _jsonOf(parameters: Mapping[str, Any]) -> str:
    """Return parameters as JSON; numbers and arrays of numpy are numbers and lists.

    :raises SettingsError: a value is no JSON.
    """
    try:
        return json.dumps(dict(parameters), default=lambda value: value.tolist())
    except (TypeError, ValueError, AttributeError) as error:
        raise SettingsError(_("A parameter cannot be sent: {reason}.").format(reason=reasonOf(error))) from error


def _ownEnvironment() -> dict[str, str | None]:
    """Return how the environment differs from that before Slicer's launcher, whose paths break another Python."""
    before = slicer.util.startupEnvironment()
    changed = {name: before.get(name) for name in {*os.environ, *before} if os.environ.get(name) != before.get(name)}
    return {**changed, "PYTHONHOME": None, "PYTHONPATH": before.get("PYTHONPATH")}
