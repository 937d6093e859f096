"""Signing in with Entra ID: Microsoft's own library, against stand-ins of what it asks."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.identity import AzurePipelinesCredential, DefaultAzureCredential

from imagedelta_cli import api_options, exits
from imagedelta_cli.api_client import Api, Endpoint
from imagedelta_cli.entra import credential_of
from imagedelta_cli.main import run
from tests.simulators.managed_identity import ManagedIdentity, managed_identity

AUDIENCE = "api://c0ffee00-0000-4000-8000-000000000001"
EMPTY = {"items": [], "next": None}
PIPELINE = {
    "AZURESUBSCRIPTION_TENANT_ID": "c0ffee00-0000-4000-8000-000000000002",
    "AZURESUBSCRIPTION_CLIENT_ID": "c0ffee00-0000-4000-8000-000000000003",
    "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID": "c0ffee00-0000-4000-8000-000000000004",
    "SYSTEM_ACCESSTOKEN": "job's own",
}


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody is signed in here, and no metadata service is waited for."""
    for name in list(os.environ):
        if name.startswith(("AZURE", "IMAGEDELTA_", "IDENTITY_", "MSI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("IMAGEDELTA_URL", "https://host.example")
    monkeypatch.setenv("IMAGEDELTA_AUDIENCE", AUDIENCE)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[httpx.Headers]:
    """Headers of the calls to the deployment."""
    headers: list[httpx.Headers] = []

    def handle(request: httpx.Request) -> httpx.Response:
        headers.append(request.headers)
        return httpx.Response(200, json=EMPTY)

    def api(endpoint: Endpoint) -> Api:
        return Api(endpoint, client=httpx.Client(transport=httpx.MockTransport(handle), trust_env=False), pause=0)

    monkeypatch.setattr(api_options, "Api", api)
    return headers


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[ManagedIdentity]:
    with managed_identity() as of:
        for name, value in of.environment.items():
            monkeypatch.setenv(name, value)
        yield of


@pytest.fixture
def az(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What the Azure CLI answers; a machine that has it is asked for no managed identity."""
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "dev")

    def install(script: str) -> None:
        path = tmp_path / "bin/az"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return install


def test_a_machine_asks_with_the_token_of_its_managed_identity(
    asked: list[httpx.Headers], identity: ManagedIdentity
) -> None:
    assert run(["devices", "list"]) == exits.DONE

    (headers,) = asked
    assert headers["authorization"] == f"Bearer token-of-{AUDIENCE}"
    assert "x-functions-key" not in headers and "x-imagedelta-user" not in headers


def test_a_token_is_asked_for_once_for_all_calls_of_a_command(
    asked: list[httpx.Headers], identity: ManagedIdentity
) -> None:
    run(["devices", "show", "boat"])
    run(["explain", "boat"])
    calls = len(asked)
    asked_before = len(identity.asked)
    run(["status"])

    assert calls >= 2
    assert len(identity.asked) - asked_before == 1


def test_a_token_that_ends_during_a_long_run_is_asked_for_anew(
    asked: list[httpx.Headers], identity: ManagedIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity.lifetime = 60
    monkeypatch.setattr(api_options.time, "sleep", lambda seconds: None)
    started: list[int] = []

    def look(api: Api) -> dict[str, Any]:
        started.append(1)
        return {**api.get("deployment-sets/set-1"), "state": "over" if len(started) == 3 else "running"}

    endpoint = Api(api_options.find_endpoint(None, None, None)).endpoint
    api = api_options.Api(endpoint)
    api_options.wait_for(lambda: look(api), lambda found: found["state"] == "over", timeout=60, tell=lambda found: None)

    assert (len(asked), len(identity.asked)) == (3, 3)


def test_a_person_asks_with_the_token_of_az_login(asked: list[httpx.Headers], az: Any, tmp_path: Path) -> None:
    ends = datetime.now() + timedelta(hours=1)
    token = {"accessToken": "of ada", "expiresOn": ends.isoformat(" "), "expires_on": int(ends.timestamp())}
    az(f"echo \"$*\" >> {tmp_path}/said\necho '{json.dumps(token)}'")

    assert run(["devices", "list"]) == exits.DONE

    assert asked[0]["authorization"] == "Bearer of ada"
    assert AUDIENCE in (tmp_path / "said").read_text()


def test_an_agent_of_azure_pipelines_asks_by_its_service_connection() -> None:
    assert isinstance(credential_of({**PIPELINE, "SYSTEM_OIDCREQUESTURI": "https://a"}), AzurePipelinesCredential)


@pytest.mark.parametrize("missing", PIPELINE)
def test_without_one_of_its_variables_an_agent_is_a_machine_like_others(missing: str) -> None:
    left = {name: value for name, value in PIPELINE.items() if name != missing}

    assert isinstance(credential_of(left), DefaultAzureCredential)


@pytest.mark.parametrize(
    ("variables", "sent"),
    [
        ({"IMAGEDELTA_KEY": "k", "IMAGEDELTA_TOKEN": "t"}, ("x-functions-key", "k")),
        ({"IMAGEDELTA_TOKEN": " t "}, ("authorization", "Bearer t")),
        ({"IMAGEDELTA_TOKEN": "t", "IMAGEDELTA_USER": "Ada"}, ("x-imagedelta-user", "Ada")),
    ],
)
def test_a_key_or_a_token_that_is_given_needs_nobody_signed_in(
    asked: list[httpx.Headers], monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], sent: tuple[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert run(["devices", "list"]) == exits.DONE
    assert asked[0][sent[0]] == sent[1]


@pytest.mark.parametrize(
    "answer", [(500, "<html>"), (200, "{}"), (200, "no json"), (400, '{"error": "invalid_request"}'), (403, "")]
)
def test_an_identity_that_gives_no_token_is_told_and_the_deployment_is_not_asked(
    asked: list[httpx.Headers], identity: ManagedIdentity, capsys: Any, answer: tuple[int, str]
) -> None:
    identity.failures = [answer] * 9

    assert run(["devices", "list", "--json"]) == exits.REFUSED

    told = json.loads(capsys.readouterr().err.splitlines()[-1])["error"]
    assert (told["code"], asked) == ("cli.not_signed_in", [])
    assert AUDIENCE in told["detail"] and "az login" in told["remedy"]


def test_who_is_not_signed_in_is_told_how(asked: list[httpx.Headers], az: Any, capsys: Any) -> None:
    az("echo 'ERROR: Please run az login to setup account.' >&2; exit 1")

    assert run(["devices", "list"]) == exits.REFUSED

    told = capsys.readouterr().err
    assert "code: cli.not_signed_in" in told and "Please run 'az login'" in told
    assert "AzurePowerShellCredential" not in told
    assert asked == []
