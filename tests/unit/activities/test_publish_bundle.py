from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from activities.build_patch import build_patch
from activities.publish_bundle import publish_bundle
from contracts.outbox import outbox_container
from contracts.records import Transfer
from imagedelta.bundles import Ed25519Sealer, check_chunk_list, read_bundle
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


def prepared(bench: Bench, keys: Sequence[str] | None = None) -> Transfer:
    """A transfer whose patch is built."""
    bench.register(APP_1, APP_2)
    bench.enrol(APP_1, keys=keys)
    transfer = bench.transfer(APP_2, APP_1)
    assert build_patch(bench.deps, {"patchId": transfer.patch_id, "worker": "set-1"}) == {"built": True}
    return transfer


def publish(bench: Bench, transfer: Transfer) -> dict[str, object]:
    return publish_bundle(bench.deps, {"transferId": transfer.transfer_id})


def test_a_bundle_opens_with_the_key_the_device_trusts(bench: Bench) -> None:
    transfer = prepared(bench)

    assert publish(bench, transfer) == {"published": True}

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

    assert publish(bench, transfer) == {"published": True}

    assert {name: bench.blobs.read(OUTBOX, name) for name in bench.blobs.names(OUTBOX)} == before
    assert bench.current(transfer).number == 1


def lose_answer(bench: Bench, lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies after the bundle became visible, before SQL knows."""
    compose = bench.blobs.compose_if_absent

    def dying(container: str, name: str, parts: Sequence[bytes | BlobRange]) -> BlobInfo:
        compose(container, name, parts)
        raise Crash

    def gone(*given: object) -> bool:
        raise Crash

    if lost == "compose":
        monkeypatch.setattr(bench.blobs, "compose_if_absent", dying)
    else:
        monkeypatch.setattr(bench.store.transfers, "mark_published", gone)


def test_the_chunk_list_is_there_before_the_bundle(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    transfer = prepared(bench)
    written = []

    def noting(put: Callable[..., BlobInfo]) -> Callable[..., BlobInfo]:
        def noted(container: str, name: str, *given: Any) -> BlobInfo:
            written.append(name.rpartition(".")[2])
            return put(container, name, *given)

        return noted

    monkeypatch.setattr(bench.blobs, "put", noting(bench.blobs.put))
    monkeypatch.setattr(bench.blobs, "compose_if_absent", noting(bench.blobs.compose_if_absent))
    publish(bench, transfer)

    assert written == ["chunks", "bundle"]


def test_what_is_published_is_not_published_again(bench: Bench) -> None:
    transfer = prepared(bench)
    publish(bench, transfer)
    before = bench.current(transfer)

    assert publish(bench, transfer) == {"published": False}
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

    assert publish(bench, transfer) == {"published": False, "code": "seal.no_trusted_key"}

    failed = bench.current(transfer)
    assert (failed.state, failed.code) == ("failed", "seal.no_trusted_key")
    assert bench.blobs.names(OUTBOX) == []


def test_a_storage_that_is_away_is_tried_again(bench: Bench) -> None:
    transfer = prepared(bench)
    bench.blobs.calls.fail(f"put_if_absent {OUTBOX}")

    with pytest.raises(DependencyError):
        publish(bench, transfer)

    assert bench.current(transfer).state == "building"
    assert publish(bench, transfer) == {"published": True}


def test_a_patch_that_is_gone_fails_the_transfer_with_its_code(bench: Bench) -> None:
    transfer = prepared(bench)
    blob = bench.patch_of(transfer).blob or ""
    bench.blobs.delete("patches", blob)

    assert publish(bench, transfer)["code"] == "content.missing"

    failed = bench.current(transfer)
    assert (failed.state, failed.code) == ("failed", "content.missing")
    assert [name for name in bench.blobs.names(OUTBOX) if name.endswith(".bundle")] == []


def test_nothing_is_published_before_its_patch_is_verified(bench: Bench) -> None:
    bench.register(APP_1, APP_2)
    bench.enrol(APP_1)
    transfer = bench.transfer(APP_2, APP_1)

    assert publish(bench, transfer) == {"published": False}
    assert bench.blobs.names(OUTBOX) == []


def test_numbers_of_a_device_grow_with_each_bundle(bench: Bench) -> None:
    first = prepared(bench)
    other = an_image({**FILES, "app/a.dll": noise(51)}, references=("fleet.example/other:1",))
    bench.register(other)
    second = bench.transfer(other, APP_1, workstream="other")
    build_patch(bench.deps, {"patchId": second.patch_id, "worker": "set-2"})

    publish(bench, second)
    publish(bench, first)

    assert (bench.current(second).number, bench.current(first).number) == (1, 2)
    assert bench.current(first).floor == 1
