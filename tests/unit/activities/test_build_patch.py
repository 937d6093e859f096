from __future__ import annotations

import hashlib
import zlib
from importlib import import_module
from pathlib import Path

import pytest

from activities.build_patch import build_patch
from contracts.records import Transfer
from imagedelta.bundles import chunk_list
from imagedelta.errors import DependencyError
from tests.images import an_image
from tests.simulators.calls import Crash
from tests.unit.activities.bench import Bench, noise

FILES = {f"app/{name}.dll": noise(n) for n, name in enumerate("abcdefgh")}
APP_1 = an_image(FILES, references=("fleet.example/app:1",))
APP_2 = an_image({**FILES, "app/a.dll": noise(1)[:5_000] + noise(50, 3_000)}, references=("fleet.example/app:2",))
LONG_AGO = {"hours": 2}


@pytest.fixture
def transfer(bench: Bench) -> Transfer:
    """app:2 for a device that has app:1, waiting for its patch."""
    bench.register(APP_1, APP_2)
    bench.enrol(APP_1)
    return bench.transfer(APP_2, APP_1)


def build(bench: Bench, transfer: Transfer, worker: str = "set-1") -> dict[str, object]:
    return build_patch(bench.deps, {"patchId": transfer.patch_id, "worker": worker})


def test_a_patch_is_kept_under_its_digest_with_its_chunk_list(bench: Bench, transfer: Transfer) -> None:
    assert build(bench, transfer) == {"built": True}

    patch = bench.patch_of(transfer)
    data = bench.blobs.read("patches", patch.blob or "")
    chunks = bench.blobs.read("patches", f"{patch.blob}.chunks")
    assert patch.state == "verified"
    assert (patch.blob, patch.bytes, patch.crc32) == (hashlib.sha256(data).hexdigest(), len(data), zlib.crc32(data))
    with bench.blobs.open("patches", patch.blob or "") as stream:
        assert chunk_list(stream) == chunks
    assert patch.chunks == f"sha256:{hashlib.sha256(chunks).hexdigest()}"
    assert len(data) < len(APP_2.layers[0]) / 5


def test_a_patch_is_built_once(bench: Bench, transfer: Transfer) -> None:
    build(bench, transfer)
    before = bench.patch_of(transfer)

    assert build(bench, transfer) == {"built": False}
    assert build(bench, transfer, "set-2") == {"built": False}
    assert bench.patch_of(transfer) == before


def test_devices_with_the_same_source_wait_for_one_patch(bench: Bench, transfer: Transfer) -> None:
    bench.enrol(APP_1, device_id="ship-2")

    assert bench.transfer(APP_2, APP_1, device_id="ship-2").patch_id == transfer.patch_id


def test_a_worker_that_died_takes_its_own_patch_over_and_no_other_does(
    bench: Bench, transfer: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("activities.build_patch"), "build_verified_patch", _die)
    with pytest.raises(Crash):
        build(bench, transfer)
    monkeypatch.undo()

    assert build(bench, transfer, "set-2") == {"built": False}
    assert bench.patch_of(transfer).state == "building"
    assert build(bench, transfer) == {"built": True}


def test_another_worker_takes_over_when_the_lease_is_over(bench: Bench, transfer: Transfer) -> None:
    bench.blobs.calls.fail("put_if_absent patches", error=Crash())
    with pytest.raises(Crash):
        build(bench, transfer)

    bench.now.forward(seconds=3_599)
    assert build(bench, transfer, "set-2") == {"built": False}
    bench.now.forward(seconds=2)
    assert build(bench, transfer, "set-2") == {"built": True}


@pytest.mark.parametrize(("nth", "after"), [(1, False), (1, True), (2, False), (2, True)])
def test_a_crash_around_the_blobs_is_completed_by_a_second_run(
    bench: Bench, transfer: Transfer, nth: int, after: bool
) -> None:
    bench.blobs.calls.fail("put_if_absent patches", nth, after=after, error=Crash())
    with pytest.raises(Crash):
        build(bench, transfer)

    assert build(bench, transfer) == {"built": True}

    blob = bench.patch_of(transfer).blob
    assert bench.blobs.names("patches") == sorted([str(blob), f"{blob}.chunks"])


def test_a_storage_that_is_away_is_tried_again_and_nothing_fails(bench: Bench, transfer: Transfer) -> None:
    bench.blobs.calls.fail("put_if_absent patches")

    with pytest.raises(DependencyError):
        build(bench, transfer)

    assert (bench.patch_of(transfer).state, bench.current(transfer).state) == ("building", "queued")
    assert build(bench, transfer) == {"built": True}


def test_a_stored_layer_that_was_cut_fails_the_patch_and_its_transfers(bench: Bench, transfer: Transfer) -> None:
    for diff_id in APP_2.image.diff_ids:
        path = bench.blobs.root / "layers" / diff_id[7:]
        path.write_bytes(path.read_bytes()[:3_000])

    answer = build(bench, transfer)

    patch, failed = bench.patch_of(transfer), bench.current(transfer)
    assert (answer["built"], patch.state, failed.state) == (False, "failed", "failed")
    assert answer["code"] == patch.code == failed.code == "content.truncated"
    assert bench.blobs.names("patches") == []


def test_a_stored_layer_that_was_damaged_is_found_before_anything_is_published(
    bench: Bench, transfer: Transfer
) -> None:
    for diff_id in APP_2.image.diff_ids:
        path = bench.blobs.root / "layers" / diff_id[7:]
        data = bytearray(path.read_bytes())
        data[1_000:1_100] = bytes(100)  # within app/a.dll, which changed
        path.write_bytes(data)

    answer = build(bench, transfer)

    assert answer["code"] == bench.current(transfer).code == "content.digest_mismatch"
    assert "app/a.dll" in str(bench.current(transfer).detail)
    assert bench.blobs.names("patches") == []


@pytest.mark.parametrize("container", ["layers", "indexes"])
def test_a_stored_layer_that_is_gone_fails_with_its_code(bench: Bench, transfer: Transfer, container: str) -> None:
    for name in bench.blobs.names(container):
        (bench.blobs.root / container / name).unlink()

    assert build(bench, transfer)["code"] == "content.missing"
    assert bench.current(transfer).code == "content.missing"


def test_a_defect_of_ours_fails_the_patch_instead_of_trying_for_ever(
    bench: Bench, transfer: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    defect = lambda *given, **options: 1 // 0  # noqa: E731
    monkeypatch.setattr(import_module("activities.build_patch"), "build_verified_patch", defect)

    assert build(bench, transfer)["code"] == "internal"
    assert (bench.patch_of(transfer).state, bench.current(transfer).state) == ("failed", "failed")


def test_a_worker_that_lost_its_lease_fails_nothing(
    bench: Bench, transfer: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(*given: object, **options: object) -> None:
        monkeypatch.undo()
        bench.now.forward(**LONG_AGO)
        assert build(bench, transfer, "set-2") == {"built": True}
        raise ZeroDivisionError

    monkeypatch.setattr(import_module("activities.build_patch"), "build_verified_patch", overtaken)

    build(bench, transfer)

    assert (bench.patch_of(transfer).state, bench.current(transfer).state) == ("verified", "queued")


def test_no_scratch_is_left_whatever_happens(
    bench: Bench, transfer: Transfer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    bench.blobs.calls.fail("put_if_absent patches")

    with pytest.raises(DependencyError):
        build(bench, transfer)
    assert list(scratch.iterdir()) == []
    build(bench, transfer)
    assert list(scratch.iterdir()) == []


def _die(*given: object, **options: object) -> None:
    raise Crash
