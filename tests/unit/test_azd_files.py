"""azure.yaml and azure-dev.yml fit each other, the templates and the repository."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.settings import load_settings
from tests.pipelines.checks import against_schema

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


def test_azds_file_has_the_form_that_azd_reads() -> None:
    """Names of what is inside ``hooks``, ``pipeline`` and ``requiredVersions`` are refused when azd does not know them.

    Source: Azure/azure-dev, schemas/v1.0/azure.yaml.json (commit 00cddf71).
    """
    assert set(AZURE) <= {"name", "metadata", "requiredVersions", "infra", "services", "pipeline", "hooks", "workflows"}
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", AZURE["name"])
    assert set(AZURE["pipeline"]) <= {"provider", "variables", "secrets"}
    assert set(AZURE["requiredVersions"]) == {"azd"}
    for service in AZURE["services"].values():
        assert not {"image", "docker", "k8s", "apiVersion", "env"} & set(service), "not of a function app"
    for hook in AZURE["hooks"].values():
        known = {"shell", "kind", "dir", "run", "continueOnError", "interactive", "windows", "posix", "secrets"}
        assert set(hook) <= known
        assert hook["shell"] in ("sh", "pwsh"), "an inline script names its shell"


BY_AZD = {"AZURE_ENV_NAME", "AZURE_LOCATION", "AZURE_PRINCIPAL_ID", "AZURE_PRINCIPAL_TYPE"}
"""Source: Azure/azure-dev, cli/azd/CHANGELOG.md, 1.17.1 for the last."""


def parameters() -> set[str]:
    return set(re.findall(r"\$\{(\w+)[=}]", PARAMETERS))


@pytest.mark.parametrize("mail", [True, False])
def test_what_azd_puts_into_the_environment_of_the_hook_is_taken_by_the_app(mail: bool) -> None:
    """Every parameter and output is there, and the app refuses what only looks like one of its settings."""
    given = re.findall(r"^output (\w+) ", (ROOT / "infra/main.bicep").read_text(), re.M)
    stated = {
        "IMAGEDELTA_DATABASE_URL": "mssql+pyodbc://sql-x.database.windows.net/imagedelta",
        "IMAGEDELTA_URL": "https://func-x.azurewebsites.net",
        "IMAGEDELTA_SMTP_HOST": "smtp.example.org" if mail else "",
        "IMAGEDELTA_SMTP_USER": "app" if mail else "",
        "IMAGEDELTA_SMTP_PASSWORD": "correct-horse" if mail else "",
        "IMAGEDELTA_MAIL_FROM": "ops@example.org" if mail else "",
    }

    settings = load_settings(dict.fromkeys([*given, *parameters()], "x") | stated)

    assert settings.database_url == stated["IMAGEDELTA_DATABASE_URL"]
    assert {name for name in [*given, *parameters()] if name.startswith("IMAGEDELTA_")} == set(stated)


def test_the_pipeline_takes_along_every_parameter_that_a_person_may_have_set() -> None:
    """Else a deployment by the pipeline would take back what `azd env set` had said."""
    taken = [*AZURE["pipeline"]["variables"], *AZURE["pipeline"]["secrets"]]

    assert set(taken) | BY_AZD == parameters()
    assert [name for name in taken if "PASSWORD" in name] == AZURE["pipeline"]["secrets"]


def test_the_pipeline_gives_each_step_what_azd_cannot_know() -> None:
    steps = [step for step in PIPELINE["steps"] if step.get("task") == "AzureCLI@2"]

    assert [step["inputs"]["inlineScript"].split("azd ")[-1].split()[0] for step in steps] == ["provision", "deploy"]
    for step in steps:
        assert {"AZURE_SUBSCRIPTION_ID", "AZURE_ENV_NAME", "AZURE_LOCATION"} <= set(step["env"])
        assert step["env"]["AZURE_PRINCIPAL_TYPE"] == "ServicePrincipal"
        assert step["inputs"]["azureSubscription"] == "azconnection"
        assert step["inputs"]["keepAzSessionActive"] is True


@pytest.mark.parametrize(
    ("given", "seen"), [("$(IMAGEDELTA_SMTP_PASSWORD)", "unset"), ("correct-horse", "correct-horse"), ("", "")]
)
def test_a_secret_that_nobody_set_is_no_password(given: str, seen: str, tmp_path: Path) -> None:
    """Azure Pipelines replaces `$(NAME)` where it knows NAME, in scripts as in variables."""
    step = next(step for step in PIPELINE["steps"] if "provision" in step.get("inputs", {}).get("inlineScript", ""))
    azd = tmp_path / "azd"
    azd.write_text('#!/bin/sh\necho "${IMAGEDELTA_SMTP_PASSWORD-unset}"\n')
    azd.chmod(0o755)
    script = step["inputs"]["inlineScript"].replace("$(IMAGEDELTA_SMTP_PASSWORD)", given)

    done = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "IMAGEDELTA_SMTP_PASSWORD": given},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert done.stdout == f"{seen}\n"


def test_the_python_of_the_pipeline_is_that_of_the_app() -> None:
    (python,) = (
        step["inputs"]["versionSpec"] for step in PIPELINE["steps"] if step.get("task") == "UsePythonVersion@0"
    )

    assert f"version: '{python}'" in (ROOT / "infra/app/api.bicep").read_text()


def test_the_page_names_every_variable_and_every_output() -> None:
    page = (ROOT / "docs/azure.md").read_text()
    asked = set(re.findall(r"azd env get-value (\w+)", page + (ROOT / "docs/tutorial.md").read_text()))
    set_ = set(re.findall(r"azd env set (\w+)", page))
    given = set(re.findall(r"^output (\w+) ", (ROOT / "infra/main.bicep").read_text(), re.M))

    assert [name for name in sorted(parameters()) if f"`{name}`" not in page] == []
    assert asked <= given
    assert set_ <= parameters()


def test_the_pipeline_has_the_form_that_azure_pipelines_reads() -> None:
    """But for the task of azd's own extension, which the schema does not know."""
    known = [step for step in PIPELINE["steps"] if step.get("task") != "setup-azd@1"]

    assert against_schema({**PIPELINE, "steps": known}) == []
    assert len(known) == len(PIPELINE["steps"]) - 1
    assert against_schema({**PIPELINE, "steps": [*known, {"task": "AzureCLI@2", "inputs": {"azure": "x"}}]}) != []


def test_the_pipeline_holds_no_secret() -> None:
    text = (ROOT / ".azdo/pipelines/azure-dev.yml").read_text().replace("IMAGEDELTA_SMTP_PASSWORD", "").lower()

    assert not re.search(r"client.?secret|password|connectionstring|sharedaccesskey", text)
