"""Tokens come from the managed identity of the function app, by Microsoft's own library over its real protocol."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from imagedelta.errors import DependencyError
from services.identity import Identity
from tests.simulators.managed_identity import ManagedIdentity, managed_identity

SQL = "https://database.windows.net/.default"
STORAGE = "https://storage.azure.com/.default"


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[ManagedIdentity]:
    with managed_identity() as of:
        for name, value in of.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AZURE_CLIENT_ID", raising=False)
        yield of


def test_a_token_is_asked_for_once_and_kept_while_it_lives(endpoint: ManagedIdentity) -> None:
    identity = Identity()

    tokens = {identity.token(SQL) for _ in range(3)} | {identity.token(STORAGE)}

    assert tokens == {"token-of-https://database.windows.net", "token-of-https://storage.azure.com"}
    assert [query["resource"] for query in endpoint.asked] == [
        "https://database.windows.net",
        "https://storage.azure.com",
    ]
    assert all("client_id" not in query for query in endpoint.asked)


def test_a_token_that_ends_soon_is_asked_for_again(endpoint: ManagedIdentity) -> None:
    endpoint.lifetime = 60
    identity = Identity()

    identity.token(SQL)
    identity.token(SQL)

    assert len(endpoint.asked) == 2


def test_a_user_assigned_identity_is_named_by_its_client_id(
    endpoint: ManagedIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_ID", "c0ffee00-0000-4000-8000-000000000001")

    Identity().token(SQL)

    assert endpoint.asked[0]["client_id"] == "c0ffee00-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    "answer",
    [
        (400, '{"error": "invalid_request", "error_description": "No managed identity is assigned"}'),
        (403, "go away"),
        (200, "not json"),
        (200, "[]"),
        (200, '{"access_token": "half"}'),
    ],
)
def test_an_endpoint_without_a_token_is_a_dependency_that_does_not_answer(
    endpoint: ManagedIdentity, answer: tuple[int, str]
) -> None:
    endpoint.failures = [answer] * 9

    with pytest.raises(DependencyError, match=r"AZURE_CLIENT_ID") as caught:
        Identity().token(SQL)

    assert caught.value.code == "dependency.identity"


def test_an_endpoint_that_fails_once_is_asked_again(endpoint: ManagedIdentity) -> None:
    endpoint.failures = [(500, "{}")]

    assert Identity().token(SQL) == "token-of-https://database.windows.net"


def test_an_endpoint_that_is_gone_is_a_dependency_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:9/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "x")

    with pytest.raises(DependencyError) as caught:
        Identity().token(SQL)

    assert caught.value.code == "dependency.identity"


def test_outside_of_azure_nobody_who_is_signed_in_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("AZURE_", "IDENTITY_", "MSI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", "/nonexistent")  # no az, azd or pwsh to ask

    with pytest.raises(DependencyError, match=r"az login"):
        Identity().token(SQL)


def test_an_app_that_wants_no_token_does_not_load_the_library() -> None:
    text = "import sys, services.identity; services.identity.Identity(); print('azure.identity' in sys.modules)"

    ran = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "False"
