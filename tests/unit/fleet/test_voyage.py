"""A fleet in trouble, with a host that is killed again and again, comes through whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulators.fleet_landfall import faults
from tests.simulators.fleet_voyage import Voyage


@pytest.mark.parametrize("seed", [1])
def test_of_a_fleet_in_trouble_nothing_is_lost_nothing_done_twice_and_no_set_gets_stuck(
    tmp_path: Path, seed: int
) -> None:
    voyage = Voyage(200, tmp_path, seed=seed)

    voyage.sail()

    assert (faults(voyage), voyage.fate.deaths) == ([], 20)
    voyage.close()
