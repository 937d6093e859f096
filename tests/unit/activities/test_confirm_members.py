from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest

from activities.confirm_members import ConfirmMembers
from activities.due_work import Run
from activities.release_members import ReleaseMembers
from contracts.records import Member
from planning.manifest import resolve
from services.ports import Twin
from store.kernel.schema import members, releases
from tests.images import an_image
from tests.simulators.hub import HubSimulator
from tests.unit.activities.bench import DEVICE, Bench

APP = an_image({"a": b"1"}, references=("fleet.example/app:2",))
MANIFEST = resolve(
    {
        "modulesContent": {
            "$edgeAgent": {"properties.desired": {"modules": {"app": {"settings": {"image": "fleet.example/app:2"}}}}}
        }
    },
    {},
)


def released(bench: Bench) -> str:
    """A set whose manifest has been set on the device."""
    set_id = bench.ready(APP, MANIFEST)
    for due in bench.store.releases.due(bench.now(), 10):
        ReleaseMembers().do(Run(bench.deps), due)
    assert member(bench, set_id).state == "released"
    return set_id


def member(bench: Bench, set_id: str) -> Member:
    (found,) = bench.store.sets.members(set_id)
    return found


def confirm(bench: Bench, set_id: str) -> str:
    """Look at it if it is due; the state that the member is in afterwards."""
    for batch in ConfirmMembers().due(bench.deps, bench.now(), 10):
        ConfirmMembers().do(Run(bench.deps), batch)
    return member(bench, set_id).state


def looked_at(bench: Bench, set_id: str, until: timedelta) -> list[int]:
    """After how many seconds its hub was asked."""
    start, asked = bench.now(), []
    while bench.now() - start < until:
        before = bench.hub.calls.count["agents"]
        confirm(bench, set_id)
        if bench.hub.calls.count["agents"] > before:
            asked.append(round((bench.now() - start).total_seconds()))
        bench.now.forward(seconds=15)
    return asked


def agent_says(bench: Bench, **module: Any) -> None:
    twin = bench.hub.module_twin(DEVICE, "$edgeAgent")
    assert twin is not None
    app = {"settings": {"image": "localhost:5000/app:2"}, "runtimeStatus": "running"} | module
    reported = {"lastDesiredVersion": twin.version, "lastDesiredStatus": {"code": 200}, "modules": {"app": app}}
    bench.hub.report(DEVICE, "$edgeAgent", reported)


def test_what_runs_as_released_is_applied(bench: Bench) -> None:
    set_id = released(bench)
    agent_says(bench)
    bench.now.forward(seconds=15)

    assert confirm(bench, set_id) == "applied"


def test_a_device_without_link_stays_released_however_long_and_is_looked_at_less_and_less(bench: Bench) -> None:
    set_id = released(bench)

    assert looked_at(bench, set_id, timedelta(hours=4)) == [15, 45, 105, 225, 465, 945, 1905, 3825, 7425, 11025]
    bench.now.forward(days=400)
    assert confirm(bench, set_id) == "released"


@pytest.mark.parametrize(("seconds", "state"), [(3_600, "released"), (3_601, "apply_failed")])
def test_modules_that_do_not_run_have_a_time_to_come_up_since_the_device_knows_them(
    bench: Bench, seconds: int, state: str
) -> None:
    set_id = released(bench)
    bench.now.forward(days=2)
    agent_says(bench, runtimeStatus="backoff")
    bench.now.forward(seconds=seconds)

    assert confirm(bench, set_id) == state


def test_what_a_restart_of_the_agent_reports_anew_does_not_begin_the_time_again(bench: Bench) -> None:
    set_id = released(bench)
    agent_says(bench, runtimeStatus="backoff")
    bench.now.forward(minutes=40)
    assert confirm(bench, set_id) == "released"
    agent_says(bench, runtimeStatus="backoff")
    bench.now.forward(minutes=40)

    assert confirm(bench, set_id) == "apply_failed"
    assert member(bench, set_id).code == "release.unhealthy"


def test_what_failed_heals_when_its_modules_run_after_all(bench: Bench) -> None:
    set_id = released(bench)
    agent_says(bench, runtimeStatus="backoff")
    bench.now.forward(hours=2)
    assert confirm(bench, set_id) == "apply_failed"
    bench.store.sets.settle(set_id, bench.now())
    ended = bench.store.sets.deployment_set(set_id)

    agent_says(bench)
    bench.now.forward(hours=1)
    assert confirm(bench, set_id) == "applied"
    bench.store.sets.settle(set_id, bench.now())
    healed = bench.store.sets.deployment_set(set_id)

    assert ended is not None
    assert healed is not None
    assert (ended.state, healed.state) == ("completed_with_failures", "completed")
    kinds = [notice.kind for notice in bench.store.notifications.of_set(set_id)]
    assert kinds.count("completed") == 1, "one that is pending tells of both"


def test_a_release_that_another_deployment_replaced_says_so_and_is_not_looked_at_again(bench: Bench) -> None:
    set_id = released(bench)
    content = copy.deepcopy(dict(bench.hub.modules_content(DEVICE) or {}))
    content["$edgeAgent"]["properties.desired"]["modules"]["app"]["settings"]["image"] = "localhost:5000/app:3"
    bench.hub.apply_content(DEVICE, content)
    bench.now.forward(seconds=15)

    assert confirm(bench, set_id) == "apply_failed"

    found = member(bench, set_id)
    assert found.code == "release.overtaken"
    assert "app" in str(found.detail)
    bench.now.forward(days=9)
    assert looked_at(bench, set_id, timedelta(minutes=1)) == []


def test_a_release_of_another_workstream_changes_nothing(bench: Bench) -> None:
    set_id = released(bench)
    content = copy.deepcopy(dict(bench.hub.modules_content(DEVICE) or {}))
    content["$edgeAgent"]["properties.desired"]["modules"]["engine"] = {"settings": {"image": "localhost:5000/e:1"}}
    bench.hub.apply_content(DEVICE, content)
    bench.now.forward(seconds=15)

    assert confirm(bench, set_id) == "released"


def test_a_query_that_lags_behind_its_hub_is_not_taken_for_somebody_elses_deployment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_id = released(bench)
    old = Twin({"modules": {}}, {}, 1, "etag-1")
    monkeypatch.setattr(bench.hub, "agents", lambda devices: {DEVICE: old})
    bench.now.forward(seconds=15)

    assert confirm(bench, set_id) == "released"


def test_a_device_that_is_heard_from_while_it_is_looked_at_is_looked_at_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_id = released(bench)
    ask = bench.hub.agents

    def while_it_reports(devices: Any) -> Any:
        answer = ask(devices)
        bench.store._db.write(  # what a report of the device does
            lambda connection: connection.execute(members.update().values(next_try_at=bench.now()))
        )
        agent_says(bench)
        return answer

    bench.now.forward(seconds=15)
    monkeypatch.setattr(bench.hub, "agents", while_it_reports)
    assert confirm(bench, set_id) == "released"
    monkeypatch.undo()

    assert confirm(bench, set_id) == "applied"


def test_a_device_that_its_hub_does_not_know_stays_released(bench: Bench) -> None:
    set_id = released(bench)
    bench.with_deps(hubs={"north": HubSimulator("north")})
    bench.now.forward(days=3)

    assert confirm(bench, set_id) == "released"


def test_a_failed_release_whose_manifest_is_no_longer_kept_stops_nobody_and_is_not_looked_at_again(
    bench: Bench,
) -> None:
    set_id = released(bench)
    agent_says(bench, runtimeStatus="backoff")
    for hours in (1, 2):
        bench.now.forward(hours=hours)
        confirm(bench, set_id)
    bench.store._db.write(lambda connection: connection.execute(releases.update().values(content={}, previous={})))
    bench.now.forward(days=60)

    assert confirm(bench, set_id) == "apply_failed"
    assert looked_at(bench, set_id, timedelta(minutes=1)) == []
