from __future__ import annotations

import copy
from typing import Any

import pytest

from activities.confirm_member import confirm_member
from activities.release_member import release_member
from contracts.records import Member
from planning.manifest import resolve
from tests.images import an_image
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
    assert release_member(bench.deps, {"setId": set_id, "deviceId": DEVICE}) == {"released": True}
    return set_id


def member(bench: Bench, set_id: str) -> Member:
    (found,) = bench.store.sets.members(set_id)
    return found


def confirm(bench: Bench, set_id: str) -> str:
    return str(confirm_member(bench.deps, {"setId": set_id, "deviceId": DEVICE})["state"])


def agent_says(bench: Bench, **module: Any) -> None:
    twin = bench.hub.module_twin(DEVICE, "$edgeAgent")
    assert twin is not None
    app = {"settings": {"image": "localhost:5000/app:2"}, "runtimeStatus": "running"} | module
    reported = {"lastDesiredVersion": twin.version, "lastDesiredStatus": {"code": 200}, "modules": {"app": app}}
    bench.hub.report(DEVICE, "$edgeAgent", reported)


def test_what_runs_as_released_is_applied(bench: Bench) -> None:
    set_id = released(bench)
    agent_says(bench)

    assert confirm(bench, set_id) == "applied"
    assert member(bench, set_id).state == "applied"


def test_a_device_without_link_stays_released_however_long(bench: Bench) -> None:
    set_id = released(bench)
    bench.now.forward(days=400)

    assert confirm(bench, set_id) == "released"
    assert member(bench, set_id).state == "released"


@pytest.mark.parametrize(("seconds", "state"), [(3_600, "released"), (3_601, "apply_failed")])
def test_modules_that_do_not_run_have_a_time_to_come_up(bench: Bench, seconds: int, state: str) -> None:
    set_id = released(bench)
    agent_says(bench, runtimeStatus="backoff")
    bench.now.forward(seconds=seconds)

    assert confirm(bench, set_id) == state
    assert member(bench, set_id).state == state


def test_a_release_that_another_deployment_replaced_says_so_instead_of_waiting_for_it(bench: Bench) -> None:
    set_id = released(bench)
    content = copy.deepcopy(dict(bench.hub.modules_content(DEVICE) or {}))
    content["$edgeAgent"]["properties.desired"]["modules"]["app"]["settings"]["image"] = "localhost:5000/app:3"
    bench.hub.apply_content(DEVICE, content)

    assert confirm(bench, set_id) == "apply_failed"

    found = member(bench, set_id)
    assert (found.state, found.code) == ("apply_failed", "release.overtaken")
    assert "app" in str(found.detail)


def test_a_release_of_another_workstream_changes_nothing(bench: Bench) -> None:
    set_id = released(bench)
    content = copy.deepcopy(dict(bench.hub.modules_content(DEVICE) or {}))
    content["$edgeAgent"]["properties.desired"]["modules"]["engine"] = {"settings": {"image": "localhost:5000/e:1"}}
    bench.hub.apply_content(DEVICE, content)

    assert confirm(bench, set_id) == "released"
