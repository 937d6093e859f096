"""A fleet in trouble, with a host that is killed again and again, comes through whole; and what does not is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.outbox import outbox_container
from tests.simulators.blobs import BlobsSimulator
from tests.simulators.calls import Crash
from tests.simulators.clock import ClockSimulator
from tests.simulators.fleet_boat import FleetBoat, Twice
from tests.simulators.fleet_host import Fate
from tests.simulators.fleet_landfall import faults
from tests.simulators.fleet_voyage import DEATHS, TROUBLES, Voyage


@pytest.fixture(autouse=True)
def _nothing_waits_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes die here, the machine never loses power."""
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture
def landed(tmp_path: Path) -> Iterator[Voyage]:
    """The smallest fleet after a voyage: a device in each kind of trouble and one in none."""
    voyage = Voyage(len(TROUBLES) + 1, tmp_path, deaths=0)
    voyage.sail()
    yield voyage
    voyage.close()


def test_of_a_fleet_in_trouble_nothing_is_lost_nothing_done_twice_and_no_set_gets_stuck(tmp_path: Path) -> None:
    voyage = Voyage(200, tmp_path)

    voyage.sail()

    assert (faults(voyage), voyage.fate.deaths) == ([], DEATHS)
    voyage.close()


def test_what_is_not_as_it_must_be_after_a_voyage_is_told(landed: Voyage) -> None:
    voyage, (healthy,) = landed, [boat for boat in landed.boats.values() if not boat.trouble]
    assert faults(voyage) == []

    lost = healthy.images.popitem()
    healthy.done.pop()
    voyage.hubs[healthy.hub].applied.append((healthy.device_id, {}))
    voyage.mail.taken.append(voyage.mail.taken[0])
    voyage.boats["ship-00000"].trouble = "failing"

    assert sorted(line.partition(":")[0].partition(" (")[0] for line in faults(voyage)) == [
        "mails were sent again more often than the host died",
        "ship-00000",
        healthy.device_id,
        healthy.device_id,
        f"the deployment of {healthy.device_id}",
    ]
    assert lost[1].endswith(":2")


def test_a_bundle_that_is_replaced_under_a_device_is_found_out() -> None:
    blobs = BlobsSimulator(ClockSimulator())
    outbox, name = outbox_container("ship"), "2-000000000001-a.1.bundle"
    boat = FleetBoat("ship", "north", {}, {}, done={name})
    blobs.put(outbox, name, [b"bytes"])
    boat.sail(blobs)

    boat.sail(blobs)
    blobs.put(outbox, name, [b"other bytes"])

    with pytest.raises(Twice, match="replaced"):
        boat.sail(blobs)


def test_a_dead_process_reaches_nothing_until_it_is_started_again() -> None:
    fate = Fate()
    done: list[int] = []
    port = fate.rule(done)
    fate.die_in(2)

    port.append(1)
    for number in (2, 3):
        with pytest.raises(Crash):
            port.append(number)
    fate.revive()
    port.append(4)

    assert (done, fate.deaths) == ([1, 4], 1)
