"""azure.yaml and azure-dev.yml fit each other, the templates and the repository."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
AZURE: dict[str, Any] = yaml.safe_load((ROOT / "azure.yaml").read_text())
PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / ".azdo/pipelines/azure-dev.yml").read_text())
PARAMETERS = (ROOT / "infra/main.parameters.json").read_text()


def test_the_service_is_the_function_app_of_the_root() -> None:
    (service,) = AZURE["services"].values()

    assert (service["host"], service["language"]) == ("function", "python")
    for file in ("host.json", "function_app.py", "requirements.txt"):
        assert (ROOT / service["project"] / file).is_file()


def test_the_templates_tag_the_service_by_the_name_that_azd_looks_for() -> None:
    (name,) = AZURE["services"]

    assert f"'azd-service-name': '{name}'" in (ROOT / "infra/main.bicep").read_text()
    assert (ROOT / AZURE["infra"]["path"] / f"{AZURE['infra']['module']}.bicep").is_file()


def test_the_migration_runs_before_the_code_and_stops_it_when_it_fails() -> None:
    assert list(AZURE["hooks"]) == ["predeploy"]
    hook = AZURE["hooks"]["predeploy"]
    script = ROOT / hook["run"].removeprefix("bash ")
    assert hook["continueOnError"] is False
    assert os.access(script, os.X_OK)


def test_what_the_migration_is_told_is_given_out_by_the_templates() -> None:
    needed = re.search(r"for name in (.*); do", (ROOT / "scripts/azure-database").read_text())
    given = set(re.findall(r"^output (\w+) ", (ROOT / "infra/main.bicep").read_text(), re.M))

    assert needed and set(needed[1].split()) <= given


def test_the_pipeline_gives_each_step_what_azd_cannot_know() -> None:
    steps = [step for step in PIPELINE["steps"] if step.get("task") == "AzureCLI@2"]
    by_itself = {"AZURE_PRINCIPAL_ID"}  # azd sets it to who is signed in
    needed = {
        value[2:-1] for each in json.loads(PARAMETERS)["parameters"].values() if "=" not in (value := each["value"])
    }

    assert [step["inputs"]["inlineScript"].split()[1] for step in steps] == ["provision", "deploy"]
    for step in steps:
        assert needed - by_itself <= set(step["env"])
        assert step["env"]["AZURE_PRINCIPAL_TYPE"] == "ServicePrincipal"
        assert step["inputs"]["azureSubscription"] == "azconnection"


def test_the_pipeline_holds_no_secret() -> None:
    text = (ROOT / ".azdo/pipelines/azure-dev.yml").read_text().lower()

    assert not re.search(r"client.?secret|password|connectionstring|sharedaccesskey", text)
