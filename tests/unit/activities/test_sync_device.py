from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from activities.build_step import build_step
from activities.publish_batch import publish_batch
from activities.sync_device import sync_device
from contracts.messages import DesiredProperties
from contracts.outbox import outbox_container
from contracts.records import Transfer
from imagedelta.errors import DependencyError, RequestError
from services.ports import Grant
from tests.images import an_image
from tests.simulators.calls import Crash
from tests.simulators.hub import HubSimulator
from tests.unit.activities.bench import DEVICE, MODULE, Bench, noise

FILES = {f"app/{name}.dll": noise(n) for n, name in enumerate("ab")}
APP_1 = an_image(FILES, references=("fleet.example/app:1",))
APP_2 = an_image({**FILES, "app/a.dll": noise(50)}, references=("fleet.example/app:2",))
OUTBOX = outbox_container(DEVICE)


def sync(bench: Bench) -> dict[str, object]:
    return sync_device(bench.deps, {"deviceId": DEVICE})


def desired(bench: Bench) -> DesiredProperties:
    twin = bench.hub.module_twin(DEVICE, MODULE)
    assert twin is not None
    return DesiredProperties.model_validate(twin.desired)


def due(bench: Bench) -> tuple[str, ...]:
    return bench.store.devices.devices_to_sync(bench.now(), 10)


def published(bench: Bench, forms: Sequence[str] = ()) -> Transfer:
    bench.register(APP_1, APP_2)
    bench.enrol(APP_1, forms=forms)
    transfer = bench.transfer(APP_2, APP_1)
    build_step(bench.deps, {"patchId": transfer.patch_id, "worker": "set-1"})
    assert publish_batch(bench.deps, {"patchId": transfer.patch_id, "after": ""})["published"] == 1
    return transfer


def test_a_device_that_its_hub_does_not_know_says_so_until_it_is_written_to(bench: Bench) -> None:
    bench.enrol()
    bench.with_deps(hubs={"north": HubSimulator("north")})
    with pytest.raises(RequestError):
        sync(bench)
    unknown = bench.store.devices.device(DEVICE)

    bench.with_deps(hubs={"north": bench.hub})
    assert sync(bench) == {"written": True}
    known = bench.store.devices.device(DEVICE)

    assert unknown is not None
    assert known is not None
    assert (unknown.twin_code, unknown.waits_for) == ("hub.unknown_device", "hub.unknown_device")
    assert (known.twin_code, known.waits_for) == (None, None)


def test_devices_that_can_be_written_to_come_before_those_that_cannot(bench: Bench) -> None:
    bench.enrol(device_id="boat")
    bench.enrol(device_id="ship-1")

    bench.store.devices.twin_refused("boat", "hub.unknown_device")

    assert due(bench) == ("ship-1", "boat")


def test_a_device_gets_its_outbox_and_what_it_is_to_keep(bench: Bench) -> None:
    published(bench)

    assert sync(bench) == {"written": True}

    wanted = desired(bench)
    assert wanted.outbox is not None
    assert wanted.outbox.url == f"http://blobs.example/{OUTBOX}"
    assert wanted.outbox.renew_after == (bench.now() + bench.deps.settings.grant_lifetime / 2).isoformat()
    assert wanted.keep_images == sorted([APP_1.image_id, APP_2.image_id])
    assert (wanted.revoked_bundles, wanted.paused) == ([], False)
    assert due(bench) == ()


def test_a_twin_that_says_it_all_already_is_not_written(bench: Bench) -> None:
    bench.enrol()
    sync(bench)

    assert sync(bench) == {"written": False}
    assert bench.hub.calls.count["update_desired"] == 1


def test_access_is_renewed_at_half_of_its_life(bench: Bench) -> None:
    bench.enrol()
    sync(bench)
    first = desired(bench).outbox

    bench.now.forward(days=bench.deps.settings.grant_lifetime / timedelta(days=2))
    assert due(bench) == (DEVICE,)
    assert sync(bench) == {"written": True}

    assert desired(bench).outbox != first
    assert due(bench) == ()


def test_access_that_lives_shorter_than_asked_for_is_renewed_at_half_of_what_it_lives(bench: Bench) -> None:
    bench.enrol()
    grant = Grant("se=soon", bench.now() + timedelta(days=7))
    bench.blobs.read_grant = lambda container, lifetime: grant  # type: ignore[method-assign]

    sync(bench)

    found = desired(bench).outbox
    assert found is not None
    assert found.renew_after == (bench.now() + timedelta(days=3.5)).isoformat()
    bench.now.forward(days=3.5)
    assert due(bench) == (DEVICE,)


def test_a_device_gets_a_grant_for_each_shared_patch_on_its_way_and_loses_it_after(bench: Bench) -> None:
    transfer = published(bench, forms=["shared"])
    sync(bench)

    patches = desired(bench).patches
    assert patches is not None
    assert patches.url == "http://blobs.example/patches"
    assert [each.patch for each in patches.grants] == [bench.patch_of(transfer).sha256]
    assert desired(bench).outbox is not None

    (of,) = bench.store.sets.list_sets(owner=None, state=None, workstream=None, limit=10, after=None).items
    bench.store.sets.cancel(of.set_id, "olga", bench.now())
    assert not bench.store.sets.withdraw_part(of.set_id, bench.now())
    sync(bench)
    assert desired(bench).patches is None


def test_access_is_renewed_at_half_of_the_life_of_the_grant_that_ends_first(bench: Bench) -> None:
    published(bench, forms=["shared"])
    sync(bench)
    first = desired(bench).patches

    bench.now.forward(days=bench.deps.settings.patch_grant_lifetime / timedelta(days=2))
    assert due(bench) == (DEVICE,)
    assert sync(bench) == {"written": True}

    assert desired(bench).patches != first


def test_a_bundle_on_its_way_stays_in_the_outbox(bench: Bench) -> None:
    transfer = published(bench)

    sync(bench)

    bundle = bench.current(transfer).bundle
    assert bench.blobs.names(OUTBOX) == [bundle, f"{bundle}.chunks"]


def test_a_withdrawn_bundle_is_revoked_and_gone_and_strangers_files_stay(bench: Bench) -> None:
    transfer = published(bench)
    sync(bench)
    bench.blobs.put(OUTBOX, "note.txt", [b"by hand"])

    (of,) = bench.store.sets.list_sets(owner=None, state=None, workstream=None, limit=10, after=None).items
    bench.store.sets.cancel(of.set_id, "olga", bench.now())
    assert not bench.store.sets.withdraw_part(of.set_id, bench.now())
    assert due(bench) == (DEVICE,)
    sync(bench)

    assert desired(bench).revoked_bundles == [transfer.bundle_id]
    assert bench.blobs.names(OUTBOX) == ["note.txt"]


@pytest.mark.parametrize("in_hub", [True, False])
def test_a_retired_device_is_left_without_an_outbox(bench: Bench, in_hub: bool) -> None:
    published(bench)
    sync(bench)
    bench.store.devices.retire(DEVICE, "olga", bench.now())
    if not in_hub:
        error = RequestError(f"hub north has no {DEVICE}", code="hub.unknown_device")
        bench.hub.calls.fail("update_desired", error=error)

    assert due(bench) == (DEVICE,)
    sync(bench)

    assert not (bench.blobs.root / OUTBOX).exists()
    assert (desired(bench).outbox is None) is in_hub
    bench.now.forward(days=400)
    assert due(bench) == ()


@pytest.mark.parametrize(
    ("error", "after"), [(DependencyError("away"), False), (DependencyError("no answer"), True), (Crash(), True)]
)
def test_a_twin_that_may_not_have_been_written_is_written_again(
    bench: Bench, error: BaseException, after: bool
) -> None:
    bench.enrol()
    bench.hub.calls.fail("update_desired", after=after, error=error)

    with pytest.raises(type(error)):
        sync(bench)
    assert due(bench) == (DEVICE,)
    assert sync(bench) == {"written": True}
    assert due(bench) == ()


def test_what_changes_while_a_twin_is_written_is_written_next(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.enrol()
    write = bench.hub.update_desired

    def slow(*given: object) -> object:
        bench.store.devices.resync(DEVICE, "olga", bench.now())
        return write(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.hub, "update_desired", slow)
    sync(bench)
    monkeypatch.undo()

    assert due(bench) == (DEVICE,)
    sync(bench)
    assert desired(bench).resync == 1


@pytest.mark.parametrize("code", ["request.not_found", "request.unknown_hub", "hub.unknown_device"])
def test_a_device_that_cannot_be_reached_is_told_by_its_code(bench: Bench, code: str) -> None:
    if code != "request.not_found":
        bench.enrol()
    if code == "request.unknown_hub":
        bench.with_deps(hubs={})
    if code == "hub.unknown_device":
        bench.hub.calls.fail("update_desired", error=RequestError("no such module", code=code))

    with pytest.raises(RequestError) as caught:
        sync(bench)

    assert caught.value.code == code
