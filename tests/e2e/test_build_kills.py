"""A worker that is killed while it builds loses the part that it was at, and nothing else."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagedelta.delta.encode import build_patch
from store.sql import SqlStore
from tests.e2e.build_process import small_parts
from tests.images import an_image
from tests.unit.activities.bench import Bench, noise
from tests.unit.delta.patches import content_of

pytestmark = pytest.mark.e2e
OLD = {f"lib/{name}.so": noise(n, 30_000) for n, name in enumerate("abc")}
APP_1 = an_image(OLD, references=("fleet.example/app:1",))
APP_2 = an_image(
    {**{path: data[:-50] + noise(9, 50) for path, data in OLD.items()}, "model": noise(8, 150_000)},
    references=("fleet.example/app:2",),
)
PATIENCE = 120


def worker(database: str, blobs: Path, patch_id: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.e2e.build_process", database, str(blobs), patch_id, "deploy-1"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def visible(folder: Path) -> set[str]:
    """Blobs; what begins with a dot is half written."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")} if folder.exists() else set()


def wait_for_a_new_one(folder: Path, known: set[str]) -> bool:
    """A blob that was not there; False when the build has none any more, because it is over."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        names = visible(folder)
        if names - known:
            return True
        if known and not names:
            return False
        time.sleep(0.005)
    raise AssertionError("the worker does not come on")


def test_a_worker_that_is_killed_at_each_part_goes_on_where_it_was(tmp_path: Path) -> None:
    database, blobs = f"sqlite:///{tmp_path / 'imagedelta.db'}", tmp_path / "blobs"
    store = SqlStore(database)
    store.migrate()
    bench = Bench(store, blobs)
    bench.register(APP_1, APP_2)
    bench.enrol(APP_1)
    transfer = bench.transfer(APP_2, APP_1)
    patch_id, kills, known = transfer.patch_id or "", 0, set[str]()

    while True:
        process = worker(database, blobs, patch_id)
        more = wait_for_a_new_one(blobs / "scratch", known)
        if not more or kills == 6:
            break
        process.kill()
        process.communicate()
        kills += 1
        assert known <= visible(blobs / "scratch"), "what was made stays"
        known = visible(blobs / "scratch")

    said, _ = process.communicate(timeout=PATIENCE)
    assert (said.strip(), kills) == ("verified", 6)
    patch = bench.patch_of(transfer)
    assert visible(blobs / "scratch") == set()
    assert hashlib.sha256(bench.blobs.read("patches", patch.blob or "")).hexdigest() == patch.sha256
    assert patch.sha256 == built_in_one()
    store.close()


def built_in_one() -> str:
    command = "from tests.e2e.test_build_kills import print_digest; print_digest()"
    found = subprocess.run([sys.executable, "-c", command], stdout=subprocess.PIPE, text=True, check=True)
    return found.stdout.strip()


def print_digest() -> None:
    """In a process of its own, since the sizes of parts are set for all of it."""
    small_parts()
    out = io.BytesIO()
    build_patch(content_of(APP_2), [content_of(APP_1)], out, scratch=Path("/tmp"))
    print(hashlib.sha256(out.getvalue()).hexdigest())
