"""Worker processes with a real app: activities side by side, and what one of them may do to the others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from imagedelta_host import framing, workers
from imagedelta_host.workers import ActivityRaised, NoWorker, WorkerDied, WorkerPool

APP = Path(__file__).parents[2] / "apps" / "workers"


def with_pool(body: Callable[[WorkerPool], Awaitable[None]], size: int = 1, timeout: float | None = None) -> None:
    async def main() -> None:
        pool = WorkerPool(APP, size, timeout)
        try:
            await body(pool)
        finally:
            await pool.stop()

    asyncio.run(main())


def test_one_process_runs_activities_side_by_side() -> None:
    async def body(pool: WorkerPool) -> None:
        first, second = await asyncio.gather(pool.run("meet", '"a"'), pool.run("meet", '"b"'))

        assert first == second
        assert pool.process_ids == [int(first or 0)]

    with_pool(body)


def test_a_neighbour_of_an_activity_that_kills_its_process_is_run_again_alone_and_ends_well(tmp_path: Path) -> None:
    noted = json.dumps(str(tmp_path / "running"))

    async def body(pool: WorkerPool) -> None:
        ended = await asyncio.gather(pool.run("neighbour", noted), pool.run("dies", noted), return_exceptions=True)
        assert [type(end) for end in ended] == [WorkerDied, WorkerDied]
        assert str(ended[0]) == "the worker process was killed by SIGKILL"

        again = await asyncio.gather(
            pool.run("neighbour", noted, alone=True), pool.run("dies", noted, alone=True), return_exceptions=True
        )
        assert [type(end) for end in again] == [str, WorkerDied]
        assert pool.process_ids == []

    with_pool(body)


def test_an_exit_is_a_failure_of_the_activity_and_the_process_goes_on() -> None:
    async def body(pool: WorkerPool) -> None:
        with pytest.raises(ActivityRaised, match="SystemExit: 3"):
            await pool.run("exits", '""')
        before = pool.process_ids
        assert await pool.run("same", '"on"') == '"on"'
        assert pool.process_ids == before

    with_pool(body)


def test_a_process_that_says_too_much_or_runs_too_long_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_STOP_SECONDS", 0.1)
    monkeypatch.setattr(framing, "MAX_FRAME_BYTES", 10_000)

    async def too_much(pool: WorkerPool) -> None:
        with pytest.raises(WorkerDied):
            await pool.run("same", json.dumps("x" * 10_000))
        assert await pool.run("same", '"on"') == '"on"'

    async def too_long(pool: WorkerPool) -> None:
        assert await pool.run("same", '"on"') == '"on"'
        pool.timeout = 0.2
        with pytest.raises(TimeoutError):
            await pool.run("neighbour", json.dumps(str(tmp_path / "running")))
        pool.timeout = None
        assert await pool.run("same", '"on"') == '"on"'

    with_pool(too_much)
    with_pool(too_long)


def test_more_processes_are_started_only_when_all_are_busy(tmp_path: Path) -> None:
    noted = json.dumps(str(tmp_path / "running"))

    async def body(pool: WorkerPool) -> None:
        await pool.run("same", '"a"')
        await pool.run("same", '"b"')
        assert len(pool.process_ids) == 1
        busy = asyncio.create_task(pool.run("neighbour", noted))
        while not (tmp_path / "running").exists():
            await asyncio.sleep(0.01)
        await asyncio.gather(*(pool.run("same", '"c"') for _ in range(9)))
        assert len(pool.process_ids) == 2
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)

    with_pool(body, size=2)


def test_a_system_that_refuses_processes_is_told_apart_from_a_failing_activity(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    async def body(pool: WorkerPool) -> None:
        with pytest.raises(NoWorker, match="Resource temporarily unavailable"):
            await pool.run("same", '"a"')

    monkeypatch.setattr(workers.subprocess, "Popen", refuses)
    with_pool(body)
