"""Tokens: asked for once for each repository and kept until they end; Azure's registries, for an identity."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import parse_qs

import httpx
import pytest

from imagedelta.errors import DependencyError, RequestError
from imagedelta_registry.acr import SCOPE, AcrLogin
from imagedelta_registry.client import Registry
from imagedelta_registry.jwt import ends_at
from imagedelta_registry.login import Login
from tests.unit.registry.http_world import HttpWorld

ANN = Login("ann", "a:password")


def a_token(**claims: object) -> str:
    def part(document: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'RS256'})}.{part(claims)}.{part('seal')}"


class World(HttpWorld):
    """A registry of two repositories, whose token server gives ``token`` with ``more``."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.more = "t0k", {"expires_in": 300}
        self.forms: list[dict[str, list[str]]] = []
        for repository in ("a", "b"):
            self.routes[f"/v2/{repository}/manifests/1"] = self.guarded
        self.routes["/oauth2/token"] = self.give
        self.routes["/oauth2/exchange"] = self.exchange
        self.refresh_token = a_token(iat=1_000, exp=1_000 + 3 * 3600)

    def guarded(self, handler):
        if handler.headers.get("Authorization") == f"Bearer {self.token}":
            return 200, {}, b"{}"
        return 401, {"WWW-Authenticate": f'Bearer realm="http://{self.address}/oauth2/token",service="s"'}, b""

    def give(self, handler):
        self.forms.append(self.form(handler))
        return 200, {}, json.dumps({"access_token": self.token, **self.more}).encode()

    def exchange(self, handler):
        self.forms.append(self.form(handler))
        return 200, {}, json.dumps({"refresh_token": self.refresh_token}).encode()

    def form(self, handler):
        return parse_qs(handler.rfile.read(int(handler.headers.get("Content-Length", 0))).decode())

    def asked(self, path):
        return [seen for seen, _, _ in self.seen if seen.partition("?")[0] == path]


@pytest.fixture
def world():
    world = World()
    yield world
    world.close()


@pytest.fixture
def registry(world):
    with Registry(world.address, lambda: ANN, pause=0) as registry:
        yield registry


def read(registry, repository="a"):
    return registry.document(f"{repository}/manifests/1", 100)[0]


def test_a_token_is_kept_for_its_repository_alone(world, registry):
    for repository in "aabab":
        assert read(registry, repository) == b"{}"

    assert [parse_qs(path.partition("?")[2])["scope"][0] for path in world.asked("/oauth2/token")] == [
        "repository:a:pull",
        "repository:b:pull",
    ]
    assert len(world.asked("/v2/a/manifests/1")) == 1 + 3


@pytest.mark.parametrize("more", [{"expires_in": 20}, {"expires_in": -1}, {"expires_in": 0}])
def test_a_token_that_is_about_to_end_is_not_used_again(world, registry, more):
    world.more = more

    read(registry), read(registry)

    assert len(world.asked("/oauth2/token")) == 2


def test_a_token_that_the_registry_takes_no_more_is_replaced_at_once(world, registry):
    read(registry)
    world.token = "another"

    assert read(registry) == b"{}"


@pytest.mark.parametrize(
    ("answer", "claims", "seconds"),
    [
        ({"expires_in": 300}, {"iat": 5, "exp": 6}, 270),
        ({}, {"iat": 1_000, "exp": 1_000 + 75 * 60}, 3_570),
        ({}, {}, 30),
        ({"expires_in": True}, {"iat": "x", "exp": 5}, 30),
        ({"expires_in": 1e30}, {}, 3_570),
        ({}, {"iat": 10, "exp": -1e30}, 0),
    ],
)
def test_how_long_a_token_is_used(answer, claims, seconds):
    assert ends_at(a_token(**claims), answer) == pytest.approx(time.time() + seconds, abs=5)


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.!!!.c", "a..c", "a.W10.c", "é.é.é"])
def test_a_token_that_is_none_of_json_is_used_for_half_a_minute(token):
    assert ends_at(token, {}) == pytest.approx(time.time() + 30, abs=5)


# ---------------------------------------------------------------- Azure's registries


@pytest.fixture
def identity():
    asked = []

    def token(scope):
        asked.append(scope)
        return "of-entra"

    token.asked = asked
    return token


@pytest.fixture
def azure(world, identity):
    client = httpx.Client()
    with Registry(world.address, AcrLogin(world.address, client, identity), pause=0, client=client) as registry:
        yield registry


def test_an_identity_reads_with_one_exchange_and_a_token_for_each_repository(world, azure, identity):
    world.more = {}
    world.token = a_token(iat=1_000, exp=1_000 + 75 * 60)

    for repository in "abab":
        assert read(azure, repository) == b"{}"

    exchange, first, second = world.forms
    assert exchange == {"grant_type": ["access_token"], "service": [world.address], "access_token": ["of-entra"]}
    assert first == {
        "grant_type": ["refresh_token"],
        "client_id": ["imagedelta"],
        "service": ["s"],
        "scope": ["repository:a:pull"],
        "refresh_token": [world.refresh_token],
    }
    assert second["scope"] == ["repository:b:pull"]
    assert identity.asked == [SCOPE]


def test_an_exchange_that_has_ended_is_made_again(world, azure, identity):
    world.refresh_token = a_token(iat=1_000, exp=1_010)

    read(azure, "a"), read(azure, "b")

    assert len(identity.asked) == 2


def test_the_identitys_token_goes_to_the_configured_registry_alone(world, azure):
    """Wherever the registry sends us for a token, and whatever it asks there."""
    other = World()
    try:
        refusal = {"WWW-Authenticate": f'Bearer realm="http://{other.address}/oauth2/token",service="evil"'}
        world.routes["/v2/a/manifests/1"] = (401, refusal, b"")
        with pytest.raises(RequestError):
            read(azure)
        assert "of-entra" not in json.dumps(other.forms)
        assert other.asked("/oauth2/exchange") == []
    finally:
        other.close()


@pytest.mark.parametrize(
    ("answer", "error", "code"),
    [
        ((401, {}, b"{}"), RequestError, "registry.denied"),
        ((403, {}, b"{}"), RequestError, "registry.denied"),
        ((429, {}, b""), DependencyError, "dependency.registry"),
        ((503, {}, b""), DependencyError, "dependency.registry"),
        ((307, {"Location": "http://127.0.0.1:1/"}, b""), RequestError, "registry.protocol"),
        ((200, {}, b'{"refresh_token": ""}'), RequestError, "registry.protocol"),
        ((200, {}, b"x" * (2 << 20)), RequestError, "registry.protocol"),
    ],
)
def test_a_failed_exchange_has_a_code_and_tells_no_token(world, azure, answer, error, code):
    world.routes["/oauth2/exchange"] = answer

    with pytest.raises(error) as refusal:
        read(azure)
    assert refusal.value.code == code
    assert "of-entra" not in str(refusal.value)
