"""Workers of a conversion: this process and its threads, further processes, or the caller's executor."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from typing import Any, NamedTuple

PERIOD = 0.1
"""Seconds between two checks for cancellation."""
ALONE = 0.3
"""Seconds of work after which further processes are started; they need about the same time to start."""
TRIES = 2
"""Number of processes that may die with a job; then the job has failed."""


class Job(NamedTuple):
    """Call of a function that can be pickled, with one argument.

    :param copies: the job mostly reads and writes files. Several threads do that at once, as Python waits meanwhile.
    :param tries: number of processes that died, perhaps with this job.
    """

    function: Callable[[Any], Any]
    argument: Any
    copies: bool = False
    tries: int = 0


Handle = Callable[[Job, Any, BaseException | None], Iterable[Job]]
"""Receives a job with its result or exception; returns jobs that follow."""


class WorkerPool:
    """Pool that does several jobs at a time.

    :param workers: number of jobs at a time: one in this process, the others in further processes, which are started
        when the work takes long. Until these are there, threads do the jobs that copy.
    :param executor: does all jobs instead; it is not shut down.
    """

    def __init__(self, workers: int, executor: Executor | None = None) -> None:
        self._given, self._helpers = executor, 0 if executor else workers - 1
        self._pool: ProcessPoolExecutor | None = None
        self._there: Future[None] | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._begun = time.monotonic()
        self._room = 2 * self._helpers if executor is None else 1 << 30

    def each(self, jobs: Iterable[Job], handle: Handle, check: Callable[[], None]) -> None:
        """Do all jobs, and the jobs that follow from them.

        :param check: called several times a second, or after each job; an exception ends the work.
        """
        waiting = deque(jobs)
        running: dict[Future[Any], Job] = {}
        try:
            while waiting or running:
                check()
                self._submit(waiting, running)
                if waiting and self._given is None:
                    self._here(waiting.popleft(), handle, waiting)
                    done = {future for future in running if future.done()}
                else:
                    done, _ = wait(running, PERIOD, FIRST_COMPLETED)
                for future in done:
                    self._take(running.pop(future), future, handle, waiting)
        finally:
            for future in running:
                future.cancel()

    def hurry(self) -> None:
        """Start the processes with the first job: the work is known to take long."""
        self._begun = float("-inf")

    def close(self) -> None:
        """End the processes, even in the middle of a job; wait for the jobs of threads."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None
        if self._pool is not None:
            processes = list((getattr(self._pool, "_processes", None) or {}).values())
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()
            self._pool = self._there = None

    def _submit(self, waiting: deque[Job], running: dict[Future[Any], Job]) -> None:
        # This process does the last job.
        while len(waiting) > (self._given is None) and len(running) < self._room:
            executor = self._given or self._helper(waiting[0])
            if executor is None:
                return
            job = waiting.popleft()
            try:
                running[executor.submit(job.function, job.argument)] = job
            except BrokenExecutor:
                waiting.appendleft(job)
                if self._given is not None:
                    raise
                self._broken()
                return

    def _helper(self, job: Job) -> Executor | None:
        if not job.copies:
            return self._ready()
        if self._there is not None and self._there.done():
            return self._pool
        if self._threads is None and self._helpers:
            self._threads = ThreadPoolExecutor(self._helpers)
        return self._threads

    def _ready(self) -> Executor | None:
        # A job that waits for a starting process would make a short conversion long.
        if self._pool is None and self._helpers and time.monotonic() - self._begun > ALONE:
            self._pool = ProcessPoolExecutor(self._helpers, multiprocessing.get_context("spawn"), beginWorker)
            self._there = self._pool.submit(hello)
        return self._pool if self._there is not None and self._there.done() else None

    def _here(self, job: Job, handle: Handle, waiting: deque[Job]) -> None:
        try:
            result, error = job.function(job.argument), None
        except Exception as raised:  # noqa: BLE001 - as from another process
            result, error = None, raised
        waiting.extend(handle(job, result, error))

    def _take(self, job: Job, future: Future[Any], handle: Handle, waiting: deque[Job]) -> None:
        error = future.exception()
        if isinstance(error, BrokenExecutor) and self._given is None:
            self._broken()
            if job.tries + 1 < TRIES:
                waiting.append(job._replace(tries=job.tries + 1))
                return
        waiting.extend(handle(job, None if error else future.result(), error))

    def _broken(self) -> None:
        # A process died in an unknown job: new processes get each running job once more.
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = self._there = None


def hello() -> None:
    """Do nothing. The end of this job shows that a process has started."""
    # Import the modules of the jobs before the first job.
    from . import Scan, Tasks  # noqa: F401


def beginWorker() -> None:
    """Prepare a worker process: it ignores Ctrl+C, and ends with the first process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, name="parent", daemon=True).start()
