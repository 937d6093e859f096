"""What plan and deploy are asked for: the script of order.yml beside a command line that only lists devices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.pipelines.agent import FAILED, Run, World, environment
from tests.pipelines.builds_api import BuildsApi
from tests.pipelines.pipelines import IMAGES, MANIFESTS, Pipeline
from tests.pipelines.repositories import Repository

pytestmark = pytest.mark.e2e
STEP = "Put the order together"
GROUP = {
    "productionRegistry": "registry.example",
    "IMAGEDELTA_URL": "https://fleet.example",
    "IMAGEDELTA_AUDIENCE": "api://imagedelta",
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    tools = tmp_path / "tools"
    (tmp_path / "runs").mkdir()
    tools.mkdir()
    (tools / "imagedelta").write_text(f"#!/bin/sh\ncat {tmp_path}/answer\n")
    (tools / "imagedelta").chmod(0o755)
    with BuildsApi() as builds:
        groups = {"imagedelta": GROUP, "imagedelta-development": {"iotHub": "north"}}
        env = environment(tmp_path)
        stand_ins = {"AzureCLI@2": lambda step: "Succeeded"}
        yield World(tmp_path / "runs", builds, groups, env, environment(tmp_path, tools), stand_ins)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "fleet", "manifests")


def devices(world: World, *names: str, **states: str) -> None:
    items = [{"deviceId": name, "state": states.get(name, "active")} for name in (*names, *states)]
    (world.folder.parent / "answer").write_text(json.dumps({"items": items}) + "\n")


def ordered(world: World, repository: Repository, pipeline: Pipeline, who: str = "Ada", **given: str) -> list[str]:
    """The options, as the next step reads them."""
    document = pipeline.expanded(given, own=repository.folder)
    document["stages"] = document["stages"][:1]
    job = document["stages"][0]["jobs"][0]
    steps = job["strategy"]["runOnce"]["deploy"]["steps"] if "deployment" in job else job["steps"]
    del steps[[step.get("displayName") for step in steps].index(STEP) + 1 :]
    run = Run(world, document, repository.folder, repository.head, Build_RequestedFor=who).go()
    assert run.result != FAILED, run.log
    return (run.jobs[0].folder / "s/.pipeline/order").read_bytes().decode().split("\0")[:-1]


def valued(options: list[str], name: str) -> list[str]:
    return [value for option, value in pairwise(options) if option == name]


def test_names_and_queries_reach_the_command_line_as_they_were_typed(world: World, repository: Repository) -> None:
    options = ordered(
        world, repository, IMAGES, 'Ö\'Neill; $(touch gone) "x"', query="tags.site = 'north' and tags.a != '*'"
    )

    assert valued(options, "--owner") == ['Ö\'Neill; $(touch gone) "x"']
    assert valued(options, "--query") == ["tags.site = 'north' and tags.a != '*'"]
    assert valued(options, "--workstream") == ["propulsion"]
    assert not list(world.folder.parent.rglob("gone"))


def test_devices_are_separated_by_blanks_or_commas_and_are_no_patterns(world: World, repository: Repository) -> None:
    options = ordered(world, repository, IMAGES, devices=" ship-1, ship-2,*\n;x ", priority="urgent")

    assert valued(options, "--device") == ["ship-1", "ship-2", "*", ";x"]
    assert valued(options, "--priority") == ["urgent"]
    assert valued(options, "--release") == ["manual"]


def test_rules_decide_about_the_priority_unless_a_person_does(world: World, repository: Repository) -> None:
    assert valued(ordered(world, repository, IMAGES, devices="ship-1"), "--priority") == []


def test_a_manifest_goes_to_every_device_of_the_hub_that_is_not_retired(world: World, repository: Repository) -> None:
    devices(world, "ship-1", old="retired", new="enrolled", odd="held")

    options = ordered(world, repository, MANIFESTS)

    assert valued(options, "--device") == ["ship-1", "new", "odd"]
    assert valued(options, "--release") == ["set"]


def test_ten_thousand_devices_by_name_are_ordered_for(world: World, repository: Repository) -> None:
    names = [f"ship-{number}" for number in range(10_000)]
    devices(world, *names)

    assert valued(ordered(world, repository, MANIFESTS, devices=" ".join(names)), "--device") == names
