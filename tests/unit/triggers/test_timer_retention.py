"""The timer of retention: forgets, and asks Durable to forget workflows that ended long ago."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import azure.functions as func
from azure.durable_functions import OrchestrationRuntimeStatus as Status

from tests.unit.triggers.world import World
from triggers.timer_retention import SECONDS, WORKFLOWS, serve_retention


class Purged:
    def __init__(self) -> None:
        self.asked: list[tuple[datetime, datetime, list[Status]]] = []

    async def purge_instance_history_by(
        self, created_time_from: Any = None, created_time_to: Any = None, runtime_status: Any = None
    ) -> Any:
        self.asked.append((created_time_from, created_time_to, runtime_status))


class Tick(func.TimerRequest):
    @property
    def past_due(self) -> bool:
        return False


def test_rows_go_first_and_then_workflows_that_ended_and_never_running_ones(world: World) -> None:
    payloads: list[dict[str, Any]] = []

    def purge(payload: dict[str, Any]) -> dict[str, Any]:
        payloads.append(payload)
        return {"ok": True, "value": {"more": False}}

    client = Purged()
    asyncio.run(serve_retention(purge, lambda: world.deps)(Tick(), client))

    assert payloads == [{"seconds": SECONDS}]
    ((_, before, statuses),) = client.asked
    assert before == world.now - WORKFLOWS
    assert set(statuses) == {Status.Completed, Status.Failed, Status.Terminated}


def test_a_run_that_failed_for_good_keeps_no_workflow_from_being_forgotten(world: World) -> None:
    client = Purged()
    failed = {"ok": False, "code": "internal", "detail": "a row that cannot be read"}

    asyncio.run(serve_retention(lambda _payload: failed, lambda: world.deps)(Tick(), client))

    assert len(client.asked) == 1
