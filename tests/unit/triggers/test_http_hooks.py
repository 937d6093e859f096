"""What registries tell of pushes: registered once, bounded, and only what the settings name."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from services.settings import load_settings
from tests.unit.triggers.world import World

SECRET = "of sixteen letters and more"
DIGEST = "sha256:" + "a" * 64
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
PATH = "/api/hooks/registry"


@pytest.fixture
def hooked(world: World) -> World:
    settings = {
        "IMAGEDELTA_REGISTRIES": "prod",
        "IMAGEDELTA_REGISTRY_PROD_HOST": "contoso.azurecr.io",
        "IMAGEDELTA_REGISTRY_PROD_AUTOMATIC": "team/*, single",
        "IMAGEDELTA_HOOK_SECRET": SECRET,
    }
    intake = load_settings(settings).intake
    world.deps = replace(world.deps, settings=replace(world.deps.settings, intake=intake))
    return world


def pushed(**changes: Any) -> dict[str, Any]:
    """As Azure's registries send it. Source: "Azure Container Registry webhook reference", image push."""
    target = {
        "mediaType": MANIFEST,
        "size": 524,
        "digest": DIGEST,
        "length": 524,
        "repository": "team/app",
        "tag": "v1",
    }
    request = {
        "id": "3cbb6949-7549-4fa1-86cd-a6d5451dffc7",
        "host": "contoso.azurecr.io",
        "method": "PUT",
        "useragent": "docker/17.09.0-ce go/go1.8.3 git-commit/afdb6d4",
    }
    event = {
        "id": "cb8c3971-9adc-488b-bdd8-43cbb4974ff5",
        "timestamp": "2017-11-17T16:52:01.343145347Z",
        "action": "push",
    }
    outer = {name: value for name, value in changes.items() if name in ("id", "action")}
    host = {"host": changes["host"]} if "host" in changes else {}
    inner = {name: value for name, value in changes.items() if name not in ("id", "action", "host")}
    return {**event, **outer, "target": {**target, **inner}, "request": {**request, **host}}


def tell(world: World, body: Any, secret: str | None = SECRET, kind: str = "application/json; charset=utf-8") -> Any:
    headers = {"content-type": kind} | ({"x-imagedelta-secret": secret} if secret is not None else {})
    return world.call("POST", PATH, body, headers=headers)


def audited(world: World) -> list[tuple[str, str, str]]:
    entries = world.deps.store.audit.list_entries(who=None, subject=None, limit=100, after=None).items
    return [(entry.action, entry.who, entry.detail["reference"]) for entry in entries]


def test_a_push_is_registered_by_digest_under_its_tag_and_audited(hooked: World) -> None:
    reply = tell(hooked, pushed())

    (view,) = reply.body["registrations"]
    assert (reply.status, reply.body["passedOver"]) == (202, [])
    assert view["origin"] == {"registry": f"contoso.azurecr.io/team/app@{DIGEST}", "event": pushed()["id"]}
    assert view["reference"] == "contoso.azurecr.io/team/app:v1"
    started = [(name, payload) for name, _, payload in hooked.durable.started]
    assert started == [("register_image", {"registrationId": view["registrationId"]})]
    assert audited(hooked) == [("image.pushed", "registry prod", "contoso.azurecr.io/team/app:v1")]


def test_an_event_that_is_told_again_is_done_once(hooked: World) -> None:
    first, again = tell(hooked, pushed()), tell(hooked, pushed())

    assert first.body == again.body
    assert len(audited(hooked)) == 1


def test_the_same_image_pushed_again_is_another_event(hooked: World) -> None:
    tell(hooked, pushed())
    tell(hooked, pushed(id="another"))

    assert len(audited(hooked)) == 2


def test_an_id_that_returns_with_another_image_is_passed_over(hooked: World) -> None:
    tell(hooked, pushed())

    reply = tell(hooked, pushed(tag="v2"))

    assert [one["code"] for one in reply.body["passedOver"]] == ["request.idempotency_mismatch"]


@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET + "x", "é"])
def test_without_the_secret_nothing_is_done(hooked: World, secret: str | None) -> None:
    reply = tell(hooked, pushed(), secret)

    assert (reply.status, reply.code) == (401, "caller.secret")
    assert audited(hooked) == []


@pytest.mark.parametrize("secret", [None, "", SECRET])
def test_without_a_secret_in_the_settings_nobody_may_tell(world: World, secret: str | None) -> None:
    assert tell(world, pushed(), secret).code == "caller.secret"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"action": "delete"}, "request.not_automatic"),
        ({"action": "quarantine"}, "request.not_automatic"),
        ({"mediaType": "application/octet-stream"}, "request.not_automatic"),
        ({"tag": None}, "request.not_automatic"),
        ({"id": ""}, "request.not_automatic"),
        ({"repository": "other/app"}, "request.not_automatic"),
        ({"host": "evil.example"}, "request.unknown_registry"),
        ({"host": "contoso.azurecr.io.evil.example"}, "request.unknown_registry"),
        ({"host": ""}, "request.image_name"),
        ({"digest": "sha256:../../x"}, "request.image_name"),
        ({"digest": ""}, "request.image_name"),
        ({"repository": "../../etc"}, "request.image_name"),
        ({"tag": "a b"}, "request.image_name"),
        ({"tag": "x" * 300}, "request.image_name"),
        ({"host": "user:password@contoso.azurecr.io"}, "request.image_name"),
    ],
)
def test_what_is_not_to_be_registered_is_answered_with_the_reason(
    hooked: World, changes: dict[str, Any], code: str
) -> None:
    reply = tell(hooked, pushed(**changes))

    assert (reply.status, reply.body["registrations"]) == (202, [])
    assert [one["code"] for one in reply.body["passedOver"]] == [code]
    assert audited(hooked) == []


def test_a_ping_is_answered(hooked: World) -> None:
    """`az acr webhook ping`."""
    assert tell(hooked, {"id": "1", "action": "ping", "timestamp": "x"}).status == 202


def test_notifications_of_distribution_are_taken_and_a_wrong_one_stops_no_other(hooked: World) -> None:
    """Its envelope holds what happened since the last one: also blobs, pulls and images without a tag."""
    layer = pushed(mediaType="application/octet-stream", id="1", tag=None)
    untagged, image = pushed(tag=None, id="2"), pushed(id="3", repository="single")
    envelope = {"events": [layer, untagged, pushed(id="4", action="pull"), image, {"id": "5"}]}

    reply = tell(hooked, envelope, kind="application/vnd.docker.distribution.events.v1+json")

    assert [one["reference"] for one in reply.body["registrations"]] == ["contoso.azurecr.io/single:v1"]
    assert [one["event"] for one in reply.body["passedOver"]] == ["1", "2", "4", "5"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 415),
        (b"{", 400),
        (b"[]", 400),
        (b'{"events": {}}', 400),
        (b'{"id": 5}', 400),
        (b'{"target": {"tag": ["v1"]}}', 400),
        (json.dumps({"id": "x" * 600}).encode(), 400),
        (json.dumps({"events": [pushed(id=str(n)) for n in range(201)]}).encode(), 400),
        (b'{"events": [' + b'{"events":[' * 5000 + b"]}" * 5000 + b"]}", 400),
        (b" " * (1 << 20) + b"{}", 413),
    ],
)
def test_hostile_bodies_are_bounded(hooked: World, body: bytes, status: int) -> None:
    reply = tell(hooked, body) if body else hooked.call("POST", PATH, body, headers={"x-imagedelta-secret": SECRET})

    assert reply.status == status
    assert audited(hooked) == []
