"""The agent that runs our scripts is as strict, and as lax, as Azure's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.agent import FAILED, ISSUES, SKIPPED, SUCCEEDED, Run, World, environment
from tests.pipelines.builds_api import BuildsApi
from tests.pipelines.expressions import PipelineError, evaluate
from tests.pipelines.pipelines import IMAGES, MODULES, ROOT
from tests.pipelines.repositories import Repository

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository(tmp_path_factory.mktemp("agent") / "fleet", "modules")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with BuildsApi() as builds:
        env = environment(tmp_path)
        yield World(tmp_path, builds, {"group": {"given": "by a group"}, "imagedelta": {}}, env, env, {})


def a_run(world: World, repository: Repository, *steps: dict[str, Any], **more: Any) -> Run:
    """Of one stage with one job, and a stage behind it."""
    document = {
        "variables": [{"group": "group"}],
        "stages": [
            {"stage": "first", "jobs": [{"job": "job", "steps": [{"checkout": "none"}, *steps], **more}]},
            {"stage": "second", "jobs": [{"job": "job", "steps": [{"checkout": "none"}, {"bash": "true\n"}]}]},
        ],
    }
    return Run(world, document, repository.folder, repository.head).go()


def test_a_command_that_fails_ends_a_script_only_where_the_script_asks_for_it(
    world: World, repository: Repository
) -> None:
    lax = a_run(world, repository, {"bash": "false\necho on\n"})
    strict = a_run(world, repository, {"bash": "set -euo pipefail\nfalse\necho on\n"})

    assert (lax.stages["first"], strict.stages) == (SUCCEEDED, {"first": FAILED, "second": SKIPPED})


def test_a_step_behind_a_failed_one_runs_only_where_it_says_so(world: World, repository: Repository) -> None:
    run = a_run(
        world,
        repository,
        {"bash": "exit 3\n", "displayName": "fails"},
        {"bash": "echo\n", "displayName": "waits for success"},
        {"bash": "echo\n", "displayName": "always", "condition": "always()"},
    )

    assert [run.ran(name) for name in ("waits for success", "always")] == [False, True]


def test_variables_are_environment_and_macros_and_the_token_is_neither_by_itself(
    world: World, repository: Repository
) -> None:
    script = "echo \"$GIVEN, $(given), ${SYSTEM_ACCESSTOKEN:-no token}, $MAPPED\"\necho '$(nothing)'\n"

    run = a_run(world, repository, {"bash": script, "displayName": "tell", "env": {"MAPPED": "$(given)!"}})

    assert run.step("tell").output == "by a group, by a group, no token, by a group!\n$(nothing)\n"


def test_a_variable_that_a_step_sets_is_there_in_the_next(world: World, repository: Repository) -> None:
    run = a_run(
        world,
        repository,
        {"bash": "echo '##vso[task.setvariable variable=made]here'\n"},
        {"bash": 'echo "$MADE $(made)"\n', "displayName": "tell"},
        {"bash": "echo '##vso[task.complete result=SucceededWithIssues;]so so'\n"},
    )

    assert run.step("tell").output == "here here\n"
    assert run.stages["first"] == ISSUES


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo '##vso[task.setvariable variable=a;isOutput=true]b'\n", "outputs need a name"),
        ("echo '##vso[task.setvariabel variable=a]b'\n", "no logging command that is known"),
        ("echo '##vso[task.setvariable variable=a'\n", "no logging command"),
        ('echo "$TOKEN"\n', "shows the run's token"),
    ],
)
def test_what_would_go_wrong_in_silence_is_an_error(
    world: World, repository: Repository, script: str, said: str
) -> None:
    with pytest.raises(PipelineError, match=said):
        a_run(world, repository, {"bash": script, "env": {"TOKEN": "$(System.AccessToken)"}})


@pytest.mark.parametrize("matrix", ["{}", '{"a-b": {}}'])
def test_a_matrix_that_azure_refuses_is_refused(world: World, repository: Repository, matrix: str) -> None:
    with pytest.raises(PipelineError, match="a matrix of the legs"):
        a_run(world, repository, {"bash": "true\n"}, strategy={"matrix": matrix})


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("and(eq('A', 'a'), not(false))", True),
        ("ne(variables['none'], '0')", True),
        ("eq(variables['number'], 7)", True),
        ("eq(variables.number, '7')", True),
        ("in('b', 'a', 'b')", True),
        ("coalesce(variables['none'], variables['number'])", "7"),
        ("format('{0}-{1}', variables['number'], 'it''s')", "7-it's"),
        ("replace(lower('ARM'), 'arm', 'x')", "x"),
        ("join(',', split('a b', ' '))", "a,b"),
        ("iif(startsWith('abc', 'AB'), 1, 2)", 1),
        ("or(contains('abc', 'B'), gt(1, 2))", True),
    ],
)
def test_expressions_are_worked_out_as_azure_does(expression: str, value: object) -> None:
    assert evaluate(expression, {"variables": {"number": "7"}}) == value


@pytest.mark.parametrize(
    "expression", ["eq('a')", "equal('a', 'b')", "eq('a' 'b')", "eq('a', 'b'", "'open", "eq('a', b)", "and(true, )", ""]
)
def test_an_expression_that_azure_would_not_understand_is_refused(expression: str) -> None:
    with pytest.raises(PipelineError):
        evaluate(expression, {})


def test_variables_that_no_group_defines_are_named_before_anything_else_is_done(world: World, tmp_path: Path) -> None:
    world.groups = {"imagedelta": {"IMAGEDELTA_URL": "", "productionRegistry": "registry"}}
    repository = Repository(tmp_path / "fleet", "manifests")

    run = Run(world, IMAGES.expanded({"devices": "ship-1"}), repository.folder, repository.head).go()

    assert run.stages == {"plan": FAILED, "send": SKIPPED}
    assert run.issues == ["error: No variable group defines: IMAGEDELTA_AUDIENCE IMAGEDELTA_URL "]


def test_a_command_that_fails_in_a_template_fails_the_run(world: World, tmp_path: Path) -> None:
    """Wherever it stands in the script."""
    repository = Repository(tmp_path / "fleet", "modules")
    document = MODULES.expanded(reason="IndividualCI", own=repository.folder, templates=ROOT)
    document["stages"] = document["stages"][:1]
    step = document["stages"][0]["jobs"][0]["steps"][1]
    script = step["bash"]
    for line in ("matrix={} known=' '\n", "everything=false changed=()\n", "mkdir -p .pipeline\n"):
        assert line in script
        step["bash"] = script.replace(line, f"{line}false\n")
        run = Run(world, document, repository.folder, repository.head, Build_Reason="IndividualCI").go()
        assert (run.result, run.jobs[0].outputs) == (FAILED, {}), run.log
