"""What Azure Pipelines would refuse is noticed here, in our YAML and in YAML that was spoilt on purpose."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.checks import against_schema, references, steps_of, unexpanded
from tests.pipelines.expressions import PipelineError
from tests.pipelines.pipelines import ALL, IMAGES, MANIFESTS, MODULES, ROOT, Pipeline, variables_of_groups
from tests.pipelines.templates import read

RUNS: list[tuple[Pipeline, dict[str, Any], str]] = [
    (MODULES, {}, "IndividualCI"),
    (MODULES, {}, "PullRequest"),
    (MODULES, {"modules": "all", "baseImage": "python:3.12-slim", "maxBytes": "1"}, "Manual"),
    (IMAGES, {"devices": "ship-1"}, "Manual"),
    (IMAGES, {"query": "tags.site = 'north'", "priority": "urgent"}, "Manual"),
    (MANIFESTS, {}, "Manual"),
    (MANIFESTS, {"environment": "production", "devices": "ship-1"}, "Manual"),
]
FILES = sorted([*(ROOT / "pipelines").rglob("*.yml"), *(ROOT / "samples").rglob("*.yml")])


def problems(pipeline: Pipeline, given: dict[str, Any], reason: str, templates: Path | None = None) -> list[str]:
    document = pipeline.expanded(given, reason=reason, templates=templates)
    return references(document, variables_of_groups(document)) or against_schema(document)


@pytest.mark.parametrize(("pipeline", "given", "reason"), RUNS, ids=lambda value: str(value))
def test_each_pipeline_fits_the_published_schema_and_its_names_lead_somewhere(
    pipeline: Pipeline, given: dict[str, Any], reason: str
) -> None:
    assert problems(pipeline, given, reason) == []


def test_the_pipeline_of_the_products_own_deployment_fits_the_schema_too() -> None:
    document = read(ROOT / ".azdo/pipelines/azure-dev.yml")
    document["steps"] = [step for step in document["steps"] if step.get("task") != "setup-azd@1"]  # of the marketplace

    assert against_schema(document) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_a_person_types_is_never_written_into_a_script(file: Path) -> None:
    assert unexpanded(file.read_text()) == []


def test_every_template_is_used() -> None:
    text = "".join(file.read_text() for file in FILES)

    unused = [file.name for file in (ROOT / "pipelines").rglob("*.yml") if f"{file.name}" not in text]
    assert unused == []


def test_the_base_image_of_a_run_overrides_that_of_the_group() -> None:
    names = [one.get("name", one.get("group")) for one in MODULES.expanded({"baseImage": "mine:1"})["variables"]]

    assert names == ["imagedelta", "baseImage"], "the last one counts"
    assert [one.get("group") for one in MODULES.expanded()["variables"]] == ["imagedelta"]


def test_a_pull_request_pushes_and_registers_nothing() -> None:
    def shown(reason: str) -> list[str]:
        (_, build, _) = MODULES.expanded(reason=reason)["stages"]
        return [str(step.get("displayName")) for step in steps_of(build["jobs"][0])]

    beyond = [name for name in shown("IndividualCI") if name not in shown("PullRequest")]
    assert beyond == [
        "Push it to the development registry",
        "Sign in as the service connection",
        "Register it",
        "Gate on what it costs a device",
    ]


MISTAKES = [
    (
        "module-build.yml",
        "folder: ${{ parameters.folder }}",
        "fodler: ${{ parameters.folder }}",
        "has no parameter fodler",
    ),
    ("module-build.yml", "templates/promote-modules.yml", "templates/promote-module.yml", "there is no such template"),
    ("module-build.yml", "condition: and(succeeded(), eq(", "condition: and(suceeded(), eq(", "no function suceeded"),
    ("module-build.yml", "changes.find.count", "changes.find.cuont", "no step of job changes.changes sets find.cuont"),
    (
        "module-build.yml",
        "ne(dependencies.changes.outputs",
        "ne(stageDependencies.changes.outputs",
        "cannot be asked here",
    ),
    ("module-build.yml", "and(succeeded(), ne(dependencies", "and(true, ne(dependencies", "it must ask for it"),
    ("module-build.yml", "dependsOn: [changes, build]", "dependsOn: [build]", "does not depend on a stage changes"),
    (
        "module-build.yml",
        "values: [amd64, arm64v8, arm32v7]",
        "values: [arm64v8]",
        "platform is one of arm64v8, not amd64",
    ),
    ("module-build.yml", "default: 20000000", "default: much", "is a number, not much"),
    ("templates/build-module.yml", "parameters.maxBytes", "parameters.maxByte", "asks for no parameter of it: maxByte"),
    ("templates/build-module.yml", "maxParallel: 4", "maxParalel: 4", "maxParalel"),
    ("templates/build-module.yml", "target: imagedelta", "target: imagedlta", "no container is declared as imagedlta"),
    (
        "templates/build-module.yml",
        "REPOSITORY: $(repository)",
        "REPOSITORY: $(repositry)",
        "nothing defines $(repositry)",
    ),
    ("templates/build-module.yml", "eq(variables['language']", "eq(variables['langauge']", "the variable langauge"),
    ("templates/build-module.yml", "set -euo pipefail\n", "set -e\n", "goes on after a command that failed"),
    ("templates/build-module.yml", '"registry://$REGISTRY/', '"registry://$(developmentRegistry)/', "map it in env"),
    ("templates/build-module.yml", "${{ parameters.pool }}", "${{ parameters.pool }", "without its end"),
    ("templates/changed-modules.yml", "variable=matrix;isOutput=true", "variable=matrix", "sets find.matrix"),
    (
        "templates/build-module.yml",
        "BASE_IMAGE: $(baseImage)",
        "BASE_IMAGE: ${{ variables.baseImage }}",
        "not known before",
    ),
    ("templates/sign-in.yml", "inlineScript: |", "inlineSkript: |", "/inputs"),
    ("templates/sign-in.yml", "AzureCLI@2", "AzureCLI@22", "AzureCLI@22"),
    ("templates/promote-modules.yml", "runOnce:", "runTwice:", "runOnce"),
    ("image-to-device.yml", "pool: server", "pool: default", "does not run in an agent"),
    ("image-to-device.yml", "dependsOn: approval", "dependsOn: aproval", "depends on aproval"),
    ("image-to-device.yml", "notifyUsers:", "notifyUser:", "notifyUser"),
    ("image-to-device.yml", "onTimeout: reject", "onTimeout: approve", "approve"),
    ("manifest-to-device.yml", "environment: ${{ parameters.environment }}", "enviroment: x", "stages/0/jobs/0"),
]


@pytest.mark.parametrize(("file", "right", "wrong", "said"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_in_a_template_is_noticed(file: str, right: str, wrong: str, said: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    spoilt = tmp_path / "pipelines" / file
    text = spoilt.read_text()
    assert right in text
    spoilt.write_text(text.replace(right, wrong))

    assert said in _first_problem(tmp_path, file)


def _first_problem(templates: Path, file: str) -> str:
    for pipeline, given, reason in RUNS:
        if pipeline is not MODULES and "module" in file:
            continue
        try:
            if found := problems(pipeline, given, reason, templates):
                return "\n".join(found)
        except (PipelineError, KeyError) as error:
            return str(error)
    return ""


def test_a_parameter_that_a_run_misspells_is_refused() -> None:
    with pytest.raises(PipelineError, match="has no parameter device"):
        IMAGES.expanded({"device": "ship-1"})


def test_a_manifest_that_is_not_in_the_list_cannot_be_chosen() -> None:
    with pytest.raises(PipelineError, match="manifest is one of"):
        IMAGES.expanded({"manifest": "../../etc/passwd"})


@pytest.mark.parametrize("pipeline", ALL, ids=str)
def test_templates_are_pinned_to_a_tag(pipeline: Pipeline) -> None:
    (templates,) = pipeline.expanded()["resources"]["repositories"]

    assert templates["ref"].startswith("refs/tags/")


def test_no_pipeline_names_a_secret() -> None:
    """Service connections sign in by workload identity federation; only the run's own token is mapped."""
    for file in FILES:
        words = file.read_text().lower()
        assert not [word for word in ("password", "clientsecret", "function key", "issecret") if word in words], file


def test_no_pipeline_speaks_to_a_database() -> None:
    """docs/adr/0041: what it must know, it asks through the endpoints."""
    text = "".join(file.read_text().lower() for file in FILES)

    assert "imagedelta devices list" in text
    assert [word for word in ("sql", "odbc", "database", "1433", "imagedelta db ") if word in text] == []
