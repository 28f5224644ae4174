"""Who does the jobs: this process, processes beside it that may die, executors."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from RealTimeImagingLib.Conversion import WorkerPool as module
from RealTimeImagingLib.Conversion.WorkerPool import Job, WorkerPool

SLOW = "(__import__('time').sleep(0.03), __import__('os').getpid())[1]"


class Done:
    """What jobs gave, and who did them."""

    def __init__(self):
        self.results, self.errors = [], []

    def handle(self, job, result, error):
        (self.errors if error else self.results).append(error or result)
        return ()


@pytest.fixture
def done():
    return Done()


@pytest.fixture
def crew(monkeypatch):
    monkeypatch.setattr(module, "ALONE", 0.0)
    made = WorkerPool(2)
    yield made
    made.close()


def test_one_worker_is_this_process(done):
    WorkerPool(1).each([Job(eval, SLOW)] * 3, done.handle, lambda: None)
    assert done.results == [os.getpid()] * 3


def test_what_lasts_is_done_by_processes_beside_this_one(crew, done):
    # A process that is late to start gets jobs, too.
    def handle(job, result, error):
        done.handle(job, result, error)
        return [Job(eval, SLOW)] if len(set(done.results)) < 2 and len(done.results) < 2000 else ()

    crew.each([Job(eval, SLOW)] * 100, handle, lambda: None)
    assert len(done.results) >= 100
    assert len(set(done.results)) == 2
    assert os.getpid() in done.results


def test_what_is_short_starts_no_process(done):
    crew = WorkerPool(8)
    crew.each([Job(abs, -1)] * 50, done.handle, lambda: None)
    assert done.results == [1] * 50
    assert crew._pool is None


def test_threads_copy_until_there_are_processes(done):
    slow = "(__import__('time').sleep(0.01), __import__('threading').get_ident())[1]"
    crew = WorkerPool(2)
    crew.each([Job(eval, slow, copies=True)] * 20 + [Job(eval, "1/0", copies=True)], done.handle, lambda: None)
    assert len(done.results) == 20
    assert [type(error) for error in done.errors] == [ZeroDivisionError]
    assert len(set(done.results)) == 2
    assert crew._pool is None
    crew.close()


def test_a_crew_of_one_starts_no_thread(done):
    crew = WorkerPool(1)
    crew.each([Job(eval, SLOW, copies=True)] * 3, done.handle, lambda: None)
    assert done.results == [os.getpid()] * 3
    assert crew._threads is None


def test_an_error_is_handed_on_and_stops_nothing(crew, done):
    crew.each([Job(eval, "1/0"), *[Job(eval, SLOW)] * 60, Job(eval, "1/0")], done.handle, lambda: None)
    assert len(done.results) == 60
    assert [type(error) for error in done.errors] == [ZeroDivisionError] * 2


def test_a_process_that_dies_costs_no_job(crew, done):
    here = os.getpid()
    dying = f"__import__('os').getpid() == {here} or __import__('os')._exit(3)"
    jobs = [Job(eval, SLOW)] * 60 + [Job(eval, dying)] + [Job(eval, SLOW)] * 60
    crew.each(jobs, done.handle, lambda: None)
    assert len(done.results) + len(done.errors) == 121
    assert len(done.results) >= 117  # what was in the processes when they died twice may have failed


def test_a_crew_that_is_not_wanted_any_more_ends_at_once(crew, done):
    def check():
        if len(done.results) > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crew.each([Job(eval, SLOW)] * 1000, done.handle, check)
    started = time.monotonic()
    crew.close()
    assert time.monotonic() - started < 2


def test_an_executor_that_is_passed_does_all_and_stays(done):
    with ThreadPoolExecutor(2) as executor:
        crew = WorkerPool(9, executor)
        crew.each([Job(abs, -2)] * 30, done.handle, lambda: None)
        crew.close()
        assert executor.submit(abs, -3).result() == 3
    assert done.results == [2] * 30
