from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

import store.kernel.retries as retries
from contracts.messages import LastResult
from contracts.requests import EnrolDevice
from services.store_port import Origin
from store.kernel.schema import device_images, patches, sets
from tests.unit.store.statements import failing_once, said
from tests.unit.store.world import MANIFEST, World, digest


def state_of(world: World, device_id: str) -> str:
    device = world.store.devices.device(device_id)
    assert device is not None
    return device.state


def test_the_first_inventory_makes_a_device_active_and_tells_what_it_has(world: World) -> None:
    world.device("ship-1")

    outcome = world.inventory("ship-1", digest("app:1"))

    device = world.store.devices.device("ship-1")
    assert outcome.result == "applied"
    assert device is not None
    assert (device.state, device.installation_id, device.profiles) == ("active", "disk-1", ("v1-64m",))
    assert device.trusted_keys == ("key-1",)
    (image,) = world.store.devices.images_on("ship-1")
    assert (image.image_id, image.references, image.local_digest) == (digest("app:1"), ("app",), digest("l"))


def test_an_inventory_is_whole_so_what_it_does_not_name_is_gone(world: World) -> None:
    world.device("ship-1", digest("app:1"), digest("app:2"))

    world.inventory("ship-1", digest("app:2"), digest("app:3"))

    present = {image.image_id for image in world.store.devices.images_on("ship-1")}
    assert present == {digest("app:2"), digest("app:3")}


def test_an_older_inventory_is_stale_and_a_repeated_one_a_duplicate(world: World) -> None:
    world.device("ship-1", digest("app:1"))
    world.inventory("ship-1", digest("app:2"), sequence=5)

    assert world.inventory("ship-1", digest("app:1"), sequence=4).result == "stale"
    assert world.inventory("ship-1", digest("app:1"), sequence=5).result == "duplicate"
    assert [image.image_id for image in world.store.devices.images_on("ship-1")] == [digest("app:2")]


def test_messages_of_devices_and_modules_nobody_enrolled_change_nothing(world: World) -> None:
    world.device("ship-1", digest("app:1"))

    assert world.inventory("nobody").result == "unknown"
    assert world.inventory("ship-1", module="spy").result == "unknown"
    assert len(world.store.devices.images_on("ship-1")) == 1


def test_an_inventory_from_another_hub_holds_the_device(world: World) -> None:
    world.device("ship-1", digest("app:1"))

    assert world.inventory("ship-1", hub="south").result == "held"
    assert world.inventory("ship-1").result == "held"
    assert state_of(world, "ship-1") == "held"
    assert world.store.devices.desired_facts("ship-1")["paused"] is True


def test_a_resync_releases_a_held_device_and_asks_for_an_inventory(world: World) -> None:
    world.device("ship-1", digest("app:1"))
    world.inventory("ship-1", hub="south")

    device = world.store.devices.resync("ship-1", "tester", world.now)

    assert (device.state, device.held_reason, device.resync) == ("active", None, 2)
    assert world.inventory("ship-1", digest("app:1")).result == "applied"


def test_a_device_moved_to_another_hub_is_believed_once_it_speaks_from_there(world: World) -> None:
    world.device("ship-1", digest("app:1"))

    device, new = world.store.devices.enrol("ship-1", EnrolDevice(hub="south"), "tester", world.now)

    assert (device.state, new, device.hub) == ("held", False, "south")
    assert world.inventory("ship-1", digest("app:1")).result == "held"
    assert world.inventory("ship-1", digest("app:1"), hub="south").result == "applied"
    assert state_of(world, "ship-1") == "active"


def test_an_image_that_is_there_ends_its_transfer_whatever_was_thought(world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2")
    world.publish(of)

    world.inventory("ship-1", digest("app:2"))

    transfer = world.transfer(of, "ship-1")
    assert (transfer.state, transfer.local_digest) == ("succeeded", digest("l"))
    assert world.store.transfers.history(transfer.transfer_id)[-1].source == "inventory"
    assert world.states(world.settled(of)) == ("completed", {"ship-1": "ready"})


def test_a_lost_report_is_healed_by_the_results_of_the_next_inventory(world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2")
    world.publish(of)
    lost = LastResult(
        transfer_id=world.transfer(of, "ship-1").transfer_id,
        attempt=1,
        sequence=4,
        state="failed",
        image_id=digest("app:2"),
        code="seal.invalid",
    )

    world.inventory("ship-1", results=[lost])
    world.inventory("ship-1", results=[lost])

    transfer = world.transfer(of, "ship-1")
    assert (transfer.state, transfer.code) == ("failed", "seal.invalid")
    assert [e.new for e in world.store.transfers.history(transfer.transfer_id)].count("failed") == 1


def test_a_lost_image_is_sent_again_while_its_set_is_not_released(world: World) -> None:
    world.device("ship-1", "-")
    world.device("ship-2", "-")
    of = world.deliver(world.set(["ship-1", "ship-2"], "app:2", manifest=MANIFEST), "ship-1")
    assert world.states(of)[1]["ship-1"] == "ready"

    world.inventory("ship-1")

    transfer = world.transfer(of, "ship-1")
    assert (transfer.state, transfer.attempt) == ("queued", 2)
    assert world.states(of)[1]["ship-1"] == "in_transit"
    assert world.store.sets.is_unplanned(of.set_id, world.now)


def test_an_inventory_sent_before_the_success_does_not_undo_it(world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2", manifest=MANIFEST)
    world.publish(of)
    before = world.origin("ship-1")
    world.report(world.transfer(of, "ship-1"), "succeeded")
    world.settled(of)

    world.origin = lambda *_: before  # type: ignore[method-assign]
    world.inventory("ship-1")

    assert world.transfer(of, "ship-1").state == "succeeded"


def test_a_new_installation_is_a_replaced_device_and_gets_everything_again(world: World) -> None:
    base = world.image("app:1")
    world.device("ship-1", base)
    world.device("ship-2", "-")
    of = world.deliver(world.set(["ship-1", "ship-2"], "app:1", "app:2", manifest=MANIFEST), "ship-1")
    assert world.states(of)[1]["ship-1"] == "ready"

    outcome = world.inventory("ship-1", installation="disk-2")

    transfers = world.store.transfers.of_member(of.set_id, "ship-1")
    assert outcome.result == "applied"
    assert [(t.state, t.attempt, t.sources) for t in transfers] == [("queued", 2, None)] * 2
    assert world.store.devices.images_on("ship-1") == ()
    assert (state_of(world, "ship-1"), world.states(of)[1]["ship-1"]) == ("active", "in_transit")


def test_a_bundle_on_its_way_to_replaced_hardware_is_sent_again(world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2")
    world.publish(of)
    world.report(world.transfer(of, "ship-1"), "received")

    world.inventory("ship-1", installation="disk-2")
    world.plan(of)
    world.publish(of)

    assert (world.transfer(of, "ship-1").state, world.transfer(of, "ship-1").attempt) == ("published", 2)


def test_two_installations_that_alternate_are_held_as_a_duplicate(world: World) -> None:
    world.device("ship-1", digest("app:1"))
    world.inventory("ship-1", digest("app:2"), installation="disk-2")

    outcome = world.inventory("ship-1", digest("app:1"))

    device = world.store.devices.device("ship-1")
    assert outcome.result == "held"
    assert device is not None
    assert (device.state, device.held_reason) == ("held", "two installations report as this device")
    assert [image.image_id for image in world.store.devices.images_on("ship-1")] == [digest("app:2")]


def test_a_late_message_of_the_replaced_hardware_is_stale_and_holds_nobody(world: World) -> None:
    world.device("ship-1", digest("app:1"))
    before: Origin = world.origin("ship-1")
    world.inventory("ship-1", installation="disk-2")

    world.origin = lambda *_: before  # type: ignore[method-assign]
    outcome = world.inventory("ship-1", digest("app:1"), installation="disk-1")

    assert (outcome.result, state_of(world, "ship-1")) == ("stale", "active")


def test_a_source_that_vanished_is_planned_anew_before_it_costs_a_byte(world: World) -> None:
    base = world.image("app:1")
    world.device("ship-1", base)
    of = world.accepted(["ship-1"], "app:2")
    world.plan(of, sources=[base])

    world.inventory("ship-1")

    transfer = world.transfer(of, "ship-1")
    assert (transfer.state, transfer.attempt, transfer.sources, transfer.patch_id) == ("queued", 1, None, None)


def test_replacing_a_device_by_hand_drops_what_was_believed(world: World) -> None:
    world.device("ship-1", "-")
    of = world.deliver(world.set(["ship-1"], "app:2", manifest=MANIFEST))
    world.report(world.transfer(of, "ship-1"), "applying")

    device = world.store.devices.replace("ship-1", "tester", world.later())

    assert (device.state, device.installation_id) == ("enrolled", None)
    assert world.transfer(of, "ship-1").state == "queued"
    assert world.inventory("ship-1").result == "applied"
    assert world.store.sets.is_unplanned(of.set_id, world.now)


def test_retiring_a_device_takes_it_out_of_its_sets(world: World) -> None:
    world.device("ship-1", "-")
    world.device("ship-2", "-")
    of = world.set(["ship-1", "ship-2"], "app:2")
    world.publish(of)

    device = world.store.devices.retire("ship-1", "tester", world.later())

    assert device.state == "retired"
    assert world.member(of, "ship-1").state == "excluded"
    assert world.transfer(of, "ship-1").state == "cancelled"
    assert world.states(world.deliver(of, "ship-2"))[0] == "completed_with_failures"
    assert world.inventory("ship-1").result == "unknown"


def test_an_inventory_that_says_nothing_new_writes_no_image(world: World) -> None:
    world.device("ship-1", digest("app:1"), digest("app:2"))
    since = {image.seen_at for image in world.store.devices.images_on("ship-1")}

    with said(world.store) as statements:
        world.inventory("ship-1", digest("app:1"), digest("app:2"))

    assert not [one for one in statements if "device_images" in one and not one.startswith("SELECT")]
    assert {image.seen_at for image in world.store.devices.images_on("ship-1")} == since


def test_of_an_image_that_is_called_differently_the_rest_stays(world: World) -> None:
    world.device("ship-1", digest("app:1"), digest("app:2"))
    before = world.store.devices.images_on("ship-1")
    values = {"references": ["else"], "local_digest": None}
    renamed = device_images.update().where(device_images.c.image_id == digest("app:1")).values(**values)
    world.store._db.write(lambda connection: connection.execute(renamed))

    world.inventory("ship-1", digest("app:1"), digest("app:2"))

    assert world.store.devices.images_on("ship-1") == before


def test_an_inventory_costs_the_same_whatever_the_fleet_and_the_number_of_images(world: World) -> None:
    counts = []
    for size in (2, 20):
        names = [world.device(f"of{size}-{number}", "-") for number in range(size)]
        of = world.set(names, "app:2", "app:3", workstream=f"of{size}")
        world.publish(of)
        images = [digest(f"image {number}") for number in range(size * 20)]
        with said(world.store) as statements:
            world.inventory(names[0], digest("app:2"), *images)
        counts.append(len(statements))

    assert counts[0] == counts[1] <= 20


def marked(world: World) -> list[Any]:
    query = select(sets.c.name).where(sets.c.plan_at.is_not(None)).order_by(sets.c.ordinal)
    return list(world.store._db.read(lambda connection: connection.execute(query).scalars().all()))


def clear_marks(world: World) -> None:
    world.store._db.write(lambda connection: connection.execute(sets.update().values(plan_at=None)))


def test_an_inventory_marks_the_sets_that_wait_for_it_to_be_planned_and_no_others(world: World) -> None:
    for name in ("ship-1", "ship-2"):
        world.device(name)
    for name, devices in (("mine", ["ship-1"]), ("both", ["ship-1", "ship-2"]), ("theirs", ["ship-2"])):
        world.accepted(devices, "app:2", name=name)
    clear_marks(world)

    outcome = world.inventory("ship-1")

    assert marked(world) == ["mine", "both"]
    assert len(outcome.set_ids) == 2


def test_a_source_that_vanished_marks_the_set_to_be_planned(world: World) -> None:
    base = world.image("app:1")
    world.device("ship-1", base)
    of = world.accepted(["ship-1"], "app:2")
    world.plan(of, sources=[base])
    clear_marks(world)

    assert world.inventory("ship-1", base).set_ids == ()
    assert world.inventory("ship-1").set_ids == (of.set_id,)
    assert marked(world) == [of.name]


def test_a_device_that_is_believed_again_makes_what_waits_for_it_due(world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2")
    waiting = world.accepted(["ship-1"], "app:3", name="waiting", workstream="another")
    world.inventory("ship-1", hub="south")
    patch = patches.update().values(next_try_at=None)
    world.store._db.write(lambda connection: connection.execute(patch))
    clear_marks(world)

    world.store.devices.resync("ship-1", "tester", world.later())

    due = select(patches.c.next_try_at)
    assert marked(world) == [waiting.name]
    assert world.store._db.read(lambda connection: connection.execute(due).scalar_one()) == world.now
    assert world.transfer(of, "ship-1").state == "queued"


def test_a_failed_result_of_an_image_that_is_there_all_the_same_fails_nobody(world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2", manifest=MANIFEST)
    world.publish(of)
    transfer_id = world.transfer(of, "ship-1").transfer_id
    result = LastResult(transfer_id=transfer_id, attempt=1, sequence=4, state="failed", image_id=digest("app:2"))

    world.inventory("ship-1", digest("app:2"), results=[result])

    assert [event.new for event in world.store.transfers.history(transfer_id)][-2:] == ["failed", "succeeded"]
    assert world.states(of)[1] == {"ship-1": "ready"}
    assert world.kinds(of) == []


def test_a_replaced_device_is_sent_an_image_once_although_two_sets_had_it_by_two_transfers(world: World) -> None:
    world.device("ship-1", "-")
    world.device("ship-2", "-")
    of = world.deliver(world.set(["ship-1", "ship-2"], "app:2", manifest=MANIFEST), "ship-1")
    arrived = world.transfer(of, "ship-1")
    world.store._db.write(lambda connection: connection.execute(device_images.delete()))
    other = world.set(["ship-1"], "app:2", workstream="another")
    assert world.transfer(other, "ship-1").transfer_id != arrived.transfer_id

    world.inventory("ship-1", installation="disk-2")

    assert world.transfer(of, "ship-1").transfer_id == world.transfer(other, "ship-1").transfer_id
    assert world.transfer(of, "ship-1").state == "queued"
    assert world.states(of)[1]["ship-1"] == "in_transit"


def test_whichever_statement_finds_the_database_busy_the_inventory_is_taken_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE_SECONDS", 0)
    done = place = 0
    while not done:
        name = world.device(f"ship-{place}", digest("app:1"))
        of = world.set([name], "app:2", "app:3", manifest=MANIFEST, workstream=name)
        world.publish(of)

        with failing_once(world.store, place) as ran:
            assert world.inventory(name, digest("app:2"), installation="disk-2").result == "applied"

        transfers = {t.reference: t for t in world.store.transfers.of_set(of.set_id)}
        assert [image.image_id for image in world.store.devices.images_on(name)] == [digest("app:2")]
        lines = [event.new for event in world.store.transfers.history(transfers["app:3"].transfer_id)]
        assert (lines[-2:], transfers["app:3"].attempt) == (["published", "queued"], 2)
        done, place = ran[0] <= place, place + 1
    assert place > 8
