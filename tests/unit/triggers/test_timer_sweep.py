"""The timer starts whatever SQL says is due."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from contracts.requests import EnrolDevice, RegisterImage, StartDeployment
from imagedelta.errors import DependencyError
from tests.unit.triggers.world import START, World
from triggers.timer_sweep import serve_timer


def tick(world: World) -> None:
    asyncio.run(serve_timer(lambda: world.deps)(SimpleNamespace(past_due=True), world.durable))  # type: ignore[arg-type]


def order_of(*devices: str) -> StartDeployment:
    return StartDeployment.model_validate(
        {
            "name": "n",
            "owner": {"name": "Ada", "email": "ada@example.org"},
            "devices": {"ids": list(devices)},
            "images": ["app:1"],
        }
    )


def test_an_idle_system_is_only_swept(world: World) -> None:
    tick(world)

    assert world.durable.names() == ["sweep"]


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
        ("sweep", "sweep", {}),
    ]


def test_a_second_tick_leaves_what_runs_alone(world: World) -> None:
    tick(world)
    tick(world)

    assert world.durable.names() == ["sweep"]


def test_a_tick_that_could_not_start_anything_is_seen_to_fail(world: World) -> None:
    world.durable.broken = True

    with pytest.raises(DependencyError, match="sweep was not started"):
        tick(world)
