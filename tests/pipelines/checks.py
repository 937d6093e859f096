"""What can be known of an expanded pipeline before it runs: the published schema, and where names lead.

Each check returns sentences about what is wrong; none means that all is well.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from jsonschema.exceptions import best_match

from tests.pipelines.expressions import STATUS, PipelineError, calls, parse, paths

SCHEMA = Path(__file__).parent / "schema/azure-pipelines.json.gz"
MACRO = re.compile(r"\$\(([\w.]+)\)")
RUNTIME = re.compile(r"^\$\[(.*)\]$", re.S)
SCRIPTS = ("bash", "script")
_SERVER_TASKS = {"ManualValidation", "Delay", "InvokeRESTAPI", "AzureFunction", "PublishToAzureServiceBus"}
"""Which run in a job of the pool ``server``, and nowhere else."""
_OUTPUT = re.compile(r"##vso\[task\.setvariable ([^\]]*)\]")
_STRICT = "set -euo pipefail\n"
PREDEFINED = {
    *("Build.BuildId", "Build.BuildNumber", "Build.Reason", "Build.SourceBranch", "Build.RequestedFor"),
    *("Build.RequestedForEmail", "Build.DefinitionName", "System.AccessToken", "Agent.TempDirectory"),
}
"""Variables of Azure Pipelines that our YAML uses. Source: "Use predefined variables"."""

Item = Mapping[str, Any]


@cache
def _validator() -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(json.loads(gzip.decompress(SCHEMA.read_bytes())))


def against_schema(document: Item) -> list[str]:
    best = best_match(_validator().iter_errors(_typed(document)))
    return [f"{'/'.join(map(str, best.absolute_path))}: {best.message[:300]}"] if best else []


def _typed(value: Any, key: str = "") -> Any:
    """Scalars are read as texts; of a task the schema wants numbers and booleans as such."""
    if isinstance(value, list):
        return [_typed(one) for one in value]
    if isinstance(value, dict):
        return {name: _typed(one, name if "task" in value or key == "inputs" else "") for name, one in value.items()}
    if key in ("timeoutInMinutes", "retryCountOnTaskFailure"):
        return int(value)
    return value == "true" if key and value in ("true", "false") else value


def steps_of(job: Item) -> list[dict[str, Any]]:
    """Of a job, or of a deployment that runs once."""
    if "deployment" in job:
        found: list[dict[str, Any]] = job["strategy"]["runOnce"]["deploy"]["steps"]
        return found
    return list(job["steps"])


def name_of(job: Item) -> str:
    return str(job.get("job") or job["deployment"])


def listed(value: Any) -> list[str]:
    """Of ``dependsOn``: a name, or several."""
    return [value] if isinstance(value, str) else list(value or [])


def script_of(step: Item) -> str | None:
    """What a shell runs; also the one in Azure's command line task."""
    for kind in SCRIPTS:
        if kind in step:
            return str(step[kind])
    return step.get("inputs", {}).get("inlineScript")


def references(document: Item, groups: Sequence[str]) -> list[str]:
    """Args:
    groups: Variables that the groups of ``variables`` define.
    """
    return list(_References(document, groups).problems())


class _References:
    def __init__(self, document: Item, groups: Sequence[str]) -> None:
        self._document = document
        self._groups = set(groups) | {one["name"] for one in document.get("variables", []) if "name" in one}
        self._stages: dict[str, Item] = {}
        containers = document.get("resources", {}).get("containers", [])
        self._containers = {one["container"] for one in containers} | {"host"}

    def problems(self) -> Iterator[str]:
        for stage in self._document["stages"]:
            name, before = stage["stage"], list(self._stages)
            if name in self._stages:
                yield f"there are two stages {name}"
            self._stages[name] = stage
            needs = listed(stage["dependsOn"]) if "dependsOn" in stage else before[-1:]
            yield from (
                f"stage {name} depends on {lost}, which is none before it" for lost in needs if lost not in before
            )
            yield from self._of_condition(f"stage {name}", stage.get("condition"), stage_needs=needs)
            yield from self._of_jobs(name, stage, needs)

    def _of_jobs(self, stage: str, item: Item, needs: list[str]) -> Iterator[str]:
        before: dict[str, Item] = {}
        for job in item["jobs"]:
            name, place = name_of(job), f"job {stage}.{name_of(job)}"
            if name in before:
                yield f"{place}: there are two of that name"
            needed = listed(job.get("dependsOn"))
            yield from (f"{place} depends on {lost}, which is none before it" for lost in needed if lost not in before)
            known = {one: before[one] for one in needed if one in before}
            look = {"stages": needs, "jobs": known}
            yield from self._of_condition(place, job.get("condition"), **look)
            if matrix := job.get("strategy", {}).get("matrix"):
                yield from self._of_runtime(place, matrix, **look)
            for one in job.get("variables", []):
                yield from self._of_runtime(f"{place}, variable {one.get('name')}", one.get("value", ""), **look)
            yield from self._of_steps(place, job)
            before[name] = job

    def _of_runtime(self, place: str, value: Any, **look: Any) -> Iterator[str]:
        if isinstance(value, str) and (found := RUNTIME.match(value.strip())):
            yield from self._of_expression(place, found[1], **look)

    def _of_condition(self, place: str, text: str | None, **look: Any) -> Iterator[str]:
        if text is None:
            return
        found = list(self._of_expression(place, text, **look))
        yield from found
        if not found and not STATUS & set(calls(parse(text))):
            yield f"{place}: a condition replaces succeeded(); it must ask for it"

    def _of_expression(
        self,
        place: str,
        text: str,
        *,
        stage_needs: list[str] | None = None,
        stages: list[str] | None = None,
        jobs: Mapping[str, Item] | None = None,
    ) -> Iterator[str]:
        """Outputs have three spellings: of another stage in a stage's condition, in a job; of another job."""
        try:
            node = parse(text)
        except PipelineError as error:
            yield f"{place}: {error}"
            return
        for path in paths(node):
            yield from (f"{place}: {found}" for found in self._of_path(path, stage_needs, stages or [], jobs or {}))

    def _of_path(
        self, path: tuple[str, ...], stage_needs: list[str] | None, stages: list[str], jobs: Mapping[str, Item]
    ) -> Iterator[str]:
        match path:
            case ("variables", name):
                if name not in self._groups | PREDEFINED | {"language"}:
                    yield f"nothing defines the variable {name}"
            case ("dependencies", stage, "outputs", output) if stage_needs is not None:
                job, _, rest = output.partition(".")
                yield from self._of_output(stage, job, rest, stage_needs)
            case ("dependencies", job, "outputs", output) if stage_needs is None:
                if job not in jobs:
                    yield f"it does not depend on a job {job}"
                elif not _sets(jobs[job], output):
                    yield f"no step of job {job} sets {output}"
            case ("stageDependencies", stage, job, "outputs", output) if stage_needs is None:
                yield from self._of_output(stage, job, output, stages)
            case _:
                yield f"{'.'.join(path)} cannot be asked here"

    def _of_output(self, stage: str, job: str, output: str, needs: list[str]) -> Iterator[str]:
        if stage not in self._reached(needs):
            yield f"it does not depend on a stage {stage}"
            return
        found = [one for one in self._stages[stage]["jobs"] if name_of(one) == job]
        if not found:
            yield f"stage {stage} has no job {job}"
        elif "matrix" in found[0].get("strategy", {}):
            yield f"job {stage}.{job} runs as a matrix: outputs of its legs have other names"
        elif not _sets(found[0], output):
            yield f"no step of job {stage}.{job} sets {output}"

    def _reached(self, needs: list[str]) -> set[str]:
        """Outputs of a stage are seen where the stage itself is depended on; not through others."""
        return set(needs) & set(self._stages)

    def _of_steps(self, place: str, job: Item) -> Iterator[str]:
        server = job.get("pool") == "server"
        own = {one["name"] for one in job.get("variables", []) if "name" in one}
        if "matrix" in job.get("strategy", {}):
            own |= {"module", "language", "repository", "dockerfile"}
        for number, step in enumerate(steps_of(job), start=1):
            where = f"{place}, step {number}"
            task = step.get("task", "").partition("@")[0]
            if server != (task in _SERVER_TASKS):
                yield f"{where}: {task or 'a script'} does not run in " + (
                    "a job of the server" if server else "an agent"
                )
            target = step.get("target", "host")
            if target not in self._containers:
                yield f"{where}: no container is declared as {target}"
            if "condition" in step:
                yield from self._of_condition(where, step["condition"])
            yield from (f"{where}: {problem}" for problem in self._of_script(step))
            for text in _texts(_without_script(step)):
                for name in MACRO.findall(text):
                    if name not in self._groups | PREDEFINED | own:
                        yield f"{where}: nothing defines $({name})"

    def _of_script(self, step: Item) -> Iterator[str]:
        script = script_of(step)
        if script is None:
            return
        if not script.startswith(_STRICT):
            yield "a script that does not begin with `set -euo pipefail` goes on after a command that failed"
        for name in MACRO.findall(script):
            if name in self._groups | PREDEFINED:
                yield f"$({name}) is written into the script: what it holds would be run; map it in env"


def _without_script(step: Item) -> dict[str, Any]:
    inputs = {key: value for key, value in step.get("inputs", {}).items() if key != "inlineScript"}
    return {key: value for key, value in step.items() if key not in SCRIPTS} | {"inputs": inputs}


def _sets(job: Item, output: str) -> bool:
    """Whether ``step.variable`` is an output of the job."""
    step_name, _, variable = output.partition(".")
    for step in steps_of(job):
        if step.get("name") == step_name:
            for found in _OUTPUT.findall(script_of(step) or ""):
                settings = dict(one.split("=", 1) for one in found.rstrip(";").split(";") if "=" in one)
                if settings.get("variable") == variable and settings.get("isOutput") == "true":
                    return True
    return False


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def unexpanded(text: str) -> list[str]:
    """Scripts of a template's text into which a parameter is written: what a person types would be run."""
    found = []
    for step in _steps_in(yaml.load(text, yaml.BaseLoader)):
        script = script_of(step)
        if script and "${{" in script:
            found.append(script.partition("${{")[2].partition("}}")[0].strip())
    return found


def _steps_in(value: Any) -> Iterator[Item]:
    if isinstance(value, dict):
        if any(kind in value for kind in SCRIPTS) or "task" in value:
            yield value
        for one in value.values():
            yield from _steps_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from _steps_in(one)
