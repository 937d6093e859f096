"""The job queue of a build: first come, first served, within a bound of memory; results are taken in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from imagedelta.delta.encode.job_queue import Job, JobQueue, in_order


class Log:
    """Makes jobs that say when they start; those that are held back go on when ``go`` is set."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.go = threading.Event()

    def job(self, name: str, memory_bytes: int, *, waits: bool = False) -> Job[str]:
        def run() -> str:
            self.started.append(name)
            if waits:
                assert self.go.wait(timeout=60)
            return name

        return Job(run, memory_bytes)


@pytest.mark.parametrize(("memory", "together"), [(10, 1), (12, 2), (100, 4)])
def test_as_many_jobs_run_together_as_their_memory_allows(memory, together):
    """Each of four jobs holds 6 bytes until ``together`` of them have met; one too many would be seen."""
    running: list[int] = []
    most: list[int] = []
    met = threading.Barrier(together)

    def run() -> None:
        running.append(1)
        met.wait(timeout=60)
        time.sleep(0.05)  # long enough for a job that should wait to come in
        most.append(len(running))
        running.pop()

    with JobQueue(4, memory) as queue:
        for done in [queue.submit(Job(run, 6)) for _ in range(4)]:
            done.result()

    assert max(most) == together


def test_a_job_that_states_more_than_there_is_runs_alone():
    with JobQueue(2, 10) as queue:
        assert queue.submit(Job(lambda: "done", 1000)).result() == "done"


def test_a_job_that_needs_all_memory_starts_before_small_ones_that_came_after_it():
    log = Log()

    with JobQueue(4, 100) as queue:
        queue.submit(log.job("small, at work", 10, waits=True))
        queue.submit(log.job("large", 100))
        last = [queue.submit(log.job(f"small {number}", 10)) for number in range(30)][-1]
        assert not last.done()
        log.go.set()

    assert log.started == ["small, at work", "large", *(f"small {number}" for number in range(30))]


def test_what_a_job_raises_comes_out_where_its_result_is_taken_and_the_queue_goes_on():
    def fails() -> None:
        raise ValueError("broken")

    with JobQueue(1, 10) as queue:
        broken, whole = queue.submit(Job(fails, 10)), queue.submit(Job(lambda: "whole", 10))

        with pytest.raises(ValueError, match="broken"):
            broken.result()
        assert whole.result() == "whole"


def test_results_come_in_the_order_of_the_jobs_and_few_jobs_are_taken_ahead():
    ahead: list[int] = []
    taken = 0

    def jobs() -> Iterator[Job[int]]:
        for number in range(40):
            ahead.append(number - taken)
            yield Job(lambda number=number: number, 1)

    with JobQueue(3, 100) as queue:
        for taken, result in enumerate(in_order(queue, jobs(), most=5)):
            assert result == taken

    assert taken == 39
    assert max(ahead) <= 6


def test_stages_that_feed_each_other_come_to_their_end_even_where_each_job_needs_all_memory():
    with JobQueue(2, 10) as queue:
        first = in_order(queue, (Job(lambda number=number: number, 10) for number in range(50)), most=2)
        second = in_order(queue, (Job(lambda number=number: -number, 10) for number in first), most=3)

        assert list(second) == [-number for number in range(50)]


@pytest.mark.parametrize("end", [lambda made: made.close(), lambda made: made.throw(KeyboardInterrupt())])
def test_results_that_nobody_takes_are_dropped(end: Callable[[object], object]):
    made: set[int] = set()
    dropped: set[int] = set()

    def make(number: int) -> int:
        made.add(number)
        return number

    with JobQueue(2, 10) as queue:
        results = in_order(queue, (Job(lambda n=n: make(n), 1) for n in range(100)), most=7, drop=dropped.add)
        taken = {next(results), next(results)}
        with suppress(KeyboardInterrupt):
            end(results)

    assert made == taken | dropped
    assert len(made) <= 9
