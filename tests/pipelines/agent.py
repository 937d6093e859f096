"""Runs an expanded pipeline as Azure Pipelines and its agent do: stages, jobs, conditions, variables, scripts in bash.

What stands in ``World.elsewhere`` is not run: a stand-in does what it would leave behind, and it is noted. A step with
a ``target`` finds the command line and no Docker; the others find Docker and no command line.

Source: learn.microsoft.com, "Define variables", "Logging commands", "Pipeline conditions"; azure-pipelines-tasks,
BashV3 (``bash --noprofile --norc FILE``: without ``-e``, unless a script asks for it).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.pipelines.builds_api import TOKEN, BuildsApi, FinishedRun
from tests.pipelines.checks import RUNTIME, listed, name_of, script_of, steps_of
from tests.pipelines.expressions import PipelineError, evaluate, text_of, truth

SUCCEEDED, ISSUES, FAILED, SKIPPED = "Succeeded", "SucceededWithIssues", "Failed", "Skipped"
WELL = (SUCCEEDED, ISSUES)
_MACRO = re.compile(r"\$\(([\w. -]+)\)")
_COMMAND = re.compile(r"^##vso\[([\w.]+)\s*([^\]]*)\](.*)$")
_STEP_SECONDS = 240

Item = Mapping[str, Any]


@dataclass
class World:
    """What is around all runs."""

    folder: Path
    builds: BuildsApi
    groups: Mapping[str, Mapping[str, str]]
    host: Mapping[str, str]
    """Environment of steps on the agent itself."""
    container: Mapping[str, str]
    """Environment of steps in the container of the command line."""
    elsewhere: Mapping[str, Callable[[Step], str]]
    """Tasks, and names of steps, that need what is not here -> a stand-in that returns the result of the step."""
    ran: set[str] = field(default_factory=set)
    """Every script step of every run that bash has run, by its name or displayName."""
    stood_in: set[str] = field(default_factory=set)


@dataclass
class Step:
    """One that is run, or would be."""

    item: Item
    inputs: Mapping[str, str]
    env: Mapping[str, str]
    cwd: Path
    result: str = ""
    output: str = ""

    @property
    def name(self) -> str:
        return str(self.item.get("name") or self.item.get("displayName") or self.item.get("task") or "checkout")

    @property
    def key(self) -> str:
        """By which it may stand in ``World.elsewhere``."""
        return str(self.item.get("task") or self.item.get("name") or "")


@dataclass
class Job:
    """One job, or one leg of a matrix."""

    stage: str
    name: str
    item: Item
    variables: dict[str, str]
    secret: dict[str, str]
    folder: Path
    result: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)


class Run:
    """One run of a pipeline."""

    def __init__(self, world: World, document: Item, repository: Path, commit: str, **predefined: str) -> None:
        """Args:
        predefined: Variables of Azure Pipelines, ``Build_BuildId`` for ``Build.BuildId``.
        """
        self._world = world
        self._document = document
        self._repository = repository
        self._commit = commit
        given = {name.replace("_", ".", 1): value for name, value in predefined.items()}
        self.predefined = {
            **_PREDEFINED,
            "System.CollectionUri": world.builds.url,
            "Build.SourceVersion": commit,
            **given,
        }
        self.id = self.predefined["Build.BuildId"]
        self.folder = world.folder / f"run-{self.id}-{len(list(world.folder.iterdir()))}"
        self.jobs: list[Job] = []
        self.stages: dict[str, str] = {}
        self.tags: list[str] = []
        self.summaries: list[str] = []
        self.issues: list[str] = []
        self.result = ""

    def go(self) -> Run:
        for stage in self._document["stages"]:
            self._run_stage(stage)
        self.result = _worst(self.stages.values())
        branch, number = self.predefined["Build.SourceBranch"], self.predefined["System.DefinitionId"]
        self._world.builds.runs.append(FinishedRun(number, branch, self._commit, self.result, list(self.tags)))
        return self

    def step(self, name: str) -> Step:
        """The last one of that name, or displayName, that was run."""
        return [step for job in self.jobs for step in job.steps if name in (step.name, step.item.get("displayName"))][
            -1
        ]

    def ran(self, name: str) -> bool:
        return any(name in (step.name, step.item.get("displayName")) for job in self.jobs for step in job.steps)

    @property
    def log(self) -> str:
        return "\n".join(
            f"--- {job.stage}.{job.name}: {one.name}: {one.result}\n{one.output}"
            for job in self.jobs
            for one in job.steps
        )

    # Stages and jobs

    def _run_stage(self, stage: Item) -> None:
        name = stage["stage"]
        needs = listed(stage["dependsOn"]) if "dependsOn" in stage else list(self.stages)[-1:]
        context = {
            "variables": self._variables(),
            "dependencies": {one: {"result": self.stages[one], "outputs": self._stage_outputs(one)} for one in needs},
            **_status(self.stages[one] for one in needs),
        }
        if not _holds(stage.get("condition", "succeeded()"), context):
            self.stages[name] = SKIPPED
            return
        results: dict[str, str] = {}
        for item in stage["jobs"]:
            results[name_of(item)] = self._run_job(name, item, results, needs)
        self.stages[name] = _worst(results.values())

    def _stage_outputs(self, stage: str) -> dict[str, str]:
        return {
            f"{job.name}.{key}": value for job in self.jobs if job.stage == stage for key, value in job.outputs.items()
        }

    def _run_job(self, stage: str, item: Item, results: Mapping[str, str], stage_needs: list[str]) -> str:
        needs = listed(item.get("dependsOn"))
        context = {
            "dependencies": {one: {"result": results[one], "outputs": self._outputs(stage, one)} for one in needs},
            "stageDependencies": {
                one: {job.name: {"outputs": self._outputs(one, job.name)} for job in self.jobs if job.stage == one}
                for one in stage_needs
            },
        }
        own = {one["name"]: self._runtime(one["value"], context) for one in item.get("variables", [])}
        variables = {**self._variables(), **own}
        status = _status(results[one] for one in needs)
        if not _holds(item.get("condition", "succeeded()"), {**context, "variables": variables, **status}):
            return SKIPPED
        if "environment" in item and not self._world.builds.approve(text_of(item["environment"])):
            return FAILED
        legs = self._legs(item, context)
        return _worst([self._run_leg(stage, item, variables, leg, given) for leg, given in legs.items()])

    def _outputs(self, stage: str, name: str) -> dict[str, str]:
        return {
            key: value
            for job in self.jobs
            if (job.stage, job.name) == (stage, name)
            for key, value in job.outputs.items()
        }

    def _legs(self, item: Item, context: Item) -> dict[str, dict[str, str]]:
        matrix = item.get("strategy", {}).get("matrix")
        if matrix is None:
            return {"": {}}
        legs: dict[str, dict[str, str]] = json.loads(self._runtime(matrix, context) or "{}")
        if not legs or not all(re.fullmatch(r"[A-Za-z0-9_]{1,100}", leg) for leg in legs):
            raise PipelineError(f"a matrix of the legs {list(legs)}")
        return legs

    def _runtime(self, value: str, context: Item) -> str:
        found = RUNTIME.match(value.strip())
        return text_of(evaluate(found[1], {"variables": self._variables(), **context})) if found else value

    def _variables(self) -> dict[str, str]:
        made = dict(self.predefined)
        for one in self._document.get("variables", []):
            made |= dict(self._world.groups[one["group"]]) if "group" in one else {one["name"]: one["value"]}
        return made

    # One job

    def _run_leg(self, stage: str, item: Item, variables: Mapping[str, str], leg: str, given: Mapping[str, str]) -> str:
        folder = self.folder / f"{stage}.{name_of(item)}.{leg}"
        (folder / "s").mkdir(parents=True)
        (folder / "_temp").mkdir()
        own = {**variables, **given, "Agent.TempDirectory": str(folder / "_temp")}
        job = Job(stage, name_of(item), item, own, {"System.AccessToken": TOKEN}, folder)
        self.jobs.append(job)
        steps = steps_of(item)
        if "job" in item and item.get("pool") != "server" and not any("checkout" in step for step in steps):
            self._check_out({"checkout": "self"}, job)
        for step in steps:
            context = {"variables": job.variables, **_status(one.result for one in job.steps)}
            if _holds(step.get("condition", "succeeded()"), context):
                self._run_step(step, job)
        job.result = _worst(one.result for one in job.steps)
        return job.result

    def _run_step(self, item: Item, job: Job) -> None:
        env = {name: _expanded(value, job) for name, value in item.get("env", {}).items()}
        inputs = {name: _expanded(value, job) for name, value in item.get("inputs", {}).items()}
        step = Step(item, inputs, env, job.folder / "s")
        job.steps.append(step)
        if "checkout" in item:
            self._check_out(item, job)
            step.result = SUCCEEDED
        elif step.key in self._world.elsewhere:
            self._world.stood_in.add(step.key)
            step.result = self._world.elsewhere[step.key](step)
        else:
            self._world.ran.add(step.name)
            self._run_script(step, job)
        if TOKEN in step.output:
            raise PipelineError(f"{step.name} shows the run's token")

    def _check_out(self, item: Item, job: Job) -> None:
        if item["checkout"] == "none":
            return
        if item["checkout"] != "self":
            raise PipelineError(f"checkout of {item['checkout']}")
        depth = item.get("fetchDepth", "1")  # as pipelines made since 2022 have it
        git = ["git", "-C", str(job.folder / "s"), "-c", "advice.detachedHead=false"]
        shallow = [] if depth == "0" else [f"--depth={depth}"]
        for command in (
            ["init", "--quiet"],
            ["fetch", "--quiet", *shallow, f"file://{self._repository}", self._commit],
            ["checkout", "--quiet", "--force", "FETCH_HEAD"],
        ):
            subprocess.run([*git, *command], check=True, capture_output=True, timeout=60)

    def _run_script(self, step: Step, job: Job) -> None:
        script = script_of(step.item)
        if script is None:
            raise PipelineError(f"{step.name} is neither a script nor known to be run elsewhere")
        file = job.folder / "_temp" / f"script-{len(job.steps)}.sh"
        file.write_text(_expanded(script, job))
        inside = step.item.get("target", "host") != "host"
        known = {name.upper().replace(".", "_"): value for name, value in job.variables.items()}
        ran = subprocess.run(
            ["bash", "--noprofile", "--norc", str(file)],
            cwd=step.cwd,
            env={**(self._world.container if inside else self._world.host), **known, **step.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=_STEP_SECONDS,
            check=False,
        )
        step.output = ran.stdout
        step.result = FAILED if ran.returncode else SUCCEEDED
        for line in ran.stdout.splitlines():
            if line.startswith("##vso"):
                self._obey(line, step, job)

    def _obey(self, line: str, step: Step, job: Job) -> None:
        found = _COMMAND.match(line)
        if not found:
            raise PipelineError(f"{line!r} is no logging command")
        settings = dict(one.split("=", 1) for one in found[2].split(";") if "=" in one)
        match found[1]:
            case "task.setvariable" if settings.get("isOutput") == "true":
                if "name" not in step.item:
                    raise PipelineError(f"{step.name}: outputs need a name of the step")
                job.outputs[f"{step.item['name']}.{settings['variable']}"] = found[3]
            case "task.setvariable":
                job.variables[settings["variable"]] = found[3]
            case "task.logissue":
                self.issues.append(f"{settings['type']}: {found[3]}")
            case "task.complete":
                step.result = step.result if step.result == FAILED else settings["result"]
            case "task.uploadsummary":
                self.summaries.append(Path(found[3]).read_text())
            case "build.addbuildtag":
                self.tags.append(found[3])
            case _:
                raise PipelineError(f"{line!r} is no logging command that is known here")


_PREDEFINED = {
    "Build.BuildId": "1",
    "Build.BuildNumber": "20261130.1",
    "Build.DefinitionName": "a pipeline",
    "Build.Reason": "Manual",
    "Build.RequestedFor": "Ada Lovelace",
    "Build.RequestedForEmail": "ada@example.org",
    "Build.SourceBranch": "refs/heads/main",
    "System.DefinitionId": "7",
    "System.TeamProjectId": "fleet",
}


def _expanded(text: str, job: Job) -> str:
    """``$(name)`` by what is known of it; what is not known stays."""
    known = {name.lower(): value for name, value in {**job.variables, **job.secret}.items()}
    for _ in range(3):  # a variable may hold another's name
        text = _MACRO.sub(lambda found: known.get(found[1].lower(), found[0]), text)
    return text


def _status(results: Any) -> dict[str, Callable[..., bool]]:
    found = list(results)
    return {
        "succeeded": lambda *_: all(one in WELL for one in found),
        "failed": lambda *_: FAILED in found,
        "succeededorfailed": lambda *_: all(one in (*WELL, FAILED) for one in found),
        "always": lambda *_: True,
        "canceled": lambda *_: False,
    }


def _holds(condition: str, context: Item) -> bool:
    return truth(evaluate(condition, context))


def _worst(results: Any) -> str:
    found = [one for one in results if one != SKIPPED]
    if not found:
        return SKIPPED
    return FAILED if FAILED in found else ISSUES if ISSUES in found else SUCCEEDED


def environment(home: Path, *folders: Path, **more: str) -> dict[str, str]:
    """A small one, as agents have: nothing of this process but the programs of the system."""
    path = ":".join([*map(str, folders), "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"])
    return {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "TZ": os.environ.get("TZ", "UTC"), **more}
