"""deliver_step: a patch that has become whole is published to the first who wait in the same step."""

from __future__ import annotations

import pytest

from activities.deliver_step import deliver_step
from contracts.outbox import outbox_container
from contracts.records import Transfer
from tests.images import an_image
from tests.unit.activities.bench import Bench, noise

FILES = {"app/a.dll": noise(1)}
APP_1 = an_image(FILES, references=("fleet.example/app:1",))
APP_2 = an_image({"app/a.dll": noise(1) + noise(2, 500)}, references=("fleet.example/app:2",))


@pytest.fixture
def transfer(bench: Bench) -> Transfer:
    """app:2 for a device that has app:1, waiting for its patch."""
    bench.register(APP_1, APP_2)
    bench.enrol(APP_1)
    return bench.transfer(APP_2, APP_1)


def deliver(bench: Bench, transfer: Transfer) -> dict[str, object]:
    return deliver_step(bench.deps, {"patchId": transfer.patch_id, "worker": "w"})


def test_who_waits_for_a_patch_has_it_when_its_last_step_ends(bench: Bench, transfer: Transfer) -> None:
    assert deliver(bench, transfer) == {"state": "verified", "after": None}

    assert bench.current(transfer).state == "published"


def test_a_storage_that_fails_while_publishing_leaves_a_verified_patch_that_is_published_later(
    bench: Bench, transfer: Transfer
) -> None:
    bench.blobs.calls.fail(f"put_if_absent {outbox_container(transfer.device_id)}")

    assert deliver(bench, transfer) == {"state": "verified", "after": ""}

    assert (bench.patch_of(transfer).state, bench.current(transfer).state) == ("verified", "building")
    assert deliver(bench, transfer) == {"state": "verified", "after": None}
    assert bench.current(transfer).state == "published"


def test_what_is_not_verified_is_not_published(bench: Bench, transfer: Transfer) -> None:
    bench.blobs.calls.fail("put_if_absent patches")

    assert deliver(bench, transfer)["state"] != "verified"

    assert bench.current(transfer).state == "queued"
