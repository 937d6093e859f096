"""A large patch is built in many steps: whatever dies, fails or is lost between them, the patch is the same."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from activities import build_parts
from activities.build_scratch import CONTAINER
from activities.build_step import build_step
from contracts.records import Transfer
from imagedelta.delta.encode import build_patch, chunks, spools, stream_plans
from imagedelta.delta.format import coders
from services.blobs.folder import FolderBlobs
from services.ports import BlobInfo
from tests.images import an_image
from tests.simulators.calls import Calls, Crash
from tests.unit.activities.bench import Bench, noise
from tests.unit.delta.patches import content_of

STEP = import_module("activities.build_step")
TEXT = b"".join(b"line %d of a text that changes here and there\n" % number for number in range(600))
OLD = {f"lib/{name}.so": noise(n, 30_000) for n, name in enumerate("abc")} | {"words.txt": TEXT}
NEW = {
    **{path: data[:9_000] + noise(99, 50) + data[9_050:] for path, data in OLD.items() if path != "words.txt"},
    "words.txt": TEXT.replace(b"line 77 ", b"line seventy-seven "),
    "bin/program": b"\x7fELF" + noise(7, 50_000),
    "model": noise(8, 50_000),
    "model.copy": noise(8, 50_000),
}
APP_1 = an_image(OLD, references=("fleet.example/app:1",))
APP_2 = an_image(NEW, references=("fleet.example/app:2",))
PAUSE = {"hours": 5}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step makes one part, and every part is small."""
    monkeypatch.setattr(STEP, "_WHOLE_BYTES", 0)
    monkeypatch.setattr(STEP, "_STEP_SECONDS", 0)
    monkeypatch.setattr(build_parts, "_PART_BYTES", 30_000)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 30_000)
    monkeypatch.setattr(spools, "SEGMENT_BYTES", 20_000)
    monkeypatch.setattr(stream_plans, "_SMALL_BYTES", 10_000)
    monkeypatch.setattr(stream_plans, "_IN_MEMORY_BYTES", {})
    monkeypatch.setattr(coders, "LEAST_FRAME_BYTES", 10_000)


@pytest.fixture
def transfer(bench: Bench) -> Transfer:
    """app:2 for a device that has app:1, waiting for its patch."""
    bench.register(APP_1, APP_2)
    bench.enrol(APP_1)
    return bench.transfer(APP_2, APP_1)


@pytest.fixture
def expected(tmp_path: Path) -> str:
    """Digest of the patch when it is built in one go."""
    out = io.BytesIO()
    build_patch(content_of(APP_2), [content_of(APP_1)], out, scratch=tmp_path)
    return hashlib.sha256(out.getvalue()).hexdigest()


def step(bench: Bench, transfer: Transfer, worker: str = "set-1") -> dict[str, Any]:
    return build_step(bench.deps, {"patchId": transfer.patch_id, "worker": worker})


def steps(bench: Bench, transfer: Transfer, worker: str = "set-1") -> Iterator[str]:
    """The states of steps until there is no more to do; what is put off is due again."""
    for _ in range(60):
        state = step(bench, transfer, worker)["state"]
        yield state
        if state == "put_off":
            bench.now.forward(**PAUSE)
        elif state != "more":
            return
    raise AssertionError("it never ends")


def scratch(bench: Bench) -> list[str]:
    return bench.blobs.names(CONTAINER)


def assert_built(bench: Bench, transfer: Transfer, sha256: str) -> None:
    patch = bench.patch_of(transfer)
    assert (patch.state, patch.sha256, patch.tries, patch.code) == ("verified", sha256, 0, None)
    assert bench.blobs.names("patches") == [sha256, f"{sha256}.chunks"]
    assert hashlib.sha256(bench.blobs.read("patches", sha256)).hexdigest() == sha256
    assert scratch(bench) == []


def test_many_steps_give_the_patch_of_one_and_leave_no_scratch(bench: Bench, transfer: Transfer, expected: str) -> None:
    states = list(steps(bench, transfer))

    assert states == ["more"] * (len(states) - 1) + ["verified"]
    assert len(states) > 8
    assert_built(bench, transfer, expected)
    patch = bench.patch_of(transfer)
    assert (patch.bytes_read or 0) > sum(map(len, NEW.values())) / 2
    assert patch.bytes == len(bench.blobs.read("patches", expected))


def test_a_step_lasts_as_long_as_there_is_time_and_makes_several_parts(
    bench: Bench, transfer: Transfer, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(STEP, "_STEP_SECONDS", 600)

    assert list(steps(bench, transfer)) == ["more", "more", "more", "verified"], "pieces, joined, coded, patch"
    assert_built(bench, transfer, expected)


def test_nothing_that_is_made_is_made_again_when_another_worker_goes_on(
    bench: Bench, transfer: Transfer, expected: str
) -> None:
    for _ in range(4):
        assert step(bench, transfer) == {"state": "more"}
    made = scratch(bench)

    assert step(bench, transfer, "set-2") == {"state": "left"}, "the lease of the first runs"
    bench.now.forward(seconds=301)
    assert step(bench, transfer, "set-2") == {"state": "more"}
    assert step(bench, transfer) == {"state": "left"}, "it was taken over"

    assert set(made) < set(scratch(bench))
    assert len(scratch(bench)) == len(made) + 1
    assert list(steps(bench, transfer, "set-2"))[-1] == "verified"
    assert_built(bench, transfer, expected)


@pytest.mark.parametrize("harm", ["gone", "changed", "cut short"])
def test_whatever_is_lost_or_damaged_in_scratch_is_made_again(
    bench: Bench, transfer: Transfer, expected: str, harm: str
) -> None:
    """After each step, each blob that is there by then."""
    harmed: set[str] = set()
    for _ in range(400):
        names = [name for name in scratch(bench) if name not in harmed]
        if names:
            harmed.add(names[0])
            hurt(bench.blobs.root / CONTAINER / names[0], harm)
        answer = step(bench, transfer)
        state = answer["state"]
        assert state in ("more", "verified"), answer
        if state == "verified":
            break
    assert len(harmed) > 8
    assert_built(bench, transfer, expected)


def hurt(path: Path, harm: str) -> None:
    data = bytearray(path.read_bytes())
    path.unlink()
    if harm == "changed":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif harm == "cut short":
        path.write_bytes(data[: len(data) // 2])


class FaultyBlobs(FolderBlobs):
    """Any call that concerns what a build makes may fail."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.blobs.root, url="http://blobs.example", key="a2V5", now=bench.now)
        self.calls = Calls()

    def _call(self, container: str) -> AbstractContextManager[None]:
        return self.calls.call("any") if container in (CONTAINER, "patches") else nullcontext()

    def put(self, container: str, name: str, chunks: Any) -> BlobInfo:
        with self._call(container):
            return super().put(container, name, chunks)

    def put_if_absent(self, container: str, name: str, chunks: Any) -> BlobInfo:
        with self._call(container):
            return super().put_if_absent(container, name, chunks)

    def open(self, container: str, name: str) -> BinaryIO:
        with self._call(container):
            return super().open(container, name)

    def read_at(self, container: str, name: str, offset: int, length: int) -> bytes:
        with self._call(container):
            return super().read_at(container, name, offset, length)

    def list(self, container: str, prefix: str = "") -> Iterable[BlobInfo]:
        with self._call(container):
            return super().list(container, prefix)

    def delete(self, container: str, name: str) -> None:
        with self._call(container):
            super().delete(container, name)


@pytest.mark.parametrize(("death", "after"), [(True, False), (True, True), (False, True)])
def test_a_death_or_an_error_at_any_call_of_the_storage_is_made_good(
    bench: Bench,
    transfer: Transfer,
    expected: str,
    death: bool,
    after: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the first call, at the fourth of the next try, and so on: each goes on with what is there."""
    monkeypatch.setattr(STEP, "_STEP_SECONDS", 600)
    blobs = FaultyBlobs(bench)
    bench.deps = replace(bench.deps, blobs=blobs, settings=replace(bench.deps.settings, max_build_tries=1000))
    states: list[str] = []
    faults = 0
    while not states or states[-1] not in ("verified", "left", "failed"):
        blobs.calls.fail("any", 1 + 3 * faults, after=after, error=Crash() if death else None)
        try:
            states.append(step(bench, transfer)["state"])
        except Crash:
            faults += 1
        if states and states[-1] == "put_off":
            faults += 1
            bench.now.forward(**PAUSE)
        assert faults < 200
    assert faults > 6
    assert states[-1] == "verified"
    patch = bench.patch_of(transfer)
    assert (patch.state, patch.sha256) == ("verified", expected)


def test_a_build_that_nobody_wants_any_more_stops_and_leaves_nothing(bench: Bench, transfer: Transfer) -> None:
    for _ in range(3):
        step(bench, transfer)
    assert scratch(bench)

    bench.cancel(transfer)

    assert step(bench, transfer) == {"state": "left"}
    assert (bench.patch_of(transfer).state, bench.current(transfer).state) == ("requested", "cancelled")
    assert scratch(bench) == []


def test_a_build_that_another_set_wants_goes_on_when_one_is_cancelled(
    bench: Bench, transfer: Transfer, expected: str
) -> None:
    bench.enrol(APP_1, device_id="ship-2")
    bench.transfer(APP_2, APP_1, device_id="ship-2")
    step(bench, transfer)

    bench.cancel(transfer)

    assert list(steps(bench, transfer))[-1] == "verified"
    assert_built(bench, transfer, expected)


def test_a_step_stops_in_its_midst_when_nobody_wants_the_patch_any_more(
    bench: Bench, transfer: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(STEP, "_STEP_SECONDS", 600)
    bench.deps = replace(bench.deps, settings=replace(bench.deps.settings, patch_lease=timedelta(seconds=0.05)))
    put = bench.blobs.put
    puts = []

    def slow_put(container: str, name: str, chunks: Iterable[bytes]) -> BlobInfo:
        puts.append(name)
        if len(puts) == 1:
            bench.cancel(transfer)
        time.sleep(0.1)
        return put(container, name, chunks)

    monkeypatch.setattr(bench.blobs, "put", slow_put)

    assert step(bench, transfer) == {"state": "left"}

    assert len(puts) < 3
    assert bench.patch_of(transfer).state == "requested"
    assert scratch(bench) == []
