"""Whatever arrives from outside is answered by a code or kept in quarantine; nothing is an unforeseen error."""

from __future__ import annotations

import base64
import gzip
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.requests import EnrolDevice, StartDeployment
from tests.unit.triggers.hubs import VersionedHub
from tests.unit.triggers.world import START, World, make_world
from triggers.hub_events import HubMessage, ingest
from triggers.table import ALL

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = sorted(
    {
        *("name", "workstream", "owner", "devices", "manifest", "images", "values", "hub", "platform", "tags"),
        *("upload", "blob", "registry", "reference", "canaries", "deadline", "maxBytes", "release", "priority"),
        *("transferId", "attempt", "sequence", "state", "imageId", "installationId", "profiles", "freeDiskBytes"),
    }
)
KEY = (
    st.sampled_from(["2030-01-01T00:00:00+00:00", "x", "\ud800", True, 2**63, -1, 1])
    | st.integers()
    | st.text(max_size=9)
)
NEARLY = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=10)
SEGMENT = st.text(st.characters(codec="utf-8", exclude_characters="/?#"), min_size=1, max_size=40)
ORDER: dict[str, Any] = {
    "name": "n",
    "owner": {"name": "Ada", "email": "ada@example.org"},
    "devices": {"ids": ["boat"]},
    "images": ["app:1"],
}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        made = make_world(Path(folder), {"north": VersionedHub(1)})
        made.deps.store.devices.enrol("boat", EnrolDevice(hub="north"), "test", START)
        order = StartDeployment.model_validate(ORDER)
        made.deps.store.sets.create(order, images={"app:1": {}}, manifest=None, by="test", at=START)
        yield made


@settings(max_examples=60)
@given(data=st.data(), body=NEARLY | JSON)
def test_no_body_is_an_unforeseen_error(world: World, data: st.DataObject, body: Any) -> None:
    resource = data.draw(st.sampled_from([item for item in ALL if item.starts_work]))
    operation = data.draw(st.sampled_from([item for item in resource.operations if item.method != "GET"]))
    path = f"/api/{resource.path}".format(deviceId="boat", setId=_set_id(world), imageId="x", registrationId="x")

    reply = world.call(operation.method, path, json.dumps(body).encode(), headers={"content-type": "application/json"})

    assert reply.status != 500, reply.body


@settings(max_examples=60)
@given(
    manifest=NEARLY | st.fixed_dictionaries({"modulesContent": st.fixed_dictionaries({"$edgeAgent": JSON | NEARLY})})
)
def test_no_manifest_is_an_unforeseen_error(world: World, manifest: Any) -> None:
    reply = world.call("POST", "/api/deployment-sets", {**ORDER, "images": None, "manifest": manifest}, dryRun="true")

    assert reply.status == 422


@settings(max_examples=80)
@given(data=st.data(), segment=SEGMENT, value=st.text(max_size=40))
def test_no_address_is_an_unforeseen_error(world: World, data: st.DataObject, segment: str, value: str) -> None:
    resource = data.draw(st.sampled_from([item for item in ALL if item.operations[0].method == "GET"]))
    name = data.draw(st.sampled_from([query.name for query in resource.operations[0].query] or ["after"]))
    path = f"/api/{resource.path}".format(
        deviceId=segment, setId=segment, imageId=segment, registrationId=segment, transferId=segment
    )

    reply = world.call(data.draw(st.sampled_from(["GET", "PUT", "DELETE"])), path, **{name: value})

    assert reply.status != 500, reply.body


LISTS = sorted(item.path for item in ALL if any(q.name == "after" for q in item.operations[-1].query))


@settings(max_examples=80)
@given(path=st.sampled_from([path for path in LISTS if "{" not in path]), keys=st.lists(KEY, max_size=3) | JSON)
@example(path="patches", keys=["0001-01-01T00:00:00+14:00", "x"])
@example(path="audit", keys=[10**30])
def test_no_continuation_is_an_unforeseen_error(world: World, path: str, keys: Any) -> None:
    forged = base64.urlsafe_b64encode(json.dumps(keys).encode()).decode().rstrip("=")

    reply = world.call("GET", f"/api/{path}", after=forged)

    assert reply.status in (200, 400, 422), reply.body


@pytest.mark.parametrize("bucket", ["hour", "day", "week"])
@pytest.mark.parametrize(
    "end", ["0001-01-01T00:00:00Z", "1970-01-02T00:00:00Z", "2999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"]
)
def test_the_ends_of_the_calendar_are_no_unforeseen_error(world: World, bucket: str, end: str) -> None:
    for query in ({"to": end}, {"from": end}, {"from": end, "to": "2030-01-01T00:00:00Z"}):
        assert world.call("GET", "/api/transfers/timeseries", bucket=bucket, **query).status in (200, 422)


@settings(max_examples=100)
@given(
    body=st.binary(max_size=200) | NEARLY.map(lambda item: json.dumps(item).encode()),
    packed=st.booleans(),
    kind=st.sampled_from(["report", "inventory"]) | st.text(max_size=10),
    sender=st.sampled_from(["boat", "stranger"]) | st.none(),
    module=st.sampled_from(["imagereconstruction", "other", None]),
)
def test_every_message_is_taken_or_kept(
    world: World, body: bytes, packed: bool, kind: str, sender: str | None, module: str | None
) -> None:
    sent = gzip.compress(body, 1, mtime=0) if packed else body
    system = {"iothub-connection-device-id": sender, "iothub-connection-module-id": module}
    before = kept(world)

    ingest("north", [HubMessage(system, {"kind": kind}, sent)], world.deps)

    after = kept(world)
    concerns_us = module == "imagereconstruction" or kind in ("report", "inventory")
    assert sum(after.values()) - sum(before.values()) == concerns_us  # what others say among themselves is passed over
    assert "internal" not in after


def kept(world: World) -> Counter[str]:
    counts: Counter[str] = Counter()
    for entry in world.call("GET", "/api/quarantine", limit="500").body["items"]:
        counts[entry["reason"]] += entry["count"]
    return counts


def _set_id(world: World) -> str:
    set_id: str = (
        world.deps.store.sets.list_sets(owner=None, state=None, workstream=None, limit=1, after=None).items[0].set_id
    )
    return set_id
