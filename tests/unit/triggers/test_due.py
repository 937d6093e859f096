"""What SQL says should be running is started by one function, for the timer and for orchestrations."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from contracts.requests import EnrolDevice, RegisterImage, StartDeployment
from imagedelta.errors import DependencyError
from tests.unit.triggers.world import START, World
from triggers.due import LANES, due, serve_start_due


def start_due(world: World) -> Any:
    return asyncio.run(serve_start_due(lambda: world.deps)({}, world.durable))


def ordered(world: World) -> str:
    world.deps.store.devices.enrol("boat", EnrolDevice(hub="north"), "test", START)
    request = StartDeployment.model_validate(
        {
            "name": "n",
            "owner": {"name": "Ada", "email": "ada@example.org"},
            "devices": {"ids": ["boat"]},
            "images": ["app:1"],
        }
    )
    return world.deps.store.sets.create(request, images={"app:1": {}}, manifest=None, by="test", at=START).set_id


def test_a_set_with_members_to_plan_is_planned_and_a_registration_read(world: World) -> None:
    set_id = ordered(world)
    registration = world.deps.store.images.request_registration(RegisterImage(upload="upload-1"), "test", START)

    assert start_due(world) == {"ok": True, "value": {}}

    assert world.durable.names() == [f"register-{registration.registration_id}", f"deploy-{set_id}"]


def test_what_runs_already_is_left_alone(world: World) -> None:
    ordered(world)

    start_due(world)
    start_due(world)

    assert len(world.durable.started) == 1


def test_a_task_hub_that_does_not_answer_makes_the_step_fail_so_that_it_is_tried_again(world: World) -> None:
    ordered(world)
    world.durable.broken = True

    with pytest.raises(DependencyError):
        start_due(world)


def test_of_many_patches_a_few_are_built_side_by_side_and_all_that_are_built_are_published(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []
    patches = world.deps.store.patches
    monkeypatch.setattr(patches, "to_build", lambda at, limit: asked.append(("build", limit)) or ("p1", "p2"))
    monkeypatch.setattr(patches, "to_publish", lambda at, limit: asked.append(("publish", limit)) or ("p3",))

    assert [start.instance for start in due(world.deps)] == ["publish-p3", "build-p1", "build-p2"]
    assert dict(asked)["build"] == LANES < dict(asked)["publish"]
