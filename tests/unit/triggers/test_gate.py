"""Who may do what: every operation and every kind of caller."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from contracts.callers import ROLES
from contracts.records import ImageRecord
from contracts.requests import EnrolDevice
from imagedelta.errors import RequestError
from tests.callers import APPLICATION, PERSON, Claims, application, header, person
from tests.openapi import own_document
from tests.unit.triggers.hubs import VersionedHub
from tests.unit.triggers.world import START, Reply, World, make_world
from triggers.gate import KeyGate, RoleGate
from triggers.http import Request
from triggers.operations import Operation, Resource
from triggers.table import ALL

OPERATIONS = [(resource, operation) for resource in ALL for operation in resource.operations]
IDS = [f"{operation.method} {resource.path}" for resource, operation in OPERATIONS]
CHANGING = [
    (resource, operation)
    for resource, operation in OPERATIONS
    if operation.method != "GET" and not resource.anonymous  # a registry that tells of pushes: test_http_hooks
]
BODIES: dict[str, Any] = {
    "api_images": {"upload": "u"},
    "api_devices_one": {"hub": "north"},
    "api_devices_one_rebind": {"hub": "north"},
    "api_sets": {"name": "a set", "images": ["app:2"], "devices": {"ids": ["boat"]}},
}
"""Where {} is refused before the line is asked for."""


@pytest.fixture
def roles(tmp_path: Path) -> World:
    """A world behind platform authentication, with a device, and an image that sets can be ordered of."""
    world = make_world(tmp_path, {"north": VersionedHub(3)})
    world.deps.store.devices.enrol("boat", EnrolDevice(hub="north"), "t", START)
    digest = "sha256:" + "b" * 64
    image = ImageRecord("sha256:" + "2" * 64, "linux/amd64", b"{}", (), 5, digest, ("app:2",), START)
    world.deps.store.images.add_image(image)
    world.deps.blobs.put("intake", "u", [b"archive"])
    world.gate = RoleGate()
    return world


def ask(
    world: World, resource: Resource, operation: Operation, principal: str | None = None, body: Any = None
) -> Reply:
    path = "/api/" + re.sub(r"[{}]", "", resource.path.replace("{deviceId}", "boat"))
    given = {"x-ms-client-principal": principal} if principal is not None else {}
    return world.call(operation.method, path, (body or {}) if operation.body else None, headers=given)


def _instead(written: list[tuple[str, str]]) -> Any:
    def change(request: Request, *_: Any) -> Any:
        written.append((request.who, request.caller.text))
        raise RequestError("far enough", code="request.state", status=409)

    return change


@pytest.mark.parametrize(("resource", "operation"), OPERATIONS, ids=IDS)
def test_every_operation_but_the_anonymous_ones_is_closed_to_whoever_brings_no_token(
    roles: World, resource: Resource, operation: Operation
) -> None:
    assert resource.anonymous or ask(roles, resource, operation).status == 401
    assert resource.anonymous or ask(roles, resource, operation, "bm9uc2Vuc2U=").code == "caller.principal"


@pytest.mark.parametrize(("resource", "operation"), OPERATIONS, ids=IDS)
@pytest.mark.parametrize("kind", [person, application])
def test_every_operation_opens_to_its_role_and_to_no_other(
    roles: World, resource: Resource, operation: Operation, kind: Any
) -> None:
    if resource.anonymous:
        return
    for role in sorted(ROLES):
        reply = ask(roles, resource, operation, header(kind(role)))

        opens = role == operation.role or operation.role == "read"
        refused_at_the_gate = reply.status == 403 and f"needs the role {operation.role};" in reply.body["detail"]
        assert refused_at_the_gate != opens, (role, reply)
    assert ask(roles, resource, operation, header(kind())).code == "caller.role"


@pytest.mark.parametrize(("resource", "operation"), OPERATIONS, ids=IDS)
def test_with_function_keys_the_host_lets_in_and_a_header_of_a_token_counts_nothing(
    world: World, resource: Resource, operation: Operation
) -> None:
    assert isinstance(world.gate, KeyGate)
    for principal in (None, "garbage", header(person())):
        reply = ask(world, resource, operation, principal)

        assert reply.status not in (401, 403) or reply.code == "caller.secret"


@pytest.mark.parametrize(("resource", "operation"), OPERATIONS, ids=IDS)
def test_the_document_says_which_role_an_operation_needs(resource: Resource, operation: Operation) -> None:
    described = own_document()["paths"][f"/api/{resource.path}"][operation.method.lower()]

    keys: list[dict[str, list[str]]] = [{"functionKey": []}, {"functionKeyInQuery": []}]
    assert described["security"] == ([] if resource.anonymous else [*keys, {"entra": [operation.role]}])


def test_only_health_the_document_and_what_asks_for_a_secret_of_its_own_are_anonymous() -> None:
    open_ones = {resource.name for resource in ALL if resource.anonymous}

    assert open_ones == {"api_dashboard", "api_health", "api_openapi", "api_hooks_registry"}


def test_an_operation_that_changes_something_cannot_be_open_to_readers() -> None:
    with pytest.raises(ValueError, match="POST"):
        Operation("POST", OPERATIONS[0][1].handler, "Forgotten.", {200: None})


def test_who_may_not_call_learns_nothing_of_what_else_is_wrong(roles: World) -> None:
    def settings_are_wrong() -> Any:
        raise AssertionError("asked for the ports")

    roles._deps = settings_are_wrong  # type: ignore[method-assign]

    assert roles.call("POST", "/api/deployment-sets", b" " * (2 << 20)).status == 401
    assert roles.call("GET", "/api/devices", nonsense="1").status == 401


# whose a set is, and whom the audit log names


BY_SET: dict[str, Any] = {"name": "a set", "images": ["app:2"], "devices": {"ids": ["boat"]}}
MANIFEST: dict[str, Any] = {**BY_SET, "images": None, "manifest": {"modulesContent": {}}}
GRACE = {"name": "Grace", "email": "grace@example.org"}


def start(world: World, claims: Claims, order: dict[str, Any] | None = None, user: str = "") -> Reply:
    headers = {"x-ms-client-principal": header(claims), "x-imagedelta-user": user}
    return world.call("POST", "/api/deployment-sets", order or BY_SET, headers=headers)


def owner(reply: Reply) -> dict[str, str]:
    return {"name": reply.body["ownerName"], "email": reply.body["ownerEmail"]}


def logged(world: World) -> tuple[str, str]:
    entry = world.deps.store.audit.list_entries(who=None, subject=None, limit=1, after=None).items[0]
    return entry.who, entry.how


def test_a_persons_set_is_theirs_whatever_the_header_says(roles: World) -> None:
    reply = start(roles, person("deploy"), user="somebody else")

    assert owner(reply) == {"name": "Ada Lovelace", "email": "ada@example.org"}
    assert logged(roles) == ("ada@corp.example", f"person {PERSON}")


def test_a_person_may_name_themselves_and_nobody_else(roles: World) -> None:
    own = start(roles, person("deploy"), {**BY_SET, "owner": {"name": "A.", "email": "Ada@Example.org"}})
    other = start(roles, person("deploy", "deploy.onbehalf"), {**BY_SET, "owner": GRACE})

    assert owner(own)["name"] == "Ada Lovelace"
    assert (other.status, other.code) == (403, "caller.owner")


def test_a_person_whose_token_names_no_address_names_one(roles: World) -> None:
    claims = [(kind, "ada" if kind == "preferred_username" else it) for kind, it in person("deploy", email="")]

    without = start(roles, claims)
    named = start(roles, claims, {**BY_SET, "owner": GRACE})

    assert (without.status, without.code) == (422, "request.invalid")
    assert owner(named) == {"name": "Ada Lovelace", "email": "grace@example.org"}


def test_an_application_orders_only_on_behalf_of_a_person_that_it_names(roles: World) -> None:
    alone = start(roles, application("deploy"), {**BY_SET, "owner": GRACE})
    nameless = start(roles, application("deploy", "deploy.onbehalf"))
    named = start(roles, application("deploy", "deploy.onbehalf"), {**BY_SET, "owner": GRACE}, user="grace")

    assert (alone.status, alone.code) == (403, "caller.role")
    assert (nameless.status, nameless.code) == (403, "caller.owner")
    assert owner(named) == GRACE
    assert logged(roles) == ("grace", f"application {APPLICATION}")


def test_an_application_without_that_role_names_nobody_to_the_audit_log(roles: World) -> None:
    named = {"x-ms-client-principal": header(application("deploy")), "x-imagedelta-user": "grace"}

    refused = roles.call("POST", "/api/uploads", headers=named)
    taken = roles.call("POST", "/api/uploads", headers={**named, "x-imagedelta-user": ""})

    assert (refused.code, taken.status) == ("caller.role", 201)
    assert logged(roles) == (f"application {APPLICATION}", f"application {APPLICATION}")


def test_who_may_only_deploy_orders_no_set_that_starts_on_devices_by_itself(roles: World) -> None:
    for policy in ("set", "device"):
        assert start(roles, person("deploy"), {**MANIFEST, "release": policy}).code == "caller.role"
    assert start(roles, person("deploy"), {**MANIFEST, "release": "manual"}).code != "caller.role"
    assert start(roles, person("deploy", "release"), MANIFEST).code != "caller.role"


def test_a_function_key_names_the_owner_and_the_person_as_it_likes(roles: World) -> None:
    roles.gate = KeyGate()

    nameless = start(roles, person())
    named = start(roles, person(), {**BY_SET, "owner": GRACE}, user="grace")

    assert (nameless.status, nameless.code) == (422, "request.invalid")
    assert owner(named) == GRACE
    assert logged(roles) == ("grace", "key")


def test_the_same_idempotency_key_of_another_caller_is_another_order(roles: World) -> None:
    def upload(claims: Claims, user: str = "") -> str:
        given = {"x-ms-client-principal": header(claims), "idempotency-key": "k", "x-imagedelta-user": user}
        return str(roles.call("POST", "/api/uploads", headers=given).body["uploadId"])

    mine = upload(person("deploy"))

    assert upload(person("deploy")) == mine
    assert upload(application("deploy", "deploy.onbehalf"), "ada@corp.example") != mine


@pytest.mark.parametrize(("resource", "operation"), CHANGING, ids=[f"{o.method} {r.path}" for r, o in CHANGING])
def test_whatever_changes_something_writes_who_and_how_into_the_audit_log(
    roles: World, resource: Resource, operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is to be changed need not be there: the handler gets as far as asking for the line."""
    written: list[tuple[str, str]] = []
    monkeypatch.setattr("triggers.audit.change", _instead(written))

    reply = ask(
        roles, resource, operation, header(person("deploy", "release", "enrol")), body=BODIES.get(resource.name)
    )

    assert written == [("ada@corp.example", f"person {PERSON}")], reply
