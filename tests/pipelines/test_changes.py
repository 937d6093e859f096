"""Which modules a run builds: the script of the job "changes", in real repositories."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.agent import FAILED, SUCCEEDED, Run, World, environment
from tests.pipelines.builds_api import BuildsApi, FinishedRun
from tests.pipelines.pipelines import MODULES
from tests.pipelines.repositories import Repository

pytestmark = pytest.mark.e2e
ENGINE = "modules/engine-monitor/engine_monitor/watch.py"
TRACK = "modules/track-server/src/Program.cs"
BOTH = ["engine_monitor", "track_server"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "runs").mkdir()
    with BuildsApi() as builds:
        env = environment(tmp_path)
        yield World(tmp_path / "runs", builds, {"imagedelta": {}}, env, env, {})


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "fleet", "modules")


def looked(world: World, repository: Repository, reason: str = "IndividualCI", **given: Any) -> Run:
    """A run of the stage "changes" alone."""
    document = MODULES.expanded(given, reason=reason, own=repository.folder)
    document["stages"] = document["stages"][:1]
    return Run(world, document, repository.folder, repository.head, Build_Reason=reason).go()


def found(run: Run) -> list[str]:
    assert run.result == SUCCEEDED, run.log
    legs = json.loads(run.jobs[0].outputs["find.matrix"])
    assert int(run.jobs[0].outputs["find.count"]) == len(legs)
    return list(legs)


def test_the_first_run_builds_all_modules(world: World, repository: Repository) -> None:
    run = looked(world, repository)

    assert found(run) == BOTH
    assert json.loads(run.jobs[0].outputs["find.matrix"])["engine_monitor"] == {
        "module": "engine-monitor",
        "language": "python",
        "repository": "propulsion/engine-monitor",
        "dockerfile": "./Dockerfile",
    }


def test_a_run_builds_what_changed_since_the_last_one_that_succeeded(world: World, repository: Repository) -> None:
    looked(world, repository)
    repository.change({ENGINE: "# new\n"})
    assert found(looked(world, repository)) == ["engine_monitor"]

    repository.change({"README.md": "# new\n"})
    assert found(looked(world, repository)) == []


def test_several_commits_of_one_push_are_all_seen(world: World, repository: Repository) -> None:
    looked(world, repository)
    repository.change({ENGINE: "# new\n"})
    repository.change({TRACK: "// new\n"})
    repository.change({"README.md": "# new\n"})

    assert found(looked(world, repository)) == BOTH


def test_what_a_failed_run_did_not_bring_out_is_built_by_the_next(world: World, repository: Repository) -> None:
    looked(world, repository)
    repository.change({ENGINE: "# new\n"})
    looked(world, repository)
    world.builds.runs[-1].result = FAILED
    repository.change({TRACK: "// new\n"})

    assert found(looked(world, repository)) == BOTH


def test_a_run_for_named_modules_hides_no_change_of_others(world: World, repository: Repository) -> None:
    looked(world, repository)
    repository.change({ENGINE: "# new\n", TRACK: "// new\n"})
    assert found(looked(world, repository, "Manual", modules="track-server")) == ["track_server"]

    assert found(looked(world, repository)) == BOTH


def test_runs_of_other_branches_and_pipelines_say_nothing(world: World, repository: Repository) -> None:
    looked(world, repository)
    repository.change({ENGINE: "# new\n"})
    for branch, definition in (("refs/heads/other", "7"), ("refs/heads/main", "8")):
        world.builds.runs.append(FinishedRun(definition, branch, repository.head, SUCCEEDED, ["changed-modules"]))

    assert found(looked(world, repository)) == ["engine_monitor"]


def test_a_history_that_was_rewritten_means_all_modules(world: World, repository: Repository) -> None:
    world.builds.runs.append(FinishedRun("7", "refs/heads/main", "1" * 40, SUCCEEDED, ["changed-modules"]))

    assert found(looked(world, repository)) == BOTH


def test_a_pull_request_builds_what_it_changes_and_not_what_its_target_changed(
    world: World, repository: Repository
) -> None:
    repository.git("checkout", "--quiet", "-b", "topic")
    repository.change({ENGINE: "# new\n"})
    repository.git("checkout", "--quiet", "main")
    repository.change({TRACK: "// new\n"})
    repository.git("merge", "--quiet", "--no-ff", "--message", "pull request 1", "topic")

    assert found(looked(world, repository, "PullRequest")) == ["engine_monitor"]


@pytest.mark.parametrize("name", ["modules/engine-monitor/a file with spaces", "modules/engine-monitor/größe\n.txt"])
def test_odd_names_of_files_are_seen(world: World, repository: Repository, name: str) -> None:
    looked(world, repository)
    repository.change({name: "new"})

    assert found(looked(world, repository)) == ["engine_monitor"]


def test_a_file_that_moves_from_one_module_to_another_changes_both(world: World, repository: Repository) -> None:
    looked(world, repository)
    repository.git("mv", ENGINE, "modules/track-server/src/watch.py")
    repository.change({})

    assert found(looked(world, repository)) == BOTH


def test_a_module_whose_name_begins_like_anothers_is_another(world: World, repository: Repository) -> None:
    looked(world, repository)
    text = (repository.folder / "modules/engine-monitor/module.json").read_text()
    repository.change({"modules/engine-monitor-2/module.json": text})

    assert found(looked(world, repository)) == ["engine_monitor_2"]


def test_a_module_that_is_deleted_is_not_built(world: World, repository: Repository) -> None:
    looked(world, repository)
    repository.change({"modules/track-server": None})

    assert found(looked(world, repository)) == []


def test_a_change_of_the_pipeline_concerns_all_modules(world: World, repository: Repository) -> None:
    looked(world, repository)
    repository.replace("azure-pipelines.yml", "default: 20000000", "default: 30000000")

    assert found(looked(world, repository)) == BOTH


def test_all_modules_are_built_when_a_person_says_so(world: World, repository: Repository) -> None:
    looked(world, repository)

    assert found(looked(world, repository, "Manual", modules="all")) == BOTH
    assert found(looked(world, repository, "Manual", modules="track-server,\nengine-monitor ")) == BOTH


@pytest.mark.parametrize(
    ("change", "modules", "said"),
    [
        ({}, "trak-server", "trak-server is no module. There are: engine-monitor track-server"),
        ({}, "$(touch gone); `touch gone`", "is no module"),
        ({}, "*", "* is no module"),
        ({}, " , ", "Name the modules"),
        ({"modules/Engine/module.json": "{}"}, "all", "Engine: small letters"),
        ({"modules/track_server/module.json": None}, "all", "punctuation alone"),
        ({"modules/track-server/module.json": "{"}, "all", "track-server/module.json cannot be used"),
        ({"modules/track-server/module.json": '{"image": {}}'}, "all", "no Dockerfile for amd64"),
        ({"modules": None}, "all", "There is no module in modules"),
    ],
)
def test_what_cannot_be_built_is_said(
    world: World, repository: Repository, change: dict[str, str | None], modules: str, said: str
) -> None:
    if "modules/track_server/module.json" in change:
        change = {
            "modules/track_server/module.json": (repository.folder / "modules/track-server/module.json").read_text()
        }
    repository.change(change)

    run = looked(world, repository, "Manual", modules=modules)

    assert run.result == FAILED, run.log
    assert said in run.log
    assert not list(world.folder.rglob("gone"))
    assert run.jobs[0].outputs == {}, "no stage builds what was not looked at to the end"


def test_a_service_that_does_not_answer_fails_the_run_and_hides_no_change(world: World, repository: Repository) -> None:
    world.builds.down = True

    run = looked(world, repository)

    assert (run.result, run.jobs[0].outputs) == (FAILED, {})
