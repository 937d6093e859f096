"""Forgetting: rows, patches with their blobs, blobs of work that is over; a run may end anywhere."""

from __future__ import annotations

import os
from typing import Any

import pytest

from activities.purge import purge
from imagedelta.errors import DependencyError
from store.kernel.schema import patches
from tests.simulators.statements import statements
from tests.unit.activities.bench import DEVICE, Bench

DAY = 86_400


def run(bench: Bench, seconds: float = 60) -> dict[str, Any]:
    return purge(bench.deps, {"seconds": seconds})


def unused_patch(bench: Bench) -> str:
    """A patch whose one transfer was over three months ago."""
    bench.blobs.put("patches", "ab", [b"patch"])
    bench.blobs.put("patches", "ab.chunks", [b"chunks"])
    bench.blobs.put("patches", "cd", [b"another"])
    patch_id = verified(bench)
    bench.now.forward(seconds=91 * DAY)
    return patch_id


def verified(bench: Bench) -> str:
    def insert(connection: Any) -> None:
        values = {"patch_id": "patch-1", "target": "t", "sources_key": "k", "sources": [], "profile": "p"}
        times = {"created_at": bench.now(), "updated_at": bench.now(), "tries": 0}
        connection.execute(patches.insert().values(**values, **times, state="verified", blob="ab"))

    bench.store._db.write(insert)
    return "patch-1"


def test_a_patch_that_nobody_uses_goes_with_its_blobs_and_no_others(bench: Bench) -> None:
    patch_id = unused_patch(bench)

    assert run(bench) == {"more": False}

    assert bench.store.patches.patch(patch_id) is None
    assert bench.blobs.names("patches") == ["cd"]


def test_a_patch_whose_blob_could_not_be_deleted_goes_the_next_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch_id = unused_patch(bench)
    with monkeypatch.context() as down:
        down.setattr(bench.blobs, "delete", refuse)
        with pytest.raises(DependencyError):
            run(bench)
    assert bench.store.patches.patch(patch_id) is not None

    bench.now.forward(seconds=3600)
    run(bench)

    assert bench.store.patches.patch(patch_id) is None
    assert bench.blobs.names("patches") == ["cd"]


def write(bench: Bench, container: str, name: str) -> None:
    """Written now, by the clock of the bench."""
    bench.blobs.put(container, name, [b"x"])
    moment = bench.now().timestamp()
    os.utime(bench.blobs.root / container / name, (moment, moment))


def refuse(*_: Any) -> None:
    raise DependencyError("the storage does not answer")


def test_parts_of_builds_and_archives_go_by_age_and_bundles_and_layers_stay(bench: Bench) -> None:
    containers = ("scratch", "intake", "layers", "indexes", "signatures", f"outbox-{DEVICE}")
    for container in containers:
        write(bench, container, "old")
    bench.now.forward(seconds=8 * DAY)
    run(bench)
    week = {container: bench.blobs.names(container) for container in containers}
    write(bench, "intake", "young")
    bench.now.forward(seconds=23 * DAY)

    run(bench)

    assert week == {container: [] if container == "scratch" else ["old"] for container in containers}
    assert bench.blobs.names("intake") == ["young"]
    assert all(bench.blobs.names(container) == ["old"] for container in containers[2:])


def test_a_run_that_has_no_time_left_ends_and_says_so(bench: Bench) -> None:
    assert run(bench, seconds=0) == {"more": True}


def test_what_a_run_needs_is_short_when_there_is_nothing_to_forget(bench: Bench) -> None:
    bench.enrol()
    with statements(bench.store) as asked:
        run(bench)

    assert len(asked) < 40
