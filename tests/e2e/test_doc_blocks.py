"""Every command block of the documents is typed as it stands, in a copy of the project beside one embedded host.

The host is the one that docs/host.md tells to start. README.md has three shells and a test of its own (test_readme).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doc_blocks import AZURE, DOCUMENTS, README, ROOT, RUN, blocks, with_expected
from tests.e2e.host_process import wait_for

pytestmark = pytest.mark.e2e

HOST_PAGE = ROOT / "docs" / "host.md"
NOT_COPIED = (".*cache", ".venv", ".git", ".demo", ".benchmarks", ".imagedelta", ".hypothesis", ".downloads")
PAGES = [page for page in DOCUMENTS if page not in (README, HOST_PAGE) and with_expected(page)]


class Reader:
    """A copy of the project, a host in it, and an environment in which a reader types."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}",
            "IMAGEDELTA_PORT": "0",
            "LOCAL_IOTHUBS": "north",
            "TIMER_SCHEDULE": "*/2 * * * * *",
        }

    def bash(self, text: str, log: Path, **more: str) -> subprocess.Popen[bytes]:
        with log.open("wb") as out:
            return subprocess.Popen(
                ["bash", "-eo", "pipefail", "-c", text],
                cwd=self.folder,
                env={**self.environment, **more},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def endpoint(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / ".imagedelta/host/endpoint.json").read_text("utf-8"))
        return found


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("reader") / "imagedelta"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_COPIED), symlinks=True)
    reader, log = Reader(folder), folder.parent / "host.log"
    ((block, _),) = with_expected(HOST_PAGE)
    host = reader.bash(block.text, log)
    try:
        wait_for(lambda: b"Host is ready at" in log.read_bytes() or host.poll() is not None, 90)
        assert host.poll() is None, log.read_text("utf-8", "replace")
        yield reader
    finally:
        if host.poll() is None:
            os.killpg(host.pid, signal.SIGTERM)
            host.wait(timeout=60)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_a_page_works_and_says_what_the_page_shows(reader: Reader, page: Path) -> None:
    typed = with_expected(page)
    name = page.stem
    said = [reader.folder / f".{name}-{number}.out" for number in range(len(typed))]
    pieces = [f"{{\n{one.text}}} > {out} 2>&1\n" for (one, _), out in zip(typed, said, strict=True)]
    log = reader.folder / f".{name}.log"

    process = reader.bash("".join(pieces), log, URL=reader.endpoint()["url"], KEY=reader.endpoint()["key"])
    try:
        ended = process.wait(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        for out in [*said, log]:
            print(out.name, out.read_text("utf-8", "replace") if out.exists() else "(not reached)", sep="\n")
    assert ended == 0, page

    for (one, expected), out in zip(typed, said, strict=True):
        if expected:
            assert json.loads(out.read_text("utf-8")) == json.loads(expected), one.place


def test_what_is_not_run_is_counted() -> None:
    left = [one for page in DOCUMENTS for one in blocks(page) if one.info == AZURE]
    run = [one for page in DOCUMENTS for one in blocks(page) if one.info == RUN]

    print(
        f"\n{len(run)} command blocks are run, {len(left)} are marked azure and are not"
    )  # for who reads the gate's log
    assert run and all(one.text.strip() for one in left)
