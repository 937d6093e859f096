"""A worker that builds a patch in small parts: ``python -m tests.e2e.build_process DATABASE BLOBS PATCH WORKER``."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from activities import build_parts
from activities.build_step import build_step
from imagedelta.delta.encode import chunks, spools, stream_plans
from imagedelta.delta.format import coders
from store.sql import SqlStore
from tests.unit.activities.bench import Bench


def small_parts() -> None:
    """A patch of a few hundred KB is built in a dozen parts, one a step."""
    step = import_module("activities.build_step")
    step._WHOLE_BYTES = step._STEP_SECONDS = 0  # type: ignore[attr-defined]
    build_parts._PART_BYTES = chunks.CHUNK_BYTES = 30_000
    spools.SEGMENT_BYTES = 20_000
    stream_plans._SMALL_BYTES = 10_000
    stream_plans._IN_MEMORY_BYTES = {}
    coders.LEAST_FRAME_BYTES = 10_000


def main(database: str, blobs: str, patch_id: str, worker: str) -> None:
    """Build to the end, and print what became of it."""
    small_parts()
    store = SqlStore(database)
    bench = Bench(store, Path(blobs))
    bench.now.forward(hours=1)  # after whoever asked for the patch
    state = "more"
    while state == "more":
        state = build_step(bench.deps, {"patchId": patch_id, "worker": worker})["state"]
    print(state)
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
