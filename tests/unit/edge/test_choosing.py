"""Which engine ``auto`` means, and that it goes on meaning it."""

from __future__ import annotations

import pytest

from edge_module.engines.choosing import choose_engine
from tests.simulators.files import FileSystemSimulator
from tests.unit.edge.world import Clock


class Start:
    """One start of the module; ``answers_after`` seconds the registry begins to answer, never when None."""

    def __init__(self, disk: FileSystemSimulator, answers_after: float | None) -> None:
        self.clock = Clock()
        self._after = answers_after
        self.chosen = choose_engine(disk, self._answers, clock=self.clock, sleep=self._sleep)

    def _answers(self) -> bool:
        return self._after is not None and self.clock.now >= self._after

    def _sleep(self, seconds: float) -> None:
        self.clock.now += seconds


def test_a_registry_that_answers_is_taken_at_once() -> None:
    start = Start(FileSystemSimulator(), 0)

    assert (start.chosen, start.clock.now) == ("registry", 0)


def test_at_the_first_start_a_registry_has_a_minute_to_come_up() -> None:
    assert Start(FileSystemSimulator(), 70).chosen == "registry"


def test_without_a_registry_it_is_docker_and_the_next_start_does_not_wait_for_one() -> None:
    disk = FileSystemSimulator()

    assert Start(disk, None).chosen == "docker"

    second = Start(disk, None)
    assert (second.chosen, second.clock.now) == ("docker", 0)


def test_a_registry_that_was_chosen_stays_chosen_while_it_is_down() -> None:
    disk = FileSystemSimulator()
    Start(disk, 0)

    down = Start(disk, None)

    assert (down.chosen, down.clock.now) == ("registry", 0)


def test_a_registry_that_came_too_late_is_taken_at_the_next_start() -> None:
    disk = FileSystemSimulator()
    assert Start(disk, None).chosen == "docker"

    assert Start(disk, 0).chosen == "registry"
    assert Start(disk, None).chosen == "registry"


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\x00", b"[]", b'{"engine": 7}', b'{"engine": "x"}', b"[" * 9000])
def test_a_choice_that_cannot_be_read_is_made_anew(damage: bytes) -> None:
    disk = FileSystemSimulator()
    Start(disk, 0)
    disk.put("state/engine.json", damage)

    assert Start(disk, 0).chosen == "registry"
    assert Start(disk, None).chosen == "registry"
