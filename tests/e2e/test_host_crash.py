"""SIGKILL of the host anywhere in a run: every orchestration completes with the right result."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.host_process import APPS, HostProcess, lines, wait_for
from tests.e2e.parts.children import is_gone

pytestmark = pytest.mark.e2e


def a_host(folder: Path) -> HostProcess:
    return HostProcess(folder / "state", APPS / "everything", LOG=str(folder / "log"), TICK="0 0 0 1 1 *")


@pytest.mark.parametrize("seed", range(3))
def test_everything_completes_although_the_host_is_killed_again_and_again(tmp_path: Path, seed: int) -> None:
    """Kills at random moments of a tree with fan-out, sub-orchestrations, a timer and retries."""
    moments = random.Random(seed)
    host = a_host(tmp_path).start()
    try:
        wanted = {"branches": 4, "leaves": 10}
        trees = [host.begin("tree", {**wanted, "file": str(tmp_path / f"attempts-{n}")}) for n in range(3)]
        counting = host.begin("counts_down", 20)
        for _ in range(5):
            time.sleep(moments.uniform(0.0, 0.35))
            host.kill()
            host.start()

        expected = {"sum": 2 * sum(b * 10 + n for b in range(4) for n in range(10)), "retried": True}
        assert [host.result(tree, 60) for tree in trees] == [("Completed", expected)] * 3
        assert host.result(counting, 60) == ("Completed", "done")
    finally:
        host.stop()


def test_a_stored_result_is_not_computed_again_after_a_crash(tmp_path: Path) -> None:
    host = a_host(tmp_path).start()
    try:
        instance = host.begin("waits", 2)
        host.run("fan_out", 20)
        host.kill()
        host.start()

        assert host.result(instance) == ("Completed", {"got": "timeout"})
        assert len(lines(tmp_path / "log", "double")) == 20
    finally:
        host.stop()


def test_workers_die_with_the_host_and_their_activity_is_delivered_again(tmp_path: Path) -> None:
    host = a_host(tmp_path).start()
    try:
        instance = host.begin("one", {"activity": "slow", "payload": 3.0})
        first = wait_for(lambda: lines(tmp_path / "log", "slow"))[0]["pid"]

        host.kill()
        wait_for(lambda: is_gone(first))
        host.start()

        assert host.result(instance) == ("Completed", 3.0)
        assert len(lines(tmp_path / "log", "slow")) == 2
    finally:
        host.stop()


def test_a_killed_worker_is_replaced_and_its_activity_completes(tmp_path: Path) -> None:
    host = a_host(tmp_path).start()
    try:
        instance = host.begin("one", {"activity": "slow", "payload": 1.0})
        worker = wait_for(lambda: lines(tmp_path / "log", "slow"))[0]["pid"]

        os.kill(worker, signal.SIGKILL)

        assert host.result(instance) == ("Completed", 1.0)
        assert [note["pid"] == worker for note in lines(tmp_path / "log", "slow")] == [True, False]
    finally:
        host.stop()


def test_a_rewind_that_was_answered_is_never_lost(tmp_path: Path) -> None:
    host = a_host(tmp_path).start()
    try:
        payloads = [{"file": str(tmp_path / f"attempts-{n}"), "succeed_at": 2} for n in range(4)]
        instances = [host.begin("one", {"activity": "fails_until", "payload": payload}) for payload in payloads]
        assert {host.result(instance)[0] for instance in instances} == {"Failed"}

        for instance in instances:
            assert host.durable("POST", f"instances/{instance}/rewind?reason=mended").status_code == 202
            host.kill()
            host.start()

        results = [host.result(instance) for instance in instances]
        assert [(status, output >= 2) for status, output in results] == [("Completed", True)] * 4
    finally:
        host.stop()


def test_a_request_to_start_that_was_answered_is_never_lost(tmp_path: Path) -> None:
    host = a_host(tmp_path).start()
    try:
        instances = []
        for round_number in range(4):
            instances += [host.begin("chain", n, instance=f"r{round_number}-{n}") for n in range(5)]
            host.kill()
            host.start()

        assert [host.result(instance) for instance in instances] == [("Completed", n * 4) for n in range(5)] * 4
    finally:
        host.stop()
