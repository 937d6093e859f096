"""The link: cut, slow to come back, shared by bundles of several classes, and lying now and then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.edge.world import (
    APP_1,
    APP_2,
    CHUNK,
    OTHER,
    MadeBundle,
    World,
    make_bundle,
    noise,
)


def a_bundle_of_noise(number: int, size: int, priority: int = 2) -> MadeBundle:
    """Sealed and whole, but its patch makes nothing: for tests of the link alone."""
    return make_bundle(
        patch=noise(size, number),
        number=number,
        priority=priority,
        bundle_id=f"bundle-{number}",
        transfer_id=f"transfer-{number}",
        target_image_id="sha256:" + f"{number:064x}",
    )


@pytest.mark.parametrize("every", [3_000, 10_000, 40_000, 70_000])
def test_a_link_cut_again_and_again_still_brings_each_byte_once(every: int) -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.publish(bundle)
    world.outbox.cut_every = every

    world.run(turns=2000)

    assert world.final_report() == ("succeeded", None)
    assert world.outbox.served[bundle.name] == bundle.paid_bytes


def test_a_device_restarted_while_it_fetches_goes_on_where_it_was() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.publish(bundle)
    for _ in range(60):
        device = world.boot()
        for _ in range(3):
            device.turn()
            world.clock.now += 0.2
        device.stop()

    assert world.final_report() == ("succeeded", None)
    assert world.outbox.served[bundle.name] == bundle.paid_bytes
    assert world.states() == ["receiving", "received", "applying", "succeeded"]


def test_a_byte_that_arrives_wrong_costs_one_chunk_and_no_more() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.publish(bundle)
    world.outbox.flip = {(bundle.name, 100_000)}

    world.run()

    assert world.final_report() == ("succeeded", None)
    assert world.outbox.served[bundle.name] <= len(bundle.data) + 3 * CHUNK


def test_a_blob_that_differs_from_what_was_sealed_is_refused_after_three_tries() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    data = bytearray(bundle.data)
    data[100_000] ^= 1
    world.publish(replace(bundle, data=bytes(data)))

    world.run()

    assert world.final_report() == ("failed", "bundle.damaged")
    assert world.leftovers() == [f"downloads/{bundle.head.patch_sha256}.part"], "the good chunks may be asked for again"


def test_a_wrong_chunk_list_is_refused() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.publish(replace(bundle, chunks=bytes(len(bundle.chunks))))

    world.run()

    assert world.final_report() == ("failed", "content.digest_mismatch")


def test_a_blob_replaced_while_it_is_fetched_is_started_anew() -> None:
    world = World(APP_1)
    first = a_bundle_of_noise(7, 300_000)
    world.publish(first)
    device = world.boot()
    while world.outbox.served[first.name] < 120_000:
        device.turn()
    second = make_bundle(transfer_id="transfer-7", bundle_id="another")
    world.publish(second, first.name)

    world.clock.now += 100
    world.run(device)

    assert world.final_report("transfer-7") == ("succeeded", None)
    assert world.references()["app:2"] == APP_2.image_id


def test_what_was_fetched_of_a_withdrawn_bundle_is_forgotten_after_a_week() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.publish(bundle)
    device = world.boot()
    while world.outbox.served[bundle.name] < 80_000:
        device.turn()

    world.outbox.remove(bundle.name)
    world.clock.now += 100
    world.run(device)
    assert f"downloads/{bundle.head.patch_sha256}.part" in world.leftovers()

    for _ in range(8):
        world.clock.now += 86_400
        device.turn()
    assert [name for name in world.leftovers() if name.startswith("downloads/")] == []


def test_the_highest_class_comes_first_and_the_lowest_still_comes() -> None:
    world = World(APP_1)
    low, high = a_bundle_of_noise(5, 900_000, priority=3), a_bundle_of_noise(6, 900_000, priority=1)
    world.publish(low)
    world.publish(high)
    device = world.boot()

    while world.outbox.served[high.name] < high.paid_bytes:
        device.turn()
        world.clock.now += 0.01

    share = world.outbox.served[low.name] / len(high.data)
    assert 0.05 < share < 0.25


def test_an_urgent_bundle_that_comes_later_overtakes_at_a_chunk_border() -> None:
    world = World(APP_1)
    slow = a_bundle_of_noise(5, 900_000, priority=3)
    world.publish(slow)
    device = world.boot()
    while world.outbox.served[slow.name] < 300_000:
        device.turn()
    urgent = make_bundle(priority=1)
    world.publish(urgent)

    world.clock.now += 61
    while "succeeded" not in world.states():
        device.turn()
        world.clock.now += 0.01

    assert world.outbox.served[slow.name] < 600_000
    world.clock.now += 1
    world.turn(device, 300, seconds=0.01)
    assert world.outbox.served[slow.name] <= len(slow.data) + CHUNK
    assert world.final_report("transfer-5")[0] == "failed"


def test_within_a_class_the_lower_number_comes_first() -> None:
    world = World(APP_1)
    for number in (12, 9, 10):
        world.publish(a_bundle_of_noise(number, 100_000))

    world.run()

    finished = [report.transfer_id for report in world.hub.reports if report.state == "received"]
    assert finished == ["transfer-9", "transfer-10", "transfer-12"]


def test_a_device_that_wakes_with_an_expired_access_takes_the_fresh_one() -> None:
    world = World(APP_1)
    world.publish(make_bundle())
    world.outbox.status = 403
    device = world.boot()
    world.turn(device, 100)
    assert world.states() == []

    world.outbox.status = None
    world.hub.desired_now["outbox"]["query"] = "sv=2021-12-02&sig=fresh"
    world.run(device)

    assert world.final_report() == ("succeeded", None)


def test_a_device_that_starts_with_its_hub_out_of_reach_still_fetches_and_reports_later() -> None:
    world = World(APP_1)
    world.run()
    world.publish(make_bundle())
    world.hub.reachable = False
    device = world.boot()

    world.turn(device, 100)
    assert world.references()["app:2"] == APP_2.image_id
    assert world.states() == []

    world.hub.reachable = True
    world.clock.now += 400
    world.run(device)
    assert world.states() == ["receiving", "received", "applying", "succeeded"]


def test_an_outbox_without_access_is_no_error() -> None:
    world = World(OTHER)
    world.hub.desired_now = {}

    world.run()

    assert [image.image_id for image in world.hub.inventories[-1].images] == [OTHER.image_id]


def test_a_bundle_that_comes_another_way_meanwhile_is_not_fetched_to_the_end() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.publish(bundle)
    device = world.boot()
    while world.outbox.served[bundle.name] < 80_000:
        device.turn()
    world.settings = replace(world.settings, stable_seconds=0.0)
    world.disk.put("inbox/by-mail.bundle", bundle.data)

    world.run(world.boot())

    assert world.final_report() == ("succeeded", None)
    assert world.outbox.served[bundle.name] < bundle.paid_bytes
    assert world.leftovers() == []


def test_pausing_in_the_middle_keeps_what_has_arrived() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.publish(bundle)
    device = world.boot()
    while world.outbox.served[bundle.name] < 80_000:
        device.turn()

    world.hub.desired_now["paused"] = True
    world.clock.now += 61
    world.run(device)
    world.disk.reboot("dropped")
    world.hub.desired_now["paused"] = False
    world.run()

    assert world.final_report() == ("succeeded", None)
    assert world.outbox.served[bundle.name] <= len(bundle.data) + 2048
