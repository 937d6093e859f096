from __future__ import annotations

import copy
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import pytest

from activities.release_member import release_member
from contracts.records import Member
from imagedelta.errors import DependencyError
from planning.manifest import resolve
from tests.images import an_image
from tests.simulators.calls import Crash
from tests.unit.activities.bench import DEVICE, Bench

APP = an_image({"a": b"1"}, references=("fleet.example/app:2",))
MANIFEST = resolve(
    {
        "modulesContent": {
            "$edgeAgent": {"properties.desired": {"modules": {"app": {"settings": {"image": "fleet.example/app:2"}}}}},
            "app": {"properties.desired": {}},
        }
    },
    {},
)


def release(bench: Bench, set_id: str) -> dict[str, object]:
    return release_member(bench.deps, {"setId": set_id, "deviceId": DEVICE})


def member(bench: Bench, set_id: str) -> Member:
    (found,) = bench.store.sets.members(set_id)
    return found


def test_a_manifest_is_set_once_and_recorded(bench: Bench) -> None:
    set_id = bench.ready(APP, MANIFEST)

    assert (release(bench, set_id), release(bench, set_id)) == ({"released": True}, {"released": False})

    record = bench.store.releases.release(set_id, DEVICE)
    twin = bench.hub.module_twin(DEVICE, "$edgeAgent")
    assert record is not None
    assert twin is not None
    assert twin.desired["modules"]["app"]["settings"]["image"] == "localhost:5000/app:2"
    assert (record.version, record.applied_by_us, record.modules) == (twin.version, True, ("app",))
    assert record.previous["$edgeAgent"]["properties.desired"]["modules"] == {}
    assert len(bench.hub.applied) == 1


def test_one_that_was_set_before_a_crash_is_only_recorded_when_the_lease_is_over(bench: Bench) -> None:
    set_id = bench.ready(APP, MANIFEST)
    bench.hub.calls.fail("apply_content", after=True, error=Crash())
    with pytest.raises(Crash):
        release(bench, set_id)
    assert release(bench, set_id) == {"released": False}

    bench.now.forward(minutes=3)
    assert release(bench, set_id) == {"released": True}

    record = bench.store.releases.release(set_id, DEVICE)
    assert record is not None
    assert (record.applied_by_us, len(bench.hub.applied), member(bench, set_id).state) == (False, 1, "released")


def test_a_hub_that_is_away_is_tried_again(bench: Bench) -> None:
    set_id = bench.ready(APP, MANIFEST)
    bench.hub.calls.fail("apply_content")

    with pytest.raises(DependencyError):
        release(bench, set_id)
    bench.now.forward(minutes=3)

    assert release(bench, set_id) == {"released": True}


def test_what_somebody_else_deployed_since_the_plan_is_not_overwritten(bench: Bench) -> None:
    set_id = bench.ready(APP, MANIFEST)
    content = copy.deepcopy(dict(bench.hub.modules_content(DEVICE) or {}))
    content["$edgeAgent"]["properties.desired"]["modules"]["other"] = {"settings": {"image": "x:1"}}
    bench.hub.apply_content(DEVICE, content)

    assert release(bench, set_id) == {"released": False, "code": "release.conflict"}
    assert (member(bench, set_id).state, len(bench.hub.applied)) == ("conflict", 1)


def test_what_changes_while_the_release_is_made_is_not_overwritten(bench: Bench) -> None:
    set_id = bench.ready(APP, MANIFEST)
    read = bench.hub.modules_content

    def read_while_somebody_writes(device_id: str) -> Mapping[str, Any] | None:
        content = read(device_id)
        bench.hub.change_by_somebody_else(device_id, {"radar": {"settings": {"image": "mcr.example/radar:9"}}})
        return content

    bench.with_deps(hubs={"north": bench.hub})
    bench.hub.modules_content = read_while_somebody_writes  # type: ignore[method-assign]
    assert release(bench, set_id) == {"released": False, "code": "hub.changed"}
    assert (member(bench, set_id).state, bench.hub.applied) == ("ready", [])

    assert release(bench, set_id) == {"released": False, "code": "release.conflict"}
    assert list(bench.hub.images(DEVICE)) == ["radar"]


def test_a_defect_of_ours_fails_the_member_instead_of_trying_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_id = bench.ready(APP, MANIFEST)
    monkeypatch.setattr(import_module("activities.release_member"), "new_content", lambda *given, **more: 1 // 0)

    assert release(bench, set_id) == {"released": False, "code": "internal"}
    assert (member(bench, set_id).state, member(bench, set_id).code) == ("failed", "internal")


def test_a_hub_that_is_not_configured_fails_the_member_with_its_code(bench: Bench) -> None:
    set_id = bench.ready(APP, MANIFEST)
    bench.with_deps(hubs={})

    assert release(bench, set_id) == {"released": False, "code": "request.unknown_hub"}
