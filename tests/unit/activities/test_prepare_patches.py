"""Patches ahead of orders: the ones that an order will ask for, and never in an order's way."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from activities.build_step import build_step
from activities.prepare_patches import prepare_patches
from imagedelta.errors import DependencyError
from tests.images import an_image, docker_save
from tests.unit.activities.bench import Bench, noise
from triggers.due import due

LIB = noise(1, 60_000)
APP_1 = an_image({"lib": LIB}, {"a": noise(2)}, references=("fleet.example/app:1",))
APP_2 = an_image({"lib": LIB}, {"a": noise(2)[:-9] + b"different"}, references=("fleet.example/app:2",))
RECON = an_image({"recon": noise(3)}, references=("fleet.example/imagereconstruction:1",))
OTHER_1 = an_image({"x": noise(4)}, references=("fleet.example/other:1",))
OTHER_2 = an_image({"x": noise(4) + b"more"}, references=("fleet.example/other:2",))


def register(bench: Bench, *images: Any) -> int:
    """One after the other; how many patches the last one has prepared."""
    prepared = 0
    for built in images:
        bench.now.forward(seconds=60)
        registration_id = bench.request(docker_save(built))
        assert bench.read(registration_id)["code"] is None
        prepared = prepare_patches(bench.deps, {"registrationId": registration_id})["patches"]
    return prepared


def patches(bench: Bench) -> list[Any]:
    return list(bench.store.patches.list_patches(state=None, target=None, limit=10, after=None).items)


def to_build(bench: Bench) -> list[str]:
    return [start.payload["patchId"] for start in due(bench.deps) if start.orchestrator == "build_patch"]


def build(bench: Bench, worker: str = "one") -> dict[str, Any]:
    (patch_id,) = to_build(bench)
    return build_step(bench.deps, {"patchId": patch_id, "worker": worker})


def test_the_patch_from_the_version_before_is_built_and_an_order_finds_it(bench: Bench) -> None:
    register(bench, APP_1, RECON)
    bench.enrol(APP_1, RECON)

    assert register(bench, APP_2) == 1
    assert build(bench)["state"] == "verified"

    (prepared,) = patches(bench)
    assert prepared.sources[0] == APP_1.image_id
    transfer = bench.ordered(APP_2)
    assert transfer.patch_id == prepared.patch_id
    assert (to_build(bench), len(patches(bench))) == ([], 1)
    assert [start.orchestrator for start in due(bench.deps) if "publish" in start.orchestrator] == ["publish_patch"]


def test_without_a_device_it_is_for_the_default_profile(bench: Bench) -> None:
    assert register(bench, APP_1) == 0

    assert register(bench, APP_2) == 1

    (patch,) = patches(bench)
    assert (patch.sources, patch.profile) == ((APP_1.image_id,), bench.deps.settings.default_profile)


def test_no_device_having_the_version_before_it_has_the_form_that_most_devices_get(bench: Bench) -> None:
    for device_id, profile in (("a", "v2-64m"), ("b", "v1-16m"), ("c", "v1-16m")):
        bench.enrol(OTHER_1, device_id=device_id, profiles=[profile])

    register(bench, APP_1, APP_2)

    (patch,) = patches(bench)
    assert (patch.sources, patch.profile) == ((APP_1.image_id,), "v1-16m")


def test_devices_of_another_platform_have_no_say_in_the_form(bench: Bench) -> None:
    bench.enrol(OTHER_1, profiles=["v1-16m"], platform="linux/arm64")

    register(bench, APP_1, APP_2)

    assert patches(bench)[0].profile == bench.deps.settings.default_profile


def test_devices_without_the_version_before_count_nothing(bench: Bench) -> None:
    register(bench, OTHER_1, APP_1)
    bench.enrol(OTHER_1)

    assert register(bench, APP_2) == 1
    assert patches(bench)[0].sources == (APP_1.image_id,)


def test_a_setting_switches_it_off(bench: Bench) -> None:
    bench.set_up(IMAGEDELTA_PREPARE_PATCHES="false")

    assert register(bench, APP_1, APP_2) == 0
    assert patches(bench) == []


def test_registering_again_prepares_nothing_twice(bench: Bench) -> None:
    register(bench, APP_1, APP_2)
    build(bench)

    assert register(bench, APP_2) == 0
    assert len(patches(bench)) == 1


def test_an_order_is_built_first_and_the_prepared_one_when_nothing_waits(bench: Bench) -> None:
    register(bench, OTHER_1, OTHER_2, APP_1, APP_2)
    bench.enrol(OTHER_1)
    prepared = {patch.target: patch.patch_id for patch in patches(bench)}
    transfer = bench.transfer(OTHER_2, OTHER_1)

    assert transfer.patch_id == prepared[OTHER_2.image_id]
    assert to_build(bench) == [transfer.patch_id]
    given = {"patchId": prepared[APP_2.image_id], "worker": "one"}
    assert build_step(bench.deps, given)["state"] == "left", "an order waits"
    assert build(bench)["state"] == "verified"
    assert to_build(bench) == [prepared[APP_2.image_id]]


def test_a_prepared_build_gives_way_to_an_order_that_comes_and_goes_on_later(bench: Bench) -> None:
    register(bench, OTHER_1, OTHER_2, APP_1, APP_2)
    store, lease = bench.store.patches, timedelta(minutes=5)
    prepared = {patch.target: patch.patch_id for patch in patches(bench)}
    ours = prepared[APP_2.image_id]
    assert store.begin_step(ours, "one", lease, bench.now()) is not None
    assert store.keep(ours, "one", lease, bench.now())
    bench.enrol(OTHER_1)
    transfer = bench.transfer(OTHER_2, OTHER_1)

    assert not store.keep(ours, "one", lease, bench.now())
    assert not store.abandon(ours, "one", bench.now()), "what is made so far is kept"
    assert to_build(bench) == [transfer.patch_id]
    build(bench, "two")
    assert to_build(bench) == [ours]


def test_an_order_for_the_very_patch_lets_its_build_go_on(bench: Bench) -> None:
    register(bench, APP_1, APP_2)
    bench.enrol(APP_1)
    (patch,) = patches(bench)
    store, lease = bench.store.patches, timedelta(minutes=5)
    assert store.begin_step(patch.patch_id, "one", lease, bench.now()) is not None

    transfer = bench.transfer(APP_2, APP_1)

    assert transfer.patch_id == patch.patch_id
    assert store.keep(patch.patch_id, "one", lease, bench.now())


def test_what_fails_ahead_of_orders_fails_nobody(bench: Bench) -> None:
    register(bench, APP_1, APP_2)
    bench.enrol(APP_1)
    (patch,) = patches(bench)
    name = APP_1.image.diff_ids[1].removeprefix("sha256:")
    stored = bench.blobs.read("layers", name)
    bench.blobs.delete("layers", name)

    assert build(bench)["code"] == "content.missing"
    assert to_build(bench) == []

    bench.blobs.put("layers", name, [stored])
    transfer = bench.transfer(APP_2, APP_1)
    assert transfer.patch_id == patch.patch_id
    assert bench.current(transfer).state == "queued"
    assert build(bench)["state"] == "verified"


def test_a_storage_that_is_away_is_tried_again_later_and_then_left(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(bench, APP_1, APP_2)
    (patch,) = patches(bench)

    def away(*given: Any) -> bytes:
        raise DependencyError("away", code="dependency.blobs")

    monkeypatch.setattr(bench.blobs, "read_at", away)
    monkeypatch.setattr(bench.blobs, "read", away)
    for _ in range(bench.deps.settings.max_build_tries):
        assert build(bench)["code"] == "dependency.blobs"
        assert to_build(bench) == []
        bench.now.forward(minutes=16)

    assert to_build(bench) == []
    found = bench.store.patches.patch(patch.patch_id)
    assert found is not None and (found.state, found.code) == ("requested", "dependency.blobs")


def test_a_worker_that_lost_its_lease_has_no_say_over_a_prepared_patch(bench: Bench) -> None:
    register(bench, APP_1, APP_2)
    (patch,) = patches(bench)
    store, lease = bench.store.patches, timedelta(minutes=5)
    store.begin_step(patch.patch_id, "one", lease, bench.now())
    bench.now.forward(minutes=6)
    assert store.begin_step(patch.patch_id, "two", lease, bench.now()) is not None

    assert not store.failed(patch.patch_id, "one", "content.invalid", "late", bench.now())
    assert store.put_off(patch.patch_id, "one", "dependency.blobs", "late", 10, bench.now()) is None
    assert store.keep(patch.patch_id, "two", lease, bench.now())
