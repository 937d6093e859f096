"""One device and its bundles, from the outbox or the inbox to the report."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import pytest

from edge_module.files import parent
from tests.images import an_image, gzipped, oci_files, zstd_packed
from tests.unit.edge.world import (
    APP_1,
    APP_2,
    BASE,
    MIB,
    OTHER,
    STRANGER,
    World,
    make_bundle,
    patch_of,
)


def test_a_bundle_in_the_outbox_becomes_an_image_and_one_success() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.publish(bundle)

    world.run()

    assert world.references() == {"app:1": APP_1.image_id, "app:2": APP_2.image_id}
    assert world.states() == ["receiving", "received", "applying", "succeeded"]
    assert world.leftovers() == []
    assert world.outbox.served[bundle.name] == bundle.paid_bytes


def test_the_success_says_the_digest_the_bytes_and_the_seconds_on_the_link() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.publish(bundle)

    world.run()

    report = world.hub.reports[-1]
    digests = {image.image_id: image.digest_of("app:2") for image in world.engine().images()}
    assert report.local_digest == digests[APP_2.image_id]
    assert digests[APP_2.image_id] is not None
    assert report.bytes_fetched == bundle.paid_bytes + len(bundle.chunks)
    assert report.seconds_on_link is not None


def test_a_full_bundle_needs_no_source() -> None:
    world = World()
    patch, memory = patch_of(2)
    world.publish(make_bundle(patch=patch, memory_bytes=memory, source_image_ids=()))

    world.run()

    assert world.references() == {"app:2": APP_2.image_id}


def test_an_image_that_is_already_here_succeeds_without_fetching_its_patch() -> None:
    world = World(APP_1, APP_2)
    bundle = make_bundle(reference="app:latest")
    world.publish(bundle)

    world.run()

    assert world.final_report() == ("succeeded", None)
    assert world.references()["app:latest"] == APP_2.image_id
    assert world.outbox.served[bundle.name] <= 64 * 1024


def test_a_source_that_is_not_here_is_reported_before_the_patch_is_paid_for() -> None:
    world = World(OTHER)
    bundle = make_bundle()
    world.publish(bundle)

    world.run()

    assert world.states() == ["source_missing"]
    assert world.hub.reports[-1].missing_source == APP_1.image_id
    assert [image.image_id for image in world.hub.inventories[-1].images] == [OTHER.image_id]
    assert world.hub.messages[-1].kind == "inventory"
    assert world.outbox.served[bundle.name] <= 64 * 1024


def test_a_source_layer_that_rotted_on_the_disk_is_told_and_leaves_the_inventory() -> None:
    world = World(APP_1)
    layer = f"images/blobs/sha256/{APP_1.image.diff_ids[1][7:]}"
    rotten = bytearray(world.disk.files()[layer])
    rotten[2000] ^= 1
    world.disk.put(layer, bytes(rotten))
    world.publish(make_bundle())

    world.run()

    assert world.final_report() == ("source_missing", "source.different")
    assert world.hub.reports[-1].missing_source == APP_1.image_id
    assert world.hub.inventories[-1].images == []
    assert world.leftovers() == []


@pytest.mark.parametrize("pack", [gzipped, zstd_packed])
def test_a_layout_that_another_tool_wrote_packed_serves_as_source(pack) -> None:
    world = World()
    for name, data in oci_files(APP_1, pack=pack).items():
        world.disk.make_folders(f"images/{parent(name)}")
        world.disk.put(f"images/{name}", data)
    world.publish(make_bundle())

    world.run()

    assert world.references() == {"app:1": APP_1.image_id, "app:2": APP_2.image_id}
    assert world.leftovers() == []


def test_a_name_moves_to_the_new_image_and_the_old_image_stays() -> None:
    world = World(APP_1)
    world.publish(make_bundle(reference="app:1"))

    world.run()

    assert world.references() == {"app:1": APP_2.image_id}
    assert world.image_ids() == {APP_1.image_id, APP_2.image_id}


def test_a_name_is_never_moved_back_by_a_lower_number() -> None:
    world = World(APP_1)
    world.publish(make_bundle(reference="app:stable", number=9))
    device = world.run()
    patch, memory = patch_of(3)
    world.publish(
        make_bundle(
            patch=patch,
            memory_bytes=memory,
            bundle_id="bundle-0",
            transfer_id="transfer-0",
            number=8,
            reference="app:stable",
            target_image_id=OTHER.image_id,
            source_image_ids=(),
        )
    )

    world.clock.now += 100
    world.run(device)

    assert world.final_report("transfer-0") == ("succeeded", None)
    assert world.references()["app:stable"] == APP_2.image_id
    assert OTHER.image_id in world.image_ids()


def test_a_bundle_delivered_again_is_reported_again_and_not_applied_again() -> None:
    world = World(APP_1)
    world.publish(make_bundle())
    device = world.run()
    sent = len(world.hub.messages)

    world.drop_into_inbox(make_bundle(), "again.bundle")
    world.run(device)

    repeated = world.hub.messages[sent:]
    assert [message.message_id for message in repeated] == ["transfer-1:1:4"]
    assert world.leftovers() == []


def test_a_bundle_that_stays_in_the_outbox_is_fetched_once() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.publish(bundle)
    world.run()

    for _ in range(3):
        device = world.boot()
        world.turn(device, 80)

    assert world.outbox.served[bundle.name] == bundle.paid_bytes
    assert world.states() == ["receiving", "received", "applying", "succeeded"]


REFUSALS = {
    "bundle.other_device": {"device_id": "ship-2"},
    "bundle.platform": {"platform": "linux/arm64"},
    "bundle.memory": {"memory_bytes": 100 * MIB},
    "content.digest_mismatch": {"patch_sha256": "0" * 64},
}


@pytest.mark.parametrize(
    ("own", "platform"),
    [
        (("linux/arm64", "linux/arm/v7"), "linux/arm/v7"),
        (("linux/arm/v7",), "linux/arm/v6"),
        (("linux/arm/v7",), "linux/arm"),
    ],
)
def test_a_device_takes_what_any_of_its_platforms_runs_whatever_the_config_says(
    own: tuple[str, ...], platform: str
) -> None:
    """The config says amd64, as that of a cross-built module; the sealed head says what a person said."""
    world = World(APP_1)
    world.settings = replace(world.settings, platforms=own)
    world.publish(make_bundle(platform=platform))

    world.run()

    assert world.states()[-1] == "succeeded"
    assert APP_2.image_id in world.image_ids()


def test_the_long_form_of_a_name_in_a_bundle_is_the_short_one_on_the_device() -> None:
    world = World(APP_1)
    world.publish(make_bundle(reference="docker.io/library/app:2"))

    world.run()

    assert world.references()["app:2"] == APP_2.image_id


@pytest.mark.parametrize("way", ["outbox", "inbox"])
@pytest.mark.parametrize("code", REFUSALS)
def test_a_bundle_that_does_not_fit_is_refused_with_its_code(code: str, way: str) -> None:
    world = World(APP_1)
    bundle = make_bundle(**REFUSALS[code])
    world.publish(bundle) if way == "outbox" else world.drop_into_inbox(bundle, chunks=True)

    world.run()

    assert world.image_ids() == {APP_1.image_id}
    assert world.leftovers() == []
    if code == "bundle.other_device":
        assert (world.hub.reports, world.hub.reported["refusals"][0]["code"]) == ([], code)
    else:
        assert world.final_report() == ("failed", code)


@pytest.mark.parametrize("way", ["outbox", "inbox"])
@pytest.mark.parametrize(
    ("sealer", "code"), [(None, "seal.missing"), (STRANGER, "seal.unknown_key")], ids=["unsealed", "stranger"]
)
def test_a_bundle_without_a_trusted_seal_is_refused(sealer, code: str, way: str) -> None:
    world = World(APP_1)
    bundle = make_bundle(sealer)
    world.publish(bundle) if way == "outbox" else world.drop_into_inbox(bundle)

    world.run()

    assert world.final_report() == ("failed", code)
    assert world.image_ids() == {APP_1.image_id}
    assert world.leftovers() == []


def test_a_seal_that_does_not_fit_is_refused() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    at = bundle.data.index(b"bundle.seal") + len(b"bundle.seal") + 20
    data = bytearray(bundle.data)
    data[at] ^= 1
    world.publish(replace(bundle, data=_with_seal_crc(bytes(data))))

    world.run()

    assert world.final_report() == ("failed", "seal.invalid")
    assert world.leftovers() == []


def test_a_forged_bundle_does_not_keep_the_real_one_out() -> None:
    world = World(APP_1)
    world.drop_into_inbox(make_bundle(STRANGER), "forged.bundle")
    device = world.run()

    world.publish(make_bundle())
    world.clock.now += 100
    world.run(device)

    assert world.states()[0] == "failed"
    assert world.final_report() == ("succeeded", None)


def test_a_refused_seal_is_reported_once_however_often_the_device_starts() -> None:
    world = World(APP_1)
    world.publish(make_bundle(STRANGER))

    for _ in range(3):
        world.run()

    assert world.states() == ["failed"]


def test_a_bundle_id_used_for_another_transfer_is_refused_as_replayed() -> None:
    world = World(APP_1)
    world.publish(make_bundle())
    device = world.run()

    world.drop_into_inbox(make_bundle(transfer_id="transfer-2", number=8))
    world.run(device)

    assert world.final_report("transfer-2") == ("failed", "bundle.replayed")
    assert world.final_report() == ("succeeded", None)


def test_a_number_below_the_floor_is_refused() -> None:
    world = World(APP_1)
    world.publish(make_bundle(number=9, floor=8))
    device = world.run()

    world.drop_into_inbox(make_bundle(bundle_id="old", transfer_id="transfer-0", number=7))
    world.run(device)

    assert world.final_report("transfer-0") == ("failed", "bundle.below_floor")


def test_a_revoked_bundle_is_refused_also_when_it_is_half_fetched() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.publish(bundle)
    device = world.boot()
    while world.outbox.served[bundle.name] < 80_000:
        device.turn()

    world.hub.desired_now["revokedBundles"] = ["bundle-1"]
    world.clock.now += 100
    world.run(device)

    assert world.final_report() == ("failed", "bundle.revoked")
    assert world.outbox.served[bundle.name] < bundle.paid_bytes


def test_the_cloud_can_lower_the_memory_of_a_device() -> None:
    world = World(APP_1)
    world.hub.desired_now["memoryBytes"] = 57 * MIB
    world.publish(make_bundle())

    world.run()

    assert world.final_report() == ("failed", "bundle.memory")
    assert world.hub.inventories[-1].profiles == []


def test_a_foreign_file_that_still_grows_is_left_alone_and_taken_when_it_is_whole() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    device = world.boot()
    for share in (10_000, 50_000, 90_000):
        world.drop_into_inbox(replace(bundle, data=bundle.data[:share]))
        world.turn(device, 3)
        assert world.states() == []

    world.drop_into_inbox(bundle)
    world.turn(device, 9)

    assert world.states() == ["applying", "succeeded"]


def test_names_that_tools_use_while_they_write_are_left_alone() -> None:
    world = World(APP_1)
    world.disk.make_folders("inbox")
    for name in ("a.bundle.part", "b.bundle.tmp", "notes.txt"):
        world.disk.put(f"inbox/{name}", make_bundle().data)

    world.turn(world.boot(), 30)

    assert world.states() == []
    assert world.disk.list("inbox") == ["a.bundle.part", "b.bundle.tmp", "notes.txt"]


def test_a_folder_named_like_a_bundle_holds_nothing_up() -> None:
    world = World(APP_1)
    world.disk.make_folders("inbox/a.bundle")
    world.publish(make_bundle())

    world.run()

    assert world.final_report() == ("succeeded", None)


def test_a_full_disk_blocks_the_job_which_goes_on_by_itself() -> None:
    world = World(APP_1)
    world.drop_into_inbox(make_bundle())
    used = sum(map(len, world.disk.files().values()))
    world.disk.capacity = used + 100_000
    device = world.boot()

    world.turn(device, 400)
    assert world.states() == ["blocked"]
    assert world.hub.reports[-1].code == "disk.full"
    assert world.disk.list("inbox") == [make_bundle().name]

    world.disk.capacity = 1 << 40
    world.turn(device, 400)
    assert world.states() == ["blocked", "applying", "succeeded"]


def test_a_disk_too_small_for_the_bundle_blocks_before_the_link_is_used() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.publish(bundle)
    world.disk.capacity = sum(map(len, world.disk.files().values())) + 80_000
    device = world.boot()

    world.turn(device, 200)
    assert world.final_report() == ("blocked", "disk.full")
    assert world.outbox.served[bundle.name] <= 64 * 1024

    world.disk.capacity = 1 << 40
    world.turn(device, 400)
    assert world.final_report() == ("succeeded", None)
    assert world.outbox.served[bundle.name] == bundle.paid_bytes


def test_a_disk_that_fills_up_while_applying_blocks_and_keeps_finished_layers() -> None:
    world = World(APP_1)
    world.drop_into_inbox(make_bundle())
    device = world.boot()
    world.disk.capacity = sum(map(len, world.disk.files().values())) + 150_000
    world.disk.promise_free = 1 << 40

    world.turn(device, 30)
    assert world.final_report() == ("blocked", "disk.full")
    assert world.disk.list("images/ingest") == []

    world.disk.capacity = 1 << 40
    world.turn(device, 400)
    assert world.final_report() == ("succeeded", None)


def test_a_paused_device_fetches_and_applies_nothing_but_reports() -> None:
    world = World(APP_1)
    world.hub.desired_now["paused"] = True
    bundle = make_bundle()
    world.publish(bundle)
    device = world.run()
    assert (world.states(), world.outbox.served[bundle.name]) == ([], 0)
    assert len(world.hub.inventories) == 1

    world.hub.desired_now["paused"] = False
    world.clock.now += 100
    world.run(device)

    assert world.final_report() == ("succeeded", None)


def test_an_image_of_several_platforms_and_names_is_listed_whole() -> None:
    world = World(an_image(BASE, references=("a:1", "b:1")))

    world.run()

    assert world.hub.inventories[-1].images[0].references == ["a:1", "b:1"]


def _with_seal_crc(data: bytes) -> bytes:
    """The member's checksum in the local header, so that only the seal is wrong."""
    start = data.index(b"PK\3\4", 4)
    size = struct.unpack_from("<I", data, start + 18)[0]
    name = struct.unpack_from("<H", data, start + 26)[0]
    seal = data[start + 30 + name : start + 30 + name + size]
    return data[: start + 14] + struct.pack("<I", zlib.crc32(seal)) + data[start + 18 :]
