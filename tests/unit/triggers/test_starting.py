"""Orchestrations are started at most once at a time, and a start that fails harms nobody."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from imagedelta.errors import DependencyError
from tests.unit.triggers.durable import Durable
from triggers.http import Start
from triggers.starting import start_all

A, B = Start("deploy_set", "deploy-a", {"setId": "a"}), Start("nudge", "nudge")


def test_each_instance_is_started_once() -> None:
    durable = Durable()

    asyncio.run(start_all(durable, (A, B, A)))

    assert durable.started == [("deploy_set", "deploy-a", {"setId": "a"}), ("nudge", "nudge", {})]


def test_what_runs_is_left_alone() -> None:
    durable = Durable()
    durable.running.add("deploy-a")

    asyncio.run(start_all(durable, (A, B)))

    assert durable.names() == ["nudge"]


def test_a_start_that_lost_the_race_to_another_is_fine() -> None:
    class Racing(Durable):
        async def start_new(self, name: str, instance_id: str | None = None, client_input: Any = None) -> str:
            self.running.add(instance_id or "")
            raise Exception("An Orchestration instance with the status Running already exists.")

    asyncio.run(start_all(Racing(), (A,)))


def test_one_that_cannot_be_started_does_not_stop_the_others() -> None:
    class HalfBroken(Durable):
        async def start_new(self, name: str, instance_id: str | None = None, client_input: Any = None) -> str:
            if instance_id == "deploy-a":
                raise Exception("no such function")
            return await super().start_new(name, instance_id, client_input)

    durable = HalfBroken()
    with pytest.raises(DependencyError, match="deploy-a was not started: no such function"):
        asyncio.run(start_all(durable, (A, B)))
    assert durable.names() == ["nudge"]


@pytest.mark.parametrize("state", ["Completed", "Failed", "Terminated", None])
def test_an_instance_that_has_ended_is_started_anew(state: str | None) -> None:
    class Ended(Durable):
        async def get_status(self, instance_id: str) -> Any:
            return SimpleNamespace(runtime_status=SimpleNamespace(value=state) if state else None)

    durable = Ended()
    asyncio.run(start_all(durable, (A,)))

    assert durable.names() == ["deploy-a"]
