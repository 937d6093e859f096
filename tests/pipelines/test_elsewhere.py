"""Scripts that need what is not here: read by bash, and run once beside programs that only note how they are called.

That proves our part of them, no more: in the stories they are not run (tests/pipelines/fleet.py, ``ELSEWHERE``).
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.agent import environment
from tests.pipelines.checks import script_of, steps_of
from tests.pipelines.pipelines import ALL, MODULES

pytestmark = pytest.mark.e2e
IDENTITY = {
    "AZURESUBSCRIPTION_TENANT_ID": "tenant",
    "AZURESUBSCRIPTION_CLIENT_ID": "client",
    "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID": "connection",
}
"""As AzureCLI@2 sets them for a service connection with workload identity federation."""


def steps() -> list[dict[str, Any]]:
    documents = [pipeline.expanded(reason="IndividualCI") for pipeline in ALL]
    return [step for one in documents for stage in one["stages"] for job in stage["jobs"] for step in steps_of(job)]


def called(folder: Path, name: str, **env: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a step of module-build beside az, docker and dotnet that note their calls; the calls."""
    (step,) = {
        str(script_of(one)): one
        for stage in MODULES.expanded(reason="IndividualCI")["stages"]
        for job in stage["jobs"]
        for one in steps_of(job)
        if name in (one.get("name"), one.get("displayName"))
    }.values()
    notes, tools = folder / "calls", folder / "tools"
    tools.mkdir()
    for tool in ("az", "docker", "dotnet"):
        (tools / tool).write_text(f'#!/bin/sh\necho "{tool} $*" >>{notes}\n')
        (tools / tool).chmod(0o755)
    ran = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", str(script_of(step))],
        cwd=folder,
        env={**environment(folder), "PATH": f"{tools}:/usr/bin:/bin", **env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return ran, notes.read_text().splitlines() if notes.exists() else []


def test_bash_can_read_every_script() -> None:
    scripts = [script for step in steps() if (script := script_of(step))]

    assert len(scripts) > 20
    for script in scripts:
        read = subprocess.run(["bash", "-n", "-c", script], capture_output=True, text=True, timeout=30, check=False)
        assert read.returncode == 0, read.stderr


def test_later_steps_are_told_who_the_service_connection_is(tmp_path: Path) -> None:
    ran, _ = called(tmp_path, "Sign in as the service connection", **IDENTITY)

    assert ran.stdout.splitlines() == [f"##vso[task.setvariable variable={name}]{IDENTITY[name]}" for name in IDENTITY]


def test_a_service_connection_with_a_secret_is_refused(tmp_path: Path) -> None:
    ran, _ = called(tmp_path, "Sign in as the service connection")

    assert ran.returncode == 1
    assert "AZURESUBSCRIPTION_TENANT_ID is not set: the service connection needs workload identity" in ran.stdout


def test_each_registry_is_signed_in_to(tmp_path: Path) -> None:
    _, calls = called(tmp_path, "Sign in to the registries", REGISTRIES="contosodev.azurecr.io contoso.azurecr.io")

    assert calls == ["az acr login --name contosodev", "az acr login --name contoso"]


def test_source_and_base_image_are_scanned_and_what_is_found_ends_the_build(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("source", "base")]
    for folder in folders:
        folder.mkdir()
    _, (source,) = called(folders[0], "scan_source", FOLDER="modules", MODULE="engine", SCANNER_IMAGE="scanner:1")
    _, base = called(folders[1], "scan_base", BASE_IMAGE="base:1", PLATFORM="linux/arm64", SCANNER_IMAGE="scanner:1")

    assert f"--volume {folders[0]}/modules/engine:/source:ro scanner:1 fs " in source and "--exit-code 1" in source
    assert base[0] == "docker pull --platform linux/arm64 base:1"
    assert " scanner:1 image --input /base.tar " in base[2] and "--exit-code 1" in base[2]


@pytest.mark.parametrize(
    ("platform", "runtime"), [("amd64", "linux-x64"), ("arm64v8", "linux-arm64"), ("arm32v7", "linux-arm")]
)
def test_dotnet_tests_and_then_publishes_for_the_devices_platform(tmp_path: Path, platform: str, runtime: str) -> None:
    (tmp_path / "modules/track").mkdir(parents=True)

    _, calls = called(tmp_path, "dotnet", FOLDER="modules", MODULE="track", PLATFORM=platform)

    assert calls[0] == "dotnet test tests --nologo"
    assert f"--runtime {runtime} --self-contained --output publish" in calls[1]
