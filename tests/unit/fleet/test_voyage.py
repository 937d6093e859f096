"""A fleet in trouble, with a host that is killed again and again, comes through whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulators.fleet_landfall import faults
from tests.simulators.fleet_voyage import DEATHS, Voyage


@pytest.fixture(autouse=True)
def _nothing_waits_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes die here, the machine never loses power."""
    monkeypatch.setattr("os.fsync", lambda _: None)


def test_of_a_fleet_in_trouble_nothing_is_lost_nothing_done_twice_and_no_set_gets_stuck(tmp_path: Path) -> None:
    voyage = Voyage(100, tmp_path)

    voyage.sail()

    assert (faults(voyage), voyage.fate.deaths) == ([], DEATHS)
    voyage.close()
