from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from demo.kills import is_building, kill_inside
from demo.processes import Process, ProcessRoom


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    with ProcessRoom(tmp_path, tmp_path) as room:
        yield room.start("sleeper", [sys.executable, "-c", "import time; time.sleep(60)"], {})


def test_a_process_is_killed_only_when_its_state_still_says_so_while_it_stands_still(process: Process) -> None:
    answers = iter([True, True])

    assert kill_inside(process, lambda: next(answers))

    assert not process.alive


def test_a_process_that_got_away_in_time_goes_on(process: Process) -> None:
    answers = iter([True, False])

    assert not kill_inside(process, lambda: next(answers))

    assert process.alive
    assert process._running is not None
    running = psutil.Process(process._running.pid)
    end = time.monotonic() + 5
    while running.status() == psutil.STATUS_STOPPED and time.monotonic() < end:
        time.sleep(0.01)
    assert running.status() != psutil.STATUS_STOPPED


@pytest.mark.parametrize(
    ("set_state", "patch_state", "building"),
    [("preparing", "building", True), ("preparing", "verified", False), ("in_transit", "building", False)],
)
def test_a_set_is_building_while_one_of_its_patches_is(
    tmp_path: Path, set_state: str, patch_state: str, building: bool
) -> None:
    database = tmp_path / "imagedelta.db"
    connection = sqlite3.connect(database)
    connection.executescript(
        f"""
        create table deployment_sets(set_id, state); insert into deployment_sets values('set-1', '{set_state}');
        create table member_transfers(set_id, transfer_id); insert into member_transfers values('set-1', 't-1');
        create table transfers(transfer_id, patch_id); insert into transfers values('t-1', 'p-1');
        create table patches(patch_id, state); insert into patches values('p-1', '{patch_state}');
        """
    )
    connection.close()

    assert is_building(database, "set-1") is building
    assert not is_building(database, "set-2")


def test_a_database_that_is_not_there_yet_says_no(tmp_path: Path) -> None:
    assert not is_building(tmp_path / "none.db", "set-1")
