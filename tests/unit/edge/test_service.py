"""The service ends when a part of it hangs, and whenever it is told to."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edge_module import service
from edge_module.heartbeat import PATIENCE_SECONDS, Heartbeat
from imagedelta.errors import DependencyError
from tests.unit.edge.world import Clock


@pytest.mark.parametrize(
    ("silent_seconds", "found"),
    [(PATIENCE_SECONDS + service.HUNG_SECONDS - 1, []), (PATIENCE_SECONDS + service.HUNG_SECONDS + 1, ["apply"])],
)
def test_a_part_that_hangs_for_hours_ends_the_module(
    silent_seconds: float, found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_LOOK_SECONDS", 0.01)
    clock, stop = Clock(), threading.Event()
    heartbeat = Heartbeat(tmp_path / "beat.json", clock)
    heartbeat.beat("apply")
    clock.now += silent_seconds
    heartbeat.beat("hub")

    watchdog = service.Watchdog(heartbeat, stop)
    watchdog.start()
    ended = stop.wait(0.3)
    stop.set()

    assert (ended, watchdog.found) == (bool(found), found)


def test_a_module_that_waits_for_a_registry_ends_when_it_is_told_to() -> None:
    stop = threading.Event()
    stop.set()

    with pytest.raises(DependencyError) as caught:
        service.pause(stop, 100)

    assert caught.value.code == "rebuild.stopped"
