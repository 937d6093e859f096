"""Whose bundles are believed while keys are changed, and what a clock that is wrong by half a century changes."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import pytest

from imagedelta.bundles import Sealer
from tests.unit.edge.world import APP_1, APP_2, OTHER, SEALER, STRANGER, World, make_bundle, patch_of

ROOT = Path(__file__).parents[3]
BOTH = {SEALER.key_id: SEALER.public_key, STRANGER.key_id: STRANGER.public_key}
NEW = {STRANGER.key_id: STRANGER.public_key}


def other_bundle(sealer: Sealer, number: int = 8):
    """Brings other:1 to any device, as transfer-2."""
    patch, memory = patch_of(3)
    return make_bundle(
        sealer,
        patch,
        bundle_id="bundle-2",
        transfer_id="transfer-2",
        number=number,
        target_image_id=OTHER.image_id,
        source_image_ids=(),
        reference="other:1",
        memory_bytes=memory,
    )


def test_while_keys_overlap_bundles_of_both_are_taken() -> None:
    world = World(APP_1)
    world.trusted = dict(BOTH)
    world.publish(make_bundle(SEALER))
    world.publish(other_bundle(STRANGER))

    world.run()

    assert world.references() == {"app:1": APP_1.image_id, "app:2": APP_2.image_id, "other:1": OTHER.image_id}


def test_the_inventory_tells_which_keys_are_trusted_now() -> None:
    world = World(APP_1)
    told = []

    for trusted in (world.trusted, BOTH, NEW):
        world.trusted = dict(trusted)
        world.run()
        told.append(world.hub.inventories[-1].trusted_keys)

    assert told == [[SEALER.key_id], sorted(BOTH), [STRANGER.key_id]]


def test_a_key_that_was_removed_opens_nothing_any_more() -> None:
    world = World(APP_1)
    world.trusted = dict(BOTH)
    world.run()
    world.trusted = dict(NEW)
    world.publish(make_bundle(SEALER))
    world.publish(other_bundle(STRANGER))

    world.run()

    assert world.references() == {"app:1": APP_1.image_id, "other:1": OTHER.image_id}
    assert world.final_report("transfer-1") == ("failed", "seal.unknown_key")


def test_a_bundle_that_is_half_fetched_when_its_key_goes_is_not_applied() -> None:
    world = World(APP_1)
    world.trusted = dict(BOTH)
    world.publish(make_bundle(SEALER))
    world.outbox.cut_every = 20_000
    device = world.boot()
    world.turn(device, 4)
    assert any(name.startswith("downloads/") for name in world.disk.files())
    world.outbox.cut_every = None
    world.trusted = dict(NEW)

    world.run()

    assert world.references() == {"app:1": APP_1.image_id}


@pytest.mark.parametrize("now", [0.0, 86_400.0, 4e9], ids=["1970", "a-day-later", "2096"])
def test_the_clock_changes_nothing(now: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: now)
    world = World(APP_1)
    world.publish(make_bundle())
    world.drop_into_inbox(other_bundle(SEALER))

    world.run()

    assert world.final_report("transfer-1") == ("succeeded", None)
    assert world.final_report("transfer-2") == ("succeeded", None)
    assert world.leftovers() == []


_CLOCKS = {
    "time.time",
    "time.time_ns",
    "time.localtime",
    "time.gmtime",
    "datetime.now",
    "datetime.utcnow",
    "date.today",
}
_MAY_ASK = {
    "edge_module/hub_local.py": "a token of the hub ends by the clock of whoever made it",
    "edge_module/journal.py": "where to begin to count after the loss of every counter",
    "edge_module/ports.py": "since when there is trouble, for people to read",
}
_ON_THE_DEVICE = (
    "edge_module",
    "contracts",
    "imagedelta/bundles",
    "imagedelta/delta/decode",
    "imagedelta/delta/format",
)


def test_nothing_on_the_device_asks_the_clock_but_what_may() -> None:
    asking = {
        path.relative_to(ROOT).as_posix()
        for folder in _ON_THE_DEVICE
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in _CLOCKS
    }

    assert asking <= set(_MAY_ASK)
