from __future__ import annotations

from typing import Any

import pytest

from planning.applied import agent_view

IMAGES = {"app": "localhost:5000/app:2"}


def module(**changes: Any) -> dict[str, Any]:
    return {"settings": {"image": "localhost:5000/app:2"}, "status": "running", "runtimeStatus": "running"} | changes


def reported(version: Any = 7, code: Any = 200, **modules: Any) -> dict[str, Any]:
    return {"lastDesiredVersion": version, "lastDesiredStatus": {"code": code}, "modules": modules or {"app": module()}}


@pytest.mark.parametrize("version", [7, 8])
def test_the_ordered_image_running_at_this_version_or_a_later_one_is_applied(version: int) -> None:
    assert agent_view(reported(version), 7, IMAGES).state == "applied"


@pytest.mark.parametrize("twin", [{}, reported(6), reported("7"), reported(None)])
def test_a_device_that_has_not_seen_the_version_is_behind(twin: dict[str, Any]) -> None:
    assert agent_view(twin, 7, IMAGES).state == "behind"


@pytest.mark.parametrize(
    ("twin", "detail"),
    [
        (reported(code=400), "edgeAgent answers 400"),
        ({"lastDesiredVersion": 7}, "edgeAgent answers None"),
        ({"lastDesiredVersion": 7, "lastDesiredStatus": "x"}, "edgeAgent answers None"),
        ({"lastDesiredVersion": 7, "lastDesiredStatus": {"code": 200}, "modules": "x"}, "app does not exist"),
        (reported(other=module()), "app does not exist"),
        (reported(app="x"), "app does not exist"),
        (reported(app=module(settings="x")), "app runs None instead of"),
        (reported(app=module(settings={"image": "localhost:5000/app:1"})), "app runs localhost:5000/app:1"),
        (reported(app=module(runtimeStatus="backoff")), "app is backoff"),
        (reported(app=module(runtimeStatus="stopped", exitCode=0, restartPolicy="always")), "app is stopped"),
        (reported(app=module(runtimeStatus="stopped", exitCode=1, restartPolicy="never")), "app is stopped"),
    ],
)
def test_what_does_not_run_as_ordered_is_unhealthy_and_named(twin: dict[str, Any], detail: str) -> None:
    view = agent_view(twin, 7, IMAGES)

    assert view.state == "unhealthy"
    assert detail in view.detail


def test_every_module_that_does_not_run_is_named() -> None:
    view = agent_view(reported(), 7, {**IMAGES, "b": "x:1", "a": "x:1"})

    assert view.detail == "a does not exist; b does not exist"


@pytest.mark.parametrize(
    "standing",
    [
        module(status="stopped", runtimeStatus="stopped", exitCode=137),
        module(runtimeStatus="stopped", exitCode=0, restartPolicy="never"),
        module(runtimeStatus="stopped", exitCode=0, restartPolicy="on-failure"),
    ],
)
def test_a_module_ordered_to_stand_and_a_job_that_ended_well_are_applied(standing: dict[str, Any]) -> None:
    assert agent_view(reported(app=standing), 7, IMAGES).state == "applied"
