from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from imagedelta.errors import DependencyError
from services.ports import Deployment
from tests.simulators.calls import Crash
from tests.unit.activities.bench import Bench
from tests.unit.activities.layered_fleet import ALL_RELEASED, APP2, APP3, BOATS, Fleet, manifest


@pytest.fixture
def fleet(bench: Bench) -> Iterator[Fleet]:
    yield Fleet(bench)


def test_one_deployment_serves_all_devices_and_each_costs_two_reads_and_a_tag(fleet: Fleet) -> None:
    set_id = fleet.order(APP2)

    assert fleet.release(set_id) == ALL_RELEASED

    (layer,) = fleet.layers()
    here = {"radar": "mcr.example/radar:1", "app": "localhost:5000/app:2"}
    assert [fleet.hub.images(device_id) for device_id in BOATS] == [here, here, here]
    assert fleet.hub.module_twin("boat-1", "app") is not None
    assert layer.target_condition == f"tags.imagedelta.ws_default = '{layer.deployment_id}'"
    assert fleet.hub.applied == []
    fleet.hub.calls.count.pop("deployments")
    fleet.hub.calls.count["module_twin"] -= 1  # of this test
    assert fleet.hub.calls.count == {"module_twin": 3, "device_tags": 3, "set_tags": 3, "create_deployment": 1}


def test_what_the_base_says_of_runtime_routes_and_system_modules_stays_with_it(fleet: Fleet) -> None:
    given = manifest("fleet.example/app:2", **{"$edgeHub": {"properties.desired": {"routes": {"app": "FROM /app/*"}}}})

    fleet.release(fleet.order(APP2, given=given))

    agent, hub = fleet.hub.module_twin("boat-1", "$edgeAgent"), fleet.hub.module_twin("boat-1", "$edgeHub")
    app = fleet.hub.module_twin("boat-1", "app")
    assert agent is not None
    assert hub is not None
    assert app is not None
    assert agent.desired["systemModules"]["edgeAgent"]["settings"]["image"] == "agent:1.5"
    assert hub.desired["routes"] == {"up": "FROM /* INTO $upstream", "app": "FROM /app/*"}
    assert app.desired == {"rate": 5}


def test_a_newer_set_moves_each_device_from_its_layer_to_the_new_one(fleet: Fleet) -> None:
    first = fleet.order(APP2)
    fleet.release(first)
    second = fleet.order(APP3, given=manifest("fleet.example/app:3", name="engine"))

    assert fleet.release(second) == ALL_RELEASED

    assert fleet.hub.images("boat-1") == {"radar": "mcr.example/radar:1", "engine": "localhost:5000/app:3"}
    assert len(fleet.layers()) == 2


def test_workstreams_lie_beside_each_other_in_layers_of_different_priorities(fleet: Fleet) -> None:
    fleet.release(fleet.order(APP2))
    fleet.release(fleet.order(APP3, workstream="Nav.East", given=manifest("fleet.example/app:3", name="nav")))

    assert fleet.hub.images("boat-1") == {
        "radar": "mcr.example/radar:1",
        "app": "localhost:5000/app:2",
        "nav": "localhost:5000/app:3",
    }
    assert len({one.priority for one in fleet.layers()}) == 2


def test_a_module_of_another_workstream_is_not_laid_over(fleet: Fleet) -> None:
    fleet.release(fleet.order(APP2))
    set_id = fleet.order(APP3, workstream="nav", given=manifest("fleet.example/app:3"))

    assert set(fleet.release(set_id).values()) == {"failed"}
    assert fleet.member(set_id).code == "release.module_clash"
    assert fleet.hub.images("boat-1")["app"] == "localhost:5000/app:2"


def test_a_device_that_is_deployed_to_by_condition_is_never_written_to(fleet: Fleet) -> None:
    set_id = fleet.order(APP2, by="device")

    assert set(fleet.release(set_id).values()) == {"conflict"}

    assert fleet.member(set_id).code == "release.by_condition"
    assert (fleet.hub.applied, fleet.layers()) == ([], [])


def test_a_device_without_a_base_gets_no_layer_and_is_released_once_it_has_one(fleet: Fleet) -> None:
    fleet.enrol("raft", site="south")
    set_id = fleet.order(APP2, by="condition", devices=("boat-1", "raft"))
    assert fleet.release(set_id) == {"boat-1": "released", "raft": "conflict"}
    assert fleet.member(set_id, "raft").code == "release.no_base"

    fleet.hub.tag("raft", {"site": "north"})
    fleet.bench.store.sets.rebase_member(set_id, "raft", 1, "olga", fleet.bench.now())

    assert fleet.release(set_id) == {"boat-1": "released", "raft": "released"}
    assert fleet.hub.images("raft")["app"] == "localhost:5000/app:2"


def test_by_itself_a_set_writes_to_devices_that_no_deployment_reaches_and_tags_the_others(fleet: Fleet) -> None:
    fleet.enrol("raft", site="south")

    set_id = fleet.order(APP2, devices=("boat-1", "raft"))

    assert fleet.release(set_id) == {"boat-1": "released", "raft": "released"}
    assert [device_id for device_id, _ in fleet.hub.applied] == ["raft"]
    assert fleet.record(set_id, "raft").layer_id is None
    assert fleet.record(set_id, "boat-1").layer_id == fleet.layers()[0].deployment_id


def test_devices_of_different_digests_get_a_layer_each_and_too_many_are_refused(fleet: Fleet) -> None:
    odd = [f"odd-{number}" for number in range(9)]
    for number, device_id in enumerate(odd):
        fleet.enrol(device_id, digest=f"sha256:{number:064x}")
    set_id = fleet.order(APP2, devices=tuple(odd))

    states = fleet.release(set_id)

    assert sorted(states.values()) == ["conflict"] + ["released"] * 8
    assert len(fleet.layers()) == 8
    refused = next(member for member in fleet.members(set_id) if member.state == "conflict")
    assert refused.code == "release.too_unlike"
    assert fleet.hub.images("odd-3")["app"] == f"localhost:5000/app@sha256:{3:064x}"


def test_while_one_makes_the_layer_the_others_wait_instead_of_making_it_too(fleet: Fleet) -> None:
    set_id = fleet.order(APP2)
    fleet.hub.calls.fail("create_deployment", error=Crash())
    with pytest.raises(Crash):
        fleet.release(set_id)

    states = fleet.release(set_id)
    asked = fleet.hub.calls.count["create_deployment"]
    fleet.bench.now.forward(minutes=3)

    assert sorted(states.values()) == ["ready", "ready", "releasing"]
    assert asked == 1
    assert fleet.release(set_id) == ALL_RELEASED
    assert fleet.hub.calls.count["create_deployment"] == 2


def test_a_device_that_is_only_targeted_waits_for_its_base_and_then_goes_by_itself(fleet: Fleet) -> None:
    """github.com/Azure/iotedge/issues/2994: a layer without a base below it does nothing."""
    fleet.enrol("raft", site="south")
    layer = {"$edgeAgent": {"properties.desired.modules.sonar": {"settings": {"image": "sonar:1"}}}}
    fleet.hub.create_deployment(Deployment("theirs", "tags.site = 'south'", 20, layer))
    set_id = fleet.order(APP2, devices=("raft",))
    assert fleet.release(set_id) == {"raft": "ready"}
    assert fleet.member(set_id, "raft").code == "release.no_base"
    assert fleet.hub.applied == []

    fleet.hub.tag("raft", {"site": "north"})
    fleet.bench.now.forward(minutes=1)

    assert fleet.release(set_id) == {"raft": "released"}
    assert fleet.hub.images("raft")["app"] == "localhost:5000/app:2"


@pytest.mark.parametrize("call", ["module_twin", "device_tags", "create_deployment", "set_tags"])
@pytest.mark.parametrize("after", [False, True])
def test_a_release_that_dies_at_any_request_is_taken_up_and_made_once(fleet: Fleet, call: str, after: bool) -> None:
    set_id = fleet.order(APP2, devices=("boat-1",))
    fleet.hub.calls.fail(call, after=after, error=Crash())
    with pytest.raises(Crash):
        fleet.release(set_id)

    fleet.bench.now.forward(minutes=3)

    assert fleet.release(set_id) == {"boat-1": "released"}
    assert fleet.record(set_id).applied_by_us is not (call == "set_tags" and after)
    assert len(fleet.layers()) == 1
    assert fleet.hub.images("boat-1")["app"] == "localhost:5000/app:2"


def test_a_release_that_dies_before_any_statement_of_sql_is_taken_up(fleet: Fleet) -> None:
    """Each sixth; the statements between are of one transaction with one of these."""
    deaths = 0
    for nth in count(2, 6):
        set_id = fleet.order(APP2, devices=("boat-1",))
        fleet.settle(set_id)
        try:
            with fleet.bench.dying_at_statement(nth):
                fleet.release(set_id)
        except Crash:
            deaths += 6
            fleet.bench.now.forward(minutes=3)
        assert fleet.release(set_id) == {"boat-1": "released"}
        record = fleet.record(set_id)
        assert record.layer_id in {one.deployment_id for one in fleet.layers()} == set(fleet.known())
        assert fleet.hub.images("boat-1")["app"] == "localhost:5000/app:2"
        if deaths < nth:
            break
    assert deaths >= 30


def test_a_hub_that_asks_to_be_left_alone_says_so_at_the_member(fleet: Fleet) -> None:
    set_id = fleet.order(APP2, devices=("boat-1",))
    busy = DependencyError("hub north: answered 429", code="dependency.hub", retry_after=timedelta(minutes=7))
    fleet.hub.calls.fail("create_deployment", error=busy)

    assert fleet.release(set_id) == {"boat-1": "releasing"}
    waiting = fleet.member(set_id)
    fleet.bench.now.forward(minutes=6)
    assert fleet.release(set_id) == {"boat-1": "releasing"}
    fleet.bench.now.forward(minutes=1)

    assert (waiting.code, waiting.detail) == ("dependency.hub", "hub north: answered 429")
    assert fleet.release(set_id) == {"boat-1": "released"}
    assert fleet.member(set_id).code is None


def test_tags_that_change_while_they_are_read_are_read_again(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    set_id = fleet.order(APP2, devices=("boat-1",))
    read = fleet.hub.device_tags

    def read_while_somebody_writes(device_id: str) -> Any:
        found = read(device_id)
        monkeypatch.undo()
        fleet.hub.tag(device_id, {"crew": "two"})
        return found

    monkeypatch.setattr(fleet.hub, "device_tags", read_while_somebody_writes)
    assert fleet.release(set_id) == {"boat-1": "ready"}
    assert fleet.member(set_id).code == "hub.changed"
    fleet.bench.now.forward(minutes=1)

    assert fleet.release(set_id) == {"boat-1": "released"}
    tags = fleet.hub.device_tags("boat-1")
    assert tags is not None
    assert tags.tags["crew"] == "two"


def test_a_tag_that_somebody_else_set_is_a_conflict(fleet: Fleet) -> None:
    set_id = fleet.order(APP2, devices=("boat-1",))
    fleet.hub.tag("boat-1", {"imagedelta": {"ws_default": "mine"}})

    assert fleet.release(set_id) == {"boat-1": "conflict"}
    assert fleet.member(set_id).code == "release.conflict"


def test_canaries_are_put_into_the_layer_first(fleet: Fleet) -> None:
    set_id = fleet.order(APP2, canaries=["boat-2"])
    assert fleet.release(set_id) == {"boat-1": "ready", "boat-2": "released", "boat-3": "ready"}
    assert "app" not in fleet.hub.images("boat-1")

    fleet.bench.store.sets.promote(set_id, "olga", fleet.bench.now())

    assert fleet.release(set_id) == ALL_RELEASED
    assert len(fleet.layers()) == 1


# Confirming


def test_what_the_devices_run_is_confirmed_by_one_query(fleet: Fleet) -> None:
    set_id = fleet.order(APP2)
    fleet.release(set_id)
    for device_id in BOATS:
        fleet.run_it(device_id)
    fleet.hub.calls.count.clear()
    fleet.bench.now.forward(minutes=1)

    assert fleet.confirm(set_id) == dict.fromkeys(BOATS, "applied")
    assert fleet.hub.calls.count == {"agents": 1}
    of = fleet.bench.store.sets.deployment_set(set_id)
    assert of is not None
    assert of.state == "completed"


def test_a_layer_that_the_hub_does_not_give_is_told_and_heals(fleet: Fleet) -> None:
    set_id = fleet.order(APP2, devices=("boat-1",))
    fleet.release(set_id)
    fleet.hub.delete_deployment(fleet.record(set_id).layer_id or "")
    fleet.hub.change_by_somebody_else("boat-1", {"app": {"settings": {"image": "odd:1"}}})
    fleet.bench.now.forward(minutes=5)
    assert fleet.confirm(set_id) == {"boat-1": "released"}, "IoT Hub comes to a device minutes later"
    fleet.bench.now.forward(hours=2)

    assert fleet.confirm(set_id) == {"boat-1": "apply_failed"}
    failed = fleet.member(set_id)
    fleet.hub.create_deployment(_layer_of(fleet, set_id))
    fleet.run_it("boat-1")
    fleet.bench.now.forward(hours=2)

    assert failed.code == "release.not_given"
    assert fleet.confirm(set_id) == {"boat-1": "applied"}


def _layer_of(fleet: Fleet, set_id: str) -> Deployment:
    layer_id = fleet.record(set_id).layer_id or ""
    module = {"settings": {"image": "localhost:5000/app:2"}}
    content = {"$edgeAgent": {"properties.desired.modules.app": module}}
    return Deployment(layer_id, f"tags.imagedelta.ws_default = '{layer_id}'", 2_000_000, content)


def test_a_set_whose_devices_went_on_to_a_newer_layer_is_overtaken(fleet: Fleet) -> None:
    first = fleet.order(APP2, devices=("boat-1",))
    fleet.release(first)
    fleet.release(fleet.order(APP3, devices=("boat-1",)))
    fleet.bench.now.forward(minutes=1)

    assert fleet.confirm(first) == {"boat-1": "apply_failed"}
    assert fleet.member(first).code == "release.overtaken"


# Taking layers away


def test_a_layer_goes_a_day_after_its_last_device_has_left_it_and_not_before(fleet: Fleet) -> None:
    first = fleet.order(APP2)
    fleet.release(first)
    old = fleet.record(first).layer_id
    second = fleet.order(APP3, canaries=["boat-2"])
    fleet.release(second)
    new = fleet.record(second, "boat-2").layer_id
    fleet.bench.now.forward(days=3)
    assert fleet.tidy() == ["base", old, new], "two boats are in it"

    fleet.bench.store.sets.promote(second, "olga", fleet.bench.now())
    fleet.release(second)
    fleet.bench.now.forward(hours=23)
    assert fleet.tidy() == ["base", old, new]
    fleet.bench.now.forward(hours=2)

    assert fleet.tidy() == ["base", new]
    assert fleet.known() == [new]


def test_a_retired_device_keeps_no_layer(fleet: Fleet) -> None:
    first = fleet.order(APP2, devices=("boat-1", "boat-2"))
    fleet.release(first)
    fleet.bench.store.devices.retire("boat-2", "olga", fleet.bench.now())
    fleet.release(fleet.order(APP3, devices=("boat-1",)))
    fleet.bench.now.forward(days=2)

    assert len(fleet.tidy()) == 2


def test_a_rollback_makes_a_layer_of_its_own(fleet: Fleet) -> None:
    for image in (APP2, APP3, APP2):
        fleet.release(fleet.order(image))
        fleet.bench.now.forward(days=2)
        fleet.tidy()

    assert fleet.hub.images("boat-1")["app"] == "localhost:5000/app:2"
    assert len(fleet.layers()) == 1


def test_a_layer_that_is_being_taken_away_is_not_wanted_meanwhile_and_made_again(fleet: Fleet) -> None:
    """A set that released to nobody for days wants its layer again just as it is taken away."""
    set_id = fleet.order(APP2, devices=("boat-1",))
    fleet.hub.calls.fail("set_tags")
    fleet.release(set_id)
    fleet.bench.store.releases.layers.put_off("north", fleet.known()[0], fleet.bench.now())
    fleet.bench.now.forward(days=2)
    fleet.hub.calls.fail("delete_deployment", error=Crash())
    with pytest.raises(Crash):
        fleet.tidy()

    assert fleet.release(set_id) == {"boat-1": "ready"}
    assert fleet.member(set_id).code == "release.layer_waits"
    fleet.bench.now.forward(minutes=11)
    assert fleet.tidy() == ["base"]
    fleet.bench.now.forward(minutes=11)

    assert fleet.release(set_id) == {"boat-1": "released"}
    assert fleet.hub.images("boat-1")["app"] == "localhost:5000/app:2"


def test_a_hub_that_does_not_answer_keeps_its_layers_for_another_try(fleet: Fleet) -> None:
    fleet.release(fleet.order(APP2))
    fleet.release(fleet.order(APP3))
    fleet.bench.now.forward(days=2)
    fleet.hub.calls.fail("delete_deployment", error=DependencyError("429", retry_after=timedelta(minutes=20)))

    assert len(fleet.tidy()) == 3
    assert len(fleet.tidy()) == 3
    fleet.bench.now.forward(minutes=20)

    assert len(fleet.tidy()) == 2
