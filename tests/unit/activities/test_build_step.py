from __future__ import annotations

import errno
import hashlib
import json
import threading
import time
import zlib
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import pytest

from activities.build_step import build_step
from contracts.records import Transfer
from imagedelta.bundles import chunk_list
from imagedelta.delta.encode.build import MEMORY_BYTES
from imagedelta.limits import GIB, MIB
from tests.images import an_image
from tests.simulators.calls import Crash
from tests.unit.activities.bench import Bench, noise

FILES = {f"app/{name}.dll": noise(n) for n, name in enumerate("abcdefgh")}
APP_1 = an_image(FILES, references=("fleet.example/app:1",))
APP_2 = an_image({**FILES, "app/a.dll": noise(1)[:5_000] + noise(50, 3_000)}, references=("fleet.example/app:2",))
LONG_AGO = {"hours": 2}
STEP = import_module("activities.build_step")


@pytest.fixture
def transfer(bench: Bench) -> Transfer:
    """app:2 for a device that has app:1, waiting for its patch."""
    bench.register(APP_1, APP_2)
    bench.enrol(APP_1)
    return bench.transfer(APP_2, APP_1)


def build(bench: Bench, transfer: Transfer, worker: str = "set-1") -> dict[str, object]:
    return build_step(bench.deps, {"patchId": transfer.patch_id, "worker": worker})


def test_a_patch_is_kept_under_its_digest_with_its_chunk_list(bench: Bench, transfer: Transfer) -> None:
    assert build(bench, transfer) == {"state": "verified"}

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

    assert build(bench, transfer) == {"state": "verified"}
    assert build(bench, transfer, "set-2") == {"state": "verified"}
    assert bench.patch_of(transfer) == before


def test_devices_with_the_same_source_wait_for_one_patch(bench: Bench, transfer: Transfer) -> None:
    bench.enrol(APP_1, device_id="ship-2")

    assert bench.transfer(APP_2, APP_1, device_id="ship-2").patch_id == transfer.patch_id


def test_a_worker_that_died_takes_its_own_patch_over_and_no_other_does(
    bench: Bench, transfer: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(STEP, "build_whole", _die)
    with pytest.raises(Crash):
        build(bench, transfer)
    monkeypatch.undo()

    assert build(bench, transfer, "set-2") == {"state": "left"}
    assert bench.patch_of(transfer).state == "building"
    assert build(bench, transfer) == {"state": "verified"}


def test_another_worker_takes_over_when_the_lease_is_over(bench: Bench, transfer: Transfer) -> None:
    bench.blobs.calls.fail("put_if_absent patches", error=Crash())
    with pytest.raises(Crash):
        build(bench, transfer)

    bench.now.forward(seconds=299)
    assert build(bench, transfer, "set-2") == {"state": "left"}
    bench.now.forward(seconds=2)
    assert build(bench, transfer, "set-2") == {"state": "verified"}


@pytest.mark.parametrize(("nth", "after"), [(1, False), (1, True), (2, False), (2, True)])
def test_a_crash_around_the_blobs_is_completed_by_a_second_run(
    bench: Bench, transfer: Transfer, nth: int, after: bool
) -> None:
    bench.blobs.calls.fail("put_if_absent patches", nth, after=after, error=Crash())
    with pytest.raises(Crash):
        build(bench, transfer)

    assert build(bench, transfer) == {"state": "verified"}

    blob = bench.patch_of(transfer).blob
    assert bench.blobs.names("patches") == sorted([str(blob), f"{blob}.chunks"])


def test_a_storage_that_is_away_is_tried_again_and_nothing_fails(bench: Bench, transfer: Transfer) -> None:
    bench.blobs.calls.fail("put_if_absent patches")

    answer = build(bench, transfer)

    patch = bench.patch_of(transfer)
    assert (answer["state"], patch.state, bench.current(transfer).state) == ("more", "requested", "queued")
    assert (answer["code"], patch.code, patch.tries) == ("dependency.unavailable", "dependency.unavailable", 1)

    bench.blobs.calls.fail("put_if_absent patches")
    assert build(bench, transfer)["state"] == "put_off"
    assert build(bench, transfer) == {"state": "left"}, "not before its pause is over"
    bench.now.forward(seconds=120)
    assert build(bench, transfer) == {"state": "verified"}


def test_a_stored_layer_that_was_cut_fails_the_patch_and_its_transfers(bench: Bench, transfer: Transfer) -> None:
    for diff_id in APP_2.image.diff_ids:
        path = bench.blobs.root / "layers" / diff_id[7:]
        path.write_bytes(path.read_bytes()[:3_000])

    answer = build(bench, transfer)

    patch, failed = bench.patch_of(transfer), bench.current(transfer)
    assert (answer["state"], patch.state, failed.state) == ("failed", "failed", "failed")
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
    monkeypatch.setattr(STEP, "build_whole", defect)

    assert build(bench, transfer)["code"] == "internal"
    assert (bench.patch_of(transfer).state, bench.current(transfer).state) == ("failed", "failed")


def test_a_worker_that_lost_its_lease_fails_nothing(
    bench: Bench, transfer: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(*given: object, **options: object) -> None:
        monkeypatch.undo()
        bench.now.forward(**LONG_AGO)
        bench.verify_elsewhere(transfer, "set-2")
        raise ZeroDivisionError

    monkeypatch.setattr(STEP, "build_whole", overtaken)

    build(bench, transfer)

    assert (bench.patch_of(transfer).state, bench.current(transfer).state) == ("verified", "queued")


def test_no_scratch_is_left_whatever_happens(
    bench: Bench, transfer: Transfer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    bench.blobs.calls.fail("put_if_absent patches")

    build(bench, transfer)
    assert list(scratch.iterdir()) == []
    assert build(bench, transfer) == {"state": "verified"}
    assert list(scratch.iterdir()) == []


def test_a_full_disk_is_tried_again_later_and_later_and_then_fails_with_its_reason(
    bench: Bench, transfer: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times in eight hours, not five hundred times in eight days."""

    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(STEP, "build_whole", full)
    started, pauses = bench.now(), []
    while (answer := build(bench, transfer))["state"] in ("more", "put_off"):
        patch = bench.patch_of(transfer)
        assert patch.next_try_at is not None
        assert (patch.state, patch.code) == ("requested", "dependency.scratch")
        assert "No space left" in str(patch.detail)
        assert bench.current(transfer).state == "queued"
        pauses.append(patch.next_try_at - bench.now())
        due = bench.store.patches.to_build(bench.now(), 10)
        assert due == (() if pauses[-1] else (patch.patch_id,))
        bench.now.forward(seconds=pauses[-1].total_seconds())

    assert pauses == [timedelta(0), *(timedelta(minutes=2**n) for n in range(1, 8)), timedelta(hours=4)]
    assert timedelta(hours=8) < bench.now() - started < timedelta(hours=9)
    failed = bench.current(transfer)
    assert (answer["state"], bench.patch_of(transfer).state, failed.state) == ("failed", "failed", "failed")
    assert (failed.code, bench.patch_of(transfer).code) == ("dependency.scratch", "dependency.scratch")
    assert "No space left" in str(failed.detail)


def test_a_patch_whose_worker_dies_at_every_try_fails(
    bench: Bench, transfer: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(STEP, "build_whole", _die)
    for _ in range(10):
        with pytest.raises(Crash):
            build(bench, transfer)
        assert bench.current(transfer).state == "queued"

    answer = build(bench, transfer)

    assert (answer["state"], answer["code"]) == ("failed", "build.died")
    assert (bench.patch_of(transfer).state, bench.current(transfer).state) == ("failed", "failed")


def test_a_patch_and_all_that_waits_for_it_fail_together_or_not_at_all(
    bench: Bench, transfer: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies at each statement of the failure in turn."""
    bench.enrol(APP_1, device_id="ship-2")
    other = bench.transfer(APP_2, APP_1, device_id="ship-2")
    monkeypatch.setattr(STEP, "build_whole", lambda *given: 1 // 0)
    bench.deps = replace(bench.deps, settings=replace(bench.deps.settings, max_build_tries=100))

    states = set()
    for nth in range(1, 100):
        with bench.dying_at_statement(nth), suppress(Crash):
            build(bench, transfer)
        states.add((bench.patch_of(transfer).state, bench.current(transfer).state, bench.current(other).state))
        if bench.patch_of(transfer).state == "failed":
            break

    assert states <= {
        ("requested", "queued", "queued"),
        ("building", "queued", "queued"),
        ("failed", "failed", "failed"),
    }
    assert ("failed", "failed", "failed") in states
    assert nth > 5


def test_two_builds_of_a_process_never_run_at_once(
    bench: Bench, transfer: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever host.json says: two would not fit the memory of the smallest instance."""
    bench.enrol(device_id="ship-2")
    others = (transfer, bench.transfer(APP_2, device_id="ship-2"))
    running, most = [], []

    def work(*given: object) -> None:
        running.append(1)
        most.append(len(running))
        time.sleep(0.2)
        running.pop()
        raise OSError("enough")

    monkeypatch.setattr(STEP, "build_whole", work)
    threads = [threading.Thread(target=build, args=(bench, each)) for each in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == [1, 1]


def test_one_build_fits_the_smallest_instance_and_host_json_runs_one_step_at_a_time() -> None:
    """2 GB, of which the host takes 300 MB; what the interpreter and the indexes of two images take is 300 MB."""
    host = json.loads((Path(__file__).parents[3] / "host.json").read_text("utf-8"))

    assert host["extensions"]["durableTask"]["maxConcurrentActivityFunctions"] == 1
    assert MEMORY_BYTES + 600 * MIB < 2 * GIB


def _die(*given: object, **options: object) -> None:
    raise Crash
