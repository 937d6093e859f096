"""The module as a process, talking to IoT Hub by MQTT: nothing it has to say is lost, whoever dies meanwhile."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.device.vessel import Vessel
from tests.e2e.host_process import wait_for
from tests.e2e.parts.azurite import Azurite
from tests.e2e.parts.broker import Broker
from tests.e2e.parts.hub_stand_in import HubStandIn
from tests.simulators.tcp_proxy import TcpProxy
from tests.unit.edge.world import APP_1, APP_2, MIB, MadeBundle, make_bundle

pytestmark = pytest.mark.e2e


@pytest.fixture
def vessel(broker: Broker, tmp_path: Path) -> Iterator[Vessel]:
    vessel = Vessel(tmp_path, broker)
    yield vessel
    vessel.stop()


def transfer(number: int) -> MadeBundle:
    """One more transfer of app:2; after the first the image is there already."""
    return make_bundle(bundle_id=f"bundle-{number}", transfer_id=f"transfer-{number}", number=number)


def test_the_whole_way_from_the_container_to_the_success(azurite: Azurite, cloud: HubStandIn, vessel: Vessel) -> None:
    outbox, bundle = azurite.outbox("whole-way"), make_bundle()
    outbox.publish(bundle)
    vessel.load(APP_1)
    vessel.start()
    wait_for(lambda: cloud.inventories, 30)

    cloud.desire({"outbox": outbox.grant()})
    cloud.wait_for(lambda hub: [each.state for each in hub.reports][-1:] == ["succeeded"])

    assert [each.state for each in cloud.reports] == ["receiving", "received", "applying", "succeeded"]
    assert cloud.reports[-1].bytes_fetched == bundle.paid_bytes + len(bundle.chunks)
    after = cloud.wait_for(lambda hub: hub.inventories if len(hub.inventories) > 1 else None)[-1]
    assert {image.image_id for image in after.images} == {APP_1.image_id, APP_2.image_id}
    cloud.wait_for(lambda hub: hub.reported.get("engine") == "layout")
    assert vessel.terminate() == 0
    assert cloud.asked == 1


def test_what_happened_while_the_hub_was_down_and_the_module_was_killed_is_told_in_order(
    broker: Broker, cloud: HubStandIn, vessel: Vessel
) -> None:
    broker.stop()
    vessel.load(APP_1)
    vessel.start()
    for number in (1, 2, 3):
        vessel.carry_in(transfer(number))
        wait_for(lambda number=number: vessel.state_of(f"transfer-{number}") == "succeeded", 30)
    wait_for(lambda: vessel.waiting() >= 5)
    vessel.kill()

    broker.start()
    vessel.start()
    cloud.wait_for(lambda hub: len(hub.reports) >= 4 and vessel.waiting() == 0)

    told = [(each.transfer_id, each.sequence) for each in cloud.reports]
    assert told == [("transfer-1", 1), ("transfer-1", 2), ("transfer-2", 1), ("transfer-3", 1)]


@pytest.mark.parametrize("seed", [11, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(12, 18))])
def test_reports_arrive_once_each_whoever_is_killed_frozen_or_restarted(
    seed: int, broker: Broker, cloud: HubStandIn, vessel: Vessel
) -> None:
    chance = random.Random(seed)
    vessel.load(APP_1)
    vessel.start()
    for number in range(1, 9):
        vessel.carry_in(transfer(number))
        trouble = chance.choice(["broker killed", "broker stopped", "broker frozen", "module killed"])
        time.sleep(chance.uniform(0.2, 2.0))
        _make(trouble, broker, vessel, chance)
    cloud.wait_for(lambda hub: len([each for each in hub.reports if each.state == "succeeded"]) == 8, 120)
    wait_for(lambda: vessel.waiting() == 0, 60)

    by_transfer: dict[str, list[int]] = {}
    for each in cloud.reports:
        by_transfer.setdefault(each.transfer_id, []).append(each.sequence)
    assert by_transfer == {f"transfer-{number}": [1, 2] if number == 1 else [1] for number in range(1, 9)}


def _make(trouble: str, broker: Broker, vessel: Vessel, chance: random.Random) -> None:
    if trouble == "module killed":
        vessel.kill()
        vessel.start()
    elif trouble == "broker frozen":
        broker.freeze()
        time.sleep(chance.uniform(0.5, 3.0))
        broker.thaw()
    else:
        broker.kill() if trouble == "broker killed" else broker.stop()
        time.sleep(chance.uniform(0.0, 2.0))
        broker.start()


def test_a_device_that_was_away_for_weeks_takes_its_twin_and_goes_on(
    azurite: Azurite, broker: Broker, cloud: HubStandIn, vessel: Vessel
) -> None:
    outbox, bundle = azurite.outbox("weeks"), make_bundle()
    cloud.desire({"outbox": outbox.grant(), "resync": 1})
    vessel.load(APP_1)
    vessel.start()
    cloud.wait_for(lambda hub: hub.inventories)
    vessel.kill()
    broker.stop()

    cloud.desire({"outbox": outbox.grant(), "resync": 2}, told=False)
    outbox.publish(bundle)
    vessel.start()
    time.sleep(3)
    assert vessel.state_of("transfer-1") is None
    broker.start()

    cloud.wait_for(lambda hub: [each.state for each in hub.reports][-1:] == ["succeeded"])


def test_a_revoked_grant_costs_nothing_that_was_fetched(azurite: Azurite, cloud: HubStandIn, vessel: Vessel) -> None:
    vessel.environment["IMAGEDELTA_POLL_SECONDS"] = "2"
    outbox, bundle = azurite.outbox("revoked"), make_bundle()
    outbox.publish(bundle)
    vessel.load(APP_1)
    with TcpProxy(("127.0.0.1", azurite.port)) as link:
        link.bytes_per_second = 20_000
        cloud.desire({"outbox": outbox.grant(f"127.0.0.1:{link.port}")})
        vessel.start()
        wait_for(lambda: vessel.fetched() > 40_000, 60)

        outbox.revoke()
        link.cut()
        cloud.wait_for(lambda hub: "outbox.denied" in str(hub.reported))
        before = vessel.fetched()
        cloud.desire({"outbox": outbox.grant(f"127.0.0.1:{link.port}")})
        cloud.wait_for(lambda hub: [each.state for each in hub.reports][-1:] == ["succeeded"], 40)

    assert before > 40_000
    assert bundle.paid_bytes <= cloud.reports[-1].bytes_fetched <= 1.02 * len(bundle.data)


def test_a_pause_is_taken_while_a_bundle_is_fetched(azurite: Azurite, cloud: HubStandIn, vessel: Vessel) -> None:
    outbox, bundle = azurite.outbox("paused"), make_bundle()
    outbox.publish(bundle)
    vessel.load(APP_1)
    with TcpProxy(("127.0.0.1", azurite.port)) as link:
        link.bytes_per_second = 20_000
        cloud.desire({"outbox": outbox.grant(f"127.0.0.1:{link.port}")})
        vessel.start()
        wait_for(lambda: vessel.fetched() > 40_000, 60)

        cloud.desire({"paused": True})
        cloud.wait_for(lambda hub: hub.reported.get("paused") is True, 10)
        time.sleep(2)  # what was being read when the word came
        fetched = vessel.fetched()
        time.sleep(2)

        assert 40_000 < fetched == vessel.fetched() < len(bundle.data)


def test_what_the_twin_wants_takes_effect_while_an_image_is_rebuilt(cloud: HubStandIn, vessel: Vessel) -> None:
    vessel.load(APP_1)
    vessel.start()
    cloud.wait_for(lambda hub: hub.inventories)
    vessel.carry_in(transfer(1))
    (rebuilder,) = wait_for(vessel.rebuilders, 60, pause=0.002)
    rebuilder.suspend()
    told = len(cloud.inventories)

    cloud.desire({"resync": 4})
    cloud.wait_for(lambda hub: len(hub.inventories) > told, 20)

    assert vessel.state_of("transfer-1") != "succeeded"
    rebuilder.resume()
    cloud.wait_for(lambda hub: [each.state for each in hub.reports][-1:] == ["succeeded"])


def test_a_clock_at_1970_changes_nothing(cloud: HubStandIn, vessel: Vessel) -> None:
    vessel.set_clock_back()
    vessel.load(APP_1)
    vessel.start()
    cloud.wait_for(lambda hub: hub.inventories)

    vessel.carry_in(transfer(1))

    cloud.wait_for(lambda hub: [each.state for each in hub.reports] == ["applying", "succeeded"])
    cloud.desire({"resync": 9})
    cloud.wait_for(lambda hub: len(hub.inventories) >= 3)


def test_the_module_stops_at_once_whatever_the_hub_does(broker: Broker, cloud: HubStandIn, vessel: Vessel) -> None:
    vessel.start()
    cloud.wait_for(lambda hub: hub.inventories)
    talkers = wait_for(vessel.talkers)
    broker.freeze()
    cloud.desired["resync"] = 5

    started = time.monotonic()
    assert vessel.terminate() == 0

    assert time.monotonic() - started < 10
    psutil.wait_procs(talkers, timeout=5)
    assert not any(talker.is_running() for talker in talkers)


def test_the_module_and_its_talker_stay_small(cloud: HubStandIn, vessel: Vessel) -> None:
    vessel.load(APP_1)
    vessel.start()
    cloud.wait_for(lambda hub: hub.inventories)
    cloud.wait_for(lambda hub: hub.reported.get("engine"))
    assert vessel.process is not None
    processes = [psutil.Process(vessel.process.pid), *vessel.talkers()]

    private = [process.memory_full_info().uss for process in processes]
    shared = [process.memory_full_info().pss for process in processes]
    print("USS", private, "PSS", shared, "RSS", [process.memory_info().rss for process in processes])

    assert sum(shared) < 96 * MIB
