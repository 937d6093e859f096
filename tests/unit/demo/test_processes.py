from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.processes import ProcessEnded, ProcessRoom
from tests.e2e.parts.children import is_gone

CHILD = "import subprocess, sys, time; c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
PARENT = CHILD + "print(c.pid, flush=True); time.sleep(60)"


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_neither_a_process_nor_what_it_started_outlives_the_room(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), ProcessRoom(tmp_path, tmp_path) as room:
        parent = room.start("parent", [sys.executable, "-c", PARENT], {})
        assert eventually(lambda: parent.log.read_text().strip().isdigit())
        raise KeyboardInterrupt

    assert not parent.alive
    assert eventually(lambda: is_gone(int(parent.log.read_text())))


def test_a_killed_process_takes_its_children_along_and_can_start_again(tmp_path: Path) -> None:
    with ProcessRoom(tmp_path, tmp_path) as room:
        parent = room.start("parent", [sys.executable, "-c", PARENT], {})
        assert eventually(lambda: parent.log.read_text().strip().isdigit())

        parent.kill()

        assert eventually(lambda: is_gone(int(parent.log.read_text())))
        parent.start()
        assert parent.alive


def test_a_process_that_ended_by_itself_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    with ProcessRoom(tmp_path, tmp_path) as room:
        broken = room.start("device aurora", [sys.executable, "-c", "raise SystemExit('no hub given')"], {})
        assert eventually(lambda: not broken.alive)

        with pytest.raises(ProcessEnded, match=r"(?s)device aurora has ended.*no hub given"):
            room.require_alive()
