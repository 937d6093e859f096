"""A build may be split and done in any order, on any number of threads: the patch is the same."""

import io
import os
import random
import subprocess
import sys

import pytest

from imagedelta.delta.encode.build import Build, build_patch
from imagedelta.delta.encode.job_queue import JobQueue
from imagedelta.delta.format.profiles import DEFAULT_PROFILE
from imagedelta.limits import MIB
from tests.images import an_image
from tests.unit.delta.chunk_process import store, stored
from tests.unit.delta.patches import assert_rebuilt, content_of


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


SOURCE = an_image({f"lib/{number}.so": noise(300_000, number) for number in range(12)})
TARGET = an_image(
    {
        **{f"lib/{number}.so": noise(300_000, number)[:-40] + noise(40, number + 99) for number in range(12)},
        "new": noise(90_000, 77),
        "notes.txt": b"line of text\n" * 900,
        **{f"again{number}": noise(5000, 78) for number in range(2)},
    }
)


def built_in_one(scratch, threads):
    out = io.BytesIO()
    build_patch(content_of(TARGET), [content_of(SOURCE)], out, scratch=scratch, threads=threads)
    return out.getvalue()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_number_of_threads_changes_no_byte(tmp_path, threads):
    assert built_in_one(tmp_path, threads) == built_in_one(tmp_path, 1)


@pytest.mark.parametrize("seed", range(3))
def test_chunks_made_apart_in_any_order_give_the_same_patch(tmp_path, seed):
    """Each chunk is made by a build of its own, planned anew, as another process would."""
    chunks: dict[int, io.BytesIO] = {}
    order = list(range(Build(content_of(TARGET), [content_of(SOURCE)], DEFAULT_PROFILE, tmp_path).chunks))
    random.Random(seed).shuffle(order)
    for number in order:
        chunks[number] = io.BytesIO()
        Build(content_of(TARGET), [content_of(SOURCE)], DEFAULT_PROFILE, tmp_path).make_chunk(number, chunks[number])
        chunks[number].seek(0)
    out = io.BytesIO()

    with JobQueue(1, 100 * MIB) as queue:
        last = Build(content_of(TARGET), [content_of(SOURCE)], DEFAULT_PROFILE, tmp_path)
        last.finish((chunks[number] for number in sorted(chunks)), out, queue)

    assert len(order) > 2
    assert out.getvalue() == built_in_one(tmp_path, 2)
    assert_rebuilt(TARGET, out.getvalue(), SOURCE)


def test_chunks_made_by_other_processes_give_the_same_patch(tmp_path):
    """Nothing that differs from process to process may get into a chunk: no address, no order of a set."""
    target, source = store(TARGET, tmp_path / "target"), store(SOURCE, tmp_path / "source")
    build = Build(stored(target), [stored(source)], DEFAULT_PROFILE, tmp_path)
    made = [tmp_path / f"chunk-{number}" for number in range(build.chunks)]
    for number, path in enumerate(made):
        command = [sys.executable, "-m", "tests.unit.delta.chunk_process", target, source, str(number), path]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": str(number)})
    out = io.BytesIO()

    with JobQueue(1, 100 * MIB) as queue:
        build.finish((path.open("rb") for path in made), out, queue)

    assert len(made) > 2
    assert out.getvalue() == built_in_one(tmp_path, 2)
