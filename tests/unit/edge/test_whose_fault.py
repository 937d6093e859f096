"""Hostile senders, own damage and full disks: none is a fault of the bundle, and none holds up anything else."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest

from contracts.messages import MAX_SEQUENCE, Report
from edge_module.engines import PresentImage
from edge_module.journal import Job
from edge_module.rebuilds import RebuildTask
from edge_module.reporting import is_reportable
from imagedelta.bundles import Sealer
from imagedelta.bundles.head import MAX_ATTEMPT
from imagedelta.errors import ContentError, DependencyError, DigestMismatch
from tests.unit.edge.world import APP_1, APP_2, OTHER, SEALER, STRANGER, World, make_bundle, patch_of


def compose_anyway(monkeypatch: pytest.MonkeyPatch, sealer: Sealer | None, **changes: Any) -> bytes:
    """A bundle as an older or a hostile composer makes it, that knows no bounds."""
    with monkeypatch.context() as patched:
        patched.setattr("imagedelta.bundles.head._check", lambda head: None)
        return make_bundle(sealer, **changes).data


ODD_HEADS: dict[str, dict[str, Any]] = {
    "an attempt beyond all reports": {"attempt": 2_000_000},
    "an attempt of 64 bits": {"attempt": 2**63 - 1},
    "a transfer id that is a path": {"transfer_id": "../../etc/passwd"},
    "a transfer id of 255 characters": {"transfer_id": "x" * 255},
    "a transfer id that is no text": {"transfer_id": 7},
    "a negative number": {"number": -1},
    "a target that is no image ID": {"target_image_id": "sha256:" + "Z" * 64},
}


@pytest.mark.parametrize("sealer", [None, STRANGER, SEALER], ids=["unsealed", "stranger", "sealed"])
@pytest.mark.parametrize("head", ODD_HEADS)
def test_a_head_that_no_report_can_carry_holds_up_neither_other_bundles_nor_the_next_start(
    head: str, sealer: Sealer | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(APP_1)
    fields = {"bundle_id": "evil", "transfer_id": "evil", **ODD_HEADS[head]}
    world.disk.make_folders("inbox")
    world.disk.put("inbox/0-evil.bundle", compose_anyway(monkeypatch, sealer, **fields))
    device = world.boot()
    world.turn(device, 8)

    world.drop_into_inbox(make_bundle())
    world.turn(device, 12)
    assert world.final_report() == ("succeeded", None)
    assert [report.transfer_id for report in world.hub.reports] == ["transfer-1"] * 2
    assert len(world.hub.reported["refusals"]) == 1

    sent = len(world.hub.inventories)
    world.turn(world.boot(), 5)
    assert len(world.hub.inventories) == sent + 1


def test_a_job_of_an_older_version_that_no_report_can_carry_mutes_nothing() -> None:
    world = World(APP_1)
    world.run()
    old = Job("evil", 2_000_000, APP_2.image_id, "evil", 7, "failed", 1, sealed=False, code="seal.missing")
    world.disk.put(f"journal/{old.key}.json", json.dumps(asdict(old)).encode())
    world.publish(make_bundle())

    world.run()

    assert world.final_report() == ("succeeded", None)
    assert world.hub.inventories[-1].results[-1].transfer_id == "transfer-1"


def test_head_report_and_journal_have_the_same_bounds() -> None:
    head = make_bundle(attempt=MAX_ATTEMPT, transfer_id="x" * 128).head
    job = Job(head.transfer_id, head.attempt, head.target_image_id, head.bundle_id, head.number, "failed", MAX_SEQUENCE)

    assert is_reportable(job)
    assert not is_reportable(replace(job, attempt=MAX_ATTEMPT + 1))
    for attempt in (MAX_ATTEMPT + 1, 2**40):
        with pytest.raises(ContentError):
            replace(head, attempt=attempt).to_bytes()
    assert Report.model_fields["attempt"].metadata[1].le == MAX_ATTEMPT


def test_file_names_that_are_no_text_do_not_hinder_a_report(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "imagedelta")  # the log spells them out, pytest does not
    world = World(APP_1)
    world.rebuild_with(lambda *_: _raise(DependencyError("inbox/\udcff.bundle: \x1b[31m is gone", code="Odd Code")))
    world.drop_into_inbox(make_bundle())

    world.turn(world.boot(), 30)

    assert world.final_report() == ("blocked", "internal")


def _raise(error: Exception) -> None:
    raise error


# This device's own damage.


@pytest.mark.parametrize("size", [0, 100, 999])
def test_an_image_whose_layer_lost_bytes_is_not_here_already(size: int) -> None:
    world = World(APP_1, APP_2)
    layer = f"images/blobs/sha256/{APP_2.image.diff_ids[-1][7:]}"
    world.disk.put(layer, world.disk.files()[layer][:size])
    world.drop_into_inbox(make_bundle())

    world.run()

    assert world.final_report() == ("succeeded", None)
    assert world.states() == ["applying", "succeeded"], "it was made again"
    assert APP_2.image_id in world.image_ids()


@pytest.mark.parametrize("way", ["inbox", "outbox"])
def test_an_image_with_a_rotten_layer_is_not_here_already_whichever_way_the_bundle_comes(way: str) -> None:
    world = World(APP_1, APP_2)
    layer = f"images/blobs/sha256/{APP_2.image.diff_ids[-1][7:]}"
    rotten = bytearray(world.disk.files()[layer])
    rotten[len(rotten) // 2] ^= 1
    world.disk.put(layer, bytes(rotten))
    world.publish(make_bundle()) if way == "outbox" else world.drop_into_inbox(make_bundle())

    world.run()

    assert world.final_report() == ("succeeded", None)
    assert "applying" in world.states()
    assert APP_2.image_id in world.image_ids()


# Rebuilds that go wrong.

UNFORESEEN = [ZeroDivisionError("boom"), MemoryError(), RecursionError("deep"), KeyError("gone"), OSError(5, "EIO")]
WAITS = [DependencyError("no answer"), DependencyError("cut", code="rebuild.died"), *UNFORESEEN]


@pytest.mark.parametrize("error", WAITS, ids=repr)
def test_what_hinders_a_rebuild_blocks_the_job_told_once_and_it_goes_on_by_itself(error: Exception) -> None:
    world = World(APP_1)

    def rebuild(task: RebuildTask, begun: Callable[[], None]) -> None:
        begun()
        raise error

    odd = world.rebuild_with(rebuild)
    world.drop_into_inbox(make_bundle())
    device = world.boot()

    world.turn(device, 1500, seconds=7)

    assert world.states() == ["applying", "blocked"]
    assert 10 < odd.begun < 120, "it neither spins nor gives up"
    assert world.disk.list("inbox") == [make_bundle().name]
    assert [each["what"] for each in world.hub.reported["blocked"]] == [make_bundle().name]
    world.rebuild_really()
    world.run()
    assert world.final_report() == ("succeeded", None)
    assert world.hub.reported["blocked"] is None


def test_a_patch_that_makes_other_bytes_is_refused_only_if_it_still_is_the_sealed_one() -> None:
    world = World(APP_1)
    bundle = make_bundle()

    def while_the_tool_writes_on(*_: object) -> None:
        world.drop_into_inbox(replace(bundle, data=bundle.data[:70_000] + bytes(len(bundle.data) - 70_000)))
        raise DigestMismatch("a layer has other bytes")

    world.rebuild_with(while_the_tool_writes_on)
    world.drop_into_inbox(bundle)
    device = world.boot()
    world.turn(device, 30)
    assert (world.states(), world.disk.list("inbox")) == ([], [bundle.name])

    world.rebuild_with(lambda *_: _raise(DigestMismatch("a layer has other bytes")))
    world.drop_into_inbox(bundle)
    world.turn(world.boot(), 30)
    assert world.final_report() == ("failed", "content.digest_mismatch")


def test_one_job_that_fails_for_ever_does_not_hold_up_the_next() -> None:
    world = World(APP_1)
    patch, memory = patch_of(3)
    hopeless = make_bundle(
        patch=patch,
        memory_bytes=memory,
        target_image_id=OTHER.image_id,
        source_image_ids=(),
        number=1,
        floor=0,
        bundle_id="b0",
        transfer_id="transfer-0",
        reference="never:1",
    )

    def rebuild(task: RebuildTask, begun: Callable[[], None]) -> PresentImage:
        if task.head.transfer_id == "transfer-0":
            raise ZeroDivisionError("boom")
        return world.rebuilder(world.engine()).rebuild(task, begun)

    world.rebuild_with(rebuild)
    world.drop_into_inbox(hopeless)
    world.drop_into_inbox(make_bundle())

    world.turn(world.boot(), 60)

    assert world.final_report() == ("succeeded", None)
    assert world.final_report("transfer-0") == ("blocked", "internal")


# A full or failing disk.


def fill(world: World) -> None:
    world.disk.capacity -= world.disk.real_free_bytes()


@pytest.mark.parametrize("when", ["at start", "while running"])
def test_a_disk_without_a_free_byte_mutes_nothing(when: str) -> None:
    world = World(APP_1)
    world.run()
    world.publish(make_bundle())
    if when == "at start":
        fill(world)
    device = world.boot()
    world.turn(device, 1)
    fill(world)

    world.hub.desired_now |= {"paused": True, "resync": 1}
    world.turn(device, 200)

    assert world.hub.reported["paused"] is True
    assert world.hub.reported["disk"] == {"state": "disk.full", "freeMiB": 0}
    assert len(world.hub.inventories) >= 2
    world.disk.capacity = 1 << 40
    world.hub.desired_now["paused"] = False
    world.turn(device, 400)
    assert world.final_report() == ("succeeded", None)
    assert world.hub.reported["disk"]["state"] == "ok"


@pytest.mark.parametrize("way", ["inbox", "outbox"])
def test_a_disk_that_fails_for_hours_is_told_and_brings_no_flood_of_reports(way: str) -> None:
    world = World(APP_1)
    world.publish(make_bundle()) if way == "outbox" else world.drop_into_inbox(make_bundle())
    device = world.boot()
    world.turn(device, 1)
    world.disk.fail_at(1, count=math.inf)

    world.turn(device, 1500, seconds=7)

    assert len(world.states()) <= 3
    assert len(world.hub.messages) < 12
    assert world.hub.reported["disk"]["state"] == "disk.failing"
    world.disk.heal()
    world.turn(device, 900)
    assert world.final_report() == ("succeeded", None)
