from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest

from activities.build_step import build_step
from activities.due_work import Run
from activities.publish_batch import publish_batch
from activities.sync_twins import SyncTwins
from contracts.outbox import outbox_container
from contracts.records import Transfer
from imagedelta.bundles import BundleHead, Ed25519Sealer, check_chunk_list, compose, read_bundle, read_shared, share
from imagedelta.bundles.keys import generate_private_key
from imagedelta.errors import DependencyError
from services.ports import BlobInfo, BlobRange
from tests.images import an_image
from tests.simulators.calls import Crash
from tests.unit.activities.bench import DEVICE, Bench, noise

FILES = {f"app/{name}.dll": noise(n) for n, name in enumerate("abcd")}
APP_1 = an_image(FILES, references=("fleet.example/app:1",))
APP_2 = an_image({**FILES, "app/a.dll": noise(50)}, references=("fleet.example/app:2",))
OUTBOX = outbox_container(DEVICE)
EVERY: Any = {"device_id": None, "image_id": None, "state": None, "set_id": None, "limit": 100, "after": None}
STEP = import_module("activities.publish_batch")
PUBLISHED, NOTHING = {"published": 1, "after": None}, {"published": 0, "after": None}


def prepared(bench: Bench, keys: Sequence[str] | None = None) -> Transfer:
    """A transfer whose patch is built."""
    bench.register(APP_1, APP_2)
    bench.enrol(APP_1, keys=keys)
    transfer = bench.transfer(APP_2, APP_1)
    assert build_step(bench.deps, {"patchId": transfer.patch_id, "worker": "set-1"}) == {"state": "verified"}
    return transfer


def publish(bench: Bench, transfer: Transfer) -> dict[str, object]:
    return publish_batch(bench.deps, {"patchId": transfer.patch_id, "after": ""})


def test_a_bundle_opens_with_the_key_the_device_trusts(bench: Bench) -> None:
    transfer = prepared(bench)

    assert publish(bench, transfer) == PUBLISHED

    done = bench.current(transfer)
    assert (done.state, done.number, done.bundle) == ("published", 1, f"2-000000000001-{transfer.transfer_id}-1.bundle")
    with bench.blobs.open(OUTBOX, done.bundle or "") as stream:
        opened = read_bundle(stream, {bench.sealer.key_id: bench.sealer.public_key})
        opened.verify_patch_digest()
        check_chunk_list(opened.head, bench.blobs.read(OUTBOX, f"{done.bundle}.chunks"))
    head = opened.head
    assert (head.bundle_id, head.device_id, head.number, head.floor) == (transfer.bundle_id, DEVICE, 1, 1)
    assert (head.target_image_id, head.source_image_ids) == (APP_2.image_id, (APP_1.image_id,))
    assert (head.reference, head.platform) == ("fleet.example/app:2", "linux/amd64")
    info = bench.blobs.info(OUTBOX, done.bundle or "")
    assert info is not None
    assert info.size == done.bundle_bytes


@pytest.mark.parametrize("lost", ["compose", "mark"])
def test_a_second_run_gives_the_same_bytes_under_the_same_name(
    bench: Bench, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer = prepared(bench)
    lose_answer(bench, lost, monkeypatch)
    with pytest.raises(Crash):
        publish(bench, transfer)
    monkeypatch.undo()
    before = {name: bench.blobs.read(OUTBOX, name) for name in bench.blobs.names(OUTBOX)}

    assert publish(bench, transfer) == PUBLISHED

    assert {name: bench.blobs.read(OUTBOX, name) for name in bench.blobs.names(OUTBOX)} == before
    assert bench.current(transfer).number == 1


def lose_answer(bench: Bench, lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies after the bundle became visible, before SQL knows."""
    compose = bench.blobs.compose_if_absent

    def dying(container: str, name: str, parts: Sequence[bytes | BlobRange]) -> BlobInfo:
        compose(container, name, parts)
        raise Crash

    def gone(*given: object, **options: object) -> bool:
        raise Crash

    if lost == "compose":
        monkeypatch.setattr(bench.blobs, "compose_if_absent", dying)
    else:
        monkeypatch.setattr(bench.store.publications, "finish", gone)


def test_the_chunk_list_is_there_before_the_bundle(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    transfer = prepared(bench)
    written = []
    put = bench.blobs.put_if_absent

    def noted(container: str, name: str, chunks: Iterable[bytes]) -> BlobInfo:
        written.append(name.rpartition(".")[2])
        return put(container, name, chunks)

    monkeypatch.setattr(bench.blobs, "put_if_absent", noted)
    publish(bench, transfer)

    assert written == ["chunks", "bundle"]


def test_what_is_published_is_not_published_again(bench: Bench) -> None:
    transfer = prepared(bench)
    publish(bench, transfer)
    before = bench.current(transfer)

    assert publish(bench, transfer) == NOTHING
    assert bench.current(transfer) == before


def test_the_preferred_key_among_those_the_device_trusts_seals(bench: Bench) -> None:
    new, old = Ed25519Sealer(generate_private_key()), Ed25519Sealer(generate_private_key())
    transfer = prepared(bench, keys=[old.key_id, bench.sealer.key_id])
    sealers = {key.key_id: key for key in (new, old, bench.sealer)}
    bench.with_deps(sealers=sealers)

    publish(bench, transfer)

    with bench.blobs.open(OUTBOX, bench.current(transfer).bundle or "") as stream:
        opened = read_bundle(stream, {key_id: key.public_key for key_id, key in sealers.items()})
    assert opened.sealed_by == old.key_id


@pytest.mark.parametrize("keys", [[], ["0123456789abcdef"]])
def test_a_device_that_trusts_none_of_our_keys_gets_no_bundle(bench: Bench, keys: list[str]) -> None:
    transfer = prepared(bench, keys=keys)

    assert publish(bench, transfer) == NOTHING

    failed = bench.current(transfer)
    assert (failed.state, failed.code) == ("failed", "seal.no_trusted_key")
    assert bench.blobs.names(OUTBOX) == []


def test_a_storage_that_is_away_is_tried_again(bench: Bench) -> None:
    transfer = prepared(bench)
    bench.blobs.calls.fail(f"put_if_absent {OUTBOX}", 2)

    with pytest.raises(DependencyError):
        publish(bench, transfer)

    assert bench.current(transfer).state == "building"
    assert publish(bench, transfer) == PUBLISHED


@pytest.mark.parametrize("shared", [False, True])
def test_a_patch_that_is_gone_is_asked_for_anew_and_nothing_of_it_is_published(bench: Bench, shared: bool) -> None:
    transfer = fleet_of(bench, 1, shared=shared)
    patch = bench.patch_of(transfer)
    bench.blobs.delete("patches", patch.blob or "")

    assert publish(bench, transfer) == NOTHING

    anew = bench.store.patches.patch(patch.patch_id)
    assert anew is not None and anew.state == "requested"
    assert bench.store.patches.to_build(bench.now(), 9) == (patch.patch_id,)
    assert (bench.current(transfer).state, bench.current(transfer).attempt) == ("queued", 2)
    assert [name for name in bench.blobs.names(OUTBOX) if name.endswith((".bundle", ".shared"))] == []
    assert bench.blobs.names("patches") == []


def test_nothing_is_published_before_its_patch_is_verified(bench: Bench) -> None:
    bench.register(APP_1, APP_2)
    bench.enrol(APP_1)
    transfer = bench.transfer(APP_2, APP_1)

    assert publish(bench, transfer) == NOTHING
    assert bench.blobs.names(OUTBOX) == []


def fleet_of(bench: Bench, count: int, *, shared: bool = False) -> Transfer:
    """So many devices that wait for one patch, which is built; returns the transfer of the first."""
    bench.register(APP_1, APP_2)
    names = [f"ship-{number}" for number in range(count)]
    for name in names:
        bench.enrol(APP_1, device_id=name, forms=["shared"] if shared else [])
    first, *_ = [bench.transfer(APP_2, APP_1, device_id=name, workstream=name) for name in names]
    assert build_step(bench.deps, {"patchId": first.patch_id, "worker": "set-1"}) == {"state": "verified"}
    return first


def run_to_the_end(bench: Bench, transfer: Transfer) -> int:
    """What the orchestration does."""
    published, after = 0, ""
    while after is not None:
        answer = publish_batch(bench.deps, {"patchId": transfer.patch_id, "after": after})
        published, after = published + answer["published"], answer["after"]
    return published


def test_every_device_that_waits_is_served_batch_by_batch(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(STEP, "BATCH", 3)
    first = fleet_of(bench, 7)

    assert run_to_the_end(bench, first) == 7
    assert run_to_the_end(bench, first) == 0


def test_a_batch_that_takes_too_long_ends_with_what_it_has(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(STEP, "SECONDS", -1.0)
    first = fleet_of(bench, 3)

    assert publish(bench, first)["published"] == 1
    assert run_to_the_end(bench, first) == 2


def test_what_was_done_before_the_storage_failed_is_marked(bench: Bench) -> None:
    first = fleet_of(bench, 3)
    bench.blobs.calls.fail(f"put_if_absent {outbox_container('ship-1')}", 1)

    with pytest.raises(DependencyError):
        run_to_the_end(bench, first)

    states = Counter(each.state for each in bench.store.transfers.list_transfers(**EVERY).items)
    assert states["building"] >= 1
    assert run_to_the_end(bench, first) == states["building"]
    assert all(len(bench.blobs.names(outbox_container(f"ship-{number}"))) == 2 for number in range(3))


def test_one_device_that_trusts_no_key_of_ours_holds_up_no_other(bench: Bench) -> None:
    bench.enrol(APP_1, device_id="boat", keys=["0123456789abcdef"])
    first = fleet_of(bench, 2)
    stranger = bench.transfer(APP_2, APP_1, device_id="boat", workstream="boat")

    assert run_to_the_end(bench, first) == 2
    assert bench.current(stranger).code == "seal.no_trusted_key"


def test_a_bundle_that_was_visible_is_never_replaced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    transfer = prepared(bench)
    lose_answer(bench, "mark", monkeypatch)
    with pytest.raises(Crash):
        publish(bench, transfer)
    monkeypatch.undo()
    before = {name: bench.blobs.info(OUTBOX, name) for name in bench.blobs.names(OUTBOX)}
    another = Ed25519Sealer(generate_private_key())
    bench.with_deps(sealers={another.key_id: another, **bench.deps.sealers})
    bench.speak(APP_1, keys=[another.key_id, bench.sealer.key_id], forms=["shared"])

    assert publish(bench, transfer) == PUBLISHED
    assert {name: bench.blobs.info(OUTBOX, name) for name in bench.blobs.names(OUTBOX)} == before


def test_a_shared_bundle_is_one_small_file_that_makes_the_composed_one(bench: Bench) -> None:
    first = fleet_of(bench, 1, shared=True)
    outbox = outbox_container(first.device_id)

    assert publish(bench, first) == PUBLISHED

    done = bench.current(first)
    assert bench.blobs.names(outbox) == [done.bundle] == [f"2-000000000001-{first.transfer_id}-1.shared"]
    shared = read_shared(bench.blobs.read(outbox, done.bundle or ""))
    patch = bench.blobs.read("patches", bench.patch_of(first).sha256 or "")
    whole = shared.before + patch + shared.after
    opened = read_bundle(io.BytesIO(whole), {bench.sealer.key_id: bench.sealer.public_key})
    opened.verify_patch_digest()
    check_chunk_list(opened.head, shared.chunks)
    assert (opened.head.number, opened.head.device_id) == (1, first.device_id)
    assert done.bundle_bytes == len(whole)


def test_a_patch_is_read_by_nobody_for_shared_bundles_and_its_chunk_list_once(bench: Bench) -> None:
    first = fleet_of(bench, 5, shared=True)
    bench.blobs.bytes_read.clear()
    chunks = len(bench.blobs.read("patches", f"{bench.patch_of(first).sha256}.chunks"))
    bench.blobs.bytes_read.clear()

    assert run_to_the_end(bench, first) == 5
    assert bench.blobs.bytes_read["patches"] == chunks
    stored = [blob.size for n in range(5) for blob in bench.blobs.list(outbox_container(f"ship-{n}"))]
    assert max(stored) < 700


def test_a_file_that_names_another_patch_is_not_taken_for_the_one_to_be_published(bench: Bench) -> None:
    """As after a restore of the database, when an attempt is planned in another way than before."""
    first = fleet_of(bench, 1, shared=True)
    outbox, name = outbox_container(first.device_id), f"2-000000000001-{first.transfer_id}-1.shared"
    head = BundleHead(target_image_id=APP_2.image_id, platform="linux/amd64", patch_sha256="0" * 64, patch_bytes=9)
    bench.blobs.put(outbox, name, [share(compose(head, bench.sealer, 0, 9)[0], bytes(32))])

    assert publish(bench, first) == NOTHING
    assert bench.current(first).code == "bundle.exists"


def test_a_damaged_chunk_list_is_never_sealed(bench: Bench) -> None:
    transfer = prepared(bench)
    bench.blobs.put("patches", f"{bench.patch_of(transfer).sha256}.chunks", [bytes(32)])

    assert publish(bench, transfer) == NOTHING
    assert (bench.patch_of(transfer).state, bench.blobs.names(OUTBOX)) == ("requested", [])
    assert bench.blobs.names("patches") == [], "a build keeps what is there already"


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("meanwhile", ["cancel", "retire"])
def test_what_nobody_wants_any_more_when_it_lies_there_is_taken_away(
    bench: Bench, shared: bool, meanwhile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fleet_of(bench, 1, shared=shared)
    outbox = outbox_container(first.device_id)
    finish = bench.store.publications.finish

    def too_late(*given: Any, **options: Any) -> int:
        sets = bench.store.sets
        if meanwhile == "cancel":
            (of,) = sets.list_sets(owner=None, state=None, workstream=None, limit=10, after=None).items
            sets.cancel(of.set_id, "olga", bench.now())
            sets.withdraw_part(of.set_id, bench.now())
        else:
            bench.store.devices.retire(first.device_id, "olga", bench.now())
        SyncTwins().do(Run(bench.deps), first.device_id)
        return finish(*given, **options)

    monkeypatch.setattr(bench.store.publications, "finish", too_late)
    assert publish(bench, first) == NOTHING
    monkeypatch.undo()
    SyncTwins().do(Run(bench.deps), first.device_id)

    assert bench.blobs.names(outbox) == []
    assert bench.current(first).state == "cancelled"


def test_a_vault_that_is_busy_ends_a_batch_and_what_was_written_stays(bench: Bench) -> None:
    """One signature for each bundle: in a fleet of thousands a vault says that it is too many at once."""
    first = fleet_of(bench, 4)
    signed: list[bytes] = []

    class Busy(Ed25519Sealer):
        def sign(self, message: bytes) -> bytes:
            if len(signed) == 2:
                signed.clear()
                raise DependencyError(
                    "the vault answered 429", code="dependency.vault", retry_after=timedelta(seconds=9)
                )
            signed.append(message)
            return super().sign(message)

    busy = Busy(bench.sealer._private)
    bench.with_deps(sealers={busy.key_id: busy})

    with pytest.raises(DependencyError) as caught:
        publish(bench, first)

    assert caught.value.retry_after == timedelta(seconds=9)
    assert run_to_the_end(bench, first) == 2
