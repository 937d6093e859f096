"""A rebuild that dies is tried again and again, but ever more seldom."""

from __future__ import annotations

import pytest

from edge_module.rebuild_deaths import MOST_SECONDS, RebuildDeaths
from imagedelta.errors import DependencyError
from tests.unit.edge.world import Clock

DIED = DependencyError("killed", code="rebuild.memory")


def tries(deaths: RebuildDeaths, clock: Clock, seconds: float, look_seconds: float = 300.0) -> int:
    """How often a rebuild is begun that always dies."""
    begun, end = 0, clock.now + seconds
    while clock.now < end:
        try:
            deaths.check("image")
        except DependencyError:
            pass
        else:
            begun += 1
            deaths.note("image", DIED)
        clock.now += look_seconds
    return begun


def test_it_is_tried_a_few_times_a_day_and_never_given_up() -> None:
    clock = Clock()
    deaths = RebuildDeaths(clock)
    first_day = tries(deaths, clock, 86_400)

    assert 8 <= first_day <= 24
    assert 28 <= tries(deaths, clock, 7 * 86_400) <= 60


def test_another_image_does_not_wait_for_it() -> None:
    deaths = RebuildDeaths(Clock())
    deaths.note("image", DIED)

    deaths.check("other")

    with pytest.raises(DependencyError) as caught:
        deaths.check("image")
    assert caught.value.code == "rebuild.memory"


@pytest.mark.parametrize("end", [None, DependencyError("full", code="disk.full")])
def test_one_that_ends_otherwise_forgets_its_deaths(end: DependencyError | None) -> None:
    deaths = RebuildDeaths(Clock())
    deaths.note("image", DIED)

    deaths.note("image", end)

    deaths.check("image")


def test_one_that_is_stopped_was_no_answer() -> None:
    clock = Clock()
    deaths = RebuildDeaths(clock)
    for _ in range(20):
        deaths.note("image", DIED)
    deaths.note("image", DependencyError("stopped", code="rebuild.stopped"))

    clock.now += MOST_SECONDS / 3

    with pytest.raises(DependencyError):
        deaths.check("image")


def test_what_is_remembered_is_bounded() -> None:
    deaths = RebuildDeaths(Clock())

    for number in range(1000):
        deaths.note(f"image-{number}", DIED)

    deaths.check("image-0")
    with pytest.raises(DependencyError):
        deaths.check("image-999")
