"""The timer starts whatever SQL says is due."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.requests import EnrolDevice, RegisterImage, StartDeployment
from imagedelta.errors import DependencyError
from services.deps import Deps
from tests.unit.triggers.world import START, World
from triggers.timer import Attend, serve_timer


def fire(world: World, attend: Attend) -> None:
    timer: Any = SimpleNamespace(past_due=True)
    asyncio.run(serve_timer(attend, lambda: world.deps)(timer, world.durable))


def tick(world: World) -> list[float]:
    """The seconds that were attended."""
    attended: list[float] = []

    def attend(deps: Deps, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        attended.append(payload["seconds"])
        return {"done": {}, "more": False}

    fire(world, attend)
    return attended


def order_of(*devices: str) -> StartDeployment:
    return StartDeployment.model_validate(
        {
            "name": "n",
            "owner": {"name": "Ada", "email": "ada@example.org"},
            "devices": {"ids": list(devices)},
            "images": ["app:1"],
        }
    )


def test_an_idle_system_is_only_looked_after(world: World) -> None:
    attended = tick(world)

    assert (world.durable.names(), attended) == ([], [world.deps.settings.attend_seconds])


def test_what_a_crash_left_without_an_orchestration_is_started(world: World) -> None:
    store = world.deps.store
    registration = store.images.request_registration(RegisterImage(upload="upload-1"), "test", START)
    store.devices.enrol("boat", EnrolDevice(hub="north"), "test", START)
    ordered = store.sets.create(order_of("boat"), images={"app:1": {}}, manifest=None, by="test", at=START)

    tick(world)

    assert world.durable.started == [
        (
            "register_image",
            f"register-{registration.registration_id}",
            {"registrationId": registration.registration_id},
        ),
        ("deploy_set", f"deploy-{ordered.set_id}", {"setId": ordered.set_id}),
    ]


def test_a_second_tick_leaves_what_runs_alone(world: World) -> None:
    world.deps.store.images.request_registration(RegisterImage(upload="upload-1"), "test", START)
    tick(world)
    tick(world)

    assert len(world.durable.started) == 1


def test_a_tick_that_could_not_start_anything_does_what_is_due_and_is_seen_to_fail(world: World) -> None:
    world.deps.store.images.request_registration(RegisterImage(upload="upload-1"), "test", START)
    world.durable.broken = True
    attended: list[float] = []

    def attend(deps: Deps, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        attended.append(payload["seconds"])
        return {}

    with pytest.raises(DependencyError, match="was not started"):
        fire(world, attend)

    assert len(attended) == 1
