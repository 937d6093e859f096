"""What a device's bundles answer to who carries them, and what else it tells."""

from __future__ import annotations

from contracts.outbox import outbox_container
from contracts.records import DeploymentSet
from tests.unit.store.world import World as Fleet
from tests.unit.triggers.world import World


def published(world: World) -> DeploymentSet:
    """app:2 on its way to a boat that has app:1."""
    fleet = Fleet(world.deps.store)
    one, _ = fleet.image("app:1"), fleet.image("app:2")
    fleet.device("boat", one)
    ordered = fleet.set(["boat"], "app:2")
    fleet.plan(ordered, sources=[one])
    fleet.start(ordered)
    fleet.publish(ordered)
    return ordered


def test_a_bundle_in_the_outbox_is_given_with_a_url_that_opens_it_alone(world: World) -> None:
    transfer = Fleet(world.deps.store).transfer(published(world), "boat")
    assert transfer.bundle is not None
    world.deps.blobs.put(outbox_container("boat"), transfer.bundle, [b"bundle"])

    reply = world.call("POST", "/api/devices/boat/export")

    (bundle,) = reply.body["bundles"]
    assert reply.status == 200
    assert (bundle["transferId"], bundle["bundle"], bundle["patchUrl"]) == (
        transfer.transfer_id,
        transfer.bundle,
        None,
    )
    assert bundle["url"].startswith(f"http://host/blobs/{outbox_container('boat')}/{transfer.bundle}?")
    assert "sr=b" in bundle["url"] and reply.body["expiresAt"] == "2030-01-01T12:00:00Z"
    noted = world.call("GET", "/api/audit", subject="boat").body["items"]
    assert "device.export" in [entry["action"] for entry in noted]


def test_what_is_not_in_the_outbox_is_named_as_not_ready(world: World) -> None:
    transfer = Fleet(world.deps.store).transfer(published(world), "boat")

    body = world.call("POST", "/api/devices/boat/export").body

    assert body["bundles"] == []
    assert [(item["transferId"], item["stage"]) for item in body["notReady"]] == [(transfer.transfer_id, "published")]


def test_a_bundle_that_has_arrived_is_not_carried_again(world: World) -> None:
    fleet = Fleet(world.deps.store)
    transfer = fleet.transfer(published(world), "boat")
    world.deps.blobs.put(outbox_container("boat"), str(transfer.bundle), [b"bundle"])
    fleet.report(transfer, "received")

    body = world.call("POST", "/api/devices/boat/export").body

    assert (body["bundles"], [item["stage"] for item in body["notReady"]]) == ([], ["received"])


def test_a_device_that_is_not_enrolled_has_nothing_to_carry(world: World) -> None:
    reply = world.call("POST", "/api/devices/ghost/export")

    assert (reply.status, reply.code) == (404, "request.not_found")
