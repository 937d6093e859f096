from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from urllib.parse import parse_qs

import pytest
from sqlalchemy import event

from activities.build_step import build_step
from activities.due_work import Run
from activities.publish_batch import publish_batch
from activities.sync_twins import SyncTwins
from contracts.messages import DesiredProperties
from contracts.outbox import bundle_name, outbox_container
from contracts.records import Device, Transfer
from contracts.requests import EnrolDevice
from imagedelta.errors import DependencyError, RequestError
from services.ports import Grant
from store.kernel.due import sync_devices
from tests.images import an_image
from tests.simulators.calls import Crash
from tests.simulators.hub import HubSimulator
from tests.unit.activities.bench import DEVICE, MODULE, Bench, noise

FILES = {f"app/{name}.dll": noise(n) for n, name in enumerate("ab")}
APP_1 = an_image(FILES, references=("fleet.example/app:1",))
APP_2 = an_image({**FILES, "app/a.dll": noise(50)}, references=("fleet.example/app:2",))
OUTBOX = outbox_container(DEVICE)


def sync(bench: Bench) -> bool:
    """Do what is due; whether the twin was written."""
    before = bench.hub.calls.count["update_desired"]
    for device_id in due(bench):
        SyncTwins().do(Run(bench.deps), device_id)
    return bench.hub.calls.count["update_desired"] > before


def desired(bench: Bench) -> DesiredProperties:
    twin = bench.hub.module_twin(DEVICE, MODULE)
    assert twin is not None
    return DesiredProperties.model_validate(twin.desired)


def due(bench: Bench) -> tuple[str, ...]:
    return bench.store.devices.to_sync(bench.now(), 10)


def published(bench: Bench, forms: Sequence[str] = ()) -> Transfer:
    bench.register(APP_1, APP_2)
    bench.enrol(APP_1, forms=forms)
    transfer = bench.transfer(APP_2, APP_1)
    build_step(bench.deps, {"patchId": transfer.patch_id, "worker": "set-1"})
    assert publish_batch(bench.deps, {"patchId": transfer.patch_id, "after": ""})["published"] == 1
    return transfer


def known(bench: Bench) -> Device:
    device = bench.store.devices.device(DEVICE)
    assert device is not None
    return device


def test_a_device_that_its_hub_does_not_know_says_so_until_it_is_written_to(bench: Bench) -> None:
    bench.enrol()
    bench.with_deps(hubs={"north": HubSimulator("north")})
    sync(bench)
    unknown = known(bench)

    bench.with_deps(hubs={"north": bench.hub})
    bench.now.forward(seconds=30)
    assert sync(bench)

    assert (unknown.twin_code, unknown.waits_for) == ("hub.unknown_device", "hub.unknown_device")
    assert (known(bench).twin_code, known(bench).waits_for) == (None, None)


def test_a_device_that_cannot_be_written_to_is_tried_less_and_less(bench: Bench) -> None:
    bench.enrol()
    bench.with_deps(hubs={})
    start, tries = bench.now(), []
    while bench.now() - start < timedelta(hours=4):
        if due(bench):
            tries.append(round((bench.now() - start).total_seconds() / 60, 1))
        sync(bench)
        bench.now.forward(seconds=30)

    assert tries == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 63.5, 123.5, 183.5]


def test_a_device_gets_its_outbox_and_what_it_is_to_keep(bench: Bench) -> None:
    published(bench)

    assert sync(bench)

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
    bench.store._db.write(lambda connection: sync_devices(connection, [DEVICE], bench.now()))

    assert due(bench) == (DEVICE,)
    assert not sync(bench)
    assert due(bench) == ()
    assert bench.hub.calls.count["update_desired"] == 1


def test_access_is_renewed_at_half_of_its_life(bench: Bench) -> None:
    bench.enrol()
    sync(bench)
    first = desired(bench).outbox

    bench.now.forward(days=bench.deps.settings.grant_lifetime / timedelta(days=2))
    assert due(bench) == (DEVICE,)
    assert sync(bench)

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
    bench.store.sets.withdraw_part(of.set_id, bench.now())
    sync(bench)
    assert desired(bench).patches is None


def test_access_is_renewed_at_half_of_the_life_of_the_grant_that_ends_first(bench: Bench) -> None:
    published(bench, forms=["shared"])
    sync(bench)
    first = desired(bench).patches

    bench.now.forward(days=bench.deps.settings.patch_grant_lifetime / timedelta(days=2))
    assert due(bench) == (DEVICE,)
    assert sync(bench)

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
    bench.store.sets.withdraw_part(of.set_id, bench.now())
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

    with suppress(Crash):
        sync(bench)
    bench.now.forward(seconds=bench.deps.settings.claim_lease.total_seconds())
    assert due(bench) == (DEVICE,)
    assert sync(bench)
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
    assert desired(bench).resync == 2


def test_a_device_that_wants_more_than_a_twin_holds_keeps_what_matters_most_and_says_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.enrol()
    images = [f"sha256:{number:064x}" for number in range(1000)]
    facts = {"keepImages": images, "revokedBundles": ["transfer-1-1"], "patches": [], "paused": False, "resync": 0}
    monkeypatch.setattr(type(bench.store.devices), "desired_facts", lambda *given: facts)

    assert sync(bench)

    twin = bench.hub.module_twin(DEVICE, MODULE)
    assert twin is not None
    assert len(json.dumps(twin.desired)) < 32 * 1024
    kept = desired(bench).keep_images
    assert len(kept) > 300
    assert kept == images[: len(kept)]
    assert (desired(bench).revoked_bundles, known(bench).twin_code) == (["transfer-1-1"], "twin.too_large")
    assert due(bench) == (), "it is written again when that changes"


def test_an_outbox_of_many_bundles_costs_no_more_statements(bench: Bench) -> None:
    published(bench)
    few = statements_of_a_sync(bench)
    for number in range(50):
        bench.blobs.put(OUTBOX, bundle_name(1, number, f"transfer-{number}", 1), [b"gone"])

    many = statements_of_a_sync(bench)

    assert bench.blobs.names(OUTBOX) == [name for name in bench.blobs.names(OUTBOX) if "-000000000001-" in name]
    assert many == few


def statements_of_a_sync(bench: Bench) -> int:
    bench.store._db.write(lambda connection: sync_devices(connection, [DEVICE], bench.now()))
    bench.now.forward(days=20)
    seen: list[str] = []
    engine = bench.store._db.engine
    listener = event.listens_for(engine, "before_cursor_execute")(lambda *call: seen.append(call[2]))
    assert sync(bench)
    event.remove(engine, "before_cursor_execute", listener)
    return len(seen)


def test_the_twin_says_what_the_device_may_take_of_its_link_and_takes_it_back(bench: Bench) -> None:
    def allowed(**link: object) -> object:
        bench.store.devices.enrol(DEVICE, EnrolDevice(hub="north", **link), "t", bench.now())  # type: ignore[arg-type]
        sync(bench)
        twin = bench.hub.module_twin(DEVICE, MODULE)
        assert twin is not None
        return desired(bench).link and twin.desired["link"]

    bench.enrol(APP_1)

    assert allowed(link_rate=300, link_hours="22-6") == {"bytesPerSecond": 300, "hours": "22-6"}
    assert allowed(link_hours="22-6") == {"hours": "22-6"}
    assert allowed(link_hours="") == {"hours": ""}
    assert allowed() is None


@pytest.mark.parametrize("hub", ["not configured", "silent"])
def test_a_retired_device_loses_its_outbox_whatever_becomes_of_its_hub(bench: Bench, hub: str) -> None:
    published(bench)
    sync(bench)
    assert bench.blobs.names(OUTBOX)
    bench.store.devices.retire(DEVICE, "olga", bench.now())
    if hub == "silent":
        bench.hub.calls.fail("update_desired")
    else:
        bench.with_deps(hubs={})

    sync(bench)

    assert bench.blobs.names(OUTBOX) == []


def test_a_shared_patch_that_is_gone_is_sent_in_another_attempt(bench: Bench) -> None:
    """A device that was away for longer than a rule of the storage keeps patches would look for it for ever."""
    transfer = published(bench, forms=["shared"])
    sync(bench)
    patch = bench.patch_of(transfer)
    bench.blobs.delete("patches", patch.blob or "")

    bench.now.forward(days=4)  # half of the life of its grant
    sync(bench)

    anew = bench.store.patches.patch(patch.patch_id)
    assert anew is not None and anew.state == "requested"
    again = bench.current(transfer)
    assert (again.state, again.attempt, again.patch_id) == ("queued", 2, None)
    bench.now.forward(minutes=10)
    assert sync(bench)
    assert desired(bench).patches is None
    assert bench.blobs.names(OUTBOX) == [], "the bundle that refers to it is withdrawn"


def test_a_composed_bundle_that_lies_in_the_outbox_needs_its_patch_no_more(bench: Bench) -> None:
    transfer = published(bench)
    bench.blobs.delete("patches", bench.patch_of(transfer).blob or "")

    assert bench.store.patches.lost(bench.patch_of(transfer).sha256 or "", bench.now()) == 1

    assert (bench.current(transfer).state, bench.current(transfer).attempt) == ("published", 1)
    assert bench.store.patches.lost("none", bench.now()) == 0


@pytest.mark.parametrize("days", [7, 30], ids=["delegation", "policy"])
def test_a_device_that_wakes_after_weeks_finds_access_that_still_lasts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """Nobody hears of it meanwhile, and its twin is written all the same; no more often than is needed."""
    give = bench.blobs.read_grant

    def limited(container: str, lifetime: timedelta) -> Grant:
        return give(container, min(lifetime, timedelta(days=days)))

    monkeypatch.setattr(bench.blobs, "read_grant", limited)
    published(bench, forms=["shared"])
    writes, least = 0, timedelta(days=99)
    for _ in range(8 * 7 * 2):
        writes += sync(bench)
        twin = bench.hub.module_twin(DEVICE, MODULE)
        assert twin is not None
        for query in (twin.desired["outbox"]["query"], twin.desired["patches"]["query"]):
            ends = datetime.fromisoformat(parse_qs(query)["se"][0])
            least = min(least, ends - bench.now())
        bench.now.forward(hours=12)

    assert least >= timedelta(days=3, hours=12), "at any moment it has half of a week"
    assert writes == pytest.approx(8 * 7 / 3.5, abs=2), "by the patch's grant, which ends first"
