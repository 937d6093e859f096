from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path

import pytest

from activities.begin_plan import begin_plan
from activities.end_plan import end_plan
from activities.plan_batch import plan_batch
from activities.start_batch import start_batch
from activities.weigh_set import weigh_set
from contracts.records import DeploymentSet
from contracts.requests import DeviceSelection, Owner, StartDeployment
from imagedelta.errors import DependencyError, RequestError
from services.ports import Twin
from services.store_port import Decisions
from tests.images import BuiltImage, an_image
from tests.simulators.calls import Crash
from tests.simulators.hub import HubSimulator
from tests.unit.activities.bench import DEVICE, Bench, noise

FILES = {f"app/{name}.dll": noise(n) for n, name in enumerate("ab")}
APP_1 = an_image(FILES, references=("fleet.example/app:1",))
APP_2 = an_image({**FILES, "app/a.dll": noise(50)}, references=("fleet.example/app:2",))


def accepted(bench: Bench) -> str:
    bench.register(APP_1, APP_2)
    bench.enrol(APP_1)
    request = StartDeployment(
        name="March",
        owner=Owner(name="Olga", email="olga@example.com"),
        devices=DeviceSelection(ids=[DEVICE]),
        images=["fleet.example/app:2"],
    )
    images = {"fleet.example/app:2": {"linux/amd64": APP_2.image_id}}
    return bench.store.sets.create(request, images=images, manifest=None, by="olga", at=bench.now()).set_id


def plan(bench: Bench, set_id: str) -> str:
    """What deploy_set does of planning; the state that the set has then."""
    begun = begin_plan(bench.deps, {"setId": set_id})
    for devices in begun["batches"]:
        plan_batch(bench.deps, {"setId": set_id, "range": devices})
    weighed = weigh_set(bench.deps, {"setId": set_id})
    for devices in weighed["batches"]:
        start_batch(bench.deps, {"setId": set_id, "range": devices, "weighedAt": weighed["at"]})
    if begun["claim"]:
        end_plan(bench.deps, {"setId": set_id, "claim": begun["claim"]})
    return str(weighed["state"])


def stored(bench: Bench, set_id: str) -> DeploymentSet:
    found = bench.store.sets.deployment_set(set_id)
    assert found is not None
    return found


def test_a_plan_is_made_once_however_often_it_is_asked_for(bench: Bench) -> None:
    set_id = accepted(bench)
    states = {plan(bench, set_id) for _ in range(3)}

    (transfer,) = bench.store.transfers.of_set(set_id)
    (member,) = bench.store.sets.members(set_id)
    assert states == {"preparing"}
    assert (transfer.state, transfer.attempt, transfer.sources) == ("queued", 1, (APP_1.image_id,))
    assert member.state == "in_transit"


def test_a_storage_that_is_away_leaves_the_set_in_planning(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*given: object) -> bytes:
        raise DependencyError("the storage is away")

    set_id = accepted(bench)
    monkeypatch.setattr(bench.blobs, "read", away)

    with pytest.raises(DependencyError):
        plan(bench, set_id)

    assert stored(bench, set_id).state == "planning"
    assert weigh_set(bench.deps, {"setId": set_id})["state"] == "planning", "nothing could be planned that had to be"
    monkeypatch.undo()
    assert plan(bench, set_id) == "preparing"


def test_priorities_that_cannot_be_read_fail_the_set_with_their_code(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "priorities.yaml"
    path.write_text("rules: [{class: soon}]")
    set_id = accepted(bench)
    bench.with_deps(settings=replace(bench.deps.settings, priorities_file=path))

    assert plan(bench, set_id) == "failed"
    assert stored(bench, set_id).code == "settings.priorities"


def test_a_defect_of_ours_fails_the_member_instead_of_planning_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_id = accepted(bench)
    monkeypatch.setattr(import_module("activities.plan_batch"), "plan_fleet", lambda *given: 1 // 0)

    plan(bench, set_id)

    (member,) = bench.store.sets.members(set_id)
    assert (member.state, member.code) == ("failed", "internal")


@pytest.mark.parametrize(("damaged", "state", "code"), [(APP_1, "in_transit", "None"), (APP_2, "failed", "content.")])
def test_a_damaged_signature_costs_a_source_and_only_that_of_a_wanted_image_the_member(
    bench: Bench, damaged: BuiltImage, state: str, code: str
) -> None:
    set_id = accepted(bench)
    record = bench.store.images.image(damaged.image_id)
    assert record is not None
    (bench.blobs.root / "signatures" / record.signature[7:]).write_bytes(b"damaged")

    plan(bench, set_id)

    (member,) = bench.store.sets.members(set_id)
    sources = [transfer.sources for transfer in bench.store.transfers.of_set(set_id)]
    assert (member.state, str(member.code).startswith(code)) == (state, True), member.code
    assert sources == ([()] if state == "in_transit" else [])


# ---------------------------------------------------------------- hubs


def order_for(bench: Bench, *devices: str, enrolled: Sequence[str] = ()) -> str:
    bench.register(APP_1, APP_2)
    for device_id in devices:
        if device_id not in enrolled:
            bench.enrol(APP_1, device_id=device_id)
    request = StartDeployment(
        name="March",
        owner=Owner(name="Olga", email="olga@example.com"),
        devices=DeviceSelection(ids=list(devices)),
        images=["fleet.example/app:2"],
    )
    images = {"fleet.example/app:2": {"linux/amd64": APP_2.image_id}}
    return bench.store.sets.create(request, images=images, manifest=None, by="olga", at=bench.now()).set_id


def states(bench: Bench, set_id: str) -> dict[str, tuple[str, str | None]]:
    return {member.device_id: (member.state, member.code) for member in bench.store.sets.members(set_id)}


def test_a_device_that_its_hub_cannot_answer_for_fails_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"ship-{number}" for number in range(7)]
    set_id = order_for(bench, *names)
    agents = bench.hub.agents

    def spoiled(device_ids: Collection[str]) -> Mapping[str, Twin]:
        if "ship-3" in device_ids:
            raise RequestError("the hub answered 400: a bad device", code="hub.refused")
        return agents(device_ids)

    monkeypatch.setattr(bench.hub, "agents", spoiled)

    plan(bench, set_id)

    expected = dict.fromkeys(names, ("in_transit", None)) | {"ship-3": ("failed", "hub.refused")}
    assert states(bench, set_id) == expected
    assert bench.hub.calls.count["agents"] <= 4, "halves are asked, and no device alone but the bad one"


def test_a_hub_that_is_down_puts_off_its_devices_longer_each_time_and_nobody_elses(bench: Bench) -> None:
    far = HubSimulator("south")
    bench.with_deps(hubs={"north": bench.hub, "south": far})
    for nth in (1, 2, 3):
        far.calls.fail("agents", nth)
    bench.enrol(APP_1, device_id="far", hub="south")
    set_id = order_for(bench, "near", "far", enrolled=["far"])

    plan(bench, set_id)
    waiting = states(bench, set_id)
    for pause in (30, 60):
        bench.now.forward(seconds=pause)
        assert bench.store.sets.is_unplanned(set_id, bench.now())
        plan(bench, set_id)
    early = bench.store.sets.is_unplanned(set_id, bench.now.forward(seconds=119))
    assert bench.store.sets.to_plan(bench.now.forward(seconds=1), 10) == (set_id,)
    plan(bench, set_id)

    assert waiting == {"near": ("in_transit", None), "far": ("waiting_inventory", None)}
    assert not early, "after three vain tries two minutes are waited"
    assert states(bench, set_id)["far"] == ("in_transit", None)
    assert bench.store.sets.to_plan(bench.now.forward(days=9), 10) == ()


def test_one_question_is_asked_of_a_hub_for_a_whole_batch(bench: Bench) -> None:
    set_id = order_for(bench, *[f"ship-{number}" for number in range(30)])

    plan(bench, set_id)

    assert (bench.hub.calls.count["agents"], bench.hub.calls.count["module_twin"]) == (1, 0)


# ---------------------------------------------------------------- what changes meanwhile


def test_an_inventory_between_the_facts_and_the_record_leaves_the_member_to_be_planned(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_id = order_for(bench, "ship-1", "ship-2")
    record = bench.store.sets.record_plan

    def after_an_inventory(of: str, decisions: Decisions, at: datetime) -> None:
        bench.speak(APP_2, device_id="ship-1")
        record(of, decisions, at)

    with monkeypatch.context() as patch:
        patch.setattr(bench.store.sets, "record_plan", after_an_inventory)
        plan(bench, set_id)
    between = states(bench, set_id)
    due = bench.store.sets.to_plan(bench.now.forward(seconds=60), 10)
    plan(bench, set_id)

    assert between == {"ship-1": ("waiting_inventory", None), "ship-2": ("in_transit", None)}
    assert due == (set_id,)
    assert states(bench, set_id)["ship-1"] == ("ready", None)


def test_a_set_that_is_cancelled_while_it_is_planned_starts_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_id = order_for(bench, "ship-1")
    begun = begin_plan(bench.deps, {"setId": set_id})
    plan_batch(bench.deps, {"setId": set_id, "range": begun["batches"][0]})
    bench.store.sets.cancel(set_id, "olga", bench.now())

    weighed = weigh_set(bench.deps, {"setId": set_id})
    late = start_batch(bench.deps, {"setId": set_id, "range": ["ship-1", "ship-1"], "weighedAt": weighed["at"]})

    assert (weighed["state"], weighed["batches"], late) == ("cancelled", [], {})
    assert states(bench, set_id)["ship-1"][0] in {"planned", "cancelled"}
    assert bench.store.patches.to_build(bench.now.forward(days=1), 10) == ()


def test_what_was_planned_after_the_weighing_is_not_started(bench: Bench) -> None:
    set_id = order_for(bench, "ship-1", "ship-2")
    plan_batch(bench.deps, {"setId": set_id, "range": begin_plan(bench.deps, {"setId": set_id})["batches"][0]})
    before = (bench.now() - timedelta(seconds=1)).isoformat()
    weigh_set(bench.deps, {"setId": set_id})

    start_batch(bench.deps, {"setId": set_id, "range": ["ship-1", "ship-2"], "weighedAt": before})

    assert set(states(bench, set_id).values()) == {("planned", None)}


def test_a_process_that_dies_before_any_statement_of_a_planning_leaves_it_to_be_done_once(bench: Bench) -> None:
    statements = 0
    while True:
        statements += 1
        names = [f"ship-{statements}-a", f"ship-{statements}-b"]
        set_id = order_for(bench, *names)
        died = False
        try:
            with bench.dying_at_statement(statements):
                plan(bench, set_id)
        except Crash:
            died = True
        bench.now.forward(minutes=6)
        plan(bench, set_id)

        assert states(bench, set_id) == dict.fromkeys(names, ("in_transit", None)), statements
        assert len(bench.store.transfers.of_set(set_id)) == 2
        assert bench.store.sets.to_plan(bench.now.forward(days=1), 10) == ()
        if not died:
            break
    assert statements > 30
    assert len(bench.store.patches.to_build(bench.now(), 10)) == 1


def test_two_plannings_of_one_set_at_once_plan_and_start_it_once(bench: Bench) -> None:
    names = [f"ship-{number}" for number in range(12)]
    set_id = order_for(bench, *names)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: plan(bench, set_id), range(4)))
    plan(bench, set_id)

    assert states(bench, set_id) == dict.fromkeys(names, ("in_transit", None))
    assert len(bench.store.transfers.of_set(set_id)) == 12
    told = [
        event["subject"]
        for event in bench.store.sets.events(set_id, limit=500, after=None).items
        if (event["kind"], event["new"]) == ("member", "in_transit")
    ]
    assert sorted(told) == sorted(names)
